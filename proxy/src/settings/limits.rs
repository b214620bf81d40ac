//! What bounds calls: times, sizes and numbers, and when an API is asked again or left alone.

use std::time::Duration;

/// How long the phases of a call may take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timeouts {
    /// Name resolution, connection and TLS handshake.
    pub connect: Duration,
    /// From the last byte sent to the first of the answer.
    pub first_byte: Duration,
    /// Between two pieces of the answer's body.
    pub idle: Duration,
    /// All of it.
    pub total: Duration,
}

impl Default for Timeouts {
    fn default() -> Timeouts {
        Timeouts {
            connect: Duration::from_secs(5),
            first_byte: Duration::from_secs(30),
            idle: Duration::from_secs(60),
            total: Duration::from_secs(600),
        }
    }
}

/// When a request is sent again: never once a byte of an answer was passed on, and only where that cannot do anything twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retries {
    /// How often it is sent at most, the first time included.
    pub attempts: u32,
    /// How long to wait before the second time; twice as long before each further one.
    pub pause: Duration,
}

impl Default for Retries {
    fn default() -> Retries {
        Retries { attempts: 1, pause: Duration::from_millis(100) }
    }
}

/// When an API is left alone because it fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Breaker {
    /// After so many failures in a row.
    pub failures: u32,
    /// For how long, before one call tries again.
    pub open: Duration,
}

/// How many calls one agent, or one grant, may make.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Quota {
    /// At the same time.
    pub concurrent: Option<usize>,
    /// In a second, in the long run.
    pub per_second: Option<u32>,
    /// At once, when there were none for a while; as many as in a second when left out.
    pub burst: Option<u32>,
}

impl Quota {
    pub(crate) fn burst(&self) -> f64 {
        f64::from(self.burst.or(self.per_second).unwrap_or(1).max(1))
    }
}

/// What bounds a request and an answer.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Header lines of a request.
    pub headers: usize,
    /// Bytes of a request's head.
    pub header_bytes: usize,
    /// Bytes of path and query.
    pub target_bytes: usize,
    /// Bytes of a JSON body, which is read before it is judged.
    pub json_bytes: usize,
    /// Bytes of a request to a language model, which repeats the conversation before it.
    pub prompt_bytes: usize,
    /// Nesting of a JSON body.
    pub json_depth: usize,
    /// Bytes of a body that streams through.
    pub body_bytes: u64,
    /// Up to how many bytes of a JSON response are read for values that later calls may use.
    pub observe_bytes: usize,
    /// Connections per listener.
    pub connections: usize,
    /// How long a request's head may take to arrive.
    pub header_timeout: Duration,
    /// How long a body that must be judged may take to arrive.
    pub body_timeout: Duration,
    /// How long the ledger may take to seal a call; longer, and it is refused.
    pub seal_timeout: Duration,
    /// How long the other end may take nothing of what is sent to it.
    pub stall_timeout: Duration,
    /// How long a held call waits for its answer.
    pub hold_timeout: Duration,
    /// How many calls of one instruction may wait at a time: an approver who is flooded looks at none.
    pub held_calls: usize,
    /// Requests without a valid token that are recorded one by one, per minute; beyond, they are counted.
    pub strangers_per_minute: u32,
    /// How many times a grant may be handed on from agent to agent.
    pub delegations: usize,
    /// The calls of one agent.
    pub agent: Quota,
    /// The calls under one grant.
    pub grant: Quota,
    /// Requests a second to the API with one credential; 0 is no limit.
    pub api_per_credential: u32,
    /// Requests a second to the API from one address; 0 is no limit.
    pub api_per_peer: u32,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            headers: 100,
            header_bytes: 64 << 10,
            target_bytes: 8 << 10,
            // Recorded twice, as request and as arguments, and an entry's values may take 2 MiB in the ledger.
            json_bytes: 512 << 10,
            prompt_bytes: 8 << 20,
            json_depth: 64,
            body_bytes: 1 << 30,
            observe_bytes: 512 << 10,
            connections: 4096,
            header_timeout: Duration::from_secs(15),
            body_timeout: Duration::from_secs(30),
            seal_timeout: Duration::from_secs(10),
            stall_timeout: Duration::from_secs(60),
            hold_timeout: Duration::from_secs(3600),
            held_calls: 20,
            strangers_per_minute: 10,
            delegations: 3,
            agent: Quota::default(),
            grant: Quota::default(),
            api_per_credential: 1000,
            api_per_peer: 2000,
        }
    }
}

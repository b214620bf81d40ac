//! Agents that call what they may and what they may not, wait for the answer or hang up.

use std::{
    collections::BTreeMap,
    io::Write as _,
    net::TcpStream,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use rustls::{ClientConfig, ClientConnection, StreamOwned, pki_types::ServerName};

use crate::{faults::Stage, sidecar::Answer};

/// What an agent may do; the last is not granted.
const CALLS: [&str; 7] = ["/ok", "/slow", "/error", "/reset", "/half", "/stream", "/secret"];

pub struct Agents {
    pub stop: AtomicBool,
    gateway: String,
    api: String,
    host: String,
    tls: Arc<ClientConfig>,
    entries: Mutex<Vec<String>>,
    statuses: Mutex<BTreeMap<u16, u64>>,
}

impl Agents {
    pub fn new(stage: &Stage) -> Agents {
        Agents {
            stop: AtomicBool::new(false),
            gateway: stage.sidecar.gateway.clone(),
            api: stage.sidecar.api.clone(),
            host: stage.sidecar.secret("host").to_owned(),
            tls: stage.client(),
            entries: Mutex::default(),
            statuses: Mutex::default(),
        }
    }

    /// The entries that answers named.
    pub fn entries(&self) -> Vec<String> {
        self.entries.lock().unwrap().clone()
    }

    /// How many answers there were of each status; 0 stands for none.
    pub fn statuses(&self) -> BTreeMap<u16, u64> {
        self.statuses.lock().unwrap().clone()
    }

    /// One agent, until it is told to stop.
    pub fn run(self: Arc<Agents>, number: u64, seed: u64) -> impl FnOnce() + Send {
        move || {
            let mut dice = StdRng::seed_from_u64(seed * 1000 + number);
            let mut token = None;
            while !self.stop.load(Ordering::Acquire) {
                if token.is_none() || dice.random_bool(0.01) {
                    token = self.instruct().or(token);
                }
                if let Some(token) = &token {
                    let path = CALLS[dice.random_range(0..CALLS.len() * 2) % CALLS.len()];
                    let waits = dice.random_bool(0.95);
                    self.call(token, path, waits);
                }
                thread::sleep(Duration::from_millis(dice.random_range(0..30)));
            }
        }
    }

    /// `None` while the disk is full.
    fn instruct(&self) -> Option<String> {
        let body = serde_json::json!({ "words": "look at everything", "principal": "ann", "agent": "agent",
            "scope": { "actions": ["ok", "slow", "error", "reset", "half", "stream"] } })
        .to_string();
        let request = format!(
            "POST /v1/instructions HTTP/1.1\r\nhost: api\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
            self.host,
            body.len()
        );
        let mut stream = TcpStream::connect(&self.api).ok()?;
        stream.write_all(request.as_bytes()).ok()?;
        let answer = read(&mut stream);
        let (_, json) = answer.body.split_once("\r\n\r\n")?;
        serde_json::from_str::<serde_json::Value>(json).ok()?["token"].as_str().map(str::to_owned)
    }

    fn call(&self, token: &str, path: &str, waits: bool) {
        let Ok(stream) = TcpStream::connect(&self.gateway) else { return self.count(0) };
        let _ = stream.set_read_timeout(Some(Duration::from_secs(20)));
        let name = ServerName::try_from("localhost").unwrap();
        let mut stream = StreamOwned::new(ClientConnection::new(self.tls.clone(), name).unwrap(), stream);
        let request = format!(
            "GET {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\nconnection: close\r\n\r\n"
        );
        if stream.write_all(request.as_bytes()).is_err() || stream.flush().is_err() || !waits {
            return self.count(0);
        }
        let answer = read(&mut stream);
        let (head, _) = answer.body.split_once("\r\n\r\n").unwrap_or((&answer.body, ""));
        let entry = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("countersign-entry").then(|| value.trim().to_owned())
        });
        self.entries.lock().unwrap().extend(entry);
        self.count(answer.status);
    }

    fn count(&self, status: u16) {
        *self.statuses.lock().unwrap().entry(status).or_default() += 1;
    }
}

/// The whole answer; `body` has its head too, where `status` is not 0.
fn read(stream: &mut impl std::io::Read) -> Answer {
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default();
    Answer { status, body: text }
}

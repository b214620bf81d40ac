//! Every instrument that something counts into; what is only looked at when somebody asks is in `gauges`. `docs/observability.md` lists them all, and a
//! test holds the two together.

use opentelemetry::{
    KeyValue,
    metrics::{Counter, Histogram, Meter},
};

/// Bounds of durations, in seconds: from a sync of a fast disk to the longest timeout.
const SECONDS: [f64; 16] =
    [0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0];

/// Bounds of how many entries a batch has.
const ENTRIES: [f64; 9] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 256.0, 1024.0];

/// Bounds of what share of a budget is used.
const SHARE: [f64; 7] = [0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 1.0];

/// What is counted and timed.
pub(crate) struct Instruments {
    pub(super) server: Histogram<f64>,
    pub(super) client: Histogram<f64>,
    pub(super) authorize: Histogram<f64>,
    pub(super) record: Histogram<f64>,
    pub(super) calls: Counter<u64>,
    pub(super) outcomes: Counter<u64>,
    unrecorded: Counter<u64>,
    strangers: Counter<u64>,
    approvals: Counter<u64>,
    pub(super) receipts: Counter<u64>,
    budget: Histogram<f64>,
    limited: Counter<u64>,
    reloads: Counter<u64>,
    pub(super) entries: Counter<u64>,
    pub(super) checkpoints: Counter<u64>,
    pub(super) bytes: Counter<u64>,
    pub(super) sync: Histogram<f64>,
    pub(super) batch: Histogram<u64>,
}

impl Instruments {
    pub(super) fn new(meter: &Meter) -> Instruments {
        let counter = |name, unit, what| meter.u64_counter(name).with_unit(unit).with_description(what).build();
        let seconds = |name, what| {
            meter.f64_histogram(name).with_unit("s").with_description(what).with_boundaries(SECONDS.to_vec()).build()
        };
        let instruments = Instruments {
            server: seconds(
                "http.server.request.duration",
                "How long requests took, from their head to the end of the call.",
            ),
            client: seconds("http.client.request.duration", "How long the APIs took, to the end of their answer."),
            authorize: seconds("countersign.authorize.duration", "How long calls took to be read and judged."),
            record: seconds("countersign.record.duration", "How long calls took from judged to sealed."),
            calls: counter("countersign.calls", "{call}", "Calls recorded, by verdict."),
            outcomes: counter("countersign.outcomes", "{call}", "Forwarded calls that ended, by result."),
            unrecorded: counter(
                "countersign.calls.unrecorded",
                "{call}",
                "Calls refused because they could not be recorded.",
            ),
            strangers: counter(
                "countersign.strangers",
                "{request}",
                "Requests refused before they are judged: without a valid token, or beyond a limit.",
            ),
            approvals: counter("countersign.approvals", "{answer}", "Answers to held calls."),
            receipts: counter("countersign.receipts", "{receipt}", "Receipts that the APIs owed."),
            budget: meter
                .f64_histogram("countersign.budget.use")
                .with_unit("1")
                .with_description("Share of the action's budget that is used after an allowed call.")
                .with_boundaries(SHARE.to_vec())
                .build(),
            limited: counter("countersign.api.limited", "{request}", "Requests to the API beyond its rate limits."),
            reloads: counter("countersign.reloads", "{reload}", "Changes of configuration, catalogues and policies."),
            entries: counter("countersign.ledger.entries", "{entry}", "Entries sealed, by kind."),
            checkpoints: counter("countersign.ledger.checkpoints", "{checkpoint}", "Checkpoints signed and durable."),
            bytes: counter("countersign.ledger.written", "By", "Bytes written to the journal."),
            sync: seconds("countersign.ledger.sync.duration", "How long a write and sync of the journal took."),
            batch: meter
                .u64_histogram("countersign.ledger.batch.size")
                .with_unit("{entry}")
                .with_description("Entries sealed by one sync.")
                .with_boundaries(ENTRIES.to_vec())
                .build(),
        };
        instruments.begin();
        instruments
    }

    /// What may never happen is 0 from the start: an increase can be seen only of what is there.
    fn begin(&self) {
        let zero = |counter: &Counter<u64>, name: &'static str, values: &[&'static str]| {
            values.iter().for_each(|value| counter.add(0, &[KeyValue::new(name, *value)]));
        };
        zero(
            &self.unrecorded,
            "reason",
            &["full", "no_space", "unsigned", "stuck", "too_large", "stopped", "vault", "slow"],
        );
        zero(&self.strangers, "reason", &["token-missing", "token-invalid", "token-expired"]);
        zero(&self.approvals, "decision", &["approved", "denied", "expired"]);
        zero(&self.limited, "by", &["credential", "peer"]);
        zero(&self.reloads, "result", &["applied", "refused"]);
    }

    /// An API gives receipts.
    pub(crate) fn gives_receipts(&self, upstream: &str) {
        for state in ["received", "missing", "late"] {
            let of = [KeyValue::new("state", state), KeyValue::new("upstream", upstream.to_owned())];
            self.receipts.add(0, &of);
        }
    }

    /// A call was refused because the ledger does not take it.
    pub(crate) fn unrecorded(&self, why: &'static str) {
        self.unrecorded.add(1, &[KeyValue::new("reason", why)]);
    }

    /// Somebody called without a valid token, or more than they may.
    pub(crate) fn stranger(&self, reason: &str) {
        self.strangers.add(1, &[KeyValue::new("reason", reason.to_owned())]);
    }

    /// A held call was answered, or nobody answered in time.
    pub(crate) fn approval(&self, decision: &'static str) {
        self.approvals.add(1, &[KeyValue::new("decision", decision)]);
    }

    /// A receipt came, late.
    pub(crate) fn late_receipt(&self, upstream: &str) {
        let of = [KeyValue::new("state", "late"), KeyValue::new("upstream", upstream.to_owned())];
        self.receipts.add(1, &of);
    }

    /// So much of a budget is used.
    pub(crate) fn budget(&self, share: f64, upstream: &str, action: &str) {
        let of = [KeyValue::new("upstream", upstream.to_owned()), KeyValue::new("action", action.to_owned())];
        self.budget.record(share, &of);
    }

    /// A request came too soon: `by` says for whom, `credential` or `peer`.
    pub(crate) fn limited(&self, by: &'static str) {
        self.limited.add(1, &[KeyValue::new("by", by)]);
    }

    /// A change came into force, or was refused.
    pub(crate) fn reload(&self, result: &'static str) {
        self.reloads.add(1, &[KeyValue::new("result", result)]);
    }
}

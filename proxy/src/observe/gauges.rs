//! What is looked at when somebody asks: the ledger's state, and what waits in the gateway.

use std::sync::{Arc, Weak, atomic::Ordering};

use countersign_ledger::writer::{Observer, SealedBatch, Status};
use opentelemetry::{KeyValue, metrics::Meter};

use super::{Observe, Observing, Telemetry};
use crate::state::Gateway;

/// Tells everything about this gateway from now on.
pub(crate) fn register(gateway: &Arc<Gateway>, observe: &Observe, telemetry: &Telemetry) {
    let Some(observing) = &observe.0 else { return };
    gateway.ledger.observe(Arc::new(Sealing(observing.clone())));
    if let Some(meter) = &telemetry.meter {
        of_ledger(meter, gateway);
        of_disk(meter, gateway);
        of_gateway(meter, gateway);
    }
}

/// Counts what the writer seals.
struct Sealing(Arc<Observing>);

impl Observer for Sealing {
    fn sealed(&self, batch: &SealedBatch<'_>) {
        let instruments = &self.0.instruments;
        instruments.checkpoints.add(1, &[]);
        instruments.bytes.add(batch.bytes as u64, &[]);
        instruments.sync.record(batch.sync.as_secs_f64(), &[]);
        instruments.batch.record(batch.kinds.len() as u64, &[]);
        for kind in batch.kinds {
            instruments.entries.add(1, &[KeyValue::new("kind", kind.as_str().to_owned())]);
        }
    }
}

/// A gauge of the ledger's state. Weak, so that the meter does not keep the gateway.
fn status(
    meter: &Meter,
    gateway: &Arc<Gateway>,
    (name, unit, what): (&'static str, &'static str, &'static str),
    value: impl Fn(&Status) -> u64 + Send + Sync + 'static,
) {
    gauge(meter, gateway, (name, unit, what), move |gateway| Some(value(&gateway.ledger.status())));
}

fn gauge(
    meter: &Meter,
    gateway: &Arc<Gateway>,
    (name, unit, what): (&'static str, &'static str, &'static str),
    value: impl Fn(&Gateway) -> Option<u64> + Send + Sync + 'static,
) {
    let gateway: Weak<Gateway> = Arc::downgrade(gateway);
    let look = move || value(&*gateway.upgrade()?);
    let built = meter.u64_observable_gauge(name).with_unit(unit).with_description(what);
    // The meter keeps what looks; the handle is of no use.
    let _ = built.with_callback(move |seen| look().into_iter().for_each(|value| seen.observe(value, &[]))).build();
}

fn of_ledger(meter: &Meter, gateway: &Arc<Gateway>) {
    status(meter, gateway, ("countersign.ledger.size", "{entry}", "Entries in the ledger."), |status| status.size);
    status(meter, gateway, ("countersign.ledger.queue", "{entry}", "Entries that wait for the writer."), |status| {
        status.queued as u64
    });
    status(meter, gateway, ("countersign.ledger.queue.size", "By", "Bytes that wait for the writer."), |status| {
        status.queued_bytes as u64
    });
    status(
        meter,
        gateway,
        ("countersign.ledger.wait", "s", "How long the oldest entry that the writer is at has waited."),
        |status| status.waited.as_secs(),
    );
    status(
        meter,
        gateway,
        ("countersign.ledger.store.lag", "{entry}", "Entries sealed and not in the store yet."),
        |status| status.store_lag,
    );
    status(
        meter,
        gateway,
        ("countersign.ledger.archive.lag", "{entry}", "Entries sealed and not in the archive yet."),
        |status| status.size.saturating_sub(status.archived),
    );
    status(
        meter,
        gateway,
        ("countersign.ledger.segments", "{segment}", "Segments of the journal that are not trimmed."),
        |status| status.segments,
    );
    status(
        meter,
        gateway,
        ("countersign.ledger.poisoned", "", "1 when an error stopped the ledger: every call is refused."),
        |status| u64::from(status.poisoned.is_some()),
    );
}

fn of_disk(meter: &Meter, gateway: &Arc<Gateway>) {
    gauge(meter, gateway, ("countersign.ledger.disk.free", "By", "Bytes free on the ledger's disk."), |gateway| {
        Some(gateway.ledger.space().ok()?.0)
    });
    gauge(
        meter,
        gateway,
        ("countersign.ledger.disk.reserve", "By", "Bytes free below which nothing new is accepted."),
        |gateway| Some(gateway.ledger.space().ok()?.1),
    );
}

fn of_gateway(meter: &Meter, gateway: &Arc<Gateway>) {
    gauge(meter, gateway, ("countersign.calls.open", "{call}", "Calls forwarded that have not ended."), |gateway| {
        Some(gateway.open_calls().load(Ordering::Relaxed))
    });
    gauge(meter, gateway, ("countersign.calls.held", "{call}", "Calls that wait for a person's answer."), |gateway| {
        Some(gateway.held_count() as u64)
    });
    gauge(
        meter,
        gateway,
        ("countersign.receipts.open", "{receipt}", "Receipts that are missing and still asked for."),
        |gateway| Some(gateway.ledger.state(b"receipt/").ok()?.len() as u64),
    );
    gauge(meter, gateway, ("countersign.ready", "", "1 when the ledger can seal: what `/readyz` says."), |gateway| {
        Some(u64::from(gateway.ledger.can_seal().is_ok()))
    });
    let build = meter.u64_observable_gauge("countersign.build.info");
    let of = [KeyValue::new("version", env!("CARGO_PKG_VERSION"))];
    let build = build.with_description("Always 1; the label says which version runs.");
    let _ = build.with_callback(move |seen| seen.observe(1, &of)).build();
}

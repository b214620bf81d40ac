//! The API's own log, read after the fact and compared with the ledger, both ways: calls that went around the sidecar, calls of the ledger that the
//! API never saw, what differs, what was executed twice, times that cannot be. What cannot be told for certain is *undetermined*.
//!
//! Streaming: lines and calls come in order of time, and only those within a window of each other are in memory. No I/O but what a reader is
//! given, no clock. Reading order: [`line`](Line) → [`formats`] → [`calls`](Gather) → `clock` → [`compare`](Comparison).

mod calls;
mod clock;
mod compare;
mod decide;
pub mod formats;
mod index;
mod line;
#[cfg(test)]
mod tests;

pub use calls::{Gather, Sent};
pub use compare::{Comparison, Settings, Summary, TooMany};
pub use decide::{Difference, Found, Result as Outcome};
pub use formats::{Bad, Field, Format, Reader};
pub use line::Line;

/// Microseconds since 1970.
pub(crate) type Micros = i64;

/// A second.
pub(crate) const SECOND: Micros = 1_000_000;

/// How long after a call that nobody saw end the API may still log it.
pub(crate) const LATE: Micros = 300 * SECOND;

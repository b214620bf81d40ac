//! The state of one instruction: its grant and what was used of it, what was observed, its held calls and their approvals.
//!
//! It is a fold over the instruction's entries and nothing else. The gateway keeps it in memory and reads it anew after a restart; an investigator
//! reads it from a ledger or a bundle, up to the call in question. Both run this code, so that what a verdict was made from is one thing.
//!
//! Pure: no I/O, no clock.

mod asked;
mod grants;
mod judge;
mod memory;
mod state;

pub use asked::{Asked, Known, Proposal};
pub use grants::{Approved, GrantState, Reserved, Taken, Yes, budget};
pub use judge::{Attempt, withdrawal};
pub use state::{Catalogues, Find, Held, HeldStatus, Inner, JudgedBy, MAX_KEYS, Values};

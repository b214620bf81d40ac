//! The ledger of Countersign: what an entry is, how entries are chained, covered by a Merkle tree and signed,
//! how they are made durable, and how anybody checks them afterwards.
//!
//! Absent on purpose: HTTP. This crate never sees a request; it stores what the proxy says about one.
//! Without the feature `store` it does no I/O and reads no clock, so that the SDK, the tracer and an offline verifier
//! run the same code as the gateway.
//!
//! # The states of an entry
//!
//! | state | meaning |
//! |---|---|
//! | *queued* | accepted by the writer, not yet numbered |
//! | *chained* | has its `seq`, `prev` and `time`; its bytes are fixed |
//! | *stored* | its bytes are in the journal, not yet known durable |
//! | *sealed* | durable, and covered by a signed checkpoint that is durable with it; only now acknowledged |
//! | *witnessed* | somebody outside holds a checkpoint that covers it |
//!
//! # Reading order
//!
//! [`record`] → [`canonical`] → [`chain`] → [`tree`] → [`checkpoint`] → [`rotation`] → [`proof`] → [`statement`] → [`possession`] → [`passkey`] → [`disclosure`].
//! The byte formats are specified in `docs/format.md`.

pub mod record;

pub mod canonical;
pub mod chain;
pub mod checkpoint;
pub mod count;
pub mod disclosure;
pub mod erasure;
pub mod passkey;
pub mod possession;
pub mod proof;
mod random;
pub mod rotation;
pub mod signed_text;
pub mod statement;
mod strict;
pub mod term;
pub mod tree;

#[cfg(feature = "store")]
pub mod anchor;
#[cfg(feature = "store")]
pub mod archive;
pub mod batch;
pub mod bundle;
#[cfg(feature = "store")]
pub mod clock;
#[cfg(feature = "store")]
pub mod directory;
#[cfg(feature = "store")]
pub mod disk;
pub mod evidence;
#[cfg(feature = "store")]
mod files;
#[cfg(feature = "store")]
mod index;
#[cfg(feature = "store")]
pub mod journal;
#[cfg(feature = "store")]
pub mod keys;
#[cfg(feature = "store")]
pub mod ledger;
#[cfg(feature = "store")]
pub mod open;
#[cfg(feature = "store")]
pub mod repair;
#[cfg(feature = "store")]
pub mod store;
#[cfg(feature = "store")]
pub mod vault;
pub mod verify;
#[cfg(feature = "store")]
pub mod writer;

pub use chain::Hash;
#[cfg(feature = "store")]
pub use ledger::Ledger;
pub use record::{Draft, Entry, Kind};

/// Name and version of this software, as entries name it.
pub const SOFTWARE: &str = concat!("countersign/", env!("CARGO_PKG_VERSION"));

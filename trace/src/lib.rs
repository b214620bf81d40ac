//! From a call, an instruction or a time window to its causal chain: who said, chose, allowed, sent, answered and told, each link with the state
//! of its evidence, and the first link that breaks.
//!
//! Works on [`countersign_ledger::evidence::Evidence`], from a ledger or a bundle alike. No I/O, no clock: the same evidence gives the same chain.
//!
//! Reading order: [`chain`] → [`text`].

pub mod chain;
pub mod text;

pub use chain::{Chain, Link, State, Step, trace};

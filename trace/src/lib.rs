//! From a call, an instruction or a time window to its causal chain: who said, chose, allowed, sent, answered and told, each link with the state
//! of its evidence, and the links that broke.
//!
//! Works on [`countersign_ledger::evidence::Evidence`], from a ledger or a bundle alike, of one ledger or several. No I/O, no clock: the same evidence
//! gives the same chain and the same findings.
//!
//! Reading order: [`message`] → [`link`] → [`graph`] → [`findings`] → [`chain`] → [`text`] and [`report`]; [`replay`] judges every call once more; [`export`] hands calls and graph to other tools.

pub mod chain;
pub mod export;
pub mod findings;
pub mod graph;
pub mod link;
pub mod message;
pub mod reconcile;
pub mod replay;
pub mod report;
pub mod text;
#[cfg(test)]
mod world;

pub use chain::{Chain, Link, trace};
pub use link::{Role, State, Step};

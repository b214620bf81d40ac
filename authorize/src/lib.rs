//! From a request to a verdict: is this call within what the user's instruction allows?
//!
//! Pure: no I/O, no clock, no randomness. What is judged is the [`request::Request`], normalised, and exactly that is forwarded; what could be
//! read in two ways is refused. What the catalogue does not know is refused.
//!
//! Reading order: [`request`] (and [`mcp`], [`model`]) → [`catalogue`] → [`grant`] → [`provenance`] → [`policy`] → [`verdict`].

pub mod mcp;
pub mod model;
pub mod request;

pub mod catalogue;
pub mod grant;
pub mod import;
pub mod policy;
pub mod propose;
pub mod provenance;
pub mod verdict;
pub mod view;

mod json;
mod occurs;

pub use json::Json;

/// Name and version of the engine, as records name it.
///
/// Not the crate's version: it is raised whenever the same inputs get another verdict, or grounds that are recorded otherwise. A verdict is replayed only by
/// the engine that its record names. `tests/engine.rs` holds some verdicts against it.
pub const ENGINE: &str = "countersign-authorize/0.2.0";

/// Why a request is refused before any grant is looked at: it is malformed, can be read in two ways, or the catalogue does not know it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// A stable code.
    pub code: &'static str,
    /// What is wrong, where, and what to do.
    pub message: String,
}

impl Refusal {
    pub(crate) fn new(code: &'static str, message: impl Into<String>) -> Refusal {
        Refusal { code, message: message.into() }
    }
}

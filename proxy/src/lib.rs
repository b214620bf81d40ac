//! The gateway: the way of a call as tower layers, and the API for host, agent, approver, operator and investigator.
//!
//! Absent on purpose: rules (crate `countersign-authorize`) and storage (crate `countersign-ledger`).
//!
//! # Reading order
//!
//! [`stack`] shows the way: [`identify`] → [`limit`] → [`authorize`] → [`record`] → [`outcome`] around [`forward`]. [`settings`] is what it is told,
//! [`shown`] what a person is shown, [`state`] what changes, [`upstream`] whom it calls, [`error`] what it answers when it does not. [`mcp`] is what differs for MCP, [`model`] for a language model, [`envoy`] where Envoy forwards, [`receipts`] what is done with an API's signed word. [`api`] is the other listener, [`observe`] what is said of all this while it runs.

pub mod settings;
pub mod shown;

mod inward;
pub mod stack;

pub mod identify;

pub mod limit;

pub mod authorize;

pub mod record;

pub mod forward;
pub mod outcome;

pub mod envoy;
pub mod mcp;
pub mod model;

pub mod receipts;

pub mod api;
pub mod error;
pub mod observe;
mod pem;
pub mod problem;
pub mod propose;
mod reload;
mod serve;
pub mod server;
pub mod state;
pub mod token;
pub mod upstream;

pub use self::{
    reload::{Fresh, Reload, ReloadError},
    serve::{Running, ServeError, serve},
    settings::Settings,
};

/// Why a body broke off.
pub type BoxError = tower::BoxError;

/// A body on its way through.
pub type Body = http_body_util::combinators::UnsyncBoxBody<bytes::Bytes, BoxError>;

#[cfg(test)]
mod tests;

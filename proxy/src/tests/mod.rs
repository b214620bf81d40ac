//! The way of a call over real connections and a real ledger: what passes, what does not, and that every exit writes one outcome.

mod raw;
mod world;

mod refuse;

mod pass;

mod propose;

mod fate;

mod delegate;
mod echo;

mod hold;

mod policy;

mod replay;

mod revoke;

mod transport;

mod possession;

mod issuers;

mod access;

mod resilience;

mod after;

mod approvals;

mod api;

mod schema;

mod mcp;

mod model;

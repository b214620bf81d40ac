//! Drives the real binary: the sidecar, its API and its tools, over real connections.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::too_many_lines,
    clippy::unwrap_used,
    reason = "a test that fails should stop where it fails"
)]

mod adder;
mod browser;
mod collector;
mod peers;
mod sidecar;
mod stub;

mod agent_cannot_widen;
mod approvals;
mod budget;
mod ceiling;
mod envoy;
mod exports;
mod held;
mod hsm;
mod import;
mod incident;
mod life;
mod mcp;
mod model;
mod monitored;
mod offline;
mod openapi;
mod pages;
mod passkeys;
mod policy;
mod receipts;
mod reconcile;
mod service;
mod start;
mod telemetry;
mod tokens;
mod tools;
mod view;

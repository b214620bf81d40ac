//! Incidents of which we know who caused them, made by real processes, and what `countersign trace` says of each: README.md.
//!
//! `cargo test --test incidents [-- KIND...]` runs each kind once; `cargo test --test incidents -- --full` all seeds and the harmless runs, and prints the table.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::too_many_lines,
    clippy::unwrap_used,
    reason = "a test that fails should stop where it fails"
)]

mod actors;
mod demo;
mod dice;
mod harmless;
mod judge;
mod kinds;
mod report;
mod run;
mod said;
#[path = "../cli/sidecar.rs"]
#[allow(dead_code, reason = "other tests need more of it")]
mod sidecar;
mod suite;
mod table;
mod tasks;
mod world;

use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    if let [verb, name] = args.as_slice()
        && verb == "actor"
    {
        runtime.block_on(actors::serve(name));
        return ExitCode::SUCCESS;
    }
    let full = args.iter().any(|arg| arg == "--full");
    let wanted: Vec<&str> = args.iter().map(String::as_str).filter(|arg| !arg.starts_with('-')).collect();
    if runtime.block_on(suite::run(full, &wanted)) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

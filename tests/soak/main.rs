//! Mixed load through the real sidecar while everything around it goes wrong, for as long as it is told.
//!
//! `cargo test --test soak [-- --seconds 20] [--seed 1] [--faults sighup-storm,disk-full]`; CI runs two minutes, a release half an hour (`--seconds 1800`).
//!
//! At the end: whatever reached the API has its record, every call that was allowed has exactly one outcome, every answer that names an entry names one that
//! is there, `verify` is clean, each verdict replays, and memory did not grow.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::too_many_lines,
    clippy::unwrap_used,
    reason = "a test that fails should stop where it fails"
)]

mod agents;
mod faults;
mod ledger;
mod upstream;

#[path = "../cli/sidecar.rs"]
#[allow(dead_code, reason = "the tests of the command line use the rest")]
mod sidecar;

use std::{
    sync::{Arc, atomic::Ordering},
    thread,
    time::{Duration, Instant},
};

use agents::Agents;
use faults::{FAULTS, Stage};

/// How much more memory may be held in the last quarter than in the second: caches fill.
const GROWTH_MIB: u64 = 24;

/// In a run of so many seconds they are full when half of it is over, and what nobody used for ten minutes goes as fast as something new comes.
const SETTLES_SECONDS: u64 = 1500;

/// How much more may then be held in the last quarter than in the third. Half an hour makes some 30,000 calls and 500 faults a quarter: it fails for 200
/// bytes that each call leaves behind, or 12 KiB that each fault does.
const FLAT_MIB: u64 = 6;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [upstream, port, log] = arguments.as_slice()
        && upstream == "upstream"
    {
        return upstream::serve(port.parse().unwrap(), log.as_ref());
    }
    if arguments.iter().any(|argument| argument == "--list") {
        return;
    }
    if let Some(status) = with_clock(&arguments) {
        std::process::exit(status.code().unwrap_or(1));
    }
    let seconds = option(&arguments, "--seconds", 20);
    let seed = option(&arguments, "--seed", 1);
    println!("soak: {seconds} s, seed {seed}");
    let mut stage = Stage::set(seed, chosen(&arguments));
    let agents = Arc::new(Agents::new(&stage));
    let running: Vec<_> = (0..6).map(|number| thread::spawn(agents.clone().run(number, seed))).collect();
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut memory = Vec::new();
    while Instant::now() < end {
        stage.next_fault(end);
        memory.push(stage.resident_mib());
    }
    stage.calm();
    agents.stop.store(true, Ordering::Release);
    for agent in running {
        agent.join().unwrap();
    }
    stage.sidecar.stop();
    let (code, text) = stage.sidecar.verify();
    assert_eq!(code, 0, "{text}");
    let report = ledger::compare(&stage.sidecar.ledger(), &stage.reached(), &agents.entries());
    println!("{report}\nanswers by status: {:?}\nfaults: {:?}", agents.statuses(), stage.done);
    let quarter = memory.len() / 4;
    let median = |part: &[u64]| {
        let mut part = part.to_vec();
        part.sort_unstable();
        part.get(part.len() / 2).copied().unwrap_or_default()
    };
    let [_, second, third, last] = [0, 1, 2, 3].map(|n| median(&memory[quarter * n..quarter * (n + 1)]));
    let over_time: Vec<u64> = memory.chunks(memory.len().div_ceil(12).max(1)).map(median).collect();
    println!(
        "resident: {second} MiB in the second quarter, {third} MiB in the third, {last} MiB in the last; over time {over_time:?}"
    );
    assert!(last <= second + GROWTH_MIB, "memory grew");
    assert!(seconds < SETTLES_SECONDS || last <= third + FLAT_MIB, "memory is not flat");
    assert!(report.allowed > 0 && report.reached > 0, "nothing was called");
    println!("soak: all calls recorded, all records closed");
}

/// Runs all of this again under a clock that can be stepped, where there is one: Debian's libfaketime reads it from a file.
fn with_clock(arguments: &[String]) -> Option<std::process::ExitStatus> {
    if std::env::var_os(faults::CLOCK).is_some() {
        return None;
    }
    let library =
        std::fs::read_dir("/usr/lib").ok()?.flatten().map(|dir| dir.path().join("faketime/libfaketimeMT.so.1"));
    let library = library.into_iter().find(|library| library.is_file())?;
    let clock = tempfile::NamedTempFile::new().ok()?;
    std::fs::write(clock.path(), "+0").ok()?;
    let mut command = std::process::Command::new(std::env::current_exe().ok()?);
    command.args(arguments).env(faults::CLOCK, clock.path()).env("LD_PRELOAD", library);
    command.env("FAKETIME_TIMESTAMP_FILE", clock.path()).env("FAKETIME_NO_CACHE", "1");
    command.env("FAKETIME_DONT_FAKE_MONOTONIC", "1").env("DONT_FAKE_MONOTONIC", "1");
    command.status().ok()
}

/// The faults that `--faults` names (`--faults none`: nothing goes wrong); without it all.
fn chosen(arguments: &[String]) -> Vec<&'static str> {
    let Some(names) = arguments.iter().skip_while(|argument| *argument != "--faults").nth(1) else {
        return FAULTS.to_vec();
    };
    let names = names.split(',').filter(|name| *name != "none");
    let known = |name: &str| FAULTS.into_iter().find(|fault| *fault == name);
    names.map(|name| known(name).unwrap_or_else(|| panic!("`{name}` is none of {}", FAULTS.join(", ")))).collect()
}

fn option(arguments: &[String], name: &str, default: u64) -> u64 {
    let value = arguments.iter().skip_while(|argument| *argument != name).nth(1);
    value.map_or(default, |value| value.parse().unwrap_or_else(|_| panic!("{name} takes a number")))
}

//! How fast a ledger is checked: `verify` over its directory, beside bare SHA-256 of the same entries.
//!
//! `cargo bench -p countersign-ledger --features store --bench verify -- [--entries 100000] [--rounds 5]`; `BENCH_DIR` says where.
//! With 1 and with 64 entries per checkpoint, because each checkpoint costs a signature check. Nothing here is asserted, but the ledger must be clean.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a bench stops at the first surprise")]

#[path = "support/mod.rs"]
mod support;

use std::{collections::VecDeque, path::Path, time::Instant};

use countersign_ledger::{
    Draft, Hash,
    directory::Directory,
    evidence::Source as _,
    ledger::Options,
    record::body,
    verify::{Options as Checks, verify},
    writer::Ticket,
};

use support::{INSTRUCTIONS, call, create, directory, grant, instruction, median, option, signer};

fn main() {
    let (entries, rounds) = (option("--entries", 100_000), option("--rounds", 5).max(1));
    let dir = directory();
    for per_checkpoint in [1, 64] {
        let dir = dir.path().join(format!("ledger-{per_checkpoint}"));
        // One sync per checkpoint: fewer entries where each has its own.
        let entries = if per_checkpoint == 1 { entries / 5 } else { entries };
        fill(&dir, entries, per_checkpoint);
        side_by_side(&dir, rounds);
        std::fs::remove_dir_all(dir).unwrap();
    }
}

/// Calls and their outcomes, so many to a batch.
fn fill(dir: &Path, entries: u64, per_checkpoint: usize) {
    let mut options = Options::new(dir);
    options.limits.batch_entries = per_checkpoint;
    let (ledger, vault, subject) = create(options);
    let policy = ledger.keep_policy(b"catalogue").unwrap();
    let in_force = body::Policy {
        what: "catalogue".into(),
        name: "bank".into(),
        sha256: policy,
        size: 9,
        by: "bench".into(),
        ..body::Policy::default()
    };
    ledger.append_blocking(Draft::new(&in_force).unwrap()).unwrap();
    let mut granted = Vec::new();
    for n in 0..INSTRUCTIONS {
        let body = body::Grant {
            grant: grant(n),
            subject: subject.clone(),
            agent: "assistant".into(),
            actions: vec!["payments.create".into()],
            ..body::Grant::default()
        };
        granted.push(ledger.enqueue(Draft::new(&body).unwrap().of_instruction(instruction(n))).unwrap());
    }
    let causes: Vec<Hash> = granted.into_iter().map(|ticket| ticket.sealed_blocking().unwrap().hash).collect();
    let (mut calls, mut outcomes): (VecDeque<(u64, Ticket)>, VecDeque<Ticket>) = (VecDeque::new(), VecDeque::new());
    for n in 0..entries / 2 {
        let mut draft = call(&vault, &subject, n, policy);
        draft.parents = vec![causes[usize::try_from(n % INSTRUCTIONS).unwrap()]];
        calls.push_back((n, ledger.enqueue(draft).unwrap()));
        if calls.len() > 1024 {
            finish(&ledger, &mut calls, &mut outcomes);
        }
    }
    while !calls.is_empty() {
        finish(&ledger, &mut calls, &mut outcomes);
    }
    for outcome in outcomes {
        outcome.sealed_blocking().unwrap();
    }
    ledger.close().unwrap();
}

fn finish(ledger: &countersign_ledger::Ledger, calls: &mut VecDeque<(u64, Ticket)>, outcomes: &mut VecDeque<Ticket>) {
    let Some((n, call)) = calls.pop_front() else { return };
    let call = call.sealed_blocking().unwrap().hash;
    let body = body::Outcome { call, result: "completed".into(), sent: "yes".into(), ..body::Outcome::default() };
    outcomes.push_back(
        ledger.enqueue(Draft::new(&body).unwrap().of_instruction(instruction(n)).caused_by([call])).unwrap(),
    );
    if outcomes.len() > 1024 {
        outcomes.pop_front().unwrap().sealed_blocking().unwrap();
    }
}

fn side_by_side(dir: &Path, rounds: u64) {
    let (mut ours, mut bare, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    let directory = Directory::read(dir, None).unwrap();
    let all: Vec<_> = (0..directory.pieces()).flat_map(|piece| directory.piece(piece).unwrap().entries).collect();
    let bytes: usize = all.iter().map(|stored| stored.bytes().len()).sum();
    let mut told = String::new();
    for _ in 0..rounds {
        let begun = Instant::now();
        let directory = Directory::read(dir, None).unwrap();
        let report = verify(&directory, &Checks { trust: vec![signer().verifier().clone()], ..Checks::default() });
        let verifying = begun.elapsed().as_secs_f64();
        assert!(report.findings.is_empty(), "{report}");
        let begun = Instant::now();
        let mut last = Hash::ZERO;
        for stored in &all {
            last = Hash::of(stored.bytes());
        }
        let hashing = begun.elapsed().as_secs_f64();
        std::hint::black_box(last);
        ours.push(all.len() as f64 / verifying);
        bare.push(all.len() as f64 / hashing);
        ratios.push(hashing / verifying);
        told = format!(
            "{} entries, {:.1} per checkpoint, {} bytes each",
            report.counts.entries,
            report.counts.entries as f64 / report.counts.checkpoints as f64,
            bytes / all.len()
        );
    }
    let ((ours, ..), (bare, ..), (ratio, low, high)) = (median(&ours), median(&bare), median(&ratios));
    println!(
        "{told}\n  verify {ours:.0} entries/s, bare SHA-256 {bare:.0} entries/s, ratio {ratio:.3} ({low:.3} to {high:.3})"
    );
}

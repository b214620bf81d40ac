//! How a ledger gets old: calls and outcomes in batches as large as they may be.

use std::collections::VecDeque;

use countersign_ledger::{
    Draft, Hash, Ledger,
    record::{StatePut, body},
    writer::Ticket,
};

/// Calls of one instruction, each with its outcome.
const CALLS: u64 = 5;
const QUEUED: usize = 4096;

/// Appends so many entries and waits until they are sealed.
pub fn fill(ledger: &Ledger, entries: u64) {
    let mut waiting: VecDeque<Ticket> = VecDeque::new();
    for draft in (0..entries / 2).flat_map(exchange) {
        if waiting.len() >= QUEUED {
            waiting.pop_front().unwrap().sealed_blocking().unwrap();
        }
        waiting.push_back(ledger.enqueue(draft).unwrap());
    }
    for ticket in waiting {
        ticket.sealed_blocking().unwrap();
    }
}

/// The instruction of call `n`.
pub fn instruction(n: u64) -> String {
    let id = Hash::of(&(n / CALLS).to_be_bytes()).to_string();
    id.chars().take(36).collect()
}

/// Call `n` and its outcome, of about 700 bytes each.
pub fn exchange(n: u64) -> [Draft; 2] {
    let id = Hash::of(&(n + (1 << 40)).to_be_bytes()).to_string();
    let call = body::Call {
        call: id.clone(),
        grant: Some(id.clone()),
        subject: Some(id.clone()),
        agent: Some("assistant".into()),
        credential: "bearer".into(),
        upstream: "bank".into(),
        action: Some("payments.create".into()),
        verdict: "allow".into(),
        engine: "countersign/1".into(),
        upstream_n: Some(n),
        ..body::Call::default()
    };
    let outcome =
        body::Outcome { call: Hash::of(id.as_bytes()), result: "completed".into(), ..body::Outcome::default() };
    let put = |value| StatePut { key: format!("open/{id}").into_bytes(), value };
    let mut call = Draft::new(&call).unwrap().of_instruction(instruction(n));
    let mut outcome = Draft::new(&outcome).unwrap().of_instruction(instruction(n));
    call.state.push(put(Some(br#"{"upstream":"bank"}"#.to_vec())));
    outcome.state.push(put(None));
    [call, outcome]
}

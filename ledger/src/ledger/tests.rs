use ed25519_dalek::SigningKey;
use serde_json::json;

use super::*;
use crate::{
    Entry,
    canonical::Members,
    clock::{ManualClock, SystemClock},
    record::{Attachment, Kind},
};

fn signer() -> CheckpointSigner {
    CheckpointSigner::new("bank.example/agents", SigningKey::from_bytes(&[1; 32])).unwrap()
}

fn draft(n: u64, instruction: Option<&str>) -> Draft {
    let body = Members::of(&json!({"v": 1, "n": n, "pad": "x".repeat(300)})).unwrap();
    let attachment = Attachment { subject: "s".into(), name: "a".into(), sealed: vec![7; 200] };
    Draft {
        instruction: instruction.map(str::to_owned),
        attachments: [attachment].into_iter().collect(),
        ..Draft::of(Kind::Other("test".into()), body)
    }
}

fn create(dir: &Path) -> Ledger {
    Ledger::create(Options::new(dir), signer(), Arc::new(SystemClock), None).unwrap()
}

fn open(dir: &Path) -> Result<(Ledger, Opened), OpenError> {
    Ledger::open(Options::new(dir), signer(), Arc::new(SystemClock))
}

#[test]
fn what_was_sealed_is_there_after_a_restart_with_its_proof() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = create(dir.path());
    let mut sealed = Vec::new();
    for n in 0..700 {
        sealed.push(ledger.enqueue(draft(n, Some(if n % 2 == 0 { "even" } else { "odd" }))).unwrap());
    }
    let sealed: Vec<Sealed> = sealed.into_iter().map(|ticket| ticket.sealed_blocking().unwrap()).collect();
    let trusted = [signer().verifier().clone()];
    let mut first = Some(ledger);
    for round in 0..3 {
        let ledger = first.take().unwrap_or_else(|| open(dir.path()).unwrap().0);
        for entry in &sealed {
            entry.proof.verify(&entry.bytes, &trusted).unwrap();
            assert_eq!(*ledger.entry(entry.seq).unwrap(), *entry.bytes);
            assert_eq!(ledger.find(&entry.hash).unwrap(), Some(entry.seq));
            assert_eq!(ledger.attachments(entry.seq).unwrap().len(), 1);
            ledger.proof(entry.seq).unwrap().verify(&entry.bytes, &trusted).unwrap();
        }
        let even = ledger.of_instruction("even").unwrap();
        assert_eq!(even.len() as u64, 350 + round);
        let next = ledger.append_blocking(draft(round, Some("even"))).unwrap();
        assert_eq!((next.n, next.seq), (Some(350 + round), 701 + round));
        let path = ledger.consistency(5, next.seq).unwrap();
        assert!(!path.is_empty());
        ledger.close().unwrap();
        assert!(matches!(ledger.append_blocking(draft(0, None)), Err(AppendError::Closed)));
    }
}

#[test]
fn many_tiles_are_archived_and_the_journal_is_trimmed() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = Options::new(dir.path());
    options.limits.segment_bytes = 1 << 20;
    options.limits.keep_entries = 1000;
    let ledger = Ledger::create(options.clone(), signer(), Arc::new(SystemClock), None).unwrap();
    let mut last = None;
    for round in 0..12 {
        let tickets: Vec<Ticket> = (0..1000).map(|n| ledger.enqueue(draft(round * 1000 + n, None)).unwrap()).collect();
        last = tickets.into_iter().map(|ticket| ticket.sealed_blocking().unwrap()).last();
    }
    ledger.close().unwrap();
    assert_eq!(last.unwrap().seq, 12_000);
    let status = ledger.status();
    assert_eq!((status.archived, status.store_lag, status.poisoned), (12_001 / 256 * 256, 0, None));
    let segments = std::fs::read_dir(dir.path().join("journal")).unwrap().count();
    assert!(segments <= 5, "{segments} segments are left");
    drop(ledger);
    let (ledger, opened) = Ledger::open(options, signer(), Arc::new(SystemClock)).unwrap();
    assert_eq!(opened, Opened { size: 12_001, replayed: 0, anchor_lost: false, repaired: None });
    for seq in [0, 1, 255, 256, 5000, 11_999, 12_000] {
        let bytes = ledger.entry(seq).unwrap();
        assert_eq!(Entry::parse(&bytes).unwrap().seq, seq);
        ledger.proof(seq).unwrap().verify(&bytes, &[signer().verifier().clone()]).unwrap();
    }
    assert!(matches!(ledger.entry(12_001), Err(ReadError::Missing { .. })));
}

#[test]
fn a_second_process_and_a_second_ledger_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = create(dir.path());
    assert!(matches!(open(dir.path()), Err(OpenError::Locked(_))));
    drop(ledger);
    let second = Ledger::create(Options::new(dir.path()), signer(), Arc::new(SystemClock), None);
    assert!(matches!(second, Err(OpenError::Exists(_))));
    assert!(matches!(open(&dir.path().join("none")), Err(OpenError::Missing(_))));
}

#[test]
fn a_clock_that_steps_back_is_recorded_and_times_never_decrease() {
    let dir = tempfile::tempdir().unwrap();
    let at = |second| jiff::Timestamp::from_second(second).unwrap();
    let clock = Arc::new(ManualClock::new(at(1000)));
    let ledger = Ledger::create(Options::new(dir.path()), signer(), clock.clone(), None).unwrap();
    for second in [1001, 900, 901, 1002, 800] {
        clock.set(at(second));
        ledger.append_blocking(draft(0, None)).unwrap();
    }
    let entries: Vec<Entry> =
        (0..ledger.head().size()).map(|seq| Entry::parse(&ledger.entry(seq).unwrap()).unwrap()).collect();
    assert!(entries.is_sorted_by_key(|entry| entry.time));
    let steps: Vec<_> =
        entries.iter().filter(|entry| entry.text("event") == Some("clock_step")).map(|entry| entry.seq).collect();
    assert_eq!(steps, [2, 6]);
}

#[test]
fn another_key_does_not_open_it() {
    let dir = tempfile::tempdir().unwrap();
    drop(create(dir.path()));
    let other = CheckpointSigner::new("bank.example/agents", SigningKey::from_bytes(&[2; 32])).unwrap();
    let opened = Ledger::open(Options::new(dir.path()), other, Arc::new(SystemClock));
    assert!(matches!(opened, Err(OpenError::Key(_))));
}

#[test]
fn a_full_queue_refuses_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = Options::new(dir.path());
    options.limits.queue_entries = 8;
    let ledger = Ledger::create(options, signer(), Arc::new(SystemClock), None).unwrap();
    let (mut tickets, mut refused) = (Vec::new(), 0);
    for n in 0..5000 {
        match ledger.enqueue(draft(n, None)) {
            Ok(ticket) => tickets.push(ticket),
            Err(AppendError::Full) => refused += 1,
            Err(other) => panic!("{other}"),
        }
    }
    assert!(refused > 0);
    let count = tickets.len() as u64;
    let last = tickets.into_iter().map(|ticket| ticket.sealed_blocking().unwrap().seq).last();
    assert_eq!(last, Some(count));
}

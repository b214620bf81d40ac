//! A part of a ledger is the same whether its index says where to look or everything is looked at.

#![cfg(feature = "store")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that fails should stop where it fails")]

use std::{
    collections::BTreeSet,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use countersign_ledger::{
    Draft, Hash, Ledger,
    batch::Batch,
    checkpoint::CheckpointSigner,
    clock::{Clock as _, ManualClock},
    directory::Directory,
    evidence::{Damage, Evidence, Selection, Source},
    ledger::Options,
    record::{Time, body},
    term::Term,
};
use ed25519_dalek::SigningKey;
use jiff::{SignedDuration, Timestamp};

/// A directory, with its index or as if it had none; counts what is read.
struct Counted<'d> {
    directory: &'d Directory,
    indexed: bool,
    read: AtomicU64,
}

impl Source for Counted<'_> {
    fn pieces(&self) -> u64 {
        self.directory.pieces()
    }

    fn piece(&self, index: u64) -> Result<Batch, Damage> {
        self.read.fetch_add(1, Ordering::Relaxed);
        self.directory.piece(index)
    }

    fn pieces_with(&self, terms: &[Term]) -> Option<BTreeSet<u64>> {
        self.directory.pieces_with(terms).filter(|_| self.indexed)
    }

    fn policy(&self, hash: &Hash) -> Option<Vec<u8>> {
        self.directory.policy(hash)
    }

    fn damage(&self) -> Vec<Damage> {
        self.directory.damage()
    }
}

/// Twenty instructions one after the other, each with calls, and between them everything that belongs to every part.
fn make(dir: &Path) -> (Hash, Vec<Time>) {
    let clock = Arc::new(ManualClock::new(Timestamp::from_second(1_800_000_000).unwrap()));
    let signer = CheckpointSigner::new("a.example", SigningKey::from_bytes(&[1; 32])).unwrap();
    let ledger = Ledger::create(Options::new(dir), signer, clock.clone(), None).unwrap();
    let (mut some, mut times) = (Hash::ZERO, Vec::new());
    let add = |draft: Draft| ledger.append_blocking(draft).unwrap();
    for i in 0..20 {
        let id = format!("instruction-{i}");
        for n in 0..120 {
            let call = body::Call { call: format!("call-{i}-{n}"), verdict: "deny".into(), ..Default::default() };
            clock.set(clock.now() + SignedDuration::from_secs(1));
            let sealed = add(Draft::new(&call).unwrap().of_instruction(&id));
            if n == 100 {
                some = sealed.hash;
                times.push(sealed.time);
            }
        }
        let closed = vec![body::Total { instruction: id.clone(), entries: 120 }];
        add(Draft::new(&body::Heartbeat { closed, ..Default::default() }).unwrap());
        add(Draft::new(&body::Heartbeat::default()).unwrap());
        add(Draft::new(&body::Access { by: "x".into(), ..Default::default() }).unwrap());
        let revocation = body::Revocation { what: "action".into(), id, lifted: i % 2 == 0, ..Default::default() };
        add(Draft::new(&revocation).unwrap());
        if i == 10 {
            add(Draft::new(&body::Party { party: "p".into(), role: "user".into(), ..Default::default() }).unwrap());
            add(Draft::new(&body::Hold { hold: "h".into(), ..Default::default() }).unwrap());
        }
    }
    ledger.close().unwrap();
    (some, times)
}

#[test]
fn every_part_found_by_the_index_is_the_one_found_by_looking_at_everything() {
    let dir = tempfile::tempdir().unwrap();
    let (hash, times) = make(dir.path());
    let directory = Directory::read(dir.path(), None).unwrap();
    let late = Time::new(times[19].instant() + SignedDuration::from_secs(9999));
    let selections = [
        Selection::All,
        Selection::Instruction("instruction-0".into()),
        Selection::Instruction("instruction-7".into()),
        Selection::Instruction("instruction-19".into()),
        Selection::Instruction("nobody".into()),
        Selection::Call("call-12-50".into()),
        Selection::Call(hash.to_string()),
        Selection::Window(times[3], times[5]),
        Selection::Window(times[18], late),
        Selection::Window(late, late),
        Selection::Window(times[0], times[0]),
    ];
    for selection in selections {
        let source = |indexed| Counted { directory: &directory, indexed, read: AtomicU64::new(0) };
        let (indexed, all) = (source(true), source(false));
        let collect = |source: &Counted<'_>| Evidence::collect(source, &selection, None, &|_| false).unwrap();
        let (part, expected) = (collect(&indexed), collect(&all));
        let bytes = |evidence: &Evidence| evidence.items.values().map(|item| item.bytes.clone()).collect::<Vec<_>>();
        assert_eq!(bytes(&part), bytes(&expected), "{selection:?}");
        assert_eq!((&part.checkpoint, &part.keys), (&expected.checkpoint, &expected.keys), "{selection:?}");
        assert_eq!(part.origin, "a.example");
        assert!(all.read.into_inner() >= directory.pieces());
    }
    // Of a thousand pieces only those are read that have something: here all have, but for the last instruction's own.
    let nothing_else =
        directory.pieces_with(&[Term::instruction("instruction-7"), Term::total("instruction-7")]).unwrap();
    assert!(nothing_else.len() <= 3, "{nothing_else:?}");
    assert_eq!(directory.pieces_with(&[Term::call("call-0-0")]).unwrap().first(), Some(&0));
}

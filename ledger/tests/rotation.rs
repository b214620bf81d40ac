//! The keys that sign a ledger's checkpoints take over from each other: both sign in between, and whoever trusts one of them can follow.

#![cfg(feature = "store")]
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that fails should stop where it fails"
)]

use std::{
    collections::BTreeSet,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
};

use countersign_ledger::{
    Draft, Entry, Ledger,
    checkpoint::{CheckpointSigner, KeyElsewhere, VerifierKey},
    clock::SystemClock,
    directory::Directory,
    ledger::Options as LedgerOptions,
    open::OpenError,
    record::body,
    verify::{Held, Options, verify},
};
use ed25519_dalek::{Signer as _, SigningKey, VerifyingKey};

const ORIGIN: &str = "bank.example/agents";

fn one(seed: u8) -> CheckpointSigner {
    CheckpointSigner::new(ORIGIN, SigningKey::from_bytes(&[seed; 32])).unwrap()
}

fn signer(seeds: &[u8]) -> CheckpointSigner {
    seeds.iter().map(|seed| one(*seed)).reduce(CheckpointSigner::beside).unwrap()
}

fn create(dir: &Path, seeds: &[u8]) -> Ledger {
    Ledger::create(LedgerOptions::new(dir), signer(seeds), Arc::new(SystemClock), None).unwrap()
}

fn open(dir: &Path, seeds: &[u8]) -> Result<Ledger, OpenError> {
    Ledger::open(LedgerOptions::new(dir), signer(seeds), Arc::new(SystemClock)).map(|(ledger, _)| ledger)
}

fn close(ledger: Ledger) {
    ledger.close().unwrap();
}

fn write(ledger: &Ledger, entries: usize) {
    for n in 0..entries {
        let body =
            body::Party { party: format!("p{n}"), role: "agent".into(), by: "test".into(), ..Default::default() };
        ledger.append_blocking(Draft::new(&body).unwrap()).unwrap();
    }
}

/// The codes that `verify` finds for who trusts these keys and holds that.
fn found(dir: &Path, trust: &[u8], against: Option<&str>) -> BTreeSet<&'static str> {
    let trust: Vec<VerifierKey> = trust.iter().map(|seed| one(*seed).verifier().clone()).collect();
    let against = against.map(|text| Held::parse(text).unwrap()).into_iter().collect();
    let options = Options { trust, against, ..Options::default() };
    let report = verify(&Directory::read(dir, None).unwrap(), &options);
    report.findings.iter().map(|finding| finding.code).collect()
}

fn of_ledger(ledger: &Ledger) -> Vec<body::Ledger> {
    let entries = (0..ledger.head().size()).map(|seq| Entry::parse(&ledger.entry(seq).unwrap()).unwrap());
    entries
        .filter(|entry| entry.kind == countersign_ledger::Kind::Ledger)
        .map(|entry| entry.body_as().unwrap())
        .collect()
}

fn clean() -> BTreeSet<&'static str> {
    BTreeSet::new()
}

#[test]
fn a_key_takes_over_and_who_trusts_either_follows() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = create(dir.path(), &[1]);
    write(&ledger, 300);
    let early = ledger.head();
    close(ledger);
    let ledger = open(dir.path(), &[1, 2]).unwrap();
    assert_eq!(of_ledger(&ledger).last().unwrap().event, "rotated");
    write(&ledger, 300);
    let both = ledger.head();
    assert!(both.verify(&[one(1).verifier().clone()]).is_ok() && both.verify(&[one(2).verifier().clone()]).is_ok());
    close(ledger);
    for trust in [&[][..], &[1], &[2], &[1, 2]] {
        assert_eq!(found(dir.path(), trust, None), clean(), "{trust:?}");
    }
    // Opened once more with both: there is nothing new to say.
    let ledger = open(dir.path(), &[1, 2]).unwrap();
    assert_eq!(of_ledger(&ledger).iter().filter(|entry| entry.event == "rotated").count(), 1);
    close(ledger);
    let ledger = open(dir.path(), &[2]).unwrap();
    assert_eq!(of_ledger(&ledger).last().unwrap().event, "retired");
    write(&ledger, 300);
    assert!(ledger.head().verify(&[one(1).verifier().clone()]).is_err());
    close(ledger);
    for trust in [&[][..], &[1], &[2]] {
        for held in [None, Some(early.as_str()), Some(both.as_str())] {
            assert_eq!(found(dir.path(), trust, held), clean(), "{trust:?}");
        }
    }
    assert_eq!(found(dir.path(), &[7], None), BTreeSet::from(["key-not-trusted"]));
    // Neither the retired key opens it, nor another one.
    for seeds in [&[1][..], &[7]] {
        assert!(matches!(open(dir.path(), seeds), Err(OpenError::Key(_))), "{seeds:?}");
    }
    let ledger = open(dir.path(), &[2]).unwrap();
    assert_eq!(of_ledger(&ledger).last().unwrap().event, "retired", "and nothing was said again");
}

#[test]
fn who_has_the_old_key_alone_writes_no_history_that_the_new_ones_holders_take() {
    let honest = tempfile::tempdir().unwrap();
    close(create(honest.path(), &[1]));
    let ledger = open(honest.path(), &[1, 2]).unwrap();
    let rotated = of_ledger(&ledger).pop().unwrap();
    // The old key's thief knows what both signed, and puts it into a ledger of their own.
    let forged = tempfile::tempdir().unwrap();
    let ledger = create(forged.path(), &[1]);
    ledger.append_blocking(Draft::new(&rotated).unwrap()).unwrap();
    write(&ledger, 5);
    close(ledger);
    assert_eq!(found(forged.path(), &[2], None), BTreeSet::from(["key-not-trusted"]));
    // Who still trusts the old key cannot tell: that is why the new one must be pinned.
    assert_eq!(found(forged.path(), &[1], None), clean());
    // A key that the thief has, and for which nobody signed.
    let ledger = open(forged.path(), &[1]).unwrap();
    let vkey = Some(one(3).verifier().to_string());
    ledger.append_blocking(Draft::new(&body::Ledger { vkey, ..rotated }).unwrap()).unwrap();
    close(ledger);
    assert_eq!(found(forged.path(), &[1], None), BTreeSet::from(["rotation-invalid"]));
}

#[test]
fn a_retired_key_signs_no_more() {
    let dir = tempfile::tempdir().unwrap();
    close(create(dir.path(), &[1, 2]));
    // As a gateway that goes on with the key that it says is retired.
    let ledger = open(dir.path(), &[1, 2]).unwrap();
    let vkey = Some(one(2).verifier().to_string());
    let retired = body::Ledger { event: "retired".into(), software: "x".into(), vkey, ..Default::default() };
    ledger.append_blocking(Draft::new(&retired).unwrap()).unwrap();
    close(ledger);
    assert_eq!(found(dir.path(), &[1], None), clean());
    let alone = open(dir.path(), &[2]);
    close(alone.unwrap());
    assert!(found(dir.path(), &[1], None).contains("checkpoint-signature"));
}

/// A module that signs, lies, or does not answer.
struct Module(SigningKey, Arc<AtomicU8>);

impl KeyElsewhere for Module {
    fn verifying_key(&self) -> VerifyingKey {
        self.0.verifying_key()
    }

    fn sign(&self, message: &[u8]) -> Result<[u8; 64], String> {
        match self.1.load(Ordering::SeqCst) {
            0 => Ok(self.0.sign(message).to_bytes()),
            1 => Ok(self.0.sign(b"something else").to_bytes()),
            _ => Err("the module was taken out".to_owned()),
        }
    }
}

#[test]
fn nothing_is_acknowledged_that_the_module_did_not_sign() {
    for fault in [1, 2] {
        let (dir, state) = (tempfile::tempdir().unwrap(), Arc::new(AtomicU8::new(0)));
        let module = || Arc::new(Module(SigningKey::from_bytes(&[3; 32]), state.clone()));
        let signer = || CheckpointSigner::elsewhere(ORIGIN, module()).unwrap();
        let ledger = Ledger::create(LedgerOptions::new(dir.path()), signer(), Arc::new(SystemClock), None).unwrap();
        write(&ledger, 3);
        let size = ledger.head().size();
        state.store(fault, Ordering::SeqCst);
        let body = body::Party { party: "p".into(), role: "agent".into(), by: "test".into(), ..Default::default() };
        assert!(ledger.append_blocking(Draft::new(&body).unwrap()).is_err());
        assert!(ledger.status().poisoned.unwrap().contains("did not sign"));
        drop(ledger);
        state.store(0, Ordering::SeqCst);
        let (ledger, _) = Ledger::open(LedgerOptions::new(dir.path()), signer(), Arc::new(SystemClock)).unwrap();
        assert_eq!(ledger.head().size(), size, "what was not signed is not there");
        close(ledger);
        assert_eq!(found(dir.path(), &[3], None), clean());
    }
}

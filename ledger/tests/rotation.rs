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
        atomic::{AtomicU8, AtomicU32, Ordering},
    },
    thread,
    time::Duration,
};

use countersign_ledger::{
    Draft, Entry, Ledger,
    checkpoint::{CheckpointSigner, KeyElsewhere, NotSigned, VerifierKey},
    clock::SystemClock,
    directory::Directory,
    ledger::Options as LedgerOptions,
    open::OpenError,
    record::body,
    verify::{Held, Options, verify},
    writer::AppendError,
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

/// A module, and what is the matter with it.
struct Module {
    key: SigningKey,
    state: AtomicU8,
    tries: AtomicU32,
}

const SIGNS: u8 = 0;
const LIES: u8 = 1;
const IS_OUT: u8 = 2;
const REFUSES_THE_PIN: u8 = 3;
const HANGS: u8 = 4;

impl Module {
    fn new(state: u8) -> Arc<Module> {
        let key = SigningKey::from_bytes(&[3; 32]);
        Arc::new(Module { key, state: AtomicU8::new(state), tries: AtomicU32::new(0) })
    }

    fn is(&self, state: u8) {
        self.state.store(state, Ordering::SeqCst);
    }

    fn tries(&self) -> u32 {
        self.tries.load(Ordering::SeqCst)
    }

    fn signer(self: &Arc<Module>) -> CheckpointSigner {
        CheckpointSigner::elsewhere(ORIGIN, self.clone()).unwrap()
    }
}

impl KeyElsewhere for Module {
    fn verifying_key(&self) -> VerifyingKey {
        self.key.verifying_key()
    }

    fn sign(&self, message: &[u8]) -> Result<[u8; 64], NotSigned> {
        self.tries.fetch_add(1, Ordering::SeqCst);
        while self.state.load(Ordering::SeqCst) == HANGS {
            thread::sleep(Duration::from_millis(1));
        }
        let state = self.state.load(Ordering::SeqCst);
        match state {
            SIGNS => Ok(self.key.sign(message).to_bytes()),
            LIES => Ok(self.key.sign(b"something else").to_bytes()),
            _ => Err(NotSigned { what: "the module was taken out".into(), is_final: state == REFUSES_THE_PIN }),
        }
    }
}

fn with(dir: &Path, module: &Arc<Module>) -> Ledger {
    let ledger = Ledger::create(LedgerOptions::new(dir), module.signer(), Arc::new(SystemClock), None).unwrap();
    write(&ledger, 3);
    ledger
}

fn again(dir: &Path, module: &Arc<Module>) -> Ledger {
    Ledger::open(LedgerOptions::new(dir), module.signer(), Arc::new(SystemClock)).unwrap().0
}

fn party(name: &str) -> Draft {
    let body = body::Party { party: name.into(), role: "agent".into(), by: "test".into(), ..Default::default() };
    Draft::new(&body).unwrap()
}

fn until(what: impl Fn() -> bool) {
    while !what() {
        thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn what_the_module_does_not_sign_waits_and_is_sealed_in_order_when_it_does() {
    for fault in [LIES, IS_OUT] {
        let (dir, module) = (tempfile::tempdir().unwrap(), Module::new(SIGNS));
        let ledger = with(dir.path(), &module);
        let size = ledger.head().size();
        module.is(fault);
        let before = module.tries();
        let waits = ledger.enqueue(party("a")).unwrap();
        until(|| module.tries() > before + 2);
        // Nothing of it is there, nothing else is taken, and why is said; but how a call ended waits with it.
        let Err(AppendError::Unsigned(why)) = ledger.can_seal() else { panic!("ready, and cannot sign") };
        assert!(why.contains("did not sign"), "{why}");
        let refused = ledger.enqueue(party("b")).unwrap_err();
        assert!(refused.passes() && !refused.is_fatal(), "{refused}");
        let outcome = body::Outcome { result: "completed".into(), sent: "yes".into(), ..Default::default() };
        ledger.enqueue_unawaited(Draft::new(&outcome).unwrap()).unwrap();
        assert_eq!((ledger.head().size(), ledger.status().poisoned), (size, None));
        assert_eq!(found(dir.path(), &[3], None), clean(), "nothing is half written");

        module.is(SIGNS);
        assert_eq!(waits.sealed_blocking().unwrap().seq, size);
        until(|| ledger.can_seal().is_ok());
        assert!(ledger.append_blocking(party("b")).unwrap().seq > size);
        close(ledger);
        let ledger = again(dir.path(), &module);
        let kinds = (size..ledger.head().size()).map(|seq| Entry::parse(&ledger.entry(seq).unwrap()).unwrap().kind);
        assert_eq!(kinds.map(|kind| kind.as_str().to_owned()).collect::<Vec<_>>(), ["party", "outcome", "party"]);
        close(ledger);
        // The call that the outcome is of was never there.
        assert_eq!(found(dir.path(), &[3], None), BTreeSet::from(["outcome-without-call"]));
    }
}

#[test]
fn while_the_module_does_not_come_back_from_a_call_nothing_new_is_accepted() {
    let (dir, module) = (tempfile::tempdir().unwrap(), Module::new(SIGNS));
    let mut options = LedgerOptions::new(dir.path());
    options.limits.stuck_after = Duration::from_millis(500);
    let ledger = Ledger::create(options, module.signer(), Arc::new(SystemClock), None).unwrap();
    until(|| ledger.status().waited == Duration::ZERO);
    module.is(HANGS);
    let waits = ledger.enqueue(party("a")).unwrap();
    until(|| ledger.can_seal().is_err());
    let stuck = ledger.can_seal().unwrap_err();
    assert!(matches!(&stuck, AppendError::Stuck { waited } if *waited > Duration::from_millis(500)), "{stuck}");
    assert!(stuck.passes() && ledger.status().waited > Duration::from_millis(500));
    let refused = ledger.enqueue(party("b")).unwrap_err();
    assert!(matches!(&refused, AppendError::Stuck { .. }), "{refused}");
    let outcome = body::Outcome { result: "completed".into(), sent: "yes".into(), ..Default::default() };
    ledger.enqueue_unawaited(Draft::new(&outcome).unwrap()).unwrap();

    module.is(SIGNS);
    let sealed = waits.sealed_blocking().unwrap();
    until(|| ledger.can_seal().is_ok());
    assert_eq!(ledger.append_blocking(party("b")).unwrap().seq, sealed.seq + 2);
    close(ledger);
}

#[test]
fn a_module_that_refuses_the_pin_is_asked_once_and_nobody_waits_for_one_at_a_start_or_an_end() {
    for fault in [IS_OUT, REFUSES_THE_PIN] {
        let (dir, module) = (tempfile::tempdir().unwrap(), Module::new(SIGNS));
        let ledger = with(dir.path(), &module);
        let (size, before) = (ledger.head().size(), module.tries());
        module.is(fault);
        let waits = ledger.enqueue(party("a")).unwrap();
        if fault == IS_OUT {
            until(|| ledger.can_seal().is_err());
            assert!(ledger.close().is_err(), "what was queued is not there");
        }
        assert!(matches!(waits.sealed_blocking(), Err(AppendError::Poisoned(_))));
        assert!(ledger.status().poisoned.unwrap().contains("the module was taken out"));
        assert!(fault == IS_OUT || module.tries() == before + 1, "each try more may lock it");
        drop(ledger);
        module.is(SIGNS);
        let ledger = again(dir.path(), &module);
        assert_eq!(ledger.head().size(), size, "what was not signed is not there");
        close(ledger);
        assert_eq!(found(dir.path(), &[3], None), clean());

        module.is(fault);
        let new = tempfile::tempdir().unwrap();
        let begun = Ledger::create(LedgerOptions::new(new.path()), module.signer(), Arc::new(SystemClock), None);
        assert!(begun.is_err());
    }
}

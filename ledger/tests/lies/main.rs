//! For each thing that entries can say of each other and that cannot be true: `verify` names it, in the whole ledger and in a bundle of it.
//!
//! The ledger is chained and signed as it should be: only what its entries mean is wrong, as when a gateway is faulty or its operator lies.

#![cfg(feature = "store")]
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::too_many_lines,
    clippy::unwrap_used,
    reason = "a test that fails should stop where it fails"
)]

mod approved;
#[path = "../../src/passkey/authenticator.rs"]
#[allow(dead_code, reason = "shared with tests that use all of it")]
mod authenticator;
mod countersigned;
#[path = "../golden_bundles/mod.rs"]
mod golden_bundles;
mod granted;
mod possessed;
mod recorded;

use std::{path::Path, sync::Arc};

use countersign_ledger::{
    Draft, Hash, Ledger, bundle,
    checkpoint::CheckpointSigner,
    clock::{Clock as _, ManualClock},
    directory::Directory,
    disclosure::Disclosure,
    evidence::{Evidence, Selection},
    ledger::Options as LedgerOptions,
    passkey::Stated,
    record::{Attachment, Time, body},
    statement::{Jwk, Statement},
    vault::{Opened, Vault},
    verify::{Options, Report, verify, verify_bundle},
};
use ed25519_dalek::SigningKey;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use self::authenticator::Authenticator;

const ORIGIN: &str = "bank.example/agents";

/// A ledger that is written entry by entry, whatever they say.
struct World {
    ledger: Ledger,
    vault: Vault,
    clock: Arc<ManualClock>,
    emma: String,
    policy: Hash,
    said: Hash,
    approver: SigningKey,
}

fn signer() -> CheckpointSigner {
    CheckpointSigner::new(ORIGIN, SigningKey::from_bytes(&[1; 32])).unwrap()
}

fn is(change: impl FnOnce(&mut body::Call)) -> impl FnOnce(&mut body::Call) {
    change
}

impl World {
    /// A catalogue, an approver with a key, one instruction with a grant for two actions.
    fn new(dir: &Path) -> World {
        World::of(dir, signer())
    }

    /// The same, of another ledger.
    fn of(dir: &Path, signer: CheckpointSigner) -> World {
        let clock = Arc::new(ManualClock::new(Timestamp::from_second(1_800_000_000).unwrap()));
        let ledger = Ledger::create(LedgerOptions::new(dir), signer, clock.clone(), None).unwrap();
        let vault = Vault::open(&dir.join("keys")).unwrap();
        let emma = vault.subject("emma").unwrap();
        let policy = ledger.keep_policy(b"upstream = \"bank\"\n").unwrap();
        let approver = SigningKey::from_bytes(&[5; 32]);
        let mut world = World { ledger, vault, clock, emma, policy, said: Hash::ZERO, approver };
        world.add(None, &world.catalogue(policy), &[]);
        world.add(None, &world.key("registered", true), &[]);
        let said = body::Instruction {
            subject: world.emma.clone(),
            attested_by: "host".into(),
            host: "app".into(),
            agent: "a".into(),
            ..Default::default()
        };
        world.said = world.add(Some("i"), &said, &[("words", json!("pay"))]);
        world.add(Some("i"), &world.grant("g"), &[]);
        world
    }

    /// Writes an entry with what it discloses.
    fn add<B: body::Body>(&self, instruction: Option<&str>, body: &B, values: &[(&str, Value)]) -> Hash {
        let mut draft = Draft::new(body).unwrap();
        if let Some(instruction) = instruction {
            draft = draft.of_instruction(instruction);
        }
        for (name, value) in values {
            draft = draft.disclose(&self.vault, &self.emma, name, value).unwrap();
        }
        self.ledger.append_blocking(draft).unwrap().hash
    }

    fn later(&self, seconds: i64) {
        self.clock.set(self.clock.now() + SignedDuration::from_secs(seconds));
    }

    fn catalogue(&self, sha256: Hash) -> body::Policy {
        let (what, name) = ("catalogue".into(), "bank".into());
        body::Policy { what, name, sha256, size: 18, by: "test".into(), ..Default::default() }
    }

    fn key(&self, event: &str, whole: bool) -> body::Key {
        let jwk = Jwk::ed25519(&self.approver.verifying_key());
        let (kid, party) = (jwk.thumbprint(), "ann".into());
        let jwk = whole.then(|| serde_json::to_value(&jwk).unwrap());
        body::Key { event: event.into(), kid, party, jwk, by: "test".into(), ..Default::default() }
    }

    /// Registers a key under its own thumbprint, whatever it is.
    fn with_key(&self, jwk: Value) {
        let kid = serde_json::from_value::<Jwk>(jwk.clone()).unwrap().thumbprint();
        self.add(None, &body::Key { kid, jwk: Some(jwk), ..self.key("registered", true) }, &[]);
    }

    fn grant(&self, id: &str) -> body::Grant {
        body::Grant {
            grant: id.into(),
            subject: self.emma.clone(),
            agent: "a".into(),
            actions: vec!["pay".into(), "read".into()],
            expires: Some(Time::new(self.clock.now() + SignedDuration::from_secs(3600))),
            ..Default::default()
        }
    }

    fn delegation(&self) -> body::Delegation {
        let body::Grant { subject, expires, .. } = self.grant("g");
        let (grant, from, agent) = ("d".into(), "g".into(), "sub".into());
        body::Delegation { grant, from, subject, agent, actions: vec!["pay".into()], expires, ..Default::default() }
    }

    fn call(&self, change: impl FnOnce(&mut body::Call)) -> body::Call {
        let mut call = body::Call {
            call: "c".into(),
            grant: Some("g".into()),
            subject: Some(self.emma.clone()),
            agent: Some("a".into()),
            credential: "bearer".into(),
            upstream: "bank".into(),
            action: Some("pay".into()),
            verdict: "allow".into(),
            engine: "e".into(),
            policies: vec![self.policy],
            ..Default::default()
        };
        change(&mut call);
        call
    }

    /// A held call and an approval of it, signed by the approver; `change` changes what she signs.
    fn held(&self) -> Hash {
        self.add(Some("i"), &self.call(|call| call.verdict = "hold".into()), &[("digest", json!("d1"))])
    }

    /// A held call that needs several approvers.
    fn held_for(&self, needs: u32) -> Hash {
        let held = |call: &mut body::Call| (call.verdict, call.needs) = ("hold".into(), Some(needs));
        self.add(Some("i"), &self.call(held), &[("digest", json!("d1"))])
    }

    /// An approver's passkey, with the thumbprint under which it is registered.
    fn passkey(&self) -> (Authenticator, String) {
        let authenticator = Authenticator::new(3, "https://approve.example");
        let jwk: Jwk = serde_json::from_value(authenticator.jwk()).unwrap();
        let passkey = Some(serde_json::from_value(authenticator.passkey()).unwrap());
        let (kid, jwk) = (jwk.thumbprint(), Some(json!(jwk)));
        let key = body::Key {
            event: "registered".into(),
            kid: kid.clone(),
            party: "ann".into(),
            jwk,
            passkey,
            by: "test".into(),
            ..Default::default()
        };
        self.add(None, &key, &[]);
        (authenticator, kid)
    }

    /// Held calls that an approver answers with her passkey, whose authenticator counts like this.
    fn with_passkey(&self, counters: &[u32]) {
        let (mut authenticator, kid) = self.passkey();
        for counter in counters {
            authenticator.counter = *counter;
            let call = self.held();
            let signed = json!({ "origin": ORIGIN, "call": call, "digest": "d1", "decision": "approved" });
            let stated = authenticator.state("countersign-approval+passkey", &kid, &signed);
            let check = Stated::read(&stated).unwrap().check("valid", Some("ann"));
            let approval = body::Approval {
                call,
                subject: self.emma.clone(),
                approver: "ann".into(),
                decision: "approved".into(),
                check: Some(check),
                ..Default::default()
            };
            self.add(Some("i"), &approval, &[("digest", json!("d1")), ("statement", stated)]);
        }
    }

    fn approval(&self, call: Hash, signed: &Value, change: impl FnOnce(&mut body::Approval)) -> Hash {
        self.approval_of(call, signed, &[], change)
    }

    fn approval_of(
        &self,
        call: Hash,
        signed: &Value,
        shown: &[(&str, Value)],
        change: impl FnOnce(&mut body::Approval),
    ) -> Hash {
        let text = Statement::sign("countersign-approval+jwt", signed, &self.approver).unwrap();
        let check = Statement::parse(&text).unwrap().check("valid", Some("ann"));
        let mut approval = body::Approval {
            call,
            subject: self.emma.clone(),
            approver: "ann".into(),
            decision: "approved".into(),
            check: Some(check),
            ..Default::default()
        };
        change(&mut approval);
        let values = [&[("digest", json!("d1")), ("statement", json!(text))], shown].concat();
        self.add(Some("i"), &approval, &values)
    }

    fn approved(&self) -> (Hash, Hash) {
        let call = self.held();
        let signed = json!({ "origin": ORIGIN, "call": call.to_string(), "digest": "d1" });
        (call, self.approval(call, &signed, |_| ()))
    }

    fn outcome(&self, call: Hash) -> body::Outcome {
        body::Outcome { call, result: "completed".into(), sent: "yes".into(), ..Default::default() }
    }

    /// A call whose outcome leaves open whether it was executed.
    fn perhaps_sent(&self, upstream_n: u64) -> Hash {
        let call = self.add(Some("i"), &self.call(|c| c.upstream_n = Some(upstream_n)), &[]);
        self.add(Some("i"), &body::Outcome { sent: "maybe".into(), ..self.outcome(call) }, &[]);
        call
    }

    /// What a person says became of a call, with or without their signature.
    fn settlement(&self, call: Hash, signed: bool) -> body::Settlement {
        let check = signed.then(|| body::Check { result: "valid".into(), ..Default::default() });
        body::Settlement { call, source: "person".into(), by: "ops".into(), check, ..Default::default() }
    }

    fn revoke(&self, instruction: Option<&str>, what: &str, id: &str) {
        let (by, reason) = ("ops".into(), "test".into());
        let revocation = body::Revocation { what: what.into(), id: id.into(), by, reason, ..Default::default() };
        self.add(instruction, &revocation, &[]);
    }
}

fn codes(report: &Report) -> Vec<&'static str> {
    report.findings.iter().map(|finding| finding.code).collect()
}

fn open(world: &World, attachment: &Attachment) -> Result<Option<Disclosure>, String> {
    match world.vault.open_attachment(attachment) {
        Ok(Opened::Value(disclosure)) => Ok(Some(disclosure)),
        Ok(Opened::Erased) => Ok(None),
        Err(error) => Err(error.to_string()),
    }
}

fn evidence(dir: &Path, world: &World, selection: &Selection) -> Evidence {
    let directory = Directory::read(dir, None).unwrap();
    let open = |attachment: &_| open(world, attachment);
    let mut evidence = Evidence::collect(&directory, selection, Some(&open), &|_| true).unwrap();
    let proofs = directory.proofs(evidence.items.keys().copied()).unwrap();
    evidence.proofs = proofs.into_iter().map(|proof| (proof.index, proof)).collect();
    evidence.checkpoint = directory.checkpoint();
    evidence
}

fn written(evidence: &Evidence) -> Vec<u8> {
    bundle::write(evidence, std::io::Cursor::new(Vec::new())).unwrap().into_inner()
}

/// The whole ledger, and a bundle of its instruction after it was written and read.
fn both(dir: &Path, world: &World) -> (Report, Report) {
    let open = |attachment: &_| open(world, attachment);
    let options = || Options { open: Some(&open), trust: vec![signer().verifier().clone()], ..Options::default() };
    let whole = verify(&Directory::read(dir, None).unwrap(), &options());
    let bytes = written(&evidence(dir, world, &Selection::Instruction("i".into())));
    (whole, verify_bundle(&bundle::read(&bytes).unwrap(), &options()))
}

type Lie = Box<dyn Fn(&World)>;

fn lie(tell: impl Fn(&World) + 'static) -> Lie {
    Box::new(tell)
}

/// Every lie that entries tell: what is told, the lie, the codes it must be named with; whether a bundle of the instruction shows it too.
fn lies() -> impl Iterator<Item = (&'static str, Lie, &'static [&'static str], bool)> {
    let of_calls = granted::table().into_iter().chain(approved::table()).chain(recorded::table());
    of_calls.chain(countersigned::table()).chain(possessed::table())
}

#[test]
fn what_cannot_be_true_is_named_in_the_ledger_and_in_a_bundle() {
    for (name, lie, expected, in_bundle) in lies() {
        let dir = tempfile::tempdir().unwrap();
        let world = World::new(dir.path());
        lie(&world);
        let (whole, part) = both(dir.path(), &world);
        for code in expected {
            assert!(codes(&whole).contains(code), "{name}: {code} is not among {:?}", codes(&whole));
            assert_eq!(codes(&part).contains(code), in_bundle, "{name}: in the bundle: {:?}", codes(&part));
        }
        assert_eq!(whole.exit_code(), 1, "{name}");
        // Only the lie is found, however many words it takes.
        let others: Vec<_> = codes(&whole).into_iter().filter(|code| !expected.contains(code)).collect();
        assert!(others.iter().all(|code| ["value-missing", "erasure-undone"].contains(code)), "{name}: {others:?}");
    }
}

#[test]
fn any_grant_may_ask_a_model_and_nothing_else_passes_as_that() {
    for (action, method, target, expected) in [
        ("model.generate", "POST", "/v1/messages?beta=true", &[][..]),
        ("model.list", "GET", "/v1/models", &[]),
        ("model.generate", "POST", "/transactions", &["not-asking"]),
        ("model.list", "POST", "/v1/models", &["not-asking"]),
        ("pay.all", "POST", "/v1/messages", &["action-not-granted"]),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let w = World::new(dir.path());
        let call = w.call(|c| {
            c.action = Some(action.into());
            c.rules = vec!["model-any-grant".into()];
            c.prompt = Some(body::Prompt::default());
        });
        w.add(Some("i"), &call, &[("request", json!({ "method": method, "target": target }))]);
        let (whole, part) = both(dir.path(), &w);
        assert_eq!((codes(&whole), codes(&part)), (expected.to_vec(), expected.to_vec()), "{action} {method} {target}");
    }
}

/// The same things, told as they were.
fn honest(w: &World) {
    w.add(Some("i"), &w.delegation(), &[]);
    let (_, approval) = w.approved();
    let approved = |c: &mut body::Call| (c.approval, c.upstream_n) = (Some(approval), Some(0));
    let call = w.add(Some("i"), &w.call(approved), &[("digest", json!("d1"))]);
    w.add(Some("i"), &w.outcome(call), &[]);
    let by_sub = |c: &mut body::Call| {
        (c.grant, c.agent, c.upstream_n) = (Some("d".into()), Some("sub".into()), Some(1));
    };
    let call = w.add(Some("i"), &w.call(by_sub), &[]);
    w.add(Some("i"), &w.outcome(call), &[]);
    w.with_passkey(&[0, 0, 1, 7]);
    w.settled(2, |_| ());
    w.revoke(None, "action", "read");
    let (what, id, lifted) = ("action".into(), "read".into(), true);
    w.add(None, &body::Revocation { what, id, lifted, ..Default::default() }, &[]);
    w.add(Some("i"), &w.call(|c| c.action = Some("read".into())), &[]);
    w.revoke(Some("i"), "grant", "g");
    w.add(Some("i"), &w.call(|c| c.verdict = "deny".into()), &[]);
    w.add(None, &w.key("revoked", false), &[]);
    let closed = vec![body::Total { instruction: "i".into(), entries: 23 }];
    w.add(None, &body::Heartbeat { closed, ..Default::default() }, &[]);
}

#[test]
fn the_same_things_told_as_they_were_are_not_found_fault_with() {
    let dir = tempfile::tempdir().unwrap();
    let w = World::new(dir.path());
    honest(&w);
    let (whole, part) = both(dir.path(), &w);
    assert_eq!((codes(&whole), codes(&part)), (vec![], vec![]), "{whole}\n{part}");
    assert_eq!((whole.counts.calls, whole.counts.statements), (3, 6));
}

/// Every code that the documentation of `verify` explains is found by a test, here, in `tamper`, `rotation.rs`, or (the store) through the binary.
#[test]
fn every_code_that_is_explained_is_told_somewhere() {
    let explained = include_str!("../../../docs/verify.md");
    let told = [
        include_str!("main.rs"),
        include_str!("granted.rs"),
        include_str!("approved.rs"),
        include_str!("recorded.rs"),
        include_str!("countersigned.rs"),
        include_str!("possessed.rs"),
        include_str!("../tamper/main.rs"),
        include_str!("../tamper/damaged.rs"),
        include_str!("../tamper/bundled.rs"),
        include_str!("../rotation.rs"),
        include_str!("../../../tests/cli/tools.rs"),
    ];
    let mut missing = Vec::new();
    for row in explained.lines().filter_map(|line| line.strip_prefix("| `")) {
        for code in row.split('|').next().unwrap().split(&['`', ',', ' '][..]).filter(|code| code.contains('-')) {
            if !told.iter().any(|text| text.contains(&format!("\"{code}\""))) {
                missing.push(code);
            }
        }
    }
    assert_eq!(missing, Vec::<&str>::new(), "no test tells these");
}

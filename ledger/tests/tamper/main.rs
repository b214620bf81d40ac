//! For each way to falsify a ledger: `verify` names it, or it says what must be held outside to see it.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::too_many_lines,
    clippy::unwrap_used,
    reason = "a test that fails should stop where it fails"
)]

mod bundled;
mod damaged;

use std::{path::Path, sync::Arc};

use countersign_ledger::{
    Draft, Entry, Hash, Ledger,
    archive::tile_path,
    batch::{Batch, Stored},
    bundle,
    checkpoint::{CheckpointSigner, VerifierKey},
    clock::SystemClock,
    directory::Directory,
    disclosure::Disclosure,
    erasure::ErasureStatement,
    evidence::{Damage, Evidence, Selection, Shown, Source},
    ledger::Options as LedgerOptions,
    record::body,
    statement::{Jwk, Statement},
    tree::Frontier,
    vault::{Opened, Vault},
    verify::{Held, Options, Report, verify, verify_bundle, verify_bundle_file},
};
use ed25519_dalek::SigningKey;

const ORIGIN: &str = "bank.example/agents";

fn signer(seed: u8) -> CheckpointSigner {
    CheckpointSigner::new(ORIGIN, SigningKey::from_bytes(&[seed; 32])).unwrap()
}

/// An honest ledger: `calls` forwarded calls of one instruction, each with its outcome.
fn honest(dir: &Path, calls: u64) -> (Ledger, Vault) {
    let ledger = Ledger::create(LedgerOptions::new(dir), signer(1), Arc::new(SystemClock), None).unwrap();
    let vault = Vault::open(&dir.join("keys")).unwrap();
    let emma = vault.subject("emma").unwrap();
    let policy = ledger.keep_policy(b"upstream = \"bank\"\n").unwrap();
    let in_force = body::Policy {
        what: "catalogue".into(),
        name: "bank".into(),
        sha256: policy,
        size: 18,
        by: "test".into(),
        ..Default::default()
    };
    ledger.append_blocking(Draft::new(&in_force).unwrap()).unwrap();
    let said = body::Instruction {
        subject: emma.clone(),
        attested_by: "host".into(),
        host: "app".into(),
        agent: "a".into(),
        ..Default::default()
    };
    let draft = Draft::new(&said).unwrap().of_instruction("i").disclose(&vault, &emma, "words", &"pay").unwrap();
    let said = ledger.append_blocking(draft).unwrap();
    let grant = body::Grant {
        grant: "g".into(),
        subject: emma.clone(),
        agent: "a".into(),
        actions: vec!["pay".into()],
        ..Default::default()
    };
    ledger.append_blocking(Draft::new(&grant).unwrap().of_instruction("i").caused_by([said.hash])).unwrap();
    for n in 0..calls {
        let call = body::Call {
            call: format!("c{n}"),
            grant: Some("g".into()),
            subject: Some(emma.clone()),
            credential: "bearer".into(),
            upstream: "bank".into(),
            action: Some("pay".into()),
            verdict: "allow".into(),
            engine: "e".into(),
            policies: vec![policy],
            upstream_n: Some(n),
            ..Default::default()
        };
        let draft = Draft::new(&call).unwrap().of_instruction("i").disclose(&vault, &emma, "arguments", &n).unwrap();
        let call = ledger.append_blocking(draft).unwrap();
        let outcome =
            body::Outcome { call: call.hash, result: "completed".into(), sent: "yes".into(), ..Default::default() };
        ledger.append_blocking(Draft::new(&outcome).unwrap().of_instruction("i").caused_by([call.hash])).unwrap();
    }
    (ledger, vault)
}

/// An erasure that two signers agreed to; registers their keys.
fn erasure(ledger: &Ledger, subject: &str) -> Draft {
    let wanted = ErasureStatement { origin: ORIGIN.into(), subject: subject.into(), reason: "asked".into() };
    let mut erasure =
        body::Erasure { subject: subject.into(), by: vec![], reason: "asked".into(), ..Default::default() };
    for (seed, party) in [(11, "ann"), (12, "ben")] {
        let key = SigningKey::from_bytes(&[seed; 32]);
        let jwk = Jwk::ed25519(&key.verifying_key());
        let registered = body::Key {
            event: "registered".into(),
            kid: jwk.thumbprint(),
            party: party.into(),
            jwk: Some(serde_json::to_value(&jwk).unwrap()),
            by: "test".into(),
            ..Default::default()
        };
        ledger.append_blocking(Draft::new(&registered).unwrap()).unwrap();
        let text = Statement::sign("countersign-erasure+jwt", &wanted, &key).unwrap();
        erasure.checks.push(Statement::parse(&text).unwrap().check("valid", Some(party)));
        erasure.by.push(party.into());
        erasure.statements.push(text);
    }
    Draft::new(&erasure).unwrap()
}

/// A ledger in memory, to falsify.
#[derive(Clone)]
struct Forged {
    pieces: Vec<Batch>,
    policies: Vec<Vec<u8>>,
    /// What edited entries' hashes were, by what they became: whoever writes anew mends the references too.
    edited: Vec<(String, String)>,
}

impl Source for Forged {
    fn pieces(&self) -> u64 {
        self.pieces.len() as u64
    }
    fn piece(&self, index: u64) -> Result<Batch, Damage> {
        Ok(self.pieces[index as usize].clone())
    }
    fn policy(&self, hash: &Hash) -> Option<Vec<u8>> {
        self.policies.iter().find(|bytes| Hash::of(bytes) == *hash).cloned()
    }
    fn damage(&self) -> Vec<Damage> {
        Vec::new()
    }
}

impl Forged {
    fn of(source: &dyn Source) -> Forged {
        let pieces: Vec<Batch> = (0..source.pieces()).map(|index| source.piece(index).unwrap()).collect();
        let mut whole = Batch { first: 0, entries: vec![], checkpoints: vec![] };
        for piece in pieces {
            whole.entries.extend(piece.entries);
            whole.checkpoints.extend(piece.checkpoints);
        }
        Forged { pieces: vec![whole], policies: vec![b"upstream = \"bank\"\n".to_vec()], edited: vec![] }
    }

    fn edit(&mut self, seq: usize, change: impl FnOnce(&mut Entry)) {
        let mut entry = Entry::parse(self.pieces[0].entries[seq].bytes()).unwrap();
        change(&mut entry);
        let was = self.replace(seq, entry.to_bytes().unwrap());
        self.edited.push((was.to_string(), self.pieces[0].entries[seq].hash().to_string()));
    }

    /// Gives an entry other bytes; what is stored beside it stays. Gives the hash that it had.
    fn replace(&mut self, seq: usize, bytes: Vec<u8>) -> Hash {
        let stored = &mut self.pieces[0].entries[seq];
        let was = *stored.hash();
        *stored = Arc::new(Stored::new(Arc::from(bytes), stored.beside.clone()));
        was
    }

    /// What an operator who holds the key can do: number, chain and sign everything anew.
    fn rewrite(&mut self, signer: &CheckpointSigner) {
        let (mut prev, mut frontier) = (Hash::ZERO, Frontier::default());
        let mut renamed = self.edited.clone();
        for seq in 0..self.pieces[0].entries.len() {
            let mut text = String::from_utf8(self.pieces[0].entries[seq].bytes().to_vec()).unwrap();
            for (old, new) in &renamed {
                text = text.replace(old, new);
            }
            let old = self.replace(seq, text.into_bytes());
            self.edit(seq, |entry| {
                entry.seq = seq as u64;
                entry.prev = prev;
                if seq == 0 {
                    entry.body.insert("vkey".into(), signer.verifier().to_string().into());
                }
            });
            let bytes = self.pieces[0].entries[seq].bytes();
            prev = Hash::of(bytes);
            renamed.push((old.to_string(), prev.to_string()));
            frontier.push(countersign_ledger::tree::leaf_hash(bytes), |_, _| {});
        }
        self.pieces[0].checkpoints = vec![signer.sign(frontier.size(), frontier.root()).unwrap()];
    }
}

fn codes(report: &Report) -> Vec<&'static str> {
    report.findings.iter().map(|finding| finding.code).collect()
}

fn check(source: &dyn Source) -> Report {
    verify(source, &Options::default())
}

fn held(source: &dyn Source, trust: Vec<VerifierKey>, against: Vec<Held>) -> Report {
    verify(source, &Options { trust, against, ..Options::default() })
}

#[test]
fn an_honest_ledger_is_clean_and_says_what_that_is_worth() {
    let dir = tempfile::tempdir().unwrap();
    let (ledger, vault) = honest(dir.path(), 300);
    let early = ledger.proof(5).unwrap();
    // Beside the running gateway, and after it was closed.
    for closed in [false, true] {
        if closed {
            ledger.close().unwrap();
        }
        let source = Directory::read(dir.path(), None).unwrap();
        let alone = check(&source);
        assert_eq!(alone.findings, [], "{alone}");
        assert!(alone.to_string().contains("self-consistent only"));
        assert_eq!((alone.counts.entries, alone.counts.calls), (604, 300));
        let open = |attachment: &_| match vault.open_attachment(attachment) {
            Ok(Opened::Value(disclosure)) => Ok(Some(disclosure)),
            Ok(Opened::Erased) => Ok(None),
            Err(error) => Err(error.to_string()),
        };
        let options = Options {
            trust: vec![signer(1).verifier().clone()],
            against: vec![Held::Proof(early.clone()), Held::Checkpoint(ledger.head())],
            open: Some(&open),
            ..Options::default()
        };
        let outside = verify(&source, &options);
        assert_eq!(outside.findings, [], "{outside}");
        assert!(outside.to_string().contains("clean, against what was held outside"));
        assert_eq!(outside.counts.commitments, 301);
    }
}

#[test]
fn every_falsification_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let (ledger, _) = honest(dir.path(), 20);
    let honest = Forged::of(&Directory::read(dir.path(), None).unwrap());
    assert_eq!(check(&honest).findings, []);
    let (checkpoint, proof) = (ledger.head(), ledger.proof(6).unwrap());
    let trust = || vec![signer(1).verifier().clone()];
    type Change = Box<dyn Fn(&mut Forged)>;
    let table: Vec<(&str, Change, &[&str])> = vec![
        (
            "edit",
            Box::new(|l| l.edit(6, |e| drop(e.body.insert("upstream".into(), "other".into())))),
            &["checkpoint-root", "upstream-counter-gap", "chain-broken"],
        ),
        (
            "edit without canonical form",
            Box::new(|l| _ = l.replace(6, b"{ }".to_vec())),
            &["entry-malformed", "chain-broken"],
        ),
        (
            "drop",
            Box::new(|l| drop(l.pieces[0].entries.remove(6))),
            ["chain-broken", "number-wrong", "counter-gap", "outcome-without-call", "checkpoint-beyond"].as_slice(),
        ),
        (
            "insert",
            Box::new(|l| {
                let copy = l.pieces[0].entries[6].clone();
                l.pieces[0].entries.insert(7, copy);
            }),
            &["chain-broken", "number-wrong", "counter-gap"],
        ),
        (
            "reorder",
            Box::new(|l| l.pieces[0].entries.swap(6, 7)),
            &["chain-broken", "number-wrong", "outcome-without-call"],
        ),
        (
            "an entry of another ledger in between",
            Box::new(|l| l.edit(6, |e| e.origin = "other.example".into())),
            &["origin-differs", "checkpoint-root"],
        ),
        (
            "a checkpoint of another ledger",
            Box::new(|l| {
                let c = l.pieces[0].checkpoints.last_mut().unwrap();
                let other = CheckpointSigner::new("other.example", SigningKey::from_bytes(&[1; 32])).unwrap();
                *c = other.sign(c.size(), c.root()).unwrap();
            }),
            &["checkpoint-origin", "checkpoint-signature"],
        ),
        (
            "the key taken out of the first entry",
            Box::new(|l| l.edit(0, |e| drop(e.body.remove("vkey")))),
            &["first-entry", "checkpoint-signature"],
        ),
        ("drop the checkpoints", Box::new(|l| l.pieces[0].checkpoints.clear()), &["not-covered"]),
        (
            "sign a checkpoint with another key",
            Box::new(|l| {
                let c = l.pieces[0].checkpoints.last_mut().unwrap();
                *c = signer(2).sign(c.size(), c.root()).unwrap();
            }),
            &["checkpoint-signature"],
        ),
        (
            "sign another root",
            Box::new(|l| {
                let c = l.pieces[0].checkpoints.last_mut().unwrap();
                *c = signer(1).sign(c.size(), Hash::of(b"x")).unwrap();
            }),
            &["checkpoint-root"],
        ),
        (
            "turn the clock back",
            Box::new(|l| l.edit(9, |e| e.time = serde_json::from_str("\"2020-01-01T00:00:00.000000Z\"").unwrap())),
            &["time-decreases"],
        ),
        (
            "leave out a call and write anew",
            Box::new(|l| {
                l.pieces[0].entries.drain(6..8);
                l.rewrite(&signer(1));
            }),
            &["counter-gap", "upstream-counter-gap"],
        ),
        (
            "call without a grant, written anew",
            Box::new(|l| {
                l.edit(6, |e| drop(e.body.insert("grant".into(), "h".into())));
                l.rewrite(&signer(1));
            }),
            &["grant-unknown"],
        ),
        ("policy bytes taken away", Box::new(|l| l.policies.clear()), &["policy-missing"]),
        (
            "forwarded against the verdict, written anew",
            Box::new(|l| {
                l.edit(6, |e| drop(e.body.insert("verdict".into(), "deny".into())));
                l.rewrite(&signer(1));
            }),
            &["forwarded-against-verdict"],
        ),
    ];
    for (name, change, expected) in table {
        let mut forged = honest.clone();
        change(&mut forged);
        let report = held(&forged, vec![], vec![]);
        for code in expected {
            assert!(codes(&report).contains(code), "{name}: {code} is not among {:?}", codes(&report));
        }
        assert_eq!(report.exit_code(), 1);
        assert!(report.findings.is_sorted_by_key(|finding| (finding.seq.is_none(), finding.seq)), "{name}");
    }
    // What nobody can see without something from outside, and everybody with it.
    let outside: Vec<(&str, Change, &[&str], &[&str])> = vec![
        (
            "the operator writes everything anew with its key",
            Box::new(|l| {
                l.edit(2, |e| drop(e.body.insert("host".into(), "other".into())));
                l.rewrite(&signer(1));
            }),
            &[],
            &["forked"],
        ),
        (
            "somebody else writes everything anew",
            Box::new(|l| l.rewrite(&signer(2))),
            &["key-not-trusted"],
            &["forked", "held-signature"],
        ),
        (
            "truncated to an older checkpoint",
            Box::new(|l| {
                l.pieces[0].entries.truncate(6);
                l.pieces[0].checkpoints.retain(|c| c.size() <= 6);
            }),
            &[],
            &["truncated"],
        ),
        (
            "a fork with other entries at the end",
            Box::new(|l| {
                l.pieces[0].entries.truncate(40);
                l.edit(39, |e| drop(e.body.insert("detail".into(), "x".into())));
                l.rewrite(&signer(1));
            }),
            &[],
            &["truncated"],
        ),
    ];
    for (name, change, by_key, by_checkpoint) in outside {
        let mut forged = honest.clone();
        change(&mut forged);
        let alone = check(&forged);
        assert_eq!(alone.findings, [], "{name}");
        assert!(alone.to_string().contains("--against"), "{name}");
        assert_eq!(codes(&held(&forged, trust(), vec![])), by_key, "{name}");
        let report = held(&forged, vec![], vec![Held::Checkpoint(checkpoint.clone())]);
        for code in by_checkpoint {
            assert!(codes(&report).contains(code), "{name}: {:?}", codes(&report));
        }
        assert!(!held(&forged, vec![], vec![Held::Proof(proof.clone())]).findings.is_empty(), "{name}");
    }
    let mut changed = honest.clone();
    changed.edit(6, |entry| drop(entry.body.insert("upstream".into(), "other".into())));
    changed.rewrite(&signer(1));
    let report = held(&changed, vec![], vec![Held::Proof(proof)]);
    assert!(codes(&report).contains(&"proof-differs"), "{report}");
    let other = CheckpointSigner::new("other.example", SigningKey::from_bytes(&[1; 32])).unwrap();
    let report = held(&honest, vec![], vec![Held::Checkpoint(other.sign(1, Hash::ZERO).unwrap())]);
    assert_eq!(codes(&report), ["held-origin"]);
}

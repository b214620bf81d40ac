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
        *stored = Arc::new(Stored::new(Arc::from(bytes), stored.attachments.clone(), stored.state.clone()));
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

#[test]
fn what_does_not_open_is_told_apart_from_what_was_erased() {
    let dir = tempfile::tempdir().unwrap();
    let (_ledger, _) = honest(dir.path(), 1);
    let open = |_: &_| Err("the key-encryption key is another one".to_owned());
    let source = Directory::read(dir.path(), None).unwrap();
    let report = verify(&source, &Options { open: Some(&open), ..Options::default() });
    assert_eq!(codes(&report), ["value-unreadable"; 2]);
}

/// What is done to the files of a ledger, and what a reader without the store then finds.
#[test]
fn each_part_that_is_damaged_or_gone_is_named() {
    type Do = Box<dyn Fn(&Path)>;
    fn flip(path: &Path) {
        let mut bytes = std::fs::read(path).unwrap();
        // Within a text, not in a length.
        let middle = bytes.len() / 2;
        let text = bytes[middle..].windows(9).position(|bytes| bytes.iter().all(u8::is_ascii_graphic));
        bytes[middle + text.unwrap_or(0) + 4] ^= 1;
        std::fs::write(path, bytes).unwrap();
    }
    fn segments(dir: &Path) -> Vec<std::path::PathBuf> {
        let all = std::fs::read_dir(dir.join("journal")).unwrap().map(|entry| entry.unwrap().path());
        let mut all: Vec<_> = all.filter(|path| path.extension().is_some_and(|is| is == "seg")).collect();
        all.sort();
        all
    }
    let table: Vec<(&str, Do, &str)> = vec![
        ("a bit of a tile", Box::new(|dir| flip(&dir.join("tile/entries/001"))), "chain-broken"),
        (
            "a tile cut short",
            Box::new(|dir| std::fs::write(dir.join("tile/entries/001"), b"").unwrap()),
            "archive-damaged",
        ),
        ("a pack", Box::new(|dir| flip(&dir.join("vault/001"))), "archive-damaged"),
        ("the newest tiles", Box::new(|dir| std::fs::remove_dir_all(dir.join("tile")).unwrap()), "entries-missing"),
        (
            "an acknowledged frame in the middle of the journal",
            Box::new(|dir| {
                let last = segments(dir).pop().unwrap();
                let mut bytes = std::fs::read(&last).unwrap();
                bytes[100] ^= 1;
                std::fs::write(last, bytes).unwrap();
            }),
            "journal-damaged",
        ),
        (
            "the journal put back to before",
            Box::new(|dir| {
                let last = segments(dir).pop().unwrap();
                let mut bytes = std::fs::read(&last).unwrap();
                bytes[64..].fill(0);
                std::fs::write(last, bytes).unwrap();
            }),
            "rolled-back",
        ),
        (
            "both slots of the anchor",
            Box::new(|dir| {
                for slot in ["0", "1"] {
                    std::fs::write(dir.join("anchor").join(slot), b"x").unwrap();
                }
            }),
            "anchor-damaged",
        ),
        (
            "a slot of the anchor that is no file",
            Box::new(|dir| {
                std::fs::remove_file(dir.join("anchor/0")).unwrap();
                std::fs::create_dir(dir.join("anchor/0")).unwrap();
            }),
            "anchor-unreadable",
        ),
    ];
    let dir = tempfile::tempdir().unwrap();
    let mut options = LedgerOptions::new(dir.path());
    options.limits.segment_bytes = 64 << 10;
    drop(Ledger::create(options.clone(), signer(1), Arc::new(SystemClock), None).unwrap());
    let (ledger, _) = Ledger::open(options, signer(1), Arc::new(SystemClock)).unwrap();
    let draft = |n: u64| {
        let closed = vec![body::Total { instruction: format!("i{n}"), entries: 0 }];
        Draft::new(&body::Heartbeat { closed, ..Default::default() }).unwrap()
    };
    let tickets: Vec<_> = (0..1600).map(|n| ledger.enqueue(draft(n)).unwrap()).collect();
    tickets.into_iter().for_each(|ticket| drop(ticket.sealed_blocking().unwrap()));
    // Three frames in the newest segment, so that others follow the first.
    let newest = || segments(dir.path()).pop();
    loop {
        ledger.append_blocking(draft(0)).unwrap();
        let before = newest();
        (0..2).for_each(|n| drop(ledger.append_blocking(draft(n)).unwrap()));
        if newest() == before {
            break;
        }
    }
    ledger.close().unwrap();
    drop(ledger);
    let directory = Directory::read(dir.path(), None).unwrap();
    assert_eq!(check(&directory).findings, []);
    let checkpoint = Held::Checkpoint(directory.checkpoint().unwrap());
    for (name, damage, expected) in table {
        let copy = tempfile::tempdir().unwrap();
        copy_all(dir.path(), copy.path());
        damage(copy.path());
        let report = check(&Directory::read(copy.path(), None).unwrap());
        assert!(codes(&report).contains(&expected), "{name}: {expected} is not among {:?}", codes(&report));
        if expected == "archive-damaged" {
            // What cannot be read cannot be compared with what somebody holds.
            let report = held(&Directory::read(copy.path(), None).unwrap(), vec![], vec![checkpoint.clone()]);
            assert!(codes(&report).contains(&"held-not-comparable"), "{name}: {:?}", codes(&report));
        }
    }
}

fn copy_all(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy_all(&entry.path(), &to),
            false => drop(std::fs::copy(entry.path(), to).unwrap()),
        }
    }
}

#[test]
fn an_erased_subject_is_counted_and_a_restored_key_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let (ledger, vault) = honest(dir.path(), 3);
    let emma = vault.find("emma").unwrap();
    ledger.append_blocking(erasure(&ledger, &emma)).unwrap();
    let source = || Directory::read(dir.path(), None).unwrap();
    let opener = |attachment: &_| match vault.open_attachment(attachment) {
        Ok(Opened::Value(disclosure)) => Ok(Some(disclosure)),
        Ok(Opened::Erased) => Ok(None),
        Err(error) => Err(error.to_string()),
    };
    let run = || verify(&source(), &Options { open: Some(&opener), ..Options::default() });
    assert_eq!(codes(&run()), ["erasure-undone"]);
    vault.erase(&emma).unwrap();
    let report = run();
    assert_eq!((codes(&report), report.counts.erased), (vec![], 4));
}

#[test]
fn every_damaged_file_of_the_archive_is_found_or_the_ledger_reads_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let (ledger, _) = honest(dir.path(), 300);
    ledger.close().unwrap();
    drop(ledger);
    let base = Forged::of(&Directory::read(dir.path(), None).unwrap());
    for file in [
        format!("tile/entries/{}", tile_path(1)),
        format!("vault/{}", tile_path(1)),
        "anchor/0".into(),
        "anchor/1".into(),
    ] {
        let path = dir.path().join(&file);
        let good = std::fs::read(&path).unwrap();
        let step = (good.len() / 40).max(1);
        let mut variants: Vec<Vec<u8>> = (0..good.len())
            .step_by(step)
            .map(|at| {
                let mut bad = good.clone();
                bad[at] ^= 0x40;
                bad
            })
            .collect();
        variants.extend([vec![], good[..good.len() / 2].to_vec(), vec![0; good.len()]]);
        for (index, bad) in variants.into_iter().enumerate() {
            std::fs::write(&path, &bad).unwrap();
            let source = Directory::read(dir.path(), None).unwrap();
            let report = check(&source);
            if report.findings.is_empty() {
                assert_eq!(
                    Forged::of(&source).pieces[0].entries.len(),
                    base.pieces[0].entries.len(),
                    "{file} variant {index}"
                );
            }
        }
        std::fs::write(&path, &good).unwrap();
    }
    for name in ["tile/entries/000", "vault/001"] {
        let (path, aside) = (dir.path().join(name), dir.path().join("aside"));
        std::fs::rename(&path, &aside).unwrap();
        assert!(!check(&Directory::read(dir.path(), None).unwrap()).findings.is_empty(), "{name} removed");
        std::fs::rename(&aside, &path).unwrap();
    }
    assert_eq!(check(&Directory::read(dir.path(), None).unwrap()).findings, []);
}

#[test]
fn a_bundle_proves_itself_and_every_lie_in_it_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let (ledger, vault) = honest(dir.path(), 5);
    let early = ledger.proof(6).unwrap();
    let total =
        body::Heartbeat { closed: vec![body::Total { instruction: "i".into(), entries: 12 }], ..Default::default() };
    ledger.append_blocking(Draft::new(&total).unwrap()).unwrap();
    let directory = Directory::read(dir.path(), None).unwrap();
    let open = |attachment: &_| match vault.open_attachment(attachment) {
        Ok(Opened::Value(disclosure)) => Ok(Some(disclosure)),
        Ok(Opened::Erased) => Ok(None),
        Err(error) => Err(error.to_string()),
    };
    let selection = Selection::Call("c2".into());
    let mut evidence = Evidence::collect(&directory, &selection, Some(&open), &|name| name == "words").unwrap();
    let proofs = directory.proofs(evidence.items.keys().copied()).unwrap();
    evidence.proofs = proofs.into_iter().map(|proof| (proof.index, proof)).collect();
    let bytes = bundle::write(&evidence, std::io::Cursor::new(Vec::new())).unwrap().into_inner();
    assert_eq!(bytes, bundle::write(&evidence, std::io::Cursor::new(Vec::new())).unwrap().into_inner());
    let honest = || bundle::read(&bytes).unwrap();
    let check = |evidence: &Evidence| {
        verify_bundle(evidence, &Options { trust: vec![signer(1).verifier().clone()], ..Options::default() })
    };
    let report = check(&honest());
    assert_eq!(report.findings, [], "{report}");
    assert_eq!((report.counts.entries, report.counts.commitments, report.counts.calls), (15, 1, 5));
    type Change = Box<dyn Fn(&mut Evidence)>;
    let table: Vec<(&str, Change, &[&str])> = vec![
        (
            "a call and its outcome left out",
            Box::new(|e| {
                e.items.remove(&6);
                e.items.remove(&7);
            }),
            &["counter-gap"],
        ),
        (
            "the last call left out",
            Box::new(|e| {
                e.items.remove(&12);
                e.items.remove(&13);
            }),
            &["total-differs"],
        ),
        ("the grant left out", Box::new(|e| drop(e.items.remove(&3))), &["counter-gap", "grant-unknown"]),
        ("the proofs left out", Box::new(|e| e.proofs.clear()), &["not-proven"]),
        (
            "the proof of another entry",
            Box::new(|e| {
                let p = e.proofs[&5].clone();
                e.proofs.insert(4, p);
            }),
            &["not-proven"],
        ),
        (
            "an entry changed",
            Box::new(|e| {
                let bytes = String::from_utf8(e.items[&4].bytes.to_vec()).unwrap().replace("\"allow\"", "\"deny\"");
                e.add(Arc::from(bytes.into_bytes()), Default::default()).unwrap();
            }),
            &["not-proven", "forwarded-against-verdict"],
        ),
        (
            "another value disclosed",
            Box::new(|e| {
                let lie = Disclosure::new("words", &"pay more").unwrap();
                e.items.get_mut(&2).unwrap().values.insert("words".into(), Shown::Value(lie));
            }),
            &["value-differs"],
        ),
        ("the first entry left out", Box::new(|e| drop(e.items.remove(&0))), &["first-entry"]),
        (
            "other bytes for the catalogue",
            Box::new(|e| e.policies.values_mut().for_each(|bytes| bytes.push(b' '))),
            &["policy-changed"],
        ),
        (
            "said to be the whole ledger, without one",
            Box::new(|e| {
                e.selection = None;
                e.items.remove(&9);
            }),
            &["entry-missing"],
        ),
        (
            "a proof under another checkpoint",
            Box::new(move |e| drop(e.proofs.insert(6, early.clone()))),
            &["checkpoints-apart"],
        ),
        (
            "signed with another key",
            Box::new(|e| e.keys = vec![signer(2).verifier().clone()]),
            ["key-not-trusted"].as_slice(),
        ),
    ];
    for (name, change, expected) in table {
        let mut evidence = honest();
        change(&mut evidence);
        let found = codes(&check(&evidence));
        for code in expected {
            assert!(found.contains(code), "{name}: {code} is not among {found:?}");
        }
    }
    // Two files of one name, of which one reader sees this, another that; and something in front.
    let mut two = honest();
    two.policies.insert(Hash::ZERO, b"other rules".to_vec());
    let mut bytes_of_two = bundle::write(&two, std::io::Cursor::new(Vec::new())).unwrap().into_inner();
    let (ours, other) = (honest().policies.into_keys().next().unwrap().to_string(), Hash::ZERO.to_string());
    for at in 0..bytes_of_two.len() - other.len() {
        if bytes_of_two[at..].starts_with(other.as_bytes()) {
            bytes_of_two[at..at + ours.len()].copy_from_slice(ours.as_bytes());
        }
    }
    for (name, bad) in [("two of one name", bytes_of_two), ("in front", [b"#!/bin/sh\n", bytes.as_slice()].concat())] {
        let report = verify_bundle_file(&bad, &Options::default()).unwrap();
        assert_eq!(codes(&report), ["bundle-malformed"], "{name}");
    }
    for at in (0..bytes.len()).step_by(bytes.len() / 300 + 1) {
        let mut bad = bytes.clone();
        bad[at] ^= 1;
        if let Ok(evidence) = bundle::read(&bad) {
            let _ = check(&evidence);
        }
        let _ = bundle::read(&bytes[..at]);
    }
}

#[test]
fn a_receipt_in_the_ledger_shows_that_everything_was_written_anew() {
    let dir = tempfile::tempdir().unwrap();
    let (ledger, vault) = honest(dir.path(), 5);
    let emma = vault.subject("emma").unwrap();
    let api = SigningKey::from_bytes(&[6; 32]);
    let jwk = Jwk::ed25519(&api.verifying_key());
    let key = body::Key {
        event: "registered".into(),
        kid: jwk.thumbprint(),
        party: "bank".into(),
        jwk: Some(serde_json::to_value(&jwk).unwrap()),
        by: "test".into(),
        ..Default::default()
    };
    let head = ledger.head();
    ledger.append_blocking(Draft::new(&key).unwrap()).unwrap();
    let call = Hash::of(&ledger.entry(4).unwrap());
    let checkpoint = data_encoding::BASE64.encode(head.as_str().as_bytes());
    let base = format!(
        "\"@status\": 200\n\"countersign-entry\";req: {call}\n\"countersign-checkpoint\";req: :{checkpoint}:\n\
         \"@signature-params\": (\"@status\" \"countersign-entry\";req \"countersign-checkpoint\";req);keyid=\"{}\"",
        jwk.thumbprint()
    );
    let value = data_encoding::BASE64.encode(&ed25519_dalek::Signer::sign(&api, base.as_bytes()).to_bytes());
    let check =
        body::Check { alg: "EdDSA".into(), kid: jwk.thumbprint(), result: "valid".into(), party: Some("bank".into()) };
    let receipt =
        body::Receipt { call, subject: emma.clone(), api: "bank".into(), check, late: true, ..Default::default() };
    let signed = serde_json::json!({ "status": 200, "signature": { "base": base, "value": value } });
    let draft = Draft::new(&receipt).unwrap().of_instruction("i").disclose(&vault, &emma, "receipt", &signed).unwrap();
    ledger.append_blocking(draft).unwrap();
    let open = |attachment: &_| match vault.open_attachment(attachment) {
        Ok(Opened::Value(disclosure)) => Ok(Some(disclosure)),
        Ok(Opened::Erased) => Ok(None),
        Err(error) => Err(error.to_string()),
    };
    let options = || Options { open: Some(&open), ..Options::default() };
    let mut forged = Forged::of(&Directory::read(dir.path(), None).unwrap());
    assert_eq!(verify(&forged, &options()).findings, []);
    // With the right key, all numbers and references mended: nothing else shows it.
    forged.edit(13, |entry| drop(entry.body.insert("detail".into(), "it went well".into())));
    forged.rewrite(&signer(1));
    assert_eq!(codes(&verify(&forged, &options())), ["receipt-checkpoint"]);
    // What the API keeps is a checkpoint held outside.
    let kept = Held::parse(&signed["signature"].to_string()).unwrap();
    assert!(codes(&held(&forged, vec![], vec![kept])).contains(&"forked"));
}

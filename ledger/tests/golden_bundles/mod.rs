//! Bundles as committed, each with what must be found in it: for whoever writes another verifier, and so that what was written once is read for ever.
//!
//! `cargo test -p countersign-ledger --features store --test lies -- --ignored golden` writes those that are missing, and never one that is there.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Write as _,
    path::PathBuf,
};

use countersign_ledger::{
    checkpoint::{Checkpoint, VerifierKey},
    evidence::Shown,
    verify::{Held, verify_bundle_file},
};
use serde::{Deserialize, Serialize};

use super::*;

mod reported;
mod rotated;
mod strict;

/// `expected.json`.
#[derive(Default, Serialize, Deserialize)]
struct Expected {
    /// The verifier keys that were had from elsewhere.
    trust: Vec<String>,
    bundles: Vec<Row>,
}

#[derive(Serialize, Deserialize)]
struct Row {
    file: String,
    /// What is wrong with it, or that nothing is.
    lie: String,
    /// The file with what somebody outside kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    against: Option<String>,
    /// The codes of all findings, sorted, each once.
    codes: BTreeSet<String>,
}

/// A bundle to be written.
struct Case {
    lie: String,
    bytes: Vec<u8>,
    /// The kind of file and its text.
    against: Option<(&'static str, String)>,
}

/// Codes that no bundle shows: they are about a ledger's files, its vault, or the order of all its entries.
const NOT_OF_BUNDLES: [&str; 16] = [
    "anchor-damaged",
    "anchor-unreadable",
    "archive-damaged",
    "entries-missing",
    "entry-malformed",
    "held-not-comparable",
    "journal-damaged",
    "not-covered",
    "origin-differs",
    "rolled-back",
    "store-damaged",
    "store-missing",
    "truncated",
    "value-missing",
    "value-unreadable",
    "verifier-failed",
];

fn dir() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden_bundles")
}

fn expected() -> Expected {
    fs::read(dir().join("expected.json")).map(|bytes| serde_json::from_slice(&bytes).unwrap()).unwrap_or_default()
}

fn found(bytes: &[u8], against: Option<&str>) -> BTreeSet<String> {
    let trust: Vec<VerifierKey> = vec![signer().verifier().clone()];
    let against = against.map(|text| Held::parse(text).unwrap()).into_iter().collect();
    let report = verify_bundle_file(bytes, &Options { trust, against, ..Options::default() }).unwrap();
    report.findings.iter().map(|finding| finding.code.to_owned()).collect()
}

#[test]
fn golden_bundles_are_read_and_found_to_be_what_they_are() {
    let expected = expected();
    assert_eq!(expected.trust, [signer().verifier().to_string()]);
    for Row { file, lie, against, codes } in &expected.bundles {
        let against = against.as_ref().map(|file| fs::read_to_string(dir().join(file)).unwrap());
        assert_eq!(found(&fs::read(dir().join(file)).unwrap(), against.as_deref()), *codes, "{file}: {lie}");
    }
    let named: BTreeSet<&str> = expected.bundles.iter().map(|row| row.file.as_str()).collect();
    let files = fs::read_dir(dir()).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
    let bundles: BTreeSet<String> = files.filter(|name| name.ends_with(".zip")).collect();
    assert_eq!(bundles.iter().map(String::as_str).collect::<BTreeSet<_>>(), named);
}

#[test]
fn every_code_that_a_bundle_can_show_is_shown_by_a_golden_one() {
    let shown: BTreeSet<String> = expected().bundles.into_iter().flat_map(|row| row.codes).collect();
    let rows = include_str!("../../../docs/verify.md").lines().filter_map(|line| line.strip_prefix("| `"));
    let codes =
        rows.flat_map(|row| row.split('|').next().unwrap().split(['`', ',', ' ']).filter(|code| code.contains('-')));
    let missing: Vec<&str> = codes
        .chain(["revoked", "forked"])
        .filter(|code| !shown.contains(*code) && !NOT_OF_BUNDLES.contains(code))
        .collect();
    assert_eq!(
        missing,
        Vec::<&str>::new(),
        "tell a lie in a table of tests/lies, then write its golden bundle as above"
    );
}

#[test]
#[ignore = "writes the golden bundles that are missing"]
fn golden_bundles_are_written() {
    let mut expected = expected();
    expected.trust = vec![signer().verifier().to_string()];
    for Case { lie, bytes, against } in cases() {
        if expected.bundles.iter().any(|row| row.lie == lie) {
            continue;
        }
        let slug = lie.replace([',', '\''], "").replace(' ', "-");
        let name = format!("{:03}-{slug}", expected.bundles.len());
        let file = format!("{name}.zip");
        fs::write(dir().join(&file), &bytes).unwrap();
        let codes = found(&bytes, against.as_ref().map(|(_, text)| text.as_str()));
        let against = against.map(|(kind, text)| {
            let file = format!("{name}.{kind}");
            fs::write(dir().join(&file), text).unwrap();
            file
        });
        expected.bundles.push(Row { file, lie, against, codes });
    }
    fs::write(dir().join("expected.json"), serde_json::to_string_pretty(&expected).unwrap() + "\n").unwrap();
}

fn instruction() -> Selection {
    Selection::Instruction("i".into())
}

/// Every lie that entries tell, and every lie that a bundle tells of honest entries.
fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (lie, tell, _, in_bundle) in lies() {
        let dir = tempfile::tempdir().unwrap();
        let world = World::new(dir.path());
        tell(&world);
        let selection = if in_bundle { instruction() } else { Selection::All };
        let bytes = written(&evidence(dir.path(), &world, &selection));
        cases.push(Case { lie: lie.to_owned(), bytes, against: None });
    }
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path());
    let (early, early_proof) = (world.ledger.head(), world.ledger.proof(3).unwrap());
    honest(&world);
    let part = evidence(dir.path(), &world, &instruction());
    let whole = evidence(dir.path(), &world, &Selection::All);
    honest_cases(&part, &whole, &mut cases);
    told_of_honest_entries(&part, &whole, early.as_str(), &mut cases);
    let mut apart = part.clone();
    apart.proofs.insert(3, early_proof);
    cases.push(case("a proof under another checkpoint", &apart));
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path());
    possessed::proves(&world);
    cases.push(case("no lie, calls with proofs of the agent's key", &evidence(dir.path(), &world, &instruction())));
    malformed(&part, &mut cases);
    strict::cases(&part, &whole, &mut cases);
    rotated::cases(&mut cases);
    reported::cases(&part, &mut cases);
    cases
}

fn case(lie: &str, evidence: &Evidence) -> Case {
    Case { lie: lie.to_owned(), bytes: written(evidence), against: None }
}

fn honest_cases(part: &Evidence, whole: &Evidence, cases: &mut Vec<Case>) {
    cases.push(case("no lie, an instruction with all values", part));
    cases.push(case("no lie, the whole ledger", whole));
    let mut withheld = part.clone();
    for item in withheld.items.values_mut() {
        item.values.values_mut().for_each(|shown| *shown = Shown::Withheld);
    }
    cases.push(case("no lie, an instruction with all values withheld", &withheld));
    let head = part.checkpoint.as_ref().unwrap().as_str().to_owned();
    cases.push(Case {
        against: Some(("checkpoint", head)),
        ..case("no lie, against the checkpoint that it ends with", whole)
    });
    let proof = part.proofs.values().next_back().unwrap().to_string();
    cases.push(Case { against: Some(("proof", proof)), ..case("no lie, against a proof of one of its entries", part) });
}

/// Changes of what a bundle carries.
fn told_of_honest_entries(part: &Evidence, whole: &Evidence, early: &str, cases: &mut Vec<Case>) {
    let of_kind = |kind: &str| {
        let found = part.items.iter().find(|(_, item)| item.entry.kind.to_string() == kind);
        *found.unwrap().0
    };
    let (call, grant, said) = (of_kind("call"), of_kind("grant"), of_kind("instruction"));
    let mut add = |lie: &str, from: &Evidence, change: &dyn Fn(&mut Evidence)| {
        let mut evidence = from.clone();
        change(&mut evidence);
        cases.push(case(lie, &evidence));
    };
    add("the grant left out", part, &|e| drop(e.items.remove(&grant)));
    add("the last entries left out", part, &|e| {
        let last: Vec<u64> =
            e.items.iter().filter(|(_, i)| i.entry.instruction.is_some()).map(|(seq, _)| *seq).collect();
        last.iter().rev().take(2).for_each(|seq| drop(e.items.remove(seq)));
    });
    add("the proofs left out", part, &|e| e.proofs.clear());
    add("the proof of another entry", part, &|e| {
        let other = e.proofs[&grant].clone();
        e.proofs.insert(call, other);
    });
    add("a call's verdict changed", part, &|e| edit(e, call, "\"hold\"", "\"deny\""));
    add("another value disclosed", part, &|e| {
        let other = Disclosure::new("words", &"pay more").unwrap();
        e.items.get_mut(&said).unwrap().values.insert("words".into(), Shown::Value(other));
    });
    add("the first entry left out", part, &|e| drop(e.items.remove(&0)));
    add("other bytes for the catalogue", part, &|e| e.policies.values_mut().for_each(|bytes| bytes.push(b' ')));
    add("the catalogue left out", part, &|e| e.policies.clear());
    add("the whole ledger with an entry left out", whole, &|e| drop(e.items.remove(&grant)));
    add("the whole ledger cut off", whole, &|e| drop(e.items.pop_last()));
    add("said to be about an instruction of which nothing is here", part, &|e| {
        e.selection = Some(Selection::Instruction("j".into()));
    });
    add("said to be about a call, of which the instruction is not named", part, &|e| {
        e.selection = Some(Selection::Call("c".into()));
    });
    add("a window with an entry left out", whole, &|e| {
        let end = Time::new(Timestamp::from_second(1_900_000_000).unwrap());
        e.selection = Some(Selection::Window(Time::new(Timestamp::from_second(1_700_000_000).unwrap()), end));
        e.items.remove(&call);
    });
    add("keys of somebody else", part, &|e| {
        let other = CheckpointSigner::new(ORIGIN, SigningKey::from_bytes(&[2; 32])).unwrap();
        e.keys = vec![other.verifier().clone()];
    });
    add("another origin in the manifest", part, &|e| e.origin = "other.example".into());
    add("a time put back", part, &|e| edit(e, call, "\"time\":\"2027", "\"time\":\"2026"));
    add("a value said to be erased, without an erasure", part, &|e| {
        e.items.get_mut(&said).unwrap().values.insert("words".into(), Shown::Erased);
    });
    let other = early.replace(ORIGIN, "other.example/agents");
    let mut against = |lie: &str, from: &Evidence, kind: &'static str, text: String| {
        cases.push(Case { against: Some((kind, text)), ..case(lie, from) });
    };
    against("against a checkpoint of another ledger", whole, "checkpoint", other);
    let anew = CheckpointSigner::new(ORIGIN, SigningKey::from_bytes(&[2; 32])).unwrap();
    let size = part.checkpoint.as_ref().unwrap().size();
    let root = part.checkpoint.as_ref().unwrap().root();
    against(
        "against a checkpoint signed with another key",
        whole,
        "checkpoint",
        anew.sign(size, root).unwrap().as_str().to_owned(),
    );
    let fork = signer().sign(4, Hash::of(b"another history")).unwrap();
    against("against a checkpoint of another history", whole, "checkpoint", fork.as_str().to_owned());
    let mut proof = part.proofs[&call].clone();
    proof.path.reverse();
    against("against a proof of another entry in its place", part, "proof", proof.to_string());
}

/// Changes an entry's text, as who writes the file can, and leaves its proof.
fn edit(evidence: &mut Evidence, seq: u64, from: &str, to: &str) {
    let text = String::from_utf8(evidence.items[&seq].bytes.to_vec()).unwrap();
    assert!(text.contains(from), "{text}");
    let values = evidence.items[&seq].values.clone();
    evidence.add(text.replace(from, to).into_bytes().into(), values).unwrap();
}

/// Files that two readers could read in two ways, or that are not what the format says.
fn malformed(part: &Evidence, cases: &mut Vec<Case>) {
    let mut two = part.clone();
    two.policies.insert(Hash::ZERO, b"other rules".to_vec());
    let (ours, zero) = (part.policies.keys().next().unwrap().to_string(), Hash::ZERO.to_string());
    let mut add = |lie: &str, bytes: Vec<u8>| cases.push(Case { lie: lie.to_owned(), bytes, against: None });
    add("two files of one name", replaced(written(&two), &zero, &ours));
    add(
        "a file that does not belong there",
        replaced(written(&two), &format!("policies/{zero}"), &format!("policied/{zero}")),
    );
    add("a file in front of the zip", [b"#!/bin/sh\n".as_slice(), &written(part)].concat());
    add(
        "an entry that is not in canonical form",
        replaced_in(part, "entries/0.json", |text| text.replacen('{', "{ ", 1)),
    );
    add(
        "an entry listed twice",
        replaced_in(part, "manifest.json", |text| text.replacen("    0,", "    0,\n    0,", 1)),
    );
    add("another format", replaced_in(part, "manifest.json", |text| text.replace("bundle/1", "bundle/9")));
    let shown = part.items.iter().find(|(_, item)| !item.values.is_empty()).unwrap().0;
    let disclosures = format!("disclosures/{shown}.json");
    add("a disclosure that is none", replaced_in(part, &disclosures, |text| text.replacen(": \"", ": \"!", 1)));
}

fn replaced(mut bytes: Vec<u8>, from: &str, to: &str) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut count = 0;
    for at in 0..bytes.len() - from.len() {
        if bytes[at..].starts_with(from.as_bytes()) {
            bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
            count += 1;
        }
    }
    assert!(count > 0, "{from}");
    bytes
}

/// The bundle with one of its files changed.
fn replaced_in(part: &Evidence, name: &str, change: impl Fn(String) -> String) -> Vec<u8> {
    let mut files = files(part);
    let old = String::from_utf8(files.remove(name).unwrap()).unwrap();
    let new = change(old.clone());
    assert_ne!(old, new, "{name}");
    files.insert(name.to_owned(), new.into_bytes());
    zipped(zip::ZipWriter::new(std::io::Cursor::new(Vec::new())), &files, |_| zip::write::SimpleFileOptions::default())
        .into_inner()
}

fn files(evidence: &Evidence) -> BTreeMap<String, Vec<u8>> {
    use std::io::Read as _;
    let bytes = written(evidence);
    let mut zip = zip::ZipArchive::new(std::io::Cursor::new(&bytes)).unwrap();
    let mut files = BTreeMap::new();
    for index in 0..zip.len() {
        let mut file = zip.by_index(index).unwrap();
        let mut content = Vec::new();
        file.read_to_end(&mut content).unwrap();
        files.insert(file.name().unwrap().into_owned(), content);
    }
    files
}

/// Writes the files, with what each is to have in its headers.
fn zipped<W: std::io::Write + std::io::Seek, T: zip::write::FileOptionExtension>(
    mut zip: zip::ZipWriter<W>,
    files: &BTreeMap<String, Vec<u8>>,
    options: impl Fn(&str) -> zip::write::FileOptions<'static, 'static, T>,
) -> W {
    for (name, content) in files {
        zip.start_file(name.as_str(), options(name)).unwrap();
        zip.write_all(content).unwrap();
    }
    zip.finish().unwrap()
}

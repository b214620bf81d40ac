//! Each way in which a ledger's files can be damaged: opening refuses with a message, or finds everything that was acknowledged; it never
//! panics, hangs or silently goes on with less.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test may fail by panicking")]

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use countersign_ledger::{
    Draft, Entry, Ledger,
    checkpoint::{Checkpoint, CheckpointSigner},
    clock::SystemClock,
    directory::Directory,
    ledger::{Adopts, Opened, Options},
    open::OpenError,
    record::body,
    repair::repair,
    verify::{self, verify},
};
use ed25519_dalek::SigningKey;

const ENTRIES: u64 = 40;

fn signer() -> CheckpointSigner {
    CheckpointSigner::new("bank.example/agents", SigningKey::from_bytes(&[1; 32])).unwrap()
}

fn options(dir: &Path) -> Options {
    let mut options = Options::new(dir);
    options.limits.segment_bytes = 64 << 10;
    options.limits.min_free_bytes = 0;
    options
}

fn make(dir: &Path) {
    let ledger = Ledger::create(options(dir), signer(), Arc::new(SystemClock), None).unwrap();
    for n in 1..ENTRIES {
        let note = body::Access {
            by: "test".into(),
            what: "show".into(),
            of: "x".repeat(4000 + n as usize),
            ..Default::default()
        };
        ledger.append_blocking(Draft::new(&note).unwrap()).unwrap();
    }
    ledger.close().unwrap();
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn open(dir: &Path) -> Result<u64, OpenError> {
    let (ledger, opened) = Ledger::open(options(dir), signer(), Arc::new(SystemClock))?;
    for seq in 0..opened.size {
        ledger.entry(seq).unwrap();
    }
    ledger.close().unwrap();
    Ok(opened.size)
}

fn segments(dir: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(dir.join("journal")).unwrap().map(|entry| entry.unwrap().path());
    let mut segments: Vec<PathBuf> = files.filter(|path| path.extension().is_some_and(|kind| kind == "seg")).collect();
    segments.sort();
    segments
}

/// Damages a fresh copy and opens it: all entries are there, or it is refused with a message that says what to do.
fn check(original: &Path, name: &str, damage: impl FnOnce(&Path)) {
    let dir = tempfile::tempdir().unwrap();
    let copied = dir.path().join("ledger");
    copy(original, &copied);
    damage(&copied);
    if let Ok(directory) = Directory::read(&copied, None) {
        let _ = verify(&directory, &verify::Options::default()).to_string();
    }
    match open(&copied) {
        Ok(size) => assert_eq!(size, ENTRIES, "{name}: opened with less"),
        Err(error) => {
            let message = error.to_string();
            assert!(message.len() > 20, "{name}: {message}");
            // What repair makes good has everything; what it does not, it refuses.
            match repair(&options(&copied)) {
                Ok(repaired) => {
                    assert_eq!(repaired.entries, ENTRIES, "{name}: repaired with less");
                    assert_eq!(open(&copied).unwrap(), ENTRIES, "{name}");
                }
                Err(error) => assert!(error.to_string().len() > 20, "{name}: {error}"),
            }
        }
    }
}

#[test]
fn no_damage_of_the_journal_loses_an_entry_silently() {
    let dir = tempfile::tempdir().unwrap();
    let original = dir.path().join("ledger");
    make(&original);
    assert_eq!(open(&original).unwrap(), ENTRIES);
    let segments = segments(&original);
    assert!(segments.len() > 2, "{segments:?}");
    let name = |path: &Path| path.file_name().unwrap().to_owned();
    for segment in [&segments[0], segments.last().unwrap()] {
        let (file, length) = (name(segment), fs::metadata(segment).unwrap().len() as usize);
        for at in [0, 9, 30, 34, 70, 76, 200, 5000, 20_000, length / 2, length - 1] {
            check(&original, &format!("byte {at} of {file:?} flipped"), |dir| {
                let path = dir.join("journal").join(&file);
                let mut bytes = fs::read(&path).unwrap();
                bytes[at] ^= 0x55;
                fs::write(path, bytes).unwrap();
            });
        }
        for keep in [0, 40, 64, 5000, length / 2] {
            check(&original, &format!("{file:?} cut to {keep}"), |dir| {
                let path = dir.join("journal").join(&file);
                let bytes = fs::read(&path).unwrap();
                fs::write(path, &bytes[..keep]).unwrap();
            });
        }
        check(&original, &format!("{file:?} removed"), |dir| fs::remove_file(dir.join("journal").join(&file)).unwrap());
        check(&original, &format!("{file:?} zeroed"), |dir| {
            fs::write(dir.join("journal").join(&file), vec![0; length]).unwrap()
        });
    }
    check(&original, "two segments swapped", |dir| {
        let (one, other) = (dir.join("journal").join(name(&segments[0])), dir.join("journal").join(name(&segments[1])));
        let aside = dir.join("aside");
        fs::rename(&one, &aside).unwrap();
        fs::rename(&other, &one).unwrap();
        fs::rename(&aside, &other).unwrap();
    });
    check(&original, "the journal removed", |dir| fs::remove_dir_all(dir.join("journal")).unwrap());
}

#[test]
fn no_damage_of_anchor_store_or_files_beside_loses_an_entry_silently() {
    let dir = tempfile::tempdir().unwrap();
    let original = dir.path().join("ledger");
    make(&original);
    for file in ["anchor/0", "anchor/1", "sled/db", "sled/conf", "checkpoint", "tile/entries/000.p/40"] {
        if !original.join(file).exists() {
            continue;
        }
        let length = fs::metadata(original.join(file)).unwrap().len() as usize;
        check(&original, &format!("{file} removed"), |dir| fs::remove_file(dir.join(file)).unwrap());
        for (what, bytes) in [("empty", vec![]), ("zeros", vec![0; length]), ("noise", vec![0xA5; length])] {
            check(&original, &format!("{file}: {what}"), |dir| fs::write(dir.join(file), &bytes).unwrap());
        }
        for at in (0..length).step_by(length / 5 + 1) {
            check(&original, &format!("byte {at} of {file} flipped"), |dir| {
                let mut bytes = fs::read(dir.join(file)).unwrap();
                bytes[at] ^= 0x55;
                fs::write(dir.join(file), bytes).unwrap();
            });
        }
    }
    check(&original, "the store removed", |dir| fs::remove_dir_all(dir.join("sled")).unwrap());
}

/// Opens what was damaged: what it says of itself, and its last entry.
fn heal(dir: &Path) -> Result<(Opened, Entry), OpenError> {
    let (ledger, opened) = Ledger::open(options(dir), signer(), Arc::new(SystemClock))?;
    let last = ledger.head().size() - 1;
    for seq in 0..last {
        ledger.entry(seq).unwrap();
    }
    let entry = Entry::parse(&ledger.entry(last).unwrap()).unwrap();
    ledger.close().unwrap();
    Ok((opened, entry))
}

#[test]
fn a_damaged_store_is_made_anew_when_all_else_agrees_and_an_entry_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let original = dir.path().join("ledger");
    make(&original);
    let damaged = |name: &str| {
        let copied = dir.path().join(name);
        copy(&original, &copied);
        fs::write(copied.join("sled/conf"), b"not what sled wrote").unwrap();
        copied
    };
    let healed = damaged("healed");
    let (opened, entry) = heal(&healed).unwrap();
    assert_eq!(opened.size, ENTRIES);
    assert!(opened.repaired.is_some_and(|why| why.contains("sled.damaged-0")));
    assert_eq!((entry.seq, entry.text("event")), (ENTRIES, Some("repaired")));
    let report = verify(&Directory::read(&healed, None).unwrap(), &verify::Options::default());
    assert_eq!(report.findings, []);
    let (again, entry) = heal(&healed).unwrap();
    assert_eq!((again.size, again.repaired, entry.text("event")), (ENTRIES + 1, None, Some("repaired")));
    // Where the others do not agree, or nothing tells whether they were put back, nothing is changed.
    type Lie = fn(&Path);
    let lies: [(&str, Lie); 4] = [
        ("no anchor", |dir| fs::remove_dir_all(dir.join("anchor")).unwrap()),
        ("a damaged anchor", |dir| {
            ["0", "1"].iter().for_each(|slot| fs::write(dir.join("anchor").join(slot), b"x").unwrap())
        }),
        ("an anchor of another ledger", |dir| {
            let other = dir.join("other");
            let ledger = Ledger::create(options(&other), signer(), Arc::new(SystemClock), None).unwrap();
            ledger.close().unwrap();
            fs::remove_dir_all(dir.join("anchor")).unwrap();
            copy(&other.join("anchor"), &dir.join("anchor"));
        }),
        ("a damaged journal", |dir| {
            let path = segments(dir).remove(0);
            let mut bytes = fs::read(&path).unwrap();
            bytes[5000] ^= 1;
            fs::write(path, bytes).unwrap();
        }),
    ];
    for (name, lie) in lies {
        let copied = damaged(name);
        lie(&copied);
        let error = heal(&copied).map(|(opened, _)| opened).unwrap_err();
        assert!(!error.to_string().is_empty(), "{name}");
        assert_eq!(fs::read(copied.join("sled/conf")).unwrap(), b"not what sled wrote", "{name}: {error}");
        assert!(!copied.join("sled.damaged-0").exists(), "{name}");
    }
    let copied = damaged("another key");
    let other = CheckpointSigner::new("bank.example/agents", SigningKey::from_bytes(&[2; 32])).unwrap();
    assert!(Ledger::open(options(&copied), other, Arc::new(SystemClock)).is_err());
    assert!(!copied.join("sled.damaged-0").exists(), "nothing is made anew for who has another key");
}

#[test]
fn all_but_the_anchor_rolled_back_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (original, older) = (dir.path().join("ledger"), dir.path().join("older"));
    make(&original);
    copy(&original, &older);
    let (ledger, _) = Ledger::open(options(&original), signer(), Arc::new(SystemClock)).unwrap();
    let note = body::Access { by: "test".into(), ..Default::default() };
    ledger.append_blocking(Draft::new(&note).unwrap()).unwrap();
    ledger.close().unwrap();
    drop(ledger);
    fs::remove_dir_all(older.join("anchor")).unwrap();
    copy(&original.join("anchor"), &older.join("anchor"));
    let error = open(&older).unwrap_err();
    assert!(
        matches!(error, OpenError::RolledBack { who: "anchor", size, journal } if (size, journal) == (ENTRIES + 1, ENTRIES)),
        "{error}"
    );
    assert!(repair(&options(&older)).is_err(), "nothing is signed over a gap");
}

#[test]
fn an_adopted_ledger_opens_again_beside_the_lost_ones_anchor() {
    let dir = tempfile::tempdir().unwrap();
    let (lost, anchor) = (dir.path().join("lost"), dir.path().join("anchor"));
    let at = |dir: &Path| Options { anchor_dir: anchor.clone(), ..options(dir) };
    let ledger = Ledger::create(at(&lost), signer(), Arc::new(SystemClock), None).unwrap();
    for _ in 0..5 {
        ledger.append_blocking(Draft::new(&body::Access { by: "test".into(), ..Default::default() }).unwrap()).unwrap();
    }
    let adopts = Adopts { checkpoint: ledger.head(), reason: "the disk was lost".into() };
    ledger.close().unwrap();
    drop(ledger);
    let new = dir.path().join("new");
    drop(Ledger::create(at(&new), signer(), Arc::new(SystemClock), Some(adopts)).unwrap());
    let (_, opened) = Ledger::open(at(&new), signer(), Arc::new(SystemClock)).unwrap();
    assert_eq!(opened.size, 1);
}

#[test]
fn what_was_held_of_a_lost_ledger_is_called_that_only_where_the_new_one_cites_it() {
    let dir = tempfile::tempdir().unwrap();
    let note = || Draft::new(&body::Access { by: "test".into(), ..Default::default() }).unwrap();
    let lost = Ledger::create(options(&dir.path().join("lost")), signer(), Arc::new(SystemClock), None).unwrap();
    let heads: Vec<_> = (0..9).map(|_| lost.append_blocking(note()).unwrap().proof.checkpoint).collect();
    let adopts = Adopts { checkpoint: heads[5].clone(), reason: "the disk was lost".into() };
    let at = dir.path().join("new");
    let new = Ledger::create(options(&at), signer(), Arc::new(SystemClock), Some(adopts)).unwrap();
    let says = |held: &Checkpoint| {
        let against = vec![verify::Held::Checkpoint(held.clone())];
        let options = verify::Options { against, ..verify::Options::default() };
        let report = verify(&Directory::read(&at, None).unwrap(), &options);
        let [finding] = report.findings.as_slice() else { panic!("{:?}", report.findings) };
        format!("{}: {}", finding.code, finding.what)
    };
    for code in ["truncated", "forked"] {
        let cited = says(&heads[5]);
        assert!(
            cited.starts_with(code) && cited.contains("of the 7 entries that it covers this ledger has none"),
            "{cited}"
        );
        // An older one, which may be of a ledger that this one was before somebody cut it; and a newer one, of which the first entry says nothing.
        let [older, newer] = [&heads[3], &heads[8]].map(&says);
        assert!(older.starts_with(code) && older.contains("cannot be told"), "{older}");
        assert!(newer.starts_with(code) && newer.contains("more entries than that says"), "{newer}");
        (0..12).for_each(|_| drop(new.append_blocking(note()).unwrap()));
    }
    assert_eq!(verify(&Directory::read(&at, None).unwrap(), &verify::Options::default()).findings, []);
}

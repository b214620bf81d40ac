//! Files that are damaged or gone, values that do not open, and subjects that were erased.

use super::*;

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

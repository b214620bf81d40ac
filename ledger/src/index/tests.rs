use std::{collections::BTreeMap, fs};

use serde_json::json;

use super::*;
use crate::{archive::Upper, batch::Batch, disk::SystemDisk};

/// An archive of so many tiles; each entry belongs to one of 300 instructions, every hundredth is a party's.
fn archive(dir: &std::path::Path, tiles: u64) -> (Archive, Vec<Batch>) {
    let archive = Archive::new(SystemDisk::shared(), dir);
    let mut upper = Upper::default();
    let entry = |seq: u64| {
        let kind = if seq.is_multiple_of(100) { "party" } else { "call" };
        let body = json!({"call": format!("c{seq}")});
        let entry =
            json!({"kind": kind, "instruction": format!("i{}", seq * 7 % 300), "n": 0, "body": body, "seq": seq});
        Arc::new(Stored::new(entry.to_string().into_bytes().into(), Beside::default()))
    };
    let batch = |tile: u64| Batch {
        first: tile * TILE,
        entries: (tile * TILE..(tile + 1) * TILE).map(entry).collect(),
        checkpoints: Vec::new(),
    };
    let batches: Vec<Batch> = (0..tiles).map(batch).collect();
    archive.write_tiles(&batches, &mut upper).unwrap();
    (archive, batches)
}

fn rows(batches: &[Batch]) -> Vec<Row> {
    let numbered = batches.iter().flat_map(|batch| (batch.first..).zip(&batch.entries));
    numbered.flat_map(|(seq, stored)| rows_of(seq, stored)).collect()
}

fn add(index: &Index, batches: &[Batch]) {
    let last = batches.last().unwrap();
    index.add(last.end(), *last.entries.last().unwrap().hash(), rows(batches)).unwrap();
}

/// Every term finds exactly what it should.
fn check(index: &Index, batches: &[Batch]) {
    check_each(index, batches, 1);
}

/// Every so manyth does.
fn check_each(index: &Index, batches: &[Batch], stride: usize) {
    let mut expected: BTreeMap<Term, Vec<u64>> = BTreeMap::new();
    for row in rows(batches) {
        expected.entry(row.term()).or_default().push(row.seq());
    }
    for (term, seqs) in expected.into_iter().step_by(stride) {
        assert_eq!(index.find(term).unwrap(), seqs, "{term:?}");
    }
    for n in 0..1000 {
        assert_eq!(index.find(Term::instruction(&format!("none-{n}"))).unwrap(), Vec::<u64>::new());
    }
}

fn files(dir: &std::path::Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(dir.join("index")).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn every_term_finds_its_entries_however_they_were_added_and_merged() {
    let dir = tempfile::tempdir().unwrap();
    let (archive, batches) = archive(dir.path(), 40);
    let index = Index::open(SystemDisk::shared(), &archive, 0).unwrap();
    let mut done = 0;
    // Some rounds of one tile, some of several.
    for width in [1, 1, 1, 1, 1, 1, 1, 1, 3, 1, 2, 1, 1, 8, 1, 1, 1, 1, 1, 1, 1, 5] {
        add(&index, &batches[done..done + width]);
        done += width;
        check_each(&index, &batches[..done], 31);
    }
    check(&index, &batches[..done]);
    assert!(files(dir.path()).len() < 10, "{:?}", files(dir.path()));
    let archived = done as u64 * TILE;
    check(&Index::read(SystemDisk::shared(), &archive, archived), &batches[..done]);
    let again = Index::open(SystemDisk::shared(), &archive, archived).unwrap();
    check(&again, &batches[..done]);
    // What the archive has beyond, and what it has no longer.
    check(&Index::open(SystemDisk::shared(), &archive, 40 * TILE).unwrap(), &batches);
    check(&Index::open(SystemDisk::shared(), &archive, 7 * TILE).unwrap(), &batches[..7]);
}

#[test]
fn no_damage_of_the_index_makes_it_lie() {
    let dir = tempfile::tempdir().unwrap();
    let (archive, batches) = archive(dir.path(), 12);
    let make = || {
        let _ = fs::remove_dir_all(dir.path().join("index"));
        let index = Index::open(SystemDisk::shared(), &archive, 0).unwrap();
        batches.chunks(4).for_each(|some| add(&index, some));
        let files = files(dir.path());
        assert_eq!(files.len(), 3);
        files
    };
    let file = make()[1].clone();
    let whole = fs::read(&file).unwrap();
    for at in (0..200).step_by(13).chain((0..whole.len()).step_by(whole.len() / 12)) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        fs::write(&file, &bytes).unwrap();
        check_each(&Index::open(SystemDisk::shared(), &archive, 12 * TILE).unwrap(), &batches, 97);
        make();
    }
    for keep in [0, 100, 5000, whole.len() - 1] {
        fs::write(&file, &whole[..keep]).unwrap();
        check_each(&Index::open(SystemDisk::shared(), &archive, 12 * TILE).unwrap(), &batches, 97);
        make();
    }
    // A page that is damaged while files are merged.
    let mut bytes = whole.clone();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&file, &bytes).unwrap();
    let index = Index::open(SystemDisk::shared(), &archive, 12 * TILE).unwrap();
    let merged = index.merged(&index.runs.read()).unwrap();
    assert_eq!(merged.rows, rows(&batches).len() as u64);
}

#[test]
fn a_missing_file_and_a_merge_cut_short_are_made_good() {
    let dir = tempfile::tempdir().unwrap();
    let (archive, batches) = archive(dir.path(), 12);
    let index = Index::open(SystemDisk::shared(), &archive, 0).unwrap();
    batches.chunks(4).for_each(|some| add(&index, some));
    fs::remove_file(&files(dir.path())[1]).unwrap();
    let read = Index::read(SystemDisk::shared(), &archive, 12 * TILE);
    assert_eq!(read.end(), 4 * TILE, "whoever only reads uses what is dense");
    let index = Index::open(SystemDisk::shared(), &archive, 12 * TILE).unwrap();
    check(&index, &batches);
    // The merged file is there, and so are its parts.
    index.merged(&index.runs.read()).unwrap();
    assert_eq!(files(dir.path()).len(), 4);
    check(&Index::read(SystemDisk::shared(), &archive, 12 * TILE), &batches);
    check(&Index::open(SystemDisk::shared(), &archive, 12 * TILE).unwrap(), &batches);
    assert_eq!(files(dir.path()).len(), 1);
}

#[test]
fn an_index_of_another_ledger_is_not_taken() {
    let dir = tempfile::tempdir().unwrap();
    let (archive, batches) = archive(dir.path(), 4);
    add(&Index::open(SystemDisk::shared(), &archive, 0).unwrap(), &batches);
    let path = files(dir.path()).remove(0);
    fs::remove_file(&path).unwrap();
    // The same entries are told to be in it, but it ends with another.
    let index = Index::open(SystemDisk::shared(), &archive, 0).unwrap();
    index.add(4 * TILE, Hash::of(b"other"), rows(&batches[..1])).unwrap();
    check(&Index::open(SystemDisk::shared(), &archive, 4 * TILE).unwrap(), &batches);
}

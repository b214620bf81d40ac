//! What age costs: how long a ledger takes to open after a kill and after a close, what memory it takes, what an append and the export of
//! one instruction cost, for an empty ledger and for a large one.
//!
//! `cargo bench -p countersign-ledger --features store --bench age -- [--entries 1000000]`; `BENCH_DIR` says where. Every line is
//! measured in a process of its own. Nothing here is asserted.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a bench stops at the first surprise")]

#[path = "support/mod.rs"]
#[allow(dead_code, reason = "other benches use the rest")]
mod support;

#[path = "support/aged.rs"]
mod aged;

use std::{
    io,
    path::Path,
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use countersign_ledger::{
    Ledger,
    clock::SystemClock,
    directory::Directory,
    disk::{Disk, DiskFile, SystemDisk},
    evidence::{Evidence, Selection},
    ledger::Options,
};

use aged::{exchange, instruction};
use support::{directory, option, signer};

fn main() {
    let step = std::env::args().skip_while(|argument| argument != "--step").nth(1);
    let dir = std::env::args().skip_while(|argument| argument != "--dir").nth(1).unwrap_or_default();
    let dir = Path::new(&dir);
    match step.as_deref() {
        Some("fill") => fill(dir, option("--entries", 0)),
        Some("open") => open(dir),
        Some("export") => export(dir),
        _ => compare(option("--entries", 1_000_000)),
    }
}

fn compare(entries: u64) {
    let dir = directory();
    for entries in [0, entries] {
        let dir = dir.path().join(format!("ledger-{entries}"));
        let step = |name: &str| {
            let status = Command::new(std::env::current_exe().unwrap())
                .args(["--step", name, "--entries", &entries.to_string(), "--dir"])
                .arg(&dir)
                .status();
            assert!(status.unwrap().success(), "{name}");
        };
        println!("{entries} entries");
        step("fill");
        println!("  after a kill:");
        step("open");
        println!("  after a close:");
        step("open");
        step("export");
    }
}

/// The disk without its syncs: how long filling takes is not what is measured.
struct Unsynced;

struct UnsyncedFile(Box<dyn DiskFile>);

impl DiskFile for UnsyncedFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

impl Disk for Unsynced {
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(UnsyncedFile(SystemDisk.open(path)?)))
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        SystemDisk.read(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        SystemDisk.list(dir)
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        std::fs::create_dir_all(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        SystemDisk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        SystemDisk.remove(path)
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        SystemDisk.remove_dir(dir)
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn space(&self, dir: &Path) -> io::Result<(u64, u64)> {
        SystemDisk.space(dir)
    }
}

/// Calls and outcomes, in batches as large as they may be. Ends as a kill does: nothing is closed.
fn fill(dir: &Path, entries: u64) {
    let begun = Instant::now();
    let options = Options { disk: Arc::new(Unsynced), ..Options::new(dir) };
    let ledger = Ledger::create(options, signer(), Arc::new(SystemClock), None).unwrap();
    aged::fill(&ledger, entries);
    let size = ledger.head().size();
    println!("  filled in {:.1} s, {size} entries; RSS {} MiB", begun.elapsed().as_secs_f64(), resident());
    std::process::exit(0);
}

fn open(dir: &Path) {
    let before = resident();
    let begun = Instant::now();
    let (ledger, opened) = Ledger::open(Options::new(dir), signer(), Arc::new(SystemClock)).unwrap();
    let took = begun.elapsed().as_secs_f64() * 1e3;
    println!(
        "    open {took:.0} ms, {} entries ({} replayed); RSS {before} -> {} MiB",
        opened.size,
        opened.replayed,
        resident()
    );
    let mut times = Vec::new();
    // Each to an instruction that is not known yet, as the dearest are.
    for n in 0..500 {
        let [mut draft, _] = exchange(n);
        draft.instruction = Some(format!("{}-{n}", opened.size));
        draft.state.clear();
        let begun = Instant::now();
        ledger.append_blocking(draft).unwrap();
        times.push(begun.elapsed().as_secs_f64() * 1e6);
        std::thread::sleep(Duration::from_millis(1));
    }
    times.sort_by(f64::total_cmp);
    println!(
        "    append p50 {:.0} us, p99 {:.0} us; RSS {} MiB",
        times[times.len() / 2],
        times[times.len() * 99 / 100],
        resident()
    );
    let begun = Instant::now();
    let count = (0..100)
        .map(|n| ledger.of_instruction(&instruction(n * 7919 % opened.size.max(1) / 2)).unwrap().len())
        .sum::<usize>();
    println!("    100 instructions looked up in {:.1} ms, {count} entries", begun.elapsed().as_secs_f64() * 1e3);
    ledger.close().unwrap();
}

fn export(dir: &Path) {
    let begun = Instant::now();
    let directory = Directory::read(dir, None).unwrap();
    let read = begun.elapsed().as_secs_f64() * 1e3;
    let selection = Selection::Instruction(instruction(directory.size() / 4));
    let mut evidence = Evidence::collect(&directory, &selection, None, &|_| false).unwrap();
    let proofs = directory.proofs(evidence.items.keys().copied()).unwrap();
    evidence.proofs = evidence.items.keys().copied().zip(proofs).collect();
    let took = begun.elapsed().as_secs_f64() * 1e3;
    println!(
        "    export of {} entries {took:.0} ms, of which reading the directory {read:.0} ms; RSS {} MiB",
        evidence.items.len(),
        resident()
    );
}

/// Resident memory, in MiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap_or_default();
    line.split_ascii_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).unwrap_or_default() / 1024
}

//! What sealing costs: entries appended with 1, 16 and 128 in flight, beside a raw append and fdatasync of as many bytes in the same batches.
//!
//! `cargo bench -p countersign-ledger --features store --bench ledger -- [--seconds 10] [--rounds 3] [--in-flight N]`; `BENCH_DIR` says where.
//! Ledger and raw file take turns; a raw turn writes the batches of the ledger's turn before it. Nothing here is asserted.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a bench stops at the first surprise")]

#[path = "support/mod.rs"]
mod support;

use std::{
    fs::{File, OpenOptions},
    io::Write as _,
    os::unix::fs::FileExt as _,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use countersign_ledger::{Draft, Hash, Ledger, ledger::Options};

use support::{call, create, directory, median, option};

/// What one turn showed. Times in microseconds.
struct Turn {
    per_second: f64,
    p50: f64,
    p99: f64,
}

/// The entries of one durable batch.
type Batches = Vec<u64>;

fn main() {
    let (seconds, rounds) = (option("--seconds", 10), option("--rounds", 3).max(1));
    let only = option("--in-flight", 0);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let dir = directory();
    println!("{} s in {rounds} rounds each, in `{}`; load average {}", seconds, dir.path().display(), load());
    for in_flight in [1, 16, 128].into_iter().filter(|n| only == 0 || only == *n) {
        runtime.block_on(side_by_side(
            dir.path(),
            in_flight,
            Duration::from_secs(seconds) / u32::try_from(rounds).unwrap(),
            rounds,
        ));
    }
}

async fn side_by_side(dir: &Path, in_flight: u64, turn: Duration, rounds: u64) {
    let dir = dir.join(format!("ledger-{in_flight}"));
    let (ledger, vault, subject) = create(Options::new(&dir));
    let policy = ledger.keep_policy(b"catalogue").unwrap();
    let drafts: Arc<Vec<Draft>> = Arc::new((0..4096).map(|n| call(&vault, &subject, n, policy)).collect());
    let bytes = bytes_per_entry(&ledger, &drafts).await;
    println!("\n{in_flight} in flight, {bytes} bytes an entry (entry, sealed values, state)");
    let (mut ours, mut grown, mut filled) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..rounds {
        let (measured, batches) = ledger_turn(&ledger, &drafts, in_flight, turn).await;
        settle(&ledger);
        print(&format!("round {}: ledger", round + 1), &measured);
        let mean = batches.iter().sum::<u64>() as f64 / batches.len().max(1) as f64;
        println!("    {} batches, {mean:.1} entries each", batches.len());
        let raw = raw_turn(&dir, bytes, &batches, turn, false);
        print("         raw, growing file", &raw);
        grown.push((measured.per_second / raw.per_second, measured.p50 - raw.p50));
        let raw = raw_turn(&dir, bytes, &batches, turn, true);
        print("         raw, file written before", &raw);
        filled.push((measured.per_second / raw.per_second, measured.p50 - raw.p50));
        ours.push(measured.per_second);
    }
    let (middle, low, high) = median(&ours);
    println!("median {middle:.0} entries/s ({low:.0} to {high:.0})");
    for (name, ratios) in [("growing file", &grown), ("file written before", &filled)] {
        let (middle, low, high) = median(&ratios.iter().map(|ratio| ratio.0).collect::<Vec<_>>());
        let (more, ..) = median(&ratios.iter().map(|ratio| ratio.1).collect::<Vec<_>>());
        println!("beside raw, {name}: ratio {middle:.2} ({low:.2} to {high:.2}), p50 {more:+.0} us");
    }
    ledger.close().unwrap();
    drop(ledger);
    std::fs::remove_dir_all(&dir).unwrap();
}

/// Bytes that one entry takes in the journal, measured on one.
async fn bytes_per_entry(ledger: &Ledger, drafts: &[Draft]) -> u64 {
    let draft = drafts[0].clone();
    let beside: usize = draft.attachments.len()
        + draft.state.iter().map(|put| put.key.len() + put.value.as_ref().map_or(0, Vec::len) + 9).sum::<usize>();
    let sealed = ledger.append(draft).await.unwrap();
    (sealed.bytes.len() + 4 + beside) as u64
}

async fn ledger_turn(ledger: &Ledger, drafts: &Arc<Vec<Draft>>, in_flight: u64, turn: Duration) -> (Turn, Batches) {
    let sizes = Arc::new(Mutex::new(vec![ledger.head().size()]));
    let stop = Arc::new(AtomicBool::new(false));
    let watching = thread::spawn({
        let (ledger, stop) = (ledger.clone(), stop.clone());
        move || watch_lag(&ledger, turn, &stop)
    });
    let begun = Instant::now();
    let tasks: Vec<_> = (0..in_flight)
        .map(|task| {
            let (ledger, drafts, sizes) = (ledger.clone(), drafts.clone(), sizes.clone());
            tokio::spawn(async move {
                let (mut took, mut ends) = (Vec::new(), Vec::new());
                let mut next = usize::try_from(task * 31).unwrap();
                while begun.elapsed() < turn {
                    next = (next + 1) % drafts.len();
                    let (draft, start) = (drafts[next].clone(), Instant::now());
                    let sealed = ledger.append(draft).await.unwrap();
                    took.push(start.elapsed().as_secs_f64() * 1e6);
                    let size = sealed.proof.checkpoint.size();
                    if sealed.seq + 1 == size {
                        ends.push(size);
                    }
                }
                sizes.lock().unwrap().extend(ends);
                took
            })
        })
        .collect();
    let mut took = Vec::new();
    for task in tasks {
        took.extend(task.await.unwrap());
    }
    let elapsed = begun.elapsed();
    stop.store(true, Ordering::Relaxed);
    println!("  store behind, entries, most in each tenth of the turn: {:?}", watching.join().unwrap());
    let mut sizes = std::mem::take(&mut *sizes.lock().unwrap());
    sizes.sort_unstable();
    let batches = sizes.windows(2).map(|pair| pair[1] - pair[0]).collect();
    (summary(took, elapsed), batches)
}

fn watch_lag(ledger: &Ledger, turn: Duration, stop: &AtomicBool) -> [u64; 10] {
    let (begun, mut most) = (Instant::now(), [0; 10]);
    while !stop.load(Ordering::Relaxed) {
        let tenth = (begun.elapsed().as_secs_f64() / turn.as_secs_f64() * 10.0) as usize;
        let slot = &mut most[tenth.min(9)];
        *slot = ledger.status().store_lag.max(*slot);
        thread::sleep(Duration::from_millis(20));
    }
    most
}

/// Waits until the store has caught up, so that the raw turn has the disk to itself.
fn settle(ledger: &Ledger) {
    let begun = Instant::now();
    while ledger.status().store_lag > 0 {
        thread::sleep(Duration::from_millis(5));
    }
    println!("  store caught up {} ms after the turn", begun.elapsed().as_millis());
    thread::sleep(Duration::from_millis(700));
}

/// As many bytes as each batch had, and an fdatasync after each, for as long as the ledger's turn at most; an entry's time is that of its batch.
fn raw_turn(dir: &Path, bytes: u64, batches: &[u64], turn: Duration, written_before: bool) -> Turn {
    const FILLED: u64 = 256 << 20;
    let path = dir.join("raw");
    let mut file = if written_before { filled(&path, FILLED) } else { File::create(&path).unwrap() };
    let payload = noise(usize::try_from(bytes * batches.iter().max().copied().unwrap_or(1)).unwrap());
    let (mut took, mut at) = (Vec::new(), 0);
    let begun = Instant::now();
    for batch in batches.iter().take_while(|_| begun.elapsed() < turn) {
        let (start, payload) = (Instant::now(), &payload[..usize::try_from(bytes * batch).unwrap()]);
        if written_before {
            if at + payload.len() as u64 > FILLED {
                at = 0;
            }
            file.write_all_at(payload, at).unwrap();
            at += payload.len() as u64;
        } else {
            file.write_all(payload).unwrap();
        }
        file.sync_data().unwrap();
        let us = start.elapsed().as_secs_f64() * 1e6;
        took.extend((0..*batch).map(|_| us));
    }
    let elapsed = begun.elapsed();
    drop(file);
    std::fs::remove_file(path).unwrap();
    summary(took, elapsed)
}

/// A file whose blocks are on the disk already, as those of a recycled journal segment are.
fn filled(path: &Path, length: u64) -> File {
    let file = OpenOptions::new().write(true).create(true).truncate(true).open(path).unwrap();
    let zeros = vec![0; 1 << 20];
    for at in (0..length).step_by(zeros.len()) {
        file.write_all_at(&zeros, at).unwrap();
    }
    file.sync_all().unwrap();
    file
}

/// Bytes that no disk can make smaller.
fn noise(length: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(length + 32);
    let mut hash = Hash::of(b"noise");
    while bytes.len() < length {
        hash = Hash::of(hash.as_bytes());
        bytes.extend(hash.as_bytes());
    }
    bytes
}

fn summary(mut took: Vec<f64>, elapsed: Duration) -> Turn {
    took.sort_by(f64::total_cmp);
    let at = |share: f64| took.get((took.len() as f64 * share) as usize).copied().unwrap_or_default();
    Turn { per_second: took.len() as f64 / elapsed.as_secs_f64(), p50: at(0.5), p99: at(0.99) }
}

fn print(name: &str, turn: &Turn) {
    println!("  {name}: {:.0} entries/s, p50 {:.0} us, p99 {:.0} us", turn.per_second, turn.p50, turn.p99);
}

fn load() -> String {
    std::fs::read_to_string("/proc/loadavg").unwrap_or_default().split(' ').next().unwrap_or_default().to_owned()
}

//! Every durable step fails, or is done and reported as failed: nothing acknowledged is lost, nothing is acknowledged that is not durable,
//! and the ledger opens again.
//!
//! Each run makes one step fail. `COUNTERSIGN_STRIDE=1` tries every step; without it every few of them, from a random one on.

#![cfg(test)]

use std::{
    io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use countersign_ledger::{
    Draft, Hash, Kind, Ledger,
    checkpoint::CheckpointSigner,
    clock::SystemClock,
    directory::Directory,
    disk::{Disk, DiskFile, SystemDisk},
    ledger::Options,
    open::OpenError,
    record::{Attachment, StatePut},
    repair::repair,
    verify::{self, verify},
    writer::AppendError,
};
use ed25519_dalek::SigningKey;
use rand::RngExt as _;
use serde_json::json;

/// How a step fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Failure {
    /// Nothing is done.
    NotDone,
    /// A write writes half of its bytes; anything else is not done.
    Half,
    /// It is done, and reported as failed.
    Done,
}

/// Counts durable steps and makes one fail.
#[derive(Clone)]
struct Faulty {
    steps: Arc<AtomicU64>,
    fail_at: u64,
    failure: Failure,
    /// Free space as the disk says it, after so many questions; before, as much as there is.
    free: Option<(Arc<AtomicU64>, u64)>,
    /// Whether a journal segment that is being made finds no room.
    no_room: Arc<AtomicBool>,
}

impl Faulty {
    fn step<T>(&self, act: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        let fails = self.steps.fetch_add(1, Ordering::SeqCst) == self.fail_at;
        match (fails, self.failure) {
            (false, _) => act(),
            (true, Failure::NotDone | Failure::Half) => Err(io::Error::other("made to fail")),
            (true, Failure::Done) => act().and(Err(io::Error::other("done, and said to have failed"))),
        }
    }
}

struct FaultyFile(Box<dyn DiskFile>, Faulty);

impl DiskFile for FaultyFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        if self.1.failure == Failure::Half && self.1.steps.load(Ordering::SeqCst) == self.1.fail_at {
            self.0.write_at(&bytes[..bytes.len() / 2], offset)?;
        }
        self.1.step(|| self.0.write_at(bytes, offset))
    }

    fn sync(&self) -> io::Result<()> {
        self.1.step(|| self.0.sync())
    }
}

impl Disk for Faulty {
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let file = self.step(|| SystemDisk.open(path))?;
        if self.no_room.load(Ordering::SeqCst) && path.extension().is_some_and(|extension| extension == "making") {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(Box::new(FaultyFile(file, self.clone())))
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        SystemDisk.read(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        SystemDisk.list(dir)
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        if dir.is_dir() { Ok(()) } else { self.step(|| SystemDisk.create_dir(dir)) }
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.step(|| SystemDisk.rename(from, to))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        if path.exists() { self.step(|| SystemDisk.remove(path)) } else { SystemDisk.remove(path) }
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        self.step(|| SystemDisk.remove_dir(dir))
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.step(|| SystemDisk.sync_dir(dir))
    }

    fn space(&self, dir: &Path) -> io::Result<(u64, u64)> {
        let (free, size) = SystemDisk.space(dir)?;
        match &self.free {
            Some((questions, said))
                if questions.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_err() =>
            {
                Ok((*said, size))
            }
            _ => Ok((free, size)),
        }
    }
}

fn signer() -> CheckpointSigner {
    CheckpointSigner::new("faults.example", SigningKey::from_bytes(&[3; 32])).unwrap()
}

/// Small limits: segments change, tiles fill and the journal is trimmed within a few hundred entries.
fn options(dir: &Path, disk: Arc<dyn Disk>) -> Options {
    let mut options = Options::new(dir);
    options.limits.segment_bytes = 64 << 10;
    options.limits.keep_entries = 100;
    options.limits.min_free_bytes = 1 << 20;
    options.limits.anchor_interval = Duration::from_millis(1);
    options.limits.space_interval = Duration::ZERO;
    options.disk = disk;
    options
}

fn draft(n: usize) -> Draft {
    Draft {
        kind: Kind::Other("test".to_owned()),
        parents: vec![],
        instruction: Some(format!("i{}", n % 3)),
        body: json!({ "v": 1, "n": n, "pad": "x".repeat(n % 200) }).as_object().cloned().unwrap(),
        attachments: vec![Attachment { subject: "s".to_owned(), name: "a".to_owned(), sealed: vec![n as u8; 200] }],
        state: vec![StatePut { key: b"test".to_vec(), value: Some(n.to_string().into_bytes()) }],
    }
}

const APPENDS: usize = 600;
const AT_ONCE: usize = 30;

/// Appends until the end or the first error; gives what was acknowledged and what stopped it.
fn append(ledger: &Ledger) -> (Vec<(u64, Hash)>, Option<AppendError>) {
    let mut acknowledged = Vec::new();
    for from in (0..APPENDS).step_by(AT_ONCE) {
        let tickets: Vec<_> = (from..from + AT_ONCE).map(|n| ledger.enqueue(draft(n))).collect();
        let mut failed = None;
        for ticket in tickets {
            match ticket.and_then(|ticket| ticket.sealed_blocking()) {
                // INVARIANT of the test: tickets come in order, so nothing after a failure may be acknowledged.
                Ok(sealed) if failed.is_none() => acknowledged.push((sealed.seq, sealed.hash)),
                Ok(sealed) => panic!("entry {} was acknowledged after {failed:?}", sealed.seq),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        if failed.is_some() {
            return (acknowledged, failed);
        }
    }
    (acknowledged, None)
}

/// A ledger whose disk says, after as many questions as the number holds, that so many bytes are free.
fn filling(dir: &Path, free: u64) -> (Ledger, Arc<AtomicU64>) {
    let questions = Arc::new(AtomicU64::new(u64::MAX));
    let free = Some((questions.clone(), free));
    let steps = Arc::default();
    let faulty = Faulty { steps, fail_at: u64::MAX, failure: Failure::NotDone, free, no_room: Arc::default() };
    let ledger = Ledger::create(options(dir, Arc::new(faulty)), signer(), Arc::new(SystemClock), None);
    // Whoever makes the next segment asks too.
    assert!(has_spare(dir));
    (ledger.unwrap(), questions)
}

/// Waits for the journal's next segment.
fn has_spare(dir: &Path) -> bool {
    let looks = std::iter::repeat_with(|| std::thread::sleep(Duration::from_millis(10)));
    looks.take(1000).any(|()| files(dir, ".spare") > 0)
}

/// How many files of the journal there are of this kind.
fn files(dir: &Path, ending: &str) -> usize {
    let names = SystemDisk.list(&dir.join("journal")).unwrap();
    names.iter().filter(|name| name.ends_with(ending)).count()
}

/// A forwarded call that was queued when there was room has its number at its upstream: refusing it would leave a hole in the numbers, which is what a call
/// that was left out looks like.
#[test]
fn a_call_with_its_number_is_written_although_the_disk_fills_behind_it() {
    let dir = tempfile::tempdir().unwrap();
    let (ledger, questions) = filling(dir.path(), 600 << 10);
    let call = |n: u64| {
        let mut draft = draft(0);
        draft.body.insert("upstream_n".to_owned(), n.into());
        draft
    };
    // Room when it is queued, none when it is written.
    questions.store(1, Ordering::SeqCst);
    ledger.append_blocking(call(1)).unwrap();
    assert!(matches!(ledger.enqueue(call(2)), Err(AppendError::NoSpace { .. })));
    questions.store(1, Ordering::SeqCst);
    assert!(matches!(ledger.append_blocking(draft(1)), Err(AppendError::NoSpace { .. })));
    let outcome = Draft { kind: Kind::Outcome, ..draft(2) };
    ledger.append_blocking(outcome).unwrap();
    questions.store(u64::MAX, Ordering::SeqCst);
    ledger.append_blocking(call(2)).unwrap();
    ledger.close().unwrap();
}

/// Nobody waits for an outcome, so nobody would hear that it was left out.
#[test]
fn an_outcome_that_was_queued_is_written_although_the_disk_fills_behind_it() {
    let dir = tempfile::tempdir().unwrap();
    let (ledger, questions) = filling(dir.path(), 300 << 10);
    let outcome = |n| Draft { kind: Kind::Outcome, ..draft(n) };
    let before = ledger.status().size;
    // Room when it is queued, less than half the reserve when it is written.
    questions.store(1, Ordering::SeqCst);
    ledger.enqueue_unawaited(outcome(1)).unwrap();
    assert!(matches!(ledger.enqueue_unawaited(outcome(2)), Err(AppendError::NoSpace { .. })));
    ledger.close().unwrap();
    assert_eq!(ledger.status().size, before + 1);
}

/// What is made ahead of time can wait. The ledger goes on, and half a segment does not take what room there is.
#[test]
fn a_disk_without_room_for_the_next_segment_does_not_stop_the_ledger() {
    let dir = tempfile::tempdir().unwrap();
    let (steps, no_room) = (Arc::default(), Arc::<AtomicBool>::default());
    let faulty = Faulty { steps, fail_at: u64::MAX, failure: Failure::NotDone, free: None, no_room: no_room.clone() };
    let ledger = Ledger::create(options(dir.path(), Arc::new(faulty)), signer(), Arc::new(SystemClock), None).unwrap();
    assert!(has_spare(dir.path()));
    no_room.store(true, Ordering::SeqCst);
    next_segment(&ledger, Kind::Other("test".to_owned()));
    let left = (ledger.status().poisoned, files(dir.path(), ".spare"), files(dir.path(), ".making"));
    assert_eq!(left, (None, 0, 0));
    ledger.append_blocking(draft(199)).unwrap();
    no_room.store(false, Ordering::SeqCst);
    ledger.append_blocking(draft(199)).unwrap();
    assert!(has_spare(dir.path()));
    ledger.close().unwrap();
}

#[test]
fn the_next_segment_is_not_made_out_of_the_reserve() {
    let dir = tempfile::tempdir().unwrap();
    // Above half the reserve: how calls end is written.
    let (ledger, questions) = filling(dir.path(), 600 << 10);
    questions.store(0, Ordering::SeqCst);
    next_segment(&ledger, Kind::Outcome);
    assert_eq!((files(dir.path(), ".spare"), files(dir.path(), ".making")), (0, 0));
    questions.store(u64::MAX, Ordering::SeqCst);
    ledger.append_blocking(draft(199)).unwrap();
    assert!(has_spare(dir.path()));
    ledger.close().unwrap();
}

/// Appends until a segment is begun, and waits until the archive's thread looked.
fn next_segment(ledger: &Ledger, kind: Kind) {
    let begun = ledger.status().segments;
    while ledger.status().segments == begun {
        ledger.append_blocking(Draft { kind: kind.clone(), ..draft(199) }).unwrap();
    }
    std::thread::sleep(Duration::from_millis(1200));
}

/// One run in which one step fails. Gives whether that step came.
fn run(fail_at: u64, failure: Failure) -> bool {
    let dir = tempfile::tempdir().unwrap();
    let faulty = Faulty { steps: Arc::default(), fail_at, failure, free: None, no_room: Arc::default() };
    let what = format!("step {fail_at} {failure:?}");
    let created = Ledger::create(options(dir.path(), Arc::new(faulty.clone())), signer(), Arc::new(SystemClock), None);
    let (mut acknowledged, mut stopped) = (Vec::new(), true);
    if let Ok(ledger) = created {
        let (all, error) = append(&ledger);
        acknowledged = all;
        if let Some(error) = &error {
            assert!(error.is_fatal(), "{what}: after a failed step nothing is accepted, but it said: {error}");
        }
        let closed = ledger.close();
        stopped = error.is_some() || closed.is_err();
        if stopped {
            assert!(ledger.enqueue(draft(0)).is_err(), "{what}: it goes on after {error:?}");
        }
    }
    let came = faulty.steps.load(Ordering::SeqCst) > fail_at;
    assert!(!came || stopped, "{what}: it failed and nobody was told");
    reopen(dir.path(), &acknowledged, &what);
    came
}

/// Opens on a good disk: what was acknowledged is there, `verify` is clean, and it goes on.
fn reopen(dir: &Path, acknowledged: &[(u64, Hash)], what: &str) {
    let good = || options(dir, SystemDisk::shared());
    let opened = Ledger::open(good(), signer(), Arc::new(SystemClock));
    let opened = match opened {
        Err(error) if error.to_string().contains("countersign repair") => {
            repair(&good()).unwrap_or_else(|failed| panic!("{what}: {error}; {failed}"));
            Ledger::open(good(), signer(), Arc::new(SystemClock))
        }
        other => other,
    };
    let ledger = match opened {
        Ok((ledger, _)) => ledger,
        // A ledger that was cut short before its first entry is begun again.
        Err(OpenError::Missing(_)) if acknowledged.is_empty() => {
            Ledger::create(good(), signer(), Arc::new(SystemClock), None)
                .unwrap_or_else(|error| panic!("{what}: it cannot be begun: {error}"))
        }
        Err(error) => panic!("{what}: {} acknowledged, then: {error}", acknowledged.len()),
    };
    for (seq, hash) in acknowledged {
        assert_eq!(Hash::of(&ledger.entry(*seq).unwrap()), *hash, "{what}: entry {seq}");
        assert_eq!(ledger.attachments(*seq).unwrap().len(), 1, "{what}: attachments of entry {seq}");
    }
    ledger.append_blocking(draft(0)).unwrap_or_else(|error| panic!("{what}: {error}"));
    ledger.close().unwrap_or_else(|error| panic!("{what}: {error}"));
    drop(ledger);
    let directory = Directory::read(dir, None).unwrap();
    let trust = vec![signer().verifier().clone()];
    let report = verify(&directory, &verify::Options { trust, ..verify::Options::default() });
    assert_eq!(report.exit_code(), 0, "{what}: {report}");
    assert!(report.counts.entries > acknowledged.last().map_or(0, |(seq, _)| *seq), "{what}");
}

fn every_step(failure: Failure) {
    let stride = std::env::var("COUNTERSIGN_STRIDE").ok().and_then(|stride| stride.parse().ok()).unwrap_or(29_u64);
    let mut step = rand::rng().random_range(0..stride);
    let mut runs = 0;
    while run(step, failure) {
        step += stride;
        runs += 1;
    }
    println!("{failure:?}: {runs} runs over {step} steps");
    assert!(runs * stride > 150, "the runs are too short to mean anything: {runs}");
}

#[test]
fn no_step_that_fails_loses_what_was_acknowledged() {
    every_step(Failure::NotDone);
}

#[test]
fn no_write_that_is_cut_short_loses_what_was_acknowledged() {
    every_step(Failure::Half);
}

#[test]
fn no_step_that_is_done_but_reported_as_failed_confuses_it() {
    every_step(Failure::Done);
}

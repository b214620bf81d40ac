//! Every durable step fails, or is done and reported as failed: nothing acknowledged is lost, nothing is acknowledged that is not durable,
//! and the ledger opens again.
//!
//! Each run makes one step fail. `COUNTERSIGN_STRIDE=1` tries every step; without it every few of them, from a random one on.

#![cfg(test)]

mod full;

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
    canonical::Members,
    checkpoint::CheckpointSigner,
    clock::SystemClock,
    directory::Directory,
    disk::{Disk, DiskFile, SystemDisk},
    ledger::Options,
    open::OpenError,
    record::{Attachment, StatePut},
    repair::repair,
    verify::{self, verify},
    writer::{AppendError, Ticket},
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
    /// What is said then.
    says: io::ErrorKind,
    /// Free space as the disk says it, after so many questions; before, as much as there is.
    free: Option<(Arc<AtomicU64>, u64)>,
    /// Whether a journal segment that is being made finds no room.
    no_room: Arc<AtomicBool>,
    /// Whether each write finds room for half of its bytes.
    is_full: Arc<AtomicBool>,
    /// Whether a sync says that there was no room.
    full_at_sync: Arc<AtomicBool>,
    /// Whether nobody who asks for free space gets an answer.
    is_silent: Arc<AtomicBool>,
    /// Whether the step that failed was a sync.
    failed_at_sync: Arc<AtomicBool>,
}

impl Faulty {
    /// A disk on which nothing fails.
    fn good() -> Faulty {
        Faulty {
            steps: Arc::default(),
            fail_at: u64::MAX,
            failure: Failure::NotDone,
            says: io::ErrorKind::Other,
            free: None,
            no_room: Arc::default(),
            is_full: Arc::default(),
            full_at_sync: Arc::default(),
            is_silent: Arc::default(),
            failed_at_sync: Arc::default(),
        }
    }

    fn step<T>(&self, act: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        let fails = self.steps.fetch_add(1, Ordering::SeqCst) == self.fail_at;
        match (fails, self.failure) {
            (false, _) => act(),
            (true, Failure::NotDone | Failure::Half) => Err(io::Error::new(self.says, "made to fail: storage")),
            (true, Failure::Done) => act().and(Err(io::Error::new(self.says, "done, and said to have failed"))),
        }
    }

    fn sync(&self, act: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        if self.full_at_sync.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.failed_at_sync.fetch_or(self.steps.load(Ordering::SeqCst) == self.fail_at, Ordering::SeqCst);
        self.step(act)
    }
}

struct FaultyFile(Box<dyn DiskFile>, Faulty);

impl DiskFile for FaultyFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        if self.1.is_full.load(Ordering::SeqCst) {
            self.0.write_at(&bytes[..bytes.len() / 2], offset)?;
            return Err(io::ErrorKind::StorageFull.into());
        }
        if self.1.failure == Failure::Half && self.1.steps.load(Ordering::SeqCst) == self.1.fail_at {
            self.0.write_at(&bytes[..bytes.len() / 2], offset)?;
        }
        self.1.step(|| self.0.write_at(bytes, offset))
    }

    fn sync(&self) -> io::Result<()> {
        self.1.sync(|| self.0.sync())
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
        self.sync(|| SystemDisk.sync_dir(dir))
    }

    fn space(&self, dir: &Path) -> io::Result<(u64, u64)> {
        while self.is_silent.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(1));
        }
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
    let body = Members::of(&json!({ "v": 1, "n": n, "pad": "x".repeat(n % 200) })).unwrap();
    let attachment = Attachment { subject: "s".to_owned(), name: "a".to_owned(), sealed: vec![n as u8; 200] };
    Draft {
        instruction: Some(format!("i{}", n % 3)),
        attachments: [attachment].into_iter().collect(),
        state: vec![StatePut { key: b"test".to_vec(), value: Some(n.to_string().into_bytes()) }],
        ..Draft::of(Kind::Other("test".to_owned()), body)
    }
}

const APPENDS: usize = 600;
const AT_ONCE: usize = 30;

/// Queues a draft, later where the ledger says that it would take it later.
fn enqueue(ledger: &Ledger, draft: &Draft) -> Result<Ticket, AppendError> {
    loop {
        match ledger.enqueue(draft) {
            Err(error) if error.passes() => std::thread::sleep(Duration::from_millis(2)),
            other => return other,
        }
    }
}

/// Appends until the end or the first error; gives what was acknowledged and what stopped it.
fn append(ledger: &Ledger) -> (Vec<(u64, Hash)>, Option<AppendError>) {
    let mut acknowledged = Vec::new();
    for from in (0..APPENDS).step_by(AT_ONCE) {
        let tickets: Vec<_> = (from..from + AT_ONCE).map(|n| enqueue(ledger, &draft(n))).collect();
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

/// One run in which one step fails. Gives whether that step came.
fn run(fail_at: u64, failure: Failure, says: io::ErrorKind) -> bool {
    let dir = tempfile::tempdir().unwrap();
    let faulty = Faulty { fail_at, failure, says, ..Faulty::good() };
    let what = format!("step {fail_at} {failure:?} {says}");
    // A full disk stops it only where it cannot be told what is there.
    let passes = || says == io::ErrorKind::StorageFull && !faulty.failed_at_sync.load(Ordering::SeqCst);
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
        assert!(!stopped || !passes(), "{what}: it stops, although it could have waited: {error:?} {closed:?}");
        if stopped {
            assert!(ledger.enqueue(draft(0)).is_err(), "{what}: it goes on after {error:?}");
        }
    }
    let came = faulty.steps.load(Ordering::SeqCst) > fail_at;
    assert!(!came || stopped || says == io::ErrorKind::StorageFull, "{what}: it failed and nobody was told");
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

fn every_step(failure: Failure, says: io::ErrorKind) {
    let stride = std::env::var("COUNTERSIGN_STRIDE").ok().and_then(|stride| stride.parse().ok()).unwrap_or(29_u64);
    let mut step = rand::rng().random_range(0..stride);
    let mut runs = 0;
    while run(step, failure, says) {
        step += stride;
        runs += 1;
    }
    println!("{failure:?} {says}: {runs} runs over {step} steps");
    assert!(runs * stride > 150, "the runs are too short to mean anything: {runs}");
}

#[test]
fn no_step_that_fails_loses_what_was_acknowledged() {
    every_step(Failure::NotDone, io::ErrorKind::Other);
}

#[test]
fn no_write_that_is_cut_short_loses_what_was_acknowledged() {
    every_step(Failure::Half, io::ErrorKind::Other);
}

#[test]
fn no_step_that_is_done_but_reported_as_failed_confuses_it() {
    every_step(Failure::Done, io::ErrorKind::Other);
}

#[test]
fn no_step_that_finds_no_room_stops_the_ledger_but_a_sync_and_none_loses_what_was_acknowledged() {
    for failure in [Failure::NotDone, Failure::Half, Failure::Done] {
        every_step(failure, io::ErrorKind::StorageFull);
    }
}

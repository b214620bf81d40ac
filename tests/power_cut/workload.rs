//! What runs in a process of its own on the disk that forgets: opens the ledger, compares it with what was acknowledged before, then
//! appends under load and prints what is acknowledged now, until it is killed or its disk is gone.

use std::{
    collections::VecDeque,
    env, fs,
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

use countersign_ledger::{
    Draft, Hash, Kind, Ledger,
    canonical::Members,
    checkpoint::CheckpointSigner,
    clock::SystemClock,
    directory::Directory,
    ledger::Options,
    open::OpenError,
    record::{Attachment, StatePut},
    verify,
    writer::{AppendError, Ticket},
};
use ed25519_dalek::SigningKey;
use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};
use serde_json::json;

const DIR: &str = "POWER_CUT_DIR";
const BEFORE: &str = "POWER_CUT_BEFORE";
const SEED: &str = "POWER_CUT_SEED";
const APPENDS: &str = "POWER_CUT_APPENDS";

const IN_FLIGHT: usize = 64;
/// How long a round may take before it counts as hanging.
const PATIENCE: Duration = Duration::from_secs(120);

/// An acknowledged entry: its number and hash.
pub type Acknowledged = (u64, Hash);

/// What the process says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// It begins a ledger: there was none, and nothing had been acknowledged.
    Begun,
    /// The store was damaged, as its own format allows, and was rebuilt from the other copies as the ledger's error says.
    Repaired,
    /// The ledger is open, complete and clean: so many acknowledged entries compared, so many entries in all.
    Checked { acknowledged: u64, entries: u64 },
    /// Something acknowledged is not there, or the ledger is not clean, or it refuses to open.
    Lost(String),
    /// An entry is acknowledged.
    Sealed(Acknowledged),
    /// Appending ended: all done, or the ledger says why not.
    Ended(String),
}

fn say(said: &Said) {
    let line = match said {
        Said::Begun => "begun".to_owned(),
        Said::Repaired => "repaired".to_owned(),
        Said::Checked { acknowledged, entries } => format!("checked {acknowledged} {entries}"),
        Said::Lost(what) => format!("lost {}", what.replace('\n', "; ")),
        Said::Sealed((seq, hash)) => format!("sealed {seq} {hash}"),
        Said::Ended(why) => format!("ended {}", why.replace('\n', "; ")),
    };
    let mut out = std::io::stdout().lock();
    // Whoever reads may be gone; then nobody needs to know.
    let _ = writeln!(out, "\u{1}{line}").and_then(|()| out.flush());
}

fn heard(line: &str) -> Option<Said> {
    // A line that was cut short was not said.
    let (_, line) = line.strip_suffix('\n')?.split_once('\u{1}')?;
    let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
    Some(match word {
        "begun" => Said::Begun,
        "repaired" => Said::Repaired,
        "checked" => {
            let (acknowledged, entries) = rest.split_once(' ')?;
            Said::Checked { acknowledged: acknowledged.parse().ok()?, entries: entries.parse().ok()? }
        }
        "lost" => Said::Lost(rest.to_owned()),
        "sealed" => {
            let (seq, hash) = rest.split_once(' ')?;
            Said::Sealed((seq.parse().ok()?, hash.parse().ok()?))
        }
        "ended" => Said::Ended(rest.to_owned()),
        _ => return None,
    })
}

/// The process, as the test sees it.
pub struct Workload {
    child: Child,
    said: mpsc::Receiver<Said>,
    reader: Option<thread::JoinHandle<()>>,
}

impl Workload {
    /// Starts it on a mounted disk; `appends` is how many entries it appends after its check.
    pub fn start(mount: &Path, before: &Path, seed: u64, appends: u64) -> Workload {
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["workload::process", "--exact", "--ignored", "--nocapture", "--test-threads=1"])
            .env(DIR, mount.join("ledger"))
            .env(BEFORE, before)
            .env(SEED, seed.to_string())
            .env(APPENDS, appends.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let (sender, said) = mpsc::channel();
        let reader = thread::spawn(move || {
            let mut line = String::new();
            while out.read_line(&mut line).is_ok_and(|bytes| bytes > 0) {
                if heard(&line).is_some_and(|said| sender.send(said).is_err()) {
                    return;
                }
                line.clear();
            }
        });
        Workload { child, said, reader: Some(reader) }
    }

    /// What it says next; none when it has ended.
    pub fn next(&self) -> Option<Said> {
        match self.said.recv_timeout(PATIENCE) {
            Ok(said) => Some(said),
            Err(mpsc::RecvTimeoutError::Disconnected) => None,
            Err(mpsc::RecvTimeoutError::Timeout) => panic!("the process hangs"),
        }
    }

    /// What it says until a moment.
    pub fn listen(&self, until: Instant) -> Vec<Said> {
        let mut all = Vec::new();
        while let Ok(said) = self.said.recv_timeout(until.saturating_duration_since(Instant::now())) {
            all.push(said);
        }
        all
    }

    /// Kills it, and gives what it had said by then.
    pub fn kill(mut self) -> Vec<Said> {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.reader.take().unwrap().join().unwrap();
        self.said.try_iter().collect()
    }
}

impl Drop for Workload {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn signer() -> CheckpointSigner {
    CheckpointSigner::new("power.example/cut", SigningKey::from_bytes(&[7; 32])).unwrap()
}

/// Small limits, so that segments are changed, entries archived and the journal trimmed within a round.
fn options(dir: &Path) -> Options {
    let mut options = Options::new(dir);
    options.limits.segment_bytes = 1 << 20;
    options.limits.keep_entries = 500;
    options.limits.min_free_bytes = 1 << 20;
    options.limits.anchor_interval = Duration::from_millis(20);
    options
}

fn draft(random: &mut SmallRng) -> Draft {
    let pad = "x".repeat(random.random_range(0..600));
    let byte = random.random();
    let attachment = |bytes| Attachment { subject: "s".to_owned(), name: "a".to_owned(), sealed: vec![byte; bytes] };
    // Now and then one that is too long for the store's pages.
    let attachments = match random.random_range(0..20) {
        0 => Some(attachment(20_000)),
        1..10 => Some(attachment(300)),
        _ => None,
    };
    let key = format!("test/{}", random.random_range(0..100)).into_bytes();
    let body = Members::of(&json!({ "v": 1, "pad": pad })).unwrap_or_default();
    Draft {
        instruction: random.random_bool(0.5).then(|| format!("i{}", random.random_range(0..20))),
        attachments: attachments.into_iter().collect(),
        state: vec![StatePut { key, value: random.random_bool(0.8).then(|| b"value".to_vec()) }],
        ..Draft::of(Kind::Other("test".to_owned()), body)
    }
}

/// Opens the ledger as the gateway does: begins one when nothing was ever acknowledged. Nobody repairs anything by hand.
fn open(dir: &Path, nothing_yet: bool) -> Result<Ledger, String> {
    let clock = Arc::new(SystemClock);
    match Ledger::open(options(dir), signer(), clock.clone()) {
        Ok((ledger, opened)) => {
            if opened.repaired.is_some() {
                say(&Said::Repaired);
            }
            Ok(ledger)
        }
        Err(OpenError::Missing(_)) if nothing_yet => {
            say(&Said::Begun);
            Ledger::create(options(dir), signer(), clock, None).map_err(|error| error.to_string())
        }
        Err(error) => Err(format!("open: {error}")),
    }
}

/// Everything acknowledged is there, and an outsider finds nothing wrong.
fn check(ledger: &Ledger, before: &[Acknowledged]) -> Result<u64, String> {
    for (seq, hash) in before {
        match ledger.entry(*seq) {
            Ok(bytes) if Hash::of(&bytes) == *hash => {}
            Ok(_) => return Err(format!("entry {seq} is another one")),
            Err(error) => return Err(format!("entry {seq}: {error}")),
        }
    }
    let directory = Directory::read(ledger.dir(), None).map_err(|error| error.to_string())?;
    let trust = vec![signer().verifier().clone()];
    let report = verify::verify(&directory, &verify::Options { trust, ..verify::Options::default() });
    let entries = report.counts.entries;
    let complete = before.last().is_none_or(|(seq, _)| *seq < entries);
    if report.exit_code() == 0 && complete { Ok(entries) } else { Err(format!("verify: {report}")) }
}

fn append(ledger: &Ledger, seed: u64, appends: u64) -> Result<(), AppendError> {
    let mut random = SmallRng::seed_from_u64(seed);
    let mut waiting: VecDeque<Ticket> = VecDeque::new();
    for _ in 0..appends {
        if waiting.len() == IN_FLIGHT {
            acknowledge(waiting.pop_front())?;
        }
        waiting.push_back(ledger.enqueue(draft(&mut random))?);
    }
    while !waiting.is_empty() {
        acknowledge(waiting.pop_front())?;
    }
    Ok(())
}

fn acknowledge(ticket: Option<Ticket>) -> Result<(), AppendError> {
    let Some(ticket) = ticket else { return Ok(()) };
    let sealed = ticket.sealed_blocking()?;
    say(&Said::Sealed((sealed.seq, sealed.hash)));
    Ok(())
}

pub fn read_acknowledged(path: &Path) -> Vec<Acknowledged> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let line = |line: &str| {
        let (seq, hash) = line.split_once(' ').unwrap();
        (seq.parse().unwrap(), hash.parse().unwrap())
    };
    text.lines().map(line).collect()
}

/// The process: this test binary, started again by a test.
#[test]
#[ignore = "run by the power cut tests as a process of its own"]
fn process() {
    let (Ok(dir), Ok(before)) = (env::var(DIR), env::var(BEFORE)) else { return };
    // Standard error is closed: without a disk the store panics in many threads, and says so at length.
    std::panic::set_hook(Box::new(|panic| say(&Said::Ended(format!("panic: {panic}")))));
    let number = |name| env::var(name).unwrap().parse::<u64>().unwrap();
    let (dir, before) = (PathBuf::from(dir), read_acknowledged(Path::new(&before)));
    let ledger = match open(&dir, before.is_empty()) {
        Ok(ledger) => ledger,
        Err(what) => return say(&Said::Lost(what)),
    };
    match check(&ledger, &before) {
        Ok(entries) => say(&Said::Checked { acknowledged: before.len() as u64, entries }),
        Err(what) => return say(&Said::Lost(what)),
    }
    match append(&ledger, number(SEED), number(APPENDS)) {
        Ok(()) => say(&Said::Ended("done".to_owned())),
        Err(error) => {
            say(&Said::Ended(ledger.status().poisoned.map_or(error.to_string(), |why| why.to_string())));
            // The store panics when it is dropped without a disk.
            std::mem::forget(ledger);
        }
    }
}

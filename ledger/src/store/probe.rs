//! Opening a damaged sled panics, aborts or hangs. So it is opened and read in a process of its own first.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use super::{StoreError, open_sled};

/// How to try whether a store can be opened and read.
#[derive(Debug, Clone)]
pub enum Probe {
    /// Run a program that calls [`probe_in_this_process`] with the store's directory as its last argument.
    Process {
        /// The program.
        program: PathBuf,
        /// The arguments before the directory.
        arguments: Vec<OsString>,
        /// How long it may take.
        limit: Duration,
    },
    /// Open it in this process, in a thread of its own: a panic or a hang is seen, an abort is not.
    Thread {
        /// How long it may take.
        limit: Duration,
    },
}

impl Default for Probe {
    fn default() -> Probe {
        Probe::Thread { limit: Duration::from_secs(60) }
    }
}

impl Probe {
    /// Tries it.
    ///
    /// # Errors
    /// [`StoreError::Damaged`].
    pub fn run(&self, path: &Path) -> Result<(), StoreError> {
        let outcome = match self {
            Probe::Process { program, arguments, limit } => run_process(program, arguments, path, *limit),
            Probe::Thread { limit } => run_thread(path, *limit),
        };
        outcome.map_err(|what| StoreError::Damaged { path: path.to_owned(), what })
    }
}

/// Opens the store and reads every key and value.
///
/// # Errors
/// [`StoreError`]; may also panic or hang, which is what a process of its own is for.
pub fn probe_in_this_process(path: &Path) -> Result<u64, StoreError> {
    let (db, _file) = open_sled(path)?;
    let mut count = 0;
    // Keys and values near the ends and a bounded sample: the whole is compared with the other copies by `verify`.
    for found in db.iter().take(20_000).chain(db.iter().rev().take(20_000)) {
        found.map_err(|source| StoreError::Sled { path: path.to_owned(), source })?;
        count += 1;
    }
    Ok(count)
}

fn run_process(program: &Path, arguments: &[OsString], path: &Path, limit: Duration) -> Result<(), String> {
    let mut child = Command::new(program)
        .args(arguments)
        .arg(path)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| format!("the program that probes it cannot be run: {error}"))?;
    let begun = Instant::now();
    loop {
        match child.try_wait() {
            Ok(Some(status)) if status.success() => return Ok(()),
            Ok(Some(status)) => return Err(format!("opening and reading it fails ({status})")),
            Ok(None) if begun.elapsed() < limit => thread::sleep(Duration::from_millis(2)),
            Ok(None) => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!("opening it did not end within {} s", limit.as_secs()));
            }
            Err(error) => return Err(format!("the program that probes it cannot be waited for: {error}")),
        }
    }
}

fn run_thread(path: &Path, limit: Duration) -> Result<(), String> {
    let (sender, receiver) = std::sync::mpsc::channel();
    let path = path.to_owned();
    let probe = thread::spawn(move || {
        let outcome = probe_in_this_process(&path).map(|_| ()).map_err(|error| error.to_string());
        let _ = sender.send(outcome);
    });
    match receiver.recv_timeout(limit) {
        Ok(outcome) => {
            let _ = probe.join();
            outcome
        }
        Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => Err("opening or reading it panics".to_owned()),
        Err(std::sync::mpsc::RecvTimeoutError::Timeout) => {
            Err(format!("opening it did not end within {} s", limit.as_secs()))
        }
    }
}

//! Power cuts under load: nothing acknowledged is lost, and the test sees it when a sync barrier is missing.
//!
//! `COUNTERSIGN_ROUNDS` says how many rounds (50), `COUNTERSIGN_SEED` repeats a run. A failure prints its seed.

mod forgetful;
mod workload;

use std::{
    env,
    fmt::Write as _,
    fs,
    time::{Duration, Instant},
};

use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};

use self::{
    forgetful::{Forgetful, Mounted, disk::Barrier},
    workload::{Acknowledged, Said, Workload},
};

/// A test that cannot run here says so, loudly.
fn skipped(reason: &str) {
    eprintln!("\n*** SKIPPED: power cuts are not tested here: {reason} ***\n");
}

/// More than is appended before any cut.
const ENDLESS: u64 = 1 << 40;

/// A machine whose power is cut.
struct Machine {
    disk: Forgetful,
    mount: tempfile::TempDir,
    mounted: Option<Mounted>,
    /// On another disk: what was acknowledged to somebody outside.
    outside: tempfile::NamedTempFile,
    acknowledged: Vec<Acknowledged>,
}

/// When the power goes.
#[derive(Debug, Clone, Copy)]
enum Cut {
    /// So long after the first acknowledgement; the process is killed with it.
    After(Duration),
    /// At the disk's n-th step from now, wherever that is.
    AtStep(u64),
}

impl Machine {
    fn new() -> Option<Machine> {
        if let Some(reason) = forgetful::missing() {
            skipped(&reason);
            return None;
        }
        let (disk, mount) = (Forgetful::default(), tempfile::tempdir().unwrap());
        let mounted = Some(disk.mount(mount.path()).unwrap());
        Some(Machine { disk, mount, mounted, outside: tempfile::NamedTempFile::new().unwrap(), acknowledged: vec![] })
    }

    fn start(&self, seed: u64, appends: u64) -> Workload {
        Workload::start(self.mount.path(), self.outside.path(), seed, appends)
    }

    fn hear(&mut self, said: Vec<Said>) -> Result<(), String> {
        for said in said {
            match said {
                Said::Sealed(entry) => self.acknowledged.push(entry),
                // What it says about a disk without power is not about what it lost.
                Said::Lost(what) if self.disk.disk().has_power() => return Err(what),
                _ => {}
            }
        }
        Ok(())
    }

    /// One life of the process, from the check of what was acknowledged before to the next cut.
    fn live(&mut self, cut: Cut, seed: u64, torn: bool) -> Result<(), String> {
        if let Cut::AtStep(step) = cut {
            self.disk.disk().cut_after(step);
        }
        let process = self.start(seed, ENDLESS);
        match cut {
            Cut::After(time) => {
                while let Some(said) = process.next() {
                    let begins = matches!(said, Said::Sealed(_));
                    self.hear(vec![said])?;
                    if begins {
                        break;
                    }
                }
                self.hear(process.listen(Instant::now() + time))?;
            }
            Cut::AtStep(_) => {
                while self.disk.disk().has_power()
                    && let Some(said) = process.next()
                {
                    self.hear(vec![said])?;
                }
                // What was acknowledged just before is still on its way.
                self.hear(process.listen(Instant::now() + Duration::from_millis(20)))?;
            }
        }
        self.hear(process.kill())?;
        self.power_cut(seed, torn);
        Ok(())
    }

    fn power_cut(&mut self, seed: u64, torn: bool) {
        self.mounted = None;
        self.disk.disk().cut(seed, torn);
        self.mounted = Some(self.disk.mount(self.mount.path()).unwrap());
        let mut lines = String::new();
        for (seq, hash) in &self.acknowledged {
            writeln!(lines, "{seq} {hash}").unwrap();
        }
        fs::write(self.outside.path(), lines).unwrap();
    }

    /// Opens once more and compares with what was acknowledged.
    fn check(&mut self) -> Result<(u64, u64), String> {
        let process = self.start(0, 0);
        loop {
            match process.next() {
                Some(Said::Checked { acknowledged, entries }) => return Ok((acknowledged, entries)),
                Some(Said::Lost(what)) => return Err(what),
                Some(_) => {}
                None => return Err("the process ended without a word".to_owned()),
            }
        }
    }
}

fn number(name: &str) -> Option<u64> {
    env::var(name).ok()?.parse().ok()
}

#[test]
fn nothing_acknowledged_is_lost_in_a_power_cut() {
    let Some(mut machine) = Machine::new() else { return };
    let rounds = number("COUNTERSIGN_ROUNDS").unwrap_or(50);
    let seed = number("COUNTERSIGN_SEED").unwrap_or_else(rand::random);
    println!("{rounds} rounds, COUNTERSIGN_SEED={seed}");
    let mut random = SmallRng::seed_from_u64(seed);
    for round in 0..rounds {
        // Now and then a ledger is begun anew, so that cuts fall into its making too.
        if round % 10 == 9 {
            machine = Machine::new().unwrap();
        }
        let cut = match random.random_range(0..3) {
            0 => Cut::After(Duration::from_millis(random.random_range(0..150))),
            1 => Cut::AtStep(random.random_range(0..200)),
            _ => Cut::AtStep(random.random_range(0..3000)),
        };
        let torn = random.random_bool(0.7);
        let before = machine.acknowledged.len();
        if let Err(what) = machine.live(cut, random.random(), torn) {
            panic!("round {round}, seed {seed}: before {cut:?}: {what}");
        }
        println!("round {round}: {cut:?} torn={torn}: {} acknowledged", machine.acknowledged.len() - before);
    }
    let (acknowledged, entries) = machine.check().unwrap_or_else(|what| panic!("seed {seed}: at the end: {what}"));
    println!("{acknowledged} acknowledged entries compared at the end, of {entries}");
    assert_eq!(acknowledged, machine.acknowledged.len() as u64);
}

/// A ledger with some acknowledged entries on a disk whose barrier then goes missing; then more, then the cut.
fn after_a_missing(barrier: Barrier) -> Option<Result<(u64, u64), String>> {
    let mut machine = Machine::new()?;
    let quiet = Cut::After(Duration::from_millis(50));
    machine.live(quiet, 1, false).unwrap();
    machine.disk.disk().set_barrier(barrier);
    let before = machine.acknowledged.len();
    machine.live(Cut::After(Duration::from_millis(300)), 2, false).unwrap();
    assert!(machine.acknowledged.len() > before);
    machine.disk.disk().set_barrier(Barrier::On);
    Some(machine.check())
}

#[test]
fn without_the_journals_sync_the_loss_is_seen() {
    let Some(checked) = after_a_missing(Barrier::OffIn("journal")) else { return };
    println!("{checked:?}");
    assert!(checked.is_err(), "the test cannot see a missing sync: {checked:?}");
}

#[test]
fn without_any_sync_the_loss_is_seen() {
    let Some(checked) = after_a_missing(Barrier::Off) else { return };
    println!("{checked:?}");
    assert!(checked.is_err(), "the test cannot see that no sync works: {checked:?}");
}

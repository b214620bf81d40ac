//! Power cuts under load: nothing acknowledged is lost, and the test sees it when a sync barrier is missing.
//!
//! `COUNTERSIGN_ROUNDS` says how many rounds (50), `COUNTERSIGN_SEED` repeats a run. A failure prints its seed.

#![cfg(test)]

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
    forgetful::{
        Forgetful, Mounted,
        disk::{Barrier, EIO, Failed, Step},
    },
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
    /// How often the store had to be rebuilt.
    repairs: u64,
    /// Whether a cut kept a part of what was not synced: then the store may need repair, once or later.
    torn: bool,
    /// Whether the ledger may stop, because a step was made to fail.
    may_stop: bool,
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
        Some(Machine {
            disk,
            mount,
            mounted,
            outside: tempfile::NamedTempFile::new().unwrap(),
            acknowledged: vec![],
            repairs: 0,
            torn: false,
            may_stop: false,
        })
    }

    fn start(&self, seed: u64, appends: u64) -> Workload {
        Workload::start(self.mount.path(), self.outside.path(), seed, appends)
    }

    fn hear(&mut self, said: Vec<Said>) -> Result<(), String> {
        for said in said {
            // What it says about a disk without power is not about what was lost.
            let powered = self.disk.disk().has_power();
            match said {
                Said::Sealed(entry) => self.acknowledged.push(entry),
                Said::Lost(what) if powered => return Err(what),
                Said::Repaired if powered && self.torn => self.repairs += 1,
                Said::Ended(why) if powered && !self.may_stop => {
                    return Err(format!("the ledger stopped by itself: {why}"));
                }
                Said::Repaired if powered => return Err("the store is damaged though no sync was torn".to_owned()),
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
        self.torn |= torn;
        self.mounted = Some(self.disk.mount(self.mount.path()).unwrap());
        let mut lines = String::new();
        for (seq, hash) in &self.acknowledged {
            writeln!(lines, "{seq} {hash}").unwrap();
        }
        fs::write(self.outside.path(), lines).unwrap();
    }

    /// Opens once more and compares with what was acknowledged.
    fn check(&mut self) -> Result<(u64, u64), String> {
        self.may_stop = true;
        let process = self.start(0, 0);
        loop {
            match process.next() {
                Some(Said::Checked { acknowledged, entries }) => return Ok((acknowledged, entries)),
                Some(said) => self.hear(vec![said])?,
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
    let (mut compared, mut repairs) = (0, 0);
    for round in 0..rounds {
        let cut = match random.random_range(0..3) {
            0 => Cut::After(Duration::from_millis(random.random_range(0..150))),
            1 => Cut::AtStep(random.random_range(0..200)),
            _ => Cut::AtStep(random.random_range(0..3000)),
        };
        // Every other ledger only ever loses all that is not synced; its store must need no repair.
        let (torn, before) = (round / 10 % 2 == 1 && random.random_bool(0.8), machine.acknowledged.len());
        if let Err(what) = machine.live(cut, random.random(), torn) {
            panic!("round {round}, seed {seed}: before {cut:?}: {what}");
        }
        println!("round {round}: {cut:?} torn={torn}: {} acknowledged", machine.acknowledged.len() - before);
        // Now and then a ledger is begun anew, so that cuts fall into its making too.
        if round % 10 == 9 || round == rounds - 1 {
            compared += machine.check().unwrap_or_else(|what| panic!("round {round}, seed {seed}: {what}")).0;
            repairs += machine.repairs;
            machine = Machine::new().unwrap();
        }
    }
    println!("{compared} acknowledged entries compared; the store was rebuilt {repairs} times");
    assert!(compared > 0);
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
fn without_the_syncs_of_directories_the_loss_is_seen() {
    let Some(mut machine) = Machine::new() else { return };
    machine.disk.disk().set_barrier(Barrier::OffForNames);
    machine.live(Cut::After(Duration::from_millis(50)), 1, false).unwrap();
    let checked = machine.check();
    println!("{checked:?}");
    assert!(checked.is_err(), "the test cannot see that names are lost: {checked:?}");
}

#[test]
fn without_any_sync_the_loss_is_seen() {
    let Some(checked) = after_a_missing(Barrier::Off) else { return };
    println!("{checked:?}");
    assert!(checked.is_err(), "the test cannot see that no sync works: {checked:?}");
}

impl Machine {
    /// Starts, does something to the disk once entries are being acknowledged, and kills the process when it has stopped or after `patience`.
    fn live_through(
        &mut self,
        seed: u64,
        patience: Duration,
        act: impl FnOnce(&Forgetful),
    ) -> Result<Vec<Said>, String> {
        self.may_stop = true;
        let process = self.start(seed, ENDLESS);
        let mut said = Vec::new();
        while let Some(next) = process.next() {
            said.push(next);
            if said.len() > 20 {
                break;
            }
        }
        act(&self.disk);
        let until = Instant::now() + patience;
        while Instant::now() < until && !said.iter().any(|said| matches!(said, Said::Ended(_))) {
            said.extend(process.listen(until.min(Instant::now() + Duration::from_millis(100))));
        }
        said.extend(process.kill());
        self.hear(said.clone())?;
        Ok(said)
    }
}

#[test]
fn whatever_step_fails_or_is_said_to_fail_nothing_acknowledged_is_lost() {
    for step in [Step::Make, Step::Write, Step::Resize, Step::Sync, Step::SyncDirectory, Step::Rename, Step::Remove] {
        for failed in [Failed::NotDone, Failed::Done] {
            let Some(mut machine) = Machine::new() else { return };
            let said = machine
                .live_through(3, Duration::from_millis(700), |disk| disk.disk().fail_next(step, EIO, failed))
                .unwrap();
            let taken = !machine.disk.disk().is_to_fail();
            let stopped = said.iter().any(|said| matches!(said, Said::Ended(_)));
            let ended = said.iter().find(|said| matches!(said, Said::Ended(_)));
            println!("{step:?} {failed:?}: taken={taken} {ended:?} {} acknowledged", machine.acknowledged.len());
            assert!(taken || matches!(step, Step::Resize | Step::Remove), "{step:?} never came");
            // The kernel hides the failure of a write of which a part was done, and the rest is written again.
            let hidden = matches!(step, Step::Write | Step::Remove);
            assert!(!taken || stopped || hidden, "{step:?} {failed:?} failed and the ledger went on");
            machine.power_cut(4, true);
            machine.check().unwrap_or_else(|what| panic!("{step:?} {failed:?}: {what}"));
        }
    }
}

#[test]
fn a_full_disk_refuses_and_loses_nothing() {
    let Some(mut machine) = Machine::new() else { return };
    for round in 0..5 {
        let said = machine.live_through(round, Duration::from_secs(60), |disk| {
            let mut disk = disk.disk();
            let (all, free) = disk.space();
            disk.set_capacity((all - free + 1200) * 4096);
        });
        let ended = said.unwrap().into_iter().find(|said| matches!(said, Said::Ended(_)));
        println!("round {round}: {ended:?}, {} acknowledged", machine.acknowledged.len());
        assert!(ended.is_some(), "the ledger went on without a disk");
        machine.disk.disk().set_capacity(4 << 30);
        machine.power_cut(round, false);
        machine.check().unwrap();
    }
}

/// No power cut: the process is killed at some moment, and the system keeps what it had written. Needs no FUSE.
#[test]
fn nothing_acknowledged_is_lost_when_the_process_is_killed() {
    let (dir, outside) = (tempfile::tempdir().unwrap(), tempfile::NamedTempFile::new().unwrap());
    let mut acknowledged: Vec<Acknowledged> = Vec::new();
    let mut random = SmallRng::seed_from_u64(rand::random());
    for round in 0..20 {
        let process = Workload::start(dir.path(), outside.path(), round, ENDLESS);
        let mut said = Vec::new();
        while let Some(next) = process.next() {
            said.push(next);
            if matches!(said.last(), Some(Said::Sealed(_) | Said::Lost(_))) {
                break;
            }
        }
        said.extend(process.listen(Instant::now() + Duration::from_millis(random.random_range(0..200))));
        said.extend(process.kill());
        let wrong = said.iter().find(|said| matches!(said, Said::Lost(_) | Said::Repaired | Said::Ended(_)));
        assert_eq!(wrong, None, "round {round}");
        acknowledged.extend(said.iter().filter_map(|said| match said {
            Said::Sealed(entry) => Some(*entry),
            _ => None,
        }));
        let lines: String = acknowledged.iter().map(|(seq, hash)| format!("{seq} {hash}\n")).collect();
        fs::write(outside.path(), lines).unwrap();
    }
    println!("{} acknowledged in 20 rounds", acknowledged.len());
    assert!(acknowledged.len() > 200);
}

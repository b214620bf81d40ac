//! What processes have used, from /proc, and what the disk was given meanwhile.

use std::{
    fs,
    io::{Seek as _, Write as _},
    os::unix::fs::MetadataExt as _,
    path::Path,
    time::{Duration, Instant},
};

/// Of a set of processes together.
#[derive(Clone, Copy, Default)]
pub struct Cost {
    /// User and system time.
    pub cpu: Duration,
    /// Resident now.
    pub resident_mib: f64,
    /// What the disk was given, in bytes: by everybody, since what a process is said to write counts whole pages that were touched, and large ones.
    pub written: f64,
}

impl Cost {
    /// Of these processes, and of the disk that `dir` is on, until now.
    pub fn of(processes: &[u32], dir: &Path) -> Cost {
        let mut cost = Cost { written: written(dir).unwrap_or_default(), ..Cost::default() };
        for id in processes {
            let read = |file: &str| fs::read_to_string(format!("/proc/{id}/{file}")).unwrap_or_default();
            let stat = read("stat");
            // utime and stime are fields 14 and 15; the name (field 2) may have spaces, and ends with ')'.
            let after = stat.rsplit(')').next().unwrap_or_default();
            let ticks: u64 =
                after.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
            cost.cpu += Duration::from_millis(ticks * 10);
            cost.resident_mib += number(&read("status"), "VmRSS:") / 1024.0;
        }
        cost
    }

    /// What was used since `before`; memory as it is now.
    pub fn since(&self, before: &Cost) -> Cost {
        Cost {
            cpu: self.cpu.saturating_sub(before.cpu),
            resident_mib: self.resident_mib,
            written: self.written - before.written,
        }
    }
}

/// Sectors written are the tenth field of a disk's line.
fn written(dir: &Path) -> Option<f64> {
    let device = fs::metadata(dir).ok()?.dev();
    let (major, minor) = ((device >> 8) & 0xfff, (device & 0xff) | ((device >> 12) & 0xf_ff00));
    let disks = fs::read_to_string("/proc/diskstats").ok()?;
    let line = disks.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).find(|line| {
        line.first().is_some_and(|number| *number == major.to_string())
            && line.get(1).is_some_and(|number| *number == minor.to_string())
    })?;
    Some(line.get(9)?.parse::<f64>().ok()? * 512.0)
}

fn number(text: &str, name: &str) -> f64 {
    let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).unwrap_or_default()
}

/// p50 and p99 of one write of 2 KiB and its fdatasync in a file that is there already, in ms.
pub fn sync(dir: &Path) -> anyhow::Result<(f64, f64)> {
    let mut file = fs::File::create(dir.join("raw"))?;
    file.write_all(&vec![0; 4 << 20])?;
    file.sync_all()?;
    file.rewind()?;
    let mut times = Vec::new();
    for _ in 0..500 {
        let begun = Instant::now();
        file.write_all(&[1; 2048])?;
        file.sync_data()?;
        times.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    Ok((times[times.len() / 2], times[times.len() * 99 / 100]))
}

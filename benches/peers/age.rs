//! Whether a call costs more on an old ledger: the sidecar on an empty one and on one of many entries, side by side.

use std::{path::Path, process::Command, sync::Arc, time::Duration};

use anyhow::Context as _;
use countersign_ledger::{Ledger, checkpoint::CheckpointSigner, clock::SystemClock, keys, ledger::Options};

use super::{
    aged, cost, load,
    systems::{System, Upstream, World, configure},
};

/// An empty ledger and one of `entries`, in turns.
pub fn compare(world: &World, upstream: &Upstream, entries: u64, time: Duration) -> anyhow::Result<()> {
    let dirs = [0, entries].map(|entries| (entries, world.path().join(format!("age-{entries}"))));
    for (entries, dir) in &dirs {
        std::fs::create_dir_all(dir)?;
        configure(dir, upstream)?;
        // The first start makes keys and ledger; what fills it signs with the same.
        System::countersign(dir.canonicalize()?)?.stop()?;
        let status = Command::new(std::env::current_exe()?).arg("fill").arg(dir).arg(entries.to_string()).status()?;
        anyhow::ensure!(status.success(), "filling failed");
    }
    println!(
        "\n{:<22}{:>12}{:>12}{:>10}{:>10}{:>10}{:>10}",
        "", "start ms", "in flight", "calls/s", "p50 ms", "p99 ms", "RSS MiB"
    );
    for _ in 0..3 {
        for (entries, dir) in &dirs {
            let system = System::countersign(dir.canonicalize()?)?;
            for connections in [1, 16] {
                load::wrk(&system, Duration::from_secs(1), connections)?;
                let load = load::wrk(&system, time, connections)?;
                let resident = cost::Cost::of(&system.processes(), world.path()).resident_mib;
                let started = system.started.as_secs_f64() * 1e3;
                let name = format!("{entries} entries");
                println!(
                    "{name:<22}{started:>12.0}{connections:>12}{:>10.0}{:>10.3}{:>10.3}{resident:>10.0}",
                    load.rate, load.p50, load.p99
                );
            }
            system.stop()?;
        }
    }
    Ok(())
}

/// Appends calls and their outcomes to the ledger of a sidecar that does not run.
pub fn fill(dir: &Path, entries: u64) -> anyhow::Result<()> {
    let key = keys::load(&dir.join("keys/gateway.pem")).context("the gateway's key")?;
    let signer = CheckpointSigner::new("api.example/agents", key)?;
    let (ledger, _) = Ledger::open(Options::new(dir.join("ledger")), signer, Arc::new(SystemClock))?;
    aged::fill(&ledger, entries);
    Ok(ledger.close()?)
}

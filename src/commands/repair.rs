//! `countersign repair` and `adopt`.

use std::fs;

use anyhow::{Context as _, anyhow};
use countersign_ledger::{checkpoint::Checkpoint, count::counted, ledger::Adopts, proof::Proof, repair};

use super::say;
use crate::{
    cli::{AdoptArgs, ConfigArgs},
    config::Config,
    running,
};

pub fn repair(args: &ConfigArgs) -> anyhow::Result<u8> {
    let config = Config::read(&args.config)?;
    let repaired = repair::repair(&config.ledger_options()?)?;
    say(format_args!(
        "the store was rebuilt with {}; the old one is in {}",
        counted(repaired.entries, "entry", "entries"),
        repaired.aside.display()
    ))?;
    Ok(0)
}

pub fn adopt(args: &AdoptArgs) -> anyhow::Result<u8> {
    let config = Config::read(&args.config.config)?;
    let text = fs::read_to_string(&args.checkpoint)
        .with_context(|| format!("`{}` cannot be read", args.checkpoint.display()))?;
    let checkpoint = match text.parse::<Proof>() {
        Ok(proof) => proof.checkpoint,
        Err(_) => Checkpoint::parse(&text).map_err(|error| anyhow!("`{}`: {error}", args.checkpoint.display()))?,
    };
    let size = checkpoint.size();
    let ledger = running::adopt(&config, Adopts { checkpoint, reason: args.reason.clone() })?;
    say(format_args!(
        "a new ledger begins in {}; its first entry cites the lost one's {}",
        ledger.dir().display(),
        counted(size, "entry", "entries")
    ))?;
    ledger.close()?;
    Ok(0)
}

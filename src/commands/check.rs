//! `countersign check`.

use std::{fs, path::Path};

use anyhow::{Context as _, anyhow};
use countersign_authorize::catalogue::{Catalogue, Level};

use super::say;
use crate::{cli::CheckArgs, config::Config};

pub fn run(args: &CheckArgs) -> anyhow::Result<u8> {
    for path in &args.catalogue {
        alone(path)?;
    }
    match &args.config {
        Some(config) if args.catalogue.is_empty() => whole(config),
        _ => Ok(0),
    }
}

fn alone(path: &Path) -> anyhow::Result<()> {
    let text = fs::read_to_string(path).with_context(|| format!("`{}` cannot be read", path.display()))?;
    let catalogue = Catalogue::parse(&text).map_err(|error| anyhow!("{}: {error}", path.display()))?;
    let warnings = lint(&catalogue, path)?;
    let (actions, intents) = (catalogue.actions().len(), catalogue.intents().len());
    say(format_args!("good: {actions} actions, {intents} intents, {warnings} warnings"))
}

/// Prints what deserves a look; gives the number of warnings.
fn lint(catalogue: &Catalogue, path: &Path) -> anyhow::Result<usize> {
    let lints = catalogue.lints();
    for lint in &lints {
        let level = if lint.level == Level::Warning { "warning" } else { "note" };
        say(format_args!("{level}: {}: {lint}", path.display()))?;
    }
    Ok(lints.iter().filter(|lint| lint.level == Level::Warning).count())
}

fn whole(path: &Path) -> anyhow::Result<u8> {
    let config = Config::read(path)?;
    let mut actions = 0;
    for ((catalogue, _), upstream) in config.catalogues()?.iter().zip(&config.upstream) {
        actions += catalogue.actions().len();
        lint(catalogue, &upstream.catalogue)?;
    }
    let settings = config.settings()?;
    for role in ["host", "approver", "operator", "investigator"] {
        let known = config.credential.iter().any(|credential| serde_json::json!(credential.role) == role);
        if !known {
            say(format_args!(
                "warning: nobody has a credential of role `{role}`; make one with `countersign keys new {role} --party NAME`"
            ))?;
        }
    }
    say(format_args!(
        "good: {} upstreams, {actions} actions, {} credentials",
        settings.upstreams.len(),
        config.credential.len()
    ))?;
    Ok(0)
}

//! `countersign check`.

use std::{fs, path::Path};

use anyhow::{Context as _, anyhow};
use countersign_authorize::catalogue::Catalogue;

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
    for warning in catalogue.warnings() {
        say(format_args!("warning: {}: {warning}", path.display()))?;
    }
    say(format_args!(
        "good: {} actions, {} intents, {} warnings",
        catalogue.actions().len(),
        catalogue.intents().len(),
        catalogue.warnings().len()
    ))
}

fn whole(path: &Path) -> anyhow::Result<u8> {
    let config = Config::read(path)?;
    let mut actions = 0;
    for (catalogue, _) in config.catalogues()? {
        actions += catalogue.actions().len();
        for warning in catalogue.warnings() {
            say(format_args!("warning: catalogue of `{}`: {warning}", catalogue.upstream()))?;
        }
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

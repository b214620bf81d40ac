//! `countersign check`.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, anyhow};
use countersign_authorize::{
    catalogue::{Catalogue, Level},
    policy::{File, Policies},
};
use countersign_ledger::count::counted;

use super::say;
use crate::{
    cli::CheckArgs,
    config::{Config, Role},
};

pub fn run(args: &CheckArgs) -> anyhow::Result<u8> {
    if args.schema || !args.policy.is_empty() {
        return policies(args);
    }
    for path in &args.catalogue {
        alone(path)?;
    }
    match &args.config {
        Some(config) if args.catalogue.is_empty() => whole(config),
        _ => Ok(0),
    }
}

/// Checks policy files against catalogues, or prints what policies can name.
fn policies(args: &CheckArgs) -> anyhow::Result<u8> {
    let mut catalogues = match &args.config {
        Some(config) if args.catalogue.is_empty() => {
            Config::read(config)?.catalogues()?.into_iter().map(|(catalogue, _)| catalogue).collect()
        }
        _ => Vec::new(),
    };
    for path in &args.catalogue {
        catalogues.push(catalogue(path)?);
    }
    if args.schema {
        say(format_args!("{}", Policies::schema(catalogues.iter())))?;
    }
    if !args.policy.is_empty() {
        let policies = Policies::parse(policy_files(&args.policy)?, catalogues.iter())?;
        say(format_args!("good: {}", counted(policies.ids().count(), "policy", "policies")))?;
    }
    Ok(0)
}

/// Policy files, each named by its path.
///
/// # Errors
/// When one cannot be read.
pub fn policy_files(paths: &[PathBuf]) -> anyhow::Result<Vec<File>> {
    let file = |path: &PathBuf| {
        let text = fs::read_to_string(path).with_context(|| format!("`{}` cannot be read", path.display()))?;
        Ok(File { name: path.display().to_string(), text })
    };
    paths.iter().map(file).collect()
}

/// A catalogue alone.
///
/// # Errors
/// With file, line and column.
pub fn catalogue(path: &Path) -> anyhow::Result<Catalogue> {
    let text = fs::read_to_string(path).with_context(|| format!("`{}` cannot be read", path.display()))?;
    Catalogue::parse(&text).map_err(|error| anyhow!("{}: {error}", path.display()))
}

fn alone(path: &Path) -> anyhow::Result<()> {
    let catalogue = catalogue(path)?;
    let warnings = lint(&catalogue, path)?;
    say(format_args!(
        "good: {}, {}, {}",
        counted(catalogue.actions().len(), "action", "actions"),
        counted(catalogue.intents().len(), "intent", "intents"),
        counted(warnings, "warning", "warnings")
    ))
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
    let (mut actions, catalogues) = (0, config.catalogues()?);
    let policies = config.policies(&catalogues)?.map_or(0, |policies| policies.ids().count());
    for ((catalogue, _), upstream) in catalogues.iter().zip(&config.upstream) {
        actions += catalogue.actions().len();
        lint(catalogue, &upstream.catalogue)?;
    }
    let settings = config.settings()?;
    for clear in settings.in_the_clear() {
        say(format_args!("warning: {clear}"))?;
    }
    let roles = [
        ("host", Role::Host),
        ("approver", Role::Approver),
        ("operator", Role::Operator),
        ("investigator", Role::Investigator),
    ];
    for (role, wanted) in roles {
        if !config.credential.iter().any(|credential| credential.role == wanted) {
            say(format_args!(
                "warning: nobody has a credential of role `{role}`; make one with `countersign keys new {role} --party NAME`"
            ))?;
        }
    }
    say(format_args!(
        "good: {}, {}, {}, {}",
        counted(settings.upstreams.len(), "upstream", "upstreams"),
        counted(actions, "action", "actions"),
        counted(policies, "policy", "policies"),
        counted(config.credential.len(), "credential", "credentials")
    ))?;
    Ok(0)
}

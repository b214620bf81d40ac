//! `countersign trace`, `show` and `export`: reading a ledger or a bundle.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::BufWriter,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, anyhow, bail};
use countersign_ledger::{
    Hash, bundle,
    count::counted,
    directory::Directory,
    evidence::{Damage, Evidence, Opener, Selection as Part, Shown},
    record::{Attachment, Time},
    vault::{Opened, Vault},
};
use countersign_trace::{export::Format as Foreign, trace as trace_chains};
use serde_json::{Value, json};

use super::{report, say, trust};
use crate::cli::{ExportArgs, ExportFormat, Part as Chosen, ShowArgs, TraceArgs, Wanted};

/// What opens a vault's attachments for the ledger's readers.
pub fn opener(vault: &Vault) -> Box<Opener<'_>> {
    Box::new(|attachment: &Attachment| match vault.open_attachment(attachment) {
        Ok(Opened::Value(disclosure)) => Ok(Some(disclosure)),
        Ok(Opened::Erased) => Ok(None),
        Err(error) => Err(error.to_string()),
    })
}

/// Damage as an error.
pub fn damaged(damage: Damage) -> anyhow::Error {
    match damage.seq {
        Some(seq) => anyhow!("entry {seq}: {} [{}]; run `countersign verify`", damage.what, damage.code),
        None => anyhow!("{} [{}]", damage.what, damage.code),
    }
}

fn part(chosen: &Chosen) -> anyhow::Result<Part> {
    if let Some(call) = &chosen.call {
        return Ok(Part::Call(call.clone()));
    }
    if let Some(instruction) = &chosen.instruction {
        return Ok(Part::Instruction(instruction.clone()));
    }
    let times = chosen.window.as_deref().unwrap_or_default().split_once('/');
    let times = times.and_then(|(from, to)| Some((from.parse().ok()?, to.parse().ok()?)));
    let (from, to) = times.context("a window is two times, such as `2026-01-31T12:00:00Z/2026-01-31T13:00:00Z`")?;
    Ok(Part::Window(Time::new(from), Time::new(to)))
}

/// The evidence of a ledger's directory or a bundle. Values open with the vault's keys; a bundle carries what was disclosed.
///
/// # Errors
/// When it cannot be read, or is damaged.
pub fn evidence(path: &Path, part: &Part, keys: Option<&Path>) -> anyhow::Result<Evidence> {
    if path.is_dir() {
        let vault = keys.map(Vault::open).transpose()?;
        let open = vault.as_ref().map(opener);
        return Evidence::collect(&Directory::read(path, None)?, part, open.as_deref(), &|_| true).map_err(damaged);
    }
    let bytes = fs::read(path).with_context(|| format!("`{}` cannot be read", path.display()))?;
    bundle::read(&bytes).with_context(|| format!("`{}`", path.display()))
}

/// The evidence of several ledgers and bundles, each with its vault's keys where they are given.
///
/// # Errors
/// When one cannot be read, or none has the call or the incident.
pub fn wanted(paths: &[PathBuf], wanted: &Wanted, keys: &[PathBuf]) -> anyhow::Result<Vec<Evidence>> {
    let (mut found, mut failed) = (Vec::new(), None);
    for (index, path) in paths.iter().enumerate() {
        let keys = keys.get(index).map(PathBuf::as_path);
        let parts = match &wanted.incident {
            Some(incident) => calls_of(path, incident)?,
            None => vec![part(&wanted.part)?],
        };
        for part in parts {
            match evidence(path, &part, keys) {
                Ok(evidence) => found.push(evidence),
                // A call is of one of them.
                Err(error) if matches!(part, Part::Call(_)) && paths.len() > 1 => failed = Some(error),
                Err(error) => return Err(error),
            }
        }
    }
    match (found.is_empty(), failed) {
        (true, Some(error)) => Err(error),
        (true, None) => bail!("there is no incident `{}`", wanted.incident.as_deref().unwrap_or_default()),
        (false, _) => Ok(found),
    }
}

/// What every part of a ledger carries, and nothing else: that of an instruction that there is not.
pub const fn context() -> Part {
    Part::Instruction(String::new())
}

/// The calls that an incident names.
fn calls_of(path: &Path, incident: &str) -> anyhow::Result<Vec<Part>> {
    let context = evidence(path, &context(), None)?;
    let named = context.items.values().filter(|item| item.entry.text("incident") == Some(incident));
    let calls: BTreeSet<&str> =
        named.filter_map(|item| item.entry.body.get("calls")?.as_array()).flatten().filter_map(Value::as_str).collect();
    Ok(calls.into_iter().map(|call| Part::Call(call.to_owned())).collect())
}

pub fn trace(args: &TraceArgs) -> anyhow::Result<u8> {
    let evidence = wanted(&args.paths, &args.wanted, &args.keys)?;
    let trusted = trust::read(args.trust.as_deref())?.parties;
    let chains = trace_chains(&evidence.iter().collect::<Vec<_>>(), &trusted);
    if args.json {
        say(format_args!("{}", serde_json::to_string_pretty(&chains)?))?;
    } else if chains.is_empty() {
        bail!(
            "there is no instruction in the part that was asked for: look whether the id or the time is right, and whether it is of this ledger or bundle"
        );
    } else {
        for chain in &chains {
            say(format_args!("{chain}\n"))?;
        }
    }
    Ok(0)
}

pub fn show(args: &ShowArgs) -> anyhow::Result<u8> {
    let evidence = evidence(&args.path, &Part::All, args.keys.as_deref())?;
    let item = match (args.entry.parse::<u64>(), args.entry.parse::<Hash>()) {
        (Ok(seq), _) => evidence.items.get(&seq),
        (_, Ok(hash)) => evidence.find(&hash),
        _ => bail!("name an entry by its number or its hash of 64 hexadecimal digits"),
    };
    let item = item.with_context(|| format!("there is no entry `{}`", args.entry))?;
    let entry: Value = serde_json::from_slice(&item.bytes)?;
    let values: serde_json::Map<String, Value> =
        item.values.iter().map(|(name, shown)| (name.clone(), value(shown))).collect();
    if args.json {
        say(format_args!("{}", json!({ "hash": item.hash, "entry": entry, "values": values })))?;
    } else {
        say(format_args!("hash  {}\n\n{}", item.hash, serde_json::to_string_pretty(&entry)?))?;
        if !values.is_empty() {
            say(format_args!("\nWhat it commits to:\n\n{}", serde_json::to_string_pretty(&values)?))?;
        }
    }
    Ok(0)
}

fn value(shown: &Shown) -> Value {
    match shown {
        Shown::Value(disclosure) => disclosure.value().clone(),
        Shown::Erased => json!("[erased]"),
        Shown::Withheld => json!("[not disclosed here]"),
    }
}

/// The format of others; none for a bundle.
const fn foreign(format: ExportFormat) -> Option<Foreign> {
    match format {
        ExportFormat::Bundle => None,
        ExportFormat::Ocsf => Some(Foreign::Ocsf),
        ExportFormat::Otlp => Some(Foreign::Otlp),
        ExportFormat::Csv => Some(Foreign::Csv),
        ExportFormat::Prov => Some(Foreign::Prov),
    }
}

fn write_as(format: Foreign, evidence: &Evidence, out: &Path) -> anyhow::Result<u8> {
    let file = File::create_new(out).with_context(|| format!("`{}` cannot be written", out.display()))?;
    let mut to = BufWriter::new(file);
    countersign_trace::export::write(format, evidence, &mut to)?;
    to.into_inner().map_err(std::io::IntoInnerError::into_error)?.sync_all()?;
    eprintln!("what was made of {} is in {}", counted(evidence.items.len(), "entry", "entries"), out.display());
    Ok(0)
}

/// A name with a slip of the pen withholds what somebody means to show: it is told, for the file does not show it.
fn tell_unknown(disclose: &[String], evidence: &Evidence) {
    let there: BTreeSet<&str> =
        evidence.items.values().flat_map(|item| item.values.keys()).map(String::as_str).collect();
    for name in disclose.iter().filter(|name| *name != "all" && !there.contains(name.as_str())) {
        let there: Vec<&str> = there.iter().copied().collect();
        eprintln!("note: --disclose: no entry here has a value `{name}`; there are {}", there.join(", "));
    }
}

pub fn export(args: &ExportArgs) -> anyhow::Result<u8> {
    let part = part(&args.selection.part)?;
    let directory = Directory::read(&args.ledger, None)?;
    let vault = args.keys.as_deref().map(Vault::open).transpose()?;
    let open = vault.as_ref().map(opener);
    let all = args.disclose.iter().any(|name| name == "all");
    let disclose = |name: &str| all || args.disclose.iter().any(|wanted| wanted == name);
    let mut evidence = Evidence::collect(&directory, &part, open.as_deref(), &disclose).map_err(damaged)?;
    tell_unknown(&args.disclose, &evidence);
    if let Some(format) = foreign(args.format) {
        return write_as(format, &evidence, &args.out);
    }
    evidence.checkpoint = directory.checkpoint();
    let proofs = directory.proofs(evidence.items.keys().copied())?;
    evidence.proofs = proofs.into_iter().map(|proof| (proof.index, proof)).collect();
    // A report is for people: of one instruction, not of a whole ledger.
    if matches!(evidence.selection, Some(Part::Instruction(_))) {
        evidence.reports = report::both(&evidence)?;
    }
    let file = File::create_new(&args.out).with_context(|| format!("`{}` cannot be written", args.out.display()))?;
    bundle::write(&evidence, file)?.sync_all()?;
    eprintln!(
        "{} now has {} with the proofs, and {}{}",
        args.out.display(),
        counted(evidence.items.len(), "entry", "entries"),
        counted(evidence.policies.len(), "policy", "policies"),
        if args.disclose.is_empty() {
            "; every value is withheld (`--keys` and `--disclose` open some, or all)"
        } else {
            ""
        }
    );
    Ok(0)
}

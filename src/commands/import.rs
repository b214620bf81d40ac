//! `countersign import` and `learn`: a first catalogue from what an API says of itself, or from recorded calls.

use std::{
    fs::{self, OpenOptions},
    io::Write as _,
    path::Path,
};

use anyhow::{Context as _, bail};
use countersign_authorize::{
    catalogue::Catalogue,
    import::{self, Change, Draft, Listing, Observed},
};
use countersign_ledger::{Kind, count::counted, evidence::Selection};
use countersign_sdk::Plain;

use super::{listing, look, say};
use crate::cli::{ImportArgs, ImportCommand, LearnArgs};

pub async fn run(command: ImportCommand) -> anyhow::Result<u8> {
    match command {
        ImportCommand::Openapi(args) => {
            let text = if is_url(&args.source) { fetch(&args.source).await? } else { read(&args.source)? };
            finish(&args, import::openapi(&import::document(&text)?, &args.upstream)?)
        }
        ImportCommand::Mcp { args, token_file } => {
            let token = token_file.map(|path| read(&path.to_string_lossy())).transpose()?;
            let listing = if is_url(&args.source) {
                listing::ask(&args.source, token.as_deref().map(str::trim)).await?
            } else {
                Listing::of_document(&import::document(&read(&args.source)?)?)?
            };
            finish(&args, import::mcp(&listing, &args.upstream)?)
        }
    }
}

fn is_url(source: &str) -> bool {
    source.starts_with("http://") || source.starts_with("https://")
}

fn read(path: &str) -> anyhow::Result<String> {
    fs::read_to_string(path).with_context(|| format!("`{path}` cannot be read"))
}

async fn fetch(url: &str) -> anyhow::Result<String> {
    let (base, target) = listing::split(url)?;
    let answer = Plain::anonymous(&base)?.exchange("GET", &target, &[], None).await?;
    if !answer.status.is_success() {
        bail!("`{url}` answered {}", answer.status);
    }
    String::from_utf8(answer.body.to_vec()).with_context(|| format!("`{url}` is no text in UTF-8"))
}

/// Writes the catalogue, or says what is different from the marked one. Exit code 1 when that touches what the marked one has.
fn finish(args: &ImportArgs, draft: Draft) -> anyhow::Result<u8> {
    if let Some(old) = &args.against {
        return against(old, &draft);
    }
    write(draft, &args.reads, args.output.as_deref())
}

/// From recorded calls: those that no action was found for, or all.
pub fn learn(args: &LearnArgs) -> anyhow::Result<u8> {
    let evidence = look::evidence(&args.path, &Selection::All, args.keys.as_deref())?;
    let calls = evidence.items.values().filter(|item| {
        let (entry, unknown) = (&item.entry, item.entry.text("action").is_none());
        entry.kind == Kind::Call && entry.text("upstream") == Some(&args.upstream) && (args.all || unknown)
    });
    let requests: Vec<_> = calls.map(|item| item.value("request")).collect();
    let observed: Vec<Observed> =
        requests.iter().flatten().filter_map(|request| Observed::of_record(request)).collect();
    if observed.is_empty() {
        bail!(
            "there is nothing to learn from: {} of `{}`, and none with a request that can be read (--keys opens the vault)",
            counted(requests.len(), "call", "calls"),
            args.upstream,
        );
    }
    write(import::learn(&observed, &args.upstream), &args.reads, args.output.as_deref())
}

fn write(mut draft: Draft, reads: &[String], output: Option<&Path>) -> anyhow::Result<u8> {
    // A pattern may fit nothing here; a name that does is a slip.
    if let Some(unused) = draft.mark_reads(reads).iter().find(|pattern| !pattern.contains('*')) {
        bail!("--reads: no action is called `{unused}`");
    }
    let text = draft.to_toml();
    // What is written must be readable as it stands: this is what `check` will read.
    Catalogue::parse(&text).context("the proposed catalogue cannot be read back; please report the document")?;
    match output {
        None => say(&text)?,
        Some(path) => {
            let mut file = OpenOptions::new().write(true).create_new(true).open(path).with_context(|| {
                format!(
                    "`{}` cannot be made; a file that is there is not written over, for it may be marked",
                    path.display()
                )
            })?;
            file.write_all(text.as_bytes())?;
        }
    }
    let look = text.lines().filter(|line| line.contains("LOOK: ")).count();
    eprintln!(
        "{}, {}, {} to LOOK at, {} not imported",
        counted(draft.actions(), "action", "actions"),
        counted(draft.binding(), "binding argument", "binding arguments"),
        counted(look, "place", "places"),
        draft.left_out().len()
    );
    Ok(0)
}

fn against(old: &Path, draft: &Draft) -> anyhow::Result<u8> {
    let text = fs::read_to_string(old).with_context(|| format!("`{}` cannot be read", old.display()))?;
    let old = Catalogue::parse(&text).map_err(|error| anyhow::anyhow!("{}: {error}", old.display()))?;
    let changes = import::changes(&old, draft);
    for change in &changes {
        say(import::harmless(&change.to_string(), 1000))?;
    }
    if changes.is_empty() {
        say("nothing changed")?;
    }
    Ok(u8::from(changes.iter().any(Change::matters)))
}

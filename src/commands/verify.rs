//! `countersign verify`.

use std::{
    fs,
    io::IsTerminal as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context as _, anyhow, bail};
use countersign_authorize::grant::Grant;
use countersign_ledger::{
    checkpoint::VerifierKey,
    directory::Directory,
    evidence::Source as _,
    store::Probe,
    vault::Vault,
    verify::{Finding, Held, Narrower, Options, Report, verify, verify_bundle_file},
};
use indicatif::{ProgressBar, ProgressStyle};

use super::{look::opener, say, trust};
use crate::cli::VerifyArgs;

pub fn run(args: &VerifyArgs) -> anyhow::Result<u8> {
    let trust = trust::read(args.trust.as_deref())?.ledgers;
    // Without one the answer would silently be that of no `--trust` at all.
    if args.trust.is_some() && trust.is_empty() {
        bail!("the file of --trust has no verifier key of a ledger (`name+hash+key`)");
    }
    let against = held(&args.against)?;
    let begun = Instant::now();
    let report = if args.path.is_dir() {
        directory(args, trust, against)?
    } else {
        let bytes = fs::read(&args.path).with_context(|| format!("`{}` cannot be read", args.path.display()))?;
        let narrower = Some(&Grant::attenuates_as_recorded as &Narrower);
        verify_bundle_file(&bytes, &Options { trust, against, narrower, ..Options::default() })
            .with_context(|| format!("`{}`", args.path.display()))?
    };
    if args.json {
        say(format_args!("{}", serde_json::to_string_pretty(&report)?))?;
    } else {
        say(format_args!("{report}"))?;
        eprintln!("checked in {:.2} s", begun.elapsed().as_secs_f64());
    }
    Ok(report.exit_code())
}

/// Checkpoints or proofs that somebody outside kept.
///
/// # Errors
/// When one cannot be read, or is neither.
pub fn held(paths: &[PathBuf]) -> anyhow::Result<Vec<Held>> {
    let read = |path: &PathBuf| {
        let text = fs::read_to_string(path).with_context(|| format!("`{}` cannot be read", path.display()))?;
        Held::parse(&text).map_err(|error| anyhow!("`{}`: {error}", path.display()))
    };
    paths.iter().map(read).collect()
}

fn directory(args: &VerifyArgs, trust: Vec<VerifierKey>, against: Vec<Held>) -> anyhow::Result<Report> {
    let directory = Directory::read(&args.path, None)?;
    let vault = args.keys.as_deref().map(Vault::open).transpose()?;
    let open = vault.as_ref().map(opener);
    let bar =
        if std::io::stderr().is_terminal() { ProgressBar::new(directory.pieces()) } else { ProgressBar::hidden() };
    bar.set_style(ProgressStyle::with_template("{wide_bar} {percent}% {eta}")?);
    let progress = |done| bar.set_position(done);
    let options = Options {
        trust,
        against,
        open: open.as_deref(),
        narrower: Some(&Grant::attenuates_as_recorded),
        progress: Some(&progress),
    };
    let mut report = verify(&directory, &options);
    bar.finish_and_clear();
    report.findings.extend(store(&args.path)?);
    Ok(report)
}

/// The store is only a copy, but one that was tampered with or damaged should be known. A running gateway has it locked: then it is not looked at.
fn store(dir: &Path) -> anyhow::Result<Option<Finding>> {
    let path = dir.join("sled");
    let Ok(_lock) = countersign_ledger::ledger::lock_for_reading(dir) else {
        eprintln!("the store is in use by a running gateway and was not looked at");
        return Ok(None);
    };
    if !path.is_dir() {
        return Ok(Some(Finding {
            code: "store-missing",
            seq: None,
            what: "the store is missing; `countersign repair` rebuilds it".to_owned(),
        }));
    }
    let probe = Probe::Process {
        program: std::env::current_exe()?,
        arguments: vec!["probe-store".into()],
        limit: Duration::from_secs(60),
    };
    Ok(probe.run(&path).err().map(|error| Finding { code: "store-damaged", seq: None, what: error.to_string() }))
}

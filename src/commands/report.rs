//! `countersign report`, and the reports that a bundle carries.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::Write as _,
};

use anyhow::Context as _;
use countersign_ledger::{
    bundle::REPORTS,
    directory::Directory,
    evidence::Evidence,
    verify::{Options, verify_bundle},
};
use countersign_trace::{message::Lang, report::Report};

use super::{look, trust, verify};
use crate::cli::{Language, ReportArgs};

pub fn run(args: &ReportArgs) -> anyhow::Result<u8> {
    let mut evidence = look::wanted(&args.paths, &args.wanted, &args.keys)?;
    // A ledger's own proofs, so that the report says what they are worth; a bundle has its own.
    for path in args.paths.iter().filter(|path| path.is_dir()) {
        let directory = Directory::read(path, None)?;
        let origin = look::evidence(path, &look::context(), None)?.origin;
        for part in evidence.iter_mut().filter(|part| part.origin == origin && part.proofs.is_empty()) {
            part.checkpoint = directory.checkpoint();
            let proofs = directory.proofs(part.items.keys().copied())?;
            part.proofs = proofs.into_iter().map(|proof| (proof.index, proof)).collect();
        }
    }
    let trusted = trust::read(args.trust.as_deref())?;
    let options = Options { trust: trusted.ledgers, against: verify::held(&args.against)?, ..Options::default() };
    let report = Report {
        integrity: evidence.iter().map(|evidence| verify_bundle(evidence, &options)).collect(),
        evidence: evidence.iter().collect(),
        trusted: trusted.parties,
        incident: args.wanted.incident.clone(),
    };
    let lang = match args.lang {
        Language::En => Lang::En,
        Language::ZhCn => Lang::ZhCn,
    };
    let html = report.html(lang)?;
    let mut file =
        File::create_new(&args.out).with_context(|| format!("`{}` cannot be written", args.out.display()))?;
    file.write_all(html.as_bytes())?;
    Ok(0)
}

/// The report on a bundle in every language, by file name.
///
/// # Errors
/// When there is nothing to report on.
pub fn both(evidence: &Evidence) -> anyhow::Result<BTreeMap<String, Vec<u8>>> {
    let report = Report {
        evidence: vec![evidence],
        integrity: vec![verify_bundle(evidence, &Options::default())],
        trusted: BTreeSet::new(),
        incident: None,
    };
    let made =
        Lang::ALL.into_iter().zip(REPORTS).map(|(lang, name)| Ok((name.to_owned(), report.html(lang)?.into_bytes())));
    made.collect()
}

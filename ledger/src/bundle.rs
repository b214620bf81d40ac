//! The bundle: one zip file of JSON and text with evidence, its proofs and what explains it (`docs/format.md` §9).
//!
//! The same evidence gives the same bytes.

mod form;

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{Cursor, Read, Seek, Write},
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use zip::{CompressionMethod, DateTime, ZipArchive, ZipWriter, result::ZipError, write::SimpleFileOptions};

use crate::{
    Hash,
    checkpoint::Checkpoint,
    disclosure::Disclosure,
    evidence::{Evidence, Selection, Shown},
    record::{EntryError, MAX_ENTRY_BYTES},
    strict,
};

const FORMAT: &str = "countersign-bundle/1";
/// The reports that a bundle may carry.
pub const REPORTS: [&str; 2] = ["report.html", "report.zh-CN.html"];
const MAX_FILES: usize = 1_000_000;
const MAX_FILE_BYTES: u64 = 16 << 20;
const MAX_BYTES: u64 = 2 << 30;

/// Why a bundle cannot be written or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BundleError {
    /// The zip file.
    #[error("not a bundle, or cut off: {0}")]
    Zip(#[from] ZipError),
    /// The system.
    #[error("the bundle cannot be written or read: {0}")]
    Io(#[from] std::io::Error),
    /// A file in it.
    #[error("`{name}` in the bundle: {what}")]
    File {
        /// The file.
        name: String,
        /// What is wrong.
        what: String,
    },
}

#[derive(Serialize, Deserialize)]
struct Manifest {
    format: String,
    origin: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    selection: Option<Selection>,
    entries: Vec<u64>,
}

/// How a value stands in `disclosures/<seq>.json`.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Disclosed {
    Disclosure(String),
    Erased,
    Withheld,
}

fn bad(name: &str, what: impl ToString) -> BundleError {
    BundleError::File { name: name.to_owned(), what: what.to_string() }
}

/// Writes a bundle.
///
/// # Errors
/// [`BundleError`].
pub fn write<W: Write + Seek>(evidence: &Evidence, to: W) -> Result<W, BundleError> {
    let mut zip = ZipWriter::new(to);
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Deflated)
        .last_modified_time(DateTime::default());
    let mut put = |name: String, bytes: &[u8]| -> Result<(), BundleError> {
        zip.start_file(name, options)?;
        Ok(zip.write_all(bytes)?)
    };
    let manifest = Manifest {
        format: FORMAT.to_owned(),
        origin: evidence.origin.clone(),
        selection: evidence.selection.clone(),
        entries: evidence.items.keys().copied().collect(),
    };
    put("manifest.json".to_owned(), &json(&manifest)?)?;
    let keys: String = evidence.keys.iter().map(|key| format!("{key}\n")).collect();
    put("keys.txt".to_owned(), keys.as_bytes())?;
    if let Some(checkpoint) = &evidence.checkpoint {
        put("checkpoint.txt".to_owned(), checkpoint.as_str().as_bytes())?;
    }
    for (seq, item) in &evidence.items {
        put(format!("entries/{seq}.json"), &item.bytes)?;
        if let Some(proof) = evidence.proofs.get(seq) {
            put(format!("proofs/{seq}.tlog-proof"), proof.to_string().as_bytes())?;
        }
        if !item.values.is_empty() {
            let values: BTreeMap<&String, Disclosed> =
                item.values.iter().map(|(name, shown)| (name, disclosed(shown))).collect();
            put(format!("disclosures/{seq}.json"), &json(&values)?)?;
        }
    }
    for (hash, bytes) in &evidence.policies {
        put(format!("policies/{hash}"), bytes)?;
    }
    for (name, bytes) in evidence.reports.iter().filter(|(name, _)| REPORTS.contains(&name.as_str())) {
        put(name.clone(), bytes)?;
    }
    Ok(zip.finish()?)
}

fn json<T: Serialize>(value: &T) -> Result<Vec<u8>, BundleError> {
    serde_json::to_vec_pretty(value).map_err(|error| bad("manifest.json", error))
}

fn disclosed(shown: &Shown) -> Disclosed {
    match shown {
        Shown::Value(disclosure) => Disclosed::Disclosure(disclosure.as_str().to_owned()),
        Shown::Erased => Disclosed::Erased,
        Shown::Withheld => Disclosed::Withheld,
    }
}

/// Reads a bundle. Nothing in it is believed: that is what [`crate::verify::verify_bundle`] is for.
///
/// # Errors
/// [`BundleError`]; sizes and counts are bounded, names are only compared, never used as paths.
pub fn read(bytes: &[u8]) -> Result<Evidence, BundleError> {
    let mut files = unzip(bytes)?;
    let manifest: Manifest = parse("manifest.json", &take(&mut files, "manifest.json")?)?;
    if manifest.format != FORMAT {
        return Err(bad(
            "manifest.json",
            format!("the format is `{}`; this version reads `{FORMAT}`", manifest.format),
        ));
    }
    let mut evidence = Evidence { origin: manifest.origin, selection: manifest.selection, ..Evidence::default() };
    let keys = text("keys.txt", take(&mut files, "keys.txt")?)?;
    for line in keys.lines() {
        evidence.keys.push(line.parse().map_err(|error| bad("keys.txt", error))?);
    }
    if let Ok(note) = take(&mut files, "checkpoint.txt") {
        let note = text("checkpoint.txt", note)?;
        evidence.checkpoint = Some(Checkpoint::parse(&note).map_err(|error| bad("checkpoint.txt", error))?);
    }
    let listed: BTreeSet<u64> = manifest.entries.iter().copied().collect();
    if listed.len() != manifest.entries.len() {
        return Err(bad("manifest.json", "an entry is listed twice"));
    }
    for seq in listed {
        entry(&mut files, seq, &mut evidence)?;
    }
    for name in REPORTS {
        evidence.reports.extend(files.remove(name).map(|bytes| (name.to_owned(), bytes)));
    }
    for (name, bytes) in files {
        let hash = name.strip_prefix("policies/").and_then(|hash| hash.parse::<Hash>().ok());
        let hash =
            hash.ok_or_else(|| bad(&name, "this file does not belong to a bundle, or its entry is not listed"))?;
        evidence.policies.insert(hash, bytes);
    }
    Ok(evidence)
}

fn entry(files: &mut BTreeMap<String, Vec<u8>>, seq: u64, evidence: &mut Evidence) -> Result<(), BundleError> {
    let name = format!("entries/{seq}.json");
    let bytes = take(files, &name)?;
    if bytes.len() > MAX_ENTRY_BYTES {
        return Err(bad(&name, EntryError::TooLong(bytes.len())));
    }
    let proof_name = format!("proofs/{seq}.tlog-proof");
    if let Ok(proof) = take(files, &proof_name) {
        evidence.proofs.insert(seq, text(&proof_name, proof)?.parse().map_err(|error| bad(&proof_name, error))?);
    }
    let mut values = BTreeMap::new();
    let disclosures = format!("disclosures/{seq}.json");
    if let Ok(shown) = take(files, &disclosures) {
        let shown: BTreeMap<String, Disclosed> = parse(&disclosures, &shown)?;
        for (value, disclosed) in shown {
            let shown = match disclosed {
                Disclosed::Disclosure(text) => {
                    Shown::Value(Disclosure::parse(&text).map_err(|error| bad(&disclosures, error))?)
                }
                Disclosed::Erased => Shown::Erased,
                Disclosed::Withheld => Shown::Withheld,
            };
            values.insert(value, shown);
        }
    }
    evidence.add(bytes.into(), values).map_err(|error| bad(&name, error))?;
    if evidence.items.contains_key(&seq) {
        Ok(())
    } else {
        Err(bad(&name, "the entry has another number than its file"))
    }
}

fn unzip(bytes: &[u8]) -> Result<BTreeMap<String, Vec<u8>>, BundleError> {
    let mut zip = ZipArchive::new(Cursor::new(bytes))?;
    form::check(bytes).map_err(|what| bad("zip file", what))?;
    if zip.len() > MAX_FILES {
        return Err(bad("zip file", format!("more than {MAX_FILES} files")));
    }
    // Two readers must not see two different bundles: each name once, no files that only some readers list, nothing before or behind.
    zip.validate_header_consistency().map_err(|error| bad("zip file", error))?;
    let (mut files, mut total) = (BTreeMap::new(), 0);
    for index in 0..zip.len() {
        let file = zip.by_index(index).map_err(|error| bad("zip file", error))?;
        let name = file.name().map_err(|error| bad("zip file", error))?.into_owned();
        let mut bytes = Vec::new();
        // The size in the header may lie: what is read is counted.
        file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(|error| bad(&name, error))?;
        total += bytes.len() as u64;
        if bytes.len() as u64 > MAX_FILE_BYTES || total > MAX_BYTES {
            return Err(bad(&name, "too large"));
        }
        if files.insert(name.clone(), bytes).is_some() {
            return Err(bad(&name, "there are two files of this name"));
        }
    }
    Ok(files)
}

fn take(files: &mut BTreeMap<String, Vec<u8>>, name: &str) -> Result<Vec<u8>, BundleError> {
    files.remove(name).ok_or_else(|| bad(name, "missing"))
}

fn text(name: &str, bytes: Vec<u8>) -> Result<String, BundleError> {
    String::from_utf8(bytes).map_err(|_| bad(name, "not UTF-8"))
}

fn parse<T: DeserializeOwned>(name: &str, bytes: &[u8]) -> Result<T, BundleError> {
    strict::parse(bytes).map_err(|error| bad(name, error))
}

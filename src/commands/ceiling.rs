//! `countersign ceiling`: an API provider signs a catalogue as the most that agents may reach.

use std::fs;

use anyhow::{Context as _, anyhow, bail};
use countersign_authorize::catalogue::Catalogue;
use countersign_ledger::{
    Hash, keys,
    statement::{Jwk, Statement},
};
use serde::{Deserialize, Serialize};

use super::say;
use crate::cli::CeilingArgs;

/// The type of the provider's statement.
const TYP: &str = "countersign-catalogue+jwt";

/// What a provider states.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stated {
    /// The upstream's name, as the catalogue says it.
    upstream: String,
    /// SHA-256 of the catalogue's exact bytes.
    sha256: Hash,
}

/// Prints the statement.
pub fn run(args: &CeilingArgs) -> anyhow::Result<u8> {
    let path = args.catalogue.display();
    let text = fs::read_to_string(&args.catalogue).with_context(|| format!("`{path}` cannot be read"))?;
    let catalogue = Catalogue::parse(&text).map_err(|error| anyhow!("{path}: {error}"))?;
    let stated = Stated { upstream: catalogue.upstream().to_owned(), sha256: Hash::from(*catalogue.sha256()) };
    say(Statement::sign(TYP, &stated, &keys::load(&args.sign_with)?)?)?;
    Ok(0)
}

/// Whether the provider with this key signed exactly this catalogue for this upstream.
///
/// # Errors
/// What does not fit.
pub fn verify(compact: &str, key: &Jwk, upstream: &str, text: &[u8]) -> anyhow::Result<()> {
    let stated: Stated = Statement::parse(compact)?.verify(TYP, key)?;
    if stated.upstream != upstream {
        bail!("it is about the upstream `{}`, not `{upstream}`", stated.upstream);
    }
    if stated.sha256 != Hash::of(text) {
        bail!("the file has another SHA-256 than the statement says");
    }
    Ok(())
}

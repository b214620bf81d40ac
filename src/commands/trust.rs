//! Keys that were had from elsewhere than the operator: `--trust FILE`.

use std::{collections::BTreeSet, fs, path::Path};

use anyhow::{Context as _, anyhow};
use countersign_ledger::{checkpoint::VerifierKey, statement::Jwk};

/// What a file of trusted keys names.
#[derive(Debug, Default)]
pub struct Trusted {
    /// Keys of ledgers: what signs checkpoints.
    pub ledgers: Vec<VerifierKey>,
    /// Thumbprints of parties' keys: what signs statements and receipts.
    pub parties: BTreeSet<String>,
}

/// Reads a file of keys, a line each; empty lines and lines that begin with `#` do not count. A line is a ledger's verifier key, a party's public key as JWK, or
/// the thumbprint of one.
///
/// # Errors
/// When the file cannot be read, or a line is no key.
pub fn read(path: Option<&Path>) -> anyhow::Result<Trusted> {
    let mut trusted = Trusted::default();
    let Some(path) = path else { return Ok(trusted) };
    let text = fs::read_to_string(path).with_context(|| format!("`{}` cannot be read", path.display()))?;
    let lines = text.lines().map(str::trim).enumerate();
    for (number, line) in lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#')) {
        add(&mut trusted, line).map_err(|error| anyhow!("`{}` line {}: {error}", path.display(), number + 1))?;
    }
    Ok(trusted)
}

fn add(trusted: &mut Trusted, line: &str) -> Result<(), String> {
    if line.starts_with('{') {
        let jwk: Jwk = serde_json::from_str(line).map_err(|error| error.to_string())?;
        jwk.validate().map_err(|error| error.to_string())?;
        trusted.parties.insert(jwk.thumbprint());
    } else if is_thumbprint(line) {
        trusted.parties.insert(line.to_owned());
    } else {
        trusted.ledgers.push(line.parse().map_err(|error| format!("{error}"))?);
    }
    Ok(())
}

/// 32 bytes in base64url: a verifier key has `+` in it.
fn is_thumbprint(line: &str) -> bool {
    line.len() == 43 && line.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

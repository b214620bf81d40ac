//! A gateway from its configuration: shared by everything that opens the ledger to write.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context as _, bail};
use countersign_ledger::{
    Ledger, checkpoint::CheckpointSigner, clock::SystemClock, keys, ledger::Adopts, open::OpenError, statement::Jwk,
    vault::Vault,
};
use countersign_proxy::{
    settings::{Settings, Signing, Upstream},
    state::{Gateway, Parts},
    token::Tokens,
};

use countersign_receipt::Signer;

use crate::{config::Config, hsm::HsmKey};

/// The signer of the ledger's checkpoints, with all of the gateway's keys; one is made when there is none yet.
pub fn signer(config: &Config) -> anyhow::Result<CheckpointSigner> {
    let signers = gateway_keys(config)?.into_iter().map(|(_, signer)| signer);
    if let Some(signer) = signers.reduce(CheckpointSigner::beside) {
        return Ok(signer);
    }
    let path = config.keys().join("gateway.pem");
    // A ledger without its key must not get another one.
    if config.ledger.directory.join("journal").is_dir() && !path.exists() {
        bail!(
            "the ledger `{}` is signed with the key `{}`, which is not there: put it back from the backup of the keys, or say in `keys` of `[ledger]` where it is; where it is lost for good, set the ledger aside and run `countersign adopt`",
            config.ledger.directory.display(),
            path.display()
        );
    }
    Ok(CheckpointSigner::new(&config.origin.0, keys::load_or_create(&path)?)?)
}

/// The gateway's keys, each with where it is: the files `gateway*.pem`, and one in a hardware module. What the ledger makes of them it finds out when it is opened.
pub fn gateway_keys(config: &Config) -> anyhow::Result<Vec<(String, CheckpointSigner)>> {
    let mut keys = Vec::new();
    // Nothing else that lies there: a TLS key may be called `gateway-tls.pem`.
    let numbered = |middle: &str| {
        let digits = middle.strip_prefix('-').unwrap_or(middle);
        middle.is_empty() || (digits != middle && !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()))
    };
    for file in files(&config.keys(), "gateway", numbered) {
        keys.push((file.display().to_string(), CheckpointSigner::new(&config.origin.0, keys::load(&file)?)?));
    }
    if let Some(hsm) = &config.ledger.hsm {
        let place = format!("{}: {}/{}", hsm.module.display(), hsm.token, hsm.key);
        keys.push((place, CheckpointSigner::elsewhere(&config.origin.0, HsmKey::open(hsm.place()?)?)?));
    }
    Ok(keys)
}

/// The files of keys whose names begin so, and go on as wanted, in their order.
fn files(dir: &Path, begin: &str, wanted: impl Fn(&str) -> bool) -> Vec<PathBuf> {
    let is_one = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.strip_prefix(begin).and_then(|rest| rest.strip_suffix(".pem")).is_some_and(&wanted)
    };
    let mut files: Vec<PathBuf> = match fs::read_dir(dir) {
        Ok(files) => files.filter_map(|file| Some(file.ok()?.path())).filter(is_one).collect(),
        Err(_) => Vec::new(),
    };
    // `gateway.pem`, `gateway-2.pem`, `gateway-10.pem`: by the characters alone the first would be the last.
    files.sort_by_key(|path| {
        let stem = path.file_stem().unwrap_or_default().to_owned();
        (stem.len(), stem)
    });
    files
}

/// Opens the ledger, or begins one when there is none.
pub fn ledger(config: &Config) -> anyhow::Result<Ledger> {
    let (options, clock) = (config.ledger_options()?, Arc::new(SystemClock));
    match Ledger::open(options.clone(), signer(config)?, clock.clone()) {
        Ok((ledger, opened)) => {
            tracing::info!(entries = opened.size, replayed = opened.replayed, "the ledger is open");
            Ok(ledger)
        }
        Err(OpenError::Missing(_)) => Ok(Ledger::create(options, signer(config)?, clock, None)?),
        Err(error) => Err(error.into()),
    }
}

/// Begins a ledger that cites a lost one.
pub fn adopt(config: &Config, adopts: Adopts) -> anyhow::Result<Ledger> {
    Ok(Ledger::create(config.ledger_options()?, signer(config)?, Arc::new(SystemClock), Some(adopts))?)
}

/// The settings, with the keys that requests to APIs are signed with where an upstream wants that.
pub fn settings(config: &Config) -> anyhow::Result<Settings> {
    let mut settings = config.settings()?;
    if settings.upstreams.iter().any(Upstream::needs_signing) {
        settings.signing = Some(signing(config)?);
    }
    Ok(settings)
}

/// The last of `signature*.pem` signs, the others are listed beside it: so a key is rotated by adding a file, and taken out of use by removing one.
fn signing(config: &Config) -> anyhow::Result<Signing> {
    let dir = config.keys();
    let mut files = files(&dir, "signature", |_| true);
    let newest = files.pop().unwrap_or_else(|| dir.join("signature.pem"));
    let signer = Arc::new(Signer::new(keys::load_or_create(&newest)?));
    let mut others = Vec::new();
    for file in &files {
        others.push(Jwk::ed25519(&keys::load(file)?.verifying_key()));
    }
    let directory = config.signing.directory.as_ref().map(|url| url.0.to_string().trim_end_matches('/').to_owned());
    Ok(Signing { signer, others, directory })
}

/// The gateway with its state; nothing listens yet.
pub async fn gateway(config: &Config) -> anyhow::Result<Arc<Gateway>> {
    let catalogues = config.catalogues()?;
    let policies = config.policies(&catalogues)?;
    let ledger = ledger(config)?;
    let vault = Arc::new(Vault::open(&config.keys())?);
    let token_key = keys::load_or_create(&config.keys().join("token.pem"))?;
    let tokens = Tokens::new(&config.origin.0, token_key);
    let parts = Parts { ledger, vault, catalogues: catalogues.clone(), tokens, clock: Arc::new(SystemClock) };
    let gateway = Gateway::open(parts).await.context("the gateway's state cannot be read")?;
    gateway.replace_rules(catalogues, policies).await.context("what is in force cannot be recorded")?;
    Ok(gateway)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_is_added_comes_behind_those_that_are_there() {
        let dir = tempfile::tempdir().unwrap();
        for name in [
            "signature-10.pem",
            "signature.pem",
            "signature-2.pem",
            "signature.jwk",
            "signature-2026-11.pem",
            "gateway.pem",
        ] {
            fs::write(dir.path().join(name), "").unwrap();
        }
        let found = files(dir.path(), "signature", |_| true);
        let names: Vec<_> = found.iter().map(|path| path.file_name().unwrap().to_str().unwrap()).collect();
        assert_eq!(names, ["signature.pem", "signature-2.pem", "signature-10.pem", "signature-2026-11.pem"]);
        assert_eq!(files(&dir.path().join("none"), "gateway", |_| true), Vec::<PathBuf>::new());
    }
}

//! A gateway from its configuration: shared by everything that opens the ledger to write.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Context as _;
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

use crate::config::Config;

/// The signer of the ledger's checkpoints; its key is made when there is none yet.
pub fn signer(config: &Config) -> anyhow::Result<CheckpointSigner> {
    let path = config.keys().join("gateway.pem");
    // A ledger without its key must not get another one.
    let key =
        if config.ledger.directory.join("journal").is_dir() { keys::load(&path) } else { keys::load_or_create(&path) };
    Ok(CheckpointSigner::new(&config.origin.0, key?)?)
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

/// The newest of `signature*.pem` signs, the others are listed beside it: so a key is rotated by adding a file, and taken out of use by removing one.
fn signing(config: &Config) -> anyhow::Result<Signing> {
    let dir = config.keys();
    let mut files: Vec<PathBuf> = match fs::read_dir(&dir) {
        Ok(files) => files.filter_map(|file| Some(file.ok()?.path())).filter(|path| is_signature_key(path)).collect(),
        Err(_) => Vec::new(),
    };
    files.sort();
    let newest = files.pop().unwrap_or_else(|| dir.join("signature.pem"));
    let signer = Arc::new(Signer::new(keys::load_or_create(&newest)?));
    let mut others = Vec::new();
    for file in &files {
        others.push(Jwk::ed25519(&keys::load(file)?.verifying_key()));
    }
    let directory = config.signing.directory.as_ref().map(|url| url.0.to_string().trim_end_matches('/').to_owned());
    Ok(Signing { signer, others, directory })
}

fn is_signature_key(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    name.starts_with("signature") && name.ends_with(".pem")
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

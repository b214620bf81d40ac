//! A gateway from its configuration: shared by everything that opens the ledger to write.

use std::sync::Arc;

use anyhow::Context as _;
use countersign_ledger::{
    Ledger, checkpoint::CheckpointSigner, clock::SystemClock, keys, ledger::Adopts, open::OpenError, vault::Vault,
};
use countersign_proxy::{
    state::{Gateway, Parts},
    token::Tokens,
};

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

/// The gateway with its state; nothing listens yet.
pub async fn gateway(config: &Config) -> anyhow::Result<Arc<Gateway>> {
    let catalogues = config.catalogues()?;
    let ledger = ledger(config)?;
    let vault = Arc::new(Vault::open(&config.keys())?);
    let token_key = keys::load_or_create(&config.keys().join("token.pem"))?;
    let tokens = Tokens::new(&config.origin.0, token_key);
    let parts = Parts { ledger, vault, catalogues, tokens, clock: Arc::new(SystemClock) };
    Gateway::open(parts).await.context("the gateway's state cannot be read")
}

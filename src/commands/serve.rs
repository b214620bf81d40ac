//! `countersign serve`.

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};

use super::say;
use crate::{cli::ConfigArgs, config::Config, running};

pub async fn run(args: &ConfigArgs) -> anyhow::Result<u8> {
    let config = Config::read(&args.config)?;
    let settings = config.settings()?;
    let gateway = running::gateway(&config).await?;
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let shutdown = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    let ledger = gateway.ledger.clone();
    let running = countersign_proxy::serve(settings, gateway, config.credential, shutdown).await?;
    // One line on standard output, when both listeners are ready.
    say(format_args!(
        "{}",
        serde_json::json!({ "gateway": running.gateway.to_string(), "api": running.api.to_string() })
    ))?;
    running.drained().await;
    ledger.close().context("the ledger did not close cleanly")?;
    Ok(0)
}

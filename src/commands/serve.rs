//! `countersign serve`.

mod watch;

use std::time::Duration;

use anyhow::Context as _;
use countersign_ledger::Ledger;
use countersign_proxy::Running;
use sd_notify::NotifyState;
use tokio::signal::unix::{SignalKind, signal};

use super::say;
use crate::{cli::ConfigArgs, config::Config, running, telemetry};

pub async fn run(args: &ConfigArgs) -> anyhow::Result<u8> {
    // Looked at before they are read, so that no change in between is missed.
    let before = watch::state(&args.config);
    let config = Config::read(&args.config)?;
    let mut seen = watch::look(&args.config, &config);
    if let Some((_, state)) = seen.first_mut() {
        *state = before;
    }
    let exporting = telemetry::begin(&config)?;
    let mut settings = running::settings(&config)?;
    settings.telemetry = exporting.telemetry.clone();
    let gateway = running::gateway(&config).await?;
    let hangup = signal(SignalKind::hangup())?;
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let (ledger, watched) = (gateway.ledger.clone(), gateway.ledger.clone());
    let shutdown = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            () = stopped(&watched) => {}
        }
        tell(&[NotifyState::Stopping]);
    };
    let running = countersign_proxy::serve(settings, gateway, config.credentials(), shutdown).await?;
    let change = watch::Change { reload: running.reload.clone(), levels: exporting.levels.clone() };
    let watching = tokio::spawn(watch::watch(args.config.clone(), config, seen, hangup, change));
    // One line on standard output, when both listeners are ready.
    say(format_args!("{}", ready(&running)))?;
    tell(&[NotifyState::Ready]);
    tokio::spawn(watchdog(ledger.clone()));
    running.drained().await;
    watching.abort();
    let closed = ledger.close().context("the ledger did not close cleanly");
    exporting.end().await;
    closed.map(|()| 0)
}

/// Where everything listens.
fn ready(running: &Running) -> serde_json::Value {
    let mut ready = serde_json::json!({
        "gateway": running.gateway.to_string(),
        "api": running.api.to_string(),
        "ext_authz": running.envoy.as_ref().map(ToString::to_string),
    });
    if let (Some(metrics), Some(ready)) = (&running.metrics, ready.as_object_mut()) {
        ready.insert("metrics".to_owned(), metrics.to_string().into());
    }
    ready
}

/// Tells the service manager, where there is one (sd_notify(3)).
fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "the service manager cannot be told");
    }
}

/// Ends when the ledger has stopped. Only another process goes on with it, and whoever started this one starts another: one that stays and refuses everything helps
/// nobody.
async fn stopped(ledger: &Ledger) {
    let mut every = tokio::time::interval(Duration::from_secs(1));
    while ledger.status().poisoned.is_none() {
        every.tick().await;
    }
}

/// Says that all is well until the ledger has stopped: systemd starts it anew then. What passes by itself is no reason.
async fn watchdog(ledger: Ledger) {
    let Some(limit) = sd_notify::watchdog_enabled() else { return };
    let mut every = tokio::time::interval((limit / 3).max(Duration::from_millis(100)));
    loop {
        every.tick().await;
        if ledger.status().poisoned.is_none() {
            tell(&[NotifyState::Watchdog]);
        }
    }
}

//! Reads configuration, catalogues and policies again on SIGHUP and when a file changed. What is not good is refused, and what was in force stays.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use anyhow::Context as _;
use countersign_proxy::{Fresh, Reload};
use tokio::{signal::unix::Signal, time::MissedTickBehavior};

use crate::{config::Config, telemetry::Levels};

/// How often files are looked at.
const PERIOD: Duration = Duration::from_secs(1);

/// How each file was when it was last looked at: when it changed, and its length.
pub type Seen = Vec<(PathBuf, Option<(SystemTime, u64)>)>;

/// How a file is now.
pub fn state(path: &Path) -> Option<(SystemTime, u64)> {
    let found = std::fs::metadata(path).ok()?;
    Some((found.modified().ok()?, found.len()))
}

/// How the configuration and the files that it names are now.
pub fn look(path: &Path, config: &Config) -> Seen {
    let files = std::iter::once(path.to_owned()).chain(config.watched());
    files.map(|path| (path.clone(), state(&path))).collect()
}

/// Goes on until the process ends. `config` is what is in force, `seen` how its files were before they were read.
pub async fn watch(path: PathBuf, mut config: Config, mut seen: Seen, mut hangup: Signal, change: Change) {
    let mut every = tokio::time::interval(PERIOD);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let fixed = config.fixed();
    loop {
        let asked = tokio::select! {
            _ = hangup.recv() => true,
            _ = every.tick() => false,
        };
        let now = look(&path, &config);
        if !asked && now == seen {
            continue;
        }
        let read = Config::read(&path);
        let put = match &read {
            Ok(read) => change.put(read).await,
            Err(error) => Err(anyhow::anyhow!("{error:#}")),
        };
        match put {
            Ok(changed) => {
                tracing::info!(changed = changed.join(", "), "configuration, catalogues and policies were read again");
            }
            Err(error) => {
                tracing::error!(error = format!("{error:#}"), "a change is refused; what was in force stays");
                change.reload.refuse(format!("{error:#}"));
            }
        }
        let waiting = read.as_ref().map(|read| fixed.differs_from(read)).unwrap_or_default();
        if !waiting.is_empty() {
            tracing::warn!(keys = waiting.join(", "), "these were changed and come into force at the next start only");
        }
        // Files that it names are looked at even when it is refused for what is in one of them.
        if let Ok(read) = read {
            config = read;
        }
        // Of what was looked at before it was read, that look counts: a file that changed since is read once more.
        let known = |path: &PathBuf| now.iter().find(|(known, _)| known == path).map(|(_, state)| *state);
        seen = look(&path, &config);
        seen.iter_mut().for_each(|(path, state)| *state = known(path).unwrap_or(*state));
    }
}

/// What a change changes.
pub struct Change {
    pub reload: Reload,
    pub levels: Arc<Levels>,
}

impl Change {
    async fn put(&self, config: &Config) -> anyhow::Result<Vec<String>> {
        let (catalogues, settings) = (config.catalogues()?, config.settings()?);
        let policies = config.policies(&catalogues)?;
        let (upstreams, issuers, credentials) = (settings.upstreams, settings.issuers, config.credentials());
        let envoy = settings.envoy.and_then(|envoy| envoy.listener.tls);
        let tls = [settings.gateway.tls, settings.api.tls, envoy];
        let fresh = Fresh { catalogues, policies, upstreams, issuers, credentials, tls };
        let changed = self.reload.put(fresh).await.context("the change is not in force")?;
        self.levels.set(&config.log);
        Ok(changed)
    }
}

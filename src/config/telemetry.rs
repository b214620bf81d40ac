//! `[log]`, `[metrics]` and `[telemetry]` of the configuration.

use std::path::{Path, PathBuf};

use countersign_proxy::settings;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{Address, Url, upstream::Credential};

/// `[log]`.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// How lines look; `text` when left out.
    pub format: Format,
    /// What is logged: `error`, `warn`, `info`, `debug` or `trace`; the environment's `COUNTERSIGN_LOG` goes before it. `warn` when left out.
    pub level: Level,
}

/// How a line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// One JSON object.
    Json,
}

/// How much is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// What fails.
    Error,
    /// And what an operator should look at.
    #[default]
    Warn,
    /// And what changes.
    Info,
    /// And what may help to find a fault.
    Debug,
    /// And everything else.
    Trace,
}

impl Level {
    pub const fn as_str(self) -> &'static str {
        match self {
            Level::Error => "error",
            Level::Warn => "warn",
            Level::Info => "info",
            Level::Debug => "debug",
            Level::Trace => "trace",
        }
    }
}

/// `[metrics]`: what Prometheus scrapes.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Metrics {
    /// The address: `127.0.0.1:9464`, `unix:/run/countersign/metrics.sock` or `systemd:name`. Whoever reaches it reads it: no credential is asked for.
    pub listen: Address,
}

impl Metrics {
    pub fn listener(&self) -> settings::Listener {
        settings::Listener { address: self.listen.0.clone(), tls: None }
    }
}

/// `[telemetry]`: metrics, traces and logs over OTLP, as protobuf over HTTP.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Otlp {
    /// The collector, such as `http://127.0.0.1:4318`; `/v1/traces` and so on are added.
    pub endpoint: Url,
    /// Headers that let the gateway in, their values from files or the environment.
    #[serde(default)]
    pub headers: Vec<Credential>,
    /// Certificate authorities (PEM) instead of the public ones.
    pub authorities: Option<PathBuf>,
    /// The name of this sidecar among others.
    #[serde(default = "name")]
    pub service_name: String,
    /// Which share of the traces that begin here is kept, 0 to 1; a trace that an agent began is kept as it says. 1 when left out.
    #[serde(default)]
    pub sampling: Share,
    /// Send spans.
    #[serde(default = "yes")]
    pub traces: bool,
    /// Send metrics.
    #[serde(default = "yes")]
    pub metrics: bool,
    /// Send log lines.
    #[serde(default = "yes")]
    pub logs: bool,
    /// How often metrics are sent, in seconds.
    #[serde(default = "minute")]
    pub interval_seconds: u64,
}

fn name() -> String {
    "countersign".to_owned()
}

const fn yes() -> bool {
    true
}

const fn minute() -> u64 {
    60
}

/// A number from 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize, JsonSchema)]
#[serde(try_from = "f64")]
pub struct Share(pub f64);

impl Default for Share {
    fn default() -> Share {
        Share(1.0)
    }
}

impl TryFrom<f64> for Share {
    type Error = String;

    fn try_from(number: f64) -> Result<Share, String> {
        (0.0..=1.0).contains(&number).then_some(Share(number)).ok_or_else(|| format!("`{number}` is not from 0 to 1"))
    }
}

/// Makes their paths absolute.
pub(super) fn resolve(metrics: Option<&mut Metrics>, otlp: Option<&mut Otlp>, base: &Path) {
    if let Some(settings::Address::Unix(path)) = metrics.map(|metrics| &mut metrics.listen.0) {
        *path = base.join(&*path);
    }
    if let Some(otlp) = otlp {
        let files = otlp.headers.iter_mut().filter_map(|header| header.file.as_mut());
        files.chain(&mut otlp.authorities).for_each(|path| *path = base.join(&*path));
    }
}

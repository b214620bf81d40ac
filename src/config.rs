//! The configuration file: TOML as typed, then checked into what the gateway is told. Errors name line and column.

mod approvals;
mod environment;
mod envoy;
mod hsm;
mod issuer;
mod listener;
mod oauth;
mod proposer;
mod restart;
mod telemetry;
mod upstream;
mod values;

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, anyhow, bail};
use countersign_authorize::{
    catalogue::Catalogue,
    policy::{File, Policies},
};
use countersign_ledger::{ledger::Options, store::Probe};
use countersign_proxy::{api, settings};
use schemars::JsonSchema;
use serde::Deserialize;

pub use self::{
    issuer::Issuer,
    listener::{Agent, Caller, Listener, Proof, Role, Tls},
    proposer::Proposer,
    telemetry::{Format, Log, Metrics, Otlp},
    upstream::Upstream,
    values::{Address, Files, Origin, Url},
};

/// The file as typed. Its comments are what `countersign reference` prints: a new key is in the documentation when
/// `cargo run -q -- reference > docs/configuration-reference.md` was run, and a test says so when it was not.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The ledger's name: a URL without its scheme, such as `bank.example/agents`. It can never be changed.
    pub origin: Origin,
    /// Where the ledger is kept.
    pub ledger: Ledger,
    /// Where agents call.
    pub gateway: Listener,
    /// Where host, agent, approver, operator and investigator talk to Countersign itself.
    pub api: Listener,
    /// Where Envoy asks, for calls that it forwards itself.
    pub ext_authz: Option<envoy::ExtAuthz>,
    /// Where approvers answer with a passkey.
    pub approvals: Option<approvals::Approvals>,
    /// The APIs behind the gateway.
    #[serde(default)]
    pub upstream: Vec<Upstream>,
    /// What the organisation forbids beside the grants.
    #[serde(default)]
    pub policy: Policy,
    /// The model that proposes a scope where the host gives none.
    pub proposer: Option<Proposer>,
    /// Who may talk to the API.
    #[serde(default)]
    pub credential: Vec<Caller>,
    /// Agents that show a client certificate.
    #[serde(default)]
    pub agent: Vec<Agent>,
    /// What agents prove of the key that their grant is bound to.
    #[serde(default)]
    pub proof: Proof,
    /// Whose tokens say which agent somebody is, beside the gateway's own.
    #[serde(default)]
    pub issuer: Vec<Issuer>,
    /// How long calls in flight may take to end at shutdown, in seconds.
    #[serde(default = "thirty")]
    pub drain_seconds: u64,
    /// What bounds a request.
    #[serde(default)]
    pub limits: Limits,
    /// How requests to APIs are signed.
    #[serde(default)]
    pub signing: Signing,
    /// What Prometheus scrapes.
    pub metrics: Option<Metrics>,
    /// Metrics, traces and logs over OTLP.
    pub telemetry: Option<Otlp>,
    /// What is logged, and how.
    #[serde(default)]
    pub log: Log,
    /// How often a heartbeat is written, in seconds.
    #[serde(default = "sixty")]
    pub heartbeat_seconds: u64,
}

/// `[signing]`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Signing {
    /// The origin below which APIs find the gateway's public keys, such as `https://gateway.example`; the API's listener when left out.
    pub directory: Option<Url>,
}

const fn sixty() -> u64 {
    60
}

const fn thirty() -> u64 {
    30
}

/// `[policy]`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// Its files in Cedar: one, or several that hold together.
    #[serde(default)]
    pub file: Files,
}

/// `[ledger]`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Ledger {
    /// Its directory.
    pub directory: PathBuf,
    /// The directory of the keys; `keys` below it when left out.
    pub keys: Option<PathBuf>,
    /// The anchor's directory, better on another volume; `anchor` below it when left out.
    pub anchor: Option<PathBuf>,
    /// A key in a hardware module.
    pub hsm: Option<hsm::Hsm>,
    /// Free space in MiB below which nothing new is accepted.
    #[serde(default = "reserve")]
    pub reserve_mib: u64,
}

const fn reserve() -> u64 {
    256
}

/// What bounds a request.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Bytes of a JSON body, which is read before it is judged; 524288 when left out.
    json_bytes: Option<usize>,
    /// Bytes of a request to a language model; 8388608 when left out.
    prompt_bytes: Option<usize>,
    /// Bytes of a body that streams through; 1073741824 when left out.
    body_bytes: Option<u64>,
    /// Bytes of a response that is read for values that later calls may use; 524288 when left out.
    observe_bytes: Option<usize>,
    /// Connections per listener; 4096 when left out.
    connections: Option<usize>,
    /// How long a held call waits for an approver's answer, in seconds; 3600 when left out.
    hold_seconds: Option<u64>,
    /// How many times a grant is handed on from agent to agent; 3 when left out.
    delegations: Option<usize>,
    /// How many calls of one instruction may wait for an answer at a time; 20 when left out.
    held_calls: Option<usize>,
    /// Requests a second to the API with one credential; 1000 when left out, and 0 is no limit.
    api_per_credential: Option<u32>,
    /// Requests a second to the API from one address; 2000 when left out, and 0 is no limit.
    api_per_peer: Option<u32>,
    /// The calls of one agent; a refusal beyond is 429.
    agent: Quota,
    /// The calls under one grant.
    grant: Quota,
}

/// `[limits.agent]` and `[limits.grant]`; what is left out is not limited.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Quota {
    /// Calls at the same time.
    concurrent: Option<usize>,
    /// Calls in a second, in the long run.
    per_second: Option<u32>,
    /// Calls at once, when there were none for a while; as many as in a second when left out.
    burst: Option<u32>,
}

impl Quota {
    const fn settings(&self) -> settings::Quota {
        settings::Quota { concurrent: self.concurrent, per_second: self.per_second, burst: self.burst }
    }
}

impl Config {
    /// Reads a configuration file; paths in it are relative to its directory.
    ///
    /// # Errors
    /// With line and column, when the file is not as it must be.
    pub fn read(path: &Path) -> anyhow::Result<Config> {
        let text = fs::read_to_string(path).with_context(|| format!("`{}` cannot be read", path.display()))?;
        let mut config = Config::parse(path, &text)?;
        let base = path.parent().unwrap_or(Path::new(""));
        let resolve = |path: &mut PathBuf| *path = base.join(&*path);
        resolve(&mut config.ledger.directory);
        let pin = config.ledger.hsm.iter_mut().filter_map(|hsm| hsm.pin.file.as_mut());
        config.ledger.keys.iter_mut().chain(&mut config.ledger.anchor).chain(pin).for_each(resolve);
        let asked = config.ext_authz.iter_mut();
        let (asked, listens): (Vec<_>, Vec<_>) = asked.map(|envoy| (&mut envoy.tls, &mut envoy.listen)).unzip();
        for tls in config.gateway.tls.iter_mut().chain(&mut config.api.tls).chain(asked.into_iter().flatten()) {
            tls.files_mut().for_each(resolve);
        }
        for listen in [&mut config.gateway.listen, &mut config.api.listen].into_iter().chain(listens) {
            if let settings::Address::Unix(path) = &mut listen.0 {
                resolve(path);
            }
        }
        telemetry::resolve(config.metrics.as_mut(), config.telemetry.as_mut(), base);
        config.policy.file.iter_mut().for_each(resolve);
        for upstream in &mut config.upstream {
            upstream.files_mut().for_each(resolve);
        }
        config.issuer.iter_mut().filter_map(|issuer| issuer.authorities.as_mut()).for_each(resolve);
        if let Some(proposer) = &mut config.proposer {
            proposer.authorities.iter_mut().for_each(resolve);
            proposer.credential.iter_mut().filter_map(|credential| credential.file.as_mut()).for_each(resolve);
        }
        Ok(config)
    }

    /// The file's text, with what the environment puts in its place.
    fn parse(path: &Path, text: &str) -> anyhow::Result<Config> {
        let wrong = |error: toml::de::Error| anyhow!("{}:\n{error}", path.display());
        let overrides = environment::overrides();
        if overrides.is_empty() {
            return toml::from_str(text).map_err(wrong);
        }
        // Errors of the file itself keep their place, unless an override mends them.
        let mut table: toml::Table = toml::from_str(text).map_err(wrong)?;
        environment::apply(&mut table, &overrides)?;
        table.try_into().map_err(|error| match toml::from_str::<Config>(text) {
            Err(error) => wrong(error),
            Ok(_) => anyhow!("{}, with the environment's `COUNTERSIGN__…`:\n{error}", path.display()),
        })
    }

    /// Who may talk to the API.
    pub fn credentials(&self) -> Vec<api::Credential> {
        self.credential.iter().map(Caller::credential).collect()
    }

    /// Every file, beside the configuration's own, that says what is in force: when one changes, all are read again.
    pub fn watched(&self) -> Vec<PathBuf> {
        let asked = self.ext_authz.iter().filter_map(|envoy| envoy.tls.as_ref());
        let tls = self.gateway.tls.iter().chain(&self.api.tls).chain(asked).flat_map(|tls| tls.files());
        let upstreams = self.upstream.iter().flat_map(Upstream::files);
        upstreams.chain(self.policy.file.iter()).chain(tls).cloned().collect()
    }

    /// The directory of the keys.
    pub fn keys(&self) -> PathBuf {
        self.ledger.keys.clone().unwrap_or_else(|| self.ledger.directory.join("keys"))
    }

    /// How the ledger is kept. The store is probed by this very program in a process of its own.
    ///
    /// # Errors
    /// When this program's own file cannot be found.
    pub fn ledger_options(&self) -> anyhow::Result<Options> {
        let mut options = Options::new(&self.ledger.directory);
        if let Some(anchor) = &self.ledger.anchor {
            options.anchor_dir.clone_from(anchor);
        }
        options.limits.min_free_bytes = self.ledger.reserve_mib << 20;
        options.probe = Probe::Process {
            program: std::env::current_exe().context("this program's own file cannot be found")?,
            arguments: vec!["probe-store".into()],
            limit: Duration::from_secs(60),
        };
        Ok(options)
    }

    /// The catalogues, with their exact text.
    ///
    /// # Errors
    /// With file, line and column.
    pub fn catalogues(&self) -> anyhow::Result<Vec<(Catalogue, String)>> {
        let catalogues: Vec<_> = self.upstream.iter().map(Upstream::catalogue).collect::<Result<_, _>>()?;
        self.ext_authz.iter().try_for_each(|envoy| envoy.fits(&self.upstream, &catalogues))?;
        Ok(catalogues)
    }

    /// The policies, checked against the catalogues; none when no file is named.
    ///
    /// # Errors
    /// With file, line and column.
    pub fn policies(&self, catalogues: &[(Catalogue, String)]) -> anyhow::Result<Option<Policies>> {
        let mut files: Vec<File> = Vec::new();
        for path in self.policy.file.iter() {
            let text = fs::read_to_string(path).with_context(|| format!("`{}` cannot be read", path.display()))?;
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if files.iter().any(|file| file.name == name) {
                bail!("two policy files are named `{name}`; records could not tell them apart");
            }
            files.push(File { name, text });
        }
        if files.is_empty() {
            return Ok(None);
        }
        Ok(Some(Policies::parse(files, catalogues.iter().map(|(catalogue, _)| catalogue))?))
    }

    /// What the proxy is told.
    ///
    /// # Errors
    /// When a credential cannot be read.
    pub fn settings(&self) -> anyhow::Result<settings::Settings> {
        if self.upstream.is_empty() {
            bail!("there is no `[[upstream]]`: name the API that agents call, with its catalogue");
        }
        let several = self.upstream.len() > 1;
        let mut upstreams = Vec::new();
        for upstream in &self.upstream {
            upstreams.push(upstream.settings(several).with_context(|| format!("upstream `{}`", upstream.name))?);
        }
        let mut limits = settings::Limits::default();
        limits.json_bytes = self.limits.json_bytes.unwrap_or(limits.json_bytes);
        limits.prompt_bytes = self.limits.prompt_bytes.unwrap_or(limits.prompt_bytes);
        limits.body_bytes = self.limits.body_bytes.unwrap_or(limits.body_bytes);
        limits.observe_bytes = self.limits.observe_bytes.unwrap_or(limits.observe_bytes);
        limits.connections = self.limits.connections.unwrap_or(limits.connections);
        limits.held_calls = self.limits.held_calls.unwrap_or(limits.held_calls);
        limits.hold_timeout = self.limits.hold_seconds.map_or(limits.hold_timeout, Duration::from_secs);
        limits.delegations = self.limits.delegations.unwrap_or(limits.delegations);
        (limits.agent, limits.grant) = (self.limits.agent.settings(), self.limits.grant.settings());
        limits.api_per_credential = self.limits.api_per_credential.unwrap_or(limits.api_per_credential);
        limits.api_per_peer = self.limits.api_per_peer.unwrap_or(limits.api_per_peer);
        Ok(settings::Settings {
            gateway: self.gateway.settings(),
            api: self.api.settings(),
            envoy: self.ext_authz.as_ref().map(envoy::ExtAuthz::settings).transpose().context("`[ext_authz]`")?,
            approvals: self.approvals.as_ref().map(approvals::Approvals::settings).transpose()?,
            upstreams,
            agents: self.agent.iter().map(|agent| (agent.party.clone(), agent.spiffe.clone())).collect(),
            proofs: self.proof.settings(),
            issuers: Issuer::settings(&self.issuer, &self.origin)?,
            proposer: self.proposer.as_ref().map(Proposer::settings).transpose().context("`[proposer]`")?,
            limits,
            drain: Duration::from_secs(self.drain_seconds),
            signing: None,
            heartbeat: Duration::from_secs(self.heartbeat_seconds.max(1)),
            telemetry: countersign_proxy::observe::Telemetry::default(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"origin = "bank.example/agents"
[ledger]
directory = "ledger"
[gateway]
listen = "127.0.0.1:0"
[api]
listen = "127.0.0.1:0"
[[upstream]]
name = "bank"
url = "http://127.0.0.1:9000"
catalogue = "bank.toml"
"#;

    fn read(text: &str) -> anyhow::Result<Config> {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("countersign.toml");
        fs::write(&path, text)?;
        Config::read(&path)
    }

    #[test]
    fn a_good_file_is_read_with_paths_relative_to_it() {
        let config = read(GOOD).unwrap();
        assert!(config.ledger.directory.is_absolute());
        let settings = config.settings().unwrap();
        assert_eq!(settings.upstreams.first().map(|upstream| upstream.prefix.as_str()), Some(""));
    }

    #[test]
    fn errors_name_line_and_column() {
        for (from, to, line, part) in [
            ("bank.example/agents", "https://bank.example", 1, "without its scheme"),
            ("127.0.0.1:0", "localhost", 5, "is no address"),
            ("http://127.0.0.1:9000", "bank", 10, "is not a URL with"),
            (
                "[api]",
                "[[issuer]]\nissuer = \"x\"\naudience = \"y\"\njwks_url = \"http://elsewhere.example/keys\"\n[api]",
                9,
                "neither `https` nor on this machine",
            ),
            ("name = \"bank\"", "nane = \"bank\"", 9, "unknown field `nane`"),
            ("[gateway]", "[gatevay]", 4, "unknown field `gatevay`"),
        ] {
            let error = read(&GOOD.replacen(from, to, 1)).map(|_| ()).unwrap_err().to_string();
            assert!(
                error.contains(&format!("line {line}")) && error.contains("column") && error.contains(part),
                "{to}: {error}"
            );
        }
    }
}

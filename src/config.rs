//! The configuration file: TOML as typed, then checked into what the gateway is told. Errors name line and column.

mod envoy;

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, anyhow, bail};
use countersign_authorize::{
    catalogue::{self, Catalogue},
    policy::{File, Policies},
};
use countersign_ledger::{checkpoint::is_key_name, ledger::Options, statement::Jwk, store::Probe};
use countersign_proxy::{
    api,
    settings::{self, ReceiptKeys},
};
use countersign_receipt::directory;
use http::{HeaderName, Uri};
use serde::Deserialize;

use crate::commands::ceiling;

/// The file as typed.
#[derive(Debug, Deserialize)]
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
    pub credential: Vec<api::Credential>,
    /// Agents that show a client certificate.
    #[serde(default)]
    pub agent: Vec<Agent>,
    /// How long calls in flight may take to end at shutdown, in seconds.
    #[serde(default = "thirty")]
    pub drain_seconds: u64,
    /// What bounds a request.
    #[serde(default)]
    pub limits: Limits,
    /// How requests to APIs are signed.
    #[serde(default)]
    pub signing: Signing,
    /// How often a heartbeat is written, in seconds.
    #[serde(default = "sixty")]
    pub heartbeat_seconds: u64,
}

/// `[signing]`.
#[derive(Debug, Default, Deserialize)]
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
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// Its files in Cedar: one, or several that hold together.
    #[serde(default)]
    pub file: Files,
}

/// One file or several.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "a path, or a list of paths")]
pub enum Files {
    /// One.
    One(PathBuf),
    /// Several, or none.
    Several(Vec<PathBuf>),
}

impl Default for Files {
    fn default() -> Files {
        Files::Several(Vec::new())
    }
}

impl Files {
    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &PathBuf> {
        match self {
            Files::One(path) => std::slice::from_ref(path).iter(),
            Files::Several(paths) => paths.iter(),
        }
    }

    fn iter_mut(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        match self {
            Files::One(path) => std::slice::from_mut(path).iter_mut(),
            Files::Several(paths) => paths.iter_mut(),
        }
    }
}

/// A name that can name a key.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "String")]
pub struct Origin(pub String);

impl TryFrom<String> for Origin {
    type Error = String;

    fn try_from(name: String) -> Result<Origin, String> {
        if is_key_name(&name) && !name.contains("://") {
            Ok(Origin(name))
        } else {
            Err("the origin must be a URL without its scheme, without spaces or `+`, such as `bank.example/agents`"
                .to_owned())
        }
    }
}

/// `[ledger]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ledger {
    /// Its directory.
    pub directory: PathBuf,
    /// The directory of the keys; `keys` below it when left out.
    pub keys: Option<PathBuf>,
    /// The anchor's directory, better on another volume; `anchor` below it when left out.
    pub anchor: Option<PathBuf>,
    /// Free space in MiB below which nothing new is accepted.
    #[serde(default = "reserve")]
    pub reserve_mib: u64,
}

const fn reserve() -> u64 {
    256
}

/// A listener.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listener {
    /// The address: `127.0.0.1:8180` (port 0 takes a free one), `unix:/run/countersign/gateway.sock`, or `systemd:gateway` for a socket that systemd passes.
    pub listen: Address,
    /// Certificate chain and key, PEM.
    pub tls: Option<Tls>,
}

/// TLS of a listener.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// The chain, leaf first.
    pub certificates: PathBuf,
    /// The key.
    pub key: PathBuf,
    /// Authorities of client certificates: then every client must show one, and an agent's SPIFFE id must be the one in `[[agent]]`.
    pub clients: Option<PathBuf>,
    /// Speak TLS 1.2 too.
    #[serde(default)]
    pub tls12: bool,
}

/// `[[agent]]`: an agent that is told by its client certificate.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Agent {
    /// The agent, as instructions name it.
    pub party: String,
    /// The URI in its certificate, such as `spiffe://bank.example/agents/assistant`.
    pub spiffe: String,
}

/// Where a listener listens.
#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
pub struct Address(pub settings::Address);

impl TryFrom<String> for Address {
    type Error = String;

    fn try_from(text: String) -> Result<Address, String> {
        let address = text.parse().map_err(|error| {
            format!("`{text}` is no address ({error}): write `127.0.0.1:8180`, `unix:/path` or `systemd:name`")
        })?;
        Ok(Address(address))
    }
}

/// `[[upstream]]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Upstream {
    /// Its name, as its catalogue says it.
    pub name: String,
    /// Scheme, authority and base path.
    pub url: Url,
    /// Its catalogue; relative to the configuration file.
    pub catalogue: PathBuf,
    /// The API provider's signed catalogue, above which this one must not go.
    pub ceiling: Option<Ceiling>,
    /// The path prefix that agents use: empty for the only upstream, else `/<name>` when left out.
    pub prefix: Option<String>,
    /// What the gateway adds so that the API lets the call in.
    pub credential: Option<Credential>,
    /// Certificate authorities (PEM) instead of the public ones.
    pub authorities: Option<PathBuf>,
    /// HTTP/2 in the clear with prior knowledge.
    #[serde(default)]
    pub http2: bool,
    /// Record verdicts without enforcing them.
    #[serde(default)]
    pub shadow: bool,
    /// Up to how many bytes of a response are kept in the vault.
    #[serde(default)]
    pub keep_response_bytes: usize,
    /// Let `Set-Cookie` through to the agent.
    #[serde(default)]
    pub pass_cookies: bool,
    /// Request headers that pass beside the usual ones.
    #[serde(default)]
    pub pass_headers: Vec<Header>,
    /// How long it may take.
    #[serde(default)]
    pub timeouts: Timeouts,
    /// Sign what is sent; yes when left out and the API gives receipts.
    pub sign: Option<bool>,
    /// The API's receipts.
    pub receipts: Option<Receipts>,
}

/// `receipts` of an upstream: exactly one of `keys`, `jwks_url` and `directory`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Receipts {
    /// Whose they are: a party's id, which becomes an API provider when it is not known yet.
    pub party: String,
    /// Its public keys: a JWK or a JWK set in a file.
    pub keys: Option<PathBuf>,
    /// Where they are listed: a JWK set.
    pub jwks_url: Option<Url>,
    /// The origin below which they are listed, as an HTTP signature directory.
    pub directory: Option<Url>,
    /// Keep an answer without a receipt that fits from the agent.
    #[serde(default)]
    pub required: bool,
}

/// `[proposer]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proposer {
    /// The chat endpoint's whole URL, such as `https://models.example/v1/chat/completions`.
    pub url: Url,
    /// The model to ask for.
    pub model: String,
    /// What lets the gateway in.
    pub credential: Option<Credential>,
    /// Certificate authorities (PEM) instead of the public ones.
    pub authorities: Option<PathBuf>,
    /// Let it see what the user attached.
    #[serde(default)]
    pub attachments: bool,
    /// How long it may take.
    #[serde(default = "thirty")]
    pub timeout_seconds: u64,
    /// What may be proposed for whom; all that the catalogues know when left out.
    #[serde(default)]
    pub allow: Vec<Proposable>,
}

/// `[[proposer.allow]]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proposable {
    host: Option<String>,
    principal: Option<String>,
    actions: Vec<String>,
}

impl Proposer {
    fn settings(&self) -> anyhow::Result<settings::Proposer> {
        let upstream = settings::Upstream {
            credential: self.credential.as_ref().map(Credential::settings).transpose()?,
            authorities: self.authorities.clone(),
            ..settings::Upstream::new("proposer", self.url.0.clone())
        };
        let allow = |row: &Proposable| settings::Proposable {
            host: row.host.clone(),
            principal: row.principal.clone(),
            actions: row.actions.clone(),
        };
        Ok(settings::Proposer {
            upstream,
            model: self.model.clone(),
            attachments: self.attachments,
            timeout: Duration::from_secs(self.timeout_seconds),
            allow: self.allow.iter().map(allow).collect(),
        })
    }
}

/// `ceiling` of an upstream.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ceiling {
    /// The provider's catalogue.
    pub catalogue: PathBuf,
    /// The provider's statement over it: a JWS in compact form.
    pub signature: PathBuf,
    /// The provider's public key, as JWK.
    pub key: PathBuf,
}

/// An absolute URL.
#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
pub struct Url(pub Uri);

impl TryFrom<String> for Url {
    type Error = String;

    fn try_from(text: String) -> Result<Url, String> {
        let url: Uri = text.parse().map_err(|error| format!("`{text}` is not a URL: {error}"))?;
        match (url.scheme_str(), url.authority()) {
            (Some("http" | "https"), Some(_)) => Ok(Url(url)),
            _ => Err(format!("`{text}` is not a URL with `http://` or `https://` and a host")),
        }
    }
}

/// A header's name.
#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
pub struct Header(pub HeaderName);

impl TryFrom<String> for Header {
    type Error = String;

    fn try_from(text: String) -> Result<Header, String> {
        text.parse().map(Header).map_err(|_| format!("`{text}` is not a header name"))
    }
}

/// A header that lets the gateway into an API, its value from a file or the environment.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Credential {
    /// The header; `authorization` when left out.
    pub header: Option<Header>,
    /// What stands before the secret, such as `Bearer `.
    #[serde(default)]
    pub prefix: String,
    /// The file that holds the secret.
    pub file: Option<PathBuf>,
    /// The environment variable that holds it.
    pub environment: Option<String>,
}

/// How long an upstream may take, in seconds.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Timeouts {
    connect_seconds: Option<u64>,
    first_byte_seconds: Option<u64>,
    idle_seconds: Option<u64>,
    total_seconds: Option<u64>,
}

/// What bounds a request.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    json_bytes: Option<usize>,
    prompt_bytes: Option<usize>,
    body_bytes: Option<u64>,
    observe_bytes: Option<usize>,
    connections: Option<usize>,
    hold_seconds: Option<u64>,
    delegations: Option<usize>,
}

impl Config {
    /// Reads a configuration file; paths in it are relative to its directory.
    ///
    /// # Errors
    /// With line and column, when the file is not as it must be.
    pub fn read(path: &Path) -> anyhow::Result<Config> {
        let text = fs::read_to_string(path).with_context(|| format!("`{}` cannot be read", path.display()))?;
        let mut config: Config = toml::from_str(&text).map_err(|error| anyhow!("{}:\n{error}", path.display()))?;
        let base = path.parent().unwrap_or(Path::new(""));
        let resolve = |path: &mut PathBuf| *path = base.join(&*path);
        resolve(&mut config.ledger.directory);
        config.ledger.keys.iter_mut().chain(&mut config.ledger.anchor).for_each(resolve);
        let asked = config.ext_authz.iter_mut();
        let (asked, listens): (Vec<_>, Vec<_>) = asked.map(|envoy| (&mut envoy.tls, &mut envoy.listen)).unzip();
        for tls in config.gateway.tls.iter_mut().chain(&mut config.api.tls).chain(asked.into_iter().flatten()) {
            resolve(&mut tls.certificates);
            resolve(&mut tls.key);
            tls.clients.iter_mut().for_each(resolve);
        }
        for listen in [&mut config.gateway.listen, &mut config.api.listen].into_iter().chain(listens) {
            if let settings::Address::Unix(path) = &mut listen.0 {
                resolve(path);
            }
        }
        config.policy.file.iter_mut().for_each(resolve);
        for upstream in &mut config.upstream {
            resolve(&mut upstream.catalogue);
            upstream.authorities.iter_mut().for_each(resolve);
            upstream.receipts.iter_mut().filter_map(|receipts| receipts.keys.as_mut()).for_each(resolve);
            let ceiling = upstream.ceiling.iter_mut();
            ceiling.flat_map(|c| [&mut c.catalogue, &mut c.signature, &mut c.key]).for_each(resolve);
            upstream.credential.iter_mut().filter_map(|credential| credential.file.as_mut()).for_each(resolve);
        }
        if let Some(proposer) = &mut config.proposer {
            proposer.authorities.iter_mut().for_each(resolve);
            proposer.credential.iter_mut().filter_map(|credential| credential.file.as_mut()).for_each(resolve);
        }
        for credential in &config.credential {
            if credential.sha256.len() != 64
                || !credential.sha256.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
            {
                bail!(
                    "{}: the `sha256` of the credential of `{}` is not 64 lower-case hexadecimal digits; make one with `countersign keys new`",
                    path.display(),
                    credential.party
                );
            }
        }
        Ok(config)
    }

    /// Every file, beside the configuration's own, that says what is in force: when one changes, all are read again.
    pub fn watched(&self) -> Vec<PathBuf> {
        let upstreams = self.upstream.iter().flat_map(|upstream| {
            let ceiling = upstream.ceiling.iter();
            let ceiling = ceiling.flat_map(|ceiling| [&ceiling.catalogue, &ceiling.signature, &ceiling.key]);
            let secret = upstream.credential.iter().filter_map(|credential| credential.file.as_ref());
            std::iter::once(&upstream.catalogue).chain(ceiling).chain(secret).chain(&upstream.authorities)
        });
        upstreams.chain(self.policy.file.iter()).cloned().collect()
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
        limits.hold_timeout = self.limits.hold_seconds.map_or(limits.hold_timeout, Duration::from_secs);
        limits.delegations = self.limits.delegations.unwrap_or(limits.delegations);
        Ok(settings::Settings {
            gateway: self.gateway.settings(),
            api: self.api.settings(),
            envoy: self.ext_authz.as_ref().map(envoy::ExtAuthz::settings).transpose().context("`[ext_authz]`")?,
            upstreams,
            agents: self.agent.iter().map(|agent| (agent.party.clone(), agent.spiffe.clone())).collect(),
            proposer: self.proposer.as_ref().map(Proposer::settings).transpose().context("`[proposer]`")?,
            limits,
            drain: Duration::from_secs(self.drain_seconds),
            signing: None,
            heartbeat: Duration::from_secs(self.heartbeat_seconds.max(1)),
        })
    }
}

impl Listener {
    fn settings(&self) -> settings::Listener {
        let tls = self.tls.as_ref().map(|tls| settings::ServerTls {
            certificates: tls.certificates.clone(),
            key: tls.key.clone(),
            clients: tls.clients.clone(),
            tls12: tls.tls12,
        });
        settings::Listener { address: self.listen.0.clone(), tls }
    }
}

impl Upstream {
    fn catalogue(&self) -> anyhow::Result<(Catalogue, String)> {
        let path = self.catalogue.display();
        let text = fs::read_to_string(&self.catalogue).with_context(|| format!("`{path}` cannot be read"))?;
        let catalogue = Catalogue::parse(&text).map_err(|error| anyhow!("{path}: {error}"))?;
        if catalogue.upstream() != self.name {
            bail!("{path}: the catalogue is of `{}`, the upstream is named `{}`", catalogue.upstream(), self.name);
        }
        let catalogue = match &self.ceiling {
            None => catalogue,
            Some(ceiling) => catalogue.under(ceiling.read(&self.name)?).map_err(|error| anyhow!("{path}: {error}"))?,
        };
        Ok((catalogue, text))
    }

    fn settings(&self, several: bool) -> anyhow::Result<settings::Upstream> {
        let prefix = match &self.prefix {
            Some(prefix) => prefix.clone(),
            None if several => format!("/{}", self.name),
            None => String::new(),
        };
        if !prefix.is_empty() && (!prefix.starts_with('/') || prefix.ends_with('/')) {
            bail!("the prefix `{prefix}` must begin with `/` and not end with one");
        }
        let defaults = settings::Timeouts::default();
        let seconds = |given: Option<u64>, default| given.map_or(default, Duration::from_secs);
        Ok(settings::Upstream {
            name: self.name.clone(),
            prefix,
            url: self.url.0.clone(),
            credential: self.credential.as_ref().map(Credential::settings).transpose()?,
            authorities: self.authorities.clone(),
            http: if self.http2 { settings::Http::Two } else { settings::Http::Auto },
            timeouts: settings::Timeouts {
                connect: seconds(self.timeouts.connect_seconds, defaults.connect),
                first_byte: seconds(self.timeouts.first_byte_seconds, defaults.first_byte),
                idle: seconds(self.timeouts.idle_seconds, defaults.idle),
                total: seconds(self.timeouts.total_seconds, defaults.total),
            },
            shadow: self.shadow,
            keep_response_bytes: self.keep_response_bytes,
            pass_cookies: self.pass_cookies,
            pass_headers: self.pass_headers.iter().map(|header| header.0.clone()).collect(),
            sign: self.sign.unwrap_or(self.receipts.is_some()),
            receipts: self.receipts.as_ref().map(Receipts::settings).transpose()?,
        })
    }
}

impl Receipts {
    fn settings(&self) -> anyhow::Result<settings::Receipts> {
        let keys = match (&self.keys, &self.jwks_url, &self.directory) {
            (Some(path), None, None) => {
                let text = fs::read_to_string(path).with_context(|| format!("`{}` cannot be read", path.display()))?;
                let keys = directory::read(&text).filter(|keys| !keys.is_empty());
                let keys =
                    keys.with_context(|| format!("`{}` is no public key and no list of them", path.display()))?;
                ReceiptKeys::Pinned(keys)
            }
            (None, Some(url), None) => ReceiptKeys::Listed(url.0.clone()),
            (None, None, Some(origin)) => {
                let origin = origin.0.to_string();
                ReceiptKeys::Listed(format!("{}{}", origin.trim_end_matches('/'), directory::WELL_KNOWN).parse()?)
            }
            _ => bail!("`receipts` needs exactly one of `keys`, `jwks_url` and `directory`"),
        };
        Ok(settings::Receipts { party: self.party.clone(), keys, required: self.required })
    }
}

impl Ceiling {
    /// The provider's catalogue, its signature checked.
    fn read(&self, upstream: &str) -> anyhow::Result<catalogue::Ceiling> {
        let read =
            |path: &Path| fs::read_to_string(path).with_context(|| format!("`{}` cannot be read", path.display()));
        let (text, compact) = (read(&self.catalogue)?, read(&self.signature)?.trim().to_owned());
        let key = read(&self.key)?;
        let not_a_key = || format!("`{}` is no public key as JWK", self.key.display());
        // What `keys new` prints for a registration is taken too.
        let value: serde_json::Value = serde_json::from_str(&key).with_context(not_a_key)?;
        let jwk = value.get("jwk").unwrap_or(&value).clone();
        let jwk: Jwk = serde_json::from_value(jwk).with_context(not_a_key)?;
        ceiling::verify(&compact, &jwk, upstream, text.as_bytes())
            .with_context(|| format!("the ceiling `{}` is not what its provider signed", self.catalogue.display()))?;
        Ok(catalogue::Ceiling { text, statement: compact, kid: jwk.thumbprint() })
    }
}

impl Credential {
    fn settings(&self) -> anyhow::Result<settings::Credential> {
        let secret = match (&self.file, &self.environment) {
            (Some(file), None) => fs::read_to_string(file)
                .with_context(|| format!("the credential `{}` cannot be read", file.display()))?,
            (None, Some(name)) => {
                std::env::var(name).with_context(|| format!("the environment has no `{name}` for the credential"))?
            }
            _ => bail!("the credential needs either `file` or `environment`"),
        };
        let header = self.header.as_ref().map_or(http::header::AUTHORIZATION, |header| header.0.clone());
        Ok(settings::Credential::new(header, format!("{}{}", self.prefix, secret.trim_end()))?)
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

//! `[[upstream]]`: an API, and what lets the gateway into it.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, anyhow, bail};
use countersign_authorize::catalogue::{self, Catalogue};
use countersign_ledger::statement::Jwk;
use countersign_proxy::settings::{self, ReceiptKeys};
use countersign_receipt::directory;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    oauth::{self, OAuth},
    values::{Header, Url},
};
use crate::commands::ceiling;

/// `[[upstream]]`.
#[derive(Debug, Deserialize, JsonSchema)]
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
    /// How the gateway gets that from a token server, where it is not given.
    pub oauth: Option<OAuth>,
    /// Certificate authorities (PEM) instead of the public ones.
    pub authorities: Option<PathBuf>,
    /// The certificate that the gateway shows it (mutual TLS).
    pub tls: Option<ClientTls>,
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
    /// When a request is sent again.
    #[serde(default)]
    pub retries: Retries,
    /// Leave the API alone for a while when it fails several times in a row; never when left out.
    pub breaker: Option<Breaker>,
    /// Sign what is sent; yes when left out and the API gives receipts.
    pub sign: Option<bool>,
    /// The API's receipts.
    pub receipts: Option<Receipts>,
}

/// `retries` of an upstream: only of what was not sent, or does the same when it is sent twice.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Retries {
    /// How often a request is sent at most, the first time included.
    pub attempts: u32,
    /// How long to wait before the second time, in milliseconds; twice as long before each further one.
    pub pause_ms: u64,
}

impl Default for Retries {
    fn default() -> Retries {
        Retries { attempts: 1, pause_ms: 100 }
    }
}

/// `breaker` of an upstream.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Breaker {
    /// After how many failures in a row: no connection, no proper answer, none in time, or 502, 503 or 504.
    pub failures: u32,
    /// For how long, in seconds; then one call tries.
    pub open_seconds: u64,
}

impl Default for Breaker {
    fn default() -> Breaker {
        Breaker { failures: 5, open_seconds: 10 }
    }
}

/// `tls` of an upstream.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClientTls {
    /// The chain, leaf first, PEM.
    pub certificates: PathBuf,
    /// The key, PEM.
    pub key: PathBuf,
}

/// `receipts` of an upstream: exactly one of `keys`, `jwks_url` and `directory`.
#[derive(Debug, Deserialize, JsonSchema)]
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

/// `ceiling` of an upstream.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Ceiling {
    /// The provider's catalogue.
    pub catalogue: PathBuf,
    /// The provider's statement over it: a JWS in compact form.
    pub signature: PathBuf,
    /// The provider's public key, as JWK.
    pub key: PathBuf,
}

/// A header that lets the gateway into an API, its value from a file or the environment.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Credential {
    /// The header; `authorization` when left out.
    pub header: Option<Header>,
    /// What stands before the secret, such as `Bearer `.
    #[serde(default)]
    pub prefix: String,
    /// The file that holds the secret.
    pub file: Option<PathBuf>,
    /// The environment variable that holds it; or, where there is none, the one with `_FILE` behind its name that names the file.
    pub environment: Option<String>,
}

/// How long an upstream may take, in seconds.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Timeouts {
    /// Name resolution, connection and TLS handshake; 5 when left out.
    connect_seconds: Option<u64>,
    /// From the last byte sent to the first of the answer; 30 when left out.
    first_byte_seconds: Option<u64>,
    /// Between two pieces of the answer; 60 when left out.
    idle_seconds: Option<u64>,
    /// All of it; 600 when left out.
    total_seconds: Option<u64>,
}

impl Upstream {
    /// The files that it names, to be read relative to the configuration.
    pub(super) fn files_mut(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        let ceiling = self.ceiling.iter_mut().flat_map(|c| [&mut c.catalogue, &mut c.signature, &mut c.key]);
        let receipts = self.receipts.iter_mut().filter_map(|receipts| receipts.keys.as_mut());
        let tls = self.tls.iter_mut().flat_map(|tls| [&mut tls.certificates, &mut tls.key]);
        let secret = self.credential.iter_mut().filter_map(|credential| credential.file.as_mut());
        std::iter::once(&mut self.catalogue)
            .chain(ceiling)
            .chain(receipts)
            .chain(tls)
            .chain(secret)
            .chain(self.oauth.iter_mut().flat_map(OAuth::files_mut))
            .chain(&mut self.authorities)
    }

    /// Those that say what is in force.
    pub(super) fn files(&self) -> impl Iterator<Item = &PathBuf> {
        let ceiling = self.ceiling.iter().flat_map(|c| [&c.catalogue, &c.signature, &c.key]);
        let receipts = self.receipts.iter().filter_map(|receipts| receipts.keys.as_ref());
        let tls = self.tls.iter().flat_map(|tls| [&tls.certificates, &tls.key]);
        let secret = self.credential.iter().filter_map(|credential| credential.file.as_ref());
        std::iter::once(&self.catalogue)
            .chain(ceiling)
            .chain(receipts)
            .chain(tls)
            .chain(secret)
            .chain(self.oauth.iter().flat_map(OAuth::files))
            .chain(&self.authorities)
    }

    pub(super) fn catalogue(&self) -> anyhow::Result<(Catalogue, String)> {
        let path = self.catalogue.display();
        let text = fs::read_to_string(&self.catalogue)
            .with_context(|| format!("`{path}`, the catalogue of the upstream `{}`, cannot be read", self.name))?;
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

    pub(super) fn settings(&self, several: bool) -> anyhow::Result<settings::Upstream> {
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
            obtain: oauth::either(self)?,
            authorities: self.authorities.clone(),
            identity: self
                .tls
                .as_ref()
                .map(|tls| settings::Identity { certificates: tls.certificates.clone(), key: tls.key.clone() }),
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
            retries: settings::Retries {
                attempts: self.retries.attempts.max(1),
                pause: Duration::from_millis(self.retries.pause_ms),
            },
            breaker: self.breaker.as_ref().map(|breaker| settings::Breaker {
                failures: breaker.failures.max(1),
                open: Duration::from_secs(breaker.open_seconds),
            }),
            sign: self.sign.unwrap_or(self.receipts.is_some()),
            receipts: self.receipts.as_ref().map(Receipts::settings).transpose()?,
        })
    }
}

impl Receipts {
    pub(super) fn settings(&self) -> anyhow::Result<settings::Receipts> {
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
    pub(crate) fn settings(&self) -> anyhow::Result<settings::Credential> {
        let secret = secret(self.file.as_deref(), self.environment.as_deref())?;
        let header = self.header.as_ref().map_or(http::header::AUTHORIZATION, |header| header.0.clone());
        Ok(settings::Credential::new(header, format!("{}{}", self.prefix, secret.trim_end()))?)
    }
}

/// A secret, from whichever of the two is named.
pub(super) fn secret(file: Option<&Path>, environment: Option<&str>) -> anyhow::Result<String> {
    match (file, environment) {
        (Some(file), None) => {
            fs::read_to_string(file).with_context(|| format!("the credential `{}` cannot be read", file.display()))
        }
        (None, Some(name)) => of_environment(name),
        _ => bail!("the credential needs either `file` or `environment`"),
    }
}

/// A secret of the environment: `NAME` itself, or the file that `NAME_FILE` names, as container platforms mount them.
fn of_environment(name: &str) -> anyhow::Result<String> {
    if let Ok(secret) = std::env::var(name) {
        return Ok(secret);
    }
    let file = std::env::var_os(format!("{name}_FILE"))
        .with_context(|| format!("the environment has neither `{name}` nor `{name}_FILE` for the credential"))?;
    fs::read_to_string(&file).with_context(|| format!("`{name}_FILE`: `{}` cannot be read", Path::new(&file).display()))
}

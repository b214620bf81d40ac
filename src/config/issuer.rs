//! `[[issuer]]`: an outside issuer of tokens.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use anyhow::bail;
use countersign_proxy::settings::{self, ALGORITHMS, is_private};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{Origin, values::SecureUrl};

/// `[[issuer]]`: whose tokens (OAuth, OpenID Connect) say which agent somebody is. They allow nothing: the agent names a grant of its own.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Issuer {
    /// Its name, exactly as its tokens have it in `iss`.
    pub issuer: String,
    /// The name of this gateway in `aud`.
    pub audience: String,
    /// Where its keys are (a JWK set): `https`, or on this machine. Asked of the issuer itself, at `/.well-known/openid-configuration`, when left out; they must then be at the same host.
    pub jwks_url: Option<SecureUrl>,
    /// Certificate authorities (PEM) instead of the public ones.
    pub authorities: Option<PathBuf>,
    /// How its tokens may be signed: `EdDSA`, `ES256`, `ES384`, `PS256`, `PS384`, `PS512`, `RS256`, `RS384`, `RS512`; `ES256` and `RS256` when left out. Never with a shared secret.
    #[serde(default = "usual")]
    pub algorithms: Vec<Algorithm>,
    /// Take only tokens that say that they are access tokens (`typ` is `at+jwt`, RFC 9068); when left out, also those without a type or of type `JWT`.
    #[serde(default)]
    pub access_tokens_only: bool,
    /// Which claim says the agent; `sub` when left out.
    #[serde(default = "sub")]
    pub agent_claim: String,
    /// The agent, as instructions name it, by what stands in that claim; when left out, the claim is the agent's name itself.
    #[serde(default)]
    pub agents: BTreeMap<String, String>,
    /// Which claim says the user; that must then be the principal of the instruction.
    pub principal_claim: Option<String>,
    /// Which claim names the grant, as `<instruction>/<grant>`; else the header `Countersign-Grant` does.
    pub grant_claim: Option<String>,
    /// How far its clock may be from the gateway's, in seconds; 30 when left out.
    #[serde(default = "thirty")]
    pub skew_seconds: u64,
    /// How long its keys are good without being fetched again, in seconds; 300 when left out. They are fetched again after half of it, and when a token names a key that is not known, but at most every ten seconds.
    #[serde(default = "five_minutes")]
    pub keep_seconds: u64,
    /// How long they hold beyond that while it cannot be reached, in seconds; 3600 when left out.
    #[serde(default = "an_hour")]
    pub stale_seconds: u64,
}

/// The name of an algorithm.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
pub struct Algorithm(#[schemars(with = "String")] pub settings::Algorithm);

impl TryFrom<String> for Algorithm {
    type Error = String;

    fn try_from(name: String) -> Result<Algorithm, String> {
        let known = ALGORITHMS.iter().find(|(known, _)| *known == name).map(|(_, algorithm)| Algorithm(*algorithm));
        let names: Vec<&str> = ALGORITHMS.iter().map(|(name, _)| *name).collect();
        known.ok_or_else(|| {
            format!("`{name}` is not an algorithm that an issuer may sign with; there are {}", names.join(", "))
        })
    }
}

fn usual() -> Vec<Algorithm> {
    vec![Algorithm(settings::Algorithm::ES256), Algorithm(settings::Algorithm::RS256)]
}

fn sub() -> String {
    "sub".to_owned()
}

const fn thirty() -> u64 {
    30
}

const fn an_hour() -> u64 {
    3600
}

const fn five_minutes() -> u64 {
    300
}

impl Issuer {
    /// What the proxy is told of all of them.
    pub(super) fn settings(issuers: &[Issuer], origin: &Origin) -> anyhow::Result<Vec<settings::Issuer>> {
        for (at, issuer) in issuers.iter().enumerate() {
            issuer.check(origin)?;
            if issuers.iter().take(at).any(|other| other.issuer == issuer.issuer) {
                bail!("`[[issuer]]`: `{}` stands there twice", issuer.issuer);
            }
        }
        Ok(issuers.iter().map(Issuer::one).collect())
    }

    fn check(&self, origin: &Origin) -> anyhow::Result<()> {
        let name = &self.issuer;
        if name.is_empty() || *name == origin.0 {
            bail!("`[[issuer]]`: `issuer` must be the outside issuer's own name, as its tokens have it in `iss`");
        }
        if self.jwks_url.is_none() && !name.parse().is_ok_and(|url| is_private(&url)) {
            bail!(
                "`[[issuer]]`: `{name}` is no `https` URL, so its keys cannot be asked of it; say with `jwks_url` where they are"
            );
        }
        if self.algorithms.is_empty() || self.audience.is_empty() || self.agent_claim.is_empty() {
            bail!("`[[issuer]]`: of `{name}`: `algorithms`, `audience` and `agent_claim` must not be empty");
        }
        Ok(())
    }

    fn one(&self) -> settings::Issuer {
        settings::Issuer {
            issuer: self.issuer.clone(),
            audience: self.audience.clone(),
            keys: self.jwks_url.as_ref().map(|url| url.0.clone()),
            authorities: self.authorities.clone(),
            algorithms: self.algorithms.iter().map(|algorithm| algorithm.0).collect(),
            access_tokens_only: self.access_tokens_only,
            agent_claim: self.agent_claim.clone(),
            agents: self.agents.clone(),
            principal_claim: self.principal_claim.clone(),
            grant_claim: self.grant_claim.clone(),
            skew: Duration::from_secs(self.skew_seconds),
            keep: Duration::from_secs(self.keep_seconds),
            stale: Duration::from_secs(self.stale_seconds),
        }
    }
}

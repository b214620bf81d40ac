//! `oauth` of an upstream: a token server gives the gateway what lets it into the API.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use countersign_proxy::settings;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    upstream::secret,
    values::{Header, SecureUrl},
};

/// `[upstream.oauth]`: in the place of `credential`. Tokens are kept until shortly before they end.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OAuth {
    /// Where tokens are got: `https`, or on this machine.
    pub token_url: SecureUrl,
    /// The gateway's name there.
    pub client: String,
    /// Its secret.
    pub secret: Secret,
    /// How the two are shown: `client_secret_basic` (when left out) or `client_secret_post`.
    #[serde(default)]
    pub authentication: Authentication,
    /// What the token is for, as the token server names it.
    pub scope: Option<String>,
    /// For which API, as the token server names it.
    pub audience: Option<String>,
    /// For which API, as a URI (RFC 8707).
    pub resource: Option<String>,
    /// Certificate authorities (PEM) of the token server instead of the public ones.
    pub authorities: Option<PathBuf>,
    /// The header that the token is sent in; `authorization` when left out.
    pub header: Option<Header>,
    /// What stands before it; `Bearer ` when left out.
    #[serde(default = "bearer")]
    pub prefix: String,
    /// Get a token for the user or the agent of each call (token exchange, RFC 8693), instead of one for the gateway itself.
    pub exchange: Option<Exchange>,
}

/// A secret, from a file or the environment.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Secret {
    /// The file that holds it.
    pub file: Option<PathBuf>,
    /// The environment variable that holds it; or, where there is none, the one with `_FILE` behind its name that names the file.
    pub environment: Option<String>,
}

/// How a client shows its secret.
#[derive(Debug, Clone, Copy, Default, Deserialize, JsonSchema)]
pub enum Authentication {
    /// In the header `Authorization`.
    #[default]
    #[serde(rename = "client_secret_basic")]
    Basic,
    /// In the body.
    #[serde(rename = "client_secret_post")]
    Post,
}

/// `exchange` of `[upstream.oauth]`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Exchange {
    /// What is exchanged: `principal` or `agent`, a JWT of the gateway's that says who the user or the agent is, signed with the key that signs requests; or `token`, the outside issuer's token that the agent called with.
    pub subject: Subject,
    /// Say also which agent it is (`actor_token`), in a JWT of the gateway's.
    #[serde(default)]
    pub actor: bool,
    /// The `aud` of the gateway's JWTs; `token_url` when left out.
    pub assertion_audience: Option<String>,
}

/// Whose token is got.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Subject {
    /// The user of the instruction.
    Principal,
    /// The agent.
    Agent,
    /// Whoever the agent's token is for.
    Token,
}

fn bearer() -> String {
    "Bearer ".to_owned()
}

impl OAuth {
    pub(super) fn files_mut(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        self.secret.file.iter_mut().chain(&mut self.authorities)
    }

    pub(super) fn files(&self) -> impl Iterator<Item = &PathBuf> {
        self.secret.file.iter().chain(&self.authorities)
    }

    pub(super) fn settings(&self) -> anyhow::Result<settings::Obtain> {
        let secret = secret(self.secret.file.as_deref(), self.secret.environment.as_deref())?;
        if self.client.is_empty() || secret.trim_end().is_empty() {
            bail!("`oauth` needs a `client` and its `secret`");
        }
        Ok(settings::Obtain {
            endpoint: self.token_url.0.clone(),
            authorities: self.authorities.clone(),
            client: self.client.clone(),
            secret: secret.trim_end().to_owned().into(),
            authentication: match self.authentication {
                Authentication::Basic => settings::Authentication::Basic,
                Authentication::Post => settings::Authentication::Post,
            },
            scope: self.scope.clone(),
            audience: self.audience.clone(),
            resource: self.resource.clone(),
            header: self.header.as_ref().map_or(http::header::AUTHORIZATION, |header| header.0.clone()),
            prefix: self.prefix.clone(),
            exchange: self.exchange.as_ref().map(Exchange::settings),
        })
    }
}

impl Exchange {
    fn settings(&self) -> settings::Exchange {
        settings::Exchange {
            subject: match self.subject {
                Subject::Principal => settings::Subject::Principal,
                Subject::Agent => settings::Subject::Agent,
                Subject::Token => settings::Subject::Token,
            },
            actor: self.actor,
            assertion_audience: self.assertion_audience.clone(),
        }
    }
}

/// What lets the gateway in: given, or got, not both.
pub(super) fn either(upstream: &super::Upstream) -> anyhow::Result<Option<settings::Obtain>> {
    if upstream.credential.is_some() && upstream.oauth.is_some() {
        bail!("there are both `credential` and `oauth`: which one is to be sent?");
    }
    upstream.oauth.as_ref().map(OAuth::settings).transpose().context("`oauth`")
}

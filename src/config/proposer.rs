//! `[proposer]`: the model that proposes a scope.

use std::{path::PathBuf, time::Duration};

use countersign_proxy::settings;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{upstream::Credential, values::Url};

/// `[proposer]`.
#[derive(Debug, Deserialize, JsonSchema)]
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
    #[serde(default = "super::thirty")]
    pub timeout_seconds: u64,
    /// What may be proposed for whom; all that the catalogues know when left out.
    #[serde(default)]
    pub allow: Vec<Proposable>,
}

/// `[[proposer.allow]]`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Proposable {
    /// For instructions of this host; of every one when left out.
    host: Option<String>,
    /// For this user; for every one when left out.
    principal: Option<String>,
    /// Names of actions, or `name.*`.
    actions: Vec<String>,
}

impl Proposer {
    pub(super) fn settings(&self) -> anyhow::Result<settings::Proposer> {
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

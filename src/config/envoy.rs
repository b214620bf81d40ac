//! `[ext_authz]`: Envoy asks the gateway and forwards what is allowed itself.

use std::time::Duration;

use anyhow::bail;
use countersign_authorize::catalogue::{Catalogue, Protocol};
use countersign_proxy::{envoy, settings};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{Address, Listener, Tls, Upstream};

/// `[ext_authz]`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExtAuthz {
    /// Where Envoy asks and sends its access log: `unix:/run/countersign/envoy.sock`, or an address as of the other listeners.
    pub listen: Address,
    /// Certificate chain and key, PEM; with `clients` every Envoy must show a certificate.
    pub tls: Option<Tls>,
    /// The upstreams whose calls may go this way.
    pub upstreams: Vec<String>,
    /// SHA-256 of the secret that Envoy shows as bearer token, 64 hexadecimal digits.
    pub token_sha256: Option<String>,
    /// The SPIFFE ids of which Envoy's certificate must have one.
    #[serde(default)]
    pub envoys: Vec<String>,
    /// Give Envoy the upstreams' credentials, although nobody looks for them in the answers.
    #[serde(default)]
    pub unread_answers: bool,
    /// How long Envoy's access log may take to tell how a call ended, in seconds.
    #[serde(default = "ten_minutes")]
    pub outcome_seconds: u64,
}

const fn ten_minutes() -> u64 {
    660
}

impl ExtAuthz {
    /// What the proxy is told.
    pub(super) fn settings(&self) -> anyhow::Result<envoy::Settings> {
        let certified = self.tls.as_ref().is_some_and(|tls| tls.clients.is_some());
        if !certified && !self.envoys.is_empty() {
            bail!("`envoys` names certificates: `tls` must have `clients`, the authorities of these");
        }
        if let Some(sha256) = &self.token_sha256
            && (sha256.len() != 64 || !sha256.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')))
        {
            bail!("`token_sha256` is not 64 lower-case hexadecimal digits");
        }
        if matches!(self.listen.0, settings::Address::Tcp(_)) && !certified && self.token_sha256.is_none() {
            bail!(
                "whoever reaches `{}` could ask and could say how calls ended: set `token_sha256`, or `tls` with `clients`, or listen on `unix:…`",
                self.listen.0
            );
        }
        if self.outcome_seconds == 0 {
            bail!("`outcome_seconds` must be more than 0");
        }
        Ok(envoy::Settings {
            listener: Listener { listen: Address(self.listen.0.clone()), tls: self.tls.clone() }.settings(),
            upstreams: self.upstreams.clone(),
            token_sha256: self.token_sha256.clone(),
            envoys: self.envoys.clone(),
            patience: Duration::from_secs(self.outcome_seconds),
        })
    }

    /// Whether what the gateway would do with the answers of these upstreams can be done without.
    pub(super) fn fits(&self, upstreams: &[Upstream], catalogues: &[(Catalogue, String)]) -> anyhow::Result<()> {
        for name in &self.upstreams {
            let known = upstreams.iter().zip(catalogues).find(|(upstream, _)| upstream.name == *name);
            let Some((upstream, (catalogue, _))) = known else {
                bail!("`[ext_authz]` names the upstream `{name}`, and there is no such `[[upstream]]`");
            };
            let why = match catalogue.protocol() {
                Protocol::Mcp => {
                    Some("speaks MCP, and what a grant does not have must be cut from the server's answers")
                }
                Protocol::Model => Some("is a model, and the calls that it proposes must be read from its answers"),
                Protocol::Http if upstream.receipts.as_ref().is_some_and(|receipts| receipts.required) => {
                    Some("must give a receipt before its answer passes")
                }
                Protocol::Http if upstream.credential.is_some() && !self.unread_answers => Some(
                    "has a credential that must be looked for in its answers (`unread_answers = true` in `[ext_authz]` does without)",
                ),
                Protocol::Http => None,
            };
            if let Some(why) = why {
                bail!("`[ext_authz]`: the upstream `{name}` {why}; through Envoy the gateway does not see them");
            }
        }
        Ok(())
    }
}

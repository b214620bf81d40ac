//! `[gateway]`, `[api]` and `[[agent]]`: where and how others come in.

use std::path::PathBuf;

use countersign_proxy::{api, settings};
use schemars::JsonSchema;
use serde::Deserialize;

use super::values::{Address, Digest, Url};

/// A listener.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Listener {
    /// The address: `127.0.0.1:8180` (port 0 takes a free one), `unix:/run/countersign/gateway.sock`, or `systemd:gateway` for a socket that systemd passes.
    pub listen: Address,
    /// Certificate chain and key, PEM.
    pub tls: Option<Tls>,
}

/// TLS of a listener.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
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
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Agent {
    /// The agent, as instructions name it.
    pub party: String,
    /// The URI in its certificate, such as `spiffe://bank.example/agents/assistant`.
    pub spiffe: String,
}

/// `[[credential]]`: who may talk to the API. `countersign keys new ROLE --party NAME` makes one.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Caller {
    /// What it opens.
    pub role: Role,
    /// Whose it is.
    pub party: String,
    /// SHA-256 of the secret, 64 lower-case hexadecimal digits.
    pub sha256: Digest,
}

/// What somebody may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(description = "")]
pub enum Role {
    Host,
    Approver,
    Operator,
    Investigator,
}

impl Caller {
    pub(super) fn credential(&self) -> api::Credential {
        let role = match self.role {
            Role::Host => api::Role::Host,
            Role::Approver => api::Role::Approver,
            Role::Operator => api::Role::Operator,
            Role::Investigator => api::Role::Investigator,
        };
        api::Credential { role, party: self.party.clone(), sha256: self.sha256.0.clone() }
    }
}

/// `[proof]`: proof of possession of the key that a grant is bound to (RFC 9449, DPoP).
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Proof {
    /// Refuse tokens that are bound to no key, so that a stolen one is always useless.
    pub required: bool,
    /// Ask for a nonce in each proof, which the gateway changes every five minutes.
    pub nonce: bool,
    /// The origin by which agents know the gateway, such as `https://gateway.example`, where something in front of it ends TLS; else as the request says.
    pub url: Option<Url>,
}

impl Proof {
    pub(super) fn settings(&self) -> settings::Proofs {
        settings::Proofs { required: self.required, nonce: self.nonce, url: self.url.as_ref().map(|url| url.0.clone()) }
    }
}

impl Tls {
    /// The files that it names.
    pub(super) fn files_mut(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        [&mut self.certificates, &mut self.key].into_iter().chain(&mut self.clients)
    }

    /// The same.
    pub(super) fn files(&self) -> impl Iterator<Item = &PathBuf> {
        [&self.certificates, &self.key].into_iter().chain(&self.clients)
    }
}

impl Listener {
    pub(super) fn settings(&self) -> settings::Listener {
        let tls = self.tls.as_ref().map(|tls| settings::ServerTls {
            certificates: tls.certificates.clone(),
            key: tls.key.clone(),
            clients: tls.clients.clone(),
            tls12: tls.tls12,
        });
        settings::Listener { address: self.listen.0.clone(), tls }
    }
}

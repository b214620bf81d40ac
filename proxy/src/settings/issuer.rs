//! Outside issuers of tokens.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use http::Uri;
pub use jsonwebtoken::Algorithm;
use serde_json::json;

/// An outside issuer of tokens.
#[derive(Debug, Clone)]
pub struct Issuer {
    /// Its name, as its tokens have it in `iss`.
    pub issuer: String,
    /// The name of this gateway in `aud`.
    pub audience: String,
    /// Where its keys are; asked of itself (OpenID Connect Discovery) when left out.
    pub keys: Option<Uri>,
    /// Certificate authorities (PEM) instead of the public ones.
    pub authorities: Option<PathBuf>,
    /// How its tokens may be signed; never with a secret that both know.
    pub algorithms: Vec<Algorithm>,
    /// Whether only access tokens that say so (`typ` `at+jwt`, RFC 9068) are taken.
    pub access_tokens_only: bool,
    /// Which claim says the agent.
    pub agent_claim: String,
    /// The agent by what stands in that claim; when it is empty, the claim is the agent's name itself.
    pub agents: BTreeMap<String, String>,
    /// Which claim says the user, who must be that of the instruction.
    pub principal_claim: Option<String>,
    /// Which claim names the grant, as `<instruction>/<grant>`.
    pub grant_claim: Option<String>,
    /// How far its clock may be from the gateway's.
    pub skew: Duration,
    /// How long its keys are good before they must be fetched again.
    pub keep: Duration,
    /// How long they hold beyond that while it cannot be reached.
    pub stale: Duration,
}

impl Issuer {
    /// All of it as text, as the ledger keeps it.
    pub fn text(&self) -> String {
        let named = |alg: &Algorithm| ALGORITHMS.iter().find(|(_, known)| known == alg).map(|(name, _)| *name);
        let text = json!({
            "issuer": self.issuer,
            "audience": self.audience,
            "jwks_url": self.keys.as_ref().map(Uri::to_string),
            "authorities": self.authorities,
            "algorithms": self.algorithms.iter().filter_map(named).collect::<Vec<_>>(),
            "access_tokens_only": self.access_tokens_only,
            "agent_claim": self.agent_claim,
            "agents": self.agents,
            "principal_claim": self.principal_claim,
            "grant_claim": self.grant_claim,
            "skew_seconds": self.skew.as_secs(),
            "keep_seconds": self.keep.as_secs(),
            "stale_seconds": self.stale.as_secs(),
        });
        format!("{text:#}")
    }
}

/// The algorithms by which an issuer may sign, by their names.
pub const ALGORITHMS: [(&str, Algorithm); 9] = [
    ("EdDSA", Algorithm::EdDSA),
    ("ES256", Algorithm::ES256),
    ("ES384", Algorithm::ES384),
    ("PS256", Algorithm::PS256),
    ("PS384", Algorithm::PS384),
    ("PS512", Algorithm::PS512),
    ("RS256", Algorithm::RS256),
    ("RS384", Algorithm::RS384),
    ("RS512", Algorithm::RS512),
];

/// Whether what is said there is not for others to hear or to change: `https`, or this machine itself.
pub fn is_private(url: &Uri) -> bool {
    let host = url.host().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    match url.scheme_str() {
        Some("https") => true,
        Some("http") => host == "localhost" || address.is_ok_and(|address| address.is_loopback()),
        _ => false,
    }
}

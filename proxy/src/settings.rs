//! What the proxy is told: listeners, upstreams, limits, times. Values are checked where they are made; nothing here reads a file
//! but certificates and keys at start.

mod credential;
mod issuer;
mod limits;
mod listener;
mod obtain;

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use countersign_ledger::statement::Jwk;
use countersign_receipt::Signer;
use http::{HeaderName, Uri};

pub use self::{
    credential::{Credential, CredentialError, MIN_SECRET_CHARS},
    issuer::{ALGORITHMS, Algorithm, Issuer, is_private},
    limits::{Breaker, Limits, Quota, Retries, Timeouts},
    listener::{Address, InTheClear, LISTENERS, Listener, ServerTls},
    obtain::{Authentication, Exchange, Obtain, Subject},
};
use crate::{envoy, observe::Telemetry};

/// Everything [`crate::serve`] needs to know beside the gateway's state.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where agents call.
    pub gateway: Listener,
    /// Where host, agent, approver, operator and investigator talk to Countersign itself.
    pub api: Listener,
    /// Where Envoy asks, for calls that it forwards itself.
    pub envoy: Option<envoy::Settings>,
    /// Where approvers answer with a passkey; without it, with a key from the command line only.
    pub approvals: Option<Approvals>,
    /// The APIs behind the gateway.
    pub upstreams: Vec<Upstream>,
    /// The SPIFFE id that each agent's client certificate has; an agent that is not here has its id as its name.
    pub agents: BTreeMap<String, String>,
    /// What agents prove of the key that their grant is bound to.
    pub proofs: Proofs,
    /// Whose tokens say which agent somebody is, beside the gateway's own.
    pub issuers: Vec<Issuer>,
    /// The model that proposes a scope where the host gives none.
    pub proposer: Option<Proposer>,
    /// What bounds a request and an answer.
    pub limits: Limits,
    /// How long calls in flight may take to end at shutdown; what is left then is cut and recorded.
    pub drain: Duration,
    /// What requests to APIs are signed with, where an upstream wants that.
    pub signing: Option<Signing>,
    /// How often a heartbeat says "so many calls, none left out".
    pub heartbeat: Duration,
    /// Where metrics and traces go.
    pub telemetry: Telemetry,
}

/// How often a heartbeat is written unless something else is said.
pub const HEARTBEAT: Duration = Duration::from_secs(60);

/// What requests to APIs are signed with.
#[derive(Debug, Clone)]
pub struct Signing {
    /// The key that signs now.
    pub signer: Arc<Signer>,
    /// Public keys that are listed beside it: those that signed before.
    pub others: Vec<Jwk>,
    /// The origin below which the keys are listed, such as `https://gateway.example`; the API's listener when left out.
    pub directory: Option<String>,
}

impl Signing {
    /// Every public key that is listed.
    pub fn listed(&self) -> Vec<Jwk> {
        let signer = self.signer.jwk();
        std::iter::once(signer).chain(self.others.iter().filter(|other| *other != signer)).cloned().collect()
    }
}

/// What is known of an API that gives receipts.
#[derive(Debug, Clone, PartialEq)]
pub struct Receipts {
    /// Whose receipts they are: a party's id.
    pub party: String,
    /// Its keys.
    pub keys: ReceiptKeys,
    /// Whether an answer without a receipt that fits is kept from the agent.
    pub required: bool,
}

/// Where the keys of an API come from. They are registered in the ledger before they count.
#[derive(Debug, Clone, PartialEq)]
pub enum ReceiptKeys {
    /// Given with the configuration.
    Pinned(Vec<Jwk>),
    /// A list that is fetched and looked at again: a JWK set or an HTTP signature directory.
    Listed(Uri),
}

impl Settings {
    /// Both listeners on free ports of the loopback interface, and nothing special about the rest.
    pub fn new(upstreams: Vec<Upstream>) -> Settings {
        Settings {
            gateway: Listener::loopback(),
            api: Listener::loopback(),
            envoy: None,
            approvals: None,
            upstreams,
            agents: BTreeMap::new(),
            proofs: Proofs::default(),
            issuers: Vec::new(),
            proposer: None,
            limits: Limits::default(),
            drain: Duration::from_secs(5),
            signing: None,
            heartbeat: HEARTBEAT,
            telemetry: Telemetry::default(),
        }
    }

    /// The listeners to which secrets come over the network in the clear, as far as their addresses are said here.
    pub fn in_the_clear(&self) -> Vec<InTheClear> {
        let listeners = [Some(&self.gateway), Some(&self.api), self.envoy.as_ref().map(|envoy| &envoy.listener)];
        let said = LISTENERS.into_iter().zip(listeners).filter_map(|(name, listener)| match listener?.address {
            Address::Tcp(address) => InTheClear::of(name, address, listener?.tls.is_some()),
            Address::Unix(_) | Address::Systemd(_) => None,
        });
        said.collect()
    }
}

/// What agents prove of the key that their grant is bound to (RFC 9449).
#[derive(Debug, Clone, Default)]
pub struct Proofs {
    /// Whether tokens that are bound to no key are refused.
    pub required: bool,
    /// Whether a proof must have a nonce that the gateway gave.
    pub nonce: bool,
    /// Scheme and authority by which agents know the gateway, where it cannot see them: behind something that ends TLS.
    pub url: Option<Uri>,
}

/// The approvers' pages, which the API's listener serves, as a browser finds them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approvals {
    origin: String,
    rp_id: String,
}

/// Why pages cannot be at an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ApprovalsError {
    /// No origin.
    #[error(
        "the origin must be `https://` and a host in lower case, with a port if it is not 443, and nothing behind it"
    )]
    Origin,
    /// No TLS.
    #[error("passkeys work with `https://` only, and with `http://localhost`")]
    Insecure,
    /// Of another host.
    #[error("the relying party's id must be the origin's host, or a domain that it is part of")]
    RelyingParty,
}

impl Approvals {
    /// Pages at an origin such as `https://approve.bank.example`. The relying party's id is its host, unless it is said.
    ///
    /// # Errors
    /// [`ApprovalsError`].
    pub fn new(origin: &str, rp_id: Option<&str>) -> Result<Approvals, ApprovalsError> {
        let uri: Uri = origin.parse().map_err(|_| ApprovalsError::Origin)?;
        let host = uri.host().ok_or(ApprovalsError::Origin)?;
        let scheme = uri.scheme_str().ok_or(ApprovalsError::Origin)?;
        // As a browser says it: no default port, no path, no capitals.
        let port = uri.port_u16().filter(|port| *port != 443 || scheme != "https");
        let port = port.filter(|port| *port != 80 || scheme != "http").map_or(String::new(), |port| format!(":{port}"));
        if format!("{scheme}://{}{port}", host.to_ascii_lowercase()) != origin {
            return Err(ApprovalsError::Origin);
        }
        if scheme != "https" && (scheme, host) != ("http", "localhost") {
            return Err(ApprovalsError::Insecure);
        }
        let rp_id = rp_id.unwrap_or(host);
        let below = host.strip_suffix(rp_id).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
        if !below || rp_id.is_empty() || host.parse::<std::net::IpAddr>().is_ok() || host.starts_with('[') {
            return Err(ApprovalsError::RelyingParty);
        }
        Ok(Approvals { origin: origin.to_owned(), rp_id: rp_id.to_owned() })
    }

    /// The origin, as a browser says it.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The relying party's id.
    pub fn rp_id(&self) -> &str {
        &self.rp_id
    }

    /// Whether it is behind TLS.
    pub const fn is_secure(&self) -> bool {
        matches!(self.origin.as_bytes(), [b'h', b't', b't', b'p', b's', ..])
    }
}

/// What the gateway shows an API for itself, PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The chain, leaf first.
    pub certificates: PathBuf,
    /// The key.
    pub key: PathBuf,
}

/// Which HTTP an upstream speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Http {
    /// What TLS negotiates (ALPN); HTTP/1.1 in the clear.
    #[default]
    Auto,
    /// HTTP/1.1 only.
    One,
    /// HTTP/2 only, in the clear with prior knowledge.
    Two,
}

/// An API behind the gateway.
#[derive(Debug, Clone, PartialEq)]
pub struct Upstream {
    /// Its name, as catalogue and records say it.
    pub name: String,
    /// The path prefix agents use: `/<name>`, or empty when it is the only upstream.
    pub prefix: String,
    /// Scheme, authority and base path.
    pub url: Uri,
    /// What the gateway adds so that the API lets the call in. The agent never sees it.
    pub credential: Option<Credential>,
    /// How the gateway gets it, where it is not given.
    pub obtain: Option<Obtain>,
    /// Certificate authorities (PEM) instead of the public ones.
    pub authorities: Option<PathBuf>,
    /// The certificate that the gateway shows it.
    pub identity: Option<Identity>,
    /// Which HTTP it speaks.
    pub http: Http,
    /// How long it may take.
    pub timeouts: Timeouts,
    /// Records what the verdict would have been and forwards anyway. Never unrecorded, never without a valid token.
    pub shadow: bool,
    /// Up to how many bytes of a response are kept in the vault; 0 keeps none.
    pub keep_response_bytes: usize,
    /// Whether `Set-Cookie` reaches the agent. A session cookie is a credential, hence not by default.
    pub pass_cookies: bool,
    /// Request headers that pass beside the usual ones and those the catalogue declares.
    pub pass_headers: Vec<HeaderName>,
    /// When a request is sent again.
    pub retries: Retries,
    /// When it is left alone because it fails.
    pub breaker: Option<Breaker>,
    /// Whether the gateway signs what it sends.
    pub sign: bool,
    /// What is known of its receipts, if it gives any.
    pub receipts: Option<Receipts>,
}

impl Upstream {
    /// An API with nothing special about it: at the root, no credential, its own pace.
    pub fn new(name: &str, url: Uri) -> Upstream {
        Upstream {
            name: name.to_owned(),
            prefix: String::new(),
            url,
            credential: None,
            obtain: None,
            authorities: None,
            identity: None,
            http: Http::default(),
            timeouts: Timeouts::default(),
            shadow: false,
            keep_response_bytes: 0,
            pass_cookies: false,
            pass_headers: Vec::new(),
            retries: Retries::default(),
            breaker: None,
            sign: false,
            receipts: None,
        }
    }
}

impl Upstream {
    /// The header that lets the gateway in.
    pub(crate) fn credential_header(&self) -> Option<&HeaderName> {
        let obtained = self.obtain.as_ref().map(|obtain| &obtain.header);
        self.credential.as_ref().map(Credential::header).or(obtained)
    }

    /// Whether the gateway signs something for it.
    pub fn needs_signing(&self) -> bool {
        let exchange = self.obtain.as_ref().and_then(|obtain| obtain.exchange.as_ref());
        self.sign || exchange.is_some_and(|exchange| exchange.actor || exchange.subject != Subject::Token)
    }
}

/// A model that proposes scopes, behind an OpenAI-compatible chat endpoint.
#[derive(Debug, Clone)]
pub struct Proposer {
    /// The endpoint: its whole URL, credential and authorities.
    pub upstream: Upstream,
    /// The model to ask for.
    pub model: String,
    /// Whether it sees what the user attached.
    pub attachments: bool,
    /// How long it may take.
    pub timeout: Duration,
    /// What may be proposed for whom. Empty: all that the catalogues know.
    pub allow: Vec<Proposable>,
}

/// What may be proposed.
#[derive(Debug, Clone)]
pub struct Proposable {
    /// For this host; for every one when left out.
    pub host: Option<String>,
    /// For this principal; for every one when left out.
    pub principal: Option<String>,
    /// Names of actions, or `name.*`.
    pub actions: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_at_an_origin_as_a_browser_says_it() {
        let new = |origin, rp_id| Approvals::new(origin, rp_id);
        let pages = new("https://approve.bank.example", None).unwrap();
        assert_eq!((pages.rp_id(), pages.is_secure()), ("approve.bank.example", true));
        assert_eq!(new("https://approve.bank.example:8443", Some("bank.example")).unwrap().rp_id(), "bank.example");
        assert!(!new("http://localhost:8181", None).unwrap().is_secure());
        for origin in
            ["https://a.example/", "https://A.example", "https://a.example:443", "a.example", "https://u@a.example"]
        {
            assert_eq!(new(origin, None), Err(ApprovalsError::Origin), "{origin}");
        }
        for origin in ["http://a.example", "http://127.0.0.1:1", "ftp://localhost"] {
            assert_eq!(new(origin, None), Err(ApprovalsError::Insecure), "{origin}");
        }
        assert_eq!(new("https://10.0.0.1", None), Err(ApprovalsError::RelyingParty));
        for rp_id in ["evil.example", "ank.example", "", ".bank.example", "a.bank.example"] {
            assert_eq!(new("https://bank.example", Some(rp_id)), Err(ApprovalsError::RelyingParty), "{rp_id}");
        }
    }
}

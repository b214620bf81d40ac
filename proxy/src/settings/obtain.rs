//! Credentials that the gateway gets for itself from a token server.

use std::path::PathBuf;

use http::{HeaderName, Uri};
use zeroize::Zeroizing;

/// How the gateway gets what lets it into an API (RFC 6749 §4.4, RFC 8693).
#[derive(Clone, PartialEq)]
pub struct Obtain {
    /// Where.
    pub endpoint: Uri,
    /// Certificate authorities (PEM) of the token server instead of the public ones.
    pub authorities: Option<PathBuf>,
    /// As whom.
    pub client: String,
    /// With what secret.
    pub secret: Zeroizing<String>,
    /// How the two are shown.
    pub authentication: Authentication,
    /// What for, as the token server names it.
    pub scope: Option<String>,
    /// For which API, as the token server names it.
    pub audience: Option<String>,
    /// For which API, as a URI (RFC 8707).
    pub resource: Option<String>,
    /// The header that the token is sent in.
    pub header: HeaderName,
    /// What stands before it, such as `Bearer `.
    pub prefix: String,
    /// For whom, where it is not for the gateway itself.
    pub exchange: Option<Exchange>,
}

/// How a client authenticates itself (RFC 6749 §2.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Authentication {
    /// `client_secret_basic`.
    #[default]
    Basic,
    /// `client_secret_post`.
    Post,
}

/// For whom a token is got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exchange {
    /// What is exchanged.
    pub subject: Subject,
    /// Whether the agent is named beside it (`actor_token`).
    pub actor: bool,
    /// The `aud` of what the gateway states; the token server's address when left out.
    pub assertion_audience: Option<String>,
}

/// What is exchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// The gateway's statement of who the user is.
    Principal,
    /// The gateway's statement of who the agent is.
    Agent,
    /// The outside issuer's token that the agent called with.
    Token,
}

impl std::fmt::Debug for Obtain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Obtain").field("endpoint", &self.endpoint).field("client", &self.client).finish_non_exhaustive()
    }
}

//! What can be changed while the gateway runs: catalogues, policies, upstreams and the API's credentials. No request is dropped: what is under way
//! goes on with what it began with.

use std::sync::Arc;

use countersign_authorize::{catalogue::Catalogue, policy::Policies};

use crate::{
    api::{Credential, Credentials},
    receipts,
    server::{ListenError, Tls},
    settings,
    stack::Context,
    state::StateError,
    upstream::{Upstream, UpstreamError},
};

/// Everything that is to be in force from now on.
pub struct Fresh {
    /// A catalogue per upstream, with its exact text.
    pub catalogues: Vec<(Catalogue, String)>,
    /// The organisation's policies, checked against these catalogues.
    pub policies: Option<Policies>,
    /// The APIs.
    pub upstreams: Vec<settings::Upstream>,
    /// Who may talk to the API.
    pub credentials: Vec<Credential>,
}

/// Why nothing was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReloadError {
    /// An upstream.
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
    /// A listener's certificate.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The keys of an API that gives receipts.
    #[error(transparent)]
    Keys(#[from] receipts::KeysError),
    /// The ledger does not have what changed, so it is not in force.
    #[error("the change cannot be recorded: {0}")]
    State(#[from] StateError),
}

/// Changes a running gateway.
#[derive(Clone)]
pub struct Reload {
    context: Arc<Context>,
    credentials: Credentials,
    certificates: Vec<Arc<Tls>>,
}

impl Reload {
    pub(crate) const fn new(context: Arc<Context>, credentials: Credentials, certificates: Vec<Arc<Tls>>) -> Reload {
        Reload { context, credentials, certificates }
    }

    /// Reads the listeners' certificates, keys and client authorities anew; connections from now on have them.
    ///
    /// # Errors
    /// [`ListenError`]: that listener keeps what it had.
    pub fn certificates(&self) -> Result<(), ListenError> {
        self.certificates.iter().try_for_each(|tls| tls.reload())
    }

    /// Puts all of it in force. Gives which catalogues and policies changed.
    ///
    /// # Errors
    /// [`ReloadError`]; catalogues, policies, upstreams and credentials are then as they were.
    pub async fn put(&self, fresh: Fresh) -> Result<Vec<String>, ReloadError> {
        let now = self.context.upstreams.all();
        let mut upstreams = Vec::new();
        for settings in fresh.upstreams {
            // One that is as it was keeps its connections.
            let same = now.iter().find(|upstream| upstream.settings == settings).cloned();
            upstreams.push(same.map_or_else(|| Upstream::new(settings).map(Arc::new), Ok)?);
        }
        self.certificates()?;
        receipts::begin(&self.context.gateway, &upstreams).await?;
        let changed = self.context.gateway.replace_rules(fresh.catalogues, fresh.policies).await?;
        self.context.upstreams.replace(upstreams);
        self.credentials.replace(fresh.credentials);
        Ok(changed)
    }

    /// Notes, for the operator to see, that a change was refused before it came here.
    pub fn refuse(&self, what: impl Into<String>) {
        self.context.gateway.refuse_rules(what);
    }
}

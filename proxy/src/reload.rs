//! What can be changed while the gateway runs: catalogues, policies, certificates, upstreams, outside issuers and the API's credentials. No request is dropped: what is
//! under way goes on with what it began with.

use std::{collections::BTreeMap, sync::Arc};

use countersign_authorize::{catalogue::Catalogue, policy::Policies};

use crate::{
    api::{Credential, Credentials},
    receipts,
    server::{ListenError, Loaded, Tls},
    settings::{self, LISTENERS},
    stack::Context,
    state::{CERTIFICATES, ISSUER, StateError},
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
    /// The outside issuers that are believed.
    pub issuers: Vec<settings::Issuer>,
    /// Who may talk to the API.
    pub credentials: Vec<Credential>,
    /// Certificates of the gateway's listener, of the API's and of that at which Envoy asks, for those that have TLS.
    pub tls: [Option<settings::ServerTls>; 3],
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
    /// Of the same listeners.
    tls: [Option<Arc<Tls>>; 3],
}

impl Reload {
    pub(crate) const fn new(context: Arc<Context>, credentials: Credentials, tls: [Option<Arc<Tls>>; 3]) -> Reload {
        Reload { context, credentials, tls }
    }

    /// Records the certificates and the outside issuers that are in force from the beginning.
    pub(crate) async fn begin(&self) -> Result<(), StateError> {
        let loaded = self.tls.each_ref().map(|tls| tls.as_ref().map(|tls| tls.loaded()));
        let upstreams = self.context.upstreams.all();
        let gateway = &self.context.gateway;
        gateway.replace_texts(CERTIFICATES, &certificates(&loaded, &upstreams)).await?;
        gateway.replace_texts(ISSUER, &self.context.issuers.texts()).await.map(|_| ())
    }

    /// Puts all of it in force. Gives which catalogues, policies, certificates and issuers changed.
    ///
    /// # Errors
    /// [`ReloadError`]; all is then as it was.
    pub async fn put(&self, fresh: Fresh) -> Result<Vec<String>, ReloadError> {
        let now = self.context.upstreams.all();
        let mut upstreams = Vec::new();
        for settings in fresh.upstreams {
            // One that is as it was keeps its connections.
            upstreams.push(Upstream::kept_or_new(&now, settings)?);
        }
        let mut loaded = [None, None, None];
        for ((loaded, tls), settings) in loaded.iter_mut().zip(&self.tls).zip(&fresh.tls) {
            *loaded = tls.as_ref().map(|tls| tls.read(settings.as_ref())).transpose()?;
        }
        // Everything could be read: from here on only the ledger can say no.
        receipts::begin(&self.context.gateway, &upstreams).await?;
        let gateway = &self.context.gateway;
        let mut changed = gateway.replace_texts(CERTIFICATES, &certificates(&loaded, &upstreams)).await?;
        let issuers = fresh.issuers.iter().map(|issuer| (issuer.issuer.clone(), issuer.text())).collect();
        changed.extend(gateway.replace_texts(ISSUER, &issuers).await?);
        changed.extend(self.context.gateway.replace_rules(fresh.catalogues, fresh.policies).await?);
        for (tls, loaded) in self.tls.iter().zip(loaded) {
            if let Some((tls, loaded)) = tls.as_ref().zip(loaded) {
                tls.put(loaded);
            }
        }
        self.context.upstreams.replace(upstreams);
        self.context.issuers.replace(fresh.issuers);
        self.credentials.replace(fresh.credentials);
        self.context.gateway.observe().count(|told| told.reload("applied"));
        Ok(changed)
    }

    /// Notes, for the operator to see, that a change was refused before it came here.
    pub fn refuse(&self, what: impl Into<String>) {
        self.context.gateway.observe().count(|told| told.reload("refused"));
        self.context.gateway.refuse_rules(what);
    }
}

/// Every certificate that is shown or believed, by name: `gateway/certificates`, `upstream/bank/authorities`.
fn certificates(listeners: &[Option<Loaded>; 3], upstreams: &[Arc<Upstream>]) -> BTreeMap<String, String> {
    let listeners = LISTENERS.iter().zip(listeners).flat_map(|(name, loaded)| {
        let public = loaded.iter().flat_map(Loaded::public);
        public.map(move |(what, pem)| (format!("{name}/{what}"), pem.clone()))
    });
    let upstreams = upstreams.iter().flat_map(|upstream| {
        let name = &upstream.settings.name;
        upstream.certificates().map(move |(what, pem)| (format!("upstream/{name}/{what}"), pem.to_owned()))
    });
    listeners.chain(upstreams).collect()
}

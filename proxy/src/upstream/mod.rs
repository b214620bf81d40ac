//! The APIs behind the gateway: one pooled client each, which talks to that API's host and nobody else.

pub(crate) mod access;
mod breaker;
mod connect;
pub mod echo;
pub(crate) mod fetch;
mod tls;
mod whole;

use std::{io, path::PathBuf, sync::Arc, time::Duration};

use http::{Request, Response, Uri, uri::PathAndQuery};
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::{Client, connect::capture_connection},
    rt::{TokioExecutor, TokioTimer},
};
use rustls::pki_types::ServerName;
use tokio::sync::watch;
use tokio_rustls::TlsConnector;

pub(crate) use self::breaker::LeftAlone;
pub use self::connect::Peer;
use self::{
    access::Access,
    breaker::Breaker,
    connect::{ConnectTimeout, Connector, Target},
    echo::Echo,
    tls::Files,
};
use crate::{Body, settings};

/// How many connections to one API stay open idle.
const IDLE_CONNECTIONS: usize = 256;

/// How long an idle connection is kept. Less than servers usually do, so that a call rarely meets a closed one.
const IDLE_TIME: Duration = Duration::from_secs(30);

/// An API behind the gateway, ready to be called.
pub struct Upstream {
    /// What was configured.
    pub settings: settings::Upstream,
    tls: Files,
    pub(crate) breaker: Breaker,
    client: Client<Connector, Body>,
    echo: Option<Arc<Echo>>,
    access: Option<Arc<Access>>,
}

/// The APIs as they are now.
pub struct Upstreams(watch::Sender<Arc<Vec<Arc<Upstream>>>>);

impl Upstreams {
    /// These.
    pub fn new(upstreams: Vec<Arc<Upstream>>) -> Upstreams {
        Upstreams(watch::Sender::new(Arc::new(upstreams)))
    }

    /// All of them.
    pub fn all(&self) -> Arc<Vec<Arc<Upstream>>> {
        self.0.borrow().clone()
    }

    /// The one of that name.
    pub fn named(&self, name: &str) -> Option<Arc<Upstream>> {
        self.all().iter().find(|upstream| upstream.settings.name == name).cloned()
    }

    /// Others from now on. What is under way goes on with what it began with.
    pub(crate) fn replace(&self, upstreams: Vec<Arc<Upstream>>) {
        self.0.send_replace(Arc::new(upstreams));
    }

    /// Tells when they are replaced.
    pub(crate) fn watch(&self) -> watch::Receiver<Arc<Vec<Arc<Upstream>>>> {
        self.0.subscribe()
    }
}

/// Why an upstream cannot be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UpstreamError {
    /// Not `http://host[:port][/base]` or `https://…`.
    #[error(
        "upstream `{name}`: `{url}` is not usable; write `https://host`, perhaps with port and base path, without query"
    )]
    Url {
        /// The upstream.
        name: String,
        /// What was configured.
        url: Uri,
    },
    /// Certificates or a key cannot be read.
    #[error("upstream `{name}`: `{path}`: {what}")]
    File {
        /// The upstream.
        name: String,
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// The TLS library refuses.
    #[error("upstream `{name}`: {source}")]
    Tls {
        /// The upstream.
        name: String,
        /// Why.
        source: rustls::Error,
    },
}

/// Why there is no answer, and whether the request may have arrived.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// No connection: nothing was sent.
    #[error("{0}")]
    Unreachable(String),
    /// No connection in time: nothing was sent.
    #[error("no connection within {0:?}")]
    ConnectTimeout(Duration),
    /// The connection broke, or what came is no HTTP.
    #[error("{0}")]
    Failed(String),
}

impl Upstream {
    /// Sets an upstream up; connects to nobody yet.
    ///
    /// # Errors
    /// [`UpstreamError`].
    pub fn new(settings: settings::Upstream) -> Result<Upstream, UpstreamError> {
        let tls = Files::read(&settings)?;
        Upstream::with(settings, tls)
    }

    /// The one of these that is as `settings` and the files that they name say, with its connections; else one that is set up anew.
    ///
    /// # Errors
    /// [`UpstreamError`].
    pub(crate) fn kept_or_new(
        now: &[Arc<Upstream>],
        settings: settings::Upstream,
    ) -> Result<Arc<Upstream>, UpstreamError> {
        let tls = Files::read(&settings)?;
        match now.iter().find(|upstream| upstream.settings == settings && upstream.tls.are_as(&tls)) {
            Some(same) => Ok(same.clone()),
            None => Upstream::with(settings, tls).map(Arc::new),
        }
    }

    /// The certificates that the gateway shows this API and those by which it knows it, PEM, each with what it is.
    pub(crate) fn certificates(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.tls.public()
    }

    fn with(settings: settings::Upstream, tls: Files) -> Result<Upstream, UpstreamError> {
        let target = target(&settings, &tls)?;
        let mut builder = Client::builder(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIME)
            .pool_max_idle_per_host(IDLE_CONNECTIONS)
            .http2_only(settings.http == settings::Http::Two);
        let echo = settings.credential.as_ref().map(|credential| Arc::new(Echo::new(credential.secret())));
        let client = builder.build(Connector::new(target));
        let breaker = Breaker::new(settings.breaker);
        let access = settings.obtain.clone().map(|obtain| Access::new(&settings.name, obtain)).transpose()?;
        Ok(Upstream { settings, tls, breaker, client, echo, access })
    }

    /// What gets this upstream's credential, where it is not given.
    pub(crate) const fn access(&self) -> Option<&Arc<Access>> {
        self.access.as_ref()
    }

    /// What looks for this upstream's credential in its answers.
    pub fn echo(&self) -> Option<Arc<Echo>> {
        self.echo.clone()
    }

    /// The URI of a target behind the configured base path; without a target, the configured URL as it is.
    pub fn uri(&self, target: &str) -> Result<Uri, http::Error> {
        if target.is_empty() {
            return Ok(self.settings.url.clone());
        }
        let mut parts = self.settings.url.clone().into_parts();
        let base = self.settings.url.path().trim_end_matches('/');
        parts.path_and_query = Some(format!("{base}{target}").parse::<PathAndQuery>()?);
        Ok(Uri::from_parts(parts)?)
    }

    /// Sends a request. `connected` hears who is at the other end as soon as that is known; until then nothing was sent.
    ///
    /// # Errors
    /// [`CallError`].
    pub(crate) async fn call(
        &self,
        mut request: Request<Body>,
        connected: impl Fn(&Peer),
    ) -> Result<Response<Incoming>, CallError> {
        let mut capture = capture_connection(&mut request);
        let mut answer = std::pin::pin!(self.client.request(request));
        let known = async {
            let metadata = capture.wait_for_connection_metadata().await;
            peer(metadata.as_ref())
        };
        let answer = tokio::select! {
            biased;
            peer = known => {
                if let Some(peer) = peer {
                    connected(&peer);
                }
                answer.await
            }
            answer = &mut answer => {
                answer
            }
        };
        if let Some(peer) = peer(capture.connection_metadata().as_ref()) {
            connected(&peer);
        }
        answer.map_err(|error| {
            let timeout = causes(&error).any(is_connect_timeout);
            match error.is_connect() {
                true if timeout => CallError::ConnectTimeout(self.settings.timeouts.connect),
                true => CallError::Unreachable(deepest(&error)),
                false => CallError::Failed(deepest(&error)),
            }
        })
    }
}

fn peer(connected: Option<&hyper_util::client::legacy::connect::Connected>) -> Option<Peer> {
    let mut extensions = http::Extensions::new();
    connected?.get_extras(&mut extensions);
    extensions.remove()
}

fn is_connect_timeout(cause: &(dyn std::error::Error + 'static)) -> bool {
    let inner = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    inner.is_some_and(|inner| inner.is::<ConnectTimeout>())
}

fn causes<'e>(
    error: &'e (dyn std::error::Error + 'static),
) -> impl Iterator<Item = &'e (dyn std::error::Error + 'static)> {
    let mut next = Some(error);
    std::iter::from_fn(move || {
        let error = next?;
        next = error.source();
        Some(error)
    })
}

/// The last cause says what happened; those above it say only that something did.
pub(crate) fn deepest(error: &(dyn std::error::Error + 'static)) -> String {
    causes(error).last().map_or_else(String::new, ToString::to_string)
}

fn target(settings: &settings::Upstream, files: &Files) -> Result<Target, UpstreamError> {
    let bad = || UpstreamError::Url { name: settings.name.clone(), url: settings.url.clone() };
    let url = &settings.url;
    let secure = match url.scheme_str() {
        Some("https") => true,
        Some("http") => false,
        _ => return Err(bad()),
    };
    let authority = url.authority().filter(|authority| !authority.as_str().contains('@')).ok_or_else(bad)?;
    if url.query().is_some() {
        return Err(bad());
    }
    let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
    let port = authority.port_u16().unwrap_or(if secure { 443 } else { 80 });
    let tls = match secure {
        true => {
            let name = ServerName::try_from(host.clone()).map_err(|_| bad())?;
            Some((TlsConnector::from(Arc::new(files.config(settings)?)), name))
        }
        false => None,
    };
    Ok(Target { host, port, tls, timeout: settings.timeouts.connect })
}

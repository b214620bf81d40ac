//! The two listeners: HTTP/1.1 and HTTP/2, in the clear or with TLS, with bounds on connections, heads and time; and the drain at shutdown.

mod patient;
mod socket;
mod tls;

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use http::{Request, Response};
use hyper::{body::Incoming, service::Service};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto, graceful::GracefulShutdown},
};
use rustls::crypto::CryptoProvider;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::Semaphore,
    task::JoinSet,
};

pub use self::socket::Bound;
pub(crate) use self::tls::{Loaded, Tls};
use self::{
    patient::Patient,
    socket::{Socket, Stream},
};
use crate::{
    BoxError,
    settings::{Address, InTheClear, Limits, Listener},
};

/// How many calls one HTTP/2 connection may have open.
const STREAMS: u32 = 256;

/// How long a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// The cryptography behind TLS, in and out.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Why a listener cannot be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ListenError {
    /// The address is taken or not ours.
    #[error("cannot listen on `{address}`: {source}")]
    Bind {
        /// The address.
        address: Address,
        /// What the system says.
        source: io::Error,
    },
    /// Certificate or key cannot be used.
    #[error("`{path}`: {what}")]
    Tls {
        /// The file.
        path: std::path::PathBuf,
        /// What is wrong.
        what: String,
    },
}

/// A bound listener; takes no connection before [`Server::run`].
pub(crate) struct Server {
    socket: Socket,
    bound: Bound,
    tls: Option<Arc<Tls>>,
    limits: Limits,
}

impl Server {
    pub(crate) async fn bind(listener: &Listener, limits: &Limits) -> Result<Server, ListenError> {
        let bind = |source| ListenError::Bind { address: listener.address.clone(), source };
        let tls = listener.tls.as_ref().map(Tls::new).transpose()?.map(Arc::new);
        let (socket, bound) = Socket::bind(&listener.address).await.map_err(bind)?;
        Ok(Server { socket, bound, tls, limits: limits.clone() })
    }

    pub(crate) const fn bound(&self) -> &Bound {
        &self.bound
    }

    /// What is to be said where others on the network can read what is said to the listener of this name.
    pub(crate) fn in_the_clear(&self, name: &'static str) -> Option<InTheClear> {
        InTheClear::of(name, self.bound.tcp()?, self.tls.is_some())
    }

    /// Its TLS, for a change of certificates.
    pub(crate) const fn tls(&self) -> Option<&Arc<Tls>> {
        self.tls.as_ref()
    }

    /// Serves until `shutdown`, then lets open calls end for `drain`. What is left is dropped after `cut` was called.
    pub(crate) async fn run<S, B>(
        self,
        service: impl Fn(Arrival) -> S + Send + Sync + 'static,
        shutdown: impl Future<Output = ()>,
        drain: Duration,
        cut: impl FnOnce(),
    ) where
        S: Service<Request<Incoming>, Response = Response<B>> + Send + 'static,
        S::Future: Send + 'static,
        S::Error: Into<BoxError>,
        B: http_body::Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<BoxError>,
    {
        let (graceful, service) = (GracefulShutdown::new(), Arc::new(service));
        let places = Arc::new(Semaphore::new(self.limits.connections));
        let mut tasks = JoinSet::new();
        let mut shutdown = std::pin::pin!(shutdown);
        loop {
            // A place is taken before a connection is: what is beyond waits in the kernel's queue.
            let accepted = async {
                let place = places.clone().acquire_owned().await;
                (place, self.socket.accept().await)
            };
            let (place, accepted) = tokio::select! {
                biased;
                () = &mut shutdown => break,
                Some(_) = tasks.join_next(), if !tasks.is_empty() => continue,
                accepted = accepted => accepted,
            };
            let (stream, from) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of file descriptors, most likely: some will come free.
                    tracing::warn!(%error, "no connection accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            };
            let (tls, http, watcher, service) = (self.tls.clone(), self.http(), graceful.watcher(), service.clone());
            let (patience, greeting) = (self.limits.stall_timeout, self.limits.header_timeout);
            tasks.spawn(async move {
                let _place = place;
                let stream = Patient::new(stream, patience, greeting);
                match tls {
                    None => {
                        let arrival = Arrival { from, secure: false, client: None, via: None };
                        serve_stream(stream, &http, service(arrival), watcher).await;
                    }
                    Some(tls) => {
                        let Some(stream) = handshake(&tls, stream).await else { return };
                        let client = tls::spiffe_id(stream.get_ref().1.peer_certificates());
                        let arrival = Arrival { from, secure: true, client, via: None };
                        serve_stream(stream, &http, service(arrival), watcher).await;
                    }
                }
            });
        }
        drop(self.socket);
        let drained = async {
            graceful.shutdown().await;
            while tasks.join_next().await.is_some() {}
        };
        if tokio::time::timeout(drain, drained).await.is_err() {
            cut();
            // Dropping a call's future closes its record.
            tasks.shutdown().await;
        }
    }

    fn http(&self) -> auto::Builder<TokioExecutor> {
        let mut http = auto::Builder::new(TokioExecutor::new());
        http.http1()
            .timer(TokioTimer::new())
            .header_read_timeout(self.limits.header_timeout)
            .max_headers(self.limits.headers)
            .max_buf_size(self.limits.header_bytes.max(8 << 10));
        http.http2()
            .timer(TokioTimer::new())
            .keep_alive_interval(Duration::from_secs(20))
            .max_header_list_size(u32::try_from(self.limits.header_bytes).unwrap_or(u32::MAX))
            .max_concurrent_streams(STREAMS);
        http
    }
}

/// How a connection came in.
#[derive(Debug, Clone)]
pub struct Arrival {
    /// From where; none through a Unix socket.
    pub from: Option<SocketAddr>,
    /// Whether through TLS.
    pub secure: bool,
    /// The SPIFFE id of the client's certificate, where the listener asks for one.
    pub client: Option<Arc<str>>,
    /// Who told of it, when it came through another proxy: then all of this is as that one says.
    pub via: Option<&'static str>,
}

type Watcher = hyper_util::server::graceful::Watcher;

async fn handshake(tls: &Tls, stream: Patient<Stream>) -> Option<tokio_rustls::server::TlsStream<Patient<Stream>>> {
    match tokio::time::timeout(HANDSHAKE, tls.acceptor().accept(stream)).await {
        Ok(Ok(stream)) => Some(stream),
        Ok(Err(error)) => {
            tracing::debug!(%error, "no TLS handshake");
            None
        }
        Err(_) => {
            tracing::debug!("no TLS handshake in time");
            None
        }
    }
}

async fn serve_stream<I, S, B>(stream: I, http: &auto::Builder<TokioExecutor>, service: S, watcher: Watcher)
where
    I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    S: Service<Request<Incoming>, Response = Response<B>> + Send,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: http_body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    // No upgrades: what would follow one could not be judged.
    let connection = http.serve_connection(TokioIo::new(stream), service);
    if let Err(error) = watcher.watch(connection.into_owned()).await {
        tracing::debug!(%error, "a connection ended early");
    }
}

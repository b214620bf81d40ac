//! The two listeners: HTTP/1.1 and HTTP/2, in the clear or with TLS, with bounds on connections, heads and time; and the drain at shutdown.

mod patient;

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use http::{Request, Response};
use hyper::{body::Incoming, service::Service};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto, graceful::GracefulShutdown},
};
use rustls::{
    ServerConfig,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
};
use tokio_rustls::TlsAcceptor;

use self::patient::Patient;
use crate::{
    BoxError,
    settings::{Limits, Listener, ServerTls},
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
        address: SocketAddr,
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
    tcp: TcpListener,
    address: SocketAddr,
    tls: Option<TlsAcceptor>,
    limits: Limits,
}

impl Server {
    pub(crate) async fn bind(listener: &Listener, limits: &Limits) -> Result<Server, ListenError> {
        let bind = |source| ListenError::Bind { address: listener.address, source };
        let tls = listener.tls.as_ref().map(acceptor).transpose()?;
        let tcp = TcpListener::bind(listener.address).await.map_err(bind)?;
        let address = tcp.local_addr().map_err(bind)?;
        Ok(Server { tcp, address, tls, limits: limits.clone() })
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `shutdown`, then lets open calls end for `drain`. What is left is dropped after `cut` was called.
    pub(crate) async fn run<S, B>(
        self,
        service: impl Fn(Arrival) -> S,
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
        let graceful = GracefulShutdown::new();
        let places = Arc::new(Semaphore::new(self.limits.connections));
        let mut tasks = JoinSet::new();
        let mut shutdown = std::pin::pin!(shutdown);
        loop {
            // A place is taken before a connection is: what is beyond waits in the kernel's queue.
            let accepted = async {
                let place = places.clone().acquire_owned().await;
                (place, self.tcp.accept().await)
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
            let service = service(Arrival { from, secure: self.tls.is_some() });
            let (tls, http, watcher) = (self.tls.clone(), self.http(), graceful.watcher());
            let patience = self.limits.stall_timeout;
            tasks.spawn(async move {
                let _place = place;
                let _ = stream.set_nodelay(true);
                serve_connection(Patient::new(stream, patience), tls, &http, service, watcher).await;
            });
        }
        drop(self.tcp);
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
#[derive(Debug, Clone, Copy)]
pub struct Arrival {
    /// From where.
    pub from: SocketAddr,
    /// Whether through TLS.
    pub secure: bool,
}

type Watcher = hyper_util::server::graceful::Watcher;

async fn serve_connection<S, B>(
    stream: Patient<TcpStream>,
    tls: Option<TlsAcceptor>,
    http: &auto::Builder<TokioExecutor>,
    service: S,
    watcher: Watcher,
) where
    S: Service<Request<Incoming>, Response = Response<B>> + Send,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: http_body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    match tls {
        None => serve_stream(stream, http, service, watcher).await,
        Some(tls) => match tokio::time::timeout(HANDSHAKE, tls.accept(stream)).await {
            Ok(Ok(stream)) => serve_stream(stream, http, service, watcher).await,
            Ok(Err(error)) => tracing::debug!(%error, "no TLS handshake"),
            Err(_) => tracing::debug!("no TLS handshake in time"),
        },
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

fn acceptor(tls: &ServerTls) -> Result<TlsAcceptor, ListenError> {
    let bad = |path: &std::path::Path, what: String| ListenError::Tls { path: path.to_owned(), what };
    let in_chain = |error: rustls::pki_types::pem::Error| bad(&tls.certificates, error.to_string());
    let chain: Result<Vec<_>, _> = CertificateDer::pem_file_iter(&tls.certificates).map_err(in_chain)?.collect();
    let chain = chain.map_err(in_chain)?;
    if chain.is_empty() {
        return Err(bad(&tls.certificates, "there is no certificate in it".to_owned()));
    }
    let key = PrivateKeyDer::from_pem_file(&tls.key).map_err(|error| bad(&tls.key, error.to_string()))?;
    let config = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
    let config = config.and_then(|config| config.with_no_client_auth().with_single_cert(chain, key));
    let mut config = config.map_err(|error| bad(&tls.certificates, error.to_string()))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

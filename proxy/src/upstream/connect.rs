//! Connections to an upstream: resolve, connect, TLS, each within the connect timeout; who answered is kept for the record.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use data_encoding::HEXLOWER;
use hyper_util::{
    client::legacy::connect::{Connected, Connection},
    rt::TokioIo,
};
use rustls::pki_types::ServerName;
use sha2::{Digest as _, Sha256};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

/// Who is at the other end.
#[derive(Debug, Clone)]
pub struct Peer {
    address: SocketAddr,
    certificate: Option<[u8; 32]>,
}

impl std::fmt::Display for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.certificate {
            Some(sha256) => write!(f, "{} sha256:{}", self.address, HEXLOWER.encode(sha256)),
            None => write!(f, "{}", self.address),
        }
    }
}

/// Connects to the one host of an upstream, whatever the request's URI says.
#[derive(Clone)]
pub(super) struct Connector(Arc<Target>);

pub(super) struct Target {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) tls: Option<(TlsConnector, ServerName<'static>)>,
    pub(super) timeout: std::time::Duration,
}

impl Connector {
    pub(super) fn new(target: Target) -> Connector {
        Connector(Arc::new(target))
    }
}

impl Target {
    async fn connect(&self) -> io::Result<TokioIo<Stream>> {
        let tcp = TcpStream::connect((self.host.as_str(), self.port)).await?;
        tcp.set_nodelay(true)?;
        let address = tcp.peer_addr()?;
        let Some((connector, name)) = &self.tls else {
            let peer = Peer { address, certificate: None };
            return Ok(TokioIo::new(Stream { io: Box::new(tcp), peer, http2: false }));
        };
        let stream = connector.connect(name.clone(), tcp).await?;
        let session = stream.get_ref().1;
        let certificate = session.peer_certificates().and_then(<[_]>::first).map(|leaf| Sha256::digest(leaf).into());
        let http2 = session.alpn_protocol() == Some(b"h2");
        Ok(TokioIo::new(Stream { io: Box::new(stream), peer: Peer { address, certificate }, http2 }))
    }
}

impl tower::Service<http::Uri> for Connector {
    type Response = TokioIo<Stream>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<TokioIo<Stream>>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: http::Uri) -> Self::Future {
        let target = self.0.clone();
        Box::pin(async move {
            let connected = tokio::time::timeout(target.timeout, target.connect()).await;
            connected.unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, ConnectTimeout(target.timeout))))
        })
    }
}

/// No connection in time; found again in the chain of causes.
#[derive(Debug, thiserror::Error)]
#[error("no connection within {0:?}")]
pub(super) struct ConnectTimeout(std::time::Duration);

trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// A connection, with who is at its other end.
pub(super) struct Stream {
    io: Box<dyn Io>,
    peer: Peer,
    http2: bool,
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        let connected = Connected::new().extra(self.peer.clone());
        if self.http2 { connected.negotiated_h2() } else { connected }
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}

//! Where a listener listens: TCP, a Unix socket, or a socket that systemd holds.

use std::{fmt, fs, io, net::SocketAddr, os::unix::fs::PermissionsExt as _, path::PathBuf};

use listenfd::ListenFd;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio_util::either::Either;

use crate::settings::Address;

/// A connection, of either kind.
pub(super) type Stream = Either<TcpStream, UnixStream>;

/// A bound socket.
pub(super) enum Socket {
    Tcp(TcpListener),
    /// With the file to take away at the end; none when somebody else made it.
    Unix(UnixListener, Option<PathBuf>),
}

/// Where a listener is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bound {
    /// An address.
    Tcp(SocketAddr),
    /// A socket in the file system; empty when it has no name.
    Unix(PathBuf),
}

impl Bound {
    /// The address, when it is one of TCP.
    pub const fn tcp(&self) -> Option<SocketAddr> {
        match self {
            Bound::Tcp(address) => Some(*address),
            Bound::Unix(_) => None,
        }
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Bound::Tcp(address) => address.fmt(f),
            Bound::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl Socket {
    pub(super) async fn bind(address: &Address) -> io::Result<(Socket, Bound)> {
        match address {
            Address::Tcp(address) => Socket::tcp(TcpListener::bind(address).await?),
            Address::Unix(path) => {
                if fs::symlink_metadata(path).is_ok() {
                    // Left by a process that was killed: nobody answers there any more. What somebody answers at is not taken away.
                    match UnixStream::connect(path).await {
                        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path)?,
                        _ => return Err(io::ErrorKind::AddrInUse.into()),
                    }
                }
                let listener = UnixListener::bind(path)?;
                // Owner and group: who else may reach it is a matter of the directory.
                fs::set_permissions(path, fs::Permissions::from_mode(0o660))?;
                Ok((Socket::Unix(listener, Some(path.clone())), Bound::Unix(path.clone())))
            }
            Address::Systemd(name) => Socket::inherited(name),
        }
    }

    fn tcp(listener: TcpListener) -> io::Result<(Socket, Bound)> {
        let address = listener.local_addr()?;
        Ok((Socket::Tcp(listener), Bound::Tcp(address)))
    }

    /// A socket that the service manager made, by its name (`FileDescriptorName=`; sd_listen_fds(3)).
    fn inherited(name: &str) -> io::Result<(Socket, Bound)> {
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let index = names.split(':').position(|found| found == name);
        let missing = || io::Error::new(io::ErrorKind::NotFound, "the service manager passed no socket of that name");
        let (index, mut passed) = (index.ok_or_else(missing)?, ListenFd::from_env());
        if let Ok(Some(listener)) = passed.take_tcp_listener(index) {
            listener.set_nonblocking(true)?;
            return Socket::tcp(TcpListener::from_std(listener)?);
        }
        let listener = passed.take_unix_listener(index)?.ok_or_else(missing)?;
        listener.set_nonblocking(true)?;
        let listener = UnixListener::from_std(listener)?;
        let path = listener.local_addr()?.as_pathname().map(PathBuf::from).unwrap_or_default();
        Ok((Socket::Unix(listener, None), Bound::Unix(path)))
    }

    /// The next connection, and from which address it comes.
    pub(super) async fn accept(&self) -> io::Result<(Stream, Option<SocketAddr>)> {
        match self {
            Socket::Tcp(listener) => {
                let (stream, from) = listener.accept().await?;
                let _ = stream.set_nodelay(true);
                Ok((Either::Left(stream), Some(from)))
            }
            Socket::Unix(listener, _) => Ok((Either::Right(listener.accept().await?.0), None)),
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if let Socket::Unix(_, Some(path)) = self {
            let _ = fs::remove_file(path);
        }
    }
}

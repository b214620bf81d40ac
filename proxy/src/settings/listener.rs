//! Where a listener listens, and whether others on the network can read what is said there.

use std::{
    fmt,
    net::{AddrParseError, Ipv4Addr, SocketAddr, SocketAddrV4},
    path::PathBuf,
    str::FromStr,
};

/// The names of the listeners that ask for a secret, as the configuration and records have them.
pub const LISTENERS: [&str; 3] = ["gateway", "api", "ext_authz"];

/// Where to listen.
#[derive(Debug, Clone)]
pub struct Listener {
    /// The address.
    pub address: Address,
    /// TLS; without it HTTP/1.1 and HTTP/2 (prior knowledge) in the clear.
    pub tls: Option<ServerTls>,
}

impl Listener {
    /// In the clear, on a free port of the loopback interface.
    pub const fn loopback() -> Listener {
        let address = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0));
        Listener { address: Address::Tcp(address), tls: None }
    }
}

/// An address to listen on, as text `127.0.0.1:8180`, `unix:/run/countersign/gateway.sock` or `systemd:gateway`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// TCP. Port 0 takes a free one.
    Tcp(SocketAddr),
    /// A Unix socket; who may reach it is a matter of its directory.
    Unix(PathBuf),
    /// A socket that systemd made and passes under this name (`FileDescriptorName=`).
    Systemd(String),
}

impl FromStr for Address {
    type Err = AddrParseError;

    fn from_str(text: &str) -> Result<Address, AddrParseError> {
        match (text.strip_prefix("unix:"), text.strip_prefix("systemd:")) {
            (Some(path), _) => Ok(Address::Unix(path.into())),
            (_, Some(name)) => Ok(Address::Systemd(name.to_owned())),
            _ => text.parse().map(Address::Tcp),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp(address) => address.fmt(f),
            Address::Unix(path) => write!(f, "unix:{}", path.display()),
            Address::Systemd(name) => write!(f, "systemd:{name}"),
        }
    }
}

/// Certificate and key of a listener, PEM.
#[derive(Debug, Clone)]
pub struct ServerTls {
    /// The chain, leaf first.
    pub certificates: PathBuf,
    /// The key.
    pub key: PathBuf,
    /// Authorities of client certificates (PEM): then every client must show one.
    pub clients: Option<PathBuf>,
    /// Whether TLS 1.2 is spoken too.
    pub tls12: bool,
}

/// A listener to which secrets come over the network in the clear. Said and not refused: a service mesh may encrypt what comes there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InTheClear {
    name: &'static str,
    address: SocketAddr,
}

impl InTheClear {
    /// That of the listener of this name (one of [`LISTENERS`]), unless it has TLS or only this machine reaches it.
    pub fn of(name: &'static str, address: SocketAddr, tls: bool) -> Option<InTheClear> {
        // `::ffff:127.0.0.1` is this machine, too.
        let here = address.ip().to_canonical().is_loopback();
        (!tls && !here).then_some(InTheClear { name, address })
    }
}

impl fmt::Display for InTheClear {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let secrets = match self.name {
            "gateway" => "the tokens of agents",
            "api" => "the secrets of host, approver, operator and investigator",
            _ => "the tokens of agents and the secret of Envoy",
        };
        write!(
            f,
            "`[{}]` listens on `{}` without TLS: {secrets} cross the network in the clear; give it `tls`, or let it listen on `127.0.0.1:…` or `unix:…`, unless a service mesh encrypts what comes there",
            self.name, self.address
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_on_the_network_can_read_is_told_and_nothing_else() {
        let of = |address: &str, tls| InTheClear::of("gateway", address.parse().unwrap(), tls);
        for address in ["0.0.0.0:8180", "[::]:8180", "192.168.1.7:8180", "10.0.0.1:1", "[::ffff:10.0.0.1]:1"] {
            let told = of(address, false).unwrap_or_else(|| panic!("{address}")).to_string();
            assert!(told.contains("`[gateway]`") && told.contains(address) && told.contains("`tls`"), "{told}");
            assert_eq!(of(address, true), None, "{address}");
        }
        for address in ["127.0.0.1:8180", "127.8.0.1:1", "[::1]:8180", "[::ffff:127.0.0.1]:1"] {
            assert_eq!(of(address, false), None, "{address}");
        }
    }
}

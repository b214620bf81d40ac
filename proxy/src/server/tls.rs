//! TLS of a listener: its certificate, which may be changed while it runs, and who a client's certificate says that it is.

use std::{path::Path, sync::Arc};

use parking_lot::RwLock;
use rustls::{RootCertStore, ServerConfig, pki_types::CertificateDer, server::WebPkiClientVerifier, version::TLS13};
use tokio_rustls::TlsAcceptor;
use zeroize::Zeroizing;

use super::{ListenError, provider};
use crate::{pem, settings::ServerTls};

/// A listener's TLS.
pub(crate) struct Tls {
    settings: ServerTls,
    loaded: RwLock<Loaded>,
}

/// Certificate, key and authorities as they were read together.
#[derive(Clone)]
pub(crate) struct Loaded {
    acceptor: TlsAcceptor,
    /// What anybody may know of them: the chain, and the authorities of clients, PEM.
    public: Vec<(&'static str, String)>,
}

impl Loaded {
    /// The public part, each with what it is.
    pub(crate) fn public(&self) -> &[(&'static str, String)] {
        &self.public
    }
}

impl Tls {
    pub(super) fn new(settings: &ServerTls) -> Result<Tls, ListenError> {
        Ok(Tls { settings: settings.clone(), loaded: RwLock::new(load(settings)?) })
    }

    /// What the next connection is accepted with.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        self.loaded.read().acceptor.clone()
    }

    /// What is in force.
    pub(crate) fn loaded(&self) -> Loaded {
        self.loaded.read().clone()
    }

    /// Reads certificate, key and authorities anew; `settings` may name other files than before. Nothing is in force yet.
    pub(crate) fn read(&self, settings: Option<&ServerTls>) -> Result<Loaded, ListenError> {
        load(settings.unwrap_or(&self.settings))
    }

    /// Puts in force what was read: connections from now on have it, open ones go on with what they began with.
    pub(crate) fn put(&self, loaded: Loaded) {
        *self.loaded.write() = loaded;
    }
}

/// The client's name: the one URI in its certificate's subject alternative name, as SPIFFE has it (X.509-SVID §2).
pub(super) fn spiffe_id(chain: Option<&[CertificateDer<'_>]>) -> Option<Arc<str>> {
    let leaf = webpki::EndEntityCert::try_from(chain?.first()?).ok()?;
    let mut names = leaf.valid_uri_names();
    let name = names.next().filter(|name| name.starts_with("spiffe://"))?;
    names.next().is_none().then(|| name.into())
}

fn load(tls: &ServerTls) -> Result<Loaded, ListenError> {
    let (pem, chain) = certificates(&tls.certificates)?;
    let mut public = vec![("certificates", pem)];
    let secret = std::fs::read(&tls.key).map_err(|error| bad(&tls.key, &error))?;
    let key = pem::key(&Zeroizing::new(secret)).map_err(|what| bad(&tls.key, &what))?;
    let versions: &[_] = if tls.tls12 { rustls::ALL_VERSIONS } else { &[&TLS13] };
    let config = ServerConfig::builder_with_provider(provider()).with_protocol_versions(versions);
    let config = config.map_err(|error| bad(&tls.certificates, &error))?;
    let config = match &tls.clients {
        None => config.with_no_client_auth(),
        Some(path) => {
            let mut roots = RootCertStore::empty();
            let (pem, authorities) = certificates(path)?;
            public.push(("clients", pem));
            for authority in authorities {
                roots.add(authority).map_err(|error| bad(path, &error))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
            config.with_client_cert_verifier(verifier.build().map_err(|error| bad(path, &error))?)
        }
    };
    let mut config = config.with_single_cert(chain, key).map_err(|error| bad(&tls.certificates, &error))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Loaded { acceptor: TlsAcceptor::from(Arc::new(config)), public })
}

fn certificates(path: &Path) -> Result<(String, Vec<CertificateDer<'static>>), ListenError> {
    let bytes = std::fs::read(path).map_err(|error| bad(path, &error))?;
    pem::chain(&bytes).map_err(|what| bad(path, &what))
}

fn bad(path: &Path, what: &dyn std::fmt::Display) -> ListenError {
    ListenError::Tls { path: path.to_owned(), what: what.to_string() }
}

//! TLS of a listener: its certificate, which may be changed while it runs, and who a client's certificate says that it is.

use std::{path::Path, sync::Arc};

use parking_lot::RwLock;
use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::WebPkiClientVerifier,
    version::TLS13,
};
use tokio_rustls::TlsAcceptor;

use super::{ListenError, provider};
use crate::settings::ServerTls;

/// A listener's TLS.
pub(crate) struct Tls {
    settings: ServerTls,
    acceptor: RwLock<TlsAcceptor>,
}

impl Tls {
    pub(super) fn new(settings: &ServerTls) -> Result<Tls, ListenError> {
        Ok(Tls { settings: settings.clone(), acceptor: RwLock::new(acceptor(settings)?) })
    }

    /// What the next connection is accepted with.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        self.acceptor.read().clone()
    }

    /// Reads certificate, key and authorities anew: connections from now on have them. When they cannot be used, the old ones stay.
    pub(crate) fn reload(&self) -> Result<(), ListenError> {
        let anew = acceptor(&self.settings)?;
        *self.acceptor.write() = anew;
        Ok(())
    }
}

/// The client's name: the one URI in its certificate's subject alternative name, as SPIFFE has it (X.509-SVID §2).
pub(super) fn spiffe_id(chain: Option<&[CertificateDer<'_>]>) -> Option<Arc<str>> {
    let leaf = webpki::EndEntityCert::try_from(chain?.first()?).ok()?;
    let mut names = leaf.valid_uri_names();
    let name = names.next().filter(|name| name.starts_with("spiffe://"))?;
    names.next().is_none().then(|| name.into())
}

fn acceptor(tls: &ServerTls) -> Result<TlsAcceptor, ListenError> {
    let chain = certificates(&tls.certificates)?;
    let key = PrivateKeyDer::from_pem_file(&tls.key).map_err(|error| bad(&tls.key, &error))?;
    let versions: &[_] = if tls.tls12 { rustls::ALL_VERSIONS } else { &[&TLS13] };
    let config = ServerConfig::builder_with_provider(provider()).with_protocol_versions(versions);
    let config = config.map_err(|error| bad(&tls.certificates, &error))?;
    let config = match &tls.clients {
        None => config.with_no_client_auth(),
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for authority in certificates(path)? {
                roots.add(authority).map_err(|error| bad(path, &error))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
            config.with_client_cert_verifier(verifier.build().map_err(|error| bad(path, &error))?)
        }
    };
    let mut config = config.with_single_cert(chain, key).map_err(|error| bad(&tls.certificates, &error))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, ListenError> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path).map_err(|error| bad(path, &error))?.collect();
    let chain = chain.map_err(|error| bad(path, &error))?;
    if chain.is_empty() {
        return Err(bad(path, &"there is no certificate in it"));
    }
    Ok(chain)
}

fn bad(path: &Path, what: &dyn std::fmt::Display) -> ListenError {
    ListenError::Tls { path: path.to_owned(), what: what.to_string() }
}

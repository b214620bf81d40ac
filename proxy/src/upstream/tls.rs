//! TLS to an API: whom the gateway believes to be it, and what the gateway shows for itself.

use std::{fs, path::Path};

use rustls::{ClientConfig, RootCertStore};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::UpstreamError;
use crate::{pem, settings};

/// The files that an upstream's settings name, as they were when they were read together.
pub(super) struct Files {
    authorities: Option<Vec<u8>>,
    chain: Option<Vec<u8>>,
    key: Option<Zeroizing<Vec<u8>>>,
    /// What of them is public, as text.
    public: Vec<(&'static str, String)>,
}

impl Files {
    /// Reads them.
    pub(super) fn read(settings: &settings::Upstream) -> Result<Files, UpstreamError> {
        let read = |path: &Path| fs::read(path).map_err(|error| bad(settings, path, error.to_string()));
        let identity = settings.identity.as_ref();
        let mut files = Files {
            authorities: settings.authorities.as_deref().map(read).transpose()?,
            chain: identity.map(|identity| read(&identity.certificates)).transpose()?,
            key: identity.map(|identity| read(&identity.key)).transpose()?.map(Zeroizing::new),
            public: Vec::new(),
        };
        let authorities = settings.authorities.as_deref();
        let chain = identity.map(|identity| identity.certificates.as_path());
        for (what, path, bytes) in
            [("authorities", authorities, &files.authorities), ("certificates", chain, &files.chain)]
        {
            if let Some((path, bytes)) = path.zip(bytes.as_ref()) {
                let (text, _) = pem::chain(bytes).map_err(|what| bad(settings, path, what))?;
                files.public.push((what, text));
            }
        }
        Ok(files)
    }

    /// Whether they say the same.
    pub(super) fn are_as(&self, other: &Files) -> bool {
        let secret = |files: &Files| files.key.as_ref().map(|key| Sha256::digest(key.as_slice()));
        self.authorities == other.authorities && self.chain == other.chain && secret(self) == secret(other)
    }

    /// The public ones, each with what it is.
    pub(super) fn public(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.public.iter().map(|(what, text)| (*what, text.as_str()))
    }

    /// How a connection to the API is made.
    pub(super) fn config(&self, settings: &settings::Upstream) -> Result<ClientConfig, UpstreamError> {
        let mut roots = RootCertStore::empty();
        match settings.authorities.as_deref().zip(self.authorities.as_ref()) {
            None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
            Some((path, bytes)) => {
                let (_, authorities) = pem::chain(bytes).map_err(|what| bad(settings, path, what))?;
                for authority in authorities {
                    roots.add(authority).map_err(|error| bad(settings, path, error.to_string()))?;
                }
            }
        }
        let tls = |source| UpstreamError::Tls { name: settings.name.clone(), source };
        let config = ClientConfig::builder_with_provider(crate::server::provider())
            .with_safe_default_protocol_versions()
            .map_err(tls)?
            .with_root_certificates(roots);
        let shown = settings.identity.as_ref().zip(self.chain.as_ref()).zip(self.key.as_ref());
        let mut config = match shown {
            None => config.with_no_client_auth(),
            Some(((identity, chain), key)) => {
                let (_, chain) = pem::chain(chain).map_err(|what| bad(settings, &identity.certificates, what))?;
                let key = pem::key(key).map_err(|what| bad(settings, &identity.key, what))?;
                let shown = config.with_client_auth_cert(chain, key);
                shown.map_err(|error| bad(settings, &identity.certificates, error.to_string()))?
            }
        };
        config.alpn_protocols = match settings.http {
            settings::Http::Auto => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
            settings::Http::One => vec![b"http/1.1".to_vec()],
            settings::Http::Two => vec![b"h2".to_vec()],
        };
        Ok(config)
    }
}

fn bad(settings: &settings::Upstream, path: &Path, what: String) -> UpstreamError {
    UpstreamError::File { name: settings.name.clone(), path: path.to_owned(), what }
}

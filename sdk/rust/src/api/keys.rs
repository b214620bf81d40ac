//! The keys of the gateways that are trusted.

use std::{collections::BTreeMap, sync::Arc};

use countersign_ledger::statement::Jwk;
use countersign_receipt::directory;
use parking_lot::RwLock;

use crate::client::{Error, Plain};

/// The public keys of the gateways that are trusted. Clones share them, so that they can be replaced while the API runs.
#[derive(Debug, Clone, Default)]
pub struct GatewayKeys(Arc<RwLock<BTreeMap<String, Jwk>>>);

impl GatewayKeys {
    /// These keys.
    pub fn new(keys: impl IntoIterator<Item = Jwk>) -> GatewayKeys {
        let own = GatewayKeys::default();
        own.replace(keys);
        own
    }

    /// These keys from now on, and no others.
    pub fn replace(&self, keys: impl IntoIterator<Item = Jwk>) {
        *self.0.write() = keys.into_iter().map(|jwk| (jwk.thumbprint(), jwk)).collect();
    }

    /// The keys that a gateway lists below its origin, such as `https://gateway.example`. Called again now and then, it follows the rotation of keys.
    ///
    /// # Errors
    /// [`Error`]; the keys stay as they were.
    pub async fn fetch(&self, origin: &str) -> Result<(), Error> {
        let answer = Plain::anonymous(origin)?.send("GET", directory::WELL_KNOWN, None).await?;
        let text = String::from_utf8_lossy(&answer.body);
        let keys = directory::read(&text).filter(|keys| answer.status.is_success() && !keys.is_empty());
        self.replace(keys.ok_or_else(|| Error::Answer("it is no list of public keys".to_owned()))?);
        Ok(())
    }

    pub(super) fn find(&self, keyid: &str) -> Option<Jwk> {
        self.0.read().get(keyid).cloned()
    }
}

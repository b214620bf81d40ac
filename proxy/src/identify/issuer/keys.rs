//! The keys of an outside issuer: fetched, kept for a while, fetched again in time, and when a token names one that is not known.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use countersign_authorize::Refusal;
use http::Uri;
use jsonwebtoken::{
    Algorithm,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, PublicKeyUse},
};
use parking_lot::RwLock;
use serde_json::Value;
use tokio::{
    sync::{Mutex, OwnedMutexGuard},
    time::Instant,
};

use super::refuse;
use crate::{
    settings::{Issuer, is_private},
    upstream::fetch::fetch,
};

/// How soon the issuer is asked for its keys again, whatever agents send.
const AGAIN: Duration = Duration::from_secs(10);

/// How long it may take to give them.
const TIMEOUT: Duration = Duration::from_secs(10);

/// How many of them are looked at.
const MAX_KEYS: usize = 100;

/// A list of keys as an issuer gives it.
#[derive(Default)]
pub struct KeyList(Vec<Arc<Jwk>>);

impl KeyList {
    /// Reads a JWK set (RFC 7517 §5); a key of a kind that is not known is left out.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(bytes: &[u8]) -> Result<KeyList, String> {
        let list: Value = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        let rows = list.get("keys").and_then(Value::as_array).ok_or("it is no list of keys")?;
        let read = |row: &Value| serde_json::from_value::<Jwk>(row.clone()).ok().map(Arc::new);
        Ok(KeyList(rows.iter().take(MAX_KEYS).filter_map(read).collect()))
    }

    /// The key of that name that signs so; without a name only where there is no choice.
    pub(super) fn find(&self, kid: Option<&str>, alg: Algorithm) -> Option<&Arc<Jwk>> {
        let mut fitting = self.0.iter().filter(|jwk| is_for(jwk, alg));
        match kid {
            Some(kid) => fitting.find(|jwk| jwk.common.key_id.as_deref() == Some(kid)),
            None => fitting.next().filter(|_| fitting.next().is_none()),
        }
    }
}

/// The keys of one issuer.
pub(super) struct Keys {
    settings: Arc<Issuer>,
    held: Arc<RwLock<Held>>,
    /// Held by the one task that asks the issuer; whoever needs its answer waits for it, everybody else goes on with what is there.
    asking: Arc<Mutex<()>>,
}

#[derive(Default)]
struct Held {
    keys: KeyList,
    /// When they were asked for with success.
    fetched: Option<Instant>,
    /// When they were asked for, with success or without.
    tried: Option<Instant>,
}

impl Keys {
    /// Those of an issuer; with what is known of it, where that came from the same place.
    pub(super) fn kept_or_new<'k>(known: impl Iterator<Item = &'k Arc<Keys>>, settings: Arc<Issuer>) -> Arc<Keys> {
        let place = |of: &Issuer| (of.issuer.clone(), of.keys.clone(), of.authorities.clone());
        let mut same = known.filter(|keys| place(&keys.settings) == place(&settings));
        let (held, asking) = match same.next() {
            Some(keys) => (keys.held.clone(), keys.asking.clone()),
            None => Default::default(),
        };
        Arc::new(Keys { settings, held, asking })
    }

    /// The issuer's key of that name. One that is not known may be new: then the issuer is asked, but not more often than every few seconds.
    pub(super) async fn find(self: &Arc<Keys>, kid: Option<&str>, alg: Algorithm) -> Result<Arc<Jwk>, Refusal> {
        let (found, age, failing) = self.look(kid, alg);
        let keep = self.settings.keep;
        match (found, age) {
            (Some(found), Some(age)) if age < keep => {
                // In good time, so that no call has to wait for it.
                if age >= keep / 2 {
                    self.renew_behind();
                }
                return Ok(found);
            }
            // An issuer that is down for a while takes nobody out, and nobody waits for it.
            (Some(found), Some(age)) if failing && age < self.last() => {
                self.renew_behind();
                return Ok(found);
            }
            _ => self.renew().await,
        }
        match self.look(kid, alg) {
            (Some(found), Some(age), _) if age < self.last() => Ok(found),
            (None, Some(age), false) if age < self.last() => {
                Err(refuse("token-invalid", "the token's issuer has no such key"))
            }
            _ => Err(refuse("issuer-unreachable", "the token's issuer does not give its keys; try again later")),
        }
    }

    /// How old the keys may get.
    fn last(&self) -> Duration {
        self.settings.keep.saturating_add(self.settings.stale)
    }

    /// That key, how old the list is, and whether the issuer did not answer when it was last asked.
    fn look(&self, kid: Option<&str>, alg: Algorithm) -> (Option<Arc<Jwk>>, Option<Duration>, bool) {
        let held = self.held.read();
        (held.keys.find(kid, alg).cloned(), held.fetched.map(|fetched| fetched.elapsed()), held.tried > held.fetched)
    }

    fn is_due(&self) -> bool {
        self.held.read().tried.is_none_or(|tried| tried.elapsed() >= AGAIN)
    }

    /// Asks, and waits until it is known.
    async fn renew(self: &Arc<Keys>) {
        let asking = self.asking.clone().lock_owned().await;
        if self.is_due() {
            // In a task of its own: who goes away meanwhile does not end it, and cannot have it begun again and again.
            let _ = self.ask(asking).await;
        }
    }

    /// Asks, and does not wait.
    fn renew_behind(self: &Arc<Keys>) {
        if self.is_due()
            && let Ok(asking) = self.asking.clone().try_lock_owned()
        {
            drop(self.ask(asking));
        }
    }

    fn ask(self: &Arc<Keys>, asking: OwnedMutexGuard<()>) -> tokio::task::JoinHandle<()> {
        let keys = self.clone();
        tokio::spawn(async move {
            let _asking = asking;
            let got = tokio::time::timeout(TIMEOUT, keys.fetch()).await;
            let got = got.unwrap_or_else(|_| Err("it did not answer in time".to_owned()));
            let now = Instant::now();
            let mut held = keys.held.write();
            held.tried = Some(now);
            match got {
                Ok(list) => (held.keys, held.fetched) = (list, Some(now)),
                Err(error) => {
                    tracing::warn!(issuer = keys.settings.issuer, error, "the issuer's keys cannot be had");
                }
            }
        })
    }

    async fn fetch(&self) -> Result<KeyList, String> {
        let url = match &self.settings.keys {
            Some(url) => url.clone(),
            None => self.discover().await?,
        };
        KeyList::read(&self.get(&url).await?)
    }

    /// Where the issuer says that its keys are (OpenID Connect Discovery §4).
    async fn discover(&self) -> Result<Uri, String> {
        let name = self.settings.issuer.trim_end_matches('/');
        let parsed = format!("{name}/.well-known/openid-configuration").parse::<Uri>();
        let url = parsed.map_err(|error| error.to_string())?;
        let document = self.get(&url).await?;
        let document: Value = serde_json::from_slice(&document).map_err(|error| error.to_string())?;
        // §4.3: what another one says of itself is not believed of this one.
        if document.get("issuer").and_then(Value::as_str) != Some(self.settings.issuer.as_str()) {
            return Err("its discovery document is of another issuer".to_owned());
        }
        let keys = document.get("jwks_uri").and_then(Value::as_str).and_then(|keys| keys.parse::<Uri>().ok());
        let keys = keys.ok_or("its discovery document does not say where its keys are")?;
        // What comes over the network must not decide whom this machine talks to.
        if (keys.scheme(), keys.authority()) != (url.scheme(), url.authority()) {
            return Err(format!("its keys are elsewhere, at `{keys}`; if that is right, say so with `jwks_url`"));
        }
        Ok(keys)
    }

    async fn get(&self, url: &Uri) -> Result<Bytes, String> {
        if !is_private(url) {
            return Err(format!("`{url}` is neither `https` nor on this machine"));
        }
        fetch("issuer", self.settings.authorities.as_deref(), url).await
    }
}

/// Whether a key signs that way. The key decides, never the token: RFC 8725 §3.1.
fn is_for(jwk: &Jwk, alg: Algorithm) -> bool {
    let curve = match &jwk.algorithm {
        AlgorithmParameters::EllipticCurve(params) => Some(&params.curve),
        AlgorithmParameters::OctetKeyPair(params) => Some(&params.curve),
        AlgorithmParameters::RSA(_) | AlgorithmParameters::OctetKey(_) => None,
    };
    let fits = match alg {
        Algorithm::ES256 => curve == Some(&EllipticCurve::P256),
        Algorithm::ES384 => curve == Some(&EllipticCurve::P384),
        Algorithm::EdDSA => curve == Some(&EllipticCurve::Ed25519),
        Algorithm::RS256
        | Algorithm::RS384
        | Algorithm::RS512
        | Algorithm::PS256
        | Algorithm::PS384
        | Algorithm::PS512 => matches!(jwk.algorithm, AlgorithmParameters::RSA(_)),
        Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512 => false,
    };
    let signs = matches!(jwk.common.public_key_use, None | Some(PublicKeyUse::Signature));
    fits && signs && jwk.common.key_algorithm.is_none_or(|named| named.to_string() == format!("{alg:?}"))
}

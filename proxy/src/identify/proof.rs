//! Proof of possession (RFC 9449): a token that is bound to a key is good only beside a fresh proof, made with that key for exactly this request. Each
//! proof is good once.

use std::collections::HashSet;

use countersign_authorize::Refusal;
use countersign_ledger::possession::{Possession, of_token};
use data_encoding::BASE64URL_NOPAD;
use http::{HeaderMap, HeaderName, Method, Uri};
use jiff::Timestamp;
use parking_lot::Mutex;
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use crate::settings;

/// The header in which a proof comes.
pub const DPOP: HeaderName = HeaderName::from_static("dpop");

/// The header in which the gateway says what the next proof must have.
pub const DPOP_NONCE: HeaderName = HeaderName::from_static("dpop-nonce");

/// How far a proof's time may be from the gateway's, in seconds.
const WINDOW: i64 = 60;

/// How long a proof can be good at most, in seconds: made by a clock that is as far ahead as it may be.
const LIFE: i64 = 2 * WINDOW;

/// The most proofs that are remembered of one such time. Beyond, proofs are refused: whoever could fill this could replay one.
const REMEMBERED: usize = 1 << 17;

/// How long the gateway asks for the same nonce, in seconds.
const NONCE_LIFE: i64 = 300;

/// A proof that fits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// As it came.
    pub text: String,
    /// The thumbprint of its key.
    pub kid: String,
    /// What it had to be for, and is.
    pub of: Of,
}

/// What a proof had to be for: the members of a proof that depend on the request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Of {
    /// The request's method.
    pub htm: String,
    /// The request's URL, in the agent's spelling.
    pub htu: String,
    /// The digest of the token beside it.
    pub ath: String,
}

/// What a proof is for.
pub(super) struct Purpose<'a> {
    pub(super) method: &'a Method,
    pub(super) uri: &'a Uri,
    pub(super) headers: &'a HeaderMap,
    pub(super) secure: bool,
    pub(super) token: &'a str,
}

/// Checks proofs, and knows those that were shown lately.
pub struct Proofs {
    settings: settings::Proofs,
    /// Since when this gateway knows what was shown; it believes nothing made before.
    begun: i64,
    seen: Mutex<Seen>,
    nonces: Mutex<Nonces>,
}

/// Proofs by digest, of this time and of the one before.
#[derive(Default)]
struct Seen {
    since: i64,
    now: HashSet<[u8; 16]>,
    before: HashSet<[u8; 16]>,
}

/// What proofs must have, and what they might have until a moment ago.
#[derive(Default)]
struct Nonces {
    since: i64,
    now: String,
    before: String,
}

impl Proofs {
    /// For a gateway that starts now.
    pub fn new(settings: settings::Proofs, now: Timestamp) -> Proofs {
        Proofs { settings, begun: now.as_second(), seen: Mutex::default(), nonces: Mutex::default() }
    }

    /// Whether a token that is bound to no key is refused.
    pub(super) const fn required(&self) -> bool {
        self.settings.required
    }

    /// The nonce that a proof must have now.
    pub fn nonce(&self, now: Timestamp) -> String {
        self.nonces.lock().at(now.as_second()).now.clone()
    }

    /// The proof beside a token that is bound to the key with the thumbprint `jkt`.
    pub(super) fn check(&self, of: &Purpose<'_>, jkt: &str, now: Timestamp) -> Result<Proof, Refusal> {
        let mut given = of.headers.get_all(DPOP).iter();
        let text = given.next().ok_or_else(|| {
            refuse("proof-missing", "the token is bound to a key: send a proof for this request in the header `DPoP`")
        })?;
        let invalid = |what: &str| refuse("proof-invalid", what);
        if given.next().is_some() {
            return Err(invalid("there is more than one header `DPoP`"));
        }
        let text = text.to_str().map_err(|_| invalid("the proof is not a JWS in compact form"))?;
        let proof = Possession::read(text).map_err(|error| invalid(&error.to_string()))?;
        let (claims, now) = (&proof.claims, now.as_second());
        if proof.kid != jkt {
            return Err(invalid("the proof is made with another key than the token is bound to"));
        }
        if claims.htm != of.method.as_str() {
            return Err(invalid("`htm` is another method"));
        }
        if !self.is_here(&claims.htu, of) {
            return Err(invalid("`htu` is not this request's URL without its query"));
        }
        let ath = of_token(of.token);
        if claims.ath.as_ref() != Some(&ath) {
            return Err(invalid("`ath` is not the digest of this token"));
        }
        if self.settings.nonce && !claims.nonce.as_deref().is_some_and(|nonce| self.nonces.lock().at(now).has(nonce)) {
            return Err(refuse("proof-nonce", "the proof must have the `nonce` in the header `DPoP-Nonce`"));
        }
        if (now - claims.iat).abs() > WINDOW {
            return Err(invalid("`iat` is more than 60 seconds from the gateway's time"));
        }
        // What was shown before this process began is not known, so nothing of that time is good once more.
        if claims.iat < self.begun {
            return Err(invalid("the proof was made before the gateway started; make a new one"));
        }
        self.seen.lock().take(&proof.kid, &claims.jti, now)?;
        let of = Of { htm: of.method.as_str().to_owned(), htu: proof.claims.htu, ath };
        Ok(Proof { text: text.to_owned(), kid: proof.kid, of })
    }

    /// Whether a URL is that of the request, but for query and fragment (RFC 9449 §4.3).
    fn is_here(&self, url: &str, of: &Purpose<'_>) -> bool {
        let Ok(url) = url.parse::<Uri>() else { return false };
        let own = self.settings.url.as_ref();
        let scheme = own.and_then(Uri::scheme_str).unwrap_or(if of.secure { "https" } else { "http" });
        let host = of.headers.get(http::header::HOST).and_then(|host| host.to_str().ok()?.parse().ok());
        let authority = own.and_then(Uri::authority).or_else(|| of.uri.authority()).or(host.as_ref());
        let port =
            |authority: &http::uri::Authority| authority.port_u16().unwrap_or(if scheme == "https" { 443 } else { 80 });
        let same = |(one, other): (&http::uri::Authority, &http::uri::Authority)| {
            one.host().eq_ignore_ascii_case(other.host()) && port(one) == port(other)
        };
        url.scheme_str().is_some_and(|found| found.eq_ignore_ascii_case(scheme))
            && url.authority().zip(authority).is_some_and(same)
            && url.path() == of.uri.path()
    }
}

impl Seen {
    /// Takes a proof, once.
    fn take(&mut self, kid: &str, jti: &str, now: i64) -> Result<(), Refusal> {
        if now - self.since >= LIFE {
            // After a time without proofs those before are too old as well.
            self.before = if now - self.since < 2 * LIFE { std::mem::take(&mut self.now) } else { HashSet::new() };
            (self.now, self.since) = (HashSet::new(), now);
        }
        let digest = Sha256::digest(format!("{kid}\0{jti}"));
        let digest = digest.first_chunk::<16>().copied().unwrap_or_default();
        if self.before.contains(&digest) || self.now.contains(&digest) {
            return Err(refuse("proof-replayed", "the proof was used before; make a new one for each request"));
        }
        if self.now.len() >= REMEMBERED {
            return Err(refuse("proof-busy", "there are more proofs than the gateway can remember; try again later"));
        }
        self.now.insert(digest);
        Ok(())
    }
}

impl Nonces {
    fn at(&mut self, now: i64) -> &Nonces {
        if self.now.is_empty() || now - self.since >= NONCE_LIFE {
            let next = BASE64URL_NOPAD.encode(uuid::Uuid::new_v4().as_bytes());
            let lately = now - self.since < 2 * NONCE_LIFE;
            let former = std::mem::replace(&mut self.now, next);
            (self.before, self.since) = (if lately { former } else { String::new() }, now);
        }
        self
    }

    fn has(&self, nonce: &str) -> bool {
        !nonce.is_empty() && (nonce == self.now || nonce == self.before)
    }
}

fn refuse(code: &'static str, message: &str) -> Refusal {
    Refusal { code, message: message.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_is_known_for_as_long_as_it_could_be_good() {
        let mut seen = Seen::default();
        for step in 0..10 {
            let now = 1000 + step * 50;
            assert!(seen.take("key", &format!("{step}"), now).is_ok());
            for earlier in (0..=step).filter(|earlier| (step - earlier) * 50 < LIFE) {
                let again = seen.take("key", &format!("{earlier}"), now).unwrap_err();
                assert_eq!(again.code, "proof-replayed", "{earlier} at {step}");
            }
            assert!(seen.take("another", &format!("{step}"), now).is_ok(), "of another key");
        }
        assert!(seen.now.len() + seen.before.len() <= 12, "and not much longer");
    }

    #[test]
    fn memory_is_bounded_and_what_cannot_be_remembered_is_refused() {
        let mut seen = Seen { since: 1000, ..Seen::default() };
        for n in 0..REMEMBERED {
            seen.take("key", &n.to_string(), 1000).unwrap();
        }
        assert_eq!(seen.take("key", "one more", 1000).unwrap_err().code, "proof-busy");
        assert_eq!(seen.take("key", "7", 1000).unwrap_err().code, "proof-replayed");
        assert!(seen.take("key", "one more", 1000 + LIFE).is_ok());
        assert_eq!(seen.take("key", "7", 1000 + LIFE).unwrap_err().code, "proof-replayed");
    }

    #[test]
    fn a_nonce_is_good_for_its_time_and_the_next() {
        let mut nonces = Nonces::default();
        let first = nonces.at(1000).now.clone();
        assert!(nonces.at(1000 + NONCE_LIFE).has(&first) && nonces.now != first);
        assert!(!nonces.at(1000 + 2 * NONCE_LIFE).has(&first) && !nonces.has(""));
    }
}

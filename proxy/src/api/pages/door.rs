//! Who comes in to the approvers' pages: links that make a passkey, sign-in with one, and what is remembered of it.

use std::collections::BTreeMap;

use countersign_ledger::Hash;
use data_encoding::BASE64URL_NOPAD;
use http::{HeaderMap, HeaderValue, header};
use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use rand::{TryRng as _, rngs::SysRng};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::settings::Approvals;

/// How long somebody stays signed in.
const SESSION: SignedDuration = SignedDuration::from_mins(30);

/// How long a page may stand open before its sign-in button is pressed.
const TICKET: SignedDuration = SignedDuration::from_mins(5);

/// The most enrolment links that are open at a time.
const MAX_LINKS: usize = 1000;

/// Who is signed in.
#[derive(Debug, Clone)]
pub(super) struct Session {
    /// Their party.
    pub(super) party: String,
    /// The passkey's thumbprint.
    pub(super) kid: String,
    until: Timestamp,
}

/// An open enrolment link.
#[derive(Debug, Clone)]
pub(super) struct Link {
    /// Who may make a passkey with it.
    pub(super) party: String,
    /// Which operator made it.
    pub(super) by: String,
    until: Timestamp,
}

/// Nothing of this survives a restart: who was signed in signs in again, and an operator makes a new link.
pub(super) struct Door {
    key: [u8; 32],
    /// By SHA-256 of the cookie's value.
    sessions: Mutex<BTreeMap<Hash, Session>>,
    /// By SHA-256 of the link's ticket.
    links: Mutex<BTreeMap<Hash, Link>>,
    /// Tickets that somebody signed in with, until they are over.
    used: Mutex<BTreeMap<String, Timestamp>>,
}

fn random<const N: usize>() -> Option<[u8; N]> {
    let mut bytes = [0; N];
    SysRng.try_fill_bytes(&mut bytes).ok()?;
    Some(bytes)
}

impl Door {
    /// A door with a fresh key; none without random bytes.
    pub(super) fn new() -> Option<Door> {
        Some(Door { key: random()?, sessions: Mutex::default(), links: Mutex::default(), used: Mutex::default() })
    }

    fn seal(&self, what: &[u8; 24]) -> [u8; 32] {
        // The length is fixed, so that nothing can be appended.
        let mut hasher = Sha256::new();
        hasher.update(self.key);
        hasher.update(what);
        hasher.finalize().into()
    }

    /// A ticket to sign in with: it remembers its time itself, so that asking for many costs no memory.
    pub(super) fn ticket(&self, now: Timestamp) -> Option<String> {
        let nonce: [u8; 16] = random()?;
        let mut what = [0; 24];
        let (time, rest) = what.split_first_chunk_mut::<8>()?;
        *time = now.as_millisecond().to_be_bytes();
        rest.copy_from_slice(&nonce);
        Some(BASE64URL_NOPAD.encode(&[what.as_slice(), &self.seal(&what)].concat()))
    }

    /// Whether a ticket is one of this door's, and still good.
    pub(super) fn is_good(&self, ticket: &str, now: Timestamp) -> bool {
        let bytes = BASE64URL_NOPAD.decode(ticket.as_bytes()).unwrap_or_default();
        let Some((what, seal)) = bytes.split_first_chunk::<24>() else { return false };
        let ours = bool::from(self.seal(what).as_slice().ct_eq(seal));
        let made = what.first_chunk().map(|time| i64::from_be_bytes(*time));
        let made = made.and_then(|time| Timestamp::from_millisecond(time).ok());
        ours && made.is_some_and(|made| made <= now && now.duration_since(made) <= TICKET)
    }

    /// Lets somebody in who signed a ticket; gives the cookie's value. `None` when the ticket served before.
    pub(super) fn enter(&self, ticket: &str, party: &str, kid: &str, now: Timestamp) -> Option<String> {
        let mut used = self.used.lock();
        used.retain(|_, until| *until > now);
        if used.insert(ticket.to_owned(), now.saturating_add(TICKET).ok()?).is_some() {
            return None;
        }
        drop(used);
        let value = BASE64URL_NOPAD.encode(&random::<32>()?);
        let mut sessions = self.sessions.lock();
        sessions.retain(|_, session| session.until > now);
        let session =
            Session { party: party.to_owned(), kid: kid.to_owned(), until: now.saturating_add(SESSION).ok()? };
        sessions.insert(Hash::of(value.as_bytes()), session);
        Some(value)
    }

    /// Who shows this cookie.
    pub(super) fn session(&self, approvals: &Approvals, headers: &HeaderMap, now: Timestamp) -> Option<Session> {
        let key = Hash::of(cookie(approvals, headers)?.as_bytes());
        self.sessions.lock().get(&key).filter(|session| session.until > now).cloned()
    }

    /// Forgets who shows this cookie.
    pub(super) fn leave(&self, approvals: &Approvals, headers: &HeaderMap) {
        if let Some(value) = cookie(approvals, headers) {
            self.sessions.lock().remove(&Hash::of(value.as_bytes()));
        }
    }

    /// Opens a link; gives its ticket. `None` when too many are open.
    pub(super) fn open_link(&self, party: &str, by: &str, now: Timestamp, until: Timestamp) -> Option<String> {
        let ticket = BASE64URL_NOPAD.encode(&random::<32>()?);
        let mut links = self.links.lock();
        links.retain(|_, link| link.until > now);
        if links.len() >= MAX_LINKS {
            return None;
        }
        let link = Link { party: party.to_owned(), by: by.to_owned(), until };
        links.insert(Hash::of(ticket.as_bytes()), link);
        Some(ticket)
    }

    /// An open link.
    pub(super) fn link(&self, ticket: &str, now: Timestamp) -> Option<Link> {
        self.links.lock().get(&Hash::of(ticket.as_bytes())).filter(|link| link.until > now).cloned()
    }

    /// Takes an open link: it serves once.
    pub(super) fn take_link(&self, ticket: &str, now: Timestamp) -> Option<Link> {
        self.links.lock().remove(&Hash::of(ticket.as_bytes())).filter(|link| link.until > now)
    }

    /// Puts a link back that could not be used.
    pub(super) fn put_back(&self, ticket: &str, link: Link) {
        self.links.lock().insert(Hash::of(ticket.as_bytes()), link);
    }
}

/// A browser takes a cookie of this name only from this very host, over TLS. On `localhost` there is no TLS.
const fn name(approvals: &Approvals) -> &'static str {
    if approvals.is_secure() { "__Host-countersign" } else { "countersign" }
}

fn cookie<'h>(approvals: &Approvals, headers: &'h HeaderMap) -> Option<&'h str> {
    let pairs = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut values = pairs
        .flat_map(|pairs| pairs.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .filter(|(found, _)| *found == name(approvals))
        .map(|(_, value)| value);
    let value = values.next()?;
    // Two could be read in two ways.
    values.next().is_none().then_some(value)
}

/// The cookie that is set; without a value it is taken away.
pub(super) fn set_cookie(approvals: &Approvals, value: Option<&str>) -> Option<HeaderValue> {
    let secure = if approvals.is_secure() { "; Secure" } else { "" };
    let (value, age) = value.map_or(("", 0), |value| (value, SESSION.as_secs()));
    let text = format!("{}={value}; Path=/; HttpOnly; SameSite=Strict; Max-Age={age}{secure}", name(approvals));
    HeaderValue::from_str(&text).ok()
}

//! How often somebody may ask the API: so many requests a second with one credential, and so many from one address. Beyond that nothing is read, looked up
//! or recorded. An agent has a credential of its own per grant, so that it can slow down nobody else.

use std::{
    hash::{BuildHasher as _, Hash, RandomState},
    net::IpAddr,
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use axum::{
    extract::{MatchedPath, Request, State},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use governor::{
    Quota, RateLimiter,
    clock::{Clock as _, DefaultClock},
    state::keyed::DefaultKeyedStateStore,
};
use http::{HeaderValue, StatusCode, header};

use super::credentials::bearer;
use crate::{observe::Observe, problem::Problem, settings::Limits};

/// After so many requests those are forgotten that have long been quiet.
const SWEEP: u32 = 4096;

/// Answers that a supervisor must get whatever else happens.
const FREE: [&str; 2] = ["/livez", "/readyz"];

/// From where a request comes; through a Unix socket, from nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Peer(pub(crate) Option<IpAddr>);

/// How much one may ask, by a key.
type Keyed<K> = RateLimiter<K, DefaultKeyedStateStore<K>, DefaultClock>;

/// Both limits; the same for every connection.
#[derive(Clone)]
pub(super) struct Limiter(Arc<Limited>);

struct Limited {
    /// By a keyed hash of the credential, so that none is kept.
    credentials: Option<Keyed<u64>>,
    peers: Option<Keyed<Peer>>,
    hasher: RandomState,
    asked: AtomicU32,
    observe: Observe,
}

impl Limiter {
    pub(super) fn new(limits: &Limits, observe: &Observe) -> Limiter {
        Limiter(Arc::new(Limited {
            credentials: keyed(limits.api_per_credential),
            peers: keyed(limits.api_per_peer),
            hasher: RandomState::new(),
            asked: AtomicU32::new(0),
            observe: observe.clone(),
        }))
    }

    /// How many seconds to wait, and for which limit, when a request comes too soon.
    fn late(&self, peer: Peer, secret: Option<&str>) -> Option<(&'static str, u64)> {
        let limited = &self.0;
        if limited.asked.fetch_add(1, Ordering::Relaxed) % SWEEP == SWEEP - 1 {
            limited.credentials.iter().for_each(RateLimiter::retain_recent);
            limited.peers.iter().for_each(RateLimiter::retain_recent);
        }
        // The address first: whoever makes up credentials makes no more of them than that.
        if let Some(wait) = limited.peers.as_ref().and_then(|peers| wait(peers, &peer)) {
            return Some(("peer", wait));
        }
        let key = limited.hasher.hash_one(secret?);
        let wait = limited.credentials.as_ref().and_then(|credentials| wait(credentials, &key))?;
        Some(("credential", wait))
    }
}

fn keyed<K: Hash + Eq + Clone>(per_second: u32) -> Option<Keyed<K>> {
    Some(RateLimiter::keyed(Quota::per_second(NonZeroU32::new(per_second)?)))
}

fn wait<K: Hash + Eq + Clone>(limiter: &Keyed<K>, key: &K) -> Option<u64> {
    let not_until = limiter.check_key(key).err()?;
    let wait = not_until.wait_time_from(DefaultClock::default().now());
    Some(wait.as_secs() + 1)
}

/// The layer.
pub(super) async fn limit(State(limiter): State<Limiter>, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>();
    if route.is_some_and(|route| FREE.contains(&route.as_str())) {
        return next.run(request).await;
    }
    let peer = request.extensions().get().copied().unwrap_or(Peer(None));
    match limiter.late(peer, bearer(request.headers())) {
        None => next.run(request).await,
        Some((by, wait)) => {
            limiter.0.observe.count(|told| told.limited(by));
            too_many(by, wait)
        }
    }
}

fn too_many(by: &str, wait: u64) -> Response {
    let detail = format!("too many requests of one {by}; try again in {wait} s");
    let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, "too-many-requests", "Too many requests", detail);
    let mut response = problem.into_response();
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(wait));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limiter(api_per_credential: u32, api_per_peer: u32) -> Limiter {
        Limiter::new(&Limits { api_per_credential, api_per_peer, ..Limits::default() }, Observe::OFF)
    }

    const HERE: Peer = Peer(Some(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST)));

    #[test]
    fn one_credential_uses_up_its_own_share_only() {
        let limiter = limiter(2, 0);
        assert_eq!(limiter.late(HERE, Some("one")), None);
        assert_eq!(limiter.late(HERE, Some("one")), None);
        assert_eq!(limiter.late(HERE, Some("one")), Some(("credential", 1)));
        assert_eq!(limiter.late(HERE, Some("other")), None);
        assert_eq!(limiter.late(HERE, None), None);
    }

    #[test]
    fn made_up_credentials_are_stopped_by_their_address() {
        let limiter = limiter(2, 3);
        let late: Vec<bool> = (0..5).map(|n| limiter.late(HERE, Some(&format!("guess {n}"))).is_some()).collect();
        assert_eq!(late, [false, false, false, true, true]);
        assert_eq!(limiter.late(Peer(None), Some("guess 0")), None, "another way in has a share of its own");
    }

    #[test]
    fn what_was_asked_long_ago_is_forgotten() {
        let limiter = limiter(1_000_000, 0);
        for n in 0..10 * SWEEP {
            limiter.late(HERE, Some(&format!("guess {n}")));
        }
        let kept = limiter.0.credentials.as_ref().unwrap().len();
        assert!(kept <= SWEEP as usize + 1, "{kept}");
    }
}

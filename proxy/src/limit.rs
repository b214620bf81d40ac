//! How many calls an agent, and a grant, may have under way, and how many it may make in a second. What is beyond is refused before it is read or
//! judged; it is counted, and a few each minute are recorded one by one, so that it cannot fill the disk.

use std::{collections::HashMap, sync::Arc, time::Duration};

use http::{HeaderValue, Response, header};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::{
    Body,
    identify::Identified,
    record::stranger::{self, Refused},
    settings::Quota,
    stack::{Context, Step},
};

/// How many agents and grants are remembered before those are forgotten of which there is nothing to remember.
const SWEEP: usize = 16_384;

/// The quotas of agents and of grants.
pub struct Quotas {
    agents: Arc<Keyed>,
    grants: Arc<Keyed>,
}

struct Keyed {
    quota: Quota,
    rows: Mutex<Rows>,
}

#[derive(Default)]
struct Rows {
    by_name: HashMap<String, Row>,
    sweep_at: usize,
}

/// What one of them did lately.
#[derive(Debug)]
struct Row {
    open: usize,
    /// How many calls it may make at once now.
    tokens: f64,
    at: Instant,
}

/// A place among the calls under way, given back when it is dropped.
pub struct Place {
    keyed: Arc<Keyed>,
    name: String,
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(row) = self.keyed.rows.lock().by_name.get_mut(&self.name) {
            row.open = row.open.saturating_sub(1);
        }
    }
}

/// What is beyond: how long to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Beyond {
    Open,
    Rate(Duration),
}

impl Keyed {
    fn new(quota: Quota) -> Arc<Keyed> {
        Arc::new(Keyed { quota, rows: Mutex::default() })
    }

    /// A place for one call; none when nothing is limited.
    fn take(self: &Arc<Keyed>, name: &str, now: Instant) -> Result<Option<Place>, Beyond> {
        if self.quota.concurrent.is_none() && self.quota.per_second.is_none() {
            return Ok(None);
        }
        let mut rows = self.rows.lock();
        rows.sweep(&self.quota, now);
        let burst = self.quota.burst();
        let row = rows.by_name.entry(name.to_owned()).or_insert(Row { open: 0, tokens: burst, at: now });
        if self.quota.concurrent.is_some_and(|most| row.open >= most) {
            return Err(Beyond::Open);
        }
        if let Some(rate) = self.quota.per_second {
            row.fill(rate, burst, now);
            if row.tokens < 1.0 {
                return Err(Beyond::Rate(Duration::from_secs_f64((1.0 - row.tokens) / f64::from(rate.max(1)))));
            }
            row.tokens -= 1.0;
        }
        row.open += 1;
        Ok(Some(Place { keyed: self.clone(), name: name.to_owned() }))
    }
}

impl Row {
    fn fill(&mut self, rate: u32, burst: f64, now: Instant) {
        let since = now.saturating_duration_since(self.at).as_secs_f64();
        self.tokens = burst.min(since.mul_add(f64::from(rate), self.tokens));
        self.at = now;
    }
}

impl Rows {
    /// Forgets those that have nothing open and all their tokens, when there are many.
    fn sweep(&mut self, quota: &Quota, now: Instant) {
        if self.by_name.len() < self.sweep_at.max(SWEEP) {
            return;
        }
        let burst = quota.burst();
        self.by_name.retain(|_, row| {
            row.fill(quota.per_second.unwrap_or(u32::MAX), burst, now);
            row.open > 0 || row.tokens < burst
        });
        // Not again before there are a quarter more, so that many that are all busy do not make each call slow.
        self.sweep_at = self.by_name.len() + self.by_name.len() / 4;
    }
}

impl Quotas {
    /// These.
    pub fn new(agent: Quota, grant: Quota) -> Quotas {
        Quotas { agents: Keyed::new(agent), grants: Keyed::new(grant) }
    }

    fn take(&self, agent: &str, grant: &str) -> Result<Vec<Place>, (&'static str, Beyond)> {
        let now = Instant::now();
        let agent = self.agents.take(agent, now).map_err(|beyond| ("agent", beyond))?;
        let grant = self.grants.take(grant, now).map_err(|beyond| ("grant", beyond))?;
        Ok(agent.into_iter().chain(grant).collect())
    }
}

/// The step.
#[derive(Clone)]
pub struct Limit {
    context: Arc<Context>,
}

impl Limit {
    /// The step.
    pub const fn new(context: Arc<Context>) -> Limit {
        Limit { context }
    }
}

impl Step<Identified> for Limit {
    type Out = Identified;

    async fn step(&self, mut identified: Identified) -> Result<Identified, Response<Body>> {
        let (whose, beyond) = match self.context.quotas.take(&identified.agent, &identified.grant) {
            Ok(places) => {
                identified.shown.places = places;
                return Ok(identified);
            }
            Err(beyond) => beyond,
        };
        let (code, message, wait) = match beyond {
            Beyond::Open => ("calls-open", format!("the {whose} has as many calls under way as it may"), 1),
            Beyond::Rate(wait) => {
                let seconds = wait.as_secs_f64().ceil().max(1.0);
                ("rate-exceeded", format!("the {whose} makes more calls than it may; wait {seconds} s"), seconds as u64)
            }
        };
        let refused = Refused {
            code,
            message: &message,
            agent: Some(&identified.agent),
            credential: identified.shown.credential,
            counted: "limited",
        };
        let (seen, via) = (&identified.seen, identified.arrival.via);
        let mut answer = stranger::refuse(&self.context, seen, &identified.request, via, &refused).await;
        answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(wait));
        Err(answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quota(concurrent: Option<usize>, per_second: Option<u32>, burst: Option<u32>) -> Quota {
        Quota { concurrent, per_second, burst }
    }

    #[test]
    fn a_rate_is_held_per_name_with_a_burst() {
        let (keyed, begin) = (Keyed::new(quota(None, Some(10), Some(3))), Instant::now());
        for _ in 0..3 {
            assert!(keyed.take("a", begin).is_ok());
        }
        assert_eq!(keyed.take("a", begin).err(), Some(Beyond::Rate(Duration::from_millis(100))));
        assert!(keyed.take("b", begin).is_ok(), "another one is not held back");
        assert!(keyed.take("a", begin + Duration::from_millis(101)).is_ok());
        assert!(keyed.take("a", begin + Duration::from_millis(102)).is_err());
    }

    #[test]
    fn a_place_is_given_back_and_memory_is_bounded() {
        let (keyed, begin) = (Keyed::new(quota(Some(1), Some(1), None)), Instant::now());
        let place = keyed.take("a", begin).unwrap();
        assert_eq!(keyed.take("a", begin + Duration::from_secs(5)).err(), Some(Beyond::Open));
        drop(place);
        let later = begin + Duration::from_secs(5);
        assert!(keyed.take("a", later).is_ok());
        for n in 0..3 * SWEEP {
            drop(keyed.take(&n.to_string(), later + Duration::from_millis(n as u64)));
        }
        assert!(keyed.rows.lock().by_name.len() <= SWEEP + 1);
    }
}

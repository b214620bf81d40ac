//! An API that fails again and again is left alone for a while, and tried with one call before it gets all of them again.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::settings;

/// Counts failures of one API.
pub(crate) struct Breaker {
    settings: Option<settings::Breaker>,
    state: Mutex<State>,
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// Calls pass; so many failed in a row.
    Closed(u32),
    /// None passes until then.
    Open(Instant),
    /// One is under way, to see whether it passes; if nothing is heard of it until then, another one may try.
    Trying(Instant),
}

/// It is left alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LeftAlone {
    /// For how long still.
    pub(crate) wait: Duration,
}

impl Breaker {
    pub(super) fn new(settings: Option<settings::Breaker>) -> Breaker {
        Breaker { settings, state: Mutex::new(State::Closed(0)) }
    }

    /// Lets a call pass, or says for how long none does.
    pub(crate) fn admit(&self, now: Instant) -> Result<(), LeftAlone> {
        let Some(settings) = &self.settings else { return Ok(()) };
        let mut state = self.state.lock();
        match *state {
            State::Closed(_) => Ok(()),
            State::Open(until) | State::Trying(until) if now < until => Err(LeftAlone { wait: until - now }),
            State::Open(_) | State::Trying(_) => {
                *state = State::Trying(now + settings.open);
                Ok(())
            }
        }
    }

    /// Hears how a call went that passed. Whoever was let in before it was left alone says nothing new.
    pub(crate) fn report(&self, good: bool, now: Instant) {
        let Some(settings) = &self.settings else { return };
        let mut state = self.state.lock();
        *state = match (*state, good) {
            (State::Closed(_) | State::Trying(_), true) => State::Closed(0),
            (State::Closed(failures), false) if failures + 1 < settings.failures => State::Closed(failures + 1),
            (State::Closed(_) | State::Trying(_), false) => State::Open(now + settings.open),
            (State::Open(until), _) => State::Open(until),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_opens_after_failures_in_a_row_and_closes_after_one_good_call() {
        let second = Duration::from_secs(1);
        let breaker = Breaker::new(Some(settings::Breaker { failures: 2, open: 10 * second }));
        let begin = Instant::now();
        for good in [false, true, false] {
            assert_eq!(breaker.admit(begin), Ok(()));
            breaker.report(good, begin);
        }
        assert_eq!(breaker.admit(begin), Ok(()), "not two in a row");
        breaker.report(false, begin);
        assert_eq!(breaker.admit(begin + second), Err(LeftAlone { wait: 9 * second }));
        // One that was under way meanwhile changes nothing.
        breaker.report(true, begin + second);
        assert!(breaker.admit(begin + 9 * second).is_err());
        assert_eq!(breaker.admit(begin + 10 * second), Ok(()), "one tries");
        assert!(breaker.admit(begin + 10 * second).is_err(), "and only one");
        breaker.report(false, begin + 11 * second);
        assert!(breaker.admit(begin + 20 * second).is_err());
        assert_eq!(breaker.admit(begin + 21 * second), Ok(()));
        assert_eq!(breaker.admit(begin + 31 * second), Ok(()), "nothing was heard of the one before");
        breaker.report(true, begin + 31 * second);
        assert_eq!((breaker.admit(begin + 31 * second), breaker.admit(begin + 31 * second)), (Ok(()), Ok(())));
    }

    #[test]
    fn without_a_setting_nothing_is_left_alone() {
        let breaker = Breaker::new(None);
        (0..1000).for_each(|_| breaker.report(false, Instant::now()));
        assert_eq!(breaker.admit(Instant::now()), Ok(()));
    }
}

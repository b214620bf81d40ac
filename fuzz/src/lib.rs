//! Fuzzes every decoder that meets bytes from outside, and the tree against a naive model.
//!
//! A target is a function of bytes that panics when something is wrong: not only on a crash, but when what was accepted does not
//! survive its own text, or a check agrees to what it must not. The driver needs nothing but stable Rust: it changes known good inputs,
//! keeps no coverage, and names the seed and round of a finding, with which it comes back.

mod envoy;
mod models;
mod mutate;
mod signatures;
mod targets;
mod tokens;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::{Duration, Instant},
};

pub use self::{mutate::Random, targets::TARGETS};

/// A decoder under attack.
pub struct Target {
    /// Its name.
    pub name: &'static str,
    /// Good inputs to begin with.
    pub corpus: fn() -> Vec<Vec<u8>>,
    /// Panics when something is wrong.
    pub run: fn(&[u8]),
}

/// An input that something is wrong with.
#[derive(Debug)]
pub struct Finding {
    /// The round, counted from 0.
    pub round: u64,
    /// The input.
    pub input: Vec<u8>,
}

impl Target {
    /// The good inputs themselves, then changed ones until `rounds` or `time` are over. Gives how many were run, or the first finding.
    ///
    /// # Errors
    /// The [`Finding`].
    pub fn fuzz(&self, seed: u64, rounds: u64, time: Duration) -> Result<u64, Finding> {
        let (corpus, begun) = ((self.corpus)(), Instant::now());
        let mut random = Random::new(seed);
        for round in 0..rounds {
            let good = usize::try_from(round).ok().and_then(|round| corpus.get(round)).cloned();
            let input = good.unwrap_or_else(|| mutate::mutate(&mut random, &corpus));
            if catch_unwind(AssertUnwindSafe(|| (self.run)(&input))).is_err() {
                return Err(Finding { round, input });
            }
            if begun.elapsed() > time {
                return Ok(round + 1);
            }
        }
        Ok(rounds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The short run of every build; `countersign-fuzz` runs longer.
    #[test]
    fn no_decoder_gives_way_in_a_short_run() {
        for target in TARGETS {
            let outcome = target.fuzz(1, 3000, Duration::from_secs(5));
            assert!(outcome.is_ok(), "{}: {outcome:?}", target.name);
        }
    }

    #[test]
    fn the_driver_finds_what_is_wrong_and_finds_it_again() {
        let target = Target {
            name: "planted",
            corpus: || vec![b"good input".to_vec()],
            run: |input| assert!(!input.windows(2).any(|pair| pair == b"gg")),
        };
        let find = || target.fuzz(7, 1_000_000, Duration::from_secs(20)).unwrap_err();
        let (one, other) = (find(), find());
        assert_eq!((one.round, one.input), (other.round, other.input));
    }
}

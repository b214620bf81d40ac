//! By how much the API's clock is ahead of the gateway's, from what is known to be the same call.

use std::collections::VecDeque;

use super::{Micros, SECOND};

/// How many pairs are looked at: few enough to follow a clock that drifts.
const SAMPLES: usize = 401;
/// So many are needed to know anything.
const ENOUGH: usize = 8;
/// After so many more the estimate is made anew.
const OFTEN: usize = 16;

#[derive(Debug, Default)]
struct Samples {
    newest: VecDeque<Micros>,
    since: usize,
    known: Option<(Micros, Micros)>,
}

impl Samples {
    fn add(&mut self, offset: Micros) {
        self.newest.push_back(offset);
        if self.newest.len() > SAMPLES {
            self.newest.pop_front();
        }
        self.since += 1;
        if self.newest.len() >= ENOUGH && (self.known.is_none() || self.since >= OFTEN) {
            self.since = 0;
            self.known = self.estimate();
        }
    }

    /// The median, and within what four of five are of it.
    fn estimate(&self) -> Option<(Micros, Micros)> {
        let mut offsets: Vec<Micros> = self.newest.iter().copied().collect();
        offsets.sort_unstable();
        let median = *offsets.get(offsets.len() / 2)?;
        let mut off: Vec<Micros> = offsets.iter().map(|offset| (offset - median).abs()).collect();
        off.sort_unstable();
        Some((median, *off.get(off.len() * 4 / 5)?))
    }
}

/// The estimate.
#[derive(Debug, Default)]
pub(super) struct Clock {
    certain: Samples,
    likely: Samples,
}

impl Clock {
    /// A line that is a call's for certain: when it was written, and the middle of the call.
    pub(super) fn certain(&mut self, line: Micros, call: Micros) {
        self.certain.add(line.saturating_sub(call));
    }

    /// A line and a call that are alone of their kind.
    pub(super) fn likely(&mut self, line: Micros, call: Micros) {
        self.likely.add(line.saturating_sub(call));
    }

    fn known(&self) -> Option<(Micros, Micros)> {
        self.certain.known.or(self.likely.known)
    }

    /// Whether pairs that are certain say so.
    pub(super) const fn is_certain(&self) -> bool {
        self.certain.known.is_some()
    }

    /// Whether nothing is known.
    pub(super) fn is_unknown(&self) -> bool {
        self.known().is_none()
    }

    /// By how much the log is ahead.
    pub(super) fn offset(&self) -> Micros {
        self.known().map_or(0, |(offset, _)| offset)
    }

    /// How far a line may be from its call; `widest` where nothing is known.
    pub(super) fn slack(&self, coarse: bool, widest: Micros) -> Micros {
        let precision = if coarse { SECOND } else { 0 };
        self.known().map_or(widest, |(_, spread)| (spread.saturating_mul(3) + SECOND + precision).min(widest))
    }
}

//! A line of the log that may be due for every call: said at once, and then once in a while with how many there were. A disk that is full is not to be
//! filled further by its own log.

use jiff::Timestamp;
use parking_lot::Mutex;

/// Between two lines.
const SECONDS: i64 = 10;

/// When the next line may be said, and how many there were since the last one.
#[derive(Debug, Default)]
pub(crate) struct Seldom(Mutex<(i64, u64)>);

impl Seldom {
    /// How many there were since the last line, with this one; none when it is not time for one.
    pub(crate) fn due(&self, now: Timestamp) -> Option<u64> {
        let (mut last, now) = (self.0.lock(), now.as_second());
        last.1 += 1;
        // A clock that was put back is not waited for.
        if now < last.0 && last.0 - now <= SECONDS {
            return None;
        }
        last.0 = now + SECONDS;
        Some(std::mem::take(&mut last.1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_said_at_once_and_then_how_many_there_were() {
        let (seldom, at) = (Seldom::default(), |second| Timestamp::from_second(second).unwrap());
        assert_eq!(seldom.due(at(1000)), Some(1));
        assert_eq!((seldom.due(at(1001)), seldom.due(at(1009))), (None, None));
        assert_eq!(seldom.due(at(1010)), Some(3));
        assert_eq!(seldom.due(at(5)), Some(1), "the clock was put back");
    }
}

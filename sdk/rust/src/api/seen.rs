//! Which signed requests were taken: one that somebody captured and sends again is refused.

use std::{collections::BTreeSet, time::Duration};

use countersign_receipt::request::{Caller, LIFE_SECONDS};
use parking_lot::Mutex;

/// The most requests that are remembered: some 10 MB, and for five minutes 870 calls a second.
const MOST: usize = 1 << 18;

/// Why a signed request is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum SeenError {
    #[error("this signed request was taken before: whoever sends it again must sign it anew")]
    Again,
    #[error("it was signed {age} seconds ago, and a signature is taken for {window} seconds only: sign it anew")]
    Old { age: i64, window: i64 },
    #[error(
        "it was signed before what is remembered here began, so nobody can tell whether it was taken: sign it anew"
    )]
    Forgotten,
}

/// What was taken within the window. INVARIANT: what is not remembered any longer, or was never known, is refused for its age.
pub(super) struct Seen {
    /// For how long after it was signed a request may be taken, in seconds.
    window: i64,
    most: usize,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    /// When each was signed, with the first half of the digest of what was signed.
    requests: BTreeSet<(i64, [u8; 16])>,
    /// Of what was signed up to then, some is forgotten.
    forgotten: Option<i64>,
}

impl Default for Seen {
    fn default() -> Seen {
        Seen { window: LIFE_SECONDS, most: MOST, taken: Mutex::default() }
    }
}

impl Seen {
    pub(super) fn within(window: Duration) -> Seen {
        Seen { window: i64::try_from(window.as_secs()).unwrap_or(i64::MAX), ..Seen::default() }
    }

    /// Takes a request whose signature is good, once. What was signed before `since` is not known here.
    pub(super) fn take(&self, caller: &Caller, since: i64, now: i64) -> Result<(), SeenError> {
        let Caller { created, text_sha256, .. } = *caller;
        let age = now.saturating_sub(created);
        if age > self.window {
            return Err(SeenError::Old { age, window: self.window });
        }
        let mut taken = self.taken.lock();
        if created < since || taken.forgotten.is_some_and(|forgotten| created <= forgotten) {
            return Err(SeenError::Forgotten);
        }
        let digest = text_sha256.as_bytes().first_chunk::<16>().copied().unwrap_or_default();
        if !taken.requests.insert((created, digest)) {
            return Err(SeenError::Again);
        }
        taken.make_room(now.saturating_sub(self.window), self.most);
        Ok(())
    }
}

impl Taken {
    /// Forgets what is too old to be taken again; and when there are still too many, the oldest, which are too old from then on.
    fn make_room(&mut self, oldest: i64, most: usize) {
        while let Some((created, _)) = self.requests.first().copied()
            && (created < oldest || self.requests.len() > most)
        {
            self.requests.pop_first();
            if created >= oldest {
                self.forgotten = self.forgotten.max(Some(created));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use countersign_ledger::Hash;

    use super::*;

    fn caller(created: i64, n: u64) -> Caller {
        Caller {
            agent: "a".into(),
            directory: "https://gateway.example".into(),
            keyid: "k".into(),
            entry: Hash::ZERO,
            n,
            content: None,
            created,
            expires: created + LIFE_SECONDS,
            signature_sha256: Hash::of(&n.to_be_bytes()),
            text_sha256: Hash::of(&n.to_be_bytes()),
        }
    }

    #[test]
    fn a_request_is_taken_once_for_as_long_as_its_signature_could_be_taken_at_all() {
        let seen = Seen::within(Duration::from_secs(60));
        assert_eq!(seen.take(&caller(1000, 1), 0, 1000), Ok(()));
        assert_eq!(seen.take(&caller(1000, 2), 0, 1000), Ok(()), "another one of the same second");
        for now in 1000..=1060 {
            assert_eq!(seen.take(&caller(1000, 1), 0, now), Err(SeenError::Again), "{now}");
        }
        assert_eq!(seen.take(&caller(1000, 1), 0, 1061), Err(SeenError::Old { age: 61, window: 60 }));
        assert_eq!(seen.take(&caller(1100, 3), 0, 1100), Ok(()));
        assert_eq!(seen.taken.lock().requests.len(), 1, "what is too old is not kept");
        assert_eq!(seen.taken.lock().forgotten, None);
    }

    #[test]
    fn what_there_is_no_room_for_is_refused_and_not_taken_again() {
        let seen = Seen { most: 3, ..Seen::within(Duration::from_secs(60)) };
        for n in 0..5 {
            assert_eq!(seen.take(&caller(1000 + i64::try_from(n).unwrap(), n), 0, 1005), Ok(()));
        }
        assert_eq!(seen.take(&caller(1000, 0), 0, 1005), Err(SeenError::Forgotten));
        assert_eq!(seen.take(&caller(1001, 9), 0, 1005), Err(SeenError::Forgotten), "a new one of that time too");
        assert_eq!(seen.take(&caller(1002, 2), 0, 1005), Err(SeenError::Again));
        assert_eq!(seen.take(&caller(1005, 10), 0, 1005), Ok(()), "what is new goes on");
    }

    #[test]
    fn what_was_signed_before_anything_was_remembered_is_refused() {
        let seen = Seen::default();
        assert_eq!(seen.take(&caller(999, 1), 1000, 1000), Err(SeenError::Forgotten));
        assert_eq!(seen.take(&caller(1000, 1), 1000, 1000), Ok(()));
    }
}

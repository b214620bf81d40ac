//! Random bytes for what is made with every entry: salts and nonces. Asking the operating system each time took longer than hashing the entry, so each thread
//! has a generator (ChaCha, from `rand`) that the operating system seeds, again and again. Keys are still made by the operating system alone.

use std::cell::RefCell;

use rand::{
    Rng as _, SeedableRng as _,
    rngs::{StdRng, SysError, SysRng},
};

/// How often a generator is asked before it is seeded again.
const SEEDED_FOR: u32 = 4096;

thread_local! {
    /// The thread's generator, and how often it may still be asked.
    static GENERATOR: RefCell<Option<(StdRng, u32)>> = const { RefCell::new(None) };
}

/// Fills `bytes`.
///
/// # Errors
/// When the operating system gave no seed.
pub(crate) fn fill(bytes: &mut [u8]) -> Result<(), SysError> {
    GENERATOR.with_borrow_mut(|kept| {
        let (mut generator, left) = match kept.take() {
            Some((generator, left @ 1..)) => (generator, left),
            _ => (StdRng::try_from_rng(&mut SysRng)?, SEEDED_FOR),
        };
        generator.fill_bytes(bytes);
        *kept = Some((generator, left - 1));
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, thread};

    use super::*;

    #[test]
    fn no_thread_and_no_seed_repeats_another() {
        let draw = || {
            let mut seen = BTreeSet::new();
            for _ in 0..2 * SEEDED_FOR + 1 {
                let mut bytes = [0; 16];
                fill(&mut bytes).unwrap();
                seen.insert(bytes);
            }
            seen
        };
        let threads: Vec<_> = (0..3).map(|_| thread::spawn(draw)).collect();
        let all: BTreeSet<_> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        assert_eq!(all.len(), 3 * (2 * SEEDED_FOR as usize + 1));
    }
}

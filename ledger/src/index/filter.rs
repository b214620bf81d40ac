//! A Bloom filter over the instructions in a file: most files need not be read to know that an instruction is not in them.

use crate::term::{TERM_BYTES, Term};

/// Bits an instruction: about one false answer in a hundred.
const BITS: usize = 12;
const PROBES: u32 = 5;

/// How many bytes a filter for so many instructions has.
pub(super) const fn bytes_for(instructions: usize) -> usize {
    (instructions * BITS).div_ceil(8)
}

pub(super) struct Filter(Vec<u8>);

impl Filter {
    pub(super) fn new(bytes: usize) -> Filter {
        Filter(vec![0; bytes])
    }

    pub(super) const fn from_bytes(bytes: Vec<u8>) -> Filter {
        Filter(bytes)
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub(super) fn insert(&mut self, term: Term) {
        for bit in places(term, self.0.len()) {
            if let Some(byte) = self.0.get_mut(bit / 8) {
                *byte |= 1 << (bit % 8);
            }
        }
    }

    /// False: it is certainly not there.
    pub(super) fn may_have(&self, term: Term) -> bool {
        !self.0.is_empty()
            && places(term, self.0.len())
                .all(|bit| self.0.get(bit / 8).is_some_and(|byte| byte & (1 << (bit % 8)) != 0))
    }
}

/// The term is a hash already: two parts of it give all places.
fn places(term: Term, bytes: usize) -> impl Iterator<Item = usize> {
    let [_, rest @ ..]: [u8; TERM_BYTES] = *term.as_bytes();
    let [a, b, c, d, e, f, g, h, _] = rest;
    let (one, two) = (u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h]) | 1);
    let bits = (bytes as u64 * 8).max(1);
    (0..PROBES).map(move |probe| (u64::from(one.wrapping_add(probe.wrapping_mul(two))) % bits) as usize)
}

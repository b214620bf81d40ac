//! Changes to good inputs.

/// Pieces that decoders treat specially.
const WORDS: [&[u8]; 24] = [
    b"\0",
    b"\n",
    b"\n\n",
    b"\"",
    b"\\",
    b"\\u0000",
    b"\\ud800",
    b"{}",
    b"[]",
    b"null",
    b"-0",
    b"1e999",
    b"9007199254740993",
    b"%2e%2e",
    b"%2F",
    b"//",
    b"..",
    b";",
    b"&",
    b"=",
    b"\xff\xff\xff\xff",
    b"\xef\xbb\xbf",
    b"\xe2\x80\x94 ",
    b"eyJhbGciOiJub25lIn0",
];

/// Numbers that come again with the same seed (xorshift64*).
pub struct Random(u64);

impl Random {
    /// From a seed.
    pub const fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Below `end`; 0 when that is 0.
    fn below(&mut self, end: usize) -> usize {
        let drawn = self.next().checked_rem(end as u64).unwrap_or_default();
        usize::try_from(drawn).unwrap_or_default()
    }
}

/// One of the good inputs, changed in one to eight places.
pub(crate) fn mutate(random: &mut Random, corpus: &[Vec<u8>]) -> Vec<u8> {
    let mut input = corpus.get(random.below(corpus.len())).cloned().unwrap_or_default();
    for _ in 0..=random.below(8) {
        change(random, &mut input, corpus);
    }
    input
}

fn change(random: &mut Random, input: &mut Vec<u8>, corpus: &[Vec<u8>]) {
    let at = random.below(input.len() + 1);
    let end = (at + random.below(16)).min(input.len());
    match random.below(9) {
        0 => flip(random, input, at),
        1 => drop(input.drain(at..end)),
        2 => input.truncate(at),
        3 => {
            let word = WORDS.get(random.below(WORDS.len())).copied().unwrap_or_default();
            drop(input.splice(at..at, word.iter().copied()));
        }
        4 => {
            let word = WORDS.get(random.below(WORDS.len())).copied().unwrap_or_default();
            drop(input.splice(at..end, word.iter().copied()));
        }
        5 => {
            let copy = input.get(at..end).unwrap_or_default().to_vec();
            let to = random.below(input.len() + 1);
            drop(input.splice(to..to, copy));
        }
        6 => {
            let other = corpus.get(random.below(corpus.len())).cloned().unwrap_or_default();
            let from = random.below(other.len() + 1);
            input.truncate(at);
            input.extend(other.get(from..).unwrap_or_default());
        }
        7 => {
            let byte = u8::try_from(random.below(256)).unwrap_or_default();
            input.insert(at, byte);
        }
        _ => {
            if let Some(byte) = input.get_mut(at) {
                *byte = byte.wrapping_add(if random.below(2) == 0 { 1 } else { 255 });
            }
        }
    }
}

fn flip(random: &mut Random, input: &mut [u8], at: usize) {
    let bit = random.below(8);
    if let Some(byte) = input.get_mut(at) {
        *byte ^= 1 << bit;
    }
}

//! Finds an upstream's credential in its own answers, in whatever spelling, so that it never reaches the agent (promise 5).
//!
//! A *pattern* is a sequence of characters, each of which may be one of a few (`+` or `-` in base64, either case in hexadecimal) and may be
//! spelled raw, percent-encoded, as a JSON or HTML escape, or any mix of these. Patterns are the secret itself, its hexadecimal form, and
//! its base64 form at each of the three offsets at which it can stand in a longer text. What could be the beginning of one is held back
//! until the next bytes decide, so that a secret cut into pieces does not pass piece by piece; nothing else is held back.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use data_encoding::{BASE64_NOPAD, HEXLOWER};
use zeroize::Zeroizing;

/// The longest spelling of one character that is understood, in bytes: `&#x000041;`.
const LONGEST_SPELLING: usize = 10;

/// What to look for.
pub struct Echo {
    patterns: Vec<Zeroizing<Vec<[u8; 2]>>>,
    /// Bytes at which a pattern may begin.
    starts: [bool; 256],
}

/// The secret was found; nothing of this answer may pass any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found;

impl Echo {
    /// Looks for `secret`; if it is the base64 of something (as in HTTP Basic), for that too.
    pub fn new(secret: &str) -> Echo {
        let mut patterns = patterns(secret.as_bytes());
        let decoded =
            BASE64_NOPAD.decode(secret.trim_end_matches('=').as_bytes()).map(Zeroizing::new).unwrap_or_default();
        let printable = decoded.iter().all(|byte| (b' '..=b'~').contains(byte));
        if printable && decoded.len() >= crate::settings::MIN_SECRET_CHARS {
            patterns.extend(self::patterns(&decoded));
            let password = decoded.iter().position(|byte| *byte == b':').and_then(|at| decoded.get(at + 1..));
            if let Some(password) = password.filter(|password| password.len() >= crate::settings::MIN_SECRET_CHARS) {
                patterns.extend(self::patterns(password));
            }
        }
        let mut starts = [false; 256];
        let first = patterns.iter().filter_map(|pattern| pattern.first()).flatten();
        for byte in first.chain(b"%\\&") {
            if let Some(start) = starts.get_mut(usize::from(*byte)) {
                *start = true;
            }
        }
        Echo { patterns, starts }
    }

    /// Whether the secret stands in `text`.
    pub fn stands_in(self: &Arc<Echo>, text: &[u8]) -> bool {
        // No pattern is shorter, however it is spelled.
        text.len() >= crate::settings::MIN_SECRET_CHARS && self.scan().push(Bytes::copy_from_slice(text)).is_err()
    }

    /// Begins to scan a stream.
    pub fn scan(self: &Arc<Echo>) -> Scan {
        Scan { echo: self.clone(), threads: Vec::new(), at: 0, held: BytesMut::new() }
    }
}

fn patterns(secret: &[u8]) -> Vec<Zeroizing<Vec<[u8; 2]>>> {
    let plain = |bytes: &[u8]| Zeroizing::new(bytes.iter().map(|byte| [*byte, *byte]).collect());
    let hex = Zeroizing::new(HEXLOWER.encode(secret));
    let either_case: Vec<[u8; 2]> = hex.bytes().map(|digit| [digit, digit.to_ascii_uppercase()]).collect();
    let mut patterns = vec![plain(secret), Zeroizing::new(either_case)];
    for offset in 0..3 {
        let mut padded = Zeroizing::new(vec![0; offset]);
        padded.extend(secret);
        let text = Zeroizing::new(BASE64_NOPAD.encode(&padded));
        // What also depends on the bytes before and after is left out.
        let before = [0, 2, 3].get(offset).copied().unwrap_or_default();
        let whole = padded.len() * 8 / 6;
        let inner = text.as_bytes().get(before..whole).unwrap_or_default();
        let either_alphabet = inner.iter().map(|digit| match digit {
            b'+' => [b'+', b'-'],
            b'/' => [b'/', b'_'],
            other => [*other, *other],
        });
        patterns.push(Zeroizing::new(either_alphabet.collect()));
    }
    patterns.retain(|pattern| pattern.len() >= crate::settings::MIN_SECRET_CHARS);
    patterns
}

/// One reading of the stream that may become a pattern.
#[derive(Clone)]
struct Thread {
    pattern: usize,
    /// Characters matched.
    matched: usize,
    /// Where in the stream it began.
    start: u64,
    /// Bytes of a spelling that is not complete.
    partial: [u8; LONGEST_SPELLING],
    partial_len: usize,
}

enum Spelled {
    Character(u8),
    Incomplete,
    Nothing,
}

/// The scan of one stream.
pub struct Scan {
    echo: Arc<Echo>,
    threads: Vec<Thread>,
    at: u64,
    held: BytesMut,
}

impl Scan {
    /// Takes the next bytes; gives what may pass, which can be less, or more by what was held back.
    ///
    /// # Errors
    /// [`Found`].
    pub fn push(&mut self, bytes: Bytes) -> Result<Bytes, Found> {
        for byte in &bytes {
            let starts = self.echo.starts.get(usize::from(*byte)).copied().unwrap_or_default();
            if starts || !self.threads.is_empty() {
                self.step(*byte, starts)?;
            }
            self.at += 1;
        }
        let safe = self.threads.iter().map(|thread| thread.start).min().unwrap_or(self.at);
        let unsafe_len = usize::try_from(self.at - safe).unwrap_or(usize::MAX);
        if self.held.is_empty() && unsafe_len == 0 {
            return Ok(bytes);
        }
        self.held.extend_from_slice(&bytes);
        let pass = self.held.len().saturating_sub(unsafe_len);
        Ok(self.held.split_to(pass).freeze())
    }

    /// The stream ended: what was held back was not the secret.
    pub fn end(&mut self) -> Bytes {
        self.threads.clear();
        self.held.split().freeze()
    }

    fn step(&mut self, byte: u8, starts: bool) -> Result<(), Found> {
        let mut threads = std::mem::take(&mut self.threads);
        if starts {
            threads.extend((0..self.echo.patterns.len()).map(|pattern| Thread {
                pattern,
                matched: 0,
                start: self.at,
                partial: [0; LONGEST_SPELLING],
                partial_len: 0,
            }));
        }
        for thread in threads {
            self.advance(thread, byte)?;
        }
        Ok(())
    }

    /// Goes on with one reading: the byte as it is, and as the beginning of a spelling.
    fn advance(&mut self, mut thread: Thread, byte: u8) -> Result<(), Found> {
        if thread.partial_len == 0 {
            self.accept(thread.clone(), byte)?;
            if !matches!(byte, b'%' | b'\\' | b'&') {
                return Ok(());
            }
        }
        let Some(slot) = thread.partial.get_mut(thread.partial_len) else { return Ok(()) };
        *slot = byte;
        thread.partial_len += 1;
        match spelled(thread.partial.get(..thread.partial_len).unwrap_or_default()) {
            Spelled::Character(character) => {
                thread.partial_len = 0;
                self.accept(thread, character)
            }
            Spelled::Incomplete => {
                self.keep(thread);
                Ok(())
            }
            Spelled::Nothing => Ok(()),
        }
    }

    fn accept(&mut self, mut thread: Thread, character: u8) -> Result<(), Found> {
        let pattern = self.echo.patterns.get(thread.pattern);
        let wanted = pattern.and_then(|pattern| pattern.get(thread.matched));
        if !wanted.is_some_and(|wanted| wanted.contains(&character)) {
            return Ok(());
        }
        thread.matched += 1;
        if pattern.is_some_and(|pattern| pattern.len() == thread.matched) {
            return Err(Found);
        }
        self.keep(thread);
        Ok(())
    }

    /// Two readings that stand at the same place differ only in where they began: the earlier one counts.
    fn keep(&mut self, thread: Thread) {
        let same = |other: &Thread| {
            other.pattern == thread.pattern
                && other.matched == thread.matched
                && other.partial.get(..other.partial_len) == thread.partial.get(..thread.partial_len)
        };
        match self.threads.iter_mut().find(|other| same(other)) {
            Some(other) => other.start = other.start.min(thread.start),
            None => self.threads.push(thread),
        }
    }
}

/// What an escape spells: `%41`, `\u0041`, `\x41`, `\/`, `&#65;`, `&#x41;`.
fn spelled(escape: &[u8]) -> Spelled {
    let hex = |digits: &[u8], wanted: usize| {
        if !digits.iter().all(u8::is_ascii_hexdigit) {
            return Spelled::Nothing;
        }
        if digits.len() < wanted {
            return Spelled::Incomplete;
        }
        number(digits, 16)
    };
    match escape {
        [b'%' | b'\\' | b'&'] | [b'&', b'#'] | [b'&', b'#', b'x' | b'X'] => Spelled::Incomplete,
        [b'%', digits @ ..] => hex(digits, 2),
        [b'\\', b'u' | b'U'] => Spelled::Incomplete,
        [b'\\', b'u' | b'U', digits @ ..] => hex(digits, 4),
        [b'\\', b'x'] => Spelled::Incomplete,
        [b'\\', b'x', digits @ ..] => hex(digits, 2),
        [b'\\', other] => Spelled::Character(*other),
        [b'&', b'#', b'x' | b'X', digits @ .., b';'] => number(digits, 16),
        [b'&', b'#', digits @ .., b';'] => number(digits, 10),
        [b'&', b'#', b'x' | b'X', digits @ ..] if digits.iter().all(u8::is_ascii_hexdigit) => Spelled::Incomplete,
        [b'&', b'#', digits @ ..] if digits.iter().all(u8::is_ascii_digit) => Spelled::Incomplete,
        _ => Spelled::Nothing,
    }
}

fn number(digits: &[u8], radix: u32) -> Spelled {
    let text = std::str::from_utf8(digits).unwrap_or_default();
    match u32::from_str_radix(text, radix).ok().and_then(|number| u8::try_from(number).ok()) {
        Some(character) => Spelled::Character(character),
        None => Spelled::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use data_encoding::{BASE64, BASE64URL, HEXUPPER};

    use super::*;

    const SECRET: &str = "sk-live/9+Zq_4~7?=x";

    fn echo() -> Arc<Echo> {
        Arc::new(Echo::new(SECRET))
    }

    fn spell(escape: impl Fn(u8) -> String) -> String {
        SECRET.bytes().map(escape).collect()
    }

    fn spellings() -> Vec<String> {
        let longer = format!("user:{SECRET}:and more");
        let mut spellings = vec![
            SECRET.to_owned(),
            HEXLOWER.encode(SECRET.as_bytes()),
            HEXUPPER.encode(SECRET.as_bytes()),
            BASE64.encode(SECRET.as_bytes()),
            spell(|byte| format!("%{byte:02x}")),
            spell(|byte| format!("%{byte:02X}")),
            spell(|byte| format!("\\u{byte:04x}")),
            spell(|byte| format!("\\x{byte:02X}")),
            spell(|byte| format!("&#{byte};")),
            spell(|byte| format!("&#x{byte:x};")),
            spell(
                |byte| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") },
            ),
            SECRET.replace('/', "\\/"),
            BASE64.encode(SECRET.as_bytes()).replace('/', "\\/").replace('+', "%2B"),
        ];
        for skip in 0..3 {
            spellings.push(BASE64.encode(&longer.as_bytes()[skip..]));
            spellings.push(BASE64URL.encode(&longer.as_bytes()[skip..]));
        }
        spellings
    }

    #[test]
    fn every_spelling_is_found_wherever_it_is_cut() {
        for spelling in spellings() {
            let text = format!("{{\"a\":\"{spelling}\"}}");
            assert!(echo().stands_in(text.as_bytes()), "{spelling}");
            for cut in 0..text.len() {
                let mut scan = echo().scan();
                let (one, two) = text.split_at(cut);
                let mut passed = Vec::new();
                let found = [one, two].iter().any(|piece| match scan.push(Bytes::copy_from_slice(piece.as_bytes())) {
                    Ok(bytes) => {
                        passed.extend(bytes);
                        false
                    }
                    Err(Found) => true,
                });
                assert!(found, "{spelling} cut at {cut}");
                let begins = text.find(&spelling).unwrap();
                assert!(passed.len() <= begins + 12, "{spelling}: {} bytes passed", passed.len() - begins);
            }
        }
    }

    #[test]
    fn byte_by_byte_nothing_of_the_secret_passes() {
        let mut scan = echo().scan();
        let mut passed = Vec::new();
        for byte in format!("x{SECRET}").bytes() {
            match scan.push(Bytes::copy_from_slice(&[byte])) {
                Ok(bytes) => passed.extend(bytes),
                Err(Found) => {
                    assert_eq!(passed, b"x");
                    return;
                }
            }
        }
        panic!("not found");
    }

    #[test]
    fn what_is_not_the_secret_passes_unchanged_and_at_once() {
        let mut scan = echo().scan();
        assert_eq!(scan.push(Bytes::from_static(b"data: {\"a\": 1}\n\n")).unwrap(), "data: {\"a\": 1}\n\n");
        assert_eq!(scan.push(Bytes::from_static(b"sk-live")).unwrap(), "");
        assert_eq!(scan.push(Bytes::from_static(b"lihood sk-li")).unwrap(), "sk-livelihood ");
        assert_eq!(scan.end(), "sk-li");
    }

    #[test]
    fn the_password_of_http_basic_is_a_secret_too() {
        let echo = Arc::new(Echo::new(&BASE64.encode(b"user:correct horse")));
        assert!(echo.stands_in(b"your password is correct horse."));
        assert!(!echo.stands_in(b"a horse"));
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_pass_whole_when_the_secret_is_not_there(pieces in proptest::collection::vec(proptest::collection::vec(proptest::sample::select(b"sk-live/%5c\\u0&#;x".to_vec()), 0..40), 0..8)) {
            let mut scan = echo().scan();
            let mut passed = Vec::new();
            for piece in &pieces {
                passed.extend(scan.push(Bytes::copy_from_slice(piece)).unwrap());
            }
            passed.extend(scan.end());
            proptest::prop_assert_eq!(passed, pieces.concat());
        }
    }
}

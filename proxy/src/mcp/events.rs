//! Server-sent events as they arrive in pieces (WHATWG HTML, 9.2.6): the data of each event, bounded.

/// Reads a stream of events.
#[derive(Debug, Default)]
pub struct Events {
    line: Vec<u8>,
    data: Vec<u8>,
    has_data: bool,
    after_return: bool,
    begun: bool,
    limit: usize,
    over: bool,
}

impl Events {
    /// A reader of events of up to `limit` bytes; after a longer one it reads no more.
    pub fn new(limit: usize) -> Events {
        Events { limit, ..Events::default() }
    }

    /// Whether an event was longer than the limit.
    pub const fn is_over(&self) -> bool {
        self.over
    }

    /// Takes the next piece of the stream; gives the data of each event that it completes.
    pub fn push(&mut self, bytes: &[u8], mut event: impl FnMut(&[u8])) {
        for byte in bytes {
            let after_return = std::mem::replace(&mut self.after_return, *byte == b'\r');
            match byte {
                // The second half of a line's end.
                b'\n' if after_return => {}
                b'\r' | b'\n' => self.end_line(&mut event),
                _ if self.over => return,
                byte => {
                    self.line.push(*byte);
                    self.over = self.line.len().saturating_add(self.data.len()) > self.limit;
                }
            }
        }
    }

    fn end_line(&mut self, event: &mut impl FnMut(&[u8])) {
        let mut line = std::mem::take(&mut self.line);
        if !std::mem::replace(&mut self.begun, true) && line.starts_with(b"\xEF\xBB\xBF") {
            line.drain(..3);
        }
        if line.is_empty() {
            if std::mem::take(&mut self.has_data) && !self.over {
                event(&self.data);
            }
            return self.data.clear();
        }
        let data = match line.strip_prefix(b"data") {
            Some([]) => Some(&[][..]),
            Some([b':', b' ', data @ ..] | [b':', data @ ..]) => Some(data),
            _ => None,
        };
        if let Some(data) = data {
            if std::mem::replace(&mut self.has_data, true) {
                self.data.push(b'\n');
            }
            self.data.extend_from_slice(data);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(stream: &[u8], piece: usize, limit: usize) -> (Vec<String>, bool) {
        let (mut events, mut found) = (Events::new(limit), Vec::new());
        for piece in stream.chunks(piece) {
            events.push(piece, |data| found.push(String::from_utf8_lossy(data).into_owned()));
        }
        (found, events.is_over())
    }

    #[test]
    fn events_are_read_however_they_are_cut_and_whatever_ends_their_lines() {
        for (stream, expected) in [
            ("data: a\n\n", &["a"][..]),
            ("event: message\r\nid: 7\r\ndata: {\"a\":1}\r\n\r\ndata:b\r\n\r\n", &["{\"a\":1}", "b"]),
            ("data: a\rdata: b\r\r: comment\r\rdata\r\r", &["a\nb", ""]),
            ("\u{feff}data: a\n\ndatax: b\n\nretry: 5\n\n", &["a"]),
            ("data:  a\n\ndata: not ended\n", &[" a"]),
            ("", &[]),
        ] {
            for piece in [1, 2, 3, 100] {
                assert_eq!(read(stream.as_bytes(), piece, 100).0, expected, "{stream:?} by {piece}");
            }
        }
        assert_eq!(read(b"data: abc\n\ndata: abcdefgh\n\ndata: a\n\n", 4, 10), (vec!["abc".to_owned()], true));
        assert!(read(&b"data: ab\n".repeat(5), 3, 10).1, "lines of one event count together");
    }
}

//! A model's answer on its way to the agent. It is read as it passes. An answer that is not streamed is held until it is whole, a stream from the
//! event on with which an agent takes it for finished: so what it proposes is on record before any call can be made of it.

use bytes::{Bytes, BytesMut};
use countersign_authorize::model::{
    Api,
    answer::{self, Reader, Reading, State},
};

use crate::mcp::events::Events;

/// How much of an answer is read, in bytes.
pub(crate) const MAX_ANSWER_BYTES: usize = 8 << 20;

/// How much of an answer is kept as it came, in bytes, unless more is asked for.
pub(crate) const KEPT_ANSWER_BYTES: usize = 256 << 10;

/// An answer on its way.
#[derive(Debug)]
pub struct Listening {
    api: Api,
    ok: bool,
    stream: Option<(Reader, Events)>,
    held: BytesMut,
    /// Longer than is read: nothing is held any more.
    over: bool,
}

impl Listening {
    /// To an answer of this API, of a good status or not, streamed or not.
    pub fn new(api: Api, ok: bool, streams: bool) -> Listening {
        let stream = (streams && ok).then(|| (Reader::new(api, MAX_ANSWER_BYTES), Events::new(MAX_ANSWER_BYTES)));
        Listening { api, ok, stream, held: BytesMut::new(), over: false }
    }

    /// Takes the next piece as it came.
    pub fn push(&mut self, bytes: &[u8]) {
        if let Some((reader, events)) = &mut self.stream {
            events.push(bytes, |data| reader.event(data));
            if events.is_over() {
                reader.too_long();
            }
        }
    }

    /// What of the next piece, searched, passes now.
    pub fn pass(&mut self, piece: Bytes) -> Option<Bytes> {
        let holds = match &self.stream {
            Some((reader, _)) => reader.is_finishing(),
            None => !self.over,
        };
        if !holds {
            return Some(piece).filter(|piece| !piece.is_empty());
        }
        self.held.extend_from_slice(&piece);
        self.over = self.stream.is_none() && self.held.len() > MAX_ANSWER_BYTES;
        self.over.then(|| self.held.split().freeze())
    }

    /// Holds a piece that is the end.
    pub fn hold(&mut self, piece: &[u8]) {
        self.held.extend_from_slice(piece);
    }

    /// What was held.
    pub fn held(&mut self) -> Bytes {
        self.held.split().freeze()
    }

    /// Whether it is a stream.
    pub const fn streams(&self) -> bool {
        self.stream.is_some()
    }

    /// Whether nothing more comes.
    pub fn is_over(&self) -> bool {
        self.stream.as_ref().is_some_and(|(reader, _)| reader.is_over())
    }

    /// What was read. `whole` is the body of an answer that is not streamed, as far as it was kept.
    pub fn end(self, whole: Option<&[u8]>) -> Reading {
        match (self.stream, whole) {
            (Some((reader, _)), _) => reader.end(),
            (None, Some(whole)) => answer::read(self.api, whole, self.ok),
            (None, None) => {
                let trouble = Some("it broke off, or is longer than is read".to_owned());
                Reading { state: State::Unreadable, trouble, ..Reading::default() }
            }
        }
    }
}

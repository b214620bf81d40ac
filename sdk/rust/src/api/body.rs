//! Bodies on their way: a request's is hashed and compared with what the gateway signed, an answer's is hashed and signed at its end.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use countersign_ledger::Hash;
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::{BodyExt as _, combinators::UnsyncBoxBody};
use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};

use super::layer::Answering;

/// A body on its way through the layer.
#[derive(Debug)]
pub struct Body(UnsyncBoxBody<Bytes, tower::BoxError>);

impl Body {
    /// Of any other body.
    pub fn new<B>(body: B) -> Body
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<tower::BoxError>,
    {
        Body(body.map_err(Into::into).boxed_unsync())
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = tower::BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Pin::new(&mut self.0).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

/// The content is not what the gateway signed.
#[derive(Debug, thiserror::Error)]
#[error("the content is not what the gateway signed")]
struct OtherContent;

/// What was read of a request's content, once it was read whole.
pub(super) type Read = Arc<Mutex<Option<Hash>>>;

/// A request's body, hashed as it is read.
pub(super) struct Reading<B> {
    body: Pin<Box<B>>,
    hash: Sha256,
    /// What it must be.
    signed: Option<Hash>,
    read: Read,
    ended: bool,
}

impl<B: HttpBody<Data = Bytes>> Reading<B> {
    pub(super) fn new(body: B, signed: Option<Hash>, read: Read) -> Reading<B> {
        let mut reading = Reading { body: Box::pin(body), hash: Sha256::new(), signed, read, ended: false };
        // Nobody asks a body for frames that says it is at its end.
        if reading.body.is_end_stream() {
            let _ = reading.end();
        }
        reading
    }

    fn end(&mut self) -> Result<(), OtherContent> {
        self.ended = true;
        let read = Hash::from(<[u8; 32]>::from(self.hash.clone().finalize()));
        *self.read.lock() = Some(read);
        if self.signed.is_some_and(|signed| signed != read) { Err(OtherContent) } else { Ok(()) }
    }
}

impl<B> HttpBody for Reading<B>
where
    B: HttpBody<Data = Bytes>,
    B::Error: Into<tower::BoxError>,
{
    type Data = Bytes;
    type Error = tower::BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let frame = std::task::ready!(self.body.as_mut().poll_frame(cx));
        Poll::Ready(match frame {
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    self.hash.update(data);
                }
                // Checked before the last piece is handed over: who reads until it has enough must not miss it.
                if (frame.is_trailers() || self.body.is_end_stream())
                    && let Err(other) = self.end()
                {
                    return Poll::Ready(Some(Err(other.into())));
                }
                Some(Ok(frame))
            }
            Some(Err(error)) => Some(Err(error.into())),
            None => self.end().err().map(|other| Err(other.into())),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.ended
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// An answer's body that streams: signed in its trailers, and also when nobody reads it to its end.
pub(super) struct Streaming<B> {
    body: Pin<Box<B>>,
    hash: Sha256,
    answering: Option<Answering>,
}

impl<B> Streaming<B> {
    pub(super) fn new(body: B, answering: Answering) -> Streaming<B> {
        Streaming { body: Box::pin(body), hash: Sha256::new(), answering: Some(answering) }
    }

    fn trailers(&mut self, mut trailers: HeaderMap) -> Option<Frame<Bytes>> {
        let digest = self.hash.clone().finalize();
        self.answering.take()?.sign(&mut trailers, Some(&digest), true);
        Some(Frame::trailers(trailers))
    }
}

impl<B> HttpBody for Streaming<B>
where
    B: HttpBody<Data = Bytes>,
    B::Error: Into<tower::BoxError>,
{
    type Data = Bytes;
    type Error = tower::BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if self.answering.is_none() {
            return Poll::Ready(None);
        }
        let frame = std::task::ready!(self.body.as_mut().poll_frame(cx));
        Poll::Ready(match frame {
            Some(Ok(frame)) => match frame.into_trailers() {
                Ok(trailers) => self.trailers(trailers).map(Ok),
                Err(frame) => {
                    if let Some(data) = frame.data_ref() {
                        self.hash.update(data);
                    }
                    Some(Ok(frame))
                }
            },
            Some(Err(error)) => Some(Err(error.into())),
            None => self.trailers(HeaderMap::new()).map(Ok),
        })
    }

    /// Never before its trailers were given.
    fn is_end_stream(&self) -> bool {
        self.answering.is_none()
    }
}

impl<B> Drop for Streaming<B> {
    /// Broken off: the receipt says how it was executed, and nothing of the content.
    fn drop(&mut self) {
        if let Some(answering) = self.answering.take() {
            answering.sign(&mut HeaderMap::new(), None, false);
        }
    }
}

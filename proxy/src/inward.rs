//! A request's body as it comes in: from a connection, or with the question of another proxy that holds the request.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use crate::BoxError;

/// A request's body.
#[derive(Debug)]
pub enum Inward {
    /// Comes over a connection.
    Live(Incoming),
    /// Is here, all of it; none when it is empty or was read.
    Whole(Option<Bytes>),
    /// There is one, and the proxy that holds it did not show it, or not all of it.
    Withheld,
}

/// The proxy that holds the request did not show its body.
#[derive(Debug, thiserror::Error)]
#[error(
    "Envoy did not show the body whole: its `with_request_body` must allow for its length, with `pack_as_bytes: true` and `allow_partial_message: false`"
)]
pub(crate) struct Withheld;

impl Inward {
    /// A body that is here.
    pub fn whole(bytes: Bytes) -> Inward {
        Inward::Whole(Some(bytes).filter(|bytes| !bytes.is_empty()))
    }
}

impl Body for Inward {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut *self {
            Inward::Live(body) => {
                Poll::Ready(ready!(Pin::new(body).poll_frame(cx)).map(|frame| frame.map_err(Into::into)))
            }
            Inward::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Inward::Withheld => Poll::Ready(Some(Err(Withheld.into()))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Inward::Live(body) => body.is_end_stream(),
            Inward::Whole(bytes) => bytes.is_none(),
            Inward::Withheld => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Inward::Live(body) => body.size_hint(),
            Inward::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Inward::Withheld => SizeHint::default(),
        }
    }
}

//! A request body that streams through: counted and hashed as it flows.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use data_encoding::HEXLOWER;
use http::HeaderName;
use http_body::{Body, Frame, SizeHint};
use parking_lot::Mutex;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;

use crate::{BoxError, inward::Inward, record::Trail};

/// The agent's half of a call failed.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct AgentFault(&'static str);

pub(super) struct Sending {
    body: Inward,
    trail: Arc<Mutex<Trail>>,
    hash: Sha256,
    bytes: u64,
    limit: u64,
    /// The trailers that pass.
    trailers: Vec<HeaderName>,
}

impl Sending {
    pub(super) fn new(body: Inward, trail: Arc<Mutex<Trail>>, limit: u64, trailers: Vec<HeaderName>) -> Sending {
        Sending { body, trail, hash: Sha256::new(), bytes: 0, limit, trailers }
    }

    fn fault(&self, what: &'static str) -> BoxError {
        self.trail.lock().agent_fault = Some(what);
        AgentFault(what).into()
    }

    fn sent(&self, ended: bool) {
        let mut trail = self.trail.lock();
        trail.bytes = [self.bytes, trail.bytes[1]];
        trail.last_sent = Some(Instant::now());
        if ended {
            trail.request = Some(digest(&self.hash.clone().finalize(), self.bytes));
        }
    }
}

/// What the record holds of a body.
pub(super) fn digest(sha256: &[u8], bytes: u64) -> serde_json::Value {
    json!({ "sha256": HEXLOWER.encode(sha256), "bytes": bytes })
}

impl Body for Sending {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        match std::task::ready!(Pin::new(&mut this.body).poll_frame(cx)) {
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    this.bytes += data.len() as u64;
                    this.hash.update(data);
                }
                if this.bytes > this.limit {
                    return Poll::Ready(Some(Err(this.fault("the body is larger than the gateway lets pass"))));
                }
                this.sent(frame.is_trailers() || this.body.is_end_stream());
                Poll::Ready(Some(Ok(match frame.into_trailers() {
                    Ok(mut trailers) => {
                        let named: Vec<_> =
                            trailers.keys().filter(|name| !this.trailers.contains(name)).cloned().collect();
                        named.iter().for_each(|name| drop(trailers.remove(name)));
                        Frame::trailers(trailers)
                    }
                    Err(frame) => frame,
                })))
            }
            Some(Err(_)) => Poll::Ready(Some(Err(this.fault("the agent's body ended before it was complete")))),
            None => {
                this.sent(true);
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

//! Sends a recorded call to its API: the judged request, the gateway's credential, and nothing of the agent's that was not judged.

mod again;
mod body;
pub(crate) mod headers;
mod sign;
pub(crate) mod subject;

use std::time::Duration;

use http::{HeaderValue, Request, Response, header};
use http_body::Body as _;
use http_body_util::{BodyExt as _, Empty, Full};
use hyper::body::Incoming;
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;

use self::body::Sending;
use crate::{
    Body,
    authorize::{Arrived, Outgoing},
    identify::TRACEPARENT,
    record::{Receipt, Sent},
    upstream::{CallError, Upstream, access::Held},
};

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ForwardError {
    /// No connection; nothing was sent.
    #[error("the API cannot be reached: {0}")]
    Unreachable(String),
    /// It failed so often that nothing is sent for a while.
    #[error("the API failed several times in a row; nothing is sent to it for {wait:?}")]
    LeftAlone {
        /// For how long still.
        wait: Duration,
    },
    /// A phase took too long.
    #[error("{phase}: longer than {limit:?}")]
    Timeout {
        /// Which phase.
        phase: &'static str,
        /// How long it may take.
        limit: Duration,
    },
    /// The connection broke, or what came is no HTTP.
    #[error("the API gave no proper answer: {0}")]
    Failed(String),
    /// The gateway's own credential for the API cannot be had; nothing was sent.
    #[error("the gateway's own credential for `{upstream}`: {what}")]
    Credential {
        /// Whose.
        upstream: String,
        /// What is wrong; never a secret.
        what: String,
    },
    /// What allowed the call was withdrawn while it was under way.
    #[error("what allowed this call was withdrawn while it was under way")]
    Withdrawn,
    /// The agent's half failed.
    #[error("{0}")]
    Agent(&'static str),
    /// The request cannot be put together.
    #[error("the request cannot be put together: {0}")]
    Request(String),
}

/// Sends what was recorded. The receipt is the proof that it was; without one there is no call.
///
/// # Errors
/// [`ForwardError`]; the receipt's trail then says whether the request may have arrived.
pub async fn forward(receipt: &Receipt, outgoing: Outgoing) -> Result<Response<Incoming>, ForwardError> {
    let Some(upstream) = &receipt.call().upstream else {
        return Err(ForwardError::Request("it names no API".to_owned()));
    };
    again::forward(receipt, upstream, outgoing).await
}

/// Sends it one time. `begun` is when this time began.
async fn once(
    receipt: &Receipt,
    upstream: &Upstream,
    outgoing: Outgoing,
    begun: Instant,
) -> Result<Response<Incoming>, ForwardError> {
    let streams = matches!(outgoing.body, Arrived::Stream(_));
    let held = subject::held(receipt, upstream).await?;
    let request = request(receipt, upstream, outgoing, held.as_deref())?;
    let timeouts = &upstream.settings.timeouts;
    let answer = upstream.call(request, |peer| {
        receipt.note(|trail| {
            trail.sent = trail.before.max(Sent::Maybe);
            trail.peer = Some(peer.to_string());
            trail.last_sent.get_or_insert_with(Instant::now);
        });
    });
    let answer = tokio::select! {
        biased;
        () = receipt.withdrawn() => return Err(ForwardError::Withdrawn),
        answer = answer => answer,
        () = stalled(receipt, begun, timeouts.first_byte, timeouts.connect) => {
            return Err(match receipt.note(|trail| streams && trail.request.is_none()) {
                true => ForwardError::Agent("the agent stopped sending its body"),
                false => ForwardError::Timeout { phase: "first byte", limit: timeouts.first_byte },
            });
        }
        () = tokio::time::sleep_until(receipt.since() + timeouts.total) => {
            return Err(ForwardError::Timeout { phase: "total", limit: timeouts.total });
        }
    };
    answer.map_err(|error| match error {
        _ if receipt.note(|trail| trail.agent_fault.is_some()) => {
            ForwardError::Agent(receipt.note(|trail| trail.agent_fault).unwrap_or_default())
        }
        CallError::Unreachable(what) => {
            receipt.note(|trail| trail.sent = trail.before);
            ForwardError::Unreachable(what)
        }
        CallError::ConnectTimeout(limit) => {
            receipt.note(|trail| trail.sent = trail.before);
            ForwardError::Timeout { phase: "connect", limit }
        }
        CallError::Failed(what) => ForwardError::Failed(what),
    })
}

/// Ends when nothing was sent for as long as the first byte of an answer may take.
async fn stalled(receipt: &Receipt, begun: Instant, first_byte: Duration, connect: Duration) {
    loop {
        let from = receipt.note(|trail| trail.last_sent);
        let deadline = from.map_or_else(|| begun + connect + first_byte, |from| from + first_byte);
        let now = Instant::now();
        if now >= deadline {
            return;
        }
        // Looked at again before the connection's own time is over: what was sent meanwhile has a deadline of its own.
        tokio::time::sleep_until(deadline.min(now + first_byte)).await;
    }
}

/// The request as the API is to see it: what was judged, the gateway's credential and its signature.
pub(crate) fn request(
    receipt: &Receipt,
    upstream: &Upstream,
    outgoing: Outgoing,
    held: Option<&Held>,
) -> Result<Request<Body>, ForwardError> {
    let uri = upstream.uri(&outgoing.target).map_err(|error| ForwardError::Request(error.to_string()))?;
    let streams = matches!(outgoing.body, Arrived::Stream(_));
    let credential = held.map(|held| &held.credential).or(upstream.settings.credential.as_ref());
    let mut headers = headers::of_request(&outgoing, &upstream.settings, credential);
    let context = receipt.call().seen.forwarding(&receipt.sealed().hash);
    // What the catalogue declares as an argument was judged, and is sent as it was.
    if let Some(context) = context.filter(|_| !outgoing.declared.contains(&TRACEPARENT)) {
        headers.insert(TRACEPARENT, context);
    }
    let trailers = headers::trailers_of_request(&outgoing, &upstream.settings);
    let limit = receipt.context().limits.body_bytes;
    let mut content = None;
    let body = match outgoing.body {
        Arrived::Empty => {
            receipt.note(|trail| trail.request = Some(body::digest(&Sha256::digest(b""), 0)));
            Empty::new().map_err(|never| match never {}).boxed_unsync()
        }
        Arrived::Whole(bytes) => {
            let (length, sha256) = (bytes.len() as u64, Sha256::digest(&bytes));
            content = Some(sha256.into());
            receipt.note(|trail| {
                trail.request = Some(body::digest(&sha256, length));
                trail.bytes = [length, 0];
            });
            Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
        }
        Arrived::Stream(body) => Sending::new(body, receipt.trail(), limit, trailers).boxed_unsync(),
    };
    if streams && body.size_hint().exact().is_none() {
        // Else the client leaves out the body of a GET whose length it does not know. HTTP/2 takes the header away.
        headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    let mut request = Request::new(body);
    *request.method_mut() = outgoing.method;
    *request.uri_mut() = uri;
    *request.headers_mut() = headers;
    sign::sign(receipt, upstream, &mut request, content)?;
    Ok(request)
}

//! Sending a request again, where that cannot do anything twice: nothing of it was sent, or it does the same however often it is sent. Never once a byte of
//! an answer was passed on. What was tried stands in the outcome.

use std::time::Duration;

use countersign_ledger::record::body::Attempt;
use http::{Response, StatusCode, header};
use hyper::body::Incoming;
use tokio::time::Instant;

use super::{ForwardError, once, subject};
use crate::{
    authorize::Outgoing,
    record::{Receipt, Sent},
    upstream::{LeftAlone, Upstream},
};

/// By which an API says that it did not do what was asked, and may do it in a moment.
const PASSING: [StatusCode; 3] =
    [StatusCode::BAD_GATEWAY, StatusCode::SERVICE_UNAVAILABLE, StatusCode::GATEWAY_TIMEOUT];

/// Why a request is sent again.
struct Why {
    status: Option<StatusCode>,
    detail: Option<String>,
}

pub(super) async fn forward(
    receipt: &Receipt,
    upstream: &Upstream,
    outgoing: Outgoing,
) -> Result<Response<Incoming>, ForwardError> {
    let retries = upstream.settings.retries;
    let (mut next, mut pause, mut attempt, mut renewed) = (outgoing, retries.pause, 1, upstream.access().is_none());
    loop {
        // Whoever is left alone now was not sent this: what earlier attempts did still counts.
        upstream.breaker.admit(Instant::now()).map_err(|LeftAlone { wait }| ForwardError::LeftAlone { wait })?;
        let copy = if attempt < retries.attempts || !renewed { next.copy() } else { None };
        let idempotent = next.idempotent;
        let result = once(receipt, upstream, next, Instant::now()).await;
        report(upstream, &result);
        // Who lets nobody in did nothing. So it is sent once more with another token, where its body is at hand; where it is not, the next call has that.
        if !std::mem::replace(&mut renewed, true)
            && let Some(why) = not_let_in(receipt, upstream, &result)
            && let Some(copy) = copy
        {
            note(receipt, why);
            next = copy;
            continue;
        }
        let again = copy.filter(|_| attempt < retries.attempts).zip(why(receipt, &result, idempotent));
        let Some((copy, why)) = again else { return result };
        if receipt.since().elapsed() + pause >= upstream.settings.timeouts.total {
            return result;
        }
        note(receipt, why);
        wait(receipt, pause).await?;
        (next, pause, attempt) = (copy, pause.saturating_mul(2), attempt + 1);
    }
}

/// Tells whether the API works. What the agent did, or what was withdrawn, says nothing of it.
fn report(upstream: &Upstream, result: &Result<Response<Incoming>, ForwardError>) {
    let good = match result {
        Ok(response) => !PASSING.contains(&response.status()),
        Err(ForwardError::Unreachable(_) | ForwardError::Timeout { .. } | ForwardError::Failed(_)) => false,
        Err(_) => return,
    };
    upstream.breaker.report(good, Instant::now());
}

/// Whether the API did not take the token that the gateway got, and there may be another one.
fn not_let_in(
    receipt: &Receipt,
    upstream: &Upstream,
    result: &Result<Response<Incoming>, ForwardError>,
) -> Option<Why> {
    let status = result.as_ref().ok()?.status();
    let refused = status == StatusCode::UNAUTHORIZED && subject::refused(receipt, upstream);
    refused.then(|| Why { status: Some(status), detail: Some("another token was asked for".to_owned()) })
}

/// Why it may be sent again, if it may.
fn why(receipt: &Receipt, result: &Result<Response<Incoming>, ForwardError>, idempotent: bool) -> Option<Why> {
    match result {
        // Whoever says when to come again is taken at their word: by the agent.
        Ok(response) => {
            let passing = PASSING.contains(&response.status()) && !response.headers().contains_key(header::RETRY_AFTER);
            (idempotent && passing).then(|| Why { status: Some(response.status()), detail: None })
        }
        Err(error @ (ForwardError::Unreachable(_) | ForwardError::Timeout { phase: "connect", .. })) => {
            Some(Why { status: None, detail: Some(error.to_string()) })
        }
        Err(error @ ForwardError::Failed(_)) => {
            let unsent = receipt.note(|trail| trail.sent) == Sent::No;
            (idempotent || unsent).then(|| Why { status: None, detail: Some(error.to_string()) })
        }
        Err(_) => None,
    }
}

/// Notes an attempt, and that another one begins.
fn note(receipt: &Receipt, why: Why) {
    let us = u64::try_from(receipt.since().elapsed().as_micros()).unwrap_or(u64::MAX);
    receipt.note(|trail| {
        if why.status.is_some() {
            trail.sent = Sent::Yes;
        }
        trail.attempts.push(Attempt {
            us,
            sent: trail.sent.as_str().to_owned(),
            status: why.status.map(|status| status.as_u16()),
            detail: why.detail,
        });
        (trail.before, trail.last_sent) = (trail.sent, None);
    });
}

async fn wait(receipt: &Receipt, pause: Duration) -> Result<(), ForwardError> {
    tokio::select! {
        biased;
        () = receipt.withdrawn() => Err(ForwardError::Withdrawn),
        () = tokio::time::sleep(pause) => Ok(()),
    }
}

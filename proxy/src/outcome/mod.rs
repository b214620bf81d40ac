//! Around `forward`: whatever becomes of a recorded call, exactly one outcome is written, and the agent gets an answer or a cut.

mod body;
mod late;

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context as TaskContext, Poll},
};

use bytes::Bytes;
use countersign_authorize::{Json, model::answer::Reading};
use countersign_ledger::{
    Draft, Hash,
    record::{EntryError, StatePut, body as bodies},
    vault::VaultError,
    writer::AppendError,
};
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde_json::{Value, json};
use tower::Service;

use self::body::Answering;
pub(crate) use self::late::{Late, Sealing};
use crate::{
    Body,
    error::{answer_call, problem},
    forward::{ForwardError, forward, headers},
    mcp::Exchange,
    observe::{Answered, Ended},
    receipts::{self, Judged},
    record::{Receipt, Recorded, Sent, Trail, stamp},
    stack::Context,
    state::{JudgedBy, open_key},
};

/// Nesting of a JSON response that is read for values.
const JSON_DEPTH: usize = 64;

/// The longest text of a model that is kept, in bytes.
const MAX_TEXT_BYTES: usize = 256 << 10;

/// How a call ended.
#[derive(Debug, Default)]
pub struct Ending {
    result: &'static str,
    detail: Option<String>,
    response: Option<Value>,
    observed: Option<Bytes>,
    /// Of a model's answer: how it could be read, the model that it names, and how many calls it proposes.
    read: Option<(&'static str, Option<String>, u64)>,
    /// Of a model's answer: tokens in and out.
    tokens: Option<[u64; 2]>,
    receipt: Option<Judged>,
}

impl Ending {
    /// One of the results of `docs/format.md`, kind `outcome`.
    pub const fn new(result: &'static str) -> Ending {
        Ending { result, detail: None, response: None, observed: None, read: None, tokens: None, receipt: None }
    }

    /// What a person should know.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Ending {
        self.detail = Some(detail.into());
        self
    }

    /// What came: digest, length, media type.
    #[must_use]
    pub(crate) fn response(mut self, response: Value) -> Ending {
        self.response = Some(response);
        self
    }

    /// The API's receipt, judged.
    #[must_use]
    pub(crate) fn receipt(mut self, receipt: Option<Judged>) -> Ending {
        self.receipt = receipt;
        self
    }

    /// Whether the answer came whole.
    pub(crate) fn is_whole(&self) -> bool {
        self.result == "completed"
    }

    /// A model's answer as it was read; with what it says, if that is kept.
    #[must_use]
    pub(crate) fn read(mut self, reading: &Reading, keep: bool) -> Ending {
        let mut told = Reading { calls: Vec::new(), ..reading.clone() };
        let too_long = told.text.len() > MAX_TEXT_BYTES;
        if !keep || too_long {
            told.text = String::new();
        }
        if let Some(response) = self.response.as_mut().and_then(Value::as_object_mut) {
            response.insert("answer".to_owned(), json!(told));
            if keep && too_long {
                response.insert("left_out".to_owned(), reading.text.len().into());
            }
        }
        self.tokens = reading.tokens;
        self.read = Some((reading.state.as_str(), reading.model.clone(), reading.calls.len() as u64));
        self
    }

    /// The JSON that later calls may take values from.
    #[must_use]
    pub(crate) fn observed(mut self, json: Option<Bytes>) -> Ending {
        self.observed = json;
        self
    }
}

/// The last step.
#[derive(Debug, Clone, Copy)]
pub struct Outcome;

impl Service<Recorded> for Outcome {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut TaskContext<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, recorded: Recorded) -> Self::Future {
        Box::pin(async move {
            let Recorded { receipt, outgoing } = recorded;
            let forwarded = forward(&receipt, outgoing).await;
            Ok(match forwarded {
                Ok(response) => answered(receipt, response),
                Err(error) => failed(receipt, &error),
            })
        })
    }
}

/// There is no answer.
pub(crate) fn failed(receipt: Receipt, error: &ForwardError) -> Response<Body> {
    let (code, result) = match error {
        ForwardError::Unreachable(_) => ("upstream-unreachable", "upstream_unreachable"),
        ForwardError::LeftAlone { .. } => ("upstream-open", "upstream_unreachable"),
        ForwardError::Timeout { .. } => ("upstream-timeout", "upstream_timeout"),
        ForwardError::Failed(_) => ("upstream-failed", "upstream_truncated"),
        ForwardError::Credential { .. } => ("credential-unavailable", "gateway_fault"),
        ForwardError::Withdrawn => ("revoked", "revoked"),
        ForwardError::Agent(_) => ("request-cut", "client_aborted"),
        ForwardError::Request(_) => ("gateway-fault", "gateway_fault"),
    };
    let mut response = refuse(receipt, code, &error.to_string(), Ending::new(result).detail(error.to_string()));
    if let ForwardError::LeftAlone { wait } = error {
        let seconds = wait.as_secs_f64().ceil() as u64;
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// Closes the call and tells the agent why there is no answer.
pub(crate) fn refuse(receipt: Receipt, code: &str, detail: &str, ending: Ending) -> Response<Body> {
    let sent = receipt.note(|trail| trail.sent);
    let problem = problem(code, detail)
        .with("call", receipt.call().id.as_str())
        .with("entry", receipt.sealed().hash.to_string())
        .with("sent", sent.as_str());
    let mut response = answer_call(receipt.call().exchange.as_deref(), problem);
    stamp(response.headers_mut(), receipt.sealed());
    finish(receipt, ending);
    response
}

/// The API answered: its head is checked, its body will be as it flows.
fn answered(receipt: Receipt, response: Response<Incoming>) -> Response<Body> {
    let (parts, incoming) = response.into_parts();
    receipt.mark("first_byte");
    receipt.note(|trail| {
        trail.sent = Sent::Yes;
        trail.status = Some(parts.status.as_u16());
    });
    let Some(upstream) = receipt.call().upstream.clone() else {
        return refuse(receipt, "gateway-fault", "", Ending::new("gateway_fault"));
    };
    let cut = |receipt, why: &str| {
        let media = json!({ "status": parts.status.as_u16(), "media_type": media_type(&parts.headers) });
        refuse(receipt, "response-cut", why, Ending::new("response_cut").detail(why).response(media))
    };
    if parts.status == StatusCode::SWITCHING_PROTOCOLS {
        return cut(receipt, "the API tried to change the protocol");
    }
    if !is_plain(&parts.headers) {
        return cut(receipt, "the API's answer is encoded although that was not asked for, and cannot be checked");
    }
    let echo = receipt.echo(&upstream);
    if echo.as_ref().is_some_and(|echo| parts.headers.values().any(|value| echo.stands_in(value.as_bytes()))) {
        return cut(receipt, "a header of the API's answer holds the gateway's credential");
    }
    if hyper::body::Body::is_end_stream(&incoming) && receipts::lacks(&receipt, &upstream, parts.status, &parts.headers)
    {
        return cut(receipt, receipts::LACKING);
    }
    let mut headers = headers::of_response(&parts.headers, parts.version, &upstream.settings);
    let exchange = receipt.call().exchange.as_deref();
    if receipt.call().view.is_some() || exchange.is_some_and(Exchange::rewrites) {
        headers::keep_general(&mut headers);
    }
    if exchange.is_some() || receipt.call().asking.is_some() {
        // A stream of events ends with the answer, whatever the server would say behind it.
        headers.remove(header::CONTENT_LENGTH);
    }
    stamp(&mut headers, receipt.sealed());
    let body = Answering::new(receipt, upstream, incoming, &parts.headers, parts.status);
    let mut response = Response::new(body.boxed_unsync());
    *response.status_mut() = parts.status;
    *response.headers_mut() = headers;
    response
}

fn media_type(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok())
}

fn is_plain(headers: &HeaderMap) -> bool {
    let identity = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"identity");
    headers.get_all(header::CONTENT_ENCODING).iter().all(identity)
}

/// Writes the outcome. Consumes the receipt: one call, one outcome.
pub fn finish(mut receipt: Receipt, ending: Ending) {
    close(&mut receipt, ending);
}

/// Why an outcome cannot be written down.
#[derive(Debug, thiserror::Error)]
enum CloseError {
    #[error(transparent)]
    Entry(#[from] EntryError),
    #[error(transparent)]
    Vault(#[from] VaultError),
}

/// Queues the outcome; the instruction learns what became of the call in the same moment, so that its next call can build on it.
pub(crate) fn close(receipt: &mut Receipt, ending: Ending) {
    conclude(receipt, ending, Seal::Unawaited);
}

/// The same; gives what waits for the outcome's seal.
pub(crate) fn close_awaited(receipt: &mut Receipt, ending: Ending) -> Option<Sealing> {
    conclude(receipt, ending, Seal::Awaited)
}

/// Whether somebody waits for an entry's seal.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Seal {
    Awaited,
    Unawaited,
}

fn conclude(receipt: &mut Receipt, ending: Ending, seal: Seal) -> Option<Sealing> {
    receipt.mark("end");
    let trail = receipt.closed();
    let seen = receipt.call().seen.clone();
    seen.ended(&Ended {
        result: ending.result,
        status: trail.status,
        sent: trail.sent,
        receipt: owed(receipt, &trail, &ending),
        answered: Answered {
            model: ending.read.as_ref().and_then(|(_, model, _)| model.as_deref()),
            tokens: ending.tokens,
        },
    });
    seen.run(|| write_down(receipt, &trail, &ending, seal))
}

fn write_down(receipt: &Receipt, trail: &Trail, ending: &Ending, seal: Seal) -> Option<Sealing> {
    let call = receipt.call();
    let hash = receipt.sealed().hash;
    let upstream = call.upstream.as_ref().map_or("", |upstream| upstream.settings.name.as_str());
    let observed = ending.observed.as_ref().and_then(|bytes| {
        let text = std::str::from_utf8(bytes).ok()?;
        let judged = JudgedBy { catalogue: call.rules.catalogue(upstream)?.clone(), shadow: receipt.is_shadow() };
        Some((receipt.action()?, judged, text, Json::parse_response(bytes, JSON_DEPTH).ok()?))
    });
    let value =
        observed.as_ref().map(|(action, _, text, _)| json!({ "upstream": upstream, "action": action, "body": text }));
    let draft = draft(receipt, &hash, trail, ending, value.as_ref());
    // Whatever stands in the way of the values, that the call ended is written.
    let draft = draft.or_else(|error| {
        tracing::error!(%error, "an outcome is written without its values");
        small(receipt, &hash, trail, ending)
    });
    let draft = match draft {
        Ok(draft) => draft,
        Err(error) => {
            tracing::error!(%error, "an outcome cannot be written");
            return None;
        }
    };
    let mut live = call.live.lock();
    // Before the outcome, which says that it came: then whoever takes the receipt away leaves a hole.
    countersign(receipt, trail, ending);
    match queue(receipt.context(), draft, seal) {
        Ok(sealing) => {
            live.end(&hash, trail.sent.as_str());
            if let Some((action, judged, _, json)) = &observed {
                live.observe_response(&hash, action, judged, json);
            }
            sealing
        }
        Err(AppendError::Entry(_) | AppendError::Full) => {
            // Larger than an entry may be, or too much waits already: the values stay behind, and nothing may be built on them.
            live.end(&hash, trail.sent.as_str());
            let small = small(receipt, &hash, trail, ending);
            let queued = small.map(|small| queue(receipt.context(), small, seal));
            match queued {
                Ok(Ok(sealing)) => sealing,
                _ => {
                    tracing::error!(call = %hash, "an outcome cannot be written");
                    None
                }
            }
        }
        // The ledger stopped. At its next start the open call is closed as `unknown`.
        Err(error) => {
            tracing::error!(%error, call = %hash, "an outcome cannot be written");
            None
        }
    }
}

/// With the outcome, in the same batch if it can be: the API's own word. Where it is missing, it is asked for later.
fn countersign(receipt: &Receipt, trail: &Trail, ending: &Ending) {
    let (context, call) = (receipt.context(), receipt.call());
    let Some(judged) = &ending.receipt else {
        if is_due(receipt, trail) {
            context.missing.notify_one();
        }
        return;
    };
    let of = receipts::Of { call: receipt.sealed().hash, instruction: &call.live.id, subject: &call.live.subject };
    let draft = judged.draft(&context.gateway, &of, false).map(|mut draft| {
        if judged.is_of_unknown_key() {
            // A new key, perhaps: it is looked for, and the receipt asked for again.
            draft.state.extend(still_missing(receipt));
            context.unknown_key.notify_waiters();
            context.missing.notify_one();
        }
        draft
    });
    let queued = draft.map(|draft| queue(context, draft, Seal::Unawaited));
    if !matches!(queued, Ok(Ok(_))) {
        tracing::error!(call = %receipt.sealed().hash, "a receipt cannot be written");
    }
}

/// The state that says that the call's receipt is to be asked for.
fn still_missing(receipt: &Receipt) -> Option<StatePut> {
    let (call, now) = (receipt.call(), receipt.context().gateway.now());
    let upstream = &call.upstream.as_ref()?.settings.name;
    Some(receipts::missing(&call.id, &call.live.id, &call.live.subject, upstream, now))
}

/// Whether the API owes a receipt: it gives them, and the call may have reached it.
fn is_due(receipt: &Receipt, trail: &Trail) -> bool {
    trail.sent != Sent::No
        && receipt.call().upstream.as_ref().is_some_and(|upstream| upstream.settings.receipts.is_some())
}

/// What became of the receipt that the API owes, if it owes one.
fn owed(receipt: &Receipt, trail: &Trail, ending: &Ending) -> Option<&'static str> {
    is_due(receipt, trail).then(|| if ending.receipt.is_some() { "received" } else { "missing" })
}

/// Queues a draft; where the ledger does not take it now, it is tried again behind the caller's back.
///
/// # Errors
/// [`AppendError`]; [`AppendError::Full`] and [`AppendError::Entry`] where it can perhaps be written without its values.
pub(crate) fn queue(context: &Arc<Context>, draft: Draft, seal: Seal) -> Result<Option<Sealing>, AppendError> {
    let ledger = &context.gateway.ledger;
    // Behind what waits already: a receipt comes before its outcome.
    if context.late.is_passable() {
        let queued = match seal {
            Seal::Awaited => ledger.enqueue(&draft).map(|ticket| Some(Sealing::Queued(ticket))),
            Seal::Unawaited => ledger.enqueue_unawaited(&draft).map(|()| None),
        };
        match queued {
            Err(error) if error.passes() => {}
            queued => return queued,
        }
    }
    late::keep(context, draft, seal)
}

/// The outcome without any value.
fn small(receipt: &Receipt, hash: &Hash, trail: &Trail, ending: &Ending) -> Result<Draft, CloseError> {
    let call = receipt.call();
    let (answer, model, proposals) = match &ending.read {
        Some((state, model, proposals)) => (Some((*state).to_owned()), model.clone(), Some(*proposals)),
        None => (None, None, None),
    };
    let outcome = bodies::Outcome {
        answer,
        model,
        proposals,
        call: *hash,
        subject: Some(call.live.subject.clone()),
        result: ending.result.to_owned(),
        status: trail.status,
        sent: trail.sent.as_str().to_owned(),
        peer: trail.peer.clone(),
        bytes: trail.bytes,
        us: trail.us.clone(),
        detail: ending.detail.clone(),
        attempts: trail.attempts.clone(),
        receipt: owed(receipt, trail, ending).map(str::to_owned),
        ..bodies::Outcome::default()
    };
    let mut draft = Draft::new(&outcome)?.of_instruction(&call.live.id).caused_by([*hash]);
    if outcome.receipt.as_deref() == Some("missing") {
        draft.state.extend(still_missing(receipt));
    }
    draft.state.push(StatePut { key: open_key(&call.id), value: None });
    Ok(draft)
}

fn draft(
    receipt: &Receipt,
    hash: &Hash,
    trail: &Trail,
    ending: &Ending,
    observed: Option<&Value>,
) -> Result<Draft, CloseError> {
    let (vault, subject) = (&receipt.context().gateway.vault, receipt.call().live.subject.as_str());
    let mut draft = small(receipt, hash, trail, ending)?;
    let values = [("request", trail.request.as_ref()), ("response", ending.response.as_ref()), ("observed", observed)];
    for (name, value) in values {
        if let Some(value) = value {
            draft = draft.disclose(vault, subject, name, value)?;
        }
    }
    Ok(draft)
}

//! One request as it is seen on its way: its span with one below it for each step, and what is counted of it at its end.
//!
//! Attributes are a closed list of names, and their values are words of the catalogue, the configuration or this program, numbers, and random ids. What a
//! call holds has no way in.

use std::{
    sync::Arc,
    time::{Instant, SystemTime},
};

use countersign_ledger::Hash;
use http::{HeaderValue, Request, Version};
use opentelemetry::{
    Array, Context, KeyValue, StringValue, Value,
    trace::{FutureExt as _, SpanBuilder, SpanKind, Status, TraceContextExt as _},
};
use parking_lot::Mutex;

use super::{
    Meaning, Observe, Observing,
    meaning::{Answered, share},
    method, parent, span_context,
};
use crate::{authorize::Judged, record::Sent};

/// The attribute with the hash of the call's entry, of every span of it.
const ENTRY: &str = "countersign.entry";

/// A request that is seen; nothing when nobody looks.
#[derive(Clone, Default)]
pub struct Seen(Option<Arc<Watched>>);

/// The last one that lets go of it ends its span and takes its time.
struct Watched {
    observing: Arc<Observing>,
    since: Instant,
    method: &'static str,
    version: &'static str,
    secure: bool,
    span: Option<Context>,
    told: Mutex<Told>,
}

/// What was found out on the way.
#[derive(Default)]
struct Told {
    status: Option<u16>,
    upstream: Option<String>,
    action: Option<String>,
    /// The route of the API's own listener.
    route: Option<String>,
    /// Steps that are over; their spans end once the entry is known.
    over: Vec<(Context, SystemTime)>,
    recording: Option<Part>,
    forwarding: Option<Part>,
}

/// A step on the way.
pub(crate) struct Part {
    since: Instant,
    span: Option<Context>,
}

/// How a forwarded call ended.
pub(crate) struct Ended<'a> {
    pub(crate) result: &'static str,
    pub(crate) status: Option<u16>,
    pub(crate) sent: Sent,
    /// `received` or `missing`, where the API owes a receipt.
    pub(crate) receipt: Option<&'static str>,
    pub(crate) answered: Answered<'a>,
}

impl Observe {
    /// A request begins: on the gateway, or on the API's listener.
    pub(super) fn begin<B>(&self, request: &Request<B>, secure: bool) -> Seen {
        let Some(observing) = &self.0 else { return Seen(None) };
        let (method, version) = (method(request.method()), version(request.version()));
        let span = observing.tracer.as_ref().map(|tracer| {
            let scheme = if secure { "https" } else { "http" };
            let of = [
                KeyValue::new("http.request.method", method),
                KeyValue::new("url.scheme", scheme),
                KeyValue::new("network.protocol.version", version),
            ];
            let span = SpanBuilder::from_name(method).with_kind(SpanKind::Server).with_attributes(of);
            let parent = parent(request.headers());
            let span = span.start_with_context(&**tracer, &parent);
            parent.with_span(span)
        });
        Seen(Some(Arc::new(Watched {
            observing: observing.clone(),
            since: Instant::now(),
            method,
            version,
            secure,
            span,
            told: Mutex::default(),
        })))
    }
}

const fn version(version: Version) -> &'static str {
    match version {
        Version::HTTP_2 => "2",
        Version::HTTP_10 => "1.0",
        _ => "1.1",
    }
}

impl Seen {
    /// Runs a future as a part of this request: what is logged in it names the trace.
    pub(super) async fn within<F: Future>(&self, future: F) -> F::Output {
        match self.0.as_ref().and_then(|watched| watched.span.clone()) {
            Some(span) => future.with_context(span).await,
            None => future.await,
        }
    }

    /// The same for a piece of work that does not wait.
    pub(crate) fn run<T>(&self, work: impl FnOnce() -> T) -> T {
        let _inside = self.0.as_ref().and_then(|watched| watched.span.clone()).map(Context::attach);
        work()
    }

    /// The answer's head is known.
    pub(super) fn answered(&self, status: u16) {
        if let Some(watched) = &self.0 {
            watched.told.lock().status = Some(status);
        }
    }

    /// The route of the API's listener.
    pub(super) fn routed(&self, route: &str) {
        let Some(watched) = &self.0 else { return };
        if let Some(span) = watched.recording() {
            span.span().update_name(format!("{} {route}", watched.method));
            span.span().set_attribute(KeyValue::new("http.route", route.to_owned()));
        }
        watched.told.lock().route = Some(route.to_owned());
    }

    /// The trace context of its own span, as the record has it where the agent sent none.
    pub(crate) fn traceparent(&self) -> Option<String> {
        traceparent(self.0.as_ref()?.span.as_ref()?)
    }

    /// It belongs to another trace too, as its body says: by then its own span had begun.
    pub(crate) fn links(&self, traceparent: &str) {
        let own = self.0.as_ref().and_then(|watched| watched.recording());
        if let Some((own, other)) = own.zip(span_context(traceparent))
            && own.span().span_context().trace_id() != other.trace_id()
        {
            own.span().add_link(other, Vec::new());
        }
    }

    /// A step begins.
    pub(crate) fn part(&self, name: &'static str) -> Option<Part> {
        Some(self.0.as_ref()?.part(name, SpanKind::Internal))
    }

    /// The call was judged.
    pub(crate) fn judged(&self, part: Option<Part>, judged: &Judged, meaning: &Meaning) {
        let Some(watched) = &self.0 else { return };
        let Judged { call, judgement, .. } = judged;
        let upstream = call.upstream.as_ref().map(|upstream| upstream.settings.name.as_str());
        let share = judged.session.state(&call.grant).and_then(|state| share(&state.grant, judgement));
        if let (Some(share), Some(upstream), Some(action)) = (share, upstream, &judgement.action) {
            watched.observing.instruments.budget(share, upstream, action);
        }
        let mut told = watched.told.lock();
        told.upstream = upstream.map(str::to_owned);
        told.action.clone_from(&judgement.action);
        if let Some(Part { since, span }) = part {
            let of = upstream.map(|upstream| KeyValue::new("upstream", upstream.to_owned()));
            watched.observing.instruments.authorize.record(since.elapsed().as_secs_f64(), of.as_slice());
            told.over.extend(span.map(|span| (span, SystemTime::now())));
        }
        let Some(span) = watched.recording() else { return };
        let reasons = judgement.reasons.iter().map(|reason| StringValue::from(reason.code)).collect();
        let text = |name: &'static str, value: Option<&str>| value.map(|value| KeyValue::new(name, value.to_owned()));
        let of = [
            text("countersign.call", Some(&call.id)),
            text("countersign.upstream", upstream),
            text("countersign.action", judgement.action.as_deref()),
            text("countersign.effect", judgement.effect.map(countersign_authorize::catalogue::Effect::as_str)),
            text("countersign.verdict", Some(judgement.verdict.as_str())),
            Some(KeyValue::new("countersign.reasons", Value::Array(Array::String(reasons)))),
        ];
        span.span().update_name(meaning.name(watched.method, judgement.action.as_deref()));
        span.span().set_attributes(of.into_iter().flatten().chain(meaning.attributes(judgement.action.as_deref())));
    }

    /// Its record begins.
    pub(crate) fn recording(&self) {
        if let Some(watched) = &self.0 {
            let part = watched.part("record", SpanKind::Internal);
            watched.told.lock().recording = Some(part);
        }
    }

    /// It is sealed: whatever was seen of it so far is of this entry.
    pub(crate) fn sealed(&self, entry: &Hash) {
        let Some(watched) = &self.0 else { return };
        let mut told = watched.told.lock();
        if let Some(Part { since, span }) = told.recording.take() {
            watched.observing.instruments.record.record(since.elapsed().as_secs_f64(), &[]);
            told.over.extend(span.map(|span| (span, SystemTime::now())));
        }
        let entry = KeyValue::new(ENTRY, entry.to_string());
        for (span, end) in told.over.drain(..) {
            span.span().set_attribute(entry.clone());
            span.span().end_with_timestamp(end);
        }
        if let Some(span) = &watched.span {
            span.span().set_attribute(entry);
        }
    }

    /// Counts a call by its verdict, once it is sealed.
    pub(crate) fn count(&self, verdict: &'static str, reason: Option<&'static str>, shadow: bool) {
        let Some(watched) = &self.0 else { return };
        let told = watched.told.lock();
        let of = [
            KeyValue::new("verdict", verdict),
            KeyValue::new("reason", reason.unwrap_or("none")),
            KeyValue::new("action", told.action.clone().unwrap_or_else(|| "unknown".to_owned())),
            KeyValue::new("upstream", told.upstream.clone().unwrap_or_else(|| "none".to_owned())),
            KeyValue::new("shadow", shadow),
        ];
        drop(told);
        watched.observing.instruments.calls.add(1, &of);
    }

    /// It is sent on. Gives the trace context that goes with it.
    pub(crate) fn forwarding(&self, entry: &Hash) -> Option<HeaderValue> {
        let watched = self.0.as_ref()?;
        let part = watched.part("forward", SpanKind::Client);
        let context = part.span.as_ref().and_then(traceparent).and_then(|text| HeaderValue::try_from(text).ok());
        if let Some(span) = &part.span {
            let upstream = watched.told.lock().upstream.clone().unwrap_or_default();
            span.span().set_attributes([
                KeyValue::new("http.request.method", watched.method),
                KeyValue::new("countersign.upstream", upstream),
                KeyValue::new(ENTRY, entry.to_string()),
            ]);
        }
        watched.told.lock().forwarding = Some(part);
        context
    }

    /// The forwarded call ended.
    pub(crate) fn ended(&self, ended: &Ended<'_>) {
        let Some(watched) = &self.0 else { return };
        let instruments = &watched.observing.instruments;
        let (forwarding, upstream) = {
            let mut told = watched.told.lock();
            (told.forwarding.take(), told.upstream.clone().unwrap_or_default())
        };
        let upstream = KeyValue::new("upstream", upstream);
        let failed = (ended.result != "completed").then_some(ended.result);
        instruments.outcomes.add(
            1,
            &[KeyValue::new("result", ended.result), KeyValue::new("sent", ended.sent.as_str()), upstream.clone()],
        );
        if let Some(state) = ended.receipt {
            instruments.receipts.add(1, &[KeyValue::new("state", state), upstream.clone()]);
        }
        let status = ended.status.map(|status| KeyValue::new("http.response.status_code", i64::from(status)));
        if let Some(Part { since, span }) = forwarding {
            let method = KeyValue::new("http.request.method", watched.method);
            let of = [
                Some(method),
                Some(upstream),
                status.clone(),
                failed.map(|result| KeyValue::new("error.type", result)),
            ];
            let of: Vec<KeyValue> = of.into_iter().flatten().collect();
            instruments.client.record(since.elapsed().as_secs_f64(), &of);
            if let Some(span) = span.filter(|span| span.span().is_recording()) {
                let span = span.span();
                span.set_attributes(status);
                span.set_attributes(ended.answered.attributes());
                // OpenTelemetry, HTTP client spans: 4xx and 5xx are errors of the client.
                if failed.is_some() || ended.status.is_some_and(|status| status >= 400) {
                    span.set_status(Status::error(""));
                    span.set_attributes(failed.map(|result| KeyValue::new("error.type", result)));
                }
                span.end();
            }
        }
        if let Some(span) = watched.recording() {
            span.span().set_attribute(KeyValue::new("countersign.result", ended.result));
            span.span().set_attributes(ended.answered.attributes());
        }
    }
}

impl Watched {
    /// Its span, if what is said of it is kept.
    fn recording(&self) -> Option<&Context> {
        self.span.as_ref().filter(|span| span.span().is_recording())
    }

    fn part(&self, name: &'static str, kind: SpanKind) -> Part {
        let below = self.observing.tracer.as_ref().zip(self.span.as_ref());
        let span = below.map(|(tracer, parent)| {
            let span = SpanBuilder::from_name(name).with_kind(kind).start_with_context(&**tracer, parent);
            parent.with_span(span)
        });
        Part { since: Instant::now(), span }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let told = std::mem::take(&mut *self.told.lock());
        for (span, end) in told.over {
            span.span().end_with_timestamp(end);
        }
        // No answer: the sender went away before there was one.
        let failed = match told.status {
            None => Some("client_aborted".to_owned()),
            Some(status) => (status >= 500).then(|| status.to_string()),
        };
        let status = told.status.map(|status| KeyValue::new("http.response.status_code", i64::from(status)));
        let error = failed.map(|failed| KeyValue::new("error.type", failed));
        if let Some(span) = self.recording() {
            let span = span.span();
            span.set_attributes(status.iter().chain(&error).cloned());
            if error.is_some() {
                span.set_status(Status::error(""));
            }
            span.end();
        }
        let of = [
            Some(KeyValue::new("http.request.method", self.method)),
            Some(KeyValue::new("url.scheme", if self.secure { "https" } else { "http" })),
            Some(KeyValue::new("network.protocol.version", self.version)),
            status,
            error,
            told.route.map(|route| KeyValue::new("http.route", route)),
            told.upstream.map(|upstream| KeyValue::new("upstream", upstream)),
        ];
        let of: Vec<KeyValue> = of.into_iter().flatten().collect();
        self.observing.instruments.server.record(self.since.elapsed().as_secs_f64(), &of);
    }
}

/// W3C Trace Context §3.2.
fn traceparent(context: &Context) -> Option<String> {
    let span = context.span();
    let of = span.span_context();
    let flags = if of.is_sampled() { "01" } else { "00" };
    of.is_valid().then(|| format!("00-{}-{}-{flags}", of.trace_id(), of.span_id()))
}

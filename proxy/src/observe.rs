//! What the gateway says of itself while it runs: instruments, spans, and the listener that Prometheus scrapes. It says how much, how long and with
//! which result; never who, and never what was in a call.
//!
//! Everything here costs one look at an `Option` when it is off. Exporters are set up by the binary: here are only the OpenTelemetry API and what is measured.

mod border;
mod gauges;
mod instruments;
mod meaning;
mod seen;

use std::{fmt, sync::Arc};

use axum::{Router, http::header, routing::get};
use http::HeaderMap;
use opentelemetry::{
    Context, SpanId, TraceFlags, TraceId, global::BoxedTracer, metrics::Meter, trace::SpanContext,
    trace::TraceContextExt as _, trace::TraceState,
};

pub(crate) use self::{
    border::{Watch, watch},
    gauges::register,
    instruments::Instruments,
    meaning::{Answered, Meaning},
    seen::{Ended, Seen},
};
use crate::{
    identify::{TRACEPARENT, is_traceparent, single},
    settings::Listener,
};

/// Gives the text that Prometheus scrapes.
pub type Scrape = Arc<dyn Fn() -> String + Send + Sync>;

/// Where what is measured goes. By default nowhere, and then nothing is measured.
#[derive(Clone, Default)]
pub struct Telemetry {
    /// Makes the instruments.
    pub meter: Option<Meter>,
    /// Makes the spans.
    pub tracer: Option<Arc<BoxedTracer>>,
    /// Where Prometheus scrapes, and what it gets.
    pub scrape: Option<(Listener, Scrape)>,
}

impl fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Telemetry")
            .field("meter", &self.meter.is_some())
            .field("tracer", &self.tracer.is_some())
            .field("scrape", &self.scrape.as_ref().map(|(listener, _)| listener))
            .finish()
    }
}

/// The handle by which everything reports.
#[derive(Clone, Default)]
pub struct Observe(Option<Arc<Observing>>);

/// Instruments and tracer, when there are any.
struct Observing {
    tracer: Option<Arc<BoxedTracer>>,
    instruments: Instruments,
}

impl Observe {
    /// Measures nothing.
    pub(crate) const OFF: &'static Observe = &Observe(None);

    pub(crate) fn new(telemetry: &Telemetry) -> Observe {
        let meter = telemetry.meter.clone();
        if meter.is_none() && telemetry.tracer.is_none() {
            return Observe(None);
        }
        // Without a provider the instruments of the global meter do nothing.
        let meter = meter.unwrap_or_else(|| opentelemetry::global::meter("countersign"));
        Observe(Some(Arc::new(Observing { tracer: telemetry.tracer.clone(), instruments: Instruments::new(&meter) })))
    }

    /// Reports, unless it is off.
    pub(crate) fn count(&self, report: impl FnOnce(&Instruments)) {
        if let Some(observing) = &self.0 {
            report(&observing.instruments);
        }
    }
}

/// The trace that a request belongs to, as its sender says.
fn parent(headers: &HeaderMap) -> Context {
    remote(headers).map_or_else(Context::new, |parent| Context::new().with_remote_span_context(parent))
}

fn remote(headers: &HeaderMap) -> Option<SpanContext> {
    span_context(single(headers, &TRACEPARENT).filter(|text| is_traceparent(text))?)
}

/// Of a `traceparent` that is one.
fn span_context(text: &str) -> Option<SpanContext> {
    let mut parts = text.split('-').skip(1);
    let trace = TraceId::from_hex(parts.next()?).ok()?;
    let span = SpanId::from_hex(parts.next()?).ok()?;
    let flags = u8::from_str_radix(parts.next()?, 16).ok()?;
    // `tracestate` goes to the API and stays out of our spans: it is text that anybody may have written.
    let state = TraceState::default();
    Some(SpanContext::new(trace, span, TraceFlags::new(flags) & TraceFlags::SAMPLED, true, state))
}

/// What listens for Prometheus: `GET /metrics`, and nothing else.
pub(crate) fn router(scrape: Scrape) -> Router {
    let metrics = async move || ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], scrape());
    Router::new().route("/metrics", get(metrics))
}

/// What OpenTelemetry calls a method: those that it knows, and `_OTHER`.
fn method(method: &http::Method) -> &'static str {
    const KNOWN: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];
    KNOWN.into_iter().find(|known| *known == method.as_str()).unwrap_or("_OTHER")
}

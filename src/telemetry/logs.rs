//! Log lines: to standard error as text or JSON, and over OTLP; each with the trace that it belongs to.
//!
//! Below `info` only our own modules speak: what a library says there of its insides may be what a call holds.

use std::{fmt, io::IsTerminal as _};

use opentelemetry::{Context, trace::TraceContextExt as _};
use opentelemetry_appender_tracing::layer::OpenTelemetryTracingBridge;
use opentelemetry_sdk::logs::SdkLoggerProvider;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::{
    EnvFilter, Layer as _,
    filter::filter_fn,
    fmt::{FmtContext, FormatEvent, FormatFields, format::Writer},
    layer::SubscriberExt as _,
    registry::LookupSpan,
    reload,
    util::SubscriberInitExt as _,
};

use crate::config::{Format, Log};

/// How much is logged, to be set anew while somebody logs.
pub struct Levels(Vec<Set>);

/// Sets one filter anew.
type Set = Box<dyn Fn(EnvFilter) + Send + Sync>;

impl Levels {
    /// As much as the configuration says from now on.
    pub fn set(&self, log: &Log) {
        self.0.iter().for_each(|set| set(filter(log)));
    }
}

fn filter(log: &Log) -> EnvFilter {
    EnvFilter::try_from_env("COUNTERSIGN_LOG").unwrap_or_else(|_| log.level.as_str().into())
}

/// A filter that can be set anew, and what does it.
fn settable<S: Subscriber>(log: &Log) -> (reload::Layer<EnvFilter, S>, Set) {
    let (filter, handle) = reload::Layer::new(filter(log));
    // It fails only where nobody logs any more.
    (filter, Box::new(move |filter| drop(handle.reload(filter))))
}

/// Begins to log. What was said before is lost, so this comes first.
pub fn begin(log: &Log, loggers: Option<&SdkLoggerProvider>) -> Levels {
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines = match log.format {
        Format::Json => {
            let format = Traced { json: true, inner: tracing_subscriber::fmt::format().json() };
            lines.json().event_format(format).boxed()
        }
        Format::Text => {
            let ansi = std::io::stderr().is_terminal();
            let format = Traced { json: false, inner: tracing_subscriber::fmt::format().with_ansi(ansi) };
            lines.with_ansi(ansi).event_format(format).boxed()
        }
    };
    let (shown, set_shown) = settable(log);
    let (sent, set_sent) = settable(log);
    let exported = loggers.map(|loggers| {
        // INVARIANT: what the exporter says of itself does not go through the exporter.
        let own = filter_fn(is_ours);
        OpenTelemetryTracingBridge::new(loggers).with_filter(own).with_filter(sent)
    });
    let registry = tracing_subscriber::registry();
    // It fails only where somebody logs already.
    let _ = registry.with(lines.with_filter(filter_fn(is_fit)).with_filter(shown)).with(exported).try_init();
    Levels(vec![set_shown, set_sent])
}

fn is_ours(metadata: &Metadata<'_>) -> bool {
    metadata.target().split("::").next().is_some_and(|first| first.starts_with("countersign"))
}

fn is_fit(metadata: &Metadata<'_>) -> bool {
    is_ours(metadata) || *metadata.level() <= Level::INFO
}

/// A format of lines, with the ids of trace and span where there are any.
struct Traced<F> {
    json: bool,
    inner: F,
}

impl<S, N, F> FormatEvent<S, N> for Traced<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(&self, ctx: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let Some((trace, span)) = ids() else { return self.inner.format_event(ctx, writer, event) };
        if !self.json {
            write!(writer, "trace_id={trace} span_id={span} ")?;
            return self.inner.format_event(ctx, writer, event);
        }
        let mut line = String::new();
        self.inner.format_event(ctx, Writer::new(&mut line), event)?;
        let rest = line.strip_prefix('{').unwrap_or(&line);
        write!(writer, "{{\"trace_id\":\"{trace}\",\"span_id\":\"{span}\",{rest}")
    }
}

fn ids() -> Option<(String, String)> {
    Context::map_current(|context| {
        let span = context.span();
        let of = span.span_context();
        of.is_valid().then(|| (of.trace_id().to_string(), of.span_id().to_string()))
    })
}

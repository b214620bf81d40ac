//! Where metrics, traces and logs go: standard error, the text that Prometheus scrapes, and OTLP. What is measured is in the proxy; here are the exporters.

mod exporter;
mod logs;
mod prometheus;

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use countersign_proxy::observe::Telemetry;
use opentelemetry::{KeyValue, global::BoxedTracer, metrics::MeterProvider as _, trace::TracerProvider as _};
use opentelemetry_sdk::{
    Resource,
    logs::SdkLoggerProvider,
    metrics::{PeriodicReader, SdkMeterProvider},
    trace::{Sampler, SdkTracerProvider},
};

pub use self::logs::{Levels, begin as begin_logs};
use self::{exporter::Exporter, prometheus::Shared};
use crate::config::{Config, Otlp};

/// The instrumentation's name.
const SCOPE: &str = "countersign";

/// How long the end waits for what was not sent yet.
const LAST_WORDS: Duration = Duration::from_secs(3);

/// What exports, until the process ends.
pub struct Exporting {
    /// What the proxy reports to.
    pub telemetry: Telemetry,
    /// How much is logged.
    pub levels: Arc<Levels>,
    meters: Option<SdkMeterProvider>,
    tracers: Option<SdkTracerProvider>,
    loggers: Option<SdkLoggerProvider>,
}

/// Sets up what the configuration asks for, and begins to log. Must be called in an async runtime.
///
/// # Errors
/// When an exporter cannot be set up.
pub fn begin(config: &Config) -> anyhow::Result<Exporting> {
    let otlp = config.telemetry.as_ref();
    let resource = Resource::builder_empty()
        .with_service_name(otlp.map_or_else(|| "countersign".to_owned(), |otlp| otlp.service_name.clone()))
        .with_attributes([
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
            KeyValue::new("countersign.origin", config.origin.0.clone()),
        ])
        .build();
    let exporter = otlp.map(Otlp::exporter).transpose().context("`[telemetry]`")?;
    let loggers = match (&exporter, otlp) {
        (Some(exporter), Some(otlp)) if otlp.logs => {
            let exporter = exporter.logs()?;
            Some(SdkLoggerProvider::builder().with_resource(resource.clone()).with_batch_exporter(exporter).build())
        }
        _ => None,
    };
    let levels = Arc::new(begin_logs(&config.log, loggers.as_ref()));
    let tracers = match (&exporter, otlp) {
        (Some(exporter), Some(otlp)) if otlp.traces => {
            let sampler = Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(otlp.sampling.0)));
            let builder = SdkTracerProvider::builder().with_resource(resource.clone()).with_sampler(sampler);
            Some(builder.with_batch_exporter(exporter.spans()?).build())
        }
        _ => None,
    };
    let (mut meters, mut any, mut scrape) = (SdkMeterProvider::builder().with_resource(resource), false, None);
    if let (Some(exporter), Some(otlp)) = (&exporter, otlp.filter(|otlp| otlp.metrics)) {
        let every = Duration::from_secs(otlp.interval_seconds.max(1));
        meters = meters.with_reader(PeriodicReader::builder(exporter.metrics()?).with_interval(every).build());
        any = true;
    }
    if let Some(metrics) = &config.metrics {
        let reader = Shared::default();
        meters = meters.with_reader(reader.clone());
        scrape = Some((metrics.listener(), reader.scrape()));
        any = true;
    }
    let meters = any.then(|| meters.build());
    let telemetry = Telemetry {
        meter: meters.as_ref().map(|meters| meters.meter(SCOPE)),
        tracer: tracers.as_ref().map(|tracers| Arc::new(BoxedTracer::new(Box::new(tracers.tracer(SCOPE))))),
        scrape,
    };
    Ok(Exporting { telemetry, levels, meters, tracers, loggers })
}

impl Exporting {
    /// Sends what was not sent yet, for a short time: a collector that is away must not keep the process.
    pub async fn end(self) {
        let Exporting { meters, tracers, loggers, telemetry, .. } = self;
        drop(telemetry);
        // It blocks, and what it waits for runs in this runtime.
        let ending = tokio::task::spawn_blocking(move || {
            // What fails was logged by the exporter.
            drop(tracers.map(|tracers| tracers.shutdown_with_timeout(LAST_WORDS)));
            drop(meters.map(|meters| meters.shutdown_with_timeout(LAST_WORDS)));
            drop(loggers.map(|loggers| loggers.shutdown_with_timeout(LAST_WORDS)));
        });
        drop(tokio::time::timeout(LAST_WORDS * 2, ending).await);
    }
}

impl Otlp {
    fn exporter(&self) -> anyhow::Result<Exporter> {
        Exporter::new(self)
    }
}

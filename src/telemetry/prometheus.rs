//! The registry as Prometheus reads it: text format 0.0.4, names as OpenTelemetry maps them to Prometheus. The crate that once did this is no longer kept,
//! and what is needed of it is a page.

use std::{
    borrow::Cow,
    collections::BTreeSet,
    fmt::{Display, Write as _},
    sync::{Arc, Weak},
    time::Duration,
};

use countersign_proxy::observe::Scrape;
use opentelemetry::KeyValue;
use opentelemetry_sdk::{
    error::OTelSdkResult,
    metrics::{
        InstrumentKind, ManualReader, Pipeline, Temporality,
        data::{AggregatedMetrics, Histogram, Metric, MetricData, ResourceMetrics},
        reader::MetricReader,
    },
};

/// Reads the registry when it is asked to.
#[derive(Debug, Clone, Default)]
pub struct Shared(Arc<ManualReader>);

impl Shared {
    /// What gives the text.
    pub fn scrape(&self) -> Scrape {
        let reader = self.clone();
        Arc::new(move || {
            let mut metrics = ResourceMetrics::default();
            match reader.collect(&mut metrics) {
                Ok(()) => text(&metrics),
                Err(error) => format!("# {error}\n"),
            }
        })
    }
}

impl MetricReader for Shared {
    fn register_pipeline(&self, pipeline: Weak<Pipeline>) {
        self.0.register_pipeline(pipeline);
    }

    fn collect(&self, metrics: &mut ResourceMetrics) -> OTelSdkResult {
        self.0.collect(metrics)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.0.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.0.shutdown_with_timeout(timeout)
    }

    fn temporality(&self, kind: InstrumentKind) -> Temporality {
        self.0.temporality(kind)
    }
}

/// All of it.
fn text(metrics: &ResourceMetrics) -> String {
    let mut out = String::new();
    let resource = metrics.resource().iter().map(|(key, value)| (name(key.as_str()), value.as_str()));
    let mut labels: Vec<_> = resource.collect();
    labels.sort();
    out.push_str("# HELP target_info The sidecar.\n# TYPE target_info gauge\n");
    sample(&mut out, "target_info", &labels, 1);
    for metric in metrics.scope_metrics().flat_map(|scope| scope.metrics()) {
        match metric.data() {
            AggregatedMetrics::F64(data) => write(&mut out, metric, data),
            AggregatedMetrics::U64(data) => write(&mut out, metric, data),
            AggregatedMetrics::I64(data) => write(&mut out, metric, data),
        }
    }
    out
}

fn write<T: Copy + Display>(out: &mut String, metric: &Metric, data: &MetricData<T>) {
    let base = format!("{}{}", name(metric.name()), suffix(metric.unit()));
    let (full, kind) = match data {
        MetricData::Sum(sum) if sum.is_monotonic() => (format!("{base}_total"), "counter"),
        MetricData::Sum(_) | MetricData::Gauge(_) => (base, "gauge"),
        MetricData::Histogram(_) => (base, "histogram"),
        // None is asked for.
        MetricData::ExponentialHistogram(_) => return,
    };
    let help = metric.description().replace('\\', "\\\\").replace('\n', "\\n");
    let _ = writeln!(out, "# HELP {full} {help}\n# TYPE {full} {kind}");
    match data {
        MetricData::Sum(sum) => {
            sum.data_points().for_each(|point| sample(out, &full, &labels(point.attributes()), point.value()));
        }
        MetricData::Gauge(gauge) => {
            gauge.data_points().for_each(|point| sample(out, &full, &labels(point.attributes()), point.value()));
        }
        MetricData::Histogram(histogram) => buckets(out, &full, histogram),
        MetricData::ExponentialHistogram(_) => {}
    }
}

fn buckets<T: Copy + Display>(out: &mut String, full: &str, histogram: &Histogram<T>) {
    for point in histogram.data_points() {
        let (of, mut below) = (labels(point.attributes()), 0);
        let bounds = point.bounds().map(|bound| bound.to_string()).chain(["+Inf".to_owned()]);
        for (bound, count) in bounds.zip(point.bucket_counts()) {
            below += count;
            let mut of = of.clone();
            of.push((Cow::Borrowed("le"), bound.into()));
            sample(out, &format!("{full}_bucket"), &of, below);
        }
        sample(out, &format!("{full}_sum"), &of, point.sum());
        sample(out, &format!("{full}_count"), &of, point.count());
    }
}

type Labels<'m> = Vec<(Cow<'m, str>, Cow<'m, str>)>;

fn labels<'m>(attributes: impl Iterator<Item = &'m KeyValue>) -> Labels<'m> {
    let of: BTreeSet<_> = attributes.map(|of| (name(of.key.as_str()), of.value.as_str())).collect();
    of.into_iter().collect()
}

fn sample(out: &mut String, full: &str, labels: &[(Cow<'_, str>, Cow<'_, str>)], value: impl Display) {
    out.push_str(full);
    for (at, (label, value)) in labels.iter().enumerate() {
        let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        let _ = write!(out, "{}{label}=\"{value}\"", if at == 0 { '{' } else { ',' });
    }
    let _ = writeln!(out, "{} {value}", if labels.is_empty() { "" } else { "}" });
}

/// A name that Prometheus takes: letters, digits, `_` and `:`.
fn name(name: &str) -> Cow<'_, str> {
    if name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        return Cow::Borrowed(name);
    }
    Cow::Owned(name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect())
}

/// What the unit adds to the name; `{call}` is a remark and adds nothing.
fn suffix(unit: &str) -> &'static str {
    match unit {
        "s" => "_seconds",
        "By" => "_bytes",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry::metrics::MeterProvider as _;
    use opentelemetry_sdk::metrics::SdkMeterProvider;

    use super::*;

    fn scraped(measure: impl FnOnce(&opentelemetry::metrics::Meter)) -> String {
        let reader = Shared::default();
        let meters = SdkMeterProvider::builder().with_reader(reader.clone()).build();
        measure(&meters.meter("test"));
        reader.scrape()()
    }

    #[test]
    fn counters_gauges_and_histograms_are_written_as_prometheus_names_them() {
        let text = scraped(|meter| {
            meter.u64_counter("a.calls").with_unit("{call}").build().add(3, &[KeyValue::new("http.route", "/a")]);
            meter.u64_gauge("a.size").with_unit("By").build().record(7, &[]);
            let histogram = meter.f64_histogram("a.time").with_unit("s").with_boundaries(vec![0.5, 1.0]).build();
            histogram.record(0.25, &[]);
            histogram.record(2.0, &[]);
        });
        for line in [
            "# TYPE a_calls_total counter",
            "a_calls_total{http_route=\"/a\"} 3",
            "# TYPE a_size_bytes gauge",
            "a_size_bytes 7",
            "a_time_seconds_bucket{le=\"0.5\"} 1",
            "a_time_seconds_bucket{le=\"1\"} 1",
            "a_time_seconds_bucket{le=\"+Inf\"} 2",
            "a_time_seconds_sum 2.25",
            "a_time_seconds_count 2",
        ] {
            assert!(text.lines().any(|have| have == line), "{line}\n{text}");
        }
    }

    #[test]
    fn a_label_cannot_break_out_of_its_quotes() {
        let text = scraped(|meter| {
            meter.u64_counter("a").build().add(1, &[KeyValue::new("b", "x\"} 9\ny\\")]);
        });
        assert!(text.contains("a_total{b=\"x\\\"} 9\\ny\\\\\"} 1\n"), "{text}");
    }
}

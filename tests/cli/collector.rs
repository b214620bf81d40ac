//! A collector of OTLP that really decodes.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
};

use opentelemetry_proto::tonic::{
    collector::{
        logs::v1::ExportLogsServiceRequest, metrics::v1::ExportMetricsServiceRequest,
        trace::v1::ExportTraceServiceRequest,
    },
    common::v1::{KeyValue, any_value::Value as Any},
    logs::v1::LogRecord,
    trace::v1::Span,
};
use prost::Message as _;

use crate::stub::start;

/// What a collector got.
#[derive(Default)]
pub struct Got {
    pub spans: Vec<Span>,
    pub metrics: BTreeSet<String>,
    pub logs: Vec<LogRecord>,
    /// Everything that came, decoded and printed.
    pub text: String,
    /// Requests without the header that opens the collector.
    pub strangers: u32,
}

/// A collector, and what it got so far. It wants the header `x-key: collector-key`.
pub fn collector() -> (String, Arc<Mutex<Got>>) {
    let got: Arc<Mutex<Got>> = Arc::default();
    let shared = got.clone();
    let address = start(move |asked| {
        let mut got = shared.lock().unwrap();
        if asked.header("x-key") != Some("collector-key")
            || asked.header("content-type") != Some("application/x-protobuf")
        {
            got.strangers += 1;
            return (401, Vec::new(), Vec::new());
        }
        match asked.path.as_str() {
            "/v1/traces" => {
                let sent = ExportTraceServiceRequest::decode(&*asked.body).unwrap();
                got.text += &format!("{sent:?}\n");
                let scopes = sent.resource_spans.into_iter().flat_map(|of| of.scope_spans);
                got.spans.extend(scopes.flat_map(|of| of.spans));
            }
            "/v1/metrics" => {
                let sent = ExportMetricsServiceRequest::decode(&*asked.body).unwrap();
                got.text += &format!("{sent:?}\n");
                let scopes = sent.resource_metrics.into_iter().flat_map(|of| of.scope_metrics);
                got.metrics.extend(scopes.flat_map(|of| of.metrics).map(|metric| metric.name));
            }
            "/v1/logs" => {
                let sent = ExportLogsServiceRequest::decode(&*asked.body).unwrap();
                got.text += &format!("{sent:?}\n");
                let scopes = sent.resource_logs.into_iter().flat_map(|of| of.scope_logs);
                got.logs.extend(scopes.flat_map(|of| of.log_records));
            }
            other => panic!("{other}"),
        }
        (200, vec![("content-type", "application/x-protobuf".to_owned())], Vec::new())
    });
    (address, got)
}

/// The text of an attribute.
pub fn text<'s>(attributes: &'s [KeyValue], name: &str) -> Option<&'s str> {
    let found = attributes.iter().find(|of| of.key == name)?.value.as_ref()?.value.as_ref()?;
    match found {
        Any::StringValue(text) => Some(text),
        _ => None,
    }
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

//! OpenTelemetry spans in OTLP's JSON: a client's span per call, below the trace that the agent sent, else a trace of the instruction.

use std::io::{self, Write};

use countersign_ledger::Hash;
use serde_json::{Value, json};

use super::{Ended, calls};
use crate::graph::{Graph, Node};

pub(super) fn write(graph: &Graph<'_>, to: &mut dyn Write) -> io::Result<()> {
    for ended in calls(graph) {
        let request = json!({ "resourceSpans": [{
            "resource": { "attributes": [text("service.name", "countersign"), text("countersign.origin", ended.call.origin())] },
            "scopeSpans": [{ "scope": { "name": "countersign", "version": env!("CARGO_PKG_VERSION") }, "spans": [span(&ended)] }],
        }] });
        writeln!(to, "{request}")?;
    }
    Ok(())
}

fn text(key: &str, value: &str) -> Value {
    json!({ "key": key, "value": { "stringValue": value } })
}

fn span(ended: &Ended<'_, '_>) -> Value {
    let Ended { call, outcome, method, target } = ended;
    let mut attributes = vec![
        text("countersign.entry", &call.hash.to_string()),
        text("countersign.verdict", call.text("verdict").unwrap_or_default()),
    ];
    let named = [
        ("countersign.call", "call"),
        ("countersign.grant", "grant"),
        ("gen_ai.agent.id", "agent"),
        ("peer.service", "upstream"),
    ];
    attributes.extend(named.iter().filter_map(|(key, name)| Some(text(key, call.text(name)?))));
    attributes.extend(call.entry().instruction.as_deref().map(|id| text("countersign.instruction", id)));
    attributes.extend(method.as_deref().map(|method| text("http.request.method", method)));
    if let Some(target) = target {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        attributes.push(text("url.path", path));
        attributes.extend(Some(query).filter(|query| !query.is_empty()).map(|query| text("url.query", query)));
    }
    let status = outcome.and_then(|outcome| outcome.clear("status")).and_then(Value::as_u64);
    attributes.extend(
        status.map(|status| json!({ "key": "http.response.status_code", "value": { "intValue": status.to_string() } })),
    );
    attributes
        .extend(outcome.and_then(|outcome| outcome.text("result")).map(|result| text("countersign.result", result)));
    let done = status.is_some_and(|status| status < 400);
    let (trace, parent) = context(call);
    let mut span = json!({
        "traceId": trace,
        "spanId": short(call.hash.to_string().as_str(), 16),
        "name": call.text("action").unwrap_or("call"),
        "kind": 3,
        "startTimeUnixNano": nanos(call),
        "endTimeUnixNano": nanos(outcome.unwrap_or(call)),
        "attributes": attributes,
        "status": { "code": if done { 1 } else { 2 } },
    });
    if let (Some(span), Some(parent)) = (span.as_object_mut(), parent) {
        span.insert("parentSpanId".to_owned(), json!(parent));
    }
    span
}

/// Trace id and parent span.
fn context(call: &Node<'_>) -> (String, Option<String>) {
    let mut parts = call.text("traceparent").unwrap_or_default().split('-').skip(1);
    if let (Some(trace), Some(span)) = (parts.next(), parts.next()) {
        return (trace.to_owned(), Some(span.to_owned()));
    }
    let of = call.entry().instruction.clone().unwrap_or_else(|| call.hash.to_string());
    (short(&Hash::of(of.as_bytes()).to_string(), 32), None)
}

fn short(hex: &str, digits: usize) -> String {
    hex.chars().take(digits).collect()
}

fn nanos(node: &Node<'_>) -> String {
    node.entry().time.instant().as_nanosecond().to_string()
}

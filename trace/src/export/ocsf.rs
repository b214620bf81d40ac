//! OCSF 1.9 API Activity with the profiles `ai_operation`, `security_control` and `record_integrity`.

use std::io::{self, Write};

use countersign_ledger::{Hash, canonical};
use serde_json::{Value, json};

use super::{Ended, calls, millis, object};
use crate::graph::{Graph, Node};

const VERSION: &str = "1.9.0";
const CLASS: u64 = 6003;

pub(super) fn write(graph: &Graph<'_>, to: &mut dyn Write) -> io::Result<()> {
    for ended in calls(graph) {
        writeln!(to, "{}", event(graph, &ended)?)?;
    }
    Ok(())
}

fn event(graph: &Graph<'_>, ended: &Ended<'_, '_>) -> io::Result<Value> {
    let Ended { call, outcome, method, target } = ended;
    let (activity, activity_name) = activity(call.text("effect"), method.as_deref());
    let status = outcome.and_then(|outcome| outcome.clear("status")).and_then(Value::as_u64);
    let (status_id, status_name) = match (call.text("verdict"), status) {
        (Some("allow"), Some(status)) if status < 400 => (1, "Success"),
        (Some("allow"), None) => (0, "Unknown"),
        _ => (2, "Failure"),
    };
    let (action_id, action, disposition_id, disposition) = match call.text("verdict") {
        Some("allow") => (1, "Allowed", 1, "Allowed"),
        Some("hold") => (2, "Denied", 99, "Held for approval"),
        _ => (2, "Denied", 2, "Blocked"),
    };
    let reasons = call.clear("reasons").and_then(Value::as_array).into_iter().flatten();
    let reasons: Vec<&Value> = reasons.filter_map(|reason| reason.get("code")).collect();
    let entry = call.entry();
    let agent = call.text("agent");
    let mut event = object([
        ("activity_id", json!(activity)),
        ("activity_name", json!(activity_name)),
        ("category_uid", json!(6)),
        ("class_uid", json!(CLASS)),
        ("type_uid", json!(CLASS * 100 + activity)),
        ("severity_id", json!(1)),
        ("time", json!(millis(call))),
        ("end_time", outcome.map_or(Value::Null, |outcome| json!(millis(outcome)))),
        ("status_id", json!(status_id)),
        ("status", json!(status_name)),
        ("status_code", status.map_or(Value::Null, |status| json!(status.to_string()))),
        ("status_detail", outcome.and_then(|outcome| outcome.clear("result")).cloned().unwrap_or_default()),
        ("action_id", json!(action_id)),
        ("action", json!(action)),
        ("disposition_id", json!(disposition_id)),
        ("disposition", json!(disposition)),
        ("metadata", metadata(call)),
        ("actor", actor(call, agent)),
        ("ai_agent", agent.map_or(Value::Null, |agent| json!({ "uid": agent, "name": agent }))),
        ("delegation", delegation(graph, call)),
        ("api", api(call, status)),
        ("src_endpoint", json!({ "name": agent.unwrap_or("unknown") })),
        ("dst_endpoint", json!({ "svc_name": call.text("upstream") })),
        ("http_request", request(method.as_deref(), target.as_deref())),
        ("http_response", status.map_or(Value::Null, |status| json!({ "code": status }))),
        (
            "unmapped",
            json!({ "kind": "call", "seq": entry.seq, "entry": call.hash, "prev": entry.prev, "verdict": call.text("verdict"), "reasons": reasons }),
        ),
    ]);
    attest(&mut event, call)?;
    Ok(event)
}

/// What kind of activity it is: a reading action reads, and of what changes something the method says more, where it is disclosed.
fn activity(effect: Option<&str>, method: Option<&str>) -> (u64, &'static str) {
    match (effect, method) {
        (Some("read"), _) => (2, "Read"),
        (Some(_), Some("POST")) => (1, "Create"),
        (Some(_), Some("PUT" | "PATCH")) => (3, "Update"),
        (Some(_), Some("DELETE")) => (4, "Delete"),
        (Some(_), _) => (99, "Change"),
        (None, _) => (0, "Unknown"),
    }
}

fn metadata(call: &Node<'_>) -> Value {
    json!({
        "version": VERSION,
        "uid": call.hash,
        "sequence": call.seq(),
        "correlation_uid": call.entry().instruction,
        "log_name": call.origin(),
        "product": { "name": "Countersign", "vendor_name": "Countersign", "version": env!("CARGO_PKG_VERSION") },
        "profiles": ["ai_operation", "security_control", "record_integrity"],
    })
}

/// The user stands in it by the pseudonym of the ledger.
fn actor(call: &Node<'_>, agent: Option<&str>) -> Value {
    object([
        ("app_name", json!(agent)),
        ("user", call.text("subject").map_or(Value::Null, |subject| json!({ "uid": subject }))),
    ])
}

fn api(call: &Node<'_>, status: Option<u64>) -> Value {
    object([
        ("operation", json!(call.text("action").unwrap_or("unknown"))),
        ("request", json!({ "uid": call.text("call") })),
        ("response", status.map_or(Value::Null, |status| json!({ "code": status }))),
        ("service", json!({ "name": call.text("upstream") })),
    ])
}

fn request(method: Option<&str>, target: Option<&str>) -> Value {
    let Some((method, target)) = method.zip(target) else { return Value::Null };
    let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
    let url = object([("path", json!(path)), ("query_string", json!(query))]);
    json!({ "http_method": method, "url": url })
}

/// The grant is the delegation of the user's authority.
fn delegation(graph: &Graph<'_>, call: &Node<'_>) -> Value {
    let Some(id) = call.text("grant") else { return Value::Null };
    let grant = graph.grant(id);
    let time = |text: &str| text.parse::<jiff::Timestamp>().ok().map(|time| time.as_millisecond());
    object([
        ("uid", json!(id)),
        ("issuer_uid", json!(call.origin())),
        ("audience", json!(call.text("upstream"))),
        ("created_time", grant.map_or(Value::Null, |grant| json!(millis(grant)))),
        ("expiration_time", json!(grant.and_then(|grant| time(grant.text("expires")?)))),
        ("parent_uid", json!(grant.and_then(|grant| grant.text("from")))),
        ("scopes", grant.and_then(|grant| grant.clear("actions")).cloned().unwrap_or_default()),
    ])
}

/// The fingerprint is over this event in canonical form without the fingerprint itself; the entry's own place in its chain stands in `unmapped`.
fn attest(event: &mut Value, call: &Node<'_>) -> io::Result<()> {
    let set = |event: &mut Value, attestation: Value| {
        if let Some(event) = event.as_object_mut() {
            event.insert("attestation".to_owned(), attestation);
        }
    };
    let mut attestation = json!({ "uid": call.hash, "authority_uid": call.origin() });
    set(event, attestation.clone());
    let hash = Hash::of(&canonical::to_vec(event).map_err(io::Error::other)?);
    let fingerprint = json!({ "algorithm_id": 3, "algorithm": "SHA-256", "value": hash });
    if let Some(attestation) = attestation.as_object_mut() {
        attestation.insert("fingerprint".to_owned(), fingerprint);
    }
    set(event, attestation);
    Ok(())
}

//! Where the fields of a line stand in JSON.

use std::str::FromStr;

use jiff::Timestamp;
use serde_json::Value;

use super::Format;
use crate::reconcile::{
    Line,
    line::{content, trace_id},
};

/// A field of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// When: RFC 3339, or seconds, milliseconds, microseconds or nanoseconds since 1970.
    Time,
    /// The HTTP method.
    Method,
    /// The path, with the query where it stands there too.
    Path,
    /// The query.
    Query,
    /// The status.
    Status,
    /// Bytes of the answer's body.
    Bytes,
    /// The request's body as JSON, or the JSON as text.
    Body,
    /// SHA-256 of the request's body, in hexadecimal.
    BodySha256,
    /// The arguments of an operation, with the names that the catalogue has for them.
    Arguments,
    /// The API's name of the operation: the catalogue's action.
    Operation,
    /// The header `countersign-entry`.
    Entry,
    /// SHA-256 of the request's signature.
    Signature,
    /// The API's id of the execution, as its receipts have it.
    Execution,
    /// The header `traceparent`, or its trace id.
    Traceparent,
    /// Under which credential.
    Credential,
}

const NAMES: [(&str, Field); 15] = [
    ("time", Field::Time),
    ("method", Field::Method),
    ("path", Field::Path),
    ("query", Field::Query),
    ("status", Field::Status),
    ("bytes", Field::Bytes),
    ("body", Field::Body),
    ("body_sha256", Field::BodySha256),
    ("arguments", Field::Arguments),
    ("operation", Field::Operation),
    ("entry", Field::Entry),
    ("signature", Field::Signature),
    ("execution", Field::Execution),
    ("traceparent", Field::Traceparent),
    ("credential", Field::Credential),
];

impl FromStr for Field {
    type Err = String;

    fn from_str(text: &str) -> Result<Field, String> {
        let found = NAMES.iter().find(|(name, _)| *name == text).map(|(_, field)| *field);
        found.ok_or_else(|| {
            let names: Vec<&str> = NAMES.iter().map(|(name, _)| *name).collect();
            format!("there is no field `{text}`; there are {}", names.join(", "))
        })
    }
}

/// Where each format has its fields, the older names of OpenTelemetry last.
const OTLP: [(Field, &str); 17] = [
    (Field::Time, "/startTimeUnixNano"),
    (Field::Method, "/attributes/http.request.method"),
    (Field::Method, "/attributes/http.method"),
    (Field::Path, "/attributes/url.path"),
    (Field::Path, "/attributes/http.target"),
    (Field::Path, "/attributes/url.full"),
    (Field::Query, "/attributes/url.query"),
    (Field::Status, "/attributes/http.response.status_code"),
    (Field::Status, "/attributes/http.status_code"),
    (Field::Bytes, "/attributes/http.response.body.size"),
    (Field::Entry, "/attributes/http.request.header.countersign-entry"),
    (Field::Traceparent, "/traceId"),
    (Field::Credential, "/attributes/user.id"),
    (Field::Credential, "/attributes/enduser.id"),
    (Field::BodySha256, "/attributes/countersign.body_sha256"),
    (Field::Execution, "/attributes/countersign.execution"),
    (Field::Operation, "/attributes/rpc.method"),
];

const CLOUDTRAIL: [(Field, &str); 3] =
    [(Field::Time, "/eventTime"), (Field::Operation, "/eventName"), (Field::Credential, "/userIdentity/accessKeyId")];

/// The pointers to each field.
#[derive(Debug)]
pub(super) struct Fields(Vec<(Field, String)>);

impl Fields {
    pub(super) fn of(format: Format, map: &[(Field, String)]) -> Fields {
        let own: Vec<(Field, String)> = match format {
            Format::Common | Format::Combined => Vec::new(),
            Format::Jsonl => NAMES.iter().map(|(name, field)| (*field, format!("/{name}"))).collect(),
            Format::CloudTrail => CLOUDTRAIL.iter().map(|(field, at)| (*field, (*at).to_owned())).collect(),
            Format::Otlp => OTLP.iter().map(|(field, at)| (*field, (*at).to_owned())).collect(),
        };
        // What is mapped stands there and nowhere else.
        let is_mapped = |field: &Field| map.iter().any(|(mapped, _)| mapped == field);
        Fields(map.iter().cloned().chain(own.into_iter().filter(|(field, _)| !is_mapped(field))).collect())
    }

    /// Fills in what a value says.
    pub(super) fn fill(&self, line: &mut Line, value: &Value, base: &str) -> Result<(), String> {
        let mut filled: Vec<Field> = Vec::new();
        for (field, at) in &self.0 {
            let Some(found) = value.pointer(at).filter(|found| !found.is_null()) else { continue };
            if !filled.contains(field) {
                set(line, *field, found, base).ok_or_else(|| format!("`{at}` cannot be read"))?;
                filled.push(*field);
            }
        }
        if line.path.is_some() && line.method.is_none() {
            return Err("it has a path and no method".to_owned());
        }
        Ok(())
    }
}

fn set(line: &mut Line, field: Field, value: &Value, base: &str) -> Option<()> {
    let plain = || value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let text = || value.as_str().map(str::to_owned).filter(|text| !text.is_empty());
    match field {
        Field::Time => (line.at, line.coarse) = time(&plain())?,
        Field::Method => line.method = Some(text()?.to_ascii_uppercase()),
        Field::Path => line.target(value.as_str()?, base),
        Field::Query => line.query = Some(value.as_str()?.trim_start_matches('?').to_owned()),
        Field::Status => line.status = Some(plain().parse().ok()?),
        Field::Bytes => line.bytes = Some(plain().parse().ok()?),
        Field::Body => {
            let inner: Option<Value> = value.as_str().and_then(|text| serde_json::from_str(text).ok());
            line.content = content(inner.as_ref().unwrap_or(value));
        }
        Field::BodySha256 => line.body = Some(plain().parse().ok()?),
        Field::Arguments => line.arguments = content(value),
        Field::Operation => line.operation = Some(text()?),
        // A header that somebody else sent may hold anything.
        Field::Entry => line.entry = plain().trim_matches(':').parse().ok(),
        Field::Signature => line.signature = text(),
        Field::Execution => line.execution = Some(plain()),
        Field::Traceparent => line.trace = trace_id(&plain()),
        Field::Credential => line.credential = Some(plain()),
    }
    Some(())
}

/// Microseconds since 1970, and whether they were whole seconds.
fn time(text: &str) -> Option<(i64, bool)> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Some((time.as_microsecond(), !text.contains('.')));
    }
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let number: i64 = whole.parse().ok().filter(|number| *number > 0)?;
    match number {
        0..100_000_000_000 => {
            let micros: i64 = format!("{part:0<6}").get(..6)?.parse().ok()?;
            Some((number.checked_mul(1_000_000)?.checked_add(micros)?, part.is_empty()))
        }
        100_000_000_000..100_000_000_000_000 => Some((number.checked_mul(1000)?, false)),
        100_000_000_000_000..100_000_000_000_000_000 => Some((number, false)),
        _ => Some((number / 1000, false)),
    }
}

//! One line of an API's log, whatever its format.

use std::collections::BTreeMap;

use countersign_ledger::Hash;
use serde_json::Value;

use super::Micros;
use crate::graph::number;

/// What a line says; what its format does not have is left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Line {
    /// Its number in the log, from 1.
    pub number: u64,
    /// When, in microseconds since 1970.
    pub at: Micros,
    /// Whether its time is in whole seconds.
    pub coarse: bool,
    /// The HTTP method.
    pub method: Option<String>,
    /// The path.
    pub path: Option<String>,
    /// The query; empty where the format would have one and there is none.
    pub query: Option<String>,
    /// The API's name for the operation, where its log has no method and path.
    pub operation: Option<String>,
    /// The HTTP status.
    pub status: Option<u16>,
    /// Whether it failed, where there is no status.
    pub failed: Option<bool>,
    /// Bytes of the answer's body.
    pub bytes: Option<u64>,
    /// SHA-256 of the request's body.
    pub body: Option<Hash>,
    /// What the request's body says, as `content` has it.
    pub content: Option<Hash>,
    /// What the operation's arguments say.
    pub arguments: Option<Hash>,
    /// The call's entry, from the header `countersign-entry`.
    pub entry: Option<Hash>,
    /// SHA-256 of the request's signature.
    pub signature: Option<String>,
    /// The API's id of the execution.
    pub execution: Option<String>,
    /// The trace id of the W3C trace context.
    pub trace: Option<String>,
    /// Under which credential it was asked.
    pub credential: Option<String>,
}

impl Line {
    /// Whether it was done, as far as the line says.
    pub fn is_done(&self) -> bool {
        self.status.is_none_or(|status| status < 400) && self.failed != Some(true)
    }

    /// Whether it says plainly that the API did what it was asked.
    pub fn is_good(&self) -> bool {
        self.status.is_some_and(|status| (200..400).contains(&status)) && self.failed != Some(true)
    }

    /// Whether it says plainly that the API did not. A 408 and nginx's 499 say that it lost its caller, and from 500 on it may have done a part.
    pub fn is_refused(&self) -> bool {
        self.status.is_some_and(|status| (400..499).contains(&status) && status != 408)
    }

    /// A line's path and query from a request target, without the scheme and host of a proxy's request and without the API's base path.
    pub(crate) fn target(&mut self, target: &str, base: &str) {
        let origin = target
            .split_once("://")
            .map_or(target, |(_, rest)| rest.find('/').map_or("/", |at| rest.get(at..).unwrap_or("/")));
        let (path, query) = origin.split_once('?').unwrap_or((origin, ""));
        let under =
            path.strip_prefix(base).filter(|rest| !base.is_empty() && (rest.is_empty() || rest.starts_with('/')));
        let path = under.map_or(path, |rest| if rest.is_empty() { "/" } else { rest });
        self.path = Some(path.to_owned());
        self.query = Some(query.to_owned());
    }
}

/// The trace id of a `traceparent`, or of a trace id alone.
pub(crate) fn trace_id(text: &str) -> Option<String> {
    let id = text.split('-').nth(1).unwrap_or(text);
    (id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit())).then(|| id.to_ascii_lowercase())
}

/// A digest of what JSON says: numbers and texts of numbers alike, members in any order. None where a number cannot be compared, because the log wrote it with an exponent or
/// more digits than a reader keeps.
pub fn content(value: &Value) -> Option<Hash> {
    let mut text = String::new();
    write(value, &mut text)?;
    Some(Hash::of(text.as_bytes()))
}

fn write(value: &Value, text: &mut String) -> Option<()> {
    match value {
        Value::Array(items) => {
            text.push('[');
            for item in items {
                write(item, text)?;
                text.push(',');
            }
            text.push(']');
        }
        Value::Object(members) => {
            text.push('{');
            for (name, value) in members.iter().collect::<BTreeMap<_, _>>() {
                text.push_str(&Value::from(name.as_str()).to_string());
                write(value, text)?;
                text.push(',');
            }
            text.push('}');
        }
        Value::Number(value) => {
            let digits = value.to_string();
            let many = value.is_f64() && digits.bytes().filter(u8::is_ascii_digit).count() > 15;
            if many || digits.contains(['e', 'E']) {
                return None;
            }
            scalar(&digits, text);
        }
        Value::String(value) => scalar(value, text),
        other => scalar(&other.to_string(), text),
    }
    Some(())
}

fn scalar(value: &str, text: &mut String) {
    match number(value) {
        Some((negative, whole, part)) => {
            let sign = if negative && (whole != "0" || !part.is_empty()) { "-" } else { "" };
            text.push_str(&format!("#{sign}{whole}.{part}"));
        }
        None => text.push_str(&Value::from(value).to_string()),
    }
}

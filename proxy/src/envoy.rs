//! Envoy forwards, the gateway judges and records: Envoy's external authorizer (`envoy.service.auth.v3.Authorization`) and the sink of its access log
//! (`envoy.service.accesslog.v3.AccessLogService`), which tells how the calls ended.
//!
//! ```text
//! CheckRequest ─ check ─► http::Request ─ identify ─ authorize ─ record ─► Recorded ─ handover ─► Admitted ─ answer ─► CheckResponse
//!                                                                                        │
//!                                                                          waiting ◄─────┘   … HTTPAccessLogEntry ─ fate ─► outcome
//! ```
//!
//! The steps up to the record are those of every call. What is refused is answered as the gateway answers it; what is allowed is handed over: Envoy is told
//! which headers to set and which to take away, and the receipt waits until the access log says what became of the call.
//!
//! Absent on purpose: everything that needs the API's answer. `handover` refuses the calls for which that matters.

mod proto;

mod check;
mod handover;

mod answer;
mod waiting;

mod fate;
mod service;

use std::time::Duration;

pub(crate) use self::service::Authorizer;
use crate::settings::Listener;

/// How the record says that Envoy asked and forwards.
pub const VIA: &str = "ext_authz";

/// How Envoy is served.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where Envoy asks and reports.
    pub listener: Listener,
    /// The APIs whose calls may go this way.
    pub upstreams: Vec<String>,
    /// SHA-256 (hexadecimal) of the secret that Envoy shows as bearer token; none when its certificate or the socket's directory keeps others out.
    pub token_sha256: Option<String>,
    /// The SPIFFE ids of which one Envoy's certificate must have; empty when any certificate of the listener's authorities will do.
    pub envoys: Vec<String>,
    /// How long a call may wait for Envoy's report before it is closed as one of which nobody knows what became of it.
    pub patience: Duration,
}

/// What a fuzzer may do: a question of Envoy's, as bytes, to the request that is judged. Gives method, target, headers and the body as far as it is shown.
#[doc(hidden)]
#[must_use]
pub fn question(bytes: &[u8]) -> Option<http::Request<Option<bytes::Bytes>>> {
    let asked = check::read(prost::Message::decode(bytes).ok()?).ok()?;
    Some(asked.request.map(|body| match body {
        crate::inward::Inward::Whole(bytes) => Some(bytes.unwrap_or_default()),
        _ => None,
    }))
}

/// What a fuzzer may do: Envoy's reports, as bytes, to what they say of calls. Gives how many of them are told of.
#[doc(hidden)]
#[must_use]
pub fn reports(bytes: &[u8]) -> usize {
    let Ok(message) = <proto::StreamAccessLogsMessage as prost::Message>::decode(bytes) else { return 0 };
    let entries = message.http_logs.unwrap_or_default().log_entry;
    entries.iter().filter(|entry| matches!(fate::read(entry), fate::Report::Ended(_))).count()
}

#[cfg(test)]
mod tests;

//! What became of a call, as Envoy's access log tells it: the same results as of a call that the gateway forwards itself.

use std::collections::BTreeMap;

use countersign_ledger::Hash;
use prost_types::{Duration, value::Kind};

use super::{
    answer::ENTRY,
    proto::{AccessLogCommon, HttpAccessLogEntry, Metadata, ResponseFlags, SocketAddress},
};
use crate::{
    outcome::{Ending, finish},
    record::{Receipt, Sent},
};

/// The namespace in which Envoy keeps what its authorizer said.
const NAMESPACE: &str = "envoy.filters.http.ext_authz";

/// `AccessLogType`: not said, and the end of a request. Others tell of a request that goes on.
const ENDS: [i32; 2] = [0, 6];

/// What Envoy says of an answer that is the API's.
const FROM_UPSTREAM: &str = "via_upstream";

/// What a line of the access log tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Report {
    /// How a call ended.
    Ended(Box<Fate>),
    /// Envoy sent a request that it had no leave for: its route or a failure mode let it through. The route's name.
    Unauthorized(String),
    /// Nothing: a request that Envoy refused or answered itself, or one that goes on.
    Nothing,
}

/// How a call ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fate {
    pub(super) entry: Hash,
    pub(super) result: &'static str,
    pub(super) sent: Sent,
    /// The API's status; not one that Envoy made.
    pub(super) status: Option<u16>,
    peer: Option<String>,
    bytes: [u64; 2],
    us: BTreeMap<String, u64>,
    pub(super) detail: Option<String>,
}

/// Reads a line.
pub(super) fn read(line: &HttpAccessLogEntry) -> Report {
    let none = AccessLogCommon::default();
    let common = line.common.as_ref().unwrap_or(&none);
    if common.intermediate_log_entry || !ENDS.contains(&common.access_log_type) {
        return Report::Nothing;
    }
    let response = line.response.clone().unwrap_or_default();
    let from_api = response.response_code_details == FROM_UPSTREAM
        || (response.response_code_details.is_empty() && common.first_upstream_received.is_some());
    let Some(entry) = common.metadata.as_ref().and_then(entry) else {
        let sent = common.first_upstream_sent.is_some() || from_api;
        return if sent { Report::Unauthorized(common.route_name.clone()) } else { Report::Nothing };
    };
    let flags = common.response_flags.unwrap_or_default();
    let (result, may_be_sent, why) = judge(&flags, from_api);
    let tried_again = common.upstream_request_attempt_count > 1;
    let sent = match () {
        () if from_api || common.first_upstream_received.is_some() => Sent::Yes,
        () if tried_again || (may_be_sent && common.upstream_request_attempt_count > 0) => Sent::Maybe,
        () => Sent::No,
    };
    let mut detail: Vec<String> = why.map(str::to_owned).into_iter().collect();
    if !from_api && !response.response_code_details.is_empty() {
        detail.push(response.response_code_details.clone());
    }
    if !common.upstream_transport_failure_reason.is_empty() {
        detail.push(common.upstream_transport_failure_reason.clone());
    }
    if tried_again {
        detail.push(format!("Envoy tried {} times", common.upstream_request_attempt_count));
    }
    let detail = detail.join("; ");
    let peer = common.upstream_remote_address.as_ref().and_then(|peer| peer.socket_address.as_ref());
    Report::Ended(Box::new(Fate {
        entry,
        result,
        sent,
        status: response.response_code.filter(|_| from_api).and_then(|status| u16::try_from(status).ok()),
        peer: peer.map(|SocketAddress { address, port_value }| format!("{address}:{port_value}")),
        bytes: [
            line.request.as_ref().map_or(0, |request| request.request_body_bytes),
            if from_api { response.response_body_bytes } else { 0 },
        ],
        us: times(common),
        // A text of Envoy's must not make an entry too long.
        detail: (!detail.is_empty()).then(|| detail.chars().take(500).collect()),
    }))
}

/// The entry that Envoy's authorizer named.
fn entry(metadata: &Metadata) -> Option<Hash> {
    match &metadata.filter_metadata.get(NAMESPACE)?.fields.get(ENTRY)?.kind {
        Some(Kind::StringValue(hash)) => hash.parse().ok(),
        _ => None,
    }
}

/// The result, whether the request may have arrived though no answer came, and what went wrong in words.
fn judge(flags: &ResponseFlags, from_api: bool) -> (&'static str, bool, Option<&'static str>) {
    let named = [
        (flags.downstream_connection_termination, "client_aborted", true, "the agent went away"),
        (flags.downstream_remote_reset, "client_aborted", true, "the agent gave up the request"),
        (flags.downstream_protocol_error, "client_aborted", true, "the agent's request broke the protocol"),
        (flags.upstream_request_timeout, "upstream_timeout", true, "the API did not answer in time"),
        (flags.upstream_max_stream_duration_reached, "upstream_timeout", true, "the call took too long"),
        (flags.duration_timeout, "upstream_timeout", true, "the call took too long"),
        (flags.stream_idle_timeout, "upstream_timeout", true, "nothing came for too long"),
        (flags.dns_resolution_failure, "upstream_unreachable", false, "the API's name was not found"),
        (flags.upstream_connection_failure, "upstream_unreachable", false, "no connection to the API"),
        (flags.no_healthy_upstream, "upstream_unreachable", false, "no healthy host of the API"),
        (flags.no_route_found, "upstream_unreachable", false, "Envoy has no route"),
        (flags.no_cluster_found, "upstream_unreachable", false, "Envoy has no cluster"),
        (flags.upstream_overflow, "upstream_unreachable", false, "too many calls of Envoy's to the API"),
        (flags.upstream_connection_termination, "upstream_truncated", true, "the API closed the connection"),
        (flags.upstream_remote_reset, "upstream_truncated", true, "the API gave up the request"),
        (flags.upstream_protocol_error, "upstream_truncated", true, "the API broke the protocol"),
        (flags.local_reset, "upstream_truncated", true, "Envoy gave up the request"),
        (flags.upstream_retry_limit_exceeded, "upstream_truncated", true, "Envoy tried as often as it may"),
        (flags.rate_limited, "upstream_unreachable", false, "Envoy limits the rate"),
        (flags.rate_limit_service_error, "upstream_unreachable", false, "Envoy's rate limiter failed"),
        (flags.fault_injected, "upstream_unreachable", false, "Envoy was told to fail the call"),
        (flags.overload_manager, "upstream_unreachable", false, "Envoy is overloaded"),
        (flags.invalid_envoy_request_headers, "upstream_unreachable", false, "Envoy refused the request's headers"),
        (flags.no_filter_config_found, "upstream_unreachable", false, "Envoy lacks the configuration of a filter"),
        (flags.failed_local_healthcheck, "upstream_unreachable", false, "Envoy is to be taken out of service"),
    ];
    match named.into_iter().find(|(set, ..)| *set) {
        Some((_, result, may_be_sent, why)) => (result, may_be_sent, Some(why)),
        None if from_api => ("completed", true, None),
        None => ("upstream_unreachable", false, Some("Envoy answered itself")),
    }
}

/// When what happened, counted from the request's first byte at Envoy.
fn times(common: &AccessLogCommon) -> BTreeMap<String, u64> {
    let us = |time: &Duration| {
        let seconds = u64::try_from(time.seconds).ok()?.checked_mul(1_000_000)?;
        seconds.checked_add(u64::try_from(time.nanos).ok()? / 1_000)
    };
    let named = [
        ("envoy_sent", &common.last_upstream_sent),
        ("envoy_first_byte", &common.first_upstream_received),
        ("envoy_last_byte", &common.last_upstream_received),
        ("envoy_answered", &common.last_downstream_sent),
    ];
    // More than an integer of JSON holds is no time.
    let read = named.into_iter().filter_map(|(name, time)| Some((name.to_owned(), us(time.as_ref()?)?)));
    read.filter(|(_, us)| *us < 1 << 53).collect()
}

impl Fate {
    /// Closes the call.
    pub(super) fn close(self, receipt: Receipt) {
        let judged = receipt.note(|trail| {
            let judged = trail.bytes[0];
            trail.sent = self.sent;
            trail.status = self.status;
            trail.peer = self.peer;
            trail.bytes = self.bytes;
            trail.us.extend(self.us);
            // Without a body in the question there was none to be sent.
            trail.request.is_some().then_some(judged)
        });
        let mut details: Vec<String> = self.detail.into_iter().collect();
        if judged.is_some_and(|judged| self.bytes[0] > judged) {
            let (sent, judged) = (self.bytes[0], judged.unwrap_or_default());
            tracing::error!(entry = %self.entry, "Envoy sends bodies that it does not show: set `with_request_body`");
            details.push(format!("Envoy read {sent} bytes of a body of which {judged} were judged"));
        }
        let mut ending = Ending::new(self.result);
        if !details.is_empty() {
            ending = ending.detail(details.join("; "));
        }
        finish(receipt, ending);
    }
}

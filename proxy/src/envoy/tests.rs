//! Questions and reports as Envoy makes them, without Envoy: what it does not do by itself, and what only a wrong configuration makes.

use bytes::Bytes;
use countersign_ledger::Hash;
use http_body::Body as _;

use super::{
    check::{self, CheckError},
    fate::{self, Report},
    proto::{
        AccessLogCommon, AttributeContext, CheckRequest, HeaderMap, HeaderValue, HttpAccessLogEntry, HttpRequest,
        HttpResponseProperties, Metadata, Peer, Request, ResponseFlags, metadata,
    },
};
use crate::{inward::Inward, record::Sent};

fn header(key: &str, value: &str) -> HeaderValue {
    HeaderValue { key: key.to_owned(), value: String::new(), raw_value: value.into() }
}

fn question(headers: &[(&str, &str)], body: &'static str, change: impl FnOnce(&mut HttpRequest)) -> CheckRequest {
    let mut http = HttpRequest {
        method: "POST".to_owned(),
        path: "/pay?a=1".to_owned(),
        host: "bank.example".to_owned(),
        scheme: "https".to_owned(),
        raw_body: Bytes::from_static(body.as_bytes()),
        header_map: Some(HeaderMap { headers: headers.iter().map(|(key, value)| header(key, value)).collect() }),
        ..HttpRequest::default()
    };
    change(&mut http);
    let source = Peer { address: None, principal: "spiffe://bank.example/agent".to_owned() };
    let request = Some(Request { http: Some(http) });
    CheckRequest { attributes: Some(AttributeContext { source: Some(source), request }) }
}

#[test]
fn a_question_is_the_agents_request() {
    let headers = [(":path", "/pay?a=1"), ("host", "evil.example"), ("accept", "a"), ("accept", "b")];
    let asked = check::read(question(&headers, "{}", |_| {})).unwrap();
    assert_eq!(asked.request.uri(), "/pay?a=1");
    assert_eq!(asked.request.headers()["host"], "bank.example");
    assert_eq!(asked.request.headers().get_all("accept").iter().count(), 2);
    assert_eq!((asked.request.headers().len(), asked.request.body().size_hint().exact()), (3, Some(2)));
    assert_eq!(asked.arrival.client.as_deref(), Some("spiffe://bank.example/agent"));
    assert!(asked.arrival.secure && asked.arrival.via == Some("ext_authz"));
}

#[test]
fn what_envoy_does_not_show_whole_is_withheld() {
    let withheld = |headers: &[(&str, &str)], body, change: fn(&mut HttpRequest)| {
        let asked = check::read(question(headers, body, change)).unwrap();
        matches!(asked.request.body(), Inward::Withheld)
    };
    let none: fn(&mut HttpRequest) = |_| {};
    assert!(!withheld(&[], "", none) && !withheld(&[], "{}", none));
    assert!(!withheld(&[("content-length", "0")], "", none));
    assert!(!withheld(&[("transfer-encoding", "chunked"), ("x-envoy-auth-partial-body", "false")], "", none));
    assert!(withheld(&[("content-length", "2")], "", none), "no `with_request_body`");
    assert!(withheld(&[("transfer-encoding", "chunked")], "", none), "no `with_request_body`");
    assert!(withheld(&[("x-envoy-auth-partial-body", "true")], "{", none), "`allow_partial_message`");
    for twice in [["true", "false"], ["false", "true"]] {
        let headers = twice.map(|value| ("x-envoy-auth-partial-body", value));
        assert!(withheld(&headers, "{", none), "one of them is the agent's");
    }
    assert!(withheld(&[], "", |http| http.body = "{}".to_owned()), "no `pack_as_bytes`");
}

#[test]
fn a_question_that_shows_less_than_there_is_is_not_judged() {
    let fault = |change: fn(&mut HttpRequest)| check::read(question(&[], "", change)).unwrap_err();
    assert_eq!(fault(|http| http.header_map = None), CheckError::Headers);
    assert_eq!(fault(|http| http.path = "http://evil.example/x".to_owned()), CheckError::Part("path"));
    assert_eq!(fault(|http| http.path = String::new()), CheckError::Part("path"));
    assert_eq!(fault(|http| http.method = "A B".to_owned()), CheckError::Part("method"));
    assert_eq!(check::read(CheckRequest::default()).unwrap_err(), CheckError::NoRequest);
}

/// A line about an entry, with the status and what Envoy says of it.
fn line(status: u32, details: &str, change: impl FnOnce(&mut AccessLogCommon)) -> HttpAccessLogEntry {
    let named = metadata("countersign-entry", Hash::of(b"entry").to_string());
    let mut common = AccessLogCommon {
        metadata: Some(Metadata { filter_metadata: [("envoy.filters.http.ext_authz".to_owned(), named)].into() }),
        upstream_request_attempt_count: 1,
        ..AccessLogCommon::default()
    };
    change(&mut common);
    let response = HttpResponseProperties {
        response_code: Some(status),
        response_body_bytes: 9,
        response_code_details: details.to_owned(),
    };
    HttpAccessLogEntry { common: Some(common), request: None, response: Some(response) }
}

fn ended(line: &HttpAccessLogEntry) -> (&'static str, Sent, Option<u16>) {
    match fate::read(line) {
        Report::Ended(fate) => (fate.result, fate.sent, fate.status),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_call_ends_as_the_access_log_says_and_a_status_of_envoys_is_not_the_apis() {
    let flags = |change: fn(&mut ResponseFlags)| {
        let mut flags = ResponseFlags::default();
        change(&mut flags);
        ended(&line(503, "local", |common| common.response_flags = Some(flags)))
    };
    assert_eq!(ended(&line(500, "via_upstream", |_| {})), ("completed", Sent::Yes, Some(500)));
    assert_eq!(flags(|flags| flags.upstream_connection_failure = true), ("upstream_unreachable", Sent::No, None));
    assert_eq!(flags(|flags| flags.no_healthy_upstream = true), ("upstream_unreachable", Sent::No, None));
    assert_eq!(flags(|flags| flags.upstream_request_timeout = true), ("upstream_timeout", Sent::Maybe, None));
    assert_eq!(flags(|flags| flags.upstream_remote_reset = true), ("upstream_truncated", Sent::Maybe, None));
    assert_eq!(flags(|flags| flags.downstream_remote_reset = true), ("client_aborted", Sent::Maybe, None));
    assert_eq!(flags(|_| {}), ("upstream_unreachable", Sent::No, None), "a filter behind the authorizer answered");
    // It went away before anything was sent; it went away while the answer came.
    let gone = ResponseFlags { downstream_connection_termination: true, ..ResponseFlags::default() };
    let before = line(0, "downstream_remote_disconnect", |common| {
        common.response_flags = Some(gone);
        common.upstream_request_attempt_count = 0;
    });
    assert_eq!(ended(&before), ("client_aborted", Sent::No, None));
    let during = line(200, "via_upstream", |common| common.response_flags = Some(gone));
    assert_eq!(ended(&during), ("client_aborted", Sent::Yes, Some(200)));
    // What was tried again may have arrived the first time.
    let again = line(503, "local", |common| {
        common.response_flags = Some(ResponseFlags { upstream_connection_failure: true, ..ResponseFlags::default() });
        common.upstream_request_attempt_count = 2;
    });
    assert_eq!(ended(&again), ("upstream_unreachable", Sent::Maybe, None));
}

#[test]
fn a_request_that_envoy_sent_without_leave_is_noticed() {
    let unasked = line(200, "via_upstream", |common| {
        common.metadata = None;
        common.route_name = "open".to_owned();
    });
    assert_eq!(fate::read(&unasked), Report::Unauthorized("open".to_owned()));
    assert_eq!(fate::read(&line(403, "ext_authz_denied", |common| common.metadata = None)), Report::Nothing);
    assert_eq!(fate::read(&line(200, "via_upstream", |common| common.intermediate_log_entry = true)), Report::Nothing);
    assert_eq!(fate::read(&line(200, "via_upstream", |common| common.access_log_type = 9)), Report::Nothing);
}

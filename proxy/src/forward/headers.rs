//! Which headers pass, in both directions. A closed world like everything else: an unknown header could make the API read another request
//! than the one that was judged, or hand out another's credential.

use std::net::IpAddr;

use countersign_receipt::names;
use http::{HeaderMap, HeaderName, HeaderValue, Version, header};

use crate::{
    api,
    authorize::{Arrived, Outgoing},
    identify::{DECISION, DPOP, GRANT, TRACEPARENT, TRACESTATE},
    settings::{Credential, Upstream},
};

/// Request headers that pass without being declared: negotiation, conditions, and what links traces.
const PASS: [HeaderName; 15] = [
    header::ACCEPT,
    header::ACCEPT_LANGUAGE,
    header::CACHE_CONTROL,
    header::CONTENT_LANGUAGE,
    header::CONTENT_TYPE,
    header::IF_MATCH,
    header::IF_MODIFIED_SINCE,
    header::IF_NONE_MATCH,
    header::IF_UNMODIFIED_SINCE,
    header::PRAGMA,
    header::USER_AGENT,
    header::VIA,
    HeaderName::from_static("idempotency-key"),
    TRACEPARENT,
    TRACESTATE,
];

/// Hop-by-hop (RFC 9110 §7.6.1); `Trailer` passes, for trailers do.
const HOP: [HeaderName; 8] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    HeaderName::from_static("proxy-connection"),
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Never from the agent, whatever the configuration or the catalogue says: credentials, and what only the gateway may say.
const NEVER: [HeaderName; 21] = [
    header::ACCEPT_ENCODING,
    header::AUTHORIZATION,
    header::CONTENT_LENGTH,
    header::COOKIE,
    header::EXPECT,
    header::FORWARDED,
    header::HOST,
    header::RANGE,
    DECISION,
    DPOP,
    GRANT,
    names::ENTRY,
    names::CHECKPOINT,
    names::N,
    names::SIGNATURE_AGENT,
    HeaderName::from_static("x-api-key"),
    HeaderName::from_static("x-auth-token"),
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-forwarded-host"),
    HeaderName::from_static("x-forwarded-proto"),
    HeaderName::from_static("x-real-ip"),
];

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The trailers of a body that streams through: nothing judges them, so only those that the settings or the action name.
pub(super) fn trailers_of_request(outgoing: &Outgoing, upstream: &Upstream) -> Vec<HeaderName> {
    let own = upstream.credential_header();
    let named = outgoing.declared.iter().chain(&upstream.pass_headers);
    named.filter(|name| !NEVER.contains(name) && !HOP.contains(name) && own != Some(name)).cloned().collect()
}

/// The headers of the request to the API.
pub(super) fn of_request(outgoing: &Outgoing, upstream: &Upstream, credential: Option<&Credential>) -> HeaderMap {
    let agent = &outgoing.headers;
    let named = named_by_connection(agent);
    let streams = matches!(outgoing.body, Arrived::Stream(_));
    let passes = |name: &HeaderName| {
        let wanted = PASS.contains(name)
            || outgoing.declared.contains(name)
            || upstream.pass_headers.contains(name)
            || (streams && name == header::TRAILER);
        let own = upstream.credential_header() == Some(name);
        wanted && !own && !NEVER.contains(name) && !HOP.contains(name) && !named.contains(name)
    };
    let mut headers = HeaderMap::new();
    for (name, value) in agent.iter().filter(|(name, _)| passes(name)) {
        headers.append(name.clone(), value.clone());
    }
    // What is encoded cannot be searched for the credential.
    headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    let te = agent.get_all(header::TE).iter().filter_map(|te| te.to_str().ok()).flat_map(|te| te.split(','));
    // Receipts of answers that stream stand in their trailers.
    let receipts = upstream.receipts.is_some();
    if receipts
        || te.map(|te| te.split(';').next().unwrap_or_default().trim()).any(|te| te.eq_ignore_ascii_case("trailers"))
    {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
    add_forwarded(&mut headers, outgoing);
    headers.append(header::VIA, HeaderValue::from_static("1.1 countersign"));
    if let Some((credential, value)) = credential.and_then(|credential| Some((credential, credential.value()?))) {
        headers.insert(credential.header().clone(), value);
    }
    headers
}

/// Who called, over what (RFC 7239): the gateway's word, not the agent's.
fn add_forwarded(headers: &mut HeaderMap, outgoing: &Outgoing) {
    let ip = outgoing.arrival.from.map(|from| from.ip());
    let proto = if outgoing.arrival.secure { "https" } else { "http" };
    let node = match ip {
        Some(IpAddr::V4(ip)) => ip.to_string(),
        Some(IpAddr::V6(ip)) => format!("\"[{ip}]\""),
        // Through a Unix socket (RFC 7239 §6.2).
        None => "unknown".to_owned(),
    };
    let plain = |host: &&str| host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-:[]_".contains(&byte));
    let host = outgoing.host.as_deref().filter(plain);
    let mut forwarded = format!("for={node};proto={proto}");
    if let Some(host) = host {
        forwarded.push_str(&format!(";host=\"{host}\""));
        headers.extend(HeaderValue::from_str(host).ok().map(|host| (X_FORWARDED_HOST, host)));
    }
    headers.extend(HeaderValue::from_str(&forwarded).ok().map(|forwarded| (header::FORWARDED, forwarded)));
    let ip = ip.and_then(|ip| HeaderValue::from_str(&ip.to_string()).ok());
    headers.extend(ip.map(|ip| (X_FORWARDED_FOR, ip)));
    headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static(proto));
}

/// The headers of the answer to the agent.
pub(crate) fn of_response(api: &HeaderMap, version: Version, upstream: &Upstream) -> HeaderMap {
    let named = named_by_connection(api);
    let mut headers = HeaderMap::with_capacity(api.len() + 4);
    for (name, value) in api {
        if passes_back(name, upstream) && !named.contains(name) {
            headers.append(name.clone(), value.clone());
        }
    }
    let via = if version == Version::HTTP_2 { "2.0 countersign" } else { "1.1 countersign" };
    headers.append(header::VIA, HeaderValue::from_static(via));
    headers
}

/// Takes away every header of an answer that may say something of what is not shown.
pub(crate) fn keep_general(headers: &mut HeaderMap) {
    const GENERAL: [HeaderName; 5] =
        [header::CACHE_CONTROL, header::CONTENT_TYPE, header::DATE, header::RETRY_AFTER, header::VIA];
    let gone: Vec<HeaderName> = headers.keys().filter(|name| !GENERAL.contains(name)).cloned().collect();
    for name in gone {
        headers.remove(name);
    }
}

/// Trailers of the answer.
pub(crate) fn of_trailers(api: &HeaderMap, upstream: &Upstream) -> HeaderMap {
    let passing = api.iter().filter(|(name, _)| passes_back(name, upstream) && *name != header::CONTENT_LENGTH);
    passing.map(|(name, value)| (name.clone(), value.clone())).collect()
}

fn passes_back(name: &HeaderName, upstream: &Upstream) -> bool {
    let ours = [api::ENTRY, api::SEQ, api::PROOF].contains(name);
    // `Alt-Svc` would send the agent around the gateway; a cookie is a credential.
    let around = name == header::ALT_SVC || (name == header::SET_COOKIE && !upstream.pass_cookies);
    !ours && !around && !HOP.contains(name)
}

fn named_by_connection(headers: &HeaderMap) -> Vec<HeaderName> {
    let values = headers.get_all(header::CONNECTION).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).filter_map(|name| name.trim().parse().ok()).collect()
}

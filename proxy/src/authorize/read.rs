//! What is read of a request before it is judged: its body, and its one reading.

use std::sync::Arc;

use bytes::Bytes;
use countersign_authorize::{
    Refusal,
    catalogue::{Catalogue, Protocol},
    mcp, model,
    request::{self, RequestBody},
};
use countersign_ledger::Hash;
use http::{HeaderValue, Version, header, request::Parts};
use http_body::Body as _;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};

use super::Arrived;
use crate::{
    inward::{Inward, Withheld},
    model::is_model,
    settings::Limits,
    upstream::Upstream,
};

/// Reads the body if it must be judged.
pub(super) async fn arrive(limits: &Limits, parts: &Parts, body: Inward) -> Result<Arrived, Refusal> {
    let refuse = |code, message: String| Err(Refusal { code, message });
    let expect = parts.headers.get(header::EXPECT);
    if expect.is_some_and(|expect| !expect.as_bytes().eq_ignore_ascii_case(b"100-continue")) {
        return refuse("expectation", "only `100-continue` can be expected".to_owned());
    }
    if body.is_end_stream() {
        return Ok(Arrived::Empty);
    }
    let announced = body.size_hint().lower();
    let content_type = parts.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    if !content_type.is_some_and(request::is_json) {
        if announced > limits.body_bytes {
            return refuse("body-too-large", format!("the body has more than {} bytes", limits.body_bytes));
        }
        return Ok(Arrived::Stream(body));
    }
    if announced > limits.json_bytes as u64 {
        return refuse("body-too-large", format!("the JSON body has more than {} bytes", limits.json_bytes));
    }
    let collected = tokio::time::timeout(limits.body_timeout, Limited::new(body, limits.json_bytes).collect()).await;
    match collected {
        // Trailers of a judged body are left behind: they were not judged.
        Ok(Ok(collected)) => Ok(Arrived::Whole(collected.to_bytes())),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            refuse("body-too-large", format!("the JSON body has more than {} bytes", limits.json_bytes))
        }
        Ok(Err(error)) if error.is::<Withheld>() => refuse("body-incomplete", error.to_string()),
        Ok(Err(_)) => refuse("body-incomplete", "the body ended before it was complete".to_owned()),
        Err(_) => refuse("body-timeout", format!("the body took longer than {:?}", limits.body_timeout)),
    }
}

/// How much of a request is read: a model is told a whole conversation.
pub(super) fn read_limits(limits: &Limits, catalogue: Option<&Arc<Catalogue>>) -> Limits {
    let mut limits = limits.clone();
    if catalogue.is_some_and(|catalogue| is_model(catalogue)) {
        limits.json_bytes = limits.prompt_bytes;
    }
    limits
}

/// What of a message is for the server behind the gateway: not what the agent's side answers to the gateway itself.
pub(super) fn for_server(
    limits: &Limits,
    catalogue: Option<&Arc<Catalogue>>,
    arrived: Result<Arrived, Refusal>,
) -> Result<Arrived, Refusal> {
    match arrived {
        Ok(Arrived::Whole(bytes)) if catalogue.is_some_and(|catalogue| catalogue.protocol() == Protocol::Mcp) => {
            let cut = mcp::without_own_answer(&bytes, &bounds(limits));
            Ok(Arrived::Whole(cut.map_or(bytes, Bytes::from)))
        }
        arrived => arrived,
    }
}

pub(super) fn normalise(
    limits: &Limits,
    destination: Option<&(Arc<Upstream>, http::Uri)>,
    parts: &Parts,
    arrived: &Result<Arrived, Refusal>,
    decision: Option<&Result<Hash, String>>,
    of_model: bool,
) -> Result<request::Request, Refusal> {
    let body = match arrived {
        Ok(Arrived::Empty) => RequestBody::Empty,
        Ok(Arrived::Whole(bytes)) if of_model => RequestBody::Prompt(bytes),
        Ok(Arrived::Whole(bytes)) => RequestBody::Json(bytes),
        Ok(Arrived::Stream(_)) => RequestBody::Opaque,
        Err(refusal) => return Err(refusal.clone()),
    };
    if let Some(Err(text)) = decision {
        let message = format!("`{text}` in `Countersign-Decision` is no entry's hash");
        return Err(Refusal { code: "decision-unknown", message });
    }
    // RFC 9112 §3.2: a request of HTTP/1.1 without a Host is answered with 400.
    if parts.version == Version::HTTP_11 && !parts.headers.contains_key(header::HOST) {
        return Err(Refusal { code: "host", message: "there is no Host".to_owned() });
    }
    // RFC 9113 §8.3.1: what both name must be the same.
    let authority =
        parts.uri.authority().filter(|_| parts.version >= Version::HTTP_2).map(http::uri::Authority::as_str);
    let host = parts.headers.get(header::HOST).map(HeaderValue::as_bytes);
    if authority.zip(host).is_some_and(|(authority, host)| !authority.as_bytes().eq_ignore_ascii_case(host)) {
        return Err(Refusal { code: "host", message: "`host` and `:authority` name different hosts".to_owned() });
    }
    let Some((upstream, target)) = destination else {
        let message = "the path begins with the name of no upstream; write `/<upstream>/…`".to_owned();
        return Err(Refusal { code: "upstream-unknown", message });
    };
    request::Request::normalise(&bounds(limits), &upstream.settings.name, &parts.method, target, &parts.headers, body)
}

pub(crate) const fn bounds(limits: &Limits) -> request::Limits {
    request::Limits { target_bytes: limits.target_bytes, body_bytes: limits.json_bytes, json_depth: limits.json_depth }
}

/// The message of MCP in a request, when the API speaks that.
pub(super) fn message(
    limits: &Limits,
    catalogue: Option<&Arc<Catalogue>>,
    http: request::Request,
    parts: &Parts,
) -> Result<request::Request, Refusal> {
    match catalogue.map_or(Protocol::Http, |catalogue| catalogue.protocol()) {
        Protocol::Http => return Ok(http),
        Protocol::Model => return model::read(http),
        Protocol::Mcp => {}
    }
    let origin = parts.headers.get(header::ORIGIN).map(HeaderValue::as_bytes);
    let host = parts.headers.get(header::HOST).map(HeaderValue::as_bytes);
    let host = host.or_else(|| parts.uri.authority().map(|authority| authority.as_str().as_bytes()));
    // A page of another origin; or one whose own name was made to lead here (DNS rebinding), which no name but `localhost` can be told from.
    let foreign = |origin: &[u8]| {
        let named = [&b"http://"[..], b"https://"].iter().find_map(|scheme| origin.strip_prefix(*scheme));
        named.is_none() || named != host || !host.is_some_and(is_local)
    };
    if origin.is_some_and(foreign) {
        let message = "the request comes from a page of another origin".to_owned();
        return Err(Refusal { code: "origin-refused", message });
    }
    mcp::read(&bounds(limits), &http, &parts.headers)
}

/// Whether a host is `localhost` or an address, with or without a port.
fn is_local(host: &[u8]) -> bool {
    let host = std::str::from_utf8(host).unwrap_or_default();
    let name = host.rsplit_once(':').map_or(host, |(name, port)| if port.ends_with(']') { host } else { name });
    let address = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost") || address.parse::<std::net::IpAddr>().is_ok()
}

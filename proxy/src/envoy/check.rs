//! What Envoy asks, as the request that its agent made. What Envoy left out so that it could not be judged is refused; nothing is guessed.

use std::sync::Arc;

use http::{HeaderName, HeaderValue, Method, Request, Uri, Version, header};

use super::{
    VIA,
    proto::{self, CheckRequest, HttpRequest},
};
use crate::{inward::Inward, server::Arrival};

/// By which Envoy says whether it shows all of the body. It stands in the question only, and never in the request that is sent.
const PARTIAL: &str = "x-envoy-auth-partial-body";

/// A request that Envoy holds, and how it came to Envoy.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) request: Request<Inward>,
    pub(super) arrival: Arrival,
}

/// Why a question cannot be judged. It is a fault of Envoy's configuration, not of the agent.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(super) enum CheckError {
    /// Not about HTTP.
    #[error("Envoy asks about no HTTP request: use `envoy.filters.http.ext_authz`")]
    NoRequest,
    /// Headers that occur twice are joined, and the API would see them apart.
    #[error("Envoy does not show the headers as they came: set `encode_raw_headers: true` in its `ext_authz` filter")]
    Headers,
    /// What no HTTP request has.
    #[error("Envoy's question has no proper {0}")]
    Part(&'static str),
}

/// The request in a question.
pub(super) fn read(check: CheckRequest) -> Result<Asked, CheckError> {
    let attributes = check.attributes.ok_or(CheckError::NoRequest)?;
    let http = attributes.request.and_then(|request| request.http).ok_or(CheckError::NoRequest)?;
    let source = attributes.source.unwrap_or_default();
    let address = source.address.and_then(|address| address.socket_address);
    let from = address.and_then(|from| {
        let port = u16::try_from(from.port_value).ok()?;
        Some((from.address.parse::<std::net::IpAddr>().ok()?, port).into())
    });
    let client = Some(source.principal).filter(|name| name.starts_with("spiffe://")).map(Arc::from);
    let arrival = Arrival { from, secure: http.scheme == "https", client, via: Some(VIA) };
    let mut request = Request::new(Inward::Withheld);
    *request.method_mut() = Method::from_bytes(http.method.as_bytes()).map_err(|_| CheckError::Part("method"))?;
    *request.uri_mut() = target(&http.path)?;
    // Envoy names the host for every version, as HTTP/1.1 does.
    *request.version_mut() = Version::HTTP_11;
    let shown = headers(request.headers_mut(), &http)?;
    *request.body_mut() = body(request.headers(), shown, http);
    Ok(Asked { request, arrival })
}

/// Path and query; Envoy has taken scheme and authority out of it.
fn target(path: &str) -> Result<Uri, CheckError> {
    let uri: Uri = path.parse().map_err(|_| CheckError::Part("path"))?;
    match uri.authority() {
        Some(_) => Err(CheckError::Part("path")),
        None => Ok(uri),
    }
}

/// Puts the headers as they came to Envoy; gives what it says of the body that it shows.
fn headers(headers: &mut http::HeaderMap, http: &HttpRequest) -> Result<Shown, CheckError> {
    let map = http.header_map.as_ref().ok_or(CheckError::Headers)?;
    let mut shown = Shown::Unsaid;
    for proto::HeaderValue { key, value, raw_value } in &map.headers {
        let value = if raw_value.is_empty() { value.as_bytes() } else { raw_value };
        if key == PARTIAL {
            // Said more than once, it holds only when it says so each time: an agent may have sent one.
            shown = if value == b"false" && shown != Shown::Part { Shown::Whole } else { Shown::Part };
            continue;
        }
        if key.starts_with(':') || key == "host" {
            continue;
        }
        let name = HeaderName::from_bytes(key.as_bytes()).map_err(|_| CheckError::Part("header name"))?;
        headers.append(name, HeaderValue::from_bytes(value).map_err(|_| CheckError::Part("header value"))?);
    }
    if !http.host.is_empty() {
        let host = HeaderValue::from_str(&http.host).map_err(|_| CheckError::Part("host"))?;
        headers.insert(header::HOST, host);
    }
    Ok(shown)
}

/// What Envoy says of the body in its question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shown {
    /// Nothing: it was told to show none, or there is none.
    Unsaid,
    /// All of it.
    Whole,
    /// The beginning.
    Part,
}

fn body(headers: &http::HeaderMap, shown: Shown, http: HttpRequest) -> Inward {
    let announced = headers.contains_key(header::TRANSFER_ENCODING)
        || headers.get_all(header::CONTENT_LENGTH).iter().any(|length| length != "0");
    match shown {
        Shown::Part => Inward::Withheld,
        // As text it is not what the API gets, when it is no UTF-8.
        _ if !http.body.is_empty() => Inward::Withheld,
        Shown::Unsaid if http.raw_body.is_empty() && announced => Inward::Withheld,
        Shown::Whole | Shown::Unsaid => Inward::whole(http.raw_body),
    }
}

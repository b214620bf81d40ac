//! What headers may do to the reading of a request, and which of them can hold an argument.

use std::collections::BTreeMap;

use http::{HeaderMap, HeaderName, HeaderValue, header, uri::Authority};

use crate::Refusal;

/// Names with which some servers replace the method, the target or the host. Compared without regard to `-` and `_`, which CGI-like servers
/// do not tell apart.
const OVERRIDES: [&str; 13] = [
    "xhttpmethodoverride",
    "xhttpmethod",
    "xmethodoverride",
    "xoriginalmethod",
    "xhttppathoverride",
    "xoriginalurl",
    "xoriginaluri",
    "xoriginalhost",
    "xrewriteurl",
    "xforwardeduri",
    "xforwardedprefix",
    "xhost",
    "httphostoverride",
];

/// Whose value is never an argument, nor kept: the agent's own credentials.
const CREDENTIALS: [HeaderName; 3] = [header::AUTHORIZATION, header::PROXY_AUTHORIZATION, header::COOKIE];

/// A header as far as it can hold an argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Header {
    /// One text.
    Once(String),
    /// Several times, or not text: no argument can be read from it.
    Ambiguous,
}

/// The headers that can hold arguments, by name.
pub(super) fn arguments(headers: &HeaderMap) -> BTreeMap<String, Header> {
    let mut kept: BTreeMap<String, Header> = BTreeMap::new();
    for (name, value) in headers.iter().filter(|(name, _)| !CREDENTIALS.contains(name)) {
        let text = value.to_str().ok().filter(|text| !text.bytes().any(|byte| byte == b'\t'));
        let header = text.map_or(Header::Ambiguous, |text| Header::Once(text.to_owned()));
        kept.entry(name.as_str().to_owned()).and_modify(|known| *known = Header::Ambiguous).or_insert(header);
    }
    kept
}

/// Refuses headers that could make the API read another request than the one that is judged.
pub(super) fn check(headers: &HeaderMap) -> Result<(), Refusal> {
    for name in headers.keys() {
        let letters: String = name.as_str().chars().filter(|c| !matches!(c, '-' | '_')).collect();
        if OVERRIDES.contains(&letters.as_str()) {
            let message = format!("the header `{name}` would make the API read another request; leave it out");
            return Err(Refusal::new("override-header", message));
        }
    }
    if headers.contains_key(header::UPGRADE) {
        return Err(Refusal::new("upgrade", "the connection is not upgraded: what follows could not be judged"));
    }
    check_connection(headers)?;
    check_host(headers)?;
    if headers.contains_key(header::CONTENT_RANGE) {
        return Err(Refusal::new("content-range", "a part of a body is not judged; send the body whole"));
    }
    let identity = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"identity");
    if !headers.get_all(header::CONTENT_ENCODING).iter().all(identity) {
        return Err(Refusal::new("content-encoding", "the body is encoded; send it without Content-Encoding"));
    }
    check_framing(headers)?;
    check_content_type(headers)
}

/// What `Connection` may name (RFC 9110 §7.6.1). A header that it names ends here, so one that is judged must not be among them.
fn check_connection(headers: &HeaderMap) -> Result<(), Refusal> {
    const OPTIONS: [&str; 5] = ["close", "keep-alive", "te", "upgrade", "http2-settings"];
    for value in headers.get_all(header::CONNECTION) {
        let options = value.to_str().unwrap_or("?").split(',').map(str::trim).filter(|option| !option.is_empty());
        for option in options {
            if !OPTIONS.iter().any(|known| known.eq_ignore_ascii_case(option)) {
                let message = "Connection names a header, which would be judged and then not sent; leave it out";
                return Err(Refusal::new("connection-option", message));
            }
        }
    }
    Ok(())
}

/// One Host, and nothing in it but a host and a port (RFC 9112 §3.2).
fn check_host(headers: &HeaderMap) -> Result<(), Refusal> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let Some(host) = hosts.next() else { return Ok(()) };
    let plain = host.to_str().is_ok_and(|host| {
        !host.contains(['@', '/', '?', '#', ',', ' ', '\t', '%'])
            && (host.is_empty() || host.parse::<Authority>().is_ok())
    });
    if hosts.next().is_some() || !plain {
        return Err(Refusal::new("host", "Host is there several times, or is more than a host and a port"));
    }
    Ok(())
}

/// The HTTP library frames the message and refuses most of these itself; what it is lenient with ends here.
fn check_framing(headers: &HeaderMap) -> Result<(), Refusal> {
    let lengths: Vec<&HeaderValue> = headers.get_all(header::CONTENT_LENGTH).iter().collect();
    let plain = |value: &&HeaderValue| !value.is_empty() && value.as_bytes().iter().all(u8::is_ascii_digit);
    if lengths.len() > 1 || !lengths.iter().all(plain) {
        return Err(Refusal::new("content-length", "Content-Length is not one plain number"));
    }
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    let coding = codings.next();
    if coding.is_some_and(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"chunked")) || codings.next().is_some() {
        return Err(Refusal::new("transfer-encoding", "Transfer-Encoding is not just `chunked`"));
    }
    if coding.is_some() && !lengths.is_empty() {
        return Err(Refusal::new("framing", "both Content-Length and Transfer-Encoding are there; send one of them"));
    }
    Ok(())
}

fn check_content_type(headers: &HeaderMap) -> Result<(), Refusal> {
    let mut types = headers.get_all(header::CONTENT_TYPE).iter();
    let Some(content_type) = types.next() else { return Ok(()) };
    if types.next().is_some() {
        return Err(Refusal::new("content-type-twice", "there is more than one Content-Type"));
    }
    let Ok(content_type) = content_type.to_str() else {
        return Err(Refusal::new("content-type", "Content-Type is not plain text"));
    };
    let mut parts = content_type.split(';');
    if parts.next().is_some_and(|essence| essence.contains(',')) {
        return Err(Refusal::new("content-type-twice", "Content-Type is a list; send one media type"));
    }
    for parameter in parts {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        let utf8 = value.trim().trim_matches('"').eq_ignore_ascii_case("utf-8");
        if name.trim().eq_ignore_ascii_case("charset") && !utf8 {
            return Err(Refusal::new("charset", "the body's charset is not utf-8"));
        }
    }
    Ok(())
}

/// Whether a media type is JSON.
pub(super) fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"))
}

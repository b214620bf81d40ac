//! A request, normalised: one reading, and exactly that is forwarded.

use http::{HeaderMap, Method, Uri, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde::{Serialize, ser::SerializeStruct as _};

use crate::{Json, Refusal};

/// What bounds a request.
#[derive(Debug, Clone)]
pub struct Limits {
    /// The longest path and query, in bytes.
    pub target_bytes: usize,
    /// The longest JSON body that is read, in bytes.
    pub body_bytes: usize,
    /// The deepest nesting of a JSON body.
    pub json_depth: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { target_bytes: 8 << 10, body_bytes: 1 << 20, json_depth: 64 }
    }
}

/// The body as the proxy has it.
#[derive(Debug, Clone, Copy)]
pub enum RequestBody<'b> {
    /// None.
    Empty,
    /// Read whole, because its media type is JSON.
    Json(&'b [u8]),
    /// Of another media type; passes unread, only for an action that takes nothing from the body.
    Opaque,
}

/// A request that has one reading.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    upstream: String,
    method: Method,
    segments: Vec<String>,
    query: Vec<(String, String)>,
    headers: Vec<(String, String)>,
    body: Body,
    target: String,
}

/// The normalised body.
#[derive(Debug, Clone, PartialEq)]
pub enum Body {
    /// None.
    Empty,
    /// JSON, and the bytes it was read from, which are forwarded as they are.
    Json(Json, Vec<u8>),
    /// Not read.
    Opaque,
}

/// What stays as it is in a path segment or a query part.
const KEPT: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

const METHOD_OVERRIDES: [&str; 4] =
    ["x-http-method-override", "x-http-method", "x-method-override", "x-original-method"];
const TARGET_OVERRIDES: [&str; 3] = ["x-original-url", "x-rewrite-url", "x-forwarded-prefix"];

impl Request {
    /// Normalises a request for an upstream; `target` is the path and query behind the upstream's prefix.
    ///
    /// # Errors
    /// [`Refusal`] when it can be read in two ways, or is larger than `limits`.
    pub fn normalise(
        limits: &Limits,
        upstream: &str,
        method: &Method,
        target: &Uri,
        headers: &HeaderMap,
        body: RequestBody<'_>,
    ) -> Result<Request, Refusal> {
        check_method(method)?;
        check_headers(headers)?;
        if target.scheme().is_some() || target.authority().is_some() {
            return Err(Refusal::new("target-absolute", "the request target is not a path; send `/path?query`"));
        }
        let (path, query) = (target.path(), target.query().unwrap_or_default());
        if path.len() + query.len() > limits.target_bytes {
            return Err(Refusal::new(
                "target-too-long",
                format!("path and query have more than {} bytes", limits.target_bytes),
            ));
        }
        let segments = segments(path)?;
        let query = query_pairs(query)?;
        Ok(Request {
            upstream: upstream.to_owned(),
            method: method.clone(),
            target: canonical_target(&segments, &query),
            segments,
            query,
            headers: declared_headers(headers),
            body: read_body(limits, headers, body)?,
        })
    }

    /// The upstream's name.
    pub fn upstream(&self) -> &str {
        &self.upstream
    }

    /// The method.
    pub const fn method(&self) -> &Method {
        &self.method
    }

    /// The path's segments, decoded.
    pub fn segments(&self) -> &[String] {
        &self.segments
    }

    /// The query's pairs, decoded, in order; no name twice.
    pub fn query(&self) -> &[(String, String)] {
        &self.query
    }

    /// The value of a header that has one value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The body.
    pub const fn body(&self) -> &Body {
        &self.body
    }

    /// The JSON body, if there is one.
    pub const fn json(&self) -> Option<&Json> {
        match &self.body {
            Body::Json(json, _) => Some(json),
            Body::Empty | Body::Opaque => None,
        }
    }

    /// The path and query to forward: the canonical spelling of what was judged.
    pub fn target(&self) -> &str {
        &self.target
    }
}

/// What a record holds of a request.
impl Serialize for Request {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut request = serializer.serialize_struct("Request", 4)?;
        request.serialize_field("upstream", &self.upstream)?;
        request.serialize_field("method", self.method.as_str())?;
        request.serialize_field("target", &self.target)?;
        request.serialize_field("body", &self.json())?;
        request.end()
    }
}

fn check_method(method: &Method) -> Result<(), Refusal> {
    if [Method::TRACE, Method::CONNECT].contains(method) {
        return Err(Refusal::new("method-refused", format!("the method `{method}` is never forwarded")));
    }
    Ok(())
}

fn check_headers(headers: &HeaderMap) -> Result<(), Refusal> {
    for name in METHOD_OVERRIDES.iter().chain(&TARGET_OVERRIDES) {
        if headers.contains_key(*name) {
            return Err(Refusal::new(
                "override-header",
                format!("the header `{name}` would make the API read another request; leave it out"),
            ));
        }
    }
    if headers.contains_key(header::UPGRADE) {
        return Err(Refusal::new("upgrade", "the connection is not upgraded: what follows could not be judged"));
    }
    let encoding = headers.get_all(header::CONTENT_ENCODING).iter().next();
    if encoding.is_some_and(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Err(Refusal::new("content-encoding", "the body is encoded; send it without Content-Encoding"));
    }
    if headers.get_all(header::CONTENT_TYPE).iter().count() > 1 {
        return Err(Refusal::new("content-type-twice", "there is more than one Content-Type"));
    }
    Ok(())
}

/// Headers that can hold an argument: those that occur once and are text.
fn declared_headers(headers: &HeaderMap) -> Vec<(String, String)> {
    let once = headers.keys().filter(|name| headers.get_all(*name).iter().count() == 1);
    once.filter_map(|name| Some((name.as_str().to_owned(), headers.get(name)?.to_str().ok()?.to_owned()))).collect()
}

/// Whether a media type is JSON.
pub fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"))
}

fn read_body(limits: &Limits, headers: &HeaderMap, body: RequestBody<'_>) -> Result<Body, Refusal> {
    let RequestBody::Json(bytes) = body else {
        return Ok(if matches!(body, RequestBody::Empty) { Body::Empty } else { Body::Opaque });
    };
    if bytes.is_empty() {
        return Ok(Body::Empty);
    }
    if bytes.len() > limits.body_bytes {
        return Err(Refusal::new("body-too-large", format!("the JSON body has more than {} bytes", limits.body_bytes)));
    }
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    for parameter in content_type.split(';').skip(1) {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        let utf8 = value.trim().trim_matches('"').eq_ignore_ascii_case("utf-8");
        if name.trim().eq_ignore_ascii_case("charset") && !utf8 {
            return Err(Refusal::new("charset", "the body's charset is not utf-8"));
        }
    }
    Ok(Body::Json(Json::parse(bytes, limits.json_depth)?, bytes.to_vec()))
}

fn segments(path: &str) -> Result<Vec<String>, Refusal> {
    let Some(rest) = path.strip_prefix('/') else {
        return Err(Refusal::new("target-absolute", "the request target is not a path; send `/path?query`"));
    };
    if rest.is_empty() {
        return Ok(Vec::new());
    }
    rest.split('/').map(segment).collect()
}

fn segment(raw: &str) -> Result<String, Refusal> {
    if raw.contains([';', '\\']) {
        return Err(Refusal::new(
            "path-parameter",
            "the path has `;` or `\\`, which some servers cut or turn; percent-encode nothing of it, leave it out",
        ));
    }
    let text = decode(raw, "path")?;
    match text.as_str() {
        "" => Err(Refusal::new("path-empty-segment", "the path has an empty segment (`//` or a `/` at the end)")),
        "." | ".." => Err(Refusal::new("path-dot-segment", "the path has a `.` or `..` segment")),
        _ if text.contains(['/', '\\', '%', ';']) => Err(Refusal::new(
            "path-encoded-delimiter",
            "the path has an encoded `/`, `\\`, `;` or `%`, which servers read differently",
        )),
        _ => Ok(text),
    }
}

/// Percent-decodes one part; refuses what is malformed, not UTF-8 or has control characters.
fn decode(raw: &str, place: &str) -> Result<String, Refusal> {
    let mut bytes = raw.bytes();
    while let Some(byte) = bytes.next() {
        let hex = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_hexdigit());
        if byte == b'%' && !(hex(bytes.next()) && hex(bytes.next())) {
            return Err(Refusal::new(
                "bad-percent-encoding",
                format!("the {place} has a `%` without two hexadecimal digits"),
            ));
        }
        if !byte.is_ascii() {
            return Err(Refusal::new("not-ascii", format!("the {place} has bytes beyond ASCII; percent-encode them")));
        }
    }
    let text = percent_decode_str(raw).decode_utf8();
    let text = text.map_err(|_| Refusal::new("not-utf8", format!("the {place} is not UTF-8 when decoded")))?;
    if text.chars().any(char::is_control) || text.contains('\u{FFFD}') {
        return Err(Refusal::new("control-character", format!("the {place} has a control character")));
    }
    Ok(text.into_owned())
}

fn query_pairs(query: &str) -> Result<Vec<(String, String)>, Refusal> {
    let mut pairs: Vec<(String, String)> = Vec::new();
    for part in query.split('&').filter(|_| !query.is_empty()) {
        if part.is_empty() {
            return Err(Refusal::new("query-empty-part", "the query has an empty part (`&&`, or `&` at an end)"));
        }
        if part.contains([';', '+', '[', ']']) {
            return Err(Refusal::new(
                "query-ambiguous",
                "the query has a raw `;`, `+`, `[` or `]`, which servers read differently; percent-encode it (a space is `%20`)",
            ));
        }
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        let (name, value) = (decode(name, "query")?, decode(value, "query")?);
        if pairs.iter().any(|(known, _)| *known == name) {
            return Err(Refusal::new(
                "query-duplicate",
                format!("the query has `{name}` twice; which one counts differs between servers"),
            ));
        }
        pairs.push((name, value));
    }
    Ok(pairs)
}

fn canonical_target(segments: &[String], query: &[(String, String)]) -> String {
    let mut target = String::new();
    for segment in segments {
        target.push('/');
        target.extend(utf8_percent_encode(segment, &KEPT));
    }
    if target.is_empty() {
        target.push('/');
    }
    for (index, (name, value)) in query.iter().enumerate() {
        target.push(if index == 0 { '?' } else { '&' });
        target.extend(utf8_percent_encode(name, &KEPT));
        target.push('=');
        target.extend(utf8_percent_encode(value, &KEPT));
    }
    target
}

#[cfg(test)]
mod tests;

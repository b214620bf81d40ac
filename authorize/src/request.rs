//! A request, normalised: one reading, and exactly that is forwarded.

mod headers;
mod recorded;
mod target;

use std::collections::BTreeMap;

use http::{HeaderMap, Method, Uri, header};

use sha2::{Digest as _, Sha256};

use self::headers::Header;
pub use self::recorded::Recorded;
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
    /// Read whole, and told to a model: its numbers and texts are taken as they stand, for no API acts on them. No member twice, all the same.
    Prompt(&'b [u8]),
    /// Of another media type; passes unread, only for an action that takes nothing from the body.
    Opaque,
}

/// What a request asks for: an HTTP method and path, or one of the methods of MCP that do something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// An HTTP request.
    Http,
    /// MCP `tools/call`.
    Tool,
    /// MCP `resources/read`.
    Resource,
    /// MCP `prompts/get`.
    Prompt,
    /// Any other message of MCP: it opens, lists, tunes, notifies or answers.
    Plumbing,
    /// A model is asked.
    Model,
    /// The models are listed.
    Models,
}

/// A request that has one reading.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    operation: Operation,
    upstream: String,
    method: Method,
    segments: Vec<String>,
    query: Vec<(String, String)>,
    headers: BTreeMap<String, Header>,
    body: Body,
    target: String,
    /// Of MCP: what the agent's side answers to what the server asked in the middle of the call.
    answers: Option<Json>,
    /// Of a prompt that is read back from a record, which does not have it: SHA-256 of its bytes.
    told: Option<String>,
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
        headers::check(headers)?;
        if target.scheme().is_some() || target.authority().is_some() {
            return Err(Refusal::new("target-absolute", "the request target is not a path; send `/path?query`"));
        }
        let (path, query) = (target.path(), target.query().unwrap_or_default());
        if path.len().saturating_add(query.len()) > limits.target_bytes {
            return Err(Refusal::new(
                "target-too-long",
                format!("path and query have more than {} bytes", limits.target_bytes),
            ));
        }
        let segments = target::segments(path)?;
        let query = target::pairs(query)?;
        Ok(Request {
            operation: Operation::Http,
            upstream: upstream.to_owned(),
            method: method.clone(),
            target: target::canonical(&segments, &query),
            segments,
            query,
            headers: headers::arguments(headers),
            body: read_body(limits, headers, body)?,
            answers: None,
            told: None,
        })
    }

    /// A call of MCP that was read from a JSON-RPC message: the tool's or prompt's name or the resource's URI, its `params.arguments` as read by
    /// [`Json::parse`], and the bytes of the message. Everything in the message that is not judged (`id`, `_meta`) must be what the caller vouches for.
    ///
    /// # Errors
    /// [`Refusal`] when the name is longer than `limits` or has control characters, or a resource comes with arguments.
    pub fn mcp(
        limits: &Limits,
        upstream: &str,
        operation: Operation,
        name: &str,
        arguments: Option<Json>,
        message: &[u8],
    ) -> Result<Request, Refusal> {
        if name.len() > limits.target_bytes {
            return Err(Refusal::new(
                "target-too-long",
                format!("the name has more than {} bytes", limits.target_bytes),
            ));
        }
        if name.chars().any(|c| c.is_control() || c == '\u{FFFD}') {
            return Err(Refusal::new("control-character", "the name has a control character"));
        }
        // No arguments and none in them are the same: nothing is said.
        let arguments = arguments.filter(|arguments| !matches!(arguments, Json::Object(members) if members.is_empty()));
        if operation == Operation::Resource && arguments.is_some() {
            return Err(Refusal::new("argument-unknown", "a resource is read by its URI alone; leave `arguments` out"));
        }
        Ok(Request {
            operation,
            upstream: upstream.to_owned(),
            method: Method::POST,
            segments: Vec::new(),
            query: Vec::new(),
            headers: BTreeMap::new(),
            body: arguments.map_or(Body::Empty, |arguments| Body::Json(arguments, message.to_vec())),
            target: name.to_owned(),
            answers: None,
            told: None,
        })
    }

    /// The call with what the agent's side answers to the server's questions, which only some actions take.
    #[must_use]
    pub(crate) fn answering(self, answers: Json) -> Request {
        Request { answers: Some(answers), ..self }
    }

    /// A message of MCP that is no action, in the HTTP request that it came in; `name` is its method, or what it is.
    pub(crate) fn plumbing(http: &Request, name: &str) -> Request {
        Request { operation: Operation::Plumbing, target: name.to_owned(), segments: Vec::new(), ..http.clone() }
    }

    /// The request, found to be another operation than a plain HTTP one.
    #[must_use]
    pub(crate) fn with_operation(self, operation: Operation) -> Request {
        Request { operation, ..self }
    }

    /// What it asks for.
    pub const fn operation(&self) -> Operation {
        self.operation
    }

    /// The method, as records name it: `POST`, `tools/call`. No HTTP method has a `/`.
    pub fn verb(&self) -> &str {
        match self.operation {
            Operation::Http | Operation::Model | Operation::Models => self.method.as_str(),
            Operation::Tool => "tools/call",
            Operation::Resource => "resources/read",
            Operation::Prompt => "prompts/get",
            Operation::Plumbing => "mcp/message",
        }
    }

    /// The upstream's name.
    pub fn upstream(&self) -> &str {
        &self.upstream
    }

    /// The HTTP method.
    pub const fn method(&self) -> &Method {
        &self.method
    }

    /// The path's segments, decoded; an empty last one for a `/` at the end.
    pub fn segments(&self) -> &[String] {
        &self.segments
    }

    /// The query's pairs, decoded, in order; no name twice.
    pub fn query(&self) -> &[(String, String)] {
        &self.query
    }

    /// The value of a header, if there is one.
    ///
    /// # Errors
    /// [`Refusal`] when it is there several times or not as text: then no argument can be read from it.
    pub fn header(&self, name: &str) -> Result<Option<&str>, Refusal> {
        match self.headers.get(&name.to_ascii_lowercase()) {
            None => Ok(None),
            Some(Header::Once(text)) => Ok(Some(text)),
            Some(Header::Ambiguous) => Err(Refusal::new(
                "header-ambiguous",
                format!("the header `{name}` is there several times or not as plain text"),
            )),
        }
    }

    /// What the agent's side answers to the server's questions, of MCP.
    pub const fn answers(&self) -> Option<&Json> {
        self.answers.as_ref()
    }

    /// The body.
    pub const fn body(&self) -> &Body {
        &self.body
    }

    /// The JSON body, or the arguments of MCP, if there are any.
    pub const fn json(&self) -> Option<&Json> {
        match &self.body {
            Body::Json(json, _) => Some(json),
            Body::Empty | Body::Opaque => None,
        }
    }

    /// SHA-256 of the bytes of a body that is told to a model.
    pub(crate) fn told(&self) -> Option<String> {
        let digest = |bytes: &[u8]| data_encoding::HEXLOWER.encode(&Sha256::digest(bytes));
        self.told.clone().or_else(|| self.body_to_forward().map(digest))
    }

    /// The bytes of a JSON body to forward: exactly those that were judged. Of MCP: the message, when it has arguments.
    pub fn body_to_forward(&self) -> Option<&[u8]> {
        match &self.body {
            Body::Json(_, bytes) => Some(bytes),
            Body::Empty | Body::Opaque => None,
        }
    }

    /// The path and query to forward: the canonical spelling of what was judged. Of MCP: the tool's or prompt's name, or the resource's URI.
    pub fn target(&self) -> &str {
        &self.target
    }
}

fn check_method(method: &Method) -> Result<(), Refusal> {
    if [Method::TRACE, Method::CONNECT].contains(method) {
        return Err(Refusal::new("method-refused", format!("the method `{method}` is never forwarded")));
    }
    Ok(())
}

/// One segment of a path or of a resource's URI, decoded.
///
/// # Errors
/// [`Refusal`] when servers read it differently.
pub(crate) fn decode_segment(raw: &str) -> Result<String, Refusal> {
    target::segment(raw)
}

/// Whether a media type is JSON.
pub fn is_json(content_type: &str) -> bool {
    headers::is_json(content_type)
}

fn read_body(limits: &Limits, headers: &HeaderMap, body: RequestBody<'_>) -> Result<Body, Refusal> {
    let (bytes, strict) = match body {
        RequestBody::Json(bytes) => (bytes, true),
        RequestBody::Prompt(bytes) => (bytes, false),
        RequestBody::Empty => return Ok(Body::Empty),
        RequestBody::Opaque => return Ok(Body::Opaque),
    };
    if bytes.is_empty() {
        return Ok(Body::Empty);
    }
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    if content_type.is_some_and(|content_type| !is_json(content_type)) {
        return Err(Refusal::new("content-type-not-json", "the body is JSON, its Content-Type says otherwise"));
    }
    if bytes.len() > limits.body_bytes {
        return Err(Refusal::new("body-too-large", format!("the JSON body has more than {} bytes", limits.body_bytes)));
    }
    let json = match strict {
        true => Json::parse(bytes, limits.json_depth)?,
        false => Json::parse_response(bytes, limits.json_depth)?,
    };
    Ok(Body::Json(json, bytes.to_vec()))
}

#[cfg(test)]
mod tests;

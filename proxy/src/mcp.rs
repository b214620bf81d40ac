//! What is different when an upstream speaks MCP: refusals are JSON-RPC errors, lists show what the grant has, and the result in an answer is
//! what later calls may take values from. The messages themselves are read in `countersign_authorize::mcp`.

pub mod events;

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use bytes::Bytes;
use countersign_authorize::{
    Json,
    catalogue::{Catalogue, Protocol},
    grant::Grant,
    mcp::{self, Listed},
    request::{Operation, Request},
    view::View,
};
use http::{HeaderValue, Response, StatusCode, header};
use serde_json::{Value, json};

use self::events::Events;
use crate::{Body, error, identify::is_traceparent, problem::Problem};

/// Nesting of an answer that is read.
const JSON_DEPTH: usize = 64;

/// The grant does not allow the call.
const DENIED: i64 = -32010;
/// A person must approve the call first.
const HELD: i64 = -32011;
/// The user is to be shown an address, in 2025-11-25.
const SHOW_ADDRESS: i64 = -32042;
/// The version that has that error.
const WITH_ADDRESSES: &str = "2025-11-25";
/// The gateway or the server behind it failed.
const FAILED: i64 = -32012;

/// One request or notification of MCP on its way.
#[derive(Debug, Clone)]
pub struct Exchange {
    /// The id by which it is answered, if it is.
    id: Option<Json>,
    /// What of a list is shown, if it asks for one.
    listed: Option<Listed>,
    /// Whether it is of the era without sessions.
    stateless: bool,
    /// The version that it is of, as it says.
    version: Option<String>,
    /// The URI, of a resource that is read.
    uri: Option<String>,
    /// Whether the client can show its user an address, as far as it said.
    shows_addresses: Option<bool>,
    /// The trace context that the message carries.
    traceparent: Option<String>,
}

impl Exchange {
    /// The exchange that an HTTP request to this catalogue's upstream begins; none when the upstream does not speak MCP.
    pub fn begin(catalogue: Option<&Arc<Catalogue>>, http: Option<&Request>) -> Option<Exchange> {
        catalogue.filter(|catalogue| catalogue.protocol() == Protocol::Mcp)?;
        let version = http.and_then(|http| http.header("mcp-protocol-version").ok().flatten()).map(str::to_owned);
        let (id, stateless) = (http.and_then(mcp::id).cloned(), version.as_deref() == Some(mcp::STATELESS));
        let message = http.and_then(Request::json);
        let shows_addresses = message.and_then(mcp::shows_addresses);
        let traceparent = message.and_then(mcp::traceparent).filter(|text| is_traceparent(text)).map(str::to_owned);
        Some(Exchange { id, listed: None, stateless, version, uri: None, shows_addresses, traceparent })
    }

    /// The trace context that the message carries: of whoever made the message, where an HTTP header may be of something on the way.
    pub fn traceparent(&self) -> Option<&str> {
        self.traceparent.as_deref()
    }

    /// In an era with sessions a client says once what it can do; what it said is remembered. It decides nothing but the form of an answer.
    pub fn remember(&mut self, said: &AtomicBool) {
        match self.shows_addresses {
            Some(shows) if !self.stateless => said.store(shows, Ordering::Relaxed),
            None if !self.stateless => self.shows_addresses = Some(said.load(Ordering::Relaxed)),
            _ => {}
        }
    }

    /// Once it is judged: what the grant shows of the list it asks for.
    #[must_use]
    pub fn judged(mut self, catalogue: &Arc<Catalogue>, grant: &Grant, request: &Request) -> Exchange {
        self.listed = Listed::is_list(request).then(|| Listed::new(catalogue.clone(), grant));
        self.uri = (request.operation() == Operation::Resource).then(|| request.target().to_owned());
        self
    }

    /// Whether the answer passes only once it is whole, and changed.
    pub const fn rewrites(&self) -> bool {
        self.listed.is_some()
    }

    /// A problem as JSON-RPC error with the problem document as `data`. A verdict on a request is an answer, so its HTTP status is 200: clients take
    /// other statuses for a broken connection.
    pub fn refuse(&self, mut problem: Problem) -> Response<Body> {
        if let Some(shown) = self.show_address(&problem) {
            return shown;
        }
        let (mut code, what) = (code(problem.code(), problem.status), problem.code().to_owned());
        let transport = ["origin-refused", "mcp-meta-missing"].contains(&what.as_str());
        let judged = self.id.is_some() && !transport && matches!(code, DENIED | HELD | -32602 | -32601);
        let mut status = if judged { StatusCode::OK } else { StatusCode::from_u16(problem.status).unwrap_or_default() };
        // What the version without sessions says of its errors.
        match (what.as_str(), &self.uri) {
            ("mcp-method-unknown", _) if self.stateless => status = StatusCode::NOT_FOUND,
            ("action-unknown", Some(uri)) if self.stateless => {
                code = -32602;
                problem = problem.with("uri", uri.as_str());
            }
            ("mcp-version-unknown", _) => {
                problem = problem.with("supported", json!([mcp::STATELESS])).with("requested", json!(self.version));
            }
            _ => {}
        }
        let mut message = json!({
            "jsonrpc": "2.0",
            "error": { "code": code, "message": format!("{}: {}", problem.title, problem.detail), "data": problem },
        });
        if let (Some(id), Some(members)) = (self.id(), message.as_object_mut()) {
            members.insert("id".to_owned(), id);
        }
        let mut response = error::answer(problem);
        *response.status_mut() = status;
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        *response.body_mut() = error::full(message.to_string());
        response
    }

    /// Of a held call, to a client that can show its user an address: that address, and nothing else. What the agent's side answers to it approves
    /// nothing; the call is asked again.
    fn show_address(&self, problem: &Problem) -> Option<Response<Body>> {
        let url = problem.members.get("page").filter(|_| problem.code() == "approval-required")?;
        self.shows_addresses.filter(|shows| *shows)?;
        let message =
            "A person must approve this call first. The address shows how it stands; nothing is approved there.";
        let mut asked = json!({ "mode": "url", "message": message, "url": url });
        let answer = if self.stateless {
            let asked = json!({ "method": "elicitation/create", "params": asked });
            let result = json!({ "resultType": "input_required", "inputRequests": { (mcp::OWN_REQUEST): asked } });
            json!({ "jsonrpc": "2.0", "id": self.id()?, "result": result })
        } else if self.version.as_deref() == Some(WITH_ADDRESSES) {
            asked.as_object_mut()?.insert("elicitationId".to_owned(), problem.members.get("held")?.clone());
            let error = json!({ "code": SHOW_ADDRESS, "message": message, "data": { "elicitations": [asked] } });
            json!({ "jsonrpc": "2.0", "id": self.id()?, "error": error })
        } else {
            return None;
        };
        let mut response = Response::new(error::full(answer.to_string()));
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Some(response)
    }

    fn id(&self) -> Option<Value> {
        serde_json::from_str(&self.id.as_ref()?.to_text()).ok()
    }

    /// The result that the agent is answered with, as JSON text.
    pub fn result(message: &[u8]) -> Option<Bytes> {
        let message = Json::parse_response(message, JSON_DEPTH).ok()?;
        Some(mcp::result(&message)?.to_text().into())
    }

    /// What the agent sees of an answer that is not shown whole.
    pub fn show(&self, message: &[u8], view: Option<&View>) -> String {
        let unreadable = || {
            let id = self.id().unwrap_or_default();
            json!({ "jsonrpc": "2.0", "id": id, "error": { "code": -32603, "message": "the server's answer cannot be read" } })
                .to_string()
        };
        let Ok(message) = Json::parse_response(message, JSON_DEPTH) else { return unreadable() };
        let Some(result) = mcp::result(&message) else { return message.to_text() };
        let shown = match (&self.listed, view) {
            (Some(listed), _) => listed.show(result),
            (None, Some(view)) => seen(result, view),
            (None, None) => result.clone(),
        };
        mcp::with_result(&message, &shown).to_text()
    }
}

/// A result through a view: the structured content that it names, and that again as text; a tool's error tells nothing but that it is one.
fn seen(result: &Json, view: &View) -> Json {
    let structured = result.pointer("/structuredContent").and_then(|content| view.show(content));
    let text = structured.as_ref().map(Json::to_text).unwrap_or_default();
    let content = [("type", "text".to_owned()), ("text", text)];
    let content = content.map(|(name, value)| (name.to_owned(), Json::String(value)));
    let mut members = vec![("content".to_owned(), Json::Array(vec![Json::Object(content.into())]))];
    members.extend(structured.map(|structured| ("structuredContent".to_owned(), structured)));
    for name in ["isError", "resultType"] {
        members.extend(result.pointer(&format!("/{name}")).map(|value| (name.to_owned(), value.clone())));
    }
    Json::Object(members)
}

fn code(problem: &str, status: u16) -> i64 {
    match problem {
        "approval-required" => HELD,
        "mcp-header-mismatch" => -32020,
        "mcp-version-unknown" => -32022,
        "mcp-method-unknown" => -32601,
        "argument-missing" | "argument-type" | "argument-unknown" | "mcp-meta-missing" => -32602,
        problem if problem.starts_with("jsonrpc-") => -32600,
        problem if problem.starts_with("json-") || problem == "not-utf8" => -32700,
        _ if status >= 500 => FAILED,
        _ => DENIED,
    }
}

/// Waits in a stream of events for the one that answers the exchange.
#[derive(Debug)]
pub struct Awaiting {
    exchange: Arc<Exchange>,
    events: Events,
    answer: Option<Bytes>,
}

impl Awaiting {
    /// Reads events of up to `limit` bytes.
    pub fn new(exchange: Arc<Exchange>, limit: usize) -> Awaiting {
        Awaiting { exchange, events: Events::new(limit), answer: None }
    }

    /// Takes the next piece of the stream.
    pub fn push(&mut self, bytes: &[u8]) {
        let Awaiting { exchange, events, answer } = self;
        let Some(id) = &exchange.id else { return };
        events.push(bytes, |data| {
            let message = Json::parse_response(data, JSON_DEPTH).ok();
            if answer.is_none() && message.is_some_and(|message| mcp::is_answer(&message, id)) {
                *answer = Some(Bytes::copy_from_slice(data));
            }
        });
    }

    /// Whether the answer came.
    pub const fn is_answered(&self) -> bool {
        self.answer.is_some()
    }

    /// Whether an event was too long to be read.
    pub const fn is_over(&self) -> bool {
        self.events.is_over()
    }

    /// The answer, if it came.
    pub fn answer(&mut self) -> Option<Bytes> {
        self.answer.take()
    }
}

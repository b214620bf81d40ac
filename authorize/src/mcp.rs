//! Messages of the Model Context Protocol over Streamable HTTP, versions with sessions (2025-11-25 and before) and without (2026-07-28), read in one
//! way. A message becomes a [`Request`] like any other: `tools/call`, `resources/read` and `prompts/get` are actions of the catalogue; the
//! protocol's own messages are plumbing, of which a closed list passes. Nothing depends on a session.

use std::{collections::BTreeSet, sync::Arc};

use data_encoding::BASE64;
use http::{HeaderMap, Method};

use crate::{
    Json, Refusal,
    catalogue::{Catalogue, Route},
    grant::Grant,
    request::{Body, Limits, Operation, Request},
};

/// The version without sessions: it says itself in every request, and method and name are headers too.
pub const STATELESS: &str = "2026-07-28";

/// The versions that are understood.
pub const VERSIONS: [&str; 4] = ["2025-03-26", "2025-06-18", "2025-11-25", STATELESS];

/// Headers of the transport, which pass in both directions once they agree with the message.
pub const HEADERS: [&str; 4] = ["mcp-session-id", "mcp-protocol-version", "mcp-method", "mcp-name"];

/// Requests that are no actions: they open, list and tune. Every other one is refused.
const REQUESTS: [&str; 12] = [
    "initialize",
    "server/discover",
    "ping",
    "tools/list",
    "resources/list",
    "resources/templates/list",
    "resources/subscribe",
    "resources/unsubscribe",
    "subscriptions/listen",
    "prompts/list",
    "logging/setLevel",
    "completion/complete",
];

/// What an agent may tell without being asked.
const NOTIFICATIONS: [&str; 4] = [
    "notifications/initialized",
    "notifications/cancelled",
    "notifications/progress",
    "notifications/roots/list_changed",
];

/// The name of an answer with values in it.
pub(crate) const ANSWER: &str = "answer";

/// Members of `_meta` that pass beside the protocol's own (`io.modelcontextprotocol/…`): what links progress and traces.
const META: [&str; 4] = ["progressToken", "traceparent", "tracestate", "baggage"];
const OWN_META: &str = "io.modelcontextprotocol/";
const CAPABILITIES_META: &str = "io.modelcontextprotocol/clientCapabilities";
const VERSION_META: &str = "io.modelcontextprotocol/protocolVersion";

fn refuse<T>(code: &'static str, message: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal::new(code, message))
}

fn invalid<T>(message: impl Into<String>) -> Result<T, Refusal> {
    refuse("jsonrpc-invalid", message)
}

fn text<'j>(json: &'j Json, name: &str) -> Option<&'j str> {
    match json.member(name) {
        Some(Json::String(text)) => Some(text),
        _ => None,
    }
}

/// The id of the request that an HTTP request holds, if it has one that can be answered: a text or a whole number.
pub fn id(http: &Request) -> Option<&Json> {
    let json = http.json()?;
    json.member("method")?;
    json.member("id").filter(|id| is_id(id))
}

fn is_id(id: &Json) -> bool {
    match id {
        Json::String(_) => true,
        Json::Number(text) => text.parse::<i64>().is_ok(),
        _ => false,
    }
}

/// Reads the message in an HTTP request that was normalised, with the headers that must agree with it.
///
/// # Errors
/// [`Refusal`] when it is no message, one that could be read in two ways, or one that does not pass.
pub fn read(limits: &Limits, http: &Request, headers: &HeaderMap) -> Result<Request, Refusal> {
    if http.target() != "/" {
        return refuse(
            "mcp-not-endpoint",
            "an MCP server has one address: the upstream's prefix, and nothing behind it",
        );
    }
    let version = header(headers, "mcp-protocol-version")?;
    if let Some(version) = version.filter(|version| !VERSIONS.contains(version)) {
        let known = VERSIONS.join(", ");
        return refuse("mcp-version-unknown", format!("the protocol version `{version}` is none of {known}"));
    }
    match (http.method(), http.body()) {
        (&Method::POST, Body::Json(message, bytes)) => read_message(limits, http, headers, message, bytes),
        (&Method::POST, _) => {
            refuse("jsonrpc-not-json", "a message is a JSON body; send `Content-Type: application/json`")
        }
        // The stream of what a server sends unasked, and the end of a session.
        (&Method::GET | &Method::DELETE, Body::Empty) => Ok(Request::plumbing(http, http.method().as_str())),
        (method, _) => refuse("method-refused", format!("the protocol has no `{method}` with this body")),
    }
}

fn read_message(
    limits: &Limits,
    http: &Request,
    headers: &HeaderMap,
    message: &Json,
    bytes: &[u8],
) -> Result<Request, Refusal> {
    let Json::Object(members) = message else {
        return match message {
            Json::Array(_) => {
                refuse("jsonrpc-batch", "batches are not part of the protocol; send one message at a time")
            }
            _ => invalid("a message is a JSON object"),
        };
    };
    let known = ["jsonrpc", "id", "method", "params", "result", "error"];
    if let Some((name, _)) = members.iter().find(|(name, _)| !known.contains(&name.as_str())) {
        return invalid(format!("a message has no member `{name}`"));
    }
    if text(message, "jsonrpc") != Some("2.0") {
        return invalid("`jsonrpc` is not \"2.0\"");
    }
    if message.member("id").is_some_and(|id| !is_id(id)) {
        return invalid("`id` is neither a text nor a whole number");
    }
    let Some(method) = message.member("method") else { return read_answer(http, message) };
    let Json::String(method) = method else { return invalid("`method` is no text") };
    if message.member("result").or(message.member("error")).is_some() {
        return invalid("a message with `method` has neither `result` nor `error`");
    }
    let nothing = Json::Object(Vec::new());
    let params = match message.member("params") {
        None => &nothing,
        Some(params @ Json::Object(_)) => params,
        Some(_) => return invalid("`params` is no object"),
    };
    let operation = match method.as_str() {
        "tools/call" => Some((Operation::Tool, "name")),
        "resources/read" => Some((Operation::Resource, "uri")),
        "prompts/get" => Some((Operation::Prompt, "name")),
        _ => None,
    };
    let asks = message.member("id").is_some();
    check_headers(headers, asks, method, operation.and_then(|(_, name)| text(params, name)), params)?;
    if !asks {
        return match NOTIFICATIONS.contains(&method.as_str()) {
            true => Ok(Request::plumbing(http, method)),
            false => refuse("mcp-method-unknown", format!("the notification `{method}` does not pass")),
        };
    }
    match operation {
        Some((operation, name)) => read_call(limits, http.upstream(), operation, name, params, bytes),
        None if REQUESTS.contains(&method.as_str()) => Ok(Request::plumbing(http, method)),
        None => refuse("mcp-method-unknown", format!("the method `{method}` does not pass")),
    }
}

/// A call: everything in it is either judged or known to say nothing.
fn read_call(
    limits: &Limits,
    upstream: &str,
    operation: Operation,
    called: &str,
    params: &Json,
    bytes: &[u8],
) -> Result<Request, Refusal> {
    let Json::Object(members) = params else { return invalid("`params` is no object") };
    let mut answers = Vec::new();
    for (name, value) in members {
        match name.as_str() {
            "_meta" => check_meta(value)?,
            "inputResponses" | "requestState" => answers.push((name.clone(), value.clone())),
            "arguments" if operation != Operation::Resource => {
                if !matches!(value, Json::Object(_)) {
                    return invalid("`params.arguments` is no object");
                }
            }
            name if name == called => {}
            name => {
                let message = format!("`params.{name}` cannot be judged, so it does not pass");
                return refuse("argument-unknown", message);
            }
        }
    }
    let Some(name) = text(params, called) else { return invalid(format!("`params.{called}` is no text")) };
    let request = Request::mcp(limits, upstream, operation, name, params.member("arguments").cloned(), bytes)?;
    Ok(if answers.is_empty() { request } else { request.answering(Json::Object(answers)) })
}

/// The key under which the gateway itself asks the agent's side to look at a held call.
pub const OWN_REQUEST: &str = "countersign-approval";

/// A message without what the agent's side answers to the gateway's own [`OWN_REQUEST`]: that is not for the server, and approves nothing; it only
/// means that the call is asked again. `None` when there is no such answer, or the message cannot be read, which is refused later.
pub fn without_own_answer(message: &[u8], limits: &Limits) -> Option<Vec<u8>> {
    let mut windows = message.windows(OWN_REQUEST.len());
    windows.find(|window| *window == OWN_REQUEST.as_bytes())?;
    let Json::Object(mut members) = Json::parse(message, limits.json_depth).ok()? else { return None };
    let (_, params) = members.iter_mut().find(|(name, _)| name == "params")?;
    let Json::Object(params) = params else { return None };
    let at = params.iter().position(|(name, _)| name == "inputResponses")?;
    let (_, Json::Object(answers)) = params.get_mut(at)? else { return None };
    let before = answers.len();
    answers.retain(|(key, _)| key != OWN_REQUEST);
    if answers.len() == before {
        return None;
    }
    if answers.is_empty() {
        params.remove(at);
    }
    Some(Json::Object(members).to_text().into_bytes())
}

/// Whether the client that sent a message says that it can show its user an address: `initialize` says so for a session, and in the version
/// without sessions each request for itself. `None` when the message says nothing of it.
pub fn shows_addresses(message: &Json) -> Option<bool> {
    let params = message.member("params")?;
    let capabilities = match text(message, "method") {
        Some("initialize") => params.member("capabilities"),
        _ => params.member("_meta").and_then(|meta| meta.member(CAPABILITIES_META)),
    };
    let url = capabilities?.member("elicitation").and_then(|elicitation| elicitation.member("url"));
    Some(matches!(url, Some(Json::Object(_))))
}

/// The trace context that a message carries (`params._meta.traceparent`), as it stands there.
pub fn traceparent(message: &Json) -> Option<&str> {
    text(message.member("params")?.member("_meta")?, "traceparent")
}

fn check_meta(meta: &Json) -> Result<(), Refusal> {
    let Json::Object(members) = meta else { return invalid("`params._meta` is no object") };
    let stray = members.iter().find(|(name, _)| !name.starts_with(OWN_META) && !META.contains(&name.as_str()));
    stray.map_or(Ok(()), |(name, _)| {
        refuse("argument-unknown", format!("`params._meta` has `{name}`, which cannot be judged, so it does not pass"))
    })
}

/// What an agent answers to a request of the server. Values of the agent's reach the server in the middle of a call, so an action must say that it asks.
fn read_answer(http: &Request, message: &Json) -> Result<Request, Refusal> {
    if message.member("id").is_none() || message.member("params").is_some() {
        return invalid("a message has a `method`, or an `id` with `result` or `error`");
    }
    match (message.member("result"), message.member("error")) {
        (None, Some(Json::Object(_))) => Ok(Request::plumbing(http, "error")),
        (Some(Json::Object(result)), None) => {
            let silent = |(name, value): &(String, Json)| match (name.as_str(), value) {
                ("roots", Json::Array(_)) => true,
                ("action", Json::String(action)) => action == "decline" || action == "cancel",
                _ => false,
            };
            Ok(Request::plumbing(http, if result.iter().all(silent) { "result" } else { ANSWER }))
        }
        _ => invalid("an answer has either a `result` or an `error`, which are objects"),
    }
}

/// The one value of a header.
fn header<'h>(headers: &'h HeaderMap, name: &str) -> Result<Option<&'h str>, Refusal> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    match (value.to_str(), values.next()) {
        (Ok(text), None) => Ok(Some(text)),
        _ => refuse("mcp-header-mismatch", format!("the header `{name}` is there several times or not as plain text")),
    }
}

/// Headers say what the body says, for some servers go by the one and some by the other.
fn check_headers(
    headers: &HeaderMap,
    asks: bool,
    method: &str,
    name: Option<&str>,
    params: &Json,
) -> Result<(), Refusal> {
    let version = header(headers, "mcp-protocol-version")?;
    let stateless = version == Some(STATELESS);
    let mismatch = |header: &str, body: &str| {
        refuse(
            "mcp-header-mismatch",
            format!("the header `{header}` is not there or not what the body has as `{body}`"),
        )
    };
    let said = params.member("_meta").and_then(|meta| meta.member(VERSION_META));
    let said = said.map(|said| if let Json::String(said) = said { said.as_str() } else { "" });
    if stateless && asks && said.is_none() {
        return refuse("mcp-meta-missing", format!("`params._meta` does not say `{VERSION_META}`"));
    }
    if said.is_some_and(|said| Some(said) != version) {
        return mismatch("MCP-Protocol-Version", VERSION_META);
    }
    match header(headers, "mcp-method")? {
        Some(header) if header == method => {}
        None if !(stateless && asks) => {}
        _ => return mismatch("Mcp-Method", "method"),
    }
    match (header(headers, "mcp-name")?, name) {
        (Some(header), Some(name)) if spells(header, name) => Ok(()),
        (None, None) => Ok(()),
        (None, Some(_)) if !stateless => Ok(()),
        _ => mismatch("Mcp-Name", "params.name or params.uri"),
    }
}

/// Whether a header's value stands for a name: as it is, or in the form for what no header can hold, `=?base64?…?=`.
fn spells(header: &str, name: &str) -> bool {
    let encoded = header.strip_prefix("=?base64?").and_then(|rest| rest.strip_suffix("?="));
    match encoded {
        Some(encoded) => BASE64.decode(encoded.as_bytes()).is_ok_and(|decoded| decoded == name.as_bytes()),
        None => header == name,
    }
}

/// Whether a completion is asked for what the grant has: its answer tells what is there.
pub(crate) fn may_complete(catalogue: &Catalogue, grant: &Grant, request: &Request) -> bool {
    let reference = request.json().and_then(|message| message.member("params")?.member("ref"));
    let Some(reference) = reference else { return false };
    let asked = |route: &Route| match (text(reference, "type"), route) {
        (Some("ref/prompt"), Route::Prompt(name)) => text(reference, "name") == Some(name),
        (Some("ref/resource"), Route::Resource(uri)) => text(reference, "uri") == Some(uri),
        _ => false,
    };
    let here = granted(catalogue, grant);
    catalogue.actions().iter().any(|action| here.contains(&action.name) && asked(&action.route))
}

/// Whether all resources whose changes are asked for are in the grant: `resources/subscribe` and its kin.
pub(crate) fn may_subscribe(catalogue: &Catalogue, grant: &Grant, request: &Request) -> bool {
    let Some(params) = request.json().and_then(|message| message.member("params")) else { return false };
    let wanted: Vec<&Json> = match (params.member("uri"), params.pointer("/notifications/resourceSubscriptions")) {
        (Some(uri), None) => vec![uri],
        (None, Some(Json::Array(uris))) => uris.iter().collect(),
        // The lists that change are cut to the grant when they are read.
        (None, None) => Vec::new(),
        _ => return false,
    };
    let here = granted(catalogue, grant);
    wanted.into_iter().all(|uri| matches!(uri, Json::String(uri) if has_resource(catalogue, &here, uri)))
}

/// Whether the grant has an action here in the middle of which the server may ask.
pub(crate) fn may_answer(catalogue: &Catalogue, grant: &Grant) -> bool {
    let here = granted(catalogue, grant);
    catalogue.actions().iter().any(|action| action.asks && here.contains(&action.name))
}

/// The names of the actions that the grant has at this server.
fn granted(catalogue: &Catalogue, grant: &Grant) -> BTreeSet<String> {
    let here = grant
        .actions
        .iter()
        .filter(|(_, granted)| granted.upstream.as_deref().is_none_or(|upstream| upstream == catalogue.upstream()));
    here.map(|(name, _)| name.clone()).collect()
}

fn has_resource(catalogue: &Catalogue, granted: &BTreeSet<String>, uri: &str) -> bool {
    let uri = Request::mcp(&Limits::default(), catalogue.upstream(), Operation::Resource, uri, None, b"");
    uri.is_ok_and(|uri| catalogue.resolve(&uri).is_ok_and(|resolved| granted.contains(&resolved.action.name)))
}

/// What a grant lets its agent know of a server's lists.
#[derive(Debug, Clone)]
pub struct Listed {
    catalogue: Arc<Catalogue>,
    granted: BTreeSet<String>,
}

impl Listed {
    /// What the grant has of the server.
    pub fn new(catalogue: Arc<Catalogue>, grant: &Grant) -> Listed {
        let granted = granted(&catalogue, grant);
        Listed { catalogue, granted }
    }

    /// Whether the answer to a request is a list.
    pub fn is_list(request: &Request) -> bool {
        request.operation() == Operation::Plumbing && request.target().ends_with("/list")
    }

    /// The result of a list, with what the grant has; cursors and all else stay.
    #[must_use]
    pub fn show(&self, result: &Json) -> Json {
        let Json::Object(members) = result else { return result.clone() };
        let shown = members.iter().map(|(name, value)| {
            let value = match (name.as_str(), value) {
                ("tools" | "prompts" | "resources" | "resourceTemplates", Json::Array(items)) => {
                    Json::Array(items.iter().filter(|item| self.has(name, item)).cloned().collect())
                }
                _ => value.clone(),
            };
            (name.clone(), value)
        });
        Json::Object(shown.collect())
    }

    fn has(&self, list: &str, item: &Json) -> bool {
        let key = match list {
            "tools" | "prompts" => "name",
            "resources" => "uri",
            _ => "uriTemplate",
        };
        let Some(key) = text(item, key) else { return false };
        if list == "resources" {
            return has_resource(&self.catalogue, &self.granted, key);
        }
        let is = |route: &Route| match (list, route) {
            ("tools", Route::Tool(name)) | ("prompts", Route::Prompt(name)) => name == key,
            ("resourceTemplates", Route::Resource(uri)) => uri == key,
            _ => false,
        };
        self.catalogue.actions().iter().any(|action| self.granted.contains(&action.name) && is(&action.route))
    }
}

/// The answer to the request with this id, if the message is it.
pub fn is_answer(message: &Json, id: &Json) -> bool {
    message.member("id") == Some(id) && message.member("method").is_none()
}

/// The result in an answer.
pub fn result(message: &Json) -> Option<&Json> {
    message.member("result")
}

/// The answer with another result.
#[must_use]
pub fn with_result(message: &Json, result: &Json) -> Json {
    let Json::Object(members) = message else { return message.clone() };
    let put =
        |(name, value): &(String, Json)| (name.clone(), if name == "result" { result.clone() } else { value.clone() });
    Json::Object(members.iter().map(put).collect())
}

#[cfg(test)]
mod tests;

//! The API behind the gateway: it answers as the traces say, over REST or MCP, with the attacker's text where an attacker can put text.

use std::{net::SocketAddr, sync::Arc};

use anyhow::Context as _;
use countersign_authorize::catalogue::{Action, Catalogue, Place, Protocol, Route};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::{
    body::{Bytes, Incoming},
    service::service_fn,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use parking_lot::Mutex;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;

use crate::cases::{Call, Step};

/// A tool's call in the protocol of its API.
#[derive(Debug, Clone, PartialEq)]
pub struct Sent {
    pub method: String,
    pub target: String,
    pub body: Option<Value>,
}

/// The action of a tool: the one of its name, with `.` and `-` as `_`.
pub fn action<'c>(catalogue: &'c Catalogue, tool: &str) -> Option<&'c Action> {
    let plain = |name: &str| name.replace(['.', '-'], "_");
    catalogue.actions().iter().find(|action| match &action.route {
        Route::Tool(name) => name == tool,
        _ => plain(&action.name) == plain(tool),
    })
}

/// How a call is sent.
pub fn sent(catalogue: &Catalogue, call: &Call) -> anyhow::Result<Sent> {
    if catalogue.protocol() == Protocol::Mcp {
        let params = json!({ "name": call.tool, "arguments": call.args });
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params });
        return Ok(Sent { method: "POST".into(), target: "/".into(), body: Some(body) });
    }
    let action = action(catalogue, &call.tool)
        .with_context(|| format!("the catalogue has no action named as the tool `{}`", call.tool))?;
    let Route::Http { method, path } = &action.route else {
        anyhow::bail!("`{}` is no action of an HTTP API", action.name)
    };
    let (mut target, mut query, mut body) = (path.clone(), Vec::new(), Value::Null);
    for (name, value) in &call.args {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let text = utf8_percent_encode(&text, NON_ALPHANUMERIC).to_string();
        match action.arguments.get(name).map(|argument| (argument.place, argument)) {
            Some((Place::Path, _)) => target = target.replace(&format!("{{{name}}}"), &text),
            Some((Place::Query, argument)) => query.push(format!("{}={text}", argument.key(name))),
            Some((_, argument)) => put(&mut body, &argument.pointer(name), value.clone()),
            None => put(&mut body, &format!("/{name}"), value.clone()),
        }
    }
    if !query.is_empty() {
        target = format!("{target}?{}", query.join("&"));
    }
    let body = (!body.is_null() || !matches!(method.as_str(), "GET" | "HEAD" | "DELETE")).then(|| match body {
        Value::Null => json!({}),
        body => body,
    });
    Ok(Sent { method: method.clone(), target, body })
}

fn put(body: &mut Value, pointer: &str, value: Value) {
    let mut at = body;
    for step in pointer.split('/').skip(1) {
        if !at.is_object() {
            *at = Value::Object(Map::new());
        }
        at = match at {
            Value::Object(members) => members.entry(step.to_owned()).or_insert(Value::Null),
            _ => return,
        };
    }
    *at = value;
}

/// A tool's answer as a value, with the attacker's text in each place that is marked for it.
pub fn result(step: &Step, planted: &str) -> Value {
    let value = serde_saphyr::from_str::<Value>(&step.result).unwrap_or_else(|_| Value::from(step.result.clone()));
    // What only looks like a number or a date is words.
    let value = if value.is_object() || value.is_array() { value } else { Value::from(step.result.clone()) };
    plant(value, planted)
}

fn plant(value: Value, planted: &str) -> Value {
    match value {
        Value::String(text) => {
            let mut parts = text.split("<<INJECTION:");
            let mut whole = parts.next().unwrap_or_default().to_owned();
            for part in parts {
                whole.push_str(planted);
                whole.push_str(part.split_once(">>").map_or("", |(_, rest)| rest));
            }
            Value::String(whole)
        }
        Value::Array(items) => items.into_iter().map(|item| plant(item, planted)).collect(),
        Value::Object(members) => {
            Value::Object(members.into_iter().map(|(name, value)| (name, plant(value, planted))).collect())
        }
        other => other,
    }
}

#[derive(Default)]
struct Script {
    steps: Vec<(Sent, String, Value, bool)>,
    arrived: usize,
}

/// The API.
pub struct Upstream {
    pub address: SocketAddr,
    script: Arc<Mutex<Script>>,
}

impl Upstream {
    pub async fn start() -> anyhow::Result<Upstream> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let (address, script) = (listener.local_addr()?, Arc::new(Mutex::new(Script::default())));
        let shared = script.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let script = shared.clone();
                tokio::spawn(async move {
                    let service = service_fn(move |request| answer(script.clone(), request));
                    auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await.ok();
                });
            }
        });
        Ok(Upstream { address, script })
    }

    /// What it answers from now on.
    pub fn script(&self, catalogue: &Catalogue, steps: &[Step], planted: &str) {
        let steps = steps.iter().filter_map(|step| {
            let sent = sent(catalogue, &step.call).ok()?;
            Some((sent, step.call.tool.clone(), result(step, planted), false))
        });
        self.script.lock().steps = steps.collect();
    }

    /// How many calls have arrived.
    pub fn arrived(&self) -> usize {
        self.script.lock().arrived
    }
}

async fn answer(script: Arc<Mutex<Script>>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let body: Option<Value> = serde_json::from_slice(&body).ok();
    let came = Sent {
        method: parts.method.to_string(),
        target: parts.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str).to_owned(),
        body,
    };
    let mut script = script.lock();
    script.arrived += 1;
    let result = script.result(&came);
    let mcp = came.body.as_ref().filter(|body| body.get("jsonrpc").is_some());
    let answer = match mcp {
        Some(message) => json!({ "jsonrpc": "2.0", "id": message.get("id"), "result": tool_result(result) }),
        None if result.is_object() => result,
        None => json!({ "result": result }),
    };
    let mut response = Response::new(Full::new(Bytes::from(answer.to_string())));
    *response.status_mut() = StatusCode::OK;
    response.headers_mut().insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
    Ok(response)
}

impl Script {
    /// The answer of the step that is this call, else of the tool's next one; of what no step has, that it is done.
    fn result(&mut self, came: &Sent) -> Value {
        let tool = |sent: &Sent| match &sent.body {
            Some(body) if body.get("jsonrpc").is_some() => body.pointer("/params/name").cloned(),
            _ => Some(Value::from(sent.target.split('?').next().unwrap_or_default())),
        };
        let found = self.steps.iter().position(|(sent, ..)| sent == came).or_else(|| {
            self.steps
                .iter()
                .position(|(sent, _, _, used)| !used && sent.method == came.method && tool(sent) == tool(came))
        });
        let Some((_, _, result, used)) = found.and_then(|at| self.steps.get_mut(at)) else {
            return json!({ "message": "done" });
        };
        *used = true;
        result.clone()
    }
}

/// As servers with structured output answer: the value, and the same as text.
fn tool_result(result: Value) -> Value {
    let structured = match &result {
        Value::Object(_) => Some(result.clone()),
        Value::Array(_) => Some(json!({ "result": result })),
        _ => None,
    };
    let text = result.as_str().map_or_else(|| result.to_string(), str::to_owned);
    let mut answer = json!({ "content": [{ "type": "text", "text": text }] });
    if let (Some(structured), Some(members)) = (structured, answer.as_object_mut()) {
        members.insert("structuredContent".to_owned(), structured);
    }
    answer
}

//! An API: reads are answered as the script says, changes are executed, logged and answered; one of them may go wrong.

use std::{collections::HashMap, sync::Arc, time::Duration};

use axum::{
    Json, Router,
    body::{Body, Bytes, to_bytes},
    extract::{Path, Request, State},
    http::{HeaderMap, Method, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// The key that the API demands of the gateway; a thief may have it too.
pub const KEY: &str = "bank-key-0123456789";

/// How long the gateway waits for a connection, and then again for the first byte of an answer, in seconds.
pub const PATIENCE_SECONDS: u64 = 1;

/// How long a slow API takes: longer than the gateway waits for both.
const SLOW: Duration = Duration::from_millis(2 * PATIENCE_SECONDS * 1000 + 700);

/// What the API does in a run.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Script {
    /// Answers to reads, by method and target: `GET /account/balance`.
    pub reads: Map<String, Value>,
    /// What goes wrong.
    pub fault: Option<Fault>,
}

/// What goes wrong, and with which of the run's changes (for [`What::AnswerAltered`]: reads), from 0.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Fault {
    pub at: usize,
    pub what: What,
}

/// A fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// Its own retry runs the change again.
    Twice,
    /// Waits for a lock until nobody listens any more, rolls back.
    Deadlock,
    /// Stands in a queue until nobody listens any more, is executed.
    Congested,
    /// Answers as if done.
    Drop,
    /// A layer in front of what signs and logs rewrites the amount.
    OtherAmount,
    /// A layer in front of what signs and logs turns a failure into a success.
    StatusLies,
    /// A layer in front of what signs and logs rewrites the answer.
    AnswerAltered,
    /// An exception before anything is changed.
    Fails,
    /// An exception after the change.
    FailsButExecutes,
    /// Slow, and blind to idempotency keys.
    BlindToKey,
    /// The account lacks the funds: declined, and nothing is wrong with the API.
    Declines,
    /// Takes its time, but less than the gateway gives it: nothing is wrong.
    Pause,
}

#[derive(Default)]
struct Run {
    script: Script,
    reads: usize,
    changes: usize,
    /// What was executed, by idempotency key.
    keys: HashMap<String, Value>,
    executed: usize,
}

#[derive(Default)]
struct Api {
    runs: Mutex<HashMap<String, Run>>,
    log: Mutex<Vec<Value>>,
}

type Shared = Arc<Api>;

/// What a layer knows of the request it passes.
#[derive(Debug, Clone, Copy)]
struct Now(Option<What>);

pub fn router() -> Router {
    let api = Shared::default();
    Router::new()
        .route("/_admin/script", post(script))
        .route("/_admin/log", get(log))
        .route("/_admin/changes/{trace}", get(changes))
        .fallback(answer)
        .layer(middleware::from_fn_with_state(api.clone(), front))
        .with_state(api)
}

async fn script(State(api): State<Shared>, headers: HeaderMap, Json(script): Json<Script>) -> StatusCode {
    api.runs.lock().insert(super::trace(&headers), Run { script, ..Run::default() });
    StatusCode::NO_CONTENT
}

async fn log(State(api): State<Shared>) -> String {
    api.log.lock().iter().map(|line| format!("{line}\n")).collect()
}

/// How many changes have come.
async fn changes(State(api): State<Shared>, Path(trace): Path<String>) -> Json<usize> {
    Json(api.runs.lock().get(&trace).map_or(0, |run| run.changes))
}

/// What stands in front of the API proper: here requests and answers are altered that the API itself handled well.
async fn front(State(api): State<Shared>, request: Request, next: Next) -> Response {
    if request.uri().path().starts_with("/_admin/") {
        return next.run(request).await;
    }
    let trace = super::trace(request.headers());
    let read = reads(request.method(), request.uri().path());
    let now = {
        let mut runs = api.runs.lock();
        let run = runs.entry(trace).or_default();
        let count = if read { &mut run.reads } else { &mut run.changes };
        let at = *count;
        *count += 1;
        let fault = run.script.fault.filter(|fault| (fault.what == What::AnswerAltered) == read);
        Now(fault.filter(|fault| fault.at == at).map(|fault| fault.what))
    };
    let (mut parts, mut body) = request.into_parts();
    parts.extensions.insert(now);
    if now.0 == Some(What::OtherAmount) {
        let text = to_bytes(body, usize::MAX).await.unwrap();
        let mut value: Value = serde_json::from_slice(&text).unwrap();
        let amount = value["amount"].as_f64().unwrap();
        value["amount"] = json!((amount * 1000.0).round() / 100.0);
        let text = value.to_string();
        parts.headers.insert(header::CONTENT_LENGTH, text.len().into());
        body = Body::from(text);
    }
    let answer = next.run(Request::from_parts(parts, body)).await;
    match now.0 {
        Some(What::StatusLies) => (StatusCode::CREATED, answer.headers().clone(), answer.into_body()).into_response(),
        Some(What::AnswerAltered) => {
            let text = to_bytes(answer.into_body(), usize::MAX).await.unwrap();
            let text = String::from_utf8_lossy(&text).replace("1810", "9810").replace("\"10.00\"", "\"70.00\"");
            ([(header::CONTENT_TYPE, "application/json")], text).into_response()
        }
        _ => answer,
    }
}

/// A tool of the airline that only looks is a POST all the same.
fn reads(method: &Method, path: &str) -> bool {
    method == Method::GET || path.starts_with("/get_") || path.starts_with("/search_")
}

async fn answer(State(api): State<Shared>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let bearer = parts.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    if bearer != Some(&format!("Bearer {KEY}")) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let now = parts.extensions.get::<Now>().copied().unwrap_or(Now(None)).0;
    let body = to_bytes(body, usize::MAX).await.unwrap();
    let trace = super::trace(&parts.headers);
    let target = parts.uri.path_and_query().map_or("/", |target| target.as_str()).to_owned();
    let change = Change { api, trace, method: parts.method, target, body, headers: parts.headers };
    if reads(&change.method, &change.target) {
        return change.read();
    }
    match now {
        None | Some(What::OtherAmount | What::AnswerAltered) => change.done(1),
        Some(What::Twice) => change.done(2),
        Some(What::Drop) => done_answer("0"),
        Some(What::Declines) => {
            change.note(422);
            (StatusCode::UNPROCESSABLE_ENTITY, Json(json!({ "error": "the account lacks the funds" }))).into_response()
        }
        Some(What::Fails | What::StatusLies) => {
            change.note(500);
            failed()
        }
        Some(What::FailsButExecutes) => {
            change.execute();
            change.note(500);
            failed()
        }
        Some(What::Deadlock) => {
            tokio::time::sleep(SLOW).await;
            failed()
        }
        // Whoever asked may be gone: what is in the queue is executed all the same.
        Some(what @ (What::Congested | What::BlindToKey | What::Pause)) => {
            let late = tokio::spawn(async move {
                tokio::time::sleep(if what == What::Pause { Duration::from_millis(900) } else { SLOW }).await;
                change.done(1)
            });
            late.await.unwrap()
        }
    }
}

struct Change {
    api: Shared,
    trace: String,
    method: Method,
    target: String,
    body: Bytes,
    headers: HeaderMap,
}

impl Change {
    fn read(&self) -> Response {
        let runs = self.api.runs.lock();
        let asked = format!("{} {}", self.method, self.target);
        let with_body = format!("{asked} {}", String::from_utf8_lossy(&self.body));
        let reads = runs.get(&self.trace).map(|run| &run.script.reads);
        let found = reads.and_then(|reads| reads.get(&with_body).or_else(|| reads.get(&asked))).cloned();
        drop(runs);
        let status = if found.is_some() { StatusCode::OK } else { StatusCode::NOT_FOUND };
        self.note(status.as_u16());
        (status, Json(found.unwrap_or_else(|| json!({ "error": "no such resource" })))).into_response()
    }

    /// Executes so many times, unless the idempotency key says that it was done before.
    fn done(&self, times: usize) -> Response {
        let key = self.headers.get("idempotency-key").and_then(|key| key.to_str().ok()).map(str::to_owned);
        let blind = {
            let runs = self.api.runs.lock();
            let fault = runs.get(&self.trace).and_then(|run| run.script.fault);
            fault.is_some_and(|fault| fault.what == What::BlindToKey)
        };
        if let Some(key) = key.filter(|_| !blind) {
            let known = self.api.runs.lock().get(&self.trace).is_some_and(|run| run.keys.contains_key(&key));
            if known {
                return done_answer("1");
            }
            self.api.runs.lock().entry(self.trace.clone()).or_default().keys.insert(key, Value::Null);
        }
        for _ in 0..times {
            self.execute();
            self.note(201);
        }
        done_answer("1")
    }

    fn execute(&self) {
        self.api.runs.lock().entry(self.trace.clone()).or_default().executed += 1;
    }

    /// A line of the API's own log.
    fn note(&self, status: u16) {
        let body: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        let time = jiff::Timestamp::now().to_string();
        let (method, path) = (self.method.as_str(), &self.target);
        self.api
            .log
            .lock()
            .push(json!({ "time": time, "method": method, "path": path, "status": status, "body": body }));
    }
}

fn done_answer(id: &str) -> Response {
    (StatusCode::CREATED, Json(json!({ "id": id, "message": "done" }))).into_response()
}

fn failed() -> Response {
    (StatusCode::INTERNAL_SERVER_ERROR, Json(json!({ "error": "internal error" }))).into_response()
}

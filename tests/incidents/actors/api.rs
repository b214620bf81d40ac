//! An API: reads are answered as the script says, changes are executed, logged and answered; one of them may go wrong.

use std::{collections::HashMap, sync::Arc, time::Duration};

use axum::{
    Json, Router,
    body::{Body, Bytes, to_bytes},
    extract::{Path, Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use countersign_ledger::{keys, statement::Jwk};
use countersign_sdk::api::{Execution, Facts, GatewayKeys, ReceiptLayer};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tower::ServiceExt as _;

/// What each gateway's key begins with; behind it stands which one it is. A thief may have one too.
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
    /// Gives no receipt.
    NoReceipt,
    /// Gives a receipt whose signature is not its own.
    BadSignature,
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
    /// The gateways whose calls get receipts.
    gateways: Mutex<Vec<Jwk>>,
    trusted: GatewayKeys,
}

/// The API proper, with and without the layer that signs.
#[derive(Clone)]
struct Front {
    api: Shared,
    signed: Router,
    bare: Router,
}

type Shared = Arc<Api>;

/// What a layer knows of the request it passes.
#[derive(Debug, Clone, Copy)]
struct Now(Option<What>);

/// The body as the front passes it on where it altered it.
#[derive(Debug, Clone)]
struct Rewritten(Bytes);

/// The API, and the public key that it signs with.
pub fn router() -> (Router, Value) {
    let api = Shared::default();
    let key = keys::generate().unwrap();
    let jwk = json!(Jwk::ed25519(&key.verifying_key()));
    let bare = Router::new().fallback(answer).with_state(api.clone());
    let signed = bare.clone().layer(ReceiptLayer::new(key, api.trusted.clone()));
    let admin = Router::new()
        .route("/_admin/script", post(script))
        .route("/_admin/trust", post(trust))
        .route("/_admin/log", get(log))
        .route("/_admin/changes/{trace}", get(changes))
        .with_state(api.clone());
    (admin.merge(Router::new().fallback(front).with_state(Front { api, signed, bare })), jwk)
}

/// A gateway that is trusted beside the others.
async fn trust(State(api): State<Shared>, Json(jwk): Json<Jwk>) -> StatusCode {
    let mut gateways = api.gateways.lock();
    gateways.push(jwk);
    api.trusted.replace(gateways.clone());
    StatusCode::NO_CONTENT
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
async fn front(State(front): State<Front>, request: Request) -> Response {
    let Front { api, signed, bare } = front;
    if request.uri().path().starts_with("/.well-known/") {
        return signed.oneshot(request).await.unwrap();
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
        // What reads it below must not depend on a check of what the gateway signed: this API has none.
        parts.extensions.insert(Rewritten(Bytes::from(text.clone())));
        parts.headers.insert(header::CONTENT_LENGTH, text.len().into());
        body = Body::from(text);
    }
    let inner = if now.0 == Some(What::NoReceipt) { bare } else { signed };
    let mut answer = inner.oneshot(Request::from_parts(parts, body)).await.unwrap();
    match now.0 {
        Some(What::StatusLies) => (StatusCode::CREATED, answer.headers().clone(), answer.into_body()).into_response(),
        Some(What::AnswerAltered) => {
            let mut headers = answer.headers().clone();
            let text = to_bytes(answer.into_body(), usize::MAX).await.unwrap();
            let text = String::from_utf8_lossy(&text).replace("1810", "9810").replace("\"10.00\"", "\"70.00\"");
            headers.remove(header::CONTENT_LENGTH);
            (headers, text).into_response()
        }
        Some(What::BadSignature) => {
            if let Some(signature) = answer.headers_mut().get_mut("signature") {
                let text = signature.to_str().unwrap().to_owned();
                // Another first character of the base64: another signature.
                let (name, value) = text.split_once(":").unwrap();
                let other = if value.starts_with('A') { "B" } else { "A" };
                *signature = HeaderValue::from_str(&format!("{name}:{other}{}", &value[1..])).unwrap();
            }
            answer
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
    let Some(credential) = bearer.and_then(|bearer| bearer.strip_prefix("Bearer ")?.strip_prefix(KEY)) else {
        return StatusCode::UNAUTHORIZED.into_response();
    };
    let credential = credential.to_owned();
    let now = parts.extensions.get::<Now>().copied().unwrap_or(Now(None)).0;
    let read = to_bytes(body, usize::MAX).await;
    let body = match parts.extensions.get::<Rewritten>() {
        Some(Rewritten(body)) => body.clone(),
        None => read.unwrap(),
    };
    let facts = parts.extensions.get::<Facts>().cloned().unwrap_or_default();
    facts.say(|said| said.id = Some(uuid::Uuid::new_v4().to_string()));
    let trace = super::trace(&parts.headers);
    let target = parts.uri.path_and_query().map_or("/", |target| target.as_str()).to_owned();
    let change = Change { api, trace, credential, method: parts.method, target, body, headers: parts.headers, facts };
    if reads(&change.method, &change.target) {
        return change.read();
    }
    match now {
        None | Some(What::OtherAmount | What::AnswerAltered | What::NoReceipt | What::BadSignature) => change.done(1),
        Some(What::Twice) => change.done(2),
        Some(What::Drop) => {
            change.says(|said| said.changed = Some(0));
            done_answer("0")
        }
        Some(What::Declines) => {
            change.note(422);
            change.says(|said| said.changed = Some(0));
            (StatusCode::UNPROCESSABLE_ENTITY, Json(json!({ "error": "the account lacks the funds" }))).into_response()
        }
        Some(What::Fails | What::StatusLies) => {
            change.note(500);
            change.says(|said| {
                said.exception = Some("NullPointer".to_owned());
                said.changed = Some(0);
            });
            failed()
        }
        Some(What::FailsButExecutes) => {
            change.execute();
            change.note(500);
            change.says(|said| said.exception = Some("LedgerUnavailable".to_owned()));
            failed()
        }
        Some(What::Deadlock) => {
            tokio::time::sleep(SLOW).await;
            change.says(|said| {
                said.lock_ms = Some(millis(SLOW));
                said.deadlock = Some(true);
                said.exception = Some("Deadlock".to_owned());
                said.changed = Some(0);
            });
            failed()
        }
        // Whoever asked may be gone: what is in the queue is executed all the same.
        Some(what @ (What::Congested | What::BlindToKey | What::Pause)) => {
            let late = tokio::spawn(async move {
                if what == What::Pause {
                    tokio::time::sleep(Duration::from_millis(900)).await;
                } else {
                    tokio::time::sleep(SLOW).await;
                    change.says(|said| said.queue_ms = Some(millis(SLOW)));
                }
                change.done(1)
            });
            late.await.unwrap()
        }
    }
}

struct Change {
    api: Shared,
    trace: String,
    credential: String,
    method: Method,
    target: String,
    body: Bytes,
    headers: HeaderMap,
    facts: Facts,
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap()
}

impl Change {
    /// What the receipt will say of the execution, beside what was said before.
    fn says(&self, say: impl FnOnce(&mut Execution)) {
        self.facts.say(say);
    }

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
                self.says(|said| {
                    said.replay = Some(true);
                    said.changed = Some(0);
                });
                self.note(201);
                return done_answer("1");
            }
            self.api.runs.lock().entry(self.trace.clone()).or_default().keys.insert(key, Value::Null);
        }
        for _ in 0..times {
            self.execute();
            self.note(201);
        }
        if times > 1 {
            self.says(|said| said.retries = u64::try_from(times - 1).ok());
        }
        done_answer("1")
    }

    fn execute(&self) {
        self.api.runs.lock().entry(self.trace.clone()).or_default().executed += 1;
        self.says(|said| said.changed = Some(said.changed.unwrap_or_default() + 1));
    }

    /// A line of the API's own log.
    fn note(&self, status: u16) {
        let body: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        let time = jiff::Timestamp::now().to_string();
        let (method, path) = (self.method.as_str(), &self.target);
        let traceparent = self.headers.get("traceparent").and_then(|value| value.to_str().ok());
        self.api.log.lock().push(json!({
            "time": time, "method": method, "path": path, "status": status, "body": body, "traceparent": traceparent,
            "credential": self.credential,
        }));
    }
}

fn done_answer(id: &str) -> Response {
    (StatusCode::CREATED, Json(json!({ "id": id, "message": "done" }))).into_response()
}

fn failed() -> Response {
    (StatusCode::INTERNAL_SERVER_ERROR, Json(json!({ "error": "internal error" }))).into_response()
}

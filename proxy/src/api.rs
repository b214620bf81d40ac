//! The API on its own listener: host, agent, approver, operator and investigator, each with a credential of its own.
//!
//! An agent's token opens nothing here but its own decision, its own answer, the state of its own calls, and a narrower token for another agent.

mod agent;
mod answering;
mod approver;
mod border;
mod consent;
mod credentials;
mod dry_run;
mod exchange;
mod host;
mod incident;
mod limit;
mod mine;
mod operator;
mod pages;
mod reader;
mod reconciliation;
mod settle;
mod ungranted;

use std::sync::Arc;

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode},
    middleware,
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use countersign_ledger::{
    statement::Jwk,
    writer::{AppendError, Sealed},
};
use countersign_receipt::directory;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

pub use credentials::{Credential, Credentials, Role};
pub(crate) use limit::Peer;
use pages::Pages;
pub use settle::Grounds;

use self::limit::Limiter;
use crate::{
    observe::watch,
    problem::Problem,
    propose::Proposer,
    settings::{Approvals, Limits},
    state::{Gateway, StateError},
    token::Claims,
};

/// The header with an entry's hash.
pub const ENTRY: HeaderName = HeaderName::from_static("countersign-entry");
/// The header with an entry's number.
pub const SEQ: HeaderName = HeaderName::from_static("countersign-seq");
/// The header with an entry's proof: base64 of its c2sp.org/tlog-proof text.
pub const PROOF: HeaderName = HeaderName::from_static("countersign-proof");

/// The OpenAPI document of this API.
pub const OPENAPI: &str = include_str!("api/openapi.json");

/// The longest name of a party, an agent, a principal or an action, in bytes.
const MAX_NAME_BYTES: usize = 320;

/// What the handlers share.
#[derive(Clone)]
pub struct Api {
    gateway: Arc<Gateway>,
    credentials: Credentials,
    limits: Arc<Limits>,
    proposer: Option<Arc<Proposer>>,
    signing: Arc<Vec<Jwk>>,
    /// The approvers' pages, where the configuration has them.
    pages: Option<Arc<Pages>>,
}

/// Each route with its handler: what the OpenAPI document must list.
/// `signing` are the public keys that requests to APIs are signed with.
pub fn router(
    gateway: Arc<Gateway>,
    credentials: impl Into<Credentials>,
    limits: &Limits,
    proposer: Option<Proposer>,
    signing: Vec<Jwk>,
    approvals: Option<Approvals>,
) -> Router {
    let pages = approvals.and_then(Pages::new);
    let shown = pages.as_ref().map_or_else(Router::new, |_| pages::router());
    let (observe, limiter) = (gateway.observe().clone(), Limiter::new(limits, gateway.observe()));
    let (limits, signing) = (Arc::new(limits.clone()), Arc::new(signing));
    let api =
        Api { gateway, credentials: credentials.into(), limits, proposer: proposer.map(Arc::new), signing, pages };
    Router::new()
        .route("/v1/instructions", post(host::instruct))
        .route("/v1/decisions", post(agent::decide))
        .route("/v1/answers", post(agent::answer))
        .route("/v1/instructions/{id}/consent", post(consent::consent))
        .route("/v1/dry-run", post(dry_run::dry_run))
        .route("/v1/token", post(exchange::exchange))
        .route("/v1/calls/{call}", get(agent::call))
        .route("/v1/calls/{call}/settle", post(settle::settle))
        .route("/v1/approvals", get(approver::list))
        .route("/v1/approvals/{call}", get(approver::one).post(approver::decide))
        .route("/v1/policies", get(operator::policies))
        .route("/v1/revocations", get(operator::revoked).post(operator::revoke))
        .route("/v1/parties", post(operator::party))
        .route("/v1/keys", post(operator::key))
        .route("/v1/enrolments", post(pages::open))
        .route("/v1/holds", post(operator::hold))
        .route("/v1/erasures", post(operator::erase))
        .route("/v1/reconciliations", post(reconciliation::record))
        .route("/v1/incidents", get(incident::list).post(incident::incident))
        .route("/v1/my/bundle", post(mine::bundle))
        .route("/v1/instructions/{id}", get(reader::instruction))
        .route("/v1/entries/{entry}", get(reader::entry))
        .route("/v1/proofs/{seq}", get(reader::proof))
        .route("/v1/consistency/{old}/{size}", get(reader::consistency))
        .route("/v1/checkpoint", get(reader::checkpoint))
        .route("/.well-known/http-message-signatures-directory", get(signing_keys))
        .route("/openapi.json", get(openapi))
        .route("/livez", get(alive))
        .route("/readyz", get(ready))
        .merge(shown)
        .fallback(async || {
            Problem::new(StatusCode::NOT_FOUND, "no-such-endpoint", "No such endpoint", "see /openapi.json")
        })
        .method_not_allowed_fallback(async || {
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "no-such-method", "No such method here", "see /openapi.json")
        })
        .layer(middleware::from_fn(border::cross))
        // Before a body is read or a credential looked at.
        .layer(middleware::from_fn_with_state(limiter, limit::limit))
        .layer(middleware::from_fn_with_state(observe, watch))
        .with_state(api)
}

async fn openapi() -> Response {
    ([(http::header::CONTENT_TYPE, "application/json")], OPENAPI).into_response()
}

/// The keys that requests to APIs are signed with, for whoever checks the signatures.
async fn signing_keys(State(api): State<Api>) -> Response {
    let headers = [(http::header::CONTENT_TYPE, directory::MEDIA_TYPE), (http::header::CACHE_CONTROL, "max-age=600")];
    (headers, directory::list(&api.signing).to_string()).into_response()
}

/// Ready means: the ledger can seal.
async fn ready(State(api): State<Api>) -> Result<&'static str, Problem> {
    api.gateway.ledger.can_seal().map(|()| "ready\n").map_err(|error| unavailable(&error))
}

/// Alive means: whatever keeps the ledger from sealing may pass. A ledger that has stopped goes on only in another process.
async fn alive(State(api): State<Api>) -> Result<&'static str, Problem> {
    match api.gateway.ledger.status().poisoned {
        None => Ok("ok\n"),
        Some(why) => Err(unavailable(&AppendError::Poisoned(why.into()))),
    }
}

/// Reads a JSON body; unknown fields are refused by the types. The problem names the field.
fn read<T: DeserializeOwned>(body: &Bytes) -> Result<T, Problem> {
    let mut reader = serde_json::Deserializer::from_slice(body);
    let malformed = |detail: String, field: &str| {
        Problem::new(StatusCode::BAD_REQUEST, "malformed-request", "The request cannot be read", detail)
            .with("field", field)
    };
    let read = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        // `?` is what the reader calls a place it had not reached.
        let field = error.path().to_string().replace('?', ".");
        // `.` is the body itself, and no name for a reader.
        let place = if field == "." { String::new() } else { format!("`{field}`: ") };
        malformed(format!("{place}{}", error.inner()), &field)
    })?;
    reader.end().map_err(|error| malformed(error.to_string(), "."))?;
    Ok(read)
}

impl Api {
    /// The party behind a credential of one of these roles.
    fn caller(&self, headers: &HeaderMap, roles: &[Role]) -> Result<(Role, String), Problem> {
        self.credentials.caller(headers, roles)
    }

    /// The claims of an agent's token.
    fn agent(&self, headers: &HeaderMap) -> Result<Arc<Claims>, Problem> {
        let token = credentials::bearer(headers).ok_or_else(|| unauthorized("there is no bearer token"))?;
        self.gateway.tokens.verify(token, self.gateway.now()).map_err(|error| unauthorized(&error.to_string()))
    }
}

fn unauthorized(detail: &str) -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", "Not authenticated", detail)
}

fn bad_request(detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "bad-request", "The request is refused", detail)
}

/// Refuses a name that is empty or too long to stand in an entry.
fn named(field: &str, value: &str) -> Result<(), Problem> {
    if value.trim().is_empty() || value.len() > MAX_NAME_BYTES || value.chars().any(char::is_control) {
        let detail = format!("`{field}` must be 1 to {MAX_NAME_BYTES} bytes without control characters");
        return Err(bad_request(detail).with("field", field));
    }
    Ok(())
}

fn not_found(detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "not-found", "Not found", detail)
}

/// What the ledger's refusal looks like from outside.
pub fn unavailable(error: &AppendError) -> Problem {
    let (code, title, ends) = match error {
        AppendError::Full => ("ledger-busy", "The ledger's queue is full", "it passes by itself"),
        AppendError::NoSpace { .. } | AppendError::Unwritten(_) => {
            ("ledger-full", "The ledger's disk is full", "it ends when there is room, without a restart")
        }
        AppendError::Unsigned(_) => (
            "ledger-unsigned",
            "The ledger's key does not sign at the moment",
            "it ends when the key's module signs, without a restart",
        ),
        AppendError::Stuck { .. } => (
            "ledger-stuck",
            "The ledger waits for its disk or for its key's module",
            "it ends when they answer, without a restart",
        ),
        AppendError::Entry(_) => return bad_request(error.to_string()),
        _ => {
            ("ledger-stopped", "The ledger has stopped", "it ends when the gateway is started again; its log says why")
        }
    };
    let detail = format!("nothing was done, since what cannot be recorded is refused; {ends}");
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, code, title, detail)
}

impl From<StateError> for Problem {
    fn from(error: StateError) -> Problem {
        match error {
            StateError::Append(error) => unavailable(&error),
            StateError::Vault(error) if error.is_full() => {
                tracing::error!(%error, "a data key cannot be kept; it can once there is room");
                unavailable(&AppendError::Unwritten(error.to_string().into()))
            }
            StateError::NoInstruction(_) => not_found(error.to_string()),
            other => {
                tracing::error!(error = %other, "a request failed");
                Problem::new(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "internal",
                    "The gateway failed",
                    "the operator's log says why",
                )
            }
        }
    }
}

/// The headers that carry an entry and its proof.
pub fn entry_headers(sealed: &Sealed) -> [(HeaderName, String); 3] {
    let proof = data_encoding::BASE64.encode(sealed.proof.to_string().as_bytes());
    [(ENTRY, sealed.hash.to_string()), (SEQ, sealed.seq.to_string()), (PROOF, proof)]
}

/// An answer with its entry's hash and proof, in the body and in the headers.
fn sealed_answer(status: StatusCode, sealed: &Sealed, value: impl Serialize) -> Response {
    let mut body = serde_json::to_value(value).unwrap_or_default();
    if let Value::Object(body) = &mut body {
        body.insert("entry".to_owned(), json!(sealed.hash));
        body.insert("seq".to_owned(), json!(sealed.seq));
        body.insert("proof".to_owned(), json!(sealed.proof.to_string()));
    }
    let mut response = (status, axum::Json(body)).into_response();
    for (name, value) in entry_headers(sealed) {
        response.headers_mut().extend(HeaderValue::from_str(&value).ok().map(|value| (name, value)));
    }
    response
}

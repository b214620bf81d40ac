//! The sample bank: a real HTTP server in a process of its own, which only the sidecar holds a key to.

#![allow(clippy::result_large_err, reason = "an error here is the answer itself, made once and sent")]

mod account;

use std::{
    fs,
    io::Write as _,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context as _, bail};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{self, Query, Request, State, rejection::QueryRejection},
    http::{HeaderMap, Method, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, patch, post, put},
};
use clap::{Args, ValueHint};
use countersign_ledger::{keys, statement::Jwk};
use countersign_receipt::directory;
use countersign_sdk::api::{Facts, GatewayKeys, ReceiptLayer};
use parking_lot::Mutex;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tokio::{
    io::AsyncReadExt as _,
    signal::unix::{SignalKind, signal},
};

pub use account::Opening;
pub(super) use account::plain;
use account::{Account, Refused};

/// `demo-bank`. The keys come from the environment or a file, so that no list of processes shows them.
#[derive(Args)]
pub struct BankArgs {
    /// Where to listen as a service, until SIGTERM; left out, it takes a free port on loopback and serves until standard input ends.
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// The key that the API demands.
    #[arg(long, env = "COUNTERSIGN_DEMO_BANK_KEY", hide_env_values = true, required_unless_present = "key_file")]
    key: Option<String>,
    /// A file with that key.
    #[arg(long, value_name = "FILE", conflicts_with = "key", value_hint = ValueHint::FilePath)]
    key_file: Option<PathBuf>,
    /// The key that planting an attacker's text and the journal demand; both are not there without it.
    #[arg(long, env = "COUNTERSIGN_DEMO_BANK_ADMIN_KEY", hide_env_values = true)]
    admin_key: Option<String>,
    /// A directory with `gateway.jwk`: calls that this gateway signed get receipts, signed with a key whose public half is written there as `bank.jwk`.
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    receipts: Option<PathBuf>,
}

impl std::fmt::Debug for BankArgs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BankArgs").field("listen", &self.listen).finish_non_exhaustive()
    }
}

#[derive(Clone)]
struct Bank {
    opening: Arc<Opening>,
    account: Arc<Mutex<Account>>,
}

/// Serves until standard input ends, so that the bank never outlives who started it; or, as a service, until it is told to end. Prints its address as a line
/// of JSON.
///
/// # Errors
/// When the port cannot be had, or the key not be read.
pub async fn serve(args: BankArgs) -> anyhow::Result<()> {
    let key = match (&args.key, &args.key_file) {
        (Some(key), _) => key.clone(),
        (None, Some(file)) => {
            fs::read_to_string(file).with_context(|| format!("`{}` cannot be read", file.display()))?
        }
        (None, None) => bail!("give --key-file FILE, or the key in the environment variable COUNTERSIGN_DEMO_BANK_KEY"),
    };
    let opening = super::cases::cases()?.bank.clone();
    let account = Arc::new(Mutex::new(Account::new(opening.clone(), "")));
    let mut api = router(Bank { account, opening: Arc::new(opening) }, key.trim(), args.admin_key.as_deref());
    if let Some(dir) = &args.receipts {
        api = api.layer(receipts(dir)?);
    }
    let address = args.listen.unwrap_or(SocketAddr::from(([127, 0, 0, 1], 0)));
    let listener =
        tokio::net::TcpListener::bind(address).await.with_context(|| format!("cannot listen at {address}"))?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", json!({ "address": listener.local_addr()?.to_string() }))?;
    out.flush()?;
    drop(out);
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let ends = async move {
        if args.listen.is_none() {
            // Its parent is gone then.
            drop(tokio::io::stdin().read_to_end(&mut Vec::new()).await);
            return;
        }
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    axum::serve(listener, api).with_graceful_shutdown(ends).await?;
    Ok(())
}

/// The bank's receipts, with keys in a directory.
fn receipts(dir: &Path) -> anyhow::Result<ReceiptLayer> {
    let key = keys::load_or_create(&dir.join("bank.pem"))?;
    fs::write(dir.join("bank.jwk"), json!(Jwk::ed25519(&key.verifying_key())).to_string())?;
    let gateway = fs::read_to_string(dir.join("gateway.jwk")).context("the gateway's key cannot be read")?;
    let gateway = directory::read(&gateway).context("the gateway's key is none")?;
    Ok(ReceiptLayer::new(key, GatewayKeys::new(gateway)))
}

/// What the bank's receipt says of an execution.
async fn execution(request: Request, next: Next) -> Response {
    let (facts, changes) = (request.extensions().get::<Facts>().cloned(), request.method() != Method::GET);
    let response = next.run(request).await;
    if let Some(facts) = facts {
        facts.say(|execution| {
            execution.id = Some(uuid::Uuid::now_v7().to_string());
            execution.changed = Some(u64::from(changes && response.status().is_success()));
        });
    }
    response
}

fn router(bank: Bank, key: &str, admin_key: Option<&str>) -> Router {
    let demanded = |key: &str| middleware::from_fn_with_state(Arc::<str>::from(key), demand);
    let mut api = Router::new()
        .route("/account/iban", get(iban))
        .route("/account/balance", get(balance))
        .route("/transactions", get(transactions).post(send))
        .route("/scheduled-transactions", get(scheduled).post(schedule))
        .route("/scheduled-transactions/{id}", patch(change))
        .route("/files/{path}", get(file))
        .route("/user", get(user).patch(change_user))
        .route("/user/password", put(change_password))
        .layer(demanded(key))
        .layer(middleware::from_fn(execution));
    if let Some(admin_key) = admin_key {
        let admin = Router::new()
            .route("/_admin/reset", post(reset))
            .route("/_admin/journal", get(journal))
            .layer(demanded(admin_key));
        api = api.merge(admin);
    }
    api.route("/livez", get(async || "ok\n"))
        .fallback(async || error(StatusCode::NOT_FOUND, "no such resource"))
        .method_not_allowed_fallback(async || error(StatusCode::METHOD_NOT_ALLOWED, "no such method here"))
        .with_state(bank)
}

fn error(status: StatusCode, message: impl Into<String>) -> Response {
    (status, Json(json!({ "error": message.into() }))).into_response()
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let status = match self {
            Refused::Planned(_) => StatusCode::NOT_FOUND,
            _ => StatusCode::UNPROCESSABLE_ENTITY,
        };
        error(status, self.to_string())
    }
}

async fn demand(State(key): State<Arc<str>>, headers: HeaderMap, request: Request, next: Next) -> Response {
    let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    if given == Some(&*key) {
        next.run(request).await
    } else {
        error(StatusCode::UNAUTHORIZED, "this needs the bank's key")
    }
}

fn read<T: DeserializeOwned>(body: &Bytes) -> Result<T, Response> {
    serde_json::from_slice(body).map_err(|problem| error(StatusCode::BAD_REQUEST, problem.to_string()))
}

impl Bank {
    /// Reads the body, makes the change, and notes it in the journal if it was made.
    fn write<T: DeserializeOwned, R>(
        &self,
        method: &Method,
        path: &str,
        body: &Bytes,
        change: impl FnOnce(&mut Account, T) -> Result<R, Refused>,
    ) -> Result<R, Response> {
        let asked = read(body)?;
        let written: Value = read(body)?;
        let mut account = self.account.lock();
        let done = change(&mut account, asked).map_err(IntoResponse::into_response)?;
        account.note(format!("{method} {path}"), &written);
        Ok(done)
    }
}

async fn iban(State(bank): State<Bank>) -> Json<Value> {
    Json(json!({ "iban": bank.account.lock().iban() }))
}

async fn balance(State(bank): State<Bank>) -> Json<Value> {
    Json(json!({ "balance": bank.account.lock().balance(), "currency": "EUR" }))
}

#[derive(Deserialize)]
struct Newest {
    #[serde(default = "hundred")]
    n: usize,
}

const fn hundred() -> usize {
    100
}

async fn transactions(
    State(bank): State<Bank>,
    newest: Result<Query<Newest>, QueryRejection>,
) -> Result<Json<Value>, Response> {
    let Query(newest) = newest.map_err(|problem| error(StatusCode::BAD_REQUEST, problem.to_string()))?;
    Ok(Json(json!({ "transactions": bank.account.lock().transactions(newest.n) })))
}

async fn send(State(bank): State<Bank>, body: Bytes) -> Result<Response, Response> {
    let id = bank.write(&Method::POST, "/transactions", &body, Account::send)?;
    Ok((StatusCode::CREATED, Json(json!({ "id": id, "message": "sent" }))).into_response())
}

async fn scheduled(State(bank): State<Bank>) -> Json<Value> {
    Json(json!({ "scheduled": bank.account.lock().scheduled() }))
}

async fn schedule(State(bank): State<Bank>, body: Bytes) -> Result<Response, Response> {
    let id = bank.write(&Method::POST, "/scheduled-transactions", &body, Account::schedule)?;
    Ok((StatusCode::CREATED, Json(json!({ "id": id, "message": "scheduled" }))).into_response())
}

async fn change(
    State(bank): State<Bank>,
    extract::Path(id): extract::Path<String>,
    body: Bytes,
) -> Result<Json<Value>, Response> {
    let path = format!("/scheduled-transactions/{id}");
    bank.write(&Method::PATCH, &path, &body, |account, change| account.change(&id, change))?;
    Ok(Json(json!({ "message": "updated" })))
}

async fn file(State(bank): State<Bank>, extract::Path(path): extract::Path<String>) -> Response {
    match bank.account.lock().file(&path) {
        Some(content) => Json(json!({ "path": path, "content": content })).into_response(),
        None => error(StatusCode::NOT_FOUND, format!("there is no file `{path}`")),
    }
}

async fn user(State(bank): State<Bank>) -> Response {
    Json(bank.account.lock().user()).into_response()
}

async fn change_user(State(bank): State<Bank>, body: Bytes) -> Result<Response, Response> {
    bank.write(&Method::PATCH, "/user", &body, |account, change| {
        account.change_user(change);
        Ok(())
    })?;
    Ok(Json(bank.account.lock().user()).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Password {
    password: String,
}

async fn change_password(State(bank): State<Bank>, body: Bytes) -> Result<Json<Value>, Response> {
    bank.write(&Method::PUT, "/user/password", &body, |account, asked: Password| {
        account.change_password(asked.password);
        Ok(())
    })?;
    Ok(Json(json!({ "message": "updated" })))
}

/// What an attacker plants.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Plant {
    #[serde(default)]
    planted: String,
}

async fn reset(State(bank): State<Bank>, body: Bytes) -> Result<Json<Value>, Response> {
    let Plant { planted } = read(&body)?;
    *bank.account.lock() = Account::new((*bank.opening).clone(), &planted);
    Ok(Json(json!({ "message": "reset" })))
}

async fn journal(State(bank): State<Bank>) -> Json<Value> {
    Json(json!({ "executed": bank.account.lock().journal() }))
}

#[cfg(test)]
mod tests;

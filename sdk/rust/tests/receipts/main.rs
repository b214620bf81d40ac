//! The receipt layer on a real server behind a real gateway: what comes with the answer, what comes later, and what is made of what does not fit.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that fails should stop where it fails"
)]

mod doubtful;
mod repeated;
#[path = "../served/mod.rs"]
mod served;

use std::{
    collections::VecDeque,
    net::SocketAddr,
    path::Path,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    Extension, Json, Router,
    body::Body,
    extract::Request,
    middleware,
    response::Response,
    routing::{get, post, put},
};
use countersign_authorize::catalogue::Catalogue;
use countersign_ledger::{
    Entry, Kind, Ledger,
    checkpoint::CheckpointSigner,
    clock::SystemClock,
    directory::Directory,
    disclosure::Disclosure,
    ledger::Options,
    record::Attachment,
    statement::Jwk,
    vault::{Opened, Vault},
    verify::{self, Held},
};
use countersign_proxy::{
    Running,
    api::{Credential, Role},
    settings::{Http, ReceiptKeys, Receipts, Retries, Settings, Signing, Upstream},
    state::{Gateway, Parts},
    token::Tokens,
};
use countersign_receipt::Signer;
use countersign_sdk::{
    Host, Instruction, Plain,
    api::{Caller, Facts, GatewayKeys, Memory, ReceiptLayer, SignedText, Store},
};
use ed25519_dalek::SigningKey;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use self::served::serve;

const CATALOGUE: &str = r#"
upstream = "api"
[[action]]
name = "get"
method = "GET"
path = "/{what}"
effect = "read"
[action.arguments]
what = { in = "path", type = "text" }
q = { in = "query", type = "text" }
[[action]]
name = "pay"
method = "POST"
path = "/pay"
effect = "write"
[action.arguments]
amount = { in = "body", type = "money", required = true }
[[action]]
name = "upload"
method = "PUT"
path = "/file"
effect = "write"
body = "opaque"
"#;

const HOST: &str = "csk_host_of_the_test_0123456789";

fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

fn jwk(seed: u8) -> Jwk {
    Jwk::ed25519(&key(seed).verifying_key())
}

/// Signs receipts with key 20, for the gateway with key 10.
fn layer() -> ReceiptLayer {
    ReceiptLayer::new(key(20), GatewayKeys::new([jwk(10)]))
}

/// What an API does; each part in its own way.
fn routes() -> Router {
    let who = |caller: Caller| match caller {
        Caller::Agent(agent) => format!("{} {}", agent.agent, agent.n),
        Caller::Other => "somebody".to_owned(),
    };
    let balance = move |Extension(caller): Extension<Caller>| async move { Json(json!({ "who": who(caller) })) };
    let pay = async |Extension(facts): Extension<Facts>, Json(order): Json<Value>| {
        facts.say(|execution| {
            execution.id = Some("tx-1".into());
            execution.changed = Some(1);
            execution.queue_ms = Some(12);
        });
        Json(order)
    };
    let slow = async |Extension(facts): Extension<Facts>| {
        tokio::time::sleep(Duration::from_millis(900)).await;
        facts.say(|execution| execution.exception = Some("lock wait".into()));
        "late"
    };
    let stream = async |Extension(facts): Extension<Facts>| {
        facts.say(|execution| execution.retries = Some(2));
        Body::new(Pieces(["one ", "two ", "three"].into()))
    };
    Router::new()
        .route("/balance", get(balance))
        .route("/pay", post(pay))
        .route("/slow", get(slow))
        .route("/stream", get(stream))
        .route("/file", put(async |body: axum::body::Bytes| body.len().to_string()))
}

/// A body whose length nobody says.
struct Pieces(VecDeque<&'static str>);

impl http_body::Body for Pieces {
    type Data = bytes::Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<bytes::Bytes>, Self::Error>>> {
        Poll::Ready(self.0.pop_front().map(|piece| Ok(http_body::Frame::data(piece.into()))))
    }
}

/// A gateway in front of an API, and an agent with a token for all that it offers.
struct World {
    ledger: Ledger,
    gateway: Arc<Gateway>,
    running: Running,
    stop: oneshot::Sender<()>,
    instruction: String,
    agent: Plain,
}

fn upstream(api: SocketAddr) -> Upstream {
    let keys = ReceiptKeys::Pinned(vec![jwk(20)]);
    Upstream {
        sign: true,
        receipts: Some(Receipts { party: "bank".into(), keys, required: false }),
        ..Upstream::new("api", format!("http://{api}").parse().unwrap())
    }
}

fn options(dir: &Path) -> Options {
    Options::new(dir)
}

fn ledger_signer() -> CheckpointSigner {
    CheckpointSigner::new("bank.example/agents", key(1)).unwrap()
}

async fn run(dir: &Path, ledger: Ledger, upstream: Upstream) -> (Arc<Gateway>, Running, oneshot::Sender<()>) {
    let parts = Parts {
        ledger,
        vault: Arc::new(Vault::open(&dir.join("keys")).unwrap()),
        catalogues: vec![(Catalogue::parse(CATALOGUE).unwrap(), CATALOGUE.to_owned())],
        tokens: Tokens::new("bank.example/agents", key(2)),
        clock: Arc::new(SystemClock),
    };
    let gateway = Gateway::open(parts).await.unwrap();
    let signing = Signing { signer: Arc::new(Signer::new(key(10))), others: vec![jwk(9)], directory: None };
    let settings = Settings { signing: Some(signing), ..Settings::new(vec![upstream]) };
    let sha256 = countersign_ledger::Hash::of(HOST.as_bytes()).to_string();
    let host = Credential { role: Role::Host, party: "app".into(), sha256 };
    let (stop, stopped) = oneshot::channel::<()>();
    let ended = async { drop(stopped.await) };
    let running = countersign_proxy::serve(settings, gateway.clone(), vec![host], ended).await.unwrap();
    (gateway, running, stop)
}

impl World {
    async fn start(dir: &Path, upstream: Upstream) -> World {
        let ledger = Ledger::create(options(dir), ledger_signer(), Arc::new(SystemClock), None).unwrap();
        let (gateway, running, stop) = run(dir, ledger.clone(), upstream).await;
        let host = Host::new(&format!("http://{}", running.api), HOST).unwrap();
        let asked = Instruction {
            words: "Pay 5".into(),
            principal: "emma".into(),
            agent: "assistant".into(),
            scope: json!({ "actions": ["get", "pay", "upload"] }),
            ..Instruction::default()
        };
        let granted = host.instruct(&asked).await.unwrap();
        let agent = Plain::new(&format!("http://{}", running.gateway), &granted.token).unwrap();
        World { ledger, gateway, running, stop, instruction: granted.instruction, agent }
    }

    async fn get(&self, path: &str) -> (u16, String) {
        let answer = self.agent.send("GET", path, None).await.unwrap();
        (answer.status.as_u16(), String::from_utf8_lossy(&answer.body).into_owned())
    }

    fn of_kind(&self, kind: &Kind) -> Vec<(Entry, Value)> {
        let numbers = self.ledger.of_instruction(&self.instruction).unwrap();
        let entries = numbers.into_iter().map(|seq| (seq, self.gateway.entry(seq).unwrap()));
        let opened = |seq| {
            let values = self.gateway.disclosures(seq).unwrap();
            let members = values.iter().map(|one: &Disclosure| (one.name().to_owned(), one.value().clone()));
            Value::Object(members.collect())
        };
        entries.filter(|(_, entry)| entry.kind == *kind).map(|(seq, entry)| (entry, opened(seq))).collect()
    }

    /// The entries of a kind, once there are so many.
    async fn wait(&self, kind: Kind, wanted: usize) -> Vec<(Entry, Value)> {
        for _ in 0..3000 {
            if self.of_kind(&kind).len() >= wanted {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let found = self.of_kind(&kind);
        assert_eq!(found.len(), wanted, "{kind}: {found:?}");
        found
    }

    /// The one receipt, and what the outcome says of it.
    async fn receipt(&self) -> (Entry, Value, Option<String>) {
        let (entry, mut values) = self.wait(Kind::Receipt, 1).await.remove(0);
        let (outcome, _) = self.wait(Kind::Outcome, 1).await.remove(0);
        assert_eq!(entry.text("call"), outcome.text("call"));
        (entry, values["receipt"].take(), outcome.text("receipt").map(str::to_owned))
    }

    /// Ends the gateway; the ledger must be clean, also against what an API holds.
    async fn verify(self, dir: &Path, held: &[Value]) {
        drop(self.stop);
        self.running.drained().await;
        drop(self.gateway);
        self.ledger.close().unwrap();
        drop(self.ledger);
        let against = held.iter().map(|receipt| Held::parse(&receipt["signature"].to_string()).unwrap()).collect();
        let vault = Vault::open(&dir.join("keys")).unwrap();
        let open = move |attachment: &Attachment| match vault.open_attachment(attachment) {
            Ok(Opened::Value(disclosure)) => Ok(Some(disclosure)),
            Ok(_) => Ok(None),
            Err(error) => Err(error.to_string()),
        };
        let options = verify::Options { against, open: Some(&open), ..verify::Options::default() };
        let report = verify::verify(&Directory::read(dir, None).unwrap(), &options);
        assert!(report.findings.is_empty() && report.counts.statements > 0, "{report}");
        assert_eq!(report.outside, !held.is_empty());
    }
}

fn check<'e>(entry: &'e Entry, name: &str) -> &'e str {
    entry.body["check"][name].as_str().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_comes_back_with_a_receipt_that_countersigns_the_ledger() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::start(dir.path(), upstream(serve(routes().layer(layer())).await)).await;
    assert_eq!(world.get("/balance?q=1").await, (200, r#"{"who":"assistant 0"}"#.to_owned()));
    let (entry, first, said) = world.receipt().await;
    assert_eq!((check(&entry, "result"), check(&entry, "party"), said.as_deref()), ("valid", "bank", Some("received")));
    assert_eq!((&entry.body["differs"], entry.body.get("late")), (&json!([]), None));
    assert_eq!(first["request"]["target"], "/balance?q=1");
    // With content, whose digest both sides sign, and with what the handler said.
    let paid = world.agent.send("POST", "/pay", Some(&json!({ "amount": "5" }))).await.unwrap();
    assert_eq!(paid.status, 200);
    let (entry, mut values) = world.wait(Kind::Receipt, 2).await.remove(1);
    let second = values["receipt"].take();
    assert_eq!((check(&entry, "result"), &entry.body["differs"]), ("valid", &json!([])));
    assert_eq!(
        (&second["status"], &second["execution"]["id"], &second["execution"]["changed"]),
        (&json!(200), &json!("tx-1"), &json!(1))
    );
    assert_eq!(second["execution"]["request_sha256"], second["request"]["content_digest"]);
    world.verify(dir.path(), &[first, second]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_receipted_in_its_trailers_over_both_versions_of_http() {
    for http in [Http::One, Http::Two] {
        let dir = tempfile::tempdir().unwrap();
        let upstream = Upstream { http, ..upstream(serve(routes().layer(layer())).await) };
        let world = World::start(dir.path(), upstream).await;
        assert_eq!(world.get("/stream").await, (200, "one two three".to_owned()));
        let (entry, receipt, said) = world.receipt().await;
        assert_eq!((check(&entry, "result"), said.as_deref()), ("valid", Some("received")), "{http:?}");
        assert_eq!((&entry.body["differs"], entry.body.get("late")), (&json!([]), None));
        assert_eq!(receipt["content_digest"], json!(countersign_ledger::Hash::of(b"one two three")));
        assert_eq!(receipt["execution"]["retries"], 2);
        assert!(receipt["signature"]["base"].as_str().unwrap().contains("\"content-digest\";tr: "));
        world.verify(dir.path(), &[receipt]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_gateway_gives_up_is_executed_all_the_same_and_its_receipt_fetched() {
    let dir = tempfile::tempdir().unwrap();
    let mut upstream = upstream(serve(routes().layer(layer())).await);
    (upstream.timeouts.connect, upstream.timeouts.first_byte) =
        (Duration::from_millis(100), Duration::from_millis(100));
    let world = World::start(dir.path(), upstream).await;
    assert_eq!(world.get("/slow").await.0, 504);
    let (entry, receipt, said) = world.receipt().await;
    assert_eq!((said.as_deref(), &entry.body["late"]), (Some("missing"), &json!(true)));
    assert_eq!((check(&entry, "result"), &entry.body["differs"]), ("valid", &json!([])));
    assert_eq!((&receipt["status"], &receipt["execution"]["exception"]), (&json!(200), &json!("lock wait")));
    // That settles what nobody knew.
    let (settled, _) = world.wait(Kind::Settlement, 1).await.remove(0);
    assert_eq!((settled.text("source"), &settled.body["executed"]), (Some("receipt"), &json!(true)));
    world.verify(dir.path(), &[receipt]).await;
}

/// Between API and gateway: takes receipts away, also when they are asked for later.
async fn forgetful(request: Request, next: middleware::Next) -> Response {
    let asked_later = request.uri().path().starts_with("/.well-known/");
    let mut response = next.run(request).await;
    response.headers_mut().remove("signature");
    response.headers_mut().remove("signature-input");
    if asked_later {
        *response.status_mut() = http::StatusCode::NOT_FOUND;
    }
    response
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_that_is_still_missing_is_fetched_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    // Two servers of one API, which share what they keep.
    let shared = layer();
    let api = serve(routes().layer(shared.clone())).await;
    let stripped = serve(routes().layer(shared).layer(middleware::from_fn(forgetful))).await;
    let world = World::start(dir.path(), upstream(stripped)).await;
    assert_eq!(world.get("/balance").await.0, 200);
    let (outcome, _) = world.wait(Kind::Outcome, 1).await.remove(0);
    assert_eq!(outcome.text("receipt"), Some("missing"));
    assert_eq!(world.of_kind(&Kind::Receipt).len(), 0);
    let World { ledger, gateway, running, stop, instruction, agent } = world;
    drop(stop);
    running.drained().await;
    drop(gateway);
    ledger.close().unwrap();
    drop(ledger);
    let (ledger, _) = Ledger::open(options(dir.path()), ledger_signer(), Arc::new(SystemClock)).unwrap();
    let (gateway, running, stop) = run(dir.path(), ledger.clone(), upstream(api)).await;
    let world = World { ledger, gateway, running, stop, instruction, agent };
    let (entry, receipt, said) = world.receipt().await;
    assert_eq!(
        (said.as_deref(), &entry.body["late"], check(&entry, "result")),
        (Some("missing"), &json!(true), "valid")
    );
    world.verify(dir.path(), &[receipt]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_found_in_directories_on_both_sides_and_follow_rotation() {
    let dir = tempfile::tempdir().unwrap();
    let gateways = GatewayKeys::default();
    let layer = ReceiptLayer::new(key(20), gateways.clone()).listing([jwk(19)]).required();
    let api = serve(routes().layer(layer)).await;
    let listed = format!("http://{api}/.well-known/http-message-signatures-directory").parse().unwrap();
    let keys = ReceiptKeys::Listed(listed);
    let receipts = Some(Receipts { party: "bank".into(), keys, required: false });
    let world = World::start(dir.path(), Upstream { receipts, ..upstream(api) }).await;
    // A gateway that is not known is refused where one is required, and so is whoever does not sign.
    assert_eq!(world.get("/balance").await.0, 401);
    let person = Plain::anonymous(&format!("http://{api}")).unwrap();
    assert_eq!(person.send("GET", "/balance", None).await.unwrap().status, 401);
    gateways.fetch(&format!("http://{}", world.running.api)).await.unwrap();
    assert_eq!(world.get("/balance").await.0, 200);
    // The receipt's key comes from the list; both that are listed are registered in the ledger.
    let is_valid = || world.of_kind(&Kind::Receipt).iter().any(|(entry, _)| check(entry, "result") == "valid");
    for _ in 0..1000 {
        if is_valid() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(is_valid());
    {
        let registry = world.gateway.registry.read();
        assert!(
            [19, 20].iter().all(|seed| registry.key(&jwk(*seed).thumbprint()).is_some_and(|row| row.party == "bank"))
        );
        assert_eq!(registry.parties.get("bank").map(String::as_str), Some("api_provider"));
    }
    world.verify(dir.path(), &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_layer_tells_agents_from_persons_and_does_not_give_receipts_to_persons() {
    let api = serve(routes().layer(layer())).await;
    let person = Plain::anonymous(&format!("http://{api}")).unwrap();
    let answer = person.send("GET", "/balance", None).await.unwrap();
    assert_eq!((answer.json().unwrap(), answer.headers.get("signature")), (json!({ "who": "somebody" }), None));
    let none =
        person.send("GET", &format!("/.well-known/countersign/receipts/{}", "0".repeat(64)), None).await.unwrap();
    assert_eq!(none.status, 404);
    // Kept texts are read strictly.
    assert!(serde_json::from_str::<SignedText>("{}").is_err());
}

//! A gateway on a ledger in a temporary directory, in front of an API that the test makes up.

use std::{
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use countersign_authorize::catalogue::Catalogue;
use countersign_ledger::{
    Entry, Kind, Ledger,
    checkpoint::CheckpointSigner,
    clock::SystemClock,
    disk::{Disk, DiskFile, SystemDisk},
    ledger::Options,
    vault::Vault,
};
use ed25519_dalek::SigningKey;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::sync::oneshot;

use crate::{
    Body, Running, Settings,
    api::{Credential, Role},
    error::full,
    serve,
    server::Server,
    settings::{self, Limits, Listener, ServerTls},
    state::{Gateway, Parts},
    token::Tokens,
};

pub const CATALOGUE: &str = r#"
upstream = "api"

[[action]]
name = "get"
method = "GET"
path = "/{what}"
effect = "read"
[action.arguments]
what = { in = "path", type = "text" }
q = { in = "query", type = "text" }
tag = { in = "header", at = "x-tag", type = "text" }
[action.response.first_party]
"/account" = "account"

[[action]]
name = "head"
method = "HEAD"
path = "/{what}"
effect = "read"
[action.arguments]
what = { in = "path", type = "text" }

[[action]]
name = "pay"
method = "POST"
path = "/pay"
effect = "irreversible"
abort_on_revoke = true
[action.arguments]
to = { in = "body", type = "account", required = true, binds = true, from = ["words", "response:get#/account"] }
amount = { in = "body", type = "money", required = true }

[[action]]
name = "upload"
method = "PUT"
path = "/{what}"
effect = "write"
body = "opaque"
[action.arguments]
what = { in = "path", type = "text", required = true, binds = true }
"#;

pub const SECRET: &str = "sk-upstream-secret-0123456789";
pub const HOST: &str = "csk_host_for_tests";
pub const OTHER_HOST: &str = "csk_host_of_others";
pub const APPROVER: &str = "csk_approver_for_tests";
pub const OPERATOR: &str = "csk_operator_for_tests";
pub const INVESTIGATOR: &str = "csk_investigator_for_tests";

/// Stands for the address of a listener that has none.
const NOWHERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED), 0);

fn credentials() -> Vec<Credential> {
    let known = [
        (Role::Host, "host", HOST),
        (Role::Host, "other", OTHER_HOST),
        (Role::Approver, "carol", APPROVER),
        (Role::Operator, "olga", OPERATOR),
        (Role::Investigator, "ines", INVESTIGATOR),
    ];
    let digest = |secret| data_encoding::HEXLOWER.encode(&Sha256::digest(secret));
    known.map(|(role, party, secret)| Credential { role, party: party.into(), sha256: digest(secret) }).into()
}

/// What the API got.
#[derive(Debug, Clone)]
pub struct Got {
    pub uri: http::Uri,
    pub version: http::Version,
    pub headers: http::HeaderMap,
    pub body: Bytes,
    pub trailers: Option<http::HeaderMap>,
}

type Answering = Pin<Box<dyn Future<Output = Response<Body>> + Send>>;

/// An API that the test makes up. The gateway's own server serves it, with HTTP/2, TLS and trailers, and only this crate's tests reach that: those of the
/// binary have `tests/cli/stub.rs`, and those of the SDK's layer need a router of axum.
#[derive(Clone)]
pub struct Api {
    pub address: SocketAddr,
    pub got: Arc<parking_lot::Mutex<Vec<Got>>>,
    calls: Arc<AtomicUsize>,
}

impl Api {
    /// Reads each request whole, then answers as told.
    pub async fn start(answer: impl Fn(Got) -> Response<Body> + Send + Sync + 'static) -> Api {
        Api::start_with(None, move |got| {
            let response = answer(got);
            Box::pin(async move { response })
        })
        .await
    }

    pub async fn start_with(tls: Option<ServerTls>, answer: impl Fn(Got) -> Answering + Send + Sync + 'static) -> Api {
        let listener = Listener { tls, ..Listener::loopback() };
        let server = Server::bind(&listener, &Limits::default()).await.unwrap();
        let api = Api { address: server.bound().tcp().unwrap(), got: Arc::default(), calls: Arc::default() };
        let (answer, shared) = (Arc::new(answer), api.clone());
        tokio::spawn(server.run(
            move |_| {
                let (answer, shared) = (answer.clone(), shared.clone());
                service_fn(move |request: Request<Incoming>| {
                    let (answer, shared) = (answer.clone(), shared.clone());
                    async move {
                        shared.calls.fetch_add(1, Ordering::SeqCst);
                        let (parts, body) = request.into_parts();
                        let Ok(collected) = body.collect().await else { return Ok(Response::new(full(""))) };
                        let trailers = collected.trailers().cloned();
                        let got = Got {
                            uri: parts.uri,
                            version: parts.version,
                            headers: parts.headers,
                            body: collected.to_bytes(),
                            trailers,
                        };
                        shared.got.lock().push(got.clone());
                        Ok::<_, std::convert::Infallible>(answer(got).await)
                    }
                })
            },
            std::future::pending(),
            Duration::ZERO,
            || {},
        ));
        api
    }

    /// How many requests it met.
    pub fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    pub fn last(&self) -> Got {
        self.got.lock().last().cloned().expect("a request")
    }
}

pub fn json_answer(value: &Value) -> Response<Body> {
    Response::builder().header("content-type", "application/json").body(full(value.to_string())).unwrap()
}

/// An address where nobody listens.
pub async fn nobody() -> SocketAddr {
    tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

/// What comes back to the agent.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: http::HeaderMap,
    /// The body, unless it broke off.
    pub body: Option<Bytes>,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(self.body.as_ref().expect("a whole body")).expect("json")
    }

    pub fn code(&self) -> String {
        self.json()["type"].as_str().unwrap().rsplit('/').next().unwrap().to_owned()
    }
}

/// A disk whose syncs fail or take long, or which is full, when told.
#[derive(Default)]
pub struct Faults {
    pub sync: AtomicBool,
    pub slow: AtomicBool,
    pub full: AtomicBool,
    /// No write finds room, whatever is said of free space: a quota.
    pub unwritable: AtomicBool,
    /// Nothing comes back from a sync.
    pub hangs: AtomicBool,
}

struct FaultyDisk(Arc<dyn Disk>, Arc<Faults>);
struct FaultyFile(Box<dyn DiskFile>, Arc<Faults>);

impl DiskFile for FaultyFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> std::io::Result<()> {
        match self.1.unwritable.load(Ordering::SeqCst) {
            true => Err(std::io::ErrorKind::QuotaExceeded.into()),
            false => self.0.write_at(bytes, offset),
        }
    }
    fn sync(&self) -> std::io::Result<()> {
        while self.1.hangs.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(5));
        }
        if self.1.slow.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(400));
        }
        match self.1.sync.load(Ordering::SeqCst) {
            true => Err(std::io::Error::other("injected")),
            false => self.0.sync(),
        }
    }
}

impl Disk for FaultyDisk {
    fn open(&self, path: &std::path::Path) -> std::io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(FaultyFile(self.0.open(path)?, self.1.clone())))
    }
    fn read(&self, path: &std::path::Path) -> std::io::Result<Vec<u8>> {
        self.0.read(path)
    }
    fn list(&self, dir: &std::path::Path) -> std::io::Result<Vec<String>> {
        self.0.list(dir)
    }
    fn create_dir(&self, dir: &std::path::Path) -> std::io::Result<()> {
        self.0.create_dir(dir)
    }
    fn rename(&self, from: &std::path::Path, to: &std::path::Path) -> std::io::Result<()> {
        self.0.rename(from, to)
    }
    fn remove(&self, path: &std::path::Path) -> std::io::Result<()> {
        self.0.remove(path)
    }
    fn remove_dir(&self, dir: &std::path::Path) -> std::io::Result<()> {
        self.0.remove_dir(dir)
    }
    fn sync_dir(&self, dir: &std::path::Path) -> std::io::Result<()> {
        self.0.sync_dir(dir)
    }
    fn space(&self, dir: &std::path::Path) -> std::io::Result<(u64, u64)> {
        let (free, size) = self.0.space(dir)?;
        Ok((if self.1.full.load(Ordering::SeqCst) { 0 } else { free }, size))
    }
}

/// The gateway, a host that registered one instruction, and its agent.
pub struct World {
    _dir: tempfile::TempDir,
    pub gateway: Arc<Gateway>,
    pub address: SocketAddr,
    pub api: SocketAddr,
    pub faults: Arc<Faults>,
    pub instruction: String,
    pub token: String,
    pub client: Client<HttpConnector, Body>,
    /// Whether the test changes state behind the ledger's back, so that a replay rightly finds other verdicts.
    pub faked: bool,
    /// What it was started with, to be put in force again.
    pub catalogues: Vec<String>,
    pub upstreams: Vec<settings::Upstream>,
    pub issuers: Vec<settings::Issuer>,
    running: Option<Running>,
    stop: Option<oneshot::Sender<()>>,
}

pub fn upstream(url: &str) -> settings::Upstream {
    settings::Upstream {
        credential: Some(settings::Credential::new(http::header::AUTHORIZATION, format!("Bearer {SECRET}")).unwrap()),
        keep_response_bytes: 1024,
        ..settings::Upstream::new("api", url.parse().unwrap())
    }
}

pub fn scope() -> Value {
    json!({ "actions": ["get", "head", "upload", { "action": "pay", "budget": { "argument": "amount", "limit": "100" } }] })
}

pub fn full_scope_without_budget() -> Value {
    json!({ "actions": ["get", "head", "upload", "pay"] })
}

impl World {
    pub async fn start(address: SocketAddr) -> World {
        World::with(upstream(&format!("http://{address}")), |_| {}, scope()).await
    }

    pub async fn tuned(address: SocketAddr, tune: impl FnOnce(&mut settings::Upstream)) -> World {
        let mut upstream = upstream(&format!("http://{address}"));
        tune(&mut upstream);
        World::with(upstream, |_| {}, scope()).await
    }

    pub async fn with(upstream: settings::Upstream, tune: impl FnOnce(&mut Settings), scope: Value) -> World {
        World::of(CATALOGUE, upstream, tune, scope).await
    }

    pub async fn of(
        catalogue: &str,
        upstream: settings::Upstream,
        tune: impl FnOnce(&mut Settings),
        scope: Value,
    ) -> World {
        World::of_all(&[catalogue], vec![upstream], tune, scope).await
    }

    pub async fn of_all(
        catalogues: &[&str],
        upstreams: Vec<settings::Upstream>,
        tune: impl FnOnce(&mut Settings),
        scope: Value,
    ) -> World {
        let dir = tempfile::tempdir().unwrap();
        let faults = Arc::new(Faults::default());
        let mut options = Options::new(dir.path().join("ledger"));
        options.disk = Arc::new(FaultyDisk(SystemDisk::shared(), faults.clone()));
        options.limits.space_interval = Duration::ZERO;
        let signer = CheckpointSigner::new("test.example", SigningKey::from_bytes(&[7; 32])).unwrap();
        let clock = Arc::new(SystemClock);
        let keys = dir.path().join("keys");
        let opened = tokio::task::spawn_blocking(move || {
            (Ledger::create(options, signer, clock, None).unwrap(), Vault::open(&keys).unwrap())
        });
        let (ledger, vault) = opened.await.unwrap();
        let parts = Parts {
            ledger,
            vault: Arc::new(vault),
            catalogues: catalogues.iter().map(|text| (Catalogue::parse(text).unwrap(), (*text).to_owned())).collect(),
            tokens: Tokens::new("test.example", SigningKey::from_bytes(&[8; 32])),
            clock: Arc::new(SystemClock),
        };
        let gateway = Gateway::open(parts).await.unwrap();
        let mut settings = Settings::new(upstreams.clone());
        tune(&mut settings);
        let issuers = settings.issuers.clone();
        let (stop, stopped) = oneshot::channel::<()>();
        let running = serve(settings, gateway.clone(), credentials(), async { drop(stopped.await) }).await.unwrap();
        let mut world = World {
            _dir: dir,
            gateway,
            address: running.gateway.tcp().unwrap_or(NOWHERE),
            api: running.api.tcp().unwrap_or(NOWHERE),
            faults,
            instruction: String::new(),
            token: String::new(),
            client: Client::builder(TokioExecutor::new()).build_http(),
            faked: false,
            catalogues: catalogues.iter().map(|text| (*text).to_owned()).collect(),
            upstreams,
            issuers,
            running: Some(running),
            stop: Some(stop),
        };
        (world.instruction, world.token) = world.instruct(scope).await;
        world
    }

    /// The host registers an instruction.
    pub async fn instruct(&self, scope: Value) -> (String, String) {
        let asked = json!({ "words": "pay GB29NWBK60161331926819, upload report", "principal": "ann", "agent": "agent-1", "scope": scope });
        let request = Request::post(format!("http://{}/v1/instructions", self.api))
            .header("authorization", format!("Bearer {HOST}"))
            .body(full(asked.to_string()))
            .unwrap();
        let answer = self.send_as(request).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        let answer = answer.json();
        (answer["instruction"].as_str().unwrap().to_owned(), answer["token"].as_str().unwrap().to_owned())
    }

    pub fn request(&self, method: &str, path: &str) -> http::request::Builder {
        Request::builder()
            .method(method)
            .uri(format!("http://{}{path}", self.address))
            .header("authorization", format!("Bearer {}", self.token))
    }

    pub async fn send_as(&self, request: Request<Body>) -> Answer {
        read(self.client.request(request).await.unwrap()).await
    }

    /// Asks the API; what it answers must be as its OpenAPI document says.
    pub async fn ask(&self, method: &str, path: &str, secret: &str, body: &Value) -> Answer {
        let request = Request::builder().method(method).uri(format!("http://{}{path}", self.api));
        let request = request.header("authorization", format!("Bearer {secret}"));
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let answer = self.send_as(request.body(full(body)).unwrap()).await;
        assert_eq!(super::schema::check(method, path, &answer), Ok(()));
        answer
    }

    /// Reads everything again, as after SIGHUP; gives what changed.
    pub async fn reload(&self) -> Result<Vec<String>, crate::ReloadError> {
        let catalogue = |text: &String| (Catalogue::parse(text).unwrap(), text.clone());
        let fresh = crate::Fresh {
            catalogues: self.catalogues.iter().map(catalogue).collect(),
            policies: None,
            upstreams: self.upstreams.clone(),
            issuers: self.issuers.clone(),
            credentials: credentials(),
            tls: [None, None, None],
        };
        self.running.as_ref().unwrap().reload.put(fresh).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send_as(self.request("GET", path).body(full("")).unwrap()).await
    }

    pub async fn pay(&self, to: &str, amount: &str) -> Answer {
        let body = format!("{{\"to\":\"{to}\",\"amount\":\"{amount}\"}}");
        let request = self.request("POST", "/pay").header("content-type", "application/json");
        self.send_as(request.body(full(body)).unwrap()).await
    }

    /// The instruction's entries of a kind.
    pub fn entries(&self, kind: &Kind) -> Vec<(u64, Entry)> {
        let numbers = self.gateway.ledger.of_instruction(&self.instruction).unwrap();
        let entries = numbers.into_iter().map(|seq| (seq, self.gateway.entry(seq).unwrap()));
        entries.filter(|(_, entry)| entry.kind == *kind).collect()
    }

    /// The one outcome there must be, with what can be opened of its values. Waits for it, and that no second one comes.
    pub async fn outcome(&self) -> (Entry, Value) {
        self.outcomes(1).await.pop().unwrap()
    }

    pub async fn outcomes(&self, wanted: usize) -> Vec<(Entry, Value)> {
        for _ in 0..500 {
            if self.entries(&Kind::Outcome).len() >= wanted && self.gateway.open_calls().load(Ordering::SeqCst) == 0 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        let outcomes = self.entries(&Kind::Outcome);
        assert_eq!(outcomes.len(), wanted, "{outcomes:?}");
        assert_eq!(self.gateway.open_calls().load(Ordering::SeqCst), 0);
        // The state is read from the store, which follows behind the acknowledgement.
        for _ in 0..1000 {
            if self.gateway.ledger.state(b"open/").unwrap().is_empty() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert!(self.gateway.ledger.state(b"open/").unwrap().is_empty());
        let opened = |seq| self.gateway.disclosures(seq).unwrap();
        let values = |seq| opened(seq).into_iter().map(|one| (one.name().to_owned(), one.value().clone())).collect();
        outcomes.into_iter().map(|(seq, entry)| (entry, Value::Object(values(seq)))).collect()
    }

    /// Shuts the gateway down and waits for the drain.
    pub async fn stop(&mut self) {
        drop(self.stop.take());
        self.running.take().unwrap().drained().await;
    }
}

/// Whatever a test does, each verdict must be the one that its record gives once more.
impl Drop for World {
    fn drop(&mut self) {
        if !std::thread::panicking() && !self.faked {
            super::replay::check(&self.gateway);
        }
    }
}

pub async fn read(response: Response<Incoming>) -> Answer {
    let (parts, body) = response.into_parts();
    let (status, headers) = (parts.status.as_u16(), parts.headers);
    match body.collect().await {
        Ok(collected) => Answer { status, headers, body: Some(collected.to_bytes()) },
        Err(_) => Answer { status, headers, body: None },
    }
}

/// A body that gives what is sent to it, piece by piece.
pub fn channel_body() -> (tokio::sync::mpsc::Sender<Result<http_body::Frame<Bytes>, crate::BoxError>>, Body) {
    let (sender, receiver) = tokio::sync::mpsc::channel(16);
    (sender, Pieces(receiver).boxed_unsync())
}

struct Pieces(tokio::sync::mpsc::Receiver<Result<http_body::Frame<Bytes>, crate::BoxError>>);

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = crate::BoxError;
    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, crate::BoxError>>> {
        self.0.poll_recv(cx)
    }
}

pub fn piece(text: &str) -> Result<http_body::Frame<Bytes>, crate::BoxError> {
    Ok(http_body::Frame::data(Bytes::copy_from_slice(text.as_bytes())))
}

/// A whole body.
pub fn whole(text: &str) -> Body {
    Full::new(Bytes::copy_from_slice(text.as_bytes())).map_err(|never| match never {}).boxed_unsync()
}

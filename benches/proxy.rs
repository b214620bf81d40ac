//! What the record costs a call: the same API called directly, through a plain proxy, and through the gateway with its sealed ledger.
//!
//! `cargo bench --bench proxy [-- SECONDS]`. Load, proxy and API share this machine's processors, so only the ratios mean something.

use std::{
    fs::File,
    io::Write as _,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::Context as _;
use countersign_authorize::catalogue::Catalogue;
use countersign_ledger::{
    Ledger, checkpoint::CheckpointSigner, clock::SystemClock, keys, ledger::Options, vault::Vault,
};
use countersign_proxy::{
    Settings,
    api::{Credential, Role},
    settings,
    state::{Gateway, Parts},
    token::Tokens,
};
use http::{Request, Response, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper::{
    body::{Bytes, Incoming},
    service::service_fn,
};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use serde_json::{Value, json};
use tokio::net::TcpListener;

const CATALOGUE: &str = r#"
upstream = "api"
[[action]]
name = "balance.read"
method = "GET"
path = "/balance"
effect = "read"
[action.response.first_party]
"/balance" = "money"
"#;

const HOST: &str = "csk_host_of_the_bench";

/// Between two calls of an agent that has the gateway to itself: long enough for the last call to be closed and synced.
const PAUSE: Duration = Duration::from_millis(3);

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Body = Full<Bytes>;

fn main() -> anyhow::Result<()> {
    let seconds = std::env::args().filter_map(|argument| argument.parse().ok()).next().unwrap_or(5);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(run(Duration::from_secs(seconds)))
}

async fn run(time: Duration) -> anyhow::Result<()> {
    let dir = tempfile::Builder::new().prefix("countersign-bench").tempdir_in(".")?;
    let api = serve(|_| async { Ok(answer()) }).await?;
    let plain = plain_proxy(api).await?;
    let (gateway, token, state) = countersign(api, dir.path()).await?;
    let sync = fdatasync(&dir.path().join("raw"))?;
    println!("one write of 2 KiB and fdatasync, one in {PAUSE:?}: p50 {:.3} ms", sync.as_secs_f64() * 1e3);
    println!("{:<14}{:>10}{:>12}{:>10}{:>10}", "", "in flight", "calls/s", "p50 ms", "p99 ms");
    let ways = [("direct", api), ("plain proxy", plain), ("countersign", gateway)];
    let mut idle = Vec::new();
    for (name, address) in ways {
        let load = load(address, &token, 1, time, PAUSE).await?;
        println!("{name:<14}{:>10}{:>12.0}{:>10.3}{:>10.3}", "idle", load.rate, load.p50, load.p99);
        idle.push(load.p50);
    }
    if let [_, plain, countersign] = idle.as_slice() {
        let above = countersign - plain - sync.as_secs_f64() * 1e3;
        println!("idle, {PAUSE:?} between calls: {above:.3} ms above the plain proxy and one fdatasync");
    }
    for in_flight in [1, 16, 128] {
        for (name, address) in ways {
            let load = load(address, &token, in_flight, time, Duration::ZERO).await?;
            println!("{name:<14}{in_flight:>10}{:>12.0}{:>10.3}{:>10.3}", load.rate, load.p50, load.p99);
        }
    }
    let status = state.ledger.status();
    println!("{} entries sealed, the store is {} behind", status.size, status.store_lag);
    Ok(())
}

fn answer() -> Response<Body> {
    let mut response = Response::new(Full::new(Bytes::from_static(b"{\"balance\":\"1810.00\"}")));
    response.headers_mut().insert("content-type", http::HeaderValue::from_static("application/json"));
    response
}

/// Serves on a free port.
async fn serve<F, R, B>(answer: F) -> anyhow::Result<SocketAddr>
where
    F: Fn(Request<Incoming>) -> R + Clone + Send + Sync + 'static,
    R: Future<Output = Result<Response<B>, hyper_util::client::legacy::Error>> + Send + 'static,
    B: hyper::body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let _ = stream.set_nodelay(true);
            let answer = answer.clone();
            tokio::spawn(async move {
                let service = service_fn(answer);
                let _ = auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    Ok(address)
}

/// The same server and client without anything between them.
async fn plain_proxy(api: SocketAddr) -> anyhow::Result<SocketAddr> {
    let client: Client<HttpConnector, Incoming> = client();
    serve(move |mut request: Request<Incoming>| {
        let client = client.clone();
        async move {
            let path = request.uri().path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
            if let Ok(uri) = format!("http://{api}{path}").parse::<Uri>() {
                *request.uri_mut() = uri;
            }
            client.request(request).await
        }
    })
    .await
}

fn client<B>() -> Client<HttpConnector, B>
where
    B: hyper::body::Body + Send,
    B::Data: Send,
{
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    Client::builder(TokioExecutor::new()).pool_max_idle_per_host(256).build(connector)
}

async fn countersign(api: SocketAddr, dir: &std::path::Path) -> anyhow::Result<(SocketAddr, String, Arc<Gateway>)> {
    let (data, keys_dir) = (dir.join("ledger"), dir.join("keys"));
    let opened = tokio::task::spawn_blocking(move || -> anyhow::Result<_> {
        let signer = CheckpointSigner::new("bench.example", keys::generate()?)?;
        let ledger = Ledger::create(Options::new(data), signer, Arc::new(SystemClock), None)?;
        Ok((ledger, Vault::open(&keys_dir)?))
    });
    let (ledger, vault) = opened.await??;
    let gateway = Gateway::open(Parts {
        ledger,
        vault: Arc::new(vault),
        catalogues: vec![(Catalogue::parse(CATALOGUE)?, CATALOGUE.to_owned())],
        tokens: Tokens::new("bench.example", keys::generate()?),
        clock: Arc::new(SystemClock),
    })
    .await?;
    let settings = Settings::new(vec![settings::Upstream {
        credential: Some(settings::Credential::new(http::header::AUTHORIZATION, "Bearer a-secret-of-the-api".into())?),
        http: settings::Http::One,
        ..settings::Upstream::new("api", format!("http://{api}").parse()?)
    }]);
    let sha256 = countersign_ledger::Hash::of(HOST.as_bytes()).to_string();
    let host = Credential { role: Role::Host, party: "host".into(), sha256 };
    let running = countersign_proxy::serve(settings, gateway.clone(), vec![host], std::future::pending()).await?;
    let asked = json!({ "words": "what is my balance?", "principal": "ann", "agent": "agent", "scope": { "actions": ["balance.read"] } });
    let request = Request::post(format!("http://{}/v1/instructions", running.api))
        .header("authorization", format!("Bearer {HOST}"))
        .body(Full::new(Bytes::from(asked.to_string())))?;
    let answer = client::<Body>().request(request).await?.into_body().collect().await?.to_bytes();
    let token = serde_json::from_slice::<Value>(&answer)?;
    let token = token.get("token").and_then(Value::as_str).context("no token")?.to_owned();
    Ok((running.gateway.tcp().context("no TCP")?, token, gateway))
}

/// The median of writing 2 KiB to the end of a preallocated file and syncing it.
fn fdatasync(path: &std::path::Path) -> anyhow::Result<Duration> {
    let mut file = File::create(path)?;
    file.write_all(&vec![0; 4 << 20])?;
    file.sync_all()?;
    std::io::Seek::seek(&mut file, std::io::SeekFrom::Start(0))?;
    let mut times = Vec::new();
    for _ in 0..200 {
        let begun = Instant::now();
        file.write_all(&[1; 2048])?;
        file.sync_data()?;
        times.push(begun.elapsed());
        std::thread::sleep(PAUSE);
    }
    times.sort();
    times.get(times.len() / 2).copied().context("no time was taken")
}

struct Load {
    rate: f64,
    p50: f64,
    p99: f64,
}

/// Calls in a closed loop for a while, with a pause after each; anything but 200 ends the bench.
async fn load(
    address: SocketAddr,
    token: &str,
    in_flight: usize,
    time: Duration,
    pause: Duration,
) -> anyhow::Result<Load> {
    let stop = Arc::new(AtomicBool::new(false));
    let begun = Instant::now();
    let workers: Vec<_> = (0..in_flight)
        .map(|_| {
            let (stop, token, client) = (stop.clone(), token.to_owned(), client::<Body>());
            tokio::spawn(async move {
                let mut times = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let request = Request::get(format!("http://{address}/balance"))
                        .header("authorization", format!("Bearer {token}"))
                        .body(Body::default())?;
                    let sent = Instant::now();
                    let response = client.request(request).await?;
                    anyhow::ensure!(response.status() == 200, "the answer was {}", response.status());
                    response.into_body().collect().await?;
                    times.push(sent.elapsed());
                    if !pause.is_zero() {
                        tokio::time::sleep(pause).await;
                    }
                }
                Ok::<_, anyhow::Error>(times)
            })
        })
        .collect();
    tokio::time::sleep(time).await;
    stop.store(true, Ordering::Relaxed);
    let mut times = Vec::new();
    for worker in workers {
        times.extend(worker.await??);
    }
    let rate = times.len() as f64 / begun.elapsed().as_secs_f64();
    times.sort();
    let at = |part: usize| times.get(times.len() * part / 100).map_or(0.0, |time| time.as_secs_f64() * 1e3);
    Ok(Load { rate, p50: at(50), p99: at(99) })
}

//! Starts both listeners and drains them at the end.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::Router;
use http::Request;
use hyper::body::Incoming;
use hyper_util::service::TowerToHyperService;
use tokio::{
    sync::{Notify, watch},
    task::JoinHandle,
    time::MissedTickBehavior,
};
use tower::ServiceBuilder;

use crate::{
    api::{self, Peer},
    envoy::Authorizer,
    identify::{Issuers, Proofs},
    limit::Quotas,
    observe::{self, Observe, Scrape, Telemetry},
    outcome::Late,
    propose::Proposer,
    receipts,
    record::Seldom,
    reload::Reload,
    server::{Arrival, Bound, ListenError, Server},
    settings::{LISTENERS, Limits, Settings, Signing},
    stack::{Context, stack},
    state::{Gateway, StateError},
    upstream::{Upstream, UpstreamError, Upstreams},
};

/// How long the end waits for calls that were being sealed when they were cut.
const LAST_CALLS: Duration = Duration::from_secs(5);

/// So many bytes of instructions are at hand that nobody used for a minute; of more, those that somebody did.
const KEEP_LIVE: usize = 64 << 20;

/// Why the gateway does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// A listener.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// An upstream.
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
    /// The keys of an API that gives receipts.
    #[error(transparent)]
    Keys(#[from] receipts::KeysError),
    /// The ledger does not take what is in force.
    #[error("what is in force cannot be recorded: {0}")]
    State(#[from] StateError),
}

/// A running gateway.
pub struct Running {
    /// Where agents call.
    pub gateway: Bound,
    /// Where the API listens.
    pub api: Bound,
    /// Where Envoy asks, if it may.
    pub envoy: Option<Bound>,
    /// Where Prometheus scrapes, if it does.
    pub metrics: Option<Bound>,
    /// What can be changed while it runs.
    pub reload: Reload,
    drained: JoinHandle<()>,
}

impl Running {
    /// Waits until the shutdown is over: every call ended or was cut, every outcome is queued. The ledger is still open.
    pub async fn drained(self) {
        // It fails only by a panic, which was reported where it happened.
        let _ = self.drained.await;
    }
}

/// Binds both listeners and serves until `shutdown` ends; then no new connection is taken and open calls end within `settings.drain`.
///
/// # Errors
/// [`ServeError`]; nothing listens then.
pub async fn serve(
    settings: Settings,
    gateway: Arc<Gateway>,
    credentials: Vec<api::Credential>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<Running, ServeError> {
    let agents = Server::bind(&settings.gateway, &settings.limits).await?;
    let others = Server::bind(&settings.api, &settings.limits).await?;
    let asking = asked(&settings).await?;
    say_what_is_in_the_clear([Some(&agents), Some(&others), asking.as_ref()]);
    let scraped = observed(&gateway, &settings.telemetry, &settings.limits).await?;
    let upstreams = settings.upstreams.into_iter().map(|one| Upstream::new(one).map(Arc::new));
    let upstreams: Vec<_> = upstreams.collect::<Result<_, _>>()?;
    begin_receipts(&gateway, &upstreams).await?;
    let signing = settings.signing.map(|signing| published(signing, settings.api.tls.is_some(), others.bound()));
    let keys = signing.iter().flat_map(Signing::listed).collect();
    let proposer = settings.proposer.map(Proposer::new).transpose()?;
    let credentials = api::Credentials::from(credentials);
    let router =
        api::router(gateway.clone(), credentials.clone(), &settings.limits, proposer, keys, settings.approvals.clone());
    let context = Arc::new(Context {
        gateway: gateway.clone(),
        limits: settings.limits.clone(),
        approvals: settings.approvals,
        upstreams: Upstreams::new(upstreams),
        signing,
        missing: Notify::new(),
        unknown_key: Notify::new(),
        late: Late::default(),
        unrecorded: Seldom::default(),
        shows_certificates: settings.gateway.tls.as_ref().is_some_and(|tls| tls.clients.is_some()),
        agents: settings.agents,
        quotas: Quotas::new(settings.limits.agent, settings.limits.grant),
        issuers: Issuers::new(settings.issuers),
        proofs: Proofs::new(settings.proofs, gateway.now()),
        cut: AtomicBool::new(false),
        strangers: parking_lot::Mutex::default(),
    });
    let tls = [agents.tls(), others.tls(), asking.as_ref().and_then(Server::tls)];
    let reload = Reload::new(context.clone(), credentials, tls.map(|tls| tls.cloned()));
    reload.begin().await?;
    let (addresses, drain) = ((agents.bound().clone(), others.bound().clone()), settings.drain);
    let envoy = asking.as_ref().map(|server| server.bound().clone());
    let authorizer = settings.envoy.map(|envoy| Authorizer::new(context.clone(), envoy)).zip(asking);
    let metrics = scraped.as_ref().map(|(server, _)| server.bound().clone());
    let stopped = told_by(shutdown);
    let (calls, talks, asks) = (ended(stopped.clone()), ended(stopped.clone()), stopped.clone());
    let drained = tokio::spawn(async move {
        let open = gateway.clone();
        let beat = tokio::spawn(heartbeat(gateway, settings.heartbeat, ended(stopped)));
        let fetching = tokio::spawn(receipts::fetch_missing(context.clone()));
        let (way, cut) = (context.clone(), context);
        let calling = agents.run(
            move |arrival| TowerToHyperService::new(stack(&way, arrival)),
            calls,
            drain,
            move || cut.cut.store(true, Ordering::Relaxed),
        );
        let talking = talk(others, router, talks, drain);
        let authorizing = async {
            if let Some((authorizer, server)) = authorizer {
                authorizer.run(server, || ended(asks.clone()), drain).await;
            }
        };
        // To the very end: a drain is to be seen too.
        let scraping = tokio::spawn(scrape(scraped));
        tokio::join!(calling, talking, authorizing);
        scraping.abort();
        fetching.abort();
        let _ = beat.await;
        last_calls(&open).await;
    });
    Ok(Running { gateway: addresses.0, api: addresses.1, envoy, metrics, reload, drained })
}

/// Warns of each listener to which secrets come over the network in the clear. Only here the addresses of systemd's sockets are known.
fn say_what_is_in_the_clear(servers: [Option<&Server>; 3]) {
    for (name, server) in LISTENERS.into_iter().zip(servers) {
        if let Some(clear) = server.and_then(|server| server.in_the_clear(name)) {
            tracing::warn!("{clear}");
        }
    }
}

/// Tells everybody who watches that it is to end.
fn told_by(shutdown: impl Future<Output = ()> + Send + 'static) -> watch::Receiver<bool> {
    let (stop, stopped) = watch::channel(false);
    tokio::spawn(async move {
        shutdown.await;
        stop.send_replace(true);
        // Kept until the watchers have seen it.
        stop.closed().await;
    });
    stopped
}

/// Waits for calls whose agent went away while they were being sealed: they end behind everybody's back.
async fn last_calls(gateway: &Gateway) {
    for _ in 0..LAST_CALLS.as_millis() / 10 {
        if gateway.open_calls().load(Ordering::Relaxed) == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The listener where Envoy asks, if it may.
async fn asked(settings: &Settings) -> Result<Option<Server>, ListenError> {
    match &settings.envoy {
        Some(envoy) => Server::bind(&envoy.listener, &settings.limits).await.map(Some),
        None => Ok(None),
    }
}

/// Registers the keys of the APIs that give receipts, and counts those from 0.
async fn begin_receipts(gateway: &Arc<Gateway>, upstreams: &[Arc<Upstream>]) -> Result<(), receipts::KeysError> {
    receipts::begin(gateway, upstreams).await?;
    for upstream in upstreams.iter().filter(|upstream| upstream.settings.receipts.is_some()) {
        gateway.observe().count(|told| told.gives_receipts(&upstream.settings.name));
    }
    Ok(())
}

/// Begins to measure what the settings want measured; gives the listener of Prometheus, if there is one.
async fn observed(
    gateway: &Arc<Gateway>,
    telemetry: &Telemetry,
    limits: &Limits,
) -> Result<Option<(Server, Scrape)>, ListenError> {
    let scraped = match &telemetry.scrape {
        Some((listener, scrape)) => Some((Server::bind(listener, limits).await?, scrape.clone())),
        None => None,
    };
    let observe = Observe::new(telemetry);
    gateway.set_observe(observe.clone());
    observe::register(gateway, &observe, telemetry);
    Ok(scraped)
}

/// Serves the API.
async fn talk(server: Server, router: Router, end: impl Future<Output = ()>, drain: Duration) {
    let service = move |arrival: Arrival| {
        let peer = Peer(arrival.from.map(|from| from.ip()));
        let with_peer = move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(peer);
            request
        };
        TowerToHyperService::new(ServiceBuilder::new().map_request(with_peer).service(router.clone()))
    };
    server.run(service, end, drain, || {}).await;
}

/// Serves Prometheus, for ever.
async fn scrape(scraped: Option<(Server, Scrape)>) {
    if let Some((server, scrape)) = scraped {
        let router = observe::router(scrape);
        let service = move |_| TowerToHyperService::new(router.clone());
        server.run(service, std::future::pending(), Duration::ZERO, || {}).await;
    }
}

/// Where the keys are listed, when nobody said another place: at the API's listener.
fn published(mut signing: Signing, secure: bool, api: &Bound) -> Signing {
    let scheme = if secure { "https" } else { "http" };
    signing.directory.get_or_insert_with(|| format!("{scheme}://{api}"));
    signing
}

async fn ended(mut stopped: watch::Receiver<bool>) {
    // The sender is gone only after it said so.
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

/// Writes heartbeats until the end, and one at the end.
async fn heartbeat(gateway: Arc<Gateway>, every: Duration, end: impl Future<Output = ()>) {
    let mut end = std::pin::pin!(end);
    let mut every = tokio::time::interval(every);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    every.tick().await;
    loop {
        let last = tokio::select! {
            () = &mut end => true,
            _ = every.tick() => false,
        };
        if let Err(error) = gateway.heartbeat().await {
            tracing::error!(%error, "no heartbeat was written");
        }
        gateway.forget_idle(KEEP_LIVE, gateway.now());
        if last {
            return;
        }
    }
}

//! Every exit of a forwarded call writes exactly one outcome.

use std::{convert::Infallible, sync::atomic::Ordering, time::Duration};

use http::Response;
use http_body_util::BodyExt as _;
use serde_json::json;
use tokio::{io::AsyncWriteExt as _, net::TcpListener};
use tower::ServiceExt as _;

use super::{
    raw::{breaks, stalls},
    world::{Api, World, channel_body, nobody, piece, upstream, whole},
};

#[tokio::test(flavor = "multi_thread")]
async fn an_api_that_is_not_there_gives_the_budget_back() {
    let world = World::start(nobody().await).await;
    let answer = world.pay("GB29NWBK60161331926819", "60").await;
    assert_eq!((answer.status, answer.code().as_str()), (502, "upstream-unreachable"));
    assert_eq!(answer.json()["sent"], "no");
    let (outcome, _) = world.outcome().await;
    assert_eq!((outcome.text("result"), outcome.text("sent")), (Some("upstream_unreachable"), Some("no")));
    let live = world.gateway.live(&world.instruction).unwrap();
    assert_eq!(live.lock().grant.as_ref().unwrap().usage.calls, 0);
    assert_eq!(world.pay("GB29NWBK60161331926819", "60").await.status, 502, "not 403: the 60 were given back");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_does_not_resolve_is_unreachable() {
    let world = World::with(upstream("http://no-such-host.invalid"), |_| {}, super::world::scope()).await;
    assert_eq!(world.get("/x").await.code(), "upstream-unreachable");
    assert_eq!(world.outcome().await.0.text("sent"), Some("no"));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_phase_has_its_timeout_and_the_record_says_which() {
    let ms = Duration::from_millis;
    // A listener whose queue is never served, behind TLS: the handshake does not end.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut settings = upstream(&format!("https://{}", silent.local_addr().unwrap()));
    settings.timeouts.connect = ms(200);
    let world = World::with(settings, |_| {}, super::world::scope()).await;
    assert_eq!(world.get("/x").await.status, 504);
    let (outcome, _) = world.outcome().await;
    assert_eq!((outcome.text("result"), outcome.text("sent")), (Some("upstream_timeout"), Some("no")));
    assert!(outcome.text("detail").unwrap().starts_with("connect"));

    let world = World::tuned(stalls("").await, |upstream| upstream.timeouts.first_byte = ms(200)).await;
    assert_eq!(world.get("/x").await.code(), "upstream-timeout");
    let (outcome, _) = world.outcome().await;
    assert_eq!((outcome.text("result"), outcome.text("sent")), (Some("upstream_timeout"), Some("maybe")));
    assert!(outcome.text("detail").unwrap().starts_with("first byte"));

    let head = "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc";
    let world = World::tuned(stalls(head).await, |upstream| upstream.timeouts.idle = ms(200)).await;
    let answer = world.get("/x").await;
    assert_eq!((answer.status, answer.body), (200, None));
    let (outcome, values) = world.outcome().await;
    assert_eq!((outcome.text("result"), outcome.text("sent")), (Some("upstream_timeout"), Some("yes")));
    assert!(outcome.text("detail").unwrap().starts_with("idle"));
    assert_eq!(values["response"]["bytes"], 3);

    let world = World::tuned(stalls(head).await, |upstream| upstream.timeouts.total = ms(300)).await;
    assert_eq!(world.get("/x").await.body, None);
    assert!(world.outcome().await.0.text("detail").unwrap().starts_with("total"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_breaks_off_is_recorded_as_truncated() {
    for (bytes, status) in [
        ("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc", 200),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n", 200),
        ("", 502),
        ("no http at all\r\n\r\n", 502),
    ] {
        let world = World::start(breaks(bytes).await).await;
        let answer = world.get("/x").await;
        assert_eq!(answer.status, status, "{bytes}");
        assert!(status == 502 || answer.body.is_none(), "{bytes}");
        assert_eq!(world.outcome().await.0.text("result"), Some("upstream_truncated"), "{bytes}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_goes_away_is_recorded_whether_it_waits_or_reads() {
    // While it waits for the head.
    let world = World::start(stalls("").await).await;
    let request = format!("GET /x HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {}\r\n\r\n", world.token);
    let mut stream = tokio::net::TcpStream::connect(world.address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    drop(stream);
    let (outcome, _) = world.outcome().await;
    assert_eq!((outcome.text("result"), outcome.text("sent")), (Some("client_aborted"), Some("maybe")));

    // While it reads the body.
    let (pieces, body) = channel_body();
    let body = parking_lot::Mutex::new(Some(body));
    let api = Api::start(move |_| Response::new(body.lock().take().unwrap())).await;
    let world = World::start(api.address).await;
    let request = world.request("GET", "/x").body(whole("")).unwrap();
    let mut response = world.client.request(request).await.unwrap();
    pieces.send(piece("abc")).await.unwrap();
    assert!(response.frame().await.unwrap().is_ok());
    drop(response);
    let mut at_the_api = pieces.send(piece("d")).await;
    for _ in 0..100 {
        tokio::time::sleep(Duration::from_millis(10)).await;
        at_the_api = pieces.send(piece("d")).await;
        if at_the_api.is_err() {
            break;
        }
    }
    assert!(at_the_api.is_err(), "the API hears of it too");
    let (outcome, values) = world.outcome().await;
    assert_eq!((outcome.text("result"), outcome.text("sent")), (Some("client_aborted"), Some("yes")));
    assert_eq!(values, json!({ "request": values["request"] }), "one small outcome and nothing more");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_goes_away_while_its_call_is_sealed_leaves_a_closed_call_and_its_budget() {
    let api = Api::start(|_| Response::new(whole("done"))).await;
    let world = World::start(api.address).await;
    world.faults.slow.store(true, Ordering::SeqCst);
    let body = "{\"to\":\"GB29NWBK60161331926819\",\"amount\":60}";
    let request = format!(
        "POST /pay HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        world.token,
        body.len()
    );
    let mut stream = tokio::net::TcpStream::connect(world.address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    drop(stream);
    tokio::time::sleep(Duration::from_millis(100)).await;
    world.faults.slow.store(false, Ordering::SeqCst);
    let (outcome, _) = world.outcome().await;
    assert_eq!((outcome.text("result"), outcome.text("sent")), (Some("client_aborted"), Some("no")));
    assert_eq!(api.calls(), 0);
    let live = world.gateway.live(&world.instruction).unwrap();
    assert_eq!(live.lock().grant.as_ref().unwrap().usage.calls, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_stops_reading_does_not_hold_its_call_open() {
    let (pieces, body) = channel_body();
    let body = parking_lot::Mutex::new(Some(body));
    let api = Api::start(move |_| Response::new(body.lock().take().unwrap())).await;
    let tune = |settings: &mut crate::Settings| settings.limits.stall_timeout = Duration::from_millis(300);
    let world = World::with(upstream(&format!("http://{}", api.address)), tune, super::world::scope()).await;
    let request = format!("GET /x HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {}\r\n\r\n", world.token);
    let mut stream = tokio::net::TcpStream::connect(world.address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let endless = tokio::spawn(async move { while pieces.send(piece(&"x".repeat(1 << 20))).await.is_ok() {} });
    let (outcome, _) = world.outcome().await;
    assert_eq!((outcome.text("result"), outcome.text("sent")), (Some("client_aborted"), Some("yes")));
    tokio::time::timeout(Duration::from_secs(5), endless).await.expect("the API hears of it").unwrap();
    drop(stream);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_whose_body_breaks_off_or_is_too_large_did_not_make_a_whole_call() {
    let api = Api::start(|_| Response::new(whole("done"))).await;
    let mut settings = upstream(&format!("http://{}", api.address));
    settings.timeouts.first_byte = Duration::from_millis(300);
    let world = World::with(settings, |settings| settings.limits.body_bytes = 1000, super::world::scope()).await;
    let put = || world.request("PUT", "/report").header("content-type", "text/plain");
    let (pieces, body) = channel_body();
    let (answer, ()) = tokio::join!(world.send_as(put().body(body).unwrap()), async {
        pieces.send(piece(&"x".repeat(600))).await.unwrap();
        pieces.send(piece(&"x".repeat(600))).await.unwrap();
    });
    assert_eq!((answer.status, answer.code().as_str()), (400, "request-cut"));
    let (pieces, body) = channel_body();
    pieces.send(piece("x")).await.unwrap();
    let answer = world.send_as(put().body(body).unwrap()).await;
    assert_eq!((answer.status, answer.code().as_str()), (400, "request-cut"));
    for (outcome, values) in world.outcomes(2).await {
        assert_eq!((outcome.text("result"), outcome.text("sent")), (Some("client_aborted"), Some("maybe")));
        assert!(values.get("request").is_none(), "it was not sent whole");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn shutdown_lets_calls_end_and_cuts_what_does_not() {
    let (pieces, body) = channel_body();
    let body = parking_lot::Mutex::new(Some(body));
    let api = Api::start(move |_| Response::new(body.lock().take().unwrap())).await;
    let mut world = World::start(api.address).await;
    let request = world.request("GET", "/x").body(whole("")).unwrap();
    let response = world.client.request(request).await.unwrap();
    let ending = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        pieces.send(piece("end")).await.unwrap();
        drop(pieces);
    };
    let (answer, (), ()) = tokio::join!(super::world::read(response), ending, world.stop());
    assert_eq!(answer.body.unwrap(), "end");
    assert_eq!(world.outcome().await.0.text("result"), Some("completed"));

    let settings = upstream(&format!("http://{}", stalls("").await));
    let mut world =
        World::with(settings, |settings| settings.drain = Duration::from_millis(200), super::world::scope()).await;
    let request = world.request("GET", "/x").body(whole("")).unwrap();
    let call = tokio::spawn(world.client.request(request));
    tokio::time::sleep(Duration::from_millis(200)).await;
    let begun = std::time::Instant::now();
    world.stop().await;
    assert!(begun.elapsed() < Duration::from_secs(3));
    assert!(call.await.unwrap().is_err());
    assert_eq!(world.outcome().await.0.text("result"), Some("shutdown"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_behind_the_record_closes_the_call() {
    let world = World::start(nobody().await).await;
    let (judged, context) = judged(&world).await;
    let recorded = crate::stack::Step::step(&crate::record::Record::new(context), judged).await;
    let recorded = recorded.map_err(|response| response.status()).unwrap();
    let fails = tower::service_fn(|recorded: crate::record::Recorded| async move {
        let _open = recorded.receipt;
        if recorded.outgoing.target == "/x" {
            panic!("a step fails");
        }
        Ok::<_, Infallible>(Response::new(whole("")))
    });
    let answer = crate::stack::CatchPanic(fails).oneshot(recorded).await.unwrap();
    assert_eq!(answer.status(), 500);
    assert_eq!(world.outcome().await.0.text("result"), Some("gateway_fault"));
}

/// A judged call, made by a real request that never goes further.
async fn judged(world: &World) -> (crate::authorize::Judged, std::sync::Arc<crate::stack::Context>) {
    use crate::stack::Step as _;
    let context = std::sync::Arc::new(crate::stack::Context {
        gateway: world.gateway.clone(),
        approvals: None,
        limits: crate::settings::Limits::default(),
        upstreams: crate::upstream::Upstreams::new(vec![std::sync::Arc::new(
            crate::upstream::Upstream::new(upstream("http://127.0.0.1:9")).unwrap(),
        )]),
        agents: Default::default(),
        quotas: crate::limit::Quotas::new(Default::default(), Default::default()),
        issuers: crate::identify::Issuers::new(Vec::new()),
        proofs: crate::identify::Proofs::new(Default::default(), world.gateway.now()),
        shows_certificates: false,
        signing: None,
        missing: tokio::sync::Notify::new(),
        unknown_key: tokio::sync::Notify::new(),
        late: Default::default(),
        unrecorded: Default::default(),
        cut: false.into(),
        strangers: parking_lot::Mutex::default(),
    });
    let (sender, mut receiver) = tokio::sync::mpsc::channel(1);
    let listener = crate::settings::Listener::loopback();
    let server = crate::server::Server::bind(&listener, &crate::settings::Limits::default()).await.unwrap();
    let address = server.bound().tcp().unwrap();
    tokio::spawn(server.run(
        move |arrival| {
            let sender = sender.clone();
            hyper::service::service_fn(move |request| {
                let (sender, arrival): (_, crate::server::Arrival) = (sender.clone(), arrival.clone());
                async move {
                    sender.send((request, arrival)).await.unwrap();
                    std::future::pending::<Result<Response<crate::Body>, Infallible>>().await
                }
            })
        },
        std::future::pending(),
        Duration::ZERO,
        || {},
    ));
    let request =
        http::Request::get(format!("http://{address}/x")).header("authorization", format!("Bearer {}", world.token));
    tokio::spawn(world.client.request(request.body(whole("")).unwrap()));
    let (request, arrival): (http::Request<_>, _) = receiver.recv().await.unwrap();
    let request = request.map(crate::inward::Inward::Live);
    let identified = crate::identify::Identify::new(context.clone(), arrival).step(request).await;
    let identified = identified.map_err(|response| response.status()).unwrap();
    let judged = crate::authorize::Authorize::new(context.clone()).step(identified).await;
    (judged.map_err(|response| response.status()).unwrap(), context)
}

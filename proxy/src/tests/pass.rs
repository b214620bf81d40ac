//! What passes, and in what form.

use std::time::Duration;

use countersign_ledger::{Kind, checkpoint::VerifierKey, proof::Proof};
use http::{HeaderMap, Response};
use http_body::Frame;
use http_body_util::BodyExt as _;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::world::{Api, SECRET, World, channel_body, json_answer, piece, whole};

#[tokio::test(flavor = "multi_thread")]
async fn an_allowed_call_reaches_the_api_as_judged_and_leaves_two_entries() {
    let api = Api::start(|_| json_answer(&json!({ "balance": "12.00" }))).await;
    let world = World::start(api.address).await;
    let answer = world.get("/balance?q=a%20b").await;
    assert_eq!((answer.status, answer.json()), (200, json!({ "balance": "12.00" })));
    let got = api.last();
    assert_eq!(got.uri.to_string(), "/balance?q=a%20b");
    assert_eq!(got.headers["authorization"], format!("Bearer {SECRET}").as_str());
    let (outcome, values) = world.outcome().await;
    let calls = world.entries(&Kind::Call);
    assert_eq!(calls.len(), 1);
    let (seq, call) = &calls[0];
    assert_eq!((call.text("verdict"), call.text("action")), (Some("allow"), Some("get")));
    assert_eq!(answer.headers["countersign-seq"], seq.to_string().as_str());
    let hash = answer.headers["countersign-entry"].to_str().unwrap();
    assert_eq!((outcome.text("call"), outcome.text("result")), (Some(hash), Some("completed")));
    assert_eq!((outcome.text("sent"), outcome.body["status"].as_u64()), (Some("yes"), Some(200)));
    assert_eq!(outcome.text("peer"), Some(api.address.to_string().as_str()));
    assert_eq!(values["observed"]["body"].as_str(), Some("{\"balance\":\"12.00\"}"));
    assert_eq!(values["response"]["bytes"], 19);
    // The proof convinces with nothing but the ledger's public key.
    let proof = data_encoding::BASE64.decode(answer.headers["countersign-proof"].as_bytes()).unwrap();
    let proof: Proof = String::from_utf8(proof).unwrap().parse().unwrap();
    let first = world.gateway.entry(0).unwrap();
    let key: VerifierKey = first.text("vkey").unwrap().parse().unwrap();
    proof.verify(&world.gateway.ledger.entry(*seq).unwrap(), &[key]).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn exactly_the_judged_bytes_are_sent() {
    let api = Api::start(|_| json_answer(&json!({}))).await;
    let world = World::start(api.address).await;
    let body = "{ \"amount\" : \"7.50\",\n \"to\":\"GB29NWBK60161331926819\" }";
    let request = world.request("POST", "/pay").header("content-type", "application/json; charset=utf-8");
    let answer = world.send_as(request.body(whole(body)).unwrap()).await;
    assert_eq!(answer.status, 200);
    assert_eq!(api.last().body, body);
    let (_, values) = world.outcome().await;
    let sha256 = countersign_ledger::Hash::of(body.as_bytes()).to_string();
    assert_eq!(values["request"], json!({ "sha256": sha256, "bytes": body.len() }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_the_api_vouched_for_may_be_used_by_the_very_next_call() {
    let api = Api::start(|_| json_answer(&json!({ "account": "DE89370400440532013000" }))).await;
    let world = World::start(api.address).await;
    assert_eq!(world.pay("DE89370400440532013000", "5").await.status, 403);
    for _ in 0..20 {
        let (_, token) = world.instruct(super::world::scope()).await;
        let request = |method, path| world.request(method, path).header("x-unused", "1");
        let with = |mut request: http::Request<crate::Body>| {
            request.headers_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
            request
        };
        assert_eq!(world.send_as(with(request("GET", "/account").body(whole("")).unwrap())).await.status, 200);
        let body = whole("{\"to\":\"DE89370400440532013000\",\"amount\":5}");
        let pay = request("POST", "/pay").header("content-type", "application/json").body(body).unwrap();
        assert_eq!(world.send_as(with(pay)).await.status, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_known_headers_pass_and_the_gateway_speaks_for_itself() {
    let api = Api::start(|_| {
        let mut response = json_answer(&json!({}));
        for (name, value) in [
            ("connection", "x-hop"),
            ("x-hop", "1"),
            ("keep-alive", "timeout=5"),
            ("proxy-authenticate", "Basic"),
            ("alt-svc", "h3=\":443\""),
            ("set-cookie", "session=abc"),
            ("countersign-entry", "forged"),
            ("x-passes", "1"),
        ] {
            response.headers_mut().insert(name, value.parse().unwrap());
        }
        response
    })
    .await;
    let world = World::start(api.address).await;
    let mut request = world.request("GET", "/x");
    for (name, value) in [
        ("cookie", "a=b"),
        ("x-api-key", "mine"),
        ("proxy-authorization", "Basic abc"),
        ("x-forwarded-for", "6.6.6.6"),
        ("forwarded", "for=6.6.6.6"),
        ("x-real-ip", "6.6.6.6"),
        ("x-on-behalf-of", "somebody"),
        ("te", "trailers, deflate"),
        ("connection", "te"),
        ("accept", "application/json"),
        ("accept-encoding", "gzip"),
        ("x-tag", "declared"),
        ("idempotency-key", "k1"),
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    ] {
        request = request.header(name, value);
    }
    let answer = world.send_as(request.body(whole("")).unwrap()).await;
    assert_eq!(answer.status, 200);
    let got = api.last().headers;
    for absent in ["cookie", "x-api-key", "proxy-authorization", "x-real-ip", "x-on-behalf-of", "connection"] {
        assert!(!got.contains_key(absent), "{absent}");
    }
    assert_eq!(
        (&got["x-tag"], &got["idempotency-key"], &got["te"]),
        (&"declared".parse().unwrap(), &"k1".parse().unwrap(), &"trailers".parse().unwrap())
    );
    assert_eq!(
        (&got["accept-encoding"], &got["x-forwarded-for"]),
        (&"identity".parse().unwrap(), &"127.0.0.1".parse().unwrap())
    );
    assert_eq!(got["host"], api.address.to_string().as_str());
    assert_eq!(got["x-forwarded-host"], world.address.to_string().as_str());
    assert_eq!(got["forwarded"], format!("for=127.0.0.1;proto=http;host=\"{}\"", world.address).as_str());
    assert_eq!(got["via"], "1.1 countersign");
    for absent in ["x-hop", "keep-alive", "proxy-authenticate", "alt-svc", "set-cookie"] {
        assert!(!answer.headers.contains_key(absent), "{absent}");
    }
    assert_ne!(answer.headers["countersign-entry"], "forged");
    assert_eq!(answer.headers["x-passes"], "1");
    let (_, call) = world.entries(&Kind::Call).pop().unwrap();
    assert_eq!(call.text("traceparent"), Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_trace_context_is_neither_recorded_nor_passed_on() {
    let api = Api::start(|_| json_answer(&json!({}))).await;
    let world = World::start(api.address).await;
    let request = world.request("GET", "/x").header("traceparent", "00-zz-zz-01").header("tracestate", "a=b");
    assert_eq!(world.send_as(request.body(whole("")).unwrap()).await.status, 200);
    let got = api.last().headers;
    assert!(!got.contains_key("traceparent") && !got.contains_key("tracestate"));
    assert_eq!(world.entries(&Kind::Call)[0].1.text("traceparent"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_answer_is_observed_up_to_its_limit() {
    let api = Api::start(|got| {
        let bytes = if got.uri.path() == "/large" { 500 << 10 } else { 600 << 10 };
        json_answer(&json!({ "text": "\"".repeat(bytes / 2 - 8) }))
    })
    .await;
    let world = World::start(api.address).await;
    assert_eq!(world.get("/large").await.status, 200);
    assert_eq!(world.get("/larger").await.status, 200);
    let outcomes = world.outcomes(2).await;
    let observed: Vec<bool> = outcomes.iter().map(|(_, values)| values.get("observed").is_some()).collect();
    assert_eq!(observed, [true, false]);
    assert!(outcomes.iter().all(|(outcome, _)| outcome.text("result") == Some("completed")));
}

#[tokio::test(flavor = "multi_thread")]
async fn cookies_pass_where_the_settings_allow_it() {
    let api = Api::start(|_| Response::builder().header("set-cookie", "a=b").body(whole("")).unwrap()).await;
    let world = World::tuned(api.address, |upstream| upstream.pass_cookies = true).await;
    assert_eq!(world.get("/x").await.headers["set-cookie"], "a=b");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_is_returned_and_not_followed() {
    let api =
        Api::start(|_| Response::builder().status(302).header("location", "/elsewhere").body(whole("")).unwrap()).await;
    let world = World::start(api.address).await;
    let answer = world.get("/x").await;
    assert_eq!((answer.status, &answer.headers["location"], api.calls()), (302, &"/elsewhere".parse().unwrap(), 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn events_pass_as_they_come_and_trailers_at_the_end() {
    let (pieces, body) = channel_body();
    let body = parking_lot::Mutex::new(Some(body));
    let api = Api::start(move |_| {
        let response = Response::builder().header("content-type", "text/event-stream").header("trailer", "x-sum");
        response.body(body.lock().take().unwrap()).unwrap()
    })
    .await;
    let world = World::start(api.address).await;
    let request = world.request("GET", "/events").header("te", "trailers").body(whole("")).unwrap();
    let mut response = world.client.request(request).await.unwrap();
    for event in ["data: one\n\n", "data: two\n\n"] {
        pieces.send(piece(event)).await.unwrap();
        let frame = tokio::time::timeout(Duration::from_secs(2), response.frame()).await.expect("no buffering");
        assert_eq!(frame.unwrap().unwrap().into_data().unwrap(), event);
    }
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", "2".parse().unwrap());
    trailers.insert("countersign-entry", "forged".parse().unwrap());
    pieces.send(Ok(Frame::trailers(trailers))).await.unwrap();
    drop(pieces);
    let trailers = response.frame().await.unwrap().unwrap().into_trailers().unwrap();
    assert_eq!((trailers.len(), &trailers["x-sum"]), (1, &"2".parse().unwrap()));
    assert!(response.frame().await.is_none());
    let (outcome, values) = world.outcome().await;
    assert_eq!((outcome.text("result"), values["response"]["bytes"].as_u64()), (Some("completed"), Some(22)));
    assert_eq!(values["response"]["body"], "data: one\n\ndata: two\n\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_not_json_streams_through_hashed() {
    let api = Api::start(|got| Response::new(whole(&got.body.len().to_string()))).await;
    let world = World::tuned(api.address, |upstream| upstream.pass_headers = vec!["x-sum".parse().unwrap()]).await;
    let (pieces, body) = channel_body();
    let request = world
        .request("PUT", "/report")
        .header("content-type", "application/octet-stream")
        .header("trailer", "x-sum")
        .body(body)
        .unwrap();
    let sending = async {
        for _ in 0..100 {
            pieces.send(piece(&"x".repeat(10_000))).await.unwrap();
        }
        let mut trailers = HeaderMap::new();
        trailers.insert("x-sum", "2".parse().unwrap());
        trailers.insert("x-smuggled", "2".parse().unwrap());
        pieces.send(Ok(Frame::trailers(trailers))).await.unwrap();
        drop(pieces);
    };
    let (answer, ()) = tokio::join!(world.send_as(request), sending);
    assert_eq!((answer.status, answer.body.unwrap()), (200, "1000000".into()));
    let trailers = api.last().trailers.unwrap();
    assert_eq!((trailers.len(), &trailers["x-sum"]), (1, &"2".parse().unwrap()), "only what the settings name");
    let (outcome, values) = world.outcome().await;
    let sha256 = countersign_ledger::Hash::of(&[b'x'; 1_000_000]).to_string();
    assert_eq!(values["request"], json!({ "sha256": sha256, "bytes": 1_000_000 }));
    assert_eq!(outcome.body["bytes"], json!([1_000_000, 7]));
}

#[tokio::test(flavor = "multi_thread")]
async fn head_is_an_action_of_its_own() {
    let api = Api::start(|_| Response::builder().header("content-length", "10").body(whole("")).unwrap()).await;
    let world = World::start(api.address).await;
    let answer = world.send_as(world.request("HEAD", "/x").body(whole("")).unwrap()).await;
    assert_eq!((answer.status, &answer.headers["content-length"]), (200, &"10".parse().unwrap()));
    assert_eq!(world.entries(&Kind::Call)[0].1.text("action"), Some("head"));
    assert_eq!(world.outcome().await.0.text("result"), Some("completed"));
}

/// Sends raw bytes, reads until the connection ends or nothing comes for a while.
async fn raw(world: &World, bytes: &str) -> String {
    let mut stream = tokio::net::TcpStream::connect(world.address).await.unwrap();
    stream.write_all(bytes.as_bytes()).await.unwrap();
    let mut text = Vec::new();
    let _ = tokio::time::timeout(Duration::from_millis(700), stream.read_to_end(&mut text)).await;
    String::from_utf8_lossy(&text).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_is_asked_for_only_when_it_must_be_judged_or_is_forwarded() {
    let api = Api::start(|_| Response::new(whole("done"))).await;
    let world = World::start(api.address).await;
    let head = |method, path, media| {
        let token = &world.token;
        format!(
            "{method} {path} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {token}\r\ncontent-type: {media}\r\ncontent-length: 2\r\nexpect: 100-continue\r\n\r\n"
        )
    };
    // Refused without its body.
    let refused = raw(&world, &head("PUT", "/x/y", "text/plain")).await;
    assert!(refused.starts_with("HTTP/1.1 403"), "{refused}");
    // Judged with its body.
    let judged = raw(&world, &head("POST", "/pay", "application/json")).await;
    assert!(judged.starts_with("HTTP/1.1 100 Continue"), "{judged}");
    assert_eq!(api.calls(), 0);
    // Forwarded first, then asked for.
    let asked = raw(&world, &head("PUT", "/report", "text/plain")).await;
    assert!(asked.starts_with("HTTP/1.1 100 Continue"), "{asked}");
    let whole = raw(&world, &(head("PUT", "/report", "text/plain") + "ab")).await;
    assert!(whole.contains("HTTP/1.1 200 OK") && whole.ends_with("done"), "{whole}");
}

#[tokio::test(flavor = "multi_thread")]
async fn old_and_odd_http_is_answered_and_nothing_is_smuggled() {
    let api = Api::start(|_| Response::new(whole("done"))).await;
    let world = World::start(api.address).await;
    let token = world.token.clone();
    let auth = format!("authorization: Bearer {token}\r\n");
    let old = raw(&world, &format!("GET /x HTTP/1.0\r\n{auth}\r\n")).await;
    assert!(old.starts_with("HTTP/1.0 200") && old.ends_with("done"), "{old}");
    assert_eq!(api.calls(), 1);
    for (lines, status) in [
        ("GET /x HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\ncontent-length: 6\r\n", "400"),
        ("GET /x HTTP/1.1\r\nhost: a\r\ncontent-length: +5\r\n", "400"),
        ("GET /x HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked, gzip\r\n", "400"),
        ("GET /x HTTP/1.0\r\ntransfer-encoding: chunked\r\n", "400"),
        ("GET /x HTTP/1.1\r\nhost : a\r\n", "400"),
        ("GET http://elsewhere/x HTTP/1.1\r\nhost: a\r\n", "400"),
        ("OPTIONS * HTTP/1.1\r\nhost: a\r\n", "404"),
        ("CONNECT elsewhere:443 HTTP/1.1\r\nhost: a\r\n", "501"),
    ] {
        let answer = raw(&world, &format!("{lines}{auth}\r\n")).await;
        assert!(answer.contains(&format!(" {status} ")), "{lines}: {answer}");
    }
    assert_eq!(api.calls(), 1);
    // Both framings: the chunked one holds (RFC 9112 §6.3), what is sent is framed anew, and what follows is no second request of ours.
    let both = format!(
        "PUT /report HTTP/1.1\r\nhost: a\r\n{auth}content-length: 3\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n1\r\na\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n"
    );
    let answer = raw(&world, &both).await;
    assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{answer}");
    assert_eq!((api.calls(), api.last().body.as_ref()), (2, b"a".as_slice()));
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_or_too_long_headers_are_refused() {
    let api = Api::start(|_| Response::new(whole("done"))).await;
    let world = World::start(api.address).await;
    let many: String = (0..120).map(|n| format!("x-{n}: 1\r\n")).collect();
    let answer = raw(&world, &format!("GET /x HTTP/1.1\r\nhost: a\r\n{many}\r\n")).await;
    assert!(answer.contains(" 431 "), "{answer}");
    let answer = raw(&world, &format!("GET /x HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", "y".repeat(100_000))).await;
    assert!(answer.contains(" 431 "), "{answer}");
    let answer = world.get(&format!("/{}", "x".repeat(9000))).await;
    assert_eq!(answer.status, 414);
    assert_eq!(api.calls(), 0);
}

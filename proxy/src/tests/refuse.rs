//! What is not forwarded, and that the API never sees it.

use std::sync::atomic::Ordering;

use countersign_ledger::{Hash, Kind};
use http::Request;
use serde_json::{Value, json};

use crate::state::Yes;

use super::revoke::revoke;
use super::world::{Answer, Api, World, full_scope_without_budget, json_answer, scope, upstream, whole};

const GOOD: &str = "GB29NWBK60161331926819";

async fn ok() -> Api {
    Api::start(|_| json_answer(&json!({ "ok": true }))).await
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_good_token_nothing_is_reached_and_little_is_recorded() {
    let api = ok().await;
    let world = World::with(
        upstream(&format!("http://{}", api.address)),
        |settings| settings.limits.strangers_per_minute = 3,
        scope(),
    )
    .await;
    let before = world.gateway.ledger.head().size();
    for token in ["", "Basic abc", "Bearer", "Bearer abc", "Bearer a.b.c"].iter().cycle().take(20) {
        let mut request = Request::get(format!("http://{}/x", world.address));
        if !token.is_empty() {
            request = request.header("authorization", *token);
        }
        let answer = world.send_as(request.body(whole("")).unwrap()).await;
        assert_eq!(answer.status, 401, "{token}");
        assert!(answer.headers["www-authenticate"].to_str().unwrap().starts_with("Bearer"));
    }
    // The minute may turn while the test runs: twice the bound at most.
    let recorded = world.gateway.ledger.head().size() - before;
    assert!((3..=6).contains(&recorded), "{recorded}");
    let entry = world.gateway.entry(before).unwrap();
    assert_eq!(
        (entry.kind.as_str(), entry.text("verdict"), entry.instruction.as_deref()),
        ("call", Some("deny"), None)
    );
    assert_eq!(api.calls(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_refusal_by_judgement_is_a_problem_document_and_a_record() {
    let api = ok().await;
    let world = World::start(api.address).await;
    let json = "application/json";
    let cases = [
        ("DELETE", "/x", "", "", 403, "action-unknown"),
        ("OPTIONS", "/x", "", "", 403, "action-unknown"),
        ("GET", "/x/y", "", "", 403, "action-unknown"),
        ("GET", "/x?unknown=1", "", "", 403, "argument-unknown"),
        ("GET", "/x?q=1&q=2", "", "", 400, "query-duplicate"),
        ("GET", "/x//y", "", "", 400, "path-empty-segment"),
        ("GET", "/%2e%2e", "", "", 400, "path-dot-segment"),
        ("TRACE", "/x", "", "", 501, "method-refused"),
        ("POST", "/pay", json, "{\"to\":\"a\",\"to\":\"b\",\"amount\":1}", 400, "json-duplicate-member"),
        ("POST", "/pay", "text/plain", "to=a", 403, "body-not-json"),
        ("POST", "/pay", json, "{\"amount\":\"1\"}", 403, "argument-missing"),
        ("POST", "/pay", json, "{\"to\":\"GB29NWBK60161331926819\",\"amount\":\"100.01\"}", 403, "budget-exhausted"),
    ];
    for (index, (method, path, media, body, status, code)) in cases.iter().enumerate() {
        let mut request = world.request(method, path);
        if !media.is_empty() {
            request = request.header("content-type", *media);
        }
        let answer = world.send_as(request.body(whole(body)).unwrap()).await;
        assert_eq!((answer.status, answer.code().as_str()), (*status, *code), "{method} {path}");
        assert_eq!(answer.headers["content-type"], "application/problem+json");
        let calls = world.entries(&Kind::Call);
        assert_eq!(calls.len(), index + 1);
        let (seq, entry) = calls.last().unwrap();
        assert_eq!(entry.text("verdict"), Some("deny"));
        assert_eq!(answer.headers["countersign-seq"], seq.to_string().as_str());
        assert_eq!(answer.json()["entry"].as_str().unwrap(), answer.headers["countersign-entry"]);
        assert!(answer.json()["allowed"]["actions"].as_array().is_some());
    }
    assert_eq!(api.calls(), 0);
    assert!(world.entries(&Kind::Outcome).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_that_would_change_the_request_are_refused() {
    let api = ok().await;
    let world = World::start(api.address).await;
    for (name, value, status, code) in [
        ("x-http-method-override", "DELETE", 400, "override-header"),
        ("content-encoding", "gzip", 415, "content-encoding"),
        ("expect", "200-ok", 417, "expectation"),
        ("upgrade", "websocket", 501, "upgrade"),
        ("countersign-decision", "no hash", 400, "decision-unknown"),
        (
            "countersign-decision",
            "0000000000000000000000000000000000000000000000000000000000000000",
            400,
            "decision-unknown",
        ),
    ] {
        let answer = world.send_as(world.request("GET", "/x").header(name, value).body(whole("")).unwrap()).await;
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{name}: {value}");
    }
    assert_eq!(api.calls(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_needs_a_person_is_held_and_says_where_to_ask() {
    let api = ok().await;
    let mut world = World::start(api.address).await;
    // The approvals here are in no entry, for the API takes none that is over.
    world.faked = true;
    let answer = world.pay("DE89370400440532013000", "5").await;
    assert_eq!((answer.status, answer.code().as_str()), (403, "approval-required"));
    let poll = answer.json()["poll"].as_str().unwrap().to_owned();
    let request =
        Request::get(format!("http://{}{poll}", world.api)).header("authorization", format!("Bearer {}", world.token));
    let status = world.send_as(request.body(whole("")).unwrap()).await;
    assert_eq!(status.json()["status"], "waiting");
    assert_eq!(api.calls(), 0);
    // A person says yes: the same request again is allowed, once.
    let held = world.entries(&Kind::Call).pop().unwrap();
    let digest = world.gateway.value(held.0, "digest").unwrap().unwrap();
    let live = world.gateway.live(&world.instruction).unwrap();
    let approve = |answer: &Answer, seconds| {
        let entry: Hash = answer.headers["countersign-entry"].to_str().unwrap().parse().unwrap();
        let until = world.gateway.now().checked_add(jiff::SignedDuration::from_secs(seconds)).unwrap();
        let yes = Yes { seq: 0, entry, approver: "carol".to_owned(), until };
        live.lock().answer_hold(&entry, digest.as_str().unwrap(), Some(yes));
    };
    approve(&answer, -1);
    let again = world.pay("DE89370400440532013000", "5").await;
    assert_eq!(again.status, 403, "a yes does not hold for ever");
    approve(&again, 60);
    assert_eq!(world.pay("DE89370400440532013000", "6").await.status, 403, "another amount is another call");
    assert_eq!(world.pay("DE89370400440532013000", "5").await.status, 200);
    assert_eq!(world.pay("DE89370400440532013000", "5").await.status, 403, "an approval serves once");
    assert_eq!(api.calls(), 1);
    let allowed =
        world.entries(&Kind::Call).into_iter().find(|(_, entry)| entry.text("verdict") == Some("allow")).unwrap().1;
    assert_eq!(allowed.text("approval"), again.headers["countersign-entry"].to_str().ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_ledger_stops_nothing_is_forwarded_any_more() {
    let api = ok().await;
    let world = World::start(api.address).await;
    assert_eq!(world.get("/x").await.status, 200);
    world.outcome().await;
    world.faults.sync.store(true, Ordering::SeqCst);
    for _ in 0..5 {
        let answer = world.get("/x").await;
        assert_eq!((answer.status, answer.code().as_str()), (503, "not-recorded"));
        assert!(answer.headers.contains_key("retry-after"));
    }
    assert_eq!(api.calls(), 1, "only what was sealed was sent");
    for probe in ["/readyz", "/livez"] {
        assert_eq!(probed(&world, probe).await, (503, "ledger-stopped".to_owned()), "{probe}: only a restart helps");
    }
}

/// What a probe is told.
async fn probed(world: &World, probe: &str) -> (u16, String) {
    let answer = world.ask("GET", probe, "", &Value::Null).await;
    (answer.status, if answer.status == 200 { String::new() } else { answer.code() })
}

/// Waits until a probe is told so.
async fn until_probed(world: &World, probe: &str, status: u16, code: &str) {
    for _ in 0..1500 {
        if probed(world, probe).await == (status, code.to_owned()) {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("{probe}: {:?} and not {status} {code}", probed(world, probe).await);
}

/// A gateway that waits for its ledger for as long as it takes.
async fn patient(api: &Api) -> World {
    let tune = |settings: &mut crate::Settings| settings.limits.seal_timeout = std::time::Duration::from_secs(600);
    World::with(upstream(&format!("http://{}", api.address)), tune, scope()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn when_nothing_can_be_written_calls_wait_and_those_that_waited_are_made_when_it_can() {
    let api = ok().await;
    let world = patient(&api).await;
    world.faults.unwritable.store(true, Ordering::SeqCst);
    let (waited, ()) = tokio::join!(world.get("/x"), async {
        until_probed(&world, "/readyz", 503, "ledger-full").await;
        assert_eq!(probed(&world, "/livez").await.0, 200, "a restart would not help");
        let refused = world.get("/x").await;
        assert_eq!((refused.status, refused.code().as_str()), (503, "not-recorded"));
        assert_eq!(api.calls(), 0);
        world.faults.unwritable.store(false, Ordering::SeqCst);
    });
    assert_eq!(waited.status, 200);
    until_probed(&world, "/readyz", 200, "").await;
    assert_eq!(world.get("/x").await.status, 200);
    assert_eq!(api.calls(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_disk_does_not_answer_it_is_said_and_nothing_new_is_accepted_until_it_does() {
    let api = ok().await;
    let world = patient(&api).await;
    assert_eq!(probed(&world, "/readyz").await.0, 200);
    world.faults.hangs.store(true, Ordering::SeqCst);
    let (waited, ()) = tokio::join!(world.get("/x"), async {
        until_probed(&world, "/readyz", 503, "ledger-stuck").await;
        assert_eq!(probed(&world, "/livez").await.0, 200);
        assert!(world.gateway.ledger.status().waited.as_secs() >= 5);
        let refused = world.get("/x").await;
        assert_eq!((refused.status, refused.code().as_str()), (503, "not-recorded"), "at once, now that it is known");
        assert_eq!(api.calls(), 0);
        world.faults.hangs.store(false, Ordering::SeqCst);
    });
    assert_eq!(waited.status, 200);
    until_probed(&world, "/readyz", 200, "").await;
    assert_eq!(world.get("/x").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_ledger_is_slow_the_call_is_refused_and_closed() {
    let api = ok().await;
    let tune = |settings: &mut crate::Settings| settings.limits.seal_timeout = std::time::Duration::from_millis(100);
    let world = World::with(upstream(&format!("http://{}", api.address)), tune, scope()).await;
    world.faults.slow.store(true, Ordering::SeqCst);
    let answer = world.pay(GOOD, "60").await;
    assert_eq!((answer.status, answer.code().as_str()), (503, "not-recorded"));
    world.faults.slow.store(false, Ordering::SeqCst);
    let (outcome, _) = world.outcome().await;
    assert_eq!((outcome.text("result"), outcome.text("sent")), (Some("gateway_fault"), Some("no")));
    assert_eq!(api.calls(), 0);
    assert_eq!(world.pay(GOOD, "60").await.status, 200, "its budget was given back");
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_disk_is_full_nothing_is_forwarded_until_there_is_space_and_no_budget_is_lost() {
    let api = ok().await;
    let world = World::start(api.address).await;
    world.faults.full.store(true, Ordering::SeqCst);
    // The ledger looks at the disk from time to time.
    let mut refused = 0;
    for _ in 0..200 {
        refused += usize::from(world.pay(GOOD, "0.01").await.status == 503);
        if refused == 3 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(refused, 3);
    let forwarded = api.calls();
    world.faults.full.store(false, Ordering::SeqCst);
    let mut answer = world.pay(GOOD, "0.01").await;
    for _ in 0..200 {
        if answer.status == 200 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        answer = world.pay(GOOD, "0.01").await;
    }
    assert_eq!((answer.status, api.calls()), (200, forwarded + 1));
    let live = world.gateway.live(&world.instruction).unwrap();
    assert_eq!(live.lock().grant.as_ref().unwrap().usage.calls, api.calls() as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_side_by_side_cannot_spend_the_same_money() {
    let api = ok().await;
    let world = std::sync::Arc::new(World::start(api.address).await);
    // 64 calls of 7 against a budget of 100: 14 fit.
    let calls = (0..64).map(|_| {
        let world = world.clone();
        tokio::spawn(async move { world.pay(GOOD, "7").await.status })
    });
    let mut allowed = 0;
    for call in calls.collect::<Vec<_>>() {
        allowed += usize::from(call.await.unwrap() == 200);
    }
    assert_eq!((allowed, api.calls()), (14, 14));
    let calls = world.entries(&Kind::Call);
    assert_eq!(calls.len(), 64);
    // The upstream's counter is dense over what was forwarded, in ledger order.
    let numbers: Vec<_> = calls.iter().filter_map(|(_, entry)| entry.body.get("upstream_n")?.as_u64()).collect();
    assert_eq!(numbers, (0..14).collect::<Vec<_>>());
    assert_eq!(world.outcomes(14).await.len(), 14);
    // What a restart would find is what is in memory.
    let live = world.gateway.live(&world.instruction).unwrap();
    world.gateway.forget(&world.instruction);
    let loaded = world.gateway.live(&world.instruction).unwrap();
    assert_eq!(loaded.lock().grant.as_ref().unwrap().usage, live.lock().grant.as_ref().unwrap().usage);
    assert_eq!(loaded.lock().reserved, live.lock().reserved);
}

#[tokio::test(flavor = "multi_thread")]
async fn shadow_mode_records_what_it_would_have_done_and_forwards() {
    let api = ok().await;
    let world = World::tuned(api.address, |upstream| upstream.shadow = true).await;
    assert_eq!(world.pay("DE89370400440532013000", "5000").await.status, 200);
    assert_eq!(api.calls(), 1);
    let (_, call) = world.entries(&Kind::Call).pop().unwrap();
    assert_eq!((call.text("verdict"), call.body["shadow"].as_bool()), (Some("deny"), Some(true)));
    assert_eq!(world.outcome().await.0.text("result"), Some("completed"));
    // Not even in shadow mode: two readings, no token, no record.
    assert_eq!(world.get("/x?q=1&q=2").await.status, 400);
    world.faults.sync.store(true, Ordering::SeqCst);
    assert_eq!(world.get("/x").await.status, 503);
    assert_eq!(api.calls(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_withdrawn_grant_ends_at_once() {
    let api = ok().await;
    let world = World::with(upstream(&format!("http://{}", api.address)), |_| {}, full_scope_without_budget()).await;
    assert_eq!(world.get("/x").await.status, 200);
    assert_eq!(revoke(&world, "instruction", &world.instruction, false).await.status, 201);
    let answer = world.get("/x").await;
    assert_eq!((answer.status, answer.code().as_str()), (403, "revoked"));
    assert_eq!(revoke(&world, "agent", "agent-1", false).await.status, 201);
    let answer = world.get("/x").await;
    assert!(answer.json()["detail"].as_str().unwrap().contains("agent/agent-1"));
    assert_eq!(api.calls(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_must_be_judged_has_bounds_in_size_and_time() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let api = ok().await;
    let tune = |settings: &mut crate::Settings| {
        settings.limits.json_bytes = 100;
        settings.limits.body_timeout = std::time::Duration::from_millis(200);
    };
    let world = World::with(upstream(&format!("http://{}", api.address)), tune, scope()).await;
    let (pieces, body) = super::world::channel_body();
    let request = world.request("POST", "/pay").header("content-type", "application/json").body(body).unwrap();
    pieces.send(super::world::piece(&" ".repeat(101))).await.unwrap();
    let answer = world.send_as(request).await;
    assert_eq!((answer.status, answer.code().as_str()), (413, "body-too-large"));
    let mut stream = tokio::net::TcpStream::connect(world.address).await.unwrap();
    let head = format!(
        "POST /pay HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n{{",
        world.token
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut buffer = [0; 64];
    let read = stream.read(&mut buffer).await.unwrap();
    assert!(buffer[..read].starts_with(b"HTTP/1.1 408"));
    assert_eq!(world.entries(&Kind::Call).len(), 2, "refused, and recorded");
    assert_eq!(api.calls(), 0);
}

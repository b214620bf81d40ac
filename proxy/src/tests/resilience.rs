//! An API that misbehaves, and agents that ask too much.

use std::{
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use countersign_ledger::Kind;
use serde_json::json;

use super::{
    raw::answers,
    world::{Answer, Api, CATALOGUE, World, full_scope_without_budget, nobody, scope, upstream, whole},
};
use crate::settings::{Breaker, Quota, Retries};

const IBAN: &str = "GB29NWBK60161331926819";

const GOOD: &str = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\nconnection: close\r\n\r\ndone";
const BUSY: &str = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
const LATER: &str =
    "HTTP/1.1 503 Service Unavailable\r\nretry-after: 9\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
const BROKEN: &str = "HTTP/1.1 200 OK\r\ncontent-length: 100\r\nconnection: close\r\n\r\nhalf of it";
/// Hangs up when it has read the request.
const HANGS_UP: &str = "";

async fn world(address: SocketAddr, attempts: u32) -> World {
    let mut settings = upstream(&format!("http://{address}"));
    settings.retries = Retries { attempts, pause: Duration::from_millis(1) };
    let catalogue = CATALOGUE.replace("abort_on_revoke = true", "abort_on_revoke = true\nidempotency_key = true");
    World::of(&catalogue, settings, |_| {}, full_scope_without_budget()).await
}

async fn pay(world: &World, key: Option<&str>) -> Answer {
    let mut request = world.request("POST", "/pay").header("content-type", "application/json");
    if let Some(key) = key {
        request = request.header("idempotency-key", key);
    }
    world.send_as(request.body(whole(&format!("{{\"to\":\"{IBAN}\",\"amount\":\"1\"}}"))).unwrap()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_the_same_twice_is_sent_again_and_each_time_is_in_the_record() {
    let (address, calls) = answers(&[HANGS_UP, BUSY, GOOD]).await;
    let world = world(address, 3).await;
    let answer = world.get("/x").await;
    assert_eq!((answer.status, calls.load(Ordering::SeqCst)), (200, 3));
    let (outcome, _) = world.outcome().await;
    assert_eq!((outcome.text("result"), outcome.text("sent")), (Some("completed"), Some("yes")));
    let attempts = outcome.body["attempts"].as_array().unwrap();
    assert_eq!(attempts.len(), 2, "{attempts:?}");
    assert_eq!((&attempts[0]["sent"], &attempts[0]["status"]), (&json!("maybe"), &json!(null)));
    assert_eq!((&attempts[1]["sent"], &attempts[1]["status"]), (&json!("yes"), &json!(503)));
    assert_eq!(world.entries(&Kind::Call).len(), 1, "it is one call");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_is_sent_again_only_under_a_key_that_the_api_takes() {
    let (address, calls) = answers(&[HANGS_UP, GOOD]).await;
    let alone = world(address, 3).await;
    assert_eq!(pay(&alone, None).await.status, 502);
    assert_eq!(calls.load(Ordering::SeqCst), 1, "perhaps it was executed");
    let (outcome, _) = alone.outcome().await;
    assert_eq!((outcome.text("sent"), outcome.body.get("attempts")), (Some("maybe"), None));

    let (address, calls) = answers(&[HANGS_UP, GOOD]).await;
    let keyed = world(address, 3).await;
    assert_eq!(pay(&keyed, Some("k-1")).await.status, 200);
    assert_eq!(calls.load(Ordering::SeqCst), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_sent_is_tried_again_whatever_it_is() {
    let world = world(nobody().await, 3).await;
    let answer = pay(&world, None).await;
    assert_eq!((answer.status, answer.code().as_str()), (502, "upstream-unreachable"));
    let (outcome, _) = world.outcome().await;
    let attempts = outcome.body["attempts"].as_array().unwrap();
    assert!(attempts.len() == 2 && attempts.iter().all(|attempt| attempt["sent"] == "no"), "{attempts:?}");
    assert_eq!(outcome.text("sent"), Some("no"));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_sent_again_once_an_answer_began_or_the_api_says_when() {
    for (first, status) in [(BROKEN, 200), (LATER, 503)] {
        let (address, calls) = answers(&[first, GOOD]).await;
        let world = world(address, 3).await;
        assert_eq!(world.get("/x").await.status, status);
        world.outcome().await;
        assert_eq!(calls.load(Ordering::SeqCst), 1, "{first}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_that_fails_in_a_row_is_left_alone_and_tried_with_one_call() {
    let (address, calls) = answers(&[HANGS_UP, HANGS_UP, GOOD]).await;
    let mut settings = upstream(&format!("http://{address}"));
    settings.breaker = Some(Breaker { failures: 2, open: Duration::from_millis(1500) });
    let world = World::with(settings, |_| {}, scope()).await;
    for _ in 0..2 {
        assert_eq!(world.get("/x").await.status, 502);
    }
    let answer = world.pay(IBAN, "1").await;
    assert_eq!((answer.status, answer.code().as_str()), (503, "upstream-open"));
    assert!(matches!(answer.headers["retry-after"].to_str().unwrap(), "1" | "2"), "{answer:?}");
    assert_eq!(calls.load(Ordering::SeqCst), 2, "nothing was sent");
    world.outcomes(3).await;
    let last = world.entries(&Kind::Outcome).pop().unwrap().1;
    assert_eq!((last.text("result"), last.text("sent")), (Some("upstream_unreachable"), Some("no")));
    for _ in 0..200 {
        if world.get("/x").await.status == 200 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("it was never tried again");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_has_so_many_calls_under_way_and_a_place_comes_back_with_the_answer() {
    let (release, wait) = tokio::sync::watch::channel(false);
    let api = Api::start_with(None, move |_| {
        let mut wait = wait.clone();
        Box::pin(async move {
            let _ = wait.wait_for(|open| *open).await;
            http::Response::new(whole("done"))
        })
    })
    .await;
    let settings = upstream(&format!("http://{}", api.address));
    let quota = Quota { concurrent: Some(1), ..Quota::default() };
    let world = Arc::new(World::with(settings, move |settings| settings.limits.agent = quota, scope()).await);
    let first = tokio::spawn({
        let world = world.clone();
        async move { world.get("/x").await.status }
    });
    while api.calls() == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let answer = world.get("/x").await;
    assert_eq!((answer.status, answer.code().as_str()), (429, "calls-open"));
    assert_eq!(answer.headers["retry-after"], "1");
    release.send_replace(true);
    assert_eq!(first.await.unwrap(), 200);
    // The place is given back when the record is closed, which is in the answer's last moment.
    for _ in 0..200 {
        if world.get("/x").await.status == 200 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the place never came back");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_under_one_grant_is_refused_counted_and_does_not_fill_the_disk() {
    let api = Api::start(|_| http::Response::new(whole("done"))).await;
    let settings = upstream(&format!("http://{}", api.address));
    let quota = Quota { per_second: Some(1), burst: Some(2), ..Quota::default() };
    let world = World::with(settings, move |settings| settings.limits.grant = quota, scope()).await;
    let before = world.gateway.ledger.head().size();
    let mut refused = 0;
    for _ in 0..100 {
        let answer = world.get("/x").await;
        if answer.status == 429 {
            assert_eq!(answer.code(), "rate-exceeded");
            assert!(answer.headers.contains_key("retry-after"));
            refused += 1;
        }
    }
    assert!(refused >= 80, "{refused}");
    world.outcomes(100 - refused).await;
    let written = world.gateway.ledger.head().size() - before;
    // Two for each call that passed; of the others a few each minute, perhaps of two minutes.
    assert!(written <= 2 * (100 - refused as u64) + 20, "{written}");
    world.gateway.heartbeat().await.unwrap();
    let last = world.gateway.entry(world.gateway.ledger.head().size() - 1).unwrap();
    assert_eq!(last.body["calls"]["limited"], json!(refused));
    let (_, token) = world.instruct(scope()).await;
    let mut other = world.request("GET", "/x");
    other.headers_mut().unwrap().insert("authorization", format!("Bearer {token}").parse().unwrap());
    assert_eq!(world.send_as(other.body(whole("")).unwrap()).await.status, 200, "another grant is not held back");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_hundred_reloads_nothing_is_left_but_the_last() {
    let api = Api::start(|_| http::Response::new(whole("done"))).await;
    let mut world = World::start(api.address).await;
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    assert_eq!(world.get("/x").await.status, 200);
    let (before, catalogue, mut rules) = (tasks(), world.catalogues[0].clone(), Vec::new());
    for n in 0..200 {
        rules.push(Arc::downgrade(&world.gateway.rules()));
        world.catalogues[0] = format!("# {n}\n{catalogue}");
        // Another upstream each time, with connections of its own.
        world.upstreams[0].timeouts.connect = Duration::from_secs(100 + n);
        assert_eq!(world.reload().await.unwrap(), ["catalogue api"]);
        assert_eq!(world.get("/x").await.status, 200);
    }
    assert_eq!(world.outcomes(201).await.len(), 201);
    let left = || (rules.iter().filter(|rules| rules.strong_count() > 0).count(), tasks().saturating_sub(before));
    for _ in 0..500 {
        if matches!(left(), (0, 0..=4)) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("rules and tasks are left: {:?}", left());
}

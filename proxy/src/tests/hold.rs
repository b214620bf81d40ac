//! Calls that wait for a person: asked again, asked at the same time, denied, left unanswered, and after a restart.

use std::time::Duration;

use countersign_ledger::{
    Kind,
    record::Time,
    statement::{Jwk, Statement},
};
use ed25519_dalek::SigningKey;
use serde_json::{Value, json};

use super::world::{APPROVER, Answer, Api, OPERATOR, World, json_answer, scope, upstream, whole};

const IBAN: &str = "DE89370400440532013000";

async fn world(hold: Duration) -> (Api, World) {
    let api = Api::start(|_| json_answer(&json!({ "ok": true }))).await;
    let url = format!("http://{}", api.address);
    let world = World::with(upstream(&url), |settings| settings.limits.hold_timeout = hold, scope()).await;
    register(&world).await;
    (api, world)
}

/// Makes the approver's key known.
pub(super) async fn register(world: &World) {
    let jwk = Jwk::ed25519(&SigningKey::from_bytes(&[1; 32]).verifying_key());
    let registered = world.ask("POST", "/v1/keys", OPERATOR, &json!({ "party": "carol", "jwk": jwk })).await;
    assert_eq!(registered.status, 201);
}

const HOUR: Duration = Duration::from_secs(3600);

pub(super) async fn waiting(world: &World) -> Vec<Value> {
    let list = world.ask("GET", "/v1/approvals", APPROVER, &Value::Null).await.json();
    list["held"].as_array().unwrap().clone()
}

pub(super) async fn decide(world: &World, held: &Value, decision: &str) -> Answer {
    let now = Time::new(jiff::Timestamp::now());
    let said = json!({
        "origin": "test.example", "call": held["entry"], "digest": held["digest"], "decision": decision, "shown": now, "answered": now,
    });
    let statement = Statement::sign("countersign-approval+jwt", &said, &SigningKey::from_bytes(&[1; 32])).unwrap();
    let path = format!("/v1/approvals/{}", held["call"].as_str().unwrap());
    world.ask("POST", &path, APPROVER, &json!({ "statement": statement })).await
}

async fn pay_with_key(world: &World, amount: &str, key: &str) -> Answer {
    let request = world.request("POST", "/pay").header("content-type", "application/json");
    let body = format!("{{\"to\":\"{IBAN}\",\"amount\":\"{amount}\"}}");
    world.send_as(request.header("idempotency-key", key).body(whole(&body)).unwrap()).await
}

/// What is known of the instruction is what its entries say.
pub(super) fn same_after_a_restart(world: &World) {
    let live = world.gateway.live(&world.instruction).unwrap();
    world.gateway.forget(&world.instruction);
    let loaded = world.gateway.live(&world.instruction).unwrap();
    assert_eq!(*loaded.lock(), *live.lock());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_asked_again_finds_the_one_that_waits() {
    let (api, world) = world(HOUR).await;
    let first = world.pay(IBAN, "5").await.json();
    let again = world.pay(IBAN, "5").await.json();
    assert_eq!(first["held"], first["call"]);
    assert_eq!((&again["held"], &again["poll"], &again["state"]), (&first["call"], &first["poll"], &json!("waiting")));
    assert_ne!(again["call"], first["call"], "the attempt has a record of its own");
    same_after_a_restart(&world);
    let held = waiting(&world).await;
    assert_eq!(held.len(), 1);
    let shown = world
        .ask("GET", &format!("/v1/approvals/{}", held[0]["call"].as_str().unwrap()), APPROVER, &Value::Null)
        .await
        .json();
    assert_eq!((&shown["digest"], &shown["origin"]), (&held[0]["digest"], &json!("test.example")));
    assert_eq!(shown["budget"]["before"]["calls"], json!(0));
    let repeated = world.entries(&Kind::Call).pop().unwrap().1;
    assert_eq!(repeated.body["repeats"], first["call"]);
    assert_eq!(decide(&world, &held[0], "approved").await.status, 201);
    same_after_a_restart(&world);
    assert_eq!(world.pay(IBAN, "5").await.status, 200);
    assert_eq!((world.pay(IBAN, "5").await.status, api.calls()), (403, 1), "one approval serves one call, once");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_call_asked_many_times_at_once_waits_once() {
    let (_api, world) = world(HOUR).await;
    let asked: Vec<_> = (0..12).map(|_| world.pay(IBAN, "5")).collect();
    let mut held = std::collections::BTreeSet::new();
    for answer in futures(asked).await {
        held.insert(answer.json()["held"].as_str().unwrap().to_owned());
    }
    assert_eq!(held.len(), 1);
    assert_eq!(waiting(&world).await.len(), 1);
    same_after_a_restart(&world);
}

/// All of them at the same time.
pub(super) async fn futures<F: Future>(all: Vec<F>) -> Vec<F::Output> {
    let mut all: Vec<_> = all.into_iter().map(|future| (Box::pin(future), None)).collect();
    std::future::poll_fn(|cx| {
        for (future, output) in all.iter_mut().filter(|(_, output)| output.is_none()) {
            if let std::task::Poll::Ready(done) = future.as_mut().poll(cx) {
                *output = Some(done);
            }
        }
        match all.iter().all(|(_, output)| output.is_some()) {
            true => std::task::Poll::Ready(()),
            false => std::task::Poll::Pending,
        }
    })
    .await;
    all.into_iter().filter_map(|(_, output)| output).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_no_stands_for_exactly_this_call() {
    let (api, world) = world(HOUR).await;
    assert_eq!(world.pay(IBAN, "5").await.code(), "approval-required");
    let held = waiting(&world).await.remove(0);
    assert_eq!(decide(&world, &held, "denied").await.status, 201);
    for _ in 0..2 {
        assert_eq!(world.pay(IBAN, "5").await.code(), "approval-denied");
        same_after_a_restart(&world);
    }
    assert_eq!(waiting(&world).await.len(), 0);
    assert_eq!(world.pay(IBAN, "6").await.code(), "approval-required");
    assert_eq!(api.calls(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idempotency_key_belongs_to_one_call() {
    let (api, world) = world(HOUR).await;
    let first = pay_with_key(&world, "5", "k1").await;
    assert_eq!(first.code(), "approval-required");
    for _ in 0..2 {
        let other = pay_with_key(&world, "6", "k1").await;
        assert_eq!((other.status, other.code().as_str()), (422, "idempotency-key-reused"));
        same_after_a_restart(&world);
    }
    assert_eq!(pay_with_key(&world, "5", "k1").await.json()["held"], first.json()["call"]);
    let held = waiting(&world).await.remove(0);
    assert_eq!(decide(&world, &held, "approved").await.status, 201);
    assert_eq!(pay_with_key(&world, "5", "k1").await.status, 200);
    assert_eq!(api.last().headers["idempotency-key"], "k1");
    assert_eq!(pay_with_key(&world, "6", "k2").await.code(), "approval-required");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_nobody_answered_in_time_waits_no_longer() {
    let (api, world) = world(Duration::from_millis(300)).await;
    let first = world.pay(IBAN, "5").await.json();
    let held = waiting(&world).await.remove(0);
    tokio::time::sleep(Duration::from_millis(400)).await;
    let poll = world.ask("GET", first["poll"].as_str().unwrap(), &world.token, &Value::Null).await.json();
    assert_eq!(poll["status"], "expired");
    assert_eq!(waiting(&world).await.len(), 0);
    assert_eq!(decide(&world, &held, "approved").await.status, 404);
    world.gateway.heartbeat().await.unwrap();
    assert!(world.gateway.held().is_empty());
    let again = world.pay(IBAN, "5").await.json();
    assert_eq!((&again["held"], api.calls()), (&again["call"], 0), "it is asked anew");
    same_after_a_restart(&world);
}

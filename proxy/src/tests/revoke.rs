//! The kill switch: what is withdrawn, what it stops and what not, how soon, and that it can be allowed again.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use countersign_ledger::{
    directory::Directory,
    verify::{Options, verify},
};
use http::Response;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};

use super::world::{APPROVER, Answer, Api, HOST, OPERATOR, World, channel_body, json_answer, piece, whole};
use crate::state::Registry;

pub(super) async fn revoke(world: &World, what: &str, id: &str, lift: bool) -> Answer {
    let asked = json!({ "what": what, "id": id, "reason": "test", "lift": lift });
    world.ask("POST", "/v1/revocations", OPERATOR, &asked).await
}

const WORDS: &str = "GB29NWBK60161331926819";

#[tokio::test(flavor = "multi_thread")]
async fn what_is_withdrawn_stops_the_next_call_until_it_is_allowed_again() {
    let api = Api::start(|_| json_answer(&json!({ "ok": true }))).await;
    let world = World::start(api.address).await;
    for (what, id) in [("agent", "agent-1"), ("principal", "ann"), ("action", "get"), ("everything", "")] {
        assert_eq!(revoke(&world, what, id, true).await.status, 404, "{what} is not withdrawn");
        assert_eq!(world.get("/x").await.status, 200);
        assert_eq!(revoke(&world, what, id, false).await.status, 201);
        assert_eq!(world.get("/x").await.code(), "revoked", "{what}");
        let listed = world.ask("GET", "/v1/revocations", OPERATOR, &Value::Null).await.json();
        assert_eq!(listed["revoked"].as_array().unwrap().len(), 1, "{listed}");
        after_a_restart(&world, 1).await;
        assert_eq!(revoke(&world, what, id, true).await.status, 201);
        assert_eq!(world.get("/x").await.status, 200, "{what}");
        after_a_restart(&world, 0).await;
    }
    assert_eq!(revoke(&world, "action", "other", false).await.status, 201);
    assert_eq!(world.get("/x").await.status, 200, "another action is none of its business");
    assert_eq!(revoke(&world, "instruction", &world.instruction, true).await.status, 400);
    let own = json!({ "what": "instruction", "id": world.instruction, "reason": "r" });
    assert_eq!(world.ask("POST", "/v1/revocations", HOST, &own).await.status, 201);
    assert_eq!(world.get("/x").await.code(), "revoked");
}

/// What the next start would find, once the store has followed.
async fn after_a_restart(world: &World, wanted: usize) {
    let found = || Registry::load(&world.gateway.ledger).unwrap().revoked;
    for _ in 0..300 {
        if found().len() == wanted {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(found(), world.gateway.registry.read().revoked);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_under_way_is_cut_where_its_action_says_so_and_only_there() {
    let api = Api::start_with(None, |got| {
        Box::pin(async move {
            let wait = if got.uri.path() == "/pay" { 60_000 } else { 500 };
            tokio::time::sleep(Duration::from_millis(wait)).await;
            json_answer(&json!({ "ok": true }))
        })
    })
    .await;
    let world = World::start(api.address).await;
    let revoking = async {
        while api.calls() < 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(revoke(&world, "everything", "", false).await.status, 201);
        Instant::now()
    };
    let paying = async { (world.pay(WORDS, "5").await, Instant::now()) };
    let (got, (paid, ended), revoked) = tokio::join!(world.get("/x"), paying, revoking);
    assert_eq!((got.status, paid.status, paid.code().as_str()), (200, 403, "revoked"));
    assert_eq!(paid.json()["sent"], "maybe");
    println!("cut {:?} after the withdrawal was answered", ended.saturating_duration_since(revoked));
    let outcomes = world.outcomes(2).await;
    assert!(
        outcomes
            .iter()
            .any(|(entry, _)| entry.text("result") == Some("revoked") && entry.text("sent") == Some("maybe"))
    );
    assert_eq!(
        world.gateway.live(&world.instruction).unwrap().lock().grant.as_ref().unwrap().usage.calls,
        2,
        "what may have happened stays counted"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_under_way_is_cut_too() {
    let (sender, body) = channel_body();
    let body = parking_lot::Mutex::new(Some(body));
    let api = Api::start(move |_| Response::new(body.lock().take().unwrap())).await;
    let world = World::start(api.address).await;
    sender.send(piece("{\"first\":")).await.unwrap();
    let request = world.request("POST", "/pay").header("content-type", "application/json");
    let request = request.body(whole(&format!("{{\"to\":\"{WORDS}\",\"amount\":\"5\"}}"))).unwrap();
    let mut response = world.client.request(request).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(revoke(&world, "action", "pay", false).await.status, 201);
    let read = async {
        while let Some(frame) = response.frame().await {
            frame?;
        }
        Ok::<_, hyper::Error>(())
    };
    let cut = tokio::time::timeout(Duration::from_secs(10), read).await.unwrap();
    assert!(cut.is_err(), "the answer must not seem whole");
    let (outcome, _) = world.outcome().await;
    assert_eq!((outcome.text("result"), outcome.text("sent")), (Some("revoked"), Some("yes")));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_allowed_call_stands_behind_what_withdraws_it() {
    let api = Api::start(|_| json_answer(&json!({ "ok": true }))).await;
    let world = Arc::new(World::start(api.address).await);
    let revoked_at = Arc::new(parking_lot::Mutex::new(None::<Instant>));
    let stop = Arc::new(AtomicBool::new(false));
    let calling: Vec<_> = (0..8)
        .map(|_| {
            let (world, revoked_at, stop) = (world.clone(), revoked_at.clone(), stop.clone());
            tokio::spawn(async move {
                let mut late = 0;
                while !stop.load(Ordering::SeqCst) {
                    let after = revoked_at.lock().is_some();
                    let allowed = world.get("/x").await.status == 200;
                    late += u32::from(after && allowed);
                }
                late
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let asked = Instant::now();
    assert_eq!(revoke(&world, "everything", "", false).await.status, 201);
    println!("in force and sealed within {:?}", asked.elapsed());
    *revoked_at.lock() = Some(Instant::now());
    tokio::time::sleep(Duration::from_millis(300)).await;
    stop.store(true, Ordering::SeqCst);
    let mut late = 0;
    for task in calling {
        late += task.await.unwrap();
    }
    assert_eq!(late, 0, "calls allowed after the withdrawal was answered");
    let mut world = Arc::into_inner(world).unwrap();
    world.stop().await;
    tokio::task::spawn_blocking(move || {
        world.gateway.ledger.clone().close().unwrap();
        let report = verify(&Directory::read(world.gateway.ledger.dir(), None).unwrap(), &Options::default());
        assert_eq!(report.findings, []);
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_call_cannot_be_decided_while_it_is_withdrawn() {
    let api = Api::start(|_| json_answer(&json!({ "ok": true }))).await;
    let world = World::start(api.address).await;
    assert_eq!(world.pay("DE89370400440532013000", "5").await.code(), "approval-required");
    let waiting = async || {
        let list = world.ask("GET", "/v1/approvals", APPROVER, &Value::Null).await.json();
        list["held"].as_array().unwrap().len()
    };
    assert_eq!(waiting().await, 1);
    for (what, id) in [("agent", "agent-1"), ("action", "pay"), ("everything", "")] {
        assert_eq!(revoke(&world, what, id, false).await.status, 201);
        assert_eq!(waiting().await, 0, "{what}");
        assert_eq!(revoke(&world, what, id, true).await.status, 201);
        assert_eq!(waiting().await, 1, "{what}");
    }
}

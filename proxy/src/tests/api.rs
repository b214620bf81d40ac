//! The API of host, agent, approver, operator and investigator, over real connections: who gets what, and what is left when it goes wrong.

use std::{sync::atomic::Ordering, time::Duration};

use countersign_ledger::{
    Kind,
    checkpoint::VerifierKey,
    directory::Directory,
    statement::{Jwk, Statement},
    verify::{Options, verify},
};
use ed25519_dalek::SigningKey;
use serde_json::{Value, json};

use super::world::{APPROVER, Answer, Api, HOST, INVESTIGATOR, OPERATOR, OTHER_HOST, World, json_answer, scope, whole};

const IBAN: &str = "DE89370400440532013000";

async fn world() -> (Api, World) {
    let api = Api::start(|_| json_answer(&json!({ "ok": true }))).await;
    let world = World::start(api.address).await;
    (api, world)
}

fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

fn jwk(seed: u8) -> Jwk {
    Jwk::ed25519(&key(seed).verifying_key())
}

async fn register(world: &World, party: &str, seed: u8) {
    let answer = world.ask("POST", "/v1/keys", OPERATOR, &json!({ "party": party, "jwk": jwk(seed) })).await;
    assert_eq!(answer.status, 201, "{answer:?}");
}

/// A held call as the approver sees it.
async fn held(world: &World) -> Value {
    assert_eq!(world.pay(IBAN, "5").await.code(), "approval-required");
    let list = world.ask("GET", "/v1/approvals", APPROVER, &Value::Null).await.json();
    list["held"].as_array().unwrap().last().unwrap().clone()
}

fn approval(held: &Value) -> Value {
    let now = jiff::Timestamp::now();
    let time = |instant| countersign_ledger::record::Time::new(instant);
    let before = now.checked_sub(jiff::SignedDuration::from_secs(7)).unwrap();
    json!({
        "origin": "test.example", "call": held["entry"], "digest": held["digest"], "decision": "approved",
        "shown": time(before), "answered": time(now),
    })
}

fn signed(typ: &str, said: &Value, seed: u8) -> Value {
    json!({ "statement": Statement::sign(typ, said, &key(seed)).unwrap() })
}

fn instruct(principal: &str) -> Value {
    json!({ "words": "w", "principal": principal, "agent": "agent-1", "scope": scope() })
}

/// How many held calls are kept, once the store has caught up with what is sealed.
async fn kept(world: &World, wanted: usize) -> usize {
    let count = || world.gateway.ledger.state(b"held/").unwrap().len();
    for _ in 0..300 {
        if count() == wanted {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    count()
}

/// Closes the ledger and lets it be verified.
pub(super) async fn verifies(mut world: World) {
    world.stop().await;
    let key: VerifierKey = world.gateway.entry(0).unwrap().text("vkey").unwrap().parse().unwrap();
    tokio::task::spawn_blocking(move || {
        let dir = world.gateway.ledger.dir().to_owned();
        world.gateway.ledger.clone().close().unwrap();
        let options = Options { trust: vec![key], against: vec![], ..Options::default() };
        assert_eq!(verify(&Directory::read(&dir, None).unwrap(), &options).findings, []);
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_answers_to_one_held_call_one_is_taken() {
    let (api, world) = world().await;
    register(&world, "carol", 1).await;
    let held = held(&world).await;
    let path = format!("/v1/approvals/{}", held["call"].as_str().unwrap());
    world.faults.slow.store(true, Ordering::SeqCst);
    let body = signed("countersign-approval+jwt", &approval(&held), 1);
    let mut statuses = Vec::new();
    let mut set = tokio::task::JoinSet::new();
    // All at once: each on a task of its own.
    for _ in 0..8 {
        let request = http::Request::post(format!("http://{}{path}", world.api));
        let request = request.header("authorization", format!("Bearer {APPROVER}")).body(whole(&body.to_string()));
        let sent = world.client.request(request.unwrap());
        set.spawn(async move { sent.await.unwrap().status().as_u16() });
    }
    while let Some(status) = set.join_next().await {
        statuses.push(status.unwrap());
    }
    world.faults.slow.store(false, Ordering::SeqCst);
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 404, 404, 404, 404, 404, 404, 404]);
    let approvals = world.entries(&Kind::Approval);
    assert_eq!(approvals.len(), 1);
    assert_eq!(approvals[0].1.body["took_ms"], json!(7000));
    assert_eq!(world.pay(IBAN, "5").await.status, 200);
    assert_eq!(world.pay(IBAN, "5").await.status, 403, "once");
    assert_eq!(api.calls(), 1);
    verifies(world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approval_is_of_this_call_by_this_person_now_or_none() {
    let (api, world) = world().await;
    register(&world, "carol", 1).await;
    register(&world, "dave", 2).await;
    register(&world, "agent-1", 3).await;
    let held = held(&world).await;
    let path = format!("/v1/approvals/{}", held["call"].as_str().unwrap());
    let typ = "countersign-approval+jwt";
    let good = approval(&held);
    let with = |member: &str, value: Value| {
        let mut said = good.clone();
        said[member] = value;
        signed(typ, &said, 1)
    };
    let zero = "0".repeat(64);
    let mut unsigned = signed(typ, &good, 1);
    unsigned["statement"] = json!(unsigned["statement"].as_str().unwrap().rsplit_once('.').unwrap().0);
    let table = [
        ("a key that nobody registered", APPROVER, signed(typ, &good, 9), 400),
        ("another approver's key", APPROVER, signed(typ, &good, 2), 400),
        ("the agent's key", APPROVER, signed(typ, &good, 3), 400),
        ("another kind of statement", APPROVER, signed("countersign-decision+jwt", &good, 1), 400),
        ("no signature", APPROVER, unsigned, 400),
        ("another ledger", APPROVER, with("origin", json!("other.example")), 400),
        ("another call", APPROVER, with("call", json!(zero)), 400),
        ("another digest", APPROVER, with("digest", json!(zero)), 400),
        ("neither yes nor no", APPROVER, with("decision", json!("perhaps")), 400),
        ("answered before it was shown", APPROVER, with("answered", json!("2020-01-01T00:00:00.000000Z")), 400),
        ("answered in the future", APPROVER, with("answered", json!("2222-01-01T00:00:00.000000Z")), 400),
        ("over already", APPROVER, with("expires", json!("2020-01-01T00:00:00.000000Z")), 400),
        ("not a statement", APPROVER, json!({ "statement": "yes" }), 400),
        ("no statement", APPROVER, json!({ "decision": "approved" }), 400),
        ("the host's credential", HOST, signed(typ, &good, 1), 403),
        ("the operator's credential", OPERATOR, signed(typ, &good, 1), 403),
        ("the investigator's credential", INVESTIGATOR, signed(typ, &good, 1), 403),
        ("the agent's token", world.token.as_str(), signed(typ, &good, 1), 401),
    ];
    for (what, secret, body, status) in &table {
        let answer = world.ask("POST", &path, secret, body).await;
        assert_eq!(answer.status, *status, "{what}: {answer:?}");
    }
    assert!(world.entries(&Kind::Approval).is_empty());
    assert_eq!(world.pay(IBAN, "5").await.status, 403);
    // The same, rightly: until when it says, and no longer.
    let soon = jiff::Timestamp::now().checked_add(jiff::SignedDuration::from_secs(1)).unwrap();
    let soon = json!(countersign_ledger::record::Time::new(soon));
    assert_eq!(world.ask("POST", &path, APPROVER, &with("expires", soon)).await.status, 201);
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert_eq!(world.pay(IBAN, "5").await.status, 403);
    assert_eq!(api.calls(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_hangs_up_changes_nothing_about_what_is_in_force() {
    let (_api, world) = world().await;
    register(&world, "carol", 1).await;
    world.faults.slow.store(true, Ordering::SeqCst);
    let body = json!({ "party": "carol", "jwk": jwk(1), "event": "revoked" });
    let asked = world.ask("POST", "/v1/keys", OPERATOR, &body);
    assert!(tokio::time::timeout(Duration::from_millis(150), asked).await.is_err(), "it is still being sealed");
    world.faults.slow.store(false, Ordering::SeqCst);
    let kid = jwk(1).thumbprint();
    for _ in 0..300 {
        if world.gateway.registry.read().key(&kid).is_none() {
            return verifies(world).await;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the key is recorded as revoked, and still counts");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_error_is_a_problem_document_that_says_where() {
    let (_api, world) = world().await;
    let before = world.gateway.ledger.head().size();
    let deep = format!("{{\"words\":{}1{}}}", "[".repeat(300), "]".repeat(300));
    let scope = r#"{"actions":[],"max_cals":1}"#;
    let post = |body: &str| ("POST", "/v1/instructions", HOST, body.to_owned());
    let table = [
        (post(""), 400, "malformed-request", "."),
        (post("{"), 400, "malformed-request", "."),
        (post("[]"), 400, "malformed-request", ""),
        (post(r#"{"words":1}"#), 400, "malformed-request", "words"),
        (post(r#"{"words":"w","words":"v"}"#), 400, "malformed-request", ""),
        (post(&format!(r#"{{"words":"w","scope":{scope}}}"#)), 400, "malformed-request", "scope.max_cals"),
        (post(r#"{"words":"w","grant":"g"}"#), 400, "malformed-request", "grant"),
        (post(&(instruct("ann").to_string() + "{}")), 400, "malformed-request", "."),
        (post(&deep), 400, "malformed-request", "words"),
        (post(&instruct("").to_string()), 400, "bad-request", "principal"),
        (post(&instruct(&"p".repeat(321)).to_string()), 400, "bad-request", "principal"),
        (post(&instruct("a\nb").to_string()), 400, "bad-request", "principal"),
        (post(&instruct("gateway").to_string()), 400, "bad-request", "principal"),
        (post(&"x".repeat((1 << 20) + 1)), 413, "body-too-large", ""),
        (("GET", "/v1/proofs/first", "", String::new()), 400, "bad-request", ""),
        (("GET", "/v1/proofs/-1", "", String::new()), 400, "bad-request", ""),
        (("GET", "/v1/proofs/99999", "", String::new()), 404, "not-found", ""),
        (("GET", "/v1/consistency/9/x", "", String::new()), 400, "bad-request", ""),
        (("GET", "/v1/consistency/1/99999", "", String::new()), 404, "not-found", ""),
        (("GET", "/v1/entries/%ff", INVESTIGATOR, String::new()), 400, "bad-request", ""),
        (("GET", "/v1/entries/x", INVESTIGATOR, String::new()), 400, "bad-request", ""),
        (("GET", "/v1/entries/99999", INVESTIGATOR, String::new()), 404, "not-found", ""),
        (("GET", "/v1/instructions/x", INVESTIGATOR, String::new()), 404, "not-found", ""),
        (("GET", "/v2", "", String::new()), 404, "no-such-endpoint", ""),
        (("DELETE", "/v1/keys", OPERATOR, String::new()), 405, "no-such-method", ""),
        (("POST", "/v1/instructions", "", "{}".to_owned()), 401, "unauthorized", ""),
    ];
    for ((method, path, secret, body), status, code, field) in &table {
        let request = http::Request::builder().method(*method).uri(format!("http://{}{path}", world.api));
        let request = request.header("authorization", format!("Bearer {secret}")).body(whole(body)).unwrap();
        let answer = world.send_as(request).await;
        assert_eq!(super::schema::check(method, path, &answer), Ok(()));
        let shown: String = body.chars().take(80).collect();
        assert_eq!(answer.headers["content-type"], "application/problem+json", "{method} {path} {shown}: {answer:?}");
        assert_eq!((answer.status, answer.code().as_str()), (*status, *code), "{method} {path} {shown}: {answer:?}");
        if !field.is_empty() {
            assert_eq!(answer.json()["field"], *field, "{shown}: {answer:?}");
        }
        assert!(!answer.json()["detail"].as_str().unwrap().starts_with("`.`"), "a dot names nothing: {answer:?}");
        assert_eq!(answer.headers["cache-control"], "no-store");
    }
    assert_eq!(world.gateway.ledger.head().size(), before, "nothing was written");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_lies_about_its_length_or_never_comes_harms_nobody() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let (_api, world) = world().await;
    let head = format!("POST /v1/instructions HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {HOST}\r\n");
    for rest in [
        "content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n{}",
        "content-length: 2\r\ncontent-length: 3\r\n\r\n{}",
    ] {
        let mut stream = tokio::net::TcpStream::connect(world.api).await.unwrap();
        stream.write_all(format!("{head}{rest}").as_bytes()).await.unwrap();
        let mut answer = [0; 64];
        let read = stream.read(&mut answer).await.unwrap();
        assert!(!answer[..read].starts_with(b"HTTP/1.1 2"), "{rest}");
    }
    // Half a body, then gone.
    let mut stream = tokio::net::TcpStream::connect(world.api).await.unwrap();
    stream.write_all(format!("{head}content-length: 500\r\n\r\n{{").as_bytes()).await.unwrap();
    drop(stream);
    assert_eq!(world.ask("POST", "/v1/instructions", HOST, &instruct("ann")).await.status, 201);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follow_up_is_of_the_same_host_for_the_same_principal_and_survives_a_restart() {
    let (_api, world) = world().await;
    let follow = |parent: &str, principal: &str, words: &str| json!({ "words": words, "principal": principal, "agent": "agent-1", "scope": scope(), "amends": parent });
    let first = world.instruction.clone();
    assert_eq!(world.ask("POST", "/v1/instructions", OTHER_HOST, &follow(&first, "ann", "w")).await.status, 404);
    assert_eq!(world.ask("POST", "/v1/instructions", HOST, &follow(&first, "bob", "w")).await.status, 400);
    assert_eq!(world.ask("POST", "/v1/instructions", HOST, &follow("x", "ann", "w")).await.status, 404);
    let mut last = first;
    for turn in 0..40 {
        let asked = follow(&last, "ann", &format!("words of turn {turn}"));
        let answer = world.ask("POST", "/v1/instructions", HOST, &asked).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        last = answer.json()["instruction"].as_str().unwrap().to_owned();
    }
    let live = world.gateway.live(&last).unwrap();
    world.gateway.forget(&last);
    let loaded = world.gateway.live(&last).unwrap();
    assert!(!std::sync::Arc::ptr_eq(&live, &loaded));
    assert_eq!(*loaded.lock(), *live.lock());
    verifies(world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_heartbeat_totals_what_ended_and_lets_go_of_what_nobody_can_approve_any_more() {
    let (_api, mut world) = world().await;
    let mut short = scope();
    short["expires_in"] = json!(1);
    (world.instruction, world.token) = world.instruct(short).await;
    let first = held(&world).await;
    assert_eq!(kept(&world, 1).await, 1);
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let list = world.ask("GET", "/v1/approvals", APPROVER, &Value::Null).await.json();
    assert_eq!(list["held"], json!([]), "nothing to decide any more: {first}");
    // A heartbeat that cannot be written loses nothing of what it had to say.
    world.faults.full.store(true, Ordering::SeqCst);
    assert_eq!(world.ask("GET", "/readyz", "", &Value::Null).await.status, 503, "not ready below the reserve");
    let mut refused = false;
    for _ in 0..200 {
        refused = world.gateway.heartbeat().await.is_err();
        if refused {
            break;
        }
    }
    world.faults.full.store(false, Ordering::SeqCst);
    assert_eq!(world.ask("GET", "/readyz", "", &Value::Null).await.status, 200);
    let mut beats = Vec::new();
    for _ in 0..100 {
        if let Ok(sealed) = world.gateway.heartbeat().await {
            beats.push(sealed.seq);
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(!beats.is_empty());
    let size = world.gateway.ledger.head().size();
    let (mut totals, mut held) = (Vec::new(), 0);
    for seq in 0..size {
        let entry = world.gateway.entry(seq).unwrap();
        if entry.kind == Kind::Heartbeat {
            totals.extend(entry.body["closed"].as_array().into_iter().flatten().cloned());
            held += entry.body["calls"].get("hold").and_then(Value::as_u64).unwrap_or(0);
        }
    }
    assert_eq!(totals, [json!({ "instruction": world.instruction, "entries": 3 })], "refused once: {refused}");
    assert_eq!(held, 1);
    assert_eq!(kept(&world, 0).await, 0);
    verifies(world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agents_statement_counts_with_its_own_key_for_its_own_grant() {
    let (_api, world) = world().await;
    register(&world, "agent-1", 3).await;
    register(&world, "carol", 1).await;
    let typ = "countersign-decision+jwt";
    let said = json!({ "action": "pay", "arguments": { "to": IBAN } });
    let of = |grant: &str| json!({ "action": "pay", "arguments": {}, "grant": grant });
    let grant = world.gateway.live(&world.instruction).unwrap().lock().grant.as_ref().unwrap().grant.id.clone();
    let table = [
        (signed(typ, &said, 3), 201, Some("valid")),
        (signed(typ, &of(&grant), 3), 201, Some("valid")),
        (json!({ "unsigned": said }), 201, None),
        (signed(typ, &said, 9), 201, Some("unknown_key")),
        (signed(typ, &said, 1), 400, None),
        (signed(typ, &of("another"), 3), 400, None),
        (signed("countersign-answer+jwt", &said, 3), 400, None),
        (json!({ "unsigned": said, "statement": "x" }), 400, None),
        (json!({}), 400, None),
    ];
    let mut recorded = 0;
    for (body, status, check) in &table {
        let answer = world.ask("POST", "/v1/decisions", &world.token, body).await;
        assert_eq!(answer.status, *status, "{body}: {answer:?}");
        let decisions = world.entries(&Kind::Decision);
        recorded += usize::from(*status == 201);
        assert_eq!(decisions.len(), recorded, "{body}");
        if *status == 201 {
            let entry = &decisions.last().unwrap().1;
            assert_eq!(entry.body.get("check").and_then(|check| check["result"].as_str()), *check, "{entry:?}");
        }
    }
    verifies(world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_is_recorded_and_what_is_public_shows_nothing_of_anybody() {
    let (_api, world) = world().await;
    let looks = || {
        let size = world.gateway.ledger.head().size();
        (0..size).filter(|seq| world.gateway.entry(*seq).unwrap().kind == Kind::Access).count()
    };
    let shown: Answer =
        world.ask("GET", &format!("/v1/instructions/{}", world.instruction), INVESTIGATOR, &Value::Null).await;
    assert!(shown.json().to_string().contains("upload report"));
    assert_eq!(looks(), 1);
    for path in [
        countersign_receipt::directory::WELL_KNOWN,
        "/v1/checkpoint",
        "/v1/proofs/2",
        "/v1/consistency/1/3",
        "/openapi.json",
        "/livez",
        "/readyz",
    ] {
        let answer = world.ask("GET", path, "", &Value::Null).await;
        assert_eq!(answer.status, 200, "{path}");
        let text = String::from_utf8(answer.body.unwrap().to_vec()).unwrap();
        assert!(!text.contains("upload report") && !text.contains(&world.instruction), "{path}");
    }
    assert_eq!(looks(), 1);
    for what in ["policies", "revocations", "incidents"] {
        assert_eq!(world.ask("GET", &format!("/v1/{what}"), OPERATOR, &Value::Null).await.status, 200);
        let last = world.gateway.entry(world.gateway.ledger.head().size() - 1).unwrap();
        assert_eq!((last.kind.clone(), last.text("what"), last.text("by")), (Kind::Access, Some(what), Some("olga")));
    }
    assert_eq!(looks(), 4);
    let parties = [
        ("/v1/parties", OPERATOR, json!({ "party": "carol", "role": "approver" })),
        ("/v1/holds", OPERATOR, json!({ "event": "placed", "subject": "s", "reason": "r" })),
        ("/v1/revocations", HOST, json!({ "what": "instruction", "id": world.instruction, "reason": "r" })),
        ("/v1/revocations", OPERATOR, json!({ "what": "action", "id": "pay", "reason": "r" })),
        ("/v1/answers", world.token.as_str(), json!({ "unsigned": { "text": "done" } })),
    ];
    for (path, secret, body) in parties {
        assert_eq!(world.ask("POST", path, secret, &body).await.status, 201, "{path}");
    }
    assert_eq!(world.ask("GET", "/v1/entries/1", INVESTIGATOR, &Value::Null).await.status, 200);
    verifies(world).await;
}

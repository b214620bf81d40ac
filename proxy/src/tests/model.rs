//! A model's endpoint behind the gateway: what it is told and proposes is on record, and calls are linked to what was proposed.

use std::sync::{Arc, atomic::Ordering};

use countersign_ledger::{Entry, Hash, Kind};
use http::{Request, Response};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::world::{
    Answer, Api, CATALOGUE, Got, SECRET, World, channel_body, json_answer, piece, scope, upstream, whole,
};
use crate::{Body, error::full, settings};

const MODEL: &str = "upstream = \"model\"\nprotocol = \"model\"\n";
const WORDS: &str = "pay GB29NWBK60161331926819, upload report";
const TO: &str = "GB29NWBK60161331926819";

/// A gateway before an API and a model.
async fn world_of(catalogue: &str, model: impl Fn(Got) -> Response<Body> + Send + Sync + 'static) -> (World, Api, Api) {
    let api = Api::start(|_| json_answer(&json!({ "account": TO, "balance": 1810.0 }))).await;
    let model = Api::start(model).await;
    (of_both(catalogue, &api, &model).await, api, model)
}

async fn of_both(catalogue: &str, api: &Api, model: &Api) -> World {
    let at = |name: &str, api: &Api| settings::Upstream {
        name: name.to_owned(),
        prefix: format!("/{name}"),
        ..upstream(&format!("http://{}", api.address))
    };
    let upstreams = vec![at("api", api), at("model", model)];
    World::of_all(&[CATALOGUE, catalogue], upstreams, |_| {}, scope()).await
}

async fn world(model: impl Fn(Got) -> Response<Body> + Send + Sync + 'static) -> (World, Api, Api) {
    world_of(MODEL, model).await
}

fn chat(calls: &Value) -> Value {
    let calls: Vec<Value> = (0..)
        .zip(calls.as_array().unwrap())
        .map(|(n, call)| {
            let arguments = call["arguments"].to_string();
            json!({ "id": format!("call_{n}"), "type": "function", "function": { "name": call["name"], "arguments": arguments } })
        })
        .collect();
    json!({ "id": "chatcmpl-1", "model": "gpt-test-1", "choices": [{ "index": 0, "finish_reason": "tool_calls",
        "message": { "role": "assistant", "content": null, "tool_calls": calls } }], "usage": { "prompt_tokens": 7, "completion_tokens": 3 } })
}

fn pays(amount: &Value) -> Value {
    chat(&json!([{ "name": "pay", "arguments": { "to": TO, "amount": amount } }]))
}

fn asked(messages: &Value) -> Value {
    json!({ "model": "gpt-test", "temperature": 0.7, "messages": messages })
}

async fn ask(world: &World, body: &Value) -> Answer {
    let request = world.request("POST", "/model/v1/chat/completions").header("content-type", "application/json");
    world.send_as(request.body(whole(&body.to_string())).unwrap()).await
}

async fn asks(world: &World) -> Answer {
    ask(world, &asked(&json!([{ "role": "user", "content": WORDS }]))).await
}

async fn pay(world: &World, amount: &str, key: Option<&str>) -> Answer {
    let mut request = world.request("POST", "/api/pay").header("content-type", "application/json");
    if let Some(key) = key {
        request = request.header("idempotency-key", key);
    }
    world.send_as(request.body(whole(&json!({ "to": TO, "amount": amount }).to_string())).unwrap()).await
}

fn values(world: &World, seq: u64) -> Value {
    let opened = world.gateway.disclosures(seq).unwrap();
    Value::Object(opened.into_iter().map(|one| (one.name().to_owned(), one.value().clone())).collect())
}

fn hash(world: &World, seq: u64) -> Hash {
    Hash::of(&world.gateway.ledger.entry(seq).unwrap())
}

fn decisions(world: &World) -> Vec<(u64, Entry)> {
    world.entries(&Kind::Decision)
}

/// The decisions that the newest call follows from.
fn cause(world: &World) -> Vec<Hash> {
    let (_, call) = world.entries(&Kind::Call).pop().unwrap();
    let known: Vec<Hash> = decisions(world).iter().map(|(seq, _)| hash(world, *seq)).collect();
    call.parents.into_iter().filter(|parent| known.contains(parent)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_model_is_told_and_proposes_is_on_record_before_the_agent_has_the_answer() {
    let (world, _, model) = world(|_| json_answer(&pays(&json!(50)))).await;
    let answer = asks(&world).await;
    assert_eq!((answer.status, answer.json()), (200, pays(&json!(50))));
    assert_eq!(model.last().headers["authorization"], format!("Bearer {SECRET}").as_str());
    assert_eq!(model.last().uri, "/v1/chat/completions");
    // Already here: nothing is waited for.
    let (decision_seq, decision) = decisions(&world).pop().unwrap();
    let (call_seq, call) = world.entries(&Kind::Call).pop().unwrap();
    let (outcome_seq, outcome) = world.entries(&Kind::Outcome).pop().unwrap();
    assert_eq!(
        (call.text("action"), call.text("effect"), call.text("verdict")),
        (Some("model.generate"), Some("read"), Some("allow"))
    );
    assert_eq!(
        call.body["prompt"],
        json!({ "words": "present", "results": { "faithful": 0, "altered": 0, "unknown": 0 } })
    );
    assert_eq!(
        (outcome.text("model"), outcome.text("answer"), &outcome.body["proposals"]),
        (Some("gpt-test-1"), Some("whole"), &json!(1))
    );
    assert_eq!(decision.parents, [hash(&world, call_seq), hash(&world, outcome_seq)]);
    let said = ["source", "action", "upstream", "tool", "proposal", "model"]
        .map(|name| decision.text(name).unwrap_or_default());
    assert_eq!(said, ["gateway", "pay", "api", "pay", "call_0", "gpt-test-1"]);
    assert_eq!(values(&world, decision_seq)["arguments"], json!({ "to": TO, "amount": 50 }));
    let told = values(&world, call_seq);
    assert!(!told["request"].to_string().contains(TO), "the prompt is kept once, in parts");
    let parts = told["prompt_body"]["parts"].as_array().unwrap();
    let message = parts.iter().find(|part| part["at"] == "/messages/0").unwrap();
    assert_eq!(message["body"], format!("{{\"role\":\"user\",\"content\":\"{WORDS}\"}}"));
    let answered = values(&world, outcome_seq);
    assert_eq!(answered["response"]["answer"]["tokens"], json!([7, 3]));
    assert!(answered["response"]["body"].as_str().unwrap().contains("gpt-test-1"));
    assert_eq!(answered["observed"], Value::Null, "what a model says is nobody's word for a value");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_fits_a_proposal_follows_from_it_and_uses_it_up() {
    let (world, _, _) = world(|_| json_answer(&pays(&json!(20)))).await;
    asks(&world).await;
    assert_eq!(pay(&world, "21", None).await.status, 200);
    assert!(cause(&world).is_empty(), "the agent's own code changed it");
    assert_eq!(pay(&world, "20.00", Some("k1")).await.status, 200);
    let proposed = hash(&world, decisions(&world)[0].0);
    assert_eq!(cause(&world), [proposed]);
    assert_eq!(pay(&world, "20.00", Some("k1")).await.status, 200);
    assert_eq!(cause(&world), [proposed], "a retry with the same key");
    assert_eq!(pay(&world, "20.00", None).await.status, 200);
    assert!(cause(&world).is_empty(), "one proposal, one call");
    // A restart finds the same.
    world.gateway.forget(&world.instruction);
    assert_eq!(pay(&world, "20.00", Some("k1")).await.status, 403, "the budget is used up");
    asks(&world).await;
    world.gateway.forget(&world.instruction);
    let answer = pay(&world, "20", None).await;
    assert_eq!(answer.status, 403);
    assert_eq!(cause(&world).len(), 1, "what was refused was proposed, too");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_live_state_has_a_restart_finds() {
    let (world, _, _) = world(|_| json_answer(&pays(&json!(20)))).await;
    asks(&world).await;
    world.send_as(world.request("GET", "/api/account").body(whole("")).unwrap()).await;
    pay(&world, "20", Some("k")).await;
    asks(&world).await;
    pay(&world, "5", None).await;
    world.outcomes(5).await;
    let live = world.gateway.live(&world.instruction).unwrap();
    world.gateway.forget(&world.instruction);
    let again = world.gateway.live(&world.instruction).unwrap();
    assert_eq!(live.lock().asked, again.lock().asked);
    assert_eq!(live.lock().grant, again.lock().grant);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_is_kept_once_and_results_are_compared_with_what_the_api_said() {
    let (world, _, _) =
        world(|_| json_answer(&chat(&json!([{ "name": "get", "arguments": { "what": "account" } }])))).await;
    asks(&world).await;
    let read = world.send_as(world.request("GET", "/api/account").body(whole("")).unwrap()).await;
    let result = String::from_utf8(read.body.unwrap().to_vec()).unwrap();
    let messages = |result: &str| {
        asked(
            &json!([{ "role": "user", "content": WORDS }, { "role": "assistant", "content": null }, { "role": "tool", "tool_call_id": "call_0", "content": result }]),
        )
    };
    ask(&world, &messages(&result)).await;
    let (seq, call) = world.entries(&Kind::Call).pop().unwrap();
    assert_eq!(call.body["prompt"]["results"], json!({ "faithful": 1, "altered": 0, "unknown": 0 }));
    let parts = values(&world, seq)["prompt_body"]["parts"].as_array().unwrap().clone();
    let with_text: Vec<&str> =
        parts.iter().filter(|part| part["body"].is_string()).filter_map(|part| part["at"].as_str()).collect();
    assert_eq!(with_text, ["/messages/1", "/messages/2"], "the rest was kept with the first request");
    world.gateway.forget(&world.instruction);
    ask(&world, &messages(&result.replace("1810", "9999"))).await;
    let (seq, call) = world.entries(&Kind::Call).pop().unwrap();
    assert_eq!(call.body["prompt"]["results"], json!({ "faithful": 0, "altered": 1, "unknown": 0 }));
    assert_eq!(values(&world, seq)["prompt"]["results"][0]["is"], "altered");
    let altered = asked(&json!([{ "role": "user", "content": WORDS.replace("GB29", "GB99") }]));
    ask(&world, &altered).await;
    ask(&world, &asked(&json!([{ "role": "user", "content": "hello" }]))).await;
    let words: Vec<_> = world
        .entries(&Kind::Call)
        .into_iter()
        .filter_map(|(_, call)| call.body.get("prompt")?["words"].as_str().map(str::to_owned))
        .collect();
    assert_eq!(words, ["present", "present", "present", "altered", "absent"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_clients_own_key_header_and_headers_pass_for_a_model_and_nowhere_else() {
    let (world, api, model) = world(|_| json_answer(&json!({ "id": "msg_1", "model": "claude-test", "stop_reason": "end_turn", "content": [{ "type": "text", "text": "Hello" }] }))).await;
    let send = |path: &str| {
        Request::post(format!("http://{}{path}", world.address))
            .header("x-api-key", world.token.as_str())
            .header("content-type", "application/json")
            .header("anthropic-version", "2023-06-01")
            .header("x-stainless-lang", "python")
            .header("x-other", "no")
    };
    let body =
        json!({ "model": "claude", "max_tokens": 10, "messages": [{ "role": "user", "content": WORDS }] }).to_string();
    let answer = world.send_as(send("/model/v1/messages?beta=true").body(whole(&body)).unwrap()).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let got = model.last();
    assert_eq!(
        (&got.headers["anthropic-version"], &got.headers["x-stainless-lang"]),
        (&"2023-06-01".parse().unwrap(), &"python".parse().unwrap())
    );
    assert!(!got.headers.contains_key("x-api-key") && !got.headers.contains_key("x-other"));
    assert_eq!(got.uri, "/v1/messages?beta=true");
    let refused = world.send_as(send("/api/pay").body(whole("{}")).unwrap()).await;
    assert_eq!((refused.status, api.calls()), (401, 0));
    let twice = send("/model/v1/messages").header("authorization", "Bearer other");
    assert_eq!(world.send_as(twice.body(whole(&body)).unwrap()).await.status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_question_to_a_model_is_refused_and_recorded() {
    let (world, _, model) = world(|_| json_answer(&json!({ "data": [] }))).await;
    let get = |path: &str| world.request("GET", path).body(whole("")).unwrap();
    let post = |path: &str, body: &str| {
        world.request("POST", path).header("content-type", "application/json").body(whole(body)).unwrap()
    };
    assert_eq!(world.send_as(get("/model/v1/models")).await.status, 200);
    for (request, code) in [
        (get("/model/v1/files"), "action-unknown"),
        (get("/model/v1/chat/completions"), "action-unknown"),
        (post("/model/v1/embeddings", "{}"), "action-unknown"),
        (post("/model/v1/chat/completions", "[]"), "body-not-json"),
        (post("/model/v1/chat/completions?x=1", "{}"), "argument-unknown"),
        (post("/model/v1/chat/completions", "{\"messages\":[],\"messages\":[]}"), "json-duplicate-member"),
        (post("/model/v1/chat/completions", ""), "body-not-json"),
    ] {
        let answer = world.send_as(request).await;
        assert_eq!(answer.code(), code);
    }
    assert_eq!(model.calls(), 1);
    assert_eq!(world.entries(&Kind::Call).len(), 8);
    let large = json!({ "messages": [{ "role": "user", "content": "x".repeat(3 << 20) }], "seed": 12_345_678_901_234_567_890_u64, "weird": "\u{FFFD}" });
    assert_eq!(
        ask(&world, &large).await.status,
        200,
        "a prompt is longer than any call, and its numbers are nobody's arguments"
    );
    let (seq, _) = world.entries(&Kind::Call).pop().unwrap();
    assert_eq!(values(&world, seq)["prompt_body"]["left_out"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_catalogue_may_limit_which_model_is_asked_how_often_and_for_how_much() {
    let catalogue = format!(
        "{MODEL}[model]\nmodels = [\"gpt-*-mini\", \"o1\"]\nmax_calls = 2\nmax_output_tokens = 100\nkeep = false\n"
    );
    let (world, _, model) = world_of(&catalogue, |_| json_answer(&pays(&json!(5)))).await;
    for (body, status) in [
        (json!({ "model": "gpt-5", "max_tokens": 100, "messages": [] }), 403),
        (json!({ "model": "gpt-5-mini", "messages": [] }), 403),
        (json!({ "model": "gpt-5-mini", "max_tokens": 100, "max_completion_tokens": 1000, "messages": [] }), 403),
        (json!({ "model": "gpt-5-mini", "max_tokens": 100, "messages": [] }), 200),
        (json!({ "model": "o1", "max_completion_tokens": 100, "messages": [] }), 200),
        (json!({ "model": "o1", "max_completion_tokens": 100, "messages": [] }), 403),
    ] {
        assert_eq!(ask(&world, &body).await.status, status, "{body}");
    }
    assert_eq!(model.calls(), 2);
    let codes: Vec<_> = world
        .entries(&Kind::Call)
        .iter()
        .filter_map(|(_, call)| call.body["reasons"][0]["code"].as_str().map(str::to_owned))
        .collect();
    assert_eq!(codes, ["model-not-allowed", "output-tokens", "output-tokens", "action-calls-exhausted"]);
    for (seq, _) in world.entries(&Kind::Call) {
        assert!(!values(&world, seq).to_string().contains("\"body\":\"{"), "digests only");
    }
    let (seq, _) = world.entries(&Kind::Outcome).pop().unwrap();
    assert_eq!(values(&world, seq)["response"].get("body"), None);
    pay(&world, "5", None).await;
    assert_eq!(cause(&world).len(), 1, "what is proposed is linked all the same");
}

/// A stream of chat completions in pieces.
fn pieces() -> Vec<String> {
    let chunk =
        |choice: Value| format!("data: {}\n\n", json!({ "id": "c", "model": "gpt-test-1", "choices": [choice] }));
    vec![
        chunk(json!({ "index": 0, "delta": { "role": "assistant", "content": "I pay é" } })),
        chunk(
            json!({ "index": 0, "delta": { "tool_calls": [{ "index": 0, "id": "call_0", "function": { "name": "pay", "arguments": "{\"to\":\"GB29NWBK" } }] } }),
        ),
        chunk(
            json!({ "index": 0, "delta": { "tool_calls": [{ "index": 0, "function": { "arguments": "60161331926819\",\"amount\":20}" } }] } }),
        ),
        chunk(json!({ "index": 0, "delta": {}, "finish_reason": "tool_calls" })),
        "data: [DONE]\n\n".to_owned(),
    ]
}

fn events(body: Body) -> Response<Body> {
    Response::builder().header("content-type", "text/event-stream").body(body).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_flows_and_its_end_waits_for_the_record() {
    let (sender, body) = channel_body();
    let body = parking_lot::Mutex::new(Some(body));
    let (world, _, _) = world(move |_| events(body.lock().take().unwrap_or_else(|| full("")))).await;
    let request = world.request("POST", "/model/v1/chat/completions").header("content-type", "application/json");
    let asked = asked(&json!([{ "role": "user", "content": WORDS }])).to_string();
    let asking = world.client.request(request.body(whole(&asked)).unwrap());
    let pieces = pieces();
    sender.send(piece(&pieces[0])).await.unwrap();
    let mut answer = asking.await.unwrap();
    let mut got = String::new();
    for next in &pieces[..3] {
        if next != &pieces[0] {
            sender.send(piece(next)).await.unwrap();
        }
        let frame = answer.body_mut().frame().await.unwrap().unwrap().into_data().unwrap();
        got.push_str(std::str::from_utf8(&frame).unwrap());
    }
    assert_eq!(got, pieces[..3].concat(), "what comes passes at once");
    assert!(decisions(&world).is_empty());
    // The end comes in two halves, cut within an event; then all that was held passes together.
    let (one, other) = pieces[3].split_at(20);
    sender.send(piece(one)).await.unwrap();
    sender.send(piece(other)).await.unwrap();
    sender.send(piece(&pieces[4])).await.unwrap();
    while let Some(frame) = answer.body_mut().frame().await {
        got.push_str(std::str::from_utf8(&frame.unwrap().into_data().unwrap()).unwrap());
        if got.contains("finish_reason") && got.contains("tool_calls\"}]") {
            assert_eq!(decisions(&world).len(), 1, "it is on record before the agent can see the end");
        }
    }
    assert_eq!(got, pieces.concat());
    assert_eq!(pay(&world, "20", None).await.status, 200);
    assert_eq!(cause(&world).len(), 1);
    let (_, outcome) = &world.entries(&Kind::Outcome)[0];
    assert_eq!((outcome.text("answer"), outcome.text("result")), (Some("whole"), Some("completed")));
}

/// An answer that streams, of which the agent has read the first three pieces.
async fn begun(world: &World) -> Response<Incoming> {
    let request = world.request("POST", "/model/v1/chat/completions").header("content-type", "application/json");
    let asked = asked(&json!([{ "role": "user", "content": WORDS }])).to_string();
    let mut answer = world.client.request(request.body(whole(&asked)).unwrap()).await.unwrap();
    let mut got = 0;
    while got < pieces()[..3].concat().len() {
        got += answer.body_mut().frame().await.unwrap().unwrap().into_data().unwrap().len();
    }
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_breaks_off_says_so_and_what_came_of_it_is_on_record() {
    let seen = Arc::new(Notify::new());
    let breaks = seen.clone();
    let (world, _, _) = world(move |_| {
        let ((sender, body), breaks) = (channel_body(), breaks.clone());
        tokio::spawn(async move {
            for next in &pieces()[..3] {
                sender.send(piece(next)).await.unwrap();
            }
            breaks.notified().await;
            sender.send(Err("broken".into())).await.unwrap();
        });
        events(body)
    })
    .await;
    let answer = begun(&world).await;
    seen.notify_one();
    assert!(answer.into_body().collect().await.is_err());
    // The agent may act on what it has; the call waits until that is on record.
    assert_eq!(pay(&world, "20", None).await.status, 200);
    assert_eq!(cause(&world).len(), 1);
    let (_, outcome) = &world.entries(&Kind::Outcome)[0];
    assert_eq!(
        (outcome.text("result"), outcome.text("answer"), &outcome.body["proposals"]),
        (Some("upstream_truncated"), Some("partial"), &json!(1))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_hangs_up_on_a_stream_leaves_what_it_saw_on_record() {
    let (world, _, _) = world(|_| {
        let (sender, body) = channel_body();
        tokio::spawn(async move {
            for next in &pieces()[..3] {
                sender.send(piece(next)).await.unwrap();
            }
            tokio::time::sleep(std::time::Duration::from_secs(60)).await;
            drop(sender);
        });
        events(body)
    })
    .await;
    let answer = begun(&world).await;
    drop(answer);
    let (outcome, _) = world.outcome().await;
    assert_eq!((outcome.text("result"), outcome.text("answer")), (Some("client_aborted"), Some("partial")));
    assert_eq!(pay(&world, "20", None).await.status, 200);
    assert_eq!(cause(&world).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_passes_and_is_marked() {
    for (answer, status, state, proposals) in [
        ("{\"choices\":[", 200, "unreadable", 0),
        ("<html>", 200, "unreadable", 0),
        ("{\"error\":{\"message\":\"slow down\"}}", 429, "error", 0),
        ("{\"error\":{\"message\":\"overloaded\"}}", 500, "error", 0),
        (
            "{\"choices\":[{\"message\":{\"tool_calls\":[{\"id\":\"a\",\"function\":{\"name\":\"pay\",\"arguments\":\"{not json\"}}]}}]}",
            200,
            "whole",
            1,
        ),
    ] {
        let (world, _, _) = world(move |_| {
            Response::builder().status(status).header("content-type", "application/json").body(full(answer)).unwrap()
        })
        .await;
        let got = asks(&world).await;
        assert_eq!((got.status, got.body.as_deref()), (status, Some(answer.as_bytes())));
        let (outcome, _) = world.outcome().await;
        assert_eq!(
            (outcome.text("answer"), outcome.body["proposals"].as_u64()),
            (Some(state), Some(proposals)),
            "{answer}"
        );
        assert_eq!(decisions(&world).len() as u64, proposals);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_model_proposed_is_written_and_linked_when_the_full_disk_has_room_again() {
    let (asked, answers) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let shared = (asked.clone(), answers.clone());
    let api = Api::start(|_| json_answer(&json!({ "account": TO }))).await;
    let model = Api::start_with(None, move |_| {
        let (asked, answers) = shared.clone();
        Box::pin(async move {
            asked.notify_one();
            answers.notified().await;
            json_answer(&pays(&json!(50)))
        })
    })
    .await;
    let world = Arc::new(of_both(MODEL, &api, &model).await);
    let asking = tokio::spawn({
        let world = world.clone();
        async move { asks(&world).await }
    });
    asked.notified().await;
    world.faults.full.store(true, Ordering::SeqCst);
    answers.notify_one();
    let answer = asking.await.unwrap();
    assert_eq!((answer.status, answer.json()), (200, pays(&json!(50))), "the agent has its answer all the same");
    assert_eq!((decisions(&world), world.entries(&Kind::Outcome)), (vec![], vec![]));
    world.faults.full.store(false, Ordering::SeqCst);
    // A call that comes as soon as there is room is judged behind what it was made of.
    assert_eq!(pay(&world, "50", None).await.status, 200);
    let (seq, decision) = decisions(&world).pop().unwrap();
    let (exchange, _) = world.entries(&Kind::Call).remove(0);
    let (outcome, _) = world.entries(&Kind::Outcome).remove(0);
    assert_eq!(decision.parents, [hash(&world, exchange), hash(&world, outcome)]);
    assert_eq!(values(&world, seq)["arguments"], json!({ "to": TO, "amount": 50 }));
    assert_eq!(cause(&world), [hash(&world, seq)]);
    assert_eq!(world.outcomes(2).await.len(), 2);
}

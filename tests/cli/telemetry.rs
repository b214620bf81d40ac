//! Spans, metrics and log lines of the real sidecar, received over OTLP and scraped, with everything as talkative as it gets: they say what happened, and nothing of what was in it.

use std::{
    fs::{self, File},
    process::Stdio,
    sync::{Arc, Mutex},
};

use countersign_ledger::{
    Kind,
    directory::Directory,
    evidence::{Evidence, Item, Selection},
};
use opentelemetry_proto::tonic::trace::v1::{Span, span::SpanKind};
use serde_json::{Value, json};

use crate::{
    collector::{Got, collector, hex, text},
    sidecar::{Sidecar, raw},
    stub::{self, Asked},
};

/// What must be seen nowhere: of the user, of arguments, of answers, and every secret but the generated ones.
const WORDS: &str = "canaryword pay the rent of 98.70 to canarypayee";
const PRINCIPAL: &str = "canaryperson@example.org";
const KEY: &str = "canary-upstream-key-0123456789";
const CANARIES: [&str; 14] = [
    "canary-client",
    "canarygranted",
    "canaryword",
    "canarypayee",
    "canaryperson",
    "canary-upstream-key",
    "canaryargument",
    "canaryanswer",
    "canaryheader",
    "canaryquery",
    "canarytool",
    "canarymodel",
    "canarytoken",
    "collector-key",
];

const CATALOGUE: &str = r#"
upstream = "bank"
[[action]]
name = "pay"
method = "POST"
path = "/payments"
effect = "irreversible"
[action.arguments]
to = { in = "body", type = "text", required = true, binds = true, from = ["words"] }
amount = { in = "body", type = "money", currency = "EUR", required = true, binds = true, from = ["words"] }
note = { in = "body", type = "text" }
[[action]]
name = "read"
method = "GET"
path = "/accounts"
effect = "read"
[action.arguments]
q = { in = "query", type = "text" }
[[action]]
name = "fail"
method = "GET"
path = "/fail"
effect = "read"
"#;

const TOOLS: &str = r#"
upstream = "tools"
protocol = "mcp"
[[action]]
name = "look"
tool = "look_up"
effect = "read"
[action.arguments]
what = { type = "text" }
"#;

/// The API: it remembers which trace contexts it was sent.
fn api(traces: Arc<Mutex<Vec<String>>>) -> String {
    stub::start(move |asked: &Asked| {
        traces.lock().unwrap().extend(asked.header("traceparent").map(str::to_owned));
        match asked.path.split('?').next().unwrap() {
            "/fail" => (0, Vec::new(), Vec::new()),
            "/payments" => stub::json(201, r#"{"id":"canaryanswer"}"#),
            _ => stub::json(200, r#"{"accounts":["canaryanswer"]}"#),
        }
    })
}

fn model() -> String {
    stub::start(|_| {
        let call = json!([{ "id": "c1", "type": "function", "function": { "name": "canarytool", "arguments": "{\"to\":\"canaryargument\"}" } }]);
        let message = json!({ "role": "assistant", "content": "canaryanswer", "tool_calls": call });
        let answer = json!({
            "id": "x", "object": "chat.completion", "created": 0, "model": "scripted-1",
            "choices": [{ "index": 0, "message": message, "finish_reason": "tool_calls" }],
            "usage": { "prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10 },
        });
        stub::json(200, &answer.to_string())
    })
}

/// Gives the gateway what lets it into the model, once it works.
fn token_server() -> String {
    stub::start(|_| stub::json(200, r#"{"access_token":"canarygranted-0123456789","token_type":"Bearer"}"#))
}

fn tools() -> String {
    stub::start(|asked| {
        let id = serde_json::from_slice::<Value>(&asked.body).map(|asked| asked["id"].clone()).unwrap_or_default();
        let result = json!({ "content": [{ "type": "text", "text": "canaryanswer" }] });
        stub::json(200, &json!({ "jsonrpc": "2.0", "id": id, "result": result }).to_string())
    })
}

struct World {
    sidecar: Sidecar,
    got: Arc<Mutex<Got>>,
    traces: Arc<Mutex<Vec<String>>>,
    metrics: String,
}

/// A sidecar before all three, with the most talkative telemetry, and what it logs in a file.
fn world(more: &str) -> World {
    let traces: Arc<Mutex<Vec<String>>> = Arc::default();
    let (collector, got) = collector();
    let upstreams = format!(
        "[[upstream]]\nname = \"bank\"\nurl = \"http://{}\"\ncatalogue = \"bank.toml\"\ncredential = {{ prefix = \"Bearer \", file = \"bank.key\" }}\n\
         [[upstream]]\nname = \"model\"\nurl = \"http://{}\"\ncatalogue = \"model.toml\"\noauth = {{ token_url = \"http://{}/token\", client = \"gateway\", secret = {{ file = \"client.secret\" }} }}\n\
         [[upstream]]\nname = \"tools\"\nurl = \"http://{}/mcp\"\ncatalogue = \"tools.toml\"\n\
         [metrics]\nlisten = \"127.0.0.1:0\"\n\
         [telemetry]\nendpoint = \"http://{collector}\"\nheaders = [{{ header = \"x-key\", file = \"collector.key\" }}]\ninterval_seconds = 1\n{more}\n",
        api(traces.clone()),
        model(),
        token_server(),
        tools()
    );
    let files = [
        ("bank.toml", CATALOGUE),
        ("model.toml", include_str!("../../deploy/catalogues/model.toml")),
        ("tools.toml", TOOLS),
        ("bank.key", KEY),
        ("client.secret", "canary-client-secret"),
        ("collector.key", "collector-key"),
    ];
    let mut sidecar = Sidecar::with(&upstreams, &files, None);
    sidecar.stop();
    let log = File::create(sidecar.dir.path().join("log")).unwrap();
    let ready = sidecar.serve_saying(Stdio::from(log), Some("trace"));
    let metrics = ready["metrics"].as_str().unwrap().to_owned();
    World { sidecar, got, traces, metrics }
}

impl World {
    fn instruct(&self) -> Value {
        let budget = json!({ "argument": "amount", "limit": "200" });
        let actions = json!([{ "action": "pay", "budget": budget }, "read", "fail", "look"]);
        let body =
            json!({ "words": WORDS, "principal": PRINCIPAL, "agent": "assistant", "scope": { "actions": actions } });
        let host = self.sidecar.secret("host");
        let answer = self.sidecar.ask(&self.sidecar.api, "POST", "/v1/instructions", host, Some(&body));
        assert_eq!(answer.status, 201, "{}", answer.body);
        answer.json()
    }

    fn ask(&self, method: &str, target: &str, token: &str, headers: &str, body: Option<&Value>) -> (u16, String) {
        let body = body.map(Value::to_string).unwrap_or_default();
        let json = if body.is_empty() {
            ""
        } else {
            "content-type: application/json\r\naccept: application/json, text/event-stream\r\n"
        };
        let to = &self.sidecar.gateway;
        let answer = raw(
            to,
            &format!(
                "{method} {target} HTTP/1.1\r\nhost: {to}\r\nauthorization: Bearer {token}\r\n{json}{headers}content-length: {}\r\nconnection: close\r\n\r\n{body}",
                body.len()
            ),
        );
        (answer.status, answer.body)
    }

    fn scrape(&self) -> String {
        let to = &self.metrics;
        raw(to, &format!("GET /metrics HTTP/1.1\r\nhost: {to}\r\nconnection: close\r\n\r\n")).body
    }

    fn log(&self) -> String {
        fs::read_to_string(self.sidecar.dir.path().join("log")).unwrap()
    }

    fn entries(&self, kind: &Kind) -> Vec<Item> {
        let directory = Directory::read(&self.sidecar.ledger(), None).unwrap();
        let evidence = Evidence::collect(&directory, &Selection::All, None, &|_| false).unwrap();
        evidence.items.into_values().filter(|item| item.entry.kind == *kind).collect()
    }
}

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

/// Every way a call can go. Gives the agent's token.
fn every_way(world: &World) -> String {
    let granted = world.instruct();
    let token = granted["token"].as_str().unwrap().to_owned();
    let context = format!("traceparent: 00-{TRACE}-b7ad6b7169203331-01\r\ntracestate: vendor=canaryheader\r\n");
    let pay = |to: &str, note: &str| json!({ "to": to, "amount": 98.70, "note": note });
    let good = pay("canarypayee", "canaryargument");
    assert_eq!(world.ask("POST", "/bank/payments", &token, &context, Some(&good)).0, 201, "allowed");
    assert_eq!(world.ask("POST", "/bank/payments", &token, "", Some(&pay("canaryargument", "x"))).0, 403, "held");
    assert_eq!(world.ask("POST", "/bank/canaryquery", &token, "", Some(&good)).0, 403, "no such action");
    let twice = "x-canaryheader: canaryheader\r\nhost: canaryheader\r\n";
    assert_eq!(
        world.ask("GET", "/bank/accounts?q=canaryquery&q=canaryquery", &token, twice, None).0,
        400,
        "two readings"
    );
    assert_eq!(world.ask("GET", "/bank/accounts?q=canaryquery", &token, "", None).0, 200, "read");
    assert_eq!(world.ask("GET", "/bank/fail", &token, "", None).0, 502, "the API fails");
    assert_eq!(world.ask("GET", "/bank/accounts?q=canaryquery", "canarytoken", "", None).0, 401, "a stranger");
    assert_eq!(world.ask("GET", "/nowhere/canaryquery", &token, "", None).0, 404, "no such API");
    let prompt = json!({ "model": "canarymodel said so", "messages": [{ "role": "user", "content": WORDS }] });
    assert_eq!(world.ask("POST", "/model/v1/chat/completions", &token, "", Some(&prompt)).0, 200, "a model");
    let call = |name: &str| json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": { "name": name, "arguments": { "what": "canaryargument" } } });
    assert_eq!(world.ask("POST", "/tools", &token, "", Some(&call("look_up"))).0, 200, "a tool");
    assert_eq!(world.ask("POST", "/tools", &token, "", Some(&call("canarytool"))).0, 200, "no such tool");
    let unknown = json!({ "jsonrpc": "2.0", "id": 2, "method": "canarytool/canaryargument", "params": {} });
    world.ask("POST", "/tools", &token, "", Some(&unknown));
    let sidecar = &world.sidecar;
    let wrong = json!({ "words": WORDS, "canaryargument": 1 });
    assert_eq!(sidecar.ask(&sidecar.api, "POST", "/v1/instructions", sidecar.secret("host"), Some(&wrong)).status, 400);
    assert_eq!(sidecar.ask(&sidecar.api, "GET", "/v1/instructions/canaryquery", "canarytoken", None).status, 401);
    let id = granted["instruction"].as_str().unwrap();
    let read =
        sidecar.ask(&sidecar.api, "GET", &format!("/v1/instructions/{id}"), sidecar.secret("investigator"), None);
    assert!(read.body.contains("canaryanswer") && read.body.contains("canaryword"), "{}", read.body);
    token
}

#[test]
fn spans_metrics_and_log_lines_hold_no_secret_and_nothing_of_anybody() {
    let mut world = world("[log]\nformat = \"json\"");
    let token = every_way(&world);
    let scraped = world.scrape();
    world.sidecar.stop();
    let (got, log) = (world.got.lock().unwrap(), world.log());
    assert_eq!(got.strangers, 0);
    assert!(
        !got.spans.is_empty()
            && !got.logs.is_empty()
            && !got.metrics.is_empty()
            && scraped.contains("countersign_calls_total")
    );
    let secrets = ["host", "operator", "investigator", "approver"].map(|role| world.sidecar.secret(role).to_owned());
    let canaries = CANARIES.into_iter().chain(secrets.iter().map(String::as_str)).chain([token.as_str()]);
    for canary in canaries {
        for (what, text) in [("OTLP", &got.text), ("/metrics", &scraped), ("the log", &log)] {
            let at = text.find(canary).map(|at| &text[at.saturating_sub(200)..(at + 200).min(text.len())]);
            assert_eq!(at, None, "`{canary}` in {what}");
        }
    }
    // Names of data subjects' grants and calls are random, and still no label.
    assert!(!scraped.contains("assistant"), "an agent's name in a label");
}

fn named<'s>(spans: &'s [Span], name: &str) -> Vec<&'s Span> {
    spans.iter().filter(|span| span.name == name).collect()
}

#[test]
fn a_call_is_one_trace_from_the_agent_to_the_api_and_each_span_names_its_entry() {
    let mut world = world("[log]\nlevel = \"trace\"");
    every_way(&world);
    world.sidecar.stop();
    let got = world.got.lock().unwrap();
    let calls = world.entries(&Kind::Call);
    let entry = |item: &Item| item.hash.to_string();

    // The agent's own trace: server span below the agent's span, a span for each step below that, and the API below the last.
    let of: Vec<&Span> = got.spans.iter().filter(|span| hex(&span.trace_id) == TRACE).collect();
    let one = |name: &str| *of.iter().find(|span| span.name == name).unwrap_or_else(|| panic!("{name}: {of:?}"));
    let server = one("POST pay");
    assert_eq!((server.kind(), hex(&server.parent_span_id)), (SpanKind::Server, "b7ad6b7169203331".to_owned()));
    for part in ["authorize", "record", "forward"] {
        assert_eq!(one(part).parent_span_id, server.span_id, "{part}");
    }
    assert_eq!((of.len(), one("forward").kind()), (4, SpanKind::Client));
    let call =
        calls.iter().find(|call| call.entry.text("traceparent").is_some_and(|text| text.contains(TRACE))).unwrap();
    for span in &of {
        assert_eq!(text(&span.attributes, "countersign.entry"), Some(entry(call).as_str()), "{}", span.name);
    }
    let sent = format!("00-{TRACE}-{}-01", hex(&one("forward").span_id));
    assert!(world.traces.lock().unwrap().contains(&sent), "the API is told the trace");
    for (name, value) in
        [("countersign.verdict", "allow"), ("countersign.action", "pay"), ("countersign.result", "completed")]
    {
        assert_eq!(text(&server.attributes, name), Some(value));
    }

    // Without the agent's: every call has a trace of its own, its entry has the trace's id, its span the entry's hash.
    let servers: Vec<&Span> = got.spans.iter().filter(|span| span.kind() == SpanKind::Server).collect();
    for call in calls.iter().filter(|call| call.entry.text("grant").is_some()) {
        let trace = call.entry.text("traceparent").and_then(|text| text.split('-').nth(1)).unwrap();
        let of = servers.iter().find(|span| hex(&span.trace_id) == trace).unwrap();
        assert_eq!(text(&of.attributes, "countersign.entry"), Some(entry(call).as_str()));
        assert_eq!(text(&of.attributes, "countersign.verdict"), call.entry.text("verdict"));
    }

    // The words of OpenTelemetry for models and tools.
    let chat = named(&got.spans, "chat");
    assert_eq!(text(&chat[0].attributes, "gen_ai.response.model"), Some("scripted-1"));
    assert_eq!(text(&chat[0].attributes, "gen_ai.provider.name"), Some("openai"));
    let tool = named(&got.spans, "tools/call look");
    assert_eq!(text(&tool[0].attributes, "mcp.method.name"), Some("tools/call"));
    assert_eq!(text(&tool[0].attributes, "gen_ai.tool.name"), Some("look"));

    // Text lines and records of OTLP name the trace they belong to.
    let failed = got.spans.iter().find(|span| span.name == "GET fail").unwrap();
    assert_eq!(failed.status.as_ref().map(|status| status.code), Some(2), "502 is an error");
}

#[test]
fn the_trace_that_an_mcp_message_names_is_its_calls() {
    let mut world = world("");
    let granted = world.instruct();
    let token = granted["token"].as_str().unwrap();
    let context = format!("00-{TRACE}-b7ad6b7169203331-01");
    let message = |meta: Value| json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": { "name": "look_up", "arguments": { "what": "x" }, "_meta": meta } });
    let other = "traceparent: 00-1af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n";
    for (header, meta) in [("", &*context), (other, &*context), ("", "no trace context")] {
        let message = message(json!({ "traceparent": meta }));
        assert_eq!(world.ask("POST", "/tools", token, header, Some(&message)).0, 200);
    }
    world.sidecar.stop();
    let got = world.got.lock().unwrap();
    let named: Vec<bool> =
        world.entries(&Kind::Call).iter().map(|call| call.entry.text("traceparent") == Some(&context)).collect();
    assert_eq!(named, [true, true, false], "what the message says goes before a header");
    let linked = |span: &&Span| span.links.iter().any(|link| hex(&link.trace_id) == TRACE);
    let servers = got.spans.iter().filter(|span| span.kind() == SpanKind::Server);
    assert_eq!(servers.filter(linked).count(), 2, "its own span had begun before the message was read");
}

#[test]
fn without_sampling_nothing_is_exported_and_the_record_still_has_a_trace() {
    let mut world = world("sampling = 0.0\nlogs = false");
    let granted = world.instruct();
    let token = granted["token"].as_str().unwrap();
    assert_eq!(world.ask("GET", "/bank/accounts", token, "", None).0, 200);
    // What the agent has begun to trace is traced on.
    let context = format!("traceparent: 00-{TRACE}-b7ad6b7169203331-01\r\n");
    assert_eq!(world.ask("GET", "/bank/accounts", token, &context, None).0, 200);
    world.sidecar.stop();
    let got = world.got.lock().unwrap();
    assert!(got.spans.iter().all(|span| hex(&span.trace_id) == TRACE) && got.spans.len() == 4, "{:?}", got.spans);
    assert!(got.logs.is_empty());
    let calls = world.entries(&Kind::Call);
    let unsampled =
        calls.iter().filter(|call| call.entry.text("traceparent").is_some_and(|text| text.ends_with("-00")));
    assert_eq!(unsampled.count(), 1);
}

#[test]
fn a_collector_that_is_away_holds_up_neither_calls_nor_the_end() {
    let mut sidecar = Sidecar::start();
    sidecar.stop();
    let config = fs::read_to_string(sidecar.config()).unwrap();
    fs::write(
        sidecar.config(),
        format!("{config}[telemetry]\nendpoint = \"http://127.0.0.1:9\"\ninterval_seconds = 1\n"),
    )
    .unwrap();
    sidecar.serve_saying(Stdio::null(), None);
    let granted = sidecar.instruct("What is my balance?", "emma", &["account.balance.read"]);
    let token = granted["token"].as_str().unwrap();
    for _ in 0..20 {
        assert_eq!(sidecar.ask(&sidecar.gateway, "GET", "/account/balance", token, None).status, 200);
    }
    sidecar.stop();
    assert_eq!(sidecar.verify().0, 0);
}

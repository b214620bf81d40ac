//! A grant sees of an answer what its view shows.

use std::fs;

use serde_json::{Value, json};

use crate::sidecar::{Answer, Sidecar, path};

const VIEWS: &str = "[action.response]\nview = \"amounts\"\n[action.response.views]\namounts = [\"/transactions/*/amount\", \"/transactions/*/date\"]\nall = [\"\"]\n";

#[test]
fn what_a_view_does_not_show_never_reaches_the_agent() {
    let mut sidecar = Sidecar::start();
    sidecar.stop();
    let catalogue = sidecar.dir.path().join("bank.toml");
    let text = fs::read_to_string(&catalogue).unwrap();
    let list = text.find("\"/transactions/*/id\"").unwrap();
    let head = text[..list].rfind("[action.response.first_party]").unwrap();
    fs::write(&catalogue, format!("{}{VIEWS}{}", &text[..head], &text[head..])).unwrap();
    sidecar.serve();
    let instruct = |action: Value| {
        let body = json!({ "words": "my transactions", "principal": "emma", "agent": "assistant", "scope": { "actions": [action] } });
        sidecar.ask(&sidecar.api, "POST", "/v1/instructions", sidecar.secret("host"), Some(&body)).json()
    };
    let ask = |granted: &Value| {
        let token = granted["token"].as_str().unwrap_or_else(|| panic!("{granted}"));
        sidecar.ask(&sidecar.gateway, "GET", "/transactions", token, None)
    };
    let unknown = instruct(json!({ "action": "transactions.list", "view": "nothing" }));
    assert_eq!(unknown["withheld"][0]["reason"], "the action has no view `nothing`");
    // Chunked, for the length of the whole says something too.
    let body = |answer: &Answer| answer.body.lines().find(|line| line.starts_with('{')).unwrap_or_default().to_owned();
    let parsed = |body: &str| serde_json::from_str::<Value>(body).unwrap();
    let whole = parsed(&body(&ask(&instruct(json!({ "action": "transactions.list", "view": "all" })))));
    let first = &whole["transactions"][0];
    assert!(first["subject"].is_string() && first["recipient"].is_string(), "{whole}");

    let answer = ask(&instruct(json!("transactions.list")));
    assert_eq!(answer.status, 200);
    let body = body(&answer);
    let seen = parsed(&body);
    assert_eq!(seen["transactions"].as_array().map(Vec::len), whole["transactions"].as_array().map(Vec::len));
    assert_eq!(seen["transactions"][0], json!({ "amount": first["amount"], "date": first["date"] }));
    assert_eq!(seen.as_object().unwrap().len(), 1);
    sidecar.stop();

    let keys = sidecar.keys();
    let show =
        |seq: u64| sidecar.tool(&["show", path(&sidecar.ledger()), &seq.to_string(), "--json", "--keys", path(&keys)]);
    let entries =
        (0..30).map(show).filter(|(code, _)| *code == 0).map(|(_, text)| serde_json::from_str::<Value>(&text).unwrap());
    let outcomes: Vec<Value> = entries.filter(|entry| entry["entry"]["kind"] == "outcome").collect();
    let recorded = &outcomes.last().unwrap()["values"]["response"]["view"];
    assert_eq!((recorded["name"].as_str(), recorded["bytes"].as_u64()), (Some("amounts"), Some(body.len() as u64)));
    assert!(outcomes.last().unwrap()["values"]["response"]["bytes"].as_u64() > Some(body.len() as u64));
    assert_eq!(sidecar.verify().0, 0);
}

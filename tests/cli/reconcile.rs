//! An API's own log against the ledger, and what becomes of it.

use std::fs;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::sidecar::{Sidecar, path};

#[test]
fn a_call_around_the_sidecar_and_one_never_seen_are_found_recorded_and_part_of_the_trace() {
    let mut sidecar = Sidecar::start();
    let from = Timestamp::now();
    let granted = sidecar.instruct("Pay GB29NWBK60161331926819 5 and 6", "emma", &["transactions.send"]);
    let token = granted["token"].as_str().unwrap();
    let mut lines = Vec::new();
    for amount in [5, 6] {
        let pay =
            json!({ "recipient": "GB29NWBK60161331926819", "amount": amount, "subject": "rent", "date": "2022-01-01" });
        assert_eq!(sidecar.ask(&sidecar.gateway, "POST", "/transactions", token, Some(&pay)).status, 201);
        lines.push(json!({ "time": Timestamp::now().to_string(), "method": "POST", "path": "/transactions", "status": 201, "body": pay }));
    }
    // The bank says nothing of the second, and has one that nobody asked for.
    lines[1]["body"]["recipient"] = json!("SE3550000000054910000003");
    lines[1]["path"] = json!("/transfers");
    lines[1]["time"] = json!((Timestamp::now() + jiff::SignedDuration::from_secs(40)).to_string());
    let to = Timestamp::now() + jiff::SignedDuration::from_secs(60);
    let log = sidecar.dir.path().join("bank.jsonl");
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    fs::write(&log, format!("{text}this is no line\n")).unwrap();
    let secret = sidecar.dir.path().join("secret");
    fs::write(&secret, sidecar.secret("operator")).unwrap();
    let (ledger, keys, api) = (sidecar.ledger(), sidecar.keys(), format!("http://{}", sidecar.api));
    let (from, to) = (from.to_string(), to.to_string());
    let args = [
        "reconcile",
        path(&ledger),
        "--keys",
        path(&keys),
        "--upstream",
        "bank",
        "--log",
        path(&log),
        "--format",
        "jsonl",
        "--clock-skew",
        "10",
        "--from",
        &from,
        "--to",
        &to,
        "--json",
    ];
    let (code, text) = sidecar.tool(&[&args[..], &["--submit", &api, "--secret-file", path(&secret)]].concat());
    assert_eq!(code, 1, "{text}");
    let report: Value = serde_json::from_str(&text).unwrap();
    let results: Vec<&str> =
        report["found"].as_array().unwrap().iter().map(|found| found["result"].as_str().unwrap()).collect();
    assert_eq!(results, ["not_seen", "bypass"], "{text}");
    assert_eq!((&report["counts"]["matched"], &report["bad"][0]["line"]), (&json!(1), &json!(3)));
    sidecar.stop();
    let (code, text) = sidecar.verify();
    assert_eq!(code, 0, "{text}");
    let instruction = granted["instruction"].as_str().unwrap();
    let (_, text) =
        sidecar.tool(&["trace", path(&ledger), "--instruction", instruction, "--keys", path(&keys), "--json"]);
    assert!(text.contains("not-executed") && text.contains("called-around"), "{text}");
    let (code, text) =
        sidecar.tool(&[&args[..4], &["--upstream", "bank", "--log", path(&secret), "--format", "common"]].concat());
    assert_eq!(code, 2, "{text}");
    assert!(text.contains("no line of the log can be read"), "{text}");
}

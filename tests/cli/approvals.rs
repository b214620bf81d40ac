//! A person's yes and no from the command line.

use std::fs;

use serde_json::{Value, json};

use crate::sidecar::{Sidecar, countersign, path};

#[test]
fn an_approver_sees_a_held_call_whole_and_answers_exactly_it() {
    let mut sidecar = Sidecar::start();
    let (pem, secret) = (sidecar.dir.path().join("ann.pem"), sidecar.dir.path().join("ann.secret"));
    let made = countersign(&["keys", "new", "approver", "--party", "the-approver", "--out", path(&pem), "--json"]);
    let made: Value = serde_json::from_slice(&made.stdout).unwrap();
    fs::write(&secret, sidecar.secret("approver")).unwrap();
    let run = |args: &[&str]| {
        let api = format!("http://{}", sidecar.api);
        let [verb, rest @ ..] = args else { panic!("no verb") };
        let mut all = vec!["approvals", verb, "--api", &api, "--key", path(&pem), "--secret-file", path(&secret)];
        all.extend(rest);
        sidecar.tool(&all)
    };
    assert_eq!(run(&["list"]), (0, "No call waits.\n".to_owned()));

    let granted = sidecar.instruct("Pay Bob 5", "emma", &["transactions.send"]);
    let evil = "s\u{1b}[2K\u{202e}x";
    let token = granted["token"].as_str().unwrap().to_owned();
    let pay = |to: &str| {
        let body = json!({ "recipient": to, "amount": 5, "subject": evil, "date": "2022-01-01" });
        sidecar.ask(&sidecar.gateway, "POST", "/transactions", &token, Some(&body))
    };
    let held = pay("Mallory");
    assert_eq!(held.code(), "approval-required");
    let call = held.json()["held"].as_str().unwrap().to_owned();
    let (code, listed) = run(&["list"]);
    assert!(
        code == 0 && listed.contains(&call) && listed.contains("transactions.send") && !listed.contains('\u{1b}'),
        "{listed}"
    );
    let (code, shown) = run(&["show", &call]);
    assert_eq!(code, 0, "{shown}");
    for part in [
        "The user said:   Pay Bob 5",
        "recipient = Mallory",
        "subject = s\\u{1b}[2K\\u{202e}x",
        "in nothing that was observed",
        "Waits until",
        "irreversible",
    ] {
        assert!(shown.contains(part), "`{part}` is not in:\n{shown}");
    }
    let json: Value = serde_json::from_str(&run(&["show", &call, "--json"]).1).unwrap();
    assert_eq!(json["arguments"]["subject"], evil);

    // Nobody looked, a key that nobody registered, a call that is not there: nothing is answered.
    let (code, text) = run(&["approve", &call]);
    assert!(code == 2 && text.contains("--yes"), "{text}");
    let (code, text) = run(&["approve", &call, "--yes"]);
    assert!(code == 2 && text.contains("not registered"), "{text}");
    let operator = sidecar.secret("operator");
    assert_eq!(sidecar.ask(&sidecar.api, "POST", "/v1/keys", operator, Some(&made["register"])).status, 201);
    let (code, text) = run(&["approve", "../../v1/keys", "--yes"]);
    assert!(code == 2 && text.contains("no held call"), "{text}");
    let (code, text) = run(&["deny", &call, "--yes"]);
    assert!(code == 0 && text.contains("denied"), "{text}");
    assert_eq!(pay("Mallory").code(), "approval-denied");

    let held = pay("Carl").json()["held"].as_str().unwrap().to_owned();
    let (code, text) = run(&["approve", &held, "--yes"]);
    assert!(code == 0 && text.contains("once"), "{text}");
    assert_eq!((pay("Carl").status, pay("Carl").status), (201, 403));
    assert_eq!(run(&["list"]).1.lines().count(), 1, "asked anew, it waits anew");
    sidecar.stop();
    assert_eq!(sidecar.verify().0, 0);
}

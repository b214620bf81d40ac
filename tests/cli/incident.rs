//! A claim of harm, and the harmed user's own bundle.

use std::fs;

use countersign_ledger::statement::{Jwk, Statement};
use serde_json::{Value, json};

use crate::sidecar::{Sidecar, countersign, path};

/// Somebody with a key that is registered for them; gives its file.
fn user(sidecar: &Sidecar, name: &str) -> std::path::PathBuf {
    let pem = sidecar.dir.path().join(format!("{name}.pem"));
    let made = countersign(&["keys", "new", "user", "--party", name, "--out", path(&pem), "--json"]);
    let made: Value = serde_json::from_slice(&made.stdout).unwrap();
    let operator = sidecar.secret("operator");
    assert_eq!(sidecar.ask(&sidecar.api, "POST", "/v1/keys", operator, Some(&made["register"])).status, 201);
    pem
}

fn pay(sidecar: &Sidecar, granted: &Value) {
    let pay = json!({ "recipient": "GB29NWBK60161331926819", "amount": 5, "subject": "rent", "date": "2022-01-01" });
    let token = granted["token"].as_str().unwrap();
    assert_eq!(sidecar.ask(&sidecar.gateway, "POST", "/transactions", token, Some(&pay)).status, 201);
}

#[test]
fn a_user_gets_the_bundle_of_their_own_instruction_and_of_nobody_elses() {
    let mut sidecar = Sidecar::start();
    let (emma, bob) = (user(&sidecar, "emma"), user(&sidecar, "bob"));
    let of_emma = sidecar.instruct("Pay GB29NWBK60161331926819 5", "emma", &["transactions.send"]);
    let of_bob = sidecar.instruct("Pay GB29NWBK60161331926819 5 for bobs secret", "bob", &["transactions.send"]);
    pay(&sidecar, &of_emma);
    let (mine, api) = (of_emma["instruction"].as_str().unwrap(), format!("http://{}", sidecar.api));
    let out = sidecar.dir.path().join("mine.zip");
    let get = |key: &std::path::Path, origin: &str, instruction: &str| {
        sidecar.tool(&["mine", "--api", &api, "--origin", origin, "--key", path(key), instruction, "--out", path(&out)])
    };
    for (key, origin, instruction, why) in [
        (&bob, "bank.example/agents", mine, "no such instruction of yours"),
        (&emma, "bank.example/agents", of_bob["instruction"].as_str().unwrap(), "no such instruction of yours"),
        (&emma, "bank.example/agents", "no-such", "no such instruction of yours"),
        (&emma, "other.example/agents", mine, "for another ledger"),
    ] {
        let (code, text) = get(key, origin, instruction);
        assert!(code == 2 && text.contains(why), "{text}");
    }
    let (code, text) = get(&emma, "bank.example/agents", mine);
    assert_eq!(code, 0, "{text}");
    let (code, text) = sidecar.tool(&["verify", path(&out)]);
    assert_eq!(code, 0, "{text}");
    let (_, text) = sidecar.tool(&["trace", path(&out), "--instruction", mine]);
    assert!(text.contains("GB29NWBK60161331926819") && !text.contains("bobs secret"), "{text}");
    let export = sidecar.dir.path().join("export.zip");
    sidecar.stop();
    let (code, text) = sidecar.tool(&[
        "export",
        path(&sidecar.ledger()),
        "--window",
        "2020-01-01T00:00:00Z/2100-01-01T00:00:00Z",
        "--out",
        path(&export),
    ]);
    assert_eq!(code, 0, "{text}");
    let all = countersign_ledger::bundle::read(&fs::read(&export).unwrap()).unwrap();
    let looks = all.items.values().filter(|item| item.entry.kind == countersign_ledger::Kind::Access);
    let looks: Vec<&str> = looks.filter_map(|item| item.entry.text("of")).collect();
    assert_eq!(looks, [mine]);
}

#[test]
fn an_incident_keeps_what_it_needs_from_erasure_until_it_is_closed() {
    let mut sidecar = Sidecar::start();
    let granted = sidecar.instruct("Pay GB29NWBK60161331926819 5", "emma", &["transactions.send"]);
    pay(&sidecar, &granted);
    let instruction = granted["instruction"].as_str().unwrap();
    let answer = sidecar.ask(
        &sidecar.api,
        "GET",
        &format!("/v1/instructions/{instruction}"),
        sidecar.secret("investigator"),
        None,
    );
    let entries = answer.json();
    let is_call = |entry: &&Value| entry["bytes"].as_str().unwrap().contains("\"kind\":\"call\"");
    let call =
        entries["entries"].as_array().unwrap().iter().find(is_call).unwrap()["hash"].as_str().unwrap().to_owned();
    let secret = sidecar.dir.path().join("secret");
    fs::write(&secret, sidecar.secret("operator")).unwrap();
    let api = format!("http://{}", sidecar.api);
    let who = ["--api", &api, "--secret-file", path(&secret)];
    let incident = |args: &[&str]| sidecar.tool(&[&["incident"], args, &who].concat());
    let none = "0".repeat(64);
    let (code, text) = incident(&["open", "--call", &none, "--claimant", "emma", "--harm", "x"]);
    assert!(code == 2 && text.contains("there is no call"), "{text}");
    let (code, text) = incident(&[
        "open",
        "--call",
        &call,
        "--claimant",
        "emma",
        "--harm",
        "I did not want this",
        "--amount",
        "5 EUR",
    ]);
    assert_eq!(code, 0, "{text}");
    let id = text.split_whitespace().nth(1).unwrap().to_owned();
    assert!(incident(&["list"]).1.contains(&id));
    sidecar.stop();
    sidecar.serve();
    let api = format!("http://{}", sidecar.api);
    let who = ["--api", &api, "--secret-file", path(&secret)];
    let incident = |args: &[&str]| sidecar.tool(&[&["incident"], args, &who].concat());
    assert!(incident(&["list"]).1.contains(&id), "it is forgotten");
    let out = sidecar.dir.path().join("incident.zip");
    assert_eq!(sidecar.export(instruction, "claim", &out).0, 0);
    let bundle = countersign_ledger::bundle::read(&fs::read(&out).unwrap()).unwrap();
    let of = |kind: countersign_ledger::Kind| bundle.items.values().find(|item| item.entry.kind == kind).unwrap();
    assert_eq!(of(countersign_ledger::Kind::Incident).value("claim").unwrap()["amount"], "5 EUR");
    assert_eq!(of(countersign_ledger::Kind::Hold).entry.text("reason"), Some(format!("incident {id}").as_str()));
    let (code, text) = incident(&["close", &id, "--reason", "settled"]);
    assert_eq!(code, 0, "{text}");
    assert!(incident(&["list"]).1.contains("No incident is open"));
    assert_eq!(incident(&["close", &id, "--reason", "again"]).0, 2);
    let (code, text) = sidecar.verify();
    assert_eq!(code, 0, "{text}");
}

#[test]
fn a_report_of_an_incident_shows_the_claim_and_what_the_users_own_key_proves() {
    let mut sidecar = Sidecar::start();
    let key = user(&sidecar, "emma");
    let words = "Pay GB29NWBK60161331926819 5";
    let said = json!({ "origin": "bank.example/agents", "principal": "emma", "words": words });
    let signing = countersign_ledger::keys::load(&key).unwrap();
    let statement = Statement::sign("countersign-instruction+jwt", &said, &signing).unwrap();
    let scope = json!({ "actions": ["transactions.send"] });
    let asked =
        json!({ "words": words, "principal": "emma", "agent": "assistant", "scope": scope, "statement": statement });
    let granted = sidecar.ask(&sidecar.api, "POST", "/v1/instructions", sidecar.secret("host"), Some(&asked)).json();
    pay(&sidecar, &granted);
    let instruction = granted["instruction"].as_str().unwrap().to_owned();
    let entries = sidecar.ask(
        &sidecar.api,
        "GET",
        &format!("/v1/instructions/{instruction}"),
        sidecar.secret("investigator"),
        None,
    );
    let entries = entries.json();
    let is_call = |entry: &&Value| entry["bytes"].as_str().unwrap().contains("\"kind\":\"call\"");
    let call = entries["entries"].as_array().unwrap().iter().find(is_call).unwrap()["hash"].as_str().unwrap();
    let secret = sidecar.dir.path().join("secret");
    fs::write(&secret, sidecar.secret("operator")).unwrap();
    let api = format!("http://{}", sidecar.api);
    let opened = sidecar.tool(&[
        "incident",
        "open",
        "--call",
        call,
        "--claimant",
        "emma",
        "--harm",
        "I wanted 4",
        "--amount",
        "1 EUR",
        "--api",
        &api,
        "--secret-file",
        path(&secret),
    ]);
    assert_eq!(opened.0, 0, "{}", opened.1);
    let incident = opened.1.split_whitespace().nth(1).unwrap();
    sidecar.stop();

    let (ledger, keys) = (sidecar.ledger(), sidecar.keys());
    let jwk = Jwk::ed25519(&signing.verifying_key());
    let trust = sidecar.dir.path().join("trust");
    let file = |text: &str| fs::write(&trust, text).unwrap();
    let said = |more: &[&str]| {
        let args = ["trace", path(&ledger), "--incident", incident, "--keys", path(&keys), "--json"];
        let (code, text) = sidecar.tool(&[&args[..], more].concat());
        assert_eq!(code, 0, "{text}");
        let chains: Value = serde_json::from_str(&text).unwrap();
        let links = chains[0]["links"].as_array().unwrap().clone();
        links.into_iter().find(|link| link["step"] == "said").unwrap()["state"].as_str().unwrap().to_owned()
    };
    assert_eq!(said(&[]), "claimed");
    for line in [json!(jwk).to_string(), jwk.thumbprint()] {
        file(&format!("# from emma herself\n{line}\n"));
        assert_eq!(said(&["--trust", path(&trust)]), "proven", "{line}");
        let (code, text) = sidecar.tool(&["verify", path(&ledger), "--trust", path(&trust)]);
        assert!(code == 2 && text.contains("no verifier key"), "{text}");
        for (lang, claim, proven) in [("en", incident, "proven"), ("zh-CN", incident, "证")] {
            let out = sidecar.dir.path().join(format!("{lang}{}.html", line.len()));
            let (code, text) = sidecar.tool(&[
                "report",
                path(&ledger),
                "--incident",
                incident,
                "--keys",
                path(&keys),
                "--trust",
                path(&trust),
                "--lang",
                lang,
                "-o",
                path(&out),
            ]);
            assert_eq!(code, 0, "{text}");
            let html = fs::read_to_string(&out).unwrap();
            assert!(html.contains(claim) && html.contains(proven) && html.contains("GB29NWBK60161331926819"), "{html}");
        }
    }
    file("no key\n");
    let (code, text) = sidecar.tool(&["trace", path(&ledger), "--incident", incident, "--trust", path(&trust)]);
    assert!(code == 2 && text.contains("line 1"), "{text}");
    let (code, _) =
        sidecar.tool(&["report", path(&ledger), "--incident", "no-such", "-o", path(&trust.with_extension("x"))]);
    assert_eq!(code, 2);
}

//! Policies of the organisation: checked, in force, replaced while the sidecar runs, and what another one would have said.

use std::{fs, process::Command, time::Duration};

use serde_json::{Value, json};

use crate::sidecar::{Sidecar, countersign, path};

const IBAN: &str = "GB29NWBK60161331926819";
const FORBID: &str =
    "@id(\"no-payments\")\nforbid (principal, action == Action::\"bank:transactions.send\", resource);\n";

fn pay(sidecar: &Sidecar, token: &str) -> u16 {
    let body = json!({ "recipient": IBAN, "amount": 5, "subject": "s", "date": "2022-04-01" });
    sidecar.ask(&sidecar.gateway, "POST", "/transactions", token, Some(&body)).status
}

fn in_force(sidecar: &Sidecar) -> Value {
    sidecar.ask(&sidecar.api, "GET", "/v1/policies", sidecar.secret("operator"), None).json()
}

/// Waits until what is in force is as wanted.
fn until(sidecar: &Sidecar, wanted: impl Fn(&Value) -> bool) -> Value {
    for _ in 0..400 {
        let now = in_force(sidecar);
        if wanted(&now) {
            return now;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("not in force: {}", in_force(sidecar));
}

#[test]
fn files_are_read_again_as_they_change_and_a_bad_one_is_refused_with_its_line() {
    let mut sidecar = Sidecar::start();
    let file = sidecar.dir.path().join("guardrails.cedar");
    fs::write(&file, "").unwrap();
    let config = fs::read_to_string(sidecar.config()).unwrap();
    fs::write(sidecar.config(), config.clone() + "[policy]\nfile = \"guardrails.cedar\"\n").unwrap();
    until(&sidecar, |now| now["files"][0]["name"] == "guardrails.cedar");
    let granted = sidecar.instruct(&format!("pay 5 to {IBAN}"), "ann", &["transactions.send"]);
    let token = granted["token"].as_str().unwrap().to_owned();
    assert_eq!(pay(&sidecar, &token), 201);

    fs::write(&file, FORBID).unwrap();
    until(&sidecar, |now| now["policies"] == json!(["no-payments"]));
    assert_eq!(pay(&sidecar, &token), 403);

    fs::write(&file, "// all of it\nforbid (principal, action == Action::\"bank:transactions.sned\", resource);\n")
        .unwrap();
    let now = until(&sidecar, |now| !now["refused"].is_null());
    let what = now["refused"]["what"].as_str().unwrap();
    assert!(what.contains("guardrails.cedar: line 2, column") && what.contains("transactions.sned"), "{what}");
    assert_eq!(now["policies"], json!(["no-payments"]), "what was in force stays");
    assert_eq!(pay(&sidecar, &token), 403);

    // A role's credential goes with the configuration; SIGHUP asks for it at once.
    fs::write(&file, FORBID).unwrap();
    let made = countersign(&["keys", "new", "operator", "--party", "new", "--secret", "--json"]);
    let made: Value = serde_json::from_slice(&made.stdout).unwrap();
    let more = format!(
        "[[credential]]\nrole = \"operator\"\nparty = \"new\"\nsha256 = \"{}\"\n",
        made["credential"]["sha256"].as_str().unwrap()
    );
    fs::write(sidecar.config(), config + &more).unwrap();
    sidecar.hang_up();
    until(&sidecar, |now| now["files"] == json!([]) && now["refused"].is_null());
    let asked = sidecar.ask(&sidecar.api, "GET", "/v1/policies", made["secret"].as_str().unwrap(), None);
    assert_eq!(asked.status, 200, "{}", asked.body);
    assert_eq!(pay(&sidecar, &token), 201);

    sidecar.stop();
    assert_eq!(sidecar.verify().0, 0, "{}", sidecar.verify().1);
    let (ledger, keys) = (sidecar.ledger(), sidecar.keys());
    let (code, text) = sidecar.tool(&["replay", path(&ledger), "--keys", path(&keys)]);
    assert!(code == 0 && text.contains("4 same, 0 differ, 0 not replayable"), "{text}");
    // What would have been, had it been forbidden from the beginning?
    let (code, text) = sidecar.tool(&["replay", path(&ledger), "--keys", path(&keys), "--policy", path(&file)]);
    assert!(code == 1 && text.contains("2 same, 2 differ"), "{text}");
    assert!(text.contains("verdict: \"allow\" → \"deny\""), "{text}");
    // A bundle that discloses the values is replayed without any key.
    let bundle = sidecar.dir.path().join("b.zip");
    let instruction = granted["instruction"].as_str().unwrap();
    let (code, text) = sidecar.export(instruction, "all", &bundle);
    assert_eq!(code, 0, "{text}");
    let (code, text) = sidecar.tool(&["replay", path(&bundle)]);
    assert!(code == 0 && text.contains("4 same"), "{text}");
}

#[test]
fn check_reads_policies_and_prints_what_they_can_name() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy");
    let (bank, example) = (format!("{root}/catalogues/bank.toml"), format!("{root}/policies/example.cedar"));
    let run = |args: &[&str]| {
        let output = Command::new(crate::sidecar::BINARY).arg("check").args(args).output().unwrap();
        let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        (output.status.code(), text)
    };
    let (code, text) = run(&["--catalogue", &bank, "--policy", &example]);
    assert!(code == Some(0) && text.contains("good: 5 policies"), "{text}");
    let (code, text) = run(&["--catalogue", &bank, "--schema"]);
    assert!(code == Some(0) && text.contains("action \"bank:transactions.send\""), "{text}");
    let dir = tempfile::tempdir().unwrap();
    let bad = dir.path().join("bad.cedar");
    fs::write(&bad, "forbid (principal, action, resource) when { context.hour == 3 };").unwrap();
    let (code, text) = run(&["--catalogue", &bank, "--policy", path(&bad)]);
    assert!(code == Some(2) && text.contains("line 1, column"), "{text}");
}

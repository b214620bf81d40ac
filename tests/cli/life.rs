//! The life of a ledger: restarts, kill -9, a bank that is gone, damage and repair, adoption.

use std::fs;

use serde_json::json;

use crate::sidecar::{Sidecar, path};

fn pay(amount: u64) -> serde_json::Value {
    json!({ "recipient": "Ann", "amount": amount, "subject": "s", "date": "2022-01-01" })
}

#[test]
fn a_budget_a_held_call_and_an_approval_survive_kill_9() {
    let mut sidecar = Sidecar::start();
    let body = json!({
        "words": "Pay Ann 5 and then 6", "principal": "emma", "agent": "assistant",
        "scope": { "actions": [{ "action": "transactions.send", "budget": { "argument": "amount", "limit": "10.99" } }] }
    });
    let granted = sidecar.ask(&sidecar.api, "POST", "/v1/instructions", sidecar.secret("host"), Some(&body)).json();
    let token = granted["token"].as_str().unwrap().to_owned();
    let send =
        |sidecar: &Sidecar, amount| sidecar.ask(&sidecar.gateway, "POST", "/transactions", &token, Some(&pay(amount)));
    assert_eq!(send(&sidecar, 5).status, 201);
    let held = send(&sidecar, 2);
    assert_eq!((held.status, held.code().as_str()), (403, "approval-required"));
    let call = held.json()["call"].as_str().unwrap().to_owned();
    for _ in 0..3 {
        sidecar.kill();
        sidecar.serve();
    }
    assert_eq!((send(&sidecar, 6).code().as_str(), send(&sidecar, 6).status), ("budget-exhausted", 403));
    let waiting = sidecar.ask(&sidecar.api, "GET", &format!("/v1/calls/{call}"), &token, None);
    assert_eq!(waiting.json()["status"], "waiting");
    let list = sidecar.ask(&sidecar.api, "GET", "/v1/approvals", sidecar.secret("approver"), None).json();
    assert_eq!(list["held"][0]["arguments"]["amount"], 2);
    assert_eq!(list["held"][0]["words"], "Pay Ann 5 and then 6");
    sidecar.stop();
    let (code, text) = sidecar.verify();
    assert_eq!(code, 0, "{text}");
}

#[test]
fn a_bank_that_is_gone_costs_nothing_of_the_budget() {
    let mut sidecar = Sidecar::start();
    let body = json!({ "words": "Pay Ann 5", "principal": "emma", "agent": "assistant", "scope": { "actions": [{ "action": "transactions.send", "max_calls": 1 }] } });
    let granted = sidecar.ask(&sidecar.api, "POST", "/v1/instructions", sidecar.secret("host"), Some(&body)).json();
    let token = granted["token"].as_str().unwrap().to_owned();
    sidecar.kill_bank();
    for _ in 0..3 {
        let answer = sidecar.ask(&sidecar.gateway, "POST", "/transactions", &token, Some(&pay(5)));
        assert_eq!((answer.status, answer.code().as_str()), (502, "upstream-unreachable"));
    }
    sidecar.stop();
    assert_eq!(sidecar.verify().0, 0);
}

#[test]
fn a_damaged_store_is_refused_and_repaired_and_nothing_is_lost() {
    let mut sidecar = Sidecar::start();
    let granted = sidecar.instruct("Pay Ann 5", "emma", &["transactions.send"]);
    let token = granted["token"].as_str().unwrap().to_owned();
    assert_eq!(sidecar.ask(&sidecar.gateway, "POST", "/transactions", &token, Some(&pay(5))).status, 201);
    sidecar.stop();
    let store = sidecar.ledger().join("sled/db");
    let good = fs::read(&store).unwrap();
    let config = sidecar.config();
    for (name, bytes) in
        [("zeros", vec![0; good.len()]), ("half", good[..good.len() / 2].to_vec()), ("gone", Vec::new())]
    {
        fs::write(&store, &bytes).unwrap();
        match sidecar.try_serve() {
            // What only the store had lost was still in the journal.
            Ok(()) => sidecar.stop(),
            Err(text) => assert!(text.contains("countersign repair"), "{name}: {text}"),
        }
        let (code, text) = sidecar.tool(&["repair", "--config", path(&config)]);
        assert_eq!(code, 0, "{name}: {text}");
        let (code, text) = sidecar.verify();
        assert_eq!(code, 0, "{name}: {text}");
    }
    sidecar.serve();
    // The grant's state was rebuilt with the store: the same call again is allowed, for nothing limits it.
    assert_eq!(sidecar.ask(&sidecar.gateway, "POST", "/transactions", &token, Some(&pay(5))).status, 201);
}

#[test]
fn a_rolled_back_ledger_is_refused_and_adopted_anew_with_the_head_held_outside() {
    let mut sidecar = Sidecar::start();
    sidecar.instruct("What is my balance?", "emma", &["account.balance.read"]);
    sidecar.stop();
    let copy = sidecar.dir.path().join("copy");
    assert!(std::process::Command::new("cp").arg("-a").arg(sidecar.ledger()).arg(&copy).status().unwrap().success());
    sidecar.serve();
    let granted = sidecar.instruct("What is my balance?", "bob", &["account.balance.read"]);
    let held = sidecar.dir.path().join("held.txt");
    fs::write(&held, granted["proof"].as_str().unwrap()).unwrap();
    sidecar.stop();
    let anchor = sidecar.ledger().join("anchor");
    fs::remove_dir_all(copy.join("anchor")).unwrap();
    assert!(
        std::process::Command::new("cp").arg("-a").arg(&anchor).arg(copy.join("anchor")).status().unwrap().success()
    );
    fs::rename(sidecar.ledger(), sidecar.dir.path().join("lost")).unwrap();
    fs::rename(&copy, sidecar.ledger()).unwrap();
    let config = sidecar.config();
    let text = sidecar.try_serve().unwrap_err();
    assert!(text.contains("the anchor knows of") && text.contains("countersign adopt"), "{text}");
    let (code, text) = sidecar.tool(&["verify", path(&sidecar.ledger()), "--against", path(&held)]);
    assert!(code == 1 && text.contains("truncated") && text.contains("rolled-back"), "{text}");
    fs::remove_dir_all(sidecar.ledger()).unwrap();
    let (code, text) = sidecar.tool(&[
        "adopt",
        "--config",
        path(&config),
        "--checkpoint",
        path(&held),
        "--reason",
        "the disk was lost",
    ]);
    assert_eq!(code, 0, "{text}");
    let (_, first) = sidecar.tool(&["show", path(&sidecar.ledger()), "0"]);
    assert!(first.contains("\"event\": \"adopted\"") && first.contains("the disk was lost"), "{first}");
    let (code, text) = sidecar.tool(&["verify", path(&sidecar.ledger()), "--against", path(&held)]);
    assert!(code == 1 && text.contains("the head of the lost ledger that this one took over from"), "{text}");
    sidecar.serve();
    sidecar.instruct("What is my balance?", "bob", &["account.balance.read"]);
}

#[test]
fn a_sidecar_whose_ledger_has_stopped_says_why_and_ends_and_the_next_one_goes_on() {
    let mut sidecar = Sidecar::start();
    sidecar.stop();
    let log = sidecar.dir.path().join("log");
    sidecar.serve_saying(fs::File::create(&log).unwrap().into(), None);
    let granted = sidecar.instruct("What is my balance?", "bob", &["account.balance.read"]);
    let token = granted["token"].as_str().unwrap();
    // A disk that fails for another reason than being full.
    let (anchor, away) = (sidecar.ledger().join("anchor"), sidecar.dir.path().join("away"));
    fs::rename(&anchor, &away).unwrap();
    fs::write(&anchor, "").unwrap();
    let balance = |sidecar: &Sidecar| sidecar.ask(&sidecar.gateway, "GET", "/account/balance", token, None).status;
    assert_eq!(balance(&sidecar), 200, "the anchor is written behind it");
    assert_eq!(sidecar.ended(), Some(2));
    let said = fs::read_to_string(&log).unwrap();
    assert!(said.contains("the anchor cannot be written") && said.contains("must be started again"), "{said}");
    fs::remove_file(&anchor).unwrap();
    fs::rename(&away, &anchor).unwrap();
    sidecar.serve();
    assert_eq!(balance(&sidecar), 200);
    sidecar.stop();
    assert_eq!(sidecar.verify().0, 0);
}

#[test]
fn what_waits_for_the_next_start_is_said_when_it_is_changed() {
    let mut sidecar = Sidecar::start();
    sidecar.stop();
    let log = sidecar.dir.path().join("log");
    sidecar.serve_saying(fs::File::create(&log).unwrap().into(), None);
    let config = fs::read_to_string(sidecar.config()).unwrap();
    fs::write(sidecar.config(), format!("heartbeat_seconds = 7\n{config}[log]\nlevel = \"info\"\nformat = \"json\"\n"))
        .unwrap();
    sidecar.hang_up();
    let said = (0..200).find_map(|_| {
        std::thread::sleep(std::time::Duration::from_millis(50));
        let text = fs::read_to_string(&log).unwrap();
        text.lines().find(|line| line.contains("at the next start only")).map(str::to_owned)
    });
    let said = said.expect("it is said");
    assert!(said.contains("[log] format, heartbeat_seconds") && !said.contains("[limits]"), "{said}");
    let text = fs::read_to_string(&log).unwrap();
    assert!(text.contains("were read again"), "how much is logged does not wait: {text}");
    sidecar.stop();
}

//! The tools as an operator and an investigator use them.

use std::{fs, path::Path, process::Command};

use serde_json::json;

use crate::sidecar::{BINARY, Sidecar, countersign, path};

#[test]
fn an_erased_subject_is_gone_from_every_byte_and_the_ledger_still_verifies() {
    let mut sidecar = Sidecar::start();
    let canary = "canaryQ7xWords";
    for (principal, word) in [("emma-canaryQ7x", canary), ("bob", "elephantB2y")] {
        let granted = sidecar.instruct(&format!("Pay {word} 5"), principal, &["transactions.send"]);
        let pay = json!({ "recipient": word, "amount": 5, "subject": word, "date": "2022-01-01" });
        assert_eq!(
            sidecar
                .ask(&sidecar.gateway, "POST", "/transactions", granted["token"].as_str().unwrap(), Some(&pay))
                .status,
            201
        );
    }
    // Two signers, registered by the operator.
    for who in ["ann", "carl"] {
        let pem = sidecar.dir.path().join(format!("{who}.pem"));
        let made = countersign(&["keys", "new", "approver", "--party", who, "--out", path(&pem), "--json"]);
        let made: serde_json::Value = serde_json::from_slice(&made.stdout).unwrap();
        let operator = sidecar.secret("operator");
        assert_eq!(
            sidecar
                .ask(&sidecar.api, "POST", "/v1/parties", operator, Some(&json!({ "party": who, "role": "approver" })))
                .status,
            201
        );
        assert_eq!(sidecar.ask(&sidecar.api, "POST", "/v1/keys", operator, Some(&made["register"])).status, 201);
    }
    sidecar.stop();
    let config = sidecar.config();
    let erase = |extra: &[&str]| {
        let mut args = vec!["erase", "--config", path(&config), "--reason", "asked for"];
        args.extend(extra);
        sidecar.tool(&args)
    };
    let (code, placed) = sidecar.tool(&[
        "hold",
        "place",
        "--config",
        path(&config),
        "--subject",
        "emma-canaryQ7x",
        "--by",
        "court",
        "--reason",
        "case 7",
    ]);
    assert_eq!(code, 0, "{placed}");
    let words: Vec<&str> = placed.split_whitespace().collect();
    let (hold, subject) = (words[1], words[4]);
    let mut statements = Vec::new();
    for who in ["ann", "carl"] {
        let (pem, jws) = (sidecar.dir.path().join(format!("{who}.pem")), sidecar.dir.path().join(format!("{who}.jws")));
        let (code, text) = erase(&["--subject", subject, "--sign-with", path(&pem)]);
        assert_eq!(code, 0, "{text}");
        fs::write(&jws, text).unwrap();
        statements.push(jws);
    }
    let both = ["--subject", subject, "--statement", path(&statements[0]), "--statement", path(&statements[1])];
    assert!(erase(&both).1.contains("under a hold"));
    let (code, text) = sidecar.tool(&[
        "hold",
        "release",
        "--config",
        path(&config),
        "--subject",
        subject,
        "--hold",
        hold,
        "--by",
        "court",
        "--reason",
        "over",
    ]);
    assert_eq!(code, 0, "{text}");
    assert!(erase(&both[..4]).1.contains("two signers"));
    assert!(
        erase(&["--subject", subject, "--statement", path(&statements[0]), "--statement", path(&statements[0])])
            .1
            .contains("two different signers")
    );
    let secrets_before = key_material(&sidecar);
    let (code, text) = erase(&both);
    assert_eq!(code, 0, "{text}");
    // Neither words nor name stand anywhere in the clear, and the old key-encryption key is nowhere.
    let files = all_files(sidecar.dir.path());
    assert!(files.len() > 10);
    for (name, bytes) in files.iter().filter(|(name, _)| !name.ends_with(".jws") && !name.ends_with("serve.log")) {
        for secret in ["canaryQ7x", canary, "elephantB2y"] {
            assert!(!contains(bytes, secret.as_bytes()), "{secret} stands in {name}");
        }
        assert!(!contains(bytes, &secrets_before), "the old key-encryption key stands in {name}");
    }
    let (code, text) = sidecar.verify();
    assert!(code == 0 && !text.contains(" 0 erased"), "{text}");
    let keys = sidecar.keys();
    let (_, traced) = sidecar.tool(&[
        "trace",
        path(&sidecar.ledger()),
        "--window",
        "2020-01-01T00:00:00Z/2100-01-01T00:00:00Z",
        "--keys",
        path(&keys),
    ]);
    assert!(traced.contains("observed, erased since") && traced.contains("elephantB2y"), "{traced}");
}

fn key_material(sidecar: &Sidecar) -> Vec<u8> {
    fs::read(sidecar.keys().join("vault.kek")).unwrap()
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

fn all_files(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(all_files(&path));
        } else {
            files.push((path.display().to_string(), fs::read(&path).unwrap()));
        }
    }
    files
}

#[test]
fn an_exported_bundle_verifies_and_traces_without_the_ledger() {
    let sidecar = Sidecar::start();
    let granted = sidecar.instruct("What is my balance?", "emma", &["account.balance.read"]);
    let token = granted["token"].as_str().unwrap();
    assert_eq!(sidecar.ask(&sidecar.gateway, "GET", "/account/balance", token, None).status, 200);
    let instruction = granted["instruction"].as_str().unwrap();
    let (bundle, ledger) = (sidecar.dir.path().join("case.zip"), sidecar.ledger());
    // Beside the running gateway.
    let export = || sidecar.export(instruction, "words,principal", &bundle);
    let (code, text) = export();
    assert_eq!(code, 0, "{text}");
    assert_eq!(export().0, 2, "an existing file is not overwritten");
    let trust = sidecar.dir.path().join("trust.txt");
    fs::write(&trust, sidecar.tool(&["keys", "list", path(&ledger)]).1).unwrap();
    let (code, text) = sidecar.tool(&["verify", path(&bundle), "--trust", path(&trust)]);
    // A key alone is no word of somebody who held something, and a page that lies in the bundle is none at all.
    assert!(code == 0 && text.contains("clean, with the trusted key") && text.contains("proves nothing"), "{text}");
    let (code, text) = sidecar.export(instruction, "words,argumentz", &sidecar.dir.path().join("slip.zip"));
    assert!(code == 0 && text.contains("no entry here has a value `argumentz`; there are"), "{text}");
    let (code, text) = sidecar.tool(&["replay", path(&bundle)]);
    assert!(code == 0 && text.contains("opens with the vault's keys (`--keys`)"), "{text}");
    let (_, text) = sidecar.tool(&["trace", path(&bundle), "--instruction", instruction]);
    assert!(text.contains("emma said “What is my balance?”"), "{text}");
    let (code, text) = sidecar.tool(&["verify", path(&bundle), "--json"]);
    assert!(
        code == 0 && serde_json::from_str::<serde_json::Value>(text.split("\nchecked").next().unwrap()).is_ok(),
        "{text}"
    );
    reports_of(&sidecar, &bundle, instruction);
    let mut bytes = fs::read(&bundle).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    fs::write(&bundle, bytes).unwrap();
    let (code, text) = sidecar.tool(&["verify", path(&bundle)]);
    assert!(code != 0 && !text.contains("0 entries"), "nothing is counted where nothing was looked at: {text}");
}

#[test]
fn what_is_not_there_is_told_with_where_it_was_looked_for() {
    let sidecar = Sidecar::start();
    let granted = sidecar.instruct("What is my balance?", "emma", &["account.balance.read"]);
    let (ledger, bundle, empty) =
        (sidecar.ledger(), sidecar.dir.path().join("case.zip"), sidecar.dir.path().join("empty"));
    fs::write(&empty, "").unwrap();
    let instruction = granted["instruction"].as_str().unwrap();
    let (code, text) = sidecar.tool(&["export", path(&ledger), "--instruction", instruction, "--out", path(&bundle)]);
    assert!(code == 0 && text.contains("every value is withheld"), "{text}");
    let log = ["--log", path(&empty), "--format", "jsonl"];
    let reconcile = |upstream: &'static str, more: &[&'static str]| {
        sidecar.tool(&[&["reconcile", path(&ledger), "--upstream", upstream], &log[..], more].concat())
    };
    let (code, text) = reconcile("bank", &[]);
    assert!(code == 2 && text.contains("has no line") && text.contains("--from and --to"), "{text}");
    let (code, text) = reconcile("bnak", &["--from", "2026-01-01T00:00:00Z", "--to", "2026-01-02T00:00:00Z"]);
    assert!(code == 0 && text.contains("no call to an upstream `bnak`"), "{text}");
    let (code, text) = sidecar.tool(&["trace", path(&ledger), "--instruction", "nobodys"]);
    assert!(code == 2 && text.contains("look whether the id or the time is right"), "{text}");
    for tool in ["verify", "replay"] {
        let (code, text) = sidecar.tool(&[tool, path(&empty)]);
        assert!(code == 2 && text.contains(path(&empty)), "{tool}: {text}");
    }
}

/// The bundle has its report in both languages, and anybody makes the same again from it.
fn reports_of(sidecar: &Sidecar, bundle: &Path, instruction: &str) {
    let carried = countersign_ledger::bundle::read(&fs::read(bundle).unwrap()).unwrap().reports;
    for (lang, name, part) in [("en", "report.html", "What is established"), ("zh-CN", "report.zh-CN.html", "认定结果")]
    {
        let out = sidecar.dir.path().join(name);
        let args = ["report", path(bundle), "--instruction", instruction, "--lang", lang, "-o", path(&out)];
        let (code, text) = sidecar.tool(&args);
        assert_eq!(code, 0, "{text}");
        let made = fs::read_to_string(&out).unwrap();
        assert!(made.contains(part) && made.contains("What is my balance?"), "{made}");
        assert!(carried[name] == made.as_bytes(), "{name}");
        assert_eq!(sidecar.tool(&args).0, 2, "an existing file is not overwritten");
    }
}

#[test]
fn help_completions_and_manual_pages_are_made() {
    let dir = tempfile::tempdir().unwrap();
    for command in
        ["serve", "check", "keys", "verify", "trace", "report", "show", "export", "erase", "hold", "repair", "adopt"]
    {
        let help = countersign(&[command, "--help"]);
        assert!(help.status.success() && help.stdout.len() > 200, "{command}");
    }
    assert!(String::from_utf8_lossy(&countersign(&["completions", "bash"]).stdout).contains("_countersign"));
    assert!(countersign(&["man", path(dir.path())]).status.success());
    assert!(dir.path().join("countersign-verify.1").is_file());
}

#[test]
fn check_points_at_line_and_column() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("c.toml");
    fs::write(&config, "origin = \"a.example\"\n[ledger]\ndirectory = \"l\"\n[gateway]\nlisten = \"here\"\n").unwrap();
    let output = countersign(&["check", "--config", path(&config)]);
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(2) && text.contains("line 5, column 10"), "{text}");
    let output = countersign(&["verify", path(dir.path())]);
    assert!(output.status.code() == Some(2) && String::from_utf8_lossy(&output.stderr).contains("there is no ledger"));
}

#[test]
fn in_none_of_the_144_pairs_an_injected_change_reaches_the_bank_and_every_task_is_done() {
    let output = countersign(&["demo", "--pairs", "all"]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let all: Vec<u64> = text
        .lines()
        .find(|line| line.starts_with("      all"))
        .unwrap()
        .split_whitespace()
        .skip(1)
        .map(|n| n.parse().unwrap())
        .collect();
    // 33 calls of 16 tasks, each with 9 attacks; nothing reached the bank.
    assert_eq!((all[0] + all[1], all[4]), (33 * 9, 0), "{text}");
    assert!(
        text.contains("9 of 16 tasks needed Emma's yes") && text.contains("clean, against what was held outside"),
        "{text}"
    );
    assert!(!text.contains("NOT DONE") && !text.contains("REACHED THE BANK"), "{text}");
}

#[test]
fn the_configurations_of_deploy_are_good() {
    let deploy = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/deploy"));
    let dir = tempfile::tempdir().unwrap();
    let key = dir.path().join("bank.key");
    fs::write(&key, "0123456789abcdef").unwrap();
    fs::copy(deploy.join("catalogues/bank.toml"), dir.path().join("bank.toml")).unwrap();
    for name in ["systemd", "compose"] {
        let config = dir.path().join("countersign.toml");
        let text = fs::read_to_string(deploy.join(name).join("countersign.toml")).unwrap();
        fs::write(&config, text.replace("/run/secrets/bank.key", path(&key))).unwrap();
        let output = Command::new(BINARY)
            .args(["check", "--config", path(&config)])
            .env("BANK_KEY_FILE", &key)
            .output()
            .unwrap();
        let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success() && text.contains("good: 1 upstream,"), "{name}: {text}");
        assert_eq!(text.contains("without TLS"), name == "compose", "{text}");
    }
}

#[test]
fn a_store_that_is_gone_or_damaged_is_told_and_repaired() {
    let mut sidecar = Sidecar::start();
    sidecar.instruct("What is my balance?", "emma", &["account.balance.read"]);
    sidecar.stop();
    let (config, ledger) = (sidecar.config(), sidecar.ledger());
    let verify = || sidecar.tool(&["verify", path(&ledger)]);
    assert_eq!(verify().0, 0);
    let repaired = |code: &str| {
        let (exit, text) = verify();
        assert!(exit == 1 && text.contains(code), "{text}");
        let (exit, text) = sidecar.tool(&["repair", "--config", path(&config)]);
        assert_eq!(exit, 0, "{text}");
        assert_eq!(verify().0, 0);
    };
    fs::remove_dir_all(ledger.join("sled")).unwrap();
    repaired("store-missing");
    fs::write(ledger.join("sled/conf"), b"not what sled wrote").unwrap();
    repaired("store-damaged");
}

#[test]
fn the_kill_switch_stops_an_agent_and_lets_it_go_again() {
    let mut sidecar = Sidecar::start();
    let secret = sidecar.dir.path().join("operator.secret");
    fs::write(&secret, sidecar.secret("operator")).unwrap();
    let granted = sidecar.instruct("What is my balance?", "emma", &["account.balance.read"]);
    let token = granted["token"].as_str().unwrap().to_owned();
    let balance = |sidecar: &Sidecar| sidecar.ask(&sidecar.gateway, "GET", "/account/balance", &token, None).status;
    let run = |sidecar: &Sidecar, args: &[&str]| {
        let api = format!("http://{}", sidecar.api);
        let [verb, rest @ ..] = args else { panic!("no verb") };
        let mut all = vec![*verb, "--api", &api, "--secret-file", path(&secret)];
        all.extend(rest);
        sidecar.tool(&all)
    };
    assert_eq!(balance(&sidecar), 200);
    assert!(run(&sidecar, &["revoke", "everything", "agent-x", "--reason", "r"]).1.contains("has none"));
    let (code, text) = run(&sidecar, &["revoke", "everything", "--reason", "it pays the wrong people"]);
    assert!(code == 0 && text.starts_with("withdrawn: everything (entry "), "{text}");
    assert_eq!(balance(&sidecar), 403);
    assert_eq!(run(&sidecar, &["revoked"]), (0, "everything\n".to_owned()));
    sidecar.stop();
    sidecar.serve();
    assert_eq!(balance(&sidecar), 403, "after a restart too");
    assert_eq!(run(&sidecar, &["lift", "everything", "--reason", "found the fault"]).0, 0);
    assert_eq!(balance(&sidecar), 200);
    let (code, text) = run(&sidecar, &["lift", "action", "transactions.send", "--reason", "r"]);
    assert!(code == 2 && text.contains("not withdrawn"), "{text}");
    sidecar.stop();
    assert_eq!(sidecar.verify().0, 0);
}

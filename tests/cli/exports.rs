//! What was recorded, in the formats of others, read by libraries that are not ours.

use std::{fs, process::Command};

use serde_json::{Value, json};

use crate::{
    peers::{is_there, python},
    sidecar::{Sidecar, path},
};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers/exports.py");
const WINDOW: &str = "2020-01-01T00:00:00Z/2100-01-01T00:00:00Z";
const PAYEE: &str = "GB29NWBK60161331926819";

/// A payment, one that is refused, and a question; gives the ledger at rest.
fn used() -> Sidecar {
    let mut sidecar = Sidecar::start();
    let granted = sidecar.instruct(&format!("Pay {PAYEE} 5"), "emma", &["transactions.send", "transactions.list"]);
    let token = granted["token"].as_str().unwrap();
    let pay = |amount| json!({ "recipient": PAYEE, "amount": amount, "subject": "rent", "date": "2022-01-01" });
    assert_eq!(sidecar.ask(&sidecar.gateway, "POST", "/transactions", token, Some(&pay(5))).status, 201);
    assert_ne!(sidecar.ask(&sidecar.gateway, "POST", "/transactions", token, Some(&pay(77))).status, 201);
    assert_eq!(sidecar.ask(&sidecar.gateway, "GET", "/transactions?n=3", token, None).status, 200);
    sidecar.stop();
    sidecar
}

fn export(sidecar: &Sidecar, format: &str, more: &[&str]) -> (std::path::PathBuf, String) {
    let out = sidecar.dir.path().join(format!("{format}{}", more.len()));
    let ledger = sidecar.ledger();
    let args = ["export", path(&ledger), "--window", WINDOW, "--format", format, "--out", path(&out)];
    let (code, text) = sidecar.tool(&[&args[..], more].concat());
    assert_eq!(code, 0, "{text}");
    let text = fs::read_to_string(&out).unwrap();
    (out, text)
}

#[test]
fn every_format_is_read_by_a_library_that_is_not_ours() {
    let interpreter = python("exports");
    if !is_there("libraries that read exports", &interpreter) {
        return;
    }
    let sidecar = used();
    let keys = sidecar.keys();
    for disclose in [&[][..], &["--keys", path(&keys), "--disclose", "request"]] {
        for (format, wanted) in [
            ("ocsf", json!({ "events": 3 })),
            ("otlp", json!({ "spans": 3, "names": ["transactions.list", "transactions.send"] })),
            ("csv", json!({ "rows": 3, "verdicts": ["allow", "hold"] })),
            ("prov", json!({ "activities": 3 })),
        ] {
            let (out, _) = export(&sidecar, format, disclose);
            let read = Command::new(&interpreter).args([SCRIPT, format, path(&out)]).output().unwrap();
            assert!(read.status.success(), "{format}: {}", String::from_utf8_lossy(&read.stderr));
            let counted: Value = serde_json::from_slice(&read.stdout).unwrap();
            for (name, count) in wanted.as_object().unwrap() {
                assert_eq!(&counted[name], count, "{format}: {counted}");
            }
        }
    }
}

#[test]
fn an_export_has_what_entries_say_in_the_clear_and_no_more_than_was_disclosed() {
    let sidecar = used();
    let keys = sidecar.keys();
    for format in ["ocsf", "otlp", "csv", "prov"] {
        let (_, text) = export(&sidecar, format, &[]);
        assert!(text.contains("transactions.send"), "{format}: {text}");
        for value in [PAYEE, "emma", "rent", "n=3", "bank-key"] {
            assert!(!text.contains(value), "{format} has `{value}`: {text}");
        }
    }
    let (_, text) = export(&sidecar, "csv", &["--keys", path(&keys), "--disclose", "request"]);
    assert!(text.contains("/transactions?n=3") && !text.contains(PAYEE), "{text}");
}

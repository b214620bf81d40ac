//! The gateway's signatures and its API's receipts, with a library that we did not write on the other side: it verifies ours, and we verify its.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Command, Stdio},
};

use serde_json::{Value, json};

use crate::{
    peers::{is_there, python, start},
    sidecar::{BINARY, Sidecar, countersign, path},
};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers/receipts.py");
const CATALOGUE: &str = include_str!("../../deploy/catalogues/bank.toml");

/// A key pair: the secret half in `file`; gives the public half.
fn pair(file: &Path) -> Value {
    let made = countersign(&["keys", "new", "agent", "--party", "x", "--out", path(file), "--json"]);
    serde_json::from_slice::<Value>(&made.stdout).unwrap()["register"]["jwk"].clone()
}

/// A read and a change through the gateway; each must come with a receipt that fits, and the ledger be clean.
fn calls(url: &str, jwk: &Value, gateway_key: &str) {
    let upstream = format!(
        "[[upstream]]\nname = \"bank\"\nurl = \"{url}\"\ncatalogue = \"bank.toml\"\ncredential = {{ prefix = \"Bearer \", file = \"bank.key\" }}\n\
         receipts = {{ party = \"the-bank\", keys = \"bank.jwk\" }}\n"
    );
    let jwk = jwk.to_string();
    let files = [
        ("bank.toml", CATALOGUE),
        ("bank.key", "bank-key-0123456789"),
        ("bank.jwk", &jwk),
        ("keys/signature.pem", gateway_key),
    ];
    let mut sidecar = Sidecar::with(&upstream, &files, None);
    let granted = sidecar.instruct("Set my street to Main Street 1", "emma", &["account.balance.read", "user.update"]);
    let token = granted["token"].as_str().unwrap();
    let answer = sidecar.ask(&sidecar.gateway, "GET", "/account/balance", token, None);
    assert_eq!(answer.status, 200, "{}", answer.body);
    let street = json!({ "street": "Main Street 1" });
    let answer = sidecar.ask(&sidecar.gateway, "PATCH", "/user", token, Some(&street));
    assert_eq!(answer.status, 200, "{}", answer.body);
    sidecar.stop();
    let (code, text) = sidecar.verify();
    assert_eq!(code, 0, "{text}");
    let instruction = granted["instruction"].as_str().unwrap();
    let (_, text) = sidecar.tool(&[
        "trace",
        path(&sidecar.ledger()),
        "--keys",
        path(&sidecar.keys()),
        "--instruction",
        instruction,
        "--json",
    ]);
    let mut states = Vec::new();
    answered(&serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}")), &mut states);
    assert_eq!(states, ["observed", "observed"], "{text}");
}

/// The state of each link of the API's.
fn answered(value: &Value, states: &mut Vec<String>) {
    match value {
        Value::Object(members)
            if value["step"] == "answered" && value["state"].is_string() && !members.contains_key("rule") =>
        {
            states.push(value["state"].as_str().unwrap().to_owned());
        }
        Value::Object(members) => members.values().for_each(|member| answered(member, states)),
        Value::Array(items) => items.iter().for_each(|item| answered(item, states)),
        _ => {}
    }
}

#[test]
fn another_library_verifies_the_gateways_signatures_and_its_receipts_verify_here() {
    let python = python("signatures");
    if !is_there("receipts with a library that is not ours", &python) {
        return;
    }
    let seed = "0707070707070707070707070707070707070707070707070707070707070707";
    let key = ed25519_dalek::SigningKey::from_bytes(&[7; 32]).verifying_key();
    let x = data_encoding::BASE64URL_NOPAD.encode(key.as_bytes());
    let jwk = json!({ "kty": "OKP", "crv": "Ed25519", "x": x });
    let mut command = Command::new(python);
    let (_peer, url) = start(|port| command.args([SCRIPT, "api", &port.to_string(), seed]));
    let dir = tempfile::tempdir().unwrap();
    pair(&dir.path().join("gateway.pem"));
    let gateway_key = fs::read_to_string(dir.path().join("gateway.pem")).unwrap();
    calls(url.strip_suffix("/mcp").unwrap(), &jwk, &gateway_key);
}

#[test]
fn another_library_verifies_the_receipts_of_our_layer() {
    let python = python("signatures");
    if !is_there("receipts with a library that is not ours", &python) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let public = pair(&dir.path().join("gateway.pem"));
    fs::write(dir.path().join("gateway.jwk"), public.to_string()).unwrap();
    let mut bank = Command::new(BINARY)
        .args(["demo-bank", "--key", "bank-key-0123456789", "--admin-key", "bank-admin-0123456789", "--receipts"])
        .arg(dir.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(bank.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    let address = serde_json::from_str::<Value>(&line).unwrap()["address"].as_str().unwrap().to_owned();
    let jwk = fs::read_to_string(dir.path().join("bank.jwk")).unwrap();
    let mut command = Command::new(python);
    let (_peer, url) = start(|port| command.args([SCRIPT, "between", &port.to_string(), &address, &jwk]));
    let gateway_key = fs::read_to_string(dir.path().join("gateway.pem")).unwrap();
    calls(url.strip_suffix("/mcp").unwrap(), &serde_json::from_str(&jwk).unwrap(), &gateway_key);
    drop(bank.stdin.take());
    bank.wait().unwrap();
}

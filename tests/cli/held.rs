//! What agents on the official SDKs make of a held call: they show their user an address, and call again; only an approver's yes lets it through.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::{Value, json};

use crate::{
    peers::{fastmcp, is_there, node, python},
    sidecar::{Sidecar, countersign, path},
};

/// Makes an approver's key known; gives the arguments that the command line wants of her.
fn approver(sidecar: &Sidecar) -> Vec<String> {
    let (pem, secret) = (sidecar.dir.path().join("ann.pem"), sidecar.dir.path().join("ann.secret"));
    let made = countersign(&["keys", "new", "approver", "--party", "the-approver", "--out", path(&pem), "--json"]);
    let made: Value = serde_json::from_slice(&made.stdout).unwrap();
    fs::write(&secret, sidecar.secret("approver")).unwrap();
    let operator = sidecar.secret("operator");
    assert_eq!(sidecar.ask(&sidecar.api, "POST", "/v1/keys", operator, Some(&made["register"])).status, 201);
    let api = format!("http://{}", sidecar.api);
    ["--api", &api, "--key", path(&pem), "--secret-file", path(&secret)].map(str::to_owned).into()
}

fn approvals(sidecar: &Sidecar, ann: &[String], verb: &str, more: &[&str]) -> String {
    let mut all = vec!["approvals", verb];
    all.extend(ann.iter().map(String::as_str));
    all.extend(more);
    let (code, said) = sidecar.tool(&all);
    assert_eq!(code, 0, "{said}");
    said
}

/// A client calls what is held, says that its user looked at the address, is asked again, and gets through once an approver said yes.
fn gets_through_once_approved(sidecar: &Sidecar, ann: &[String], sdk: &str, program: &Path, script: &str, root: &Path) {
    let token = sidecar.instruct("Pay Bob 5", "emma", &["send_money"])["token"].as_str().unwrap().to_owned();
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/peers").join(script);
    let mut client = Command::new(program)
        .arg(script)
        .args([&format!("http://{}/", sidecar.gateway), &token])
        .env("SDK", root)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(client.stdout.take().unwrap());
    let mut next = || {
        let mut line = String::new();
        said.read_line(&mut line).unwrap();
        serde_json::from_str::<Value>(&line).unwrap_or_else(|error| panic!("{sdk}: {error}: {line}"))
    };
    let mut answers = client.stdin.take().unwrap();

    let shown = next()["shown"].as_str().unwrap_or_else(|| panic!("{sdk} is shown no address")).to_owned();
    let target = shown.strip_prefix(&format!("http://localhost:{}", sidecar.api.rsplit(':').next().unwrap())).unwrap();
    let page = sidecar.ask(&sidecar.api, "GET", target, "", None);
    assert!(page.status == 200 && page.body.contains("This page approves nothing"), "{sdk}: {}", page.body);
    // Nobody approved, whatever the agent's side says.
    answers.write_all(b"\n").unwrap();
    assert_eq!(next(), json!({ "shown": shown }), "{sdk}");
    assert_eq!(approvals(sidecar, ann, "list", &[]).matches("send_money").count(), 1, "{sdk}: the same call waits");
    approvals(sidecar, ann, "approve", &[target.rsplit('/').next().unwrap(), "--yes"]);
    answers.write_all(b"\n").unwrap();
    assert_eq!(next(), json!({ "failed": false }), "{sdk}");
    drop(answers);
    assert!(client.wait().unwrap().success(), "{sdk}");
    let page = sidecar.ask(&sidecar.api, "GET", target, "", None);
    assert!(page.body.contains("The approval was used"), "{sdk}: {}", page.body);
}

#[test]
fn agents_on_the_official_sdks_show_their_user_an_address_and_get_through_once_a_person_approved() {
    let clients = [
        ("the TypeScript SDK", node("sdk", "@modelcontextprotocol/sdk/package.json"), "held.mjs"),
        ("the Python SDK with sessions", python("mcp1"), "held.py"),
        ("the Python SDK without sessions", python("mcp2"), "held.py"),
    ];
    if !is_there("fastmcp", &python("fastmcp")) {
        return;
    }
    let (_server, url) = fastmcp();
    let imported = countersign(&["import", "mcp", &url, "--upstream", "bank"]);
    let catalogue = String::from_utf8(imported.stdout).unwrap();
    let mut sidecar = Sidecar::approving_before(&url, &catalogue, None);
    let ann = approver(&sidecar);
    for (sdk, file, script) in &clients {
        if is_there(sdk, file) {
            let program = if script.ends_with("mjs") { Path::new("node") } else { file };
            gets_through_once_approved(&sidecar, &ann, sdk, program, script, file.parent().unwrap());
        }
    }
    sidecar.stop();
    let (code, said) = sidecar.verify();
    assert_eq!(code, 0, "{said}");
}

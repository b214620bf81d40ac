//! A first catalogue from a document, and from an MCP server of either protocol era.

use std::fs;

use serde_json::{Value, json};

use crate::{
    peers::{EVERYTHING, everything, fastmcp, is_there, node, python},
    sidecar::{Sidecar, countersign, path},
    stub,
};

fn output(args: &[&str]) -> (i32, String, String) {
    let output = countersign(args);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
}

const SHOP: &str = "openapi: 3.0.0\npaths:\n  /orders/{id}:\n    delete: { operationId: cancelOrder, responses: {} }\n  /find:\n    post: { operationId: findOrders, responses: {} }\n";

#[test]
fn a_document_becomes_a_catalogue_that_check_accepts() {
    let dir = tempfile::tempdir().unwrap();
    let (document, catalogue) = (dir.path().join("shop.yaml"), dir.path().join("shop.toml"));
    fs::write(&document, SHOP).unwrap();
    let import =
        |more: &[&str]| output(&[&["import", "openapi", path(&document), "--upstream", "shop"], more].concat());
    let (code, _, said) = import(&["-o", path(&catalogue), "--reads", "find*"]);
    assert_eq!(code, 0, "{said}");
    let (code, said, _) = output(&["check", "--catalogue", path(&catalogue)]);
    assert_eq!((code, said.contains("good: 2 actions")), (0, true), "{said}");
    let (code, _, said) = import(&["-o", path(&catalogue)]);
    assert!(code == 2 && said.contains("may be marked"), "never written over: {said}");
    assert!(import(&["--reads", "nothing"]).2.contains("no action is called `nothing`"));
    assert_eq!(import(&["--against", path(&catalogue)]).1, "nothing changed\n");
    fs::write(&document, SHOP.replace("delete", "get")).unwrap();
    let (code, changes, _) = import(&["--against", path(&catalogue)]);
    assert_eq!(code, 1);
    assert!(
        changes.contains("+ GET /orders/{id}: not in") && changes.contains("- DELETE /orders/{id}: gone"),
        "{changes}"
    );
}

/// An MCP server with two pages of tools, of the era with sessions (answers as event stream) or of the one without.
fn server(stateless: bool) -> String {
    let address = stub::start(move |asked| {
        let head = asked.head.to_ascii_lowercase();
        let message: Value = serde_json::from_slice(&asked.body).unwrap_or_default();
        let method = message["method"].as_str().unwrap_or_default();
        assert!(head.contains("authorization: bearer t0ken"), "{head}");
        let good = match (stateless, method) {
            (true, _) => {
                head.contains(&format!("mcp-method: {method}")) && head.contains("mcp-protocol-version: 2026-07-28")
            }
            (false, "initialize") => message["params"]["protocolVersion"] == "2025-11-25",
            (false, _) => head.contains("mcp-session-id: s1") && head.contains("mcp-protocol-version: 2025-11-25"),
        };
        let tool = |name: &str| json!({ "name": name, "inputSchema": { "type": "object", "properties": { "x": { "type": "string" } } } });
        let result = match (method, message["params"]["cursor"].as_str()) {
            ("server/discover", _) if stateless => {
                json!({ "supportedVersions": ["2026-07-28"], "capabilities": { "tools": {}, "resources": {} } })
            }
            ("initialize", _) if !stateless => {
                json!({ "protocolVersion": "2025-11-25", "capabilities": { "tools": {} }, "serverInfo": { "name": "two" } })
            }
            ("tools/list", None) => json!({ "tools": [tool("one")], "nextCursor": "p2" }),
            ("tools/list", Some("p2")) => json!({ "tools": [tool("two")] }),
            _ => Value::Null,
        };
        let reply = match good && !result.is_null() {
            true => json!({ "jsonrpc": "2.0", "id": message["id"], "result": result }),
            false => json!({ "jsonrpc": "2.0", "id": message["id"], "error": { "code": -32601, "message": "no" } }),
        };
        let (media, body) = match stateless {
            true => ("application/json", reply.to_string()),
            false => ("text/event-stream", format!("id: 1\r\ndata:\r\n\r\nevent: message\r\ndata: {reply}\r\n\r\n")),
        };
        let session = (method == "initialize").then(|| ("mcp-session-id", "s1".to_owned()));
        let headers = [("content-type", media.to_owned()), ("connection", "close".to_owned())];
        (200, headers.into_iter().chain(session).collect(), body.into_bytes())
    });
    format!("http://{address}/mcp")
}

#[test]
fn an_mcp_server_of_either_era_is_listed_to_the_last_page() {
    let dir = tempfile::tempdir().unwrap();
    let token = dir.path().join("token");
    fs::write(&token, "t0ken\n").unwrap();
    for stateless in [true, false] {
        let url = server(stateless);
        let (code, toml, said) = output(&["import", "mcp", &url, "--upstream", "two", "--token-file", path(&token)]);
        assert_eq!(code, 0, "{said}");
        let version = if stateless { "(2026-07-28)" } else { "(2025-11-25)" };
        assert!(toml.contains(version) && toml.contains("tool = \"one\"") && toml.contains("tool = \"two\""), "{toml}");
    }
    let (code, _, said) = output(&["import", "mcp", "http://127.0.0.1:9/mcp", "--upstream", "two"]);
    assert!(code == 2 && said.contains("is no MCP server that can be asked"), "{said}");
}

#[test]
fn a_catalogue_is_learnt_from_what_was_refused() {
    let sidecar = Sidecar::start();
    let granted = sidecar.instruct("anything", "emma", &["account.balance.read"]);
    let token = granted["token"].as_str().unwrap();
    for card in ["4711", "4712"] {
        let freeze = json!({ "until": "2026-12-31", "limit": 12.5 });
        let answer = sidecar.ask(&sidecar.gateway, "POST", &format!("/cards/{card}/freeze"), token, Some(&freeze));
        assert_eq!(answer.code(), "action-unknown");
    }
    assert_eq!(sidecar.ask(&sidecar.gateway, "GET", "/account/balance", token, None).status, 200);
    let ledger = sidecar.ledger();
    let learn = |more: &[&str]| output(&[&["learn", path(&ledger), "--upstream", "bank"], more].concat());
    let keys = sidecar.keys();
    let (code, toml, said) = learn(&["--keys", path(&keys)]);
    assert_eq!(code, 0, "{said}");
    assert_eq!(said, "1 action, 3 binding arguments, 0 places to LOOK at, 0 not imported\n", "{toml}");
    for part in [
        "path = \"/cards/{card_id}/freeze\"",
        "until = { in = \"body\", type = \"date\", required = true, binds = true }",
        "limit = { in = \"body\", type = \"money\", required = true, binds = true }",
    ] {
        assert!(toml.contains(part), "{part}\n{toml}");
    }
    assert!(learn(&["--keys", path(&keys), "--all"]).1.contains("/account/balance"));
    // In shadow mode it passes, and is learnt from all the same.
    let mut sidecar = sidecar;
    sidecar.stop();
    let config = fs::read_to_string(sidecar.config()).unwrap();
    let shadow = config.replace("catalogue = \"bank.toml\"", "catalogue = \"bank.toml\"\nshadow = true");
    fs::write(sidecar.config(), shadow).unwrap();
    sidecar.serve();
    let answer = sidecar.ask(&sidecar.gateway, "DELETE", "/standing-orders/17", token, None);
    assert_eq!(answer.status, 404, "{}", answer.body);
    let toml = learn(&["--keys", path(&keys)]).1;
    assert!(toml.contains("path = \"/standing-orders/{standing-order_id}\"\neffect = \"irreversible\""), "{toml}");
    assert!(learn(&[]).2.contains("nothing to learn from"), "values stay in the vault");
}

#[test]
fn a_server_without_sessions_is_imported_by_its_own_protocol() {
    if !is_there("import from a server of 2026-07-28", &python("fastmcp")) {
        return;
    }
    let (_peer, url) = fastmcp();
    let (code, toml, said) = output(&["import", "mcp", &url, "--upstream", "bank"]);
    assert_eq!(code, 0, "{said}");
    for part in [
        "(2026-07-28)",
        "amount = { type = \"money\", required = true, binds = true }",
        "memo = { type = \"text\" }",
        "resource = \"bank://{account}/statement\"",
    ] {
        assert!(toml.contains(part), "{part}\n{toml}");
    }
}

#[test]
fn the_reference_server_is_imported_and_accepted_as_it_stands() {
    if !is_there("import from server-everything", &node("everything", EVERYTHING)) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (_peer, url) = everything(dir.path());
    let catalogue = dir.path().join("everything.toml");
    let (code, _, said) = output(&["import", "mcp", &url, "--upstream", "everything", "-o", path(&catalogue)]);
    assert_eq!(code, 0, "{said}");
    let (code, said, _) = output(&["check", "--catalogue", path(&catalogue)]);
    assert_eq!(code, 0, "{said}");
    let text = fs::read_to_string(&catalogue).unwrap();
    for part in ["tool = \"echo\"", "prompt = \"", "resource = \"demo://", "readOnlyHint = true", "(2025-11-25)"] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    let (code, changes, _) =
        output(&["import", "mcp", &url, "--upstream", "everything", "--against", path(&catalogue)]);
    assert_eq!(code, 0, "{changes}");
}

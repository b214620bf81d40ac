//! MCP in a catalogue.

use super::super::*;
use crate::{
    Json,
    request::{Limits, Operation, Request},
};

const TOOLS: &str = r#"
upstream = "bank"
protocol = "mcp"

[[action]]
name = "money.send"
tool = "send_money"
effect = "irreversible"
risk = "high"
[action.arguments]
recipient = { type = "account", required = true, binds = true }
amount = { type = "money", at = "/amount/value", required = true, binds = true }
tags = { type = "text", at = "/tags/*", list = true }

[[action]]
name = "balance"
tool = "get_balance"
effect = "read"

[[action]]
name = "help"
resource = "bank://help"
effect = "read"

[[action]]
name = "statement"
resource = "bank://{account}/statements/{year}"
effect = "read"
[action.arguments]
account = { type = "identifier", required = true, binds = true }
year = { in = "argument", type = "integer" }

[[action]]
name = "file"
resource = "file:///{+path}"
effect = "read"
[action.arguments]
path = { type = "text", binds = true }

[[action]]
name = "summary"
prompt = "summarise"
effect = "read"
[action.arguments]
style = { type = "text" }
"#;

fn call(operation: Operation, name: &str, arguments: &str) -> Result<Request, crate::Refusal> {
    let arguments = (!arguments.is_empty()).then(|| Json::parse(arguments.as_bytes(), 64).unwrap());
    Request::mcp(&Limits::default(), "bank", operation, name, arguments, b"{}")
}

#[test]
fn calls_of_mcp_resolve_to_actions_with_their_arguments() {
    let catalogue = Catalogue::parse(TOOLS).unwrap();
    assert_eq!(catalogue.protocol(), Protocol::Mcp);
    for (operation, name, arguments, expected) in [
        (Operation::Tool, "send_money", r#"{"recipient":"X","amount":{"value":4.0},"tags":["a"]}"#, Ok("money.send")),
        (Operation::Tool, "get_balance", "{}", Ok("balance")),
        (Operation::Tool, "get_balance", "", Ok("balance")),
        (Operation::Tool, "get_balance", "[]", Err("argument-unknown")),
        (Operation::Tool, "get_balance", r#"{"all":true}"#, Err("argument-unknown")),
        (Operation::Tool, "send_money", r#"{"recipient":"X"}"#, Err("argument-missing")),
        (Operation::Tool, "Send_money", "", Err("action-unknown")),
        (Operation::Prompt, "send_money", "", Err("action-unknown")),
        (Operation::Prompt, "summarise", r#"{"style":"short"}"#, Ok("summary")),
        (Operation::Resource, "bank://help", "", Ok("help")),
        (Operation::Resource, "bank://7/statements/2026", "", Ok("statement")),
        (Operation::Resource, "bank://7/statements/all", "", Err("argument-type")),
        (Operation::Resource, "bank://7/statements/", "", Err("action-unknown")),
        (Operation::Resource, "bank://7/8/statements/2026", "", Err("action-unknown")),
        (Operation::Resource, "bank://7/statements/2026?x=1", "", Err("action-unknown")),
        (Operation::Resource, "bank://..%2F8/statements/2026", "", Err("path-encoded-delimiter")),
        (Operation::Resource, "file:///a/my%20bill.txt", "", Ok("file")),
        (Operation::Resource, "file:///a/../b", "", Err("path-dot-segment")),
        (Operation::Resource, "file:///a//b", "", Err("path-empty-segment")),
    ] {
        let request = call(operation, name, arguments).unwrap();
        let resolved = catalogue.resolve(&request);
        let found = resolved.as_ref().map(|resolved| resolved.action.name.as_str()).map_err(|refusal| refusal.code);
        assert_eq!(found, expected, "{name} {arguments}");
    }
    let statement = call(Operation::Resource, "bank://7/statements/2026", "").unwrap();
    let arguments = catalogue.resolve(&statement).unwrap().arguments;
    assert_eq!(arguments.get("account"), Some(&Json::String("7".into())));
    let file = call(Operation::Resource, "file:///a/my%20bill.txt", "").unwrap();
    assert_eq!(catalogue.resolve(&file).unwrap().arguments.get("path"), Some(&Json::String("a/my bill.txt".into())));
}

#[test]
fn a_record_names_the_method_of_mcp() {
    let request = call(Operation::Tool, "send_money", r#"{"recipient":"X"}"#).unwrap();
    let record = serde_json::to_value(&request).unwrap();
    assert_eq!(record["method"], "tools/call");
    assert_eq!(record["target"], "send_money");
    assert_eq!(record["body"]["recipient"], "X");
    assert_eq!(call(Operation::Resource, "bank://help", r#"{"a":1}"#).unwrap_err().code, "argument-unknown");
    assert_eq!(call(Operation::Tool, "a\nb", "").unwrap_err().code, "control-character");
}

#[test]
fn a_resource_that_fits_two_templates_is_refused() {
    let template = |name: &str, uri: &str| {
        format!(
            "[[action]]\nname = \"{name}\"\nresource = \"{uri}\"\neffect = \"read\"\n[action.arguments]\nx = {{ type = \"text\" }}\n"
        )
    };
    let text =
        format!("upstream = \"bank\"\nprotocol = \"mcp\"\n{}{}", template("a", "m://a/{x}"), template("b", "m://{+x}"));
    let catalogue = Catalogue::parse(&text).unwrap();
    let resolve = |uri: &str| {
        let request = call(Operation::Resource, uri, "").unwrap();
        catalogue.resolve(&request).map(|resolved| resolved.action.name.clone()).map_err(|refusal| refusal.code)
    };
    assert_eq!(resolve("m://b/c"), Ok("b".to_owned()));
    assert_eq!(resolve("m://a/c"), Err("resource-ambiguous"));
}

#[test]
fn what_an_mcp_action_cannot_mean_is_refused() {
    let action = |protocol: &str, route: &str, arguments: &str| {
        format!(
            "upstream = \"u\"\n{protocol}\n[[action]]\nname = \"a\"\n{route}\neffect = \"read\"\n[action.arguments]\n{arguments}\n"
        )
    };
    let mcp = "protocol = \"mcp\"";
    for (protocol, route, arguments, part) in [
        ("", "tool = \"t\"", "", "begins with `protocol"),
        (mcp, "method = \"GET\"\npath = \"/a\"", "", "a method and a path"),
        (mcp, "", "", "how is it called?"),
        (mcp, "tool = \"t\"\nprompt = \"p\"", "", "how is it called?"),
        (mcp, "method = \"GET\"", "", "no `path`"),
        (mcp, "tool = \"\"", "", "is empty"),
        (mcp, "tool = \"t\"\nbody = \"opaque\"", "", "no opaque body"),
        (mcp, "tool = \"t\"", "x = { in = \"body\", type = \"text\" }", "no `in`"),
        (mcp, "tool = \"t\"", "x = { at = \"x\", type = \"text\" }", "no pointer"),
        (mcp, "resource = \"a\"", "", "a scheme"),
        (mcp, "resource = \"a://{x}\"", "", "not declared"),
        (mcp, "resource = \"a://{x}b\"", "x = { type = \"text\" }", "where `{x}` ends"),
        (mcp, "resource = \"a://{?x}\"", "x = { type = \"text\" }", "cannot be read back"),
        (mcp, "resource = \"a://{x}/{x}\"", "x = { type = \"text\" }", "twice"),
        (mcp, "resource = \"a://{+x}/b\"", "x = { type = \"text\" }", "ends"),
        (mcp, "resource = \"a://b\"", "x = { type = \"text\" }", "has no `{x}`"),
        ("", "method = \"GET\"\npath = \"/a\"", "x = { type = \"text\" }", "where it stands"),
    ] {
        let error = Catalogue::parse(&action(protocol, route, arguments)).map(|_| ()).unwrap_err();
        assert!(error.message.contains(part) && error.line >= 2, "{route} {arguments}: {error}");
    }
}

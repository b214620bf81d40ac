//! Which action a tool is, and which call is the proposed one.

use std::collections::BTreeMap;

use crate::{
    Json,
    catalogue::Catalogue,
    model::tools::{action, arguments, fits},
};

const HTTP: &str = r#"
upstream = "bank"
[[action]]
name = "transactions.send"
tool = "send_money"
method = "POST"
path = "/accounts/{account}/payments"
effect = "irreversible"
[action.arguments]
account = { in = "path", type = "identifier", required = true }
to = { in = "body", at = "/creditor/iban", type = "account", required = true }
amount = { in = "body", at = "/amount/value", type = "money", required = true }
tags = { in = "body", at = "/tags/*", type = "text", list = true }
[[action]]
name = "files.read"
method = "GET"
path = "/files/{path}"
effect = "read"
[action.arguments]
path = { in = "path", type = "text", required = true }
[[action]]
name = "balance"
method = "GET"
path = "/balance"
effect = "read"
"#;

const MCP: &str = r#"
upstream = "mail"
protocol = "mcp"
[[action]]
name = "mail.send"
tool = "send_email"
effect = "write"
[[action]]
name = "balance"
tool = "balance"
effect = "read"
"#;

fn json(text: &str) -> Json {
    Json::parse_response(text.as_bytes(), 64).unwrap()
}

#[test]
fn a_tool_is_the_action_that_has_its_name_in_one_way_only() {
    let catalogues = [Catalogue::parse(HTTP).unwrap(), Catalogue::parse(MCP).unwrap()];
    for (tool, expected) in [
        ("send_money", Some(("bank", "transactions.send"))),
        ("transactions.send", Some(("bank", "transactions.send"))),
        ("transactions_send", Some(("bank", "transactions.send"))),
        ("transactionsSend", Some(("bank", "transactions.send"))),
        ("bank_transactions_send", Some(("bank", "transactions.send"))),
        ("filesRead", Some(("bank", "files.read"))),
        ("send_email", Some(("mail", "mail.send"))),
        ("mcp__mail__send_email", Some(("mail", "mail.send"))),
        ("mail__send_email", Some(("mail", "mail.send"))),
        // The MCP tool has the name itself; of the other it is only the action's name.
        ("balance", Some(("mail", "balance"))),
        ("Balance", None),
        ("transfer", None),
        ("", None),
    ] {
        let found =
            action(catalogues.iter(), tool).map(|(catalogue, action)| (catalogue.upstream(), action.name.as_str()));
        assert_eq!(found, expected, "{tool}");
    }
    let twice = HTTP.replace("name = \"files.read\"", "name = \"files.read\"\ntool = \"send_money\"");
    assert!(Catalogue::parse(&twice).unwrap_err().message.contains("are the same `tool`"));
}

#[test]
fn arguments_are_found_under_the_catalogues_names_nested_or_renamed() {
    let catalogue = Catalogue::parse(HTTP).unwrap();
    let send = catalogue.action("transactions.send").unwrap();
    let expected: BTreeMap<String, Json> =
        [("account", json("\"7\"")), ("amount", json("50")), ("to", json("\"GB29\""))]
            .map(|(n, v)| (n.to_owned(), v))
            .into();
    for proposed in [
        r#"{"account":"7","to":"GB29","amount":50}"#,
        r#"{"account":"7","creditor":{"iban":"GB29"},"amount":{"value":50}}"#,
        r#"{"path":{"account":"7"},"body":{"creditor":{"iban":"GB29"},"amount":{"value":50},"memo":"x"}}"#,
        r#"{"bank_account":"7","to":"GB29","amount":50,"tags":null}"#,
    ] {
        assert_eq!(arguments(send, &json(proposed)), expected, "{proposed}");
    }
    let read = catalogue.action("files.read").unwrap();
    assert_eq!(arguments(read, &json(r#"{"file_path":"a.txt"}"#))["path"], json("\"a.txt\""));
    assert!(arguments(read, &json(r#"{"file_path":"a.txt","other_path":"b"}"#)).is_empty(), "either could be meant");
    assert!(arguments(send, &json("[1,2]")).is_empty());
}

#[test]
fn a_call_is_the_proposed_one_when_each_argument_is_the_same_value_by_its_type() {
    let catalogue = Catalogue::parse(HTTP).unwrap();
    let send = catalogue.action("transactions.send").unwrap();
    let set = |text: &str| match json(text) {
        Json::Object(members) => members.into_iter().collect::<BTreeMap<_, _>>(),
        _ => panic!("no object"),
    };
    let proposed = set(r#"{"account":"7","to":"GB29 NWBK 6016 1331 9268 19","amount":50,"tags":["a"]}"#);
    for (called, same) in [
        (r#"{"account":"7","to":"GB29NWBK60161331926819","amount":"50.00","tags":["a"]}"#, true),
        (r#"{"account":7,"to":"GB29NWBK60161331926819","amount":50.0,"tags":"a"}"#, true),
        (r#"{"account":"7","to":"GB29NWBK60161331926819","amount":"50.00"}"#, false),
        (r#"{"account":"7","to":"GB29NWBK60161331926819","amount":"500","tags":["a"]}"#, false),
        (r#"{"account":"7","to":"US133000000121212121212","amount":"50","tags":["a"]}"#, false),
        (r#"{"account":"7","to":"GB29NWBK60161331926819","amount":"50","tags":["a","b"]}"#, false),
    ] {
        assert_eq!(fits(send, &proposed, &set(called)), same, "{called}");
    }
    let nothing = BTreeMap::new();
    assert!(fits(send, &nothing, &set(r#"{"tags":null}"#)));
}

use jiff::Timestamp;
use serde_json::{Value, json};

use super::*;

fn grant(value: Value) -> Grant {
    let mut whole = json!({
        "id": "p", "instruction": "i", "agent": "a", "issued": "2026-01-01T00:00:00Z", "expires": "2026-01-02T00:00:00Z", "actions": {}, "max_calls": null,
    });
    whole.as_object_mut().unwrap().extend(value.as_object().unwrap().clone());
    serde_json::from_value(whole).unwrap()
}

fn with(action: Value) -> Grant {
    let mut action = action;
    action["action"] = json!("pay");
    grant(json!({ "actions": { "pay": action } }))
}

fn cut(mut grant: Grant) -> Grant {
    (grant.id, grant.from) = ("c".to_owned(), Some("p".to_owned()));
    grant
}

/// A parent's action, a child's, and where the child is wider; none where it is not.
const CASES: [(&str, &str, Option<&str>); 34] = [
    (r#"{}"#, r#"{}"#, None),
    (r#"{}"#, r#"{"max_calls":3,"view":"v","budget":{"argument":"a","limit":"5"}}"#, None),
    (r#"{"max_calls":3}"#, r#"{"max_calls":3}"#, None),
    (r#"{"max_calls":3}"#, r#"{"max_calls":4}"#, Some("max_calls")),
    (r#"{"max_calls":3}"#, r#"{}"#, Some("max_calls")),
    (r#"{"view":"v"}"#, r#"{"view":"v"}"#, None),
    (r#"{"view":"v"}"#, r#"{}"#, Some("view")),
    (r#"{"view":"v"}"#, r#"{"view":"w"}"#, Some("view")),
    (r#"{"upstream":"x"}"#, r#"{"upstream":"y"}"#, Some("upstream")),
    (r#"{"arguments":{"a":{}}}"#, r#"{}"#, Some("arguments.a")),
    (r#"{"arguments":{"a":{}}}"#, r#"{"arguments":{"a":{"equals":"1"}}}"#, None),
    (r#"{"arguments":{"a":{"equals":"1"}}}"#, r#"{"arguments":{"a":{"one_of":["1"]}}}"#, None),
    (
        r#"{"arguments":{"a":{"equals":"1"}}}"#,
        r#"{"arguments":{"a":{"one_of":["1","2"]}}}"#,
        Some("arguments.a.equals"),
    ),
    (r#"{"arguments":{"a":{"equals":"1"}}}"#, r#"{"arguments":{"a":{"equals":"1.0"}}}"#, Some("arguments.a.equals")),
    (r#"{"arguments":{"a":{"one_of":["1","2"]}}}"#, r#"{"arguments":{"a":{"equals":"2"}}}"#, None),
    (
        r#"{"arguments":{"a":{"one_of":["1","2"]}}}"#,
        r#"{"arguments":{"a":{"one_of":["2","3"]}}}"#,
        Some("arguments.a.one_of"),
    ),
    (
        r#"{"arguments":{"a":{"one_of":["1","2"]}}}"#,
        r#"{"arguments":{"a":{"subset":["1"]}}}"#,
        Some("arguments.a.one_of"),
    ),
    (r#"{"arguments":{"a":{"subset":["1","2"]}}}"#, r#"{"arguments":{"a":{"subset":["1"]}}}"#, None),
    (r#"{"arguments":{"a":{"subset":["1","2"]}}}"#, r#"{"arguments":{"a":{"equals":"1"}}}"#, None),
    (
        r#"{"arguments":{"a":{"subset":["1","2"]}}}"#,
        r#"{"arguments":{"a":{"subset":["1","3"]}}}"#,
        Some("arguments.a.subset"),
    ),
    (r#"{"arguments":{"a":{}}}"#, r#"{"arguments":{"a":{"subset":["1"]}}}"#, Some("arguments.a.subset")),
    (r#"{"arguments":{"a":{"maximum":"10"}}}"#, r#"{"arguments":{"a":{"maximum":"9.99"}}}"#, None),
    (
        r#"{"arguments":{"a":{"maximum":"10"}}}"#,
        r#"{"arguments":{"a":{"maximum":"10.01"}}}"#,
        Some("arguments.a.maximum"),
    ),
    (r#"{"arguments":{"a":{"maximum":"10"}}}"#, r#"{"arguments":{"a":{"equals":"5"}}}"#, Some("arguments.a.maximum")),
    (
        r#"{"arguments":{"a":{"maximum":"10"}}}"#,
        r#"{"arguments":{"a":{"maximum":"ten"}}}"#,
        Some("arguments.a.maximum"),
    ),
    (r#"{"arguments":{"a":{"minimum":"1"}}}"#, r#"{"arguments":{"a":{"minimum":"0"}}}"#, Some("arguments.a.minimum")),
    (r#"{"arguments":{"a":{"prefix":"ab"}}}"#, r#"{"arguments":{"a":{"prefix":"abc"}}}"#, None),
    (r#"{"arguments":{"a":{"prefix":"ab"}}}"#, r#"{"arguments":{"a":{"prefix":"a"}}}"#, Some("arguments.a.prefix")),
    (r#"{"arguments":{"a":{"pattern":"a+"}}}"#, r#"{"arguments":{"a":{"pattern":"a+"}}}"#, None),
    (r#"{"arguments":{"a":{"pattern":"a+"}}}"#, r#"{"arguments":{"a":{"pattern":"aa"}}}"#, Some("arguments.a.pattern")),
    (
        r#"{"budget":{"argument":"a","limit":"5","currency":"GBP"}}"#,
        r#"{"budget":{"argument":"a","limit":"5.00","currency":"gbp"}}"#,
        None,
    ),
    (
        r#"{"budget":{"argument":"a","limit":"5","currency":"GBP"}}"#,
        r#"{"budget":{"argument":"a","limit":"4","currency":"EUR"}}"#,
        Some("budget.currency"),
    ),
    (
        r#"{"budget":{"argument":"a","limit":"5"}}"#,
        r#"{"budget":{"argument":"b","limit":"4"}}"#,
        Some("budget.argument"),
    ),
    (
        r#"{"budget":{"argument":"a","limit":"5"}}"#,
        r#"{"budget":{"argument":"a","limit":"5.01"}}"#,
        Some("budget.limit"),
    ),
];

#[test]
fn each_kind_of_limit_is_compared_with_the_same_kind_of_the_parent() {
    for (parent, child, wider) in CASES {
        let read = |text: &str| with(serde_json::from_str(text).unwrap());
        let at = cut(read(child)).attenuates(&read(parent)).err().map(|wider| wider.at);
        assert_eq!(at, wider.map(|at| format!("actions.pay.{at}")), "{parent} {child}");
    }
}

#[test]
fn the_grant_itself_is_compared_too() {
    let parent = json!({ "max_calls": 3, "not_before": "2026-01-01T06:00:00Z", "key": "k" });
    let good = json!({ "max_calls": 2, "not_before": "2026-01-01T07:00:00Z", "key": "other", "expires": "2026-01-01T20:00:00Z" });
    let parent = grant(parent);
    assert_eq!(cut(grant(good.clone())).attenuates(&parent), Ok(()));
    for (at, value) in [
        ("max_calls", json!(4)),
        ("max_calls", Value::Null),
        ("not_before", json!("2026-01-01T05:00:00Z")),
        ("not_before", Value::Null),
        ("key", Value::Null),
        ("expires", json!("2026-01-02T00:00:00.000001Z")),
        ("actions", json!({ "pay": { "action": "pay" } })),
        ("instruction", json!("other")),
    ] {
        let mut bad = good.clone();
        bad[at] = value;
        let found = cut(grant(bad)).attenuates(&parent).unwrap_err().at;
        let wanted = match at {
            "instruction" => "from",
            "actions" => "actions.pay",
            at => at,
        };
        assert_eq!(found, wanted);
    }
    assert_eq!(grant(good).attenuates(&parent).unwrap_err().at, "from", "it must say what it was cut from");
}

#[test]
fn what_is_left_unsaid_is_taken_over_and_what_is_wider_is_refused() {
    let catalogue = Catalogue::parse(
        r#"upstream = "bank"
[[action]]
name = "pay"
method = "POST"
path = "/pay"
effect = "write"
[action.arguments]
to = { in = "body", type = "account", required = true, binds = true }
amount = { in = "body", type = "money", required = true, currency = "EUR" }
"#,
    )
    .unwrap();
    let scope = |value: Value| serde_json::from_value::<Scope>(value).unwrap();
    let now = Timestamp::UNIX_EPOCH;
    let limited = json!({ "action": "pay", "max_calls": 4, "arguments": { "amount": { "maximum": "10" } }, "budget": { "argument": "amount", "limit": "20" } });
    let whose = |id| For { id, instruction: "i", agent: "helper" };
    let of = scope(json!({ "actions": [limited], "expires_in": 100 }));
    let (parent, withheld) = Grant::close(&of, &whose("p"), now, [&catalogue].into_iter());
    assert_eq!(withheld, []);
    let narrow = |value: Value| parent.narrow(&scope(value), &whose("c"), now, [&catalogue].into_iter());
    let child = narrow(json!({ "actions": ["pay"] })).unwrap();
    assert_eq!((&child.actions, child.expires, child.from.as_deref()), (&parent.actions, parent.expires, Some("p")));
    let child = narrow(json!({ "actions": [{ "action": "pay", "arguments": { "to": { "equals": "ann" } }, "budget": { "argument": "amount", "limit": "3" } }], "expires_in": 9 })).unwrap();
    let pay = &child.actions["pay"];
    assert_eq!(pay.arguments["amount"].maximum.as_deref(), Some("10"));
    assert_eq!(pay.budget.as_ref().unwrap().currency.as_deref(), Some("EUR"));
    assert_eq!(child.expires.as_second(), 9);
    for (asked, at) in [
        (json!({ "actions": [] }), "actions"),
        (json!({ "actions": ["pay", "pay"] }), "actions.pay"),
        (json!({ "actions": ["read"] }), "actions.read"),
        (json!({ "actions": [{ "intent": "pay-a-bill" }] }), "actions.intent:pay-a-bill"),
        (json!({ "actions": [{ "action": "pay", "arguments": { "nothing": {} } }] }), "actions.pay"),
        (
            json!({ "actions": [{ "action": "pay", "arguments": { "amount": { "maximum": "11" } } }] }),
            "actions.pay.arguments.amount.maximum",
        ),
        (json!({ "actions": ["pay"], "expires_in": 101 }), "expires"),
        (json!({ "actions": ["pay"], "not_after": "2030-01-01T00:00:00Z" }), "expires"),
    ] {
        assert_eq!(narrow(asked.clone()).unwrap_err().at, at, "{asked}");
    }
}

use http::{HeaderName, HeaderValue, Uri};
use proptest::prelude::*;

use super::*;
use crate::request::RequestBody;

fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
    let pair = |(name, value): &(&str, &str)| {
        (name.parse::<HeaderName>().unwrap(), HeaderValue::from_bytes(value.as_bytes()).unwrap())
    };
    let json = ("content-type", "application/json");
    let mut headers: HeaderMap = HeaderMap::new();
    for (name, value) in [json].iter().chain(pairs).map(pair) {
        headers.append(name, value);
    }
    headers
}

fn request(method: &str, target: &str, pairs: &[(&str, &str)], body: &[u8]) -> Result<Request, Refusal> {
    let (limits, headers) = (Limits::default(), headers(pairs));
    let body = if body.is_empty() { RequestBody::Empty } else { RequestBody::Json(body) };
    let target: Uri = target.parse().unwrap();
    let http = Request::normalise(&limits, "bank", &method.parse().unwrap(), &target, &headers, body)?;
    read(&limits, &http, &headers)
}

fn post(pairs: &[(&str, &str)], body: &str) -> Result<Request, &'static str> {
    request("POST", "/", pairs, body.as_bytes()).map_err(|refusal| refusal.code)
}

/// A message of 2026-07-28 with these members of `params` beside its `_meta`.
fn stateless(method: &str, params: &str) -> String {
    let meta =
        format!(r#""_meta":{{"{VERSION_META}":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{{}}}}"#);
    format!(r#"{{"jsonrpc":"2.0","id":3,"method":"{method}","params":{{{params}{meta}}}}}"#)
}

const CALL: &str = r#"{"jsonrpc":"2.0","id":"a","method":"tools/call","params":{"name":"send","arguments":{"to":"X"},"_meta":{"progressToken":1}}}"#;

#[test]
fn calls_are_requests_with_their_arguments() {
    let call = post(&[("mcp-protocol-version", "2025-11-25"), ("mcp-session-id", "s")], CALL).unwrap();
    assert_eq!((call.operation(), call.target(), call.verb()), (Operation::Tool, "send", "tools/call"));
    assert_eq!(call.json().unwrap().pointer("/to"), Some(&Json::String("X".into())));
    assert_eq!(call.body_to_forward(), Some(CALL.as_bytes()));
    for (method, params, operation, target) in [
        ("tools/call", r#"{"name":"pay"}"#, Operation::Tool, "pay"),
        ("resources/read", r#"{"uri":"bank://a/1"}"#, Operation::Resource, "bank://a/1"),
        ("prompts/get", r#"{"name":"p","arguments":{"a":"b"}}"#, Operation::Prompt, "p"),
        ("tools/list", r#"{"cursor":"c"}"#, Operation::Plumbing, "tools/list"),
        ("initialize", r#"{"protocolVersion":"2099-01-01"}"#, Operation::Plumbing, "initialize"),
    ] {
        let message = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{params}}}"#);
        let read = post(&[], &message).unwrap();
        assert_eq!((read.operation(), read.target()), (operation, target), "{message}");
    }
    for (message, target) in [
        (r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}"#, "notifications/cancelled"),
        (r#"{"jsonrpc":"2.0","id":1,"result":{}}"#, "result"),
        (r#"{"jsonrpc":"2.0","id":1,"result":{"roots":[{"uri":"file:///a"}]}}"#, "result"),
        (r#"{"jsonrpc":"2.0","id":1,"result":{"action":"decline"}}"#, "result"),
        (r#"{"jsonrpc":"2.0","id":1,"error":{"code":-1,"message":"no"}}"#, "error"),
        // Whether these pass is for the catalogue to say.
        (r#"{"jsonrpc":"2.0","id":1,"result":{"action":"accept","content":{"a":1}}}"#, "answer"),
        (r#"{"jsonrpc":"2.0","id":1,"result":{"role":"assistant","content":[]}}"#, "answer"),
    ] {
        assert_eq!(post(&[], message).unwrap().target(), target);
    }
    for method in ["GET", "DELETE"] {
        assert_eq!(request(method, "/", &[("mcp-session-id", "s")], b"").unwrap().target(), method);
    }
}

#[test]
fn what_can_be_read_in_two_ways_or_not_judged_is_refused_with_its_reason() {
    for (message, code) in [
        ("[]", "jsonrpc-batch"),
        (r#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#, "jsonrpc-batch"),
        ("1", "jsonrpc-invalid"),
        (r#"{"id":1,"method":"ping"}"#, "jsonrpc-invalid"),
        (r#"{"jsonrpc":2.0,"id":1,"method":"ping"}"#, "jsonrpc-invalid"),
        (r#"{"jsonrpc":"1.0","id":1,"method":"ping"}"#, "jsonrpc-invalid"),
        (r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#, "jsonrpc-invalid"),
        (r#"{"jsonrpc":"2.0","id":1.5,"method":"ping"}"#, "jsonrpc-invalid"),
        (r#"{"jsonrpc":"2.0","id":[1],"method":"ping"}"#, "jsonrpc-invalid"),
        (r#"{"jsonrpc":"2.0","id":1,"method":7}"#, "jsonrpc-invalid"),
        (r#"{"jsonrpc":"2.0","id":1}"#, "jsonrpc-invalid"),
        (r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":[]}"#, "jsonrpc-invalid"),
        (r#"{"jsonrpc":"2.0","id":1,"method":"ping","result":{}}"#, "jsonrpc-invalid"),
        (r#"{"jsonrpc":"2.0","id":1,"method":"ping","Method":"tools/call"}"#, "jsonrpc-invalid"),
        (r#"{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/call"}"#, "json-duplicate-member"),
        (r#"{"jsonrpc":"2.0","id":1,"result":{},"error":{}}"#, "jsonrpc-invalid"),
        (r#"{"jsonrpc":"2.0","id":1,"result":7}"#, "jsonrpc-invalid"),
        (r#"{"jsonrpc":"2.0","result":{}}"#, "jsonrpc-invalid"),
        (r#"{"jsonrpc":"2.0","method":"tools/call","params":{"name":"send"}}"#, "mcp-method-unknown"),
        (r#"{"jsonrpc":"2.0","method":"notifications/own"}"#, "mcp-method-unknown"),
        (r#"{"jsonrpc":"2.0","id":1,"method":"notifications/cancelled"}"#, "mcp-method-unknown"),
        (r#"{"jsonrpc":"2.0","id":1,"method":"tasks/result"}"#, "mcp-method-unknown"),
        (r#"{"jsonrpc":"2.0","id":1,"method":"Tools/Call","params":{"name":"send"}}"#, "mcp-method-unknown"),
        (r#"{"jsonrpc":"2.0","id":1,"method":"tools/call"}"#, "jsonrpc-invalid"),
        (r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":["send"]}}"#, "jsonrpc-invalid"),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"send","arguments":[]}}"#,
            "jsonrpc-invalid",
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"send","arguments":null}}"#,
            "jsonrpc-invalid",
        ),
        (r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"send","task":{}}}"#, "argument-unknown"),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"send","_meta":{"to":"Y"}}}"#,
            "argument-unknown",
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{"uri":"a:b","arguments":{}}}"#,
            "argument-unknown",
        ),
        (r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a\u0007"}}"#, "control-character"),
        (r#"{"jsonrpc":"2.0","id":1e0,"method":"ping"}"#, "json-ambiguous-number"),
    ] {
        assert_eq!(post(&[], message).unwrap_err(), code, "{message}");
    }
    assert_eq!(request("POST", "/x", &[], b"{}").unwrap_err().code, "mcp-not-endpoint");
    assert_eq!(request("POST", "/?a=1", &[], b"{}").unwrap_err().code, "mcp-not-endpoint");
    assert_eq!(request("POST", "/", &[], b"").unwrap_err().code, "jsonrpc-not-json");
    assert_eq!(request("PUT", "/", &[], b"{}").unwrap_err().code, "method-refused");
    assert_eq!(request("GET", "/", &[], b"{}").unwrap_err().code, "method-refused");
    assert_eq!(post(&[("mcp-protocol-version", "2024-01-01")], CALL).unwrap_err(), "mcp-version-unknown");
}

#[test]
fn headers_that_differ_from_the_body_are_refused() {
    let (call, list) = (stateless("tools/call", r#""name":"send","#), stateless("tools/list", ""));
    let odd = stateless("tools/call", r#""name":"zahlé","#);
    let version = ("mcp-protocol-version", "2026-07-28");
    let (by_call, by_list) = (("mcp-method", "tools/call"), ("mcp-method", "tools/list"));
    for (pairs, body, good) in [
        (&[version, by_call, ("mcp-name", "send")][..], &call, true),
        (&[version, by_list], &list, true),
        (&[version, by_call, ("mcp-name", "=?base64?emFobMOp?=")], &odd, true),
        (&[version, by_call, ("mcp-name", "=?base64?emFobA==?=")], &odd, false),
        (&[version, by_call], &call, false),
        (&[version, ("mcp-name", "send")], &call, false),
        (&[version, by_call, ("mcp-name", "balance")], &call, false),
        (&[version, by_call, ("mcp-name", "Send")], &call, false),
        (&[version, by_list, ("mcp-name", "send")], &call, false),
        (&[version, by_call, by_list, ("mcp-name", "send")], &call, false),
        (&[version, by_call, ("mcp-name", "send"), ("mcp-name", "send")], &call, false),
        (&[version, by_list, ("mcp-name", "send")], &list, false),
        (&[("mcp-protocol-version", "2025-11-25"), by_call, ("mcp-name", "send")], &call, false),
        (&[by_call, ("mcp-name", "send")], &call, false),
        (&[version, version, by_list], &list, false),
    ] {
        let read = post(pairs, body);
        assert_eq!(read.as_ref().err().copied(), (!good).then_some("mcp-header-mismatch"), "{pairs:?} {body}");
    }
    // In versions that do not ask for them too: a server in front of the server may go by them.
    for pairs in [&[("mcp-method", "tools/list")][..], &[("mcp-name", "balance")]] {
        assert_eq!(post(pairs, CALL).unwrap_err(), "mcp-header-mismatch", "{pairs:?}");
    }
    assert_eq!(post(&[version], CALL).unwrap_err(), "mcp-meta-missing");
}

#[test]
fn only_a_request_has_an_id_to_answer() {
    let id_of = |body: &str| {
        let uri = Uri::from_static("/");
        let body = RequestBody::Json(body.as_bytes());
        let http = Request::normalise(&Limits::default(), "bank", &Method::POST, &uri, &headers(&[]), body).unwrap();
        id(&http).cloned()
    };
    assert_eq!(id_of(CALL), Some(Json::String("a".into())));
    assert_eq!(id_of(r#"{"id":7,"method":"x","stray":1}"#), Some(Json::Number("7".into())));
    for none in [r#"{"id":7,"result":{}}"#, r#"{"id":null,"method":"x"}"#, r#"{"method":"x"}"#, "[]", "7"] {
        assert_eq!(id_of(none), None, "{none}");
    }
}

#[test]
fn a_list_shows_what_the_grant_has() {
    let catalogue = r#"
upstream = "bank"
protocol = "mcp"
[[action]]
name = "money.send"
tool = "send"
effect = "write"
[[action]]
name = "balance"
tool = "balance"
effect = "read"
[[action]]
name = "statement"
resource = "bank://{year}"
effect = "read"
[action.arguments]
year = { type = "integer" }
[[action]]
name = "greet"
prompt = "balance"
effect = "read"
"#;
    let catalogue = Arc::new(Catalogue::parse(catalogue).unwrap());
    let granted = ["balance", "statement"].map(str::to_owned).into();
    let listed = Listed { catalogue, granted };
    let result = r#"{"tools":[{"name":"send"},{"name":"balance","x":1.50},{"name":"other"},{}],"prompts":[{"name":"balance"}],
        "resources":[{"uri":"bank://2026"},{"uri":"bank://all"},{"uri":"file:///a"}],"resourceTemplates":[{"uriTemplate":"bank://{year}"},{"uriTemplate":"x:{y}"}],
        "nextCursor":"c","_meta":{"a":1}}"#;
    let shown = listed.show(&Json::parse_response(result.as_bytes(), 64).unwrap()).to_text();
    assert_eq!(
        shown,
        r#"{"tools":[{"name":"balance","x":1.50}],"prompts":[],"resources":[{"uri":"bank://2026"}],"resourceTemplates":[{"uriTemplate":"bank://{year}"}],"nextCursor":"c","_meta":{"a":1}}"#
    );
}

proptest! {
    #[test]
    fn no_message_panics_and_what_passes_is_sent_as_it_came(body in "[\\[\\]{}\":,a-z0-9./_ ]{0,80}", method in "[a-z/]{0,12}") {
        let message = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"{method}","arguments":{body}}}}}"#);
        for text in [&body, &message] {
            if let Ok(read) = request("POST", "/", &[], text.as_bytes()) {
                prop_assert!(read.body_to_forward().is_none_or(|bytes| bytes == text.as_bytes()));
            }
        }
    }
}

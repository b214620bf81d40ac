use http::HeaderValue;
use proptest::prelude::*;

use super::*;

fn normalise(method: &str, target: &str, headers: &[(&str, &str)], body: Option<&[u8]>) -> Result<Request, Refusal> {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(http::HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap());
    }
    let target: Uri = target.parse().map_err(|_| Refusal::new("not-a-uri", "the HTTP library refuses it"))?;
    let body = body.map_or(RequestBody::Empty, RequestBody::Json);
    Request::normalise(&Limits::default(), "bank", &method.parse().unwrap(), &target, &map, body)
}

#[test]
fn a_request_has_one_spelling() {
    for (target, canonical) in [
        ("/", "/"),
        ("/a/b", "/a/b"),
        ("/a%2Db/%7e", "/a-b/~"),
        ("/files/m%C3%BCller%20x", "/files/m%C3%BCller%20x"),
        ("/t?n=100", "/t?n=100"),
        ("/t?n", "/t?n="),
        ("/t?a=b%26c&d=%2B", "/t?a=b%26c&d=%2B"),
        ("/t?a=b=c", "/t?a=b%3Dc"),
        ("/a:b@c!$'()*,", "/a:b@c%21%24%27%28%29%2A%2C"),
        ("/a%3Ab%40c", "/a:b@c"),
        ("/a/", "/a/"),
        ("/t?q=new+york%2B", "/t?q=new%20york%2B"),
        ("/t?ids[]=1", "/t?ids%5B%5D=1"),
        ("/a?b#c", "/a?b="),
    ] {
        let request = normalise("GET", target, &[], None).unwrap_or_else(|error| panic!("{target}: {error}"));
        assert_eq!(request.target(), canonical, "{target}");
        let again = normalise("GET", request.target(), &[], None).unwrap();
        assert_eq!(again, request, "{target}");
    }
}

const HOSTILE_TARGETS: &[(&str, &str)] = &[
    ("/a//b", "path-empty-segment"),
    ("//a", "path-empty-segment"),
    ("/a//", "path-empty-segment"),
    ("/a/../b", "path-dot-segment"),
    ("/a/./b", "path-dot-segment"),
    ("/a/%2e%2e/b", "path-dot-segment"),
    ("/a/.%2E/b", "path-dot-segment"),
    ("/a%2Fb", "path-encoded-delimiter"),
    ("/a%2fb", "path-encoded-delimiter"),
    ("/a%5Cb", "path-encoded-delimiter"),
    ("/a%252Fb", "path-encoded-delimiter"),
    ("/a%25b", "path-encoded-delimiter"),
    ("/a%3Bb", "path-encoded-delimiter"),
    ("/a;b=c", "path-parameter"),
    ("/a;jsessionid=1/b", "path-parameter"),
    ("/a%00", "control-character"),
    ("/a%0d%0aX:y", "control-character"),
    ("/a%7F", "control-character"),
    ("/a%", "bad-percent-encoding"),
    ("/a%2", "bad-percent-encoding"),
    ("/a%zz", "bad-percent-encoding"),
    ("/a%u002f", "bad-percent-encoding"),
    ("/a%C0%AFb", "not-utf8"),
    ("/a%ff", "not-utf8"),
    ("/a%EF%BF%BD", "control-character"),
    ("/t?a=1&a=2", "query-duplicate"),
    ("/t?a=1&%61=2", "query-duplicate"),
    ("/t?a=1&&b=2", "query-empty-part"),
    ("/t?&a=1", "query-empty-part"),
    ("/t?a=1&", "query-empty-part"),
    ("/t?a=1;b=2", "query-ambiguous"),
    ("/t?a=1&a[]=2&a%5B%5D=3", "query-duplicate"),
    ("/t?=1", "query-empty-part"),
    ("/t?a+b=1&a%20b=2", "query-duplicate"),
    ("/a./b", "path-trimmed"),
    ("/a%20/b", "path-trimmed"),
    ("/...", "path-trimmed"),
    ("/%2e%2e%2fetc", "path-encoded-delimiter"),
    ("/..%2f", "path-encoded-delimiter"),
    ("/%2e", "path-dot-segment"),
    ("/a/%2e%2e", "path-dot-segment"),
    ("/a/..", "path-dot-segment"),
    ("/a/%2e%2e/", "path-dot-segment"),
    ("/a%25%32%66b", "path-encoded-delimiter"),
    ("/a%c0%2e%c0%2e", "not-utf8"),
    ("/a%e2%80", "not-utf8"),
    ("/a%ed%a0%80", "not-utf8"),
    ("/a%f5%80%80%80", "not-utf8"),
    ("/a%09b", "control-character"),
    ("/a%c2%85b", "control-character"),
    ("/a%1fb", "control-character"),
    ("/t?a=%0d%0aSet-Cookie:x", "control-character"),
    ("/t?a=%c0%80", "not-utf8"),
    ("/t?a%00=1", "control-character"),
    ("/t?%", "bad-percent-encoding"),
    ("/t?a=%u0041", "bad-percent-encoding"),
    ("ftp://bank/a", "target-absolute"),
    ("bank:443", "target-absolute"),
    ("http://good@evil.example/a", "target-absolute"),
    ("/t?a=%00", "control-character"),
    ("/t?a=%0A", "control-character"),
    ("/t?a=%f", "bad-percent-encoding"),
    ("/t?a=%fe", "not-utf8"),
    ("http://other.example/a", "target-absolute"),
    ("https://other.example/a", "target-absolute"),
    ("*", "target-absolute"),
    ("/\u{e9}", "not-ascii"),
];

#[test]
fn hostile_targets_are_refused_with_their_reason() {
    for (target, code) in HOSTILE_TARGETS {
        let refusal = normalise("GET", target, &[], None).map(|request| request.target().to_owned()).unwrap_err();
        let accepted = [*code, "not-a-uri"];
        assert!(accepted.contains(&refusal.code), "{target}: {} ({})", refusal.code, refusal.message);
    }
    let long = format!("/{}", "a".repeat(9000));
    assert_eq!(normalise("GET", &long, &[], None).unwrap_err().code, "target-too-long");
}

#[test]
fn hostile_methods_and_headers_are_refused_with_their_reason() {
    for (method, headers, code) in [
        ("TRACE", &[][..], "method-refused"),
        ("CONNECT", &[], "method-refused"),
        ("GET", &[("X-HTTP-Method-Override", "DELETE")], "override-header"),
        ("POST", &[("X-HTTP-Method", "PUT")], "override-header"),
        ("POST", &[("X-Method-Override", "PUT")], "override-header"),
        ("GET", &[("X-Original-URL", "/admin")], "override-header"),
        ("GET", &[("X-Rewrite-URL", "/admin")], "override-header"),
        ("POST", &[("X_HTTP_Method_Override", "PUT")], "override-header"),
        ("POST", &[("x-http_method-override", "PUT")], "override-header"),
        ("GET", &[("X-Original-Uri", "/admin")], "override-header"),
        ("GET", &[("X-Original-Host", "evil")], "override-header"),
        ("GET", &[("X-Forwarded-Uri", "/admin")], "override-header"),
        ("GET", &[("X-Host", "evil")], "override-header"),
        ("PUT", &[("Content-Range", "bytes 0-1/9")], "content-range"),
        ("POST", &[("Content-Encoding", "identity"), ("Content-Encoding", "gzip")], "content-encoding"),
        ("POST", &[("Content-Encoding", "")], "content-encoding"),
        ("POST", &[("Content-Encoding", "x-gzip")], "content-encoding"),
        ("POST", &[("Content-Length", "1"), ("Content-Length", "2")], "content-length"),
        ("POST", &[("Content-Length", "2, 2")], "content-length"),
        ("POST", &[("Content-Length", "+2")], "content-length"),
        ("POST", &[("Content-Length", "0x2")], "content-length"),
        ("POST", &[("Content-Length", "")], "content-length"),
        ("POST", &[("Transfer-Encoding", "chunked"), ("Content-Length", "2")], "framing"),
        ("POST", &[("Transfer-Encoding", "gzip, chunked")], "transfer-encoding"),
        ("POST", &[("Transfer-Encoding", "xchunked")], "transfer-encoding"),
        ("POST", &[("Transfer-Encoding", "chunked"), ("Transfer-Encoding", "chunked")], "transfer-encoding"),
        ("POST", &[("Transfer-Encoding", "identity")], "transfer-encoding"),
        ("POST", &[("Content-Type", "application/json, text/plain")], "content-type-twice"),
        ("POST", &[("Content-Type", "text/plain")], "content-type-not-json"),
        ("POST", &[("Content-Type", "multipart/form-data; boundary=x")], "content-type-not-json"),
        ("POST", &[("Content-Type", "application/x-www-form-urlencoded")], "content-type-not-json"),
        ("POST", &[("Content-Type", "application/json; charset=utf-8; charset=utf-7")], "charset"),
        ("POST", &[("Content-Type", "application/json; charset=")], "charset"),
        ("POST", &[("Content-Type", "application/json; charset=utf-32")], "charset"),
        ("GET", &[("Upgrade", "websocket")], "upgrade"),
        ("GET", &[("Upgrade", "h2c")], "upgrade"),
        ("POST", &[("Content-Encoding", "gzip")], "content-encoding"),
        ("POST", &[("Content-Encoding", "br")], "content-encoding"),
        ("POST", &[("Content-Encoding", "identity, gzip")], "content-encoding"),
        ("POST", &[("Content-Type", "application/json"), ("Content-Type", "text/plain")], "content-type-twice"),
        ("POST", &[("Content-Type", "application/json; charset=utf-16")], "charset"),
        ("POST", &[("Content-Type", "application/json; charset=latin1")], "charset"),
    ] {
        assert_eq!(normalise(method, "/a", headers, Some(b"{}")).unwrap_err().code, code, "{method} {headers:?}");
    }
    assert!(normalise("POST", "/a", &[("Content-Type", "application/json; charset=\"UTF-8\"")], Some(b"{}")).is_ok());
}

const HOSTILE_BODIES: &[(&[u8], &str)] = &[
    (b"{\"a\":1,\"a\":2}", "json-duplicate-member"),
    (b"{\"a\":1,\"\\u0061\":2}", "json-duplicate-member"),
    (b"{\"x\":{\"a\":1,\"a\":2}}", "json-duplicate-member"),
    (b"[{\"a\":1,\"a\":1}]", "json-duplicate-member"),
    (b"{\"a\":1}{\"a\":2}", "json-malformed"),
    (b"{\"a\":1} x", "json-malformed"),
    (b"{\"a\":1", "json-malformed"),
    (b"{\"a\":01}", "json-malformed"),
    (b"{\"a\":+1}", "json-malformed"),
    (b"{\"a\":.5}", "json-malformed"),
    (b"{\"a\":1.}", "json-malformed"),
    (b"{\"a\":0x10}", "json-malformed"),
    (b"{\"a\":NaN}", "json-malformed"),
    (b"{\"a\":Infinity}", "json-malformed"),
    (b"{a:1}", "json-malformed"),
    (b"{'a':1}", "json-malformed"),
    (b"{\"a\":1,}", "json-malformed"),
    (b"[1,]", "json-malformed"),
    (b"// c\n{}", "json-malformed"),
    (b"{\"a\":\"\n\"}", "json-malformed"),
    (b"{\"a\":\"\\x\"}", "json-malformed"),
    (b"\xEF\xBB\xBF{}", "json-byte-order-mark"),
    (b"{\"a\":\"\xff\"}", "json-not-utf8"),
    (b"{\"a\":\"\xC0\xAF\"}", "json-not-utf8"),
    (b"{\"a\":\"\xED\xA0\x80\"}", "json-not-utf8"),
    (b"{\"a\":\"\\u0000\"}", "json-broken-text"),
    (b"{\"a\":\"\\ufffd\"}", "json-broken-text"),
    (b"{\"a\":{\"b\":1},\"a\":{\"b\":2}}", "json-duplicate-member"),
    (b"{\"a\":1,\"A\":1,\"\\u0041\":2}", "json-duplicate-member"),
    (b"{\"\":1,\"\":2}", "json-duplicate-member"),
    (b" ", "json-malformed"),
    (b"nul", "json-malformed"),
    (b"True", "json-malformed"),
    (b"undefined", "json-malformed"),
    (b"{\"a\":1;\"b\":2}", "json-malformed"),
    (b"{\"a\" 1}", "json-malformed"),
    (b"{\"a\":1 \"b\":2}", "json-malformed"),
    (b"{,}", "json-malformed"),
    (b"[1 2]", "json-malformed"),
    (b"[1]]", "json-malformed"),
    (b"{\"a\":1}\0", "json-malformed"),
    (b"\"a", "json-malformed"),
    (b"{\"a\":\"\t\"}", "json-malformed"),
    (b"{\"a\":\"\x01\"}", "json-malformed"),
    (b"{\"a\":\"\\u12\"}", "json-malformed"),
    (b"{\"a\":\"\\U0041\"}", "json-malformed"),
    (b"{\"a\":00}", "json-malformed"),
    (b"{\"a\":-}", "json-malformed"),
    (b"{\"a\":--1}", "json-malformed"),
    (b"{\"a\":1e}", "json-malformed"),
    (b"{\"a\":1_000}", "json-malformed"),
    (b"/* */{}", "json-malformed"),
    (b"{}//x", "json-malformed"),
    (b"\x1e{}", "json-malformed"),
    (b"\xFE\xFF\0{\0}", "json-not-utf8"),
    (b"{\0}\0", "json-malformed"),
    (b"{\"a\":\"\xF4\x90\x80\x80\"}", "json-not-utf8"),
    (b"{\"a\xff\":1}", "json-not-utf8"),
    (b"{\"a\\u0000b\":1}", "json-broken-text"),
    (b"{\"\\u0000\":1}", "json-broken-text"),
    (b"{\"a\":1.0e0}", "json-ambiguous-number"),
    (b"{\"a\":1E400}", "json-ambiguous-number"),
    (b"{\"a\":-1e-400}", "json-ambiguous-number"),
    (b"{\"a\":9007199254740992}", "json-ambiguous-number"),
    (b"{\"a\":18446744073709551616}", "json-ambiguous-number"),
    (b"{\"a\":0.00000000000000000001}", "json-ambiguous-number"),
    (b"{\"a\":1e400}", "json-ambiguous-number"),
    (b"{\"a\":1e3}", "json-ambiguous-number"),
    (b"{\"a\":1E-7}", "json-ambiguous-number"),
    (b"{\"a\":-0}", "json-ambiguous-number"),
    (b"{\"a\":-0.0}", "json-ambiguous-number"),
    (b"{\"a\":9007199254740993}", "json-ambiguous-number"),
    (b"{\"a\":-9007199254740993}", "json-ambiguous-number"),
    (b"{\"a\":123456789012345678901234567890}", "json-ambiguous-number"),
    (b"{\"a\":0.1000000000000000055}", "json-ambiguous-number"),
    (b"{\"a\":12345678901234.567}", "json-ambiguous-number"),
];

#[test]
fn hostile_bodies_are_refused_with_their_reason() {
    let deep = [b"[".repeat(80), b"]".repeat(80)].concat();
    assert_eq!(normalise("POST", "/a", &[], Some(&deep)).unwrap_err().code, "json-too-deep");
    for (body, code) in HOSTILE_BODIES {
        let refusal = normalise("POST", "/a", &[("Content-Type", "application/json")], Some(body)).unwrap_err();
        assert_eq!(refusal.code, *code, "{}: {}", String::from_utf8_lossy(body), refusal.message);
    }
    for half in [&b"{\"a\":\"\\ud800\"}"[..], b"{\"a\":\"\\udc00\\ud800\"}"] {
        assert!(normalise("POST", "/a", &[], Some(half)).is_err());
    }
    let large = [b"\"".as_slice(), &b"a".repeat(1 << 20), b"\""].concat();
    assert_eq!(normalise("POST", "/a", &[], Some(&large)).unwrap_err().code, "body-too-large");
}

#[test]
fn headers_hold_arguments_only_when_they_have_one_text() {
    let request =
        normalise("GET", "/a", &[("X-One", "1"), ("X-Two", "1"), ("X-Two", "2"), ("Authorization", "Bearer s")], None)
            .unwrap();
    assert_eq!(request.header("x-ONE").unwrap(), Some("1"));
    assert_eq!(request.header("x-none").unwrap(), None);
    assert_eq!(request.header("x-two").unwrap_err().code, "header-ambiguous");
    assert_eq!(request.header("authorization").unwrap(), None, "credentials are not kept");
    assert!(!format!("{request:?}").contains("Bearer"));
}

#[test]
fn a_record_of_a_request_has_no_floating_point_number() {
    let body = br#"{"a":4.50,"b":9007199254740991,"c":[1,-2.5],"d":"x"}"#;
    let request = normalise("POST", "/a?b", &[], Some(body)).unwrap();
    let record = serde_json::to_value(&request).unwrap();
    assert_eq!(record["body"], serde_json::json!({"a":"4.50","b":9007199254740991_i64,"c":[1,"-2.5"],"d":"x"}));
    assert_eq!(request.body_to_forward(), Some(&body[..]));
}

#[test]
fn answers_of_apis_are_read_with_more_patience() {
    for (body, at, text) in [
        (&b"{\"id\":123456789012345678901}"[..], "/id", "123456789012345678901"),
        (b"\xEF\xBB\xBF{\"id\":1e3}", "/id", "1e3"),
        (b"{\"id\":\"\\u0000x\"}", "/id", "\0x"),
    ] {
        assert_eq!(Json::parse_response(body, 64).unwrap().pointer(at).unwrap().as_text().as_deref(), Some(text));
    }
    assert_eq!(Json::parse_response(b"{\"a\":1,\"a\":2}", 64).unwrap_err().code, "json-duplicate-member");
    assert!(Json::parse_response(b"<html>", 64).is_err());
}

proptest! {
    #[test]
    fn no_bytes_panic_in_an_answer(body in proptest::collection::vec(any::<u8>(), 0..80)) {
        let _ = Json::parse_response(&body, 8);
    }

    #[test]
    fn equal_values_have_one_canonical_text(text in "[\\[\\]{}\",:0-9a-c ]{0,60}") {
        if let Ok(json) = Json::parse(text.as_bytes(), 64) {
            prop_assert_eq!(Json::parse(json.canonical().as_bytes(), 64).unwrap().canonical(), json.canonical());
        }
    }

    #[test]
    fn no_target_or_body_panics_and_what_passes_is_a_fixed_point(
        path in "/[ -~]{0,40}", body in proptest::collection::vec(any::<u8>(), 0..80),
    ) {
        if let Ok(request) = normalise("POST", &path, &[], Some(&body)) {
            let forwarded = match request.body() { Body::Json(_, bytes) => bytes.clone(), _ => Vec::new() };
            prop_assert_eq!(normalise("POST", request.target(), &[], Some(&forwarded)).unwrap(), request);
        }
    }

    #[test]
    fn what_is_read_is_what_a_stock_reader_reads(text in "[\\[\\]{}\",:0-9a-z .\\\\-]{0,60}") {
        if let Ok(json) = Json::parse(text.as_bytes(), 64) {
            let stock: serde_json::Value = serde_json::from_str(&text).unwrap();
            let mut ours = Vec::new();
            json.scalars(&mut String::new(), &mut |at, value| ours.push((at.to_owned(), value.clone())));
            for (at, value) in ours {
                let stock = stock.pointer(&at).unwrap();
                let same = match &value {
                    Json::Number(text) => text.parse::<f64>().ok() == stock.as_f64(),
                    Json::String(text) => stock.as_str() == Some(text),
                    Json::Bool(value) => stock.as_bool() == Some(*value),
                    Json::Null => stock.is_null(),
                    _ => true,
                };
                prop_assert!(same, "{} at {}", text, at);
            }
        }
    }
}

mod corpus;

use http::HeaderValue;
use proptest::prelude::*;

use self::corpus::{HOSTILE_BODIES, HOSTILE_HEADERS, HOSTILE_TARGETS};
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
    for (method, headers, code) in HOSTILE_HEADERS {
        assert_eq!(normalise(method, "/a", headers, Some(b"{}")).unwrap_err().code, *code, "{method} {headers:?}");
    }
    assert!(normalise("POST", "/a", &[("Content-Type", "application/json; charset=\"UTF-8\"")], Some(b"{}")).is_ok());
}

#[test]
fn a_body_that_was_cut_short_is_told_so_and_no_other() {
    let read = |body: &str| Json::parse(body.as_bytes(), 4).unwrap_err();
    let whole = r#"{"amount": -5.25, "to": ["ab", null, true, {}], "é": "\u00e9\n"}"#;
    for (end, _) in whole.char_indices() {
        let (cut, _) = whole.split_at(end);
        let refusal = read(cut);
        assert_eq!(refusal.code, "json-malformed", "{cut}");
        assert!(refusal.message.contains("cut short"), "{cut}: {}", refusal.message);
    }
    for body in ["{'a': 1}", "[1,] ", "{\"a\" 1}", "[01] ", "{\"a\": x}"] {
        let message = read(body).message;
        assert!(message.contains("line 1") && !message.contains("cut short"), "{body}: {message}");
    }
}

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

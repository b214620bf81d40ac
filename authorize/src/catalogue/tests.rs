use http::{HeaderMap, Method};

use super::*;
use crate::{
    Json,
    request::{Limits, Request, RequestBody},
};

const BANK: &str = include_str!("../../../deploy/catalogues/bank.toml");

fn request(method: Method, target: &str, body: &str) -> Request {
    let body = if body.is_empty() { RequestBody::Empty } else { RequestBody::Json(body.as_bytes()) };
    Request::normalise(&Limits::default(), "bank", &method, &target.parse().unwrap(), &HeaderMap::new(), body).unwrap()
}

#[test]
fn requests_resolve_to_actions_with_their_arguments() {
    let bank = Catalogue::parse(BANK).unwrap();
    assert_eq!(bank.warnings(), [""; 0]);
    let list = request(Method::GET, "/transactions?n=100", "");
    assert_eq!(bank.resolve(&list).unwrap().action.name, "transactions.list");
    let pay =
        request(Method::POST, "/transactions", r#"{"recipient":"X","amount":4.0,"subject":"s","date":"2022-04-01"}"#);
    let resolved = bank.resolve(&pay).unwrap();
    assert_eq!(resolved.action.name, "transactions.send");
    assert_eq!(resolved.arguments.get("amount"), Some(&Json::Number("4.0".into())));
    let update = request(Method::PATCH, "/scheduled-transactions/7", r#"{"amount":1200}"#);
    assert_eq!(bank.resolve(&update).unwrap().arguments.get("id"), Some(&Json::String("7".into())));
}

#[test]
fn the_world_is_closed() {
    let bank = Catalogue::parse(BANK).unwrap();
    for (method, target, body, code) in [
        (Method::DELETE, "/transactions", "", "action-unknown"),
        (Method::GET, "/admin", "", "action-unknown"),
        (Method::HEAD, "/transactions", "", "action-unknown"),
        (Method::GET, "/transactions?n=1&all=1", "", "argument-unknown"),
        (Method::GET, "/transactions?n=many", "", "argument-type"),
        (
            Method::POST,
            "/transactions",
            r#"{"recipient":"X","amount":4,"subject":"s","date":"2022-04-01","from":"Y"}"#,
            "argument-unknown",
        ),
        (Method::POST, "/transactions", r#"{"recipient":"X","amount":4,"subject":"s"}"#, "argument-missing"),
        (
            Method::POST,
            "/transactions",
            r#"{"recipient":"X","amount":"4 EUR","subject":"s","date":"2022-04-01"}"#,
            "argument-type",
        ),
        (
            Method::POST,
            "/transactions",
            r#"{"recipient":{"a":1},"amount":4,"subject":"s","date":"2022-04-01"}"#,
            "argument-type",
        ),
        (Method::POST, "/transactions", "[1]", "argument-unknown"),
        (Method::POST, "/transactions", "", "argument-missing"),
        (Method::GET, "/account/balance", r#"{"x":1}"#, "argument-unknown"),
    ] {
        let refusal = bank
            .resolve(&request(method.clone(), target, body))
            .map(|resolved| resolved.action.name.clone())
            .unwrap_err();
        assert_eq!(refusal.code, code, "{method} {target} {body}: {}", refusal.message);
    }
}

#[test]
fn a_bad_catalogue_is_refused_with_line_and_column() {
    let action = "[[action]]\nname = \"a\"\nmethod = \"GET\"\npath = \"/a\"\neffect = \"read\"\n";
    for (text, line, part) in [
        ("upstream = 1".to_owned(), 1, "expected a string"),
        (format!("upstream = \"u\"\n{action}effekt = 1\n"), 7, "unknown field"),
        (format!("upstream = \"u\"\n{action}{action}"), 7, "is there twice"),
        (format!("upstream = \"u\"\n{}", action.replace("/a", "a")), 2, "does not begin with `/`"),
        (format!("upstream = \"u\"\n{}", action.replace("/a", "/{x}")), 2, "`{x}` of the path is not declared"),
        (format!("upstream = \"u\"\n{}", action.replace("read", "reed")), 6, "unknown variant"),
        (format!("upstream = \"u\"\n{action}{}", action.replace("\"a\"", "\"b\"")), 7, "same method and path"),
        (
            format!(
                "upstream = \"u\"\n{action}[action.arguments.x]\nin = \"query\"\ntype = \"text\"\nfrom = [\"moon\"]\n"
            ),
            2,
            "`moon` is unknown",
        ),
    ] {
        let error = Catalogue::parse(&text).map(|catalogue| catalogue.actions.len()).unwrap_err();
        assert_eq!(error.line, line, "{text}\n{error}");
        assert!(error.message.contains(part), "{text}\n{error}");
    }
}

proptest::proptest! {
    #[test]
    fn no_text_panics(text in "[a-z\\[\\]\"={}/.\n ]{0,200}") {
        let _ = Catalogue::parse(&text);
    }
}

mod mcp;

use http::{HeaderMap, Method};

use super::*;
use crate::{
    Json,
    request::{Limits, Request, RequestBody},
};

const BANK: &str = include_str!("../../../deploy/catalogues/bank.toml");

fn warnings(catalogue: &Catalogue) -> Vec<String> {
    let warnings = catalogue.lints().into_iter().filter(|lint| lint.level == Level::Warning);
    warnings.map(|lint| lint.message).collect()
}

fn request(method: Method, target: &str, body: &str) -> Request {
    let body = if body.is_empty() { RequestBody::Empty } else { RequestBody::Json(body.as_bytes()) };
    Request::normalise(&Limits::default(), "bank", &method, &target.parse().unwrap(), &HeaderMap::new(), body).unwrap()
}

#[test]
fn requests_resolve_to_actions_with_their_arguments() {
    let bank = Catalogue::parse(BANK).unwrap();
    assert_eq!(warnings(&bank), [""; 0]);
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
            7,
            "`moon` is unknown",
        ),
    ] {
        let error = Catalogue::parse(&text).map(|catalogue| catalogue.actions.len()).unwrap_err();
        assert_eq!(error.line, line, "{text}\n{error}");
        assert!(error.message.contains(part), "{text}\n{error}");
    }
}

const REFERENCE: &str = include_str!("../../../docs/catalogue.md");

#[test]
fn the_reference_has_an_example_that_can_be_read() {
    let example = REFERENCE.split("```toml").nth(1).unwrap().split("```").next().unwrap();
    let list = "[[action]]\nname = \"transactions.list\"\nmethod = \"GET\"\npath = \"/t\"\neffect = \"read\"\n[action.response.first_party]\n\"/transactions/*/sender\" = \"account\"\n";
    let catalogue = Catalogue::parse(&format!("{example}{list}")).unwrap();
    assert_eq!(warnings(&catalogue), [""; 0]);
    let mcp = REFERENCE.split("```toml").nth(2).unwrap().split("```").next().unwrap();
    assert_eq!(Catalogue::parse(mcp).unwrap().protocol(), Protocol::Mcp);
    let intent = REFERENCE.split("```toml").nth(3).unwrap().split("```").next().unwrap();
    let (without, _) = BANK.split_once("[[intent]]").unwrap();
    assert_eq!(Catalogue::parse(&format!("{without}{intent}")).unwrap().intents().len(), 1);
    let scope = REFERENCE.split("```json").nth(1).unwrap().split("```").next().unwrap();
    serde_json::from_str::<grant::Scope>(scope).unwrap();
}

#[test]
fn the_reference_names_every_code() {
    let sources = [
        include_str!("../json.rs"),
        include_str!("../request.rs"),
        include_str!("../request/headers.rs"),
        include_str!("../request/target.rs"),
        include_str!("../verdict.rs"),
        include_str!("resolve.rs"),
        include_str!("routes.rs"),
    ];
    let codes = regex::Regex::new(r#"(?:Refusal::new|deny)\(\s*"([a-z0-9-]+)"|"(value-[a-z-]+)""#).unwrap();
    let mut known = 0;
    for source in sources {
        for found in codes.captures_iter(source) {
            let code = found.get(1).or(found.get(2)).unwrap().as_str();
            assert!(REFERENCE.contains(&format!("`{code}`")), "{code}");
            known += 1;
        }
    }
    assert!(known > 40, "{known}");
}

#[test]
fn paths_have_one_owner() {
    let action = |name: &str, method: &str, path: &str| {
        let arguments = if path.contains("{id}") {
            "[action.arguments]\nid = { in = \"path\", type = \"identifier\" }\n"
        } else {
            ""
        };
        format!(
            "[[action]]\nname = \"{name}\"\nmethod = \"{method}\"\npath = \"{path}\"\neffect = \"read\"\n{arguments}"
        )
    };
    let text = [
        "upstream = \"bank\"\n".to_owned(),
        action("me", "GET", "/users/me"),
        action("one", "GET", "/users/{id}"),
        action("posts", "GET", "/users/{id}/posts"),
        action("slash", "GET", "/users/"),
        action("remove", "DELETE", "/users/{id}"),
        action("verb", "POST", "/users:batch"),
        action("root", "GET", "/"),
    ];
    let catalogue = Catalogue::parse(&text.concat()).unwrap();
    for (method, target, expected) in [
        (Method::GET, "/users/me", Some("me")),
        (Method::GET, "/users/7", Some("one")),
        (Method::GET, "/users/me/posts", Some("posts")),
        (Method::DELETE, "/users/me", Some("remove")),
        (Method::GET, "/users/", Some("slash")),
        (Method::GET, "/", Some("root")),
        (Method::POST, "/users:batch", Some("verb")),
        (Method::POST, "/users%3Abatch", Some("verb")),
        // A router that does not mind case would take the literal.
        (Method::GET, "/users/ME", None),
        (Method::GET, "/Users/7", None),
        (Method::GET, "/users", None),
        (Method::GET, "/users/7/", None),
        (Method::GET, "/users/7/posts/", None),
    ] {
        let request = request(method.clone(), target, "");
        let found = catalogue.resolve(&request).ok().map(|resolved| resolved.action.name.clone());
        assert_eq!(found.as_deref(), expected, "{method} {target}");
    }
}

const CLOSED: &str = r#"
upstream = "bank"
[[action]]
name = "strict"
method = "POST"
path = "/strict"
effect = "write"
[action.arguments]
a = { in = "body", at = "/x/a", type = "integer", binds = true }
items = { in = "body", at = "/items/*/id", type = "identifier", list = true }
tag = { in = "header", at = "x-tag", type = "identifier" }
[[action]]
name = "open"
method = "POST"
path = "/open"
effect = "read"
extra = "allow"
[action.arguments]
a = { in = "body", type = "integer" }
q = { in = "query", type = "text" }
[[action]]
name = "upload"
method = "PUT"
path = "/upload"
effect = "write"
body = "opaque"
"#;

#[test]
fn nothing_undeclared_hides_in_a_body() {
    let catalogue = Catalogue::parse(CLOSED).unwrap();
    for (target, body, code) in [
        ("/strict", r#"{"x":{"a":1}}"#, None),
        ("/strict", r#"{"x":{}}"#, None),
        ("/strict", "{}", None),
        ("/strict", r#"{"items":[{"id":"1"},{"id":2}]}"#, None),
        ("/strict", r#"{"items":[]}"#, None),
        ("/strict", r#"{"items":[{"id":"1","n":2}]}"#, Some("argument-unknown")),
        ("/strict", r#"{"items":[{"id":{"a":1}}]}"#, Some("argument-type")),
        ("/strict", r#"{"items":[{"id":null}]}"#, Some("argument-type")),
        ("/strict", r#"{"items":5}"#, Some("argument-unknown")),
        ("/strict", r#"{"x":{"a":1},"y":{}}"#, Some("argument-unknown")),
        ("/strict", r#"{"x":{"a":1},"y":[]}"#, Some("argument-unknown")),
        ("/strict", r#"{"x":{"a":1,"b":[[]]}}"#, Some("argument-unknown")),
        ("/strict", r#"{"x":1}"#, Some("argument-unknown")),
        ("/strict", r#"{"x":{"a":[1]}}"#, Some("argument-type")),
        ("/strict", r#"{"x":{"a":1.5}}"#, Some("argument-type")),
        ("/strict", r#"{"x":{"a":"+1"}}"#, Some("argument-type")),
        ("/strict", r#"{"x":{"a":"01"}}"#, Some("argument-type")),
        ("/strict", "[]", Some("argument-unknown")),
        ("/strict", "1", Some("argument-unknown")),
        ("/strict", "null", Some("argument-unknown")),
        ("/open?q=x&z=1", r#"{"a":1,"b":{"c":[]}}"#, None),
        ("/open?Q=x", "", Some("argument-unknown")),
        ("/open?q[]=x", "", Some("argument-unknown")),
        ("/open?_method=DELETE", "", Some("argument-unknown")),
        ("/open", r#"{"A":1}"#, Some("argument-unknown")),
        ("/open", r#"{"_method":"DELETE"}"#, Some("argument-unknown")),
    ] {
        let resolved = catalogue.resolve(&request(Method::POST, target, body));
        let found = resolved.map(|resolved| resolved.action.name.clone()).map_err(|refusal| refusal.code);
        assert_eq!(found.clone().err(), code, "{target} {body}: {found:?}");
    }
}

#[test]
fn a_body_that_nobody_reads_passes_only_where_the_catalogue_says_so() {
    let catalogue = Catalogue::parse(CLOSED).unwrap();
    let put = |target: &str, method| {
        let target = target.parse().unwrap();
        Request::normalise(&Limits::default(), "bank", &method, &target, &HeaderMap::new(), RequestBody::Opaque)
            .unwrap()
    };
    assert!(catalogue.resolve(&put("/upload", Method::PUT)).is_ok());
    assert_eq!(catalogue.resolve(&put("/strict", Method::POST)).unwrap_err().code, "body-not-json");
    let bank = Catalogue::parse(BANK).unwrap();
    assert_eq!(bank.resolve(&put("/account/balance", Method::GET)).unwrap_err().code, "argument-unknown");
}

#[test]
fn a_repeated_header_holds_no_argument() {
    let catalogue = Catalogue::parse(CLOSED).unwrap();
    let mut headers = HeaderMap::new();
    let resolve = |headers: &HeaderMap| {
        let target = "/strict".parse().unwrap();
        let request =
            Request::normalise(&Limits::default(), "bank", &Method::POST, &target, headers, RequestBody::Empty);
        catalogue
            .resolve(&request.unwrap())
            .map(|resolved| resolved.arguments.get("tag").cloned())
            .map_err(|refusal| refusal.code)
    };
    assert_eq!(resolve(&headers), Ok(None));
    headers.append("x-tag", "1".parse().unwrap());
    assert_eq!(resolve(&headers), Ok(Some(Json::String("1".into()))));
    headers.append("x-tag", "2".parse().unwrap());
    assert_eq!(resolve(&headers), Err("header-ambiguous"));
}

#[test]
fn what_deserves_a_look_is_said_with_its_place() {
    let text = r#"upstream = "u"
[[action]]
name = "one"
method = "GET"
path = "/users/{id}"
effect = "read"
[action.arguments]
id = { in = "path", type = "identifier" }
token = { in = "query", type = "identifier", from = ["host"] }
[action.response.first_party]
"/iban" = "account"
[[action]]
name = "me"
method = "GET"
path = "/users/me"
effect = "write"
extra = "allow"
[[action]]
name = "pay"
method = "DELETE"
path = "/pay"
effect = "irreversible"
risk = "low"
body = "opaque"
[action.arguments]
to = { in = "query", type = "email", binds = true, from = ["response:one", "response:one#/iban"] }
sum = { in = "query", type = "money", binds = true, from = [] }
now = { in = "query", type = "boolean", binds = true }
memo = { in = "query", type = "text" }
[[action]]
name = "looks"
method = "PUT"
path = "/looks"
effect = "read"
"#;
    let lints: Vec<String> = Catalogue::parse(text).unwrap().lints().iter().map(Lint::to_string).collect();
    let expected = [
        "line 2, column 1: `one` overlaps with `me`: a request that fits both is `me`",
        "line 9, column 9: `one`, argument `token`: by its name it is a secret; add `sensitive = true`",
        "line 9, column 9: `one`, argument `token`: it does not bind, so its `from` counts for nothing",
        "line 12, column 1: `me` changes something, but none of its arguments binds",
        "line 12, column 1: `me` changes something by `GET`, which agents and proxies may repeat",
        "line 12, column 1: `me` changes something and lets undeclared arguments pass unjudged",
        "line 12, column 1: `me` changes something and has no `risk`; say `low`, `medium` or `high`",
        "line 18, column 1: `pay` has an opaque body: no approval can cover it, so what would be held is denied",
        "line 18, column 1: `pay` cannot be undone, and is said to be of low risk",
        "line 18, column 1: `pay`: what `memo` says is not judged, for it does not bind",
        "line 26, column 6: `pay`, argument `to`: `response:one` is never its source, for no first-party field there is of type `email`",
        "line 26, column 6: `pay`, argument `to`: `response:one#/iban` is never its source, for no first-party field there is of type `email`",
        "line 27, column 7: `pay`, argument `sum`: no source is allowed, so every call waits for a human",
        "line 28, column 7: `pay`, argument `now`: a boolean is never found in words, so every call waits for a human",
        "line 30, column 1: `looks` is said to read, by `PUT`",
    ];
    assert_eq!(lints, expected);
}

#[test]
fn what_an_action_cannot_mean_is_refused() {
    let action = |path: &str, arguments: &str| {
        format!(
            "upstream = \"u\"\n[[action]]\nname = \"a\"\nmethod = \"GET\"\npath = \"{path}\"\neffect = \"read\"\n[action.arguments]\n{arguments}\n"
        )
    };
    for (path, arguments, part) in [
        ("/a//b", "", "empty segment"),
        ("/a/../b", "", "can be in no request"),
        ("/a?b=1", "", "can be in no request"),
        ("/a%20b", "", "can be in no request"),
        ("/{x}:go", "", "an argument in part"),
        ("/{x}/{x}", "x = { in = \"path\", type = \"text\" }", "twice"),
        ("/a", "x = { in = \"path\", type = \"text\" }", "has no `{x}`"),
        ("/a", "x = { in = \"header\", at = \"x y\", type = \"text\" }", "no header's name"),
        ("/a", "x = { in = \"header\", at = \"Cookie\", type = \"text\" }", "credentials"),
        ("/a", "x = { in = \"body\", at = \"x\", type = \"text\" }", "no pointer"),
        ("/a", "x = { in = \"body\", at = \"/x/*\", type = \"text\" }", "list = true"),
        ("/a", "x = { in = \"query\", type = \"text\", list = true }", "only a body"),
        ("/a", "x = { in = \"query\", type = \"text\", currency = \"GBP\" }", "no money"),
        ("/a", "x = { in = \"query\", type = \"money\", currency = \"{y}\" }", "no argument of this action"),
        ("/a", "x = { in = \"query\", type = \"text\", from = [\"response:b\"] }", "not in this catalogue"),
        (
            "/a",
            "x = { in = \"query\", type = \"text\", from = [\"response:a#/z\"] }",
            "does not declare as first-party",
        ),
        ("/a", "x = { in = \"moon\", type = \"text\" }", "unknown variant"),
    ] {
        let error = Catalogue::parse(&action(path, arguments)).map(|_| ()).unwrap_err();
        assert!(error.message.contains(part) && error.line >= 2, "{path} {arguments}: {error}");
    }
}

proptest::proptest! {
    #[test]
    fn no_text_panics(text in "[a-z\\[\\]\"={}/.\n ]{0,200}") {
        let _ = Catalogue::parse(&text);
    }
}

//! The OpenAPI document is true: every route is in it, and nothing else.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::sidecar::Sidecar;

#[test]
fn the_document_served_lists_exactly_the_routes() {
    let sidecar = Sidecar::start();
    let document = sidecar.ask(&sidecar.api, "GET", "/openapi.json", "", None).json();
    let source = include_str!("../../proxy/src/api.rs")
        .replace("directory::WELL_KNOWN", "\"/.well-known/http-message-signatures-directory\"");
    let routes: BTreeSet<(String, String)> = source
        .lines()
        .filter_map(|line| line.trim().strip_prefix(".route(\"")?.split_once("\", "))
        .flat_map(|(path, rest)| {
            let methods = ["get", "post", "put", "patch", "delete"].into_iter();
            let named = methods.filter(|method| rest.split(|c: char| !c.is_alphanumeric()).any(|word| word == *method));
            named.map(|method| (path.to_owned(), method.to_owned())).collect::<Vec<_>>()
        })
        .collect();
    let paths = document["paths"].as_object().unwrap();
    let listed: BTreeSet<(String, String)> = paths
        .iter()
        .flat_map(|(path, methods)| {
            methods.as_object().unwrap().keys().map(move |method| (path.clone(), method.clone()))
        })
        .collect();
    assert!(routes.len() > 15);
    assert_eq!(listed, routes);
}

#[test]
fn every_endpoint_refuses_without_its_credential_and_names_what_it_requires() {
    let sidecar = Sidecar::start();
    let document = sidecar.ask(&sidecar.api, "GET", "/openapi.json", "", None).json();
    let granted = sidecar.instruct("What is my balance?", "emma", &["account.balance.read"]);
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let target =
                path.replace("{seq}", "0").replace("{old}", "1").replace("{size}", "2").replace(['{', '}'], "");
            let method = method.to_uppercase();
            let security = operation["security"].as_array().unwrap();
            let names = |role: &str| security.iter().any(|one| one.get(role).is_some());
            let open = security.is_empty();
            let answer = sidecar.ask(&sidecar.api, &method, &target, "nobody", None);
            assert_eq!(answer.status, if open { 200 } else { 401 }, "{method} {path}: {}", answer.body);
            match path.as_str() {
                // RFC 6749 has a form of its own for what goes wrong.
                "/v1/token" => assert_eq!(answer.json()["error"], "invalid_client", "{}", answer.body),
                _ if !open => problem(&answer.json()),
                _ => {}
            }
            for role in ["host", "operator", "investigator", "approver"] {
                let mine = names(role);
                let answer = sidecar.ask(&sidecar.api, &method, &target, sidecar.secret(role), None);
                assert_eq!(
                    answer.status == 401 || answer.status == 403,
                    !open && !mine,
                    "{role} {method} {path}: {}",
                    answer.body
                );
            }
            let agent = names("agent");
            let answer = sidecar.ask(&sidecar.api, &method, &target, granted["token"].as_str().unwrap(), None);
            assert_eq!(answer.status == 401, !open && !agent, "agent {method} {path}: {}", answer.body);
        }
    }
    let (required, have) = (&document["components"]["schemas"]["Granted"]["required"], &granted);
    assert!(required.as_array().unwrap().iter().all(|name| have.get(name.as_str().unwrap()).is_some()), "{granted}");
}

fn problem(body: &Value) {
    for member in ["type", "title", "status", "detail"] {
        assert!(body.get(member).is_some(), "{body}");
    }
}

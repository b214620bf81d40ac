//! An agent on the same loopback, with a good token for one small grant, tries every way to get or widen a grant.

use data_encoding::BASE64URL_NOPAD as B64;
use serde_json::{Value, json};

use crate::sidecar::{Sidecar, raw};

fn part(token: &str, index: usize) -> Value {
    serde_json::from_slice(&B64.decode(token.split('.').nth(index).unwrap().as_bytes()).unwrap()).unwrap()
}

fn forged(token: &str, header: Value, claims: impl FnOnce(&mut Value), signature: &str) -> String {
    let mut payload = part(token, 1);
    claims(&mut payload);
    format!("{}.{}.{signature}", B64.encode(header.to_string().as_bytes()), B64.encode(payload.to_string().as_bytes()))
}

#[test]
fn in_no_way_it_tries() {
    let mut sidecar = Sidecar::start();
    let granted = sidecar.instruct("What is my balance?", "emma", &["account.balance.read"]);
    let other = sidecar.instruct("Pay Ann 5", "bob", &["transactions.send"]);
    let (token, other_token) = (granted["token"].as_str().unwrap(), other["token"].as_str().unwrap());
    let (api, gateway) = (sidecar.api.clone(), sidecar.gateway.clone());
    let pay = json!({ "recipient": "Ann", "amount": 5, "subject": "s", "date": "2022-01-01" });
    let wider = json!({ "words": "Pay Ann 5", "principal": "emma", "agent": "assistant", "scope": { "actions": ["transactions.send"] } });
    let statement = json!({ "unsigned": { "action": "transactions.send", "arguments": {}, "scope": { "actions": ["transactions.send"] } } });
    let good = sidecar.ask(&gateway, "GET", "/account/balance", token, None);
    assert_eq!(good.status, 200, "the token itself is good: {}", good.body);
    let size =
        || sidecar.ask(&api, "GET", "/v1/checkpoint", "", None).body.lines().nth(1).unwrap().parse::<u64>().unwrap();
    let signature = token.rsplit('.').next().unwrap();
    let header = part(token, 0);
    let jwk_as_secret = json!({ "alg": "HS256", "typ": "at+jwt" });
    // Through the API, with its own token.
    for (method, target, body) in [
        ("POST", "/v1/instructions", &wider),
        ("POST", "/v1/parties", &json!({ "party": "assistant", "role": "approver" })),
        ("POST", "/v1/keys", &json!({ "party": "assistant", "jwk": {} })),
        ("POST", "/v1/revocations", &json!({ "what": "everything", "reason": "x" })),
        ("POST", "/v1/holds", &json!({ "event": "placed", "subject": "x", "reason": "x" })),
        ("POST", "/v1/erasures", &json!({ "subject": "x", "reason": "x", "statements": [] })),
        ("POST", "/v1/approvals/x", &json!({ "statement": "x" })),
        ("GET", "/v1/approvals", &Value::Null),
        ("GET", "/v1/entries/0", &Value::Null),
        ("GET", "/v1/instructions/x", &Value::Null),
    ] {
        let answer = sidecar.ask(&api, method, target, token, Some(body).filter(|body| !body.is_null()));
        assert_eq!(answer.status, 401, "{method} {target}: {}", answer.body);
    }
    // Path and method tricks on the API.
    for target in [
        "//v1/instructions",
        "/v1//instructions",
        "/v1/%69nstructions",
        "/v1/./instructions",
        "/v1/instructions/",
        "/V1/instructions",
        "/v1/calls/../instructions",
        "/v1/instructions%00",
    ] {
        let answer = sidecar.ask(&api, "POST", target, token, Some(&wider));
        assert!([400, 401, 404, 405].contains(&answer.status), "{target}: {} {}", answer.status, answer.body);
    }
    for (name, value) in [
        ("x-http-method-override", "POST"),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-original-url", "/v1/instructions"),
        ("x-countersign-role", "host"),
        ("host", "localhost"),
    ] {
        let request = format!(
            "POST /v1/instructions HTTP/1.1\r\nhost: {api}\r\n{name}: {value}\r\nauthorization: Bearer {token}\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{{}}"
        );
        let answer = raw(&api, &request);
        assert!([400, 401].contains(&answer.status), "{name}: {}", answer.status);
    }
    // Two credentials at once, or none.
    let host = sidecar.secret("host").to_owned();
    let twice = raw(
        &api,
        &format!(
            "POST /v1/instructions HTTP/1.1\r\nhost: {api}\r\nauthorization: Bearer {token}\r\nauthorization: Bearer {host}\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{{}}"
        ),
    );
    assert_eq!(twice.status, 401);
    // The API's endpoints through the gateway's listener.
    for target in ["/v1/instructions", "/v1/approvals/x", "/openapi.json", "/readyz"] {
        let answer = sidecar.ask(&gateway, "POST", target, token, Some(&wider));
        assert_eq!((answer.status, answer.code().as_str()), (403, "action-unknown"), "{target}: {}", answer.body);
    }
    // Forged tokens.
    let forgeries = [
        forged(token, json!({ "alg": "none", "typ": "at+jwt" }), |_| (), ""),
        forged(token, json!({ "alg": "None", "typ": "at+jwt" }), |_| (), "AA"),
        forged(token, jwk_as_secret, |_| (), signature),
        forged(token, header.clone(), |claims| claims["jti"] = other["grant"].clone(), signature),
        forged(token, header.clone(), |claims| claims["instruction"] = other["instruction"].clone(), signature),
        forged(token, header.clone(), |claims| claims["exp"] = json!(4_000_000_000_i64), signature),
        forged(
            token,
            header.clone(),
            |claims| claims["authorization_details"][0]["actions"] = json!(["transactions.send"]),
            signature,
        ),
        forged(token, header, |claims| claims["aud"] = json!("x"), signature),
        format!("{token}.{signature}"),
        token.replace('.', ".."),
        String::new(),
        host.clone(),
        sidecar.secret("approver").to_owned(),
    ];
    for forgery in &forgeries {
        let answer = sidecar.ask(&gateway, "POST", "/transactions", forgery, Some(&pay));
        assert_eq!(answer.status, 401, "{forgery}: {}", answer.body);
    }
    // Its own statements carry no scope, and change nothing.
    assert_eq!(
        sidecar.ask(&api, "POST", "/v1/decisions", token, Some(&statement)).status,
        201,
        "unknown members of a decision do not count"
    );
    let pays = sidecar.ask(&gateway, "POST", "/transactions", token, Some(&pay));
    assert_eq!((pays.status, pays.code().as_str()), (403, "action-not-granted"));
    // Another grant's token is good for that grant only, and for nothing of this one.
    let reads = sidecar.ask(&gateway, "GET", "/account/balance", other_token, None);
    assert_eq!((reads.status, reads.code().as_str()), (403, "action-not-granted"));
    // Withdrawn by the host: gone at once.
    let revoke = json!({ "what": "instruction", "id": granted["instruction"], "reason": "over" });
    assert_eq!(sidecar.ask(&api, "POST", "/v1/revocations", &host, Some(&revoke)).status, 201);
    assert_eq!(sidecar.ask(&gateway, "GET", "/account/balance", token, None).status, 403);
    assert!(size() > 10);
    sidecar.stop();
    let (code, text) = sidecar.verify();
    assert_eq!(code, 0, "{text}");
    let grants = (0..)
        .map_while(|seq: u64| {
            let (code, text) = sidecar.tool(&["show", sidecar.ledger().to_str().unwrap(), &seq.to_string(), "--json"]);
            (code == 0).then_some(text)
        })
        .filter(|text| text.contains("\"kind\":\"grant\""))
        .count();
    assert_eq!(grants, 2, "no grant but the host's two");
}

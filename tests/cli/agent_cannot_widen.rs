//! An agent on the same loopback, with a good token for one small grant, tries every way to get or widen a grant.

use data_encoding::BASE64URL_NOPAD as B64;
use serde_json::{Value, json};

use crate::sidecar::{Answer, Sidecar, raw};

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

/// A token exchange as the agent would ask for it; what comes back, token or error.
fn exchange(sidecar: &Sidecar, token: &str, pairs: &[(&str, &str)]) -> Answer {
    let mut form = vec![
        ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
        ("subject_token_type", "urn:ietf:params:oauth:token-type:access_token"),
        ("subject_token", token),
        ("actor", "helper"),
    ];
    form.retain(|(name, _)| !pairs.iter().any(|(other, _)| other == name));
    form.extend(pairs);
    let encode = |text: &str| -> String {
        let byte =
            |byte: u8| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") };
        text.bytes().map(byte).collect()
    };
    let body = form.iter().map(|(name, value)| format!("{name}={}", encode(value))).collect::<Vec<_>>().join("&");
    let api = &sidecar.api;
    raw(
        api,
        &format!(
            "POST /v1/token HTTP/1.1\r\nhost: {api}\r\ncontent-type: application/x-www-form-urlencoded\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        ),
    )
}

fn details(scope: &Value) -> String {
    let mut scope = scope.clone();
    scope["type"] = json!("countersign_grant");
    json!([scope]).to_string()
}

#[test]
fn nor_by_handing_it_on() {
    let mut sidecar = Sidecar::start();
    let scope = json!({ "expires_in": 600, "max_calls": 5, "actions": ["account.balance.read",
        { "action": "transactions.send", "max_calls": 2, "arguments": { "recipient": { "one_of": ["Ann", "Bob"] }, "amount": { "maximum": "50" } },
          "budget": { "argument": "amount", "limit": "60" } }] });
    let words = json!({ "words": "Pay Ann 50, Bob 10 and Ann 1 for s on 2022-01-01", "principal": "emma", "agent": "assistant", "scope": scope });
    let instruct = |body: &Value| {
        let answer = sidecar.ask(&sidecar.api, "POST", "/v1/instructions", sidecar.secret("host"), Some(body));
        assert_eq!(answer.status, 201, "{}", answer.body);
        answer.json()
    };
    let granted = instruct(&words);
    let other = sidecar.instruct("What is my balance?", "bob", &["account.balance.read"]);
    let (token, other_token) = (granted["token"].as_str().unwrap(), other["token"].as_str().unwrap());
    let send = |more: Value| {
        let mut action = json!({ "action": "transactions.send" });
        action.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({ "actions": [action] })
    };
    // More than it has, on every dimension.
    let wider = [
        json!({ "actions": ["transactions.list"] }),
        json!({ "actions": ["transactions.send"], "max_calls": 6 }),
        json!({ "actions": ["transactions.send"], "expires_in": 601 }),
        json!({ "actions": ["transactions.send"], "not_after": "2099-01-01T00:00:00Z" }),
        json!({ "actions": ["transactions.send"], "key": "x" }),
        send(json!({ "max_calls": 3 })),
        send(json!({ "arguments": { "recipient": { "equals": "Eve" } } })),
        send(json!({ "arguments": { "recipient": { "one_of": ["Ann", "Eve"] } } })),
        send(json!({ "arguments": { "amount": { "maximum": "50.01" } } })),
        send(json!({ "budget": { "argument": "amount", "limit": "60.01" } })),
        send(json!({ "budget": { "argument": "date", "limit": "1" } })),
        send(json!({ "budget": { "argument": "amount", "limit": "60", "currency": "USD" } })),
        send(json!({ "upstream": "other" })),
        send(json!({ "view": "everything" })),
        json!({ "actions": ["transactions.send"], "from": other["grant"] }),
        json!({ "actions": ["transactions.send"], "identifier": other["grant"] }),
    ];
    for scope in &wider {
        let answer = exchange(&sidecar, token, &[("authorization_details", &details(scope))]);
        assert_eq!(
            (answer.status, answer.json()["error"].as_str()),
            (400, Some("invalid_authorization_details")),
            "{scope}: {}",
            answer.body
        );
    }
    // With what is not its own: the host's secret, another role's, a forged or changed token, another instruction's for these actions.
    let signature = token.rsplit('.').next().unwrap();
    let act = json!({ "sub": "assistant", "act": { "sub": "the-host" } });
    let mut bad = ["host", "operator", "approver", "investigator"].map(|role| sidecar.secret(role).to_owned()).to_vec();
    bad.extend([
        forged(token, part(token, 0), |claims| claims["act"] = act.clone(), signature),
        forged(token, part(token, 0), |claims| claims["jti"] = other["grant"].clone(), signature),
        forged(token, part(token, 0), |claims| claims["sub"] = json!("the-host"), signature),
        forged(token, json!({ "alg": "none", "typ": "at+jwt" }), |claims| claims["act"] = act.clone(), ""),
        String::new(),
    ]);
    let pay = details(&json!({ "actions": ["transactions.send"] }));
    for token in &bad {
        let answer = exchange(&sidecar, token, &[("authorization_details", &pay)]);
        assert_eq!(
            (answer.status, answer.json()["error"].as_str()),
            (400, Some("invalid_request")),
            "{token}: {}",
            answer.body
        );
    }
    let answer = exchange(&sidecar, other_token, &[("authorization_details", &pay)]);
    assert_eq!(
        answer.json()["error"],
        "invalid_authorization_details",
        "another's token hands on what that one has, and no more"
    );
    for more in [
        ("act", r#"{"sub":"the-host"}"#),
        ("sub", "the-host"),
        ("jti", "x"),
        ("instruction", "x"),
        ("client_id", "the-host"),
    ] {
        let answer = exchange(
            &sidecar,
            token,
            &[
                ("authorization_details", &details(&json!({ "actions": ["account.balance.read"], "max_calls": 1 }))),
                more,
            ],
        );
        let claims = part(answer.json()["access_token"].as_str().unwrap(), 1);
        assert_eq!(
            (&claims["sub"], &claims["act"]),
            (&json!("assistant"), &json!({ "sub": "helper" })),
            "{more:?} changes nothing"
        );
    }
    // As narrow as it is: the limits are shared, whoever spends and however often it is handed on.
    let hand_on = |token: &str| {
        let answer = exchange(&sidecar, token, &[("authorization_details", &pay)]);
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.json()
    };
    let handed = [hand_on(token), hand_on(token), hand_on(token)];
    let deeper = hand_on(handed[0]["access_token"].as_str().unwrap());
    let tokens: Vec<&str> = handed.iter().chain([&deeper]).map(|one| one["access_token"].as_str().unwrap()).collect();
    let send = |token: &str, recipient: &str, amount: &str| {
        let body = json!({ "recipient": recipient, "amount": amount, "subject": "s", "date": "2022-01-01" });
        let answer = sidecar.ask(&sidecar.gateway, "POST", "/transactions", token, Some(&body));
        (answer.status, if answer.status == 403 { answer.code() } else { String::new() })
    };
    assert_eq!(send(tokens[3], "Ann", "50").0, 201);
    assert_eq!(send(tokens[1], "Bob", "11"), (403, "budget-exhausted".to_owned()));
    assert_eq!(send(tokens[1], "Eve", "1"), (403, "argument-outside-grant".to_owned()));
    assert_eq!(send(tokens[2], "Bob", "10").0, 201);
    assert_eq!(send(tokens[0], "Ann", "1"), (403, "action-calls-exhausted".to_owned()));
    assert_eq!(send(token, "Ann", "1"), (403, "action-calls-exhausted".to_owned()));
    // After it was withdrawn nothing is handed on, and what was handed on is gone.
    let revoke = json!({ "what": "instruction", "id": granted["instruction"], "reason": "over" });
    assert_eq!(sidecar.ask(&sidecar.api, "POST", "/v1/revocations", sidecar.secret("host"), Some(&revoke)).status, 201);
    for token in tokens.iter().chain([&token]) {
        let answer = exchange(&sidecar, token, &[("authorization_details", &pay)]);
        assert_eq!((answer.status, answer.json()["error"].as_str()), (400, Some("invalid_request")), "{}", answer.body);
        assert_eq!(sidecar.ask(&sidecar.gateway, "GET", "/account/balance", token, None).status, 403);
    }
    sidecar.stop();
    let (code, text) = sidecar.verify();
    assert_eq!(code, 0, "{text}");
}

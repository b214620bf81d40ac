//! Tokens that are bound to a key, with proofs made by a JOSE library that is not ours.

use countersign_ledger::{Kind, possession::of_token, statement::Jwk};
use http::Request;
use jsonwebtoken::{
    Algorithm, EncodingKey, Header, encode,
    jwk::{AlgorithmParameters, CommonParameters, EllipticCurve, EllipticCurveKeyParameters, EllipticCurveKeyType},
};
use serde_json::{Value, json};

use super::world::{Answer, Api, OPERATOR, World, scope, upstream, whole};

/// An agent's P-256 key.
pub struct Key {
    pair: rcgen::KeyPair,
    pub jwk: Jwk,
}

impl Key {
    pub fn new() -> Key {
        let pair = rcgen::KeyPair::generate().unwrap();
        let point = pair.public_key_raw().to_vec();
        let encode = |bytes: &[u8]| data_encoding::BASE64URL_NOPAD.encode(bytes);
        let (x, y) = (encode(&point[1..33]), encode(&point[33..]));
        let jwk = Jwk { kty: "EC".into(), crv: "P-256".into(), x, y: Some(y) };
        Key { pair, jwk }
    }

    pub fn proof(&self, claims: &Value) -> String {
        let key = EncodingKey::from_ec_der(&self.pair.serialize_der());
        let parameters = EllipticCurveKeyParameters {
            key_type: EllipticCurveKeyType::EC,
            curve: EllipticCurve::P256,
            x: self.jwk.x.clone(),
            y: self.jwk.y.clone().unwrap(),
        };
        let jwk = jsonwebtoken::jwk::Jwk {
            common: CommonParameters::default(),
            algorithm: AlgorithmParameters::EllipticCurve(parameters),
        };
        let header = Header { typ: Some("dpop+jwt".into()), jwk: Some(jwk), ..Header::new(Algorithm::ES256) };
        encode(&header, claims, &key).unwrap()
    }
}

/// A world whose agent has a key that its grant is bound to.
async fn bound(tune: impl FnOnce(&mut crate::Settings)) -> (World, Api, Key) {
    let api = Api::start(|_| http::Response::new(whole("done"))).await;
    let mut world = World::with(upstream(&format!("http://{}", api.address)), tune, scope()).await;
    let key = Key::new();
    let body = json!({ "party": "agent-1", "jwk": key.jwk });
    assert_eq!(world.ask("POST", "/v1/keys", OPERATOR, &body).await.status, 201);
    let mut scope = scope();
    scope["key"] = key.jwk.thumbprint().into();
    (world.instruction, world.token) = world.instruct(scope).await;
    (world, api, key)
}

/// What a proof for `GET /x` says.
fn claims(world: &World) -> Value {
    json!({
        "jti": uuid::Uuid::new_v4().to_string(),
        "htm": "GET",
        "htu": format!("http://{}/x", world.address),
        "iat": world.gateway.now().as_second(),
        "ath": of_token(&world.token),
    })
}

async fn get(world: &World, scheme: &str, proofs: &[&str]) -> Answer {
    let mut request = Request::get(format!("http://{}/x?q=1", world.address))
        .header("authorization", format!("{scheme} {}", world.token));
    for proof in proofs {
        request = request.header("dpop", *proof);
    }
    world.send_as(request.body(whole("")).unwrap()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stolen_token_is_useless_and_a_proof_is_good_once() {
    let (world, api, key) = bound(|_| {}).await;
    let challenge = |answer: &Answer| answer.headers["www-authenticate"].to_str().unwrap().to_owned();

    // All that a thief has.
    for scheme in ["Bearer", "DPoP"] {
        let answer = get(&world, scheme, &[]).await;
        assert_eq!((answer.status, answer.code().as_str()), (401, "proof-missing"), "{scheme}");
        assert_eq!(challenge(&answer), "DPoP error=\"invalid_dpop_proof\", algs=\"EdDSA ES256\"");
    }
    let thief = Key::new();
    let answer = get(&world, "DPoP", &[&thief.proof(&claims(&world))]).await;
    assert_eq!((answer.status, answer.code().as_str()), (401, "proof-invalid"));

    // The key's holder, for another request or at another time.
    let now = world.gateway.now().as_second();
    let elsewhere = format!("http://{}/y", world.address);
    for (name, value) in [
        ("htm", json!("POST")),
        ("htu", json!(elsewhere)),
        ("htu", json!(format!("https://{}/x", world.address))),
        ("htu", json!("http://127.0.0.1:1/x")),
        ("iat", json!(now - 3600)),
        ("iat", json!(now + 3600)),
        ("ath", json!(of_token("another"))),
        ("ath", Value::Null),
    ] {
        let mut claims = claims(&world);
        claims[name] = value.clone();
        let answer = get(&world, "DPoP", &[&key.proof(&claims)]).await;
        assert_eq!((answer.status, answer.code().as_str()), (401, "proof-invalid"), "{name}: {value}");
    }
    let proofs = [key.proof(&claims(&world)), key.proof(&claims(&world))];
    let both: Vec<&str> = proofs.iter().map(String::as_str).collect();
    assert_eq!(get(&world, "DPoP", &both).await.code(), "proof-invalid", "two could be read in two ways");
    assert_eq!(api.calls(), 0);

    // A good one, and the same once more.
    let proof = key.proof(&claims(&world));
    let answer = get(&world, "DPoP", &[&proof]).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(!api.last().headers.contains_key("dpop"), "the API never sees it");
    let again = get(&world, "DPoP", &[&proof]).await;
    assert_eq!((again.status, again.code().as_str()), (401, "proof-replayed"));
    assert_eq!(api.calls(), 1);

    let (seq, call) = world.entries(&Kind::Call).pop().unwrap();
    assert_eq!((call.text("credential"), call.text("kid")), (Some("dpop"), Some(key.jwk.thumbprint().as_str())));
    assert_eq!(world.gateway.value(seq, "proof").unwrap(), Some(json!(proof)), "the vault keeps it");
    let htu = format!("http://{}/x", world.address);
    let of = json!({ "htm": "GET", "htu": htu, "ath": of_token(&world.token) });
    assert_eq!(world.gateway.value(seq, "possession").unwrap(), Some(of), "and what it had to be for");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_can_ask_for_a_nonce_and_for_nothing_but_bound_tokens() {
    let (world, api, key) = bound(|settings| {
        settings.proofs.nonce = true;
        settings.proofs.required = true;
        settings.proofs.url = Some("https://gateway.example".parse().unwrap());
    })
    .await;
    let mut said = claims(&world);
    said["htu"] = json!("https://gateway.example:443/x");
    let answer = get(&world, "DPoP", &[&key.proof(&said)]).await;
    assert_eq!((answer.status, answer.code().as_str()), (401, "proof-nonce"));
    assert!(answer.headers["www-authenticate"].to_str().unwrap().contains("use_dpop_nonce"));
    said["nonce"] = json!(answer.headers["dpop-nonce"].to_str().unwrap());
    assert_eq!(get(&world, "DPoP", &[&key.proof(&said)]).await.status, 200);
    assert_eq!(api.calls(), 1);

    let mut world = world;
    (world.instruction, world.token) = world.instruct(scope()).await;
    for scheme in ["Bearer", "DPoP"] {
        let answer = get(&world, scheme, &[]).await;
        assert_eq!((answer.status, answer.code().as_str()), (401, "token-not-bound"), "{scheme}");
    }
}

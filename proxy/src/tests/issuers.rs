//! Tokens of an outside issuer: a small one that signs, lists its keys over HTTP and changes them.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use countersign_ledger::Kind;
use http::Request;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::{
    possession,
    world::{Answer, Api, World, json_answer, scope, upstream, whole},
};
use crate::settings;

/// An issuer, with the keys that it lists now.
pub struct Issuer {
    pub url: String,
    pub listed: Arc<Mutex<Value>>,
    asked: Arc<AtomicUsize>,
    /// Where it says that its keys are; at itself when that is empty.
    jwks_uri: Arc<Mutex<String>>,
}

/// A key of an issuer.
pub struct Key {
    kid: String,
    pair: rcgen::KeyPair,
}

impl Key {
    pub fn new(kid: &str) -> Key {
        Key { kid: kid.to_owned(), pair: rcgen::KeyPair::generate().unwrap() }
    }

    pub fn jwk(&self) -> Value {
        let point = self.pair.public_key_raw().to_vec();
        let encode = |bytes: &[u8]| data_encoding::BASE64URL_NOPAD.encode(bytes);
        json!({ "kty": "EC", "crv": "P-256", "x": encode(&point[1..33]), "y": encode(&point[33..]), "kid": self.kid, "use": "sig" })
    }

    pub fn sign(&self, claims: &Value) -> String {
        self.sign_as(&Header { kid: Some(self.kid.clone()), ..Header::new(Algorithm::ES256) }, claims)
    }

    fn sign_as(&self, header: &Header, claims: &Value) -> String {
        encode(header, claims, &EncodingKey::from_ec_der(&self.pair.serialize_der())).unwrap()
    }
}

impl Issuer {
    pub async fn start() -> Issuer {
        let issuer =
            Issuer { url: String::new(), listed: Arc::default(), asked: Arc::default(), jwks_uri: Arc::default() };
        let (keys, count, jwks_uri) = (issuer.listed.clone(), issuer.asked.clone(), issuer.jwks_uri.clone());
        let api = Api::start(move |got| {
            let host = got.headers["host"].to_str().unwrap().to_owned();
            if got.uri.path() == "/.well-known/openid-configuration" {
                let said = jwks_uri.lock().clone();
                let keys = if said.is_empty() { format!("http://{host}/keys") } else { said };
                return json_answer(&json!({ "issuer": format!("http://{host}"), "jwks_uri": keys }));
            }
            count.fetch_add(1, Ordering::SeqCst);
            match &*keys.lock() {
                Value::String(elsewhere) => {
                    http::Response::builder().status(302).header("location", elsewhere).body(whole("")).unwrap()
                }
                // Nothing listed: it is broken.
                Value::Null => http::Response::builder().status(500).body(whole("")).unwrap(),
                listed => json_answer(&json!({ "keys": listed })),
            }
        })
        .await;
        Issuer { url: format!("http://{}", api.address), ..issuer }
    }

    pub fn settings(&self) -> settings::Issuer {
        settings::Issuer {
            issuer: self.url.clone(),
            audience: "gateway".to_owned(),
            keys: None,
            authorities: None,
            algorithms: vec![Algorithm::ES256],
            agent_claim: "azp".to_owned(),
            agents: [("client-7".to_owned(), "agent-1".to_owned())].into(),
            principal_claim: Some("user".to_owned()),
            grant_claim: None,
            skew: std::time::Duration::from_secs(5),
            keep: std::time::Duration::from_secs(300),
            stale: std::time::Duration::from_secs(300),
            access_tokens_only: false,
        }
    }

    pub fn claims(&self) -> Value {
        let now = jiff::Timestamp::now().as_second();
        json!({ "iss": self.url, "aud": "gateway", "sub": "x", "azp": "client-7", "user": "ann", "iat": now, "exp": now + 600 })
    }
}

pub async fn get(world: &World, token: &str, grant: Option<&str>) -> Answer {
    let mut request =
        Request::get(format!("http://{}/x", world.address)).header("authorization", format!("Bearer {token}"));
    if let Some(grant) = grant {
        request = request.header("countersign-grant", grant);
    }
    world.send_as(request.body(whole("")).unwrap()).await
}

/// The grant that the gateway's own token names, as an agent names it.
pub fn named(world: &World) -> String {
    let statement = countersign_ledger::statement::Statement::parse(&world.token).unwrap();
    format!("{}/{}", world.instruction, statement.payload_unverified()["jti"].as_str().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outside_token_says_who_the_agent_is_and_its_grant_what_it_may_do() {
    let (issuer, key, api) =
        (Issuer::start().await, Key::new("k1"), Api::start(|_| http::Response::new(whole("done"))).await);
    *issuer.listed.lock() = json!([key.jwk(), { "kty": "oct", "k": "AA", "kid": "secret" }, { "kty": "new" }]);
    let believed = issuer.settings();
    let settings = upstream(&format!("http://{}", api.address));
    let world = World::with(settings, move |settings| settings.issuers = vec![believed], scope()).await;
    let grant = named(&world);
    let token = key.sign(&issuer.claims());
    let answer = get(&world, &token, Some(&grant)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(!api.last().headers.contains_key("countersign-grant"));
    let (_, call) = world.entries(&Kind::Call).pop().unwrap();
    assert_eq!(
        (call.text("credential"), call.text("issuer"), call.text("agent")),
        (Some("oauth+bearer"), Some(issuer.url.as_str()), Some("agent-1"))
    );
    assert_eq!(get(&world, &world.token, None).await.status, 200, "the gateway's own are good as ever");

    // It says who, and nothing of what.
    let pay =
        Request::post(format!("http://{}/delete", world.address)).header("authorization", format!("Bearer {token}"));
    let pay = pay.header("countersign-grant", &grant).body(whole("")).unwrap();
    assert_eq!(world.send_as(pay).await.status, 403);

    let with = |name: &str, value: Value| {
        let mut claims = issuer.claims();
        claims[name] = value;
        key.sign(&claims)
    };
    let now = jiff::Timestamp::now().as_second();
    for (token, wanted) in [
        (with("exp", json!(now - 60)), (401, "token-expired")),
        (with("nbf", json!(now + 60)), (401, "token-invalid")),
        (with("aud", json!("another")), (401, "token-invalid")),
        (with("azp", json!("client-8")), (401, "token-invalid")),
        (with("azp", Value::Null), (401, "token-invalid")),
        (with("user", json!("bob")), (403, "grant-of-other")),
        (with("user", Value::Null), (401, "token-invalid")),
        (with("iss", json!("https://elsewhere.example")), (401, "token-invalid")),
        (Key::new("k1").sign(&issuer.claims()), (401, "token-invalid")),
        (Key::new("k2").sign(&issuer.claims()), (401, "token-invalid")),
    ] {
        let answer = get(&world, &token, Some(&grant)).await;
        assert_eq!((answer.status, answer.code().as_str()), wanted, "{token}");
    }
    // An algorithm that is not its issuer's: none, and a secret that is the public key.
    let parts: Vec<&str> = token.split('.').collect();
    let header =
        |alg: &str| data_encoding::BASE64URL_NOPAD.encode(json!({ "alg": alg, "kid": "k1" }).to_string().as_bytes());
    let hs = encode(
        &Header { kid: Some("k1".into()), ..Header::new(Algorithm::HS256) },
        &issuer.claims(),
        &EncodingKey::from_secret(key.jwk()["x"].as_str().unwrap().as_bytes()),
    );
    for forged in [format!("{}.{}.", header("none"), parts[1]), hs.unwrap()] {
        assert_eq!(get(&world, &forged, Some(&grant)).await.code(), "token-invalid");
    }
    // Grants that are not this agent's, or not there, or not named.
    let (instruction, id) = grant.split_once('/').unwrap();
    let (other, _) = world.instruct(scope()).await;
    for (grant, wanted) in [
        (None, "grant-unnamed"),
        (Some(instruction.to_owned()), "grant-unnamed"),
        (Some(format!("{other}/{id}")), "grant-of-other"),
        (Some(format!("{id}/{id}")), "grant-of-other"),
    ] {
        assert_eq!(get(&world, &token, grant.as_deref()).await.code(), wanted, "{grant:?}");
    }
    assert_eq!(api.calls(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuers_new_key_is_found_and_nobody_can_make_the_gateway_ask_again_and_again() {
    let (issuer, first, api) =
        (Issuer::start().await, Key::new("k1"), Api::start(|_| http::Response::new(whole("done"))).await);
    *issuer.listed.lock() = json!([first.jwk()]);
    let believed = issuer.settings();
    let settings = upstream(&format!("http://{}", api.address));
    let world = World::with(settings, move |settings| settings.issuers = vec![believed], scope()).await;
    let grant = named(&world);
    for _ in 0..5 {
        assert_eq!(get(&world, &first.sign(&issuer.claims()), Some(&grant)).await.status, 200);
    }
    assert_eq!(issuer.asked.load(Ordering::SeqCst), 1, "keys are kept");

    let second = Key::new("k2");
    *issuer.listed.lock() = json!([second.jwk()]);
    // Just asked: a name that nobody knows does not have it asked again.
    for n in 0..20 {
        let unknown = Key::new(&format!("made up {n}")).sign(&issuer.claims());
        assert_eq!(get(&world, &unknown, Some(&grant)).await.code(), "token-invalid");
    }
    assert_eq!(issuer.asked.load(Ordering::SeqCst), 1);
    let mut status = 0;
    for _ in 0..300 {
        status = get(&world, &second.sign(&issuer.claims()), Some(&grant)).await.status;
        if status == 200 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    assert_eq!((status, issuer.asked.load(Ordering::SeqCst)), (200, 2), "a few seconds later");
    assert_eq!(
        get(&world, &first.sign(&issuer.claims()), Some(&grant)).await.code(),
        "token-invalid",
        "taken off the list"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_plain_access_token_is_refused_and_a_bound_one_needs_its_proof() {
    let (issuer, key, api) =
        (Issuer::start().await, Key::new("k1"), Api::start(|_| http::Response::new(whole("done"))).await);
    // A key of another kind and one for encryption have the same name.
    let mut encrypts = Key::new("k1").jwk();
    encrypts["use"] = "enc".into();
    let rsa = json!({ "kty": "RSA", "n": "AQAB", "e": "AQAB", "kid": "k1" });
    *issuer.listed.lock() = json!([rsa, encrypts, key.jwk()]);
    let believed = settings::Issuer { grant_claim: Some("grant".into()), ..issuer.settings() };
    let settings = upstream(&format!("http://{}", api.address));
    let world = World::with(settings, move |settings| settings.issuers = vec![believed], scope()).await;
    let grant = named(&world);
    let claims = issuer.claims();
    let plain = Header { kid: Some("k1".into()), ..Header::new(Algorithm::ES256) };
    let typed = |typ: Option<&str>| Header { typ: typ.map(str::to_owned), ..plain.clone() };
    for (typ, status) in [
        (None, 200),
        (Some("at+jwt"), 200),
        (Some("application/AT+JWT"), 200),
        (Some("logout+jwt"), 401),
        (Some("dpop+jwt"), 401),
    ] {
        assert_eq!(get(&world, &key.sign_as(&typed(typ), &claims), Some(&grant)).await.status, status, "{typ:?}");
    }
    // A key that the token brings along is nobody's.
    let thief = Key::new("k1");
    let jwk = serde_json::from_value(thief.jwk()).unwrap();
    let header = Header { jwk: Some(jwk), jku: Some(format!("{}/keys", issuer.url)), ..plain.clone() };
    assert_eq!(get(&world, &thief.sign_as(&header, &claims), Some(&grant)).await.code(), "token-invalid");
    // An extension that must be understood, signed with the right key.
    let encode = |value: &Value| data_encoding::BASE64URL_NOPAD.encode(value.to_string().as_bytes());
    let message =
        format!("{}.{}", encode(&json!({ "alg": "ES256", "kid": "k1", "crit": ["exp"], "exp": 1 })), encode(&claims));
    let signature = jsonwebtoken::crypto::sign(
        message.as_bytes(),
        &EncodingKey::from_ec_der(&key.pair.serialize_der()),
        Algorithm::ES256,
    );
    let token = format!("{message}.{}", signature.unwrap());
    let answer = get(&world, &token, Some(&grant)).await;
    assert!(
        answer.code() == "token-invalid" && answer.json()["detail"].as_str().unwrap().contains("must be understood")
    );

    // Bound to a key, or to what the gateway cannot check.
    let with = |name: &str, value: Value| {
        let mut claims = claims.clone();
        claims[name] = value;
        key.sign(&claims)
    };
    for (cnf, code) in [
        (json!({ "jkt": "x" }), "proof-missing"),
        (json!({ "x5t#S256": "x" }), "token-invalid"),
        (json!({ "jkt": "x", "x5t#S256": "x" }), "token-invalid"),
        (json!("x"), "token-invalid"),
    ] {
        assert_eq!(get(&world, &with("cnf", cnf.clone()), Some(&grant)).await.code(), code, "{cnf}");
    }

    // The grant may stand in the token; two that differ could be read in two ways.
    assert_eq!(get(&world, &with("grant", grant.clone().into()), None).await.status, 200);
    let answer = get(&world, &with("grant", grant.clone().into()), Some("a/b")).await;
    assert_eq!(answer.code(), "grant-of-other");
    for (name, value) in [("exp", json!("tomorrow")), ("exp", Value::Null), ("nbf", json!("yesterday"))] {
        assert_eq!(
            get(&world, &with(name, value.clone()), Some(&grant)).await.code(),
            "token-invalid",
            "{name} {value}"
        );
    }
    assert_eq!(get(&world, &with("aud", json!(["another", "gateway"])), Some(&grant)).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_cannot_send_the_gateway_elsewhere_for_its_keys() {
    let elsewhere = Issuer::start().await;
    let key = Key::new("k1");
    *elsewhere.listed.lock() = json!([key.jwk()]);
    let (points, redirects, endless) = (Issuer::start().await, Issuer::start().await, Issuer::start().await);
    *points.jwks_uri.lock() = format!("{}/keys", elsewhere.url);
    *redirects.listed.lock() = json!(format!("{}/keys", elsewhere.url));
    *endless.listed.lock() = json!([key.jwk(), "x".repeat(2 << 20)]);
    let api = Api::start(|_| http::Response::new(whole("done"))).await;
    let believed = [&points, &redirects, &endless].map(Issuer::settings).to_vec();
    let settings = upstream(&format!("http://{}", api.address));
    let world = World::with(settings, move |settings| settings.issuers = believed, scope()).await;
    for issuer in [&points, &redirects, &endless] {
        let answer = get(&world, &key.sign(&issuer.claims()), Some(&named(&world))).await;
        assert_eq!((answer.status, answer.code().as_str()), (503, "issuer-unreachable"));
    }
    assert_eq!((elsewhere.asked.load(Ordering::SeqCst), api.calls()), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_that_is_down_takes_nobody_out_for_as_long_as_was_said() {
    let (lasting, short, key) = (Issuer::start().await, Issuer::start().await, Key::new("k1"));
    let second = std::time::Duration::from_secs(1);
    let mut believed = [&lasting, &short].map(|issuer| settings::Issuer { keep: 5 * second, ..issuer.settings() });
    believed[1].stale = std::time::Duration::ZERO;
    for issuer in [&lasting, &short] {
        *issuer.listed.lock() = json!([key.jwk()]);
    }
    let api = Api::start(|_| http::Response::new(whole("done"))).await;
    let settings = upstream(&format!("http://{}", api.address));
    let world = World::with(settings, move |settings| settings.issuers = believed.to_vec(), scope()).await;
    let grant = named(&world);
    for issuer in [&lasting, &short] {
        assert_eq!(get(&world, &key.sign(&issuer.claims()), Some(&grant)).await.status, 200);
        *issuer.listed.lock() = Value::Null;
    }
    tokio::time::sleep(12 * second).await;
    for _ in 0..3 {
        assert_eq!(get(&world, &key.sign(&lasting.claims()), Some(&grant)).await.status, 200);
        assert_eq!(get(&world, &key.sign(&short.claims()), Some(&grant)).await.code(), "issuer-unreachable");
        assert_eq!(
            get(&world, &Key::new("k2").sign(&lasting.claims()), Some(&grant)).await.code(),
            "issuer-unreachable"
        );
    }
    assert_eq!(
        (lasting.asked.load(Ordering::SeqCst), short.asked.load(Ordering::SeqCst)),
        (2, 2),
        "once more, and not again and again"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outside_token_that_is_bound_to_a_key_is_good_with_its_proof_alone() {
    let (issuer, key, api) =
        (Issuer::start().await, Key::new("k1"), Api::start(|_| http::Response::new(whole("done"))).await);
    *issuer.listed.lock() = json!([key.jwk()]);
    let believed = issuer.settings();
    let settings = upstream(&format!("http://{}", api.address));
    let world = World::with(settings, move |settings| settings.issuers = vec![believed], scope()).await;
    let agents = possession::Key::new();
    let mut claims = issuer.claims();
    claims["cnf"] = json!({ "jkt": agents.jwk.thumbprint() });
    let token = key.sign(&claims);
    let send = async |scheme: &str, by: &possession::Key, of: &str| {
        let proof = by.proof(&json!({
            "jti": uuid::Uuid::new_v4().to_string(), "htm": "GET", "htu": format!("http://{}/x", world.address),
            "iat": world.gateway.now().as_second(), "ath": countersign_ledger::possession::of_token(of),
        }));
        let request = Request::get(format!("http://{}/x", world.address))
            .header("authorization", format!("{scheme} {token}"))
            .header("countersign-grant", named(&world))
            .header("dpop", proof);
        world.send_as(request.body(whole("")).unwrap()).await
    };
    assert_eq!(send("Bearer", &agents, &token).await.code(), "proof-missing");
    assert_eq!(send("DPoP", &possession::Key::new(), &token).await.code(), "proof-invalid");
    assert_eq!(send("DPoP", &agents, "another").await.code(), "proof-invalid");
    assert_eq!(send("DPoP", &agents, &token).await.status, 200);
    let (_, call) = world.entries(&Kind::Call).pop().unwrap();
    assert_eq!(
        (call.text("credential"), call.text("kid")),
        (Some("oauth+dpop"), Some(agents.jwk.thumbprint().as_str()))
    );
    assert_eq!(api.calls(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn issuers_come_and_go_while_the_gateway_runs_and_the_ledger_has_it_first() {
    let (stays, comes, key) = (Issuer::start().await, Issuer::start().await, Key::new("k1"));
    for issuer in [&stays, &comes] {
        *issuer.listed.lock() = json!([key.jwk()]);
    }
    let api = Api::start(|_| http::Response::new(whole("done"))).await;
    let (believed, settings) = (stays.settings(), upstream(&format!("http://{}", api.address)));
    let mut world = World::with(settings, move |settings| settings.issuers = vec![believed], scope()).await;
    let grant = named(&world);
    let (of_one, of_other) = (key.sign(&stays.claims()), key.sign(&comes.claims()));
    assert_eq!(get(&world, &of_one, Some(&grant)).await.status, 200);
    assert_eq!(get(&world, &of_other, Some(&grant)).await.status, 401, "not believed yet");
    assert_eq!(world.reload().await.unwrap(), Vec::<String>::new(), "nothing changed");

    // One stays, with another setting and the keys that it gave: it is down now. Another comes.
    *stays.listed.lock() = Value::Null;
    let changed = settings::Issuer { skew: std::time::Duration::from_secs(7), ..stays.settings() };
    world.issuers = vec![changed, comes.settings()];
    let said = |what: &str, issuer: &Issuer| format!("issuer {}{what}", issuer.url);
    let mut expected = vec![said("", &stays), said("", &comes)];
    expected.sort();
    assert_eq!(world.reload().await.unwrap(), expected);
    for token in [&of_one, &of_other] {
        assert_eq!(get(&world, token, Some(&grant)).await.status, 200);
    }
    assert_eq!((stays.asked.load(Ordering::SeqCst), comes.asked.load(Ordering::SeqCst)), (1, 1));

    // One is taken out: its token is good no more, although its keys are known and its signature fits.
    world.issuers = vec![comes.settings()];
    assert_eq!(world.reload().await.unwrap(), [said(" (taken out)", &stays)]);
    let refused = get(&world, &of_one, Some(&grant)).await;
    assert_eq!((refused.status, refused.code().as_str()), (401, "token-invalid"));
    assert_eq!(get(&world, &of_other, Some(&grant)).await.status, 200);
    let recorded = recorded(&world, &stays.url);
    assert_eq!(recorded.len(), 3);
    assert!(recorded[1].contains("\"skew_seconds\": 7") && recorded[2].is_empty(), "{recorded:?}");

    // What the ledger does not take is not in force.
    world.faults.full.store(true, Ordering::SeqCst);
    world.issuers = vec![stays.settings()];
    assert!(world.reload().await.is_err());
    world.faults.full.store(false, Ordering::SeqCst);
    assert_eq!(get(&world, &of_one, Some(&grant)).await.status, 401);
    assert_eq!(get(&world, &of_other, Some(&grant)).await.status, 200);
}

/// What the ledger says an issuer was believed for, one after the other.
fn recorded(world: &World, name: &str) -> Vec<String> {
    let ledger = &world.gateway.ledger;
    let entries = (0..ledger.head().size()).map(|seq| world.gateway.entry(seq).unwrap());
    let of_it = entries.filter(|entry| entry.text("what") == Some("issuer") && entry.text("name") == Some(name));
    let text = |entry: countersign_ledger::Entry| {
        let sha256 = entry.text("sha256").unwrap().parse().unwrap();
        String::from_utf8(ledger.policy(&sha256).unwrap()).unwrap()
    };
    of_it.map(text).collect()
}

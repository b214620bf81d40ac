//! Credentials from a token server: kept, got once for many, replaced, exchanged, and never seen.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use countersign_ledger::statement::Statement;
use http::{Response, header::AUTHORIZATION};
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::{
    issuers::{self, Issuer, Key},
    world::{Api, Got, World, json_answer, scope, whole},
};
use crate::{
    Body,
    settings::{self, Authentication, Exchange, Obtain, Signing, Subject},
};

const SECRET: &str = "client secret &=+%";

type Says = Arc<Mutex<Option<(u16, String)>>>;

/// A token server that counts.
struct Server {
    api: Api,
    /// How many tokens it gave.
    given: Arc<AtomicUsize>,
    /// For how many seconds they are good.
    life: Arc<AtomicU64>,
    /// What it answers instead.
    says: Says,
}

impl Server {
    async fn start() -> Server {
        let (given, life) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicU64::new(600)));
        let says: Says = Arc::default();
        let (count, seconds, instead) = (Arc::clone(&given), Arc::clone(&life), Arc::clone(&says));
        let api = Api::start_with(None, move |got| {
            let answer = match instead.lock().clone() {
                Some((status, text)) => Response::builder().status(status).body(whole(&text)).unwrap(),
                None => {
                    let n = count.fetch_add(1, Ordering::SeqCst);
                    let subject = form(&got).into_iter().find(|(name, _)| name == "subject_token");
                    let of = subject.map_or_else(|| "gateway".to_owned(), |(_, token)| sub(&token));
                    json_answer(&json!({ "access_token": format!("canary-token-{of}-{n}"), "token_type": "bearer", "expires_in": seconds.load(Ordering::SeqCst) }))
                }
            };
            // Long enough for others to come meanwhile.
            Box::pin(async move {
                tokio::time::sleep(Duration::from_millis(50)).await;
                answer
            })
        })
        .await;
        Server { api, given, life, says }
    }

    fn obtain(&self) -> Obtain {
        Obtain {
            endpoint: format!("http://{}/token?x=1", self.api.address).parse().unwrap(),
            authorities: None,
            client: "client:7".into(),
            secret: SECRET.to_owned().into(),
            authentication: Authentication::Basic,
            scope: Some("payments read".into()),
            audience: None,
            resource: Some("https://api.example".into()),
            header: AUTHORIZATION,
            prefix: "Bearer ".into(),
            exchange: None,
        }
    }

    fn given(&self) -> usize {
        self.given.load(Ordering::SeqCst)
    }
}

fn form(got: &Got) -> Vec<(String, String)> {
    form_urlencoded::parse(&got.body).into_owned().collect()
}

fn claims(token: &str) -> Value {
    Statement::parse(token).map(|statement| statement.payload_unverified().clone()).unwrap_or_default()
}

fn sub(token: &str) -> String {
    claims(token)["sub"].as_str().unwrap_or("no-statement").to_owned()
}

async fn world(api: &Api, obtain: Obtain) -> World {
    let url = format!("http://{}", api.address).parse().unwrap();
    let upstream = settings::Upstream { obtain: Some(obtain), ..settings::Upstream::new("api", url) };
    let key = ed25519_dalek::SigningKey::from_bytes(&[9; 32]);
    let signer = Arc::new(countersign_receipt::Signer::new(key));
    let signing = Signing { signer, others: Vec::new(), directory: None };
    World::with(upstream, |settings| settings.signing = Some(signing), scope()).await
}

/// An API that lets in who has one of these tokens.
async fn api(good: Arc<Mutex<Vec<String>>>) -> Api {
    Api::start(move |got| match got.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()) {
        Some(token) if good.lock().iter().any(|good| token == format!("Bearer {good}")) => Response::new(whole("done")),
        _ => Response::builder().status(401).body(whole("who are you?")).unwrap(),
    })
    .await
}

fn any() -> impl Fn(Got) -> Response<Body> {
    |_| Response::new(whole("done"))
}

/// Whatever stands in the ledger, opened or not, has none of these.
fn nowhere(world: &World, canaries: &[&str]) {
    for seq in 0..world.gateway.ledger.status().size {
        let entry = serde_json::to_string(&world.gateway.entry(seq).unwrap()).unwrap();
        let opened = world.gateway.disclosures(seq).unwrap_or_default();
        let text = opened.iter().fold(entry, |text, one| text + &one.value().to_string());
        for canary in canaries {
            assert!(!text.contains(canary), "{canary} in {text}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_got_once_for_many_calls_and_again_before_it_ends() {
    let (server, api) = (Server::start().await, Api::start(any()).await);
    let world = Arc::new(world(&api, server.obtain()).await);
    let calls: Vec<_> = (0..20)
        .map(|_| {
            tokio::spawn({
                let world = world.clone();
                async move { world.get("/x").await.status }
            })
        })
        .collect();
    for call in calls {
        assert_eq!(call.await.unwrap(), 200);
    }
    assert_eq!(server.given(), 1, "the others waited");
    let asked = server.api.last();
    assert_eq!(asked.uri.to_string(), "/token?x=1");
    assert_eq!(
        asked.headers[AUTHORIZATION],
        format!("Basic {}", data_encoding::BASE64.encode(b"client%3A7:client+secret+%26%3D%2B%25"))
    );
    let wanted =
        [("grant_type", "client_credentials"), ("scope", "payments read"), ("resource", "https://api.example")];
    assert_eq!(form(&asked), wanted.map(|(name, value)| (name.to_owned(), value.to_owned())));
    assert_eq!(api.last().headers[AUTHORIZATION], "Bearer canary-token-gateway-0");
    nowhere(&world, &["canary-token", "client secret", "client+secret"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_ends_soon_is_replaced_behind_the_calls() {
    let (server, api) = (Server::start().await, Api::start(any()).await);
    server.life.store(10, Ordering::SeqCst);
    let world = world(&api, Obtain { authentication: Authentication::Post, ..server.obtain() }).await;
    assert_eq!(world.get("/x").await.status, 200);
    let posted = form(&server.api.last());
    assert!(
        posted.contains(&("client_secret".into(), SECRET.into()))
            && posted.contains(&("client_id".into(), "client:7".into()))
    );
    assert!(!server.api.last().headers.contains_key(AUTHORIZATION));
    tokio::time::sleep(Duration::from_millis(8300)).await;
    assert_eq!(world.get("/x").await.status, 200);
    for _ in 0..200 {
        if server.given() == 2 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(server.given(), 2, "before it ended");
    // While it is good, a server that fails matters to nobody; then it does.
    *server.says.lock() = Some((500, "<html>canary of the server</html>".into()));
    assert_eq!(world.get("/x").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_credential_nothing_is_sent_and_the_record_says_which_one_is_missing() {
    let (server, api) = (Server::start().await, Api::start(any()).await);
    let world = world(&api, server.obtain()).await;
    let mut outcomes = 0;
    for (status, text, said) in [
        (
            401,
            r#"{"error":"invalid_client","error_description":"canary of the server"}"#,
            "it answered 401 (`invalid_client`)",
        ),
        (400, r#"{"error":"CANARY of the server"}"#, "it answered 400"),
        (302, "canary of the server", "it answered 302"),
        (200, r#"{"access_token":"short","canary":1}"#, "less than 8 characters"),
        (200, r#"{"access_token":"long enough","token_type":"DPoP"}"#, "of a type"),
        (200, "canary of the server", "no `access_token`"),
    ] {
        *server.says.lock() = Some((status, text.into()));
        tokio::time::sleep(Duration::from_millis(1050)).await;
        let answer = world.get("/x").await;
        assert_eq!((answer.status, answer.code().as_str()), (503, "credential-unavailable"));
        let detail = answer.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains(said) && detail.contains("`api`") && detail.contains("client `client:7`"), "{detail}");
        assert_eq!(answer.json()["sent"], "no");
        outcomes += 1;
    }
    let (outcome, _) = world.outcomes(outcomes).await.pop().unwrap();
    assert_eq!((outcome.text("result"), outcome.text("sent")), (Some("gateway_fault"), Some("no")));
    assert!(outcome.text("detail").unwrap().contains("no `access_token`"));
    // Just failed: not asked once more for each call.
    let asked = server.api.calls();
    for _ in 0..5 {
        assert_eq!(world.get("/x").await.status, 503);
    }
    assert_eq!((server.api.calls(), api.calls()), (asked, 0));
    nowhere(&world, &["canary", "CANARY", "client secret"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_the_api_does_not_take_is_replaced_once() {
    let good = Arc::new(Mutex::new(vec!["canary-token-gateway-1".to_owned()]));
    let (server, api) = (Server::start().await, api(good.clone()).await);
    let world = world(&api, server.obtain()).await;
    let body = r#"{"to":"GB29NWBK60161331926819","amount":"1"}"#;
    let pay = world.request("POST", "/pay").header("content-type", "application/json");
    assert_eq!(
        world.send_as(pay.body(whole(body)).unwrap()).await.status,
        200,
        "sent once more, though it changes something"
    );
    assert_eq!((server.given(), api.calls()), (2, 2));
    let (outcome, _) = world.outcome().await;
    let attempts = outcome.body["attempts"].as_array().unwrap().clone();
    assert_eq!((attempts.len(), &attempts[0]["status"], outcome.text("sent")), (1, &json!(401), Some("yes")));
    // An API that takes none has none made for each call, and its 401 is the answer.
    good.lock().clear();
    for _ in 0..5 {
        assert_eq!(world.get("/x").await.status, 401);
    }
    assert_eq!(server.given(), 2);
    // A body that streams cannot be sent once more.
    tokio::time::sleep(Duration::from_millis(5050)).await;
    good.lock().push("canary-token-gateway-2".into());
    let put = || world.request("PUT", "/report").header("content-type", "text/plain").body(whole("text")).unwrap();
    assert_eq!(world.send_as(put()).await.status, 401);
    assert_eq!(world.send_as(put()).await.status, 200, "the next call has another token");
    assert_eq!(server.given(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_user_has_a_token_of_their_own_for_what_the_gateway_states() {
    let (server, api) = (Server::start().await, Api::start(any()).await);
    let exchange = Exchange { subject: Subject::Principal, actor: true, assertion_audience: None };
    let world = world(&api, Obtain { exchange: Some(exchange), ..server.obtain() }).await;
    for _ in 0..3 {
        assert_eq!(world.get("/x").await.status, 200);
    }
    assert_eq!((server.given(), api.last().headers[AUTHORIZATION].to_str().unwrap()), (1, "Bearer canary-token-ann-0"));
    let asked = form(&server.api.last());
    let value = |name: &str| asked.iter().find(|(have, _)| have == name).map(|(_, value)| value.clone()).unwrap();
    assert_eq!(value("grant_type"), "urn:ietf:params:oauth:grant-type:token-exchange");
    for (role, who) in [("subject", "ann"), ("actor", "agent-1")] {
        assert_eq!(value(&format!("{role}_token_type")), "urn:ietf:params:oauth:token-type:jwt");
        let token = value(&format!("{role}_token"));
        let jwk = countersign_ledger::statement::Jwk::ed25519(
            &ed25519_dalek::SigningKey::from_bytes(&[9; 32]).verifying_key(),
        );
        Statement::parse(&token).unwrap().verify::<Value>("JWT", &jwk).unwrap();
        let claims = claims(&token);
        assert_eq!((claims["sub"].as_str(), claims["iss"].as_str()), (Some(who), Some("test.example")));
        assert_eq!(claims["aud"], format!("http://{}/token?x=1", server.api.address));
    }
    nowhere(&world, &["canary-token", "eyJ"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_an_outside_issuer_is_exchanged_and_without_one_nothing_is_sent() {
    let (server, api, issuer, key) =
        (Server::start().await, Api::start(any()).await, Issuer::start().await, Key::new("k1"));
    *issuer.listed.lock() = json!([key.jwk()]);
    let exchange = Exchange { subject: Subject::Token, actor: false, assertion_audience: None };
    let url = format!("http://{}", api.address).parse().unwrap();
    let obtain = Some(Obtain { exchange: Some(exchange), ..server.obtain() });
    let upstream = settings::Upstream { obtain, ..settings::Upstream::new("api", url) };
    let believed = issuer.settings();
    let world = World::with(upstream, move |settings| settings.issuers = vec![believed], scope()).await;
    let answer = world.get("/x").await;
    assert_eq!((answer.status, answer.code().as_str()), (503, "credential-unavailable"), "the gateway's own token");
    assert_eq!((server.api.calls(), api.calls()), (0, 0));
    let token = key.sign(&issuer.claims());
    assert_eq!(issuers::get(&world, &token, Some(&issuers::named(&world))).await.status, 200);
    let asked = form(&server.api.last());
    assert!(asked.contains(&("subject_token".into(), token.clone())));
    let kind = "urn:ietf:params:oauth:token-type:access_token";
    assert!(asked.contains(&("subject_token_type".into(), kind.into())));
    assert_eq!(api.last().headers[AUTHORIZATION], "Bearer canary-token-x-0");
    nowhere(&world, &["canary-token", &token]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_hands_on_what_was_got_is_cut() {
    let (server, api) = (
        Server::start().await,
        Api::start(|got| {
            let token = got.headers[AUTHORIZATION].to_str().unwrap().trim_start_matches("Bearer ").to_owned();
            Response::builder().header("x-token", token).body(whole("done")).unwrap()
        })
        .await,
    );
    let world = world(&api, server.obtain()).await;
    let answer = world.get("/x").await;
    assert_eq!((answer.status, answer.code().as_str()), (502, "response-cut"));
    assert_eq!(world.outcome().await.0.text("result"), Some("response_cut"));
}

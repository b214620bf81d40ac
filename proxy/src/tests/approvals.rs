//! Passkeys and several approvers: what an assertion, a session and a set of approvals may be used for, and what not.

#[path = "../../../ledger/src/passkey/authenticator.rs"]
mod authenticator;

use countersign_ledger::{
    Hash, Kind, canonical,
    record::Time,
    statement::{Jwk, Statement},
};
use ed25519_dalek::SigningKey;
use http::Request;
use serde_json::{Value, json};

use self::authenticator::Authenticator;
use super::{
    hold::{decide, register, same_after_a_restart, waiting},
    world::{APPROVER, Answer, Api, CATALOGUE, HOST, OPERATOR, World, json_answer, scope, upstream},
};
use crate::{error::full, settings::Approvals};

const IBAN: &str = "DE89370400440532013000";
const ORIGIN: &str = "https://approve.example";
const LEDGER: &str = "test.example";

async fn world(approvals: u32) -> (Api, World) {
    let api = Api::start(|_| json_answer(&json!({ "ok": true }))).await;
    let url = format!("http://{}", api.address);
    let catalogue = CATALOGUE.replace("name = \"pay\"\n", &format!("name = \"pay\"\napprovals = {approvals}\n"));
    let tune = |settings: &mut crate::Settings| {
        settings.approvals = Some(Approvals::new(ORIGIN, None).unwrap());
        settings.limits.held_calls = 5;
    };
    (api, World::of(&catalogue, upstream(&url), tune, scope()).await)
}

/// Somebody with a browser: a passkey, and a cookie once signed in.
struct Person {
    key: Authenticator,
    kid: String,
    cookie: String,
}

impl World {
    /// What a page of an origin asks.
    async fn page(&self, method: &str, path: &str, origin: &str, cookie: &str, body: &Value) -> Answer {
        let request = Request::builder().method(method).uri(format!("http://{}{path}", self.api));
        let request = request.header("origin", origin).header("cookie", cookie);
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.send_as(request.body(full(body)).unwrap()).await
    }

    async fn post(&self, path: &str, cookie: &str, body: &Value) -> Answer {
        self.page("POST", path, ORIGIN, cookie, body).await
    }

    async fn html(&self, path: &str, cookie: &str) -> (u16, String) {
        let answer = self.page("GET", path, ORIGIN, cookie, &Value::Null).await;
        assert!(answer.headers["content-security-policy"].to_str().unwrap().contains("frame-ancestors 'none'"));
        assert_eq!(answer.headers["x-frame-options"], "DENY");
        (answer.status, String::from_utf8(answer.body.unwrap().to_vec()).unwrap())
    }

    async fn link(&self, party: &str) -> String {
        let link = self.ask("POST", "/v1/enrolments", OPERATOR, &json!({ "party": party })).await.json();
        let url = link["url"].as_str().unwrap().to_owned();
        url.strip_prefix("https://approve.example/approve/enrol#").unwrap().to_owned()
    }

    async fn enrol(&self, ticket: &str, key: &Authenticator) -> Answer {
        let challenge = challenge("countersign-enrolment+passkey", &json!({ "origin": LEDGER, "ticket": ticket }));
        self.post("/approve/enrol", "", &json!({ "ticket": ticket, "registration": key.create(&challenge) })).await
    }

    async fn sign_in(&self, key: &Authenticator) -> Answer {
        let ticket = attribute(&self.html("/approve", "").await.1, "ticket");
        self.sign_in_with(key, &ticket).await
    }

    async fn sign_in_with(&self, key: &Authenticator, ticket: &str) -> Answer {
        let statement = key.state("countersign-sign-in+passkey", "", &json!({ "origin": LEDGER, "ticket": ticket }));
        let credential = &key.passkey()["credential"];
        self.post("/approve/sign-in", "", &json!({ "credential": credential, "statement": statement })).await
    }

    /// A person with a passkey, signed in.
    async fn person(&self, party: &str, seed: u8) -> Person {
        let key = Authenticator::new(seed, ORIGIN);
        let ticket = self.link(party).await;
        assert_eq!(self.enrol(&ticket, &key).await.status, 204);
        let entered = self.sign_in(&key).await;
        assert_eq!(entered.status, 204, "{entered:?}");
        let cookie = entered.headers["set-cookie"].to_str().unwrap().to_owned();
        for part in ["__Host-countersign=", "HttpOnly", "SameSite=Strict", "Secure", "Path=/"] {
            assert!(cookie.contains(part), "{cookie}");
        }
        let jwk: Jwk = serde_json::from_value(key.jwk()).unwrap();
        Person { key, kid: jwk.thumbprint(), cookie: cookie.split(';').next().unwrap().to_owned() }
    }

    async fn held(&self, amount: &str) -> String {
        self.pay(IBAN, amount).await.json()["held"].as_str().unwrap().to_owned()
    }

    async fn answer(&self, person: &Person, call: &str, statement: &Value) -> Answer {
        self.post(&format!("/approve/{call}"), &person.cookie, &json!({ "statement": statement })).await
    }
}

fn challenge(typ: &str, payload: &Value) -> [u8; 32] {
    *Hash::of(&[typ.as_bytes(), &[0], &canonical::to_vec(payload).unwrap()].concat()).as_bytes()
}

/// What the page tells its script.
fn attribute(html: &str, name: &str) -> String {
    let (_, rest) = html.split_once(&format!(" data-{name}=\"")).unwrap_or_else(|| panic!("no {name}: {html}"));
    rest.split('"').next().unwrap().to_owned()
}

/// The payload that the page's script would put together.
async fn payload(world: &World, person: &Person, call: &str, decision: &str) -> Value {
    let (status, html) = world.html(&format!("/approve/{call}"), &person.cookie).await;
    assert_eq!(status, 200, "{html}");
    assert_eq!(attribute(&html, "kid"), person.kid);
    let of = |name: &str| json!(attribute(&html, name));
    let policies: Vec<_> = attribute(&html, "policies").split(' ').map(str::to_owned).collect();
    json!({
        "origin": of("origin"), "call": of("call"), "digest": of("digest"), "decision": decision, "policies": policies,
        "shown": of("shown"), "answered": of("shown"), "expires": of("expires"), "shown_sha256": of("sha256"),
    })
}

const TYP: &str = "countersign-approval+passkey";

#[tokio::test(flavor = "multi_thread")]
async fn a_passkey_answers_exactly_one_call_once() {
    let (api, world) = world(1).await;
    let ann = world.person("ann", 3).await;
    let call = world.held("5").await;
    let said = payload(&world, &ann, &call, "approved").await;
    let statement = ann.key.state(TYP, &ann.kid, &said);
    let other = world.held("6").await;
    assert_eq!(world.answer(&ann, &other, &statement).await.status, 400, "another call");
    let taken = world.answer(&ann, &call, &statement).await;
    assert_eq!((taken.status, &taken.json()["approvals"]), (201, &json!(1)));
    assert_eq!(world.answer(&ann, &call, &statement).await.status, 404, "a second time");
    same_after_a_restart(&world);
    assert_eq!((world.pay(IBAN, "5").await.status, world.pay(IBAN, "5").await.status, api.calls()), (200, 403, 1));
    let anew = world.held("5").await;
    assert_eq!(world.answer(&ann, &anew, &statement).await.status, 400, "the same call, held anew");
    let approval = world.entries(&Kind::Approval).remove(0);
    assert_eq!(approval.1.body["check"]["alg"], "webauthn");
    assert_eq!(world.gateway.value(approval.0, "statement").unwrap().unwrap(), statement);
    let shown = world.gateway.value(approval.0, "shown").unwrap().unwrap();
    assert_eq!(json!(canonical::digest(&shown).unwrap()), said["shown_sha256"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_passkey_must_not_have_signed_like_this_answers_nothing() {
    let (_api, world) = world(1).await;
    let ann = world.person("ann", 3).await;
    let ben = world.person("ben", 4).await;
    let call = world.held("5").await;
    let good = payload(&world, &ann, &call, "approved").await;
    let with = |name: &str, value: Value| {
        let mut said = good.clone();
        said[name] = value;
        ann.key.state(TYP, &ann.kid, &said)
    };
    let without = |name: &str| {
        let mut said = good.clone();
        said.as_object_mut().unwrap().remove(name);
        ann.key.state(TYP, &ann.kid, &said)
    };
    let by = |change: &dyn Fn(&mut Authenticator)| {
        let mut key = Authenticator::new(3, ORIGIN);
        change(&mut key);
        key.state(TYP, &ann.kid, &good)
    };
    let past = Time::new(jiff::Timestamp::from_second(1_000_000_000).unwrap());
    let far = Time::new(jiff::Timestamp::from_second(9_000_000_000).unwrap());
    let jws = Statement::sign("countersign-approval+jwt", &good, &SigningKey::from_bytes(&[1; 32])).unwrap();
    let changed = {
        let mut stated = ann.key.state(TYP, &ann.kid, &good);
        stated["payload"]["decision"] = json!("denied");
        stated
    };
    for (what, statement) in [
        ("another ledger", with("origin", json!("other.example"))),
        ("another call", with("call", json!(Hash::of(b"other")))),
        ("another digest", with("digest", json!("00"))),
        ("neither yes nor no", with("decision", json!("perhaps"))),
        ("other policies", with("policies", json!([Hash::of(b"other")]))),
        ("no policies", without("policies")),
        ("no end", without("expires")),
        ("over", with("expires", json!(past))),
        ("answered before it was shown", with("answered", json!(past))),
        ("answered in the future", with("answered", json!(far))),
        ("something else shown", with("shown_sha256", json!(Hash::of(b"other")))),
        ("nothing shown", without("shown_sha256")),
        ("another origin", by(&|key| key.origin = "https://evil.example".into())),
        ("another site", by(&|key| key.rp_id = "evil.example".into())),
        ("in a frame", by(&|key| key.cross_origin = true)),
        ("nobody verified", by(&|key| key.flags = 0x01)),
        ("nobody there", by(&|key| key.flags = 0x04)),
        ("a registration", by(&|key| key.ceremony = Some("webauthn.create"))),
        ("another key", ben.key.state(TYP, &ann.kid, &good)),
        ("somebody else's key", ben.key.state(TYP, &ben.kid, &good)),
        ("a sign-in", ann.key.state("countersign-sign-in+passkey", &ann.kid, &good)),
        ("changed after it was signed", changed),
        ("a JWS of a key that is not hers", json!(jws)),
        ("nothing", json!(null)),
    ] {
        let answer = world.answer(&ann, &call, &statement).await;
        assert_eq!(answer.status, 400, "{what}: {answer:?}");
    }
    assert!(world.entries(&Kind::Approval).is_empty());
    let statement = ann.key.state(TYP, &ann.kid, &good);
    assert_eq!(world.answer(&ann, &call, &statement).await.status, 201, "the good one");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_from_elsewhere_or_without_a_session_answers_nothing() {
    let (_api, world) = world(1).await;
    let ann = world.person("ann", 3).await;
    let call = world.held("5").await;
    let said = payload(&world, &ann, &call, "approved").await;
    let body = json!({ "statement": ann.key.state(TYP, &ann.kid, &said) });
    let path = format!("/approve/{call}");
    for origin in ["https://evil.example", "null", "http://approve.example", "https://approve.example:444"] {
        assert_eq!(world.page("POST", &path, origin, &ann.cookie, &body).await.status, 403, "{origin}");
    }
    for cookie in ["", "__Host-countersign=x", &format!("{0}; {0}", ann.cookie), &ann.cookie.replace("__Host-", "")] {
        assert_eq!(world.post(&path, cookie, &body).await.status, 401, "{cookie}");
        let (status, html) = world.html(&path, cookie).await;
        assert!(status == 200 && !html.contains("data-digest") && html.contains("sign-in"), "{html}");
    }
    // An approver's secret is no session, a session is no secret, an agent's token is neither.
    for secret in [APPROVER, OPERATOR, HOST, &world.token] {
        let request = Request::post(format!("http://{}{path}", world.api)).header("origin", ORIGIN);
        let request = request.header("authorization", format!("Bearer {secret}"));
        assert_eq!(world.send_as(request.body(full(body.to_string())).unwrap()).await.status, 401);
    }
    let path = format!("/v1/approvals/{call}");
    assert_eq!(world.page("POST", &path, ORIGIN, &ann.cookie, &body).await.status, 401);
    // Who signed out, or whose key is gone, is out.
    let second =
        world.sign_in(&ann.key).await.headers["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
    assert_eq!(world.post("/approve/sign-out", &second, &json!({})).await.status, 204);
    assert!(!world.html("/approve", &second).await.1.contains("sign-out"));
    assert!(world.html("/approve", &ann.cookie).await.1.contains("sign-out"));
    let gone = json!({ "party": "ann", "jwk": ann.key.jwk(), "event": "revoked" });
    assert_eq!(world.ask("POST", "/v1/keys", OPERATOR, &gone).await.status, 201);
    assert!(!world.html("/approve", &ann.cookie).await.1.contains("sign-out"));
    assert_eq!(world.sign_in(&ann.key).await.status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_in_and_a_link_serve_once() {
    let (_api, world) = world(1).await;
    let ann = world.person("ann", 3).await;
    let ticket = attribute(&world.html("/approve", "").await.1, "ticket");
    assert_eq!(world.sign_in_with(&ann.key, &ticket).await.status, 204);
    assert_eq!(world.sign_in_with(&ann.key, &ticket).await.status, 401, "replayed");
    for made_up in ["", "AAAA", &format!("AAAA{}", ticket.split_at(4).1)] {
        assert_eq!(world.sign_in_with(&ann.key, made_up).await.status, 401, "{made_up}");
    }
    assert_eq!(world.sign_in(&Authenticator::new(9, ORIGIN)).await.status, 401, "nobody let it in");

    let link = world.link("ben").await;
    assert_eq!(world.enrol("AAAA", &Authenticator::new(4, ORIGIN)).await.status, 404);
    assert_eq!(world.enrol(&link, &Authenticator::new(4, "https://evil.example")).await.status, 400);
    assert_eq!(world.enrol(&link, &ann.key).await.status, 400, "another's key; the link is still good");
    assert_eq!(world.enrol(&link, &Authenticator::new(4, ORIGIN)).await.status, 204);
    assert_eq!(world.enrol(&link, &Authenticator::new(5, ORIGIN)).await.status, 404);
    for (secret, status) in [(APPROVER, 403), (HOST, 403), (&*world.token, 401)] {
        let asked = json!({ "party": "eve" });
        assert_eq!(world.ask("POST", "/v1/enrolments", secret, &asked).await.status, status);
    }
    let agent = json!({ "party": "agent-1", "role": "agent" });
    assert_eq!(world.ask("POST", "/v1/parties", OPERATOR, &agent).await.status, 201);
    for asked in [json!({ "party": "agent-1" }), json!({ "party": "" }), json!({ "party": "x", "expires_in": 0 })] {
        assert_eq!(world.ask("POST", "/v1/enrolments", OPERATOR, &asked).await.status, 400, "{asked}");
    }
    // Nobody becomes an approver of the pages but by a link.
    let key = Authenticator::new(8, ORIGIN);
    let asked = json!({ "party": "eve", "jwk": key.jwk(), "passkey": key.passkey() });
    assert_eq!(world.ask("POST", "/v1/keys", OPERATOR, &asked).await.status, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_of_an_authenticator_is_refused() {
    let (_api, world) = world(1).await;
    let mut ann = world.person("ann", 3).await;
    let call = world.held("5").await;
    let said = payload(&world, &ann, &call, "denied").await;
    ann.key.counter = 7;
    assert_eq!(world.answer(&ann, &call, &ann.key.state(TYP, &ann.kid, &said)).await.status, 201);
    let call = world.held("6").await;
    let said = payload(&world, &ann, &call, "approved").await;
    for counter in [7, 6, 0] {
        ann.key.counter = counter;
        let answer = world.answer(&ann, &call, &ann.key.state(TYP, &ann.kid, &said)).await;
        assert_eq!((answer.status, answer.code().as_str()), (403, "passkey-copied"));
        assert_eq!(world.sign_in(&ann.key).await.status, 403);
    }
    ann.key.counter = 8;
    assert_eq!(world.answer(&ann, &call, &ann.key.state(TYP, &ann.kid, &said)).await.status, 201);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_different_approvers_are_two_and_neither_is_the_agent() {
    let (api, world) = world(2).await;
    register(&world).await;
    let ann = world.person("ann", 3).await;
    let call = world.held("5").await;
    let held = waiting(&world).await.remove(0);
    assert_eq!((&held["needs"], &held["approved_by"]), (&json!(2), &json!([])));
    let said = payload(&world, &ann, &call, "approved").await;
    assert_eq!(world.answer(&ann, &call, &ann.key.state(TYP, &ann.kid, &said)).await.json()["approvals"], 1);
    same_after_a_restart(&world);
    assert_eq!(world.pay(IBAN, "5").await.code(), "approval-required");
    let twice = world.answer(&ann, &call, &ann.key.state(TYP, &ann.kid, &said)).await;
    assert_eq!((twice.status, twice.code().as_str()), (409, "already-answered"));
    // An approver of the same name is the same approver, whatever the form of the signature.
    assert_eq!(waiting(&world).await.remove(0)["approved_by"], json!(["ann"]));
    assert_eq!(decide(&world, &held, "approved").await.status, 201, "carol, from the command line");
    same_after_a_restart(&world);
    assert_eq!((world.pay(IBAN, "5").await.status, world.pay(IBAN, "5").await.status, api.calls()), (200, 403, 1));
    let released = world.entries(&Kind::Call).into_iter().find(|(_, call)| call.body["verdict"] == "allow").unwrap().1;
    assert_eq!(released.body["approvals"].as_array().unwrap().len(), 2);
    assert_eq!(released.body["approvals"][1], released.body["approval"]);

    // One no is final, also after a yes.
    let call = world.held("6").await;
    let said = payload(&world, &ann, &call, "approved").await;
    assert_eq!(world.answer(&ann, &call, &ann.key.state(TYP, &ann.kid, &said)).await.status, 201);
    let held = waiting(&world).await.into_iter().find(|held| held["call"] == call.as_str()).unwrap();
    assert_eq!(decide(&world, &held, "denied").await.status, 201);
    assert_eq!(world.pay(IBAN, "6").await.code(), "approval-denied");
    same_after_a_restart(&world);

    // A party of the agent's name has an approver's passkey: it answers nothing of the agent's.
    let agent = world.person("agent-1", 6).await;
    let call = world.held("7").await;
    let said = payload(&world, &agent, &call, "approved").await;
    assert_eq!(world.answer(&agent, &call, &agent.key.state(TYP, &agent.kid, &said)).await.status, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_answers_at_once_are_as_many_as_approvers() {
    let (api, world) = world(2).await;
    let people = [world.person("ann", 3).await, world.person("ben", 4).await, world.person("cem", 5).await];
    let call = world.held("5").await;
    let mut answers = Vec::new();
    for person in people.iter().cycle().take(12) {
        let said = payload(&world, person, &call, "approved").await;
        answers.push((person, person.key.state(TYP, &person.kid, &said)));
    }
    let all = answers.iter().map(|(person, statement)| world.answer(person, &call, statement));
    let mut taken = 0;
    for answer in super::hold::futures(all.collect()).await {
        taken += usize::from(answer.status == 201);
        assert!([201, 404, 409].contains(&answer.status), "{answer:?}");
    }
    assert_eq!((taken, world.entries(&Kind::Approval).len()), (2, 2));
    same_after_a_restart(&world);
    assert_eq!((world.pay(IBAN, "5").await.status, world.pay(IBAN, "5").await.status, api.calls()), (200, 403, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_cannot_flood_an_approver() {
    let (_api, world) = world(1).await;
    let ann = world.person("ann", 3).await;
    let mut refused = 0;
    for amount in 1..=40 {
        let answer = world.pay(IBAN, &amount.to_string()).await;
        if answer.code() == "held-too-many" {
            assert_eq!(answer.status, 429);
            refused += 1;
        }
    }
    assert_eq!((waiting(&world).await.len(), refused), (5, 35));
    same_after_a_restart(&world);
    let first = world.held("1").await;
    let html = world.html("/approve", &ann.cookie).await.1;
    assert_eq!(html.matches("class=\"call\"").count(), 5);
    assert_eq!(html.matches("<blockquote>").count(), 1, "one instruction, its words once");
    assert!(html.find(&first).unwrap() < html.find("amount: 2").unwrap(), "the oldest first");
    // One answered makes room for one.
    let said = payload(&world, &ann, &first, "denied").await;
    assert_eq!(world.answer(&ann, &first, &ann.key.state(TYP, &ann.kid, &said)).await.status, 201);
    assert_eq!(world.pay(IBAN, "39").await.code(), "approval-required");
    assert_eq!(world.pay(IBAN, "40").await.code(), "held-too-many");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_for_the_agents_user_tells_how_it_stands_and_no_more() {
    let (_api, world) = world(1).await;
    let ann = world.person("ann", 3).await;
    let held = world.pay(IBAN, "5").await.json();
    let page = held["page"].as_str().unwrap().strip_prefix(ORIGIN).unwrap().to_owned();
    let call = held["held"].as_str().unwrap();
    let (status, html) = world.html(&page, "").await;
    assert!(status == 200 && html.contains("It waits for an approver"), "{html}");
    for secret in [IBAN, "pay", "ann", "agent-1"] {
        assert!(!html.contains(secret), "{secret}: {html}");
    }
    assert_eq!(world.html(&page.replace(call, "x"), "").await.0, 404);
    assert_eq!(world.html(&page.replace(&world.instruction, "x"), "").await.0, 404);
    let said = payload(&world, &ann, call, "approved").await;
    assert_eq!(world.answer(&ann, call, &ann.key.state(TYP, &ann.kid, &said)).await.status, 201);
    assert!(world.html(&page, "").await.1.contains("It was approved"));
    assert_eq!(world.pay(IBAN, "5").await.status, 200);
    assert!(world.html(&page, "").await.1.contains("It was made"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_signs_an_instruction_with_a_passkey() {
    let (_api, world) = world(1).await;
    let key = Authenticator::new(3, "https://app.example");
    let asked = json!({ "party": "ann", "jwk": key.jwk(), "passkey": key.passkey() });
    let registered = world.ask("POST", "/v1/keys", OPERATOR, &asked).await;
    assert_eq!(registered.status, 201);
    let kid = registered.json()["kid"].as_str().unwrap().to_owned();
    let instruct = |statement: Value| {
        let asked = json!({
            "words": "pay 5", "principal": "ann", "agent": "agent-1", "scope": { "actions": ["pay"] }, "statement": statement,
        });
        let world = &world;
        async move { world.ask("POST", "/v1/instructions", HOST, &asked).await }
    };
    let typ = "countersign-instruction+passkey";
    let said = json!({ "origin": LEDGER, "principal": "ann", "words": "pay 5" });
    let taken = instruct(key.state(typ, &kid, &said)).await;
    assert_eq!(taken.status, 201);
    let seq = world.gateway.ledger.of_instruction(taken.json()["instruction"].as_str().unwrap()).unwrap()[0];
    let entry = world.gateway.entry(seq).unwrap();
    assert_eq!((&entry.body["attested_by"], &entry.body["check"]["alg"]), (&json!("user_key"), &json!("webauthn")));
    let other = json!({ "origin": LEDGER, "principal": "ann", "words": "pay 6" });
    let mut careless = Authenticator::new(3, "https://app.example");
    careless.flags = 0x01;
    for bad in [key.state(typ, &kid, &other), key.state(TYP, &kid, &said), careless.state(typ, &kid, &said)] {
        assert_eq!(instruct(bad).await.status, 400);
    }
}

//! An agent hands a narrower grant on to another, and nothing else.

use countersign_ledger::{Kind, statement::Jwk, statement::Statement};
use ed25519_dalek::SigningKey;
use http::Request;
use serde_json::{Value, json};

use super::{
    raw::breaks,
    world::{APPROVER, Answer, Api, HOST, OPERATOR, World, full_scope_without_budget, json_answer, nobody, upstream},
};
use crate::error::full;

const IBAN: &str = "GB29NWBK60161331926819";

fn encoded(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

impl World {
    async fn form(&self, pairs: &[(&str, &str)]) -> Answer {
        let body: Vec<String> = pairs.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect();
        let request = Request::post(format!("http://{}/v1/token", self.api))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(full(body.join("&")))
            .unwrap();
        let answer = self.send_as(request).await;
        assert_eq!(super::schema::check("POST", "/v1/token", &answer), Ok(()));
        answer
    }

    async fn exchange(&self, token: &str, actor: &str, mut scope: Value, more: &[(&str, &str)]) -> Answer {
        scope["type"] = json!("countersign_grant");
        let details = json!([scope]).to_string();
        let mut pairs = vec![
            ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
            ("subject_token", token),
            ("subject_token_type", "urn:ietf:params:oauth:token-type:access_token"),
            ("actor", actor),
            ("authorization_details", &details),
        ];
        pairs.extend(more);
        self.form(&pairs).await
    }

    /// A narrower token, which must be given, with its grant.
    async fn delegated(&self, token: &str, actor: &str, scope: Value) -> (String, String) {
        let answer = self.exchange(token, actor, scope, &[]).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let text = |name: &str| answer.json()[name].as_str().unwrap().to_owned();
        (text("access_token"), text("grant"))
    }

    async fn pay_as(&self, token: &str, to: &str, amount: &str) -> Answer {
        let request = Request::post(format!("http://{}/pay", self.address))
            .header("authorization", format!("Bearer {token}"))
            .header("content-type", "application/json");
        self.send_as(request.body(full(json!({ "to": to, "amount": amount }).to_string())).unwrap()).await
    }

    /// What was spent of each grant, as it is in memory, which must be what the ledger holds.
    fn spent(&self) -> Vec<String> {
        let live = self.gateway.live(&self.instruction).unwrap();
        self.gateway.forget(&self.instruction);
        let loaded = self.gateway.live(&self.instruction).unwrap();
        let (one, other) = (live.lock(), loaded.lock());
        assert_eq!((&one.grant, &one.delegated), (&other.grant, &other.delegated));
        assert_eq!(one.unsettled, other.unsettled);
        let states = one.grant.iter().chain(one.delegated.values());
        states.map(|state| state.usage.spent.get("pay").copied().unwrap_or_default().to_string()).collect()
    }
}

fn error(answer: &Answer) -> String {
    answer.json()["error"].as_str().unwrap_or_default().to_owned()
}

fn pays(limit: &str) -> Value {
    json!({ "actions": [{ "action": "pay", "budget": { "argument": "amount", "limit": limit } }] })
}

#[tokio::test]
async fn what_is_spent_under_a_delegated_grant_is_spent_of_every_grant_above_it() {
    let api = Api::start(|_| json_answer(&json!({}))).await;
    let world = World::start(api.address).await;
    let (token, _) = world.delegated(&world.token, "helper", pays("60")).await;
    let (deeper, _) = world.delegated(&token, "helper's helper", pays("50")).await;
    assert_eq!(world.pay_as(&deeper, IBAN, "40").await.status, 200);
    assert_eq!(world.pay_as(&token, IBAN, "20").await.status, 200);
    let over = world.pay_as(&deeper, IBAN, "1").await;
    assert_eq!(
        (over.status, over.code().as_str()),
        (403, "budget-exhausted"),
        "the helper's 60 are spent, its helper's 50 are not"
    );
    assert_eq!(world.pay(IBAN, "40").await.status, 200);
    let over = world.pay(IBAN, "1").await;
    assert_eq!(over.code(), "budget-exhausted", "the host's 100 are spent by all together");
    world.outcomes(3).await;
    assert_eq!(world.spent(), ["100", "60", "40"]);
    let call = &world.entries(&Kind::Call)[0].1;
    assert_eq!(call.text("agent"), Some("helper's helper"));
    let delegations = world.entries(&Kind::Delegation);
    assert_eq!(delegations[1].1.text("from"), delegations[0].1.text("grant"));
    assert_eq!((&delegations[0].1.body["depth"], &delegations[1].1.body["depth"]), (&json!(1), &json!(2)));
}

#[tokio::test]
async fn a_call_that_was_not_sent_gives_back_to_every_grant() {
    let world = World::start(nobody().await).await;
    let (token, _) = world.delegated(&world.token, "helper", pays("60")).await;
    assert_eq!(world.pay_as(&token, IBAN, "40").await.status, 502);
    world.outcome().await;
    assert_eq!(world.spent(), ["0", "0"]);
}

#[tokio::test]
async fn the_token_names_every_agent_it_went_through_the_newest_outside() {
    let world = World::start(nobody().await).await;
    let (token, _) = world.delegated(&world.token, "b", pays("60")).await;
    let (token, grant) = world.delegated(&token, "c", pays("60")).await;
    let claims = Statement::parse(&token).unwrap().payload_unverified().clone();
    assert_eq!(claims["sub"], "agent-1");
    assert_eq!(claims["act"], json!({ "sub": "c", "act": { "sub": "b" } }));
    assert_eq!((&claims["jti"], &claims["client_id"]), (&json!(grant), &json!("c")));
    let (token, _) = world.delegated(&token, "d", pays("60")).await;
    let deeper = world.exchange(&token, "e", pays("60"), &[]).await;
    assert_eq!((deeper.status, error(&deeper).as_str()), (400, "unauthorized_client"), "three times and no more");
}

#[tokio::test]
async fn what_an_agent_writes_into_a_grant_is_not_the_hosts_word() {
    let api = Api::start(|_| json_answer(&json!({}))).await;
    let world = World::with(upstream(&format!("http://{}", api.address)), |_| {}, full_scope_without_budget()).await;
    let theirs = "DE02120300000000202051";
    for constraint in [json!({ "equals": theirs }), json!({ "one_of": [theirs] }), json!({ "subset": [theirs] })] {
        let scope = json!({ "actions": [{ "action": "pay", "arguments": { "to": constraint } }] });
        let (token, _) = world.delegated(&world.token, "agent-1", scope).await;
        let answer = world.pay_as(&token, theirs, "1").await;
        assert_eq!((answer.status, answer.code().as_str()), (403, "approval-required"), "{answer:?}");
    }
    assert_eq!(api.calls(), 0);
}

#[tokio::test]
async fn a_grant_that_is_withdrawn_goes_with_all_that_was_cut_from_it() {
    let api = Api::start(|_| json_answer(&json!({}))).await;
    let world = World::start(api.address).await;
    let (token, grant) = world.delegated(&world.token, "b", pays("60")).await;
    let (deeper, _) = world.delegated(&token, "c", pays("60")).await;
    let (other, _) = world.delegated(&world.token, "d", pays("60")).await;
    let revoke = json!({ "what": "grant", "id": grant, "instruction": world.instruction, "reason": "over" });
    assert_eq!(world.ask("POST", "/v1/revocations", HOST, &revoke).await.status, 201);
    for token in [&token, &deeper] {
        assert_eq!(world.pay_as(token, IBAN, "1").await.code(), "revoked");
        let again = world.exchange(token, "e", pays("1"), &[]).await;
        assert_eq!(error(&again), "invalid_request");
    }
    assert_eq!(world.pay_as(&other, IBAN, "1").await.status, 200, "what was not cut from it holds on");
    // An agent that is withdrawn takes along what it handed on.
    let agent = json!({ "what": "agent", "id": "agent-1", "reason": "over" });
    assert_eq!(world.ask("POST", "/v1/revocations", OPERATOR, &agent).await.status, 201);
    assert_eq!(world.pay_as(&other, IBAN, "1").await.code(), "revoked");
    world.outcome().await;
    world.spent();
    assert_eq!(
        world
            .ask(
                "POST",
                "/v1/revocations",
                OPERATOR,
                &json!({ "what": "agent", "id": "agent-1", "reason": "again", "lift": true })
            )
            .await
            .status,
        201
    );
    assert_eq!(
        world
            .ask(
                "POST",
                "/v1/revocations",
                HOST,
                &json!({ "what": "instruction", "id": world.instruction, "reason": "over" })
            )
            .await
            .status,
        201
    );
    assert_eq!(world.pay_as(&other, IBAN, "1").await.code(), "revoked");
}

#[tokio::test]
async fn what_is_wider_or_cannot_be_read_in_one_way_is_refused() {
    let world = World::start(nobody().await).await;
    for (scope, wanted) in [
        (pays("101"), "invalid_authorization_details"),
        (json!({ "actions": ["delete"] }), "invalid_authorization_details"),
        (json!({ "actions": [] }), "invalid_authorization_details"),
        (json!({ "actions": ["pay"], "expires_in": 100_000 }), "invalid_authorization_details"),
        (json!({ "actions": ["pay"], "key": "nobody's" }), "invalid_authorization_details"),
        (json!({ "actions": ["pay"], "expires": "never" }), "invalid_authorization_details"),
        (json!({ "actions": [{ "intent": "x" }] }), "invalid_authorization_details"),
        (json!({}), "invalid_authorization_details"),
    ] {
        let answer = world.exchange(&world.token, "helper", scope.clone(), &[]).await;
        assert_eq!((answer.status, error(&answer).as_str()), (400, wanted), "{scope}: {answer:?}");
    }
    let token = world.token.clone();
    let good = [
        ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
        ("subject_token", token.as_str()),
        ("subject_token_type", "urn:ietf:params:oauth:token-type:jwt"),
        ("actor", "helper"),
        ("scope", "pay get"),
        ("audience", "test.example"),
    ];
    assert_eq!(world.form(&good).await.status, 200);
    let with = |name: &'static str, value: &'static str| {
        let mut pairs = good.to_vec();
        pairs.retain(|(other, _)| *other != name);
        pairs.push((name, value));
        pairs
    };
    let twice = [&good[..], &[("actor", "other")]].concat();
    for (pairs, wanted) in [
        (with("grant_type", "password"), "unsupported_grant_type"),
        (with("grant_type", ""), "invalid_request"),
        (with("subject_token", HOST), "invalid_request"),
        (with("subject_token", ""), "invalid_request"),
        (with("subject_token_type", "urn:ietf:params:oauth:token-type:saml2"), "invalid_request"),
        (with("requested_token_type", "urn:ietf:params:oauth:token-type:refresh_token"), "invalid_request"),
        (with("actor", ""), "invalid_request"),
        (with("actor_token", "x"), "invalid_request"),
        (with("scope", ""), "invalid_request"),
        (with("authorization_details", "[]"), "invalid_request"),
        (with("audience", "other.example"), "invalid_target"),
        (with("resource", "https://api.example"), "invalid_target"),
        (twice, "invalid_request"),
    ] {
        let answer = world.form(&pairs).await;
        assert_eq!((answer.status, error(&answer).as_str()), (400, wanted), "{pairs:?}");
        assert_eq!(answer.headers["cache-control"], "no-store");
    }
    assert_eq!(world.entries(&Kind::Delegation).len(), 1, "what is refused leaves no grant");
}

#[tokio::test]
async fn a_grant_bound_to_a_key_is_handed_on_and_spoken_under_with_that_key_only() {
    let mut world = World::start(nobody().await).await;
    let (key, other) = (SigningKey::from_bytes(&[3; 32]), SigningKey::from_bytes(&[4; 32]));
    for key in [&key, &other] {
        let jwk = Jwk::ed25519(&key.verifying_key());
        let body = json!({ "party": "agent-1", "jwk": jwk });
        assert_eq!(world.ask("POST", "/v1/keys", OPERATOR, &body).await.status, 201);
    }
    let jkt = Jwk::ed25519(&key.verifying_key()).thumbprint();
    (world.instruction, world.token) = world.instruct(json!({ "actions": ["pay"], "key": jkt })).await;
    let claims = Statement::parse(&world.token).unwrap().payload_unverified().clone();
    assert_eq!(claims["cnf"], json!({ "jkt": jkt }));
    let said = |grant: &str| json!({ "grant": grant, "action": "pay", "arguments": {} });
    let unsigned = json!({ "unsigned": { "action": "pay" } });
    assert_eq!(world.ask("POST", "/v1/decisions", &world.token, &unsigned).await.status, 400);
    let grant = claims["jti"].as_str().unwrap();
    for (key, wanted) in [(&other, 400), (&key, 201)] {
        let statement = Statement::sign("countersign-decision+jwt", &said(grant), key).unwrap();
        let answer = world.ask("POST", "/v1/decisions", &world.token, &json!({ "statement": statement })).await;
        assert_eq!(answer.status, wanted, "{answer:?}");
    }
    let scope = json!({ "actions": ["pay"], "key": jkt });
    let details = json!([{ "actions": ["pay"], "key": jkt, "type": "countersign_grant" }]);
    let about = |actor: &str, details: &Value| json!({ "origin": "test.example", "from": grant, "actor": actor, "authorization_details": details });
    let sign = |said: &Value, key| Statement::sign("countersign-delegation+jwt", said, key).unwrap();
    let unbound = json!([{ "actions": ["pay"], "type": "countersign_grant" }]);
    for (statement, scope, wanted) in [
        (None, scope.clone(), "invalid_request"),
        (Some(sign(&about("agent-1", &details), &other)), scope.clone(), "invalid_request"),
        (Some(sign(&about("another", &details), &key)), scope.clone(), "invalid_request"),
        (Some(sign(&about("agent-1", &unbound), &key)), json!({ "actions": ["pay"] }), "invalid_authorization_details"),
        (Some(sign(&about("agent-1", &details), &key)), scope.clone(), ""),
    ] {
        let more: Vec<(&str, &str)> = statement.iter().map(|text| ("statement", text.as_str())).collect();
        let answer = world.exchange(&world.token, "agent-1", scope, &more).await;
        assert_eq!(error(&answer), wanted, "{answer:?}");
    }
    assert_eq!(world.entries(&Kind::Delegation)[0].1.body["check"]["result"], "valid");
}

#[tokio::test]
async fn what_nobody_knows_stays_reserved_until_a_person_signs_what_became_of_it() {
    // It hangs up before it answers: perhaps it executed what it was asked.
    let world = World::start(breaks("").await).await;
    let (token, _) = world.delegated(&world.token, "helper", pays("60")).await;
    assert_eq!(world.pay_as(&token, IBAN, "40").await.status, 502);
    let (outcome, _) = world.outcome().await;
    assert_eq!(outcome.text("sent"), Some("maybe"));
    assert_eq!(world.spent(), ["40", "40"], "nobody knows, so it stays reserved");
    let call = outcome.text("call").unwrap().to_owned();
    let key = SigningKey::from_bytes(&[5; 32]);
    let body = json!({ "party": "carol", "jwk": Jwk::ed25519(&key.verifying_key()) });
    assert_eq!(world.ask("POST", "/v1/keys", OPERATOR, &body).await.status, 201);
    let path = format!("/v1/calls/{call}/settle");
    let said = |origin: &str, call: &str, executed: Value| json!({ "origin": origin, "call": call, "executed": executed, "reason": "the bank's list does not have it" });
    let post = |said: Value, key: &SigningKey| json!({ "statement": Statement::sign("countersign-settlement+jwt", &said, key).unwrap() });
    let none = "0".repeat(64);
    for (bad, key) in [
        (said("other.example", &call, json!(false)), &key),
        (said("test.example", &none, json!(false)), &key),
        (said("test.example", &call, json!("no")), &key),
        (said("test.example", &call, json!(false)), &SigningKey::from_bytes(&[6; 32])),
    ] {
        assert_eq!(world.ask("POST", &path, APPROVER, &post(bad, key)).await.status, 400);
    }
    let good = post(said("test.example", &call, json!(false)), &key);
    assert_eq!(world.ask("POST", &path, OPERATOR, &good).await.status, 400, "the key is not the operator's");
    assert_eq!(world.ask("POST", &path, &token, &good).await.status, 401, "an agent settles nothing");
    let settled = world.ask("POST", &path, APPROVER, &good).await;
    assert_eq!(settled.status, 201, "{settled:?}");
    assert_eq!(world.ask("POST", &path, APPROVER, &good).await.status, 404, "once");
    assert_eq!(world.spent(), ["0", "0"], "it was not executed, so it is given back");
    assert_eq!(world.entries(&Kind::Settlement).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_apis_own_log_settles_what_nobody_knows_once_and_gives_back_what_was_not_executed() {
    for (executed, left) in [(true, "40"), (false, "0")] {
        // It hangs up before it answers: perhaps it executed what it was asked.
        let world = World::start(breaks("").await).await;
        let (token, _) = world.delegated(&world.token, "helper", pays("60")).await;
        assert_eq!(world.pay_as(&token, IBAN, "40").await.status, 502);
        let (outcome, _) = world.outcome().await;
        assert_eq!(outcome.text("sent"), Some("maybe"));
        let call = outcome.text("call").unwrap();
        let result = if executed { "executed" } else { "not_executed" };
        let found = json!([{ "result": result, "call": call, "details": { "why": "named-and-done" } }]);
        let body = json!({ "run": "r", "upstream": "api", "found": found });
        let settled = world.ask("POST", "/v1/reconciliations", OPERATOR, &body).await;
        assert_eq!((settled.status, &settled.json()["settled"]), (201, &json!(1)), "{settled:?}");
        assert_eq!(world.spent(), [left, left]);
        let again = world.ask("POST", "/v1/reconciliations", OPERATOR, &body).await;
        assert_eq!(again.json()["settled"], json!(0), "once");
        let [(_, settlement)] = world.entries(&Kind::Settlement).try_into().unwrap();
        let (_, reconciled) = &world.entries(&Kind::Reconciliation)[0];
        assert_eq!(reconciled.text("result"), Some(result));
        assert_eq!(
            (settlement.text("source"), &settlement.body["executed"]),
            (Some("reconciliation"), &json!(executed))
        );
        assert_eq!(settlement.parents.len(), 3, "the call, its outcome and what the log said");
    }
}

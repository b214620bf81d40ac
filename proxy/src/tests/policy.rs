//! What the organisation forbids beside the grants, and what of it is in the ledger.

use countersign_authorize::{
    catalogue::Catalogue,
    policy::{File, Policies},
};
use countersign_ledger::{Entry, Hash, Kind};
use http::Response;
use serde_json::json;

use super::{
    hold::{decide, register, same_after_a_restart, waiting},
    world::{Api, CATALOGUE, World, json_answer, upstream, whole},
};
use crate::state::Gateway;

const RULES: &str = r#"
@id("no-secrets") @message("secrets are not read")
forbid (principal, action == Action::"api:get", resource)
when { context.arguments has what && context.arguments.what == "secret" };

@id("large") @hold("more than 50")
forbid (principal, action in Action::"irreversible", resource)
when { context.arguments.amount.greaterThan(decimal("50.0")) };
"#;

const IBAN: &str = "GB29NWBK60161331926819";

pub(super) async fn put(gateway: &Gateway, catalogue: &str, rules: &[(&str, &str)]) -> Vec<String> {
    let parsed = Catalogue::parse(catalogue).unwrap();
    let file = |(name, text): &(&str, &str)| File { name: (*name).to_owned(), text: (*text).to_owned() };
    let files: Vec<File> = rules.iter().map(file).collect();
    let policies = (!files.is_empty()).then(|| Policies::parse(files, [&parsed].into_iter()).unwrap());
    gateway.replace_rules(vec![(parsed, catalogue.to_owned())], policies).await.unwrap()
}

pub(super) fn policy_entries(gateway: &Gateway) -> Vec<Entry> {
    let size = gateway.ledger.head().size();
    let entries = (0..size).map(|seq| gateway.entry(seq).unwrap());
    entries.filter(|entry| entry.kind == Kind::Policy).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_denies_or_holds_what_the_grant_allows_and_the_record_names_it() {
    let api = Api::start(|_| json_answer(&json!({ "ok": true }))).await;
    let mut world = World::start(api.address).await;
    register(&world).await;
    assert_eq!(put(&world.gateway, CATALOGUE, &[("rules.cedar", RULES)]).await, ["policy rules.cedar"]);
    assert_eq!(world.get("/account").await.status, 200);
    let refused = world.get("/secret").await;
    assert_eq!((refused.status, refused.code()), (403, "policy-forbids".to_owned()));
    assert!(refused.json()["detail"].as_str().unwrap().contains("`no-secrets` forbids it: secrets are not read"));

    assert_eq!(world.pay(IBAN, "40").await.status, 200);
    let held = world.pay(IBAN, "50.01").await;
    assert_eq!(held.code(), "approval-required");
    let waits = waiting(&world).await;
    assert_eq!(decide(&world, &waits[0], "approved").await.status, 201);
    assert_eq!(world.pay(IBAN, "50.01").await.status, 200);
    assert_eq!(world.pay(IBAN, "50.01").await.code(), "budget-exhausted", "the grant is asked first");

    let digest = Hash::of(RULES.as_bytes()).to_string();
    for (_, call) in world.entries(&Kind::Call) {
        assert!(call.body["policies"].as_array().unwrap().contains(&json!(digest)), "{call:?}");
    }
    let rules: Vec<_> = world.entries(&Kind::Call).iter().map(|(_, call)| call.body["rules"].to_string()).collect();
    assert!(rules[1].contains("policy:no-secrets") && rules[3].contains("policy:large"), "{rules:?}");
    same_after_a_restart(&world);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_into_force_and_what_is_taken_out_is_in_the_ledger() {
    let api = Api::start(|_| Response::new(whole("plain"))).await;
    let mut world = World::start(api.address).await;
    let gateway = world.gateway.clone();
    let put = async |rules: &[(&str, &str)]| put(&gateway, CATALOGUE, rules).await;
    assert_eq!(put(&[("rules.cedar", RULES)]).await, ["policy rules.cedar"]);
    assert_eq!(put(&[("rules.cedar", RULES)]).await, [""; 0], "what is the same is not recorded again");
    assert_eq!(put(&[("rules.cedar", "")]).await, ["policy rules.cedar"]);
    assert_eq!(put(&[("rules.cedar", RULES)]).await, ["policy rules.cedar"], "and back, at once");
    assert_eq!(world.get("/secret").await.status, 403);
    assert_eq!(put(&[]).await, ["policy rules.cedar (taken out)"]);
    assert_eq!(world.get("/secret").await.status, 200);
    let recorded: Vec<_> = policy_entries(&gateway).iter().map(|entry| entry.body["size"].as_u64()).collect();
    let (catalogue, rules) = (Some(CATALOGUE.len() as u64), Some(RULES.len() as u64));
    assert_eq!(recorded, [catalogue, rules, Some(0), rules, Some(0)]);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_into_force_is_for_the_next_request_and_grants_stay_what_they_are() {
    let api = Api::start(|_| json_answer(&json!({ "account": "DE89370400440532013000" }))).await;
    let mut world = World::start(api.address).await;
    assert_eq!(world.get("/account").await.status, 200);
    world.outcome().await;
    // What the API says there is no account any more.
    let other = CATALOGUE.replace("\"/account\" = \"account\"", "\"/account\" = \"text\"");
    assert_eq!(put(&world.gateway, &other, &[]).await, ["catalogue api"]);
    assert_eq!(world.pay("DE89370400440532013000", "1").await.status, 200, "observed by the catalogue of its time");
    world.outcomes(2).await;
    same_after_a_restart(&world);
    let without =
        other.split("[[action]]").filter(|action| !action.contains("\"pay\"")).collect::<Vec<_>>().join("[[action]]");
    assert_eq!(put(&world.gateway, &without, &[]).await, ["catalogue api"]);
    assert_eq!(world.pay(IBAN, "1").await.code(), "action-unknown");
    assert_eq!(world.get("/account").await.status, 200);
    world.outcomes(3).await;
    same_after_a_restart(&world);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_on_an_argument_that_a_new_catalogue_renames_still_binds() {
    let api = Api::start(|_| json_answer(&json!({ "ok": true }))).await;
    let scope = json!({ "actions": [{ "action": "get", "arguments": { "what": { "equals": "account" } } }] });
    let url = format!("http://{}", api.address);
    let mut world = World::with(upstream(&url), |_| {}, scope).await;
    assert_eq!(world.get("/account").await.status, 200);
    let renamed = CATALOGUE.replacen("/{what}", "/{thing}", 1).replacen("what = {", "thing = {", 1);
    put(&world.gateway, &renamed, &[]).await;
    assert_eq!(world.get("/secret").await.code(), "argument-outside-grant");
    assert_eq!(world.get("/account").await.code(), "argument-outside-grant", "nothing can hold to it");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_action_in_shadow_mode_passes_and_brings_nothing_that_counts_elsewhere() {
    let api = Api::start(|_| json_answer(&json!({ "account": "DE89370400440532013000" }))).await;
    let catalogue = CATALOGUE.replacen("name = \"get\"\n", "name = \"get\"\nshadow = true\n", 1);
    let url = format!("http://{}", api.address);
    let mut world = World::of(&catalogue, upstream(&url), |_| {}, json!({ "actions": ["pay"] })).await;
    assert_eq!(world.get("/account").await.status, 200, "not granted, recorded, forwarded");
    world.outcome().await;
    let (_, call) = world.entries(&Kind::Call).remove(0);
    assert_eq!((call.text("verdict"), call.body.get("shadow")), (Some("deny"), Some(&json!(true))));
    assert_eq!(world.get("/x?unknown=1").await.status, 200, "its arguments are not enforced either");
    // Had the read been refused, the account would be in nothing observed.
    assert_eq!(world.pay("DE89370400440532013000", "1").await.code(), "approval-required");
    let head = world.send_as(world.request("HEAD", "/x").body(whole("")).unwrap()).await;
    assert_eq!(head.status, 403, "another action is none of its business");
    assert_eq!(world.pay(IBAN, "1").await.status, 200);
    world.outcomes(3).await;
    same_after_a_restart(&world);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn others_come_into_force_under_load_and_every_call_is_judged_by_one_set() {
    let api = Api::start(|_| json_answer(&json!({ "ok": true }))).await;
    let world = World::start(api.address).await;
    let forbid = "@id(\"no\") forbid (principal, action == Action::\"api:get\", resource);";
    let calls = async {
        for _ in 0..60 {
            let status = world.get("/x").await.status;
            assert!([200, 403].contains(&status), "{status}");
        }
    };
    let reloads = async {
        for round in 0..12 {
            let rules = [("rules.cedar", forbid)];
            put(&world.gateway, CATALOGUE, if round % 2 == 0 { &rules } else { &[] }).await;
        }
    };
    tokio::join!(calls, reloads);
    let digest = json!(Hash::of(forbid.as_bytes()).to_string());
    for (_, call) in world.entries(&Kind::Call) {
        let named = call.body["policies"].as_array().unwrap().contains(&digest);
        assert_eq!(call.text("verdict"), Some(if named { "deny" } else { "allow" }), "{call:?}");
    }
}

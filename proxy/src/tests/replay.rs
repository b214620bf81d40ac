//! Every verdict of every test is judged once more from what was recorded, when the test's world ends, and must be the same.

use std::collections::BTreeMap;

use countersign_authorize::ENGINE;
use countersign_ledger::{
    Entry, Hash, Kind,
    evidence::{Evidence, Shown},
    vault::Opened,
};
use countersign_trace::replay::{Comparison, Instead, Replayed, Why, replay};
use serde_json::json;

use super::world::{Api, World, json_answer};
use crate::state::Gateway;

/// Everything that the gateway recorded.
pub(super) fn evidence(gateway: &Gateway) -> Evidence {
    let mut evidence = Evidence::default();
    for seq in 0..gateway.ledger.head().size() {
        // A ledger that was made to fail holds what it holds.
        let Ok(bytes) = gateway.ledger.entry(seq) else { break };
        let opened = gateway.ledger.attachments(seq).unwrap().into_iter().map(|attachment| {
            let shown = match gateway.vault.open_attachment(&attachment).unwrap() {
                Opened::Value(disclosure) => Shown::Value(disclosure),
                Opened::Erased => Shown::Erased,
            };
            (attachment.name, shown)
        });
        let values: BTreeMap<String, Shown> = opened.collect();
        let entry = Entry::parse(&bytes).unwrap();
        let policy = entry.text("sha256").filter(|_| entry.kind == Kind::Policy);
        if let Some(hash) = policy.and_then(|hash| hash.parse::<Hash>().ok()) {
            evidence.policies.extend(gateway.ledger.policy(&hash).map(|bytes| (hash, bytes)));
        }
        evidence.add(bytes, values).unwrap();
    }
    evidence
}

/// Panics when a recorded verdict is not the replayed one.
pub(super) fn check(gateway: &Gateway) -> Vec<Replayed> {
    let replayed = replay(&evidence(gateway), &Instead::default());
    for one in &replayed {
        match &one.result {
            Comparison::Same | Comparison::NotReplayable { why: Why::Erased, .. } => {}
            Comparison::NotReplayable { why: Why::Unread, .. } => {
                assert!(one.verdict == "deny" && !one.forwarded, "{one}");
            }
            Comparison::Differs { .. } | Comparison::NotReplayable { .. } => panic!("{one}"),
        }
    }
    replayed
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verdict_that_was_written_down_otherwise_differs_and_what_is_withheld_is_not_replayed() {
    let api = Api::start(|_| json_answer(&json!({ "account": "DE89370400440532013000" }))).await;
    let mut world = World::start(api.address).await;
    world.get("/account").await;
    world.outcome().await;
    assert_eq!(world.pay("DE89370400440532013000", "7.50").await.status, 200);
    world.pay("ES9121000418450200051332", "1.25").await;
    assert!(check(&world.gateway).iter().all(|one| one.result == Comparison::Same));

    let good = evidence(&world.gateway);
    let calls: Vec<u64> =
        good.items.values().filter(|item| item.entry.kind == Kind::Call).map(|i| i.entry.seq).collect();
    let result = |evidence: &Evidence, index: usize| replay(evidence, &Instead::default()).remove(index).result;

    let mut lied = good.clone();
    let held = lied.items.get_mut(&calls[2]).unwrap();
    held.entry.body.insert("verdict".to_owned(), "allow".into());
    let Comparison::Differs { differences } = result(&lied, 2) else { panic!("not seen") };
    assert_eq!((differences[0].what, &differences[0].replayed), ("verdict", &json!("hold")));

    // Without what the API answered, nobody can say where the payee came from.
    let mut withheld = good.clone();
    let outcome = withheld.items.values_mut().find(|item| item.entry.kind == Kind::Outcome).unwrap();
    outcome.values.insert("observed".to_owned(), Shown::Withheld);
    assert_eq!(result(&withheld, 0), Comparison::Same);
    let Comparison::NotReplayable { why, .. } = result(&withheld, 1) else { panic!("replayed without its grounds") };
    assert_eq!(why, Why::Undisclosed);

    let mut cut = good.clone();
    cut.items.remove(&calls[0]);
    let Comparison::NotReplayable { why, .. } = result(&cut, 0) else { panic!("a gap was not seen") };
    assert_eq!(why, Why::Missing);

    let mut older = good.clone();
    older
        .items
        .get_mut(&calls[1])
        .unwrap()
        .entry
        .body
        .insert("engine".to_owned(), "countersign-authorize/0.1.0".into());
    let said = replay(&older, &Instead::default()).remove(1);
    let Comparison::NotReplayable { why: Why::Engine, .. } = said.result else { panic!("compared: {said}") };
    let engines = format!("judged by engine `countersign-authorize/0.1.0`; this program has `{ENGINE}`");
    assert!(said.to_string().ends_with(&format!("allow: not replayable: {engines}")), "{said}");
    assert_eq!(result(&older, 2), Comparison::Same, "what this engine judged is judged again, whoever judged before");

    let mut without = good;
    without.policies.clear();
    let Comparison::NotReplayable { why, .. } = result(&without, 0) else { panic!("judged without a catalogue") };
    assert_eq!(why, Why::Missing);
    world.stop().await;
}

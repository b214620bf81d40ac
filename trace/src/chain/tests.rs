use countersign_ledger::{Entry, Kind, statement::Jwk};
use ed25519_dalek::SigningKey;
use serde_json::{Map, json};

use super::*;
use crate::world::{Made, World, payment};

fn incident() -> World {
    let mut world = World::new("What is my balance?");
    let decision = world.decision("agent", "acme-1", "transactions.list", &json!({}), vec![]);
    let read = || Made {
        action: "transactions.list",
        effect: "read",
        arguments: json!({}),
        provenance: json!([]),
        ..payment()
    };
    world.done(&Made { parents: vec![decision], ..read() });
    world.call(&Made {
        verdict: "deny",
        reasons: vec![("action-not-granted", "")],
        provenance: json!([]),
        parents: vec![decision],
        ..payment()
    });
    world
}

fn chains(world: &World) -> Vec<Chain> {
    trace(&[&world.evidence], &BTreeSet::new())
}

#[test]
fn a_chain_names_each_link_its_state_and_the_first_that_breaks() {
    let chains = chains(&incident());
    let [chain] = chains.as_slice() else { panic!("{chains:?}") };
    let states: Vec<(Step, State)> = chain.links.iter().map(|link| (link.step, link.state)).collect();
    assert_eq!(
        states,
        [
            (Step::Said, State::Claimed),
            (Step::Scoped, State::Observed),
            // The decision says one thing, the second call made of it does another.
            (Step::Chose, State::Contradicted),
            (Step::Judged, State::Observed),
            (Step::Sent, State::Observed),
            (Step::Answered, State::Missing),
            (Step::Judged, State::Observed),
            (Step::Told, State::Missing),
        ]
    );
    assert_eq!(chain.first_break, Some(2));
    assert_eq!(chain.findings[0].rule, "agent-differs-from-decision");
    let text = chain.to_string();
    for part in [
        "emma said “What is my balance?”",
        "Of the agent's calls: 1 allowed, 0 held for a human, 1 refused",
        "Timeline",
        "chose     contradicted",
        "in the hands of assistant (agent developer)",
        "This is evidence, not a verdict of law.",
        "[agent-differs-from-decision]",
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
}

#[test]
fn the_same_evidence_gives_the_same_chain_and_unknown_kinds_do_not_disturb() {
    let world = incident();
    let mut more = world.evidence.clone();
    let (last, item) = more.items.iter().next_back().unwrap();
    let odd = Entry {
        kind: Kind::from("levitation"),
        seq: last + 1,
        n: item.entry.n.map(|n| n + 1),
        body: Map::new(),
        ..item.entry.clone()
    };
    more.add(std::sync::Arc::from(odd.to_bytes().unwrap()), std::collections::BTreeMap::new()).unwrap();
    let one = trace(&[&world.evidence], &BTreeSet::new());
    assert_eq!(one, trace(&[&world.evidence.clone()], &BTreeSet::new()));
    assert_eq!(one, trace(&[&more], &BTreeSet::new()));
}

#[test]
fn what_is_erased_or_withheld_is_said_to_be() {
    let mut world = incident();
    let said = world.evidence.items.values_mut().find(|item| item.entry.kind == Kind::Instruction).unwrap();
    said.values.insert("words".into(), Shown::Erased);
    said.values.insert("principal".into(), Shown::Withheld);
    let text = chains(&world)[0].to_string();
    assert!(text.contains("[words: observed, erased since]"), "{text}");
}

#[test]
fn a_signature_counts_as_proof_only_under_a_key_had_from_elsewhere() {
    let (key, other) = (SigningKey::from_bytes(&[7; 32]), SigningKey::from_bytes(&[8; 32]));
    let kid = |key: &SigningKey| Jwk::ed25519(&key.verifying_key()).thumbprint();
    let state = |world: &World, trusted: &[String]| {
        trace(&[&world.evidence], &trusted.iter().cloned().collect())[0].links.last().unwrap().state
    };
    let told = |signed: &str, by: &SigningKey| {
        let mut world = incident();
        world.tells_signed("Your balance is 5.", signed, by, &key);
        world
    };
    let mut world = told("Your balance is 5.", &key);
    assert_eq!(state(&world, &[]), State::Claimed);
    assert_eq!(state(&world, &[kid(&other)]), State::Claimed);
    assert_eq!(state(&world, &[kid(&key)]), State::Proven);
    // That the gateway recorded the signature as good proves nothing: not when it is another's, says something else, or is not shown.
    assert_eq!(state(&told("Your balance is 5.", &other), &[kid(&key)]), State::Claimed);
    assert_eq!(state(&told("Your balance is 6.", &key), &[kid(&key)]), State::Claimed);
    for item in world.evidence.items.values_mut().filter(|item| item.entry.kind == Kind::Answer) {
        item.values.insert("statement".into(), Shown::Withheld);
    }
    let chains = trace(&[&world.evidence], &[kid(&key)].into());
    let told = chains[0].links.last().unwrap();
    assert_eq!((told.state, told.missing.as_ref().unwrap()), (State::Claimed, &Need::Disclosure.settles()));
}

#[test]
fn what_belongs_to_no_instruction_stands_last() {
    let mut world = incident();
    assert_eq!(chains(&world).len(), 1);
    world.reconciled(None, "bypass");
    let chains = chains(&world);
    assert_eq!(chains.len(), 2);
    let json = serde_json::to_value(&chains[1]).unwrap();
    assert_eq!(json["instruction"], Value::Null);
    assert_eq!(json["findings"][0]["role"], "platform");
}

#[test]
fn an_instruction_of_which_no_grant_came_says_why_and_lacks_nothing() {
    let mut world = World::new("Pay the rent");
    let said = world.evidence.items.values_mut().find(|item| item.entry.kind == Kind::Instruction).unwrap();
    said.entry.body.insert("ungranted".into(), json!({ "reason": "timeout", "model": "acme-1" }));
    world.evidence.items.retain(|_, item| item.entry.kind != Kind::Grant);
    let chains = chains(&world);
    let states: Vec<(Step, State)> = chains[0].links.iter().map(|link| (link.step, link.state)).collect();
    assert_eq!(states, [(Step::Said, State::Claimed), (Step::Scoped, State::Observed)]);
    let text = chains[0].to_string();
    assert!(text.contains("request to the model acme-1 (timeout)"), "{text}");
    assert!(text.contains("No link is shown to have broken."), "{text}");
}

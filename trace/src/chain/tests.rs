use std::sync::Arc;

use countersign_ledger::{Entry, disclosure::Disclosure, record::body::Body};
use serde_json::{Map, json};

use super::*;

fn add<B: Body>(evidence: &mut Evidence, body: &B, parents: Vec<Hash>, values: &[(&str, Value)]) -> Hash {
    let disclosures: Vec<Disclosure> =
        values.iter().map(|(name, value)| Disclosure::new(name, value).unwrap()).collect();
    let mut body = serde_json::to_value(body).unwrap().as_object().cloned().unwrap();
    let sd: Map<String, Value> = disclosures.iter().map(|d| (d.name().to_owned(), json!(d.digest()))).collect();
    body.insert("sd".into(), Value::Object(sd));
    let seq = evidence.items.len() as u64;
    let time = serde_json::from_value(json!(format!("2026-01-31T12:00:{seq:02}.000000Z"))).unwrap();
    let entry = Entry {
        v: 1,
        origin: "bank.example/agents".into(),
        seq,
        prev: Hash::ZERO,
        time,
        kind: B::KIND,
        parents,
        instruction: Some("i".into()),
        n: Some(seq),
        body,
        extra: Map::new(),
    };
    let bytes: Arc<[u8]> = Arc::from(entry.to_bytes().unwrap());
    let shown = disclosures.into_iter().map(|d| (d.name().to_owned(), Shown::Value(d))).collect();
    evidence.add(bytes.clone(), shown).unwrap();
    Hash::of(&bytes)
}

fn incident() -> Evidence {
    let mut evidence = Evidence { origin: "bank.example/agents".into(), ..Evidence::default() };
    let e = &mut evidence;
    let said = body::Instruction {
        subject: "s".into(),
        attested_by: "host".into(),
        host: "app".into(),
        agent: "helper".into(),
        ..Default::default()
    };
    let said = add(e, &said, vec![], &[("words", json!("What is my balance?")), ("principal", json!("emma"))]);
    let grant = body::Grant { grant: "g".into(), actions: vec!["account.balance.read".into()], ..Default::default() };
    let grant = add(e, &grant, vec![said], &[]);
    let decision =
        body::Decision { agent: "helper".into(), action: "account.balance.read".into(), ..Default::default() };
    let decision = add(e, &decision, vec![grant], &[("arguments", json!({}))]);
    let call = |verdict: &str, action: &str, n| body::Call {
        call: "c".into(),
        agent: Some("helper".into()),
        action: Some(action.into()),
        verdict: verdict.into(),
        upstream_n: n,
        ..Default::default()
    };
    let read =
        add(e, &call("allow", "account.balance.read", Some(0)), vec![grant, decision], &[("arguments", json!({}))]);
    let ended = body::Outcome {
        call: read,
        result: "completed".into(),
        status: Some(200),
        sent: "yes".into(),
        ..Default::default()
    };
    add(e, &ended, vec![read], &[]);
    add(
        e,
        &call("deny", "transactions.send", None),
        vec![grant, decision],
        &[
            ("arguments", json!({"amount": "1000000"})),
            (
                "messages",
                json!([{"code": "action-not-granted", "message": "the instruction's grant does not include `transactions.send`"}]),
            ),
        ],
    );
    evidence
}

#[test]
fn a_chain_names_each_link_its_state_and_the_first_that_breaks() {
    let chains = trace(&incident(), &BTreeSet::new());
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
    let text = chain.to_string();
    for part in [
        "emma said “What is my balance?”",
        "1 were allowed, 0 held for a human and 1 refused",
        "does not include",
        "> 12:00:02  chose     contradicted",
        "in the hands of helper (agent)",
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
}

#[test]
fn the_same_evidence_gives_the_same_chain_and_unknown_kinds_do_not_disturb() {
    let evidence = incident();
    let mut more = evidence.clone();
    let odd = Entry { kind: Kind::from("levitation"), ..more.items[&5].entry.clone() };
    let odd = Entry { seq: 6, body: Map::new(), ..odd };
    more.add(Arc::from(odd.to_bytes().unwrap()), BTreeMap::new()).unwrap();
    assert_eq!(trace(&evidence, &BTreeSet::new()), trace(&evidence.clone(), &BTreeSet::new()));
    assert_eq!(trace(&more, &BTreeSet::new()), trace(&evidence, &BTreeSet::new()));
}

#[test]
fn what_is_erased_or_withheld_is_said_to_be() {
    let mut evidence = incident();
    let said = evidence.items.get_mut(&0).unwrap();
    said.values.insert("words".into(), Shown::Erased);
    said.values.insert("principal".into(), Shown::Withheld);
    let text = trace(&evidence, &BTreeSet::new())[0].to_string();
    assert!(text.contains("[words: observed, erased since]") && text.contains("user s (user)"), "{text}");
}

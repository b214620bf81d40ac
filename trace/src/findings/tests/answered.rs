//! What became of a call, what the user was told of it, and what of it the evidence has.

use super::*;

#[test]
fn what_the_api_signed_or_logged_is_compared_with_what_it_was_asked_and_answered() {
    let with = |differs: &[&str], execution: serde_json::Value| {
        let mut world = World::new(WORDS);
        let call = world.done(&payment());
        world.receipt(call, "valid", differs, &execution);
        world
    };
    let fine = || json!({"id": "e", "changed": 2});
    let bank = [(Kind::Fault, Role::ApiProvider)];
    names_nobody(&with(&[], fine()));
    assert_eq!(found(&with(&["request"], fine()), "executed-other"), bank);
    assert_eq!(found(&with(&["status"], fine()), "answered-otherwise"), bank);
    assert_eq!(found(&with(&["response"], fine()), "answered-otherwise"), bank);
    assert_eq!(found(&with(&[], json!({"exception": "Overdrawn"})), "answered-otherwise"), bank);
    assert_eq!(found(&with(&[], json!({"retries": 1, "changed": 4})), "executed-twice"), bank);
    assert_eq!(found(&with(&[], json!({"changed": 0})), "not-executed"), bank);
    for (result, rule) in [("differs", "executed-other"), ("twice", "executed-twice"), ("not_seen", "not-executed")] {
        let mut world = World::new(WORDS);
        let call = world.done(&payment());
        world.reconciled(Some(call), result);
        assert_eq!(found(&world, rule), bank, "{rule}");
    }
    let mut bad = World::new(WORDS);
    let call = bad.done(&payment());
    bad.receipt(call, "invalid", &[], &fine());
    assert_eq!(found(&bad, "receipt-not-good"), bank);
    let mut unknown = World::new(WORDS);
    let call = unknown.done(&payment());
    unknown.receipt(call, "unknown_key", &[], &fine());
    assert_eq!(found(&unknown, "receipt-not-good"), [(Kind::Gap, Role::NotDeterminable)]);
}

#[test]
fn failures_of_the_api_are_the_apis_and_a_silence_is_nobodys() {
    let end = |result: &str, sent: &str, status, execution: Option<serde_json::Value>| {
        let mut world = World::new(WORDS);
        let call = world.call(&payment());
        world.end(call, result, sent, status, None);
        if let Some(execution) = execution {
            world.receipt(call, "valid", &[], &execution);
        }
        world
    };
    let bank = [(Kind::Fault, Role::ApiProvider)];
    assert_eq!(found(&end("completed", "yes", Some(500), None), "api-failed"), bank);
    let slow = || end("upstream_timeout", "maybe", None, Some(json!({"queue_ms": 1900, "changed": 2})));
    assert_eq!(found(&slow(), "api-congested"), bank);
    assert_eq!(
        found(&end("upstream_timeout", "maybe", None, Some(json!({"queue_ms": 5, "changed": 2}))), "api-congested"),
        []
    );
    assert_eq!(
        found(&end("upstream_timeout", "maybe", None, Some(json!({"deadlock": true, "lock_ms": 900}))), "api-deadlock"),
        bank
    );
    let silent = end("upstream_timeout", "maybe", None, None);
    names_nobody(&silent);
    assert_eq!(needs(&silent, "execution-unproven"), [Need::ApiReceipt, Need::ApiLog].into());
    assert_eq!(found(&end("unknown", "maybe", None, None), "sidecar-fault"), [(Kind::Fault, Role::Platform)]);
    assert_eq!(
        found(&end("client_aborted", "maybe", None, None), "agent-hung-up"),
        [(Kind::Fault, Role::AgentDeveloper)]
    );
    let mut half = World::new(WORDS);
    half.done(&payment());
    let second = half.call(&Made { arguments: json!({"amount": "1"}), ..payment() });
    half.end(second, "completed", "yes", Some(503), None);
    assert_eq!(found(&half, "left-half-done"), bank);
}

#[test]
fn an_answer_is_held_against_what_became_of_it() {
    let told = |made: Made, status: Option<u16>, text: &str| {
        let mut world = World::new(WORDS);
        let call = world.call(&made);
        if let Some(status) = status {
            world.end(call, "completed", "yes", Some(status), None);
        }
        world.tells(text);
        found(&world, "answer-contradicts-outcome").len() + found(&world, "answer-has-other-amount").len()
    };
    assert_eq!(told(invented(), None, "Done! I have sent the money."), 1);
    assert_eq!(told(invented(), None, "The payment was not made: it waits for your approval."), 0);
    assert_eq!(told(invented(), None, "已完成付款。"), 1);
    assert_eq!(told(payment(), Some(201), "The payment of 50.00 has been sent."), 0);
    assert_eq!(told(payment(), Some(201), "I could not make the payment."), 1);
    assert_eq!(told(payment(), Some(201), "I sent 5.00 to GB29NWBK60161331926819."), 1);
    assert_eq!(told(payment(), Some(500), "I have paid it."), 1);
    assert_eq!(told(payment(), Some(500), "The bank failed; the payment was not sent."), 0);
}

#[test]
fn what_was_left_out_withheld_or_erased_is_said() {
    let mut world = benign();
    let hole = *world.evidence.items.iter().find(|(_, item)| item.entry.n == Some(3)).unwrap().0;
    world.evidence.items.remove(&hole);
    assert_eq!(found(&world, "entries-left-out"), [(Kind::Fault, Role::Platform)]);
    let mut withheld = benign();
    for item in withheld.evidence.items.values_mut() {
        item.values.values_mut().for_each(|shown| *shown = countersign_ledger::evidence::Shown::Withheld);
    }
    names_nobody(&withheld);
    assert_eq!(needs(&withheld, "values-withheld"), [Need::Disclosure].into());
    let findings = withheld.findings();
    let said = findings.iter().find(|finding| finding.rule == "values-withheld").unwrap().established.show(Lang::En);
    assert!(said.contains("words (entry ") && said.contains("arguments (entries "), "{said}");
    let mut erased = benign();
    for item in erased.evidence.items.values_mut() {
        item.values.values_mut().for_each(|shown| *shown = countersign_ledger::evidence::Shown::Erased);
    }
    names_nobody(&erased);
    assert_eq!(found(&erased, "values-erased"), [(Kind::Note, Role::NotDeterminable)]);
}

#[test]
fn a_statement_that_the_agent_counted_and_did_not_hand_in_is_missed() {
    let build = |counts: &[u64], told: Option<u64>| {
        let mut world = World::new(WORDS);
        let mut last = world.decision("gateway", "acme-1", "transactions.list", &json!({}), vec![]);
        for n in counts {
            let body = json!({"grant": "g-i", "subject": "s", "source": "agent", "agent": "assistant", "action": "transactions.list", "n": n});
            last = world.add_raw("decision", body.as_object().cloned().unwrap(), vec![last], &[]);
        }
        if let Some(told) = told {
            let body = json!({"grant": "g-i", "subject": "s", "agent": "assistant", "n": 0, "decisions": told});
            world.add_raw("answer", body.as_object().cloned().unwrap(), vec![last], &[("text", json!("Here it is."))]);
        }
        found(&world, "statement-withheld")
    };
    let withheld = [(Kind::Fault, Role::AgentDeveloper)];
    assert_eq!(build(&[0, 1, 2], Some(3)), []);
    assert_eq!(build(&[], None), []);
    assert_eq!(build(&[0, 2], None), withheld);
    assert_eq!(build(&[0, 1], Some(3)), withheld);
}

#[test]
fn a_call_around_the_sidecar_belongs_to_no_instruction_and_to_whoever_kept_the_credential() {
    let mut world = benign();
    world.reconciled(None, "bypass");
    let graph = Graph::new(&[&world.evidence], &BTreeSet::new());
    let found = of_graph(&graph);
    assert_eq!(found.len(), 1);
    assert_eq!(
        (found[0].rule, found[0].holder.role, found[0].holder.party.as_str()),
        ("called-around", Role::Platform, "the-operator")
    );
}

//! What let a call through: rules, the sidecar, the scope, approvers.

use super::*;

#[test]
fn rules_that_are_widened_for_a_call_and_restored_are_the_operators() {
    let build = |restore: bool, wide: &str| {
        let mut world = World::new(WORDS);
        world.read("rent");
        let narrow = Hash::of(BANK.as_bytes());
        let wide = world.catalogue(wide, Some(narrow));
        let proposal = world.proposes("present", [1, 0, 0], "transactions.send", &invented().arguments);
        world.done(&Made {
            verdict: "allow",
            reasons: vec![],
            provenance: json!([]),
            parents: vec![proposal],
            ..invented()
        });
        if restore {
            world.catalogue(BANK, Some(wide));
        }
        world
    };
    let wide = BANK.replace("required = true, binds = true", "required = true");
    let world = build(true, &wide);
    assert_eq!(found(&world, "policy-widened-then-restored"), [(Kind::Fault, Role::Platform)]);
    assert_eq!(found(&world, "value-unobserved"), [(Kind::Fault, Role::ModelProvider)]);
    assert_eq!(found(&build(false, &wide), "policy-widened-then-restored"), []);
    assert_eq!(found(&build(false, &wide), "policy-changed-before"), [(Kind::Note, Role::Platform)]);
    let mut blind = world.clone();
    blind.evidence.policies.clear();
    assert_eq!(found(&blind, "policy-widened-then-restored"), [(Kind::Gap, Role::NotDeterminable)]);
    assert_eq!(needs(&blind, "policy-widened-then-restored"), [Need::PolicyBytes].into());
}

#[test]
fn what_the_sidecar_let_through_against_its_own_word_is_the_platforms() {
    let with = |made: Made| {
        let mut world = World::new(WORDS);
        world.done(&made);
        world
    };
    assert_eq!(
        found(&with(Made { action: "scheduled.create", ..payment() }), "allowed-against-grant"),
        [(Kind::Fault, Role::Platform)]
    );
    assert_eq!(found(&with(payment()), "allowed-against-grant"), []);
    let unaccepted = with(Made { verdict: "allow", reasons: vec![], ..invented() });
    assert_eq!(found(&unaccepted, "allowed-against-policy"), [(Kind::Fault, Role::Platform)]);
    let shadow = with(Made { verdict: "deny", shadow: true, reasons: vec![("action-not-granted", "")], ..payment() });
    assert_eq!(found(&shadow, "not-enforced"), [(Kind::Fault, Role::Platform)]);
    assert_eq!(found(&shadow, "allowed-against-policy"), []);
}

#[test]
fn a_scope_of_which_the_words_name_nothing_is_of_who_asked_for_it() {
    let by = |source: &str| {
        let given = |argument: &str, source: &str| json!({"argument": argument, "value": "x", "sources": [{"source": source}], "accepted": true});
        let mut world = World::new("What is my balance?");
        world.done(&Made { provenance: json!([given("recipient", "host"), given("amount", source)]), ..payment() });
        world
    };
    assert_eq!(found(&by("host"), "scope-wider-than-words"), [(Kind::Fault, Role::AgentOperator)]);
    assert_eq!(found(&by("words"), "scope-wider-than-words"), []);
}

#[test]
fn a_yes_without_reading_is_the_approvers_and_the_value_counts_again() {
    let build = |took: u64, shown: &serde_json::Value| {
        let mut world = World::new(WORDS);
        let proposal = world.proposes("present", [0, 0, 0], "transactions.send", &invented().arguments);
        let held = world.call(&Made { parents: vec![proposal], ..invented() });
        let yes = world.answer_hold(held, "approved", took, shown);
        world.done(&Made { verdict: "allow", approval: Some(yes), ..invented() });
        world
    };
    let hasty = build(120, &invented().arguments);
    assert_eq!(found(&hasty, "approval-hasty"), [(Kind::Fault, Role::User)]);
    assert_eq!(found(&hasty, "value-unobserved"), [(Kind::Fault, Role::ModelProvider)]);
    assert_eq!(found(&build(4_000, &invented().arguments), "approval-hasty"), []);
    let lied = build(4_000, &payment().arguments);
    assert_eq!(found(&lied, "approval-shown-other"), [(Kind::Fault, Role::Platform)]);
    // Hidden may be what the catalogue calls sensitive, which is not the payee.
    let mut masked = invented().arguments;
    masked["recipient"] = json!({ "hidden": "sensitive" });
    let masked = build(4_000, &masked);
    assert_eq!(found(&masked, "approval-shown-other"), [(Kind::Fault, Role::Platform)]);
    let mut undisclosed = masked.clone();
    undisclosed.evidence.policies.clear();
    assert_eq!(found(&undisclosed, "approval-shown-other"), [(Kind::Gap, Role::NotDeterminable)]);
    assert!(needs(&undisclosed, "approval-shown-other").contains(&Need::PolicyBytes));
    let mut groundless = World::new(WORDS);
    let held = groundless.call(&invented());
    let no = groundless.answer_hold(held, "denied", 4_000, &invented().arguments);
    groundless.done(&Made { verdict: "allow", approval: Some(no), ..invented() });
    assert_eq!(found(&groundless, "approval-without-ground"), [(Kind::Fault, Role::Platform)]);
}

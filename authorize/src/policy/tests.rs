use http::{HeaderMap, Method};
use jiff::Timestamp;

use super::*;
use crate::{
    grant::{For, Grant, Scope, Usage},
    provenance::Observations,
    request::{Limits, Request as Call, RequestBody},
    verdict::{Inputs, Judgement, Verdict, judge},
};

const EXAMPLE: &str = include_str!("../../../deploy/policies/example.cedar");
const IBAN: &str = "GB29NWBK60161331926819";
/// A Thursday.
const THURSDAY: i64 = 1_769_688_000;

fn bank() -> Catalogue {
    Catalogue::parse(include_str!("../../../deploy/catalogues/bank.toml")).unwrap()
}

fn file(text: &str) -> File {
    File { name: "rules.cedar".to_owned(), text: text.to_owned() }
}

fn parse(text: &str) -> Result<Policies, PolicyError> {
    Policies::parse(vec![file(text)], [bank()].iter())
}

/// A payment under an instruction of a user who wants it.
struct Payment {
    policies: Policies,
    facts: Facts,
    agent: &'static str,
    amount: &'static str,
    second: i64,
    scope: &'static str,
    words: String,
}

fn payment(text: &str) -> Payment {
    Payment {
        policies: parse(text).unwrap_or_else(|error| panic!("{error}")),
        facts: Facts {
            user: "ann".into(),
            host: "shop".into(),
            attested_by: "host".into(),
            purpose: Some("invoices".into()),
        },
        agent: "assistant",
        amount: "20.00",
        second: THURSDAY,
        scope: r#"{"actions":["transactions.send"]}"#,
        words: format!("pay {IBAN} 20.00, 1000.00 or 1000.01"),
    }
}

impl Payment {
    fn judged(&self, approve: bool) -> Judgement {
        let now = Timestamp::from_second(self.second).unwrap();
        let scope: Scope = serde_json::from_str(self.scope).unwrap();
        let whose = For { id: "g", instruction: "i", agent: self.agent };
        let (grant, withheld) = Grant::close(&scope, &whose, now, [bank()].iter());
        assert_eq!(withheld, []);
        let body = format!(
            r#"{{"recipient":"gb29 nwbk 6016 1331 9268 19","amount":"{}","subject":"s","date":"2026-01-29"}}"#,
            self.amount
        );
        let target = "/transactions".parse().unwrap();
        let body = RequestBody::Json(body.as_bytes());
        let request =
            Call::normalise(&Limits::default(), "bank", &Method::POST, &target, &HeaderMap::new(), body).unwrap();
        let observations = Observations::new(&self.words, &[]);
        let mut inputs = Inputs {
            request: &request,
            catalogue: &bank(),
            grant: &grant,
            usage: &Usage::default(),
            above: &[],
            observations: &observations,
            approved: &[],
            denied: &[],
            now,
            policy: Some(Guard { policies: &self.policies, facts: &self.facts }),
        };
        let approved = [judge(&inputs).digest];
        if approve {
            inputs.approved = &approved;
        }
        judge(&inputs)
    }

    /// The verdict, the codes of the reasons and the policies that decided.
    fn verdict(&self) -> (Verdict, Vec<&'static str>, Vec<String>) {
        let judgement = self.judged(false);
        let codes = judgement.reasons.iter().map(|reason| reason.code).collect();
        let policies = judgement.rules.iter().filter_map(|rule| rule.strip_prefix("policy:")).map(str::to_owned);
        (judgement.verdict, codes, policies.collect())
    }
}

fn strings(list: &[&str]) -> Vec<String> {
    list.iter().map(|text| (*text).to_owned()).collect()
}

#[test]
fn what_no_policy_forbids_is_allowed_as_before() {
    assert_eq!(payment(EXAMPLE).verdict(), (Verdict::Allow, vec![], vec![]));
    assert_eq!(payment("").verdict(), (Verdict::Allow, vec![], vec![]));
}

#[test]
fn each_policy_of_the_example_does_what_it_says() {
    let at_the_weekend = Payment { second: THURSDAY + 2 * 86_400, ..payment(EXAMPLE) };
    assert_eq!(at_the_weekend.verdict(), (Verdict::Deny, vec!["policy-forbids"], strings(&["weekend"])));
    assert!(at_the_weekend.judged(false).reasons[0].message.contains("`weekend`"));

    let mut without_purpose = payment(EXAMPLE);
    without_purpose.facts.purpose = None;
    assert_eq!(without_purpose.verdict(), (Verdict::Deny, vec!["policy-forbids"], strings(&["purpose"])));
    without_purpose.facts.attested_by = "user_key".into();
    assert_eq!(without_purpose.verdict().0, Verdict::Allow);

    let trial = Payment { agent: "trainee", ..payment(EXAMPLE) };
    assert_eq!(trial.verdict(), (Verdict::Hold, vec!["policy-holds"], strings(&["trial"])));

    let exactly = Payment { amount: "1000.00", ..payment(EXAMPLE) };
    assert_eq!(exactly.verdict().0, Verdict::Allow);
    let large = Payment { amount: "1000.01", ..payment(EXAMPLE) };
    assert_eq!(large.verdict(), (Verdict::Hold, vec!["policy-holds"], strings(&["large-payment"])));
}

#[test]
fn an_approval_of_exactly_this_call_satisfies_a_hold_and_never_a_forbid() {
    let large = Payment { amount: "1000.01", ..payment(EXAMPLE) };
    let judgement = large.judged(true);
    assert!(judgement.verdict == Verdict::Allow && judgement.approved);
    assert_eq!(judgement.rules, ["action-granted", "policy:large-payment", "approved"]);

    let weekend = Payment { second: THURSDAY + 2 * 86_400, amount: "1000.01", ..payment(EXAMPLE) };
    assert_eq!(weekend.judged(true).verdict, Verdict::Deny);
    assert_eq!(weekend.verdict().2, ["weekend"], "what denies decides, not what holds");
}

#[test]
fn what_holds_and_what_binds_are_both_said() {
    let unsaid = Payment { words: "hello".into(), agent: "trainee", ..payment(EXAMPLE) };
    let judgement = unsaid.judged(false);
    assert_eq!(judgement.verdict, Verdict::Hold);
    let codes: Vec<_> = judgement.reasons.iter().map(|reason| reason.code).collect();
    assert_eq!(codes, ["value-not-observed", "value-not-observed", "policy-holds"]);
    assert_eq!(unsaid.judged(true).verdict, Verdict::Allow, "one approval answers all");
}

#[test]
fn a_policy_never_allows_what_the_grant_does_not() {
    let other = Payment { scope: r#"{"actions":["transactions.list"]}"#, ..payment(EXAMPLE) };
    assert_eq!(other.verdict(), (Verdict::Deny, vec!["action-not-granted"], vec![]));
    let error = parse("// all\npermit (principal, action, resource);").unwrap_err();
    assert!((error.line, error.column) == (2, 1) && error.message.contains("`permit` has no effect"), "{error}");
}

#[test]
fn a_forbidden_account_is_forbidden_in_every_spelling() {
    let rule = format!(
        "forbid (principal, action == Action::\"bank:transactions.send\", resource) when {{ context.arguments.recipient == \"{IBAN}\" }};"
    );
    assert_eq!(payment(&rule).verdict(), (Verdict::Deny, vec!["policy-forbids"], strings(&["rules.cedar#1"])));
}

#[test]
fn what_cannot_be_compared_is_refused_not_passed() {
    let precise = Payment { amount: "20.00001", words: "20.00001".into(), ..payment(EXAMPLE) };
    let (verdict, codes, _) = precise.verdict();
    assert_eq!((verdict, codes), (Verdict::Deny, vec!["policy-failed"]));
    // A policy that fails as it is evaluated denies too, whatever the others say.
    let overflows = "forbid (principal, action, resource) when { context.time.epoch * 9223372036854775807 == 1 };";
    assert_eq!(payment(overflows).verdict().1, ["policy-failed"]);
}

#[test]
fn everything_that_is_said_of_a_call_can_be_asked() {
    for (condition, holds) in [
        ("context.arguments.recipient == \"GB29NWBK60161331926819\"", true),
        ("context.arguments.date < datetime(\"2026-01-30\")", true),
        ("context.provenance has amount && context.provenance.amount.contains(\"words\")", true),
        ("context.provenance has amount && context.provenance.amount.contains(\"agent\")", false),
        ("context.effect == \"irreversible\" && context.risk == \"high\"", true),
        ("context.time.epoch == 1769688000 && context.time.weekday == 4 && context.time.hour == 12", true),
        ("context.budget.before.calls == 0 && context.budget.after.action_calls == 1", true),
        ("context.budget has limit && context.budget.limit == decimal(\"50.0\")", true),
        ("context.budget.after has spent && context.budget.after.spent == decimal(\"20.0\")", true),
        ("context.instruction.user == User::\"ann\" && context.instruction.host == \"shop\"", true),
        ("context.instruction has purpose && context.instruction.purpose == \"other\"", false),
        ("resource == Upstream::\"bank\" && principal == Agent::\"assistant\"", true),
        ("context.approved", false),
        ("action in Action::\"change\" && action in Action::\"high risk\"", true),
    ] {
        let rule = format!(
            "forbid (principal, action == Action::\"bank:transactions.send\", resource) when {{ {condition} }};"
        );
        let scope = r#"{"actions":[{"action":"transactions.send","budget":{"argument":"amount","limit":"50"}}]}"#;
        let asked = Payment { scope, ..payment(&rule) };
        assert_eq!(asked.verdict().0 == Verdict::Deny, holds, "{condition}: {:?}", asked.judged(false).reasons);
    }
}

#[test]
fn errors_name_line_and_column() {
    let head = "forbid (principal, action == Action::\"bank:transactions.send\", resource)";
    for (text, line, column, part) in [
        ("forbid (principal, action, resource)\nwhen { context. };", 2, 17, "unexpected"),
        (&format!("{head}\nwhen {{ context.arguments.amuont == decimal(\"1.0\") }};"), 2, 0, "amuont"),
        (&format!("{head}\n  when {{ context.arguments.amount == 5 }};"), 2, 0, "type"),
        ("\nforbid (principal, action == Action::\"bank:transactions.sent\", resource);", 2, 0, "transactions.sent"),
        ("forbid (principal, action, resource == Upstream::\"bnak\");", 1, 0, "bnak"),
        ("forbid (principal == ?principal, action, resource);", 1, 1, "template"),
        (&format!("@id(\"a\")\n{head};\n@id(\"a\") {head};"), 3, 1, "two policies"),
        (&format!("{head} when {{ context.instruction.purpose == \"x\" }};"), 1, 0, "purpose"),
    ] {
        let error = parse(text).map(|_| ()).unwrap_err();
        assert_eq!((error.file.as_str(), error.line), ("rules.cedar", line), "{text}: {error}");
        assert!(column == 0 || error.column == column, "{text}: {error}");
        assert!(error.message.contains(part), "{text}: {error}");
    }
}

#[test]
fn a_policy_for_a_group_without_actions_is_for_other_sidecars() {
    let catalogue =
        "upstream = \"notes\"\n[[action]]\nname = \"read\"\nmethod = \"GET\"\npath = \"/\"\neffect = \"read\"\n";
    let notes = Catalogue::parse(catalogue).unwrap();
    let rule = "forbid (principal, action in Action::\"irreversible\", resource) when { context.time.weekday > 5 };";
    let policies = Policies::parse(vec![file(rule)], [notes].iter()).unwrap();
    assert_eq!(policies.ids().collect::<Vec<_>>(), ["rules.cedar#1"]);
}

#[test]
fn the_schema_names_every_action_with_its_arguments() {
    let schema = Policies::schema([bank()].iter());
    for part in [
        "entity Upstream enum [\"bank\"];",
        "action \"bank:transactions.send\" in [Action::\"irreversible\", Action::\"change\", Action::\"high risk\"]",
        "\"amount\": decimal",
        "\"recurring\"?: Bool",
    ] {
        assert!(schema.contains(part), "{part} is not in\n{schema}");
    }
}

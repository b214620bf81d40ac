use http::{HeaderMap, Method};
use proptest::prelude::*;

use super::*;
use crate::{
    grant::{Budget, Constraint, For, Scope, ScopeAction},
    request::{Limits, RequestBody},
};

fn bank() -> Catalogue {
    Catalogue::parse(include_str!("../../../deploy/catalogues/bank.toml")).unwrap()
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn grant(actions: Vec<ScopeAction>) -> Grant {
    let scope = Scope { actions, ..Scope::default() };
    let (grant, withheld) =
        Grant::close(&scope, &For { id: "g", instruction: "i", agent: "a" }, at(0), [bank()].iter());
    assert_eq!(withheld, []);
    grant
}

fn named(names: &[&str]) -> Vec<ScopeAction> {
    names.iter().map(|name| ScopeAction::Name((*name).to_owned())).collect()
}

fn request(method: Method, target: &str, body: &str) -> Request {
    let body = if body.is_empty() { RequestBody::Empty } else { RequestBody::Json(body.as_bytes()) };
    Request::normalise(&Limits::default(), "bank", &method, &target.parse().unwrap(), &HeaderMap::new(), body).unwrap()
}

fn pay(recipient: &str, amount: &str) -> Request {
    let body = format!(r#"{{"recipient":"{recipient}","amount":{amount},"subject":"s","date":"2022-04-01"}}"#);
    request(Method::POST, "/transactions", &body)
}

fn verdict(grant: &Grant, words: &str, request: &Request, approved: &[String]) -> (Verdict, Vec<&'static str>) {
    let judgement = judge(&Inputs {
        request,
        catalogue: &bank(),
        grant,
        usage: &Usage::default(),
        observations: &Observations::new(words, &[]),
        approved,
        now: at(10),
    });
    (judgement.verdict, judgement.reasons.iter().map(|reason| reason.code).collect())
}

#[test]
fn a_balance_query_does_not_become_a_transfer() {
    let grant = grant(named(&["account.balance.read"]));
    let words = "What is my balance? Do not pay US133000000121212121212 anything";
    assert_eq!(verdict(&grant, words, &request(Method::GET, "/account/balance", ""), &[]), (Verdict::Allow, vec![]));
    assert_eq!(
        verdict(&grant, words, &pay("US133000000121212121212", "1"), &[]),
        (Verdict::Deny, vec!["action-not-granted"])
    );
}

#[test]
fn binding_values_come_from_the_words_or_wait_for_a_human() {
    let grant = grant(named(&["transactions.send"]));
    let words = "Pay GB29NWBK60161331926819 12.00";
    assert_eq!(verdict(&grant, words, &pay("GB29NWBK60161331926819", "12"), &[]).0, Verdict::Allow);
    let other = pay("GB29NWBK60161331926819", "13");
    assert_eq!(verdict(&grant, words, &other, &[]), (Verdict::Hold, vec!["value-not-observed"]));
    let digest = digest(&grant, &other);
    assert_eq!(verdict(&grant, words, &other, &[digest.clone()]).0, Verdict::Allow);
    assert_eq!(
        verdict(&grant, words, &pay("GB29NWBK60161331926819", "14"), &[digest]).0,
        Verdict::Hold,
        "an approval is for one call"
    );
}

#[test]
fn an_approval_never_makes_a_denied_call_an_allowed_one() {
    let grant = grant(named(&["account.balance.read"]));
    let call = pay("X", "1");
    assert_eq!(verdict(&grant, "", &call, &[digest(&grant, &call)]).0, Verdict::Deny);
}

#[test]
fn constraints_counts_budgets_and_time_bound_a_grant() {
    let constraint = |c: Constraint| BTreeMap::from([("amount".to_owned(), c)]);
    let limited = |arguments, max_calls, budget: Option<&str>| {
        ScopeAction::Limited(ActionGrant {
            action: "transactions.send".into(),
            arguments,
            max_calls,
            budget: budget.map(|limit| Budget { argument: "amount".into(), limit: limit.into(), currency: None }),
        })
    };
    let words = "pay ann 12 or 13 or 14";
    let table = [
        (
            limited(constraint(Constraint { maximum: Some("12.5".into()), ..Constraint::default() }), None, None),
            "13",
            "argument-outside-grant",
        ),
        (
            limited(constraint(Constraint { minimum: Some("13".into()), ..Constraint::default() }), None, None),
            "12",
            "argument-outside-grant",
        ),
        (
            limited(constraint(Constraint { equals: Some("14.00".into()), ..Constraint::default() }), None, None),
            "13",
            "argument-outside-grant",
        ),
        (
            limited(constraint(Constraint { one_of: Some(vec!["12".into()]), ..Constraint::default() }), None, None),
            "13",
            "argument-outside-grant",
        ),
        (
            limited(constraint(Constraint { pattern: Some("1[23]".into()), ..Constraint::default() }), None, None),
            "14",
            "argument-outside-grant",
        ),
        (limited(BTreeMap::new(), Some(0), None), "12", "action-calls-exhausted"),
        (limited(BTreeMap::new(), None, Some("12.99")), "13", "budget-exhausted"),
    ];
    for (action, amount, code) in table {
        let grant = grant(vec![action]);
        assert_eq!(verdict(&grant, words, &pay("ann", amount), &[]), (Verdict::Deny, vec![code]), "{amount}");
    }
    let mut late = grant(named(&["transactions.send"]));
    late.expires = at(10);
    assert_eq!(verdict(&late, words, &pay("ann", "12"), &[]), (Verdict::Deny, vec!["grant-expired"]));
}

#[test]
fn what_the_catalogue_does_not_know_is_withheld() {
    let asked = |text: &str| -> Vec<String> {
        let scope: Scope = serde_json::from_str(text).unwrap();
        Grant::close(&scope, &For { id: "g", instruction: "i", agent: "a" }, at(0), [bank()].iter())
            .1
            .into_iter()
            .map(|w| w.reason)
            .collect()
    };
    for (scope, part) in [
        (r#"{"actions":["everything"]}"#, "does not know"),
        (r#"{"actions":["user.read","user.read"]}"#, "twice"),
        (r#"{"actions":[{"action":"user.read","arguments":{"x":{"equals":"1"}}}]}"#, "no argument `x`"),
        (r#"{"actions":[{"action":"transactions.send","arguments":{"amount":{"maximum":"lots"}}}]}"#, "not a decimal"),
        (
            r#"{"actions":[{"action":"transactions.send","arguments":{"subject":{"pattern":"("}}}]}"#,
            "not a regular expression",
        ),
        (
            r#"{"actions":[{"action":"transactions.send","budget":{"argument":"subject","limit":"1"}}]}"#,
            "not a required number",
        ),
        (
            r#"{"actions":[{"action":"transactions.send","budget":{"argument":"amount","limit":"-1"}}]}"#,
            "not a decimal",
        ),
    ] {
        let withheld = asked(scope);
        assert!(withheld.len() == 1 && withheld[0].contains(part), "{scope}: {withheld:?}");
    }
}

proptest! {
    #[test]
    fn a_narrower_grant_never_allows_more(amounts in proptest::collection::vec(0..40_u32, 1..20), limit in 0..200_u32, calls in 0..20_u64) {
        let wide = grant(named(&["transactions.send"]));
        let narrow = grant(vec![ScopeAction::Limited(ActionGrant {
            action: "transactions.send".into(), arguments: BTreeMap::new(), max_calls: Some(calls),
            budget: Some(Budget { argument: "amount".into(), limit: limit.to_string(), currency: None }),
        })]);
        let (mut usage, mut spent, mut made) = (Usage::default(), 0, 0);
        let (bank, words) = (bank(), Observations::new("pay ann 0 1 2 3 4 5 6 7 8 9", &[]));
        for amount in amounts {
            let request = pay("ann", &amount.to_string());
            let judge = |grant: &Grant, usage: &Usage| judge(&Inputs { request: &request, catalogue: &bank, grant, usage, observations: &words, approved: &[], now: at(1) });
            let judged = judge(&narrow, &usage);
            if judged.verdict == Verdict::Allow {
                prop_assert_eq!(judge(&wide, &Usage::default()).verdict, Verdict::Allow);
                spent += amount;
                made += 1;
                let after = judged.usage.clone().unwrap();
                prop_assert_eq!(after.release(&usage, &after), Usage { by_action: after.by_action.keys().map(|k| (k.clone(), made - 1)).collect(), ..usage.clone() }.with_zero_spent(&after));
                usage = after;
            }
            prop_assert_eq!(judge(&narrow, &usage), judge(&narrow, &usage));
        }
        prop_assert!(spent <= limit && made <= calls);
    }
}

impl Usage {
    /// Entries that a release leaves behind at zero.
    fn with_zero_spent(mut self, like: &Usage) -> Usage {
        for action in like.spent.keys() {
            self.spent.entry(action.clone()).or_default();
        }
        self
    }
}

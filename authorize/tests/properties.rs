//! What holds for every grant, call and observation.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail by panicking")]

use std::sync::LazyLock;

use countersign_authorize::{
    Json,
    catalogue::{Catalogue, Type},
    grant::{For, Grant, Scope, Usage},
    provenance::Observations,
    request::{Limits, Request, RequestBody},
    verdict::{Above, Inputs, Judgement, Verdict, judge, refused},
};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use jiff::Timestamp;
use proptest::{collection::vec, prelude::*};
use rust_decimal::Decimal;
use serde_json::{Value, json};

static BANK: LazyLock<Catalogue> =
    LazyLock::new(|| Catalogue::parse(include_str!("../../deploy/catalogues/bank.toml")).unwrap());

fn grant(action: &Value) -> Grant {
    let scope: Scope = serde_json::from_value(json!({ "actions": [action], "expires_in": 60 })).unwrap();
    let whose = For { id: "g", instruction: "i", agent: "a" };
    let (grant, withheld) = Grant::close(&scope, &whose, Timestamp::UNIX_EPOCH, [&*BANK].into_iter());
    assert_eq!(withheld, [], "{action}");
    grant
}

fn pay(recipient: &str, amount: &str) -> Request {
    let body = json!({ "recipient": recipient, "amount": amount, "subject": "s", "date": "2022-04-01" }).to_string();
    let target = "/transactions".parse().unwrap();
    let body = RequestBody::Json(body.as_bytes());
    Request::normalise(&Limits::default(), "bank", &Method::POST, &target, &HeaderMap::new(), body).unwrap()
}

fn judged(request: &Request, grant: &Grant, usage: &Usage, observations: &Observations, second: i64) -> Judgement {
    let now = Timestamp::from_second(second).unwrap();
    judge(&Inputs {
        request,
        catalogue: &BANK,
        grant,
        usage,
        above: &[],
        observations,
        approved: &[],
        denied: &[],
        now,
        policy: None,
    })
}

/// An amount with two digits behind the point.
fn cents(cents: u32) -> String {
    Decimal::new(cents.into(), 2).to_string()
}

/// Words in which some payees and amounts stand.
fn observed() -> Observations {
    Observations::new("pay ann, bob or carl 1.00, 2.50, 7.00 or 20", &[])
}

/// Something that narrows a grant, and whether it names values (then the host becomes their source).
fn narrowing() -> impl Strategy<Value = (Value, bool)> {
    prop_oneof![
        (0..3000_u32).prop_map(|limit| (json!({ "arguments": { "amount": { "maximum": cents(limit) } } }), false)),
        (0..3000_u32).prop_map(|limit| (json!({ "arguments": { "amount": { "minimum": cents(limit) } } }), false)),
        "[a-c]{0,2}".prop_map(|prefix| (json!({ "arguments": { "recipient": { "prefix": prefix } } }), false)),
        "[a-d]\\.\\*".prop_map(|pattern| (json!({ "arguments": { "recipient": { "pattern": pattern } } }), false)),
        "[a-d]{1,3}".prop_map(|payee| (json!({ "arguments": { "recipient": { "equals": payee } } }), true)),
        vec("ann|bob|eve", 0..3).prop_map(|list| (json!({ "arguments": { "recipient": { "one_of": list } } }), true)),
        (0..3_u64).prop_map(|calls| (json!({ "max_calls": calls }), false)),
        (0..3000_u32).prop_map(|limit| (json!({ "budget": { "argument": "amount", "limit": cents(limit) } }), false)),
    ]
}

/// Some limits on a payment, as a host or an agent would ask for them: those that fit each other often, those that do not now and then.
fn limits() -> impl Strategy<Value = Value> {
    let option = prop::option::of::<BoxedStrategy<Value>>;
    let payees = || vec("ann|bob|eve", 0..3);
    let recipient = (
        option("ann|bob".prop_map(Value::from).boxed()),
        option(payees().prop_map(Value::from).boxed()),
        option(payees().prop_map(Value::from).boxed()),
        option("a?n?".prop_map(Value::from).boxed()),
        option(prop::sample::select(vec!["ann", "a.*", ".*"]).prop_map(Value::from).boxed()),
    );
    let amount = (
        option((0..900_u32).prop_map(|n| cents(n).into()).boxed()),
        option((0..900_u32).prop_map(|n| cents(n).into()).boxed()),
    );
    let counts =
        (option((0..4_u64).prop_map(Value::from).boxed()), option((0..3000_u32).prop_map(|n| cents(n).into()).boxed()));
    (recipient, amount, counts).prop_map(
        |((equals, one_of, subset, prefix, pattern), (minimum, maximum), (max_calls, limit))| {
            let some = |pairs: Vec<(&str, Option<Value>)>| -> Value {
                pairs
                    .into_iter()
                    .filter_map(|(name, value)| Some((name.to_owned(), value?)))
                    .collect::<serde_json::Map<_, _>>()
                    .into()
            };
            let recipient = some(vec![
                ("equals", equals),
                ("one_of", one_of),
                ("subset", subset),
                ("prefix", prefix),
                ("pattern", pattern),
            ]);
            let amount = some(vec![("minimum", minimum), ("maximum", maximum)]);
            let kept = |limits: Value| {
                Some(limits).filter(|limits| limits.as_object().is_some_and(|limits| !limits.is_empty()))
            };
            let arguments = some(vec![("recipient", kept(recipient)), ("amount", kept(amount))]);
            let budget = limit.map(|limit| json!({ "argument": "amount", "limit": limit }));
            some(vec![
                ("action", Some("transactions.send".into())),
                ("arguments", Some(arguments)),
                ("max_calls", max_calls),
                ("budget", budget),
            ])
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { max_global_rejects: 100_000, ..ProptestConfig::default() })]

    #[test]
    fn what_a_delegated_grant_allows_the_one_it_was_cut_from_allows(
        wide in limits(), asked in limits(), seconds in prop::option::of(0..90_i64),
        payee in "ann|bob|eve|Ann", amount in 0..900_u32, used in 0..3_usize, second in 0..90_i64,
    ) {
        let parent = grant(&wide);
        let asked = serde_json::from_value(json!({ "actions": [asked], "expires_in": seconds })).unwrap();
        let whose = For { id: "c", instruction: "i", agent: "b" };
        // What is wider is refused, and nothing of it is granted.
        let Ok(child) = parent.narrow(&asked, &whose, Timestamp::UNIX_EPOCH, [&*BANK].into_iter()) else { return Ok(()) };
        prop_assert_eq!(child.attenuates(&parent), Ok(()));
        let call = pay(&payee, &cents(amount));
        let now = Timestamp::from_second(second).unwrap();
        let (mut own, mut above) = (Usage::default(), Usage::default());
        let observations = observed();
        for _ in 0..=used {
            let inputs = Inputs {
                request: &call, catalogue: &BANK, grant: &child, usage: &own, above: &[Above { grant: &parent, usage: &above }],
                observations: &observations, approved: &[], denied: &[], now, policy: None,
            };
            let alone = judge(&Inputs { above: &[], ..inputs });
            let below = judge(&inputs);
            let direct = judge(&Inputs { grant: &parent, usage: &above, above: &[], ..inputs });
            // Of its own accord: no request passes its limits that would not pass the parent's.
            prop_assert!(alone.verdict == Verdict::Deny || direct.verdict != Verdict::Deny, "{:?} {:?}", alone.reasons, direct.reasons);
            prop_assert!(below.verdict == Verdict::Deny || alone.verdict != Verdict::Deny);
            // And with those above it: not even a value is taken for somebody's word that is not so for the parent.
            prop_assert!(below.verdict != Verdict::Allow || direct.verdict == Verdict::Allow);
            if let (Some(after), [of]) = (below.usage, below.above.as_slice()) {
                prop_assert_eq!(Some(of), direct.usage.as_ref(), "what is used is used of both");
                (own, above) = (after, of.clone());
            }
        }
    }

    #[test]
    fn what_a_narrower_grant_permits_a_wider_one_permits(
        (narrower, names) in narrowing(), payee in "ann|bob|carl|eve", amount in prop_oneof![Just(250), Just(700), 0..3000_u32], second in 0..90_i64,
    ) {
        let mut action = json!({ "action": "transactions.send" });
        let wide = grant(&action);
        action.as_object_mut().unwrap().extend(narrower.as_object().unwrap().clone());
        let narrow = grant(&action);
        let call = pay(&payee, &cents(amount));
        let [narrow, wide] = [narrow, wide].map(|grant| judged(&call, &grant, &Usage::default(), &observed(), second).verdict);
        prop_assert!(narrow == Verdict::Deny || wide != Verdict::Deny);
        if !names {
            prop_assert!(narrow != Verdict::Allow || wide == Verdict::Allow);
        }
    }

    #[test]
    fn usage_stays_within_its_limits_whatever_is_given_back(
        calls in vec((0..900_u32, any::<bool>(), 0..4_usize), 1..40), limit in 0..3000_u32, max_calls in 0..9_u64,
    ) {
        let budget = json!({ "argument": "amount", "limit": cents(limit) });
        let grant = grant(&json!({ "action": "transactions.send", "max_calls": max_calls, "budget": budget }));
        let action = &grant.actions["transactions.send"];
        let (mut usage, mut open) = (Usage::default(), Vec::new());
        let limit = Decimal::new(limit.into(), 2);
        for (amount, give_back, which) in calls {
            let arguments = [("amount".to_owned(), Json::String(cents(amount)))].into();
            if let Ok(after) = usage.reserve(&grant, action, &arguments) {
                open.push((usage.clone(), after.clone(), Decimal::new(amount.into(), 2)));
                usage = after;
            }
            if give_back && !open.is_empty() {
                let (before, after, _) = open.remove(which % open.len());
                usage = usage.release(&after.used_since(&before));
            }
            let spent = usage.spent.get("transactions.send").copied().unwrap_or_default();
            prop_assert!(spent >= Decimal::ZERO && spent <= limit && usage.calls <= max_calls);
            prop_assert_eq!(spent, open.iter().map(|(.., amount)| *amount).sum::<Decimal>());
            prop_assert_eq!(usage.calls, open.len() as u64);
            prop_assert_eq!(usage.by_action.get("transactions.send").copied().unwrap_or_default(), usage.calls);
            // What was given back leaves no trace: a ledger has none of it.
            prop_assert!(!open.is_empty() || usage == Usage::default());
        }
    }

    #[test]
    fn no_content_makes_a_verdict_more_permissive(
        content in vec("(pay )?(ann|eve|GB29NWBK60161331926819|2\\.50|9|,| ){1,8}", 0..6), payee in "ann|eve|GB29NWBK60161331926819", amount in "2\\.50|9|5",
    ) {
        let grant = grant(&json!("transactions.send"));
        let mut observations = observed();
        let list = json!({ "transactions": [{ "sender": "GB29NWBK60161331926819", "amount": 9 }] }).to_string();
        let list = Json::parse_response(list.as_bytes(), 64).unwrap();
        observations.observe_response("c1", BANK.action("transactions.list").unwrap(), &list);
        let call = pay(&payee, &amount);
        let mut before = judged(&call, &grant, &Usage::default(), &observations, 0);
        for text in content {
            observations.observe_text("c2", BANK.action("files.read").unwrap(), &text);
            let after = judged(&call, &grant, &Usage::default(), &observations, 0);
            prop_assert!(after.verdict != Verdict::Allow || before.verdict == Verdict::Allow, "{}", text);
            before = after;
        }
    }

    #[test]
    fn the_same_inputs_give_the_same_judgement(words in ".{0,60}", payee in ".{0,20}", amount in 0..3000_u32) {
        let grant = grant(&json!("transactions.send"));
        let call = pay(&payee.replace(['\0', '\u{FFFD}'], ""), &cents(amount));
        let text = |observations: &Observations| {
            serde_json::to_string(&judged(&call, &grant, &Usage::default(), observations, 0)).unwrap()
        };
        let observations = Observations::new(&words, &[]);
        let stored: Observations = serde_json::from_str(&serde_json::to_string(&observations).unwrap()).unwrap();
        prop_assert_eq!(text(&observations), text(&stored));
    }

    #[test]
    fn nothing_that_arrives_panics(
        method in "[A-Z]{1,8}", path in "/[ -~]{0,60}", body in vec(any::<u8>(), 0..120),
        headers in vec(("[a-zA-Z_-]{1,24}", vec(32_u8..255, 0..24)), 0..6), opaque in any::<bool>(),
    ) {
        let Ok(target) = path.parse() else { return Ok(()) };
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_bytes(&value)) {
                map.append(name, value);
            }
        }
        let body = if opaque { RequestBody::Opaque } else { RequestBody::Json(&body) };
        let grant = grant(&json!("transactions.send"));
        match Request::normalise(&Limits::default(), "bank", &method.parse().unwrap(), &target, &map, body) {
            Ok(request) => drop(judged(&request, &grant, &Usage::default(), &observed(), 0)),
            Err(refusal) => prop_assert_eq!(refused(&refusal).verdict, Verdict::Deny),
        }
    }

    #[test]
    fn nothing_that_is_observed_panics(
        words in any::<String>(), body in "[\\[\\]{}\",:0-9a-z .\\\\-]{0,120}", value in any::<String>(), stored in any::<String>(),
    ) {
        let mut observations = Observations::new(&words, std::slice::from_ref(&value));
        let action = BANK.action("transactions.list").unwrap();
        if let Ok(json) = Json::parse_response(body.as_bytes(), 16) {
            observations.observe_response("c", action, &json);
        }
        observations.observe_text("c", action, &body);
        for ty in [Type::Text, Type::Identifier, Type::Money, Type::Integer, Type::Date, Type::Account, Type::Email, Type::Url, Type::Boolean] {
            observations.observe_arguments("c", [(ty, &Json::String(value.clone()))].into_iter());
            let _ = observations.sources(ty, &value, None);
        }
        let _ = serde_json::from_str::<Observations>(&stored);
    }

    #[test]
    fn no_catalogue_panics(lines in vec(0..40_usize, 0..12), noise in "[ -~\n]{0,40}", at in 0..4000_usize) {
        let text = include_str!("../../deploy/catalogues/bank.toml");
        let picked: Vec<&str> = lines.iter().filter_map(|line| text.lines().nth(*line)).collect();
        let _ = Catalogue::parse(&picked.join("\n"));
        let mut noisy = text.to_owned();
        let at = (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap();
        noisy.insert_str(at, &noise);
        if let Err(error) = Catalogue::parse(&noisy) {
            prop_assert!(error.line >= 1 && error.column >= 1 && !error.message.is_empty());
        }
    }
}

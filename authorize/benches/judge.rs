//! What a verdict costs: `cargo bench -p countersign-authorize`. One payment of a bank whose catalogue has 10,000 actions, under a grant of
//! 1,000, with little and with much observed. No network and no ledger.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a benchmark may stop by panicking")]

use std::{
    fmt::Write as _,
    hint::black_box,
    time::{Duration, Instant},
};

use countersign_authorize::{
    Json,
    catalogue::Catalogue,
    grant::{For, Grant, Scope, ScopeAction, Usage},
    provenance::Observations,
    request::{Limits, Request, RequestBody},
    verdict::{Inputs, Verdict, judge},
};
use http::{HeaderMap, Method};
use jiff::Timestamp;

const BANK: &str = include_str!("../../deploy/catalogues/bank.toml");
const BODY: &[u8] = br#"{"recipient":"GB29NWBK60161331926819","amount":10.0,"subject":"Refund","date":"2022-04-01"}"#;

/// The bank with as many more actions, in a tree of paths as real APIs have them.
fn catalogue(actions: usize) -> Catalogue {
    let mut text = BANK.to_owned();
    for n in 0..actions {
        let (area, thing) = (n / 100, n % 100);
        writeln!(text, "[[action]]\nname = \"area{area}.thing{thing}\"\nmethod = \"GET\"\npath = \"/area{area}/{{id}}/thing{thing}\"\neffect = \"read\"\n[action.arguments]\nid = {{ in = \"path\", type = \"identifier\", required = true }}").unwrap();
    }
    Catalogue::parse(&text).unwrap()
}

fn observations(catalogue: &Catalogue, transactions: usize) -> Observations {
    let mut observations = Observations::new("Please refund GB29NWBK60161331926819 for what they've sent me.", &[]);
    let one = |n: usize| {
        format!(
            r#"{{"id":{n},"amount":{n}.5,"date":"2022-01-01","sender":"DE{n:020}","recipient":"me","subject":"payment for the goods of order {n}"}}"#
        )
    };
    let own = r#"{"id":5,"amount":10.0,"date":"2022-03-07","sender":"GB29NWBK60161331926819","recipient":"me","subject":"Dinner"}"#;
    let list: Vec<String> = (1..=transactions).map(|n| one(n + 100)).chain([own.to_owned()]).collect();
    let list = Json::parse(format!(r#"{{"transactions":[{}]}}"#, list.join(",")).as_bytes(), 64).unwrap();
    observations.observe_response("entry", catalogue.action("transactions.list").unwrap(), &list);
    observations
}

/// The median of the time per round, over batches.
fn measure(name: &str, mut round: impl FnMut()) {
    let (batches, rounds) = (41, 200);
    let mut times: Vec<Duration> = (0..batches)
        .map(|_| {
            let start = Instant::now();
            (0..rounds).for_each(|_| round());
            start.elapsed() / rounds
        })
        .collect();
    times.sort_unstable();
    println!("{name:<58} {:>9.2} us", times[times.len() / 2].as_secs_f64() * 1e6);
}

fn main() {
    let catalogue = catalogue(10_000);
    let names = catalogue.actions().iter().map(|action| ScopeAction::Name(action.name.clone()));
    let scope = Scope { actions: names.take(1000).collect(), ..Scope::default() };
    let whose = For { id: "g", instruction: "i", agent: "a" };
    let (grant, withheld) = Grant::close(&scope, &whose, Timestamp::UNIX_EPOCH, [&catalogue].into_iter());
    assert!(withheld.is_empty());
    let (target, headers, limits) = ("/transactions".parse().unwrap(), HeaderMap::new(), Limits::default());
    let normalise =
        || Request::normalise(&limits, "bank", &Method::POST, &target, &headers, RequestBody::Json(BODY)).unwrap();
    measure("normalise a payment", || drop(black_box(normalise())));
    let request = normalise();
    for transactions in [0, 5, 100, 1000] {
        let observations = observations(&catalogue, transactions);
        let inputs = Inputs {
            request: &request,
            catalogue: &catalogue,
            grant: &grant,
            usage: &Usage::default(),
            above: &[],
            observations: &observations,
            approved: &[],
            denied: &[],
            now: Timestamp::UNIX_EPOCH,
            policy: None,
        };
        assert_eq!(judge(&inputs).verdict, Verdict::Allow);
        measure(&format!("judge it, 10,000 actions, {transactions} transactions observed"), || {
            drop(black_box(judge(&inputs)))
        });
    }
}

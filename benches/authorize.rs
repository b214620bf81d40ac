//! What judging an allowed call costs: a small catalogue and one grant, beside 10,000 actions and 100,000 live grants; without and with an organisation's policies.
//!
//! `cargo bench --bench authorize [-- SECONDS]`. One thread; the request is brought to its one reading, judged, and its arguments observed, as the
//! gateway does it for each call. Nothing is asserted but that every call is allowed.

use std::{
    fmt::Write as _,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use countersign_authorize::{
    catalogue::Catalogue,
    grant::{For, Grant, Scope, Usage},
    policy::{Facts, File, Guard, Policies},
    provenance::Observations,
    request::{Limits, Request, RequestBody},
    verdict::{Inputs, Verdict, judge},
};
use http::{HeaderMap, Method, Uri};
use jiff::Timestamp;
use serde_json::json;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Three that are asked of every payment here and forbid none.
const POLICIES: &str = r#"
@id("payee-from-content")
forbid (principal, action in Action::"irreversible", resource)
when { context.provenance has to && context.provenance.to.contains("third_party") };
@id("weekend")
forbid (principal, action in Action::"irreversible", resource)
when { context.time.weekday >= 6 };
@id("purpose")
forbid (principal, action in Action::"change", resource)
unless { context.instruction has purpose || context.instruction.attested_by == "user_key" };
"#;

/// Instructions, each with its own words and grant.
struct World {
    catalogue: Catalogue,
    live: Vec<(Grant, Observations)>,
    requests: Vec<(Uri, String)>,
}

fn main() -> anyhow::Result<()> {
    let seconds = std::env::args().filter_map(|argument| argument.parse().ok()).next().unwrap_or(3);
    let time = Duration::from_secs(seconds);
    println!(
        "{:>10}{:>10}{:>10}{:>14}{:>12}{:>14}{:>14}",
        "actions", "grants", "policies", "normalise us", "judge us", "observe us", "together us"
    );
    let mut together = Vec::new();
    for (actions, grants) in [(10, 1), (10_000, 100_000)] {
        for policies in [0, 3] {
            let world = World::new(actions, grants)?;
            let [normalised, judged, observed] = world.run(time, policies > 0)?;
            let all = normalised + judged + observed;
            println!(
                "{actions:>10}{grants:>10}{policies:>10}{normalised:>14.2}{judged:>12.2}{observed:>14.2}{all:>14.2}"
            );
            together.push(all);
        }
    }
    if let [small, _, large, guarded] = together[..] {
        println!("ratio of large to small: {:.2}; of policies to none, large: {:.2}", large / small, guarded / large);
    }
    Ok(())
}

impl World {
    fn new(actions: usize, grants: usize) -> anyhow::Result<World> {
        let mut text = String::from("upstream = \"api\"\n");
        for n in 0..actions {
            write!(
                text,
                "[[action]]\nname = \"resource{n}.pay\"\nmethod = \"POST\"\npath = \"/v1/resource{n}/{{id}}/payments\"\neffect = \"irreversible\"\n[action.arguments]\n\
                 id = {{ in = \"path\", type = \"identifier\", required = true }}\nto = {{ in = \"body\", type = \"account\", required = true, binds = true }}\n\
                 amount = {{ in = \"body\", type = \"money\", required = true, binds = true }}\nsubject = {{ in = \"body\", type = \"text\" }}\n"
            )?;
        }
        let catalogue = Catalogue::parse(&text)?;
        let (mut live, mut requests) = (Vec::new(), Vec::new());
        for n in 0..grants {
            let action = format!("resource{}.pay", n % actions);
            let scope: Scope = serde_json::from_value(json!({
                "actions": [{ "action": action, "arguments": { "amount": { "maximum": "5000" } }, "budget": { "argument": "amount", "limit": "1000000000" } }],
            }))?;
            let (id, instruction) = (format!("g{n}"), format!("i{n}"));
            let whose = For { id: &id, instruction: &instruction, agent: "assistant" };
            let (grant, withheld) = Grant::close(&scope, &whose, Timestamp::UNIX_EPOCH, [&catalogue].into_iter());
            ensure!(withheld.is_empty(), "{withheld:?}");
            let words = format!("Please pay {} to GB29NWBK60161331926819 for the invoice of last month.", n % 4000 + 1);
            live.push((grant, Observations::new(&words, &[])));
            let body = json!({ "to": "GB29NWBK60161331926819", "amount": n % 4000 + 1, "subject": "the invoice of last month" });
            requests.push((format!("/v1/resource{}/{n}/payments", n % actions).parse()?, body.to_string()));
        }
        Ok(World { catalogue, live, requests })
    }

    /// Microseconds for each part, on average.
    fn run(mut self, time: Duration, guarded: bool) -> anyhow::Result<[f64; 3]> {
        let file = File { name: "guardrails.cedar".to_owned(), text: POLICIES.to_owned() };
        let policies = guarded.then(|| Policies::parse(vec![file], [&self.catalogue].into_iter())).transpose()?;
        let facts = Facts { user: "ann".to_owned(), purpose: Some("bills".to_owned()), ..Facts::default() };
        let (mut spent, mut calls, begun) = ([Duration::ZERO; 3], 0u32, Instant::now());
        // Grants far from each other, so that none is in a processor's cache.
        let mut at = 0;
        while begun.elapsed() < time {
            at = (at + 7919) % self.live.len();
            let (grant, observations) = self.live.get_mut(at).context("a grant")?;
            let (uri, body) = self.requests.get(at).context("a request")?;
            let start = Instant::now();
            let body = RequestBody::Json(body.as_bytes());
            let request = Request::normalise(&Limits::default(), "api", &Method::POST, uri, &HeaderMap::new(), body)?;
            let normalised = Instant::now();
            let judgement = judge(&Inputs {
                request: &request,
                catalogue: &self.catalogue,
                grant,
                usage: &Usage::default(),
                above: &[],
                observations,
                approved: &[],
                denied: &[],
                now: Timestamp::UNIX_EPOCH,
                policy: policies.as_ref().map(|policies| Guard { policies, facts: &facts }),
            });
            let judged = Instant::now();
            ensure!(judgement.verdict == Verdict::Allow, "{judgement:?}");
            let action =
                judgement.action.as_deref().and_then(|name| self.catalogue.action(name)).context("an action")?;
            let typed =
                judgement.arguments.iter().filter_map(|(name, value)| Some((action.arguments.get(name)?.ty, value)));
            observations.observe_arguments("c", typed);
            for (spent, took) in spent.iter_mut().zip([normalised - start, judged - normalised, judged.elapsed()]) {
                *spent += took;
            }
            calls += 1;
        }
        Ok(spent.map(|spent| spent.as_secs_f64() * 1e6 / f64::from(calls)))
    }
}

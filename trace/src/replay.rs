//! Every verdict once more, from what was recorded: the request, the catalogue and policies of that day, the grant, what had been used and observed
//! by then, the approval, the time. Or under other policies, to see what those would have said.
//!
//! The state of each instruction is folded from its entries by the very code with which the gateway does it. What a verdict rests on and is not in the
//! evidence makes it *not replayable*, never *same*.

mod rules;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use countersign_authorize::{
    ENGINE,
    catalogue::{Catalogue, Effect},
    grant::Usage,
    policy::File,
    request::Request,
    verdict::Judgement,
};
use countersign_instruction::{Attempt, Catalogues, Inner, Values, withdrawal};
use countersign_ledger::{
    Hash, Kind,
    evidence::{Evidence, Item, Shown},
    record::{Time, body},
};
use serde::{Deserialize as _, Serialize};
use serde_json::{Value, json};

use self::rules::{InForce, Library};

/// Catalogues and policies to judge by instead of those that were in force.
#[derive(Debug, Default)]
pub struct Instead {
    /// Catalogues, each in place of that of the same upstream.
    pub catalogues: Vec<Catalogue>,
    /// Policy files in place of all there were; none leaves them.
    pub policies: Option<Vec<File>>,
}

impl Instead {
    fn is_nothing(&self) -> bool {
        self.catalogues.is_empty() && self.policies.is_none()
    }
}

/// What became of a verdict.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "result", rename_all = "snake_case")]
pub enum Comparison {
    /// The same, on the same grounds.
    Same,
    /// Another, or on other grounds.
    Differs {
        /// What differs: recorded and replayed.
        differences: Vec<Difference>,
    },
    /// What it rests on is not there.
    NotReplayable {
        /// `unread`, `erased`, `undisclosed`, `missing` or `engine`.
        why: Why,
        /// In words.
        what: String,
    },
}

/// Why a verdict cannot be replayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// Refused before it was judged: the request had no one reading, or no token that was accepted. It is not kept, and went nowhere.
    Unread,
    /// Its content was erased.
    Erased,
    /// Its content is not disclosed here.
    Undisclosed,
    /// An entry, catalogue or policy is not in the evidence.
    Missing,
    /// Another version of the engine judged.
    Engine,
}

/// One thing that differs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Difference {
    /// `verdict`, `reasons`, `rules`, `action`, `effect`, `approval`, `arguments`, `provenance`, `budget` or `digest`.
    pub what: &'static str,
    /// As recorded.
    pub recorded: Value,
    /// As replayed.
    pub replayed: Value,
}

/// One verdict, replayed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Replayed {
    /// The call's entry.
    pub seq: u64,
    /// The call's id.
    pub call: String,
    /// Its instruction.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instruction: Option<String>,
    /// The recorded verdict.
    pub verdict: String,
    /// Whether the call went out.
    pub forwarded: bool,
    /// What became of it.
    #[serde(flatten)]
    pub result: Comparison,
}

impl fmt::Display for Replayed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "entry {}: {}: ", self.seq, self.verdict)?;
        match &self.result {
            Comparison::Same => write!(f, "same"),
            Comparison::NotReplayable { what, .. } => write!(f, "not replayable: {what}"),
            Comparison::Differs { differences } => {
                write!(f, "differs")?;
                differences.iter().try_for_each(|difference| {
                    write!(f, "\n  {}: {} → {}", difference.what, difference.recorded, difference.replayed)
                })
            }
        }
    }
}

/// Replays every verdict in the evidence, in the order of the ledger.
pub fn replay(evidence: &Evidence, instead: &Instead) -> Vec<Replayed> {
    let library = Library::new(evidence, instead);
    let find = |upstream: &str, policies: &[Hash]| library.catalogue(upstream, policies);
    let mut replay = Replay {
        library: &library,
        catalogues: Catalogues::new(&find),
        instructions: BTreeMap::new(),
        revoked: BTreeSet::new(),
        exact: instead.is_nothing(),
    };
    evidence.items.values().filter_map(|item| replay.take(item)).collect()
}

type Missing = (Why, String);

/// What is known of an instruction so far, or why it cannot be known.
struct Known {
    inner: Result<Inner, Missing>,
    entries: u64,
}

struct Replay<'e> {
    library: &'e Library<'e>,
    catalogues: Catalogues<'e>,
    instructions: BTreeMap<String, Known>,
    revoked: BTreeSet<String>,
    exact: bool,
}

impl Replay<'_> {
    fn take(&mut self, item: &Item) -> Option<Replayed> {
        let replayed = (item.entry.kind == Kind::Call).then(|| self.call(item));
        match &item.entry.instruction {
            Some(instruction) => self.fold(&instruction.clone(), item),
            None => self.withdraw(item),
        }
        replayed
    }

    /// What is withdrawn from all.
    fn withdraw(&mut self, item: &Item) {
        let revocation = (item.entry.kind == Kind::Revocation).then(|| item.entry.body_as::<body::Revocation>().ok());
        if let Some(body::Revocation { what, id, lifted, .. }) = revocation.flatten() {
            let name = format!("{what}/{id}");
            if lifted {
                self.revoked.remove(&name)
            } else {
                self.revoked.insert(name)
            };
        }
    }

    fn fold(&mut self, instruction: &str, item: &Item) {
        if !self.instructions.contains_key(instruction) {
            let inner = self.begin(item);
            self.instructions.insert(instruction.to_owned(), Known { inner, entries: 0 });
        }
        let Some(known) = self.instructions.get_mut(instruction) else { return };
        let gap = item.entry.n != Some(known.entries);
        known.entries = item.entry.n.map_or(known.entries, |n| n + 1);
        let Ok(inner) = &mut known.inner else { return };
        if gap {
            known.inner = Err((Why::Missing, "an earlier entry of the instruction is not in the evidence".to_owned()));
            return;
        }
        let folded = hidden(item, needed(&item.entry.kind)).map_or(Ok(()), Err).and_then(|()| {
            let values = |name: &str| item.value(name);
            let folded = inner.fold(&item.entry, item.hash, &Values(&values), &mut self.catalogues);
            folded.ok_or_else(|| (Why::Missing, format!("entry {} cannot be read", item.entry.seq)))
        });
        if let Err(missing) = folded {
            known.inner = Err(missing);
        }
    }

    /// A new instruction; one that follows up another begins with what was observed there.
    fn begin(&self, item: &Item) -> Result<Inner, Missing> {
        let Some(parent) = item.entry.text("amends") else { return Ok(Inner::default()) };
        match self.instructions.get(parent).map(|known| &known.inner) {
            Some(Ok(parent)) => Ok(parent.followed()),
            Some(Err(missing)) => Err(missing.clone()),
            None => Err((Why::Missing, "the instruction that this one follows up is not in the evidence".to_owned())),
        }
    }

    fn call(&self, item: &Item) -> Replayed {
        let call: Result<body::Call, _> = item.entry.body_as();
        let result = match &call {
            Ok(call) => self.judge(item, call),
            Err(error) => Err((Why::Missing, error.to_string())),
        };
        let call = call.unwrap_or_default();
        Replayed {
            seq: item.entry.seq,
            forwarded: call.upstream_n.is_some(),
            instruction: item.entry.instruction.clone(),
            call: call.call,
            verdict: call.verdict,
            result: result.unwrap_or_else(|(why, what)| Comparison::NotReplayable { why, what }),
        }
    }

    fn judge(&self, item: &Item, call: &body::Call) -> Result<Comparison, Missing> {
        let missing = |why, what: &str| Err((why, what.to_owned()));
        let Some(instruction) = &item.entry.instruction else {
            return missing(
                Why::Unread,
                "its token was not accepted, or there were too many calls, so it was not judged",
            );
        };
        if call.engine != ENGINE {
            let what = format!("judged by engine `{}`; this program has `{ENGINE}`", call.engine);
            return Err((Why::Engine, what));
        }
        if let Some(hidden) = hidden(item, &["request", "arguments", "provenance", "budget", "digest"]) {
            return Err(hidden);
        }
        let inner = match self.instructions.get(instruction).map(|known| &known.inner) {
            Some(Ok(inner)) => inner,
            Some(Err(missing)) => return Err(missing.clone()),
            None => return missing(Why::Missing, "its instruction is not in the evidence"),
        };
        let record = item.value("request").unwrap_or(&Value::Null);
        if record.get("raw_target").is_some() || call.reasons.iter().any(|reason| reason.code == "decision-unknown") {
            return missing(Why::Unread, "it was refused before it was judged, and what was sent is not kept");
        }
        let request = Request::recorded(record).map_err(|refusal| (Why::Missing, refusal.message))?;
        let rules = self.library.in_force(&call.policies)?;
        let judgement = self.again(inner, call, record, &request, &rules);
        let differences = differences(item, call, &judgement);
        Ok(if differences.is_empty() { Comparison::Same } else { Comparison::Differs { differences } })
    }

    fn again(&self, inner: &Inner, call: &body::Call, record: &Value, request: &Request, rules: &InForce) -> Judgement {
        let now = call.judged.map(Time::instant).unwrap_or_default();
        let subject = call.subject.as_deref().unwrap_or_default();
        // Which answers of people were there is itself recorded: one that is sealed but was not yet known did not count. It must be in the evidence.
        let grant = call.grant.as_deref().unwrap_or_default();
        let used = inner.state(grant).into_iter().flat_map(|grant| &grant.approved);
        let mut approved: Vec<String> = used
            .filter(|(_, approved)| now < approved.until)
            .filter(|(_, approved)| !self.exact || call.approval == approved.entries.last().copied())
            .map(|(digest, _)| digest.clone())
            .collect();
        approved.sort();
        let refused = call.reasons.iter().any(|reason| reason.code == "approval-denied");
        let denied: Vec<String> = inner.denied.iter().filter(|_| refused || !self.exact).cloned().collect();
        let key = record.get("idempotency_key").and_then(Value::as_str).map(|key| Hash::of(key.as_bytes()));
        let agents = inner.agents(grant);
        inner.judge(&Attempt {
            grant,
            request: Ok(request),
            decision: None,
            key,
            catalogue: rules.catalogue(&call.upstream),
            policies: rules.policies(),
            withdrawn: &|action| withdrawal(&self.revoked, &agents, subject, action),
            // How many may wait is the gateway's setting; how many did is in the entries.
            crowded: &|_| call.reasons.iter().any(|reason| reason.code == "held-too-many"),
            approved: &approved,
            denied: &denied,
            now,
        })
    }
}

/// The values without which an entry cannot be folded.
const fn needed(kind: &Kind) -> &'static [&'static str] {
    match kind {
        Kind::Instruction => &["words", "attached", "principal", "purpose"],
        Kind::Grant | Kind::Delegation => &["grant"],
        Kind::Call => &["request", "arguments", "digest"],
        Kind::Outcome => &["observed"],
        Kind::Approval => &["digest"],
        _ => &[],
    }
}

/// The first of these values that the entry commits to and that cannot be seen.
fn hidden(item: &Item, names: &[&str]) -> Option<Missing> {
    let seq = item.entry.seq;
    names.iter().find_map(|name| match item.values.get(*name)? {
        Shown::Value(_) => None,
        Shown::Erased => Some((Why::Erased, format!("`{name}` of entry {seq} was erased"))),
        Shown::Withheld => Some((Why::Undisclosed, format!("`{name}` of entry {seq} is not disclosed here"))),
    })
}

fn differences(item: &Item, call: &body::Call, judgement: &Judgement) -> Vec<Difference> {
    let reasons: Vec<Value> = judgement.reasons.iter().map(|r| reason(r.code, r.argument.as_deref())).collect();
    let recorded: Vec<Value> = call.reasons.iter().map(|r| reason(&r.code, r.argument.as_deref())).collect();
    let budget = item.value("budget").and_then(|budget| budget.get("after")).cloned().unwrap_or_default();
    let above = item.value("budget").and_then(|budget| budget.get("above")?.as_array().cloned()).unwrap_or_default();
    let above: Vec<Value> = above.iter().filter_map(|one| one.get("after").cloned()).collect();
    let value = |name| item.value(name).cloned().unwrap_or_default();
    let pairs = [
        ("verdict", json!(call.verdict), json!(judgement.verdict.as_str())),
        ("reasons", json!(recorded), json!(reasons)),
        ("rules", json!(call.rules), json!(judgement.rules)),
        ("action", json!(call.action), json!(judgement.action)),
        ("effect", json!(call.effect), json!(judgement.effect.map(Effect::as_str))),
        ("approval", json!(call.approval.is_some()), json!(judgement.approved)),
        ("arguments", value("arguments"), json!(judgement.arguments)),
        ("provenance", value("provenance"), json!(judgement.provenance)),
        ("budget", json!([budget, above]), json!([judgement.usage, judgement.above])),
        ("digest", value("digest"), json!(judgement.digest)),
    ];
    let differs = pairs.into_iter().filter(|(what, recorded, replayed)| match *what {
        "budget" => recorded != replayed && !is_same_usage(recorded, replayed),
        _ => recorded != replayed,
    });
    differs.map(|(what, recorded, replayed)| Difference { what, recorded, replayed }).collect()
}

/// Whether the numbers are the same, however they are written: an amount that was given back leaves its decimals behind (5 and 0.50, less 0.50: 5.00).
fn is_same_usage(recorded: &Value, replayed: &Value) -> bool {
    let [recorded, replayed] = [recorded, replayed].map(<(Usage, Vec<Usage>)>::deserialize);
    recorded.is_ok_and(|recorded| replayed.is_ok_and(|replayed| recorded == replayed))
}

fn reason(code: &str, argument: Option<&str>) -> Value {
    match argument {
        Some(argument) => json!({ "code": code, "argument": argument }),
        None => json!({ "code": code }),
    }
}

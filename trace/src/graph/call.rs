//! A call with everything that the evidence has about it.

use std::collections::BTreeMap;

use countersign_authorize::provenance::Source;
use countersign_ledger::{evidence::Shown, record::body};
use serde::Deserialize;
use serde_json::Value;

use super::{Graph, Node, same};

/// How a call ended.
#[derive(Debug)]
pub struct Ended<'g> {
    /// The entry.
    pub node: &'g Node<'g>,
    /// What it says.
    pub body: body::Outcome,
}

/// What an API says of the execution of a call.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct Execution {
    /// Its id of the execution.
    pub id: Option<String>,
    /// How long the call waited to be taken up.
    pub queue_ms: Option<u64>,
    /// How long it waited for locks.
    pub lock_ms: Option<u64>,
    /// Whether it was chosen as a deadlock's victim.
    pub deadlock: Option<bool>,
    /// How often the API tried again by itself.
    pub retries: Option<u64>,
    /// The class of the exception that ended it.
    pub exception: Option<String>,
    /// Whether it is the answer of an earlier execution once more.
    pub replay: Option<bool>,
    /// How many rows or objects it changed.
    pub changed: Option<u64>,
}

/// The API's own word on a call.
#[derive(Debug)]
pub struct Receipt<'g> {
    /// The entry.
    pub node: &'g Node<'g>,
    /// The API provider.
    pub api: String,
    /// What the gateway found when it checked the signature.
    pub check: Option<body::Check>,
    /// In what it differs from what the gateway saw.
    pub differs: Vec<&'g str>,
    /// Whether it was fetched afterwards.
    pub late: bool,
    /// The status it signs for.
    pub status: Option<u64>,
    /// What it says of the execution, where that is disclosed.
    pub execution: Option<Execution>,
}

/// What is known of a call's fate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It was refused.
    Refused,
    /// It was held for a human.
    Held,
    /// It was allowed and never reached the API.
    NotSent,
    /// The API answered that it did it.
    Done,
    /// The API answered that it did not.
    Failed,
    /// It may have reached the API, and there is no answer.
    Unknown,
}

/// Where a value came from, as the gateway recorded it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Given {
    /// The argument.
    pub argument: String,
    /// Its value.
    pub value: String,
    /// Every source.
    #[serde(default)]
    pub sources: Vec<Source>,
    /// Whether the catalogue accepts where it came from.
    pub accepted: bool,
}

/// A call.
#[derive(Debug)]
pub struct Call<'g> {
    /// The entry.
    pub node: &'g Node<'g>,
    /// What it says.
    pub body: body::Call,
    /// How it ended.
    pub outcome: Option<Ended<'g>>,
    /// The API's own words on it.
    pub receipts: Vec<Receipt<'g>>,
    /// What comparing with the API's own log gave.
    pub reconciled: Vec<&'g Node<'g>>,
    /// What somebody said later of whether it was executed, where its outcome left that open.
    pub settlement: Option<(&'g Node<'g>, body::Settlement)>,
    /// What the agent stated that it chose, before it called.
    pub stated: Vec<&'g Node<'g>>,
    /// What the gateway saw the model propose.
    pub proposed: Vec<&'g Node<'g>>,
    /// A human's answers to it, while it was held.
    pub answers: Vec<&'g Node<'g>>,
    /// Claims of harm that name it.
    pub disputes: Vec<&'g Node<'g>>,
}

impl<'g> Call<'g> {
    /// Everything about the call of an entry.
    pub(super) fn new(graph: &'g Graph<'g>, node: &'g Node<'g>) -> Option<Call<'g>> {
        let body: body::Call = node.body()?;
        let about = graph.about(node);
        let of = |kind: &str| about.iter().copied().filter(|node| node.kind() == kind).collect::<Vec<_>>();
        let ended = of("outcome").into_iter().find_map(|node| Some(Ended { node, body: node.body()? }));
        let decisions = |source: &str| {
            let decided = graph.causes(node).filter(|cause| cause.kind() == "decision");
            decided.filter(|decision| decision.text("source") == Some(source)).collect::<Vec<_>>()
        };
        Some(Call {
            outcome: ended,
            receipts: of("receipt").into_iter().map(receipt).collect(),
            reconciled: of("reconciliation"),
            settlement: of("settlement").into_iter().find_map(|node| Some((node, node.body()?))),
            stated: decisions("agent"),
            proposed: decisions("gateway"),
            answers: of("approval"),
            disputes: of("incident"),
            node,
            body,
        })
    }

    /// The action, in words.
    pub fn action(&self) -> &str {
        self.body.action.as_deref().unwrap_or("?")
    }

    /// The agent.
    pub fn agent(&self) -> &str {
        self.body.agent.as_deref().unwrap_or("?")
    }

    /// Whether it is an exchange with a model and not a call of an API.
    pub fn is_exchange(&self) -> bool {
        self.node.clear("prompt").is_some()
            || matches!(self.body.action.as_deref(), Some("model.generate" | "model.list"))
    }

    /// Whether it is a message of MCP that is no action.
    pub fn is_plumbing(&self) -> bool {
        self.body.action.is_none() && self.body.rules.iter().any(|rule| rule == "mcp-plumbing")
    }

    /// Whether it would change something. What nobody knows is taken for a change.
    pub fn changes(&self) -> bool {
        self.body.effect.as_deref() != Some("read")
    }

    /// Whether it was let through.
    pub const fn forwarded(&self) -> bool {
        self.body.upstream_n.is_some()
    }

    /// Whether a human approved it.
    pub const fn approved(&self) -> bool {
        self.body.approval.is_some()
    }

    /// Whether somebody claims harm from it.
    pub fn disputed(&self) -> bool {
        !self.disputes.is_empty()
    }

    /// What is known of its fate.
    pub fn fate(&self) -> Fate {
        if !self.forwarded() {
            return if self.body.verdict == "hold" { Fate::Held } else { Fate::Refused };
        }
        let Some(ended) = &self.outcome else { return Fate::Unknown };
        match (ended.body.sent.as_str(), ended.body.status, ended.body.result.as_str()) {
            ("no", ..) => Fate::NotSent,
            (_, Some(status), _) if (200..400).contains(&status) && !self.tool_failed() => Fate::Done,
            (_, Some(_), _) => Fate::Failed,
            _ => Fate::Unknown,
        }
    }

    /// An MCP server says in a good HTTP answer that the tool failed.
    fn tool_failed(&self) -> bool {
        let ended = self.outcome.as_ref().map(|ended| ended.node);
        let observed =
            ended.and_then(|node| node.value("observed")).and_then(|observed| observed.get("body")?.as_str());
        let result: Option<Value> = observed.and_then(|body| serde_json::from_str(body).ok());
        result.is_some_and(|result| result.get("isError") == Some(&Value::Bool(true)))
    }

    /// Its arguments, where they are disclosed.
    pub fn arguments(&self) -> Option<&'g Value> {
        self.node.value("arguments")
    }

    /// How its arguments can be seen.
    pub fn arguments_shown(&self) -> Option<&'g Shown> {
        self.node.shown("arguments")
    }

    /// Whether another call does the very same, as far as both are disclosed.
    pub fn same_as(&self, other: &Call<'_>) -> bool {
        let same_act = if self.body.action.is_some() {
            self.arguments().zip(other.arguments()).is_some_and(|(one, other)| same(one, other))
        } else {
            // What is no action has no arguments either: only the requests tell such calls apart.
            self.asked().zip(other.asked()).is_some_and(|(one, other)| one == other)
        };
        self.body.upstream == other.body.upstream && self.body.action == other.body.action && same_act
    }

    /// Method, target and the body's digest, where the request is disclosed and could be read.
    pub fn asked(&self) -> Option<(&'g str, &'g str, Option<&'g str>)> {
        let request = self.node.value("request")?;
        let text = |name: &str| request.get(name).and_then(Value::as_str);
        Some((text("method")?, text("target")?, text("sha256")))
    }

    /// Where its binding values came from, where that is disclosed.
    pub fn provenance(&self) -> Vec<Given> {
        let value = self.node.value("provenance").cloned();
        value.and_then(|value| serde_json::from_value(value).ok()).unwrap_or_default()
    }

    /// The reasons that have one of these codes, by code with the argument.
    pub fn reasons<'c>(&'c self, codes: &'c [&str]) -> impl Iterator<Item = &'c body::Reason> {
        self.body.reasons.iter().filter(|reason| codes.contains(&reason.code.as_str()))
    }

    /// The results of comparing it with the API's own log.
    pub fn reconciled_as(&self, result: &str) -> Option<&'g Node<'g>> {
        self.reconciled.iter().copied().find(|node| node.text("result") == Some(result))
    }

    /// The API's word whose signature is good.
    pub fn good_receipts(&self) -> impl Iterator<Item = &Receipt<'g>> {
        self.receipts.iter().filter(|receipt| {
            receipt.check.as_ref().is_some_and(|check| check.result == "valid")
                && !receipt.differs.contains(&"unsigned")
        })
    }

    /// What the API says of the execution, over a good signature.
    pub fn executions(&self) -> impl Iterator<Item = (&Receipt<'g>, &Execution)> {
        self.good_receipts().filter_map(|receipt| Some((receipt, receipt.execution.as_ref()?)))
    }
}

fn receipt<'g>(node: &'g Node<'g>) -> Receipt<'g> {
    let differs = node.clear("differs").and_then(Value::as_array).into_iter().flatten();
    let signed = node.value("receipt");
    Receipt {
        api: node.text("api").unwrap_or("?").to_owned(),
        check: node.clear("check").and_then(|check| serde_json::from_value(check.clone()).ok()),
        differs: differs.filter_map(Value::as_str).collect(),
        late: node.clear("late") == Some(&Value::Bool(true)),
        status: signed.and_then(|signed| signed.get("status")?.as_u64()),
        execution: signed.and_then(|signed| execution(signed.get("execution")?)),
        node,
    }
}

/// Member by member: one of another form must not hide the others.
fn execution(value: &Value) -> Option<Execution> {
    let members = value.as_object()?;
    let good =
        |name: &str, value: &Value| serde_json::from_value::<Execution>(serde_json::json!({ name: value })).is_ok();
    let kept: BTreeMap<&String, &Value> = members.iter().filter(|(name, value)| good(name, value)).collect();
    serde_json::from_value(serde_json::json!(kept)).ok()
}

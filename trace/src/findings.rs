//! Which link broke, and in whose hands it was: a fixed, versioned set of rules over the causal graph.
//!
//! Each rule is a small pure function; the same evidence gives the same findings. A finding says what is established, on which entries and links
//! it rests and how well each is established, and what evidence is missing. Where the evidence does not say in whose hands a link was, the finding says
//! so and names what would settle it. Findings are evidence, not verdicts of law. `docs/findings.md` explains each rule.

mod answer;
mod api;
mod approval;
mod chooser;
mod evidence;
mod execution;
mod grant;
mod instruction;
mod model;
mod need;
mod policy;
mod prompt;
mod repeat;
mod sidecar;
mod value;
pub(crate) mod wording;

use countersign_ledger::Hash;
use serde::Serialize;

pub use self::need::Need;
use crate::{
    graph::{Case, Graph, Holder, Node},
    link::{Role, State, Step},
    message::{Message, Text},
};

/// The version of the rule set: it changes whenever a rule is added, or finds something else than before.
pub const RULES_VERSION: u32 = 3;

/// What a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A link broke, and it had an effect.
    Fault,
    /// A link broke, and the gateway or a human stopped it.
    Attempt,
    /// Evidence is missing without which a link cannot be judged.
    Gap,
    /// Something that whoever reads the chain should know; nobody is at fault.
    Note,
}

/// Its place among several.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    /// The first link that broke.
    Cause,
    /// Another one that broke.
    Contributing,
}

/// An entry that a finding rests on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Cited {
    /// The ledger.
    pub origin: String,
    /// Its number there.
    pub seq: u64,
    /// Its hash.
    pub hash: Hash,
}

impl Cited {
    /// Of a node.
    pub fn of(node: &Node<'_>) -> Cited {
        Cited { origin: node.origin().to_owned(), seq: node.seq(), hash: node.hash }
    }
}

/// A link that a finding rests on.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Rests {
    /// The link.
    pub link: Step,
    /// How well it is established.
    pub state: State,
    /// The entry, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entry: Option<Cited>,
}

/// What a rule found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Finding {
    /// The rule.
    pub rule: &'static str,
    /// Its version.
    pub version: u32,
    /// What kind of finding.
    pub kind: Kind,
    /// Its place among the faults and attempts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub standing: Option<Standing>,
    /// The link.
    pub link: Step,
    /// In whose hands it was.
    #[serde(flatten)]
    pub holder: Holder,
    /// What is established.
    pub established: Message,
    /// How well: the weakest link it rests on.
    pub state: State,
    /// Each link it rests on.
    pub rests: Vec<Rests>,
    /// The entries.
    pub entries: Vec<Cited>,
    /// What evidence is missing.
    pub missing: Vec<Need>,
    /// What would settle it, in words.
    pub settles: Vec<Message>,
    /// What the agent's credential proves, where the finding is about a call of the agent's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credential: Option<Message>,
}

impl Finding {
    /// Of a rule; what it says is for the rule's theme to write.
    fn new(rule: &Rule, kind: Kind, holder: Holder, established: Message) -> Finding {
        Finding {
            rule: rule.id,
            version: rule.version,
            kind,
            standing: None,
            link: rule.link,
            holder,
            established,
            state: State::Observed,
            rests: Vec::new(),
            entries: Vec::new(),
            missing: Vec::new(),
            settles: Vec::new(),
            credential: None,
        }
    }

    /// At another link than the rule's usual one.
    #[must_use]
    const fn at(mut self, link: Step) -> Finding {
        self.link = link;
        self
    }

    /// Rests on a link that an entry establishes.
    #[must_use]
    fn rests_on(mut self, link: Step, state: State, node: &Node<'_>) -> Finding {
        let cited = Cited::of(node);
        if !self.entries.contains(&cited) {
            self.entries.push(cited.clone());
        }
        self.rests.push(Rests { link, state, entry: Some(cited) });
        self.state = self.rests.iter().map(|rests| rests.state).max().unwrap_or(State::Observed);
        self
    }

    /// Lacks evidence.
    #[must_use]
    fn lacks(mut self, needs: impl IntoIterator<Item = Need>) -> Finding {
        for need in needs {
            if !self.missing.contains(&need) {
                self.missing.push(need);
                self.settles.push(need.settles());
            }
        }
        self
    }

    /// Concerns a call of the agent's: says what its credential proves.
    #[must_use]
    fn about_agent(mut self, credential: &str) -> Finding {
        self.credential = Some(wording::credential(credential));
        self
    }

    /// The entry at which the link came about: what a third party wrote when it was read, a choice when it was made, anything else when it was judged.
    fn came_about(&self) -> u64 {
        let written = self.holder.role == Role::ThirdParty;
        let link = if written { Step::Answered } else { self.link };
        let first = |link: Option<Step>| {
            let rests = self.rests.iter().filter(|rests| link.is_none_or(|link| rests.link == link));
            rests.filter_map(|rests| rests.entry.as_ref()).map(|cited| cited.seq).min()
        };
        first(Some(link)).or_else(|| first(Some(Step::Judged))).or_else(|| first(None)).unwrap_or(u64::MAX)
    }

    /// Whether somebody is named.
    pub fn names_somebody(&self) -> bool {
        matches!(self.kind, Kind::Fault | Kind::Attempt) && self.holder.role != Role::NotDeterminable
    }
}

/// What a rule looks at.
#[derive(Clone, Copy)]
enum Looks {
    /// One instruction.
    Case(fn(&Rule, &Case<'_>) -> Vec<Finding>),
    /// All the evidence.
    Graph(fn(&Rule, &Graph<'_>) -> Vec<Finding>),
}

/// A rule.
pub struct Rule {
    /// Its name: stable.
    pub id: &'static str,
    /// Its version: changes when it finds something else.
    pub version: u32,
    /// The link it is about.
    pub link: Step,
    /// What it looks for, in a line.
    pub title: &'static Text,
    looks: Looks,
}

/// A rule over one instruction.
const fn rule(id: &'static str, link: Step, title: &'static Text, looks: fn(&Rule, &Case<'_>) -> Vec<Finding>) -> Rule {
    Rule { id, version: 1, link, title, looks: Looks::Case(looks) }
}

/// All rules, in the order of the chain; of findings about the same entries the first one comes first.
pub fn rules() -> impl Iterator<Item = &'static Rule> {
    let themes: [&[Rule]; 13] = [
        instruction::RULES,
        grant::RULES,
        value::RULES,
        prompt::RULES,
        model::RULES,
        repeat::RULES,
        policy::RULES,
        approval::RULES,
        sidecar::RULES,
        api::RULES,
        execution::RULES,
        answer::RULES,
        evidence::RULES,
    ];
    themes.into_iter().flatten()
}

/// A rule by its id.
pub fn rule_named(id: &str) -> Option<&'static Rule> {
    rules().find(|rule| rule.id == id)
}

/// What the rules find about one instruction, in the order of causes.
pub fn of_case(case: &Case<'_>) -> Vec<Finding> {
    settle(rules().flat_map(|rule| match rule.looks {
        Looks::Case(looks) => looks(rule, case),
        Looks::Graph(_) => Vec::new(),
    }))
}

/// What the rules find that belongs to no instruction.
pub fn of_graph(graph: &Graph<'_>) -> Vec<Finding> {
    settle(rules().flat_map(|rule| match rule.looks {
        Looks::Case(_) => Vec::new(),
        Looks::Graph(looks) => looks(rule, graph),
    }))
}

/// Faults first, then attempts, gaps and notes; of each what names somebody first, in the order in which the links came about. The first fault, or else
/// the first attempt, is the cause.
fn settle(found: impl Iterator<Item = Finding>) -> Vec<Finding> {
    let mut findings: Vec<Finding> = Vec::new();
    for finding in found {
        if !findings.contains(&finding) {
            findings.push(finding);
        }
    }
    findings.sort_by_key(|finding| (finding.kind, !finding.names_somebody(), finding.came_about(), finding.link));
    let mut named = findings.iter_mut().filter(|finding| matches!(finding.kind, Kind::Fault | Kind::Attempt));
    if let Some(cause) = named.next() {
        cause.standing = Some(Standing::Cause);
    }
    named.for_each(|finding| finding.standing = Some(Standing::Contributing));
    findings
}

/// The texts of all themes.
#[cfg(test)]
pub(crate) fn texts() -> Vec<&'static Text> {
    [
        instruction::ALL,
        grant::ALL,
        value::ALL,
        prompt::ALL,
        model::ALL,
        repeat::ALL,
        policy::ALL,
        approval::ALL,
        sidecar::ALL,
        api::ALL,
        execution::ALL,
        answer::ALL,
        evidence::ALL,
        chooser::ALL,
        wording::ALL,
    ]
    .concat()
}

#[cfg(test)]
mod tests;

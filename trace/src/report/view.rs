//! One instruction as the report shows it.

use std::collections::BTreeMap;

use countersign_authorize::import::harmless;

use super::words::Labels;
use crate::{
    chain::{Chain, Link},
    findings::{Finding, Kind, Standing},
    link::{State, Step},
    message::Lang,
};

/// The longest text of somebody else's that is shown, in characters.
const MOST: usize = 600;

/// Somebody else's text in one line.
pub fn plain(text: &str) -> String {
    harmless(text, MOST)
}

/// A label with what it labels.
pub fn labelled(label: &str, value: &str, lang: Lang) -> String {
    match lang {
        Lang::En => format!("{label} {}", plain(value)),
        Lang::ZhCn => format!("{label}{}", plain(value)),
    }
}

/// An instruction.
pub struct CaseView {
    /// A heading, where the report has several.
    pub heading: Option<String>,
    /// What happened and which link broke.
    pub paragraph: Vec<String>,
    /// Faults, attempts and gaps.
    pub findings: Vec<FindingView>,
    /// The links, in order.
    pub timeline: Vec<LinkView>,
    /// The steps that occur.
    pub columns: Vec<&'static str>,
    /// Party by party.
    pub rows: Vec<PartyView>,
    /// What would settle what stays open.
    pub open: Vec<String>,
    /// What is nobody's fault.
    pub notes: Vec<String>,
}

/// A finding.
pub struct FindingView {
    pub class: &'static str,
    pub kind: &'static str,
    pub link: &'static str,
    pub party: String,
    pub role: &'static str,
    pub registered: &'static str,
    pub established: String,
    pub state: StateView,
    pub rests: Vec<RestView>,
    pub settles: Vec<String>,
    pub credential: Option<String>,
    pub rule: String,
}

/// How well something is established.
#[derive(Clone)]
pub struct StateView {
    pub class: &'static str,
    pub word: &'static str,
}

impl StateView {
    fn of(state: State, lang: Lang) -> StateView {
        let class = match state {
            State::Proven => "proven",
            State::Observed => "observed",
            State::Claimed => "claimed",
            State::Missing => "missing",
            State::Contradicted => "contradicted",
        };
        StateView { class, word: state.text().of(lang) }
    }
}

/// A link that a finding rests on.
pub struct RestView {
    pub link: &'static str,
    pub state: StateView,
    pub entry: String,
}

/// A link of the timeline.
pub struct LinkView {
    pub broken: bool,
    pub date: String,
    pub time: String,
    pub step: &'static str,
    pub party: String,
    pub role: String,
    pub what: String,
    pub state: StateView,
    pub entry: String,
    pub missing: Option<String>,
}

/// A party's row of the table of corroboration.
pub struct PartyView {
    pub party: String,
    pub role: String,
    pub cells: Vec<Option<CellView>>,
}

/// What a party's links of one step are worth.
pub struct CellView {
    pub state: StateView,
    pub entries: String,
    pub broken: bool,
}

impl CaseView {
    /// Of a chain.
    pub fn of(chain: &Chain, with_heading: bool, lang: Lang) -> CaseView {
        let l = Labels::of(lang);
        let heading = match &chain.instruction {
            Some(id) => labelled(l.instruction, id, lang),
            None => l.beside.to_owned(),
        };
        let (columns, rows) = corroboration(chain, lang);
        let mut open: Vec<String> = Vec::new();
        for settles in chain.findings.iter().flat_map(|finding| &finding.settles) {
            let text = settles.show(lang);
            if !open.contains(&text) {
                open.push(text);
            }
        }
        CaseView {
            heading: (with_heading || chain.instruction.is_none()).then_some(heading),
            paragraph: chain.summary.iter().map(|message| message.show(lang)).collect(),
            findings: chain.findings.iter().map(|finding| FindingView::of(finding, lang)).collect(),
            timeline: chain.links.iter().enumerate().map(|(at, link)| link_view(chain, at, link, lang)).collect(),
            columns,
            rows,
            open,
            notes: chain.notes.iter().map(|finding| finding.established.show(lang)).collect(),
        }
    }
}

impl FindingView {
    fn of(finding: &Finding, lang: Lang) -> FindingView {
        let l = Labels::of(lang);
        let (class, kind) = match (finding.kind, finding.standing) {
            (Kind::Fault, Some(Standing::Cause)) => ("fault", l.fault_cause),
            (Kind::Fault, _) => ("fault", l.fault),
            (Kind::Attempt, Some(Standing::Cause)) => ("attempt", l.attempt_cause),
            (Kind::Attempt, _) => ("attempt", l.attempt),
            (Kind::Gap, _) => ("gap", l.gap),
            (Kind::Note, _) => ("note", l.note),
        };
        let rests = finding.rests.iter().map(|rests| RestView {
            link: rests.link.text().of(lang),
            state: StateView::of(rests.state, lang),
            entry: rests.entry.as_ref().map(|cited| cited.seq.to_string()).unwrap_or_default(),
        });
        FindingView {
            class,
            kind,
            link: finding.link.text().of(lang),
            party: if finding.names_somebody() { plain(&finding.holder.party) } else { String::new() },
            role: finding.holder.role.text().of(lang),
            registered: if finding.holder.registered || !finding.names_somebody() { "" } else { l.unregistered },
            established: finding.established.show(lang),
            state: StateView::of(finding.state, lang),
            rests: rests.collect(),
            settles: finding.settles.iter().map(|settles| settles.show(lang)).collect(),
            credential: finding.credential.as_ref().map(|credential| credential.show(lang)),
            rule: format!("{} ({})", finding.rule, finding.version),
        }
    }
}

/// The first link that broke; one that only stays open is none.
fn breaks(chain: &Chain) -> Option<usize> {
    let named = chain.findings.iter().any(|finding| finding.standing.is_some());
    let contradicted = |at: &usize| chain.links.get(*at).is_some_and(|link| link.state == State::Contradicted);
    chain.first_break.filter(|at| named || contradicted(at))
}

fn link_view(chain: &Chain, at: usize, link: &Link, lang: Lang) -> LinkView {
    let part =
        |range: std::ops::Range<usize>| link.time.as_deref().and_then(|time| time.get(range)).unwrap_or("–").to_owned();
    LinkView {
        broken: breaks(chain) == Some(at),
        date: part(0..10),
        time: part(11..23),
        step: link.step.text().of(lang),
        party: plain(&link.party),
        role: link.role.show(lang),
        what: link.what.show(lang),
        state: StateView::of(link.state, lang),
        entry: numbers(&link.entries),
        missing: link.missing.as_ref().map(|missing| missing.show(lang)),
    }
}

fn numbers(entries: &[u64]) -> String {
    let shown: Vec<String> = entries.iter().take(12).map(u64::to_string).collect();
    let more = if entries.len() > 12 { " …" } else { "" };
    format!("{}{more}", shown.join(", "))
}

/// A table: who had which step in their hands, and how well it is established.
fn corroboration(chain: &Chain, lang: Lang) -> (Vec<&'static str>, Vec<PartyView>) {
    let steps: Vec<Step> =
        Step::ALL.into_iter().filter(|step| chain.links.iter().any(|link| link.step == *step)).collect();
    let broken = breaks(chain).and_then(|at| chain.links.get(at));
    let mut order: Vec<(&str, String)> = Vec::new();
    let mut cells: BTreeMap<(usize, Step), (State, Vec<u64>)> = BTreeMap::new();
    for link in &chain.links {
        let key = (link.party.as_str(), link.role.show(lang));
        let row = order.iter().position(|known| *known == key).unwrap_or_else(|| {
            order.push(key);
            order.len() - 1
        });
        let cell = cells.entry((row, link.step)).or_insert((link.state, Vec::new()));
        // The weakest of several counts.
        cell.0 = cell.0.max(link.state);
        cell.1.extend(link.entries.iter().copied());
    }
    let rows = order.into_iter().enumerate().map(|(row, (party, role))| PartyView {
        party: plain(party),
        cells: steps
            .iter()
            .map(|step| {
                let (state, entries) = cells.get(&(row, *step))?;
                let is_broken = broken.is_some_and(|link| link.party == party && link.step == *step);
                Some(CellView { state: StateView::of(*state, lang), entries: numbers(entries), broken: is_broken })
            })
            .collect(),
        role,
    });
    (steps.iter().map(|step| step.text().of(lang)).collect(), rows.collect())
}

//! The report: one HTML file that opens from disk without scripts or anything from outside, prints on A4, and reads to somebody who is no engineer: the
//! finding in one paragraph, the timeline, who corroborates what, and then the technical part with what is needed to check all of it oneself.
//!
//! Whatever somebody else wrote is escaped by the template and put into one line without invisible characters.

mod technical;
mod view;
pub(crate) mod words;

use std::collections::BTreeSet;

use askama::Template;
use countersign_ledger::{evidence::Evidence, verify::Report as Integrity};

use self::{
    technical::Technical,
    view::{CaseView, labelled},
    words::Labels,
};
use crate::{
    chain::{self, Chain},
    message::Lang,
};

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReportError {
    /// Nothing to report on.
    #[error(
        "there is no instruction in the part that was asked for: look whether the id or the time is right, and whether it is of this ledger or bundle"
    )]
    Empty,
    /// The template.
    #[error("the report cannot be written: {0}")]
    Template(#[from] askama::Error),
}

/// What a report is made of.
pub struct Report<'r> {
    /// The evidence of one ledger or several.
    pub evidence: Vec<&'r Evidence>,
    /// What `verify` says of each, in the same order.
    pub integrity: Vec<Integrity>,
    /// Thumbprints of parties' keys that were had from elsewhere than the operator.
    pub trusted: BTreeSet<String>,
    /// The incident that it is about.
    pub incident: Option<String>,
}

#[derive(Template)]
#[template(path = "report.html")]
struct Page {
    lang: &'static str,
    l: Labels,
    title: String,
    head: Vec<(String, String)>,
    cases: Vec<CaseView>,
    technical: Technical,
}

impl Report<'_> {
    /// The report in a language. The same evidence gives the same bytes.
    ///
    /// # Errors
    /// [`ReportError`].
    pub fn html(&self, lang: Lang) -> Result<String, ReportError> {
        let chains = chain::trace(&self.evidence, &self.trusted);
        if chains.is_empty() {
            return Err(ReportError::Empty);
        }
        let l = Labels::of(lang);
        let page = Page {
            lang: lang.tag(),
            title: self.title(&chains, lang),
            head: self.head(&chains, lang),
            cases: chains.iter().map(|chain| CaseView::of(chain, chains.len() > 1, lang)).collect(),
            technical: Technical::of(self, lang),
            l,
        };
        Ok(page.render()?)
    }

    fn title(&self, chains: &[Chain], lang: Lang) -> String {
        let l = Labels::of(lang);
        match (&self.incident, chains) {
            (Some(incident), _) => labelled(l.title_incident, incident, lang),
            (None, [one]) => one
                .instruction
                .as_ref()
                .map_or_else(|| l.title.to_owned(), |id| labelled(l.title_instruction, id, lang)),
            (None, _) => l.title.to_owned(),
        }
    }

    /// Of what the report is, at a glance.
    fn head(&self, chains: &[Chain], lang: Lang) -> Vec<(String, String)> {
        let l = Labels::of(lang);
        let mut head = Vec::new();
        for evidence in &self.evidence {
            let last = evidence.items.values().next_back().map(|item| item.entry.time.to_string());
            head.push((l.ledger.to_owned(), view::plain(&evidence.origin)));
            head.push((l.entries.to_owned(), evidence.items.len().to_string()));
            head.extend(last.map(|last| (l.up_to.to_owned(), last)));
        }
        for (integrity, evidence) in self.integrity.iter().zip(&self.evidence) {
            head.push((l.integrity.to_owned(), technical::integrity(integrity, evidence, lang)));
        }
        let rules = chains.first().map_or(0, |chain| chain.rules);
        head.push((l.rules.to_owned(), rules.to_string()));
        head.push((l.software.to_owned(), countersign_ledger::SOFTWARE.to_owned()));
        head
    }
}

#[cfg(test)]
mod tests;

//! Whether what was said is right: the rules of README.md.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::Value;

use crate::table::{Cause, Kind, Table, Taken};

/// What matters here of a finding.
#[derive(Debug, Clone, Deserialize)]
pub struct Finding {
    #[serde(default)]
    rule: Option<String>,
    link: String,
    role: String,
    #[serde(default)]
    missing: Value,
    #[serde(default)]
    settles: Value,
}

impl Finding {
    /// A finding as the verifier says it of who keeps the ledger.
    pub fn of_verify(link: &str, role: &str, missing: &str) -> Finding {
        Finding { rule: None, link: link.into(), role: role.into(), missing: missing.into(), settles: Value::Null }
    }

    /// The link and role, where it names a party.
    pub fn names(&self) -> Option<Cause> {
        (self.role != "not_determinable").then(|| Cause { link: self.link.clone(), role: self.role.clone() })
    }
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{} ({})", self.link, self.role, self.rule.as_deref().unwrap_or("-"))?;
        if self.missing.is_null() { Ok(()) } else { write!(f, " missing {}", self.missing) }
    }
}

/// What a run is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Right,
    WronglyUndetermined(String),
    Wrong(String),
}

/// Judges an incident's findings.
pub fn judge(table: &Table, kind: &Kind, taken: Option<&Taken>, findings: &[Finding]) -> Verdict {
    let named: BTreeSet<Cause> = findings.iter().filter_map(Finding::names).collect();
    let foreign: Vec<String> = named
        .iter()
        .filter(|cause| !kind.causes.contains(cause) && !kind.also.contains(cause))
        .map(Cause::to_string)
        .collect();
    if !foreign.is_empty() {
        return Verdict::Wrong(format!("names {}", foreign.join(", ")));
    }
    let owed = taken.map_or(&kind.causes, |taken| &taken.left);
    if let Some(cause) = owed.iter().find(|cause| !named.contains(cause)) {
        return Verdict::WronglyUndetermined(format!("does not name {cause}"));
    }
    let Some(taken) = taken else { return Verdict::Right };
    let lost = kind.causes.iter().find(|cause| !taken.left.contains(cause) && named.contains(cause));
    if let Some(cause) = lost {
        return Verdict::Wrong(format!("names {cause} without the evidence for it"));
    }
    let open = findings.iter().filter(|finding| finding.role == "not_determinable" && finding.link == taken.open);
    if open.clone().any(|finding| names_missing(table, taken, finding)) {
        return Verdict::Right;
    }
    let said = if open.count() == 0 { "nothing is open" } else { "what is missing is not named" };
    Verdict::Wrong(format!("{said} at `{}`", taken.open))
}

fn names_missing(table: &Table, taken: &Taken, finding: &Finding) -> bool {
    let text = format!("{} {}", finding.missing, finding.settles).to_lowercase();
    let words = taken.missing.iter().flat_map(|name| &table.evidence[name].named_by);
    words.into_iter().any(|word| text.contains(word.as_str()))
}

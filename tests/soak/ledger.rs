//! What the ledger must have in the end.

use std::{collections::BTreeMap, fmt, path::Path};

use countersign_ledger::{
    Hash,
    directory::Directory,
    evidence::{Evidence, Selection},
    record::Kind,
};

pub struct Report {
    pub allowed: u64,
    pub refused: u64,
    pub reached: usize,
    /// Outcomes by result.
    results: BTreeMap<String, u64>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} calls allowed, {} refused, {} reached the API; outcomes {:?}",
            self.allowed, self.refused, self.reached, self.results
        )
    }
}

/// Holds the ledger against what reached the API and what the agents were told. Panics where something is missing.
pub fn compare(ledger: &Path, reached: &[String], told: &[String]) -> Report {
    let directory = Directory::read(ledger, None).unwrap();
    let evidence = Evidence::collect(&directory, &Selection::All, None, &|_| false).unwrap();
    let mut report = Report { allowed: 0, refused: 0, reached: reached.len(), results: BTreeMap::new() };
    // Per allowed call, how many outcomes.
    let mut calls: BTreeMap<Hash, u64> = BTreeMap::new();
    let mut entries = std::collections::BTreeSet::new();
    for item in evidence.items.values() {
        entries.insert(item.hash.to_string());
        match item.entry.kind {
            Kind::Call if item.entry.text("verdict") == Some("allow") => {
                report.allowed += 1;
                calls.insert(item.hash, 0);
            }
            Kind::Call => report.refused += 1,
            Kind::Outcome => {
                let call = item
                    .entry
                    .text("call")
                    .and_then(|call| call.parse::<Hash>().ok())
                    .expect("an outcome names its call");
                *calls.get_mut(&call).expect("an outcome of a call that was allowed before") += 1;
                *report.results.entry(item.entry.text("result").unwrap_or_default().to_owned()).or_default() += 1;
            }
            _ => {}
        }
    }
    let open: Vec<&Hash> = calls.iter().filter(|(_, outcomes)| **outcomes != 1).map(|(call, _)| call).collect();
    assert!(open.is_empty(), "calls without exactly one outcome: {open:?}");
    for entry in reached {
        let known = entry.parse::<Hash>().is_ok_and(|hash| calls.contains_key(&hash));
        assert!(known, "a call reached the API and is not recorded as allowed: `{entry}`");
    }
    for entry in told {
        assert!(entries.contains(entry), "an answer names an entry that is not in the ledger: `{entry}`");
    }
    report
}

//! The technical part: entries, hashes, checkpoints, keys, rules, what is not shown, and how to check all of it oneself.

use countersign_ledger::{
    evidence::{Evidence, Item, Selection, Shown},
    verify::Report as Integrity,
};
use serde_json::Value;

use super::{
    Report,
    view::plain,
    words::{Labels, named},
};
use crate::{findings, message::Lang};

/// The most entries whose values are shown; the table of hashes has all.
const MOST_ENTRIES: usize = 2_000;

/// Everything technical.
pub struct Technical {
    pub ledgers: Vec<LedgerView>,
    pub rules: Vec<(String, &'static str, &'static str)>,
    pub commands: Vec<(&'static str, String)>,
}

/// A ledger, or the part of it that is there.
pub struct LedgerView {
    pub origin: String,
    pub integrity: String,
    pub codes: Vec<(String, String)>,
    pub keys: Vec<String>,
    pub checkpoint: Option<String>,
    pub parties: Vec<[String; 4]>,
    pub party_keys: Vec<[String; 5]>,
    pub policies: Vec<[String; 5]>,
    pub events: Vec<[String; 4]>,
    pub hidden: Vec<[String; 3]>,
    pub entries: Vec<EntryView>,
}

/// An entry.
pub struct EntryView {
    pub seq: u64,
    pub time: String,
    pub kind: String,
    pub n: String,
    pub hash: String,
    pub parents: String,
    pub proven: bool,
    pub values: Vec<(String, String)>,
}

/// What `verify` says, in a line.
pub fn integrity(report: &Integrity, evidence: &Evidence, lang: Lang) -> String {
    let l = Labels::of(lang);
    let part = !matches!(evidence.selection, None | Some(Selection::All));
    match (report.findings.len(), report.outside) {
        (0, true) if report.compared => l.integrity_outside.to_owned(),
        (0, true) => l.integrity_key.to_owned(),
        (0, false) if part => l.integrity_self_part.to_owned(),
        (0, false) => l.integrity_self.to_owned(),
        (count, _) => format!("{}: {count}", l.integrity_broken),
    }
}

fn text(item: &Item, name: &str) -> String {
    item.entry.text(name).map(plain).unwrap_or_default()
}

fn of_kind<'e>(evidence: &'e Evidence, kinds: &'e [&str]) -> impl Iterator<Item = &'e Item> {
    evidence.items.values().filter(move |item| kinds.contains(&item.entry.kind.as_str()))
}

impl Technical {
    /// Of the whole report.
    pub fn of(report: &Report<'_>, lang: Lang) -> Technical {
        let l = Labels::of(lang);
        let ledgers =
            report.evidence.iter().enumerate().map(|(at, evidence)| ledger(evidence, report.integrity.get(at), lang));
        let rules = findings::rules()
            .map(|rule| (format!("{} ({})", rule.id, rule.version), rule.link.text().of(lang), rule.title.of(lang)));
        let commands = vec![
            (l.how_verify, "countersign verify BUNDLE --trust KEYS --against CHECKPOINT".to_owned()),
            (
                l.how_trace,
                "countersign trace BUNDLE --window 2000-01-01T00:00:00Z/2100-01-01T00:00:00Z --json".to_owned(),
            ),
            (
                l.how_report,
                format!(
                    "countersign report BUNDLE --window 2000-01-01T00:00:00Z/2100-01-01T00:00:00Z --lang {} -o again.html",
                    lang.tag()
                ),
            ),
            (l.how_hash, "unzip -p BUNDLE entries/NUMBER.json | sha256sum".to_owned()),
            (l.how_replay, "countersign replay BUNDLE".to_owned()),
        ];
        Technical { ledgers: ledgers.collect(), rules: rules.collect(), commands }
    }
}

fn ledger(evidence: &Evidence, report: Option<&Integrity>, lang: Lang) -> LedgerView {
    let l = Labels::of(lang);
    let codes = report.into_iter().flat_map(|report| &report.findings);
    let seq = |item: &Item| item.entry.seq.to_string();
    LedgerView {
        origin: plain(&evidence.origin),
        integrity: report.map_or_else(|| l.integrity_none.to_owned(), |report| integrity(report, evidence, lang)),
        codes: codes
            .map(|finding| (finding.seq.map_or_else(|| "–".to_owned(), |seq| seq.to_string()), finding.code.to_owned()))
            .collect(),
        keys: evidence.keys.iter().map(ToString::to_string).collect(),
        checkpoint: evidence.checkpoint.as_ref().map(|checkpoint| checkpoint.as_str().trim_end().to_owned()),
        parties: of_kind(evidence, &["party"])
            .map(|item| {
                [
                    seq(item),
                    text(item, "party"),
                    named(item.entry.text("role").unwrap_or_default(), lang),
                    text(item, "by"),
                ]
            })
            .collect(),
        party_keys: of_kind(evidence, &["key"])
            .map(|item| [seq(item), text(item, "party"), text(item, "event"), text(item, "kid"), text(item, "by")])
            .collect(),
        policies: of_kind(evidence, &["policy"])
            .map(|item| {
                [
                    seq(item),
                    named(item.entry.text("what").unwrap_or_default(), lang),
                    text(item, "name"),
                    text(item, "sha256"),
                    text(item, "by"),
                ]
            })
            .collect(),
        events: of_kind(evidence, &["revocation", "hold", "erasure", "incident", "reconciliation"])
            .map(|item| {
                [
                    seq(item),
                    item.entry.kind.to_string(),
                    event(item),
                    plain(item.entry.text("reason").unwrap_or_default()),
                ]
            })
            .collect(),
        hidden: hidden(evidence, lang),
        entries: evidence.items.values().take(MOST_ENTRIES).map(|item| entry(evidence, item, lang)).collect(),
    }
}

fn event(item: &Item) -> String {
    let names = ["event", "what", "result"];
    names.iter().find_map(|name| item.entry.text(name)).map(plain).unwrap_or_default()
}

/// Values that are committed to and cannot be seen here.
fn hidden(evidence: &Evidence, lang: Lang) -> Vec<[String; 3]> {
    let l = Labels::of(lang);
    let mut hidden = Vec::new();
    for item in evidence.items.values() {
        for (name, shown) in &item.values {
            let state = match shown {
                Shown::Value(_) => continue,
                Shown::Erased => l.erased,
                Shown::Withheld => l.withheld,
            };
            hidden.push([item.entry.seq.to_string(), plain(name), state.to_owned()]);
        }
    }
    hidden.truncate(MOST_ENTRIES);
    hidden
}

fn entry(evidence: &Evidence, item: &Item, lang: Lang) -> EntryView {
    let parents = item.entry.parents.iter().map(|parent| {
        evidence.find(parent).map_or_else(|| format!("{parent:.12}…"), |parent| parent.entry.seq.to_string())
    });
    let values = item.values.iter().filter_map(|(name, shown)| match shown {
        Shown::Value(disclosure) => Some((plain(name), value(disclosure.value()))),
        Shown::Erased | Shown::Withheld => None,
    });
    EntryView {
        seq: item.entry.seq,
        time: item.entry.time.to_string(),
        kind: named(item.entry.kind.as_str(), lang),
        n: item.entry.n.map(|n| n.to_string()).unwrap_or_default(),
        hash: item.hash.to_string(),
        parents: parents.collect::<Vec<_>>().join(", "),
        proven: evidence.proofs.contains_key(&item.entry.seq),
        values: values.collect(),
    }
}

fn value(value: &Value) -> String {
    plain(&value.as_str().map_or_else(|| value.to_string(), str::to_owned))
}

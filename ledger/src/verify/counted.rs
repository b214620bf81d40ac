//! The agents' own counts of their statements: a statement that was withheld or deleted leaves a hole.

use std::collections::BTreeMap;

use super::{Finding, finding};

/// How many statements that came before their turn are remembered, for each count.
const EARLY: usize = 4096;

/// One count.
#[derive(Default)]
struct Count {
    next: u64,
    /// What came before its turn: number, with its entry.
    early: BTreeMap<u64, u64>,
    /// The highest total that the agent stated, with its entry.
    total: Option<(u64, u64)>,
}

/// All counts, by grant and kind of statement.
#[derive(Default)]
pub(super) struct Counted(BTreeMap<(String, &'static str), Count>);

impl Counted {
    /// A statement with its number. The same number again is the same statement sent again.
    pub(super) fn stated(&mut self, grant: &str, kind: &'static str, n: Option<u64>, seq: u64) {
        let Some(n) = n else { return };
        let count = self.0.entry((grant.to_owned(), kind)).or_default();
        if n == count.next {
            count.next += 1;
            while count.early.remove(&count.next).is_some() {
                count.next += 1;
            }
        } else if n > count.next && count.early.len() < EARLY {
            count.early.entry(n).or_insert(seq);
        }
    }

    /// The agent says how many there were.
    pub(super) fn total(&mut self, grant: &str, kind: &'static str, total: Option<u64>, seq: u64) {
        let Some(total) = total else { return };
        let count = self.0.entry((grant.to_owned(), kind)).or_default();
        if count.total.is_none_or(|(known, _)| known < total) {
            count.total = Some((total, seq));
        }
    }

    /// The holes.
    pub(super) fn holes(self) -> impl Iterator<Item = Finding> {
        self.0.into_iter().filter_map(|((grant, kind), count)| {
            let missing = count.next;
            let early = count.early.into_iter().next().map(|(n, seq)| (seq, format!("number {n} is there")));
            let total = count.total.filter(|(total, _)| *total > missing);
            let total = total.map(|(total, seq)| (seq, format!("the agent says that it made {total}")));
            let (seq, why) = early.or(total)?;
            let what = format!(
                "the {kind} number {missing} under the grant `{grant}` is missing, though {why}: a statement of the agent was withheld or deleted"
            );
            Some(finding("statement-gap", Some(seq), what))
        })
    }
}

//! What is found by a name and a time.

use std::collections::{BTreeMap, BTreeSet};

use super::Micros;

/// Numbers of calls or lines, by group and time.
#[derive(Debug, Default)]
pub(super) struct Index(BTreeMap<String, BTreeSet<(Micros, u64)>>);

impl Index {
    pub(super) fn insert(&mut self, groups: &[String], at: Micros, id: u64) {
        for group in groups {
            match self.0.get_mut(group) {
                Some(members) => drop(members.insert((at, id))),
                None => drop(self.0.insert(group.clone(), BTreeSet::from([(at, id)]))),
            }
        }
    }

    pub(super) fn remove(&mut self, groups: &[String], at: Micros, id: u64) {
        for group in groups {
            let Some(members) = self.0.get_mut(group) else { continue };
            members.remove(&(at, id));
            if members.is_empty() {
                self.0.remove(group);
            }
        }
    }

    /// The members of a group in a time, in order.
    pub(super) fn within(&self, group: &str, from: Micros, to: Micros) -> impl Iterator<Item = u64> {
        let members = self.0.get(group).filter(|_| from <= to).into_iter();
        members.flat_map(move |members| members.range((from, 0)..=(to, u64::MAX)).map(|(_, id)| *id))
    }
}

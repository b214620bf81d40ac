//! Calls whose outcome left open whether they were executed, until somebody settles that.

use std::collections::BTreeMap;

use super::authority::Wrong;
use crate::{Entry, Hash, record::body};

/// Calls that were perhaps sent, with the entries of their outcomes and whether they were settled.
#[derive(Default)]
pub(super) struct Unsettled(BTreeMap<Hash, (Hash, bool)>);

impl Unsettled {
    /// A call ended.
    pub(super) fn ended(&mut self, hash: Hash, outcome: &body::Outcome) {
        if outcome.sent == "maybe" {
            self.0.insert(outcome.call, (hash, false));
        }
    }

    /// Somebody says what became of it; gives what is wrong with that.
    pub(super) fn settle(&mut self, entry: &Entry, settlement: &body::Settlement) -> Option<Wrong> {
        let ended = match self.0.get_mut(&settlement.call) {
            Some((ended, settled)) if !*settled => {
                *settled = true;
                *ended
            }
            Some(_) => return Some(("settled-twice", "what became of its call was settled before".to_owned())),
            None => {
                let what = "there is no call before it whose outcome left open whether it was executed".to_owned();
                return Some(("settled-unopened", what));
            }
        };
        let signed = settlement.check.as_ref().is_some_and(|check| check.result == "valid");
        let rests = entry.parents.iter().any(|parent| *parent != settlement.call && *parent != ended);
        let grounds = if settlement.source == "person" { signed } else { rests };
        (!grounds).then(|| {
            let what =
                "it rests on nothing: a person must have signed it, or it must name the receipt or reconciliation";
            ("settled-groundless", what.to_owned())
        })
    }
}

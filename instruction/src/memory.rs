//! How much memory an instruction takes: what a gateway keeps of those that nobody uses is bounded by it, because one may take a thousand times
//! as much as another.

use std::{collections::BTreeMap, mem::size_of};

use countersign_authorize::grant::ActionGrant;

use crate::{GrantState, Inner};

/// What an entry of a map takes beside its text, with its share of the node.
const ROW: usize = 96;

impl Inner {
    /// About how many bytes of memory all of it takes. Counted from how many there are of each, so that asking costs little.
    pub fn memory(&self) -> usize {
        let texts = self.words.len() + self.attached.iter().map(|text| text.len() + ROW).sum::<usize>();
        let grants = self.grant.iter().chain(self.delegated.values()).map(memory_of).sum::<usize>();
        let held = self.held.len() * 5 * ROW + (self.holding.len() + self.denied.len() + self.keys.len()) * 2 * ROW;
        let open = (self.reserved.len() + self.unsettled.len()) * 2 * ROW + self.decisions.len() * ROW / 2;
        let known = self.observations.memory() + self.asked.memory();
        size_of::<Inner>() + texts + grants + actions(&self.pending) + held + open + known
    }
}

fn memory_of(state: &GrantState) -> usize {
    let used = (state.usage.by_action.len() + state.usage.spent.len() + state.approved.len() * 2) * ROW;
    size_of::<GrantState>() + 4 * ROW + actions(&state.grant.actions) + used
}

/// The names of an action, of its upstream and its view; of each argument its name and what it must be.
fn actions(actions: &BTreeMap<String, ActionGrant>) -> usize {
    let arguments = actions.values().map(|action| action.arguments.len()).sum::<usize>();
    actions.len() * (size_of::<ActionGrant>() + 2 * ROW) + arguments * 4 * ROW
}

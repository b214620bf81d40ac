//! Calls under way whose action says that a withdrawal cuts them.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use tokio::sync::watch;

use super::Registry;

/// What a withdrawal may name of a call.
#[derive(Debug, Clone)]
pub struct Named {
    /// The instruction.
    pub instruction: String,
    /// The grant.
    pub grant: String,
    /// The agent, and those of the grants above.
    pub agents: Vec<String>,
    /// The data subject.
    pub subject: String,
    /// The action.
    pub action: String,
}

/// The calls by id.
#[derive(Default)]
pub struct UnderWay(Mutex<BTreeMap<String, (Named, watch::Sender<bool>)>>);

impl UnderWay {
    /// A call sets out; what is given says when it is cut.
    pub fn enter(&self, call: &str, named: Named) -> watch::Receiver<bool> {
        let (cut, is_cut) = watch::channel(false);
        self.0.lock().insert(call.to_owned(), (named, cut));
        is_cut
    }

    /// A call ended.
    pub fn leave(&self, call: &str) {
        self.0.lock().remove(call);
    }

    /// Cuts what `withdrawn` names.
    pub fn cut(&self, withdrawn: impl Fn(&Named) -> bool) {
        for (_, cut) in self.0.lock().values().filter(|(named, _)| withdrawn(named)) {
            cut.send_replace(true);
        }
    }
}

impl Registry {
    /// What withdraws a call, if anything does.
    pub fn withdraws(&self, named: &Named) -> bool {
        self.revocation(&named.agents, &named.subject, Some(&named.action)).is_some()
    }
}

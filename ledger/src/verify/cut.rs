//! A delegated grant against the one it was cut from, where both are disclosed.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Narrower, authority::Wrong};
use crate::{Entry, Kind, disclosure::Disclosure, record::Time};

/// At how many disclosed grants those are forgotten that have ended.
const MANY: usize = 65_536;

/// Disclosed grants that something may yet be cut from.
pub(super) struct Cut<'s> {
    narrower: Option<&'s Narrower>,
    grants: BTreeMap<String, (Option<Time>, Value)>,
    forget_at: usize,
}

impl<'s> Cut<'s> {
    pub(super) fn new(narrower: Option<&'s Narrower>) -> Cut<'s> {
        Cut { narrower, grants: BTreeMap::new(), forget_at: MANY }
    }

    /// Takes a grant; says what is wrong with one that was cut from another.
    pub(super) fn follow(&mut self, entry: &Entry, opened: &[&Disclosure]) -> Option<Wrong> {
        let narrower = self.narrower?;
        if !matches!(entry.kind, Kind::Grant | Kind::Delegation) {
            return None;
        }
        let grant = opened.iter().find(|disclosure| disclosure.name() == "grant")?.value();
        let parent = entry.text("from").and_then(|from| self.grants.get(from));
        let wrong = differs(entry, grant).or_else(|| narrower(grant, &parent?.1));
        self.keep(entry, grant);
        wrong.map(|what| ("delegation-wider", what))
    }

    fn keep(&mut self, entry: &Entry, grant: &Value) {
        if self.grants.len() >= self.forget_at {
            self.grants.retain(|_, (end, _)| end.is_none_or(|end| end >= entry.time));
            self.forget_at = MANY.max(self.grants.len() * 2);
        }
        let end = entry.body.get("expires").and_then(|end| serde_json::from_value(end.clone()).ok());
        let id = entry.text("grant").unwrap_or_default().to_owned();
        self.grants.insert(id, (end, grant.clone()));
    }
}

/// The delegation as disclosed must be the one that its entry shows.
fn differs(entry: &Entry, grant: &Value) -> Option<String> {
    let pairs = [("grant", "id"), ("from", "from"), ("agent", "agent")];
    let text = |name: &str| grant.get(name).and_then(Value::as_str);
    let other = pairs.iter().find(|(shown, disclosed)| entry.text(shown) != text(disclosed));
    other
        .filter(|_| entry.kind == Kind::Delegation)
        .map(|(shown, _)| format!("the grant that is disclosed has another `{shown}` than its entry"))
}

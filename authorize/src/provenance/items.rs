//! Which item of a list the user means. Where an answer has many (transactions, messages, hotels), a value of one of them is the user's choice only
//! if their words name something else of the same item that the API vouches for: "refund what GB29… sent me" names a payment by its sender.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    Json,
    catalogue::{Action, Type},
    occurs::{Needle, Text, key},
};

/// The fields of each item that the user's words have.
pub(super) struct Named(BTreeMap<String, BTreeSet<String>>);

/// What the words name of an answer's items.
pub(super) fn named(words: &Text, action: &Action, body: &Json) -> Named {
    // By list: its items; by field and value: the items that have it.
    let (mut items, mut having) =
        (BTreeMap::<_, BTreeSet<_>>::new(), BTreeMap::<_, (Type, String, BTreeSet<_>)>::new());
    body.scalars(&mut String::new(), &mut |at, value| {
        let declared = action.response.first_party.iter().find(|(pattern, _)| matches(pattern, at));
        let Some((field, ty)) = declared else { return };
        let (Some(item), Some(text)) = (item(field, at), value.as_text()) else { return };
        let Some(key) = key(*ty, &text) else { return };
        items.entry(list(&item)).or_default().insert(item.clone());
        let known = having.entry((list(&item), field.clone(), key)).or_insert_with(|| (*ty, text, BTreeSet::new()));
        known.2.insert(item);
    });
    let mut named = BTreeMap::<String, BTreeSet<String>>::new();
    for ((list, field, _), (ty, text, having)) in having {
        let all = items.get(&list).map_or(0, BTreeSet::len);
        // What every item has names none of them.
        let tells = tells(ty, &text) && (having.len() < all || all == 1);
        if tells && Needle::new(ty, &text).is_in(words) {
            for item in having {
                named.entry(item).or_default().insert(field.clone());
            }
        }
    }
    Named(named)
}

impl Named {
    /// Whether a field stands in no list, or in an item of which the words name another field.
    pub(super) fn has(&self, field: &str, at: &str) -> bool {
        let Some(item) = item(field, at) else { return true };
        self.0.get(&item).is_some_and(|named| named.iter().any(|other| other != field))
    }
}

/// Whether a value can name an item at all: `me` and `to` stand in every sentence.
fn tells(ty: Type, text: &str) -> bool {
    !matches!(ty, Type::Text | Type::Account) || !text.is_ascii() || text.len() > 2
}

/// The innermost item that a field is in: the pointer up to the last step that `*` stands for.
fn item(pattern: &str, at: &str) -> Option<String> {
    let last = pattern.split('/').enumerate().filter(|(_, step)| *step == "*").last()?.0;
    Some(at.split('/').take(last + 1).collect::<Vec<_>>().join("/"))
}

fn list(item: &str) -> String {
    item.rsplit_once('/').map_or("", |(list, _)| list).to_owned()
}

/// Whether a pointer pattern, in which `*` stands for any one step, is this pointer.
pub(super) fn matches(pattern: &str, pointer: &str) -> bool {
    let (mut pattern, mut pointer) = (pattern.split('/'), pointer.split('/'));
    loop {
        match (pattern.next(), pointer.next()) {
            (None, None) => return true,
            (Some("*"), Some(_)) => {}
            (Some(one), Some(other)) if one == other => {}
            _ => return false,
        }
    }
}

//! What an API says of an execution: the field `Countersign-Execution`, a dictionary of RFC 9651.

use countersign_ledger::Hash;
use serde::{Deserialize, Serialize};
use sfv::{BareItem, FieldType as _, Key, KeyRef, ListEntry, Parser};

/// How a call was executed, as far as the API says. Every member may be left out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Execution {
    /// The API's own name of the execution: what its log and its support find it by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// How long it waited before it began, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue_ms: Option<u64>,
    /// How long it waited for locks, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lock_ms: Option<u64>,
    /// Whether it met a deadlock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadlock: Option<bool>,
    /// How often the API tried again by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retries: Option<u64>,
    /// The class of the exception that ended it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exception: Option<String>,
    /// Whether it is the answer of an earlier execution, given again (an idempotent call).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replay: Option<bool>,
    /// How many rows or objects it changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub changed: Option<u64>,
    /// SHA-256 of the content that the API read, by its own count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_sha256: Option<Hash>,
}

impl Execution {
    /// The field's value; `None` when nothing is said.
    pub fn to_field(&self) -> Option<String> {
        let text = |text: &String| match sfv::StringRef::from_str(text) {
            Ok(text) => BareItem::String(text.to_owned()),
            Err(_) => BareItem::DisplayString(text.clone()),
        };
        // What is longer than a structured field's integer (15 digits) is as good as for ever.
        let number =
            |number: &u64| BareItem::try_from((*number).min(999_999_999_999_999)).unwrap_or(BareItem::Boolean(false));
        let members = [
            ("id", self.id.as_ref().map(text)),
            ("queue_ms", self.queue_ms.as_ref().map(number)),
            ("lock_ms", self.lock_ms.as_ref().map(number)),
            ("deadlock", self.deadlock.map(BareItem::Boolean)),
            ("retries", self.retries.as_ref().map(number)),
            ("exception", self.exception.as_ref().map(text)),
            ("replay", self.replay.map(BareItem::Boolean)),
            ("changed", self.changed.as_ref().map(number)),
            ("request", self.request_sha256.map(|sha256| BareItem::ByteSequence(sha256.as_bytes().to_vec()))),
        ];
        let members = members.into_iter().filter_map(|(name, value)| Some((key(name)?, ListEntry::from(value?))));
        members.collect::<sfv::Dictionary>().serialize()
    }

    /// Reads the field's value; members that are not known, or not as they must be, are left out.
    pub fn from_field(value: &str) -> Option<Execution> {
        let members: sfv::Dictionary = Parser::new(value).parse().ok()?;
        let item = |name: &str| match members.get(name) {
            Some(ListEntry::Item(item)) => Some(&item.bare_item),
            _ => None,
        };
        let text = |name| {
            let item = item(name)?;
            item.as_string().map(|text| text.as_str().to_owned()).or_else(|| item.as_display_string().cloned())
        };
        let number = |name| u64::try_from(item(name)?.as_integer()?).ok();
        let flag = |name| item(name)?.as_boolean();
        let sha256 = |name| <[u8; 32]>::try_from(item(name)?.as_byte_sequence()?).ok().map(Hash::from);
        Some(Execution {
            id: text("id"),
            queue_ms: number("queue_ms"),
            lock_ms: number("lock_ms"),
            deadlock: flag("deadlock"),
            retries: number("retries"),
            exception: text("exception"),
            replay: flag("replay"),
            changed: number("changed"),
            request_sha256: sha256("request"),
        })
    }
}

fn key(name: &str) -> Option<Key> {
    KeyRef::from_str(name).ok().map(KeyRef::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_read_back_and_what_is_not_understood_is_left_out() {
        let said = Execution {
            id: Some("tx-\u{e9}".into()),
            queue_ms: Some(3),
            lock_ms: Some(u64::MAX),
            deadlock: Some(true),
            retries: Some(2),
            exception: Some("Serialization\"Failure".into()),
            replay: Some(false),
            changed: Some(1),
            request_sha256: Some(Hash::of(b"x")),
        };
        let field = said.to_field().unwrap();
        assert!(
            field.starts_with("id=%\"tx-%c3%a9\", queue_ms=3, lock_ms=999999999999999, deadlock, retries=2"),
            "{field}"
        );
        let read = Execution::from_field(&field).unwrap();
        assert_eq!(read, Execution { lock_ms: Some(999_999_999_999_999), ..said });
        assert_eq!(Execution::default().to_field(), None);
        assert_eq!(Execution::from_field("id=7, changed=-1, later=(a b)"), Some(Execution::default()));
        assert_eq!(Execution::from_field("id=="), None);
    }
}

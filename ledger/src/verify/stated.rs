//! Parties' own statements, checked again with the keys as they were registered at that time.

use std::collections::BTreeMap;

use serde_json::Value;

use super::authority::Wrong;
use crate::{
    Entry, Kind,
    disclosure::Disclosure,
    record::body,
    statement::{Jwk, Statement},
};

struct Row {
    jwk: Jwk,
    party: String,
    good: bool,
}

/// Keys by thumbprint, as registered so far.
#[derive(Default)]
pub(super) struct Keys(BTreeMap<String, Row>);

impl Keys {
    /// Follows a `key` entry; says what is wrong with it.
    pub(super) fn change(&mut self, key: &body::Key) -> Option<String> {
        let jwk = key.jwk.as_ref().map(|jwk| serde_json::from_value::<Jwk>(jwk.clone()));
        let good = key.event == "registered";
        match (jwk, self.0.get_mut(&key.kid)) {
            (Some(Err(error)), _) => return Some(format!("the key is not one that is supported: {error}")),
            (Some(Ok(jwk)), _) if jwk.thumbprint() != key.kid => {
                return Some(format!(
                    "the key has the thumbprint `{}`, not the one it is registered under",
                    jwk.thumbprint()
                ));
            }
            (Some(Ok(jwk)), _) => drop(self.0.insert(key.kid.clone(), Row { jwk, party: key.party.clone(), good })),
            (None, Some(row)) => row.good = good,
            (None, None) => return Some("it changes a key that was never registered".to_owned()),
        }
        None
    }

    /// A key that counts now, with whose it is.
    pub(super) fn good(&self, kid: &str) -> Option<(String, Jwk)> {
        self.0.get(kid).filter(|row| row.good).map(|row| (row.party.clone(), row.jwk.clone()))
    }
}

/// A disclosed text by name.
pub(super) fn text<'d>(opened: &[&'d Disclosure], name: &str) -> Option<&'d str> {
    opened.iter().find(|disclosure| disclosure.name() == name).and_then(|disclosure| disclosure.value().as_str())
}

/// The type that a statement of this kind has.
const fn typ(kind: &Kind) -> Option<&'static str> {
    match kind {
        Kind::Instruction => Some("countersign-instruction+jwt"),
        Kind::Grant => Some("countersign-consent+jwt"),
        Kind::Decision => Some("countersign-decision+jwt"),
        Kind::Approval => Some("countersign-approval+jwt"),
        Kind::Answer => Some("countersign-answer+jwt"),
        Kind::Delegation => Some("countersign-delegation+jwt"),
        Kind::Settlement => Some("countersign-settlement+jwt"),
        _ => None,
    }
}

/// What a statement and its entry must say alike, where both say it.
const ALIKE: [&str; 5] = ["origin", "call", "decision", "action", "from"];

/// What a statement and a disclosed value of the same name must say alike.
const ALIKE_DISCLOSED: [&str; 6] = ["arguments", "digest", "principal", "reason", "text", "words"];

/// Checks an entry's statement, where it is disclosed: `None` when there is none, else what is wrong.
pub(super) fn check(entry: &Entry, opened: &[&Disclosure], keys: &Keys) -> Option<Option<Wrong>> {
    let statement = text(opened, "statement")?;
    let check = serde_json::from_value::<body::Check>(entry.body.get("check")?.clone()).ok()?;
    Some(recheck(entry, opened, statement, &check, keys))
}

fn recheck(entry: &Entry, opened: &[&Disclosure], text: &str, check: &body::Check, keys: &Keys) -> Option<Wrong> {
    let key = keys.good(&check.kid);
    let statement = Statement::parse(text).ok().filter(|statement| statement.kid() == check.kid);
    let result = match (&statement, &key) {
        (None, _) => "invalid",
        (Some(_), None) => "unknown_key",
        (Some(statement), Some((_, jwk))) if statement.has_valid_signature(jwk) => "valid",
        (Some(_), Some(_)) => "invalid",
    };
    if result != check.result {
        let recorded = &check.result;
        return Some((
            "statement-differs",
            format!("the gateway recorded the signature as `{recorded}`, it is `{result}`"),
        ));
    }
    let (statement, (party, jwk)) = (statement?, key?);
    if result != "valid" {
        return None;
    }
    if check.party.as_ref() != Some(&party) {
        let what = "the key was registered for another party than the one recorded".to_owned();
        return Some(("statement-party", what));
    }
    let said = match typ(&entry.kind) {
        Some(typ) => match statement.verify::<Value>(typ, &jwk) {
            Ok(said) => said,
            Err(error) => return Some(("statement-says-other", error.to_string())),
        },
        None => statement.payload_unverified().clone(),
    };
    let shown = |name: &&&str| {
        let value = opened.iter().find(|disclosure| disclosure.name() == **name).map(|disclosure| disclosure.value());
        said.get(**name).zip(value).is_some_and(|(said, value)| said != value)
    };
    let recorded = |name: &&&str| {
        let recorded = if **name == "origin" { Some(entry.origin.as_str()) } else { entry.text(name) };
        said.get(**name).and_then(Value::as_str).zip(recorded).is_some_and(|(said, recorded)| said != recorded)
    };
    let count = |name: &&&str| {
        let recorded = entry.body.get(**name).and_then(Value::as_u64);
        said.get(**name).is_some_and(|said| said.as_u64() != recorded)
    };
    let statement = matches!(entry.kind, Kind::Decision | Kind::Answer);
    if let Some(other) = ["n", "decisions"].iter().find(|name| count(name)).filter(|_| statement) {
        return Some(("statement-says-other", format!("the party signed another `{other}` than the entry records")));
    }
    if entry.kind == Kind::Settlement && said.get("executed") != entry.body.get("executed") {
        return Some(("statement-says-other", "the party signed another `executed` than the entry records".to_owned()));
    }
    let other = ALIKE.iter().find(recorded).or_else(|| ALIKE_DISCLOSED.iter().find(shown))?;
    Some(("statement-says-other", format!("the party signed another `{other}` than the entry records")))
}

//! Parties' own statements, checked again with the keys as they were registered at that time.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::authority::Wrong;
use crate::{
    Entry, Kind, canonical,
    disclosure::Disclosure,
    passkey::{Registered, Stated, is_cloned},
    record::{Time, body},
    statement::Jwk,
};

struct Row {
    key: Registered,
    party: String,
    good: bool,
    /// The highest counter that a passkey's authenticator gave.
    counter: u32,
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
            (Some(Ok(jwk)), _) if jwk.validate().is_err() => {
                return Some("the key is not one that is supported, or no point of its curve".to_owned());
            }
            (Some(Ok(jwk)), _) if jwk.thumbprint() != key.kid => {
                return Some(format!(
                    "the key has the thumbprint `{}`, not the one it is registered under",
                    jwk.thumbprint()
                ));
            }
            (Some(Ok(jwk)), known) => {
                let counter = known.map_or(0, |row| row.counter);
                let key_row = Registered { jwk, passkey: key.passkey.clone() };
                self.0.insert(key.kid.clone(), Row { key: key_row, party: key.party.clone(), good, counter });
            }
            (None, Some(row)) => row.good = good,
            (None, None) => return Some("it changes a key that was never registered".to_owned()),
        }
        None
    }

    /// A key that counts now and signs JWS, with whose it is.
    pub(super) fn signer(&self, kid: &str) -> Option<(String, Jwk)> {
        let row = self.0.get(kid).filter(|row| row.good && row.key.passkey.is_none());
        row.map(|row| (row.party.clone(), row.key.jwk.clone()))
    }

    /// Follows the counter of a passkey's authenticator; says when there are two of it.
    fn count(&mut self, stated: &Stated) -> Option<Wrong> {
        let Stated::Passkey(assertion) = stated else { return None };
        let (row, counter) = (self.0.get_mut(&assertion.kid)?, assertion.counter_unverified()?);
        if is_cloned(row.counter, counter) {
            let what = format!("the passkey's counter is {counter} after {}: there are two copies of it", row.counter);
            return Some(("passkey-counter", what));
        }
        row.counter = counter;
        None
    }
}

/// A disclosed value by name.
fn value<'d>(opened: &[&'d Disclosure], name: &str) -> Option<&'d Value> {
    opened.iter().find(|disclosure| disclosure.name() == name).map(|disclosure| disclosure.value())
}

/// A disclosed text by name.
pub(super) fn text<'d>(opened: &[&'d Disclosure], name: &str) -> Option<&'d str> {
    value(opened, name)?.as_str()
}

/// The type that a statement of this kind has, without its form.
const fn typ(kind: &Kind) -> Option<&'static str> {
    match kind {
        Kind::Instruction => Some("countersign-instruction"),
        Kind::Grant => Some("countersign-consent"),
        Kind::Decision => Some("countersign-decision"),
        Kind::Approval => Some("countersign-approval"),
        Kind::Answer => Some("countersign-answer"),
        Kind::Delegation => Some("countersign-delegation"),
        Kind::Settlement => Some("countersign-settlement"),
        _ => None,
    }
}

/// What a statement and its entry must say alike, where both say it.
const ALIKE: [&str; 5] = ["origin", "call", "decision", "action", "from"];

/// What a statement and a disclosed value of the same name must say alike.
const ALIKE_DISCLOSED: [&str; 6] = ["arguments", "digest", "principal", "reason", "text", "words"];

/// Checks an entry's statement, where it is disclosed: `None` when there is none, else what is wrong.
pub(super) fn check(entry: &Entry, opened: &[&Disclosure], keys: &mut Keys) -> Option<Option<Wrong>> {
    let statement = value(opened, "statement")?;
    let check = serde_json::from_value::<body::Check>(entry.body.get("check")?.clone()).ok()?;
    let stated = Stated::read(statement).ok().filter(|stated| stated.kid() == check.kid);
    let wrong = recheck(entry, opened, stated.as_ref(), &check, keys);
    Some(wrong.or_else(|| keys.count(&stated.filter(|_| check.result == "valid")?)))
}

fn recheck(
    entry: &Entry,
    opened: &[&Disclosure],
    statement: Option<&Stated>,
    check: &body::Check,
    keys: &Keys,
) -> Option<Wrong> {
    let row = keys.0.get(&check.kid).filter(|row| row.good);
    let result = match (statement, row) {
        (None, _) => "invalid",
        (Some(_), None) => "unknown_key",
        (Some(statement), Some(row)) if statement.has_valid_signature(&row.key) => "valid",
        (Some(_), Some(_)) => "invalid",
    };
    if result != check.result {
        let recorded = &check.result;
        return Some((
            "statement-differs",
            format!("the gateway recorded the signature as `{recorded}`, it is `{result}`"),
        ));
    }
    let (statement, Row { key, party, .. }) = (statement?, row?);
    if result != "valid" {
        return None;
    }
    if check.party.as_ref() != Some(party) {
        let what = "the key was registered for another party than the one recorded".to_owned();
        return Some(("statement-party", what));
    }
    if matches!(statement, Stated::Passkey(_)) && !matches!(entry.kind, Kind::Instruction | Kind::Approval) {
        let what = "a passkey signed it, and passkeys sign instructions and approvals only".to_owned();
        return Some(("statement-says-other", what));
    }
    let said = match typ(&entry.kind) {
        Some(typ) => match statement.verify::<Value>(typ, key) {
            Ok(said) => said,
            Err(error) => return Some(("statement-says-other", error.to_string())),
        },
        None => statement.payload_unverified().clone(),
    };
    let shown = |name: &&&str| said.get(**name).zip(value(opened, name)).is_some_and(|(said, value)| said != value);
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
    let other = ALIKE.iter().find(recorded).or_else(|| ALIKE_DISCLOSED.iter().find(shown)).copied();
    let other = other.or_else(|| differs_in_approval(entry, opened, &said, party))?;
    Some(("statement-says-other", format!("the party signed another `{other}` than the entry records")))
}

/// In what an approval's entry says something else than its approver signed.
fn differs_in_approval(entry: &Entry, opened: &[&Disclosure], said: &Value, party: &str) -> Option<&'static str> {
    if entry.kind != Kind::Approval {
        return None;
    }
    let approval: body::Approval = entry.body_as().ok()?;
    let time = |name: &str| serde_json::from_value::<Time>(said.get(name)?.clone()).ok();
    let took = |shown: Time, answered: Time| {
        u64::try_from(answered.instant().as_millisecond() - shown.instant().as_millisecond()).ok()
    };
    let shown = value(opened, "shown").and_then(|shown| canonical::digest(shown).ok());
    let signed = said.get("shown_sha256").and_then(Value::as_str);
    let policies = said.get("policies").and_then(Value::as_array);
    if approval.approver != party {
        Some("approver")
    } else if time("shown") != approval.shown {
        Some("shown")
    } else if time("shown").zip(time("answered")).and_then(|(shown, answered)| took(shown, answered))
        != approval.took_ms
    {
        Some("answered")
    } else if time("expires").zip(approval.expires).is_some_and(|(signed, recorded)| recorded > signed) {
        Some("expires")
    } else if policies.is_some_and(|signed| {
        !signed.iter().eq(approval.policies.iter().map(|hash| json!(hash)).collect::<Vec<_>>().iter())
    }) {
        Some("policies")
    } else if signed.zip(shown).is_some_and(|(signed, shown)| signed != shown.to_string()) {
        Some("shown_sha256")
    } else {
        None
    }
}

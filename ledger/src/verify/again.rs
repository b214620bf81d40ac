//! One statement or receipt, checked again by who has the party's key from elsewhere.

use super::{
    countersigned::{self, Roots},
    stated::{self, Keys},
};
use crate::{Entry, Kind, disclosure::Disclosure, record::body, statement::Jwk};

/// Whether what the entry records as validly signed is disclosed here, signed with this very key, and says what the entry says.
pub fn is_borne_out(entry: &Entry, opened: &[&Disclosure], jwk: &Jwk) -> bool {
    let check = entry.body.get("check").and_then(|check| serde_json::from_value::<body::Check>(check.clone()).ok());
    let Some(check) = check.filter(|check| check.result == "valid" && check.kid == jwk.thumbprint()) else {
        return false;
    };
    let receipt = (entry.kind == Kind::Receipt).then(|| entry.body_as::<body::Receipt>().ok()).flatten();
    let party = receipt.as_ref().map(|receipt| receipt.api.clone()).or(check.party).unwrap_or_default();
    let mut keys = Keys::default();
    let registered = body::Key {
        event: "registered".to_owned(),
        kid: check.kid,
        party,
        jwk: serde_json::to_value(jwk).ok(),
        ..body::Key::default()
    };
    let found = match &receipt {
        _ if keys.change(&registered).is_some() => None,
        Some(receipt) => countersigned::check(receipt, opened, &keys, &Roots::default()),
        None => stated::check(entry, opened, &mut keys),
    };
    found.is_some_and(|wrong| wrong.is_none())
}

//! Proofs of possession (RFC 9449) that calls show, checked again: that the key is the one which the grant is bound to, that the proof was made for this
//! very request, and that it served once.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::authority::Wrong;
use crate::{
    Entry, Hash, Kind,
    disclosure::Disclosure,
    possession::{Claims, Possession},
    record::body,
};

/// By how much the clock of whoever made a proof may be ahead, in seconds.
const AHEAD_SECONDS: i64 = 60;

/// How old a proof may be when its call is judged, in seconds: the request's content comes in between.
const OLD_SECONDS: i64 = 3600;

/// What was shown of keys and proofs so far.
#[derive(Default)]
pub(super) struct Possessed {
    /// The keys to which disclosed grants are bound, by grant.
    keys: BTreeMap<String, String>,
    /// What was signed of proofs that served.
    served: BTreeSet<[u8; 16]>,
}

impl Possessed {
    /// Follows an entry: whether it shows a proof, and what is wrong with that, or with there being none.
    pub(super) fn follow(&mut self, entry: &Entry, opened: &[&Disclosure]) -> (bool, Option<Wrong>) {
        let value = |name: &str| opened.iter().find(|one| one.name() == name).map(|one| one.value());
        match entry.kind {
            Kind::Grant | Kind::Delegation => {
                self.bind(entry, value("grant"));
                (false, None)
            }
            Kind::Call => {
                let Ok(call) = entry.body_as::<body::Call>() else { return (false, None) };
                let proof = value("proof").filter(|_| call.kid.is_some());
                let wrong = proof.and_then(|proof| self.check(&call, proof, &value));
                (proof.is_some(), wrong.or_else(|| self.is_of_another_key(&call).then(wrong_key)))
            }
            _ => (false, None),
        }
    }

    /// Notes the key to which a disclosed grant is bound.
    fn bind(&mut self, entry: &Entry, grant: Option<&Value>) {
        let (Some(id), Some(grant)) = (entry.text("grant"), grant) else { return };
        match grant.get("key").and_then(Value::as_str) {
            Some(key) => drop(self.keys.insert(id.to_owned(), key.to_owned())),
            None => drop(self.keys.remove(id)),
        }
    }

    /// Whether a call was allowed under a grant that is bound to another key than the one that was proven.
    fn is_of_another_key(&self, call: &body::Call) -> bool {
        let bound = call.grant.as_ref().and_then(|grant| self.keys.get(grant));
        call.verdict == "allow" && bound.is_some_and(|bound| call.kid.as_ref() != Some(bound))
    }

    fn check<'v>(
        &mut self,
        call: &body::Call,
        proof: &Value,
        value: &impl Fn(&str) -> Option<&'v Value>,
    ) -> Option<Wrong> {
        let text = proof.as_str().unwrap_or_default();
        let Ok(proof) = Possession::read(text) else {
            let what = "the agent's proof is none, or its signature does not fit the key in it".to_owned();
            return Some(("proof-invalid", what));
        };
        if call.kid.as_ref() != Some(&proof.kid) {
            return Some(wrong_key());
        }
        if let Some(other) = differs(call, &proof.claims, value) {
            let what = format!("the agent's proof was made for another `{other}` than that of this request");
            return Some(("proof-says-other", what));
        }
        // A signature of P-256 can be written in two ways, what was signed cannot.
        let digest = Hash::of(text.rsplit_once('.').map_or(text, |(signed, _)| signed).as_bytes());
        let digest = digest.as_bytes().first_chunk::<16>().copied()?;
        (!self.served.insert(digest))
            .then(|| ("proof-replayed", "the agent's proof served for an earlier call".to_owned()))
    }
}

fn wrong_key() -> Wrong {
    let what =
        "the key that the agent proved to hold is not the recorded one, or not the one that its grant is bound to";
    ("proof-key", what.to_owned())
}

/// What the proof says otherwise than the entry: as the gateway found it, as the request is disclosed, and by its time.
fn differs<'v>(call: &body::Call, claims: &Claims, value: &impl Fn(&str) -> Option<&'v Value>) -> Option<&'static str> {
    let text = |of: &str, name: &str| value(of)?.get(name)?.as_str();
    let found = |name: &str, said: Option<&str>| text("possession", name).is_some_and(|found| Some(found) != said);
    // A message of MCP has a method of its own, `mcp/…`.
    let method = text("request", "method").filter(|method| !method.contains('/'));
    let target = text("request", "target").filter(|_| method.is_some());
    if found("htm", Some(&claims.htm)) || method.is_some_and(|method| method != claims.htm) {
        Some("htm")
    } else if found("htu", Some(&claims.htu)) || target.is_some_and(|target| !leads_to(&claims.htu, target)) {
        Some("htu")
    } else if found("ath", claims.ath.as_deref()) {
        Some("ath")
    } else {
        let judged = call.judged.map(|judged| judged.instant().as_second());
        let age = judged.map(|judged| judged.saturating_sub(claims.iat));
        age.is_some_and(|age| !(-AHEAD_SECONDS..=OLD_SECONDS).contains(&age)).then_some("iat")
    }
}

/// Whether a URL ends with the path of what was asked of the API, which stands behind the gateway's own prefix. Escapes may have been rewritten: then
/// nothing is said.
fn leads_to(url: &str, target: &str) -> bool {
    let cut = |text: &'_ str| text.split(['?', '#']).next().unwrap_or_default().to_owned();
    let (url, path) = (cut(url), cut(target));
    path == "/" || url.contains('%') || path.contains('%') || url.ends_with(&path)
}

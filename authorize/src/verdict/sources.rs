//! Where the values of one call came from, and why a source is not accepted.

use std::collections::BTreeMap;

use super::{Provenance, Reason, deny};
use crate::{
    Json,
    catalogue::{Argument, Type},
    grant::ActionGrant,
    occurs,
    provenance::{Observations, Source},
};

/// The values of an argument: itself, or the items of a list.
pub(super) fn scalars(value: &Json) -> Vec<String> {
    match value {
        Json::Array(items) => items.iter().flat_map(scalars).collect(),
        other => other.as_text().into_iter().collect(),
    }
}

pub(super) fn provenance(
    observations: &Observations,
    granted: &ActionGrant,
    name: &str,
    argument: &Argument,
    value: &Json,
) -> Vec<Provenance> {
    let values = scalars(value);
    if values.is_empty() {
        // `null` and `[]` say something too: nobody asked for it.
        return vec![unsaid(name, String::new(), false)];
    }
    let trace = |value| trace(observations, granted, name, argument, (argument.ty, value));
    values.into_iter().map(trace).collect()
}

/// Links, e-mail addresses and account numbers within a free text bind, whoever wrote the text around them.
pub(super) fn provenance_within(
    observations: &Observations,
    granted: &ActionGrant,
    name: &str,
    argument: &Argument,
    value: &Json,
) -> Vec<Provenance> {
    let mut found = Vec::new();
    let constraint = granted.arguments.get(name);
    // A text that the host itself wrote is the host's.
    for text in scalars(value).into_iter().filter(|text| !constraint.is_some_and(|c| c.names(argument.ty, text))) {
        let (addresses, more) = occurs::addresses(&text);
        let trace = |address| Provenance { within: true, ..trace(observations, granted, name, argument, address) };
        found.extend(addresses.into_iter().map(trace));
        if more {
            found.push(unsaid(name, "more than 64 addresses".to_owned(), true));
        }
    }
    found
}

/// One mention in the user's words stands for one argument: a value that more binding arguments have than the words is nobody's word for any of
/// them.
pub(super) fn said_once(
    observations: &Observations,
    declared: &BTreeMap<String, Argument>,
    arguments: &BTreeMap<String, Json>,
    provenance: &mut [Provenance],
) {
    let folded = |value: &str| value.trim().to_lowercase();
    let has = |value: &Json, wanted: &str| scalars(value).iter().any(|value| folded(value) == wanted);
    for traced in provenance.iter_mut().filter(|traced| traced.decided_by == Some(Source::Words) && !traced.within) {
        let Some(argument) = declared.get(&traced.argument) else { continue };
        let wanted = folded(&traced.value);
        let binding = arguments.iter().filter(|(name, _)| declared.get(*name).is_some_and(|argument| argument.binds));
        let having = binding.filter(|(_, value)| has(value, &wanted)).count();
        if having > 1 && having > observations.times_said(argument.ty, &traced.value) {
            traced.accepted = false;
            traced.shared = true;
        }
    }
}

fn unsaid(name: &str, value: String, within: bool) -> Provenance {
    Provenance {
        argument: name.to_owned(),
        value,
        within,
        shared: false,
        sources: Vec::new(),
        accepted: false,
        decided_by: None,
    }
}

/// Where one value came from.
fn trace(
    observations: &Observations,
    granted: &ActionGrant,
    name: &str,
    argument: &Argument,
    (ty, value): (Type, String),
) -> Provenance {
    // A constraint is about the whole argument.
    let constraint = granted.arguments.get(name).filter(|_| argument.binds);
    let sources = observations.sources(ty, &value, constraint);
    let allowed =
        |source: &Source| *source == Source::Host || argument.from.iter().any(|from| source.is_named_by(from));
    let said = sources.iter().find(|source| source.is_said() && allowed(source));
    // Content that repeats a value may be what made the agent choose it. When not all content could be kept, nobody knows.
    let doubtful = observations.is_full() || !sources.iter().all(Source::is_trusted);
    let seen = sources.iter().find(|source| allowed(source)).filter(|_| !doubtful);
    let accepting = said.or(seen);
    let (accepted, decided_by) = (accepting.is_some(), accepting.or(sources.last()).cloned());
    Provenance { argument: name.to_owned(), value, within: false, shared: false, sources, accepted, decided_by }
}

pub(super) fn unaccepted_reason(provenance: &Provenance, full: bool) -> Reason {
    let argument = &provenance.argument;
    let (code, from) = match &provenance.decided_by {
        None if full => ("value-not-observed", "is in nothing that was observed and could be kept".to_owned()),
        None => ("value-not-observed", "is in nothing that was observed".to_owned()),
        Some(Source::ThirdParty { action, field, .. }) => {
            ("value-from-third-party", format!("comes from content in the response of `{action}` at `{field}`"))
        }
        Some(Source::Agent { .. }) => ("value-from-agent", "was first sent by the agent itself".to_owned()),
        Some(Source::Attached) => ("value-from-attachment", "comes from what the user attached".to_owned()),
        Some(Source::FirstParty { action, field, unnamed: true, .. }) => (
            "value-of-unnamed-item",
            format!(
                "comes from the response of `{action}` at `{field}`, from an item of which the user's words name nothing else"
            ),
        ),
        Some(Source::FirstParty { action, field, .. }) => (
            "value-from-other-field",
            format!("comes from the response of `{action}` at `{field}`, which is no source for it"),
        ),
        Some(Source::Words) if provenance.shared => (
            "value-said-for-another",
            "stands in the user's words, but fewer times than arguments of the call have it".to_owned(),
        ),
        Some(Source::Words | Source::Host) => {
            ("value-from-words", "comes from the user's words, which are no source for it".to_owned())
        }
    };
    let what = match provenance.within {
        true => format!("`{}` within `{argument}`", provenance.value),
        false => format!("the value of `{argument}`"),
    };
    deny(code, Some(argument), format!("{what} {from}; a human must approve this call"))
}

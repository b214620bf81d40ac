//! From a tool that a model calls to an action of a catalogue, and whether a call that an agent makes is the one that the model proposed.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    Json,
    catalogue::{Action, Argument, Catalogue, Protocol, Route},
    occurs,
};

/// How deep a proposed argument is looked for.
const MAX_DEPTH: usize = 4;

/// Lower-case letters and digits: `sendMoney`, `send_money` and `send.money` are spellings of one name.
fn stem(name: &str) -> String {
    name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// The action that a tool's name means, with its catalogue. None when no action has the name, or several have it equally well.
pub fn action<'c>(catalogues: impl Iterator<Item = &'c Catalogue>, tool: &str) -> Option<(&'c Catalogue, &'c Action)> {
    let of_apis = catalogues.filter(|catalogue| catalogue.protocol() != Protocol::Model);
    let all: Vec<_> = of_apis.flat_map(|catalogue| catalogue.actions().iter().map(move |a| (catalogue, a))).collect();
    let underscored = |action: &Action| action.name.replace(['.', '-'], "_");
    let spelled = stem(tool);
    let alike = |catalogue: &Catalogue, action: &Action| {
        let upstream = stem(catalogue.upstream());
        let names = called(action).into_iter().chain([action.name.as_str()]).map(stem);
        // Some frameworks put the server's name before a tool's.
        names.into_iter().any(|name| {
            spelled == name || spelled == format!("{upstream}{name}") || spelled == format!("mcp{upstream}{name}")
        })
    };
    let exact = |action: &Action| called(action) == Some(tool);
    let named = |action: &Action| action.name == tool || underscored(action) == tool;
    let way = |catalogue: &Catalogue, action: &Action| match () {
        () if exact(action) => Some(0),
        () if named(action) => Some(1),
        () => alike(catalogue, action).then_some(2),
    };
    let ways: Vec<_> = all.into_iter().filter_map(|(c, action)| Some((way(c, action)?, c, action))).collect();
    // The first way in which anything has the name decides; two at once are none.
    let first = ways.iter().map(|(way, _, _)| *way).min()?;
    let mut found = ways.iter().filter(|(way, _, _)| *way == first);
    match (found.next(), found.next()) {
        (Some((_, catalogue, action)), None) => Some((*catalogue, *action)),
        _ => None,
    }
}

/// The name under which agents offer an action to a model.
fn called(action: &Action) -> Option<&str> {
    match &action.route {
        Route::Tool(name) | Route::Prompt(name) => Some(name),
        Route::Http { .. } | Route::Resource(_) => action.tool.as_deref(),
    }
}

/// Proposed arguments by the names of the catalogue. What the catalogue does not know is left out: no call could carry it.
pub fn arguments(action: &Action, proposed: &Json) -> BTreeMap<String, Json> {
    let mut found = BTreeMap::new();
    let mut used = BTreeSet::new();
    for (name, argument) in &action.arguments {
        if let Some((at, value)) = named(argument, name, proposed) {
            used.insert(at);
            found.insert(name.clone(), value);
        }
    }
    // `file_path` for `path`: a longer name that ends so, where it can mean nothing else.
    let left: Vec<_> = members(proposed, 1).into_iter().filter(|(at, _, _)| !used.contains(at)).collect();
    for (name, argument) in action.arguments.iter().filter(|(name, _)| !action.arguments.is_empty() && !name.is_empty())
    {
        if found.contains_key(name) {
            continue;
        }
        let ends = |member: &str| {
            [stem(name), stem(argument.key(name))].iter().any(|own| !own.is_empty() && stem(member).ends_with(own))
        };
        let mut alike = left.iter().filter(|(_, member, value)| ends(member) && is_value(argument, value));
        if let (Some((_, _, value)), None) = (alike.next(), alike.next()) {
            found.insert(name.clone(), (*value).clone());
        }
    }
    found.retain(|_, value| *value != Json::Null);
    found
}

/// A value under an argument's own name: at its pointer, or as a member at any depth; the one nearest to the top, if there is one only.
fn named(argument: &Argument, name: &str, proposed: &Json) -> Option<(String, Json)> {
    let pointer = argument.pointer(name);
    // A tool may have the body as one argument among others.
    let inner = members(proposed, 2).into_iter().map(|(at, _, value)| (at, value));
    for (at, value) in std::iter::once((String::new(), proposed)).chain(inner) {
        if pointer.split('/').any(|part| part == "*") {
            let values: Vec<Json> = value.find(&pointer).into_iter().cloned().collect();
            if !values.is_empty() {
                return Some((format!("{at}{pointer}"), Json::Array(values)));
            }
        } else if let Some(value) = value.pointer(&pointer).filter(|value| is_value(argument, value)) {
            return Some((format!("{at}{pointer}"), value.clone()));
        }
    }
    let wanted = [stem(name), stem(argument.key(name).trim_end_matches("/*"))];
    let mut all: Vec<_> = members(proposed, MAX_DEPTH).into_iter().collect();
    all.retain(|(_, member, value)| wanted.contains(&stem(member)) && is_value(argument, value));
    let depth = |at: &str| at.matches('/').count();
    let nearest = all.iter().map(|(at, _, _)| depth(at)).min()?;
    let mut nearest = all.into_iter().filter(|(at, _, _)| depth(at) == nearest);
    match (nearest.next(), nearest.next()) {
        (Some((at, _, value)), None) => Some((at, value.clone())),
        _ => None,
    }
}

/// Whether a value can be an argument's: no object, and a list only where the argument is one.
fn is_value(argument: &Argument, value: &Json) -> bool {
    match value {
        Json::Object(_) => false,
        Json::Array(_) => argument.list,
        _ => true,
    }
}

/// The members of a value and of the objects in it, with pointer and name.
fn members(value: &Json, depth: usize) -> Vec<(String, &str, &Json)> {
    let mut found = Vec::new();
    let mut open = vec![(String::new(), value, 0)];
    while let Some((at, value, deep)) = open.pop() {
        let Json::Object(members) = value else { continue };
        for (name, value) in members {
            let at = format!("{at}/{}", name.replace('~', "~0").replace('/', "~1"));
            if deep + 1 < depth {
                open.push((at.clone(), value, deep + 1));
            }
            found.push((at, name.as_str(), value));
        }
    }
    found
}

/// Whether a call has the proposed arguments: the same ones, each the same value by its type.
pub fn fits(action: &Action, proposed: &BTreeMap<String, Json>, called: &BTreeMap<String, Json>) -> bool {
    let said = |arguments: &BTreeMap<String, Json>| {
        let names = arguments.iter().filter(|(_, value)| **value != Json::Null).map(|(name, _)| name.clone());
        names.collect::<BTreeSet<String>>()
    };
    said(proposed) == said(called)
        && proposed.iter().filter(|(_, value)| **value != Json::Null).all(|(name, one)| {
            let other = called.get(name).unwrap_or(&Json::Null);
            action.arguments.get(name).map_or_else(|| one == other, |argument| is_same(argument, one, other))
        })
}

fn is_same(argument: &Argument, one: &Json, other: &Json) -> bool {
    match (one, other) {
        (Json::Array(one), Json::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| is_same(argument, one, other))
        }
        // A list of one is often sent as the one.
        (Json::Array(items), single) | (single, Json::Array(items)) => {
            matches!(items.as_slice(), [only] if is_same(argument, only, single))
        }
        (one, other) => match (one.as_text(), other.as_text()) {
            (Some(one), Some(other)) => one == other || occurs::same(argument.ty, &one, &other),
            _ => one == other,
        },
    }
}

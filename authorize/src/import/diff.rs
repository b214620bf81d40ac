//! What changed between a catalogue that a human has marked and what the API says today.

use std::{collections::BTreeMap, fmt};

use super::draft::{Draft, DraftAction, DraftArgument};
use crate::catalogue::{Action, Argument, Catalogue, Place};

/// A difference that a human should look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The API has it, the catalogue does not.
    Added {
        /// How it is called.
        route: String,
    },
    /// The catalogue has it, the API does not any more.
    Gone {
        /// How it is called.
        route: String,
    },
    /// What the server says of it is not what it said when it was imported.
    Redefined {
        /// How it is called.
        route: String,
    },
    /// An argument that is new, gone or of another form.
    Argument {
        /// How the action is called.
        route: String,
        /// Where it stands.
        at: String,
        /// What is different.
        what: &'static str,
    },
}

/// What is said of an argument that the catalogue does not have, and may have been left out on purpose.
const NEW: &str = "is not in the catalogue; requests with it are refused";

impl Change {
    /// Whether it touches what the catalogue has. What it never had may have been left out on purpose.
    pub fn matters(&self) -> bool {
        match self {
            Change::Added { .. } => false,
            Change::Argument { what, .. } => *what != NEW,
            Change::Gone { .. } | Change::Redefined { .. } => true,
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Change::Added { route } => write!(f, "+ {route}: not in the catalogue; refused"),
            Change::Gone { route } => write!(f, "- {route}: gone"),
            Change::Redefined { route } => {
                write!(
                    f,
                    "! {route}: the server says something else of it than when it was imported; read its description and schema again"
                )
            }
            Change::Argument { route, at, what } => write!(f, "~ {route}: the argument at `{at}` {what}"),
        }
    }
}

/// What changed since `old` was marked.
pub fn changes(old: &Catalogue, new: &Draft) -> Vec<Change> {
    let known: BTreeMap<String, &Action> =
        old.actions().iter().map(|action| (action.route.to_string(), action)).collect();
    let today: BTreeMap<String, &DraftAction> =
        new.actions.iter().map(|action| (action.route.to_string(), action)).collect();
    let mut changes = Vec::new();
    for (route, action) in &today {
        match known.get(route) {
            None => changes.push(Change::Added { route: route.clone() }),
            Some(old) => compare(route, old, action, &mut changes),
        }
    }
    let gone = known.keys().filter(|route| !today.contains_key(*route));
    changes.extend(gone.map(|route| Change::Gone { route: route.clone() }));
    changes
}

fn compare(route: &str, old: &Action, new: &DraftAction, changes: &mut Vec<Change>) {
    if old.definition.is_some() && old.definition != new.definition {
        changes.push(Change::Redefined { route: route.to_owned() });
    }
    let old: BTreeMap<String, &Argument> =
        old.arguments.iter().map(|(name, argument)| (old_at(name, argument), argument)).collect();
    let new: BTreeMap<String, &DraftArgument> =
        new.arguments.iter().map(|(name, argument)| (new_at(name, argument), argument)).collect();
    let mut change =
        |at: &String, what| changes.push(Change::Argument { route: route.to_owned(), at: at.clone(), what });
    for (at, argument) in &new {
        match old.get(at) {
            None if argument.required => change(at, "is needed, and not in the catalogue"),
            None => change(at, NEW),
            Some(old) if old.list != argument.list => change(at, "became, or is no longer, a list"),
            Some(old) if argument.required && !old.required => change(at, "is needed now"),
            Some(_) => {}
        }
    }
    old.keys().filter(|at| !new.contains_key(*at)).for_each(|at| change(at, "is gone"));
}

fn old_at(name: &str, argument: &Argument) -> String {
    match argument.place {
        Place::Body | Place::Argument => argument.pointer(name),
        Place::Path | Place::Query | Place::Header => argument.key(name).to_owned(),
    }
}

fn new_at(name: &str, argument: &DraftArgument) -> String {
    match argument.place {
        Place::Body | Place::Argument => argument.at.clone().unwrap_or_else(|| format!("/{name}")),
        Place::Path | Place::Query | Place::Header => argument.at.clone().unwrap_or_else(|| name.to_owned()),
    }
}

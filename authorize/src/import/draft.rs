//! A proposed catalogue, and how it is written: with comments that say what a human should look at.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use serde_json::Value;

use super::{
    guess, harmless,
    schema::{Leaf, Shape},
};
use crate::{
    catalogue::{BodyKind, Catalogue, Effect, Place, Protocol, Risk, Route, Type},
    json::unescape,
};

/// The most fields of a response that are proposed.
const MAX_FIELDS: usize = 60;
/// The longest description of an action, and of an argument, in characters.
const DESCRIPTION: usize = 160;
const REMARK: usize = 90;

/// A proposed catalogue.
#[derive(Debug)]
pub struct Draft {
    pub(super) upstream: String,
    pub(super) protocol: Protocol,
    /// What stands at the top.
    pub(super) comments: Vec<String>,
    pub(super) actions: Vec<DraftAction>,
    /// What could not be imported, and why.
    pub(super) left_out: Vec<String>,
}

#[derive(Debug)]
pub(super) struct DraftAction {
    pub(super) comments: Vec<String>,
    pub(super) name: String,
    pub(super) description: String,
    pub(super) route: Route,
    pub(super) effect: Effect,
    pub(super) risk: Risk,
    pub(super) body: BodyKind,
    pub(super) arguments: BTreeMap<String, DraftArgument>,
    /// Fields of the answer that the API may vouch for.
    pub(super) fields: Vec<(String, Type)>,
    /// A digest of what the server said of it, to see when that changes.
    pub(super) definition: Option<String>,
}

#[derive(Debug, Clone)]
pub(super) struct DraftArgument {
    pub(super) place: Place,
    pub(super) at: Option<String>,
    pub(super) ty: Type,
    pub(super) required: bool,
    pub(super) list: bool,
    pub(super) binds: bool,
    pub(super) sensitive: bool,
    pub(super) currency: Option<String>,
    pub(super) comment: String,
}

impl Draft {
    pub(super) fn new(upstream: &str, protocol: Protocol) -> Draft {
        Draft {
            upstream: upstream.to_owned(),
            protocol,
            comments: Vec::new(),
            actions: Vec::new(),
            left_out: Vec::new(),
        }
    }

    /// How many actions it proposes.
    pub fn actions(&self) -> usize {
        self.actions.len()
    }

    /// How many arguments it proposes to bind.
    pub fn binding(&self) -> usize {
        self.actions.iter().flat_map(|action| action.arguments.values()).filter(|argument| argument.binds).count()
    }

    /// What could not be imported, and why.
    pub fn left_out(&self) -> &[String] {
        &self.left_out
    }

    /// Takes the human's word that these actions only read; `*` in a pattern stands for anything. Gives the patterns that name no action.
    pub fn mark_reads(&mut self, patterns: &[String]) -> Vec<String> {
        let fits = |pattern: &String, action: &DraftAction| {
            let called = match &action.route {
                Route::Tool(name) | Route::Prompt(name) | Route::Resource(name) => name,
                Route::Http { .. } => &action.name,
            };
            glob(pattern, called) || glob(pattern, &action.name)
        };
        let unused = patterns.iter().filter(|pattern| !self.actions.iter().any(|action| fits(pattern, action)));
        let unused = unused.cloned().collect();
        for action in self.actions.iter_mut().filter(|action| action.effect != Effect::Read) {
            if patterns.iter().any(|pattern| fits(pattern, action)) {
                action.reads();
            }
        }
        unused
    }

    /// Adds an action under a name of its own, if a catalogue can hold it; otherwise says why not.
    pub(super) fn add(&mut self, mut action: DraftAction, names: &mut BTreeSet<String>) {
        let wanted = name(&action.name);
        let mut free = wanted.clone();
        let mut number = 2;
        while names.contains(&free) {
            free = format!("{wanted}-{number}");
            number += 1;
        }
        action.name = free;
        let alone = self.text_of(&action);
        // INVARIANT: what the reader of catalogues refuses is left out, so that what is written can be read.
        match Catalogue::parse(&alone) {
            Ok(_) if !names.insert(one_route(&action.route)) => {
                self.left_out
                    .push(harmless(&format!("{}: another action is called in the same way", action.route), 400));
            }
            Ok(_) => {
                names.insert(action.name.clone());
                self.actions.push(action);
            }
            Err(error) => self.left_out.push(harmless(&format!("{}: {}", action.route, error.message), 400)),
        }
    }

    /// One action alone as a catalogue.
    fn text_of(&self, action: &DraftAction) -> String {
        let mut text = head(&self.upstream, self.protocol);
        write_action(&mut text, action);
        text
    }

    /// The catalogue's text.
    pub fn to_toml(&self) -> String {
        let mut text = String::new();
        for comment in &self.comments {
            comment_line(&mut text, "", comment);
        }
        text.push_str(&head(&self.upstream, self.protocol));
        for action in &self.actions {
            text.push('\n');
            write_action(&mut text, action);
        }
        if !self.left_out.is_empty() {
            text.push_str("\n# Not imported; requests of these are refused:\n");
            for left_out in &self.left_out {
                comment_line(&mut text, "  ", left_out);
            }
        }
        text
    }
}

/// What two routes share when a request could be either; no action's name has spaces.
fn one_route(route: &Route) -> String {
    let text = route.to_string();
    let mut parts = text.split('{');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| format!("{text}{{}}{}", part.split_once('}').map_or("", |(_, rest)| rest)))
}

fn head(upstream: &str, protocol: Protocol) -> String {
    let protocol = if protocol == Protocol::Mcp { "protocol = \"mcp\"\n" } else { "" };
    format!("upstream = {}\n{protocol}", quoted(upstream))
}

/// A TOML string.
pub(super) fn quoted(text: &str) -> String {
    // The escapes of JSON are escapes of TOML; DEL must be escaped in TOML too.
    Value::from(text).to_string().replace('\u{7f}', "\\u007f")
}

/// A TOML key.
fn key(name: &str) -> String {
    let bare = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
    if bare { name.to_owned() } else { quoted(name) }
}

fn comment_line(text: &mut String, indent: &str, comment: &str) {
    let _ = writeln!(text, "# {indent}{}", harmless(comment, 400));
}

fn write_action(text: &mut String, action: &DraftAction) {
    for comment in &action.comments {
        comment_line(text, "", comment);
    }
    let _ = writeln!(text, "[[action]]\nname = {}", quoted(&action.name));
    let description = harmless(&action.description, DESCRIPTION);
    if !description.is_empty() {
        let _ = writeln!(text, "description = {}", quoted(&description));
    }
    let _ = match &action.route {
        Route::Http { method, path } => writeln!(text, "method = {}\npath = {}", quoted(method), quoted(path)),
        Route::Tool(tool) => writeln!(text, "tool = {}", quoted(tool)),
        Route::Resource(uri) => writeln!(text, "resource = {}", quoted(uri)),
        Route::Prompt(prompt) => writeln!(text, "prompt = {}", quoted(prompt)),
    };
    let risk = match action.risk {
        Risk::Low => "low",
        Risk::Medium => "medium",
        Risk::High => "high",
    };
    let _ = writeln!(text, "effect = \"{}\"\nrisk = \"{risk}\"", action.effect.as_str());
    if action.body == BodyKind::Opaque {
        text.push_str("body = \"opaque\"\n");
    }
    if let Some(definition) = &action.definition {
        let _ = writeln!(text, "definition = \"{definition}\"");
    }
    if !action.arguments.is_empty() {
        text.push_str("[action.arguments]\n");
        // What makes the act what it is comes first.
        let mut arguments: Vec<_> = action.arguments.iter().collect();
        arguments.sort_by_key(|(_, argument)| (!argument.binds, !argument.required));
        for (name, argument) in arguments {
            let _ = writeln!(text, "{}", argument.line(name));
        }
    }
    if !action.fields.is_empty() {
        text.push_str("[action.response.first_party]\n# Take the `#` away where the API itself vouches for the field, and nobody else can write it:\n");
        for (pointer, ty) in &action.fields {
            comment_line(text, "", &format!("{} = \"{}\"", quoted(pointer), ty.as_str()));
        }
    }
}

impl DraftAction {
    fn reads(&mut self) {
        self.effect = Effect::Read;
        self.risk = Risk::Low;
        self.comments.retain(|comment| !(comment.contains("may only read") || comment.contains("nothing binds")));
        for (name, argument) in &mut self.arguments {
            let last = argument.at.as_deref().map_or(name.as_str(), |at| last_steps(at).0);
            argument.binds = argument.binds && guess::binds_in_a_read(last, argument.ty);
        }
    }
}

/// Whether a text fits a pattern in which `*` stands for any characters.
fn glob(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = text.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, between)) = parts.split_last() else { return rest.is_empty() };
    for part in between {
        match rest.split_once(part) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    rest.ends_with(last)
}

impl DraftArgument {
    fn line(&self, name: &str) -> String {
        let mut parts = Vec::new();
        let place = match self.place {
            Place::Path => Some("path"),
            Place::Query => Some("query"),
            Place::Header => Some("header"),
            Place::Body => Some("body"),
            Place::Argument => None,
        };
        parts.extend(place.map(|place| format!("in = \"{place}\"")));
        parts.extend(self.at.as_ref().map(|at| format!("at = {}", quoted(at))));
        parts.push(format!("type = \"{}\"", self.ty.as_str()));
        for (said, word) in
            [(self.required, "required"), (self.list, "list"), (self.binds, "binds"), (self.sensitive, "sensitive")]
        {
            if said {
                parts.push(format!("{word} = true"));
            }
        }
        parts.extend(self.currency.as_ref().map(|currency| format!("currency = {}", quoted(currency))));
        let comment = harmless(&self.comment, REMARK);
        let comment = if comment.is_empty() { comment } else { format!(" # {comment}") };
        format!("{} = {{ {} }}{comment}", key(name), parts.join(", "))
    }
}

/// An action's name out of any text.
pub(super) fn name(text: &str) -> String {
    let mut name = String::new();
    for c in text.chars() {
        let good = c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        match good {
            true => name.push(c),
            false if name.ends_with(['-', '.']) || name.is_empty() => {}
            false => name.push('-'),
        }
        if name.len() >= 96 {
            break;
        }
    }
    let name = name.trim_matches(|c| matches!(c, '-' | '.')).to_owned();
    if name.is_empty() { "action".to_owned() } else { name }
}

/// The arguments that a shape's leaves are, named as shortly as can be.
pub(super) fn arguments(shape: &Shape<'_>, place: Place, effect: Effect, taken: &mut BTreeMap<String, DraftArgument>) {
    let by_pointer = names(shape.leaves.keys(), taken);
    for (pointer, leaf) in &shape.leaves {
        let Some(name) = by_pointer.get(pointer) else { continue };
        let (last, parent) = last_steps(pointer);
        let mut argument = argument(last, parent, leaf, place, effect);
        argument.at = (format!("/{name}") != *pointer).then(|| pointer.clone());
        taken.insert(name.clone(), argument);
    }
    currencies(shape, &by_pointer, taken);
}

/// One value as an argument.
pub(super) fn argument(name: &str, parent: &str, leaf: &Leaf<'_>, place: Place, effect: Effect) -> DraftArgument {
    let ty = guess::of_type(name, parent, leaf);
    DraftArgument {
        place,
        at: None,
        ty,
        required: leaf.required,
        list: leaf.list,
        binds: guess::binds(name, ty, effect, leaf.schema),
        sensitive: guess::is_sensitive(name, leaf.schema),
        currency: None,
        comment: comment(leaf),
    }
}

/// What the document says of a value: its fixed words, its form, its description.
fn comment(leaf: &Leaf<'_>) -> String {
    let schema = leaf.schema;
    let mut parts = Vec::new();
    if let Some(values) = schema.get("enum").and_then(Value::as_array) {
        let values: Vec<String> = values
            .iter()
            .take(8)
            .map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned))
            .collect();
        parts.push(format!("one of {}", values.join(", ")));
    }
    if let Some(format) = schema.get("format").and_then(Value::as_str) {
        parts.push(format.to_owned());
    }
    parts.push(leaf.said.to_owned());
    parts.retain(|part| !part.is_empty());
    parts.join("; ")
}

/// The last step of a pointer that has a name, and the one before.
fn last_steps(pointer: &str) -> (&str, &str) {
    let mut steps = pointer.rsplit('/').filter(|step| *step != "*");
    (steps.next().unwrap_or_default(), steps.next().unwrap_or_default())
}

/// A name for each pointer: its last step, with as many steps before it as it takes to be the only one.
fn names<'p>(
    pointers: impl Iterator<Item = &'p String>,
    taken: &BTreeMap<String, DraftArgument>,
) -> BTreeMap<String, String> {
    let steps: Vec<(&String, Vec<String>)> = pointers
        .map(|pointer| {
            let steps = pointer.split('/').filter(|step| !step.is_empty() && *step != "*");
            (pointer, steps.map(unescape).collect())
        })
        .collect();
    let mut names = BTreeMap::new();
    let mut used: BTreeSet<String> = taken.keys().cloned().collect();
    let mut open: Vec<usize> = (0..steps.len()).collect();
    for length in 1..=32_usize {
        let mut wanted: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for index in open.drain(..) {
            let Some((_, steps)) = steps.get(index) else { continue };
            let from = steps.len().saturating_sub(length);
            let name = steps.get(from..).unwrap_or_default().join("_");
            wanted.entry(if name.is_empty() { "value".to_owned() } else { name }).or_default().push(index);
        }
        for (name, indices) in wanted {
            match (indices.as_slice(), used.contains(&name)) {
                ([index], false) => {
                    names.extend(steps.get(*index).map(|(pointer, _)| ((*pointer).clone(), name.clone())));
                    used.insert(name);
                }
                _ => open.extend(indices),
            }
        }
    }
    // What has no name of its own by now (`/a_b` and `/a/b`) gets a number.
    for index in open {
        let Some((pointer, steps)) = steps.get(index) else { continue };
        let base = steps.join("_");
        let name = (2..).map(|number| format!("{base}_{number}")).find(|name| !used.contains(name)).unwrap_or_default();
        used.insert(name.clone());
        names.insert((*pointer).clone(), name);
    }
    names
}

/// The amount's currency is the one that stands beside it.
fn currencies(shape: &Shape<'_>, names: &BTreeMap<String, String>, arguments: &mut BTreeMap<String, DraftArgument>) {
    let parent = |pointer: &str| pointer.rsplit_once('/').map(|(parent, _)| parent.to_owned());
    for pointer in shape.leaves.keys().filter(|pointer| guess::is_currency(last_steps(pointer).0)) {
        let Some(currency) = names.get(pointer) else { continue };
        let usable = arguments
            .get(currency)
            .is_some_and(|argument| !argument.list && matches!(argument.ty, Type::Text | Type::Identifier));
        let beside =
            shape.leaves.keys().filter(|other| parent(other) == parent(pointer)).filter_map(|other| names.get(other));
        for amount in beside.filter(|_| usable).cloned().collect::<Vec<_>>() {
            if let Some(amount) = arguments.get_mut(&amount).filter(|amount| amount.ty == Type::Money && !amount.list) {
                amount.currency = Some(format!("{{{currency}}}"));
            }
        }
    }
}

/// The fields of an answer that the API may vouch for: everything but prose, which others may have written.
pub(super) fn fields(shape: &Shape<'_>) -> Vec<(String, Type)> {
    let typed = shape.leaves.iter().filter(|(pointer, _)| !pointer.is_empty()).map(|(pointer, leaf)| {
        let (last, parent) = last_steps(pointer);
        let list = leaf.list && guess_is_plain_list(pointer, leaf);
        let pointer = if list { format!("{pointer}/*") } else { pointer.clone() };
        (pointer, guess::of_type(last, parent, leaf), guess::is_prose(last))
    });
    let typed = typed.filter(|(_, ty, prose)| *ty != Type::Boolean && !(*prose && *ty == Type::Text));
    typed.map(|(pointer, ty, _)| (pointer, ty)).take(MAX_FIELDS).collect()
}

/// Whether a list of plain values stands at the pointer itself, so that its items are a step below.
fn guess_is_plain_list(pointer: &str, leaf: &Leaf<'_>) -> bool {
    leaf.list && !pointer.split('/').any(|step| step == "*")
}

//! Whether what a model is told as a tool's result is what an API answered: as JSON values, as text, or in another form with the same values in the
//! same order.

use std::collections::BTreeSet;

use rust_decimal::Decimal;
use serde::Serialize;

use crate::{
    Json,
    catalogue::Type,
    occurs::{self, Needle, Text},
};

/// In what form a result is the API's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Form {
    /// The same value.
    Same,
    /// A part of it, unchanged.
    Part,
    /// The same value in an envelope that says nothing of its own.
    Wrapped,
    /// Another notation of it: its names and values in their order.
    Reformatted,
}

/// Nesting of JSON that is read.
const DEPTH: usize = 64;

/// A result, prepared to be compared.
pub(super) struct Given {
    text: Text,
    raw: String,
    /// The JSON that it is; where that is a text, also what that text is.
    json: Vec<Json>,
    tokens: Vec<String>,
}

impl Given {
    pub(super) fn new(raw: &str) -> Given {
        Given { text: Text::new(raw), raw: raw.to_owned(), json: embedded(raw), tokens: tokens(raw) }
    }

    /// In what form it is this value, if it is.
    pub(super) fn form(&self, value: &Json) -> Option<Form> {
        for json in &self.json {
            if equal(json, value) {
                return Some(Form::Same);
            }
            if is_within(json, value) {
                return Some(Form::Part);
            }
            if wraps(json, value) == Some(true) {
                return Some(Form::Wrapped);
            }
        }
        if let Some(form) = self.form_of_text(value) {
            return Some(form);
        }
        let is_in_order = |sorted| {
            let mut all = Vec::new();
            spell(value, sorted, &mut all);
            is_subsequence(&self.tokens, &all)
        };
        // JSON with the same words and another shape is another value.
        let reformatted = self.json.is_empty() && !self.tokens.is_empty() && (is_in_order(false) || is_in_order(true));
        reformatted.then_some(Form::Reformatted)
    }

    /// As a text of the value: the whole of it, or a passage.
    fn form_of_text(&self, value: &Json) -> Option<Form> {
        let needle = Needle::new(Type::Text, &self.raw);
        let mut found = None;
        value.scalars(&mut String::new(), &mut |_, scalar| {
            if let Json::String(text) = scalar
                && found != Some(Form::Same)
            {
                let text = Text::new(text);
                if text == self.text {
                    found = Some(Form::Same);
                } else if needle.is_in(&text) {
                    found = Some(Form::Part);
                }
            }
        });
        found
    }

    /// Whether it is JSON of the value's shape, with other values in it. `alike` asks for one value at least that is the same.
    pub(super) fn differs_in_place(&self, value: &Json, alike: bool) -> bool {
        let Some(json) = self.json.last() else { return false };
        let (one, other) = (leaves(json), leaves(value));
        let is_same_shape = one.len() == other.len() && one.iter().zip(&other).all(|(one, other)| one.0 == other.0);
        let same = one.iter().zip(&other).filter(|(one, other)| equal(&one.1, &other.1)).count();
        is_same_shape && !one.is_empty() && same < one.len() && (!alike || same > 0)
    }

    /// A number or address in it that is in nothing known.
    pub(super) fn foreign(&self, known: &Known) -> Option<String> {
        let number = self.tokens.iter().find(|token| has_digit(token) && !known.tokens.contains(*token));
        let address = || {
            let (addresses, _) = occurs::addresses(&self.raw);
            let mut texts = addresses.into_iter().map(|(_, address)| address);
            texts.find(|address| !known.text.contains(&address.to_lowercase()))
        };
        number.cloned().or_else(address)
    }

    /// Whether a number of the value is not in it.
    pub(super) fn leaves_out(&self, value: &Json) -> bool {
        let mut all = Vec::new();
        spell(value, false, &mut all);
        all.iter().any(|token| !self.tokens.contains(token))
    }
}

/// Everything that was observed, as numbers and texts.
#[derive(Default)]
pub(super) struct Known {
    tokens: BTreeSet<String>,
    text: String,
}

impl Known {
    pub(super) fn add_text(&mut self, text: &str) {
        self.tokens.extend(tokens(text));
        self.text.push_str(&text.to_lowercase());
        self.text.push('\n');
    }

    pub(super) fn add(&mut self, value: &Json) {
        let mut all = Vec::new();
        spell(value, false, &mut all);
        self.tokens.extend(all);
        // How many there are says nothing that is not there.
        count(value, &mut self.tokens);
        self.text.push_str(&value.to_text().to_lowercase());
        self.text.push('\n');
    }
}

fn count(value: &Json, tokens: &mut BTreeSet<String>) {
    match value {
        Json::Array(items) => {
            tokens.insert(items.len().to_string());
            items.iter().for_each(|item| count(item, tokens));
        }
        Json::Object(members) => members.iter().for_each(|(_, value)| count(value, tokens)),
        _ => {}
    }
}

/// The JSON that a text is: plain, once more as a text, or behind a label of a few words or in a fence.
fn embedded(text: &str) -> Vec<Json> {
    let read = |text: &str| Json::parse_response(text.trim().as_bytes(), DEPTH).ok();
    let json = read(text).or_else(|| {
        let start = text.find(['{', '['])?;
        let end = text.rfind(['}', ']'])?;
        let (label, behind) = (text.get(..start)?, text.get(end + 1..)?);
        let says_nothing = label.chars().count() <= 32 && !label.chars().any(|c| c.is_ascii_digit());
        let ends = behind.trim().trim_matches('`').is_empty();
        (says_nothing && ends).then(|| read(text.get(start..=end)?)).flatten()
    });
    let inner = match &json {
        Some(Json::String(inner)) => read(inner).filter(|inner| matches!(inner, Json::Object(_) | Json::Array(_))),
        _ => None,
    };
    json.into_iter().chain(inner).collect()
}

fn number(text: &str) -> Option<Decimal> {
    Decimal::from_str_exact(text).or_else(|_| Decimal::from_scientific(text)).ok().map(|number| number.normalize())
}

/// Whether two values are the same: members in any order, numbers by what they are.
pub(super) fn equal(one: &Json, other: &Json) -> bool {
    match (one, other) {
        (Json::Object(one), Json::Object(other)) => {
            one.len() == other.len()
                && one.iter().all(|(name, value)| member(other, name).is_some_and(|o| equal(value, o)))
        }
        (Json::Array(one), Json::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| equal(one, other))
        }
        (Json::Number(one), Json::Number(other) | Json::String(other)) | (Json::String(one), Json::Number(other)) => {
            one == other || number(one).is_some_and(|one| number(other) == Some(one))
        }
        (Json::String(one), Json::String(other)) => one == other || occurs::composed(one) == occurs::composed(other),
        (one, other) => one == other,
    }
}

fn member<'j>(members: &'j [(String, Json)], name: &str) -> Option<&'j Json> {
    members.iter().find(|(member, _)| member == name).map(|(_, value)| value)
}

fn children(value: &Json) -> Vec<&Json> {
    match value {
        Json::Object(members) => members.iter().map(|(_, value)| value).collect(),
        Json::Array(items) => items.iter().collect(),
        _ => Vec::new(),
    }
}

/// Whether a value, or something in it, has this as a part.
fn is_within(part: &Json, value: &Json) -> bool {
    is_part(part, value) || children(value).into_iter().any(|child| is_within(part, child))
}

/// Whether all that is in one value is in the other, in its place. An empty list says that there is nothing, so it is no part of a longer one.
fn is_part(part: &Json, value: &Json) -> bool {
    match (part, value) {
        (Json::Object(part), Json::Object(value)) => {
            part.is_empty() == value.is_empty()
                && part.iter().all(|(name, part)| member(value, name).is_some_and(|value| is_part(part, value)))
        }
        (Json::Array(part), Json::Array(value)) => {
            let mut rest = value.iter();
            part.is_empty() == value.is_empty() && part.iter().all(|part| rest.any(|value| is_part(part, value)))
        }
        (part, value) => equal(part, value),
    }
}

/// Whether a value stands in an envelope. None when the envelope says something of its own.
fn wraps(envelope: &Json, value: &Json) -> Option<bool> {
    let holds = matches!(envelope, Json::Object(_) | Json::Array(_));
    if equal(envelope, value) || (holds && is_within(envelope, value)) {
        return Some(true);
    }
    match envelope {
        Json::Object(_) | Json::Array(_) => {
            let mut found = false;
            for child in children(envelope) {
                found |= wraps(child, value)?;
            }
            Some(found)
        }
        Json::Null | Json::Bool(_) => Some(false),
        Json::Number(text) => text.parse::<u16>().is_ok_and(|status| (100..600).contains(&status)).then_some(false),
        Json::String(text) => {
            let label = text.len() <= 32 && !text.chars().any(|c| c.is_whitespace() || c.is_ascii_digit());
            label.then_some(false)
        }
    }
}

/// The scalars with their places, by place.
fn leaves(value: &Json) -> Vec<(String, Json)> {
    let mut leaves = Vec::new();
    value.scalars(&mut String::new(), &mut |at, leaf| leaves.push((at.to_owned(), leaf.clone())));
    leaves.sort_by(|one, other| one.0.cmp(&other.0));
    leaves
}

fn has_digit(token: &str) -> bool {
    token.bytes().any(|byte| byte.is_ascii_digit())
}

/// The words and numbers of a text, in order, in one spelling each.
fn tokens(text: &str) -> Vec<String> {
    let folded = occurs::folded(text);
    let mut tokens = Vec::new();
    let mut rest = folded.as_str();
    while let Some(start) = rest.find(char::is_alphanumeric) {
        rest = rest.get(start..).unwrap_or_default();
        let mut end = rest.find(|c: char| !c.is_alphanumeric()).unwrap_or(rest.len());
        let is_number = |token: &str| token.bytes().all(|byte| byte.is_ascii_digit());
        if let Some(fraction) = rest.get(end..).and_then(|rest| rest.strip_prefix('.')) {
            let length = fraction.find(|c: char| !c.is_alphanumeric()).unwrap_or(fraction.len());
            let whole = rest.get(..end).is_some_and(is_number);
            if whole && length > 0 && fraction.get(..length).is_some_and(is_number) {
                end += 1 + length;
            }
        }
        let token = rest.get(..end).unwrap_or_default();
        tokens.push(match token {
            "none" | "nil" => "null".to_owned(),
            token => number(token).map_or_else(|| token.to_owned(), |number| number.to_string()),
        });
        rest = rest.get(end..).unwrap_or_default();
    }
    tokens
}

/// The names and values of a value as words and numbers, in its order or that of its names.
fn spell(value: &Json, sorted: bool, all: &mut Vec<String>) {
    match value {
        Json::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            if sorted {
                members.sort_by(|one, other| one.0.cmp(&other.0));
            }
            for (name, value) in members {
                all.extend(tokens(name));
                spell(value, sorted, all);
            }
        }
        Json::Array(items) => items.iter().for_each(|item| spell(item, sorted, all)),
        Json::Null => all.push("null".to_owned()),
        // A sign is no word; what it stands before is one.
        Json::Number(text) => {
            all.extend(number(text).map_or_else(|| tokens(text), |number| tokens(&number.to_string())))
        }
        scalar => all.extend(tokens(&scalar.as_text().unwrap_or_default())),
    }
}

fn is_subsequence(part: &[String], all: &[String]) -> bool {
    let mut all = all.iter();
    part.iter().all(|token| all.any(|other| other == token))
}

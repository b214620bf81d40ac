//! Intents: what a user may want, by name, as the API's owner worked it out: the actions that it takes, with limits in which parameters stand.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Type, resolve::is_scalar_of_type};
use crate::{
    Json,
    grant::{ActionGrant, Constraint},
};

/// A parameter of an intent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parameter {
    /// What it is.
    #[serde(rename = "type")]
    pub ty: Type,
    /// What it is for, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Whether it may be a list; it stands then in `one_of` only.
    #[serde(default)]
    pub list: bool,
    /// Its value when nobody gives one; without it, it must be given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<String>,
    /// What a given value must hold to.
    #[serde(default)]
    pub must: Constraint,
}

/// A named intent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Intent {
    /// Its name, such as `pay-a-bill`.
    pub name: String,
    /// What it is, for people and for models that choose among intents.
    #[serde(default)]
    pub description: String,
    /// The longest time that a grant with it holds, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in: Option<i64>,
    /// What must be said to ask for it.
    #[serde(default)]
    pub parameters: BTreeMap<String, Parameter>,
    /// The actions that it takes; `{parameter}` stands in their limits for the value.
    pub actions: Vec<Part>,
}

/// One action of an intent: just its name, or with limits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Part {
    /// By name.
    Name(String),
    /// With limits.
    Limited(ActionGrant),
}

/// The value given for a parameter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Given {
    /// One.
    One(String),
    /// A list.
    Many(Vec<String>),
}

/// An intent asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AskedIntent {
    /// Its name.
    pub intent: String,
    /// The upstream whose catalogue has it; needed only when several have one of this name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream: Option<String>,
    /// The values of its parameters.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub with: BTreeMap<String, Given>,
}

type Values = BTreeMap<String, Vec<String>>;

impl Intent {
    /// The actions with their limits, the parameters filled in.
    ///
    /// # Errors
    /// What is missing, not known or not as the intent wants it.
    pub fn expand(&self, with: &BTreeMap<String, Given>) -> Result<Vec<ActionGrant>, String> {
        if let Some(unknown) = with.keys().find(|name| !self.parameters.contains_key(*name)) {
            return Err(format!("it has no parameter `{unknown}`"));
        }
        let mut values = Values::new();
        for (name, parameter) in &self.parameters {
            let given = match (with.get(name), &parameter.default) {
                (Some(Given::One(value)), _) => vec![value.clone()],
                (Some(Given::Many(values)), _) if parameter.list => values.clone(),
                (Some(Given::Many(_)), _) => return Err(format!("the parameter `{name}` is no list")),
                (None, Some(default)) => vec![default.clone()],
                (None, None) => return Err(format!("it needs the parameter `{name}`")),
            };
            parameter.check(&given).map_err(|what| format!("the parameter `{name}` {what}"))?;
            values.insert(name.clone(), given);
        }
        self.fill(&values)
    }

    fn fill(&self, values: &Values) -> Result<Vec<ActionGrant>, String> {
        self.actions.iter().map(|part| part.fill(values)).collect()
    }

    /// What is wrong with it, and its actions with sample values, which the catalogue must be able to grant.
    pub(super) fn check(&self) -> Result<Vec<ActionGrant>, String> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if self.name.is_empty() || !self.name.chars().all(allowed) {
            return Err("its name is not made of letters, digits, `.`, `_` and `-`".to_owned());
        }
        if self.actions.is_empty() {
            return Err("it has no actions".to_owned());
        }
        if self.expires_in.is_some_and(|seconds| seconds <= 0) {
            return Err("`expires_in` is not a number of seconds".to_owned());
        }
        for (name, parameter) in &self.parameters {
            if !name.starts_with(|c: char| c.is_ascii_alphabetic()) || !name.chars().all(allowed) {
                return Err(format!("the parameter's name `{name}` does not begin with a letter, or has other signs"));
            }
            parameter.is_possible().map_err(|what| format!("the parameter `{name}` {what}"))?;
        }
        let sample = |(name, parameter): (&String, &Parameter)| (name.clone(), vec![parameter.sample()]);
        let filled = self.fill(&self.parameters.iter().map(sample).collect())?;
        for (name, parameter) in &self.parameters {
            self.uses(name, parameter)?;
        }
        Ok(filled)
    }

    /// Bounds take numbers, and only `one_of` takes a list.
    fn uses(&self, name: &str, parameter: &Parameter) -> Result<(), String> {
        let hole = format!("{{{name}}}");
        let has = |text: &Option<String>| text.as_ref().is_some_and(|text| text.contains(&hole));
        let number = matches!(parameter.ty, Type::Money | Type::Integer);
        let mut used = false;
        for part in &self.actions {
            let Part::Limited(limited) = part else { continue };
            let budget = limited.budget.as_ref();
            for constraint in limited.arguments.values() {
                let bound = has(&constraint.minimum) || has(&constraint.maximum);
                let pattern = constraint.pattern.as_ref().is_some_and(|pattern| pattern.as_str().contains(&hole));
                let text = has(&constraint.equals) || has(&constraint.prefix) || pattern;
                let one_of = constraint.one_of.iter().flatten().any(|value| value.contains(&hole));
                if bound && !number {
                    return Err(format!("the parameter `{name}` is a bound but no money and no integer"));
                }
                if parameter.list && (bound || text) {
                    return Err(format!("the parameter `{name}` is a list, which stands in `one_of` only"));
                }
                used |= bound || text || one_of;
            }
            let limit = budget.is_some_and(|budget| budget.limit.contains(&hole));
            if limit && (!number || parameter.list) {
                return Err(format!("the parameter `{name}` is a budget's limit but no money and no integer"));
            }
            used |= limit || budget.is_some_and(|budget| has(&budget.currency));
        }
        if used { Ok(()) } else { Err(format!("the parameter `{name}` limits nothing; use `{hole}` or leave it out")) }
    }
}

impl Parameter {
    fn check(&self, given: &[String]) -> Result<(), String> {
        if given.is_empty() {
            return Err("is an empty list".to_owned());
        }
        let is_of_type = |value: &&String| is_scalar_of_type(self.ty, &Json::String((*value).clone()));
        match given.iter().find(|value| !is_of_type(value) || value.is_empty()) {
            Some(_) => Err(format!("is not of type {}", self.ty.as_str())),
            None if !given.iter().all(|value| self.must.allows(self.ty, value)) => {
                Err("is not what the intent allows".to_owned())
            }
            None => Ok(()),
        }
    }

    fn is_possible(&self) -> Result<(), String> {
        if let Some(problem) = self.must.problem() {
            return Err(format!("cannot be checked: {problem}"));
        }
        match &self.default {
            Some(default) => {
                self.check(std::slice::from_ref(default)).map_err(|what| format!("has a default, which {what}"))
            }
            None => Ok(()),
        }
    }

    /// A value of its type, to see whether the actions can be granted at all.
    fn sample(&self) -> String {
        let sample = match self.ty {
            Type::Text | Type::Identifier | Type::Account => "x",
            Type::Money | Type::Integer => "1",
            Type::Date => "2026-01-01",
            Type::Email => "x@example.org",
            Type::Url => "https://example.org/",
            Type::Boolean => "true",
        };
        self.default.clone().unwrap_or_else(|| sample.to_owned())
    }
}

impl Part {
    /// The action's name.
    pub fn action(&self) -> &str {
        match self {
            Part::Name(name) => name,
            Part::Limited(limited) => &limited.action,
        }
    }

    fn fill(&self, values: &Values) -> Result<ActionGrant, String> {
        let mut filled = match self {
            Part::Name(name) => return Ok(ActionGrant { action: name.clone(), ..ActionGrant::default() }),
            Part::Limited(limited) => limited.clone(),
        };
        for constraint in filled.arguments.values_mut() {
            fill_constraint(constraint, values)?;
        }
        if let Some(budget) = &mut filled.budget {
            budget.limit = fill_text(&budget.limit, values, str::to_owned)?;
            fill_option(&mut budget.currency, values)?;
        }
        Ok(filled)
    }
}

fn fill_constraint(constraint: &mut Constraint, values: &Values) -> Result<(), String> {
    let texts = [&mut constraint.equals, &mut constraint.minimum, &mut constraint.maximum, &mut constraint.prefix];
    for text in texts {
        fill_option(text, values)?;
    }
    if let Some(list) = &mut constraint.one_of {
        let mut filled = Vec::new();
        for item in &*list {
            // A list alone in an item gives an item for each of its values.
            let alone = item.strip_prefix('{').and_then(|item| item.strip_suffix('}'));
            match alone.and_then(|name| values.get(name)) {
                Some(values) => filled.extend(values.iter().cloned()),
                None => filled.push(fill_text(item, values, str::to_owned)?),
            }
        }
        *list = filled;
    }
    if let Some(pattern) = &mut constraint.pattern {
        // A value in a pattern stands for itself, never for an expression.
        *pattern = fill_pattern(pattern.as_str(), values).into();
    }
    Ok(())
}

fn fill_option(text: &mut Option<String>, values: &Values) -> Result<(), String> {
    if let Some(text) = text {
        *text = fill_text(text, values, str::to_owned)?;
    }
    Ok(())
}

/// Each `{name}` by its value; read once, so that a value with braces in it is not read again.
fn fill_text(text: &str, values: &Values, spell: fn(&str) -> String) -> Result<String, String> {
    let (mut filled, mut rest) = (String::new(), text);
    while let Some((before, after)) = rest.split_once('{') {
        let (name, after) = after.split_once('}').ok_or_else(|| format!("`{text}` has a `{{` without `}}`"))?;
        let value = values.get(name).and_then(|values| values.first());
        let value = value.ok_or_else(|| format!("`{{{name}}}` is no parameter of the intent"))?;
        filled.push_str(before);
        filled.push_str(&spell(value));
        rest = after;
    }
    filled.push_str(rest);
    Ok(filled)
}

/// Like [`fill_text`], but braces of another use (`\d{2}`) stay.
fn fill_pattern(pattern: &str, values: &Values) -> String {
    let (mut filled, mut rest) = (String::new(), pattern);
    while let Some((before, after)) = rest.split_once('{') {
        filled.push_str(before);
        let value = after.split_once('}').and_then(|(name, after)| Some((values.get(name)?.first()?, after)));
        match value {
            Some((value, after)) => {
                filled.push_str(&regex::escape(value));
                rest = after;
            }
            None => {
                filled.push('{');
                rest = after;
            }
        }
    }
    filled + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::Catalogue;

    const BANK: &str = include_str!("../../../deploy/catalogues/bank.toml");

    fn bank(intents: &str) -> Result<Catalogue, crate::catalogue::CatalogueError> {
        Catalogue::parse(&format!("{BANK}\n{intents}"))
    }

    const PAY: &str = r#"
[[intent]]
name = "pay-bills"
description = "Pay a bill up to {limit}"
expires_in = 900
parameters = { limit = { type = "money", must = { maximum = "500" } }, payees = { type = "account", list = true, default = "Ann" } }
actions = [
    "transactions.list",
    { action = "transactions.send", max_calls = 1, arguments = { amount = { maximum = "{limit}" }, recipient = { one_of = ["{payees}"] } }, budget = { argument = "amount", limit = "{limit}" } },
]
"#;

    fn given(pairs: &[(&str, &[&str])]) -> BTreeMap<String, Given> {
        let value = |values: &&[&str]| match values {
            [one] => Given::One((*one).to_owned()),
            many => Given::Many(many.iter().map(|value| (*value).to_owned()).collect()),
        };
        pairs.iter().map(|(name, values)| ((*name).to_owned(), value(values))).collect()
    }

    #[test]
    fn an_intent_becomes_actions_with_its_parameters_filled_in() {
        let bank = bank(PAY).unwrap();
        let intent = bank.intent("pay-bills").unwrap();
        let actions = intent.expand(&given(&[("limit", &["50.00"]), ("payees", &["Ann", "Bob"])])).unwrap();
        let [list, send] = actions.as_slice() else { panic!("{actions:?}") };
        assert_eq!((list.action.as_str(), send.action.as_str()), ("transactions.list", "transactions.send"));
        assert_eq!(send.arguments["amount"].maximum.as_deref(), Some("50.00"));
        assert_eq!(send.arguments["recipient"].one_of, Some(vec!["Ann".to_owned(), "Bob".to_owned()]));
        assert_eq!(send.budget.as_ref().unwrap().limit, "50.00");
        for (with, part) in [
            (given(&[]), "needs the parameter `limit`"),
            (given(&[("limit", &["500.01"])]), "not what the intent allows"),
            (given(&[("limit", &["much"])]), "not of type money"),
            (given(&[("limit", &["1", "2"])]), "is no list"),
            (given(&[("limit", &["1"]), ("payees", &[])]), "empty list"),
            (given(&[("limit", &["1"]), ("to", &["Ann"])]), "no parameter `to`"),
        ] {
            let error = intent.expand(&with).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn a_value_in_a_pattern_stands_for_itself() {
        let values = Values::from([("who".to_owned(), vec!["A.*{who}".to_owned()])]);
        assert_eq!(fill_pattern(r"bill {who} \d{2}", &values), r"bill A\.\*\{who\} \d{2}");
        assert_eq!(fill_text("to {who}!", &values, str::to_owned).unwrap(), "to A.*{who}!");
    }

    #[test]
    fn an_intent_that_cannot_be_granted_is_refused_with_its_line() {
        for (from, to, part) in [
            ("\"transactions.list\"", "\"transactions.lst\"", "does not know this action"),
            ("\"{limit}\" }, rec", "\"{limt}\" }, rec", "`{limt}` is no parameter"),
            ("amount = { max", "sum = { max", "no argument `sum`"),
            ("type = \"money\"", "type = \"text\"", "no money"),
            ("maximum = \"500\"", "maximum = \"a lot\"", "not a decimal number"),
            ("default = \"Ann\"", "default = \"\"", "has a default"),
            ("one_of = [\"{payees}\"]", "equals = \"{payees}\"", "in `one_of` only"),
            ("argument = \"amount\"", "argument = \"date\"", "not a required number"),
            ("name = \"pay-bills\"", "name = \"pay bills\"", "letters, digits"),
            ("expires_in = 900", "expires_in = 0", "number of seconds"),
        ] {
            let pay = PAY.replacen(from, to, 1);
            let error = bank(&pay).map(|_| ()).unwrap_err();
            assert!(error.message.contains(part), "{part}: {error}");
            assert!(error.line > BANK.lines().count(), "{error}");
        }
        assert!(bank(&format!("{PAY}{PAY}")).unwrap_err().message.contains("twice"));
    }
}

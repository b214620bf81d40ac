//! The closed scope: which actions, with which arguments, how often, for how much, until when; and what was used of it.

mod usage;

use std::{collections::BTreeMap, sync::OnceLock};

use jiff::{SignedDuration, Timestamp};
use regex::{Regex, RegexBuilder};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub use self::usage::{Exhausted, Usage};
use crate::{
    catalogue::{Action, AskedIntent, Catalogue, Type},
    occurs,
};

/// The longest time a grant may hold.
pub const MAX_SECONDS: i64 = 31 * 24 * 3600;
/// How long a grant holds when nothing is said.
pub const DEFAULT_SECONDS: i64 = 3600;

/// The most actions of a grant.
pub const MAX_ACTIONS: usize = 1024;
/// The most memory of a compiled pattern, in bytes.
const PATTERN_BYTES: usize = 256 << 10;

/// A regular expression that a whole text must match; compiled once.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct Pattern {
    text: String,
    compiled: OnceLock<Option<Regex>>,
}

impl Pattern {
    /// What is wrong with it, if anything.
    fn problem(&self) -> Option<String> {
        // Alone too, so that it cannot close the group that is put around it.
        let alone = RegexBuilder::new(&self.text).size_limit(PATTERN_BYTES).build().ok();
        alone
            .and(self.regex())
            .is_none()
            .then(|| format!("the pattern `{}` is not a regular expression, or too large", self.text))
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    fn regex(&self) -> Option<&Regex> {
        let compile = || RegexBuilder::new(&format!("^(?:{})$", self.text)).size_limit(PATTERN_BYTES).build().ok();
        self.compiled.get_or_init(compile).as_ref()
    }

    fn matches(&self, value: &str) -> bool {
        self.regex().is_some_and(|regex| regex.is_match(value))
    }
}

impl From<&str> for Pattern {
    fn from(text: &str) -> Pattern {
        Pattern::from(text.to_owned())
    }
}

impl From<String> for Pattern {
    fn from(text: String) -> Pattern {
        Pattern { text, compiled: OnceLock::new() }
    }
}

impl From<Pattern> for String {
    fn from(pattern: Pattern) -> String {
        pattern.text
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Pattern) -> bool {
        self.text == other.text
    }
}

impl Eq for Pattern {}

/// What an argument's value must be. All that is given must hold.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Constraint {
    /// Exactly this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub equals: Option<String>,
    /// One of these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub one_of: Option<Vec<String>>,
    /// At least this decimal number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minimum: Option<String>,
    /// At most this decimal number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maximum: Option<String>,
    /// The whole text matches this regular expression.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pattern: Option<Pattern>,
    /// Begins with this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
}

impl Constraint {
    /// What is wrong with it, if anything.
    pub(crate) fn problem(&self) -> Option<String> {
        let number = |bound: &Option<String>| bound.as_ref().filter(|bound| occurs::decimal(bound).is_none()).cloned();
        if let Some(bound) = number(&self.minimum).or_else(|| number(&self.maximum)) {
            return Some(format!("the bound `{bound}` is not a decimal number"));
        }
        self.pattern.as_ref().and_then(Pattern::problem)
    }

    /// Whether a value holds to it.
    pub fn allows(&self, ty: Type, value: &str) -> bool {
        let equal = |wanted: &String| occurs::same(ty, wanted, value) || wanted == value;
        let bound = |bound: &Option<String>, good: fn(Decimal, Decimal) -> bool| {
            bound.as_ref().is_none_or(|bound| {
                occurs::decimal(bound).zip(occurs::decimal(value)).is_some_and(|(bound, value)| good(value, bound))
            })
        };
        self.equals.as_ref().is_none_or(equal)
            && self.one_of.as_ref().is_none_or(|list| list.iter().any(equal))
            && bound(&self.minimum, |value, bound| value >= bound)
            && bound(&self.maximum, |value, bound| value <= bound)
            && self.prefix.as_ref().is_none_or(|prefix| value.starts_with(prefix.as_str()))
            && self.pattern.as_ref().is_none_or(|pattern| pattern.matches(value))
    }

    /// Whether the constraint itself names the value: then the host is its source.
    pub fn names(&self, ty: Type, value: &str) -> bool {
        let equal = |wanted: &String| occurs::same(ty, wanted, value);
        self.equals.as_ref().is_some_and(equal) || self.one_of.as_ref().is_some_and(|list| list.iter().any(equal))
    }
}

/// How much may be spent over all calls of an action.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Budget {
    /// The argument that is added up.
    pub argument: String,
    /// The most, as a decimal number.
    pub limit: String,
    /// Its currency; needed where each call says its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub currency: Option<String>,
    /// The argument in which a call says its currency, as the catalogue has it. What the host writes here does not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub currency_argument: Option<String>,
}

/// An action granted.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ActionGrant {
    /// Its name.
    pub action: String,
    /// The upstream it is an action of; needed in a scope only when several upstreams have one of this name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream: Option<String>,
    /// What its arguments must be.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub arguments: BTreeMap<String, Constraint>,
    /// The most calls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_calls: Option<u64>,
    /// The most that may be spent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<Budget>,
    /// The catalogue's view through which answers are seen; everything when there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub view: Option<String>,
}

/// What is asked for: an action by its name or with limits, or an intent of a catalogue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ScopeAction {
    /// By name.
    Name(String),
    /// With limits.
    Limited(ActionGrant),
    /// An intent, with its parameters.
    Intent(AskedIntent),
}

/// What the host asks for.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scope {
    /// The actions and intents.
    pub actions: Vec<ScopeAction>,
    /// The most calls over all actions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_calls: Option<u64>,
    /// How long it holds, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in: Option<i64>,
}

/// Asked for, and not granted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Withheld {
    /// The action, or `intent:<name>`.
    pub action: String,
    /// Why.
    pub reason: String,
}

/// A grant: closed, immutable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// Its id.
    pub id: String,
    /// The instruction it was made from.
    pub instruction: String,
    /// The agent it is for.
    pub agent: String,
    /// When it was made.
    pub issued: Timestamp,
    /// When it ends.
    pub expires: Timestamp,
    /// The actions, by name.
    pub actions: BTreeMap<String, ActionGrant>,
    /// The most calls over all actions.
    pub max_calls: Option<u64>,
}

/// Who a grant is for.
#[derive(Debug, Clone)]
pub struct For<'a> {
    /// The grant's id.
    pub id: &'a str,
    /// The instruction's id.
    pub instruction: &'a str,
    /// The agent.
    pub agent: &'a str,
}

impl Grant {
    /// Closes a requested scope: what the catalogues know is granted, the rest withheld with its reason.
    pub fn close<'c>(
        scope: &Scope,
        whose: &For<'_>,
        now: Timestamp,
        catalogues: impl Iterator<Item = &'c Catalogue> + Clone,
    ) -> (Grant, Vec<Withheld>) {
        let (mut actions, mut withheld) = (BTreeMap::new(), Vec::new());
        let mut longest = MAX_SECONDS;
        for asked in &scope.actions {
            let of_intent = matches!(asked, ScopeAction::Intent(_));
            let asked = match asked {
                ScopeAction::Name(action) => vec![ActionGrant { action: action.clone(), ..ActionGrant::default() }],
                ScopeAction::Limited(limited) => vec![limited.clone()],
                ScopeAction::Intent(asked) => match expand(asked, catalogues.clone()) {
                    Err(reason) => {
                        withheld.push(Withheld { action: format!("intent:{}", asked.intent), reason });
                        continue;
                    }
                    Ok((actions, seconds)) => {
                        longest = longest.min(seconds.unwrap_or(MAX_SECONDS));
                        actions
                    }
                },
            };
            for limited in asked {
                let action = limited.action.clone();
                let closed = close_action(limited, catalogues.clone()).and_then(|granted| match actions.get(&action) {
                    None if actions.len() >= MAX_ACTIONS => Err(format!("a grant has at most {MAX_ACTIONS} actions")),
                    // Two intents may need the same action.
                    Some(first) if of_intent && *first == granted => Ok(granted),
                    Some(_) => Err("asked for twice; the first one holds".to_owned()),
                    None => Ok(granted),
                });
                match closed {
                    Err(reason) => withheld.push(Withheld { action, reason }),
                    Ok(granted) => drop(actions.insert(action, granted)),
                }
            }
        }
        if scope.expires_in.is_some_and(|seconds| seconds > MAX_SECONDS) {
            let reason = format!("a grant holds for at most {MAX_SECONDS} seconds; it ends then");
            withheld.push(Withheld { action: "expires_in".to_owned(), reason });
        }
        let seconds = scope.expires_in.unwrap_or(DEFAULT_SECONDS).clamp(0, longest.max(0));
        let expires = now.checked_add(SignedDuration::from_secs(seconds)).unwrap_or(now);
        let grant = Grant {
            id: whose.id.to_owned(),
            instruction: whose.instruction.to_owned(),
            agent: whose.agent.to_owned(),
            issued: now,
            expires,
            actions,
            max_calls: scope.max_calls,
        };
        (grant, withheld)
    }

    /// The grant as RFC 9396 `authorization_details`: action names only, for values do not belong into a token.
    pub fn authorization_details(&self) -> Value {
        json!([{ "type": "countersign_grant", "identifier": self.id, "actions": self.actions.keys().collect::<Vec<_>>() }])
    }
}

/// The actions of an intent, and how long a grant with it holds at most, in seconds.
fn expand<'c>(
    asked: &AskedIntent,
    catalogues: impl Iterator<Item = &'c Catalogue>,
) -> Result<(Vec<ActionGrant>, Option<i64>), String> {
    let here =
        |catalogue: &&Catalogue| asked.upstream.as_deref().is_none_or(|upstream| upstream == catalogue.upstream());
    let mut known = catalogues.filter(here).filter_map(|catalogue| Some((catalogue, catalogue.intent(&asked.intent)?)));
    let (catalogue, intent) = known.next().ok_or("no catalogue has this intent")?;
    if let Some((other, _)) = known.next() {
        let (one, other) = (catalogue.upstream(), other.upstream());
        return Err(format!("both `{one}` and `{other}` have an intent of this name; say which `upstream`"));
    }
    let mut actions = intent.expand(&asked.with)?;
    actions.iter_mut().for_each(|action| action.upstream = Some(catalogue.upstream().to_owned()));
    Ok((actions, intent.expires_in))
}

/// One action of a scope as it is granted, or why it is withheld.
pub(crate) fn close_action<'c>(
    mut asked: ActionGrant,
    catalogues: impl Iterator<Item = &'c Catalogue>,
) -> Result<ActionGrant, String> {
    let of_upstream =
        |catalogue: &&Catalogue| asked.upstream.as_deref().is_none_or(|upstream| upstream == catalogue.upstream());
    let mut known = catalogues
        .filter(of_upstream)
        .filter_map(|catalogue| Some((catalogue.upstream(), catalogue.action(&asked.action)?)));
    let (upstream, action) = known.next().ok_or("the catalogue does not know this action")?;
    if let Some((other, _)) = known.next() {
        return Err(format!("both `{upstream}` and `{other}` have an action of this name; say which `upstream`"));
    }
    drop(known);
    for (name, constraint) in &asked.arguments {
        if !action.arguments.contains_key(name) {
            return Err(format!("the action has no argument `{name}`"));
        }
        if let Some(problem) = constraint.problem() {
            return Err(problem);
        }
    }
    asked.budget = asked.budget.map(|budget| close_budget(budget, action)).transpose()?;
    asked.view = match asked.view {
        Some(view) if !action.response.views.contains_key(&view) => {
            return Err(format!("the action has no view `{view}`"));
        }
        Some(view) => Some(view),
        None => action.response.view.clone(),
    };
    asked.upstream = Some(upstream.to_owned());
    Ok(asked)
}

fn close_budget(mut budget: Budget, action: &Action) -> Result<Budget, String> {
    let name = &budget.argument;
    let number = |ty| matches!(ty, Type::Money | Type::Integer);
    let argument = action.arguments.get(name).filter(|argument| number(argument.ty) && argument.required);
    let argument =
        argument.ok_or_else(|| format!("the budget's argument `{name}` is not a required number of the action"))?;
    if occurs::decimal(&budget.limit).is_none_or(|limit| limit.is_sign_negative()) {
        return Err(format!("the budget's limit `{}` is not a decimal number", budget.limit));
    }
    budget.currency_argument = argument.currency_argument().map(str::to_owned);
    match (&argument.currency, &budget.currency) {
        (Some(_), None) if budget.currency_argument.is_some() => {
            Err("each call says its currency, so the budget must say its own".to_owned())
        }
        (Some(fixed), Some(currency))
            if budget.currency_argument.is_none() && !fixed.eq_ignore_ascii_case(currency) =>
        {
            Err(format!("the budget is in `{currency}`, the action's amounts are in `{fixed}`"))
        }
        _ => Ok(budget),
    }
}

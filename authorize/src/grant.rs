//! The closed scope: which actions, with which arguments, how often, for how much, until when; and what was used of it.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use regex::Regex;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    Json,
    catalogue::{Catalogue, Type},
    occurs,
};

/// The longest time a grant may hold.
pub const MAX_SECONDS: i64 = 31 * 24 * 3600;
/// How long a grant holds when nothing is said.
pub const DEFAULT_SECONDS: i64 = 3600;

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
    pub pattern: Option<String>,
    /// Begins with this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
}

impl Constraint {
    /// What is wrong with it, if anything.
    fn problem(&self) -> Option<String> {
        let number = |bound: &Option<String>| bound.as_ref().filter(|bound| occurs::decimal(bound).is_none()).cloned();
        if let Some(bound) = number(&self.minimum).or_else(|| number(&self.maximum)) {
            return Some(format!("the bound `{bound}` is not a decimal number"));
        }
        let pattern = self.pattern.as_ref()?;
        Regex::new(pattern).err().map(|_| format!("the pattern `{pattern}` is not a regular expression"))
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
            && self.pattern.as_ref().is_none_or(|pattern| {
                Regex::new(&format!("^(?:{pattern})$")).is_ok_and(|pattern| pattern.is_match(value))
            })
    }

    /// Whether the constraint itself names the value: then the host is its source.
    pub fn names(&self, ty: Type, value: &str) -> bool {
        let equal = |wanted: &String| occurs::same(ty, wanted, value);
        self.equals.as_ref().is_some_and(equal) || self.one_of.as_ref().is_some_and(|list| list.iter().any(equal))
    }
}

/// How much may be spent over all calls of an action.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Budget {
    /// The argument that is added up.
    pub argument: String,
    /// The most, as a decimal number.
    pub limit: String,
    /// Its currency, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub currency: Option<String>,
}

/// An action granted.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ActionGrant {
    /// Its name.
    pub action: String,
    /// What its arguments must be.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub arguments: BTreeMap<String, Constraint>,
    /// The most calls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_calls: Option<u64>,
    /// The most that may be spent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<Budget>,
}

/// An action asked for: just its name, or with limits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ScopeAction {
    /// By name.
    Name(String),
    /// With limits.
    Limited(ActionGrant),
}

/// What the host asks for.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scope {
    /// The actions.
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
    /// The action.
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
        for asked in &scope.actions {
            let limited = match asked {
                ScopeAction::Name(action) => ActionGrant { action: action.clone(), ..ActionGrant::default() },
                ScopeAction::Limited(limited) => limited.clone(),
            };
            match refusal(&limited, catalogues.clone(), &actions) {
                Some(reason) => withheld.push(Withheld { action: limited.action, reason }),
                None => drop(actions.insert(limited.action.clone(), limited)),
            }
        }
        let seconds = scope.expires_in.unwrap_or(DEFAULT_SECONDS).clamp(0, MAX_SECONDS);
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

fn refusal<'c>(
    asked: &ActionGrant,
    mut catalogues: impl Iterator<Item = &'c Catalogue>,
    granted: &BTreeMap<String, ActionGrant>,
) -> Option<String> {
    let Some(action) = catalogues.find_map(|catalogue| catalogue.action(&asked.action)) else {
        return Some("the catalogue does not know this action".to_owned());
    };
    if granted.contains_key(&asked.action) {
        return Some("asked for twice; the first one holds".to_owned());
    }
    for (name, constraint) in &asked.arguments {
        if !action.arguments.contains_key(name) {
            return Some(format!("the action has no argument `{name}`"));
        }
        if let Some(problem) = constraint.problem() {
            return Some(problem);
        }
    }
    let budget = asked.budget.as_ref()?;
    match action.arguments.get(&budget.argument) {
        Some(argument) if matches!(argument.ty, Type::Money | Type::Integer) && argument.required => {
            let good = occurs::decimal(&budget.limit).is_some_and(|limit| !limit.is_sign_negative());
            (!good).then(|| format!("the budget's limit `{}` is not a decimal number", budget.limit))
        }
        _ => Some(format!("the budget's argument `{}` is not a required number of the action", budget.argument)),
    }
}

/// What was used of a grant.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Usage {
    /// Calls, over all actions.
    pub calls: u64,
    /// Calls by action.
    pub by_action: BTreeMap<String, u64>,
    /// Spent by action, exact decimals.
    pub spent: BTreeMap<String, Decimal>,
}

/// A limit that a call would pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exhausted {
    /// The calls of the grant.
    Calls(u64),
    /// The calls of the action.
    ActionCalls(u64),
    /// The budget: the limit and what is left.
    Budget {
        /// The limit.
        limit: Decimal,
        /// What is left of it.
        left: Decimal,
    },
    /// An amount that cannot be added up.
    Amount,
}

impl Usage {
    /// The usage after one more call, or the limit it would pass.
    ///
    /// # Errors
    /// [`Exhausted`].
    pub fn reserve(
        &self,
        grant: &Grant,
        action: &ActionGrant,
        arguments: &BTreeMap<String, Json>,
    ) -> Result<Usage, Exhausted> {
        let mut after = self.clone();
        after.calls = after.calls.saturating_add(1);
        if let Some(limit) = grant.max_calls.filter(|limit| after.calls > *limit) {
            return Err(Exhausted::Calls(limit));
        }
        let calls = after.by_action.entry(action.action.clone()).or_default();
        *calls = calls.saturating_add(1);
        if let Some(limit) = action.max_calls.filter(|limit| *calls > *limit) {
            return Err(Exhausted::ActionCalls(limit));
        }
        if let Some(budget) = &action.budget {
            let amount =
                arguments.get(&budget.argument).and_then(Json::as_text).and_then(|text| occurs::decimal(&text));
            let amount = amount.filter(|amount| !amount.is_sign_negative()).ok_or(Exhausted::Amount)?;
            let limit = occurs::decimal(&budget.limit).ok_or(Exhausted::Amount)?;
            let spent = after.spent.entry(action.action.clone()).or_default();
            let total = spent.checked_add(amount).ok_or(Exhausted::Amount)?;
            if total > limit {
                return Err(Exhausted::Budget { limit, left: limit.saturating_sub(*spent) });
            }
            *spent = total;
        }
        Ok(after)
    }

    /// The usage when a reserved call was certainly not executed: what `reserved` added to `before` is given back.
    #[must_use]
    pub fn release(&self, before: &Usage, reserved: &Usage) -> Usage {
        let mut after = self.clone();
        after.calls = after.calls.saturating_sub(reserved.calls.saturating_sub(before.calls));
        for (action, calls) in &reserved.by_action {
            let added = calls.saturating_sub(before.by_action.get(action).copied().unwrap_or(0));
            if let Some(calls) = after.by_action.get_mut(action) {
                *calls = calls.saturating_sub(added);
            }
        }
        for (action, spent) in &reserved.spent {
            let added = spent.saturating_sub(before.spent.get(action).copied().unwrap_or_default());
            if let Some(spent) = after.spent.get_mut(action) {
                *spent = spent.saturating_sub(added).max(Decimal::ZERO);
            }
        }
        after
    }
}

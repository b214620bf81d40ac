//! What was used of a grant. Only grows by what was reserved and only shrinks by what was given back; never negative, never over a limit.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::{ActionGrant, Budget, Grant};
use crate::{Json, model, occurs};

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

/// What one call used of a grant. As small as it can be: it is kept of every call of which nobody knows whether it was executed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Used {
    /// Of the grant's calls: one, or none when a model was asked.
    calls: u64,
    action: Box<str>,
    /// Of the action's calls.
    of_action: u64,
    spent: Decimal,
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
    /// An amount in another currency than the budget's, or in none that the call says.
    Currency(String),
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
            let spent = after.spent.entry(action.action.clone()).or_default();
            *spent = spend(budget, *spent, arguments)?;
        }
        Ok(after)
    }

    /// The usage after a model is asked once more; that is no call of the grant's actions, so it counts apart.
    ///
    /// # Errors
    /// [`Exhausted`] when it was asked as often as may be.
    pub fn ask(&self, limit: Option<u64>) -> Result<Usage, Exhausted> {
        let mut after = self.clone();
        let asked = after.by_action.entry(model::GENERATE.to_owned()).or_default();
        *asked = asked.saturating_add(1);
        match limit.filter(|limit| *asked > *limit) {
            Some(limit) => Err(Exhausted::ActionCalls(limit)),
            None => Ok(after),
        }
    }

    /// What one call used, when this was the usage after it and `before` that before it.
    pub fn used_since(&self, before: &Usage) -> Used {
        let calls_before = |action: &str| before.by_action.get(action).copied().unwrap_or(0);
        let changed = self.by_action.iter().find(|(action, calls)| **calls > calls_before(action));
        let (action, of_action) = changed.map_or(("", 0), |(action, calls)| (action, calls - calls_before(action)));
        let spent = |usage: &Usage| usage.spent.get(action).copied().unwrap_or_default();
        Used {
            calls: self.calls.saturating_sub(before.calls),
            action: action.into(),
            of_action,
            spent: spent(self).saturating_sub(spent(before)).max(Decimal::ZERO),
        }
    }

    /// The usage when a reserved call was certainly not executed: what it used is given back.
    #[must_use]
    pub fn release(&self, used: &Used) -> Usage {
        let mut after = self.clone();
        after.calls = after.calls.saturating_sub(used.calls);
        if let Some(calls) = after.by_action.get_mut(&*used.action) {
            *calls = calls.saturating_sub(used.of_action);
        }
        if let Some(spent) = after.spent.get_mut(&*used.action) {
            *spent = spent.saturating_sub(used.spent).max(Decimal::ZERO);
        }
        // As if it had never been reserved: whoever replays what was recorded does not know of what never was.
        after.by_action.retain(|_, calls| *calls > 0);
        after.spent.retain(|action, _| after.by_action.contains_key(action));
        after
    }
}

/// What is spent with one more call.
fn spend(budget: &Budget, spent: Decimal, arguments: &BTreeMap<String, Json>) -> Result<Decimal, Exhausted> {
    if let (Some(argument), Some(currency)) = (&budget.currency_argument, &budget.currency) {
        let said = arguments.get(argument).and_then(Json::as_text).unwrap_or_default();
        if !said.eq_ignore_ascii_case(currency) {
            return Err(Exhausted::Currency(currency.clone()));
        }
    }
    let limit = occurs::decimal(&budget.limit).ok_or(Exhausted::Amount)?;
    let amounts: Vec<&Json> = match arguments.get(&budget.argument) {
        Some(Json::Array(items)) => items.iter().collect(),
        Some(amount) => vec![amount],
        None => return Err(Exhausted::Amount),
    };
    let mut total = spent;
    for amount in amounts {
        let amount = amount.as_text().and_then(|text| occurs::decimal(&text));
        let amount = amount.filter(|amount| !amount.is_sign_negative()).ok_or(Exhausted::Amount)?;
        total = add_exactly(total, amount).ok_or(Exhausted::Amount)?;
    }
    if total > limit {
        return Err(Exhausted::Budget { limit, left: limit.saturating_sub(spent).max(Decimal::ZERO) });
    }
    Ok(total)
}

/// The sum, if it is exact: a decimal that does not fit would be rounded.
fn add_exactly(one: Decimal, other: Decimal) -> Option<Decimal> {
    let sum = one.checked_add(other)?;
    (sum.checked_sub(other)? == one && sum.checked_sub(one)? == other).then_some(sum)
}

//! Whether a grant is no wider than the one it is cut from, and the cutting itself.
//!
//! Decidable and conservative: each kind of limit is compared with the same kind of the parent, word for word or number for number, and what cannot
//! be compared so is refused. Whoever cuts a grant need not repeat the parent's limits: what is left unsaid is taken over.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;

use super::{ActionGrant, Budget, Constraint, For, Grant, MAX_SECONDS, Scope, ScopeAction, close_action};
use crate::{catalogue::Catalogue, occurs};

/// Where a grant is wider than the one it is cut from, or cannot be compared with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{at}: {message}")]
pub struct Wider {
    /// The place, such as `actions.pay.arguments.amount.maximum`.
    pub at: String,
    /// What is wrong there.
    pub message: String,
}

/// A check of one kind of limit; the kind and what is wrong.
type Checked = Result<(), (&'static str, &'static str)>;

const UNLIMITED: &str = "the grant it is cut from has a limit here";
const BEYOND: &str = "it goes beyond the grant it is cut from";

fn wider(at: impl Into<String>, message: impl Into<String>) -> Wider {
    Wider { at: at.into(), message: message.into() }
}

impl Grant {
    /// Whether whatever this grant permits, `parent` permits too, and whether it names `parent` as what it was cut from.
    ///
    /// # Errors
    /// [`Wider`], the first place where that does not hold or cannot be seen.
    pub fn attenuates(&self, parent: &Grant) -> Result<(), Wider> {
        if self.from.as_ref() != Some(&parent.id) || self.instruction != parent.instruction {
            return Err(wider("from", "it was not cut from this grant"));
        }
        if self.expires > parent.expires {
            return Err(wider("expires", BEYOND));
        }
        if parent.not_before.is_some_and(|from| self.not_before.is_none_or(|own| own < from)) {
            return Err(wider("not_before", BEYOND));
        }
        if parent.key.is_some() && self.key.is_none() {
            return Err(wider("key", "the grant it is cut from is bound to a key, so it must be bound to one too"));
        }
        count(self.max_calls, parent.max_calls).map_err(|message| wider("max_calls", message))?;
        for (name, own) in &self.actions {
            let at = format!("actions.{name}");
            let of =
                parent.actions.get(name).ok_or_else(|| wider(&at, "the grant it is cut from does not include it"))?;
            own.attenuates(of).map_err(|inner| wider(format!("{at}.{}", inner.at), inner.message))?;
        }
        Ok(())
    }

    /// [`Grant::attenuates`] of grants as records hold them; says what is wrong.
    pub fn attenuates_as_recorded(own: &Value, parent: &Value) -> Option<String> {
        let read = |value: &Value| serde_json::from_value::<Grant>(value.clone());
        match (read(own), read(parent)) {
            (Ok(own), Ok(parent)) => own.attenuates(&parent).err().map(|wider| wider.to_string()),
            (Err(error), _) | (_, Err(error)) => Some(format!("a grant cannot be read: {error}")),
        }
    }

    /// Cuts a narrower grant from this one: what `asked` says, and where it says nothing, this grant's own limits.
    ///
    /// # Errors
    /// [`Wider`] when it would be wider, or is not what the catalogues know. Nothing is cut down quietly.
    pub fn narrow<'c>(
        &self,
        asked: &Scope,
        whose: &For<'_>,
        now: Timestamp,
        catalogues: impl Iterator<Item = &'c Catalogue> + Clone,
    ) -> Result<Grant, Wider> {
        let mut actions = BTreeMap::new();
        for asked in &asked.actions {
            let own = match asked {
                ScopeAction::Name(action) => ActionGrant { action: action.clone(), ..ActionGrant::default() },
                ScopeAction::Limited(limited) => limited.clone(),
                ScopeAction::Intent(asked) => {
                    let at = format!("actions.intent:{}", asked.intent);
                    return Err(wider(at, "an intent is for a host; name the actions"));
                }
            };
            let at = format!("actions.{}", own.action);
            let parent = self.actions.get(&own.action);
            let parent = parent.ok_or_else(|| wider(&at, "the grant it is cut from does not include it"))?;
            let own = close_action(own.within(parent), catalogues.clone()).map_err(|message| wider(&at, message))?;
            if actions.insert(own.action.clone(), own).is_some() {
                return Err(wider(at, "asked for twice"));
            }
        }
        if actions.is_empty() {
            return Err(wider("actions", "there must be one"));
        }
        let said = asked.expires_in.is_some() || asked.not_after.is_some();
        let grant = Grant {
            id: whose.id.to_owned(),
            instruction: self.instruction.clone(),
            agent: whose.agent.to_owned(),
            issued: now,
            expires: if said { asked.end(now, MAX_SECONDS) } else { self.expires },
            actions,
            max_calls: asked.max_calls.or(self.max_calls),
            not_before: asked.not_before.or(self.not_before),
            key: asked.key.clone(),
            from: Some(self.id.clone()),
            proposed: self.proposed,
        };
        grant.attenuates(self).map(|()| grant)
    }
}

impl ActionGrant {
    fn attenuates(&self, parent: &ActionGrant) -> Result<(), Wider> {
        if self.upstream != parent.upstream {
            return Err(wider("upstream", "it is an action of another upstream"));
        }
        for (name, of) in &parent.arguments {
            let at = |kind: &str| format!("arguments.{name}.{kind}");
            let own = self.arguments.get(name).ok_or_else(|| wider(format!("arguments.{name}"), UNLIMITED))?;
            own.attenuates(of).map_err(|(kind, message)| wider(at(kind), message))?;
        }
        count(self.max_calls, parent.max_calls).map_err(|message| wider("max_calls", message))?;
        if let Some(of) = &parent.budget {
            let own = self.budget.as_ref().ok_or_else(|| wider("budget", UNLIMITED))?;
            own.attenuates(of).map_err(|(kind, message)| wider(format!("budget.{kind}"), message))?;
        }
        // Of two views nobody says which one shows less.
        if parent.view.is_some() && self.view != parent.view {
            return Err(wider("view", "the grant it is cut from sees answers through another view"));
        }
        Ok(())
    }

    /// With the parent's limits where it has none of that kind.
    fn within(mut self, parent: &ActionGrant) -> ActionGrant {
        for (name, of) in &parent.arguments {
            let own = self.arguments.remove(name).unwrap_or_default().within(of);
            self.arguments.insert(name.clone(), own);
        }
        self.upstream = self.upstream.or_else(|| parent.upstream.clone());
        self.max_calls = self.max_calls.or(parent.max_calls);
        self.view = self.view.or_else(|| parent.view.clone());
        self.budget = match (self.budget, &parent.budget) {
            (Some(own), Some(of)) => Some(Budget { currency: own.currency.or_else(|| of.currency.clone()), ..own }),
            (own, of) => own.or_else(|| of.clone()),
        };
        self
    }
}

impl Constraint {
    fn attenuates(&self, parent: &Constraint) -> Checked {
        // INVARIANT: what a listed value stands for depends on its type alone, so the same text stands for the same values in both grants.
        let listed = |list: &[String]| self.values().is_some_and(|own| own.iter().all(|value| list.contains(value)));
        if parent.equals.as_ref().is_some_and(|value| !listed(std::slice::from_ref(value))) {
            return Err(("equals", BEYOND));
        }
        if parent.one_of.as_ref().is_some_and(|list| !listed(list)) {
            return Err(("one_of", BEYOND));
        }
        let subset = |list: &[String]| self.subset.as_ref().is_some_and(|own| own.iter().all(|one| list.contains(one)));
        if parent.subset.as_ref().is_some_and(|list| !listed(list) && !subset(list)) {
            return Err(("subset", BEYOND));
        }
        bound(self.minimum.as_ref(), parent.minimum.as_ref(), |own, of| own >= of)
            .map_err(|message| ("minimum", message))?;
        bound(self.maximum.as_ref(), parent.maximum.as_ref(), |own, of| own <= of)
            .map_err(|message| ("maximum", message))?;
        if let Some(of) = &parent.prefix
            && !self.prefix.as_ref().is_some_and(|own| own.starts_with(of.as_str()))
        {
            return Err(("prefix", BEYOND));
        }
        if parent.pattern.is_some() && self.pattern != parent.pattern {
            return Err(("pattern", "a pattern can only be taken over as it is: it is not compared with another one"));
        }
        // The empty list holds to a subset alone.
        if self.allows_none() && !parent.allows_none() {
            return Err(("subset", "the grant it is cut from allows no empty list"));
        }
        Ok(())
    }

    /// The values that it names one by one; all that it allows are spelt like one of them.
    fn values(&self) -> Option<&[String]> {
        self.equals.as_ref().map(std::slice::from_ref).or(self.one_of.as_deref())
    }

    fn within(self, parent: &Constraint) -> Constraint {
        let of = parent.clone();
        Constraint {
            equals: self.equals.or(of.equals),
            one_of: self.one_of.or(of.one_of),
            minimum: self.minimum.or(of.minimum),
            maximum: self.maximum.or(of.maximum),
            pattern: self.pattern.or(of.pattern),
            prefix: self.prefix.or(of.prefix),
            subset: self.subset.or(of.subset),
        }
    }
}

impl Budget {
    fn attenuates(&self, parent: &Budget) -> Checked {
        if self.argument != parent.argument || self.currency_argument != parent.currency_argument {
            return Err(("argument", "it is over another argument"));
        }
        let same = |(one, other): (&String, &String)| one.eq_ignore_ascii_case(other);
        if parent.currency.is_some() && !self.currency.as_ref().zip(parent.currency.as_ref()).is_some_and(same) {
            return Err(("currency", "it is in another currency"));
        }
        bound(Some(&self.limit), Some(&parent.limit), |own, of| own <= of).map_err(|message| ("limit", message))
    }
}

fn count(own: Option<u64>, parent: Option<u64>) -> Result<(), &'static str> {
    match (own, parent) {
        (None, Some(_)) => Err(UNLIMITED),
        (Some(own), Some(parent)) if own > parent => Err(BEYOND),
        _ => Ok(()),
    }
}

fn bound(
    own: Option<&String>,
    parent: Option<&String>,
    within: fn(rust_decimal::Decimal, rust_decimal::Decimal) -> bool,
) -> Result<(), &'static str> {
    let Some(parent) = parent else { return Ok(()) };
    let own = own.ok_or(UNLIMITED)?;
    let numbers = occurs::decimal(own).zip(occurs::decimal(parent)).ok_or("it is no decimal number")?;
    if within(numbers.0, numbers.1) { Ok(()) } else { Err(BEYOND) }
}

#[cfg(test)]
mod tests;

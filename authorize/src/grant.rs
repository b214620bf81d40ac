//! The closed scope: which actions, with which arguments, how often, for how much, until when; and what was used of it.

mod attenuate;
mod constraint;
mod usage;

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub use self::{
    attenuate::Wider,
    constraint::{Constraint, Pattern},
    usage::{Exhausted, Usage, Used},
};
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
    /// How long it holds, in seconds from when it begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in: Option<i64>,
    /// From when it holds; at once when nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Timestamp>,
    /// When it ends, if that is sooner than `expires_in`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_after: Option<Timestamp>,
    /// The RFC 7638 thumbprint of the agent's key: what the agent states under the grant must be signed with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

impl Scope {
    /// When a grant with this scope ends that is made now and may hold for at most so many seconds.
    fn end(&self, now: Timestamp, longest: i64) -> Timestamp {
        let after = |from: Timestamp, seconds: i64| {
            from.checked_add(SignedDuration::from_secs(seconds.clamp(0, longest.max(0)))).unwrap_or(from)
        };
        let unsaid = if self.not_after.is_some() { longest } else { DEFAULT_SECONDS };
        let begin = self.not_before.map_or(now, |not_before| not_before.max(now));
        let end = after(begin, self.expires_in.unwrap_or(unsaid)).min(after(now, longest));
        self.not_after.map_or(end, |not_after| end.min(not_after))
    }
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
    /// From when it holds; none: since it was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Timestamp>,
    /// The thumbprint of the agent's key, when the grant is bound to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The grant that it was cut from, when an agent made it for another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Whether a model proposed it: then the values that it names are nobody's word.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub proposed: bool,
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
        let grant = Grant {
            id: whose.id.to_owned(),
            instruction: whose.instruction.to_owned(),
            agent: whose.agent.to_owned(),
            issued: now,
            expires: scope.end(now, longest),
            actions,
            max_calls: scope.max_calls,
            not_before: scope.not_before,
            key: scope.key.clone(),
            from: None,
            proposed: false,
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
        (Some(fixed), None) => {
            budget.currency = Some(fixed.clone());
            Ok(budget)
        }
        (None, Some(currency)) => Err(format!(
            "the budget is in `{currency}`, and the catalogue does not say in what the action's amounts are"
        )),
        (Some(fixed), Some(currency))
            if budget.currency_argument.is_none() && !fixed.eq_ignore_ascii_case(currency) =>
        {
            Err(format!("the budget is in `{currency}`, the action's amounts are in `{fixed}`"))
        }
        _ => Ok(budget),
    }
}

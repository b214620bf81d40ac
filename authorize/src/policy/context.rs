//! A call as a request of Cedar.

use std::collections::{BTreeMap, BTreeSet};

use cedar_policy::{Context, EntityId, EntityTypeName, EntityUid, ParseErrors, Request, RestrictedExpression as Value};
use jiff::{Timestamp, tz::TimeZone};
use rust_decimal::Decimal;

use super::{Facts, schema};
use crate::{
    Json,
    catalogue::{Action, Argument, Risk, Type},
    grant::{ActionGrant, Usage},
    occurs,
    provenance::Source,
    verdict::Provenance,
};

/// Everything about a call that policies can ask for.
pub(crate) struct Asked<'a> {
    pub(crate) agent: &'a str,
    pub(crate) granted: &'a ActionGrant,
    pub(crate) arguments: &'a BTreeMap<String, Json>,
    pub(crate) provenance: &'a [Provenance],
    pub(crate) before: &'a Usage,
    pub(crate) after: &'a Usage,
    pub(crate) facts: &'a Facts,
    pub(crate) now: Timestamp,
    pub(crate) approved: bool,
}

type Fields = Vec<(String, Value)>;

fn field(fields: &mut Fields, name: &str, value: Value) {
    fields.push((name.to_owned(), value));
}

fn text(text: &str) -> Value {
    Value::new_string(text.to_owned())
}

fn record(fields: Fields) -> Result<Value, String> {
    Value::new_record(fields).map_err(|error| error.to_string())
}

/// A number as Cedar has it: four digits behind the point. What has more is not rounded, for a bound could be on either side of it.
fn decimal(number: Decimal) -> Result<Value, String> {
    let mut number = number.normalize();
    if number.scale() > 4 {
        return Err(format!("`{number}` has more than the four digits behind the point that a policy can compare"));
    }
    number.rescale(number.scale().max(1));
    Ok(Value::new_decimal(number.to_string()))
}

/// The types of what takes part in a call. Reading a name costs as much as judging by it, so it is done once.
#[derive(Debug)]
pub(super) struct Types {
    agent: EntityTypeName,
    action: EntityTypeName,
    upstream: EntityTypeName,
    user: EntityTypeName,
}

impl Types {
    pub(super) fn new() -> Result<Types, String> {
        let named = |name: &str| name.parse().map_err(|error: ParseErrors| error.to_string());
        Ok(Types {
            agent: named("Agent")?,
            action: named("Action")?,
            upstream: named("Upstream")?,
            user: named("User")?,
        })
    }
}

fn uid(ty: &EntityTypeName, id: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(ty.clone(), EntityId::new(id))
}

impl Asked<'_> {
    /// The request. What cannot be said in Cedar is an error: a policy that does not see a value must not pass it.
    pub(super) fn request(&self, types: &Types, upstream: &str, action: &Action) -> Result<Request, String> {
        let mut context = Fields::new();
        field(&mut context, "arguments", self.arguments(action)?);
        field(&mut context, "provenance", self.provenance(action)?);
        field(&mut context, "effect", text(action.effect.as_str()));
        field(&mut context, "risk", text(risk(action)));
        field(&mut context, "time", self.time()?);
        field(&mut context, "budget", self.budget()?);
        field(&mut context, "instruction", self.instruction(types)?);
        field(&mut context, "approved", Value::new_bool(self.approved));
        let context = Context::from_pairs(context).map_err(|error| error.to_string())?;
        let name = schema::name(upstream, &action.name);
        let (principal, action, resource) =
            (uid(&types.agent, self.agent), uid(&types.action, &name), uid(&types.upstream, upstream));
        Request::new(principal, action, resource, context, None).map_err(|error| error.to_string())
    }

    fn arguments(&self, action: &Action) -> Result<Value, String> {
        let mut fields = Fields::new();
        for (name, argument) in &action.arguments {
            let value = self.arguments.get(name).filter(|value| **value != Json::Null);
            let Some(value) = value else { continue };
            let value = typed(argument, value).map_err(|what| format!("the argument `{name}`: {what}"))?;
            field(&mut fields, name, value);
        }
        record(fields)
    }

    fn provenance(&self, action: &Action) -> Result<Value, String> {
        let mut by_argument: BTreeMap<&str, BTreeSet<&'static str>> = BTreeMap::new();
        for traced in self.provenance {
            by_argument.entry(&traced.argument).or_default().insert(source(traced.decided_by.as_ref()));
        }
        let traced = action.arguments.iter().filter(|(_, argument)| schema::is_traced(action, argument));
        let mut fields = Fields::new();
        for (name, _) in traced {
            if let Some(sources) = by_argument.get(name.as_str()) {
                field(&mut fields, name, Value::new_set(sources.iter().map(|source| text(source))));
            }
        }
        record(fields)
    }

    fn time(&self) -> Result<Value, String> {
        let now = self.now.to_zoned(TimeZone::UTC);
        let mut fields = Fields::new();
        field(&mut fields, "epoch", Value::new_long(self.now.as_second()));
        field(&mut fields, "weekday", Value::new_long(now.weekday().to_monday_one_offset().into()));
        field(&mut fields, "hour", Value::new_long(now.hour().into()));
        record(fields)
    }

    fn budget(&self) -> Result<Value, String> {
        let mut fields = Fields::new();
        field(&mut fields, "before", self.used(self.before)?);
        field(&mut fields, "after", self.used(self.after)?);
        if let Some(limit) = self.granted.budget.as_ref().and_then(|budget| occurs::decimal(&budget.limit)) {
            field(&mut fields, "limit", decimal(limit)?);
        }
        record(fields)
    }

    fn used(&self, usage: &Usage) -> Result<Value, String> {
        let name = &self.granted.action;
        let count = |calls: u64| Value::new_long(i64::try_from(calls).unwrap_or(i64::MAX));
        let mut fields = Fields::new();
        field(&mut fields, "calls", count(usage.calls));
        field(&mut fields, "action_calls", count(usage.by_action.get(name).copied().unwrap_or(0)));
        if self.granted.budget.is_some() {
            field(&mut fields, "spent", decimal(usage.spent.get(name).copied().unwrap_or_default())?);
        }
        record(fields)
    }

    fn instruction(&self, types: &Types) -> Result<Value, String> {
        let mut fields = Fields::new();
        field(&mut fields, "user", Value::new_entity_uid(uid(&types.user, &self.facts.user)));
        field(&mut fields, "host", text(&self.facts.host));
        field(&mut fields, "attested_by", text(&self.facts.attested_by));
        if let Some(purpose) = &self.facts.purpose {
            field(&mut fields, "purpose", text(purpose));
        }
        record(fields)
    }
}

fn risk(action: &Action) -> &'static str {
    match action.risk {
        Some(Risk::Low) => "low",
        Some(Risk::Medium) => "medium",
        Some(Risk::High) => "high",
        None => "unrated",
    }
}

/// The word for the source that decided.
fn source(source: Option<&Source>) -> &'static str {
    match source {
        Some(Source::Words) => "words",
        Some(Source::Host) => "host",
        Some(Source::FirstParty { .. }) => "first_party",
        Some(Source::Attached) => "attached",
        Some(Source::ThirdParty { .. }) => "third_party",
        Some(Source::Agent { .. }) => "agent",
        None => "nothing",
    }
}

fn typed(argument: &Argument, value: &Json) -> Result<Value, String> {
    match value {
        Json::Array(items) => {
            let items: Result<Vec<Value>, String> = items.iter().map(|item| scalar(argument.ty, item)).collect();
            Ok(Value::new_set(items?))
        }
        value if argument.list => Ok(Value::new_set([scalar(argument.ty, value)?])),
        value => scalar(argument.ty, value),
    }
}

/// A value in the one spelling that all equal values share, so that another spelling of a forbidden account is forbidden too.
fn scalar(ty: Type, value: &Json) -> Result<Value, String> {
    let written = value.as_text().ok_or("it is no single value")?;
    let number = || occurs::decimal(&written).ok_or_else(|| format!("`{written}` is no number"));
    match ty {
        Type::Money => decimal(number()?),
        Type::Integer => written.parse().map(Value::new_long).map_err(|_| format!("`{written}` is too large")),
        Type::Boolean => Ok(Value::new_bool(written == "true")),
        Type::Date => {
            let date = occurs::date(&written).ok_or_else(|| format!("`{written}` is no date"))?;
            Ok(Value::new_datetime(date.to_string()))
        }
        Type::Text | Type::Identifier | Type::Account | Type::Email | Type::Url => {
            Ok(text(&occurs::key(ty, &written).unwrap_or(written)))
        }
    }
}

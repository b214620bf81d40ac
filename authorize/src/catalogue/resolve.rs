//! From a request to an action with its arguments. Closed world: what is not declared is refused.

use std::collections::BTreeMap;

use super::{
    Action, Argument, BodyKind, Catalogue, Extra, Place, Route, Type,
    routes::{Segment, template},
    uri::Template,
};
use crate::{
    Json, Refusal, occurs,
    request::{Body, Operation, Request},
};

/// A request resolved to an action, with its arguments' values.
#[derive(Debug, Clone)]
pub struct Resolved<'c> {
    /// The action.
    pub action: &'c Action,
    /// The values by name.
    pub arguments: BTreeMap<String, Json>,
}

impl Catalogue {
    /// The action whose route a request has, whatever its arguments are.
    pub fn routed(&self, request: &Request) -> Option<&Action> {
        let index = self.routes.find(request).ok()??;
        self.actions.get(index).filter(|_| request.upstream() == self.upstream)
    }

    /// The action that a request is, with its arguments. Closed world: what is not declared is refused.
    ///
    /// # Errors
    /// [`Refusal`] when no action has this method and path (or tool, resource, prompt), or an argument is unknown, missing or of another type.
    pub fn resolve(&self, request: &Request) -> Result<Resolved<'_>, Refusal> {
        let path = || request.target().split('?').next().unwrap_or_default();
        let unknown = || {
            let what = format!("{} {}", request.verb(), path());
            Refusal::new("action-unknown", format!("`{what}` is not in the catalogue of `{}`", self.upstream))
        };
        if request.upstream() != self.upstream {
            return Err(unknown());
        }
        let action = self.routes.find(request)?.and_then(|index| self.actions.get(index)).ok_or_else(unknown)?;
        refuse_undeclared_query(action, request)?;
        refuse_undeclared_body(action, request.body())?;
        Ok(Resolved { action, arguments: arguments(action, request)? })
    }
}

fn arguments(action: &Action, request: &Request) -> Result<BTreeMap<String, Json>, Refusal> {
    let mut arguments = BTreeMap::new();
    match &action.route {
        Route::Http { path, .. } => {
            for (segment, value) in template(path).zip(request.segments()) {
                if let Segment::Argument(name) = segment {
                    arguments.insert(name.to_owned(), Json::String(value.clone()));
                }
            }
        }
        Route::Resource(uri) => {
            let template = Template::parse(uri).ok();
            let values = template.as_ref().map(|template| template.values(request.target())).transpose()?.flatten();
            let values = values.into_iter().flatten();
            arguments.extend(values.map(|(name, value)| (name.to_owned(), Json::String(value))));
        }
        Route::Tool(_) | Route::Prompt(_) => {}
    }
    for (name, argument) in &action.arguments {
        let value = match argument.place {
            Place::Path => continue,
            Place::Argument if request.operation() == Operation::Resource => continue,
            Place::Query => query_value(request, argument.key(name)),
            Place::Header => request.header(argument.key(name))?.map(|value| Json::String(value.to_owned())),
            Place::Body | Place::Argument => body_value(request, argument, name),
        };
        arguments.extend(value.map(|value| (name.clone(), value)));
    }
    for (name, argument) in &action.arguments {
        match arguments.get(name) {
            None | Some(Json::Null) if argument.required => {
                return Err(Refusal::new("argument-missing", format!("`{}` needs the argument `{name}`", action.name)));
            }
            Some(value) if !is_of_type(argument, value) => {
                let list = if argument.list { "a list of " } else { "" };
                let (act, ty, form) = (&action.name, argument.ty.as_str(), argument.ty.form());
                let message = format!("the argument `{name}` of `{act}` is not {list}{ty} ({form})");
                return Err(Refusal::new("argument-type", message));
            }
            _ => {}
        }
    }
    Ok(arguments)
}

fn query_value(request: &Request, key: &str) -> Option<Json> {
    request.query().iter().find(|(name, _)| name == key).map(|(_, value)| Json::String(value.clone()))
}

fn body_value(request: &Request, argument: &Argument, name: &str) -> Option<Json> {
    let (json, pointer) = (request.json()?, argument.pointer(name));
    if pointer.split('/').any(|part| part == "*") {
        let found: Vec<Json> = json.find(&pointer).into_iter().cloned().collect();
        return (!found.is_empty()).then_some(Json::Array(found));
    }
    json.pointer(&pointer).cloned()
}

fn undeclared(action: &Action, what: &str) -> Refusal {
    Refusal::new(
        "argument-unknown",
        format!("`{}` has no {what}; declare it in the catalogue or leave it out", action.name),
    )
}

/// Lower-case letters and digits up to a bracket or full stop: names that some frameworks read as the same.
fn stem(name: &str) -> String {
    let end = name.find(['[', '.']).unwrap_or(name.len());
    let stem = name.get(..end).unwrap_or(name);
    stem.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

fn refuse_undeclared_query(action: &Action, request: &Request) -> Result<(), Refusal> {
    let declared = || action.arguments.iter().filter(|(_, argument)| argument.place == Place::Query);
    for (name, _) in request.query() {
        if declared().any(|(argument, query)| query.key(argument) == name) {
            continue;
        }
        let twin = action.arguments.iter().any(|(argument, declared)| stem(declared.key(argument)) == stem(name));
        if action.extra == Extra::Refuse || twin || name == "_method" {
            return Err(undeclared(action, &format!("query parameter `{name}`")));
        }
    }
    Ok(())
}

fn refuse_undeclared_body(action: &Action, body: &Body) -> Result<(), Refusal> {
    // INVARIANT: a resource has no body, so its arguments, which have no pointer, are never asked for one.
    let declared =
        action.arguments.iter().filter(|(_, argument)| matches!(argument.place, Place::Body | Place::Argument));
    let pointers: Vec<String> = declared.map(|(name, argument)| argument.pointer(name)).collect();
    match body {
        Body::Empty => Ok(()),
        Body::Opaque | Body::Json(..) if action.body == BodyKind::Opaque => Ok(()),
        Body::Opaque if pointers.is_empty() => Err(undeclared(action, "body")),
        Body::Opaque => Err(Refusal::new(
            "body-not-json",
            format!(
                "`{}` takes its arguments from a JSON body: send JSON, with `Content-Type: application/json`",
                action.name
            ),
        )),
        Body::Json(json, _) => {
            let mut stray = None;
            json.scalars(&mut String::new(), &mut |at, leaf| {
                if stray.is_none()
                    && !pointers.iter().any(|pattern| covers(pattern, at, leaf))
                    && !may_pass(action, at, leaf, &pointers)
                {
                    stray = Some(at.to_owned());
                }
            });
            let what = if action.route.method().is_some() { "body member" } else { "argument" };
            stray.map_or(Ok(()), |at| Err(undeclared(action, &format!("{what} `{at}`"))))
        }
    }
}

/// Whether a leaf of a body is at a declared pointer, or below it, or an empty container above it.
fn covers(pattern: &str, at: &str, leaf: &Json) -> bool {
    let (mut pattern, mut at) = (pattern.split('/'), at.split('/'));
    loop {
        match (pattern.next(), at.next()) {
            (None, _) => return true,
            (Some("*"), None) => return matches!(leaf, Json::Array(_) | Json::Object(_)),
            (Some(_), None) => return matches!(leaf, Json::Object(_)),
            (Some("*"), Some(_)) => {}
            (Some(one), Some(other)) if one == other => {}
            _ => return false,
        }
    }
}

/// Whether an undeclared leaf may pass: an empty body, or what the action lets pass and no server takes for something declared.
fn may_pass(action: &Action, at: &str, leaf: &Json, pointers: &[String]) -> bool {
    if at.is_empty() && matches!(leaf, Json::Object(_)) {
        return true;
    }
    let alike = |(one, other): (&str, &str)| one == "*" || stem(one) == stem(other);
    let below = |pointer: &str| {
        pointer.split('/').count() <= at.split('/').count() && pointer.split('/').zip(at.split('/')).all(alike)
    };
    let twin = pointers.iter().any(|pointer| below(pointer));
    action.extra == Extra::Allow && !twin && at != "/_method"
}

fn is_of_type(argument: &Argument, value: &Json) -> bool {
    match value {
        // An argument left empty on purpose; when it binds, a human must approve that.
        Json::Null => true,
        Json::Array(items) => argument.list && items.iter().all(|item| is_scalar_of_type(argument.ty, item)),
        value => is_scalar_of_type(argument.ty, value),
    }
}

pub(super) fn is_scalar_of_type(ty: Type, value: &Json) -> bool {
    match (ty, value) {
        (Type::Boolean, Json::Bool(_)) => true,
        (Type::Boolean, Json::String(text)) => ["true", "false"].contains(&text.as_str()),
        (Type::Money, Json::Number(text) | Json::String(text)) => occurs::decimal(text).is_some(),
        (Type::Integer, Json::Number(text) | Json::String(text)) => {
            occurs::decimal(text).is_some() && text.parse::<i64>().is_ok()
        }
        (Type::Date, Json::String(text)) => occurs::date(text).is_some(),
        (Type::Text, Json::String(_)) | (Type::Identifier, Json::Number(_)) => true,
        (Type::Identifier | Type::Account | Type::Email | Type::Url, Json::String(text)) => {
            !occurs::has_invisible(text)
        }
        _ => false,
    }
}

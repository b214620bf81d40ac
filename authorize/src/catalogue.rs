//! The catalogue: what an API can do, in the words of its owner. One TOML file per upstream; `docs/catalogue.md` has the reference.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::{
    Json, Refusal,
    request::{Body, Request},
};

/// What an action does to the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// Changes nothing.
    Read,
    /// Changes something that can be changed back.
    Write,
    /// Changes something for good.
    Irreversible,
}

impl Effect {
    /// The word in catalogue and record.
    pub const fn as_str(self) -> &'static str {
        match self {
            Effect::Read => "read",
            Effect::Write => "write",
            Effect::Irreversible => "irreversible",
        }
    }
}

/// Where an argument stands in a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Place {
    /// A `{name}` of the path template.
    Path,
    /// A query parameter.
    Query,
    /// A header.
    Header,
    /// The JSON body, by pointer.
    Body,
}

/// What a value is, which decides when two texts are the same value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Type {
    /// Words.
    Text,
    /// An identifier: equal or not.
    Identifier,
    /// An amount of money, or another decimal number.
    Money,
    /// A whole number.
    Integer,
    /// A calendar date.
    Date,
    /// An account: an IBAN, a card or account number, or a payee's name.
    Account,
    /// An e-mail address.
    Email,
    /// A URL.
    Url,
    /// True or false.
    Boolean,
}

/// An argument of an action.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Argument {
    /// Where it stands.
    #[serde(rename = "in")]
    pub place: Place,
    /// The query or header name, or the pointer into the body; the argument's own name when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// What it is.
    #[serde(rename = "type")]
    pub ty: Type,
    /// Whether the request must have it.
    #[serde(default)]
    pub required: bool,
    /// Whether it makes the act what it is (payee, amount, address, URL): then its value must come from an allowed source.
    #[serde(default)]
    pub binds: bool,
    /// Never shown outside the vault, not even to an approver.
    #[serde(default)]
    pub sensitive: bool,
    /// Where a binding value may come from: `words`, `attached`, `host`, `response:<action>` or `response:<action>#<pointer>`.
    #[serde(default = "words")]
    pub from: Vec<String>,
}

fn words() -> Vec<String> {
    vec!["words".to_owned()]
}

/// Which parts of a response the API itself vouches for. Everything else is content that a third party may have written.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Response {
    /// Pointer patterns (`*` stands for any one member or item) with the type of what is there.
    #[serde(default)]
    pub first_party: BTreeMap<String, Type>,
}

/// One thing that the API can do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Action {
    /// Its name, such as `accounts.balance.read`.
    pub name: String,
    /// What it does, for people.
    #[serde(default)]
    pub description: String,
    /// The HTTP method.
    pub method: String,
    /// The path, with `{argument}` segments.
    pub path: String,
    /// What it does to the world.
    pub effect: Effect,
    /// Its arguments. A request with others is refused.
    #[serde(default)]
    pub arguments: BTreeMap<String, Argument>,
    /// What of its response can be trusted.
    #[serde(default)]
    pub response: Response,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    upstream: String,
    #[serde(default)]
    action: Vec<toml::Spanned<Action>>,
}

/// Why a catalogue is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {message}")]
pub struct CatalogueError {
    /// Line, from 1.
    pub line: usize,
    /// Column, from 1.
    pub column: usize,
    /// What is wrong and what to do.
    pub message: String,
}

/// What an upstream can do.
#[derive(Debug, Clone)]
pub struct Catalogue {
    upstream: String,
    sha256: [u8; 32],
    actions: Vec<Action>,
    by_name: BTreeMap<String, usize>,
    routes: Route,
    warnings: Vec<String>,
}

/// Routes by segment: a literal wins over an argument.
#[derive(Debug, Clone, Default)]
struct Route {
    literals: BTreeMap<String, Route>,
    argument: Option<Box<Route>>,
    by_method: BTreeMap<String, usize>,
}

/// A request resolved to an action, with its arguments' values.
#[derive(Debug, Clone)]
pub struct Resolved<'c> {
    /// The action.
    pub action: &'c Action,
    /// The values by name.
    pub arguments: BTreeMap<String, Json>,
}

impl Catalogue {
    /// Reads a catalogue.
    ///
    /// # Errors
    /// [`CatalogueError`] with line and column.
    pub fn parse(text: &str) -> Result<Catalogue, CatalogueError> {
        let at = |offset: usize, message: String| {
            let before = text.get(..offset).unwrap_or_default();
            let line = before.matches('\n').count() + 1;
            let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
            CatalogueError { line, column, message }
        };
        let file: File = toml::from_str(text)
            .map_err(|error| at(error.span().map_or(0, |span| span.start), error.message().to_owned()))?;
        let mut catalogue = Catalogue {
            upstream: file.upstream,
            sha256: Sha256::digest(text.as_bytes()).into(),
            actions: Vec::new(),
            by_name: BTreeMap::new(),
            routes: Route::default(),
            warnings: Vec::new(),
        };
        for action in file.action {
            let offset = action.span().start;
            catalogue.add(action.into_inner()).map_err(|message| at(offset, message))?;
        }
        catalogue.check_sources().map_err(|message| at(0, message))?;
        Ok(catalogue)
    }

    fn add(&mut self, action: Action) -> Result<(), String> {
        check_arguments(&action)?;
        let name = action.name.clone();
        if name.is_empty() || self.by_name.contains_key(&name) {
            return Err(format!("the action `{name}` is named twice or has no name; give each a name of its own"));
        }
        if action.effect != Effect::Read && !action.arguments.values().any(|argument| argument.binds) {
            self.warnings.push(format!("`{name}` changes something, but none of its arguments binds"));
        }
        let mut route = &mut self.routes;
        for segment in template(&action.path) {
            route = match segment {
                Segment::Literal(literal) => route.literals.entry(literal.to_owned()).or_default(),
                Segment::Argument(_) => route.argument.get_or_insert_default(),
            };
        }
        let index = self.actions.len();
        if let Some(other) = route.by_method.insert(action.method.clone(), index) {
            let other = self.actions.get(other).map_or("", |other| &other.name);
            return Err(format!("`{name}` and `{other}` have the same method and path; a request could be either"));
        }
        self.by_name.insert(name, index);
        self.actions.push(action);
        Ok(())
    }

    fn check_sources(&self) -> Result<(), String> {
        for action in &self.actions {
            for (name, argument) in &action.arguments {
                for source in &argument.from {
                    self.check_source(source)
                        .map_err(|what| format!("`{}`, argument `{name}`: {what}", action.name))?;
                }
            }
        }
        Ok(())
    }

    fn check_source(&self, source: &str) -> Result<(), String> {
        if ["words", "attached", "host"].contains(&source) {
            return Ok(());
        }
        let Some(response) = source.strip_prefix("response:") else {
            return Err(format!(
                "the source `{source}` is unknown; use `words`, `attached`, `host` or `response:<action>`"
            ));
        };
        let (action, pointer) =
            response.split_once('#').map_or((response, None), |(action, pointer)| (action, Some(pointer)));
        let Some(action) = self.action(action) else {
            return Err(format!("the source `{source}` names an action that is not in this catalogue"));
        };
        if pointer.is_some_and(|pointer| !action.response.first_party.contains_key(pointer)) {
            return Err(format!(
                "the source `{source}` names a field that `{}` does not declare as first-party",
                action.name
            ));
        }
        Ok(())
    }

    /// The upstream's name.
    pub fn upstream(&self) -> &str {
        &self.upstream
    }

    /// SHA-256 of the exact bytes.
    pub const fn sha256(&self) -> &[u8; 32] {
        &self.sha256
    }

    /// All actions, in the order of the file.
    pub fn actions(&self) -> &[Action] {
        &self.actions
    }

    /// What deserves a look, in words.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// The action of that name.
    pub fn action(&self, name: &str) -> Option<&Action> {
        self.actions.get(*self.by_name.get(name)?)
    }

    /// The action that a request is, with its arguments. Closed world: what is not declared is refused.
    ///
    /// # Errors
    /// [`Refusal`] when no action has this method and path, or an argument is unknown, missing or of another type.
    pub fn resolve(&self, request: &Request) -> Result<Resolved<'_>, Refusal> {
        let found = find(&self.routes, request.segments(), request.method().as_str());
        let action = found.and_then(|index| self.actions.get(index)).ok_or_else(|| {
            let what = format!("{} {}", request.method(), request.target().split('?').next().unwrap_or_default());
            Refusal::new("action-unknown", format!("`{what}` is not in the catalogue of `{}`", self.upstream))
        })?;
        let arguments = extract(action, request)?;
        Ok(Resolved { action, arguments })
    }
}

fn find(route: &Route, segments: &[String], method: &str) -> Option<usize> {
    let Some((segment, rest)) = segments.split_first() else { return route.by_method.get(method).copied() };
    let literal = route.literals.get(segment).and_then(|route| find(route, rest, method));
    literal.or_else(|| route.argument.as_deref().and_then(|route| find(route, rest, method)))
}

enum Segment<'t> {
    Literal(&'t str),
    Argument(&'t str),
}

fn template(path: &str) -> impl Iterator<Item = Segment<'_>> {
    path.split('/').skip(1).filter(|segment| !segment.is_empty()).map(|segment| {
        match segment.strip_prefix('{').and_then(|segment| segment.strip_suffix('}')) {
            Some(name) => Segment::Argument(name),
            None => Segment::Literal(segment),
        }
    })
}

fn check_arguments(action: &Action) -> Result<(), String> {
    let name = &action.name;
    if !action.path.starts_with('/') {
        return Err(format!("`{name}`: the path `{}` does not begin with `/`", action.path));
    }
    if action.method.is_empty() || !action.method.bytes().all(|byte| byte.is_ascii_uppercase()) {
        return Err(format!("`{name}`: the method `{}` is not in capital letters", action.method));
    }
    let in_path: Vec<&str> = template(&action.path)
        .filter_map(|segment| match segment {
            Segment::Argument(argument) => Some(argument),
            Segment::Literal(_) => None,
        })
        .collect();
    for argument in &in_path {
        if action.arguments.get(*argument).is_none_or(|declared| declared.place != Place::Path) {
            return Err(format!(
                "`{name}`: `{{{argument}}}` of the path is not declared as an argument with `in = \"path\"`"
            ));
        }
    }
    for (argument, declared) in &action.arguments {
        if declared.place == Place::Path && !in_path.contains(&argument.as_str()) {
            return Err(format!(
                "`{name}`: the argument `{argument}` is declared in the path, which has no `{{{argument}}}`"
            ));
        }
        if declared.place == Place::Body && declared.at.as_ref().is_some_and(|at| !at.starts_with('/')) {
            return Err(format!(
                "`{name}`: the argument `{argument}` has an `at` that is no pointer; write `/{argument}`"
            ));
        }
    }
    Ok(())
}

impl Argument {
    /// The pointer of a body argument named `name`.
    pub fn pointer(&self, name: &str) -> String {
        self.at.clone().unwrap_or_else(|| format!("/{name}"))
    }

    /// The query or header name of an argument named `name`.
    pub fn key<'a>(&'a self, name: &'a str) -> &'a str {
        self.at.as_deref().unwrap_or(name)
    }
}

fn extract(action: &Action, request: &Request) -> Result<BTreeMap<String, Json>, Refusal> {
    let mut arguments = BTreeMap::new();
    for (segment, value) in template(&action.path).zip(request.segments()) {
        if let Segment::Argument(name) = segment {
            arguments.insert(name.to_owned(), Json::String(value.clone()));
        }
    }
    for (name, argument) in &action.arguments {
        let value = match argument.place {
            Place::Path => continue,
            Place::Query => query_value(request, argument.key(name)),
            Place::Header => request.header(argument.key(name)).map(|value| Json::String(value.to_owned())),
            Place::Body => request.json().and_then(|json| json.pointer(&argument.pointer(name))).cloned(),
        };
        arguments.extend(value.map(|value| (name.clone(), value)));
    }
    refuse_undeclared(action, request)?;
    for (name, argument) in &action.arguments {
        match arguments.get(name) {
            None if argument.required => {
                return Err(Refusal::new("argument-missing", format!("`{}` needs the argument `{name}`", action.name)));
            }
            Some(value) => check_type(action, name, argument.ty, value)?,
            None => {}
        }
    }
    Ok(arguments)
}

fn query_value(request: &Request, key: &str) -> Option<Json> {
    request.query().iter().find(|(name, _)| name == key).map(|(_, value)| Json::String(value.clone()))
}

/// Closed world: query parameters and body members that the action does not declare.
fn refuse_undeclared(action: &Action, request: &Request) -> Result<(), Refusal> {
    let unknown = |what: String| {
        Refusal::new(
            "argument-unknown",
            format!("`{}` has no {what}; declare it in the catalogue or leave it out", action.name),
        )
    };
    let declared = |place| action.arguments.iter().filter(move |(_, argument)| argument.place == place);
    for (name, _) in request.query() {
        if !declared(Place::Query).any(|(argument, query)| query.key(argument) == name) {
            return Err(unknown(format!("query parameter `{name}`")));
        }
    }
    let pointers: Vec<String> = declared(Place::Body).map(|(name, argument)| argument.pointer(name)).collect();
    match request.body() {
        Body::Empty => {}
        Body::Opaque if pointers.is_empty() && action.effect == Effect::Read => {
            return Err(unknown("body".to_owned()));
        }
        Body::Opaque if pointers.is_empty() => {}
        Body::Opaque => {
            return Err(Refusal::new(
                "body-not-json",
                format!("`{}` takes its arguments from a JSON body", action.name),
            ));
        }
        Body::Json(json, _) => {
            let mut stray = None;
            json.scalars(&mut String::new(), &mut |at, _| {
                let covered = pointers.iter().any(|pointer| {
                    at == pointer || at.strip_prefix(pointer.as_str()).is_some_and(|rest| rest.starts_with('/'))
                });
                if !covered {
                    stray.get_or_insert_with(|| at.to_owned());
                }
            });
            if let Some(at) = stray {
                return Err(unknown(format!("body member `{at}`")));
            }
        }
    }
    Ok(())
}

fn check_type(action: &Action, name: &str, ty: Type, value: &Json) -> Result<(), Refusal> {
    let good = match (ty, value) {
        // An argument left empty on purpose.
        (_, Json::Null) => true,
        (Type::Boolean, Json::Bool(_)) => true,
        (Type::Boolean, Json::String(text)) => ["true", "false"].contains(&text.as_str()),
        (Type::Money, value) => value.as_text().is_some_and(|text| crate::occurs::decimal(&text).is_some()),
        (Type::Integer, value) => value.as_text().is_some_and(|text| text.parse::<i64>().is_ok()),
        (Type::Date, Json::String(text)) => crate::occurs::date(text).is_some(),
        (Type::Text | Type::Identifier | Type::Account | Type::Email | Type::Url, Json::String(_)) => true,
        (Type::Identifier, Json::Number(_)) => true,
        // Lists of values: each item must be of the type.
        (Type::Text | Type::Identifier | Type::Account | Type::Email | Type::Url, Json::Array(items)) => {
            return items.iter().try_for_each(|item| check_type(action, name, ty, item));
        }
        _ => false,
    };
    if good {
        return Ok(());
    }
    let ty = serde_json::to_value(ty).ok().and_then(|ty| ty.as_str().map(str::to_owned)).unwrap_or_default();
    Err(Refusal::new("argument-type", format!("the argument `{name}` of `{}` is not of type {ty}", action.name)))
}

#[cfg(test)]
mod tests;

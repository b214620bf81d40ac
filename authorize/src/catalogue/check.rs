//! What a catalogue must not say, and what in it deserves a look.

use std::collections::BTreeSet;

use super::{
    Action, Argument, BodyKind, Catalogue, Place, Protocol, Route, Type,
    file::File,
    routes::{Segment, template},
    uri::Template,
};

/// The most approvers that a call can need.
const MAX_APPROVALS: u32 = 16;

/// What is wrong, and with which argument.
#[derive(Debug)]
pub(super) struct Wrong {
    pub(super) argument: Option<String>,
    pub(super) message: String,
}

impl From<String> for Wrong {
    fn from(message: String) -> Wrong {
        Wrong { argument: None, message }
    }
}

impl Wrong {
    fn with(action: &Action, argument: &str, what: &str) -> Wrong {
        let message = format!("`{}`, argument `{argument}`: {what}", action.name);
        Wrong { argument: Some(argument.to_owned()), message }
    }
}

/// What of a file is of another protocol than it says.
pub(super) fn protocol(file: &File) -> Result<(), String> {
    match file.protocol {
        Protocol::Model if !(file.action.is_empty() && file.intent.is_empty()) => {
            Err("the catalogue of a model's endpoint has no actions and intents: what passes there is known".to_owned())
        }
        Protocol::Model => Ok(()),
        _ if file.model.is_some() => Err("`[model]` belongs to a catalogue with `protocol = \"model\"`".to_owned()),
        _ => Ok(()),
    }
}

/// What one action must not say.
pub(super) fn action(action: &Action) -> Result<(), Wrong> {
    let name = &action.name;
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if name.is_empty() || !name.chars().all(allowed) {
        return Err(format!("the name `{name}` is not made of letters, digits, `.`, `_` and `-`").into());
    }
    if action
        .definition
        .as_ref()
        .is_some_and(|digest| digest.len() != 64 || !digest.bytes().all(|b| b.is_ascii_hexdigit()))
    {
        return Err(format!("`{name}`: its `definition` is not 64 hexadecimal digits").into());
    }
    if !(1..=MAX_APPROVALS).contains(&action.approvals) {
        return Err(format!("`{name}`: `approvals` is a number from 1 to {MAX_APPROVALS}").into());
    }
    route(action)?;
    for (argument, declared) in &action.arguments {
        place(action, argument, declared).map_err(|what| Wrong::with(action, argument, &what))?;
    }
    views(action)?;
    match action.response.first_party.keys().find(|pattern| !is_pointer(pattern)) {
        Some(pattern) => {
            Err(format!("`{name}`: the field `{pattern}` is no pointer; it begins with `/`, with `*` for any one step")
                .into())
        }
        None => Ok(()),
    }
}

fn views(action: &Action) -> Result<(), String> {
    let (name, response) = (&action.name, &action.response);
    if let Some(pattern) = response.views.values().flatten().find(|pattern| !is_pointer(pattern)) {
        return Err(format!(
            "`{name}`: `{pattern}` of a view is no pointer; it begins with `/`, with `*` for any one step"
        ));
    }
    match &response.view {
        Some(view) if !response.views.contains_key(view) => Err(format!("`{name}`: there is no view `{view}`")),
        _ => Ok(()),
    }
}

fn is_pointer(text: &str) -> bool {
    text.is_empty() || text.starts_with('/')
}

fn route(action: &Action) -> Result<(), String> {
    let name = &action.name;
    match &action.route {
        Route::Http { method, path: template } => {
            if method.is_empty() || !method.bytes().all(|byte| byte.is_ascii_uppercase()) {
                return Err(format!("`{name}`: the method `{method}` is not in capital letters"));
            }
            path(action, template)
        }
        Route::Tool(called) | Route::Prompt(called) if called.is_empty() || called.chars().any(char::is_control) => {
            Err(format!("`{name}`: the name of the {} is empty or has a control character", action.route.what()))
        }
        Route::Resource(uri) => {
            let template = Template::parse(uri).map_err(|what| format!("`{name}`: {what}"))?;
            match template.arguments().find(|argument| !action.arguments.contains_key(*argument)) {
                Some(argument) => Err(format!("`{name}`: `{{{argument}}}` of the URI is not declared as an argument")),
                None => Ok(()),
            }
        }
        Route::Tool(_) | Route::Prompt(_) => Ok(()),
    }?;
    let opaque = action.body == BodyKind::Opaque && action.route.method().is_none();
    if opaque { Err(format!("`{name}`: an MCP action has no opaque body")) } else { Ok(()) }
}

fn path(action: &Action, path: &str) -> Result<(), String> {
    let name = &action.name;
    if !path.starts_with('/') || path.contains("//") {
        return Err(format!("`{name}`: the path `{path}` does not begin with `/`, or has an empty segment"));
    }
    let mut seen = BTreeSet::new();
    for segment in template(path) {
        match segment {
            Segment::Literal(literal) if literal.contains(['{', '}']) => {
                return Err(format!(
                    "`{name}`: `{literal}` of the path is an argument in part; an argument is a whole segment"
                ));
            }
            Segment::Literal(literal)
                if literal.contains(['?', '#', '%', ';', '\\']) || [".", ".."].contains(&literal) =>
            {
                return Err(format!(
                    "`{name}`: `{literal}` of the path can be in no request; write it decoded, without a query"
                ));
            }
            Segment::Literal(_) => {}
            Segment::Argument(argument) => {
                let declared = action.arguments.get(argument);
                if declared.is_none_or(|declared| declared.place != Place::Path) {
                    return Err(format!(
                        "`{name}`: `{{{argument}}}` of the path is not declared as an argument with `in = \"path\"`"
                    ));
                }
                if !seen.insert(argument) {
                    return Err(format!("`{name}`: `{{{argument}}}` is in the path twice"));
                }
            }
        }
    }
    Ok(())
}

fn place(action: &Action, name: &str, argument: &Argument) -> Result<(), String> {
    match (&action.route, argument.place) {
        (Route::Http { path, .. }, place) => http_place(action, path, name, argument, place)?,
        (Route::Resource(_), Place::Argument) if argument.at.is_some() || argument.list => {
            return Err("an argument of a resource has no `at` and is no list; it stands in the URI".to_owned());
        }
        (Route::Resource(uri), Place::Argument)
            if !Template::parse(uri).is_ok_and(|template| template.arguments().any(|argument| argument == name)) =>
        {
            return Err(format!("the resource's URI has no `{{{name}}}`"));
        }
        (_, Place::Argument) => json_place(name, argument)?,
        _ => return Err("an MCP action's argument has no `in`; leave it out".to_owned()),
    }
    currency(action, argument)
}

/// An argument that a pointer finds in JSON.
fn json_place(name: &str, argument: &Argument) -> Result<(), String> {
    if argument.at.as_ref().is_some_and(|at| !is_pointer(at)) {
        return Err(format!("its `at` is no pointer; write `/{name}`"));
    }
    if argument.pointer(name).split('/').any(|part| part == "*") && !argument.list {
        return Err("its `at` has `*`, so there can be several values; add `list = true`".to_owned());
    }
    Ok(())
}

fn http_place(action: &Action, path: &str, name: &str, argument: &Argument, place: Place) -> Result<(), String> {
    match place {
        Place::Argument => {
            return Err(
                "it does not say where it stands; add `in = \"path\"`, `\"query\"`, `\"header\"` or `\"body\"`"
                    .to_owned(),
            );
        }
        Place::Path if !template(path).any(|segment| segment == Segment::Argument(name)) => {
            return Err(format!("it is declared in the path, which has no `{{{name}}}`"));
        }
        Place::Path if argument.at.is_some() => {
            return Err("a path argument has no `at`; its name is in the path".to_owned());
        }
        Place::Header if argument.key(name).parse::<http::HeaderName>().is_err() => {
            return Err(format!("`{}` is no header's name", argument.key(name)));
        }
        Place::Header
            if ["authorization", "proxy-authorization", "cookie"]
                .contains(&argument.key(name).to_ascii_lowercase().as_str()) =>
        {
            return Err("a header with credentials holds no argument".to_owned());
        }
        Place::Body if action.body == BodyKind::Opaque => {
            return Err("the body is opaque: no argument can be read from it".to_owned());
        }
        Place::Body => json_place(name, argument)?,
        _ if argument.list => return Err("only a body holds lists".to_owned()),
        _ => {}
    }
    Ok(())
}

fn currency(action: &Action, argument: &Argument) -> Result<(), String> {
    if argument.currency.is_some() && argument.ty != Type::Money {
        return Err("it has a currency but is no money".to_owned());
    }
    match argument.currency_argument().map(|currency| (currency, action.arguments.get(currency))) {
        Some((currency, None)) => Err(format!("its currency `{{{currency}}}` is no argument of this action")),
        Some((currency, Some(declared))) if !matches!(declared.ty, Type::Text | Type::Identifier) || declared.list => {
            Err(format!("its currency `{{{currency}}}` is no text"))
        }
        _ => Ok(()),
    }
}

/// The sources that an action's arguments name must exist.
pub(super) fn sources(catalogue: &Catalogue, action: &Action) -> Result<(), Wrong> {
    for (name, argument) in &action.arguments {
        for from in &argument.from {
            source(catalogue, from).map_err(|what| Wrong::with(action, name, &what))?;
        }
    }
    Ok(())
}

fn source(catalogue: &Catalogue, source: &str) -> Result<(), String> {
    if ["words", "attached", "host"].contains(&source) {
        return Ok(());
    }
    if ["third-party", "third_party", "content", "agent", "any", "*"].contains(&source) {
        return Err(format!(
            "`{source}` can be no source, for anybody may have written it; declare the field as first-party if the API itself vouches for it"
        ));
    }
    let Some(response) = source.strip_prefix("response:") else {
        return Err(format!(
            "the source `{source}` is unknown; use `words`, `attached`, `host` or `response:<action>`"
        ));
    };
    let (action, pointer) =
        response.split_once('#').map_or((response, None), |(action, pointer)| (action, Some(pointer)));
    let Some(action) = catalogue.action(action) else {
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

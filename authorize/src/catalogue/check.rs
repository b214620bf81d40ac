//! What a catalogue must not say, and what in it deserves a look.

use std::collections::BTreeSet;

use super::{
    Action, Argument, BodyKind, Catalogue, Effect, Extra, Place, Type,
    routes::{Segment, template},
};

/// What one action must not say.
pub(super) fn action(action: &Action) -> Result<(), String> {
    let name = &action.name;
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if name.is_empty() || !name.chars().all(allowed) {
        return Err(format!("the name `{name}` is not made of letters, digits, `.`, `_` and `-`"));
    }
    if action.method.is_empty() || !action.method.bytes().all(|byte| byte.is_ascii_uppercase()) {
        return Err(format!("`{name}`: the method `{}` is not in capital letters", action.method));
    }
    path(action)?;
    for (argument, declared) in &action.arguments {
        place(action, argument, declared).map_err(|what| format!("`{name}`, argument `{argument}`: {what}"))?;
    }
    match action.response.first_party.keys().find(|pattern| !is_pointer(pattern)) {
        Some(pattern) => {
            Err(format!("`{name}`: the field `{pattern}` is no pointer; it begins with `/`, with `*` for any one step"))
        }
        None => Ok(()),
    }
}

fn is_pointer(text: &str) -> bool {
    text.is_empty() || text.starts_with('/')
}

fn path(action: &Action) -> Result<(), String> {
    let (name, path) = (&action.name, &action.path);
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
    match argument.place {
        Place::Path if !template(&action.path).any(|segment| segment == Segment::Argument(name)) => {
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
        Place::Body if argument.at.as_ref().is_some_and(|at| !is_pointer(at)) => {
            return Err(format!("its `at` is no pointer; write `/{name}`"));
        }
        Place::Body if argument.pointer(name).split('/').any(|part| part == "*") && !argument.list => {
            return Err("its `at` has `*`, so there can be several values; add `list = true`".to_owned());
        }
        _ if argument.list && argument.place != Place::Body => return Err("only a body holds lists".to_owned()),
        _ => {}
    }
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
pub(super) fn sources(catalogue: &Catalogue, action: &Action) -> Result<(), String> {
    for (name, argument) in &action.arguments {
        for from in &argument.from {
            source(catalogue, from).map_err(|what| format!("`{}`, argument `{name}`: {what}", action.name))?;
        }
    }
    Ok(())
}

fn source(catalogue: &Catalogue, source: &str) -> Result<(), String> {
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

/// What deserves a look.
pub(super) fn warnings(catalogue: &Catalogue) -> Vec<String> {
    let mut warnings = Vec::new();
    for action in &catalogue.actions {
        let name = &action.name;
        let binds = action.arguments.values().any(|argument| argument.binds);
        if action.effect != Effect::Read && !binds {
            warnings.push(format!("`{name}` changes something, but none of its arguments binds"));
        }
        if action.effect != Effect::Read && ["GET", "HEAD", "OPTIONS"].contains(&action.method.as_str()) {
            warnings.push(format!(
                "`{name}` changes something by `{}`, which agents and proxies may repeat",
                action.method
            ));
        }
        if action.effect == Effect::Read && ["PUT", "PATCH", "DELETE"].contains(&action.method.as_str()) {
            warnings.push(format!("`{name}` is said to read, by `{}`", action.method));
        }
        if action.effect != Effect::Read && action.extra == Extra::Allow {
            warnings.push(format!("`{name}` changes something and lets undeclared arguments pass unjudged"));
        }
        if binds && action.body == BodyKind::Opaque {
            warnings.push(format!(
                "`{name}` has an opaque body: no approval can cover it, so what would be held is denied"
            ));
        }
        for (argument, declared) in action.arguments.iter().filter(|(_, declared)| declared.binds) {
            if declared.from.is_empty() {
                warnings.push(format!(
                    "`{name}`, argument `{argument}`: no source is allowed, so every call waits for a human"
                ));
            }
            if declared.ty == Type::Boolean && declared.from == ["words"] {
                warnings.push(format!("`{name}`, argument `{argument}`: a boolean is never found in words, so every call waits for a human"));
            }
        }
    }
    warnings
}

//! What in a catalogue deserves a look, though it can be used as it is.

use super::{
    Action, Argument, BodyKind, Catalogue, Effect, Extra, Place, Position, Risk, Type,
    routes::{Segment, template},
};
use crate::import::is_sensitive;

/// How much a lint matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Good to know.
    Note,
    /// Probably not what was meant.
    Warning,
}

/// Something that deserves a look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lint {
    /// How much it matters.
    pub level: Level,
    /// Where it stands.
    pub position: Position,
    /// What it is, and what to do.
    pub message: String,
}

impl std::fmt::Display for Lint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "line {}, column {}: {}", self.position.line, self.position.column, self.message)
    }
}

pub(super) fn lints(catalogue: &Catalogue) -> Vec<Lint> {
    let mut lints = Vec::new();
    for (index, action) in catalogue.actions.iter().enumerate() {
        let mut say = |level, argument: Option<&str>, message: String| {
            let placed = catalogue.placed.get(index);
            let position = placed.map_or(Position { line: 1, column: 1 }, |placed| placed.of(argument));
            lints.push(Lint { level, position, message });
        };
        whole(action, &mut say);
        for (name, argument) in &action.arguments {
            single(action, name, argument, &mut say);
            unused_sources(catalogue, action, name, argument, &mut say);
        }
        overlaps(catalogue, index, action, &mut say);
    }
    lints.sort_by_key(|lint| lint.position);
    lints
}

/// Takes a lint: its level, the argument it is about, what it says.
type Say<'a> = dyn FnMut(Level, Option<&str>, String) + 'a;

fn whole(action: &Action, say: &mut Say<'_>) {
    let name = &action.name;
    let changes = action.effect != Effect::Read;
    let binds = action.arguments.values().any(|argument| argument.binds);
    let method = action.route.method().unwrap_or_default();
    let mut warn = |message: String| say(Level::Warning, None, message);
    if changes && !binds {
        warn(format!("`{name}` changes something, but none of its arguments binds"));
    }
    if changes && ["GET", "HEAD", "OPTIONS"].contains(&method) {
        warn(format!("`{name}` changes something by `{method}`, which agents and proxies may repeat"));
    }
    if !changes && ["PUT", "PATCH", "DELETE"].contains(&method) {
        warn(format!("`{name}` is said to read, by `{method}`"));
    }
    if changes && action.extra == Extra::Allow {
        warn(format!("`{name}` changes something and lets undeclared arguments pass unjudged"));
    }
    if changes && action.asks {
        warn(format!(
            "`{name}` changes something and its server may ask: what the agent's side answers passes unjudged"
        ));
    }
    if binds && action.body == BodyKind::Opaque {
        warn(format!("`{name}` has an opaque body: no approval can cover it, so what would be held is denied"));
    }
    match action.risk {
        None if changes => warn(format!("`{name}` changes something and has no `risk`; say `low`, `medium` or `high`")),
        Some(Risk::Low) if action.effect == Effect::Irreversible => {
            warn(format!("`{name}` cannot be undone, and is said to be of low risk"));
        }
        _ => {}
    }
    let free = |(_, argument): &(&String, &Argument)| {
        argument.ty == Type::Text && !argument.binds && argument.place != Place::Header
    };
    let free: Vec<String> = action.arguments.iter().filter(free).map(|(name, _)| format!("`{name}`")).collect();
    if changes && !free.is_empty() {
        say(Level::Note, None, format!("`{name}`: what {} says is not judged, for it does not bind", free.join(", ")));
    }
}

fn single(action: &Action, name: &str, argument: &Argument, say: &mut Say<'_>) {
    let mut warn =
        |what: &str| say(Level::Warning, Some(name), format!("`{}`, argument `{name}`: {what}", action.name));
    if !argument.sensitive && is_sensitive(name) {
        warn("by its name it is a secret; add `sensitive = true`");
    }
    // Within a free text addresses bind.
    if !argument.binds && argument.from != ["words"] && argument.ty != Type::Text {
        warn("it does not bind, so its `from` counts for nothing");
    }
    if !argument.binds {
        return;
    }
    if argument.from.is_empty() {
        warn("no source is allowed, so every call waits for a human");
    }
    if argument.ty == Type::Boolean && argument.from == ["words"] {
        warn("a boolean is never found in words, so every call waits for a human");
    }
}

/// Sources that can never have the value: a field of one type proves nothing about a value of another.
fn unused_sources(catalogue: &Catalogue, action: &Action, name: &str, argument: &Argument, say: &mut Say<'_>) {
    let fits = |ty: Type| {
        let numbers = [Type::Money, Type::Integer];
        ty == argument.ty || (numbers.contains(&ty) && numbers.contains(&argument.ty))
    };
    for source in &argument.from {
        let Some(response) = source.strip_prefix("response:") else { continue };
        let (from, pointer) = response.split_once('#').map_or((response, None), |(from, at)| (from, Some(at)));
        let Some(fields) = catalogue.action(from).map(|action| &action.response.first_party) else { continue };
        let any = fields.iter().any(|(at, ty)| pointer.is_none_or(|pointer| pointer == at) && fits(*ty));
        if !any {
            let ty = argument.ty.as_str();
            let what = format!(
                "`{}`, argument `{name}`: `{source}` is never its source, for no first-party field there is of type `{ty}`",
                action.name
            );
            say(Level::Warning, Some(name), what);
        }
    }
}

/// Other actions that a request of this one could be, were it not for the rule that a literal wins.
fn overlaps(catalogue: &Catalogue, index: usize, action: &Action, say: &mut Say<'_>) {
    let others = catalogue.routes.overlaps(&action.route);
    for other in others.into_iter().filter(|other| *other != index).filter_map(|other| catalogue.actions.get(other)) {
        let literals = |action: &Action| {
            let path = action.route.path().unwrap_or_default();
            template(path).map(|segment| matches!(segment, Segment::Literal(_))).collect::<Vec<_>>()
        };
        // Said once, of the one that gives way.
        if literals(action) < literals(other) {
            let (name, wins) = (&action.name, &other.name);
            let effect = if action.effect == other.effect { Level::Note } else { Level::Warning };
            say(effect, None, format!("`{name}` overlaps with `{wins}`: a request that fits both is `{wins}`"));
        }
    }
}

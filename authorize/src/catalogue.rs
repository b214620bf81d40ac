//! The catalogue: what an API can do, in the words of its owner. One TOML file per upstream; `docs/catalogue.md` has the reference.

mod action;
mod ceiling;
mod check;
mod compose;
mod file;
mod intent;
mod lint;
pub(crate) mod position;
mod resolve;
mod routes;
mod uri;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

pub use self::{
    action::{Action, Argument, BodyKind, Effect, Extra, Place, Response, Risk, Route, Type},
    ceiling::Ceiling,
    compose::Composed,
    intent::{AskedIntent, Given, Intent, Parameter, Part},
    lint::{Level, Lint},
    position::Position,
    resolve::Resolved,
};
use self::{check::Wrong, position::Lines, routes::Routes};
use crate::{grant, model::ModelSettings};

/// What an upstream speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// HTTP with methods and paths.
    #[default]
    Http,
    /// The Model Context Protocol over Streamable HTTP.
    Mcp,
    /// The endpoint of a language model.
    Model,
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

impl CatalogueError {
    fn at(position: Position, message: String) -> CatalogueError {
        CatalogueError { line: position.line, column: position.column, message }
    }
}

/// Where an action and its arguments stand in the file.
#[derive(Debug, Clone)]
struct Placed {
    action: Position,
    arguments: BTreeMap<String, Position>,
}

impl Placed {
    fn of(&self, argument: Option<&str>) -> Position {
        argument.and_then(|argument| self.arguments.get(argument)).copied().unwrap_or(self.action)
    }

    fn error(&self, wrong: Wrong) -> CatalogueError {
        CatalogueError::at(self.of(wrong.argument.as_deref()), wrong.message)
    }
}

/// What an upstream can do.
#[derive(Debug, Clone)]
pub struct Catalogue {
    upstream: String,
    protocol: Protocol,
    sha256: [u8; 32],
    actions: Vec<Action>,
    intents: Vec<Intent>,
    by_name: BTreeMap<String, usize>,
    routes: Routes,
    headers: BTreeSet<String>,
    placed: Vec<Placed>,
    ceiling: Option<Arc<Ceiling>>,
    model: ModelSettings,
}

impl Catalogue {
    /// Reads a catalogue.
    ///
    /// # Errors
    /// [`CatalogueError`] with line and column.
    pub fn parse(text: &str) -> Result<Catalogue, CatalogueError> {
        let lines = Lines::new(text);
        let file: file::File = toml::from_str(text).map_err(|error| {
            let offset = error.span().map_or(0, |span| span.start);
            CatalogueError::at(lines.position(offset), error.message().to_owned())
        })?;
        check::protocol(&file).map_err(|message| CatalogueError::at(lines.position(0), message))?;
        let mut catalogue = Catalogue {
            upstream: file.upstream,
            protocol: file.protocol,
            sha256: Sha256::digest(text.as_bytes()).into(),
            actions: Vec::new(),
            intents: Vec::new(),
            by_name: BTreeMap::new(),
            routes: Routes::default(),
            headers: BTreeSet::new(),
            placed: Vec::new(),
            ceiling: None,
            model: file.model.unwrap_or_default(),
        };
        for typed in file.action {
            let offsets = typed.get_ref().offsets().into_iter();
            let placed = Placed {
                action: lines.position(typed.span().start),
                arguments: offsets.map(|(name, offset)| (name, lines.position(offset))).collect(),
            };
            let action = typed.into_inner().action(file.protocol).map_err(Wrong::from);
            action.and_then(|action| catalogue.add(action)).map_err(|wrong| placed.error(wrong))?;
            catalogue.placed.push(placed);
        }
        // Only now is every action known that a source can name.
        for (action, placed) in catalogue.actions.iter().zip(&catalogue.placed) {
            check::sources(&catalogue, action).map_err(|wrong| placed.error(wrong))?;
        }
        for intent in file.intent {
            let position = lines.position(intent.span().start);
            catalogue.add_intent(intent.into_inner()).map_err(|message| CatalogueError::at(position, message))?;
        }
        Ok(catalogue)
    }

    fn add(&mut self, action: Action) -> Result<(), Wrong> {
        check::action(&action)?;
        let (name, index) = (action.name.clone(), self.actions.len());
        if self.by_name.contains_key(&name) {
            return Err(format!("the action `{name}` is there twice; give each a name of its own").into());
        }
        let twin = |other: &&Action| other.tool.is_some() && other.tool == action.tool;
        if let Some(other) = self.actions.iter().find(twin) {
            return Err(format!("`{name}` and `{}` are the same `tool`; a proposal could be either", other.name).into());
        }
        if let Some(other) = self.routes.insert(&action.route, index)? {
            let (other, what) = (self.actions.get(other).map_or("", |other| &other.name), action.route.what());
            return Err(format!("`{name}` and `{other}` have the same {what}; a request could be either").into());
        }
        self.by_name.insert(name, index);
        let of_header = action.arguments.iter().filter(|(_, argument)| argument.place == Place::Header);
        self.headers.extend(of_header.map(|(name, argument)| argument.key(name).to_ascii_lowercase()));
        self.actions.push(action);
        Ok(())
    }

    fn add_intent(&mut self, intent: Intent) -> Result<(), String> {
        let name = &intent.name;
        let blame = |what: String| format!("the intent `{name}`: {what}");
        let mut seen = BTreeSet::new();
        if let Some(part) = intent.actions.iter().find(|part| !seen.insert(part.action())) {
            return Err(blame(format!("the action `{}` is there twice; say all limits at once", part.action())));
        }
        for sample in intent.check().map_err(blame)? {
            let action = sample.action.clone();
            grant::close_action(sample, std::iter::once(&*self))
                .map_err(|what| blame(format!("`{action}`: {what}")))?;
        }
        if self.intent(name).is_some() {
            return Err(format!("the intent `{name}` is there twice; give each a name of its own"));
        }
        self.intents.push(intent);
        Ok(())
    }

    /// The upstream's name.
    pub fn upstream(&self) -> &str {
        &self.upstream
    }

    /// What it speaks.
    pub const fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// What of a model may be used, of a model's endpoint.
    pub const fn model(&self) -> &ModelSettings {
        &self.model
    }

    /// SHA-256 of the exact bytes.
    pub const fn sha256(&self) -> &[u8; 32] {
        &self.sha256
    }

    /// The headers in which some action has an argument, in lower case.
    pub fn headers(&self) -> impl Iterator<Item = &String> {
        self.headers.iter()
    }

    /// All actions, in the order of the file.
    pub fn actions(&self) -> &[Action] {
        &self.actions
    }

    /// All intents, in the order of the file.
    pub fn intents(&self) -> &[Intent] {
        &self.intents
    }

    /// The intent of that name.
    pub fn intent(&self, name: &str) -> Option<&Intent> {
        self.intents.iter().find(|intent| intent.name == name)
    }

    /// What deserves a look, in the order of the file.
    pub fn lints(&self) -> Vec<Lint> {
        lint::lints(self)
    }

    /// The action of that name.
    pub fn action(&self, name: &str) -> Option<&Action> {
        self.actions.get(*self.by_name.get(name)?)
    }
}

#[cfg(test)]
mod tests;

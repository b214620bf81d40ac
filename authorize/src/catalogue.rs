//! The catalogue: what an API can do, in the words of its owner. One TOML file per upstream; `docs/catalogue.md` has the reference.

mod action;
mod check;
mod file;
mod intent;
mod resolve;
mod routes;
mod uri;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use self::routes::Routes;
pub use self::{
    action::{Action, Argument, BodyKind, Effect, Extra, Place, Response, Risk, Route, Type},
    intent::{AskedIntent, Given, Intent, Parameter, Part},
    resolve::Resolved,
};
use crate::grant;

/// What an upstream speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// HTTP with methods and paths.
    #[default]
    Http,
    /// The Model Context Protocol over Streamable HTTP.
    Mcp,
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
    fn at(text: &str, offset: usize, message: String) -> CatalogueError {
        let before = text.get(..offset).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        CatalogueError { line, column, message }
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
    warnings: Vec<String>,
}

impl Catalogue {
    /// Reads a catalogue.
    ///
    /// # Errors
    /// [`CatalogueError`] with line and column.
    pub fn parse(text: &str) -> Result<Catalogue, CatalogueError> {
        let file: file::File = toml::from_str(text).map_err(|error| {
            CatalogueError::at(text, error.span().map_or(0, |span| span.start), error.message().to_owned())
        })?;
        let mut catalogue = Catalogue {
            upstream: file.upstream,
            protocol: file.protocol,
            sha256: Sha256::digest(text.as_bytes()).into(),
            actions: Vec::new(),
            intents: Vec::new(),
            by_name: BTreeMap::new(),
            routes: Routes::default(),
            warnings: Vec::new(),
        };
        let mut offsets = Vec::new();
        for action in file.action {
            let offset = action.span().start;
            let added = action.into_inner().action(file.protocol).and_then(|action| catalogue.add(action));
            added.map_err(|message| CatalogueError::at(text, offset, message))?;
            offsets.push(offset);
        }
        // Only now is every action known that a source can name.
        for (action, offset) in catalogue.actions.iter().zip(offsets) {
            check::sources(&catalogue, action).map_err(|message| CatalogueError::at(text, offset, message))?;
        }
        for intent in file.intent {
            let offset = intent.span().start;
            catalogue.add_intent(intent.into_inner()).map_err(|message| CatalogueError::at(text, offset, message))?;
        }
        catalogue.warnings.extend(check::warnings(&catalogue));
        Ok(catalogue)
    }

    fn add(&mut self, action: Action) -> Result<(), String> {
        check::action(&action)?;
        let (name, index) = (action.name.clone(), self.actions.len());
        if self.by_name.contains_key(&name) {
            return Err(format!("the action `{name}` is there twice; give each a name of its own"));
        }
        if let Some(other) = self.routes.insert(&action.route, index)? {
            let (other, what) = (self.actions.get(other).map_or("", |other| &other.name), action.route.what());
            return Err(format!("`{name}` and `{other}` have the same {what}; a request could be either"));
        }
        self.by_name.insert(name, index);
        self.actions.push(action);
        Ok(())
    }

    fn add_intent(&mut self, intent: Intent) -> Result<(), String> {
        let name = &intent.name;
        let blame = |what: String| format!("the intent `{name}`: {what}");
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

    /// SHA-256 of the exact bytes.
    pub const fn sha256(&self) -> &[u8; 32] {
        &self.sha256
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

    /// What deserves a look, in words.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// The action of that name.
    pub fn action(&self, name: &str) -> Option<&Action> {
        self.actions.get(*self.by_name.get(name)?)
    }
}

#[cfg(test)]
mod tests;

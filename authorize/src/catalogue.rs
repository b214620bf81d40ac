//! The catalogue: what an API can do, in the words of its owner. One TOML file per upstream; `docs/catalogue.md` has the reference.

mod check;
mod resolve;
mod routes;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

pub use self::resolve::Resolved;
use self::routes::Routes;

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

/// How much harm an action can do, in the words of the API's owner. Nothing is decided on it yet; approvers see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Risk {
    /// Little.
    Low,
    /// Some.
    Medium,
    /// Much.
    High,
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
    /// Words; case does not count.
    Text,
    /// An identifier, a secret: equal or not, case counts.
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

impl Type {
    /// The word in the catalogue.
    pub const fn as_str(self) -> &'static str {
        match self {
            Type::Text => "text",
            Type::Identifier => "identifier",
            Type::Money => "money",
            Type::Integer => "integer",
            Type::Date => "date",
            Type::Account => "account",
            Type::Email => "email",
            Type::Url => "url",
            Type::Boolean => "boolean",
        }
    }
}

/// An argument of an action.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Argument {
    /// Where it stands.
    #[serde(rename = "in")]
    pub place: Place,
    /// The query or header name, or the pointer into the body (`*` stands for any one step, in a list); the argument's own name when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// What it is.
    #[serde(rename = "type")]
    pub ty: Type,
    /// Whether the request must have it.
    #[serde(default)]
    pub required: bool,
    /// Whether it may be a list of such values.
    #[serde(default)]
    pub list: bool,
    /// Whether it makes the act what it is (payee, amount, address, URL): then its value must come from an allowed source.
    #[serde(default)]
    pub binds: bool,
    /// Never shown outside the vault, not even to an approver.
    #[serde(default)]
    pub sensitive: bool,
    /// The currency of an amount: a code such as `GBP`, or `{argument}` that holds the code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub currency: Option<String>,
    /// Where a binding value may come from: `words`, `attached`, `host`, `response:<action>` or `response:<action>#<pointer>`.
    #[serde(default = "words")]
    pub from: Vec<String>,
}

fn words() -> Vec<String> {
    vec!["words".to_owned()]
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

    /// The argument that holds the currency, if one does.
    pub fn currency_argument(&self) -> Option<&str> {
        self.currency.as_deref()?.strip_prefix('{')?.strip_suffix('}')
    }
}

/// Which parts of a response the API itself vouches for. Everything else is content that a third party may have written.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Response {
    /// Pointer patterns (`*` stands for any one member or item) with the type of what is there.
    #[serde(default)]
    pub first_party: BTreeMap<String, Type>,
}

/// What becomes of what an action does not declare.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Extra {
    /// The request is refused.
    #[default]
    Refuse,
    /// It passes unjudged.
    Allow,
}

/// What body an action takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BodyKind {
    /// JSON with the declared arguments; none when no argument is declared in it.
    #[default]
    Json,
    /// Anything; it streams through unread, so no argument can stand in it.
    Opaque,
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
    /// How much harm it can do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub risk: Option<Risk>,
    /// What body it takes.
    #[serde(default)]
    pub body: BodyKind,
    /// What becomes of query parameters and body members that are not declared.
    #[serde(default)]
    pub extra: Extra,
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
    sha256: [u8; 32],
    actions: Vec<Action>,
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
        let file: File = toml::from_str(text).map_err(|error| {
            CatalogueError::at(text, error.span().map_or(0, |span| span.start), error.message().to_owned())
        })?;
        let mut catalogue = Catalogue {
            upstream: file.upstream,
            sha256: Sha256::digest(text.as_bytes()).into(),
            actions: Vec::new(),
            by_name: BTreeMap::new(),
            routes: Routes::default(),
            warnings: Vec::new(),
        };
        let mut offsets = Vec::new();
        for action in file.action {
            let offset = action.span().start;
            catalogue.add(action.into_inner()).map_err(|message| CatalogueError::at(text, offset, message))?;
            offsets.push(offset);
        }
        // Only now is every action known that a source can name.
        for (action, offset) in catalogue.actions.iter().zip(offsets) {
            check::sources(&catalogue, action).map_err(|message| CatalogueError::at(text, offset, message))?;
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
        if let Some(other) = self.routes.insert(&action.path, &action.method, index) {
            let other = self.actions.get(other).map_or("", |other| &other.name);
            return Err(format!("`{name}` and `{other}` have the same method and path; a request could be either"));
        }
        self.by_name.insert(name, index);
        self.actions.push(action);
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
}

#[cfg(test)]
mod tests;

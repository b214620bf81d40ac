//! What a catalogue says of one action.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

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

/// How much harm an action can do, in the words of the API's owner; approvers see it.
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
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
    /// Of an MCP action: `params.arguments`, by pointer, or a `{name}` of a resource's URI.
    #[default]
    Argument,
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

    /// What a value of it looks like, for somebody whose value was none.
    pub const fn form(self) -> &'static str {
        match self {
            Type::Money => "a decimal number, such as 98.70",
            Type::Integer => "a whole number, such as 7",
            Type::Date => "a date, such as 2026-01-31",
            Type::Boolean => "`true` or `false`",
            Type::Text => "a text",
            Type::Identifier => "a text or a number, without invisible characters",
            Type::Account | Type::Email | Type::Url => "a text without invisible characters",
        }
    }
}

/// An argument of an action.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Argument {
    /// Where it stands; said for every argument of an HTTP action, left out for MCP.
    #[serde(rename = "in", default)]
    pub place: Place,
    /// The query or header name, or the pointer into the body or the MCP arguments (`*` stands for any one step, in a list); the argument's own name when left out.
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
    /// The pointer of a body or MCP argument named `name`.
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

/// Which parts of a response the API itself vouches for, all else being content that a third party may have written; and what of it is seen.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Response {
    /// Pointer patterns (`*` stands for any one member or item) with the type of what is there.
    #[serde(default)]
    pub first_party: BTreeMap<String, Type>,
    /// Named views: the pointer patterns of what a grant with that view sees of the answer, with all that is below.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub views: BTreeMap<String, Vec<String>>,
    /// The view of grants that name none; without it they see everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub view: Option<String>,
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

/// How an action is called. One request has one route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// An HTTP request.
    Http {
        /// The method, in capitals.
        method: String,
        /// The path, with `{argument}` segments.
        path: String,
    },
    /// MCP `tools/call` of this tool.
    Tool(String),
    /// MCP `resources/read` of this URI, in which `{argument}` stands for a part without `/`, `?`, `#` and `&`, and `{+argument}` at its end for
    /// several such parts.
    Resource(String),
    /// MCP `prompts/get` of this prompt.
    Prompt(String),
}

impl Route {
    /// What makes it one of its kind, for people.
    pub(super) const fn what(&self) -> &'static str {
        match self {
            Route::Http { .. } => "method and path",
            Route::Tool(_) => "tool",
            Route::Resource(_) => "resource",
            Route::Prompt(_) => "prompt",
        }
    }

    /// The HTTP method, of an HTTP action.
    pub fn method(&self) -> Option<&str> {
        match self {
            Route::Http { method, .. } => Some(method),
            Route::Tool(_) | Route::Resource(_) | Route::Prompt(_) => None,
        }
    }

    /// The path template, of an HTTP action.
    pub(super) fn path(&self) -> Option<&str> {
        match self {
            Route::Http { path, .. } => Some(path),
            Route::Tool(_) | Route::Resource(_) | Route::Prompt(_) => None,
        }
    }
}

/// For people: `POST /payments`, `tool send_money`.
impl std::fmt::Display for Route {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Route::Http { method, path } => write!(f, "{method} {path}"),
            Route::Tool(name) => write!(f, "tool {name}"),
            Route::Resource(uri) => write!(f, "resource {uri}"),
            Route::Prompt(name) => write!(f, "prompt {name}"),
        }
    }
}

/// One thing that the API can do.
#[derive(Debug, Clone, PartialEq)]
pub struct Action {
    /// Its name, such as `accounts.balance.read`.
    pub name: String,
    /// What it does, for people.
    pub description: String,
    /// How it is called.
    pub route: Route,
    /// Of an HTTP action: the name of the tool as which agents offer it to a model.
    pub tool: Option<String>,
    /// What it does to the world.
    pub effect: Effect,
    /// How much harm it can do.
    pub risk: Option<Risk>,
    /// Whether a call that is under way is cut when its grant, agent, principal or action is withdrawn. Left alone, it ends.
    pub abort_on_revoke: bool,
    /// Whether the verdict on it is recorded and not enforced.
    pub shadow: bool,
    /// Whether the API takes a request with the same `Idempotency-Key` for the same one, so that it may be sent again.
    pub idempotency_key: bool,
    /// How many approvers must say yes when a call of it is held.
    pub approvals: u32,
    /// Whether a server of MCP may ask the agent's side in the middle of it (elicitation, sampling, roots), and gets values for an answer.
    pub asks: bool,
    /// What body it takes.
    pub body: BodyKind,
    /// What becomes of query parameters, and of members of body or MCP arguments, that are not declared.
    pub extra: Extra,
    /// Its arguments. A request with others is refused.
    pub arguments: BTreeMap<String, Argument>,
    /// What of its response can be trusted.
    pub response: Response,
    /// SHA-256 of what an MCP server said of it when it was imported, in hexadecimal digits.
    pub definition: Option<String>,
}

//! The file as typed.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Action, Argument, BodyKind, Effect, Extra, Intent, Protocol, Response, Risk, Route};
use crate::model::ModelSettings;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub(super) upstream: String,
    #[serde(default)]
    pub(super) protocol: Protocol,
    #[serde(default)]
    pub(super) action: Vec<toml::Spanned<Typed>>,
    #[serde(default)]
    pub(super) intent: Vec<toml::Spanned<Intent>>,
    pub(super) model: Option<ModelSettings>,
}

/// An action as typed; which of its keys belong together is checked when it becomes an [`Action`].
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Typed {
    name: String,
    #[serde(default)]
    description: String,
    method: Option<String>,
    path: Option<String>,
    tool: Option<String>,
    resource: Option<String>,
    prompt: Option<String>,
    effect: Effect,
    risk: Option<Risk>,
    #[serde(default)]
    abort_on_revoke: bool,
    #[serde(default = "one")]
    approvals: u32,
    #[serde(default)]
    shadow: bool,
    #[serde(default)]
    idempotency_key: bool,
    #[serde(default)]
    asks: bool,
    #[serde(default)]
    body: BodyKind,
    #[serde(default)]
    extra: Extra,
    #[serde(default)]
    arguments: BTreeMap<String, toml::Spanned<Argument>>,
    #[serde(default)]
    response: Response,
    definition: Option<String>,
}

const fn one() -> u32 {
    1
}

impl Typed {
    /// The byte offset of each argument.
    pub(super) fn offsets(&self) -> BTreeMap<String, usize> {
        self.arguments.iter().map(|(name, argument)| (name.clone(), argument.span().start)).collect()
    }

    pub(super) fn action(self, protocol: Protocol) -> Result<Action, String> {
        let name = &self.name;
        let called = self.tool.clone().filter(|_| self.path.is_some());
        let route = match (self.method, self.path, self.tool, self.resource, self.prompt) {
            (Some(method), Some(path), _, None, None) => Route::Http { method, path },
            (None, None, Some(tool), None, None) => Route::Tool(tool),
            (None, None, None, Some(uri), None) => Route::Resource(uri),
            (None, None, None, None, Some(prompt)) => Route::Prompt(prompt),
            (Some(_), None, ..) => return Err(format!("`{name}`: it has a `method` but no `path`")),
            (None, Some(_), ..) => return Err(format!("`{name}`: it has a `path` but no `method`")),
            _ => {
                return Err(format!(
                    "`{name}`: how is it called? Give it either `method` and `path`, or one of `tool`, `resource` and `prompt`"
                ));
            }
        };
        let of_http = matches!(route, Route::Http { .. });
        match protocol {
            Protocol::Http if !of_http => {
                return Err(format!("`{name}` is of MCP; a catalogue of MCP begins with `protocol = \"mcp\"`"));
            }
            Protocol::Mcp if of_http => {
                return Err(format!("`{name}` has a method and a path, but the catalogue says `protocol = \"mcp\"`"));
            }
            Protocol::Http | Protocol::Mcp | Protocol::Model => {}
        }
        if !of_http && self.idempotency_key {
            return Err(format!("`{name}`: only an action with a method and a path has an `idempotency_key`"));
        }
        if of_http && self.asks {
            return Err(format!("`{name}`: only a server of MCP `asks`"));
        }
        Ok(Action {
            name: self.name,
            description: self.description,
            route,
            tool: called,
            effect: self.effect,
            risk: self.risk,
            abort_on_revoke: self.abort_on_revoke,
            shadow: self.shadow,
            idempotency_key: self.idempotency_key,
            approvals: self.approvals,
            asks: self.asks,
            body: self.body,
            extra: self.extra,
            arguments: self.arguments.into_iter().map(|(name, argument)| (name, argument.into_inner())).collect(),
            response: self.response,
            definition: self.definition,
        })
    }
}

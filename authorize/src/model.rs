//! The endpoint of a language model: OpenAI's chat completions and responses, Anthropic's messages. The agent asks through the gateway, so what the
//! model was told, and what it proposed, is observed and need not be believed.
//!
//! Reading order: [`read`] takes a request in → [`prompt`] finds the user's and the tools' words in it → [`compare`] holds them against what was
//! observed ([`heard`]) → [`answer`] reads what comes back, plain or streamed → [`tools`] says which action a proposed call is, and whether a
//! call that follows is the proposed one. All of it is pure.

pub mod answer;
pub mod compare;
pub mod heard;
pub mod prompt;
pub mod tools;

mod same;
mod settings;
mod stream;

pub use self::settings::ModelSettings;
use crate::{
    Json, Refusal,
    request::{Body, Operation, Request},
};

/// The action of asking a model.
pub const GENERATE: &str = "model.generate";

/// The action of listing the models.
pub const LIST: &str = "model.list";

/// Which API of a model a request is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Api {
    /// `POST /v1/chat/completions`.
    Chat,
    /// `POST /v1/responses`.
    Responses,
    /// `POST /v1/messages`.
    Messages,
}

impl Api {
    /// The word in the record.
    pub const fn as_str(self) -> &'static str {
        match self {
            Api::Chat => "chat-completions",
            Api::Responses => "responses",
            Api::Messages => "messages",
        }
    }

    /// The API that a path is of.
    pub fn of(target: &str) -> Option<Api> {
        match target.split('?').next()? {
            "/v1/chat/completions" => Some(Api::Chat),
            "/v1/responses" => Some(Api::Responses),
            "/v1/messages" => Some(Api::Messages),
            _ => None,
        }
    }
}

/// Whether a header is one that the providers' own clients send and that passes: it tells who made the client, which version of the API is meant,
/// and on whose account.
pub fn passes(header: &str) -> bool {
    ["x-stainless-", "anthropic-", "openai-"].iter().any(|start| header.starts_with(start))
}

/// Reads a request to a model's endpoint.
///
/// # Errors
/// [`Refusal`] when it is none of those that pass.
pub fn read(http: Request) -> Result<Request, Refusal> {
    let path = http.target().split('?').next().unwrap_or_default();
    let api = Api::of(path);
    // What Anthropic's client adds when a feature is new.
    let is_beta = |(name, value): &(String, String)| api == Some(Api::Messages) && name == "beta" && value == "true";
    if let Some((name, _)) = http.query().iter().find(|pair| !is_beta(pair)) {
        let message = format!("the query parameter `{name}` is none of a model's endpoint");
        return Err(Refusal::new("argument-unknown", message));
    }
    match (http.method().as_str(), api, http.body()) {
        ("POST", Some(_), Body::Json(Json::Object(_), _)) => Ok(http.with_operation(Operation::Model)),
        ("POST", Some(_), _) => Err(Refusal::new("body-not-json", "a model is asked with a JSON object")),
        ("GET", None, Body::Empty) if path == "/v1/models" => Ok(http.with_operation(Operation::Models)),
        (method, _, _) => {
            let message = format!(
                "`{method} {path}` does not pass to a model's endpoint; `POST /v1/chat/completions`, `/v1/responses`, `/v1/messages` and `GET /v1/models` do"
            );
            Err(Refusal::new("action-unknown", message))
        }
    }
}

/// A member that is a text.
fn text<'j>(json: &'j Json, name: &str) -> Option<&'j str> {
    match json.member(name) {
        Some(Json::String(text)) => Some(text),
        _ => None,
    }
}

/// The items of a member that is a list.
fn items<'j>(json: &'j Json, name: &str) -> &'j [Json] {
    match json.member(name) {
        Some(Json::Array(items)) => items,
        _ => &[],
    }
}

/// A member that is a whole number.
fn whole(json: &Json, name: &str) -> Option<u64> {
    match json.member(name) {
        Some(Json::Number(text)) => text.parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests;

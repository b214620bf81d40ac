//! Asks a model for a scope: one request to an OpenAI-compatible chat endpoint, bounded in time and size. Whatever goes wrong, there is no proposal.

use std::time::Duration;

use bytes::Bytes;
use countersign_authorize::{catalogue::Catalogue, grant::Scope, propose};
use data_encoding::HEXLOWER;
use http::{HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use crate::{
    error::full,
    settings,
    upstream::{Upstream, UpstreamError},
};

/// The most bytes of an answer.
const MAX_ANSWER_BYTES: usize = 256 << 10;

/// Why there is no proposal.
#[derive(Debug, thiserror::Error)]
pub enum ProposeError {
    /// The endpoint cannot be reached, or the connection broke.
    #[error("the proposer cannot be reached: {0}")]
    Unreachable(String),
    /// It took too long.
    #[error("the proposer gave no answer within {0:?}")]
    Timeout(Duration),
    /// It answered with another status than 200.
    #[error("the proposer answered with status {0}")]
    Status(StatusCode),
    /// It answered too much.
    #[error("the proposer's answer has more than {MAX_ANSWER_BYTES} bytes")]
    Oversize,
    /// The answer is not what such an endpoint answers.
    #[error("the proposer's answer cannot be read: {0}")]
    Malformed(String),
    /// The model would not.
    #[error("the model refused")]
    Refused,
    /// What it proposes is no proposal.
    #[error("what the model proposes is no scope: {0}")]
    Proposal(String),
}

impl ProposeError {
    /// The reason as the instruction's entry has it.
    pub const fn code(&self) -> &'static str {
        match self {
            ProposeError::Unreachable(_) => "unreachable",
            ProposeError::Timeout(_) => "timeout",
            ProposeError::Status(_) => "status",
            ProposeError::Oversize => "oversize",
            ProposeError::Malformed(_) => "malformed",
            ProposeError::Refused => "refused",
            ProposeError::Proposal(_) => "unusable",
        }
    }
}

/// No proposal, with what there is of it.
#[derive(Debug)]
pub struct Unproposed {
    /// Why.
    pub error: ProposeError,
    /// The model as it was asked for.
    pub model: String,
    /// For the vault: as of a proposal, as far as it came, and the error.
    pub record: Value,
}

/// What a model proposed, and how it came to be.
#[derive(Debug)]
pub struct Proposed {
    /// The scope.
    pub scope: Scope,
    /// The model as it was asked for.
    pub model: String,
    /// For the vault: the model as it named itself, the prompt's digest, the proposal as it came.
    pub record: Value,
}

/// A model that proposes scopes.
pub struct Proposer {
    settings: settings::Proposer,
    upstream: Upstream,
}

impl Proposer {
    /// Sets it up; connects to nobody yet.
    ///
    /// # Errors
    /// [`UpstreamError`].
    pub fn new(settings: settings::Proposer) -> Result<Proposer, UpstreamError> {
        let upstream = Upstream::new(settings.upstream.clone())?;
        Ok(Proposer { settings, upstream })
    }

    /// Names of actions that may be proposed for a host and principal; `None`: all of the catalogue.
    pub fn allowed(&self, host: &str, principal: &str) -> Option<Vec<String>> {
        let is = |wanted: &Option<String>, name: &str| wanted.as_deref().is_none_or(|wanted| wanted == name);
        let rows = self.settings.allow.iter().filter(|row| is(&row.host, host) && is(&row.principal, principal));
        let allowed = rows.flat_map(|row| row.actions.iter().cloned()).collect();
        (!self.settings.allow.is_empty()).then_some(allowed)
    }

    /// Asks for a scope. The model sees the user's words and the catalogue; attachments only where the settings say so; nothing that any tool said.
    ///
    /// # Errors
    /// [`Unproposed`].
    pub async fn propose<'c>(
        &self,
        words: &str,
        attached: &[String],
        catalogues: impl Iterator<Item = &'c Catalogue>,
    ) -> Result<Proposed, Unproposed> {
        let mut asked = json!({ "words": words, "catalogue": propose::shown(catalogues) });
        if let (true, Some(asked)) = (self.settings.attachments && !attached.is_empty(), asked.as_object_mut()) {
            asked.insert("attached".to_owned(), json!(attached));
        }
        let prompt = json!({
            "model": self.settings.model,
            "messages": [{ "role": "system", "content": propose::TASK }, { "role": "user", "content": asked.to_string() }],
            "response_format": { "type": "json_schema", "json_schema": { "name": "countersign_scope", "strict": true, "schema": propose::schema() } },
        })
        .to_string();
        let digest = HEXLOWER.encode(&Sha256::digest(prompt.as_bytes()));
        let (mut record, model) = (Map::new(), self.settings.model.clone());
        record.insert("prompt_sha256".to_owned(), Value::from(digest));
        match self.scope(prompt, &mut record).await {
            Ok(scope) => Ok(Proposed { scope, model, record: Value::Object(record) }),
            Err(error) => {
                record.insert("error".to_owned(), Value::from(error.to_string()));
                Err(Unproposed { error, model, record: Value::Object(record) })
            }
        }
    }

    /// The scope that is proposed; what came goes into the record before anything is made of it.
    async fn scope(&self, prompt: String, record: &mut Map<String, Value>) -> Result<Scope, ProposeError> {
        let answer = tokio::time::timeout(self.settings.timeout, self.ask(prompt)).await;
        let answer = answer.map_err(|_| ProposeError::Timeout(self.settings.timeout))??;
        let (model, content) = content(&answer)?;
        record.insert("model".to_owned(), json!(model));
        record.insert("proposal".to_owned(), Value::from(content.as_str()));
        propose::read(&content).map_err(ProposeError::Proposal)
    }

    async fn ask(&self, prompt: String) -> Result<Bytes, ProposeError> {
        let fail = |error: &dyn std::fmt::Display| ProposeError::Unreachable(error.to_string());
        let uri = self.upstream.uri("").map_err(|error| fail(&error))?;
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(uri)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ACCEPT, "application/json");
        if let Some((name, value)) =
            self.settings.upstream.credential.as_ref().and_then(|one| Some((one.header(), one.value()?)))
        {
            request = request.header(name, value);
        }
        let request = request.body(full(prompt)).map_err(|error| fail(&error))?;
        let response = self.upstream.call(request, |_| {}).await.map_err(|error| fail(&error))?;
        // A redirect is a status like any other: it is not followed.
        if response.status() != StatusCode::OK {
            return Err(ProposeError::Status(response.status()));
        }
        let identity = response
            .headers()
            .get(header::CONTENT_ENCODING)
            .is_none_or(|one| *one == HeaderValue::from_static("identity"));
        if !identity {
            return Err(ProposeError::Malformed("it is encoded although that was not asked for".to_owned()));
        }
        match Limited::new(response.into_body(), MAX_ANSWER_BYTES).collect().await {
            Ok(body) => Ok(body.to_bytes()),
            Err(error) if error.is::<LengthLimitError>() => Err(ProposeError::Oversize),
            Err(error) => Err(fail(&error)),
        }
    }
}

/// The model's name and text in the answer of a chat endpoint.
pub fn content(answer: &[u8]) -> Result<(Option<String>, String), ProposeError> {
    let wrong = |what: &str| ProposeError::Malformed(what.to_owned());
    let answer: Value = serde_json::from_slice(answer).map_err(|error| wrong(&error.to_string()))?;
    let choices = answer.get("choices").and_then(Value::as_array).ok_or_else(|| wrong("there are no `choices`"))?;
    let [choice] = choices.as_slice() else { return Err(wrong("there must be one choice")) };
    let message = choice.get("message").ok_or_else(|| wrong("there is no `message`"))?;
    if message.get("refusal").is_some_and(|refusal| !refusal.is_null()) {
        return Err(ProposeError::Refused);
    }
    match choice.get("finish_reason").and_then(Value::as_str) {
        None | Some("stop") => {}
        Some("content_filter") => return Err(ProposeError::Refused),
        Some(_) => return Err(wrong("it ended before it was complete")),
    }
    let content = message.get("content").and_then(Value::as_str).ok_or_else(|| wrong("there is no `content`"))?;
    Ok((answer.get("model").and_then(Value::as_str).map(str::to_owned), content.to_owned()))
}

//! `[model]` of a catalogue: what of a model may be used under one instruction.

use serde::{Deserialize, Serialize};

use super::{Api, text, whole};
use crate::{Refusal, request::Request};

/// Limits on asking a model. Left out, any live grant may ask, as often as it likes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ModelSettings {
    /// The models that may be asked for; `*` stands for anything. All, when empty.
    pub models: Vec<String>,
    /// How often a model may be asked under one instruction.
    pub max_calls: Option<u64>,
    /// How long an answer may be, in tokens: a request must say at most so many.
    pub max_output_tokens: Option<u64>,
    /// Whether prompts and answers are kept in the vault; else their digests only.
    pub keep: bool,
}

impl Default for ModelSettings {
    fn default() -> ModelSettings {
        ModelSettings { models: Vec::new(), max_calls: None, max_output_tokens: None, keep: true }
    }
}

impl ModelSettings {
    /// Whether a request keeps to what of it stands in the request itself.
    ///
    /// # Errors
    /// [`Refusal`] with the limit that it does not keep.
    pub fn check(&self, request: &Request) -> Result<(), Refusal> {
        let (Some(body), Some(api)) = (request.json(), Api::of(request.target())) else { return Ok(()) };
        let model = text(body, "model").unwrap_or_default();
        if !self.models.is_empty() && !self.models.iter().any(|pattern| fits(pattern, model)) {
            let message = format!("the model `{model}` is none of {}", self.models.join(", "));
            return Err(Refusal::new("model-not-allowed", message));
        }
        let Some(limit) = self.max_output_tokens else { return Ok(()) };
        let members: &[&str] = match api {
            Api::Chat => &["max_completion_tokens", "max_tokens"],
            Api::Responses => &["max_output_tokens"],
            Api::Messages => &["max_tokens"],
        };
        let said: Vec<_> = members.iter().filter(|member| body.member(member).is_some()).collect();
        let kept = |member: &&&str| whole(body, member).is_some_and(|tokens| tokens <= limit);
        if said.is_empty() || !said.iter().all(kept) {
            let message = format!("an answer may have {limit} tokens; say so in `{}`", members.join("` or `"));
            return Err(Refusal::new("output-tokens", message));
        }
        Ok(())
    }
}

/// Whether a name fits a pattern in which `*` stands for anything.
fn fits(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| name.strip_prefix(first)) else { return false };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        let Some((_, behind)) = rest.split_once(part) else { return false };
        rest = behind;
    }
    rest.ends_with(last)
}

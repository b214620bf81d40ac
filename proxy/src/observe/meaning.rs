//! What a call is in the words of OpenTelemetry: of HTTP, of MCP, of a language model. Only words that the protocol, the catalogue or this program has.

use std::borrow::Cow;

use countersign_authorize::{
    grant::Grant,
    mcp,
    model::Api,
    request::{Operation, Request},
    verdict::Judgement,
};
use opentelemetry::KeyValue;

/// The longest name of a model that is repeated.
const MAX_MODEL: usize = 64;

/// What a call is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Meaning {
    /// The message of MCP.
    mcp: Option<Cow<'static, str>>,
    /// The version of MCP.
    version: Option<&'static str>,
    /// Whether it calls a tool.
    tool: bool,
    /// Of which kind the model's API is.
    model: Option<&'static str>,
}

impl Meaning {
    /// Of a request that has one reading.
    pub(crate) fn of(request: Option<&Request>) -> Meaning {
        let Some(request) = request else { return Meaning::default() };
        let operation = request.operation();
        let mcp = match operation {
            Operation::Http | Operation::Models | Operation::Model => None,
            // INVARIANT: its target is the method, one of the protocol's own; any other is refused before it is here.
            Operation::Plumbing => Some(Cow::Owned(request.target().to_owned())),
            Operation::Tool => Some("tools/call".into()),
            Operation::Resource => Some("resources/read".into()),
            Operation::Prompt => Some("prompts/get".into()),
        };
        let said = request.header("mcp-protocol-version").ok().flatten().filter(|_| mcp.is_some());
        let version = mcp::VERSIONS.into_iter().find(|known| Some(*known) == said);
        let model = Api::of(request.target()).filter(|_| operation == Operation::Model).map(|api| match api {
            Api::Messages => "anthropic",
            Api::Chat | Api::Responses => "openai",
        });
        Meaning { mcp, version, tool: operation == Operation::Tool, model }
    }

    /// The name of the call's span. `action` is the catalogue's.
    pub(super) fn name(&self, method: &'static str, action: Option<&str>) -> String {
        let first = match (&self.mcp, self.model) {
            (Some(mcp), _) => mcp,
            (None, Some(_)) => return "chat".to_owned(),
            (None, None) => method,
        };
        action.map_or_else(|| first.to_owned(), |action| format!("{first} {action}"))
    }

    /// The attributes of the call's span.
    pub(super) fn attributes(&self, action: Option<&str>) -> Vec<KeyValue> {
        let mut of = Vec::new();
        of.extend(self.mcp.as_ref().map(|mcp| KeyValue::new("mcp.method.name", mcp.to_string())));
        of.extend(self.version.map(|version| KeyValue::new("mcp.protocol.version", version)));
        if self.tool {
            of.push(KeyValue::new("gen_ai.operation.name", "execute_tool"));
            of.extend(action.map(|action| KeyValue::new("gen_ai.tool.name", action.to_owned())));
        }
        if let Some(provider) = self.model {
            of.push(KeyValue::new("gen_ai.operation.name", "chat"));
            of.push(KeyValue::new("gen_ai.provider.name", provider));
        }
        of
    }
}

/// What a model's answer says of itself.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Answered<'a> {
    /// The model that it names.
    pub(crate) model: Option<&'a str>,
    /// Tokens in and out.
    pub(crate) tokens: Option<[u64; 2]>,
}

impl Answered<'_> {
    pub(super) fn attributes(&self) -> Vec<KeyValue> {
        // A name, and nothing that could be a sentence.
        let plain = |name: &&str| {
            name.len() <= MAX_MODEL
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._:/@".contains(&byte))
        };
        let mut of = Vec::new();
        of.extend(self.model.filter(plain).map(|model| KeyValue::new("gen_ai.response.model", model.to_owned())));
        if let Some([input, output]) = self.tokens {
            let number = |number| i64::try_from(number).unwrap_or(i64::MAX);
            of.push(KeyValue::new("gen_ai.usage.input_tokens", number(input)));
            of.push(KeyValue::new("gen_ai.usage.output_tokens", number(output)));
        }
        of
    }
}

/// What share of the action's budget is used after an allowed call.
pub(crate) fn share(grant: &Grant, judgement: &Judgement) -> Option<f64> {
    let action = judgement.action.as_deref()?;
    let budget = grant.actions.get(action)?.budget.as_ref()?;
    let limit: f64 = budget.limit.parse().ok()?;
    let spent: f64 = judgement.usage.as_ref()?.spent.get(action)?.to_string().parse().ok()?;
    (limit > 0.0).then(|| spent / limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_is_named_only_by_what_can_be_a_name() {
        let of = |model| Answered { model: Some(model), tokens: None }.attributes().len();
        assert_eq!(of("gpt-4.1-mini-2025-04-14"), 1);
        assert_eq!(of("vendor/model:7b@q4"), 1);
        assert_eq!(of("Emma's rent is 950 EUR"), 0);
        assert_eq!(of(&"x".repeat(65)), 0);
    }

    #[test]
    fn a_span_is_named_by_what_the_protocol_and_the_catalogue_say() {
        let http = Meaning::default();
        assert_eq!(http.name("POST", Some("send_money")), "POST send_money");
        assert_eq!(http.name("GET", None), "GET");
        let tool = Meaning { mcp: Some("tools/call".into()), tool: true, ..Meaning::default() };
        assert_eq!(tool.name("POST", Some("add")), "tools/call add");
        let names: Vec<String> = tool.attributes(Some("add")).iter().map(|of| of.key.to_string()).collect();
        assert_eq!(names, ["mcp.method.name", "gen_ai.operation.name", "gen_ai.tool.name"]);
        assert_eq!(
            Meaning { model: Some("openai"), ..Meaning::default() }.name("POST", Some("model.generate")),
            "chat"
        );
    }
}

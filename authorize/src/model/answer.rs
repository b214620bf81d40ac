//! What a model answered: which model it says it is, why it ended, what it said, and each call of a tool that it proposes. Read whole or, of a stream,
//! event by event as they pass; memory is bounded, and what cannot be read says so and breaks nothing.

use serde::Serialize;

use super::{Api, items, stream, text, whole};
use crate::Json;

/// Nesting of JSON that is read.
const DEPTH: usize = 128;

/// The most calls that are read of one answer.
const MAX_CALLS: usize = 256;

/// How well an answer could be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// To its end.
    Whole,
    /// It broke off; what came before was read.
    #[default]
    Partial,
    /// It is no answer of this API, or longer than is read.
    Unreadable,
    /// The API says that it failed.
    Error,
}

impl State {
    /// The word in the record.
    pub const fn as_str(self) -> &'static str {
        match self {
            State::Whole => "whole",
            State::Partial => "partial",
            State::Unreadable => "unreadable",
            State::Error => "error",
        }
    }
}

/// A call of a tool that the model proposes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Proposed {
    /// The id that the model gave it.
    pub id: String,
    /// The tool.
    pub tool: String,
    /// Its arguments as the model wrote them: JSON, if they are whole.
    pub arguments: String,
}

impl Proposed {
    /// The arguments as JSON; none at all are an empty object. None when they are no JSON.
    pub fn json(&self) -> Option<Json> {
        if self.arguments.trim().is_empty() {
            return Some(Json::Object(Vec::new()));
        }
        Json::parse_response(self.arguments.as_bytes(), DEPTH).ok()
    }
}

/// An answer as it was read.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Reading {
    /// How well it could be read.
    pub state: State,
    /// Its id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The model that it names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Why it ended, in the API's word.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finish: Option<String>,
    /// Tokens of the prompt and of the answer, as the API counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<[u64; 2]>,
    /// What it says.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub text: String,
    /// The calls that it proposes, in order.
    pub calls: Vec<Proposed>,
    /// What the provider's own tools did, by their type.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hosted: Vec<String>,
    /// What is wrong with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
}

impl Reading {
    /// Notes that it cannot be read further.
    pub(super) fn fail(&mut self, state: State, why: impl Into<String>) {
        self.state = state;
        self.trouble.get_or_insert_with(|| why.into());
    }

    pub(super) fn propose(&mut self, id: Option<&str>, tool: Option<&str>, arguments: String) {
        if self.calls.len() >= MAX_CALLS {
            return self.fail(State::Unreadable, format!("it proposes more than {MAX_CALLS} calls"));
        }
        let (id, tool) = (id.unwrap_or_default().to_owned(), tool.unwrap_or_default().to_owned());
        self.calls.push(Proposed { id, tool, arguments });
    }

    /// What every form of an answer says of itself.
    pub(super) fn head(&mut self, answer: &Json) {
        for (name, to) in [("id", &mut self.id), ("model", &mut self.model)] {
            if let Some(said) = text(answer, name).filter(|said| !said.is_empty()) {
                *to = Some(said.chars().take(256).collect());
            }
        }
        if let Some(usage) = answer.member("usage") {
            let count = |names: [&str; 2]| names.iter().find_map(|name| whole(usage, name));
            let [asked, said] = self.tokens.unwrap_or_default();
            let tokens = [
                count(["prompt_tokens", "input_tokens"]).unwrap_or(asked),
                count(["completion_tokens", "output_tokens"]).unwrap_or(said),
            ];
            self.tokens = Some(tokens).filter(|tokens| *tokens != [0, 0]).or(self.tokens);
        }
    }

    pub(super) fn finish(&mut self, why: Option<&str>) {
        self.finish = why.map(str::to_owned).or_else(|| self.finish.take());
    }
}

/// Reads an answer.
#[derive(Debug)]
pub struct Reader {
    stream: stream::Stream,
    api: Api,
}

impl Reader {
    /// Of an API; `limit` bounds what is kept of it, in bytes.
    pub fn new(api: Api, limit: usize) -> Reader {
        Reader { stream: stream::Stream::new(limit), api }
    }

    /// Reads the data of one event of a stream.
    pub fn event(&mut self, data: &[u8]) {
        self.stream.event(self.api, data);
    }

    /// Whether the event came with which an agent takes the answer for finished: from here on the rest is held until what it proposes is on record.
    pub const fn is_finishing(&self) -> bool {
        self.stream.is_finishing()
    }

    /// Whether nothing more comes.
    pub const fn is_over(&self) -> bool {
        self.stream.is_over()
    }

    /// Notes that an event was too long to be read.
    pub fn too_long(&mut self) {
        self.stream.too_long();
    }

    /// What was read of the stream.
    pub fn end(self) -> Reading {
        self.stream.end()
    }
}

/// Reads an answer that is not streamed. `ok` says whether its status is a good one.
pub fn read(api: Api, body: &[u8], ok: bool) -> Reading {
    let mut reading = Reading::default();
    let answer = match Json::parse_response(body, DEPTH) {
        Ok(answer @ Json::Object(_)) => answer,
        Ok(_) => {
            reading.fail(State::Unreadable, "it is no JSON object");
            return reading;
        }
        Err(refusal) => {
            reading.fail(State::Unreadable, refusal.message);
            return reading;
        }
    };
    if !ok {
        reading.fail(State::Error, error(&answer));
        return reading;
    }
    let known = match api {
        Api::Chat => chat(&mut reading, &answer),
        Api::Responses => response(&mut reading, &answer),
        Api::Messages => message(&mut reading, &answer),
    };
    if !known {
        reading.fail(State::Unreadable, "it is no answer of this API");
    } else if reading.trouble.is_none() {
        reading.state = State::Whole;
    }
    reading
}

/// What an error says of itself.
pub(super) fn error(answer: &Json) -> String {
    let error = answer.member("error").unwrap_or(answer);
    let said = text(error, "message").or_else(|| text(error, "type")).unwrap_or("the API gave an error");
    said.chars().take(500).collect()
}

/// The arguments of a function's call: a text, or JSON where a server takes it less strictly.
pub(super) fn arguments(value: Option<&Json>) -> String {
    match value {
        None | Some(Json::Null) => String::new(),
        Some(Json::String(text)) => text.clone(),
        Some(value) => value.to_text(),
    }
}

/// Text in a member that is a text, or a list of parts.
pub(super) fn content(value: Option<&Json>, to: &mut String) {
    match value {
        Some(Json::String(text)) => to.push_str(text),
        Some(Json::Array(parts)) => parts.iter().for_each(|part| to.push_str(text(part, "text").unwrap_or_default())),
        _ => {}
    }
}

fn chat(reading: &mut Reading, answer: &Json) -> bool {
    reading.head(answer);
    for choice in items(answer, "choices") {
        reading.finish(text(choice, "finish_reason"));
        let Some(message) = choice.member("message") else { continue };
        content(message.member("content"), &mut reading.text);
        content(message.member("refusal"), &mut reading.text);
        for call in items(message, "tool_calls") {
            let function = call.member("function").or_else(|| call.member("custom")).unwrap_or(call);
            let arguments = arguments(function.member("arguments").or_else(|| function.member("input")));
            reading.propose(text(call, "id"), text(function, "name"), arguments);
        }
        if let Some(function @ Json::Object(_)) = message.member("function_call") {
            reading.propose(text(function, "name"), text(function, "name"), arguments(function.member("arguments")));
        }
    }
    matches!(answer.member("choices"), Some(Json::Array(_)))
}

/// A whole response, which is also what the last event of a stream has.
pub(super) fn response(reading: &mut Reading, answer: &Json) -> bool {
    reading.head(answer);
    reading.finish(text(answer, "status"));
    items(answer, "output").iter().for_each(|item| output(reading, item));
    matches!(answer.member("output"), Some(Json::Array(_)))
}

/// One item of a response's output.
pub(super) fn output(reading: &mut Reading, item: &Json) {
    match text(item, "type") {
        Some("function_call") => {
            reading.propose(text(item, "call_id"), text(item, "name"), arguments(item.member("arguments")));
        }
        Some("custom_tool_call") => {
            reading.propose(text(item, "call_id"), text(item, "name"), arguments(item.member("input")));
        }
        Some("message") => content(item.member("content"), &mut reading.text),
        Some(kind) if kind.ends_with("_call") => reading.hosted.push(kind.chars().take(64).collect()),
        _ => {}
    }
}

fn message(reading: &mut Reading, answer: &Json) -> bool {
    reading.head(answer);
    reading.finish(text(answer, "stop_reason"));
    for block in items(answer, "content") {
        match text(block, "type") {
            Some("text") => reading.text.push_str(text(block, "text").unwrap_or_default()),
            Some("tool_use") => {
                reading.propose(text(block, "id"), text(block, "name"), arguments(block.member("input")));
            }
            Some(kind @ ("server_tool_use" | "mcp_tool_use")) => reading.hosted.push(kind.to_owned()),
            _ => {}
        }
    }
    matches!(answer.member("content"), Some(Json::Array(_)))
}

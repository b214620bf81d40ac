//! What of a request to a model are the user's words, and what are results of tools, in each of the APIs.

use super::{Api, items, text};
use crate::Json;

/// What a model is told, as far as it can be compared with what was observed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Prompt {
    /// What is said in the user's name, with the pointer to where it stands.
    pub user: Vec<Said>,
    /// What is said to be the results of tools.
    pub results: Vec<Result>,
    /// The earlier answer that this request goes on from, when the provider keeps the conversation.
    pub previous: Option<String>,
    /// Tools that the provider runs itself, by their type: what they do is in no record.
    pub hosted: Vec<String>,
}

/// A text and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// A pointer into the request's body.
    pub at: String,
    /// The text.
    pub text: String,
}

/// The result of a tool as the model is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Result {
    /// A pointer into the request's body.
    pub at: String,
    /// The id of the proposed call that it answers.
    pub id: Option<String>,
    /// The text; none when there is something else than text.
    pub text: Option<String>,
}

impl Prompt {
    /// Finds them in a request's body.
    pub fn of(api: Api, body: &Json) -> Prompt {
        let mut prompt = Prompt::default();
        match api {
            Api::Chat => prompt.chat(body),
            Api::Responses => prompt.responses(body),
            Api::Messages => prompt.messages(body),
        }
        let functions = ["function", "custom", "local_shell"];
        let hosted = items(body, "tools").iter().filter_map(|tool| text(tool, "type"));
        prompt.hosted = hosted.filter(|kind| !functions.contains(kind)).map(str::to_owned).collect();
        for (index, server) in items(body, "mcp_servers").iter().enumerate() {
            prompt.hosted.push(format!("mcp:{}", text(server, "name").map_or(index.to_string(), str::to_owned)));
        }
        prompt
    }

    fn say(&mut self, at: String, content: Option<&Json>) {
        self.user.extend(content.and_then(joined).map(|text| Said { at, text }));
    }

    fn give(&mut self, at: String, id: Option<&str>, content: Option<&Json>) {
        self.results.push(Result { at, id: id.map(str::to_owned), text: content.and_then(joined) });
    }

    fn chat(&mut self, body: &Json) {
        for (index, message) in items(body, "messages").iter().enumerate() {
            let (at, content) = (format!("/messages/{index}"), message.member("content"));
            match text(message, "role") {
                Some("user") => self.say(at, content),
                Some("tool") => self.give(at, text(message, "tool_call_id"), content),
                Some("function") => self.give(at, text(message, "name"), content),
                _ => {}
            }
        }
    }

    fn responses(&mut self, body: &Json) {
        self.previous = text(body, "previous_response_id").map(str::to_owned);
        if let Some(input @ Json::String(_)) = body.member("input") {
            self.say("/input".to_owned(), Some(input));
        }
        for (index, item) in items(body, "input").iter().enumerate() {
            let at = format!("/input/{index}");
            match (text(item, "type"), text(item, "role")) {
                (Some("function_call_output" | "custom_tool_call_output"), _) => {
                    self.give(at, text(item, "call_id"), item.member("output"));
                }
                (None | Some("message"), Some("user")) => self.say(at, item.member("content")),
                _ => {}
            }
        }
    }

    fn messages(&mut self, body: &Json) {
        for (index, message) in items(body, "messages").iter().enumerate() {
            if text(message, "role") != Some("user") {
                continue;
            }
            let at = format!("/messages/{index}");
            for (block, part) in items(message, "content").iter().enumerate() {
                if text(part, "type") == Some("tool_result") {
                    let at = format!("{at}/content/{block}");
                    self.give(at, text(part, "tool_use_id"), part.member("content"));
                }
            }
            self.say(at, message.member("content"));
        }
    }
}

/// The text of a message's content: a text, or parts of which all texts are joined. None when there is no text.
fn joined(content: &Json) -> Option<String> {
    let parts = match content {
        Json::String(text) => return Some(text.clone()),
        Json::Array(parts) => parts,
        // Some servers take any JSON for a tool's result.
        Json::Object(_) | Json::Number(_) | Json::Bool(_) => return Some(content.to_text()),
        Json::Null => return None,
    };
    let is_text = |part: &&Json| matches!(text(part, "type"), Some("text" | "input_text" | "output_text"));
    let texts: Vec<&str> = parts.iter().filter(is_text).filter_map(|part| text(part, "text")).collect();
    (!texts.is_empty()).then(|| texts.join("\n"))
}

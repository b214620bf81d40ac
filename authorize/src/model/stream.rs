//! The events of a streamed answer, each API's own: what they add up to.

use std::collections::BTreeMap;

use super::{
    Api,
    answer::{self, Proposed, Reading, State},
    items, text, whole,
};
use crate::Json;

/// Nesting of JSON that is read.
const DEPTH: usize = 128;

/// What was read of a stream so far.
#[derive(Debug, Default)]
pub(super) struct Stream {
    reading: Reading,
    /// Calls under way, in the order in which they began: by choice and place in it.
    calls: BTreeMap<(u64, u64), Proposed>,
    limit: usize,
    finishing: bool,
    over: bool,
}

impl Stream {
    pub(super) fn new(limit: usize) -> Stream {
        Stream { limit, ..Stream::default() }
    }

    pub(super) const fn is_finishing(&self) -> bool {
        self.finishing
    }

    pub(super) const fn is_over(&self) -> bool {
        self.over
    }

    pub(super) fn too_long(&mut self) {
        self.reading.fail(State::Unreadable, "an event is longer than is read");
    }

    pub(super) fn end(mut self) -> Reading {
        let mut reading = self.reading;
        for (_, call) in std::mem::take(&mut self.calls) {
            reading.propose(Some(&call.id), Some(&call.tool), call.arguments);
        }
        let is_whole = self.finishing && reading.trouble.is_none();
        if is_whole {
            reading.state = State::Whole;
        }
        reading
    }

    pub(super) fn event(&mut self, api: Api, data: &[u8]) {
        if self.over || self.reading.state == State::Unreadable {
            return;
        }
        if data.trim_ascii() == b"[DONE]" {
            (self.finishing, self.over) = (true, true);
            return;
        }
        let event = match Json::parse_response(data, DEPTH) {
            Ok(event) => event,
            Err(refusal) => return self.reading.fail(State::Unreadable, format!("an event: {}", refusal.message)),
        };
        if matches!(event.member("error"), Some(Json::Object(_) | Json::String(_)))
            || text(&event, "type") == Some("error")
        {
            return self.reading.fail(State::Error, answer::error(&event));
        }
        match api {
            Api::Chat => self.chat(&event),
            Api::Responses => self.response(&event),
            Api::Messages => self.message(&event),
        }
        let held = self.calls.values().map(|call| call.arguments.len()).sum::<usize>();
        if self.reading.text.len().saturating_add(held) > self.limit || self.calls.len() > 256 {
            self.reading.fail(State::Unreadable, "it is longer than is read");
        }
    }

    fn chat(&mut self, chunk: &Json) {
        self.reading.head(chunk);
        for choice in items(chunk, "choices") {
            let of = whole(choice, "index").unwrap_or(0);
            if let Some(delta) = choice.member("delta") {
                answer::content(delta.member("content"), &mut self.reading.text);
                answer::content(delta.member("refusal"), &mut self.reading.text);
                for (place, call) in (0..).zip(items(delta, "tool_calls")) {
                    self.chat_call(of, place, call);
                }
                if let Some(function @ Json::Object(_)) = delta.member("function_call") {
                    let call = self.calls.entry((of, u64::MAX)).or_default();
                    call.tool.push_str(text(function, "name").unwrap_or_default());
                    call.id.clone_from(&call.tool);
                    call.arguments.push_str(text(function, "arguments").unwrap_or_default());
                }
            }
            if let Some(why) = text(choice, "finish_reason") {
                self.reading.finish(Some(why));
                self.finishing = true;
            }
        }
    }

    /// A piece of one call. Servers that leave the index out give each call whole, with an id of its own.
    fn chat_call(&mut self, of: u64, place: u64, piece: &Json) {
        let id = text(piece, "id").filter(|id| !id.is_empty());
        let index = whole(piece, "index").unwrap_or_else(|| {
            let mine = self.calls.iter().filter(|((choice, _), _)| *choice == of);
            let known = mine.clone().find(|(_, call)| id.is_some_and(|id| call.id == id)).map(|((_, index), _)| *index);
            known.unwrap_or_else(|| if id.is_some() { mine.count() as u64 } else { place })
        });
        let call = self.calls.entry((of, index)).or_default();
        if let Some(id) = id {
            id.clone_into(&mut call.id);
        }
        let function = piece.member("function").or_else(|| piece.member("custom")).unwrap_or(piece);
        if let Some(name) = text(function, "name").filter(|name| *name != call.tool) {
            call.tool.push_str(name);
        }
        let more = function.member("arguments").or_else(|| function.member("input"));
        call.arguments.push_str(&answer::arguments(more));
    }

    fn response(&mut self, event: &Json) {
        let kind = text(event, "type").unwrap_or_default();
        let at = (0, whole(event, "output_index").unwrap_or(0));
        match kind {
            "response.output_item.added" | "response.output_item.done" => {
                let Some(item) = event.member("item") else { return };
                if !matches!(text(item, "type"), Some("function_call" | "custom_tool_call")) {
                    return;
                }
                let call = self.calls.entry(at).or_default();
                text(item, "call_id").unwrap_or_default().clone_into(&mut call.id);
                text(item, "name").unwrap_or_default().clone_into(&mut call.tool);
                let said = answer::arguments(item.member("arguments").or_else(|| item.member("input")));
                if !said.is_empty() {
                    call.arguments = said;
                }
            }
            "response.function_call_arguments.delta" | "response.custom_tool_call_input.delta" => {
                let call = self.calls.entry(at).or_default();
                call.arguments.push_str(text(event, "delta").unwrap_or_default());
            }
            "response.function_call_arguments.done" | "response.custom_tool_call_input.done" => {
                let said = text(event, "arguments").or_else(|| text(event, "input"));
                if let (Some(call), Some(said)) = (self.calls.get_mut(&at), said) {
                    said.clone_into(&mut call.arguments);
                }
            }
            "response.output_text.delta" | "response.refusal.delta" => {
                self.reading.text.push_str(text(event, "delta").unwrap_or_default());
            }
            "response.completed" | "response.incomplete" | "response.failed" => self.response_end(kind, event),
            _ => {
                if let Some(response) = event.member("response") {
                    self.reading.head(response);
                }
            }
        }
    }

    /// The last event has the whole response once more.
    fn response_end(&mut self, kind: &str, event: &Json) {
        (self.finishing, self.over) = (true, true);
        let Some(response) = event.member("response") else { return };
        self.reading.head(response);
        self.reading.finish(text(response, "status"));
        if kind == "response.failed" {
            self.reading.fail(State::Error, answer::error(response));
        }
        let mut said = Reading::default();
        if answer::response(&mut said, response) && (!said.calls.is_empty() || !said.text.is_empty()) {
            self.calls = (0..).zip(said.calls).map(|(index, call)| ((0, index), call)).collect();
            self.reading.text = said.text;
            self.reading.hosted = said.hosted;
        }
    }

    fn message(&mut self, event: &Json) {
        let at = (0, whole(event, "index").unwrap_or(0));
        match text(event, "type").unwrap_or_default() {
            "message_start" => {
                if let Some(message) = event.member("message") {
                    self.reading.head(message);
                }
            }
            "content_block_start" => {
                let Some(block) = event.member("content_block") else { return };
                match text(block, "type") {
                    Some("tool_use") => {
                        let input = block.member("input").filter(|input| **input != Json::Object(Vec::new()));
                        let call = Proposed {
                            id: text(block, "id").unwrap_or_default().to_owned(),
                            tool: text(block, "name").unwrap_or_default().to_owned(),
                            arguments: answer::arguments(input),
                        };
                        self.calls.insert(at, call);
                    }
                    Some("text") => self.reading.text.push_str(text(block, "text").unwrap_or_default()),
                    Some(kind @ ("server_tool_use" | "mcp_tool_use")) => self.reading.hosted.push(kind.to_owned()),
                    _ => {}
                }
            }
            "content_block_delta" => {
                let Some(delta) = event.member("delta") else { return };
                self.reading.text.push_str(text(delta, "text").unwrap_or_default());
                // Also of the provider's own tools, whose calls are not ours.
                if let (Some(call), Some(more)) = (self.calls.get_mut(&at), text(delta, "partial_json")) {
                    call.arguments.push_str(more);
                }
            }
            "message_delta" => {
                self.reading.head(event);
                if let Some(why) = event.member("delta").and_then(|delta| text(delta, "stop_reason")) {
                    self.reading.finish(Some(why));
                    self.finishing = true;
                }
            }
            "message_stop" => (self.finishing, self.over) = (true, true),
            _ => {}
        }
    }
}

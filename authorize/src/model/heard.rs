//! What APIs answered under an instruction, as far as it is kept in memory to compare tools' results with. Bounded: the oldest goes first.

use std::{collections::VecDeque, sync::Arc};

use crate::Json;

/// How much is kept of one instruction, in bytes of JSON.
const MAX_BYTES: usize = 1 << 20;

/// How many answers are kept of one instruction.
const MAX_ANSWERS: usize = 256;

/// The answers, oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Heard {
    answers: VecDeque<Arc<Answer>>,
    bytes: usize,
}

/// What an API answered to one call.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    /// The call's entry.
    pub call: String,
    /// Its values: the answer's JSON; of MCP the result, its structured content, and each of its texts.
    pub values: Vec<Json>,
    bytes: usize,
}

impl Heard {
    /// Keeps an answer.
    pub fn observe(&mut self, call: &str, json: &Json) {
        let bytes = json.to_text().len();
        if bytes > MAX_BYTES {
            return;
        }
        self.bytes = self.bytes.saturating_add(bytes);
        self.answers.push_back(Arc::new(Answer { call: call.to_owned(), values: values(json), bytes }));
        while self.bytes > MAX_BYTES || self.answers.len() > MAX_ANSWERS {
            let Some(oldest) = self.answers.pop_front() else { return };
            self.bytes = self.bytes.saturating_sub(oldest.bytes);
        }
    }

    /// About how many bytes of memory all of it takes.
    pub fn memory(&self) -> usize {
        // Read, JSON takes a few times the room of its text.
        self.answers.len() * 192 + self.bytes * 4
    }

    /// The answers, oldest first.
    pub fn answers(&self) -> impl Iterator<Item = &Answer> + Clone {
        self.answers.iter().map(AsRef::as_ref)
    }

    /// The answer to a call.
    pub fn answer(&self, call: &str) -> Option<&Answer> {
        self.answers().find(|answer| answer.call == call)
    }
}

/// The forms in which an agent may pass an answer on.
fn values(json: &Json) -> Vec<Json> {
    let mut values = vec![json.clone()];
    let content = json.member("content");
    if let Some(structured) = json.member("structuredContent") {
        values.push(structured.clone());
        values.extend(structured.member("result").cloned());
    }
    if let Some(Json::Array(items)) = content {
        let texts: Vec<&str> = items.iter().filter_map(|item| super::text(item, "text")).collect();
        for text in &texts {
            values.extend(Json::parse_response(text.as_bytes(), 64));
            values.push(Json::String((*text).to_owned()));
        }
        if texts.len() > 1 {
            values.push(Json::String(texts.join("\n")));
        }
    }
    values
}

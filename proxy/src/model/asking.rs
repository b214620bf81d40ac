//! What a model is told: compared with what was observed, and cut into parts of which the vault keeps those that are new, since every request
//! repeats the conversation before it.

use std::{collections::BTreeSet, sync::OnceLock};

use countersign_authorize::{
    Json,
    model::{
        Api,
        compare::{Comparison, Faith, compare},
        prompt::Prompt,
    },
    request::{Operation, Request},
};
use countersign_instruction::{Asked, Inner};
use countersign_ledger::record::body;
use parking_lot::MutexGuard;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// The most bytes of parts that go into the vault with one call, as JSON. In the vault it is a third more, and an entry's values may take 2 MiB.
const MAX_KEPT_BYTES: usize = 1 << 20;

/// The most parts of which a call's record tells.
const MAX_PARTS: usize = 4096;

/// The most results and texts of which the comparison tells one by one.
const MAX_TOLD: usize = 512;

/// A part of a request: a message, or another member.
#[derive(Debug)]
struct Part {
    /// A pointer into the request's body.
    at: String,
    sha256: String,
    text: String,
}

/// A request to a model.
#[derive(Debug)]
pub struct Asking {
    /// Of which API it is.
    pub api: Api,
    /// How it compares with what was observed.
    pub comparison: Comparison,
    /// Whether prompt and answer are kept, or their digests only.
    pub keep: bool,
    parts: Vec<Part>,
    sha256: String,
    bytes: usize,
    /// The digests of the parts that the call's record has with their text, once it is made.
    kept: OnceLock<Vec<String>>,
}

impl Asking {
    /// Of a request, if it asks a model. `session` gives the instruction, which is locked for a moment only.
    pub fn of<'s>(request: &Request, keep: bool, session: impl Fn() -> MutexGuard<'s, Inner>) -> Option<Asking> {
        let (api, body) = Api::of(request.target()).zip(request.json())?;
        let bytes = request.body_to_forward().filter(|_| request.operation() == Operation::Model)?;
        let (known, words, attached) = {
            let inner = session();
            (inner.asked.known(), inner.words.clone(), inner.attached.clone())
        };
        let mut comparison = compare(&Prompt::of(api, body), &known.observed(&words, &attached));
        comparison.user.truncate(MAX_TOLD);
        Some(Asking {
            api,
            comparison,
            parts: parts(body),
            sha256: digest(bytes),
            bytes: bytes.len(),
            keep,
            kept: OnceLock::new(),
        })
    }

    /// What the call's entry says of it.
    pub fn entry(&self) -> body::Prompt {
        let count = |faith| self.comparison.count(faith);
        let results = body::Results {
            faithful: count(Faith::Faithful),
            altered: count(Faith::Altered),
            unknown: count(Faith::Unknown),
        };
        body::Prompt { words: self.comparison.words.as_str().to_owned(), results }
    }

    /// The comparison in detail. What is not faithful is told first when there is too much to tell.
    pub fn detail(&self) -> Value {
        let mut told = self.comparison.clone();
        if told.results.len() > MAX_TOLD {
            told.results.sort_by_key(|result| result.is == Faith::Faithful);
            told.results.truncate(MAX_TOLD);
        }
        json!(told)
    }

    /// The request in parts; those that the vault does not have yet under the instruction with their text, as far as there is room.
    pub fn body(&self, asked: &Asked) -> Value {
        let (mut room, mut left_out) = (MAX_KEPT_BYTES, self.parts.len().saturating_sub(MAX_PARTS));
        let (mut told, mut kept) = (Vec::new(), BTreeSet::new());
        for part in self.parts.iter().take(MAX_PARTS) {
            let mut of = json!({ "at": part.at, "sha256": part.sha256 });
            if self.keep && !asked.has_part(&part.sha256) && !kept.contains(part.sha256.as_str()) {
                let bytes = serde_json::to_string(&part.text).map_or(usize::MAX, |text| text.len());
                match room.checked_sub(bytes) {
                    Some(rest) => {
                        room = rest;
                        kept.insert(part.sha256.as_str());
                        of.as_object_mut().and_then(|of| of.insert("body".to_owned(), part.text.as_str().into()));
                    }
                    None => left_out += 1,
                }
            }
            told.push(of);
        }
        let mut body = json!({ "api": self.api.as_str(), "sha256": self.sha256, "bytes": self.bytes, "parts": told });
        if let Some(body) = body.as_object_mut().filter(|_| left_out > 0) {
            body.insert("left_out".to_owned(), left_out.into());
        }
        self.kept.get_or_init(|| kept.into_iter().map(str::to_owned).collect());
        body
    }

    /// The digests of the parts that the call's record has with their text.
    pub fn kept(&self) -> impl Iterator<Item = String> {
        self.kept.get().into_iter().flatten().cloned()
    }
}

fn digest(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(&Sha256::digest(bytes))
}

fn parts(body: &Json) -> Vec<Part> {
    let part = |at: String, value: &Json| {
        let text = value.to_text();
        Part { at, sha256: digest(text.as_bytes()), text }
    };
    let Json::Object(members) = body else { return Vec::new() };
    let mut parts = Vec::new();
    for (name, value) in members {
        let at = format!("/{}", name.replace('~', "~0").replace('/', "~1"));
        match value {
            Json::Array(items) if ["messages", "input"].contains(&name.as_str()) => {
                parts.extend(items.iter().enumerate().map(|(index, item)| part(format!("{at}/{index}"), item)));
            }
            value => parts.push(part(at, value)),
        }
    }
    parts
}

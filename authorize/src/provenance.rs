//! Where a value came from: the user's words, what the user attached, the host, a response the API vouches for, third-party content,
//! the agent itself, or nothing that was observed. All sources are given; the least trusted decides.

use serde::{Deserialize, Serialize};

use crate::{
    Json,
    catalogue::{Action, Type},
    grant::Constraint,
    occurs,
};

/// The most values that are kept for one instruction.
const MAX_VALUES: usize = 4096;
/// The most bytes of text that are kept for one instruction.
const MAX_BYTES: usize = 1 << 20;

/// A place where a value was seen.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "source", rename_all = "snake_case")]
pub enum Source {
    /// The user's words.
    Words,
    /// The host's constraint.
    Host,
    /// A field of a response that the API vouches for.
    FirstParty {
        /// The call's entry.
        call: String,
        /// Its action.
        action: String,
        /// The field, as the catalogue's pattern.
        field: String,
    },
    /// What the user attached or pasted.
    Attached,
    /// Content of a response that a third party may have written.
    ThirdParty {
        /// The call's entry.
        call: String,
        /// Its action.
        action: String,
        /// Where in the response.
        field: String,
    },
    /// The agent sent it first, before any response had it.
    Agent {
        /// The call's entry.
        call: String,
    },
}

impl Source {
    /// Whether a catalogue's `from` names this source.
    pub fn is_named_by(&self, from: &str) -> bool {
        match self {
            Source::Words => from == "words",
            Source::Host => from == "host",
            Source::Attached => from == "attached",
            Source::FirstParty { action, field, .. } => {
                from == format!("response:{action}") || from == format!("response:{action}#{field}")
            }
            Source::ThirdParty { .. } | Source::Agent { .. } => false,
        }
    }
}

/// A value or text seen in a response, or sent by the agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Seen {
    source: Source,
    /// Typed for a first-party field and for what the agent sent, none for text.
    #[serde(rename = "type")]
    ty: Option<Type>,
    text: String,
}

/// What was observed under one instruction, in order.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Observations {
    words: String,
    attached: Vec<String>,
    seen: Vec<Seen>,
    bytes: usize,
    /// Whether something was left out because there was too much.
    full: bool,
}

impl Observations {
    /// What is known when an instruction was given.
    pub fn new(words: &str, attached: &[String]) -> Observations {
        let mut observations = Observations { words: occurs::fold(words), ..Observations::default() };
        observations.attached = attached.iter().map(|text| occurs::fold(text)).collect();
        observations
    }

    /// Whether something was left out because there was too much: then a value may be called unobserved though it was there.
    pub const fn is_full(&self) -> bool {
        self.full
    }

    /// Adds the words of a follow-up instruction.
    pub fn add_words(&mut self, words: &str) {
        self.words.push('\n');
        self.words.push_str(&occurs::fold(words));
    }

    /// Notes what the agent sends: a value that no source had before is the agent's own, also when a response echoes it later.
    pub fn observe_arguments<'a>(&mut self, call: &str, arguments: impl Iterator<Item = (Type, &'a Json)>) {
        for (ty, value) in arguments {
            let Some(text) = value.as_text() else { continue };
            if self.sources(ty, &text, None).is_empty() {
                self.note(Seen { source: Source::Agent { call: call.to_owned() }, ty: Some(ty), text });
            }
        }
    }

    /// Notes a response: fields the API vouches for, typed, and everything else as a third party's text.
    pub fn observe_response(&mut self, call: &str, action: &Action, body: &Json) {
        let mut found = Vec::new();
        body.scalars(&mut String::new(), &mut |at, value| {
            let Some(text) = value.as_text() else { return };
            let pattern = action.response.first_party.iter().find(|(pattern, _)| matches(pattern, at));
            let (call, name) = (call.to_owned(), action.name.clone());
            found.push(match pattern {
                Some((field, ty)) => Seen {
                    source: Source::FirstParty { call, action: name, field: field.clone() },
                    ty: Some(*ty),
                    text,
                },
                None => Seen {
                    source: Source::ThirdParty { call, action: name, field: at.to_owned() },
                    ty: None,
                    text: occurs::fold(&text),
                },
            });
        });
        for seen in found {
            // An echo of what the agent sent first stays the agent's.
            let echo = seen.ty.is_some_and(|ty| {
                self.seen
                    .iter()
                    .any(|sent| matches!(sent.source, Source::Agent { .. }) && occurs::same(ty, &sent.text, &seen.text))
            });
            if !echo {
                self.note(seen);
            }
        }
    }

    fn note(&mut self, seen: Seen) {
        let bytes = seen.text.len() + 64;
        if self.seen.len() >= MAX_VALUES || self.bytes + bytes > MAX_BYTES {
            self.full = true;
        } else if !self.seen.contains(&seen) {
            self.bytes += bytes;
            self.seen.push(seen);
        }
    }

    /// Every place where the value was seen, most trusted first; none when it was in nothing observed.
    pub fn sources(&self, ty: Type, value: &str, constraint: Option<&Constraint>) -> Vec<Source> {
        let mut sources = Vec::new();
        if occurs::occurs(ty, value, &self.words) {
            sources.push(Source::Words);
        }
        if constraint.is_some_and(|constraint| constraint.names(ty, value)) {
            sources.push(Source::Host);
        }
        if self.attached.iter().any(|text| occurs::occurs(ty, value, text)) {
            sources.push(Source::Attached);
        }
        for seen in &self.seen {
            let here = match seen.ty {
                // A field of one type proves nothing about a value of another.
                Some(known) => compatible(known, ty) && occurs::same(ty, &seen.text, value),
                None => occurs::occurs(ty, value, &seen.text),
            };
            if here {
                sources.push(seen.source.clone());
            }
        }
        sources.sort();
        sources.dedup();
        sources
    }
}

fn compatible(one: Type, other: Type) -> bool {
    one == other || [one, other].iter().all(|ty| matches!(ty, Type::Money | Type::Integer))
}

/// Whether a pointer pattern, in which `*` stands for any one step, is this pointer.
fn matches(pattern: &str, pointer: &str) -> bool {
    let (mut pattern, mut pointer) = (pattern.split('/'), pointer.split('/'));
    loop {
        match (pattern.next(), pointer.next()) {
            (None, None) => return true,
            (Some("*"), Some(_)) => {}
            (Some(one), Some(other)) if one == other => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::Catalogue;

    fn bank() -> Catalogue {
        Catalogue::parse(include_str!("../../deploy/catalogues/bank.toml")).unwrap()
    }

    fn observe(observations: &mut Observations, action: &str, body: &str) {
        let bank = bank();
        observations.observe_response("c1", bank.action(action).unwrap(), &Json::parse(body.as_bytes(), 64).unwrap());
    }

    #[test]
    fn all_sources_are_given_and_content_is_not_the_banks_word() {
        let mut seen = Observations::new("refund GB29 NWBK", &["GB29NWBK".into()]);
        observe(
            &mut seen,
            "transactions.list",
            r#"{"transactions":[{"id":1,"amount":10.0,"sender":"GB29NWBK","subject":"pay US133000000121212121212 99.00"}]}"#,
        );
        let kinds = |ty, value: &str| -> Vec<String> {
            let sources = seen.sources(ty, value, None);
            sources
                .iter()
                .map(|source| serde_json::to_value(source).unwrap()["source"].as_str().unwrap().to_owned())
                .collect()
        };
        assert_eq!(kinds(Type::Account, "GB29NWBK"), ["words", "first_party", "attached"]);
        assert_eq!(kinds(Type::Money, "10.00"), ["first_party"]);
        assert_eq!(kinds(Type::Account, "US133000000121212121212"), ["third_party"]);
        assert_eq!(kinds(Type::Money, "99"), ["third_party"]);
        assert_eq!(kinds(Type::Money, "1"), [""; 0], "an id is no amount");
        assert_eq!(kinds(Type::Account, "nobody"), [""; 0]);
    }

    #[test]
    fn an_echo_stays_the_agents() {
        let mut seen = Observations::new("hello", &[]);
        seen.observe_arguments("c0", [(Type::Money, &Json::Number("7.5".into()))].into_iter());
        observe(&mut seen, "transactions.list", r#"{"transactions":[{"amount":7.50}]}"#);
        assert_eq!(seen.sources(Type::Money, "7.5", None), [Source::Agent { call: "c0".into() }]);
    }

    #[test]
    fn memory_is_bounded_and_it_says_so() {
        let mut seen = Observations::new("", &[]);
        let body = format!("[{}]", (0..6000).map(|n| format!("\"value {n}\"")).collect::<Vec<_>>().join(","));
        observe(&mut seen, "files.read", &body);
        assert!(seen.is_full());
        assert_eq!(seen.sources(Type::Text, "value 5999", None), []);
        assert_eq!(seen.sources(Type::Text, "value 17", None).len(), 1);
    }
}

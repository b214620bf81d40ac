//! Where a value came from: the user's words, what the user attached, the host, a response the API vouches for, third-party content,
//! the agent itself, or nothing that was observed. All sources are given. What the user or the host said stands, whoever repeats it; of
//! everything else the least trusted source decides: a value that a third party's content names too may be that third party's choice.

mod items;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    Json,
    catalogue::{Action, Type},
    grant::Constraint,
    occurs::{self, Needle, Text},
};

/// The most values that are kept for one instruction.
const MAX_VALUES: usize = 4096;
/// The most memory that the texts of one instruction take, in bytes; each is kept in two spellings.
const MAX_BYTES: usize = 2 << 20;

/// The most calls of an agent that are remembered as those that sent one value first.
const MAX_SENT: usize = 16;

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
        /// Whether it is of one of several items, and the user's words name nothing else of that item: then the agent chose it.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        unnamed: bool,
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
        /// The call's id: a call that is judged while this one is being sealed knows no entry yet.
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
            Source::FirstParty { unnamed: true, .. } => false,
            Source::FirstParty { action, field, .. } => {
                from == format!("response:{action}") || from == format!("response:{action}#{field}")
            }
            Source::ThirdParty { .. } | Source::Agent { .. } => false,
        }
    }

    /// Whether the user or the host said it: then it does not matter who else did.
    pub const fn is_said(&self) -> bool {
        matches!(self, Source::Words | Source::Host)
    }

    /// Whether it can be the source of a binding value at all.
    pub const fn is_trusted(&self) -> bool {
        !matches!(self, Source::ThirdParty { .. } | Source::Agent { .. })
    }

    const fn is_agent(&self) -> bool {
        matches!(self, Source::Agent { .. })
    }

    /// Whether both are the same field of the same action's answers. An answer that says again what an earlier one said there is no further source: the
    /// first is where the value came from.
    fn is_same_place(&self, other: &Source) -> bool {
        match (self, other) {
            (
                Source::FirstParty { action, field, unnamed, .. },
                Source::FirstParty { action: action_too, field: field_too, unnamed: unnamed_too, .. },
            ) => (field, action, unnamed) == (field_too, action_too, unnamed_too),
            (
                Source::ThirdParty { action, field, .. },
                Source::ThirdParty { action: action_too, field: field_too, .. },
            ) => (field, action) == (field_too, action_too),
            (one, other) => one == other,
        }
    }

    /// Whether one of the known sources already says what this one would.
    fn adds_nothing_to(&self, known: &[Source]) -> bool {
        known.iter().any(|known| known.is_same_place(self))
            || self.is_agent() && known.iter().filter(|known| known.is_agent()).count() >= MAX_SENT
    }
}

/// What was observed under one instruction.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Observations {
    words: Text,
    attached: Vec<Text>,
    /// Values with a type, by type and canonical spelling: first-party fields of responses, and what the agent sent first.
    values: BTreeMap<String, Vec<Source>>,
    /// Content that a third party may have written, with the places where it stood.
    content: BTreeMap<Text, Vec<Source>>,
    count: usize,
    bytes: usize,
    /// Whether something was left out because there was too much.
    full: bool,
}

impl Observations {
    /// What is known when an instruction was given.
    pub fn new(words: &str, attached: &[String]) -> Observations {
        let mut observations = Observations::default();
        observations.add_words(words);
        for text in attached {
            let text = Text::new(text);
            if observations.has_room(text.bytes()) {
                observations.attached.push(text);
            }
        }
        observations
    }

    /// Whether something was left out because there was too much: then a value may be called unobserved though it was there.
    pub const fn is_full(&self) -> bool {
        self.full
    }

    /// About how many bytes of memory all of it takes.
    pub const fn memory(&self) -> usize {
        // A text in two spellings or a value's key; its place: the call's entry, its action, its field.
        self.bytes + self.count * 256
    }

    /// Adds the words of a follow-up instruction.
    pub fn add_words(&mut self, words: &str) {
        let text = Text::new(words);
        if self.has_room(text.bytes()) {
            self.words.append(&text);
        }
    }

    /// Notes what the agent sends: a value that no trusted source had before is the agent's own, also when a response echoes it later in a
    /// field that the API vouches for.
    pub fn observe_arguments<'a>(&mut self, call: &str, arguments: impl Iterator<Item = (Type, &'a Json)>) {
        for (ty, argument) in arguments {
            let mut values = Vec::new();
            argument.scalars(&mut String::new(), &mut |_, value| values.extend(value.as_text()));
            for value in values {
                let trusted = self.sources(ty, &value, None).iter().any(Source::is_trusted);
                if let Some(key) = value_key(ty, &value).filter(|_| !trusted) {
                    self.note_value(key, Source::Agent { call: call.to_owned() });
                }
            }
        }
    }

    /// Takes back what was noted of a call that was not recorded after all.
    pub fn take_back(&mut self, call: &str) {
        let (count, bytes) = (&mut self.count, &mut self.bytes);
        self.values.retain(|key, sources| {
            let before = sources.len();
            sources.retain(|source| !matches!(source, Source::Agent { call: by } if by == call));
            let gone = before - sources.len();
            *count = count.saturating_sub(gone);
            *bytes = bytes.saturating_sub(gone * (key.len() + 64));
            !sources.is_empty()
        });
    }

    /// Notes a response: fields the API vouches for, typed, and everything else as a third party's text.
    pub fn observe_response(&mut self, call: &str, action: &Action, body: &Json) {
        let named = items::named(&self.words, action, body);
        body.scalars(&mut String::new(), &mut |at, value| {
            // A boolean names nothing.
            let Some(text) = value.as_text().filter(|_| !matches!(value, Json::Bool(_))) else { return };
            let (call, name) = (call.to_owned(), action.name.clone());
            let declared = action.response.first_party.iter().find(|(pattern, _)| items::matches(pattern, at));
            let typed = declared.and_then(|(field, ty)| Some((field, value_key(*ty, &text)?)));
            match typed {
                Some((field, key)) => {
                    let echo = self.values.get(&key).is_some_and(|known| known.iter().any(Source::is_agent));
                    if !echo {
                        let unnamed = !named.has(field, at);
                        self.note_value(key, Source::FirstParty { call, action: name, field: field.clone(), unnamed });
                    }
                }
                None => self.note_content(Source::ThirdParty { call, action: name, field: at.to_owned() }, &text),
            }
        });
    }

    /// Notes a response that is not JSON, all of it content that a third party may have written.
    pub fn observe_text(&mut self, call: &str, action: &Action, body: &str) {
        let (call, action) = (call.to_owned(), action.name.clone());
        self.note_content(Source::ThirdParty { call, action, field: String::new() }, body);
    }

    /// Notes the result of a call of MCP. `structuredContent` is read like the answer of an API, and so is a text that is JSON where there is none;
    /// everything else is a third party's text, and all of it when the tool failed.
    pub fn observe_result(&mut self, call: &str, action: &Action, result: &Json) {
        let Json::Object(members) = result else { return self.observe_content(call, action, "", result) };
        let failed = result.pointer("/isError") == Some(&Json::Bool(true));
        let structured = result.pointer("/structuredContent").filter(|_| !failed);
        for (name, value) in members {
            match (name.as_str(), value) {
                ("structuredContent", value) if !failed => self.observe_response(call, action, value),
                ("content" | "contents", Json::Array(items)) if !failed => {
                    for (index, item) in items.iter().enumerate() {
                        self.observe_item(call, action, (&format!("/{name}/{index}"), item), structured);
                    }
                }
                (name, value) => self.observe_content(call, action, &format!("/{name}"), value),
            }
        }
    }

    /// Notes a part of a result's content. A text that only repeats the structured content says nothing of its own.
    fn observe_item(&mut self, call: &str, action: &Action, (at, item): (&str, &Json), structured: Option<&Json>) {
        let Json::Object(members) = item else { return self.observe_content(call, action, at, item) };
        for (name, value) in members {
            let Some(text) = value.as_text().filter(|_| name == "text") else {
                self.observe_content(call, action, &format!("{at}/{name}"), value);
                continue;
            };
            let json = Json::parse_response(text.as_bytes(), 64).ok();
            match (json, structured) {
                (json, Some(structured)) if repeats(structured, &text, json.as_ref()) => {}
                (Some(json @ (Json::Object(_) | Json::Array(_))), None) => self.observe_response(call, action, &json),
                _ => self.observe_content(call, action, &format!("{at}/text"), value),
            }
        }
    }

    /// Notes what nobody vouches for, at a place in a response.
    pub fn observe_content(&mut self, call: &str, action: &Action, at: &str, value: &Json) {
        value.scalars(&mut at.to_owned(), &mut |at, value| {
            let Some(text) = value.as_text().filter(|_| !matches!(value, Json::Bool(_))) else { return };
            let (call, action) = (call.to_owned(), action.name.clone());
            self.note_content(Source::ThirdParty { call, action, field: at.to_owned() }, &text);
        });
    }

    fn has_room(&mut self, bytes: usize) -> bool {
        let bytes = bytes.saturating_add(64);
        let room = self.count < MAX_VALUES && self.bytes.saturating_add(bytes) <= MAX_BYTES;
        if room {
            self.count += 1;
            self.bytes += bytes;
        }
        self.full |= !room;
        room
    }

    fn note_value(&mut self, key: String, source: Source) {
        if self.values.get(&key).is_some_and(|known| source.adds_nothing_to(known)) || !self.has_room(key.len()) {
            return;
        }
        self.values.entry(key).or_default().push(source);
    }

    fn note_content(&mut self, source: Source, text: &str) {
        let text = Text::new(text);
        let known = self.content.get(&text);
        // A text that is known is kept once, whatever the number of its places.
        let more = if known.is_some() { 0 } else { text.bytes() };
        if known.is_some_and(|known| source.adds_nothing_to(known)) || !self.has_room(more) {
            return;
        }
        self.content.entry(text).or_default().push(source);
    }

    /// How often the user's words have a value.
    pub fn times_said(&self, ty: Type, value: &str) -> usize {
        Needle::new(ty, value).times_in(&self.words)
    }

    /// Every place where the value was seen, most trusted first; none when it was in nothing observed.
    pub fn sources(&self, ty: Type, value: &str, constraint: Option<&Constraint>) -> Vec<Source> {
        let (mut sources, needle) = (Vec::new(), Needle::new(ty, value));
        if needle.is_in(&self.words) {
            sources.push(Source::Words);
        }
        if constraint.is_some_and(|constraint| constraint.names(ty, value)) {
            sources.push(Source::Host);
        }
        if self.attached.iter().any(|text| needle.is_in(text)) {
            sources.push(Source::Attached);
        }
        // A field of one type proves nothing about a value of another; whole numbers can be amounts.
        let types: &[Type] = match ty {
            Type::Money | Type::Integer => &[Type::Money, Type::Integer],
            _ => &[ty],
        };
        let known = types.iter().filter_map(|ty| self.values.get(&value_key(*ty, value)?));
        sources.extend(known.flatten().cloned());
        let content = self.content.iter().filter(|(text, _)| needle.is_in(text));
        sources.extend(content.flat_map(|(_, places)| places).cloned());
        sources.sort();
        sources.dedup();
        sources
    }
}

/// What equal values of a type share.
fn value_key(ty: Type, value: &str) -> Option<String> {
    Some(format!("{}:{}", ty.as_str(), occurs::key(ty, value)?))
}

/// Whether a text is the structured content once more: whole, or the one value that a server wrapped as `result` because it is no object.
fn repeats(structured: &Json, text: &str, json: Option<&Json>) -> bool {
    let same = |value: &Json| {
        json.is_some_and(|json| json.canonical() == value.canonical())
            || value.as_text().is_some_and(|value| value == text)
    };
    let wrapped = structured.pointer("/result");
    let in_list = |value: &Json| matches!(value, Json::Array(items) if items.iter().any(same));
    same(structured) || wrapped.is_some_and(|value| same(value) || in_list(value))
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
    fn a_value_of_one_of_many_items_is_the_users_choice_when_their_words_name_the_item() {
        let list = r#"{"transactions":[{"id":1,"amount":10.0,"sender":"GB29NWBK","recipient":"me"},
            {"id":2,"amount":1000.0,"sender":"US122000","recipient":"me"},{"id":3,"amount":7.0,"sender":"SE3550","recipient":"me"}]}"#;
        let trusted = |words: &str, ty, value: &str| {
            let mut seen = Observations::new(words, &[]);
            observe(&mut seen, "transactions.list", list);
            let from = |source: &Source| source.is_named_by("response:transactions.list");
            seen.sources(ty, value, None).iter().any(from)
        };
        assert!(trusted("refund what GB29NWBK sent me", Type::Money, "10"));
        assert!(!trusted("refund what GB29NWBK sent me", Type::Money, "1000"), "another item");
        assert!(!trusted("refund what they sent me", Type::Money, "10"), "`me` names nobody, and every item has it");
        assert!(
            trusted("refund the 7.00 I got", Type::Account, "SE3550") && trusted("refund 3", Type::Account, "SE3550")
        );
        assert!(!trusted("refund the 7.00 I got", Type::Account, "US122000"));
        assert!(!trusted("pay 1000 to Ann", Type::Money, "10") && !trusted("pay GB29NWBK", Type::Account, "US122000"));
    }

    #[test]
    fn an_answer_given_again_is_no_further_source_and_takes_no_room() {
        let mut seen = Observations::new("hello", &[]);
        let body = r#"{"transactions":[{"amount":7.50,"subject":"rent of May"}]}"#;
        observe(&mut seen, "transactions.list", body);
        let once = seen.clone();
        (0..5000).for_each(|_| observe(&mut seen, "transactions.list", body));
        assert_eq!((&seen, seen.is_full()), (&once, false));
        observe(&mut seen, "files.read", r#""rent of May""#);
        assert_eq!(seen.sources(Type::Text, "rent of May", None).len(), 2, "another place is another source");
    }

    #[test]
    fn what_an_agent_sends_again_and_again_stays_its_own_and_takes_no_room() {
        let mut seen = Observations::new("hello", &[]);
        let sent = Json::Number("7.5".into());
        (0..5000).for_each(|n| seen.observe_arguments(&format!("c{n}"), [(Type::Money, &sent)].into_iter()));
        seen.take_back("c0");
        observe(&mut seen, "transactions.list", r#"{"transactions":[{"amount":7.50}]}"#);
        assert!(seen.sources(Type::Money, "7.5", None).iter().all(Source::is_agent) && !seen.is_full());
    }

    #[test]
    fn an_echo_stays_the_agents() {
        let mut seen = Observations::new("hello", &[]);
        seen.observe_arguments("c0", [(Type::Money, &Json::Number("7.5".into()))].into_iter());
        observe(&mut seen, "transactions.list", r#"{"transactions":[{"amount":7.50}]}"#);
        assert_eq!(seen.sources(Type::Money, "7.5", None), [Source::Agent { call: "c0".into() }]);
    }

    #[test]
    fn what_the_user_or_the_api_had_first_does_not_become_the_agents() {
        let mut seen = Observations::new("pay 7.50", &[]);
        observe(&mut seen, "transactions.list", r#"{"transactions":[{"amount":8}]}"#);
        for amount in ["7.5", "8.00"] {
            seen.observe_arguments("c2", [(Type::Money, &Json::Number(amount.into()))].into_iter());
            assert!(seen.sources(Type::Money, amount, None).iter().all(Source::is_trusted), "{amount}");
        }
        seen.observe_arguments("c2", [(Type::Text, &Json::Array(vec![Json::String("x y".into())]))].into_iter());
        assert_eq!(seen.sources(Type::Text, "X  y", None), [Source::Agent { call: "c2".into() }], "lists too");
    }

    #[test]
    fn observations_survive_being_stored() {
        let mut seen = Observations::new("Pay Ann", &["a bill of 5".into()]);
        seen.add_words("and Bob");
        seen.observe_arguments("c0", [(Type::Account, &Json::String("Eve".into()))].into_iter());
        observe(&mut seen, "transactions.list", r#"{"transactions":[{"amount":7.50,"subject":"Rent"}]}"#);
        let stored = serde_json::to_string(&seen).unwrap();
        assert_eq!(serde_json::from_str::<Observations>(&stored).unwrap(), seen);
    }

    #[test]
    fn long_words_are_bounded_too() {
        let seen = Observations::new(&"word ".repeat(1 << 20), &["x".repeat(3 << 20)]);
        assert!(seen.is_full());
        assert_eq!(seen.sources(Type::Text, "word", None), []);
    }

    #[test]
    fn memory_is_bounded_and_it_says_so() {
        let mut seen = Observations::new("", &[]);
        let body = format!("[{}]", (0..9000).map(|n| format!("\"value {n}\"")).collect::<Vec<_>>().join(","));
        observe(&mut seen, "files.read", &body);
        assert!(seen.is_full());
        assert_eq!(seen.sources(Type::Text, "value 8999", None), []);
        assert_eq!(seen.sources(Type::Text, "value 17", None).len(), 1);
    }
}

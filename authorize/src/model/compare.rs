//! Holds what a model is told against what was observed: the user's words, and what the APIs answered.
//!
//! `altered` is said only of what cannot be what was observed in any form that is known. What cannot be told is `unknown`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    heard::Heard,
    prompt::{Prompt, Result, Said},
    same::{Form, Given, Known},
};
use crate::occurs;

/// How the user's words stand in a prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Words {
    /// As they were registered, but for spacing and forms of characters; other text may stand around them.
    Present,
    /// Not as they were registered, though most of them are there.
    Altered,
    /// Not there.
    Absent,
}

impl Words {
    /// The word in the record.
    pub const fn as_str(self) -> &'static str {
        match self {
            Words::Present => "present",
            Words::Altered => "altered",
            Words::Absent => "absent",
        }
    }
}

/// How a tool's result is what an API answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Faith {
    /// It is what an API answered, or a part of that.
    Faithful,
    /// It says something else than the API answered.
    Altered,
    /// It cannot be told.
    Unknown,
}

/// One result, compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Compared {
    /// A pointer into the request's body.
    pub at: String,
    /// The id of the proposed call that it answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// What was found.
    pub is: Faith,
    /// The entry of the call whose answer it was compared with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub call: Option<String>,
    /// In what form it is faithful.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub form: Option<Form>,
    /// Why it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// A text in the user's name, compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Spoken {
    /// A pointer into the request's body.
    pub at: String,
    /// `words`: exactly the user's words; `around`: more than these; `attached`: what the user attached; `other`: anything else.
    pub is: &'static str,
}

/// A prompt, compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Comparison {
    /// The user's words.
    pub words: Words,
    /// What is said in the user's name.
    pub user: Vec<Spoken>,
    /// The results of tools.
    pub results: Vec<Compared>,
    /// Tools that the provider runs itself.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hosted: Vec<String>,
    /// The earlier answer that the request goes on from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub previous: Option<String>,
}

impl Comparison {
    /// How many results are so.
    pub fn count(&self, faith: Faith) -> u64 {
        self.results.iter().filter(|result| result.is == faith).count() as u64
    }
}

/// What is known under an instruction when a prompt comes.
#[derive(Debug, Clone, Copy)]
pub struct Observed<'a> {
    /// The user's words.
    pub words: &'a str,
    /// What the user attached.
    pub attached: &'a [String],
    /// What APIs answered.
    pub heard: &'a Heard,
    /// The calls that were made of proposed ones: the call's entry, by the id that the model gave the proposal.
    pub made: &'a BTreeMap<String, String>,
    /// How the words stood in earlier prompts, by the id of the answer.
    pub earlier: &'a BTreeMap<String, Words>,
}

/// Compares a prompt with what was observed.
pub fn compare(prompt: &Prompt, observed: &Observed<'_>) -> Comparison {
    let mut known = Known::default();
    observed.heard.answers().flat_map(|answer| &answer.values).for_each(|value| known.add(value));
    std::iter::once(observed.words)
        .chain(observed.attached.iter().map(String::as_str))
        .for_each(|text| known.add_text(text));
    let before = prompt.previous.as_ref().and_then(|previous| observed.earlier.get(previous));
    let mut words = words(&prompt.user, observed.words);
    // The provider has what was said before, and this request only goes on from there.
    if let Some(before) = before.filter(|_| words == Words::Absent) {
        words = *before;
    }
    Comparison {
        words,
        user: prompt.user.iter().map(|said| spoken(said, observed)).collect(),
        results: prompt.results.iter().map(|result| compared(result, observed, &known)).collect(),
        hosted: prompt.hosted.clone(),
        previous: prompt.previous.clone(),
    }
}

/// How the user's words stand in what is said in their name.
fn words(user: &[Said], words: &str) -> Words {
    let wanted = occurs::composed(words);
    if wanted.is_empty() || user.iter().any(|said| occurs::stands_whole(&wanted, &occurs::composed(&said.text))) {
        return Words::Present;
    }
    let wanted = parts(&wanted);
    let has_most = |said: &Said| {
        let mut left = parts(&occurs::composed(&said.text));
        let found = wanted.iter().filter(|word| {
            let at = left.iter().position(|other| other == *word);
            at.map(|at| left.swap_remove(at)).is_some()
        });
        found.count().saturating_mul(2) >= wanted.len()
    };
    if user.iter().any(has_most) { Words::Altered } else { Words::Absent }
}

/// The words of a text; where none are parted by spaces, its characters.
fn parts(text: &str) -> Vec<String> {
    let lower = text.to_lowercase();
    let words: Vec<String> =
        lower.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).map(str::to_owned).collect();
    let long = words.iter().map(|word| word.chars().count()).max().unwrap_or(0) > 32 || !lower.is_ascii();
    if long { lower.chars().filter(|c| c.is_alphanumeric()).map(String::from).collect() } else { words }
}

fn spoken(said: &Said, observed: &Observed<'_>) -> Spoken {
    let (text, words) = (occurs::composed(&said.text), occurs::composed(observed.words));
    let is = if text == words {
        "words"
    } else if !words.is_empty() && occurs::stands_whole(&words, &text) {
        "around"
    } else if observed.attached.iter().any(|attached| occurs::composed(attached) == text) {
        "attached"
    } else {
        "other"
    };
    Spoken { at: said.at.clone(), is }
}

fn compared(result: &Result, observed: &Observed<'_>, known: &Known) -> Compared {
    let made = result.id.as_ref().and_then(|id| observed.made.get(id));
    let answer = made.and_then(|call| observed.heard.answer(call));
    let found = |is, call: Option<&str>, form, why: Option<String>| Compared {
        at: result.at.clone(),
        id: result.id.clone(),
        is,
        call: call.map(str::to_owned),
        form,
        why,
    };
    let Some(text) = &result.text else {
        return found(Faith::Unknown, None, None, Some("it has no text".to_owned()));
    };
    let given = Given::new(text);
    // First the answer to the very call that the model proposed, then every other.
    let others = || observed.heard.answers().filter(|other| answer.is_none_or(|answer| answer.call != other.call));
    for (index, candidate) in answer.into_iter().chain(others()).enumerate() {
        let Some(form) = candidate.values.iter().find_map(|value| given.form(value)) else { continue };
        if answer.is_some() && index > 0 {
            let why = "it is the answer to another call than the one proposed".to_owned();
            return found(Faith::Unknown, Some(&candidate.call), Some(form), Some(why));
        }
        return found(Faith::Faithful, Some(&candidate.call), Some(form), None);
    }
    if let Some(answer) = answer {
        if answer.values.iter().any(|value| given.differs_in_place(value, false)) {
            return found(
                Faith::Altered,
                Some(&answer.call),
                None,
                Some("it has other values in the answer's places".to_owned()),
            );
        }
        let foreign = given.foreign(known).filter(|_| answer.values.iter().all(|value| given.leaves_out(value)));
        return match foreign {
            Some(foreign) => found(
                Faith::Altered,
                Some(&answer.call),
                None,
                Some(format!("`{foreign}` is in nothing observed, and a value of the answer is not in it")),
            ),
            None => {
                found(Faith::Unknown, Some(&answer.call), None, Some("it says the answer in other words".to_owned()))
            }
        };
    }
    let near =
        observed.heard.answers().find(|answer| answer.values.iter().any(|value| given.differs_in_place(value, true)));
    match near {
        Some(near) => {
            found(Faith::Altered, Some(&near.call), None, Some("it has other values in an answer's places".to_owned()))
        }
        None => found(Faith::Unknown, None, None, Some("no answer like it was observed".to_owned())),
    }
}

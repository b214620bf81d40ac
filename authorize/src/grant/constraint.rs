//! What an argument's value must be.

use std::sync::OnceLock;

use regex::{Regex, RegexBuilder};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::{catalogue::Type, occurs};

/// The most memory of a compiled pattern, in bytes.
const PATTERN_BYTES: usize = 256 << 10;

/// A regular expression that a whole text must match; compiled once.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct Pattern {
    text: String,
    compiled: OnceLock<Option<Regex>>,
}

impl Pattern {
    /// What is wrong with it, if anything.
    fn problem(&self) -> Option<String> {
        // Alone too, so that it cannot close the group that is put around it.
        let alone = RegexBuilder::new(&self.text).size_limit(PATTERN_BYTES).build().ok();
        alone
            .and(self.regex())
            .is_none()
            .then(|| format!("the pattern `{}` is not a regular expression, or too large", self.text))
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    fn regex(&self) -> Option<&Regex> {
        let compile = || RegexBuilder::new(&format!("^(?:{})$", self.text)).size_limit(PATTERN_BYTES).build().ok();
        self.compiled.get_or_init(compile).as_ref()
    }

    fn matches(&self, value: &str) -> bool {
        self.regex().is_some_and(|regex| regex.is_match(value))
    }
}

impl From<&str> for Pattern {
    fn from(text: &str) -> Pattern {
        Pattern::from(text.to_owned())
    }
}

impl From<String> for Pattern {
    fn from(text: String) -> Pattern {
        Pattern { text, compiled: OnceLock::new() }
    }
}

impl From<Pattern> for String {
    fn from(pattern: Pattern) -> String {
        pattern.text
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Pattern) -> bool {
        self.text == other.text
    }
}

impl Eq for Pattern {}

/// What an argument's value must be. All that is given must hold.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Constraint {
    /// Exactly this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub equals: Option<String>,
    /// One of these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub one_of: Option<Vec<String>>,
    /// At least this decimal number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minimum: Option<String>,
    /// At most this decimal number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maximum: Option<String>,
    /// The whole text matches this regular expression.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pattern: Option<Pattern>,
    /// Begins with this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// A list of which every item is one of these; the empty list too, unless something else is asked for as well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subset: Option<Vec<String>>,
}

impl Constraint {
    /// What is wrong with it, if anything.
    pub(crate) fn problem(&self) -> Option<String> {
        let number = |bound: &Option<String>| bound.as_ref().filter(|bound| occurs::decimal(bound).is_none()).cloned();
        if let Some(bound) = number(&self.minimum).or_else(|| number(&self.maximum)) {
            return Some(format!("the bound `{bound}` is not a decimal number"));
        }
        self.pattern.as_ref().and_then(Pattern::problem)
    }

    /// Whether a value holds to it.
    pub fn allows(&self, ty: Type, value: &str) -> bool {
        let equal = |wanted: &String| occurs::same(ty, wanted, value) || wanted == value;
        let bound = |bound: &Option<String>, good: fn(Decimal, Decimal) -> bool| {
            bound.as_ref().is_none_or(|bound| {
                occurs::decimal(bound).zip(occurs::decimal(value)).is_some_and(|(bound, value)| good(value, bound))
            })
        };
        self.equals.as_ref().is_none_or(equal)
            && self.one_of.as_ref().is_none_or(|list| list.iter().any(equal))
            && self.subset.as_ref().is_none_or(|list| list.iter().any(equal))
            && bound(&self.minimum, |value, bound| value >= bound)
            && bound(&self.maximum, |value, bound| value <= bound)
            && self.prefix.as_ref().is_none_or(|prefix| value.starts_with(prefix.as_str()))
            && self.pattern.as_ref().is_none_or(|pattern| pattern.matches(value))
    }

    /// Whether the constraint itself names the value: then the host is its source.
    pub fn names(&self, ty: Type, value: &str) -> bool {
        let equal = |wanted: &String| occurs::same(ty, wanted, value);
        let listed = |list: &Option<Vec<String>>| list.as_ref().is_some_and(|list| list.iter().any(equal));
        self.equals.as_ref().is_some_and(equal) || listed(&self.one_of) || listed(&self.subset)
    }

    /// Whether a list without items holds to it: of nothing nothing can be said but that all of it is in a set.
    pub fn allows_none(&self) -> bool {
        let Constraint { equals, one_of, minimum, maximum, pattern, prefix, subset } = self;
        let other = [equals, minimum, maximum, prefix].iter().any(|kind| kind.is_some());
        subset.is_some() && !other && one_of.is_none() && pattern.is_none()
    }
}

//! When two values are the same, and when a value stands in a text, by its type.
//!
//! A text may be written in many ways (case, spacing, forms of numbers and dates, grouped accounts, full-width forms). The value that is
//! sent may not: what would reach the API in another spelling than the one that was seen counts as the same only where every API reads it
//! alike. And there are no accidents: "4.00" does not stand in `id: 41`, "10" not in "2010", "19" not in a grouped IBAN.

mod chinese;
mod dates;
mod numerals;
mod within;

use std::collections::BTreeSet;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use unicode_normalization::{IsNormalized, UnicodeNormalization as _, is_nfkc_quick};

use self::numerals::numerals;
pub(crate) use self::within::addresses;
use crate::catalogue::Type;

/// Between texts: a character that no text has, so that no value stands across.
const PART: &str = "\u{1F}";

/// A text in the forms in which it is searched: NFKC with runs of white space as one space, as written and in lower case.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub(crate) struct Text {
    exact: String,
    folded: String,
}

impl Text {
    pub(crate) fn new(text: &str) -> Text {
        let exact = compose(text);
        let folded = exact.chars().flat_map(char::to_lowercase).collect();
        Text { exact, folded }
    }

    /// Adds a text behind this one, as one of its own.
    pub(crate) fn append(&mut self, other: &Text) {
        for (text, more) in [(&mut self.exact, &other.exact), (&mut self.folded, &other.folded)] {
            if !text.is_empty() {
                text.push_str(PART);
            }
            text.push_str(more);
        }
    }

    /// How much memory it takes, in bytes.
    pub(crate) const fn bytes(&self) -> usize {
        self.exact.len() + self.folded.len()
    }
}

impl From<String> for Text {
    fn from(exact: String) -> Text {
        Text::new(&exact)
    }
}

impl From<Text> for String {
    fn from(text: Text) -> String {
        text.exact
    }
}

/// NFKC, runs of white space as one space, none at the ends.
fn compose(text: &str) -> String {
    let mut composed = String::with_capacity(text.len());
    let mut space = false;
    for c in text.nfkc() {
        if c.is_whitespace() {
            space = !composed.is_empty();
        } else {
            if std::mem::take(&mut space) {
                composed.push(' ');
            }
            composed.push(c);
        }
    }
    composed
}

/// A text in the one form in which texts are compared: NFKC, single spaces.
pub(crate) fn composed(text: &str) -> String {
    compose(text)
}

/// The same in lower case.
pub(crate) fn folded(text: &str) -> String {
    fold(text)
}

/// Whether a composed text has another as a whole, not as part of a longer word, number or address.
pub(crate) fn stands_whole(phrase: &str, text: &str) -> bool {
    phrases(phrase, text).next().is_some()
}

fn fold(text: &str) -> String {
    compose(text).chars().flat_map(char::to_lowercase).collect()
}

/// A decimal number in the one form in which requests may write it: no plus, no leading zeros, no bare point, no minus zero.
pub(crate) fn decimal(text: &str) -> Option<Decimal> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = digits.split_once('.').map_or((digits, None), |(whole, fraction)| (whole, Some(fraction)));
    let all_digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let plain = all_digits(whole) && (whole == "0" || !whole.starts_with('0')) && fraction.is_none_or(all_digits);
    let number = Decimal::from_str_exact(text).ok().filter(|_| plain)?;
    (!number.is_zero() || !text.starts_with('-')).then_some(number)
}

/// A calendar date as `YYYY-MM-DD`.
pub(crate) fn date(text: &str) -> Option<jiff::civil::Date> {
    let shape = text.len() == 10
        && text
            .bytes()
            .enumerate()
            .all(|(at, byte)| if at == 4 || at == 7 { byte == b'-' } else { byte.is_ascii_digit() });
    if shape { text.parse().ok() } else { None }
}

/// Whether a text has characters that people do not see, or that turn the reading direction.
pub(crate) fn has_invisible(text: &str) -> bool {
    text.chars().any(|c| {
        c.is_control()
            || matches!(c, '\u{AD}' | '\u{61C}' | '\u{180E}' | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}'
                | '\u{2060}'..='\u{206F}' | '\u{FEFF}' | '\u{FFF9}'..='\u{FFFB}' | '\u{E0000}'..='\u{E0FFF}')
    })
}

/// The spelling that all equal values of a type share; none when the text is empty or no value of the type.
pub(crate) fn key(ty: Type, value: &str) -> Option<String> {
    match ty {
        _ if value.is_empty() => None,
        Type::Money | Type::Integer => decimal(value).map(|number| number.normalize().to_string()),
        Type::Date => date(value).map(|date| date.to_string()),
        Type::Account => Some(squeeze(value).unwrap_or_else(|| fold(value))),
        Type::Url => Some(url(value)),
        Type::Identifier => Some(value.to_owned()),
        Type::Text | Type::Email | Type::Boolean => Some(fold(value)),
    }
}

/// Whether two scalars of a type are the same value.
pub(crate) fn same(ty: Type, one: &str, other: &str) -> bool {
    key(ty, one).is_some_and(|one| key(ty, other) == Some(one))
}

/// A value prepared to be looked for in texts.
#[derive(Debug, Clone)]
pub(crate) enum Needle {
    /// In no text, whatever it says.
    Nowhere,
    /// An amount, with the digits that every way of writing it begins with.
    Amount(Decimal, String),
    /// A whole number, with the same.
    Count(Decimal, String),
    /// One of these phrases, without regard to case.
    Phrases(Vec<String>),
    /// A date in one of these forms; or in one of these without a year, where the text names only this year.
    Date(Vec<String>, Vec<String>, i16),
    /// A name without regard to case, or this account number in any grouping.
    Account(String, String),
    /// This, case counts.
    Exact(String),
    /// Digits that name something.
    Digits(String),
    /// A URL.
    Url(String),
    /// An e-mail address.
    Email(String),
}

impl Needle {
    pub(crate) fn new(ty: Type, value: &str) -> Needle {
        // A name in full-width letters is the user's; an account or address in them reaches the API as another one.
        let plain = is_nfkc_quick(value.chars()) == IsNormalized::Yes || compose(value) == value;
        let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
        match ty {
            Type::Money | Type::Integer => match decimal(value) {
                Some(number) if ty == Type::Money => Needle::Amount(number, leading_digits(value)),
                Some(number) => Needle::Count(number, leading_digits(value)),
                None => Needle::Nowhere,
            },
            Type::Date => date(value).map_or(Needle::Nowhere, |date| {
                Needle::Date(dates::forms(date), dates::without_year(date), date.year())
            }),
            Type::Text => Needle::Phrases(vec![fold(value)]),
            Type::Boolean => Needle::Nowhere,
            _ if !plain => Needle::Nowhere,
            Type::Account if digits && value.len() < 8 => Needle::Digits(value.to_owned()),
            Type::Account => match squeeze(value) {
                Some(number) => Needle::Account(fold(value), number.to_ascii_lowercase()),
                None => Needle::Phrases(vec![fold(value)]),
            },
            Type::Identifier if digits => Needle::Digits(value.to_owned()),
            Type::Identifier => Needle::Exact(value.to_owned()),
            // What has not the form of an address is none, though it stands there for something else.
            Type::Url if value.contains(['.', ':', '/']) => Needle::Url(url(value)),
            Type::Email if value.contains('@') => Needle::Email(fold(value)),
            Type::Url | Type::Email => Needle::Nowhere,
        }
    }

    /// Whether the value stands in a text.
    pub(crate) fn is_in(&self, text: &Text) -> bool {
        self.places(text).next().is_some()
    }

    /// How often the value stands in a text.
    pub(crate) fn times_in(&self, text: &Text) -> usize {
        self.places(text).count()
    }

    fn places<'t>(&'t self, text: &'t Text) -> Box<dyn Iterator<Item = ()> + 't> {
        let folded = text.folded.as_str();
        let none = || Box::new(std::iter::empty());
        match self {
            Needle::Nowhere => none(),
            Needle::Amount(value, digits) => {
                let figures = numerals_with(digits, folded).filter(|numeral| numeral.amount() == Some(*value));
                each(figures.map(drop).chain(chinese::amounts(folded).filter(move |amount| amount == value).map(drop)))
            }
            Needle::Count(value, digits) => {
                each(numerals_with(digits, folded).filter(|numeral| numeral.count() == Some(*value)))
            }
            Needle::Digits(digits) => each(numerals_with(digits, folded).filter(|numeral| numeral.is_name(digits))),
            Needle::Phrases(wanted) => each(wanted.iter().flat_map(|wanted| phrases(wanted, folded))),
            Needle::Date(whole, short, year) => {
                let short = short.iter().filter(move |_| dates::only_year(folded) == Some(*year));
                let places: BTreeSet<usize> =
                    whole.iter().chain(short).flat_map(|wanted| phrases(wanted, folded)).collect();
                each(places.into_iter())
            }
            Needle::Account(name, number) => {
                let places: BTreeSet<usize> = phrases(name, folded).chain(accounts(number, folded)).collect();
                each(places.into_iter())
            }
            Needle::Exact(value) => each(phrases(value, &text.exact)),
            Needle::Url(value) => each(tokens(&text.exact).filter(move |token| url(token) == *value)),
            Needle::Email(value) if folded.contains(value) => each(emails(value, folded)),
            Needle::Email(_) => none(),
        }
    }
}

/// The numbers in a text, if it has these digits at all.
fn numerals_with<'t>(digits: &str, text: &'t str) -> impl Iterator<Item = numerals::Numeral<'t>> + use<'t> {
    text.contains(digits).then(|| numerals(text)).into_iter().flatten()
}

fn each<'t, T: 't>(places: impl Iterator<Item = T> + 't) -> Box<dyn Iterator<Item = ()> + 't> {
    Box::new(places.map(drop))
}

/// The digits with which a number begins however its thousands are grouped.
fn leading_digits(value: &str) -> String {
    let whole = value.trim_start_matches('-').split('.').next().unwrap_or_default();
    let length = if whole.len() > 3 { 1 } else { whole.len() };
    whole.chars().take(length).collect()
}

/// An account number without its groups: upper case, spaces and hyphens left out. None when it is a name, or too short to be told from one.
fn squeeze(text: &str) -> Option<String> {
    let number: String = text.chars().filter(|c| !matches!(c, ' ' | '-')).map(|c| c.to_ascii_uppercase()).collect();
    let long = number.len() >= 8 && number.bytes().all(|byte| byte.is_ascii_alphanumeric());
    (long && number.bytes().any(|byte| byte.is_ascii_digit())).then_some(number)
}

/// Scheme and host in lower case, no `/` at the end, the rest as it is. Without a scheme it means https.
fn url(text: &str) -> String {
    let (scheme, rest) = match text.split_once("://") {
        Some(parts) => parts,
        None if text.contains('.') => ("https", text),
        None => return text.to_owned(),
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (host, path) = rest.split_at(end);
    let path = if path.contains(['?', '#']) { path } else { path.strip_suffix('/').unwrap_or(path) };
    format!("{}://{}{path}", scheme.to_ascii_lowercase(), host.to_ascii_lowercase())
}

/// The words of a text that can be addresses, without the punctuation around them.
fn tokens(text: &str) -> impl Iterator<Item = &str> {
    let parts = |c: char| {
        c == ' '
            || is_unspaced(c)
            || matches!(c, '<' | '>' | '"' | '(' | ')' | '[' | ']' | '{' | '}' | '`' | '«' | '»' | '“' | '”')
    };
    text.split(parts)
        .map(|token| token.trim_matches(['.', ',', ';', ':', '!', '?', '\'', '’', '‘', '*']))
        .filter(|token| !token.is_empty())
}

fn emails<'t>(wanted: &'t str, text: &'t str) -> impl Iterator<Item = &'t str> {
    let bare = move |token: &&str| token.strip_prefix("mailto:").unwrap_or(token).trim_matches(['.', ':']) == wanted;
    tokens(text).flat_map(|token| token.split([',', ';'])).filter(bare)
}

/// Where an account number stands in a text, in any grouping.
fn accounts<'t>(number: &'t str, text: &'t str) -> impl Iterator<Item = usize> + 't {
    let first = number.chars().next();
    text.char_indices().filter(move |(_, c)| Some(*c) == first).map(|(at, _)| at).filter(move |at| {
        let (before, rest) = text.split_at(*at);
        before.chars().next_back().is_none_or(|before| !joins(before)) && grouped(number, rest)
    })
}

/// Whether `text` begins with `number`, its groups parted by single spaces or hyphens, and then ends or goes on with something else.
fn grouped(number: &str, text: &str) -> bool {
    let (mut rest, mut parted) = (text.chars(), true);
    for wanted in number.chars() {
        loop {
            match rest.next() {
                Some(c) if c == wanted => {
                    parted = false;
                    break;
                }
                Some(' ' | '-') if !parted => parted = true,
                _ => return false,
            }
        }
    }
    match rest.next() {
        // A further group of digits belongs to the number.
        Some(' ' | '-') => !numerals::is_group(rest.as_str().split([' ', '-']).next()),
        next => next.is_none_or(|c| !joins(c)),
    }
}

/// Scripts that are written without spaces around numbers and names.
fn is_unspaced(c: char) -> bool {
    matches!(c, '\u{2E80}'..='\u{9FFF}' | '\u{AC00}'..='\u{D7AF}' | '\u{F900}'..='\u{FAFF}')
}

/// Whether a character makes a word longer.
fn joins(c: char) -> bool {
    c.is_alphanumeric() && !is_unspaced(c)
}

/// Where a phrase stands in a text, not as part of a longer word, number or address.
fn phrases<'t>(phrase: &'t str, text: &'t str) -> impl Iterator<Item = usize> + 't {
    let found = (!phrase.is_empty()).then(|| text.match_indices(phrase)).into_iter().flatten();
    found.map(|(at, _)| at).filter(move |at| {
        let (before, rest) = text.split_at(*at);
        let after = rest.strip_prefix(phrase).unwrap_or_default();
        ends_before(before) && begins_after(after)
    })
}

const LONGER: [char; 9] = ['@', '_', '/', '%', '&', '=', '+', '#', '\\'];

fn ends_before(before: &str) -> bool {
    let mut before = before.chars().rev();
    let (last, earlier) = (before.next(), before.next());
    match last {
        Some('.' | '-' | ':' | '\'' | '’') => !earlier.is_some_and(joins),
        Some(c) => !joins(c) && (!LONGER.contains(&c) || c == '#'),
        None => true,
    }
}

/// A full stop, hyphen or colon joins only when something follows it: `a.b` is longer than `a`, `a.` is not. `Ann's` is about Ann.
fn begins_after(after: &str) -> bool {
    let mut rest = after.chars();
    let (next, beyond, later) = (rest.next(), rest.next(), rest.next());
    match next {
        Some('\'' | '’') if beyond == Some('s') && !later.is_some_and(joins) => true,
        Some('.' | '-' | ':' | '\'' | '’') => !beyond.is_some_and(joins),
        Some(c) => !joins(c) && !LONGER.contains(&c),
        None => true,
    }
}

#[cfg(test)]
mod tests;

//! The numbers in a text, and what each of them can be: an amount, a count, a name, or a part of something else.

use rust_decimal::Decimal;

use super::{dates::is_month, joins};

/// A run of digits with separators between them, and what stands around it. Lower case.
pub(super) struct Numeral<'t> {
    run: &'t str,
    before: &'t str,
    after: &'t str,
}

/// The numbers in a text.
pub(super) fn numerals(text: &str) -> impl Iterator<Item = Numeral<'_>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let rest = text.get(at..)?;
        let start = at + rest.find(|c: char| c.is_ascii_digit())?;
        let rest = text.get(start..)?;
        let mut end = rest.len();
        for (index, c) in rest.char_indices() {
            let within = matches!(c, '.' | ',' | '\'' | '’');
            let digit_follows = || {
                let next = rest.get(index + c.len_utf8()..).and_then(|rest| rest.chars().next());
                next.is_some_and(|c| c.is_ascii_digit())
            };
            if !(c.is_ascii_digit() || (within && digit_follows())) {
                end = index;
                break;
            }
        }
        at = start + end;
        Some(Numeral { run: rest.get(..end)?, before: text.get(..start)?, after: rest.get(end..)? })
    })
}

impl Numeral<'_> {
    /// The amount of money it can be.
    pub(super) fn amount(&self) -> Option<Decimal> {
        let measure = is_measure(self.next_word()) || self.after.trim_start().starts_with('%');
        if self.is_alone() && !measure && !self.is_dated() && !self.is_marked() { parse(self.run) } else { None }
    }

    /// The count it can be.
    pub(super) fn count(&self) -> Option<Decimal> {
        if self.is_alone() && !self.is_dated() && !self.is_marked() && !self.has_currency() {
            parse(self.run)
        } else {
            None
        }
    }

    /// Whether it can be the name of something: `transaction 7`, `no. 7`, `#7`.
    pub(super) fn is_name(&self, digits: &str) -> bool {
        let measure = is_measure(self.next_word()) || self.after.trim_start().starts_with('%');
        self.run == digits && self.is_alone() && !measure && !self.is_dated() && !self.has_currency()
    }

    /// Not a part of a word, address, time, version, or of a number written in groups.
    fn is_alone(&self) -> bool {
        let mut before = self.before.chars().rev();
        let (last, earlier) = (before.next(), before.next());
        let free_before = match last {
            Some('-' | '/' | ':' | '.' | ',' | '\'' | '’') => !earlier.is_some_and(joins),
            Some(' ') => {
                !earlier.is_some_and(|c| c.is_ascii_digit()) || !is_group(self.before.trim_end().rsplit(' ').next())
            }
            Some(c) if joins(c) => is_currency(last_word(self.before)),
            Some(c) => !matches!(c, '_' | '@' | '=' | '&' | '\\' | '+'),
            None => true,
        };
        let mut after = self.after.chars();
        let (next, beyond) = (after.next(), after.next());
        let free_after = match next {
            Some('-' | '/' | ':' | '\'' | '’') => !beyond.is_some_and(joins),
            Some(' ') => {
                !beyond.is_some_and(|c| c.is_ascii_digit()) || !is_group(self.after.trim_start().split(' ').next())
            }
            Some(c) if joins(c) => is_currency(first_word(self.after)),
            Some(c) => !matches!(c, '_' | '@' | '%' | '=' | '&' | '\\' | '°'),
            None => true,
        };
        free_before && free_after && !self.is_lettered_group()
    }

    /// A group of an account number such as `gb29 nwbk 6016`: the word before it is a group too.
    fn is_lettered_group(&self) -> bool {
        let before = self.before.strip_suffix([' ', '-']).unwrap_or_default();
        let word = before.rsplit([' ', '-']).next().unwrap_or_default();
        let mixed =
            word.bytes().any(|byte| byte.is_ascii_digit()) && word.bytes().any(|byte| byte.is_ascii_alphabetic());
        let earlier = before.strip_suffix(word).unwrap_or_default().trim_end_matches([' ', '-']);
        let earlier = earlier.rsplit([' ', '-']).next().unwrap_or_default();
        // `gb29 6016`, and `gb29 nwbk 6016`.
        let is_iban_head = |word: &str| {
            let bytes = word.as_bytes();
            bytes.len() == 4
                && matches!(bytes, [a, b, c, d] if a.is_ascii_alphabetic() && b.is_ascii_alphabetic() && c.is_ascii_digit() && d.is_ascii_digit())
        };
        (mixed && is_iban_head(word)) || is_iban_head(earlier)
    }

    /// `#5` is a name.
    fn is_marked(&self) -> bool {
        self.before.ends_with('#')
    }

    /// A part of a date: beside the name of a month, or before 年, 月, 日, 号.
    fn is_dated(&self) -> bool {
        let previous = last_word(self.before.trim_end_matches([' ', ',', '.']));
        let year_after_day = || {
            // `april 1, 2022`: the month stands before the day.
            let earlier = self.before.trim_end_matches([' ', ',']);
            let day = earlier.rsplit(' ').next().unwrap_or_default();
            let month = earlier.strip_suffix(day).unwrap_or_default().trim_end();
            let figures = day.trim_end_matches(char::is_alphabetic);
            is_month(last_word(month))
                && matches!(figures.len(), 1 | 2)
                && figures.bytes().all(|byte| byte.is_ascii_digit())
                && self.run.len() == 4
        };
        let next = self.next_word();
        let small = self.run.parse::<u32>().is_ok_and(|number| matches!(number, 1..=31 | 1900..=2199));
        let named = is_month(previous) || is_month(next) || (next == "of" && self.month_after_of()) || year_after_day();
        (small && named) || self.after.starts_with(['年', '月', '日', '号', '時', '时'])
    }

    fn month_after_of(&self) -> bool {
        let rest = self.after.trim_start().strip_prefix("of").unwrap_or_default();
        is_month(first_word(rest))
    }

    /// Beside a sign or code of a currency.
    fn has_currency(&self) -> bool {
        const SIGNS: [char; 12] = ['$', '€', '£', '¥', '₹', '₽', '₩', '₺', '₿', '元', '円', '¢'];
        let before = self.before.trim_end();
        before.ends_with(SIGNS)
            || self.after.trim_start().starts_with(SIGNS)
            || is_currency(last_word(before))
            || is_currency(self.next_word())
    }

    fn next_word(&self) -> &str {
        first_word(self.after)
    }
}

/// Whether a word is nothing but digits: then it and the digits beside it are groups of one number.
pub(super) fn is_group(word: Option<&str>) -> bool {
    let digits =
        word.unwrap_or_default().trim_start_matches(['+', '(']).trim_end_matches(['.', ',', ')', '!', '?', ';']);
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

fn last_word(text: &str) -> &str {
    text.rsplit(|c: char| !c.is_alphabetic()).next().unwrap_or_default()
}

fn first_word(text: &str) -> &str {
    let text = text.trim_start();
    let end = text.find(|c: char| !c.is_alphabetic()).unwrap_or(text.len());
    text.get(..end).unwrap_or_default()
}

/// Codes and English names of common currencies.
fn is_currency(word: &str) -> bool {
    const WORDS: [&str; 26] = [
        "eur", "usd", "gbp", "chf", "jpy", "cny", "inr", "aud", "cad", "nzd", "sek", "nok", "dkk", "pln", "czk", "btc",
        "euro", "euros", "dollar", "dollars", "pound", "pounds", "bucks", "quid", "cents", "yen",
    ];
    WORDS.contains(&word)
}

/// What is counted in such words is no money and no name.
fn is_measure(word: &str) -> bool {
    matches!(
        word,
        "percent"
            | "per"
            | "pct"
            | "prozent"
            | "am"
            | "pm"
            | "uhr"
            | "second"
            | "seconds"
            | "minute"
            | "minutes"
            | "hour"
            | "hours"
            | "day"
            | "days"
            | "week"
            | "weeks"
            | "month"
            | "months"
            | "year"
            | "years"
            | "times"
    )
}

/// A number as people write it: `1,000.00`, `1.000,00`, `1'000`, `98.70`, `12,5`. A comma before three digits groups thousands. A full stop
/// before three digits may be either (`1.000`), and then it is neither.
fn parse(run: &str) -> Option<Decimal> {
    let run = run.replace('’', "'");
    let decimal_at = match (run.rfind('.'), run.rfind(',')) {
        (None, None) => None,
        (Some(dot), Some(comma)) => Some(dot.max(comma)),
        (Some(dot), None) if run.matches('.').count() == 1 => Some(dot),
        (None, Some(comma)) if run.matches(',').count() == 1 => Some(comma),
        _ => None,
    };
    let (whole, fraction) = match decimal_at {
        None => (run.as_str(), ""),
        Some(at) => (run.get(..at)?, run.get(at + 1..)?),
    };
    let separator = decimal_at.and_then(|at| run.get(at..=at)).unwrap_or_default();
    let lone = decimal_at.is_some() && whole.bytes().all(|byte| byte.is_ascii_digit());
    if lone && fraction.len() == 3 && whole != "0" && whole.len() <= 3 {
        return if separator == "," { Decimal::from_str_exact(&format!("{whole}{fraction}")).ok() } else { None };
    }
    let digits = ungroup(whole, separator)?;
    let number = if fraction.is_empty() { digits } else { format!("{digits}.{fraction}") };
    Decimal::from_str_exact(&number).ok()
}

/// The digits of a whole number in groups of three (or of two before the last three, as in India), parted by one kind of separator.
fn ungroup(whole: &str, decimal_separator: &str) -> Option<String> {
    let Some(separator) = ['.', ',', '\''].into_iter().find(|separator| whole.contains(*separator)) else {
        return Some(whole.to_owned());
    };
    let groups: Vec<&str> = whole.split(separator).collect();
    let digits = groups.iter().all(|group| !group.is_empty() && group.bytes().all(|byte| byte.is_ascii_digit()));
    let (last, front) = groups.split_last()?;
    let (first, middle) = front.split_first()?;
    let sizes = |size: usize| first.len() <= size && middle.iter().all(|group| group.len() == size);
    let grouped = last.len() == 3 && (sizes(3) || (separator == ',' && sizes(2)));
    (digits && grouped && decimal_separator != separator.to_string()).then(|| groups.concat())
}

//! When a value stands in a text, by its type: honest normalisation (case, spacing, forms of numbers and dates, grouped accounts,
//! full-width forms), and no accidents ("4.00" does not stand in `id: 4 items`, "10" not in "2010").

use rust_decimal::Decimal;
use unicode_normalization::UnicodeNormalization as _;

use crate::catalogue::Type;

/// A text in the form in which it is searched: NFKC, lower case, runs of white space as one space.
pub(crate) fn fold(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    let mut space = false;
    for c in text.nfkc().flat_map(char::to_lowercase) {
        if c.is_whitespace() {
            space = !folded.is_empty();
        } else {
            if std::mem::take(&mut space) {
                folded.push(' ');
            }
            folded.push(c);
        }
    }
    folded
}

/// A decimal number as requests and responses write it.
pub(crate) fn decimal(text: &str) -> Option<Decimal> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'-'));
    if plain { Decimal::from_str_exact(text).ok() } else { None }
}

/// An ISO 8601 calendar date.
pub(crate) fn date(text: &str) -> Option<jiff::civil::Date> {
    (text.len() == 10).then(|| text.parse().ok()).flatten()
}

/// Whether two scalars of a type are the same value.
pub(crate) fn same(ty: Type, one: &str, other: &str) -> bool {
    match ty {
        Type::Money | Type::Integer => decimal(one).is_some_and(|one| decimal(other) == Some(one)),
        Type::Date => date(one).is_some_and(|one| date(other) == Some(one)),
        Type::Account => squeeze(one) == squeeze(other),
        Type::Url => url(one) == url(other),
        Type::Text | Type::Identifier | Type::Email | Type::Boolean => fold(one) == fold(other),
    }
}

/// Whether `value` of type `ty` stands in `text`, which is folded.
pub(crate) fn occurs(ty: Type, value: &str, text: &str) -> bool {
    match ty {
        Type::Money | Type::Integer => decimal(value).is_some_and(|value| numbers(text).any(|number| number == value)),
        Type::Date => date(value).is_some_and(|date| date_forms(date).iter().any(|form| phrase(form, text))),
        Type::Account => account(value, text),
        Type::Url => phrase(&url(value), text),
        Type::Text | Type::Identifier | Type::Email => phrase(&fold(value), text),
        Type::Boolean => false,
    }
}

/// Letters and digits only, upper case: grouped and ungrouped IBANs are the same.
fn squeeze(text: &str) -> String {
    text.nfkc().filter(|c| c.is_alphanumeric()).flat_map(char::to_uppercase).collect()
}

fn url(text: &str) -> String {
    let text = fold(text);
    text.trim_end_matches('/').to_owned()
}

/// Whether a character makes a word longer. Chinese, Japanese and Korean are written without spaces around numbers and names.
fn joins(c: char) -> bool {
    let unspaced = matches!(c, '\u{2E80}'..='\u{9FFF}' | '\u{AC00}'..='\u{D7AF}' | '\u{F900}'..='\u{FAFF}');
    c.is_alphanumeric() && !unspaced
}

/// Whether a folded phrase stands in a folded text, not as part of a longer word, number or address.
fn phrase(phrase: &str, text: &str) -> bool {
    if phrase.is_empty() {
        return false;
    }
    let longer = |c: char| joins(c) || matches!(c, '@' | '_' | '/' | '%' | '&' | '=');
    text.match_indices(phrase).any(|(at, _)| {
        let (before, rest) = text.split_at(at);
        let after = rest.strip_prefix(phrase).unwrap_or_default();
        let mut following = after.chars();
        let (next, beyond) = (following.next(), following.next());
        // A full stop, hyphen or colon joins only when something follows it: `a.b` is longer than `a`, `a.` is not.
        let joined_after =
            next.is_some_and(|c| longer(c) || (matches!(c, '.' | '-' | ':' | '\'') && beyond.is_some_and(joins)));
        let mut preceding = before.chars().rev();
        let (last, earlier) = (preceding.next(), preceding.next());
        let joined_before =
            last.is_some_and(|c| longer(c) || (matches!(c, '.' | '-' | ':') && earlier.is_some_and(joins)));
        !joined_after && !joined_before
    })
}

/// Accounts: spaces and hyphens inside do not count; a name is a phrase.
fn account(value: &str, text: &str) -> bool {
    if phrase(&fold(value), text) {
        return true;
    }
    let wanted: Vec<char> = squeeze(value).to_lowercase().chars().collect();
    // Short ones could be put together from neighbouring words.
    if wanted.len() < 8 || !wanted.iter().any(char::is_ascii_digit) {
        return false;
    }
    let chars: Vec<char> = text.chars().collect();
    (0..chars.len()).any(|start| {
        let fresh = start == 0 || chars.get(start - 1).is_some_and(|c| !joins(*c));
        fresh && grouped(&wanted, chars.get(start..).unwrap_or_default())
    })
}

/// Whether `text` begins with `wanted`, groups parted by single spaces or hyphens, and then ends or goes on with something else.
fn grouped(wanted: &[char], text: &[char]) -> bool {
    let (mut rest, mut separated) = (text.iter(), false);
    for want in wanted {
        loop {
            match rest.next() {
                Some(c) if c == want => {
                    separated = false;
                    break;
                }
                Some(' ' | '-') if !separated && rest.len() < text.len() => separated = true,
                _ => return false,
            }
        }
    }
    rest.next().is_none_or(|c| !joins(*c))
}

/// The numbers in a text that stand for themselves: not parts of words, dates, times, versions, accounts or percentages.
fn numbers(text: &str) -> impl Iterator<Item = Decimal> + '_ {
    let chars: Vec<char> = text.chars().collect();
    let mut at = 0;
    std::iter::from_fn(move || {
        while at < chars.len() {
            let start = at;
            if !chars.get(start).is_some_and(char::is_ascii_digit) {
                at += 1;
                continue;
            }
            while chars.get(at).is_some_and(|c| {
                c.is_ascii_digit()
                    || (matches!(c, '.' | ',' | '\'') && chars.get(at + 1).is_some_and(char::is_ascii_digit))
            }) {
                at += 1;
            }
            let run: String = chars.get(start..at).unwrap_or_default().iter().collect();
            let before = start.checked_sub(1).and_then(|index| chars.get(index));
            let earlier = start.checked_sub(2).and_then(|index| chars.get(index));
            let (after, beyond) = (chars.get(at), chars.get(at + 1));
            let stands_alone = stands_alone_before(before, earlier) && stands_alone_after(after, beyond);
            if let Some(number) = number(&run).filter(|_| stands_alone) {
                return Some(number);
            }
        }
        None
    })
}

fn stands_alone_before(before: Option<&char>, earlier: Option<&char>) -> bool {
    match before {
        Some('-' | '/' | ':' | '.' | ',') => !earlier.is_some_and(|c| joins(*c)),
        Some('_' | '#' | '@') => false,
        Some(c) => !joins(*c),
        None => true,
    }
}

fn stands_alone_after(after: Option<&char>, beyond: Option<&char>) -> bool {
    match after {
        Some('-' | '/' | ':') => !beyond.is_some_and(|c| joins(*c)),
        Some('%' | '_' | '@') => false,
        Some(c) => !joins(*c),
        None => true,
    }
}

/// A number as people write it: `1,000.00`, `1.000,00`, `1'000`, `98.70`. One comma before three digits groups thousands; a full stop
/// before three digits is a decimal point, as in JSON.
fn number(run: &str) -> Option<Decimal> {
    let Some(last) = run.rfind(['.', ',']) else {
        return Decimal::from_str_exact(&run.replace('\'', "")).ok();
    };
    let (whole, fraction) = run.split_at(last);
    let fraction = fraction.get(1..).unwrap_or_default();
    let kinds = [run.contains('.'), run.contains(',')];
    let separator = run.get(last..=last).unwrap_or_default();
    let times = run.matches(separator).count();
    let grouping_only = times > 1 || (separator == "," && fraction.len() == 3 && kinds != [true, true]);
    let digits = |part: &str| part.chars().filter(char::is_ascii_digit).collect::<String>();
    if grouping_only && kinds != [true, true] {
        return Decimal::from_str_exact(&digits(run)).ok();
    }
    if times > 1 {
        return None;
    }
    Decimal::from_str_exact(&format!("{}.{fraction}", digits(whole))).ok()
}

/// The forms in which a date is looked for, folded.
fn date_forms(date: jiff::civil::Date) -> Vec<String> {
    const MONTHS: [&str; 12] = [
        "january",
        "february",
        "march",
        "april",
        "may",
        "june",
        "july",
        "august",
        "september",
        "october",
        "november",
        "december",
    ];
    let (year, month, day) = (date.year(), date.month(), date.day());
    let mut forms = vec![
        format!("{year:04}-{month:02}-{day:02}"),
        format!("{year:04}/{month:02}/{day:02}"),
        format!("{day}.{month}.{year}"),
        format!("{day:02}.{month:02}.{year}"),
        format!("{year}年{month}月{day}日"),
    ];
    let name =
        usize::try_from(month).ok().and_then(|month| MONTHS.get(month.checked_sub(1)?)).copied().unwrap_or_default();
    for name in [name, name.get(..3).unwrap_or(name)] {
        forms.extend([format!("{day} {name} {year}"), format!("{name} {day}, {year}"), format!("{name} {day} {year}")]);
    }
    forms
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stand_in_texts_in_the_forms_people_use() {
        for (ty, value, text) in [
            (Type::Money, "98.7", "pay 98.70 now"),
            (Type::Money, "98.70", "Pay £98.7."),
            (Type::Money, "1000", "send 1,000.00 to her"),
            (Type::Money, "1000.00", "send 1.000,00 €"),
            (Type::Money, "1000", "send 1'000"),
            (Type::Money, "2200", "rent is 2200. Also"),
            (Type::Money, "12", "We spent 12.00 in total"),
            (Type::Money, "12.5", "es kostet 12,5 Euro"),
            (Type::Money, "1234567", "1,234,567"),
            (Type::Money, "50", "转账５０元"),
            (Type::Date, "2022-04-01", "on 1 April 2022"),
            (Type::Date, "2022-04-01", "by April 1, 2022!"),
            (Type::Date, "2022-04-01", "date: 2022-04-01"),
            (Type::Account, "GB29NWBK60161331926819", "from their account GB29NWBK60161331926819), but"),
            (Type::Account, "GB29NWBK60161331926819", "IBAN gb29 NWBK 6016 1331 9268 19."),
            (Type::Account, "GB29 NWBK 6016 1331 9268 19", "to GB29NWBK60161331926819"),
            (Type::Account, "Spotify", "Spotify sent me a note"),
            (Type::Account, "Apple", "APPLE called and said"),
            (Type::Text, "1j1l-2k3j", "update the password to '1j1l-2k3j'."),
            (Type::Text, "1234 Elm Street", "address: 1234 Elm  Street, New York, NY 10001 and"),
            (Type::Text, "New York, NY 10001", "address: 1234 Elm Street, New York, NY 10001 and"),
            (Type::Email, "Ann@Example.com", "mail ann@example.com."),
            (Type::Url, "https://example.com/a/", "see https://example.com/a, then"),
            (Type::Identifier, "7", "change transaction 7"),
        ] {
            assert!(occurs(ty, value, &fold(text)), "{value} in {text}");
        }
    }

    #[test]
    fn values_do_not_stand_in_texts_by_accident() {
        for (ty, value, text) in [
            (Type::Money, "4.00", "id: 41"),
            (Type::Money, "10", "in 2010"),
            (Type::Money, "4", "on 2022-04-01"),
            (Type::Money, "2022", "on 2022-04-01"),
            (Type::Money, "10", "increased 10% this month"),
            (Type::Money, "19.5", "an additional 19.5% of"),
            (Type::Money, "29", "GB29NWBK60161331926819"),
            (Type::Money, "6", "version 1.6.2"),
            (Type::Money, "12", "at 12:30"),
            (Type::Money, "5", "room #5"),
            (Type::Money, "1", "1.5"),
            (Type::Money, "5.29", "5.290,00"),
            (Type::Date, "2022-04-01", "on 2022-04-012"),
            (Type::Account, "GB29NWBK60161331926819", "GB29NWBK601613319268190"),
            (Type::Account, "GB29NWBK60161331926819", "XGB29NWBK60161331926819"),
            (Type::Account, "US133000000121212121212", "GB29NWBK60161331926819"),
            (Type::Account, "12345678", "1 2345 and 678"),
            (Type::Account, "Apple", "pineapple juice"),
            (Type::Text, "Elm", "Elmer Street"),
            (Type::Text, "", "anything"),
            (Type::Text, "new_password", "new password"),
            (Type::Email, "ann@example.com", "joann@example.com"),
            (Type::Email, "ann@example.com", "ann@example.com.evil.org"),
            (Type::Url, "https://example.com", "https://example.com.evil.org/"),
            (Type::Url, "https://example.com/a", "https://example.com/abc"),
            (Type::Identifier, "7", "7.5 percent and 17"),
            (Type::Boolean, "true", "is it true"),
        ] {
            assert!(!occurs(ty, value, &fold(text)), "{value} in {text}");
        }
    }

    #[test]
    fn equal_values_are_the_same_in_other_spellings() {
        assert!(same(Type::Money, "98.7", "98.70"));
        assert!(!same(Type::Money, "98.7", "98.71"));
        assert!(same(Type::Account, "gb29 nwbk", "GB29NWBK"));
        assert!(same(Type::Url, "https://A.example/", "https://a.example"));
        assert!(!same(Type::Integer, "x", "x"));
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(value in ".{0,30}", text in ".{0,120}") {
            for ty in [Type::Money, Type::Date, Type::Account, Type::Url, Type::Text] {
                let _ = occurs(ty, &value, &fold(&text));
            }
        }
    }
}

//! The forms in which people write a calendar date.

use jiff::civil::Date;

/// English month names, lower case.
pub(super) const MONTHS: [&str; 12] = [
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

/// Whether a lower-case word names a month, in full or by its first three letters.
pub(super) fn is_month(word: &str) -> bool {
    MONTHS.iter().any(|month| *month == word || month.get(..3) == Some(word)) || word == "sept"
}

/// The forms in which a date is looked for, lower case. Days and months in figures only where no other date can be meant.
pub(super) fn forms(date: Date) -> Vec<String> {
    let (year, month, day) = (date.year(), date.month(), date.day());
    let mut forms = vec![
        format!("{year:04}-{month:02}-{day:02}"),
        format!("{year:04}/{month:02}/{day:02}"),
        format!("{day}.{month}.{year}"),
        format!("{day:02}.{month:02}.{year}"),
        format!("{year}年{month}月{day}日"),
    ];
    if day > 12 || day == month {
        for (one, two) in [(day, month), (month, day)] {
            forms.extend([format!("{one}/{two}/{year}"), format!("{one:02}/{two:02}/{year}")]);
        }
    }
    for short in without_year(date) {
        forms.extend([format!("{short} {year}"), format!("{short}, {year}")]);
    }
    forms
}

/// The forms with a named month and no year, lower case: `from january 11th to january 15th 2025`.
pub(super) fn without_year(date: Date) -> Vec<String> {
    let (month, day) = (date.month(), date.day());
    let ordinal = match day {
        1 | 21 | 31 => "st",
        2 | 22 => "nd",
        3 | 23 => "rd",
        _ => "th",
    };
    let name =
        usize::try_from(month).ok().and_then(|month| MONTHS.get(month.checked_sub(1)?)).copied().unwrap_or_default();
    let mut forms = Vec::new();
    for name in [name, name.get(..3).unwrap_or(name)] {
        for day in [day.to_string(), format!("{day:02}"), format!("{day}{ordinal}")] {
            forms.extend([format!("{day} {name}"), format!("{day} of {name}"), format!("{name} {day}")]);
        }
    }
    forms
}

/// The one year that a text names; none when it names several.
pub(super) fn only_year(text: &str) -> Option<i16> {
    let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| word.len() == 4);
    let mut years: Vec<i16> =
        words.filter_map(|word| word.parse().ok()).filter(|year| (1900..2200).contains(year)).collect();
    years.sort_unstable();
    years.dedup();
    if let [year] = years[..] { Some(year) } else { None }
}

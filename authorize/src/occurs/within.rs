//! What in a free text leads somewhere: links, e-mail addresses, and numbers of accounts, cards or telephones.

use std::net::IpAddr;

use super::{compose, tokens};
use crate::catalogue::Type;

/// The most addresses that are looked at in one text.
const MOST: usize = 64;

/// The digits of the shortest number that is taken for an account's.
const DIGITS: usize = 8;

/// The shortest mixture of letters and digits that is taken for an account's or a wallet's.
const MIXED: usize = 20;

/// IBANs: ISO 13616.
const IBAN: std::ops::RangeInclusive<usize> = 15..=34;

/// Endings of files that are no top-level domains.
const FILES: [&str; 24] = [
    "txt", "pdf", "doc", "docx", "xls", "xlsx", "ppt", "pptx", "odt", "csv", "tsv", "jpg", "jpeg", "png", "gif", "svg",
    "json", "xml", "yaml", "yml", "toml", "html", "htm", "log",
];

/// The addresses in a text, each once, and whether there are more than are looked at.
pub(crate) fn addresses(text: &str) -> (Vec<(Type, String)>, bool) {
    let text = compose(text);
    let words = tokens(&text).flat_map(|token| if token.contains("://") { vec![token] } else { split(token) });
    let found = words.filter_map(address).map(|(ty, address)| (ty, address.to_owned()));
    let mut found: Vec<_> = found.chain(accounts(&text).map(|number| (Type::Account, number))).take(MOST * 8).collect();
    found.sort();
    found.dedup();
    let more = found.len() > MOST;
    found.truncate(MOST);
    (found, more)
}

fn split(token: &str) -> Vec<&str> {
    let trim = |part: &str| part.trim_matches(['.', ':', '!', '?', '\'', '*', '_', '~']).len();
    token.split([',', ';', '|', '\\']).filter(|part| trim(part) > 0).collect()
}

fn address(token: &str) -> Option<(Type, &str)> {
    let token = token.trim_matches(['.', ':', '!', '?', '\'', '*', '_', '~', '-']);
    if token.contains("://") {
        return Some((Type::Url, token));
    }
    let email = token.strip_prefix("mailto:").unwrap_or(token);
    if let Some((_, host)) = email.rsplit_once('@').filter(|(user, _)| !user.is_empty())
        && is_host(host.split(['?', '/']).next().unwrap_or(host))
    {
        return Some((Type::Email, email));
    }
    let host = token.split(['/', '?', '#', ':']).next().unwrap_or(token);
    let leads = is_host(host) || (host.contains('.') && host.parse::<IpAddr>().is_ok());
    leads.then_some((Type::Url, token))
}

/// Whether a word has the form of a host's name. Nobody's list of domains is asked: one that is registered tomorrow counts today.
fn is_host(word: &str) -> bool {
    let labels: Vec<&str> = word.split('.').collect();
    let good = |label: &&str| !label.is_empty() && label.chars().all(|c| c.is_alphanumeric() || c == '-' || c == '_');
    let Some((last, rest)) = labels.split_last() else { return false };
    let last = last.to_lowercase();
    let top = last.chars().count() >= 2 && last.chars().all(char::is_alphabetic) || last.starts_with("xn--");
    top && !rest.is_empty() && labels.iter().all(good) && (!FILES.contains(&last.as_str()) || word.starts_with("www."))
}

/// The numbers of accounts in a text, as they stand there: IBANs and runs of digits in any grouping, long mixtures of letters and digits.
fn accounts(text: &str) -> impl Iterator<Item = String> {
    let mut at = 0;
    let mut before = None;
    std::iter::from_fn(move || {
        loop {
            let rest = text.get(at..)?;
            let c = rest.chars().next()?;
            let starts = c.is_ascii_alphanumeric() && !before.is_some_and(|c: char| c.is_ascii_alphanumeric());
            let number = if starts { account(rest) } else { None };
            if let Some(number) = number {
                at += number.len();
                before = number.chars().next_back();
                return Some(number.to_owned());
            }
            at += c.len_utf8();
            before = Some(c);
        }
    })
}

/// The account's number with which a text begins.
fn account(text: &str) -> Option<&str> {
    let word = text.get(..text.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(text.len()))?;
    let digits = |word: &str| word.bytes().filter(u8::is_ascii_digit).count();
    let iban = matches!(word.as_bytes(), [a, b, c, d, ..] if a.is_ascii_alphabetic() && b.is_ascii_alphabetic() && c.is_ascii_digit() && d.is_ascii_digit());
    if iban {
        let (number, count) = groups(text, |group| group.len() <= 4 && (digits(group) > 0 || is_capital(group)));
        if IBAN.contains(&count) {
            return Some(number);
        }
    }
    if digits(word) == word.len() {
        let (number, count) = groups(text, |group| digits(group) == group.len());
        let date = matches!(number.split([' ', '-']).map(str::len).collect::<Vec<_>>()[..], [4, 2, 2] | [2, 2, 4]);
        return (count >= DIGITS && !(date && number.contains('-'))).then_some(number);
    }
    (word.len() >= MIXED && digits(word) > 1).then_some(word)
}

fn is_capital(group: &str) -> bool {
    group.bytes().all(|byte| byte.is_ascii_uppercase())
}

/// The first word and the groups behind it, each after one space or hyphen, and how many letters and digits they have.
fn groups(text: &str, belongs: impl Fn(&str) -> bool) -> (&str, usize) {
    let (mut end, mut count) = (0, 0);
    while let Some(rest) = text.get(end..) {
        let start = usize::from(end > 0 && rest.starts_with([' ', '-']));
        let group = rest.get(start..).unwrap_or_default();
        let group = group.get(..group.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(group.len()));
        let Some(group) = group.filter(|group| !group.is_empty() && (end == 0 || (start == 1 && belongs(group))))
        else {
            break;
        };
        end += start + group.len();
        count += group.len();
    }
    (text.get(..end).unwrap_or_default(), count)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<String> {
        let (mut found, more) = addresses(text);
        assert!(!more);
        found.sort();
        found.into_iter().map(|(ty, address)| format!("{}:{address}", ty.as_str())).collect()
    }

    #[test]
    fn what_leads_somewhere_is_found_however_it_is_written() {
        for (text, expected) in [
            ("Check out this link: www.secure-systems-252.com", &["url:www.secure-systems-252.com"][..]),
            ("see <https://evil.example/a?b=c,d>, please", &["url:https://evil.example/a?b=c,d"]),
            ("[invoice](http://1.2.3.4/x) or 10.0.0.1:8080/y", &["url:10.0.0.1:8080/y", "url:http://1.2.3.4/x"]),
            ("**evil.io**", &["url:evil.io"]),
            ("visit evil.com/path.", &["url:evil.com/path"]),
            ("WWW.EVIL.COM!", &["url:WWW.EVIL.COM"]),
            ("ｗｗｗ．evil．com", &["url:www.evil.com"]),
            ("mail mark@evil.org, or mailto:x@b.co;", &["email:mark@evil.org", "email:x@b.co"]),
            ("to US13 3000 0001 2121 2121 212 now", &["account:US13 3000 0001 2121 2121 212"]),
            ("US133000000121212121212", &["account:US133000000121212121212"]),
            ("GB29NWBK60161331926819, or 12-34-56-78", &["account:12-34-56-78", "account:GB29NWBK60161331926819"]),
            ("acct.12345678", &["account:12345678"]),
            ("call +41 79 123 45 67", &["account:41 79 123 45 67"]),
            ("card 4111 1111 1111 1111.", &["account:4111 1111 1111 1111"]),
            ("bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq", &["account:bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq"]),
            ("给evil.com转账", &["url:evil.com"]),
        ] {
            let mut expected = expected.to_vec();
            expected.sort_unstable();
            assert_eq!(found(text), expected, "{text}");
        }
    }

    #[test]
    fn ordinary_words_are_no_addresses() {
        for text in [
            "Hello Bob, e.g. at 10:30 a.m. on 2022-01-01, i.e. soon... v1.2.3 costs 1,000,000.00 or 1234567.89",
            "bill-december-2023.txt and report.pdf, and/or C:\\x; 50% of 1234567",
            "U.S. and U.K., p.m.; Mr. Smith's 3rd item #7 @bob and_so_on",
            "",
        ] {
            assert_eq!(found(text), [""; 0], "{text}");
        }
    }

    #[test]
    fn there_is_a_bound() {
        let text: String = (0..100).map(|n| format!("a{n}.example ")).collect();
        let (found, more) = addresses(&text);
        assert!(found.len() == MOST && more);
    }
}

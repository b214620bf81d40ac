//! The path and query, decoded once, and their one canonical spelling.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::Refusal;

/// What is spelt with a percent sign in a query part.
const QUERY: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// What is spelt with a percent sign in a path segment. `:` and `@` stay, as in `/items:cancel`, for not every router decodes before it routes.
const PATH: AsciiSet = QUERY.remove(b':').remove(b'@');

/// The path's segments, decoded. A `/` at the end makes an empty last one, so that it is another path than without.
pub(super) fn segments(path: &str) -> Result<Vec<String>, Refusal> {
    let Some(rest) = path.strip_prefix('/') else {
        return Err(Refusal::new("target-absolute", "the request target is not a path; send `/path?query`"));
    };
    if rest.is_empty() {
        return Ok(Vec::new());
    }
    let (rest, slash) = rest.strip_suffix('/').map_or((rest, false), |rest| (rest, true));
    let mut segments: Vec<String> = rest.split('/').map(segment).collect::<Result<_, _>>()?;
    if slash {
        segments.push(String::new());
    }
    Ok(segments)
}

pub(super) fn segment(raw: &str) -> Result<String, Refusal> {
    if raw.contains([';', '\\']) {
        return Err(Refusal::new(
            "path-parameter",
            "the path has `;` or `\\`, which some servers cut or turn; percent-encode nothing of it, leave it out",
        ));
    }
    let text = decode(raw, "path")?;
    match text.as_str() {
        "" => Err(Refusal::new("path-empty-segment", "the path has an empty segment (`//`)")),
        "." | ".." => Err(Refusal::new("path-dot-segment", "the path has a `.` or `..` segment")),
        _ if text.contains(['/', '\\', '%', ';']) => Err(Refusal::new(
            "path-encoded-delimiter",
            "the path has an encoded `/`, `\\`, `;` or `%`, which servers read differently",
        )),
        _ if text.ends_with(['.', ' ']) || text.starts_with(' ') => Err(Refusal::new(
            "path-trimmed",
            "a path segment begins or ends with what some servers trim (a space or a full stop)",
        )),
        _ => Ok(text),
    }
}

/// Percent-decodes one part; refuses what is malformed, not UTF-8 or has control characters.
fn decode(raw: &str, place: &str) -> Result<String, Refusal> {
    let mut bytes = raw.bytes();
    while let Some(byte) = bytes.next() {
        let hex = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_hexdigit());
        if byte == b'%' && !(hex(bytes.next()) && hex(bytes.next())) {
            return Err(Refusal::new(
                "bad-percent-encoding",
                format!("the {place} has a `%` without two hexadecimal digits"),
            ));
        }
        if !byte.is_ascii() {
            return Err(Refusal::new("not-ascii", format!("the {place} has bytes beyond ASCII; percent-encode them")));
        }
    }
    let text = percent_decode_str(raw).decode_utf8();
    let text = text.map_err(|_| Refusal::new("not-utf8", format!("the {place} is not UTF-8 when decoded")))?;
    if text.chars().any(char::is_control) || text.contains('\u{FFFD}') {
        return Err(Refusal::new("control-character", format!("the {place} has a control character")));
    }
    Ok(text.into_owned())
}

/// The query's pairs, decoded, no name twice.
pub(super) fn pairs(query: &str) -> Result<Vec<(String, String)>, Refusal> {
    let mut pairs: Vec<(String, String)> = Vec::new();
    let mut names = std::collections::BTreeSet::new();
    for part in query.split('&').filter(|_| !query.is_empty()) {
        if part.is_empty() {
            return Err(Refusal::new("query-empty-part", "the query has an empty part (`&&`, or `&` at an end)"));
        }
        if part.contains(';') {
            return Err(Refusal::new(
                "query-ambiguous",
                "the query has a raw `;`, at which some servers part it; percent-encode it",
            ));
        }
        // Common clients write a space as `+`; it is judged as a space and forwarded as `%20`, which nobody reads otherwise.
        let part = part.replace('+', "%20");
        let (name, value) = part.split_once('=').unwrap_or((&part, ""));
        let (name, value) = (decode(name, "query")?, decode(value, "query")?);
        if name.is_empty() {
            return Err(Refusal::new("query-empty-part", "the query has a value without a name"));
        }
        if !names.insert(name.clone()) {
            return Err(Refusal::new(
                "query-duplicate",
                format!("the query has `{name}` twice; which one counts differs between servers"),
            ));
        }
        pairs.push((name, value));
    }
    Ok(pairs)
}

/// The one spelling.
pub(super) fn canonical(segments: &[String], query: &[(String, String)]) -> String {
    let mut target = String::new();
    for segment in segments {
        target.push('/');
        target.extend(utf8_percent_encode(segment, &PATH));
    }
    if target.is_empty() {
        target.push('/');
    }
    for (index, (name, value)) in query.iter().enumerate() {
        target.push(if index == 0 { '?' } else { '&' });
        target.extend(utf8_percent_encode(name, &QUERY));
        target.push('=');
        target.extend(utf8_percent_encode(value, &QUERY));
    }
    target
}

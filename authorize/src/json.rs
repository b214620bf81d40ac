//! JSON read so that no two readers can differ: no duplicate members, no number that some readers round, nothing but UTF-8.
//! Numbers keep their literal text.

use std::cmp::Ordering;

use json_event_parser::{JsonEvent, SliceJsonParser};
use serde::{Serialize, Serializer, ser::SerializeMap as _};

use crate::Refusal;

/// A JSON value; numbers as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Json {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number, as its text.
    Number(String),
    /// A string.
    String(String),
    /// An array.
    Array(Vec<Json>),
    /// An object, members in the order written.
    Object(Vec<(String, Json)>),
}

impl Json {
    /// Reads one JSON text.
    ///
    /// # Errors
    /// [`Refusal`] with the place, when the text is not JSON (`json-malformed`, `json-not-utf8`, `json-too-deep`) or could be read in two ways.
    pub fn parse(bytes: &[u8], max_depth: usize) -> Result<Json, Refusal> {
        if bytes.starts_with(b"\xEF\xBB\xBF") {
            return Err(Refusal::new(
                "json-byte-order-mark",
                "the body begins with a byte order mark; send plain UTF-8",
            ));
        }
        if std::str::from_utf8(bytes).is_err() {
            return Err(Refusal::new("json-not-utf8", "the body is not UTF-8"));
        }
        Reader { parser: SliceJsonParser::new(bytes), length: bytes.len() as u64, max_depth, strict: true }.whole()
    }

    /// Reads what an API answered, in order to know its values. Nothing is decided on how another reader would read it, so large numbers and
    /// unusual texts are taken as they stand; duplicate members are still refused, for nobody could say which one the agent read.
    ///
    /// # Errors
    /// [`Refusal`] when the text is not JSON.
    pub fn parse_response(bytes: &[u8], max_depth: usize) -> Result<Json, Refusal> {
        let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
        Reader { parser: SliceJsonParser::new(bytes), length: bytes.len() as u64, max_depth, strict: false }.whole()
    }

    /// The value at an RFC 6901 pointer.
    pub fn pointer(&self, pointer: &str) -> Option<&Json> {
        if pointer.is_empty() {
            return Some(self);
        }
        pointer.strip_prefix('/')?.split('/').try_fold(self, |value, part| value.member(&unescape(part)))
    }

    /// As [`Json::pointer`], to change what is there.
    pub(crate) fn pointer_mut(&mut self, pointer: &str) -> Option<&mut Json> {
        pointer.split('/').skip(1).try_fold(self, |value, part| match value {
            Json::Object(members) => {
                let part = unescape(part);
                members.iter_mut().find(|(member, _)| *member == part).map(|(_, value)| value)
            }
            Json::Array(items) => items.get_mut(part.parse::<usize>().ok()?),
            _ => None,
        })
    }

    /// A member of an object, or an item of a list by its number.
    pub(crate) fn member(&self, name: &str) -> Option<&Json> {
        match self {
            Json::Object(members) => members.iter().find(|(member, _)| member == name).map(|(_, value)| value),
            Json::Array(items) => items.get(name.parse::<usize>().ok()?),
            _ => None,
        }
    }

    /// The values at a pointer in which `*` stands for any one step.
    pub fn find(&self, pattern: &str) -> Vec<&Json> {
        let mut found = vec![self];
        for part in pattern.split('/').skip(1) {
            found = match part {
                "*" => found.into_iter().flat_map(Json::children).collect(),
                part => found.into_iter().filter_map(|value| value.member(&unescape(part))).collect(),
            };
        }
        found
    }

    fn children(&self) -> Vec<&Json> {
        match self {
            Json::Object(members) => members.iter().map(|(_, value)| value).collect(),
            Json::Array(items) => items.iter().collect(),
            _ => Vec::new(),
        }
    }

    /// One spelling per value: members sorted as RFC 8785 §3.2.3 has them, no white space, numbers as written.
    pub fn canonical(&self) -> String {
        let mut text = String::new();
        self.write(&mut text, true);
        text
    }

    /// JSON text with members in their order and numbers as written.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        self.write(&mut text, false);
        text
    }

    fn write(&self, text: &mut String, sorted: bool) {
        match self {
            Json::Null => text.push_str("null"),
            Json::Bool(value) => text.push_str(if *value { "true" } else { "false" }),
            Json::Number(number) => text.push_str(number),
            Json::String(value) => quote(value, text),
            Json::Array(items) => {
                text.push('[');
                for (index, item) in items.iter().enumerate() {
                    text.extend((index > 0).then_some(','));
                    item.write(text, sorted);
                }
                text.push(']');
            }
            Json::Object(members) => {
                let mut members: Vec<_> = members.iter().collect();
                if sorted {
                    members.sort_by(|(one, _), (other, _)| by_utf16(one, other));
                }
                text.push('{');
                for (index, (name, value)) in members.into_iter().enumerate() {
                    text.extend((index > 0).then_some(','));
                    quote(name, text);
                    text.push(':');
                    value.write(text, sorted);
                }
                text.push('}');
            }
        }
    }

    /// Gives each scalar, and each empty array or object, with its pointer to `visit`.
    pub fn scalars(&self, at: &mut String, visit: &mut impl FnMut(&str, &Json)) {
        let length = at.len();
        let mut child = |at: &mut String, part: &str, value: &Json| {
            at.push('/');
            at.push_str(&part.replace('~', "~0").replace('/', "~1"));
            value.scalars(at, visit);
            at.truncate(length);
        };
        match self {
            Json::Object(members) if !members.is_empty() => {
                members.iter().for_each(|(name, value)| child(at, name, value));
            }
            Json::Array(items) if !items.is_empty() => {
                items.iter().enumerate().for_each(|(index, value)| child(at, &index.to_string(), value))
            }
            leaf => visit(at, leaf),
        }
    }

    /// The text of a scalar: strings as they are, numbers and booleans as written.
    pub fn as_text(&self) -> Option<String> {
        match self {
            Json::Bool(value) => Some(value.to_string()),
            Json::Number(text) | Json::String(text) => Some(text.clone()),
            Json::Null | Json::Array(_) | Json::Object(_) => None,
        }
    }
}

fn quote(value: &str, text: &mut String) {
    if value.bytes().all(|byte| byte >= b' ' && !matches!(byte, b'"' | b'\\')) {
        text.push('"');
        text.push_str(value);
        text.push('"');
    } else {
        text.push_str(&serde_json::Value::from(value).to_string());
    }
}

fn by_utf16(one: &str, other: &str) -> Ordering {
    if one.is_ascii() && other.is_ascii() { one.cmp(other) } else { one.encode_utf16().cmp(other.encode_utf16()) }
}

/// One step of an RFC 6901 pointer, unescaped.
pub(crate) fn unescape(part: &str) -> String {
    part.replace("~1", "/").replace("~0", "~")
}

/// Integers within ±(2^53 − 1) stay numbers, other numbers become strings: records hold no floating-point numbers.
impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Json::Null => serializer.serialize_none(),
            Json::Bool(value) => serializer.serialize_bool(*value),
            Json::Number(text) => match text.parse::<i64>() {
                Ok(number) if number.unsigned_abs() < 1 << 53 => serializer.serialize_i64(number),
                _ => serializer.serialize_str(text),
            },
            Json::String(text) => serializer.serialize_str(text),
            Json::Array(items) => serializer.collect_seq(items),
            Json::Object(members) => {
                let mut map = serializer.serialize_map(Some(members.len()))?;
                for (name, value) in members {
                    map.serialize_entry(name, value)?;
                }
                map.end()
            }
        }
    }
}

struct Reader<'b> {
    parser: SliceJsonParser<'b>,
    length: u64,
    max_depth: usize,
    strict: bool,
}

impl<'b> Reader<'b> {
    fn whole(mut self) -> Result<Json, Refusal> {
        let first = self.next()?;
        let value = self.value(first, 0)?;
        match self.next()? {
            JsonEvent::Eof => Ok(value),
            _ => Err(Refusal::new("json-malformed", "something follows the JSON value; send one value")),
        }
    }

    fn text(&self, text: String) -> Result<String, Refusal> {
        if self.strict { string(text) } else { Ok(text) }
    }

    fn next(&mut self) -> Result<JsonEvent<'b>, Refusal> {
        self.parser.parse_next().map_err(|error| {
            let cut =
                error.location().end.offset >= self.length || error.message().starts_with("Unexpected end of file");
            let what =
                if cut { "it ends before its JSON does; was it cut short?".to_owned() } else { error.to_string() };
            Refusal::new("json-malformed", format!("the body is not JSON: {what}"))
        })
    }

    fn value(&mut self, event: JsonEvent<'b>, depth: usize) -> Result<Json, Refusal> {
        if depth > self.max_depth {
            return Err(Refusal::new("json-too-deep", format!("the body is nested deeper than {}", self.max_depth)));
        }
        match event {
            JsonEvent::Null => Ok(Json::Null),
            JsonEvent::Boolean(value) => Ok(Json::Bool(value)),
            JsonEvent::String(text) => self.text(text.into_owned()).map(Json::String),
            JsonEvent::Number(text) if !self.strict => Ok(Json::Number(text.into_owned())),
            JsonEvent::Number(text) => number(text.into_owned()).map(Json::Number),
            JsonEvent::StartArray => self.array(depth),
            JsonEvent::StartObject => self.object(depth),
            _ => Err(Refusal::new("json-malformed", "the body is not one JSON value")),
        }
    }

    fn array(&mut self, depth: usize) -> Result<Json, Refusal> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                JsonEvent::EndArray => return Ok(Json::Array(items)),
                event => items.push(self.value(event, depth + 1)?),
            }
        }
    }

    fn object(&mut self, depth: usize) -> Result<Json, Refusal> {
        let mut members: Vec<(String, Json)> = Vec::new();
        let mut names = std::collections::BTreeSet::new();
        loop {
            match self.next()? {
                JsonEvent::EndObject => return Ok(Json::Object(members)),
                JsonEvent::ObjectKey(name) => {
                    let name = self.text(name.into_owned())?;
                    if !names.insert(name.clone()) {
                        return Err(Refusal::new(
                            "json-duplicate-member",
                            format!("the body has the member `{name}` twice; which one counts differs between readers"),
                        ));
                    }
                    let event = self.next()?;
                    members.push((name, self.value(event, depth + 1)?));
                }
                _ => return Err(Refusal::new("json-malformed", "the body is not one JSON value")),
            }
        }
    }
}

/// Replacement characters and NUL come from broken escapes or are cut by some readers.
fn string(text: String) -> Result<String, Refusal> {
    if text.contains(['\u{FFFD}', '\0']) {
        return Err(Refusal::new(
            "json-broken-text",
            "a text in the body has a NUL, a replacement character or half a surrogate pair",
        ));
    }
    Ok(text)
}

/// A number that every reader reads alike: an integer within ±(2^53 − 1), or a decimal of at most 15 digits without exponent.
fn number(text: String) -> Result<String, Refusal> {
    let digits = text.strip_prefix('-').unwrap_or(&text);
    let (whole, fraction) = digits.split_once('.').map_or((digits, None), |(whole, fraction)| (whole, Some(fraction)));
    let all_digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let plain = all_digits(whole) && (whole == "0" || !whole.starts_with('0')) && fraction.is_none_or(all_digits);
    let exact = match fraction {
        None => text.parse::<i64>().is_ok_and(|number| number.unsigned_abs() < 1 << 53) && text != "-0",
        Some(fraction) => {
            let significant = whole.trim_start_matches('0').len() + fraction.len();
            let zero = digits.bytes().all(|byte| matches!(byte, b'0' | b'.'));
            significant <= 15 && !(zero && text.starts_with('-'))
        }
    };
    if plain && exact {
        Ok(text)
    } else {
        let short: String = text.chars().take(40).collect();
        Err(Refusal::new(
            "json-ambiguous-number",
            format!(
                "the number `{short}` is read differently by different readers; send at most 15 digits, no exponent, no minus zero, or a string"
            ),
        ))
    }
}

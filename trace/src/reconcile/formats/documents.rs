//! JSON documents that hold many lines: read record by record, whatever their size.

use std::{fmt, io::Read};

use serde::de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// Whether a log is one document over many lines or one that is longer than what is seen of it, not a value a line.
pub(super) fn spans_lines(begin: &[u8], path: &[&str]) -> bool {
    let text = String::from_utf8_lossy(begin);
    let text = text.trim_start();
    let first = text.lines().next().unwrap_or_default();
    let names = path.first().is_some_and(|name| text.get(..200).unwrap_or(text).contains(name));
    // A first line that is a whole value is one of many.
    names && serde_json::from_str::<IgnoredAny>(first).is_err() || first.trim() == "{"
}

/// The records of a value.
pub(super) fn leaves(value: Value, path: &[&str], into: &mut Vec<Value>) {
    let Some((name, rest)) = path.split_first() else { return into.push(value) };
    let Value::Object(mut members) = value else { return };
    match members.remove(*name) {
        Some(Value::Array(items)) => items.into_iter().for_each(|item| leaves(item, rest, into)),
        // A record by itself.
        None if path.len() == 1 => into.push(Value::Object(members)),
        _ => {}
    }
}

/// Reads documents one behind another, and gives each record; `each` says whether to go on.
pub(super) fn stream<R: Read>(
    from: R,
    path: &[&str],
    each: &mut dyn FnMut(Value) -> bool,
) -> Result<(), serde_json::Error> {
    let mut reader = serde_json::Deserializer::from_reader(from);
    let mut stopped = false;
    loop {
        if reader.end().is_ok() {
            return Ok(());
        }
        match (Leaves { path, each, stopped: &mut stopped }).deserialize(&mut reader) {
            Err(_) if stopped => return Ok(()),
            read => read?,
        }
    }
}

/// What stands at a path of members, each an array.
struct Leaves<'a> {
    path: &'a [&'a str],
    each: &'a mut dyn FnMut(Value) -> bool,
    stopped: &'a mut bool,
}

/// The items of an array, each looked at further.
struct Items<'a>(Leaves<'a>);

impl<'de> DeserializeSeed<'de> for Leaves<'_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        if !self.path.is_empty() {
            return from.deserialize_map(self);
        }
        let value: Value = serde::Deserialize::deserialize(from)?;
        if (self.each)(value) {
            return Ok(());
        }
        *self.stopped = true;
        Err(D::Error::custom("stopped"))
    }
}

impl<'de> Visitor<'de> for Leaves<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an object with `{}`", self.path.first().unwrap_or(&"records"))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let (name, rest) = self.path.split_first().ok_or_else(|| A::Error::custom("no such place"))?;
        while let Some(key) = map.next_key::<String>()? {
            if key == *name {
                map.next_value_seed(Items(Leaves { path: rest, each: &mut *self.each, stopped: &mut *self.stopped }))?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Items<'_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Items<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let Leaves { path, each, stopped } = self.0;
        while seq.next_element_seed(Leaves { path, each: &mut *each, stopped: &mut *stopped })?.is_some() {}
        Ok(())
    }
}

/// The kind of a span that answers a request, as a number and as a name.
const SERVER: [&str; 2] = ["2", "SPAN_KIND_SERVER"];

/// A span with its attributes by name; none where it is not a server's.
pub(super) fn span(value: &Value) -> Result<Option<Value>, String> {
    let kind = value.get("kind").map(|kind| kind.as_str().map_or_else(|| kind.to_string(), str::to_owned));
    if !kind.is_some_and(|kind| SERVER.contains(&kind.as_str())) {
        return Ok(None);
    }
    let mut flat = value.as_object().cloned().ok_or("a span is an object")?;
    let mut named = Map::new();
    for attribute in value.get("attributes").and_then(Value::as_array).into_iter().flatten() {
        let name = attribute.get("key").and_then(Value::as_str).ok_or("an attribute has no key")?;
        named.extend(attribute.get("value").and_then(scalar).map(|value| (name.to_owned(), value)));
    }
    flat.insert("attributes".to_owned(), Value::Object(named));
    Ok(Some(Value::Object(flat)))
}

/// A value of OTLP; of an array the only item.
fn scalar(value: &Value) -> Option<Value> {
    let (kind, inner) = value.as_object()?.iter().next()?;
    match kind.as_str() {
        "stringValue" | "intValue" | "doubleValue" | "boolValue" => Some(inner.clone()),
        "arrayValue" => match inner.get("values")?.as_array()?.as_slice() {
            [only] => scalar(only),
            _ => None,
        },
        _ => None,
    }
}

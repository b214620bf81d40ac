//! `countersign reference`: every key of the configuration, from the types that read the file.

use std::fmt::Write as _;

use schemars::schema_for;
use serde_json::Value;

use super::say;
use crate::config::Config;

const HEAD: &str = "# Every key of the configuration

`countersign reference` prints this page from the types that read the file, and a test compares the two. [configuration.md](configuration.md) says what belongs together.

A key that is not *needed* can be left out. Paths are relative to the file.
";

pub fn run() -> anyhow::Result<u8> {
    say(format_args!("{}", text().trim_end()))?;
    Ok(0)
}

/// The page.
pub fn text() -> String {
    let schema = schema_for!(Config).to_value();
    let mut page = Page { schema: &schema, text: HEAD.to_owned() };
    page.table("", "At the top", &schema);
    page.text
}

struct Page<'s> {
    schema: &'s Value,
    text: String,
}

impl<'s> Page<'s> {
    /// A table of keys, then the tables in it.
    fn table(&mut self, path: &str, title: &str, schema: &'s Value) {
        let keys = schema.get("properties").and_then(Value::as_object);
        let needed: Vec<&str> =
            schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
        let _ = write!(self.text, "\n## {title}\n\n");
        let what = schema.get("description").and_then(Value::as_str).map(in_one_line);
        if let Some(what) = what.filter(|what| !path.is_empty() && what.trim_end_matches('.') != title) {
            let _ = write!(self.text, "{what}\n\n");
        }
        self.text.push_str("| key | is | needed | what |\n|---|---|---|---|\n");
        let mut inner = Vec::new();
        for (key, value) in keys.into_iter().flatten() {
            let (is, of) = self.is(value);
            let needed = if needed.contains(&key.as_str()) { "yes" } else { "" };
            let mut what = in_one_line(value.get("description").and_then(Value::as_str).unwrap_or_default());
            if let Some(default) = value.get("default").filter(|default| default.is_number() || **default == true) {
                what = format!("{}; {default} when left out.", what.trim_end_matches('.'));
            }
            let _ = writeln!(self.text, "| `{key}` | {is} | {needed} | {} |", what.replace('|', "\\|"));
            let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            inner.extend(of.map(|of| (path, of)));
        }
        for (path, (listed, of)) in inner {
            let title = if listed { format!("`[[{path}]]`") } else { format!("`[{path}]`") };
            self.table(&path, &title, of);
        }
    }

    /// What a value is, and of a table its keys: in a list of them, or alone.
    fn is(&self, value: &'s Value) -> (String, Option<(bool, &'s Value)>) {
        let value = self.resolve(value);
        if value.get("properties").is_some() {
            return ("table".to_owned(), Some((false, value)));
        }
        if let Some(words) = value.get("enum").and_then(Value::as_array) {
            let words: Vec<String> = words.iter().filter_map(Value::as_str).map(|word| format!("`{word}`")).collect();
            return (words.join(", "), None);
        }
        if let Some(kinds) = value.get("anyOf").or_else(|| value.get("oneOf")).and_then(Value::as_array) {
            let kinds = kinds.iter().filter(|kind| kind.get("type") != Some(&"null".into()));
            let kinds: Vec<_> = kinds.map(|kind| self.is(kind)).collect();
            let names: Vec<&str> = kinds.iter().map(|(name, _)| name.as_str()).collect();
            let of = kinds.iter().find_map(|(_, of)| *of);
            return (names.join(" or "), of);
        }
        if let Some(word) = value.get("const").and_then(Value::as_str) {
            return (format!("`{word}`"), None);
        }
        let kinds: Vec<&str> = match value.get("type") {
            Some(Value::String(kind)) => vec![kind.as_str()],
            Some(Value::Array(kinds)) => {
                kinds.iter().filter_map(Value::as_str).filter(|kind| *kind != "null").collect()
            }
            _ => Vec::new(),
        };
        match kinds.first().copied() {
            Some("array") => {
                let (of, inner) = value.get("items").map_or_else(|| ("value".to_owned(), None), |items| self.is(items));
                (format!("list of {of}s"), inner.map(|(_, of)| (true, of)))
            }
            Some("string") => ("text".to_owned(), None),
            Some("integer" | "number") => ("number".to_owned(), None),
            Some("boolean") => ("`true` or `false`".to_owned(), None),
            Some("object") => ("table of names".to_owned(), None),
            _ => ("value".to_owned(), None),
        }
    }

    fn resolve(&self, value: &'s Value) -> &'s Value {
        let name = value.get("$ref").and_then(Value::as_str).and_then(|name| name.strip_prefix("#/$defs/"));
        name.and_then(|name| self.schema.get("$defs")?.get(name)).unwrap_or(value)
    }
}

fn in_one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_in_the_documentation_has_every_key_as_the_code_reads_it() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/configuration-reference.md");
        let page = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            page == text(),
            "the configuration's keys changed, and docs/configuration-reference.md did not; run: cargo run -q -- reference > docs/configuration-reference.md"
        );
        for key in [
            "`[gateway.tls]`",
            "`[[upstream]]`",
            "| `listen` | text | yes |",
            "`[upstream.timeouts]`",
            "; 30 when left out.",
        ] {
            assert!(page.contains(key), "{key}");
        }
    }
}

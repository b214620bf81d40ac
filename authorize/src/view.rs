//! What of an answer a grant may see: the fields that a view of the catalogue names, and nothing else.

use crate::{Json, catalogue::Action, json::unescape};

/// A view of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    name: String,
    /// The steps of each pointer pattern, unescaped; `*` stands for any one.
    patterns: Vec<Vec<String>>,
}

impl View {
    /// The view of that name. One that the catalogue does not have (any more) shows nothing.
    pub fn new(action: Option<&Action>, name: &str) -> View {
        let patterns = action.and_then(|action| action.response.views.get(name));
        let steps = |pattern: &String| pattern.split('/').skip(1).map(unescape).collect();
        View { name: name.to_owned(), patterns: patterns.into_iter().flatten().map(steps).collect() }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What of the value is seen; objects and lists on the way to it stay, emptied of the rest.
    pub fn show(&self, value: &Json) -> Option<Json> {
        let patterns: Vec<&[String]> = self.patterns.iter().map(Vec::as_slice).collect();
        show(value, &patterns)
    }
}

fn show(value: &Json, patterns: &[&[String]]) -> Option<Json> {
    if patterns.is_empty() {
        return None;
    }
    // Everything below the end of a pattern is seen.
    if patterns.iter().any(|pattern| pattern.is_empty()) {
        return Some(value.clone());
    }
    let below = |name: &str| -> Vec<&[String]> {
        let steps = patterns.iter().filter_map(|pattern| pattern.split_first());
        steps.filter(|(step, _)| *step == "*" || *step == name).map(|(_, rest)| rest).collect()
    };
    match value {
        Json::Object(members) => {
            let seen = members.iter().filter_map(|(name, value)| Some((name.clone(), show(value, &below(name))?)));
            Some(Json::Object(seen.collect()))
        }
        Json::Array(items) => {
            let seen = items.iter().enumerate().filter_map(|(index, item)| show(item, &below(&index.to_string())));
            Some(Json::Array(seen.collect()))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::Catalogue;

    fn view(patterns: &str) -> View {
        let text = format!(
            "upstream = \"u\"\n[[action]]\nname = \"a\"\nmethod = \"GET\"\npath = \"/a\"\neffect = \"read\"\n[action.response.views]\nv = {patterns}\n"
        );
        View::new(Catalogue::parse(&text).unwrap().action("a"), "v")
    }

    fn shown(patterns: &str, body: &str) -> Option<String> {
        view(patterns).show(&Json::parse_response(body.as_bytes(), 64).unwrap()).map(|json| json.to_text())
    }

    #[test]
    fn only_what_a_view_names_is_seen() {
        let body = r#"{"b":{"c":4.50,"d":"x"},"t":[{"amount":1.0,"memo":"m"},{"memo":"n"},7],"a/b":1,"t2":[1e400]}"#;
        for (patterns, expected) in [
            (r#"["/b/c"]"#, Some(r#"{"b":{"c":4.50}}"#)),
            (r#"["/t/*/amount"]"#, Some(r#"{"t":[{"amount":1.0},{}]}"#)),
            (r#"["/t/0/memo", "/b/d", "/b/zz"]"#, Some(r#"{"b":{"d":"x"},"t":[{"memo":"m"}]}"#)),
            (r#"["/a~1b", "/t2"]"#, Some(r#"{"a/b":1,"t2":[1e400]}"#)),
            (r#"["/none"]"#, Some("{}")),
            (r#"[""]"#, Some(body)),
            ("[]", None),
        ] {
            assert_eq!(shown(patterns, body).as_deref(), expected, "{patterns}");
        }
        assert_eq!(shown(r#"["/a"]"#, "7"), None);
        assert_eq!(View::new(None, "gone").show(&Json::Bool(true)), None, "a view that is gone shows nothing");
    }

    proptest::proptest! {
        #[test]
        fn exactly_the_values_that_a_pattern_finds_are_seen(keys in proptest::collection::vec("[ab*~/]{0,2}", 0..4)) {
            let body = Json::parse(br#"{"a":{"a":1,"b":[{"a":2},{"b":3}]},"b":"x","ab":null}"#, 64).unwrap();
            let pattern: String = keys.iter().map(|key| format!("/{}", key.replace('~', "~0").replace('/', "~1"))).collect();
            let values = |of: &[&Json]| {
                let mut values = Vec::new();
                for json in of {
                    json.scalars(&mut String::new(), &mut |_, leaf| values.extend(leaf.as_text().or((*leaf == Json::Null).then(String::new))));
                }
                values
            };
            let seen = view(&format!("[{pattern:?}]")).show(&body);
            assert_eq!(values(&seen.iter().collect::<Vec<_>>()), values(&body.find(&pattern)), "{pattern}");
        }
    }
}

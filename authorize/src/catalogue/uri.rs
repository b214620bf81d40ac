//! The URI templates of MCP resources (RFC 6570, level 1, and `{+name}` at the end), read back from a URI. Deterministic: an argument ends where
//! the next literal's first character must stand, which it cannot hold itself.

use crate::{Refusal, request::decode_segment};

/// What an argument cannot hold, and therefore what can follow it.
const DELIMITERS: [char; 4] = ['/', '?', '#', '&'];

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Literal(String),
    /// Up to the next delimiter.
    One(String),
    /// All the rest, with its `/`.
    Rest(String),
}

/// A URI template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Template(Vec<Part>);

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// What in it could not be read back from a URI in one way only.
    pub(super) fn parse(text: &str) -> Result<Template, String> {
        let (mut parts, mut rest) = (Vec::new(), text);
        while let Some((literal, after)) = rest.split_once('{') {
            let Some((name, after)) = after.split_once('}') else {
                return Err(format!("the URI template `{text}` has a `{{` without `}}`"));
            };
            push_literal(&mut parts, literal, text)?;
            let (part, plain) = match name.strip_prefix('+') {
                Some(name) => (Part::Rest(name.to_owned()), name),
                None => (Part::One(name.to_owned()), name),
            };
            let in_a_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
            if plain.is_empty() || !plain.chars().all(in_a_name) {
                return Err(format!(
                    "`{{{name}}}` of the URI template `{text}` cannot be read back from a URI; use `{{argument}}`, or `{{+argument}}` at its end"
                ));
            }
            let closed = match part {
                Part::Rest(_) => after.is_empty(),
                _ => after.is_empty() || after.starts_with(DELIMITERS),
            };
            if !closed {
                return Err(format!(
                    "in the URI template `{text}` it is not clear where `{{{name}}}` ends; a `/`, `?`, `#`, `&` or the end must follow"
                ));
            }
            if parts.contains(&part) {
                return Err(format!("`{{{name}}}` is in the URI template `{text}` twice"));
            }
            parts.push(part);
            rest = after;
        }
        push_literal(&mut parts, rest, text)?;
        match parts.first() {
            Some(Part::Literal(literal)) if literal.contains(':') => Ok(Template(parts)),
            _ => Err(format!("the URI template `{text}` does not begin with a scheme, such as `file:`")),
        }
    }

    /// The names of its arguments.
    pub(super) fn arguments(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|part| match part {
            Part::Literal(_) => None,
            Part::One(name) | Part::Rest(name) => Some(name.as_str()),
        })
    }

    /// Whether the same URIs fit both, whatever the arguments are called.
    pub(super) fn is_like(&self, other: &Template) -> bool {
        self.0.len() == other.0.len()
            && self.0.iter().zip(&other.0).all(|pair| match pair {
                (Part::Literal(one), Part::Literal(other)) => one == other,
                (Part::One(_), Part::One(_)) | (Part::Rest(_), Part::Rest(_)) => true,
                _ => false,
            })
    }

    /// The arguments' values in a URI, decoded; none when it does not fit.
    ///
    /// # Errors
    /// [`Refusal`] when it fits, and a value is written so that servers read it differently.
    pub(super) fn values(&self, uri: &str) -> Result<Option<Vec<(&str, String)>>, Refusal> {
        let (mut raw, mut rest) = (Vec::new(), uri);
        for part in &self.0 {
            match part {
                Part::Literal(literal) => match rest.strip_prefix(literal.as_str()) {
                    Some(after) => rest = after,
                    None => return Ok(None),
                },
                Part::One(name) => {
                    let (value, after) =
                        rest.split_at_checked(rest.find(DELIMITERS).unwrap_or(rest.len())).unwrap_or_default();
                    raw.push((name.as_str(), value));
                    rest = after;
                }
                Part::Rest(name) => raw.push((name.as_str(), std::mem::take(&mut rest))),
            }
        }
        if !rest.is_empty() || raw.iter().any(|(_, value)| value.is_empty()) {
            return Ok(None);
        }
        let decode = |value: &str| {
            value.split('/').map(decode_segment).collect::<Result<Vec<_>, _>>().map(|parts| parts.join("/"))
        };
        raw.into_iter().map(|(name, value)| Ok((name, decode(value)?))).collect::<Result<Vec<_>, _>>().map(Some)
    }
}

fn push_literal(parts: &mut Vec<Part>, literal: &str, template: &str) -> Result<(), String> {
    if literal.contains('}') || literal.chars().any(|c| c.is_control() || c == ' ') {
        return Err(format!("the URI template `{template}` has a `}}` without `{{`, a space or a control character"));
    }
    if !literal.is_empty() {
        parts.push(Part::Literal(literal.to_owned()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn what_is_filled_in_is_read_back(one in "[a-z0-9. é]{1,6}", rest in "[a-z0-9_-]{1,5}(/[a-z0-9]{1,4}){0,2}") {
            proptest::prop_assume!(!one.starts_with([' ', '.']) && !one.ends_with([' ', '.']));
            let template = Template::parse("a:b/{one}?q=1#{+rest}").unwrap();
            let encoded: String = percent_encoding::utf8_percent_encode(&one, percent_encoding::NON_ALPHANUMERIC).collect();
            let values = template.values(&format!("a:b/{encoded}?q=1#{rest}")).unwrap().unwrap();
            proptest::prop_assert_eq!(values, [("one", one), ("rest", rest)]);
        }

        #[test]
        fn no_template_and_no_uri_panics(template in "a:[a-z{}+/?#&]{0,20}", uri in "a:[a-z%0-9/?#&.]{0,20}") {
            if let Ok(template) = Template::parse(&template) {
                let _ = template.values(&uri);
            }
        }
    }
}

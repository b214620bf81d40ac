//! A request as the record has it, and read back from there, so that it can be judged again.

use http::Method;
use serde::{Serialize, Serializer, ser::SerializeMap as _};
use serde_json::Value;

use super::{Body, Header, Operation, Request, target};
use crate::{Json, Refusal, catalogue::Catalogue};

/// The most nesting that was ever judged.
const DEPTH: usize = 256;

/// A request with those of its headers that can hold an argument of the catalogue.
#[derive(Debug, Clone, Copy)]
pub struct Recorded<'r> {
    /// The request.
    pub request: &'r Request,
    /// The catalogue that it is judged by; without it no header is recorded.
    pub catalogue: Option<&'r Catalogue>,
}

/// What a record holds of a request. Its numbers are whole, so what was a number with a fraction stands there as text, and `decimals` says where.
impl Serialize for Recorded<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let request = self.request;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("upstream", &request.upstream)?;
        map.serialize_entry("method", request.verb())?;
        map.serialize_entry("target", &request.target)?;
        // What a model is told is kept message by message, not here.
        let json = request.json().filter(|_| request.operation != Operation::Model);
        map.serialize_entry("body", &json)?;
        match &request.body {
            _ if request.operation == Operation::Model => {
                map.serialize_entry("operation", "model")?;
                map.serialize_entry("asks", &asks(request))?;
            }
            _ if request.operation == Operation::Models => map.serialize_entry("operation", "models")?,
            Body::Json(Json::Null, _) => map.serialize_entry("body_is", "json")?,
            Body::Opaque => map.serialize_entry("body_is", "opaque")?,
            Body::Empty | Body::Json(..) => {}
        }
        if let Some(answers) = &request.answers {
            map.serialize_entry("answers", answers)?;
        }
        for (name, json) in [("decimals", json), ("answers_decimals", request.answers())] {
            let decimals = json.map(decimals).unwrap_or_default();
            if !decimals.is_empty() {
                map.serialize_entry(name, &decimals)?;
            }
        }
        let declared = self.catalogue.into_iter().flat_map(Catalogue::headers);
        let headers: serde_json::Map<String, Value> = declared
            .filter_map(|name| {
                let value = match request.headers.get(name)? {
                    Header::Once(text) => text.as_str().into(),
                    Header::Ambiguous => Value::Null,
                };
                Some((name.clone(), value))
            })
            .collect();
        if !headers.is_empty() {
            map.serialize_entry("headers", &headers)?;
        }
        map.end()
    }
}

/// Without its headers.
impl Serialize for Request {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Recorded { request: self, catalogue: None }.serialize(serializer)
    }
}

/// What of a prompt a catalogue can limit.
fn asks(request: &Request) -> Json {
    let members = ["model", "max_tokens", "max_completion_tokens", "max_output_tokens"];
    let found = members.iter().filter_map(|name| Some(((*name).to_owned(), request.json()?.member(name)?.clone())));
    Json::Object(found.filter(|(_, value)| value.as_text().is_some()).collect())
}

/// The places of numbers that a record writes as text.
fn decimals(json: &Json) -> Vec<String> {
    let mut found = Vec::new();
    json.scalars(&mut String::new(), &mut |at, value| {
        if let Json::Number(text) = value
            && !text.parse::<i64>().is_ok_and(|number| number.unsigned_abs() < 1 << 53)
        {
            found.push(at.to_owned());
        }
    });
    found
}

impl Request {
    /// The request that a record is of.
    ///
    /// # Errors
    /// [`Refusal`] with the code `record-unreadable`, when the record is of no request that was judged.
    pub fn recorded(record: &Value) -> Result<Request, Refusal> {
        let unreadable = |what: &str| Refusal::new("record-unreadable", format!("the recorded request has no {what}"));
        let text = |name: &str| record.get(name).and_then(Value::as_str).ok_or_else(|| unreadable(name));
        let (verb, target) = (text("method")?, text("target")?);
        let (operation, method) = match verb {
            "tools/call" => (Operation::Tool, Method::POST),
            "resources/read" => (Operation::Resource, Method::POST),
            "prompts/get" => (Operation::Prompt, Method::POST),
            "mcp/message" => (Operation::Plumbing, Method::POST),
            verb => (operation(record), verb.parse().map_err(|_| unreadable("method"))?),
        };
        let (mut segments, mut query) = (Vec::new(), Vec::new());
        if matches!(operation, Operation::Http | Operation::Model | Operation::Models) {
            let (path, rest) = target.split_once('?').unwrap_or((target, ""));
            (segments, query) = (target::segments(path)?, target::pairs(rest)?);
        }
        let json = |name: &str, decimals: &str| -> Result<Option<Json>, Refusal> {
            let Some(value) = record.get(name) else { return Ok(None) };
            let json = Json::parse_response(value.to_string().as_bytes(), DEPTH)?;
            Ok(Some(with_decimals(json, record.get(decimals))))
        };
        let asks = json("asks", "")?;
        let told = record.get("sha256").and_then(Value::as_str).filter(|_| asks.is_some()).map(str::to_owned);
        let body = match (
            asks.map_or_else(|| json("body", "decimals"), |asks| Ok(Some(asks)))?,
            record.get("body_is").and_then(Value::as_str),
        ) {
            (_, Some("opaque")) => Body::Opaque,
            (None | Some(Json::Null), None) => Body::Empty,
            (json, _) => Body::Json(json.unwrap_or(Json::Null), Vec::new()),
        };
        let headers = record.get("headers").and_then(Value::as_object).into_iter().flatten();
        let headers = headers.map(|(name, value)| {
            (name.clone(), value.as_str().map_or(Header::Ambiguous, |text| Header::Once(text.to_owned())))
        });
        Ok(Request {
            operation,
            upstream: text("upstream")?.to_owned(),
            method,
            segments,
            query,
            headers: headers.collect(),
            body,
            target: target.to_owned(),
            answers: json("answers", "answers_decimals")?,
            told,
        })
    }
}

/// What a request with a method of HTTP asks for.
fn operation(record: &Value) -> Operation {
    match record.get("operation").and_then(Value::as_str) {
        Some("model") => Operation::Model,
        Some("models") => Operation::Models,
        _ => Operation::Http,
    }
}

/// With the numbers that the record wrote as text.
fn with_decimals(mut json: Json, decimals: Option<&Value>) -> Json {
    for at in decimals.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str) {
        if let Some(place) = json.pointer_mut(at)
            && let Json::String(text) = place
        {
            *place = Json::Number(std::mem::take(text));
        }
    }
    json
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue};
    use proptest::prelude::*;

    use super::*;
    use crate::request::{Limits, RequestBody};

    fn through(request: &Request, catalogue: &Catalogue) -> Request {
        let record = serde_json::to_value(Recorded { request, catalogue: Some(catalogue) }).unwrap();
        // As it is stored: no fraction, no exponent.
        let stored: Value = serde_json::from_str(&record.to_string()).unwrap();
        Request::recorded(&stored).unwrap()
    }

    fn catalogue() -> Catalogue {
        Catalogue::parse(
            "upstream = \"u\"\n[[action]]\nname = \"a\"\nmethod = \"GET\"\npath = \"/{x}\"\neffect = \"read\"\n[action.arguments]\n\
             x = { in = \"path\", type = \"text\" }\nh = { in = \"header\", at = \"X-Tag\", type = \"text\" }\n",
        )
        .unwrap()
    }

    /// What judging depends on: all but the bytes that are forwarded.
    fn same(one: &Request, other: &Request) -> bool {
        let bare = |request: &Request| {
            let mut request = request.clone();
            if let Body::Json(_, bytes) = &mut request.body {
                bytes.clear();
            }
            request.headers.retain(|name, _| name == "x-tag");
            request
        };
        bare(one) == bare(other)
    }

    fn normalise(target: &str, body: RequestBody<'_>, tags: &[&str]) -> Result<Request, Refusal> {
        let mut headers = HeaderMap::new();
        headers.insert("accept", HeaderValue::from_static("*/*"));
        for tag in tags {
            headers.append("x-tag", HeaderValue::from_str(tag).unwrap());
        }
        let Ok(uri) = target.parse() else { return Err(Refusal::new("uri", "no URI")) };
        Request::normalise(&Limits::default(), "u", &Method::POST, &uri, &headers, body)
    }

    #[test]
    fn numbers_headers_and_empty_bodies_come_back_as_they_were() {
        let json = |text: &'static str| RequestBody::Json(text.as_bytes());
        for (body, tags) in [
            (json(r#"{"a":4.50,"b":"4.50","c":[1,2.5,{"d~/e":0.1}],"n":null}"#), &["x"][..]),
            (json("null"), &[]),
            (json("7.25"), &["a", "b"]),
            (RequestBody::Empty, &["t"]),
            (RequestBody::Opaque, &[]),
        ] {
            let request = normalise("/a%20b/c?q=1&r=%2F", body, tags).unwrap();
            assert!(same(&request, &through(&request, &catalogue())), "{request:?}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_judged_can_be_judged_again(path in "(/[a-z%0-9+@:. ]{1,6}){0,3}", query in "([a-c]=[a-z%+0-9]{0,4}&?){0,3}", body in "(\\{\"a\":-?[0-9]{1,9}(\\.[0-9]{1,6})?\\}|\\[\"[a-z]{0,3}\",[0-9]\\.5\\])?") {
            let target = if query.is_empty() { format!("{path}/x") } else { format!("{path}/x?{query}") };
            if let Ok(request) = normalise(&target, RequestBody::Json(body.as_bytes()), &[]) {
                prop_assert!(same(&request, &through(&request, &catalogue())), "{:?}", request);
            }
        }
    }
}

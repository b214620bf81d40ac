//! From an action with arguments to the request that would be made of it: for whoever asks what a call would come to before making it.

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value, json};

use super::{
    Action, Catalogue, Place, Protocol, Route,
    routes::{Segment, template},
};
use crate::{
    Refusal, mcp, model,
    request::{Limits, Request, RequestBody},
};

/// What stays as it is in a path or query: RFC 3986 §2.3.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A request that was not made.
#[derive(Debug, Clone)]
pub struct Composed {
    /// The method.
    pub method: Method,
    /// Path and query.
    pub target: String,
    /// The headers.
    pub headers: HeaderMap,
    /// The JSON body.
    pub body: Option<Value>,
}

fn cannot(message: impl Into<String>) -> Refusal {
    Refusal::new("not-composable", message)
}

impl Composed {
    /// A message of MCP.
    pub fn message(method: &str, params: &Value) -> Composed {
        let body = json!({ "jsonrpc": "2.0", "id": 0, "method": method, "params": params });
        Composed { method: Method::POST, target: "/".to_owned(), headers: HeaderMap::new(), body: Some(body) }
    }

    /// Normalises it as if it had been sent.
    ///
    /// # Errors
    /// [`Refusal`], as for a request that was sent.
    pub fn read(&self, limits: &Limits, catalogue: &Catalogue) -> Result<Request, Refusal> {
        let target = self.target.parse().map_err(|_| cannot(format!("`{}` is no path and query", self.target)))?;
        let bytes = self.body.as_ref().map(|body| body.to_string().into_bytes());
        let mut headers = self.headers.clone();
        if bytes.is_some() {
            headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        let body = bytes.as_deref().map_or(RequestBody::Empty, RequestBody::Json);
        let request = Request::normalise(limits, catalogue.upstream(), &self.method, &target, &headers, body)?;
        match catalogue.protocol() {
            Protocol::Http => Ok(request),
            Protocol::Mcp => mcp::read(limits, &request, &headers),
            Protocol::Model => model::read(request),
        }
    }
}

impl Action {
    /// The request that calls it with these arguments.
    ///
    /// # Errors
    /// [`Refusal`] when an argument is not one of its own, is missing in the path, or stands at several places of the body.
    pub fn compose(&self, arguments: &Map<String, Value>) -> Result<Composed, Refusal> {
        if let Some(name) = arguments.keys().find(|name| !self.arguments.contains_key(*name)) {
            return Err(Refusal::new("argument-unknown", format!("`{}` has no argument `{name}`", self.name)));
        }
        match &self.route {
            Route::Http { method, path } => self.compose_http(method, path, arguments),
            Route::Tool(name) | Route::Prompt(name) => {
                let called = if matches!(self.route, Route::Tool(_)) { "tools/call" } else { "prompts/get" };
                let members = self.members(Place::Argument, arguments)?.unwrap_or_else(|| json!({}));
                Ok(Composed::message(called, &json!({ "name": name, "arguments": members })))
            }
            Route::Resource(uri) => {
                let mut filled = uri.clone();
                for (name, value) in arguments {
                    let value =
                        text(value).ok_or_else(|| cannot(format!("`{name}` stands in a URI, so it is no list")))?;
                    let parts: Vec<String> = value.split('/').map(encode).collect();
                    filled = filled.replace(&format!("{{{name}}}"), &encode(&value));
                    filled = filled.replace(&format!("{{+{name}}}"), &parts.join("/"));
                }
                Ok(Composed::message("resources/read", &json!({ "uri": filled })))
            }
        }
    }

    fn compose_http(&self, method: &str, path: &str, arguments: &Map<String, Value>) -> Result<Composed, Refusal> {
        let missing =
            |name: &str| Refusal::new("argument-missing", format!("`{}` needs the argument `{name}`", self.name));
        let mut target = String::new();
        for segment in template(path) {
            target.push('/');
            match segment {
                Segment::Literal(literal) => target.push_str(literal),
                Segment::Argument(name) => {
                    let value = arguments.get(name).and_then(text).ok_or_else(|| missing(name))?;
                    target.push_str(&encode(&value));
                }
            }
        }
        if target.is_empty() {
            target.push('/');
        }
        let mut headers = HeaderMap::new();
        for (name, value) in arguments {
            let Some(argument) = self.arguments.get(name) else { continue };
            let value = text(value);
            let of = || value.clone().ok_or_else(|| cannot(format!("`{name}` is no list and no object")));
            match argument.place {
                Place::Query => {
                    target.push(if target.contains('?') { '&' } else { '?' });
                    target.push_str(&format!("{}={}", encode(argument.key(name)), encode(&of()?)));
                }
                Place::Header => {
                    let header = argument.key(name).parse::<HeaderName>().ok();
                    let pair = header.zip(HeaderValue::from_str(&of()?).ok());
                    headers.extend(Some(pair.ok_or_else(|| cannot(format!("`{name}` cannot stand in a header")))?));
                }
                Place::Path | Place::Body | Place::Argument => {}
            }
        }
        let method = Method::from_bytes(method.as_bytes()).map_err(|_| cannot("the method is none"))?;
        Ok(Composed { method, target, headers, body: self.members(Place::Body, arguments)? })
    }

    /// The JSON with the arguments of one place, by their pointers.
    fn members(&self, place: Place, arguments: &Map<String, Value>) -> Result<Option<Value>, Refusal> {
        let mut root = None;
        for (name, value) in arguments {
            let Some(argument) = self.arguments.get(name).filter(|argument| argument.place == place) else { continue };
            let pointer = argument.pointer(name);
            let steps: Vec<&str> = pointer.split('/').skip(1).collect();
            if steps.contains(&"*") {
                return Err(cannot(format!("`{name}` stands at several places of the body; send the request itself")));
            }
            let mut at = root.get_or_insert_with(|| json!({}));
            for step in steps {
                let step = step.replace("~1", "/").replace("~0", "~");
                let Value::Object(members) = at else {
                    return Err(cannot(format!("`{name}` stands within another argument")));
                };
                at = members.entry(step).or_insert_with(|| json!({}));
            }
            *at = value.clone();
        }
        Ok(root)
    }
}

fn encode(text: &str) -> String {
    utf8_percent_encode(text, UNRESERVED).to_string()
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CATALOGUE: &str = r#"
upstream = "api"
[[action]]
name = "pay"
method = "POST"
path = "/accounts/{from}/payments"
effect = "write"
[action.arguments]
from = { in = "path", type = "identifier", required = true }
urgent = { in = "query", type = "boolean" }
tag = { in = "header", at = "x-tag", type = "text" }
iban = { in = "body", at = "/to/iban", type = "account", required = true }
amount = { in = "body", type = "money", required = true }
"#;

    #[test]
    fn what_is_composed_resolves_to_the_action_and_the_arguments_it_was_composed_of() {
        let catalogue = Catalogue::parse(CATALOGUE).unwrap();
        let action = catalogue.action("pay").unwrap();
        let given = json!({ "from": "a b/c?d", "urgent": true, "tag": "x y", "iban": "GB29", "amount": "4.50" });
        let composed = action.compose(given.as_object().unwrap()).unwrap();
        assert_eq!(composed.body, Some(json!({ "to": { "iban": "GB29" }, "amount": "4.50" })));
        // A slash within a segment can be read in two ways, so a request with one is refused like any other.
        assert!(composed.read(&Limits::default(), &catalogue).is_err());
        let given = json!({ "from": "a b?d", "urgent": true, "tag": "x y", "iban": "GB29", "amount": "4.50" });
        let composed = action.compose(given.as_object().unwrap()).unwrap();
        let request = composed.read(&Limits::default(), &catalogue).unwrap();
        let resolved = catalogue.resolve(&request).unwrap();
        assert_eq!(resolved.action.name, "pay");
        for (name, value) in given.as_object().unwrap() {
            assert_eq!(resolved.arguments[name].as_text(), text(value), "{name}");
        }
        for bad in [json!({ "iban": "GB29" }), json!({ "from": "a", "other": 1 }), json!({ "from": ["a"] })] {
            assert!(action.compose(bad.as_object().unwrap()).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_action_of_mcp_is_composed_as_a_message() {
        let text = "upstream = \"m\"\nprotocol = \"mcp\"\n[[action]]\nname = \"say\"\ntool = \"say\"\neffect = \"read\"\n[action.arguments]\nwords = { type = \"text\", list = true }\n[[action]]\nname = \"read\"\nresource = \"file:///{+path}\"\neffect = \"read\"\n[action.arguments]\npath = { type = \"text\" }\n";
        let catalogue = Catalogue::parse(text).unwrap();
        for (action, given) in [("say", json!({ "words": ["a", "b"] })), ("read", json!({ "path": "a/b c" }))] {
            let composed = catalogue.action(action).unwrap().compose(given.as_object().unwrap()).unwrap();
            let request = composed.read(&Limits::default(), &catalogue).unwrap();
            let resolved = catalogue.resolve(&request).unwrap();
            assert_eq!((resolved.action.name.as_str(), resolved.arguments.len()), (action, 1));
        }
    }
}

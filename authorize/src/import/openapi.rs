//! From an OpenAPI 3.0 or 3.1 document.

use std::collections::{BTreeMap, BTreeSet};

use http::HeaderName;
use serde_json::Value;

use super::{
    ImportError,
    draft::{self, Draft, DraftAction, DraftArgument},
    guess, harmless,
    schema::{Leaf, Refs, Shape, Side, shape},
};
use crate::{
    catalogue::{BodyKind, Effect, Place, Protocol, Route, Type},
    request::is_json,
};

const METHODS: [&str; 6] = ["get", "head", "post", "put", "patch", "delete"];
/// The most operations of a document.
const MAX_OPERATIONS: usize = 20_000;
/// Headers that the proxy sets or passes on its own, or that OpenAPI says are no parameters.
const NOT_ARGUMENTS: [&str; 12] = [
    "accept",
    "accept-encoding",
    "accept-language",
    "authorization",
    "connection",
    "content-length",
    "content-type",
    "cookie",
    "host",
    "proxy-authorization",
    "transfer-encoding",
    "user-agent",
];

/// A first catalogue for `upstream`.
///
/// # Errors
/// [`ImportError`] when it is no OpenAPI 3.0 or 3.1 document.
pub fn openapi(document: &Value, upstream: &str) -> Result<Draft, ImportError> {
    if document.get("swagger").is_some() {
        return Err(ImportError("the document is of Swagger 2; convert it to OpenAPI 3 first".to_owned()));
    }
    let version = document.get("openapi").and_then(Value::as_str).unwrap_or_default();
    if !version.starts_with("3.") {
        return Err(ImportError("the document has no `openapi: 3.…`; only OpenAPI 3.0 and 3.1 are read".to_owned()));
    }
    let paths = document.get("paths").and_then(Value::as_object);
    let paths = paths.ok_or_else(|| ImportError("the document has no `paths`".to_owned()))?;
    let reader = Reader { refs: Refs { document }, credentials: credentials(document) };
    let mut draft = Draft::new(upstream, Protocol::Http);
    draft.comments = reader.head(document, version);
    let mut names = BTreeSet::new();
    let mut count = 0;
    for (path, item) in paths {
        let Some(item) = reader.refs.follow(item) else {
            draft.left_out.push(harmless(&format!("{path}: its description is not in this document"), 400));
            continue;
        };
        for method in METHODS {
            let Some(operation) = item.get(method) else { continue };
            count += 1;
            if count > MAX_OPERATIONS {
                return Err(ImportError(format!("the document has more than {MAX_OPERATIONS} operations")));
            }
            draft.add(reader.action(path, method, item, operation), &mut names);
        }
    }
    Ok(draft)
}

struct Reader<'d> {
    refs: Refs<'d>,
    /// Names of headers, query parameters and cookies that carry credentials, by place, in lower case.
    credentials: BTreeSet<(String, String)>,
}

/// What the document's security schemes put into requests: the sidecar adds it, no agent.
fn credentials(document: &Value) -> BTreeSet<(String, String)> {
    let schemes = document.pointer("/components/securitySchemes").and_then(Value::as_object);
    let of_scheme = |scheme: &Value| {
        let text = |key: &str| scheme.get(key).and_then(Value::as_str).map(str::to_lowercase);
        (text("type").as_deref() == Some("apikey")).then(|| Some((text("in")?, text("name")?))).flatten()
    };
    schemes.into_iter().flatten().filter_map(|(_, scheme)| of_scheme(scheme)).collect()
}

/// The text of a string member.
fn text<'d>(value: &'d Value, key: &str) -> &'d str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

impl<'d> Reader<'d> {
    fn head(&self, document: &Value, version: &str) -> Vec<String> {
        let info = document.get("info").unwrap_or(&Value::Null);
        let mut head = vec![
            format!("Made from OpenAPI {version}: {} {}", text(info, "title"), text(info, "version")),
            "A proposal, to be marked by a human: remove the actions that agents do not need; look at each `effect` and `binds`; say in `from` where".to_owned(),
            "a value may come from besides the user's words; mark first-party fields. Then `countersign check`.".to_owned(),
        ];
        let servers = document.get("servers").and_then(Value::as_array).into_iter().flatten();
        let servers: Vec<&str> =
            servers.map(|server| text(server, "url")).filter(|url| !["", "/"].contains(url)).take(4).collect();
        if !servers.is_empty() {
            head.push(format!(
                "The paths are below {}: that belongs into the upstream's `url` in the configuration.",
                servers.join(" or ")
            ));
        }
        head
    }

    fn action(&self, path: &str, method: &str, item: &'d Value, operation: &'d Value) -> DraftAction {
        let effect = match method {
            "get" | "head" => Effect::Read,
            "delete" => Effect::Irreversible,
            _ => Effect::Write,
        };
        let id = text(operation, "operationId");
        let mut comments = Vec::new();
        if operation.get("deprecated") == Some(&Value::Bool(true)) {
            comments.push("LOOK: the document calls this deprecated".to_owned());
        }
        if effect != Effect::Read && guess::sounds_like_a_read(id) {
            comments.push(format!(
                "LOOK: by its name it may only read; it is a {} until you say otherwise",
                effect.as_str()
            ));
        }
        if effect == Effect::Write && guess::sounds_irreversible(id) {
            comments.push("LOOK: can it be changed back? If not, it is \"irreversible\"".to_owned());
        }
        let mut arguments = BTreeMap::new();
        for parameter in self.parameters(item, operation, &mut comments) {
            self.parameter(parameter, effect, &mut arguments, &mut comments);
        }
        declare_missing(path, effect, &mut arguments);
        let body = self.body(operation, effect, &mut arguments, &mut comments);
        let has_money = arguments.iter().any(|(name, argument)| guess::is_money(name, argument.ty));
        if effect != Effect::Read && !arguments.values().any(|argument| argument.binds) {
            comments.push("LOOK: nothing binds, so whoever is granted this can do all of it".to_owned());
        }
        let summary = text(operation, "summary");
        let description = if summary.is_empty() { text(operation, "description") } else { summary };
        DraftAction {
            comments,
            name: if id.is_empty() { name_of(path, method, operation) } else { id.to_owned() },
            description: description.to_owned(),
            route: Route::Http { method: method.to_uppercase(), path: path.to_owned() },
            effect,
            risk: guess::risk(effect, has_money),
            body,
            arguments,
            fields: self.response(operation),
            definition: None,
        }
    }

    /// The parameters of the path and of the operation; the latter win.
    fn parameters(&self, item: &'d Value, operation: &'d Value, comments: &mut Vec<String>) -> Vec<&'d Value> {
        let mut found: BTreeMap<(&str, &str), &Value> = BTreeMap::new();
        let listed =
            [item, operation].into_iter().filter_map(|of| of.get("parameters").and_then(Value::as_array)).flatten();
        for parameter in listed {
            match self.refs.follow(parameter) {
                Some(parameter) => drop(found.insert((text(parameter, "in"), text(parameter, "name")), parameter)),
                None => {
                    comments.push(format!("LOOK: the parameter {} is not in this document", text(parameter, "$ref")))
                }
            }
        }
        found.into_values().collect()
    }

    fn parameter(
        &self,
        parameter: &'d Value,
        effect: Effect,
        arguments: &mut BTreeMap<String, DraftArgument>,
        comments: &mut Vec<String>,
    ) {
        let (name, place) = (text(parameter, "name"), text(parameter, "in"));
        let secret = self.credentials.contains(&(place.to_owned(), name.to_lowercase()));
        let place = match place {
            "path" => Place::Path,
            "query" => Place::Query,
            "header" if NOT_ARGUMENTS.contains(&name.to_lowercase().as_str()) => return,
            "header" if name.parse::<HeaderName>().is_err() => return,
            "header" => Place::Header,
            _ if secret => return,
            other => {
                return comments
                    .push(format!("LOOK: the parameter `{name}` in the {other} has no place in a catalogue"));
            }
        };
        if secret {
            return comments.push(format!("`{name}` carries the API's credential: the sidecar adds it"));
        }
        let null = &Value::Null;
        let schema = parameter.get("schema").and_then(|schema| self.refs.follow(schema)).unwrap_or(null);
        let array = schema.get("items").is_some();
        let object = schema.get("properties").is_some();
        if place == Place::Query && object {
            return comments.push(format!(
                "LOOK: the query parameter `{name}` is an object, for which a catalogue has no form; it is refused"
            ));
        }
        if place == Place::Query
            && array
            && text(parameter, "style") != "pipeDelimited"
            && parameter.get("explode") != Some(&Value::Bool(false))
        {
            comments.push(format!(
                "LOOK: the query parameter `{name}` may be there several times; once is accepted, twice is refused"
            ));
        }
        let kind = match text(schema, "type") {
            "integer" if !array => "integer",
            "number" if !array => "number",
            "boolean" => "boolean",
            _ => "string",
        };
        let said = [parameter, schema]
            .map(|of| text(of, "description"))
            .into_iter()
            .find(|said| !said.is_empty())
            .unwrap_or_default();
        let required = place == Place::Path || parameter.get("required") == Some(&Value::Bool(true));
        let mut argument =
            draft::argument(name, "", &Leaf { kind, required, list: false, said, schema }, place, effect);
        // What stands in the path of a change says what is changed; a header carries how, not what.
        argument.binds = match place {
            Place::Path => effect != Effect::Read || argument.binds,
            Place::Header => false,
            _ => argument.binds && !array,
        };
        if array {
            argument.ty = Type::Text;
        }
        let free =
            if arguments.contains_key(name) { format!("{name}_{}", text(parameter, "in")) } else { name.to_owned() };
        if place != Place::Path && free != name {
            argument.at = Some(name.to_owned());
        }
        arguments.insert(free, argument);
    }

    fn body(
        &self,
        operation: &'d Value,
        effect: Effect,
        arguments: &mut BTreeMap<String, DraftArgument>,
        comments: &mut Vec<String>,
    ) -> BodyKind {
        let Some(body) = operation.get("requestBody") else { return BodyKind::Json };
        let Some(content) = self.refs.follow(body).and_then(|body| body.get("content")).and_then(Value::as_object)
        else {
            comments.push("LOOK: the body is not described in this document".to_owned());
            return BodyKind::Json;
        };
        let json = content.iter().find(|(media, _)| is_json(media));
        let Some((_, media)) = json else {
            let media: Vec<&str> = content.keys().map(String::as_str).collect();
            let media = media.join(", ");
            comments.push(format!("LOOK: the body is no JSON ({media}): it streams through unread, nothing in it is judged, and no approval can cover it"));
            return BodyKind::Opaque;
        };
        let Some(schema) = media.get("schema") else {
            comments.push("LOOK: the JSON body has no schema; declare its members".to_owned());
            return BodyKind::Json;
        };
        let mut found = shape(self.refs, schema, Side::Request);
        if self.refs.follow(body).and_then(|body| body.get("required")) != Some(&Value::Bool(true)) {
            found.leaves.values_mut().for_each(|leaf| leaf.required = false);
        }
        comments.extend(found.notes.iter().map(|note| format!("LOOK: in the body, {note}")));
        draft::arguments(&found, Place::Body, effect, arguments);
        BodyKind::Json
    }

    /// The fields of the JSON answers of success.
    fn response(&self, operation: &'d Value) -> Vec<(String, Type)> {
        let responses = operation.get("responses").and_then(Value::as_object);
        let good = responses.into_iter().flatten().filter(|(status, _)| status.starts_with('2'));
        let mut all = Shape::default();
        for (_, response) in good {
            let content =
                self.refs.follow(response).and_then(|response| response.get("content")).and_then(Value::as_object);
            let json = content.into_iter().flatten().find(|(media, _)| is_json(media));
            if let Some(schema) = json.and_then(|(_, media)| media.get("schema")) {
                all.leaves.extend(shape(self.refs, schema, Side::Response).leaves);
            }
        }
        draft::fields(&all)
    }
}

/// Arguments that the path has and nobody described.
fn declare_missing(path: &str, effect: Effect, arguments: &mut BTreeMap<String, DraftArgument>) {
    let named = path.split('/').filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'));
    for name in named.collect::<BTreeSet<_>>() {
        let leaf = Leaf { kind: "string", required: true, list: false, said: "", schema: &Value::Null };
        let mut argument = draft::argument(name, "", &leaf, Place::Path, effect);
        argument.binds |= effect != Effect::Read;
        argument.comment = "LOOK: the document does not describe it".to_owned();
        arguments.entry(name.to_owned()).or_insert(argument);
    }
}

/// A name out of tag, method and path: `accounts.get.accounts-id-balances`.
fn name_of(path: &str, method: &str, operation: &Value) -> String {
    let tag = operation.get("tags").and_then(|tags| tags.get(0)).and_then(Value::as_str).unwrap_or_default();
    let path = path.replace(['{', '}'], "");
    [tag, method, &path]
        .iter()
        .filter(|part| !part.is_empty())
        .map(|part| draft::name(part))
        .collect::<Vec<_>>()
        .join(".")
}

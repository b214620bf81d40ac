//! From recorded calls: what agents asked for and no catalogue knew. Only names and types are taken over, never a value.

use std::collections::{BTreeMap, BTreeSet};

use http::Uri;
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value, json};

use super::{
    draft::{self, Draft, DraftAction, DraftArgument},
    guess,
    schema::{Leaf, Refs, Side, shape},
};
use crate::{
    catalogue::{BodyKind, Effect, Place, Protocol, Route},
    occurs,
};

/// So many different texts in one place of a path, with all else alike, are an argument.
const VARIES: usize = 4;
/// So many members of one object are probably no fixed names.
const MANY_MEMBERS: usize = 64;

/// A request as a `call` entry's vault holds it.
#[derive(Debug, Clone)]
pub struct Observed {
    /// `GET`, `POST`, …, or `tools/call`, `resources/read`, `prompts/get`.
    pub verb: String,
    /// Path and query, or the name of the tool or prompt, or the resource's URI.
    pub target: String,
    /// The JSON body, or the arguments of MCP.
    pub body: Option<Value>,
}

impl Observed {
    /// Reads what the disclosure `request` of a `call` entry says.
    pub fn of_record(request: &Value) -> Option<Observed> {
        let text = |key: &str| request.get(key).and_then(Value::as_str).map(str::to_owned);
        let body = request.get("body").filter(|body| !body.is_null()).cloned();
        Some(Observed { verb: text("method")?, target: text("target")?, body })
    }
}

/// Calls that are probably of one action.
#[derive(Debug, Default)]
struct Group<'o> {
    calls: Vec<(&'o Observed, Vec<String>)>,
}

/// A first catalogue for `upstream` out of what was observed.
pub fn learn(observed: &[Observed], upstream: &str) -> Draft {
    let of_mcp = observed.iter().any(|call| call.verb.contains('/'));
    let mut draft = Draft::new(upstream, if of_mcp { Protocol::Mcp } else { Protocol::Http });
    draft.comments = vec![
        format!("Made from recorded calls: {}", observed.len()),
        "A proposal, to be marked by a human: an agent asked for these, and nobody said that it should. Remove what agents must not do; look at each"
            .to_owned(),
        "`effect` and `binds`. Headers, and what no call had, are not here. Then `countersign check`.".to_owned(),
    ];
    let mut names = BTreeSet::new();
    if of_mcp {
        let mut called: BTreeMap<(&str, &str), Vec<&Observed>> = BTreeMap::new();
        observed.iter().for_each(|call| called.entry((&call.verb, &call.target)).or_default().push(call));
        for ((verb, name), calls) in called {
            draft.add(of_mcp_calls(verb, name, &calls), &mut names);
        }
    } else {
        for (template, group) in groups(observed) {
            draft.add(of_http_calls(&template, &group), &mut names);
        }
    }
    draft
}

/// Method, and the path's segments: literals, or `None` where any text can stand.
type Template = (String, Vec<Option<String>>);

/// Groups HTTP calls by method and path, what varies in the path taken out.
fn groups(observed: &[Observed]) -> BTreeMap<Template, Group<'_>> {
    let mut groups: BTreeMap<Template, Group<'_>> = BTreeMap::new();
    for call in observed {
        let Some(segments) = segments(&call.target) else { continue };
        let template = segments.iter().map(|segment| (!looks_like_an_id(segment)).then(|| segment.clone())).collect();
        groups.entry((call.verb.clone(), template)).or_default().calls.push((call, segments));
    }
    let longest = groups.keys().map(|(_, segments)| segments.len()).max().unwrap_or(0);
    for position in 0..longest {
        groups = merge(groups, position);
    }
    groups
}

/// Joins groups that differ in one place of the path only, when there are many of them.
fn merge(groups: BTreeMap<Template, Group<'_>>, position: usize) -> BTreeMap<Template, Group<'_>> {
    let without = |(method, segments): &Template| {
        let mut segments = segments.clone();
        if let Some(segment) = segments.get_mut(position) {
            *segment = None;
        }
        (method.clone(), segments)
    };
    let mut alike: BTreeMap<Template, usize> = BTreeMap::new();
    groups.keys().for_each(|template| *alike.entry(without(template)).or_default() += 1);
    let mut merged: BTreeMap<Template, Group<'_>> = BTreeMap::new();
    for (template, group) in groups {
        let general = without(&template);
        let varies = alike.get(&general).is_some_and(|count| *count >= VARIES);
        // The first segment names what the API has; it does not vary.
        let into = if varies && position > 0 { general } else { template };
        merged.entry(into).or_default().calls.extend(group.calls);
    }
    merged
}

/// The path's segments, decoded; `None` for what is no path.
fn segments(target: &str) -> Option<Vec<String>> {
    let path = target.parse::<Uri>().ok()?.path().to_owned();
    let rest = path.strip_prefix('/')?;
    if rest.is_empty() {
        return Some(Vec::new());
    }
    rest.split('/').map(|segment| Some(percent_decode_str(segment).decode_utf8().ok()?.into_owned())).collect()
}

/// Whether a segment is a number, a UUID, a hash or another text that no API has as a fixed part of its paths.
fn looks_like_an_id(segment: &str) -> bool {
    let digits = segment.chars().filter(char::is_ascii_digit).count();
    let version = segment.len() <= 3 && segment.starts_with('v') && digits + 1 == segment.len();
    let only = |allowed: fn(char) -> bool| segment.chars().all(allowed);
    !version
        && (segment.contains('@')
            || (digits > 0 && only(|c| c.is_ascii_digit() || matches!(c, '-' | '.' | ':')))
            || (digits >= 2 && segment.len() >= 8)
            || (segment.len() >= 16 && only(|c| c.is_ascii_hexdigit() || c == '-'))
            || (!segment.is_empty()
                && !only(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':' | '~'))))
}

fn of_http_calls((method, segments): &Template, group: &Group<'_>) -> DraftAction {
    let effect = match method.as_str() {
        "GET" | "HEAD" | "OPTIONS" => Effect::Read,
        "DELETE" => Effect::Irreversible,
        _ => Effect::Write,
    };
    let (mut arguments, mut comments) = (BTreeMap::new(), vec![format!("Calls of it: {}", group.calls.len())]);
    let mut path = String::new();
    let mut before = "";
    for (position, segment) in segments.iter().enumerate() {
        match segment {
            Some(literal) => path.push_str(&format!("/{literal}")),
            None => {
                let values = group.calls.iter().filter_map(|(_, segments)| segments.get(position));
                let name = free_name(&name_after(before), &arguments);
                path.push_str(&format!("/{{{name}}}"));
                arguments.insert(name.clone(), of_texts(&name, values, Place::Path, effect, true));
            }
        }
        before = segment.as_deref().unwrap_or(before);
    }
    if path.is_empty() {
        path.push('/');
    }
    query(group, effect, &mut arguments);
    let bodies: Vec<&Value> = group.calls.iter().filter_map(|(call, _)| call.body.as_ref()).collect();
    let schema = infer(&bodies);
    body(&schema, bodies.len() == group.calls.len(), Place::Body, effect, &mut arguments, &mut comments);
    let name = [method.to_lowercase().as_str(), path.replace(['{', '}'], "").as_str()].map(draft::name).join(".");
    action(name, Route::Http { method: method.clone(), path }, effect, arguments, comments)
}

fn of_mcp_calls(verb: &str, name: &str, calls: &[&Observed]) -> DraftAction {
    let (mut arguments, mut comments) = (BTreeMap::new(), vec![format!("Calls of it: {}", calls.len())]);
    let (route, effect) = match verb {
        "resources/read" => (Route::Resource(name.to_owned()), Effect::Read),
        "prompts/get" => (Route::Prompt(name.to_owned()), Effect::Read),
        _ if guess::sounds_irreversible(name) => (Route::Tool(name.to_owned()), Effect::Irreversible),
        _ => (Route::Tool(name.to_owned()), Effect::Write),
    };
    let bodies: Vec<&Value> = calls.iter().filter_map(|call| call.body.as_ref()).collect();
    let schema = infer(&bodies);
    body(&schema, bodies.len() == calls.len(), Place::Argument, effect, &mut arguments, &mut comments);
    action(name.to_owned(), route, effect, arguments, comments)
}

fn action(
    name: String,
    route: Route,
    effect: Effect,
    arguments: BTreeMap<String, DraftArgument>,
    mut comments: Vec<String>,
) -> DraftAction {
    let has_money = arguments.iter().any(|(name, argument)| guess::is_money(name, argument.ty));
    if effect != Effect::Read && !arguments.values().any(|argument| argument.binds) {
        comments.push("LOOK: nothing binds, so whoever is granted this can do all of it".to_owned());
    }
    DraftAction {
        comments,
        name,
        description: String::new(),
        route,
        effect,
        risk: guess::risk(effect, has_money),
        body: BodyKind::Json,
        arguments,
        fields: Vec::new(),
        definition: None,
    }
}

fn query(group: &Group<'_>, effect: Effect, arguments: &mut BTreeMap<String, DraftArgument>) {
    let mut seen: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (call, _) in &group.calls {
        let pairs = call.target.split_once('?').map_or("", |(_, query)| query);
        for pair in pairs.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let decode = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
            seen.entry(decode(name)).or_default().push(decode(value));
        }
    }
    for (name, values) in seen {
        let always = values.len() >= group.calls.len();
        let mut argument = of_texts(&name, values.iter(), Place::Query, effect, always);
        let free = free_name(&name, arguments);
        argument.at = (free != name).then(|| name.clone());
        arguments.insert(free, argument);
    }
}

fn body(
    schema: &Value,
    always: bool,
    place: Place,
    effect: Effect,
    arguments: &mut BTreeMap<String, DraftArgument>,
    comments: &mut Vec<String>,
) {
    if schema.is_null() {
        return;
    }
    let mut found = shape(Refs { document: schema }, schema, Side::Request);
    if !always {
        found.leaves.values_mut().for_each(|leaf| leaf.required = false);
    }
    comments.extend(
        found
            .notes
            .iter()
            .filter(|note| !note.starts_with("`the whole`"))
            .map(|note| format!("LOOK: in the body, {note}")),
    );
    draft::arguments(&found, place, effect, arguments);
    arguments.retain(|_, argument| argument.at.as_deref() != Some(""));
}

fn of_texts<'v>(
    name: &str,
    values: impl Iterator<Item = &'v String>,
    place: Place,
    effect: Effect,
    required: bool,
) -> DraftArgument {
    let values: Vec<Value> = values.map(|value| Value::from(value.as_str())).collect();
    let schema = infer(&values.iter().collect::<Vec<_>>());
    let kind = if schema.get("type") == Some(&json!("integer")) { "integer" } else { "string" };
    let mut argument =
        draft::argument(name, "", &Leaf { kind, required, list: false, said: "", schema: &schema }, place, effect);
    if place == Place::Path {
        argument.binds |= effect != Effect::Read;
    }
    argument
}

/// `account_id` after `/accounts`.
fn name_after(literal: &str) -> String {
    let word = draft::name(literal).replace('.', "_");
    let single =
        word.strip_suffix("ies").map(|stem| format!("{stem}y")).or_else(|| word.strip_suffix('s').map(str::to_owned));
    if literal.is_empty() { "id".to_owned() } else { format!("{}_id", single.unwrap_or(word)) }
}

fn free_name(wanted: &str, taken: &BTreeMap<String, DraftArgument>) -> String {
    let numbered = (2..).map(|number| format!("{wanted}_{number}"));
    std::iter::once(wanted.to_owned()).chain(numbered).find(|name| !taken.contains_key(name)).unwrap_or_default()
}

/// A JSON Schema that all these values have, without any of them.
fn infer(values: &[&Value]) -> Value {
    let of = |good: fn(&Value) -> bool| values.iter().copied().filter(|value| good(value)).collect::<Vec<_>>();
    let (objects, arrays) = (of(Value::is_object), of(Value::is_array));
    let scalars = of(|value| !value.is_object() && !value.is_array() && !value.is_null());
    if !objects.is_empty() {
        return of_objects(&objects);
    }
    if !arrays.is_empty() {
        let items: Vec<&Value> = arrays.iter().filter_map(|array| array.as_array()).flatten().collect();
        return json!({ "type": "array", "items": infer(&items) });
    }
    match scalars.is_empty() {
        true => Value::Null,
        false => of_scalars(&scalars),
    }
}

fn of_objects(objects: &[&Value]) -> Value {
    let mut members: BTreeMap<&String, Vec<&Value>> = BTreeMap::new();
    for (name, value) in objects.iter().filter_map(|object| object.as_object()).flatten() {
        members.entry(name).or_default().push(value);
    }
    if members.len() > MANY_MEMBERS {
        let all: Vec<&Value> = members.into_values().flatten().collect();
        return json!({ "type": "object", "additionalProperties": infer(&all) });
    }
    let always = members.iter().filter(|(_, values)| values.len() == objects.len());
    let required: Vec<&&String> = always.map(|(name, _)| name).collect();
    let properties: Map<String, Value> =
        members.iter().map(|(name, values)| ((*name).clone(), infer(values))).collect();
    json!({ "type": "object", "required": required, "properties": properties, "additionalProperties": false })
}

fn of_scalars(values: &[&Value]) -> Value {
    if values.iter().all(|value| value.is_boolean()) {
        return json!({ "type": "boolean" });
    }
    let texts: Vec<String> =
        values.iter().map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned)).collect();
    let all = |good: fn(&str) -> bool| texts.iter().all(|text| good(text));
    let is_url = |text: &str| text.parse::<Uri>().is_ok_and(|uri| matches!(uri.scheme_str(), Some("http" | "https")));
    match () {
        () if all(|text| text.parse::<i64>().is_ok()) => json!({ "type": "integer" }),
        // Decimal numbers stand as texts in records.
        () if all(|text| occurs::decimal(text).is_some()) => json!({ "type": "number" }),
        () if all(|text| occurs::date(text).is_some()) => json!({ "type": "string", "format": "date" }),
        () if all(is_url) => json!({ "type": "string", "format": "uri" }),
        () if all(|text| text.split_once('@').is_some_and(|(_, host)| host.contains('.') && !text.contains(' '))) => {
            json!({ "type": "string", "format": "email" })
        }
        () if all(uuid_like) => json!({ "type": "string", "format": "uuid" }),
        () => json!({ "type": "string" }),
    }
}

fn uuid_like(text: &str) -> bool {
    text.len() == 36
        && text.split('-').map(str::len).eq([8, 4, 4, 4, 12])
        && text.chars().all(|c| c.is_ascii_hexdigit() || c == '-')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::{Catalogue, Type};

    fn call(verb: &str, target: &str, body: Value) -> Observed {
        Observed::of_record(&json!({ "method": verb, "target": target, "body": body })).unwrap()
    }

    #[test]
    fn what_varies_becomes_an_argument_and_no_value_is_kept() {
        let mut calls = vec![
            call("GET", "/v1/accounts/4711/balance", Value::Null),
            call("GET", "/v1/accounts/4712/balance?on=2026-01-31", Value::Null),
            call(
                "POST",
                "/v1/payments",
                json!({ "to": { "iban": "GB29NWBK" }, "amount": "98.70", "currency": "GBP", "tags": ["secretvalue"] }),
            ),
            call(
                "POST",
                "/v1/payments",
                json!({ "to": { "iban": "DE12" }, "amount": 5, "currency": "GBP", "lines": [{ "sku": "a", "n": 2 }] }),
            ),
            call("DELETE", "/v1/payments/0b2f7c0e-6f0e-4f6e-9a3e-0d5b7f1c2a3b", Value::Null),
            call("GET", "/", Value::Null),
        ];
        calls.extend(["ann", "bob", "eve", "joe"].map(|user| call("GET", &format!("/v1/users/{user}"), Value::Null)));
        calls.extend(["about", "terms"].map(|page| call("GET", &format!("/v1/{page}"), Value::Null)));
        let text = learn(&calls, "bank").to_toml();
        let catalogue = Catalogue::parse(&text).unwrap();
        let routes: Vec<String> = catalogue.actions().iter().map(|action| action.route.to_string()).collect();
        assert_eq!(
            routes,
            [
                "DELETE /v1/payments/{payment_id}",
                "GET /",
                "GET /v1/about",
                "GET /v1/accounts/{account_id}/balance",
                "GET /v1/terms",
                "GET /v1/users/{user_id}",
                "POST /v1/payments",
            ]
        );
        let pay = catalogue.action("post.v1-payments").unwrap();
        let argument = |name: &str| pay.arguments.get(name).unwrap_or_else(|| panic!("{name}: {text}"));
        assert_eq!((argument("amount").ty, argument("amount").required), (Type::Money, true));
        assert_eq!((argument("iban").ty, argument("iban").pointer("iban")), (Type::Account, "/to/iban".to_owned()));
        assert_eq!(argument("amount").currency.as_deref(), Some("{currency}"));
        assert_eq!((argument("sku").pointer("sku"), argument("sku").required), ("/lines/*/sku".to_owned(), false));
        assert!(argument("tags").list);
        let balance = catalogue.action("get.v1-accounts-account_id-balance").unwrap();
        assert_eq!(balance.arguments["on"].ty, Type::Date);
        assert!(!balance.arguments["on"].required);
        for value in ["secretvalue", "GB29NWBK", "98.70", "4711", "bob", "2026-01-31"] {
            assert!(!text.contains(value), "{value}: {text}");
        }
    }

    #[test]
    fn calls_of_mcp_are_learnt_by_tool() {
        let calls = [
            call("tools/call", "send_money", json!({ "recipient": "X", "amount": "1.5" })),
            call("tools/call", "send_money", json!({ "recipient": "Y", "amount": 2, "memo": "m" })),
            call("resources/read", "bank://help", Value::Null),
        ];
        let catalogue = Catalogue::parse(&learn(&calls, "bank").to_toml()).unwrap();
        let send = catalogue.action("send_money").unwrap();
        assert_eq!(send.effect, Effect::Irreversible);
        assert_eq!(send.arguments["amount"].ty, Type::Money);
        assert!(!send.arguments["memo"].required);
        assert_eq!(catalogue.actions().len(), 2);
    }

    #[test]
    fn nothing_observed_is_an_empty_catalogue() {
        assert_eq!(learn(&[], "bank").actions(), 0);
    }
}

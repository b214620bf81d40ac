//! From a JSON Schema (of OpenAPI 3.0, 3.1 or an MCP tool) to the places in a JSON value that arguments can stand for.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// Nesting beyond which a schema is not followed.
const MAX_DEPTH: usize = 24;
/// The most schemas that are followed for one value.
const MAX_STEPS: usize = 20_000;

/// The kind of a value that may be a text or a number.
pub(super) const ANY: &str = "any";

/// A place in a JSON value.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Leaf<'d> {
    /// The JSON type: `string`, `number`, `integer`, `boolean` or [`ANY`].
    pub(super) kind: &'static str,
    /// Whether the value must have it.
    pub(super) required: bool,
    /// Whether there can be several.
    pub(super) list: bool,
    /// What the nearest schema around it says of it.
    pub(super) said: &'d str,
    /// Its own schema.
    pub(super) schema: &'d Value,
}

/// What a schema can hold, by pointer.
#[derive(Debug, Default)]
pub(super) struct Shape<'d> {
    /// The places, by pointer pattern.
    pub(super) leaves: BTreeMap<String, Leaf<'d>>,
    /// What cannot be expressed, in words.
    pub(super) notes: Vec<String>,
}

/// For what a schema is read: what only the API or only the agent writes is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// Of a request.
    Request,
    /// Of an answer.
    Response,
}

/// Follows the references of a document.
#[derive(Debug, Clone, Copy)]
pub(super) struct Refs<'d> {
    /// The whole document.
    pub(super) document: &'d Value,
}

impl<'d> Refs<'d> {
    /// The value that this one refers to, or itself. `None` for a reference that leads nowhere, elsewhere or in circles.
    pub(super) fn follow(&self, mut value: &'d Value) -> Option<&'d Value> {
        for _ in 0..32 {
            let Some(reference) = value.get("$ref").and_then(Value::as_str) else { return Some(value) };
            value = self.target(reference)?;
        }
        None
    }

    fn target(&self, reference: &str) -> Option<&'d Value> {
        let pointer = reference.strip_prefix('#')?;
        let decoded = percent_encoding::percent_decode_str(pointer).decode_utf8().ok()?;
        self.document.pointer(&decoded)
    }
}

struct Walk<'d> {
    refs: Refs<'d>,
    side: Side,
    shape: Shape<'d>,
    /// The pointers whose value may be `null`, which no argument that is required can be.
    nullable: BTreeSet<String>,
    /// The references that were followed on the way here, so that what holds itself ends.
    within: Vec<&'d str>,
    steps: usize,
}

/// Where in the value a schema stands.
#[derive(Clone)]
struct At<'d> {
    pointer: String,
    said: &'d str,
    required: bool,
    list: bool,
}

/// What a value of this schema can hold.
pub(super) fn shape<'d>(refs: Refs<'d>, schema: &'d Value, side: Side) -> Shape<'d> {
    let mut walk =
        Walk { refs, side, shape: Shape::default(), nullable: BTreeSet::new(), within: Vec::new(), steps: 0 };
    walk.schema(schema, &At { pointer: String::new(), said: "", required: true, list: false });
    walk.shape.notes.sort();
    walk.shape.notes.dedup();
    walk.shape
}

const fn whole(pointer: &str) -> &str {
    if pointer.is_empty() { "the whole" } else { pointer }
}

impl<'d> Walk<'d> {
    fn note(&mut self, at: &At<'d>, what: &str) {
        if self.shape.notes.len() < 64 {
            self.shape.notes.push(format!("`{}` {what}", whole(&at.pointer)));
        }
    }

    fn schema(&mut self, schema: &'d Value, at: &At<'d>) {
        self.steps += 1;
        if self.steps > MAX_STEPS || self.within.len() > MAX_DEPTH || at.pointer.matches('/').count() > MAX_DEPTH {
            return self.note(at, "is larger or deeper than what is followed; add by hand what agents need");
        }
        let Some(reference) = schema.get("$ref").and_then(Value::as_str) else { return self.resolved(schema, at) };
        if self.within.contains(&reference) {
            return self.note(at, "holds itself; as many levels as agents need must be added by hand");
        }
        let Some(target) = self.refs.target(reference) else {
            let what = format!("refers to `{reference}`, which is not in this document");
            return self.note(at, &what);
        };
        self.within.push(reference);
        self.schema(target, at);
        self.within.pop();
        // OpenAPI 3.1 lets other keywords stand beside a reference.
        if schema.as_object().is_some_and(|members| {
            ["properties", "allOf", "oneOf", "anyOf"].iter().any(|key| members.contains_key(*key))
        }) {
            self.resolved(schema, at);
        }
    }

    fn resolved(&mut self, schema: &'d Value, at: &At<'d>) {
        let said = schema.get("description").and_then(Value::as_str).unwrap_or(at.said);
        let at = &At { said, ..at.clone() };
        let hidden = match self.side {
            Side::Request => "readOnly",
            Side::Response => "writeOnly",
        };
        if schema.get(hidden) == Some(&Value::Bool(true)) {
            return;
        }
        for part in members(schema, "allOf") {
            self.schema(part, at);
        }
        self.variants(schema, at);
        for keyword in ["not", "if", "patternProperties", "dependentSchemas", "contains"] {
            if schema.get(keyword).is_some() {
                self.note(at, &format!("has `{keyword}`, which is not looked at"));
            }
        }
        self.typed(schema, at);
        self.require(schema, at);
    }

    /// One part of `allOf` may require what another describes.
    fn require(&mut self, schema: &'d Value, at: &At<'d>) {
        if !at.required || at.list {
            return;
        }
        let parts = members(schema, "allOf").filter_map(|part| self.refs.follow(part));
        let names = parts.chain([schema]).flat_map(|part| members(part, "required")).filter_map(Value::as_str);
        let names: Vec<String> = names.map(|name| name.replace('~', "~0").replace('/', "~1")).collect();
        for name in names {
            let pointer = format!("{}/{name}", at.pointer);
            if let Some(leaf) = self.shape.leaves.get_mut(&pointer).filter(|_| !self.nullable.contains(&pointer)) {
                leaf.required = true;
            }
        }
    }

    /// `oneOf` and `anyOf`: the union. A member is required only where every variant requires it.
    fn variants(&mut self, schema: &'d Value, at: &At<'d>) {
        for keyword in ["oneOf", "anyOf"] {
            let variants: Vec<&Value> =
                members(schema, keyword).filter(|part| part.get("type") != Some(&Value::from("null"))).collect();
            let nullable = variants.len() < members(schema, keyword).count();
            if nullable {
                self.nullable.insert(at.pointer.clone());
            }
            let at = At { required: at.required && !nullable, ..at.clone() };
            let before = std::mem::take(&mut self.shape.leaves);
            let mut each = Vec::new();
            for part in &variants {
                self.schema(part, &at);
                each.push(std::mem::take(&mut self.shape.leaves));
            }
            self.shape.leaves = before;
            if variants.len() > 1 {
                self.note(&at, "is one of several forms; the arguments are those of all of them");
            }
            let everywhere =
                |pointer: &String| each.iter().all(|leaves| leaves.get(pointer).is_some_and(|leaf| leaf.required));
            let union = each
                .iter()
                .flatten()
                .map(|(pointer, leaf)| (pointer.clone(), Leaf { required: everywhere(pointer), ..leaf.clone() }));
            for (pointer, leaf) in union.collect::<Vec<_>>() {
                self.add(pointer, leaf);
            }
        }
    }

    fn typed(&mut self, schema: &'d Value, at: &At<'d>) {
        let (kinds, nullable) = kinds(schema);
        if nullable {
            self.nullable.insert(at.pointer.clone());
        }
        let at = At { required: at.required && !nullable, ..at.clone() };
        let combined = ["allOf", "oneOf", "anyOf"].iter().any(|key| schema.get(*key).is_some());
        let scalars: Vec<&'static str> = kinds.iter().filter_map(|kind| scalar(kind)).collect();
        if kinds.contains(&"object")
            || schema.get("properties").is_some()
            || schema.get("additionalProperties").is_some_and(Value::is_object)
        {
            self.object(schema, &at);
        }
        if kinds.contains(&"array") || schema.get("items").is_some() || schema.get("prefixItems").is_some() {
            self.array(schema, &at);
        }
        match scalars.as_slice() {
            [] if kinds.is_empty()
                && !combined
                && schema.get("properties").is_none()
                && schema.get("items").is_none() =>
            {
                let listed = schema.get("enum").is_some() || schema.get("const").is_some();
                if listed || schema.get("format").is_some() || schema.get("pattern").is_some() {
                    self.leaf("string", schema, &at);
                } else if !schema.get("additionalProperties").is_some_and(Value::is_object) {
                    self.note(&at, "can be anything; a text or a number is taken");
                    self.leaf(ANY, schema, &at);
                }
            }
            [] => {}
            [kind] => self.leaf(kind, schema, &at),
            _ => {
                let number = scalars.iter().all(|kind| ["integer", "number"].contains(kind));
                if !number {
                    self.note(&at, &format!("is {} by turns; a text or a number is taken", scalars.join(" or ")));
                }
                self.leaf(if number { "number" } else { ANY }, schema, &at);
            }
        }
    }

    fn leaf(&mut self, kind: &'static str, schema: &'d Value, at: &At<'d>) {
        self.add(
            at.pointer.clone(),
            Leaf { kind, required: at.required && !at.list, list: at.list, said: at.said, schema },
        );
    }

    fn add(&mut self, pointer: String, leaf: Leaf<'d>) {
        let known = self.shape.leaves.entry(pointer).or_insert_with(|| leaf.clone());
        // Of `allOf`, one part may require what another describes.
        known.required |= leaf.required;
        known.list |= leaf.list;
        if known.kind != leaf.kind {
            known.kind = ANY;
        }
    }

    fn object(&mut self, schema: &'d Value, at: &At<'d>) {
        let required: Vec<&str> = members(schema, "required").filter_map(Value::as_str).collect();
        let properties = schema.get("properties").and_then(Value::as_object);
        for (name, property) in properties.into_iter().flatten() {
            let step = name.replace('~', "~0").replace('/', "~1");
            if step == "*" {
                self.note(at, "has a member named `*`, which no pointer can name");
                continue;
            }
            let required = at.required && required.contains(&name.as_str());
            self.schema(property, &At { pointer: format!("{}/{step}", at.pointer), said: "", required, list: at.list });
        }
        match schema.get("additionalProperties") {
            Some(Value::Object(any)) if !any.is_empty() => {
                self.schema(
                    schema.get("additionalProperties").unwrap_or(&Value::Null),
                    &At { pointer: format!("{}/*", at.pointer), said: at.said, required: false, list: true },
                );
            }
            Some(Value::Bool(false)) => {}
            given if given.is_some() || properties.is_none_or(serde_json::Map::is_empty) => {
                // What a tool without arguments takes is an object too, of which nothing is said.
                if properties.is_none_or(serde_json::Map::is_empty) && !at.pointer.is_empty() {
                    self.note(at, "may have members of any name; one argument stands for all their values");
                    let at = At { pointer: format!("{}/*", at.pointer), said: at.said, required: false, list: true };
                    self.leaf(ANY, schema, &at);
                } else {
                    self.note(at, "may have members of any name; those that are not declared are refused");
                }
            }
            _ => {}
        }
    }

    fn array(&mut self, schema: &'d Value, at: &At<'d>) {
        let items: Vec<&Value> = schema
            .get("items")
            .filter(|items| items.is_object())
            .into_iter()
            .chain(members(schema, "prefixItems"))
            .collect();
        if items.is_empty() {
            self.note(at, "is a list of anything; texts and numbers are taken");
            let pointer = if at.list { format!("{}/*", at.pointer) } else { at.pointer.clone() };
            return self.leaf(ANY, schema, &At { pointer, said: at.said, required: false, list: true });
        }
        for item in items {
            let deep = self.refs.follow(item).is_none_or(|item| !is_scalar(item)) || at.list;
            // A list of plain values is one argument, so that an empty list is seen too.
            let pointer = if deep { format!("{}/*", at.pointer) } else { at.pointer.clone() };
            let (required, known) = (at.required && !deep, self.shape.leaves.contains_key(&pointer));
            self.schema(item, &At { pointer: pointer.clone(), said: at.said, required: false, list: true });
            if let Some(leaf) = self.shape.leaves.get_mut(&pointer).filter(|_| !known) {
                leaf.required |= required;
            }
        }
    }
}

fn members<'d>(schema: &'d Value, keyword: &str) -> impl Iterator<Item = &'d Value> {
    schema.get(keyword).and_then(Value::as_array).into_iter().flatten()
}

/// The types that a schema names, without `null`, and whether it takes that.
fn kinds(schema: &Value) -> (Vec<&str>, bool) {
    let named = match schema.get("type") {
        Some(Value::String(kind)) => vec![kind.as_str()],
        Some(Value::Array(kinds)) => kinds.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    let nullable = named.contains(&"null") || schema.get("nullable") == Some(&Value::Bool(true));
    (named.into_iter().filter(|kind| *kind != "null").collect(), nullable)
}

fn scalar(kind: &str) -> Option<&'static str> {
    ["string", "number", "integer", "boolean"].into_iter().find(|scalar| *scalar == kind)
}

fn is_scalar(schema: &Value) -> bool {
    let combined = ["allOf", "oneOf", "anyOf", "properties", "items"].iter().any(|key| schema.get(*key).is_some());
    let (kinds, _) = kinds(schema);
    !combined && !kinds.is_empty() && kinds.iter().all(|kind| scalar(kind).is_some())
}

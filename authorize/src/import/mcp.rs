//! From what an MCP server lists: tools, resources, resource templates and prompts. Its annotations are hints of somebody who may not mean well: they
//! stand in comments and widen nothing.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::{
    ImportError,
    draft::{self, Draft, DraftAction, DraftArgument},
    guess, harmless,
    schema::{Leaf, Refs, Side, shape},
};
use crate::catalogue::{BodyKind, Effect, Place, Protocol, Route, Type};

/// The most things of one kind that a server lists.
const MAX_LISTED: usize = 20_000;

/// What a server lists, each as it stands in the answers to `tools/list`, `resources/list`, `resources/templates/list` and `prompts/list`.
#[derive(Debug, Default)]
pub struct Listing {
    /// Its name and version, as it says.
    pub server: String,
    /// The tools.
    pub tools: Vec<Value>,
    /// The resources.
    pub resources: Vec<Value>,
    /// The resource templates.
    pub templates: Vec<Value>,
    /// The prompts.
    pub prompts: Vec<Value>,
}

impl Listing {
    /// Reads a file with an array of tools, or an object with `tools`, `resources`, `resourceTemplates` and `prompts`.
    ///
    /// # Errors
    /// [`ImportError`] when it is neither.
    pub fn of_document(document: &Value) -> Result<Listing, ImportError> {
        let list = |key: &str| document.get(key).and_then(Value::as_array).cloned().unwrap_or_default();
        match document {
            Value::Array(tools) => Ok(Listing { tools: tools.clone(), ..Listing::default() }),
            Value::Object(members) if members.contains_key("tools") => Ok(Listing {
                server: String::new(),
                tools: list("tools"),
                resources: list("resources"),
                templates: list("resourceTemplates"),
                prompts: list("prompts"),
            }),
            _ => Err(ImportError("the document is no list of tools and has none under `tools`".to_owned())),
        }
    }
}

/// SHA-256 of everything that a server says of one tool, resource or prompt, in the canonical form of RFC 8785: changes when anything of it does.
pub fn definition(listed: &Value) -> String {
    let bytes = serde_json_canonicalizer::to_vec(listed).unwrap_or_default();
    data_encoding::HEXLOWER.encode(&Sha256::digest(&bytes))
}

/// A first catalogue for `upstream`.
///
/// # Errors
/// [`ImportError`] when more is listed than a catalogue holds.
pub fn mcp(listing: &Listing, upstream: &str) -> Result<Draft, ImportError> {
    let kinds = [&listing.tools, &listing.resources, &listing.templates, &listing.prompts];
    if kinds.iter().any(|listed| listed.len() > MAX_LISTED) {
        return Err(ImportError(format!("the server lists more than {MAX_LISTED} things of a kind")));
    }
    let mut draft = Draft::new(upstream, Protocol::Mcp);
    draft.comments = vec![
        format!("Made from what the MCP server {} lists", harmless(&listing.server, 100)),
        "A proposal, to be marked by a human: remove what agents do not need; say which tools only read (`import --reads`); look at each `binds`;".to_owned(),
        "say in `from` where a value may come from besides the user's words; mark first-party fields. Then `countersign check`.".to_owned(),
        "`definition` is a digest of what the server said of it; `import mcp --against` shows when that changed.".to_owned(),
    ];
    let mut names = BTreeSet::new();
    for tool in &listing.tools {
        draft.add(of_tool(tool), &mut names);
    }
    for (listed, key) in [(&listing.resources, "uri"), (&listing.templates, "uriTemplate")] {
        for resource in listed {
            draft.add(of_resource(resource, key), &mut names);
        }
    }
    for prompt in &listing.prompts {
        draft.add(of_prompt(prompt), &mut names);
    }
    Ok(draft)
}

fn text<'d>(value: &'d Value, key: &str) -> &'d str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn of_tool(tool: &Value) -> DraftAction {
    let name = text(tool, "name");
    // A hint may make us more careful, never less.
    let destructive = tool.pointer("/annotations/destructiveHint") == Some(&Value::Bool(true));
    let irreversible = destructive || guess::sounds_irreversible(name);
    let effect = if irreversible { Effect::Irreversible } else { Effect::Write };
    let mut comments = Vec::new();
    let may_read = guess::sounds_like_a_read(name);
    if may_read {
        comments.push(
            "LOOK: by its name it may only read; if so, import with `--reads`, or write effect = \"read\"".to_owned(),
        );
    }
    comments.extend(hints(tool));
    let mut arguments = BTreeMap::new();
    if let Some(schema) = tool.get("inputSchema") {
        let found = shape(Refs { document: schema }, schema, Side::Request);
        comments.extend(
            found
                .notes
                .iter()
                .filter(|note| !note.starts_with("`the whole`"))
                .map(|note| format!("LOOK: of the arguments, {note}")),
        );
        draft::arguments(&found, Place::Argument, effect, &mut arguments);
        arguments.retain(|_, argument| argument.at.as_deref() != Some(""));
    }
    let fields =
        tool.get("outputSchema").map(|schema| draft::fields(&shape(Refs { document: schema }, schema, Side::Response)));
    let has_money = arguments.iter().any(|(name, argument)| guess::is_money(name, argument.ty));
    if !may_read && !arguments.values().any(|argument| argument.binds) {
        comments.push("LOOK: nothing binds, so whoever is granted this can do all of it".to_owned());
    }
    DraftAction {
        comments,
        name: name.to_owned(),
        description: text(tool, "description").to_owned(),
        route: Route::Tool(name.to_owned()),
        effect,
        risk: guess::risk(effect, has_money),
        body: BodyKind::Json,
        arguments,
        fields: fields.unwrap_or_default(),
        definition: Some(definition(tool)),
    }
}

/// What the server says of a tool's effect.
fn hints(tool: &Value) -> Option<String> {
    let annotations = tool.get("annotations")?;
    let hints = ["readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint"];
    let hints = hints.iter().filter_map(|hint| Some(format!("{hint} = {}", annotations.get(*hint)?.as_bool()?)));
    let hints: Vec<String> = hints.collect();
    (!hints.is_empty()).then(|| format!("The server's own hints, which prove nothing: {}", hints.join(", ")))
}

fn of_resource(resource: &Value, key: &str) -> DraftAction {
    let uri = text(resource, key);
    let mut arguments = BTreeMap::new();
    for name in uri.split('{').skip(1).filter_map(|part| part.split_once('}')).map(|(name, _)| name) {
        let name = name.strip_prefix('+').unwrap_or(name);
        let leaf = Leaf { kind: "string", required: true, list: false, said: "", schema: &Value::Null };
        let mut argument = draft::argument(name, "", &leaf, Place::Argument, Effect::Read);
        // Many servers hand out whatever the URI names.
        argument.binds = argument.binds || matches!(argument.ty, Type::Text);
        arguments.insert(name.to_owned(), argument);
    }
    let name = text(resource, "name");
    DraftAction {
        comments: Vec::new(),
        name: format!("resource.{}", if name.is_empty() { uri } else { name }),
        description: text(resource, "description").to_owned(),
        route: Route::Resource(uri.to_owned()),
        effect: Effect::Read,
        risk: guess::risk(Effect::Read, false),
        body: BodyKind::Json,
        arguments,
        fields: Vec::new(),
        definition: Some(definition(resource)),
    }
}

fn of_prompt(prompt: &Value) -> DraftAction {
    let mut arguments: BTreeMap<String, DraftArgument> = BTreeMap::new();
    for listed in prompt.get("arguments").and_then(Value::as_array).into_iter().flatten() {
        let name = text(listed, "name");
        let required = listed.get("required") == Some(&Value::Bool(true));
        let said = text(listed, "description");
        let leaf = Leaf { kind: "string", required, list: false, said, schema: &Value::Null };
        let mut argument = draft::argument(name, "", &leaf, Place::Argument, Effect::Read);
        // A prompt's arguments are texts, whatever they are called.
        argument.ty = if argument.ty == Type::Url { Type::Url } else { Type::Text };
        let step = name.replace('~', "~0").replace('/', "~1");
        argument.at = (step != name).then(|| format!("/{step}"));
        arguments.insert(name.to_owned(), argument);
    }
    let name = text(prompt, "name");
    DraftAction {
        comments: Vec::new(),
        name: format!("prompt.{name}"),
        description: text(prompt, "description").to_owned(),
        route: Route::Prompt(name.to_owned()),
        effect: Effect::Read,
        risk: guess::risk(Effect::Read, false),
        body: BodyKind::Json,
        arguments,
        fields: Vec::new(),
        definition: Some(definition(prompt)),
    }
}

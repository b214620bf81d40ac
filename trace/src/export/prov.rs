//! W3C PROV-JSON of the causal graph: entries are entities and calls activities too, parties are agents.

use std::{
    collections::BTreeSet,
    io::{self, Write},
};

use serde_json::{Map, Value, json};

use crate::graph::{Graph, Node, Relation};

/// Members of bodies that name parties.
const PARTIES: [&str; 5] = ["agent", "host", "approver", "api", "by"];

pub(super) fn write(graph: &Graph<'_>, to: &mut dyn Write) -> io::Result<()> {
    let (mut entities, mut activities, mut agents) = (Map::new(), Map::new(), Map::new());
    let (mut attributed, mut derived, mut generated, mut associated) = (Map::new(), Map::new(), Map::new(), Map::new());
    let mut named = BTreeSet::new();
    for node in graph.nodes() {
        let id = entry(node);
        let about = json!({
            "prov:type": { "$": format!("cs:{}", node.kind()), "type": "prov:QUALIFIED_NAME" },
            "cs:ledger": node.origin(), "cs:seq": node.seq(), "cs:sha256": node.hash, "cs:time": node.entry().time,
        });
        entities.insert(id.clone(), about);
        if node.kind() == "call" {
            let call = format!("cs:call-{}", node.hash);
            let ended = graph.about(node).into_iter().find(|about| about.kind() == "outcome");
            let mut activity = json!({ "prov:startTime": node.entry().time, "cs:action": node.text("action"), "cs:verdict": node.text("verdict") });
            if let (Some(activity), Some(ended)) = (activity.as_object_mut(), ended) {
                activity.insert("prov:endTime".to_owned(), json!(ended.entry().time));
                insert(&mut generated, json!({ "prov:entity": entry(ended), "prov:activity": call }));
            }
            insert(&mut generated, json!({ "prov:entity": id, "prov:activity": call }));
            if let Some(agent) = node.text("agent") {
                insert(&mut associated, json!({ "prov:activity": call, "prov:agent": party(agent) }));
            }
            activities.insert(call, activity);
        }
        for name in PARTIES.iter().filter_map(|name| node.text(name)) {
            named.insert(name.to_owned());
            insert(&mut attributed, json!({ "prov:entity": id, "prov:agent": party(name) }));
        }
    }
    for edge in graph.edges() {
        let relation = match edge.relation {
            Relation::CausedBy => "caused-by",
            _ => "about",
        };
        let (from, to) = (format!("cs:{}", edge.from), format!("cs:{}", edge.to));
        insert(&mut derived, json!({ "prov:generatedEntity": from, "prov:usedEntity": to, "cs:relation": relation }));
    }
    for name in named {
        agents.insert(party(&name), json!({ "cs:party": name }));
    }
    let document = json!({
        "prefix": { "cs": "https://countersign.dev/ns#" },
        "entity": entities, "activity": activities, "agent": agents,
        "wasGeneratedBy": generated, "wasDerivedFrom": derived, "wasAttributedTo": attributed, "wasAssociatedWith": associated,
    });
    writeln!(to, "{document}")
}

fn entry(node: &Node<'_>) -> String {
    format!("cs:{}", node.hash)
}

/// A name as it may stand in a qualified name.
fn party(name: &str) -> String {
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() || c == '-' || c == '_' { c.to_string() } else { format!(".{:x}.", u32::from(c)) }
    };
    format!("cs:party-{}", name.chars().map(plain).collect::<String>())
}

fn insert(into: &mut Map<String, Value>, value: Value) {
    into.insert(format!("_:{}", into.len()), value);
}

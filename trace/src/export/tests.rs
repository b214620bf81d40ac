use std::collections::BTreeSet;

use countersign_ledger::{Hash, canonical, evidence::Shown};
use serde_json::{Value, json};

use super::*;
use crate::world::{Made, World};

const WORDS: &str = "Pay 98.70 to UK12345678901234567890";

fn world() -> World {
    let mut world = World::new(WORDS);
    let arguments = json!({ "recipient": "UK12345678901234567890", "amount": "98.70" });
    world.done(&Made {
        action: "transactions.send",
        arguments,
        verdict: "allow",
        effect: "irreversible",
        ..Made::default()
    });
    world
}

fn written(format: Format, world: &World) -> String {
    let mut text = Vec::new();
    write(format, &world.evidence, &mut text).unwrap();
    String::from_utf8(text).unwrap()
}

#[test]
fn an_ocsf_event_has_what_the_class_requires_and_a_fingerprint_over_the_rest() {
    let text = written(Format::Ocsf, &world());
    let mut event: Value = serde_json::from_str(text.trim_end()).unwrap();
    assert_eq!((event["class_uid"].as_u64(), event["category_uid"].as_u64()), (Some(6003), Some(6)));
    assert_eq!(event["type_uid"].as_u64().unwrap(), 600_300 + event["activity_id"].as_u64().unwrap());
    for name in
        ["activity_id", "time", "severity_id", "metadata", "actor", "api", "src_endpoint", "delegation", "ai_agent"]
    {
        assert!(!event[name].is_null(), "{name}: {event:#}");
    }
    assert!(event["metadata"]["profiles"].as_array().unwrap().contains(&json!("record_integrity")));
    let stated = event["attestation"].as_object_mut().unwrap().remove("fingerprint").unwrap();
    assert_eq!(stated["value"], json!(Hash::of(&canonical::to_vec(&event).unwrap())));
}

#[test]
fn a_span_per_call_stands_in_an_otlp_request() {
    let text = written(Format::Otlp, &world());
    let request: Value = serde_json::from_str(text.trim_end()).unwrap();
    let span = &request["resourceSpans"][0]["scopeSpans"][0]["spans"][0];
    assert_eq!((span["traceId"].as_str().unwrap().len(), span["spanId"].as_str().unwrap().len()), (32, 16));
    let [start, end] =
        ["startTimeUnixNano", "endTimeUnixNano"].map(|name| span[name].as_str().unwrap().parse::<u64>().unwrap());
    assert!(start <= end);
}

#[test]
fn a_row_per_call_has_every_column_and_no_formula() {
    let text = written(Format::Csv, &world());
    let rows: Vec<&str> = text.lines().collect();
    assert_eq!(rows.len(), 2);
    assert_eq!(rows[0].split(',').count(), rows[1].split(',').count());
    let mut evil = world();
    for item in evil.evidence.items.values_mut() {
        if item.entry.body.contains_key("action") {
            item.entry.body.insert("action".into(), json!("=cmd(\"x\"),1"));
        }
    }
    assert!(written(Format::Csv, &evil).contains("\"'=cmd(\"\"x\"\"),1\""));
}

#[test]
fn every_entry_is_an_entity_and_every_relation_names_what_is_there() {
    let world = world();
    let document: Value = serde_json::from_str(&written(Format::Prov, &world)).unwrap();
    let names = |kind: &str| document[kind].as_object().unwrap().keys().cloned().collect::<BTreeSet<_>>();
    let (entities, activities, agents) = (names("entity"), names("activity"), names("agent"));
    assert_eq!(entities.len(), world.evidence.items.len());
    for (relation, ends) in [
        ("wasGeneratedBy", [("prov:entity", &entities), ("prov:activity", &activities)]),
        ("wasDerivedFrom", [("prov:generatedEntity", &entities), ("prov:usedEntity", &entities)]),
        ("wasAttributedTo", [("prov:entity", &entities), ("prov:agent", &agents)]),
        ("wasAssociatedWith", [("prov:activity", &activities), ("prov:agent", &agents)]),
    ] {
        for one in document[relation].as_object().unwrap().values() {
            for (end, there) in ends {
                assert!(there.contains(one[end].as_str().unwrap()), "{relation}: {one}");
            }
        }
    }
}

#[test]
fn what_is_not_disclosed_stands_in_no_export() {
    let mut world = world();
    for item in world.evidence.items.values_mut() {
        item.values.values_mut().for_each(|shown| *shown = Shown::Withheld);
    }
    for format in [Format::Ocsf, Format::Otlp, Format::Csv, Format::Prov] {
        let text = written(format, &world);
        assert!(!text.contains("UK12345678901234567890") && !text.contains("98.70"), "{format:?}");
    }
}

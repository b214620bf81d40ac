use serde_json::json;

use super::*;

fn entry() -> Entry {
    Entry {
        v: FORMAT_VERSION,
        origin: "bank.example/agents".into(),
        seq: 7,
        prev: Hash::of(b"six"),
        time: "2026-01-31T12:00:00.000001Z".parse::<Timestamp>().map(Time::new).unwrap(),
        kind: Kind::Call,
        parents: vec![Hash::of(b"grant")],
        instruction: Some("018f".into()),
        n: Some(2),
        body: json!({"v": 1, "sd": {"arguments": "abc"}}).as_object().cloned().unwrap(),
        extra: Map::new(),
    }
}

#[test]
fn an_entry_survives_its_bytes() {
    let bytes = entry().to_bytes().unwrap();
    assert_eq!(Entry::parse(&bytes).unwrap(), entry());
    assert_eq!(entry().commitments().len(), 1);
}

#[test]
fn kinds_and_fields_of_later_versions_survive() {
    let mut later = entry();
    later.kind = Kind::from("levitation");
    later.extra.insert("shard".into(), json!({"of": 3}));
    later.body.insert("new".into(), json!([1]));
    let bytes = later.to_bytes().unwrap();
    assert_eq!(Entry::parse(&bytes).unwrap().to_bytes().unwrap(), bytes);
    assert_eq!(Entry::parse(&bytes).unwrap().kind, Kind::Other("levitation".into()));
}

#[test]
fn a_time_has_one_spelling() {
    for (text, good) in [
        ("2026-01-31T12:00:00.000001Z", true),
        ("2026-01-31T12:00:00.000000Z", true),
        ("2026-01-31T12:00:00Z", false),
        ("2026-01-31T12:00:00.0000001Z", false),
        ("2026-01-31T13:00:00.000001+01:00", false),
    ] {
        assert_eq!(serde_json::from_value::<Time>(json!(text)).is_ok(), good, "{text}");
    }
}

#[test]
fn bytes_that_are_not_canonical_are_refused() {
    let bytes = entry().to_bytes().unwrap();
    let spaced = String::from_utf8(bytes.clone()).unwrap().replace("\"seq\":7", "\"seq\": 7");
    assert!(matches!(Entry::parse(spaced.as_bytes()), Err(EntryError::NotCanonical)));
    let null = String::from_utf8(bytes.clone()).unwrap().replace("\"n\":2", "\"n\":null");
    assert!(matches!(Entry::parse(null.as_bytes()), Err(EntryError::Envelope(_))));
    assert!(matches!(Entry::parse(&bytes[1..]), Err(EntryError::Envelope(_))));
    assert!(matches!(Entry::parse(&vec![b' '; MAX_ENTRY_BYTES + 1]), Err(EntryError::TooLong(65_536))));
}

#[test]
fn every_kind_has_a_name_of_its_own() {
    for kind in Kind::all() {
        assert_eq!(Kind::from(kind.as_str()), kind);
        assert!(!matches!(kind, Kind::Other(_)));
    }
}

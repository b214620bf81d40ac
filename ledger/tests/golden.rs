//! An entry of every kind, as committed: what was written once must be read for ever. `COUNTERSIGN_WRITE_GOLDEN=1` writes those that are missing.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::too_many_lines,
    clippy::unwrap_used,
    reason = "a test that fails should stop where it fails"
)]

use std::{collections::BTreeMap, fs, path::PathBuf};

use countersign_ledger::{
    Draft, Entry, Hash, Kind,
    record::{Time, body::*},
};
use serde_json::{Map, Value, json};

fn time() -> Time {
    serde_json::from_value(json!("2026-01-31T12:00:00.000000Z")).unwrap()
}

fn check() -> Option<Check> {
    Some(Check {
        alg: "EdDSA".into(),
        kid: "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k".into(),
        result: "valid".into(),
        party: Some("assistant".into()),
    })
}

/// A body of every kind with every field set.
fn bodies() -> Vec<Draft> {
    let (s, hash) = (String::from, Hash::of(b"golden"));
    let subject = || s("3f0f1c9e-6f0e-4f6e-9a3e-0d5b7f1c2a3b");
    let actions = || vec![s("transactions.send")];
    let all: Vec<Result<Draft, _>> = vec![
        Draft::new(&Ledger {
            event: s("adopted"),
            software: s("countersign/0.1.0"),
            vkey: Some(s("bank.example/agents+00000000+AQ")),
            adopts: Some(s("note")),
            back_us: Some(7),
            detail: Some(s("why")),
            ..Default::default()
        }),
        Draft::new(&Party {
            party: s("assistant"),
            role: s("agent"),
            name: Some(s("Assistant")),
            release: Some(hash),
            by: s("ops"),
            ..Default::default()
        }),
        Draft::new(&Key {
            event: s("registered"),
            kid: s("k"),
            party: s("assistant"),
            jwk: Some(json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"})),
            by: s("ops"),
            ..Default::default()
        }),
        Draft::new(&Policy {
            what: s("catalogue"),
            name: s("bank"),
            sha256: hash,
            size: 12,
            replaces: Some(hash),
            by: s("configuration"),
            ..Default::default()
        }),
        Draft::new(&Instruction {
            subject: subject(),
            attested_by: s("host"),
            host: s("app"),
            agent: s("assistant"),
            amends: Some(s("i0")),
            check: check(),
            ..Default::default()
        }),
        Draft::new(&Grant {
            grant: s("g"),
            subject: subject(),
            agent: s("assistant"),
            actions: actions(),
            withheld: vec![Withheld { action: s("x"), reason: s("unknown") }],
            expires: Some(time()),
            catalogues: vec![hash],
            ..Default::default()
        }),
        Draft::new(&Delegation {
            grant: s("h"),
            from: s("g"),
            subject: subject(),
            agent: s("helper"),
            actions: actions(),
            expires: Some(time()),
            ..Default::default()
        }),
        Draft::new(&Decision {
            grant: s("g"),
            subject: subject(),
            source: s("agent"),
            agent: s("assistant"),
            action: s("transactions.send"),
            model: Some(s("m")),
            check: check(),
            ..Default::default()
        }),
        Draft::new(&Approval {
            call: hash,
            subject: subject(),
            approver: s("ann"),
            decision: s("approved"),
            shown: Some(time()),
            took_ms: Some(1500),
            expires: Some(time()),
            check: check(),
            ..Default::default()
        }),
        Draft::new(&Call {
            call: s("c"),
            grant: Some(s("g")),
            subject: Some(subject()),
            agent: Some(s("assistant")),
            credential: s("bearer"),
            upstream: s("bank"),
            action: Some(s("transactions.send")),
            effect: Some(s("irreversible")),
            verdict: s("allow"),
            reasons: vec![Reason { code: s("value-not-observed"), argument: Some(s("amount")) }],
            rules: vec![s("approved")],
            engine: s("e/1"),
            policies: vec![hash],
            shadow: true,
            approval: Some(hash),
            upstream_n: Some(3),
            traceparent: Some(s("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")),
            ..Default::default()
        }),
        Draft::new(&Outcome {
            call: hash,
            subject: Some(subject()),
            result: s("completed"),
            status: Some(200),
            sent: s("yes"),
            peer: Some(s("127.0.0.1:9000")),
            bytes: [1, 2],
            us: BTreeMap::from([(s("end"), 900)]),
            detail: Some(s("d")),
            ..Default::default()
        }),
        Draft::new(&Receipt {
            call: hash,
            subject: subject(),
            api: s("bank"),
            check: check().unwrap(),
            ..Default::default()
        }),
        Draft::new(&Answer {
            grant: s("g"),
            subject: subject(),
            agent: s("assistant"),
            check: check(),
            ..Default::default()
        }),
        Draft::new(&Revocation { what: s("grant"), id: s("g"), by: s("app"), reason: s("over"), ..Default::default() }),
        Draft::new(&Hold {
            hold: s("h"),
            event: s("placed"),
            subject: subject(),
            by: s("court"),
            reason: s("case 7"),
            ..Default::default()
        }),
        Draft::new(&Erasure {
            subject: subject(),
            by: vec![s("ann"), s("carl")],
            statements: vec![s("a"), s("b")],
            checks: vec![check().unwrap()],
            reason: s("asked"),
            ..Default::default()
        }),
        Draft::new(&Incident {
            incident: s("n"),
            event: s("opened"),
            calls: vec![hash],
            by: s("emma"),
            ..Default::default()
        }),
        Draft::new(&Access {
            by: s("inv"),
            what: s("show"),
            of: s("i"),
            disclosed: vec![s("words")],
            ..Default::default()
        }),
        Draft::new(&Heartbeat {
            calls: BTreeMap::from([(s("allow"), 5)]),
            open: 1,
            closed: vec![Total { instruction: s("i"), entries: 9 }],
            ..Default::default()
        }),
        Draft::new(&Settlement {
            call: hash,
            subject: subject(),
            executed: true,
            source: s("person"),
            by: s("ann"),
            reason: Some(s("the bank's statement shows it")),
            check: check(),
            ..Default::default()
        }),
        Draft::new(&Reconciliation {
            run: s("r"),
            upstream: s("bank"),
            by: s("ops"),
            call: Some(hash),
            result: Some(s("differs")),
            format: Some(s("jsonl")),
            log_sha256: Some(hash),
            from: Some(time()),
            to: Some(time()),
            counts: Some(BTreeMap::from([(s("matched"), 5)])),
            ..Default::default()
        }),
    ];
    all.into_iter().map(Result::unwrap).collect()
}

fn entry(seq: u64, draft: Draft) -> Entry {
    Entry {
        v: 1,
        origin: "bank.example/agents".into(),
        seq,
        prev: Hash::of(&seq.to_be_bytes()),
        time: time(),
        kind: draft.kind,
        parents: vec![Hash::of(b"parent")],
        instruction: Some("018f0000-0000-7000-8000-000000000000".into()),
        n: Some(seq),
        body: draft.body.to_map(),
        extra: Map::new(),
    }
}

fn dir() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden"))
}

/// Fields that came later, in bodies of their own: what was committed before stays as it is.
fn later() -> Vec<(&'static str, Draft)> {
    let s = String::from;
    let all = [
        (
            "decision-of-a-model",
            Draft::new(&Decision {
                source: s("gateway"),
                action: s("transactions.send"),
                upstream: Some(s("bank")),
                model: Some(s("gpt-test-1")),
                tool: Some(s("send_money")),
                proposal: Some(s("call_1")),
                ..Default::default()
            }),
        ),
        (
            "call-of-a-model",
            Draft::new(&Call {
                action: Some(s("model.generate")),
                prompt: Some(Prompt { words: s("present"), results: Results { faithful: 2, altered: 0, unknown: 1 } }),
                ..Default::default()
            }),
        ),
        (
            "outcome-of-a-model",
            Draft::new(&Outcome {
                model: Some(s("gpt-test-1")),
                answer: Some(s("whole")),
                proposals: Some(1),
                ..Default::default()
            }),
        ),
    ];
    all.into_iter().map(|(name, draft)| (name, draft.unwrap())).chain(stated()).collect()
}

/// What agents count, and what an API says.
fn stated() -> Vec<(&'static str, Draft)> {
    let s = String::from;
    let decision = Decision { grant: s("g"), n: Some(4), ..Default::default() };
    let outcome = Outcome { receipt: Some(s("missing")), ..Default::default() };
    let receipt = Receipt { differs: Some(vec![s("status")]), late: true, ..Default::default() };
    let answer = Answer { grant: s("g"), n: Some(1), decisions: Some(5), ..Default::default() };
    let agents = vec![Called { agent: s("assistant"), grant: s("g"), calls: 5 }];
    let rotated = Ledger {
        event: s("rotated"),
        vkey: Some(s("bank.example/agents+00000001+AQ")),
        replaces: Some(s("bank.example/agents+00000000+AQ")),
        signatures: Some(vec![s("AA=="), s("AQ==")]),
        ..Default::default()
    };
    let heartbeat = Heartbeat { agents, head: Some(Hash::of(b"golden")), ..Default::default() };
    let ungranted = Ungranted { reason: s("timeout"), model: s("gpt-test-1") };
    let instruction = Instruction { host: s("app"), ungranted: Some(ungranted), ..Default::default() };
    vec![
        ("decision-that-is-counted", Draft::new(&decision).unwrap()),
        ("outcome-without-receipt", Draft::new(&outcome).unwrap()),
        ("receipt-that-came-late", Draft::new(&receipt).unwrap()),
        ("answer-that-is-counted", Draft::new(&answer).unwrap()),
        ("heartbeat-with-agents", Draft::new(&heartbeat).unwrap()),
        ("instruction-without-grant", Draft::new(&instruction).unwrap()),
        ("ledger-with-another-key", Draft::new(&rotated).unwrap()),
    ]
}

/// Reads the typed body and writes it again: no field is lost.
fn through_its_type(entry: &Entry) -> Value {
    let typed = |value: Result<Value, _>| value.unwrap();
    macro_rules! by_kind {
        ($($kind:ident),*) => {
            match &entry.kind {
                $(Kind::$kind => typed(serde_json::to_value(entry.body_as::<$kind>().unwrap())),)*
                Kind::Other(_) => Value::Object(entry.body.clone()),
            }
        };
    }
    by_kind!(
        Ledger,
        Party,
        Key,
        Policy,
        Instruction,
        Grant,
        Delegation,
        Decision,
        Approval,
        Call,
        Outcome,
        Receipt,
        Answer,
        Revocation,
        Hold,
        Erasure,
        Incident,
        Access,
        Heartbeat,
        Settlement,
        Reconciliation
    )
}

#[test]
fn an_entry_of_every_kind_is_written_and_read_as_committed() {
    let drafts = bodies();
    assert_eq!(drafts.iter().map(|draft| draft.kind.clone()).collect::<Vec<_>>(), Kind::all().collect::<Vec<_>>());
    for (seq, draft) in (0..).zip(drafts) {
        let entry = entry(seq, draft);
        let path = dir().join(format!("{seq:02}-{}.json", entry.kind));
        let bytes = entry.to_bytes().unwrap();
        if std::env::var_os("COUNTERSIGN_WRITE_GOLDEN").is_some() && !path.exists() {
            fs::write(&path, &bytes).unwrap();
        }
        let golden = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert_eq!(String::from_utf8_lossy(&golden), String::from_utf8_lossy(&bytes), "{}", path.display());
    }
}

#[test]
fn entries_with_later_fields_are_written_and_read_as_committed() {
    for (seq, (name, draft)) in (100..).zip(later()) {
        let path = dir().join(format!("{name}.json"));
        let bytes = entry(seq, draft).to_bytes().unwrap();
        if std::env::var_os("COUNTERSIGN_WRITE_GOLDEN").is_some() && !path.exists() {
            fs::write(&path, &bytes).unwrap();
        }
        let golden = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert_eq!(String::from_utf8_lossy(&golden), String::from_utf8_lossy(&bytes), "{name}");
    }
}

#[test]
fn every_golden_entry_is_read_whole_and_keeps_its_hash() {
    let hashes: BTreeMap<String, String> = fs::read_to_string(dir().join("SHA256SUMS"))
        .unwrap()
        .lines()
        .map(|line| {
            let (hash, name) = line.split_once("  ").unwrap();
            (name.to_owned(), hash.to_owned())
        })
        .collect();
    let mut seen = 0;
    for file in fs::read_dir(dir()).unwrap() {
        let path = file.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if !name.ends_with(".json") {
            continue;
        }
        let bytes = fs::read(&path).unwrap();
        let entry = Entry::parse(&bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(through_its_type(&entry), Value::Object(entry.body.clone()), "{name}");
        assert_eq!(hashes.get(&name), Some(&Hash::of(&bytes).to_string()), "{name}");
        seen += 1;
    }
    assert_eq!(seen, hashes.len());
}

#[test]
fn the_format_page_names_every_kind_and_every_field() {
    let page = include_str!("../../docs/format.md");
    for draft in bodies().into_iter().chain(later().into_iter().map(|(_, draft)| draft)) {
        let section = page
            .split(&format!("**`{}`**", draft.kind))
            .nth(1)
            .unwrap_or_else(|| panic!("`{}` is not in docs/format.md", draft.kind));
        let section = section.split("\n\n").next().unwrap();
        for field in draft.body.to_map().keys().filter(|field| *field != "v") {
            assert!(section.contains(&format!("`{field}`")), "`{field}` of `{}` is not in docs/format.md", draft.kind);
        }
    }
}

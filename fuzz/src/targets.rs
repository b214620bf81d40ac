//! The decoders, and what must hold of whatever they accept.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use countersign_authorize::{
    Json,
    catalogue::{Catalogue, Ceiling},
    import,
    policy::{File, Policies},
    request::{Limits, Request, RequestBody},
};
use countersign_ledger::{
    Entry, Hash,
    archive::unbundle,
    batch::{Batch, Beside, Stored},
    bundle, canonical,
    checkpoint::{Checkpoint, CheckpointSigner, VerifierKey},
    disclosure::Disclosure,
    passkey::{self, Passkey, Registered, Registration, Stated},
    possession::{self, Possession},
    proof::Proof,
    record::{Attachment, StatePut, body},
    statement::{Jwk, Statement},
    tree::{self, Frontier},
};
use countersign_proxy::upstream::echo::Echo;
use countersign_trace::reconcile::{Format, Line, Reader};
use data_encoding::BASE64URL_NOPAD;
use ed25519_dalek::{Signer as _, SigningKey};
use http::{HeaderMap, HeaderValue, Method, Uri, header};
use serde_json::{Value, json};

use crate::{Target, envoy, models, signatures, tokens};

/// Every target.
pub const TARGETS: &[Target] = &[
    Target { name: "entry", corpus: entries, run: entry },
    Target { name: "checkpoint", corpus: notes, run: checkpoint },
    Target { name: "verifier-key", corpus: keys, run: verifier_key },
    Target { name: "proof", corpus: proofs, run: proof },
    Target { name: "statement", corpus: statements, run: statement },
    Target { name: "possession", corpus: possessions, run: |input| drop(Possession::read(text(input))) },
    Target { name: "passkey", corpus: passkeys, run: passkey },
    Target { name: "disclosure", corpus: disclosures, run: disclosure },
    Target { name: "journal-frame", corpus: frames, run: frame },
    Target { name: "entry-bundle", corpus: || vec![vec![0, 3, 1, 2, 3, 0, 0]], run: |input| drop(unbundle(input)) },
    Target { name: "bundle", corpus: bundles, run: |input| drop(bundle::read(input)) },
    Target { name: "tree", corpus: || vec![vec![5, 2, 1], vec![255, 7, 128]], run: tree },
    Target { name: "json", corpus: jsons, run: json_text },
    Target { name: "request", corpus: requests, run: request },
    Target {
        name: "catalogue",
        corpus: || vec![include_bytes!("../../deploy/catalogues/bank.toml").to_vec()],
        run: catalogue,
    },
    Target {
        name: "policy",
        corpus: || {
            vec![
                include_bytes!("../../deploy/policies/example.cedar").to_vec(),
                b"forbid (principal, action, resource);".to_vec(),
            ]
        },
        run: policy,
    },
    Target { name: "recorded-request", corpus: recorded_requests, run: recorded_request },
    Target { name: "openapi", corpus: documents, run: openapi },
    Target { name: "tool-list", corpus: tool_lists, run: tool_list },
    Target { name: "learn", corpus: records, run: learn },
    Target { name: "echo", corpus: echoes, run: echo },
    Target { name: "model-answer", corpus: models::answers, run: models::answer },
    Target { name: "prompt", corpus: models::prompts, run: models::prompt },
    Target { name: "signed-request", corpus: signatures::requests, run: signatures::request },
    Target { name: "receipt", corpus: signatures::receipts, run: signatures::receipt },
    Target { name: "signed-text", corpus: signatures::texts, run: signatures::text },
    Target { name: "execution", corpus: signatures::executions, run: signatures::execution },
    Target { name: "key-list", corpus: signatures::lists, run: signatures::list },
    Target { name: "proposal", corpus: proposals, run: proposal },
    Target { name: "envoy-question", corpus: envoy::questions, run: envoy::question },
    Target { name: "envoy-report", corpus: envoy::reports, run: envoy::report },
    Target { name: "api-log", corpus: logs, run: log },
    Target { name: "issuer-token", corpus: tokens::good, run: tokens::token },
    Target { name: "issuer-keys", corpus: tokens::lists, run: tokens::list },
    Target { name: "ledger-keys", corpus: tokens::rotations, run: tokens::rotation },
];

/// What a model answers when it proposes a scope: the answer of its endpoint, and the scope in it.
fn proposals() -> Vec<Vec<u8>> {
    let scope = json!({
        "actions": [{ "action": "transactions.send", "upstream": null, "max_calls": 1, "budget": { "argument": "amount", "limit": "5", "currency": null },
            "constraints": [{ "argument": "amount", "equals": null, "one_of": null, "minimum": null, "maximum": "5", "prefix": null }] }],
        "max_calls": null, "expires_in": 60, "unclear": null,
    });
    let answer =
        json!({ "model": "m", "choices": [{ "finish_reason": "stop", "message": { "content": scope.to_string() } }] });
    vec![answer.to_string().into_bytes(), scope.to_string().into_bytes()]
}

/// Nothing that a model says makes a scope that holds longer than one of which nobody says how long, or takes an action twice.
fn proposal(input: &[u8]) {
    let content =
        countersign_proxy::propose::content(input).map_or_else(|_| text(input).to_owned(), |(_, content)| content);
    if let Ok(scope) = countersign_authorize::propose::read(&content) {
        assert!(
            scope
                .expires_in
                .is_some_and(|seconds| (1..=countersign_authorize::grant::DEFAULT_SECONDS).contains(&seconds))
        );
        assert!(!scope.actions.is_empty() && scope.actions.len() <= 64);
    }
}

fn signer() -> CheckpointSigner {
    #[allow(clippy::expect_used, reason = "the name is a constant that can name a key")]
    CheckpointSigner::new("fuzz.example", SigningKey::from_bytes(&[1; 32])).expect("a key name")
}

fn text(input: &[u8]) -> &str {
    std::str::from_utf8(input).unwrap_or_default()
}

fn entries() -> Vec<Vec<u8>> {
    let entry = |kind: &str, body: Value| {
        json!({
            "v": 1, "origin": "fuzz.example", "seq": 7, "prev": Hash::ZERO, "time": "2026-01-31T12:00:00.000000Z", "kind": kind,
            "parents": [Hash::of(b"p")], "instruction": "i", "n": 3, "body": body,
        })
    };
    let bodies = [
        ("call", json!({ "v": 1, "call": "c", "verdict": "allow", "sd": { "request": "x" } })),
        (
            "outcome",
            json!({ "v": 1, "call": Hash::ZERO, "result": "completed", "sent": "yes", "bytes": [1, 2], "us": {} }),
        ),
        ("later", json!({ "v": 9, "é": "\u{10000}" })),
    ];
    bodies.into_iter().filter_map(|(kind, body)| canonical::to_vec(&entry(kind, body)).ok()).collect()
}

/// What is accepted is canonical: one entry has one spelling.
fn entry(input: &[u8]) {
    if let Ok(entry) = Entry::parse(input) {
        assert_eq!(entry.to_bytes().ok().as_deref(), Some(input));
        let _ = (entry.commitments(), entry.body_as::<body::Call>(), entry.body_as::<body::Outcome>());
    }
}

fn checkpoints() -> Vec<Checkpoint> {
    [0, 1, 300].iter().filter_map(|size| signer().sign(*size, Hash::of(&size.to_be_bytes())).ok()).collect()
}

fn notes() -> Vec<Vec<u8>> {
    checkpoints().iter().map(|checkpoint| checkpoint.as_str().as_bytes().to_vec()).collect()
}

/// Only what was signed verifies, and the text is kept as it came.
fn checkpoint(input: &[u8]) {
    if let Ok(parsed) = Checkpoint::parse(text(input)) {
        assert_eq!(parsed.as_str().as_bytes(), input);
        if parsed.verify(&[signer().verifier().clone()]).is_ok() {
            let known = checkpoints();
            assert!(known.iter().any(|known| (known.size(), known.root()) == (parsed.size(), parsed.root())));
        }
    }
}

fn keys() -> Vec<Vec<u8>> {
    vec![signer().verifier().to_string().into_bytes()]
}

fn verifier_key(input: &[u8]) {
    if let Ok(key) = text(input).parse::<VerifierKey>() {
        // White space around it is no part of it: keys come from files.
        assert_eq!(key.to_string(), text(input).trim());
    }
}

const LEAVES: [&[u8]; 3] = [b"one", b"two", b"three"];

fn proofs() -> Vec<Vec<u8>> {
    let (mut frontier, mut nodes) = (Frontier::default(), BTreeMap::new());
    for leaf in LEAVES {
        frontier.push(tree::leaf_hash(leaf), |place, hash| nodes.extend([(place, hash)]));
    }
    let Ok(checkpoint) = signer().sign(3, frontier.root()) else { return Vec::new() };
    let proof = |index| {
        let path = tree::inclusion_proof(&nodes, index, 3).unwrap_or_default();
        Proof { index, path, checkpoint: checkpoint.clone() }.to_string().into_bytes()
    };
    (0..3).map(proof).collect()
}

/// A proof convinces only of the entry that stands at its index.
fn proof(input: &[u8]) {
    if let Ok(proof) = text(input).parse::<Proof>() {
        assert_eq!(proof.to_string().parse().ok(), Some(proof.clone()));
        let trusted = [signer().verifier().clone()];
        for (index, leaf) in LEAVES.iter().enumerate() {
            assert!(proof.verify(leaf, &trusted).is_err() || proof.index == index as u64);
        }
        assert!(proof.verify(b"four", &trusted).is_err());
    }
}

fn key() -> SigningKey {
    SigningKey::from_bytes(&[2; 32])
}

fn payload() -> Value {
    json!({ "words": "pay", "n": 1 })
}

/// What an agent's client sends in the header `DPoP` with each call.
fn possessions() -> Vec<Vec<u8>> {
    let claims = possession::Claims {
        jti: "1".to_owned(),
        htm: "GET".to_owned(),
        htu: "https://gateway.example/x".to_owned(),
        iat: 1_700_000_000,
        ath: Some(possession::of_token("token")),
        nonce: Some("n".to_owned()),
    };
    vec![Possession::sign(&claims, &SigningKey::from_bytes(&[1; 32])).unwrap_or_default().into_bytes()]
}

fn statements() -> Vec<Vec<u8>> {
    Statement::sign("countersign-decision+jwt", &payload(), &key()).map(String::into_bytes).into_iter().collect()
}

fn statement(input: &[u8]) {
    if let Ok(statement) = Statement::parse(text(input)) {
        let jwk = Jwk::ed25519(&key().verifying_key());
        if let Ok(said) = statement.verify::<Value>("countersign-decision+jwt", &jwk) {
            assert_eq!(said, payload(), "nothing else was signed");
        }
        assert!(statement.verify::<Value>("another+jwt", &jwk).is_err());
    }
}

/// A passkey that signs for `fuzz.example`, and what it states.
fn registered() -> Registered {
    let passkey =
        Passkey { rp_id: "fuzz.example".into(), origin: "https://fuzz.example".into(), credential: "AQID".into() };
    Registered { jwk: Jwk::ed25519(&SigningKey::from_bytes(&[2; 32]).verifying_key()), passkey: Some(passkey) }
}

fn stated() -> Value {
    json!({ "origin": "fuzz.example", "call": Hash::ZERO, "decision": "denied" })
}

/// An assertion as a browser hands it in, and a new passkey.
fn passkeys() -> Vec<Vec<u8>> {
    let challenge = passkey::challenge("fuzz+passkey", &stated()).unwrap_or_default();
    let encode = |bytes: &[u8]| BASE64URL_NOPAD.encode(bytes);
    let client_data = |ceremony: &str, challenge: &[u8]| {
        json!({ "type": ceremony, "challenge": encode(challenge), "origin": "https://fuzz.example", "crossOrigin": false }).to_string()
    };
    let head = |flags: u8| [Hash::of(b"fuzz.example").as_bytes().as_slice(), &[flags, 0, 0, 0, 1]].concat();
    let (data, client) = (head(0x05), client_data("webauthn.get", &challenge));
    let signed = [data.as_slice(), Hash::of(client.as_bytes()).as_bytes()].concat();
    let signature = SigningKey::from_bytes(&[2; 32]).sign(&signed).to_bytes();
    let assertion = json!({
        "typ": "fuzz+passkey", "kid": registered().jwk.thumbprint(), "payload": stated(), "authenticator_data": encode(&data),
        "client_data": encode(client.as_bytes()), "signature": encode(&signature),
    });
    let key = SigningKey::from_bytes(&[2; 32]).verifying_key().to_bytes();
    let cose: [&[u8]; 2] = [&[0xa4, 0x01, 0x01, 0x03, 0x27, 0x20, 0x06, 0x21, 0x58, 0x20], &key];
    let data = [head(0x45), vec![0; 16], vec![0, 3, 1, 2, 3], cose.concat()].concat();
    let client = client_data("webauthn.create", &[7; 32]);
    let registration = json!({ "authenticator_data": encode(&data), "client_data": encode(client.as_bytes()) });
    vec![assertion.to_string().into_bytes(), registration.to_string().into_bytes()]
}

/// Whatever is changed in an assertion, it states what was signed or nothing; and no other key is taken for a new one than the one that is there.
/// Reached by who is signed in (`POST /approve/{call}`), by who has an enrolment link, and by `verify` for what a bundle discloses.
fn passkey(input: &[u8]) {
    let Ok(value) = serde_json::from_slice::<Value>(input) else { return };
    if let Ok(read) = Stated::read(&value) {
        let _ = read.check("valid", None);
        if let Ok(said) = read.verify::<Value>("fuzz", &registered()) {
            assert_eq!(said, stated());
        }
    }
    if let Ok(made) = serde_json::from_value::<Registration>(value)
        && let Ok((jwk, passkey)) = made.verify(&[7; 32], "fuzz.example", "https://fuzz.example")
    {
        assert!(jwk.validate().is_ok() && !passkey.credential.is_empty());
    }
}

fn disclosures() -> Vec<Vec<u8>> {
    let values = [json!("4.00"), json!({ "a": [1, null] })];
    let made = values.iter().filter_map(|value| Disclosure::new("amount", value).ok());
    made.map(|disclosure| disclosure.as_str().as_bytes().to_vec()).collect()
}

fn disclosure(input: &[u8]) {
    if let Ok(disclosure) = Disclosure::parse(text(input)) {
        assert_eq!(disclosure.as_str().as_bytes(), input);
        let _ = disclosure.digest();
    }
}

fn frames() -> Vec<Vec<u8>> {
    let stored = |n: u8| {
        Arc::new(Stored::new(
            Arc::from(vec![n; 40]),
            Beside::new(
                &[Attachment { subject: "s".into(), name: "request".into(), sealed: vec![n; 30] }]
                    .into_iter()
                    .collect(),
                &[StatePut { key: b"open/1".to_vec(), value: n.is_multiple_of(2).then(|| vec![n]) }],
            ),
        ))
    };
    let batch = Batch { first: 3, entries: (0..3).map(stored).collect(), checkpoints: checkpoints() };
    let mut bytes = Vec::new();
    batch.encode(true, &mut bytes);
    vec![bytes]
}

fn frame(input: &[u8]) {
    if let Some(batch) = Batch::decode(input) {
        let mut again = Vec::new();
        batch.encode(true, &mut again);
        assert_eq!(Batch::decode(&again), Some(batch));
    }
}

fn bundles() -> Vec<Vec<u8>> {
    let evidence = countersign_ledger::evidence::Evidence::default();
    let written = bundle::write(&evidence, std::io::Cursor::new(Vec::new()));
    written.map(std::io::Cursor::into_inner).into_iter().collect()
}

/// Against the definition of RFC 6962 §2.1, written as it stands there.
fn tree(input: &[u8]) {
    let leaves: Vec<Hash> = input.iter().take(40).map(|byte| tree::leaf_hash(&[*byte])).collect();
    let (mut frontier, mut nodes) = (Frontier::default(), BTreeMap::new());
    for leaf in &leaves {
        frontier.push(*leaf, |place, hash| nodes.extend([(place, hash)]));
    }
    assert_eq!(frontier.root(), naive_root(&leaves));
    let size = leaves.len() as u64;
    for (index, leaf) in (0..size).zip(&leaves) {
        let path = tree::inclusion_proof(&nodes, index, size).unwrap_or_default();
        assert_eq!(tree::root_from_inclusion(*leaf, index, size, &path), Some(frontier.root()));
        let old_root = naive_root(leaves.get(..=usize::try_from(index).unwrap_or_default()).unwrap_or_default());
        let path = tree::consistency_proof(&nodes, index + 1, size).unwrap_or_default();
        assert!(tree::is_consistent(index + 1, old_root, size, frontier.root(), &path));
        assert!(!tree::is_consistent(index + 1, Hash::of(b"another"), size, frontier.root(), &path));
    }
}

fn naive_root(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => Hash::of(b""),
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at((leaves.len().next_power_of_two()) / 2);
            tree::node_hash(&naive_root(left), &naive_root(right))
        }
    }
}

fn jsons() -> Vec<Vec<u8>> {
    let texts = [
        "{\"to\":\"GB29\",\"amount\":98.70,\"tags\":[\"a\",null,true,-1,0.5]}",
        "{\"a\":{\"b\":{\"c\":[]}},\"\\u00e9\":\"\\\"\"}",
        "[]",
    ];
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

/// What has one reading has it for another reader too, and no member twice.
fn json_text(input: &[u8]) {
    if Json::parse(input, 64).is_ok() {
        let other: Result<Value, _> = serde_json::from_slice(input);
        assert!(other.is_ok(), "another reader refuses it");
        assert!(Json::parse_response(input, 64).is_ok(), "the patient reader is no stricter");
    }
    let _ = Json::parse_response(input, 64);
}

fn requests() -> Vec<Vec<u8>> {
    let targets = ["/transactions?n=5", "/a/b%20c?q=%C3%A9&r=", "/", "/accounts/7"];
    targets.iter().map(|target| target.as_bytes().to_vec()).collect()
}

/// The spelling that is forwarded is read like the one that was judged.
fn request(input: &[u8]) {
    let Ok(uri) = Uri::try_from(input) else { return };
    let read = |uri: &Uri| {
        Request::normalise(&Limits::default(), "api", &Method::GET, uri, &HeaderMap::new(), RequestBody::Empty)
    };
    if let Ok(judged) = read(&uri) {
        let again = judged.target().parse().ok().and_then(|uri| read(&uri).ok());
        assert_eq!(again.as_ref(), Some(&judged));
    }
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let uri = Uri::from_static("/pay");
    let body = RequestBody::Json(input);
    if let Ok(judged) = Request::normalise(&Limits::default(), "api", &Method::POST, &uri, &headers, body) {
        assert!(input.is_empty() || judged.body_to_forward() == Some(input), "what was judged is what is sent");
    }
}

fn policy(input: &[u8]) {
    #[allow(clippy::expect_used, reason = "the catalogue is a file of ours that a test reads")]
    static BANK: std::sync::LazyLock<Catalogue> = std::sync::LazyLock::new(|| {
        Catalogue::parse(include_str!("../../deploy/catalogues/bank.toml")).expect("a catalogue")
    });
    let file = File { name: "f".to_owned(), text: text(input).to_owned() };
    match Policies::parse(vec![file], [&*BANK].into_iter()) {
        Ok(policies) => assert_eq!(policies.files().len(), 1),
        Err(error) => {
            assert!(error.line >= 1 && error.column >= 1 && error.line <= text(input).lines().count().max(1) + 1)
        }
    }
}

fn recorded_requests() -> Vec<Vec<u8>> {
    let records = [
        json!({ "upstream": "u", "method": "POST", "target": "/a/b?q=1", "body": { "a": "4.50" }, "decimals": ["/a"], "headers": { "x": null } }),
        json!({ "upstream": "u", "method": "tools/call", "target": "pay", "body": { "a": 1 }, "answers": { "r": "1.5" }, "answers_decimals": ["/r"] }),
        json!({ "upstream": "u", "method": "POST", "target": "/v1/messages", "operation": "model", "asks": { "model": "m" }, "sha256": "00", "body": null }),
    ];
    records.iter().map(|record| record.to_string().into_bytes()).collect()
}

/// What is read back from a record is recorded as it was read.
fn recorded_request(input: &[u8]) {
    let Ok(record) = serde_json::from_slice::<Value>(input) else { return };
    let Ok(request) = Request::recorded(&record) else { return };
    let again = json!(request);
    let read = Request::recorded(&again).map(|request| json!(request));
    assert_eq!(read.ok(), Some(again));
}

fn catalogue(input: &[u8]) {
    if let Ok(catalogue) = Catalogue::parse(text(input)) {
        let named = catalogue.actions().iter().all(|action| catalogue.action(&action.name).is_some());
        assert!(named, "every action is found by its name");
        let _ = catalogue.lints();
        let ceiling = Ceiling { text: text(input).to_owned(), statement: String::new(), kid: String::new() };
        assert!(catalogue.under(ceiling).is_ok(), "what is under itself is under it");
    }
}

fn documents() -> Vec<Vec<u8>> {
    let yaml = "openapi: 3.1.0\npaths:\n  /a/{id}:\n    post:\n      operationId: pay\n      parameters:\n        - {name: q, in: query, schema: {type: integer}}\n      \
        requestBody: {content: {application/json: {schema: {$ref: '#/components/schemas/A'}}}}\n      responses: {200: {content: {application/json: {schema: \
        {type: array, items: {$ref: '#/components/schemas/A'}}}}}}\ncomponents:\n  schemas:\n    A: {type: object, required: [b], properties: {b: {oneOf: \
        [{type: string, pattern: '^[0-9]+$'}, {$ref: '#/components/schemas/A'}]}, c: &x {additionalProperties: {type: number}}, d: *x}}\n";
    let json = json!({ "openapi": "3.0.0", "paths": { "/a": { "get": { "parameters": [{ "name": "a", "in": "header" }], "responses": {} } } } });
    vec![yaml.as_bytes().to_vec(), json.to_string().into_bytes()]
}

/// What is written of a document can be read as a catalogue.
fn openapi(input: &[u8]) {
    let draft = import::document(text(input)).and_then(|document| import::openapi(&document, "api"));
    if let Ok(draft) = draft {
        assert!(Catalogue::parse(&draft.to_toml()).is_ok(), "{}", draft.to_toml());
    }
}

fn tool_lists() -> Vec<Vec<u8>> {
    let schema = json!({ "type": "object", "required": ["to"], "properties": { "to": { "type": "array", "items": { "type": "string" } }, "sum": { "type": "number" } } });
    let tool = json!({ "name": "send_money", "description": "Sends \"money\"\n# [x]", "inputSchema": schema, "annotations": { "readOnlyHint": true } });
    let list = json!({ "tools": [tool], "resourceTemplates": [{ "uriTemplate": "file:///{+path}", "name": "f" }], "prompts": [{ "name": "p", "arguments": [{ "name": "a" }] }] });
    vec![list.to_string().into_bytes()]
}

fn tool_list(input: &[u8]) {
    let listing = import::document(text(input)).and_then(|document| import::Listing::of_document(&document));
    if let Ok(draft) = listing.and_then(|listing| import::mcp(&listing, "api")) {
        let catalogue = Catalogue::parse(&draft.to_toml());
        assert!(catalogue.is_ok(), "{}", draft.to_toml());
        assert!(catalogue.is_ok_and(|catalogue| import::changes(&catalogue, &draft).is_empty()), "nothing changed");
    }
}

fn records() -> Vec<Vec<u8>> {
    let of_http = json!([{ "method": "POST", "target": "/a/7?q=1", "body": { "to": [{ "iban": "X" }], "sum": "1.5", "on": "2026-01-31" } },
        { "method": "POST", "target": "/a/8", "body": { "sum": 2, "deep": { "er": [[1]] } } }]);
    let of_mcp = json!([{ "method": "tools/call", "target": "pay", "body": { "to": "X" } }, { "method": "resources/read", "target": "a://b", "body": null }]);
    vec![of_http.to_string().into_bytes(), of_mcp.to_string().into_bytes()]
}

fn learn(input: &[u8]) {
    let Ok(records) = serde_json::from_slice::<Vec<Value>>(input) else { return };
    let observed: Vec<_> = records.iter().filter_map(import::Observed::of_record).collect();
    let draft = import::learn(&observed, "api");
    assert!(Catalogue::parse(&draft.to_toml()).is_ok(), "{}", draft.to_toml());
}

const SECRET: &str = "sk-live/9+Zq_4~7";

fn echoes() -> Vec<Vec<u8>> {
    vec![
        format!("{{\"a\":\"{SECRET}\"}}").into_bytes(),
        b"sk-live%2F9\\u002bZq".to_vec(),
        b"c2stbGl2ZS85K1pxXzR+Nw".to_vec(),
    ]
}

/// The secret never passes as it is, wherever it is cut; what passes whole is unchanged.
fn echo(input: &[u8]) {
    let echo = Arc::new(Echo::new(SECRET));
    for piece in [1, 3, 7, input.len().max(1)] {
        let (mut scan, mut passed, mut found) = (echo.scan(), Vec::new(), false);
        for chunk in input.chunks(piece) {
            match scan.push(Bytes::copy_from_slice(chunk)) {
                Ok(bytes) => passed.extend(bytes),
                Err(_) => {
                    found = true;
                    break;
                }
            }
        }
        let holds = input.windows(SECRET.len()).any(|window| window == SECRET.as_bytes());
        assert!(found || !holds, "it passed");
        if !found {
            passed.extend(scan.end());
            assert_eq!(passed, input);
        }
    }
}

/// The first byte says which format.
fn logs() -> Vec<Vec<u8>> {
    [
        r#"0h - u [10/Oct/2000:13:55:36 -0700] "GET /a?b=c HTTP/1.1" 200 23"#,
        r#"1h - - [10/Oct/2000:13:55:36 -0700] "POST /a HTTP/1.1" 201 - "-" "x\x41\"y" "more""#,
        r#"2{"time":"2026-01-31T12:00:00.5Z","method":"GET","path":"/a","status":200,"bytes":"7","body":{"a":1.50}}"#,
        r#"3{"Records":[{"eventTime":"2026-01-31T12:00:00Z","eventName":"Pay","errorCode":"x"}]}"#,
        r#"4{"resourceSpans":[{"scopeSpans":[{"spans":[{"kind":2,"traceId":"0af7651916cd43dd8448eb211c80319c","startTimeUnixNano":"1760000000000000000","attributes":[{"key":"http.request.method","value":{"stringValue":"GET"}},{"key":"url.path","value":{"stringValue":"/a"}}]}]}]}]}"#,
        "3{\n\"Records\":[{\"eventTime\":\"2026-01-31T12:00:00Z\",\"eventName\":\"Pay\"}]}",
    ]
    .map(|text| text.as_bytes().to_vec())
    .into()
}

/// What is read has a time and a place, and a line is read the same way in a log and by itself.
fn log(input: &[u8]) {
    let formats = [Format::Common, Format::Combined, Format::Jsonl, Format::CloudTrail, Format::Otlp];
    let Some((which, rest)) = input.split_first() else { return };
    let Some(format) = formats.get(usize::from(which % 8)).copied() else { return };
    let reader = Reader::new(format, &[], "/v1");
    let (mut lines, mut read): (Vec<Line>, usize) = (Vec::new(), 0);
    let mut each = |line: Result<Line, _>| {
        read += 1;
        lines.extend(line);
        true
    };
    let Ok(_) = reader.read(rest, &mut each) else { return };
    assert!(lines.iter().all(|line| line.path.is_some() || line.operation.is_some()));
    if let ([line], 1, false) = (lines.as_slice(), read, rest.contains(&b'\n')) {
        let alone = reader.line(line.number, text(rest).trim_end()).unwrap_or_default();
        assert!(alone.is_empty() || alone.first() == Some(line), "{alone:?} and {line:?}");
    }
}

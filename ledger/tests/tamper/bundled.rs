//! Lies in a bundle, and what receipts show of a ledger that was written anew.

use super::*;

#[test]
fn a_bundle_proves_itself_and_every_lie_in_it_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let (ledger, vault) = honest(dir.path(), 5);
    let early = ledger.proof(6).unwrap();
    let total =
        body::Heartbeat { closed: vec![body::Total { instruction: "i".into(), entries: 12 }], ..Default::default() };
    ledger.append_blocking(Draft::new(&total).unwrap()).unwrap();
    let directory = Directory::read(dir.path(), None).unwrap();
    let open = |attachment: &_| match vault.open_attachment(attachment) {
        Ok(Opened::Value(disclosure)) => Ok(Some(disclosure)),
        Ok(Opened::Erased) => Ok(None),
        Err(error) => Err(error.to_string()),
    };
    let selection = Selection::Call("c2".into());
    let mut evidence = Evidence::collect(&directory, &selection, Some(&open), &|name| name == "words").unwrap();
    let proofs = directory.proofs(evidence.items.keys().copied()).unwrap();
    evidence.proofs = proofs.into_iter().map(|proof| (proof.index, proof)).collect();
    let bytes = bundle::write(&evidence, std::io::Cursor::new(Vec::new())).unwrap().into_inner();
    assert_eq!(bytes, bundle::write(&evidence, std::io::Cursor::new(Vec::new())).unwrap().into_inner());
    let honest = || bundle::read(&bytes).unwrap();
    let check = |evidence: &Evidence| {
        verify_bundle(evidence, &Options { trust: vec![signer(1).verifier().clone()], ..Options::default() })
    };
    let report = check(&honest());
    assert_eq!(report.findings, [], "{report}");
    assert_eq!((report.counts.entries, report.counts.commitments, report.counts.calls), (15, 1, 5));
    type Change = Box<dyn Fn(&mut Evidence)>;
    let table: Vec<(&str, Change, &[&str])> = vec![
        (
            "a call and its outcome left out",
            Box::new(|e| {
                e.items.remove(&6);
                e.items.remove(&7);
            }),
            &["counter-gap"],
        ),
        (
            "the last call left out",
            Box::new(|e| {
                e.items.remove(&12);
                e.items.remove(&13);
            }),
            &["total-differs"],
        ),
        ("the grant left out", Box::new(|e| drop(e.items.remove(&3))), &["counter-gap", "grant-unknown"]),
        ("the proofs left out", Box::new(|e| e.proofs.clear()), &["not-proven"]),
        (
            "the proof of another entry",
            Box::new(|e| {
                let p = e.proofs[&5].clone();
                e.proofs.insert(4, p);
            }),
            &["not-proven"],
        ),
        (
            "an entry changed",
            Box::new(|e| {
                let bytes = String::from_utf8(e.items[&4].bytes.to_vec()).unwrap().replace("\"allow\"", "\"deny\"");
                e.add(Arc::from(bytes.into_bytes()), Default::default()).unwrap();
            }),
            &["not-proven", "forwarded-against-verdict"],
        ),
        (
            "another value disclosed",
            Box::new(|e| {
                let lie = Disclosure::new("words", &"pay more").unwrap();
                e.items.get_mut(&2).unwrap().values.insert("words".into(), Shown::Value(lie));
            }),
            &["value-differs"],
        ),
        ("the first entry left out", Box::new(|e| drop(e.items.remove(&0))), &["first-entry"]),
        (
            "other bytes for the catalogue",
            Box::new(|e| e.policies.values_mut().for_each(|bytes| bytes.push(b' '))),
            &["policy-changed"],
        ),
        (
            "said to be the whole ledger, without one",
            Box::new(|e| {
                e.selection = None;
                e.items.remove(&9);
            }),
            &["entry-missing"],
        ),
        (
            "a proof under another checkpoint",
            Box::new(move |e| drop(e.proofs.insert(6, early.clone()))),
            &["checkpoints-apart"],
        ),
        (
            "signed with another key",
            Box::new(|e| e.keys = vec![signer(2).verifier().clone()]),
            ["key-not-trusted"].as_slice(),
        ),
    ];
    for (name, change, expected) in table {
        let mut evidence = honest();
        change(&mut evidence);
        let found = codes(&check(&evidence));
        for code in expected {
            assert!(found.contains(code), "{name}: {code} is not among {found:?}");
        }
    }
    // Two files of one name, of which one reader sees this, another that; and something in front.
    let mut two = honest();
    two.policies.insert(Hash::ZERO, b"other rules".to_vec());
    let mut bytes_of_two = bundle::write(&two, std::io::Cursor::new(Vec::new())).unwrap().into_inner();
    let (ours, other) = (honest().policies.into_keys().next().unwrap().to_string(), Hash::ZERO.to_string());
    for at in 0..bytes_of_two.len() - other.len() {
        if bytes_of_two[at..].starts_with(other.as_bytes()) {
            bytes_of_two[at..at + ours.len()].copy_from_slice(ours.as_bytes());
        }
    }
    for (name, bad) in [("two of one name", bytes_of_two), ("in front", [b"#!/bin/sh\n", bytes.as_slice()].concat())] {
        let report = verify_bundle_file(&bad, &Options::default()).unwrap();
        assert_eq!(codes(&report), ["bundle-malformed"], "{name}");
    }
    for at in (0..bytes.len()).step_by(bytes.len() / 300 + 1) {
        let mut bad = bytes.clone();
        bad[at] ^= 1;
        if let Ok(evidence) = bundle::read(&bad) {
            let _ = check(&evidence);
        }
        let _ = bundle::read(&bytes[..at]);
    }
}

#[test]
fn a_receipt_in_the_ledger_shows_that_everything_was_written_anew() {
    let dir = tempfile::tempdir().unwrap();
    let (ledger, vault) = honest(dir.path(), 5);
    let emma = vault.subject("emma").unwrap();
    let api = SigningKey::from_bytes(&[6; 32]);
    let jwk = Jwk::ed25519(&api.verifying_key());
    let key = body::Key {
        event: "registered".into(),
        kid: jwk.thumbprint(),
        party: "bank".into(),
        jwk: Some(serde_json::to_value(&jwk).unwrap()),
        by: "test".into(),
        ..Default::default()
    };
    let head = ledger.head();
    ledger.append_blocking(Draft::new(&key).unwrap()).unwrap();
    let call = Hash::of(&ledger.entry(4).unwrap());
    let checkpoint = data_encoding::BASE64.encode(head.as_str().as_bytes());
    let base = format!(
        "\"@status\": 200\n\"countersign-entry\";req: {call}\n\"countersign-checkpoint\";req: :{checkpoint}:\n\
         \"@signature-params\": (\"@status\" \"countersign-entry\";req \"countersign-checkpoint\";req);keyid=\"{}\"",
        jwk.thumbprint()
    );
    let value = data_encoding::BASE64.encode(&ed25519_dalek::Signer::sign(&api, base.as_bytes()).to_bytes());
    let check =
        body::Check { alg: "EdDSA".into(), kid: jwk.thumbprint(), result: "valid".into(), party: Some("bank".into()) };
    let receipt =
        body::Receipt { call, subject: emma.clone(), api: "bank".into(), check, late: true, ..Default::default() };
    let signed = serde_json::json!({ "status": 200, "signature": { "base": base, "value": value } });
    let draft = Draft::new(&receipt).unwrap().of_instruction("i").disclose(&vault, &emma, "receipt", &signed).unwrap();
    ledger.append_blocking(draft).unwrap();
    let open = |attachment: &_| match vault.open_attachment(attachment) {
        Ok(Opened::Value(disclosure)) => Ok(Some(disclosure)),
        Ok(Opened::Erased) => Ok(None),
        Err(error) => Err(error.to_string()),
    };
    let options = || Options { open: Some(&open), ..Options::default() };
    let mut forged = Forged::of(&Directory::read(dir.path(), None).unwrap());
    assert_eq!(verify(&forged, &options()).findings, []);
    // With the right key, all numbers and references mended: nothing else shows it.
    forged.edit(13, |entry| drop(entry.body.insert("detail".into(), "it went well".into())));
    forged.rewrite(&signer(1));
    assert_eq!(codes(&verify(&forged, &options())), ["receipt-checkpoint"]);
    // What the API keeps is a checkpoint held outside.
    let kept = Held::parse(&signed["signature"].to_string()).unwrap();
    assert!(codes(&held(&forged, vec![], vec![kept])).contains(&"forked"));
}

#[test]
fn the_first_line_says_that_another_key_signed_than_the_trusted_one() {
    let dir = tempfile::tempdir().unwrap();
    drop(honest(dir.path(), 2));
    let directory = Directory::read(dir.path(), None).unwrap();
    let mut evidence = Evidence::collect(&directory, &Selection::All, None, &|_| false).unwrap();
    let proofs = directory.proofs(evidence.items.keys().copied()).unwrap();
    evidence.proofs = proofs.into_iter().map(|proof| (proof.index, proof)).collect();
    let (own, other) = (signer(1).verifier().to_string(), signer(2).verifier().to_string());
    let trust = || Options { trust: vec![signer(2).verifier().clone()], ..Options::default() };
    for report in [verify_bundle(&evidence, &trust()), verify(&directory, &trust())] {
        let text = report.to_string();
        let first = text.lines().next().unwrap();
        assert!(first.ends_with("[key-not-trusted]") && first.contains("is not the trusted one"), "{text}");
        assert!(first.contains(&format!("signed with `{own}`, and trusted is `{other}`")), "{text}");
    }
}

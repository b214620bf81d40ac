//! Lies about statements and keys, about calls that end or do not, about numbers, erasures and what an entry is.

use super::*;

pub(super) fn table() -> Vec<(&'static str, Lie, &'static [&'static str], bool)> {
    vec![
        (
            "a statement for another ledger",
            lie(|w| {
                let call = w.held();
                w.approval(call, &json!({ "call": call.to_string(), "origin": "other.example" }), |_| ());
            }),
            &["statement-says-other"],
            true,
        ),
        (
            "a signature recorded as that of somebody else",
            lie(|w| {
                let call = w.held();
                let signed = json!({ "call": call.to_string() });
                let ben = |a: &mut body::Approval| a.check.as_mut().unwrap().party = Some("ben".into());
                w.approval(call, &signed, ben);
            }),
            &["statement-party"],
            true,
        ),
        (
            "a good signature recorded as a bad one",
            lie(|w| {
                let call = w.held();
                let signed = json!({ "call": call.to_string() });
                w.approval(call, &signed, |a| a.check.as_mut().unwrap().result = "invalid".into());
            }),
            &["statement-differs"],
            true,
        ),
        (
            "signed with a key that was revoked before",
            lie(|w| {
                w.add(None, &w.key("revoked", false), &[]);
                let _ = w.approved();
            }),
            &["statement-differs"],
            true,
        ),
        (
            "a key under another's name",
            lie(|w| _ = w.add(None, &body::Key { kid: "x".into(), ..w.key("registered", true) }, &[])),
            &["key-mismatch"],
            true,
        ),
        (
            "a key that is no point of its curve",
            lie(|w| w.with_key(json!({ "kty": "EC", "crv": "P-256", "x": "A".repeat(43), "y": "A".repeat(43) }))),
            &["key-mismatch"],
            true,
        ),
        (
            "a key of a kind that signs nothing",
            lie(|w| w.with_key(json!({ "kty": "OKP", "crv": "X25519", "x": "A".repeat(43) }))),
            &["key-mismatch"],
            true,
        ),
        (
            "a key revoked that never was",
            lie(|w| _ = w.add(None, &body::Key { kid: "x".into(), ..w.key("revoked", false) }, &[])),
            &["key-mismatch"],
            true,
        ),
        (
            "forwarded although denied",
            lie(|w| {
                let denied = |c: &mut body::Call| (c.verdict, c.upstream_n) = ("deny".into(), Some(0));
                let call = w.add(Some("i"), &w.call(denied), &[]);
                w.add(Some("i"), &w.outcome(call), &[]);
            }),
            &["forwarded-against-verdict"],
            true,
        ),
        (
            "forwarded and never ended",
            lie(|w| {
                w.add(Some("i"), &w.call(|c| c.upstream_n = Some(0)), &[]);
                w.later(25 * 3600);
                w.add(Some("i"), &w.call(|c| c.verdict = "deny".into()), &[]);
            }),
            &["call-open"],
            true,
        ),
        (
            "a settlement of a call that had ended for certain",
            lie(|w| {
                let call = w.add(Some("i"), &w.call(|c| c.upstream_n = Some(0)), &[]);
                w.add(Some("i"), &w.outcome(call), &[]);
                w.add(Some("i"), &w.settlement(call, true), &[]);
            }),
            &["settled-unopened"],
            true,
        ),
        (
            "a call settled twice",
            lie(|w| {
                let call = w.perhaps_sent(0);
                w.add(Some("i"), &w.settlement(call, true), &[]);
                w.add(Some("i"), &w.settlement(call, true), &[]);
            }),
            &["settled-twice"],
            true,
        ),
        (
            "a settlement that nobody signed",
            lie(|w| {
                let call = w.perhaps_sent(0);
                w.add(Some("i"), &w.settlement(call, false), &[]);
            }),
            &["settled-groundless"],
            true,
        ),
        (
            "ended twice",
            lie(|w| {
                let call = w.add(Some("i"), &w.call(|c| c.upstream_n = Some(0)), &[]);
                w.add(Some("i"), &w.outcome(call), &[]);
                w.add(Some("i"), &w.outcome(call), &[]);
            }),
            &["outcome-twice"],
            true,
        ),
        (
            "the end of a call that is not there",
            lie(|w| _ = w.add(Some("i"), &w.outcome(Hash::of(b"x")), &[])),
            &["outcome-without-call"],
            true,
        ),
        (
            "a call number left out",
            lie(|w| _ = w.add(Some("i"), &w.call(|c| c.upstream_n = Some(1)), &[])),
            &["upstream-counter-gap"],
            false,
        ),
        (
            "a total that is too high",
            lie(|w| {
                let closed = vec![body::Total { instruction: "i".into(), entries: 9 }];
                w.add(None, &body::Heartbeat { closed, ..Default::default() }, &[]);
            }),
            &["total-differs"],
            true,
        ),
        (
            "an erasure by one",
            lie(|w| {
                let erasure = body::Erasure { subject: "x".into(), by: vec!["ann".into()], ..Default::default() };
                w.add(None, &erasure, &[]);
            }),
            &["erasure-unauthorised"],
            true,
        ),
        (
            "an erasure that was not done",
            lie(|w| {
                let erasure = body::Erasure { subject: w.emma.clone(), by: vec!["ann".into()], ..Default::default() };
                w.add(None, &erasure, &[]);
            }),
            &["erasure-unauthorised", "erasure-undone"],
            true,
        ),
        (
            "a body that is none",
            lie(|w| {
                let mut draft = Draft::new(&w.call(|_| ())).unwrap().of_instruction("i");
                draft.body.set("upstream_n", "zero").unwrap();
                w.ledger.append_blocking(draft).unwrap();
            }),
            &["body-malformed"],
            true,
        ),
        (
            "an entry that rests on one that is not there",
            lie(|w| {
                let draft = Draft::new(&w.call(|_| ())).unwrap().of_instruction("i").caused_by([Hash::of(b"x")]);
                w.ledger.append_blocking(draft).unwrap();
            }),
            &["parent-missing"],
            true,
        ),
        ("a value whose key is gone", lie(|w| w.vault.erase(&w.emma).unwrap()), &["key-lost"], true),
    ]
}

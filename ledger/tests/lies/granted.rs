//! Lies about what was granted: calls under no grant, beyond one, or when it had ended, rules that nobody has, delegations that give more.

use super::*;

pub(super) fn table() -> Vec<(&'static str, Lie, &'static [&'static str], bool)> {
    vec![
        (
            "a call under no grant",
            lie(|w| _ = w.add(Some("i"), &w.call(|c| c.grant = Some("x".into())), &[])),
            &["grant-unknown"],
            true,
        ),
        (
            "a call under the grant of another instruction",
            lie(|w| {
                w.add(Some("j"), &w.grant("h"), &[]);
                w.add(Some("i"), &w.call(|c| c.grant = Some("h".into())), &[]);
            }),
            &["grant-of-other"],
            false,
        ),
        (
            "a call by another agent",
            lie(|w| _ = w.add(Some("i"), &w.call(|c| c.agent = Some("b".into())), &[])),
            &["grant-of-other"],
            true,
        ),
        (
            "a call about somebody else",
            lie(|w| _ = w.add(Some("i"), &w.call(|c| c.subject = Some("x".into())), &[])),
            &["grant-of-other"],
            true,
        ),
        (
            "an action that was not granted",
            lie(|w| _ = w.add(Some("i"), &w.call(|c| c.action = Some("close".into())), &[])),
            &["action-not-granted"],
            true,
        ),
        (
            "an action that passed as a message of the protocol",
            lie(|w| {
                let call = w.call(|c| {
                    c.action = None;
                    c.rules = vec!["mcp-plumbing".into()];
                });
                w.add(Some("i"), &call, &[("request", json!({ "method": "tools/call", "target": "pay" }))]);
            }),
            &["not-plumbing"],
            true,
        ),
        (
            "a call of an API that passed as a question to a model",
            lie(|w| {
                let call = w.call(|c| {
                    c.action = Some("model.generate".into());
                    c.rules = vec!["model-any-grant".into()];
                    c.prompt = Some(body::Prompt::default());
                });
                w.add(Some("i"), &call, &[("request", json!({ "method": "POST", "target": "/transactions" }))]);
            }),
            &["not-asking"],
            true,
        ),
        (
            "a call after the grant's end",
            lie(|w| {
                w.later(7200);
                w.add(Some("i"), &w.call(is(|_| ())), &[]);
            }),
            &["grant-expired"],
            true,
        ),
        (
            "a call after the grant was withdrawn",
            lie(|w| {
                w.revoke(Some("i"), "grant", "g");
                w.add(Some("i"), &w.call(is(|_| ())), &[]);
            }),
            &["grant-revoked"],
            true,
        ),
        (
            "a call after everything was withdrawn",
            lie(|w| {
                w.revoke(None, "everything", "");
                w.later(120);
                w.add(Some("i"), &w.call(is(|_| ())), &[]);
            }),
            &["revoked"],
            true,
        ),
        (
            "a policy that never was in force",
            lie(|w| _ = w.add(Some("i"), &w.call(|c| c.policies = vec![Hash::of(b"x")]), &[])),
            &["policy-unrecorded"],
            true,
        ),
        (
            "a policy whose bytes nobody has",
            lie(|w| _ = w.add(None, &w.catalogue(Hash::of(b"gone")), &[])),
            &["policy-missing"],
            true,
        ),
        (
            "a delegation of what was not granted",
            lie(|w| _ = w.add(Some("i"), &body::Delegation { actions: vec!["close".into()], ..w.delegation() }, &[])),
            &["delegation-wider"],
            true,
        ),
        (
            "a delegation that holds longer",
            lie(|w| _ = w.add(Some("i"), &body::Delegation { expires: None, ..w.delegation() }, &[])),
            &["delegation-wider"],
            true,
        ),
        (
            "a delegation from nothing",
            lie(|w| _ = w.add(Some("i"), &body::Delegation { from: "x".into(), ..w.delegation() }, &[])),
            &["grant-unknown"],
            true,
        ),
    ]
}

//! Lies about approvals: calls that nobody approved, a yes that is of another call or does not count, and what approvers signed.

use super::*;

pub(super) fn table() -> Vec<(&'static str, Lie, &'static [&'static str], bool)> {
    vec![
        (
            "a call that nobody approved",
            lie(|w| {
                let held = w.held();
                w.add(Some("i"), &w.call(|c| c.approval = Some(held)), &[]);
            }),
            &["approval-unknown"],
            true,
        ),
        (
            "a denied call",
            lie(|w| {
                let call = w.held();
                let signed = json!({ "call": call.to_string() });
                let denied = w.approval(call, &signed, |a| a.decision = "denied".into());
                w.add(Some("i"), &w.call(|c| c.approval = Some(denied)), &[("digest", json!("d1"))]);
            }),
            &["approval-unknown"],
            true,
        ),
        (
            "an approval that serves twice",
            lie(|w| {
                let (_, approval) = w.approved();
                for _ in 0..2 {
                    w.add(Some("i"), &w.call(|c| c.approval = Some(approval)), &[("digest", json!("d1"))]);
                }
            }),
            &["approval-unknown"],
            true,
        ),
        (
            "an approval that served after its end",
            lie(|w| {
                let call = w.held();
                let signed = json!({ "call": call.to_string() });
                let end = Time::new(w.clock.now() + SignedDuration::from_secs(60));
                let approval = w.approval(call, &signed, |a| a.expires = Some(end));
                w.later(600);
                w.add(Some("i"), &w.call(|c| c.approval = Some(approval)), &[("digest", json!("d1"))]);
            }),
            &["approval-expired"],
            true,
        ),
        (
            "the approval of another call",
            lie(|w| {
                let (_, approval) = w.approved();
                let other = |c: &mut body::Call| (c.approval, c.action) = (Some(approval), Some("read".into()));
                w.add(Some("i"), &w.call(other), &[("digest", json!("d1"))]);
            }),
            &["approval-of-other"],
            true,
        ),
        (
            "approved, and another amount sent",
            lie(|w| {
                let (_, approval) = w.approved();
                w.add(Some("i"), &w.call(|c| c.approval = Some(approval)), &[("digest", json!("d2"))]);
            }),
            &["approval-digest"],
            true,
        ),
        (
            "one approver where two are needed",
            lie(|w| {
                let call = w.held_for(2);
                let approval = w.approval(call, &json!({}), |_| ());
                w.add(Some("i"), &w.call(|c| c.approval = Some(approval)), &[("digest", json!("d1"))]);
            }),
            &["approval-unknown"],
            true,
        ),
        (
            "one approver twice",
            lie(|w| {
                let call = w.held_for(2);
                let all: Vec<_> = (0..2).map(|_| w.approval(call, &json!({}), |_| ())).collect();
                let last = |c: &mut body::Call| (c.approval, c.approvals) = (all.last().copied(), all.clone());
                w.add(Some("i"), &w.call(last), &[("digest", json!("d1"))]);
            }),
            &["approval-twice", "approval-unknown"],
            true,
        ),
        (
            "two approvers, and the call names one",
            lie(|w| {
                let call = w.held_for(2);
                w.approval(call, &json!({}), |_| ());
                let last = w.approval(call, &json!({}), |a| (a.approver, a.check) = ("ben".into(), None));
                w.add(Some("i"), &w.call(|c| c.approval = Some(last)), &[("digest", json!("d1"))]);
            }),
            &["approval-short"],
            true,
        ),
        (
            "a yes after a no",
            lie(|w| {
                let call = w.held_for(2);
                w.approval(call, &json!({}), |a| a.decision = "denied".into());
                w.approval(call, &json!({}), |a| (a.approver, a.check) = ("ben".into(), None));
            }),
            &["approval-without-call"],
            true,
        ),
        (
            "the agent approves its own call",
            lie(|w| {
                let call = w.held();
                let approval = w.approval(call, &json!({}), |a| (a.approver, a.check) = ("a".into(), None));
                w.add(Some("i"), &w.call(|c| c.approval = Some(approval)), &[("digest", json!("d1"))]);
            }),
            &["approval-by-agent", "approval-unknown"],
            true,
        ),
        (
            "approved under other rules than it was judged by",
            lie(|w| {
                let call = w.held();
                let other = Hash::of(b"other");
                w.approval(call, &json!({ "policies": [other] }), |a| a.policies = vec![other]);
            }),
            &["approval-policies"],
            true,
        ),
        (
            "an approver's yes under another's name",
            lie(|w| {
                let call = w.held();
                w.approval(call, &json!({}), |a| a.approver = "ben".into());
            }),
            &["statement-says-other"],
            true,
        ),
        (
            "the approver was shown something else",
            lie(|w| {
                let call = w.held();
                let signed = json!({ "shown_sha256": Hash::of(b"other") });
                w.approval_of(call, &signed, &[("shown", json!({ "amount": 1.5 }))], |_| ());
            }),
            &["statement-says-other"],
            true,
        ),
        (
            "an approval that holds longer than was signed",
            lie(|w| {
                let call = w.held();
                let end = |seconds| Time::new(w.clock.now() + SignedDuration::from_secs(seconds));
                w.approval(call, &json!({ "expires": end(60) }), |a| a.expires = Some(end(61)));
            }),
            &["statement-says-other"],
            true,
        ),
        ("a passkey of which there are two", lie(|w| w.with_passkey(&[5, 5])), &["passkey-counter"], true),
        (
            "an approval of nothing",
            lie(|w| _ = w.approval(Hash::of(b"x"), &json!({}), |_| ())),
            &["approval-without-call"],
            true,
        ),
        (
            "the approver signed another call",
            lie(|w| {
                let call = w.held();
                w.approval(call, &json!({ "call": Hash::of(b"other").to_string() }), |_| ());
            }),
            &["statement-says-other"],
            true,
        ),
        (
            "the approver signed another digest",
            lie(|w| {
                let call = w.held();
                w.approval(call, &json!({ "call": call.to_string(), "digest": "d2" }), |_| ());
            }),
            &["statement-says-other"],
            true,
        ),
    ]
}

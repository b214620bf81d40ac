//! Lies about what others stated: the agent's own counts, the API's receipts, and what a person signed of a call.

use countersign_ledger::{checkpoint::Checkpoint, signed_text::SignedText};
use data_encoding::{BASE64, BASE64URL_NOPAD};
use ed25519_dalek::Signer as _;

use super::*;

fn api() -> SigningKey {
    SigningKey::from_bytes(&[6; 32])
}

impl World {
    fn decision(&self, n: u64) {
        let (grant, action) = ("g".into(), "pay".into());
        self.add(Some("i"), &body::Decision { grant, action, n: Some(n), ..Default::default() }, &[]);
    }

    fn answer(&self, n: u64, decisions: u64) {
        let answer = body::Answer { grant: "g".into(), n: Some(n), decisions: Some(decisions), ..Default::default() };
        self.add(Some("i"), &answer, &[]);
    }

    /// A forwarded call, with the API's key known.
    fn forwarded(&self) -> Hash {
        let jwk = Jwk::ed25519(&api().verifying_key());
        let (kid, party) = (jwk.thumbprint(), "bank".into());
        let jwk = Some(serde_json::to_value(&jwk).unwrap());
        let key = body::Key { event: "registered".into(), kid, party, jwk, by: "test".into(), ..Default::default() };
        self.add(None, &key, &[]);
        self.add(Some("i"), &self.call(|call| call.upstream_n = Some(0)), &[])
    }

    fn ended(&self, call: Hash) {
        let outcome = body::Outcome { receipt: Some("received".into()), ..self.outcome(call) };
        self.add(Some("i"), &outcome, &[]);
    }

    /// What the API signs of a call, under a checkpoint.
    fn signed(&self, call: Hash, checkpoint: &Checkpoint) -> SignedText {
        let kid = Jwk::ed25519(&api().verifying_key()).thumbprint();
        let checkpoint = BASE64.encode(checkpoint.as_str().as_bytes());
        let base = format!(
            "\"@status\": 200\n\"countersign-entry\";req: {call}\n\"countersign-checkpoint\";req: :{checkpoint}:\n\
             \"@signature-params\": (\"@status\" \"countersign-entry\";req \"countersign-checkpoint\";req);created=1;keyid=\"{kid}\";tag=\"countersign-receipt\""
        );
        let value = BASE64.encode(&api().sign(base.as_bytes()).to_bytes());
        SignedText { base, value }
    }

    /// Records a receipt; `change` changes the entry and what it discloses.
    fn receipt(&self, call: Hash, text: &SignedText, change: impl FnOnce(&mut body::Receipt, &mut Value)) {
        let kid = Jwk::ed25519(&api().verifying_key()).thumbprint();
        let check = body::Check { alg: "EdDSA".into(), kid, result: "valid".into(), party: Some("bank".into()) };
        let (subject, api, differs) = (self.emma.clone(), "bank".into(), Some(vec![]));
        let mut receipt = body::Receipt { call, subject, api, check, differs, ..Default::default() };
        let mut value = json!({ "status": 200, "signature": text });
        change(&mut receipt, &mut value);
        self.add(Some("i"), &receipt, &[("receipt", value)]);
    }

    /// Records what a person signed of a call that was perhaps sent: that it was executed, whatever they signed.
    fn executed(&self, call: Hash, statement: &Value) {
        self.executed_by(call, statement, Stated::read(statement).unwrap().check("valid", Some("ann")));
    }

    fn executed_by(&self, call: Hash, statement: &Value, check: body::Check) {
        let (subject, by) = (self.emma.clone(), "ann".into());
        let settled =
            body::Settlement { subject, executed: true, by, check: Some(check), ..self.settlement(call, true) };
        self.add(Some("i"), &settled, &[("statement", statement.clone())]);
    }

    /// What an approver's key signs of a call that was perhaps sent, and how it is recorded.
    pub(super) fn settled(&self, upstream_n: u64, signed: impl Fn(&mut Value)) {
        let call = self.perhaps_sent(upstream_n);
        let mut said = json!({ "origin": ORIGIN, "call": call, "executed": true });
        signed(&mut said);
        let statement = Statement::sign("countersign-settlement+jwt", &said, &self.approver).unwrap();
        self.executed(call, &json!(statement));
    }
}

/// What an approver's key signs in these very words.
fn in_words(key: &SigningKey, payload: &str) -> String {
    let kid = Jwk::ed25519(&key.verifying_key()).thumbprint();
    let header = json!({ "alg": "EdDSA", "kid": kid, "typ": "countersign-settlement+jwt" }).to_string();
    let signed = [&header, payload].map(|part| BASE64URL_NOPAD.encode(part.as_bytes())).join(".");
    let signature = BASE64URL_NOPAD.encode(&key.sign(signed.as_bytes()).to_bytes());
    format!("{signed}.{signature}")
}

/// A call with a receipt of which something is untrue.
fn receipted(change: impl Fn(&mut body::Receipt, &mut Value) + Copy + 'static) -> Lie {
    Box::new(move |w: &World| {
        let call = w.forwarded();
        w.receipt(call, &w.signed(call, &w.ledger.head()), change);
        w.ended(call);
    })
}

pub fn table() -> Vec<(&'static str, Lie, &'static [&'static str], bool)> {
    vec![
        (
            "a decision left out of the agent's count",
            lie(|w| [0, 2].iter().for_each(|n| w.decision(*n))),
            &["statement-gap"],
            true,
        ),
        (
            "fewer decisions than the agent says that it made",
            lie(|w| {
                w.decision(0);
                w.answer(0, 2);
            }),
            &["statement-gap"],
            true,
        ),
        (
            "a statement in which a member stands twice",
            lie(|w| {
                let call = w.perhaps_sent(0);
                let said = format!(r#"{{"origin":"{ORIGIN}","call":"{call}","executed":false,"executed":true}}"#);
                let statement = json!(in_words(&w.approver, &said));
                let kid = Jwk::ed25519(&w.approver.verifying_key()).thumbprint();
                let check = body::Check { alg: "EdDSA".into(), kid, result: "valid".into(), party: Some("ann".into()) };
                w.executed_by(call, &statement, check);
            }),
            &["statement-differs"],
            true,
        ),
        ("a receipt left out", lie(|w| w.ended(w.forwarded())), &["receipt-missing"], true),
        (
            "a receipt of no call",
            lie(|w| {
                w.forwarded();
                let none = Hash::of(b"x");
                w.receipt(none, &w.signed(none, &w.ledger.head()), |_, _| ());
            }),
            &["receipt-without-call"],
            true,
        ),
        (
            "a receipt recorded as good that is not",
            receipted(|_, value| value["signature"]["value"] = json!("AAAA")),
            &["statement-differs"],
            true,
        ),
        (
            "a good receipt recorded as bad",
            receipted(|receipt, _| receipt.check.result = "invalid".into()),
            &["statement-differs"],
            true,
        ),
        (
            "a receipt of another party's key",
            receipted(|receipt, _| receipt.api = "shop".into()),
            &["statement-differs"],
            true,
        ),
        (
            "another status than the API signed",
            receipted(|_, value| value["status"] = json!(500)),
            &["receipt-differs"],
            true,
        ),
        (
            "a receipt of another call",
            lie(|w| {
                let call = w.forwarded();
                w.receipt(call, &w.signed(Hash::of(b"x"), &w.ledger.head()), |_, _| ());
                w.ended(call);
            }),
            &["receipt-differs"],
            true,
        ),
        (
            "a receipt that countersigns another history",
            lie(|w| {
                let call = w.forwarded();
                let other = signer().sign(w.ledger.head().size(), Hash::of(b"another root")).unwrap();
                w.receipt(call, &w.signed(call, &other), |_, _| ());
                w.ended(call);
            }),
            &["receipt-checkpoint"],
            true,
        ),
        (
            "a settlement that records the opposite of what was signed",
            lie(|w| w.settled(0, |said| said["executed"] = json!(false))),
            &["statement-says-other"],
            true,
        ),
        (
            "a settlement of which it was not signed whether the call was executed",
            lie(|w| w.settled(0, |said| drop(said.as_object_mut().unwrap().remove("executed")))),
            &["statement-says-other"],
            true,
        ),
        (
            "a settlement signed with a passkey, which signs instructions and approvals only",
            lie(|w| {
                let (authenticator, kid) = w.passkey();
                let call = w.perhaps_sent(0);
                let said = json!({ "origin": ORIGIN, "call": call, "executed": true });
                w.executed(call, &authenticator.state("countersign-settlement+passkey", &kid, &said));
            }),
            &["statement-says-other"],
            true,
        ),
    ]
}

/// The same things, told as they were.
pub fn honest(w: &World) {
    [1, 0, 1, 2].iter().for_each(|n| w.decision(*n));
    w.answer(0, 3);
    let call = w.forwarded();
    w.receipt(call, &w.signed(call, &w.ledger.head()), |_, _| ());
    w.ended(call);
    let other = w.signed(Hash::of(b"x"), &w.ledger.head());
    w.receipt(call, &other, |receipt, _| (receipt.differs, receipt.late) = (Some(vec!["request".into()]), true));
}

#[test]
fn statements_and_receipts_told_as_they_were_are_not_found_fault_with() {
    let dir = tempfile::tempdir().unwrap();
    let w = World::new(dir.path());
    honest(&w);
    let (whole, part) = both(dir.path(), &w);
    assert_eq!((codes(&whole), codes(&part)), (vec![], vec![]), "{whole}\n{part}");
    assert!(whole.counts.statements >= 2);
}

//! Lies about the key that an agent proved to hold: proofs that do not fit, were made for something else, or served before.

use countersign_ledger::possession::{Claims, Possession, of_token};

use super::*;

const NOW: i64 = 1_800_000_000;

fn agent() -> SigningKey {
    SigningKey::from_bytes(&[8; 32])
}

fn kid(key: &SigningKey) -> String {
    Jwk::ed25519(&key.verifying_key()).thumbprint()
}

/// A proof for `POST /bank/pay` with a token, in the agent's own words.
fn claims() -> Claims {
    Claims {
        jti: "j".into(),
        htm: "POST".into(),
        htu: "https://gateway.example/bank/pay".into(),
        iat: NOW,
        ath: Some(of_token("token")),
        nonce: None,
    }
}

impl World {
    /// A grant that is bound to the agent's key.
    fn bound(&self) {
        let grant = json!({ "id": "b", "key": kid(&agent()) });
        self.add(Some("i"), &self.grant("b"), &[("grant", grant)]);
    }

    /// A call under it, with this proof; `change` changes the entry.
    fn proven(&self, proof: &str, change: impl FnOnce(&mut body::Call)) {
        let call = self.call(|call| {
            (call.grant, call.credential) = (Some("b".into()), "dpop".into());
            (call.kid, call.judged) = (Some(kid(&agent())), Some(Time::new(self.clock.now())));
            change(call);
        });
        let possession = json!({ "htm": "POST", "htu": claims().htu, "ath": of_token("token") });
        let request = json!({ "method": "POST", "target": "/pay?dry=0" });
        self.add(Some("i"), &call, &[("proof", json!(proof)), ("possession", possession), ("request", request)]);
    }
}

fn signed(change: impl FnOnce(&mut Claims)) -> String {
    let mut said = claims();
    change(&mut said);
    Possession::sign(&said, &agent()).unwrap()
}

/// A proof that is good, but was made for something else.
fn made_for(change: impl Fn(&mut Claims) + 'static) -> Lie {
    Box::new(move |w: &World| {
        w.bound();
        w.proven(&signed(&change), |_| ());
    })
}

/// Nothing untrue.
pub fn proves(w: &World) {
    w.bound();
    w.proven(&signed(|_| ()), |_| ());
    w.later(30);
    w.proven(&signed(|said| said.jti = "k".into()), |_| ());
}

pub fn table() -> Vec<(&'static str, Lie, &'static [&'static str], bool)> {
    vec![
        (
            "a call without a proof under a grant that is bound to a key",
            lie(|w| {
                w.bound();
                w.add(Some("i"), &w.call(|call| call.grant = Some("b".into())), &[]);
            }),
            &["proof-key"],
            true,
        ),
        (
            "a proof of another key than the grant is bound to",
            lie(|w| {
                w.bound();
                let thief = SigningKey::from_bytes(&[9; 32]);
                let proof = Possession::sign(&claims(), &thief).unwrap();
                w.proven(&proof, |call| call.kid = Some(kid(&thief)));
            }),
            &["proof-key"],
            true,
        ),
        (
            "a proof of another key than the recorded one",
            lie(|w| {
                w.bound();
                let proof = Possession::sign(&claims(), &SigningKey::from_bytes(&[9; 32])).unwrap();
                w.proven(&proof, |_| ());
            }),
            &["proof-key"],
            true,
        ),
        (
            "a proof with a claim changed",
            lie(|w| {
                w.bound();
                let (good, other) = (signed(|said| said.jti = "k".into()), signed(|_| ()));
                let (claims, signature) = (other.rsplit_once('.').unwrap().0, good.rsplit_once('.').unwrap().1);
                w.proven(&format!("{claims}.{signature}"), |_| ());
            }),
            &["proof-invalid"],
            true,
        ),
        ("a proof for another method", made_for(|said| said.htm = "GET".into()), &["proof-says-other"], true),
        (
            "a proof for another address",
            made_for(|said| said.htu = "https://gateway.example/bank/read".into()),
            &["proof-says-other"],
            true,
        ),
        (
            "a proof beside another token",
            made_for(|said| said.ath = Some(of_token("another"))),
            &["proof-says-other"],
            true,
        ),
        ("a proof that was made long before", made_for(|said| said.iat = NOW - 7200), &["proof-says-other"], true),
        (
            "a proof for the address that the gateway says, which is not that of the request",
            lie(|w| {
                w.bound();
                let said = Claims { htu: "https://gateway.example/bank/read".into(), ..claims() };
                let possession = json!({ "htm": "POST", "htu": said.htu, "ath": of_token("token") });
                let request = json!({ "method": "POST", "target": "/pay" });
                let proof = Possession::sign(&said, &agent()).unwrap();
                let call = w.call(|call| (call.grant, call.kid) = (Some("b".into()), Some(kid(&agent()))));
                w.add(Some("i"), &call, &[("proof", json!(proof)), ("possession", possession), ("request", request)]);
            }),
            &["proof-says-other"],
            true,
        ),
        (
            "a proof that served twice",
            lie(|w| {
                w.bound();
                w.proven(&signed(|_| ()), |_| ());
                w.proven(&signed(|_| ()), |_| ());
            }),
            &["proof-replayed"],
            true,
        ),
    ]
}

#[test]
fn proofs_that_fit_are_counted_and_not_found_fault_with() {
    let dir = tempfile::tempdir().unwrap();
    let w = World::new(dir.path());
    proves(&w);
    let (whole, part) = both(dir.path(), &w);
    assert_eq!((codes(&whole), codes(&part)), (vec![], vec![]), "{whole}\n{part}");
    assert_eq!((whole.counts.statements, part.counts.statements), (2, 2));
}

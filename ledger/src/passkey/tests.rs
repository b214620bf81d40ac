use ed25519_dalek::{Signer as _, SigningKey};
use serde_json::json;

use super::{authenticator::Authenticator, *};

const TYP: &str = "countersign-approval+passkey";
const ORIGIN: &str = "https://approve.example";

fn registered(authenticator: &Authenticator) -> Registered {
    Registered {
        jwk: serde_json::from_value(authenticator.jwk()).unwrap(),
        passkey: Some(serde_json::from_value(authenticator.passkey()).unwrap()),
    }
}

fn payload() -> Value {
    json!({ "origin": "ledger.example", "call": "ab", "decision": "approved", "policies": ["b", "a"], "é": "付 5" })
}

fn says(change: impl FnOnce(&mut Authenticator)) -> Result<Value, StatementError> {
    let good = Authenticator::new(3, ORIGIN);
    let mut authenticator = Authenticator::new(3, ORIGIN);
    change(&mut authenticator);
    let key = registered(&good);
    let stated = authenticator.state(TYP, &key.jwk.thumbprint(), &payload());
    Stated::read(&stated).unwrap().verify("countersign-approval", &key)
}

#[test]
fn a_passkey_signs_exactly_a_statement() {
    assert_eq!(says(|_| {}).unwrap(), payload());
    assert_eq!(says(|a| (a.flags, a.extensions) = (0x85, vec![0xa0])).unwrap(), payload());
    assert_eq!(says(|a| a.flags = 0x1d).unwrap(), payload(), "a passkey that is backed up");
}

#[test]
fn what_an_authenticator_must_have_checked_is_checked_again() {
    type Change = fn(&mut Authenticator);
    let cases: [(&str, PasskeyError, Change); 10] = [
        ("nobody there", PasskeyError::NotPresent, |a| a.flags = 0x04),
        ("nobody verified", PasskeyError::NotVerified, |a| a.flags = 0x01),
        ("another site", PasskeyError::RelyingParty, |a| a.rp_id = "evil.example".into()),
        ("another page", PasskeyError::Origin, |a| a.origin = "https://evil.example".into()),
        ("a page in a page", PasskeyError::Embedded, |a| a.cross_origin = true),
        ("another ceremony", PasskeyError::Ceremony, |a| a.ceremony = Some("webauthn.create")),
        ("a payment", PasskeyError::Ceremony, |a| a.ceremony = Some("payment.get")),
        ("backed up, and cannot be", PasskeyError::AuthenticatorData, |a| a.flags = 0x15),
        ("bytes behind", PasskeyError::AuthenticatorData, |a| a.extensions = vec![0]),
        ("extensions, and none there", PasskeyError::AuthenticatorData, |a| a.flags = 0x85),
    ];
    for (name, wanted, change) in cases {
        match says(change) {
            Err(StatementError::Passkey(found)) => assert_eq!(found, wanted, "{name}"),
            other => panic!("{name}: {other:?}"),
        }
    }
}

#[test]
fn nothing_of_a_statement_can_be_changed_or_moved() {
    let authenticator = Authenticator::new(3, ORIGIN);
    let key = registered(&authenticator);
    let good = authenticator.state(TYP, &key.jwk.thumbprint(), &payload());
    let check = |change: &dyn Fn(&mut Value)| {
        let mut stated = good.clone();
        change(&mut stated);
        Stated::read(&stated).and_then(|stated| stated.verify::<Value>("countersign-approval", &key))
    };
    assert!(check(&|_| {}).is_ok());
    let bad = |change: &dyn Fn(&mut Value)| assert!(check(change).is_err());
    bad(&|s| s["payload"]["decision"] = json!("denied"));
    bad(&|s| s["payload"]["policies"] = json!(["a", "b"]));
    bad(&|s| s["payload"]["amount"] = json!(1.5));
    bad(&|s| s["typ"] = json!("countersign-sign-in+passkey"));
    bad(&|s| s["more"] = json!(1));
    bad(&|s| s["signature"] = json!("AAAA"));
    bad(&|s| s["client_data"] = json!(format!("{}AA", s["client_data"].as_str().unwrap())));
    bad(&|s| s["authenticator_data"] = json!("AAAA"));
    bad(&|s| s["client_data"] = json!(BASE64URL_NOPAD.encode(&vec![b' '; MAX_CLIENT_DATA_BYTES + 1])));
    let other = registered(&Authenticator::new(4, ORIGIN));
    let stated = Stated::read(&good).unwrap();
    assert!(matches!(stated.verify::<Value>("countersign-approval", &other), Err(StatementError::Signature(_))));
    assert!(matches!(stated.verify::<Value>("countersign-instruction", &key), Err(StatementError::Type { .. })));
}

#[test]
fn a_key_signs_in_its_own_form_only() {
    let authenticator = Authenticator::new(3, ORIGIN);
    let key = registered(&authenticator);
    let stated = Stated::read(&authenticator.state(TYP, "k", &payload())).unwrap();
    let plain = Registered { passkey: None, ..key.clone() };
    assert!(matches!(stated.verify::<Value>("countersign-approval", &plain), Err(StatementError::Form)));
    let signer = SigningKey::from_bytes(&[1; 32]);
    let jws = json!(Statement::sign("countersign-approval+jwt", &payload(), &signer).unwrap());
    let jws = Stated::read(&jws).unwrap();
    let mut key = Registered { jwk: Jwk::ed25519(&signer.verifying_key()), ..key };
    assert!(matches!(jws.verify::<Value>("countersign-approval", &key), Err(StatementError::Form)));
    key.passkey = None;
    assert_eq!(jws.verify::<Value>("countersign-approval", &key).unwrap(), payload());
}

#[test]
fn an_ed25519_passkey_signs_too() {
    let signer = SigningKey::from_bytes(&[9; 32]);
    let template = Authenticator::new(3, ORIGIN);
    let key = Registered { jwk: Jwk::ed25519(&signer.verifying_key()), ..registered(&template) };
    let mut stated = template.state(TYP, &key.jwk.thumbprint(), &payload());
    let decode = |name: &str| BASE64URL_NOPAD.decode(stated[name].as_str().unwrap().as_bytes()).unwrap();
    let signed = [decode("authenticator_data"), Sha256::digest(decode("client_data")).to_vec()].concat();
    stated["signature"] = json!(BASE64URL_NOPAD.encode(&signer.sign(&signed).to_bytes()));
    let stated = Stated::read(&stated).unwrap();
    assert_eq!(stated.verify::<Value>("countersign-approval", &key).unwrap(), payload());
}

#[test]
fn a_new_passkey_is_taken_for_its_challenge_site_and_page_only() {
    let challenge = [5; 32];
    let make = |change: &dyn Fn(&mut Authenticator)| {
        let mut authenticator = Authenticator::new(3, ORIGIN);
        change(&mut authenticator);
        let made: Registration = serde_json::from_value(authenticator.create(&challenge)).unwrap();
        made.verify(&challenge, "approve.example", ORIGIN)
    };
    let authenticator = Authenticator::new(3, ORIGIN);
    let (jwk, passkey) = make(&|_| {}).unwrap();
    assert_eq!((json!(jwk), json!(passkey)), (authenticator.jwk(), authenticator.passkey()));
    assert_eq!(make(&|a| a.flags = 0x41).unwrap_err(), PasskeyError::NotVerified);
    assert_eq!(make(&|a| a.rp_id = "example".into()).unwrap_err(), PasskeyError::RelyingParty);
    assert_eq!(make(&|a| a.ceremony = Some("webauthn.get")).unwrap_err(), PasskeyError::Ceremony);
    assert_eq!(make(&|a| a.extensions = vec![1]).unwrap_err(), PasskeyError::AuthenticatorData);
    assert_eq!(make(&|a| a.credential = Vec::new()).unwrap_err(), PasskeyError::AuthenticatorData);
    let made: Registration = serde_json::from_value(authenticator.create(&[6; 32])).unwrap();
    assert_eq!(made.verify(&challenge, "approve.example", ORIGIN).unwrap_err(), PasskeyError::Challenge);
}

#[test]
fn a_counter_that_stands_still_shows_a_copy() {
    for (last, counter, cloned) in
        [(0, 0, false), (0, 1, false), (4, 5, false), (4, 4, true), (4, 3, true), (4, 0, true)]
    {
        assert_eq!(is_cloned(last, counter), cloned, "{last} {counter}");
    }
}

//! A call signed by a gateway, its receipt signed by an API, and what a change of either does.

use countersign_ledger::checkpoint::CheckpointSigner;
use ed25519_dalek::SigningKey;
use http::{Request, Uri};
use sha2::{Digest as _, Sha256};

use super::*;
use crate::request::{self, Facts};

const NOW: i64 = 1_800_000_000;

fn signer(seed: u8) -> Signer {
    Signer::new(SigningKey::from_bytes(&[seed; 32]))
}

fn call(path: &str, content: Option<&[u8]>) -> Asked {
    call_with("a-nonce", path, content)
}

fn call_with(nonce: &str, path: &str, content: Option<&[u8]>) -> Asked {
    let uri: Uri = format!("http://API.example:80{path}").parse().unwrap();
    let request = Request::post(uri).header("content-type", "application/json").body(()).unwrap();
    let mut asked = Asked::new(request.method(), request.uri(), request.headers());
    let ledger = CheckpointSigner::new("bank.example/agents", SigningKey::from_bytes(&[1; 32])).unwrap();
    let (entry, checkpoint) = (Hash::of(b"call"), ledger.sign(7, Hash::of(b"root")).unwrap());
    let facts = Facts {
        entry: &entry,
        checkpoint: &checkpoint,
        n: 3,
        agent: "assistant é",
        directory: "https://gateway.example",
        nonce,
    };
    let content = content.map(Sha256::digest);
    request::sign(&mut asked, &facts, content.as_deref(), NOW, &signer(2)).unwrap();
    asked
}

/// As a server of HTTP/1.1 sees it.
fn arrived(asked: &Asked) -> Asked {
    let mut headers = asked.headers.clone();
    headers.insert("host", asked.authority.parse().unwrap());
    Asked::new(&asked.method, &asked.target().parse().unwrap(), &headers)
}

fn answer(asked: &Asked, in_trailers: bool) -> HeaderMap {
    let execution = Execution { id: Some("tx".into()), request_sha256: Some(Hash::of(b"{}")), ..Execution::default() };
    let mut fields = HeaderMap::new();
    let digest = Sha256::digest(b"done");
    let answered = Answered { status: 201, content: Content::Whole(&digest), execution: &execution, in_trailers };
    sign(asked, &answered, &mut fields, NOW, &signer(3)).unwrap();
    fields
}

fn sent(asked: &Asked) -> Sent<'_> {
    Sent {
        entry: Hash::of(b"call"),
        asked: Some(asked),
        content: Some(Hash::of(b"{}")),
        status: Some(201),
        answer: Some(Hash::of(b"done")),
        answer_is_empty: false,
    }
}

#[test]
fn a_call_names_its_agent_and_its_receipt_fits_on_both_sides_in_head_and_trailers() {
    let asked = call("/pay?x=1", Some(b"{}"));
    let there = arrived(&asked);
    let key = |keyid: &str| Some(signer(2)).filter(|known| known.keyid() == keyid).map(|known| known.jwk().clone());
    let caller = request::caller(&there, NOW + 10, key).unwrap().unwrap();
    assert_eq!((caller.agent.as_str(), caller.n, caller.entry), ("assistant é", 3, Hash::of(b"call")));
    assert_eq!((caller.content, caller.directory.as_str()), (Some(Hash::of(b"{}")), "https://gateway.example"));
    for in_trailers in [false, true] {
        let (fields, none) = (answer(&there, in_trailers), HeaderMap::new());
        let (headers, trailers) = if in_trailers { (&none, Some(&fields)) } else { (&fields, None) };
        let receipt = Receipt::find(&asked, Answer { status: 201, headers, trailers }).unwrap().unwrap();
        assert!(receipt.signed().fits(signer(3).jwk()) && !receipt.signed().fits(signer(2).jwk()));
        assert_eq!(receipt.differs(&sent(&asked)), Vec::<&str>::new());
        assert_eq!(receipt.signed().checkpoint().unwrap().size(), 7);
        assert_eq!(receipt.signed().request_signature_sha256(), Some(caller.signature_sha256));
        let value = receipt.to_value();
        assert_eq!(value["request"]["target"], "/pay?x=1");
        assert_eq!((&value["status"], &value["execution"]["id"]), (&json!(201), &json!("tx")));
        // What was kept says the same.
        let text = serde_json::from_value(value["signature"].clone()).unwrap();
        assert_eq!(Receipt::read(&text).unwrap().to_value(), value);
    }
}

#[test]
fn what_differs_is_named() {
    let asked = call("/pay", Some(b"{}"));
    let fields = answer(&arrived(&asked), false);
    let head = Answer { status: 201, headers: &fields, trailers: None };
    let text = Receipt::find(&asked, head).unwrap().unwrap().signed().text().clone();
    let receipt = Receipt::read(&text).unwrap();
    let other = call("/pay?x=2", Some(b"{}"));
    for (sent, wanted) in [
        (Sent { entry: Hash::of(b"another call"), ..sent(&asked) }, "request"),
        (Sent { content: Some(Hash::of(b"{1}")), ..sent(&asked) }, "request"),
        (Sent { asked: Some(&other), ..sent(&asked) }, "request"),
        (Sent { answer: Some(Hash::of(b"other")), ..sent(&asked) }, "response"),
        (Sent { status: Some(200), ..sent(&asked) }, "status"),
    ] {
        assert_eq!(receipt.differs(&sent), [wanted]);
    }
    // Another status than the one that was signed is another text, so that the signature does not fit.
    let changed = Answer { status: 200, headers: &fields, trailers: None };
    assert!(!Receipt::find(&asked, changed).unwrap().unwrap().signed().fits(signer(3).jwk()));
}

#[test]
fn a_receipt_that_leaves_out_what_it_must_cover_says_so() {
    let asked = call("/pay", None);
    let mut fields = HeaderMap::new();
    let execution = Execution::default();
    let answered = Answered { status: 201, content: Content::Unsaid, execution: &execution, in_trailers: false };
    sign(&arrived(&asked), &answered, &mut fields, NOW, &signer(3)).unwrap();
    let head = Answer { status: 201, headers: &fields, trailers: None };
    let receipt = Receipt::find(&asked, head).unwrap().unwrap();
    assert_eq!(receipt.differs(&sent(&asked)), ["unsigned"]);
    let empty = Sent { answer: Some(Hash::of(b"")), answer_is_empty: true, ..sent(&asked) };
    assert_eq!(receipt.differs(&empty), Vec::<&str>::new());
    let broken_off = Sent { answer: None, ..sent(&asked) };
    assert_eq!(receipt.differs(&broken_off), Vec::<&str>::new());
}

#[test]
fn a_caller_is_believed_with_the_gateways_key_within_its_time_and_for_its_own_request_only() {
    use request::CallerError::{Invalid, Time, UnknownKey};
    let (asked, key) = (call("/pay", Some(b"{}")), |_: &str| Some(signer(2).jwk().clone()));
    let there = arrived(&asked);
    assert!(matches!(request::caller(&there, NOW, |_| None), Err(UnknownKey(_))));
    assert!(matches!(request::caller(&there, NOW, |_| Some(signer(9).jwk().clone())), Err(Invalid(_))));
    assert!(matches!(request::caller(&there, NOW + 1000, key), Err(Time { .. })));
    assert!(matches!(request::caller(&there, NOW - 1000, key), Err(Time { .. })));
    let elsewhere = Asked { path: "/pay/all".into(), ..there.clone() };
    assert!(matches!(request::caller(&elsewhere, NOW, key), Err(Invalid(_))));
    let mut person = there;
    person.headers.remove("signature-input");
    assert_eq!(request::caller(&person, NOW, key), Ok(None));
}

#[test]
fn the_same_request_signed_twice_within_a_second_bears_two_signatures_that_both_hold() {
    let key = |_: &str| Some(signer(2).jwk().clone());
    let of = |nonce| request::caller(&arrived(&call_with(nonce, "/pay", Some(b"{}"))), NOW, key).unwrap().unwrap();
    let (one, other, again) = (of("a"), of("b"), of("a"));
    assert_eq!(one.entry, other.entry);
    assert!(one.signature_sha256 != other.signature_sha256 && one.text_sha256 != other.text_sha256);
    assert_eq!(one, again, "whoever sends it again sends the same");
}

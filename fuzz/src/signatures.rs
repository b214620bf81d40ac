//! HTTP message signatures: what comes from an API, or to one, as header fields; and the texts that are kept of them.

use countersign_ledger::{Hash, checkpoint::CheckpointSigner, signed_text::SignedText};
use countersign_receipt::{
    Answer, Asked, Execution, Receipt, Signer, directory,
    receipt::{Answered, Content, sign},
    request::{self, Facts},
};
use ed25519_dalek::SigningKey;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};

const NOW: i64 = 1_800_000_000;

fn signer(seed: u8) -> Signer {
    Signer::new(SigningKey::from_bytes(&[seed; 32]))
}

/// A request that a gateway signed.
fn asked() -> Asked {
    let uri = Uri::from_static("http://api.example/pay?x=1");
    let mut asked = Asked::new(&Method::POST, &uri, &HeaderMap::new());
    let entry = Hash::of(b"call");
    if let Ok(ledger) = CheckpointSigner::new("fuzz.example", SigningKey::from_bytes(&[1; 32]))
        && let Ok(checkpoint) = ledger.sign(3, Hash::of(b"root"))
    {
        let facts = Facts {
            entry: &entry,
            checkpoint: &checkpoint,
            n: 0,
            agent: "a",
            directory: "http://gateway.example",
            nonce: "n",
        };
        let _ = request::sign(&mut asked, &facts, Some(&[7; 32]), NOW, &signer(2));
    }
    asked
}

fn lines(fields: &HeaderMap) -> Vec<u8> {
    let line = |(name, value): (&HeaderName, &HeaderValue)| format!("{name}: {}\n", value.to_str().unwrap_or_default());
    fields.iter().map(line).collect::<String>().into_bytes()
}

fn fields(input: &[u8]) -> HeaderMap {
    let lines = input.split(|byte| *byte == b'\n').filter_map(|line| {
        let at = line.iter().position(|byte| *byte == b':')?;
        let (name, value) = (line.get(..at)?, line.get(at + 1..)?);
        Some((HeaderName::from_bytes(name).ok()?, HeaderValue::from_bytes(value.trim_ascii()).ok()?))
    });
    let mut fields = HeaderMap::new();
    for (name, value) in lines.take(64) {
        fields.append(name, value);
    }
    fields
}

pub(crate) fn requests() -> Vec<Vec<u8>> {
    vec![lines(&asked().headers)]
}

/// Only what the gateway signed names a caller.
pub(crate) fn request(input: &[u8]) {
    let mut changed = asked();
    changed.headers = fields(input);
    let known = signer(2);
    let key = |keyid: &str| Some(known.jwk().clone()).filter(|_| keyid == known.keyid());
    if let Ok(Some(caller)) = request::caller(&changed, NOW, key) {
        assert_eq!((caller.agent.as_str(), caller.n, caller.entry), ("a", 0, Hash::of(b"call")));
    }
}

pub(crate) fn receipts() -> Vec<Vec<u8>> {
    let execution = Execution { id: Some("tx".into()), changed: Some(1), ..Execution::default() };
    let answered =
        Answered { status: 201, content: Content::Whole(&[9; 32]), execution: &execution, in_trailers: false };
    let mut fields = HeaderMap::new();
    let _ = sign(&asked(), &answered, &mut fields, NOW, &signer(3));
    vec![lines(&fields)]
}

/// Only what the API signed is its word, and what is kept of a receipt reads as it did.
pub(crate) fn receipt(input: &[u8]) {
    let (asked, headers) = (asked(), fields(input));
    let Ok(Some(receipt)) = Receipt::find(&asked, Answer { status: 201, headers: &headers, trailers: None }) else {
        return;
    };
    let kept = Receipt::read(receipt.signed().text()).map(|kept| kept.to_value()).ok();
    assert_eq!(kept, Some(receipt.to_value()));
    if receipt.signed().fits(signer(3).jwk()) {
        assert_eq!(receipt.execution().id.as_deref(), Some("tx"));
    }
}

pub(crate) fn texts() -> Vec<Vec<u8>> {
    let find = |fields: Vec<u8>| {
        let headers = self::fields(&fields);
        let answer = Answer { status: 201, headers: &headers, trailers: None };
        let receipt = Receipt::find(&asked(), answer).ok()??;
        serde_json::to_vec(receipt.signed().text()).ok()
    };
    receipts().into_iter().filter_map(find).collect()
}

/// A text is read into as many lines as it has.
pub(crate) fn text(input: &[u8]) {
    let Ok(text) = serde_json::from_slice::<SignedText>(input) else { return };
    if let Ok(signed) = text.read() {
        let _ = (signed.entry(), signed.checkpoint(), signed.content_sha256(), signed.request_signature_sha256());
        assert!(!signed.keyid().is_empty());
    }
}

pub(crate) fn executions() -> Vec<Vec<u8>> {
    vec![b"id=\"tx\", queue_ms=3, deadlock, retries=2, exception=%\"caf%c3%a9\", replay=?0, request=:AA==:".to_vec()]
}

/// What is understood is written as it is read.
pub(crate) fn execution(input: &[u8]) {
    let Some(said) = std::str::from_utf8(input).ok().and_then(Execution::from_field) else { return };
    if let Some(field) = said.to_field() {
        assert_eq!(Execution::from_field(&field), Some(said));
    }
}

pub(crate) fn lists() -> Vec<Vec<u8>> {
    vec![directory::list(&[signer(1).jwk().clone()]).to_string().into_bytes()]
}

/// Every key that is read can check signatures.
pub(crate) fn list(input: &[u8]) {
    let keys = std::str::from_utf8(input).ok().and_then(directory::read);
    assert!(keys.into_iter().flatten().all(|jwk| jwk.validate().is_ok()));
}

//! A receipt: the API's signature over its answer and over the request that it answers (RFC 9421 §2.4).

use countersign_ledger::{
    Hash,
    signed_text::{RECEIPT_TAG, REQUEST_LABEL, Signed, SignedText, SignedTextError, sha256},
};
use http::{HeaderMap, HeaderValue};
use serde_json::{Map, Value, json};

use crate::{
    content_digest,
    execution::Execution,
    message::{Answer, Asked, Message, field},
    names,
    signature::{Signature, SignatureError, Signer, Terms, find},
};

/// Where an API gives a receipt again, by the SHA-256 of the request's signature or by the call's entry, both in hex.
pub const WELL_KNOWN: &str = "/.well-known/countersign/receipts/";

/// The label that receipts of ours have; others may have another.
const LABEL: &str = "receipt";

/// An answer's content, as far as its receipt says something of it.
#[derive(Debug, Clone, Copy)]
pub enum Content<'c> {
    /// Whole, with its SHA-256.
    Whole(&'c [u8]),
    /// None, or not whole: nothing is said of it.
    Unsaid,
}

/// What an API answers.
#[derive(Debug, Clone, Copy)]
pub struct Answered<'a> {
    /// The status.
    pub status: u16,
    /// The content.
    pub content: Content<'a>,
    /// How it was executed.
    pub execution: &'a Execution,
    /// Whether the head is gone, so that the receipt stands in the trailers.
    pub in_trailers: bool,
}

/// Signs an answer. Digest, execution and signature go into `fields`: its head, or its trailers.
///
/// # Errors
/// [`SignatureError`], when the request was not signed by a gateway.
pub fn sign(
    asked: &Asked,
    answered: &Answered<'_>,
    fields: &mut HeaderMap,
    now: i64,
    signer: &Signer,
) -> Result<Signature, SignatureError> {
    let Answered { status, content, execution, in_trailers } = *answered;
    let mut parts = vec!["\"@status\"".to_owned()];
    let mut put = |name: http::HeaderName, value: String| {
        parts.push(format!("\"{name}\"{}", if in_trailers { ";tr" } else { "" }));
        let value = HeaderValue::from_str(&value).map_err(|_| SignatureError::Value(value))?;
        fields.insert(name, value);
        Ok::<_, SignatureError>(())
    };
    if let Content::Whole(sha256) = content {
        put(names::CONTENT_DIGEST, content_digest(sha256))?;
    }
    if let Some(value) = execution.to_field() {
        put(names::EXECUTION, value)?;
    }
    parts.extend(["@method", "@authority", "@path", "@query"].map(|name| format!("\"{name}\";req")));
    let asked_for = [names::CONTENT_DIGEST, names::ENTRY, names::CHECKPOINT, names::N];
    parts.extend(
        asked_for.iter().filter(|name| asked.headers.contains_key(*name)).map(|name| format!("\"{name}\";req")),
    );
    parts.push(format!("\"signature\";req;key=\"{REQUEST_LABEL}\""));
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let terms = Terms { label: LABEL, tag: RECEIPT_TAG, created: now, expires: None, nonce: None };
    let (head, trailers) = match in_trailers {
        true => (&HeaderMap::new(), Some(&*fields)),
        false => (&*fields, None),
    };
    let message = Message { asked, answer: Some(Answer { status, headers: head, trailers }) };
    let signature = Signature::make(&message, &parts, &terms, signer)?;
    signature.put(fields);
    Ok(signature)
}

/// What the gateway knows of a call, to compare a receipt with.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sent<'s> {
    /// The call's entry.
    pub entry: Hash,
    /// The request as it was sent, while it is known.
    pub asked: Option<&'s Asked>,
    /// SHA-256 of the content that was sent, if it was sent whole.
    pub content: Option<Hash>,
    /// The status that came.
    pub status: Option<u16>,
    /// SHA-256 of the content that came, if it came whole.
    pub answer: Option<Hash>,
    /// Whether that content is empty.
    pub answer_is_empty: bool,
}

/// A receipt, read; not believed before its signature is checked.
#[derive(Debug, Clone)]
pub struct Receipt {
    signed: Signed,
    execution: Execution,
}

impl Receipt {
    /// The receipt in an answer's head, or in its trailers once they are there. `None` when there is none.
    ///
    /// # Errors
    /// [`SignatureError`], when there is one that cannot be read.
    pub fn find(asked: &Asked, answer: Answer<'_>) -> Result<Option<Receipt>, SignatureError> {
        let fields = answer.trailers.unwrap_or(answer.headers);
        let message = Message { asked, answer: Some(answer) };
        Ok(find(fields, RECEIPT_TAG, &message)?.map(Receipt::of))
    }

    /// A receipt that was kept, or fetched afterwards.
    ///
    /// # Errors
    /// [`SignedTextError`].
    pub fn read(text: &SignedText) -> Result<Receipt, SignedTextError> {
        text.read().map(Receipt::of)
    }

    fn of(signed: Signed) -> Receipt {
        let execution = signed.of_answer("countersign-execution").and_then(Execution::from_field).unwrap_or_default();
        Receipt { signed, execution }
    }

    /// What is signed, to be checked against the key that it names.
    pub const fn signed(&self) -> &Signed {
        &self.signed
    }

    /// What the API says of the execution.
    pub const fn execution(&self) -> &Execution {
        &self.execution
    }

    /// In what the receipt differs from what the gateway knows: `request`, `response`, `status`; `unsigned` when it leaves out what it must cover. Empty
    /// when it fits.
    pub fn differs(&self, sent: &Sent<'_>) -> Vec<&'static str> {
        let signed = &self.signed;
        let mut differs = Vec::new();
        if self.is_of_another_request(sent) {
            differs.push("request");
        }
        if signed.content_sha256().zip(sent.answer).is_some_and(|(said, came)| said != came) {
            differs.push("response");
        }
        if signed.status().zip(sent.status).is_some_and(|(said, came)| said != came) {
            differs.push("status");
        }
        if !self.covers(sent) {
            differs.push("unsigned");
        }
        differs
    }

    fn is_of_another_request(&self, sent: &Sent<'_>) -> bool {
        let signed = &self.signed;
        let other = |name: &str, value: Option<String>| {
            signed.line(&format!("\"{name}\";req")).zip(value).is_some_and(|(said, sent)| said != sent)
        };
        let asked = |of: fn(&Asked) -> String| sent.asked.map(of);
        let read = self.execution.request_sha256.or_else(|| sha256(signed.line("\"content-digest\";req")?));
        other("countersign-entry", Some(sent.entry.to_string()))
            || other("@method", asked(|asked| asked.method.to_string()))
            || other("@path", asked(|asked| asked.path.clone()))
            || other("@query", asked(|asked| format!("?{}", asked.query.as_deref().unwrap_or_default())))
            || other("@request-target", asked(Asked::target))
            || read.zip(sent.content).is_some_and(|(read, sent)| read != sent)
            || signed
                .request_signature_sha256()
                .zip(sent.asked.and_then(signature_sha256))
                .is_some_and(|(said, sent)| said != sent)
    }

    fn covers(&self, sent: &Sent<'_>) -> bool {
        let signed = &self.signed;
        let request = |name: &str| signed.line(&format!("\"{name}\";req")).is_some();
        let digest = sent.asked.is_none_or(|asked| !asked.headers.contains_key(names::CONTENT_DIGEST));
        let answer = sent.answer.is_none() || sent.answer_is_empty || signed.content_sha256().is_some();
        signed.status().is_some()
            && answer
            && request("@method")
            && ((request("@path") && request("@query")) || request("@request-target"))
            && request("countersign-entry")
            && (digest || request("content-digest"))
            && signed.request_signature_sha256().is_some()
    }

    /// What the vault keeps: what the receipt says, and what was signed.
    pub fn to_value(&self) -> Value {
        let signed = &self.signed;
        let hex = |hash: Option<Hash>| hash.map(|hash| json!(hash));
        let line = |name: &str| signed.line(&format!("\"{name}\";req")).map(str::to_owned);
        let target = line("@request-target").or_else(|| {
            let query = line("@query").filter(|query| query != "?").unwrap_or_default();
            line("@path").map(|path| format!("{path}{query}"))
        });
        let request = members([
            ("method", line("@method").map(Value::from)),
            ("target", target.map(Value::from)),
            ("content_digest", hex(line("content-digest").as_deref().and_then(sha256))),
            ("signature_sha256", hex(signed.request_signature_sha256())),
        ]);
        members([
            ("status", signed.status().map(Value::from)),
            ("content_digest", hex(signed.content_sha256())),
            ("request", Some(request)),
            ("execution", Some(json!(self.execution))),
            ("signature", Some(json!(signed.text()))),
        ])
    }
}

fn members<const N: usize>(members: [(&str, Option<Value>); N]) -> Value {
    let known = members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    Value::Object(known.collect::<Map<_, _>>())
}

/// SHA-256 of the gateway's signature on a request.
pub fn signature_sha256(asked: &Asked) -> Option<Hash> {
    let signatures: sfv::Dictionary =
        sfv::Parser::new(&field(&asked.headers, names::SIGNATURE.as_str())?).parse().ok()?;
    match signatures.get(REQUEST_LABEL) {
        Some(sfv::ListEntry::Item(item)) => item.bare_item.as_byte_sequence().map(Hash::of),
        _ => None,
    }
}

#[cfg(test)]
mod tests;

//! What the gateway adds to a request that it forwards: who calls, which entry of which ledger the call is, and its signature over it.
//!
//! The form is that of Web Bot Auth (draft-ietf-webbotauth-httpsig-protocol): the tag `web-bot-auth`, and a `Signature-Agent` whose member names the
//! directory of the gateway's keys; its parameter `agent` names the agent.

use countersign_ledger::{
    Hash,
    checkpoint::Checkpoint,
    signed_text::{REQUEST_LABEL, Signed, sha256},
    statement::Jwk,
};
use data_encoding::BASE64;
use http::HeaderValue;
use sfv::{BareItem, FieldType as _, Item, ListEntry, Parser};

use crate::{
    content_digest,
    message::{Asked, Message, field},
    names,
    signature::{Signature, SignatureError, Signer, Terms, find, string},
};

/// The tag of Web Bot Auth.
pub const TAG: &str = "web-bot-auth";

/// How long a signature may be used, in seconds: as long as a connection may take, and clocks may differ.
pub const LIFE_SECONDS: i64 = 300;

/// What the gateway says of a call.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'f> {
    /// The call's entry.
    pub entry: &'f Hash,
    /// A checkpoint that covers it.
    pub checkpoint: &'f Checkpoint,
    /// Its number among the calls forwarded to this API.
    pub n: u64,
    /// The agent.
    pub agent: &'f str,
    /// Where the gateway's keys are listed: an origin, such as `https://gateway.example`.
    pub directory: &'f str,
    /// A random text, another one each time that a request is sent: else a call that is sent twice within a second bears the same signature twice, and
    /// looks like one that somebody captured.
    pub nonce: &'f str,
}

/// What is covered: with content that is known, its digest too.
const PARTS: [&str; 9] = [
    "\"@method\"",
    "\"@authority\"",
    "\"@path\"",
    "\"@query\"",
    "\"countersign-entry\"",
    "\"countersign-checkpoint\"",
    "\"countersign-n\"",
    "\"signature-agent\";key=\"countersign\"",
    "\"content-digest\"",
];

/// Adds the gateway's fields to a request and signs it. `content` is the SHA-256 of the content, where it is known before it is sent; without one
/// the signature says nothing of the content.
///
/// # Errors
/// [`SignatureError`], when a value cannot stand in a field.
pub fn sign(
    asked: &mut Asked,
    facts: &Facts<'_>,
    content: Option<&[u8]>,
    now: i64,
    signer: &Signer,
) -> Result<Signature, SignatureError> {
    let mut parts = PARTS.to_vec();
    let mut put = |name, value: String| {
        let value = HeaderValue::from_str(&value).map_err(|_| SignatureError::Value(value))?;
        asked.headers.insert(name, value);
        Ok::<_, SignatureError>(())
    };
    put(names::ENTRY, facts.entry.to_string())?;
    put(names::CHECKPOINT, format!(":{}:", BASE64.encode(facts.checkpoint.as_str().as_bytes())))?;
    put(names::N, facts.n.to_string())?;
    put(names::SIGNATURE_AGENT, signature_agent(facts)?)?;
    match content {
        Some(sha256) => put(names::CONTENT_DIGEST, content_digest(sha256))?,
        None => {
            parts.pop();
        }
    }
    let (expires, nonce) = (Some(now + LIFE_SECONDS), Some(facts.nonce));
    let terms = Terms { label: REQUEST_LABEL, tag: TAG, created: now, expires, nonce };
    let message = Message { asked, answer: None };
    let signature = Signature::make(&message, &parts, &terms, signer)?;
    signature.put(&mut asked.headers);
    Ok(signature)
}

/// `countersign="https://gateway.example";agent="assistant"`.
fn signature_agent(facts: &Facts<'_>) -> Result<String, SignatureError> {
    let mut item = Item::new(string(facts.directory)?);
    let agent = match string(facts.agent) {
        Ok(agent) => agent,
        // Names that are not plain ASCII (RFC 9651 §3.3.8).
        Err(_) => BareItem::DisplayString(facts.agent.to_owned()),
    };
    item.params.insert(sfv::key_ref("agent").to_owned(), agent);
    Ok(format!("{REQUEST_LABEL}={}", item.serialize()))
}

/// Who calls, as a gateway signed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The agent, as the gateway knows it.
    pub agent: String,
    /// Where the gateway's keys are listed.
    pub directory: String,
    /// The key that signed.
    pub keyid: String,
    /// The call's entry in the gateway's ledger.
    pub entry: Hash,
    /// The call's number among those forwarded to this API: dense, so that one that did not arrive is missed.
    pub n: u64,
    /// SHA-256 that the content must have.
    pub content: Option<Hash>,
    /// When it was signed, in seconds since 1970.
    pub created: i64,
    /// Until when the signature holds.
    pub expires: i64,
    /// SHA-256 of the signature: by this and by the entry the receipt is found later.
    pub signature_sha256: Hash,
    /// SHA-256 of the text that was signed. A signature may be written in two ways where the key is one of P-256, its text may not.
    pub text_sha256: Hash,
}

/// Why a request is not believed to be a gateway's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CallerError {
    /// The signature cannot be read.
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// A part that must be signed is not.
    #[error("the signature does not cover `{0}`")]
    Unsigned(&'static str),
    /// A value that is not what it must be.
    #[error("`{0}` is not as it must be")]
    Malformed(&'static str),
    /// Nobody knows the key.
    #[error("the key `{0}` is none of the gateway's")]
    UnknownKey(String),
    /// The signature does not fit.
    #[error("the signature of key `{0}` does not fit the request")]
    Invalid(String),
    /// Too old, or not yet.
    #[error("the signature is not of now: it holds from {created} to {expires}, in seconds since 1970")]
    Time {
        /// From when.
        created: i64,
        /// Until when.
        expires: i64,
    },
}

/// By how many seconds clocks may differ.
pub const SKEW_SECONDS: i64 = 60;

/// Who calls, if a gateway says so: `None` when the request bears no signature of the kind, as a person's does not.
///
/// # Errors
/// [`CallerError`], when it bears one that is not to be believed.
pub fn caller(asked: &Asked, now: i64, key: impl Fn(&str) -> Option<Jwk>) -> Result<Option<Caller>, CallerError> {
    let message = Message { asked, answer: None };
    let Some(signed) = find(&asked.headers, TAG, &message)? else { return Ok(None) };
    for part in PARTS.iter().filter(|part| **part != "\"content-digest\"") {
        if signed.line(part).is_none() {
            return Err(CallerError::Unsigned(part));
        }
    }
    // Content that comes with a digest must be what was signed.
    let digest = field(&asked.headers, names::CONTENT_DIGEST.as_str());
    let content = match (signed.line("\"content-digest\""), digest) {
        (Some(digest), _) => Some(sha256(digest).ok_or(CallerError::Malformed("content-digest"))?),
        (None, _) => None,
    };
    let keyid = signed.keyid().to_owned();
    let jwk = key(&keyid).ok_or_else(|| CallerError::UnknownKey(keyid.clone()))?;
    if !signed.fits(&jwk) {
        return Err(CallerError::Invalid(keyid));
    }
    let (created, expires) = (signed.created().unwrap_or(i64::MAX), signed.expires().unwrap_or(i64::MIN));
    if created.saturating_sub(SKEW_SECONDS) > now || expires.saturating_add(SKEW_SECONDS) < now {
        return Err(CallerError::Time { created, expires });
    }
    let (agent, directory) = agent(&signed).ok_or(CallerError::Malformed("signature-agent"))?;
    Ok(Some(Caller {
        agent,
        directory,
        keyid,
        entry: parse(&signed, "\"countersign-entry\"").ok_or(CallerError::Malformed("countersign-entry"))?,
        n: parse(&signed, "\"countersign-n\"").ok_or(CallerError::Malformed("countersign-n"))?,
        content,
        created,
        expires,
        signature_sha256: signed.signature_sha256(),
        text_sha256: Hash::of(signed.text().base.as_bytes()),
    }))
}

fn parse<T: std::str::FromStr>(signed: &Signed, part: &str) -> Option<T> {
    signed.line(part)?.parse().ok()
}

fn agent(signed: &Signed) -> Option<(String, String)> {
    let line = signed.line("\"signature-agent\";key=\"countersign\"")?;
    let mut list: sfv::List = Parser::new(line).parse().ok()?;
    let Some(ListEntry::Item(item)) = list.pop() else { return None };
    let directory = item.bare_item.as_string()?.as_str().to_owned();
    let agent = item.params.get("agent")?;
    let agent =
        agent.as_string().map(|text| text.as_str().to_owned()).or_else(|| agent.as_display_string().cloned())?;
    Some((agent, directory))
}

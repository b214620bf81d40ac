//! Signing a message, and reading the signatures of one (RFC 9421 §3 and §4).

use countersign_ledger::{
    signed_text::{Signed, SignedText, SignedTextError},
    statement::{Jwk, Statement, StatementError},
};
use data_encoding::BASE64;
use ed25519_dalek::{Signer as _, SigningKey};
use http::{HeaderMap, HeaderValue};
use sfv::{BareItem, FieldType as _, InnerList, Item, Key, KeyRef, ListEntry, Parser, StringRef};

use crate::{
    message::{Message, PartError, field},
    names,
};

/// Why a message cannot be signed, or its signature not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignatureError {
    /// A part that is to be signed.
    #[error(transparent)]
    Part(#[from] PartError),
    /// A field that is not structured as it must be.
    #[error("`{0}` is not structured as RFC 9421 says")]
    Field(&'static str),
    /// More than one signature that claims to be the one.
    #[error("there is more than one signature tagged `{0}`")]
    Several(String),
    /// A signature that does not say what it covers.
    #[error(transparent)]
    Text(#[from] SignedTextError),
    /// A value that no structured field can carry.
    #[error("`{0}` cannot be put into a structured field")]
    Value(String),
}

/// A key to sign with, with its name.
pub struct Signer {
    key: SigningKey,
    jwk: Jwk,
    keyid: String,
}

impl Signer {
    /// A signer; its `keyid` is the key's RFC 7638 thumbprint.
    pub fn new(key: SigningKey) -> Signer {
        let jwk = Jwk::ed25519(&key.verifying_key());
        Signer { key, keyid: jwk.thumbprint(), jwk }
    }

    /// The public half.
    pub const fn jwk(&self) -> &Jwk {
        &self.jwk
    }

    /// Signs a statement of whoever has the key, as a JWS.
    ///
    /// # Errors
    /// [`StatementError`], when the payload has no canonical form.
    pub fn state<T: serde::Serialize>(&self, typ: &str, payload: &T) -> Result<String, StatementError> {
        Statement::sign(typ, payload, &self.key)
    }

    /// The key's name.
    pub fn keyid(&self) -> &str {
        &self.keyid
    }
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signer").field("keyid", &self.keyid).finish_non_exhaustive()
    }
}

/// What a signature says beside what it covers.
#[derive(Debug, Clone, Copy)]
pub struct Terms<'t> {
    /// Names the signature in the message; not signed itself.
    pub label: &'t str,
    /// What it is for.
    pub tag: &'t str,
    /// When it was made, in seconds since 1970.
    pub created: i64,
    /// When it ends.
    pub expires: Option<i64>,
    /// What makes it another signature than any before (RFC 9421 §2.3).
    pub nonce: Option<&'t str>,
}

/// A signature that was made.
#[derive(Debug, Clone)]
pub struct Signature {
    label: String,
    input: String,
    /// What was signed, with the signature.
    pub text: SignedText,
}

impl Signature {
    /// Signs the parts of a message, each given as a component identifier such as `"@method";req`.
    ///
    /// # Errors
    /// [`SignatureError`], when a part is not there.
    pub fn make(
        message: &Message<'_>,
        parts: &[&str],
        terms: &Terms<'_>,
        signer: &Signer,
    ) -> Result<Signature, SignatureError> {
        let items: Result<Vec<Item>, SignatureError> =
            parts.iter().map(|part| Parser::new(*part).parse().map_err(|_| value(part))).collect();
        let mut covered = InnerList::new(items?);
        let mut add = |name: &str, item: BareItem| covered.params.insert(key(name), item);
        add("created", integer(terms.created)?);
        if let Some(expires) = terms.expires {
            add("expires", integer(expires)?);
        }
        add("keyid", string(&signer.keyid)?);
        add("alg", string("ed25519")?);
        add("tag", string(terms.tag)?);
        if let Some(nonce) = terms.nonce {
            add("nonce", string(nonce)?);
        }
        let (base, input) = base(message, covered)?;
        let value = BASE64.encode(&signer.key.sign(base.as_bytes()).to_bytes());
        Ok(Signature { label: terms.label.to_owned(), input, text: SignedText { base, value } })
    }

    /// Puts the two fields into a message, instead of others.
    pub fn put(&self, headers: &mut HeaderMap) {
        let fields = [
            (names::SIGNATURE_INPUT, format!("{}={}", self.label, self.input)),
            (names::SIGNATURE, format!("{}=:{}:", self.label, self.text.value)),
        ];
        for (name, value) in fields {
            // What is not plain text was refused as a part.
            if let Ok(value) = HeaderValue::from_str(&value) {
                headers.insert(name, value);
            }
        }
    }
}

fn value(text: &str) -> SignatureError {
    SignatureError::Value(text.to_owned())
}

fn key(name: &str) -> Key {
    // The names are constants of RFC 9421; one that is none becomes `*`, which nobody knows.
    KeyRef::from_str(name).map_or_else(|_| sfv::key_ref("*").to_owned(), KeyRef::to_owned)
}

fn integer(number: i64) -> Result<BareItem, SignatureError> {
    number.try_into().map_err(|_| value(&number.to_string()))
}

pub(crate) fn string(text: &str) -> Result<BareItem, SignatureError> {
    StringRef::from_str(text).map(|text| BareItem::String(text.to_owned())).map_err(|_| value(text))
}

/// The signature base (RFC 9421 §2.5), and the parameters as they stand in it.
fn base(message: &Message<'_>, covered: InnerList) -> Result<(String, String), SignatureError> {
    let mut base = String::new();
    for item in &covered.items {
        base.push_str(&item.serialize());
        base.push_str(": ");
        base.push_str(&message.value(item)?);
        base.push('\n');
    }
    let input = vec![ListEntry::InnerList(covered)].serialize().unwrap_or_default();
    base.push_str("\"@signature-params\": ");
    base.push_str(&input);
    Ok((base, input))
}

/// The signature with this tag, with the text that it must have signed if the message is as it came. `None` when there is none.
///
/// # Errors
/// [`SignatureError`], when the fields cannot be read, or what they name is not there.
pub fn find(fields: &HeaderMap, tag: &str, message: &Message<'_>) -> Result<Option<Signed>, SignatureError> {
    let Some(inputs) = field(fields, names::SIGNATURE_INPUT.as_str()) else { return Ok(None) };
    let inputs: sfv::Dictionary = Parser::new(&inputs).parse().map_err(|_| SignatureError::Field("Signature-Input"))?;
    let mut tagged = inputs.into_iter().filter_map(|(label, entry)| match entry {
        ListEntry::InnerList(covered) if is_tagged(&covered, tag) => Some((label, covered)),
        _ => None,
    });
    let Some((label, covered)) = tagged.next() else { return Ok(None) };
    if tagged.next().is_some() {
        return Err(SignatureError::Several(tag.to_owned()));
    }
    let malformed = || SignatureError::Field("Signature");
    let signatures = field(fields, names::SIGNATURE.as_str()).ok_or_else(malformed)?;
    let signatures: sfv::Dictionary = Parser::new(&signatures).parse().map_err(|_| malformed())?;
    let Some(ListEntry::Item(item)) = signatures.get(&label) else { return Err(malformed()) };
    let signature = item.bare_item.as_byte_sequence().ok_or_else(malformed)?;
    let (base, _) = base(message, covered)?;
    Ok(Some(SignedText { base, value: BASE64.encode(signature) }.read()?))
}

fn is_tagged(covered: &InnerList, tag: &str) -> bool {
    covered.params.get("tag").and_then(BareItem::as_string).is_some_and(|known| known.as_str() == tag)
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;
    use crate::message::Asked;

    /// RFC 9421 appendix B.2.6, with the key of B.1.4.
    #[test]
    fn the_signature_of_the_rfc_fits_the_text_that_is_made_of_its_message() {
        let request = Request::post("https://example.com/foo?param=Value&Pet=dog")
            .header("date", "Tue, 20 Apr 2021 02:07:55 GMT")
            .header("content-type", "application/json")
            .header("content-length", "18")
            .body(())
            .unwrap();
        let asked = Asked::new(request.method(), request.uri(), request.headers());
        let input = "(\"date\" \"@method\" \"@path\" \"@authority\" \"content-type\" \"content-length\");created=1618884473;keyid=\"test-key-ed25519\"";
        let mut list: sfv::List = Parser::new(input).parse().unwrap();
        let Some(ListEntry::InnerList(covered)) = list.pop() else { panic!("a list") };
        let (text, _) = base(&Message { asked: &asked, answer: None }, covered).unwrap();
        let jwk = Jwk {
            kty: "OKP".into(),
            crv: "Ed25519".into(),
            x: "JrQLj5P_89iXES9-vFgrIy29clF9CC_oPPsw3c5D0bs".into(),
            y: None,
        };
        let value = "wqcAqbmYJ2ji2glfAMaRy4gruYYnx2nEFN2HN6jrnDnQCK1u02Gb04v9EDgwUPiu4A0w6vuQv5lIp5WPpBKRCw==";
        assert!(SignedText { base: text, value: value.into() }.read().unwrap().fits(&jwk));
    }

    #[test]
    fn two_signatures_that_claim_to_be_the_one_are_none() {
        let mut request = Request::get("http://a.example/").body(()).unwrap();
        let input = "a=(\"@method\");keyid=\"k\";tag=\"t\", b=(\"@method\");keyid=\"k\";tag=\"t\"";
        request.headers_mut().insert("signature-input", input.parse().unwrap());
        request.headers_mut().insert("signature", "a=:AA==:, b=:AA==:".parse().unwrap());
        let asked = Asked::new(request.method(), request.uri(), request.headers());
        let message = Message { asked: &asked, answer: None };
        assert!(matches!(find(&asked.headers, "t", &message), Err(SignatureError::Several(_))));
        assert!(find(&asked.headers, "u", &message).unwrap().is_none());
    }
}

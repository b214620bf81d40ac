//! What an API signed of an answer: the signature base of RFC 9421 §2.5 as text, one line for each part that it covers.
//!
//! No HTTP here. Whoever holds the text, the signature and the key can check both, long after the messages are gone: a verifier, or somebody
//! who kept a receipt as a checkpoint of the ledger.

use serde::{Deserialize, Serialize};
use sfv::{BareItem, FieldType as _, InnerList, ListEntry, Parser};

use crate::{Hash, checkpoint::Checkpoint, statement::Jwk, strict};

/// The longest text that is read, in bytes.
pub const MAX_TEXT_BYTES: usize = 64 * 1024;

/// The tag of the signature over an answer that makes it a receipt.
pub const RECEIPT_TAG: &str = "countersign-receipt";

/// The label of the gateway's signature over a request.
pub const REQUEST_LABEL: &str = "countersign";

/// Why a text is no signature base.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignedTextError {
    /// Longer than [`MAX_TEXT_BYTES`].
    #[error("longer than 65536 bytes")]
    TooLong,
    /// No line with the signature's parameters at the end, or one that cannot be read.
    #[error("the last line is no list of what is covered, as `@signature-params`, with a `keyid`")]
    Parameters,
    /// The lines are not those that the parameters list.
    #[error("the lines are not those that the signature's parameters list, in their order")]
    Lines,
    /// The signature is not base64.
    #[error("the signature is not base64")]
    Signature,
}

/// A signature base with its signature, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedText {
    /// The text that was signed.
    pub base: String,
    /// The signature: base64.
    pub value: String,
}

/// A signature base, taken apart; not believed before [`Signed::fits`].
#[derive(Debug, Clone)]
pub struct Signed {
    text: SignedText,
    signature: Vec<u8>,
    lines: Vec<(String, String)>,
    covered: InnerList,
}

impl SignedText {
    /// Takes it apart.
    ///
    /// # Errors
    /// [`SignedTextError`].
    pub fn read(&self) -> Result<Signed, SignedTextError> {
        if self.base.len() > MAX_TEXT_BYTES {
            return Err(SignedTextError::TooLong);
        }
        let signature = strict::base64(&self.value).ok_or(SignedTextError::Signature)?;
        let (rest, last) = self.base.rsplit_once('\n').unwrap_or(("", &self.base));
        let params = last.strip_prefix("\"@signature-params\": ").ok_or(SignedTextError::Parameters)?;
        let mut list: sfv::List = Parser::new(params).parse().map_err(|_| SignedTextError::Parameters)?;
        let (Some(ListEntry::InnerList(covered)), None) = (list.pop(), list.pop()) else {
            return Err(SignedTextError::Parameters);
        };
        let mut texts = rest.split('\n').filter(|_| !rest.is_empty());
        let mut lines: Vec<(String, String)> = Vec::with_capacity(covered.items.len());
        for item in &covered.items {
            let identifier = item.serialize();
            let value = texts.next().and_then(|line| line.strip_prefix(&identifier)?.strip_prefix(": "));
            // RFC 9421 §2: each component identifier occurs once.
            if lines.iter().any(|(known, _)| *known == identifier) {
                return Err(SignedTextError::Lines);
            }
            lines.push((identifier, value.ok_or(SignedTextError::Lines)?.to_owned()));
        }
        if texts.next().is_some() {
            return Err(SignedTextError::Lines);
        }
        let signed = Signed { text: self.clone(), signature, lines, covered };
        if signed.keyid().is_empty() { Err(SignedTextError::Parameters) } else { Ok(signed) }
    }
}

impl Signed {
    /// What is signed of a part, by its identifier as it stands in the text: `"@status"`, `"@method";req`.
    pub fn line(&self, identifier: &str) -> Option<&str> {
        self.lines.iter().find(|(known, _)| known == identifier).map(|(_, value)| value.as_str())
    }

    /// The key that it names; to look the key up, nothing more.
    pub fn keyid(&self) -> &str {
        self.parameter("keyid").unwrap_or_default()
    }

    /// What the signature is for.
    pub fn tag(&self) -> Option<&str> {
        self.parameter("tag")
    }

    /// When it was made, in seconds since 1970.
    pub fn created(&self) -> Option<i64> {
        self.covered.params.get("created").and_then(BareItem::as_integer).map(i64::from)
    }

    /// When it ends, in seconds since 1970.
    pub fn expires(&self) -> Option<i64> {
        self.covered.params.get("expires").and_then(BareItem::as_integer).map(i64::from)
    }

    /// SHA-256 of the signature itself.
    pub fn signature_sha256(&self) -> Hash {
        Hash::of(&self.signature)
    }

    fn parameter(&self, name: &str) -> Option<&str> {
        self.covered.params.get(name).and_then(BareItem::as_string).map(|text| text.as_str())
    }

    /// Whether this key made the signature over this very text.
    pub fn fits(&self, jwk: &Jwk) -> bool {
        let alg = match jwk.crv.as_str() {
            "Ed25519" => "ed25519",
            _ => "ecdsa-p256-sha256",
        };
        self.parameter("alg").is_none_or(|named| named == alg)
            && jwk.accepts(self.text.base.as_bytes(), &self.signature)
    }

    /// The text and its signature.
    pub const fn text(&self) -> &SignedText {
        &self.text
    }

    /// The ledger's entry that the request named.
    pub fn entry(&self) -> Option<Hash> {
        self.line("\"countersign-entry\";req")?.parse().ok()
    }

    /// The ledger's checkpoint that the request carried: what makes a receipt countersign the ledger.
    pub fn checkpoint(&self) -> Option<Checkpoint> {
        let text = String::from_utf8(bytes(self.line("\"countersign-checkpoint\";req")?)?).ok()?;
        Checkpoint::parse(&text).ok()
    }

    /// The status of the answer.
    pub fn status(&self) -> Option<u16> {
        self.line("\"@status\"")?.parse().ok()
    }

    /// What is signed of a part of the answer, in its head or in its trailers.
    pub fn of_answer(&self, field: &str) -> Option<&str> {
        self.line(&format!("\"{field}\"")).or_else(|| self.line(&format!("\"{field}\";tr")))
    }

    /// SHA-256 of the answer's content, as its `Content-Digest` says (RFC 9530).
    pub fn content_sha256(&self) -> Option<Hash> {
        sha256(self.of_answer("content-digest")?)
    }

    /// SHA-256 of the signature on the request.
    pub fn request_signature_sha256(&self) -> Option<Hash> {
        let req = format!("\"signature\";req;key=\"{REQUEST_LABEL}\"");
        let other = format!("\"signature\";key=\"{REQUEST_LABEL}\";req");
        bytes(self.line(&req).or_else(|| self.line(&other))?).map(|signature| Hash::of(&signature))
    }
}

/// A byte sequence of RFC 9651 that stands alone.
fn bytes(text: &str) -> Option<Vec<u8>> {
    let item: sfv::Item = Parser::new(text).parse().ok()?;
    item.bare_item.as_byte_sequence().map(<[u8]>::to_vec)
}

/// The SHA-256 in a `Content-Digest`.
pub fn sha256(content_digest: &str) -> Option<Hash> {
    let digests: sfv::Dictionary = Parser::new(content_digest).parse().ok()?;
    let Some(ListEntry::Item(item)) = digests.get("sha-256") else { return None };
    <[u8; 32]>::try_from(item.bare_item.as_byte_sequence()?).ok().map(Hash::from)
}

#[cfg(test)]
mod tests {
    use data_encoding::BASE64;
    use ed25519_dalek::{Signer as _, SigningKey};

    use super::*;

    fn signed(base: &str) -> SignedText {
        let key = SigningKey::from_bytes(&[3; 32]);
        SignedText { base: base.to_owned(), value: BASE64.encode(&key.sign(base.as_bytes()).to_bytes()) }
    }

    const BASE: &str = "\"@status\": 201\n\"@method\";req: POST\n\"content-digest\": sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:\n\
                        \"@signature-params\": (\"@status\" \"@method\";req \"content-digest\");created=1;keyid=\"k\";tag=\"countersign-receipt\"";

    #[test]
    fn a_text_is_read_line_by_line_and_fits_the_key_that_signed_it() {
        let read = signed(BASE).read().unwrap();
        assert_eq!((read.status(), read.line("\"@method\";req"), read.keyid()), (Some(201), Some("POST"), "k"));
        assert_eq!(read.content_sha256(), Some(Hash::of(b"")));
        assert_eq!(read.tag(), Some(RECEIPT_TAG));
        let jwk = |seed| Jwk::ed25519(&SigningKey::from_bytes(&[seed; 32]).verifying_key());
        assert!(read.fits(&jwk(3)) && !read.fits(&jwk(4)));
        let changed = SignedText { base: BASE.replace("201", "200"), ..signed(BASE) };
        assert!(!changed.read().unwrap().fits(&jwk(3)));
    }

    #[test]
    fn a_text_whose_lines_are_not_those_that_it_lists_is_none() {
        let twice = BASE.replace("\"@method\";req", "\"@status\"");
        let more = format!("\"x\": y\n{BASE}");
        let swapped =
            BASE.replacen("\"@status\": 201\n\"@method\";req: POST", "\"@method\";req: POST\n\"@status\": 201", 1);
        for text in ["", "\"@signature-params\": x", &twice, &more, &swapped, &BASE.replace("keyid=\"k\";", "")] {
            assert!(signed(text).read().is_err(), "{text}");
        }
        assert_eq!(
            SignedText { value: "*".into(), ..signed(BASE) }.read().map(|_| ()),
            Err(SignedTextError::Signature)
        );
    }
}

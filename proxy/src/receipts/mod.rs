//! Receipts: what an API signs of an answer, compared with what the gateway saw, and written down with the outcome.

mod keys;
mod late;

use countersign_ledger::{
    Draft, Hash,
    record::{EntryError, StatePut, body, body::Check},
    vault::VaultError,
};
use countersign_receipt::{self as signed, Answer, Sent, signature::SignatureError};
use http::{HeaderMap, StatusCode};
use jiff::Timestamp;
use serde_json::{Value, json};

pub use self::keys::{KeysError, begin};
pub(crate) use self::late::fetch_missing;
use crate::{record, state::Gateway, upstream::Upstream};

/// A receipt that came with an answer, or what came in its place.
pub(crate) enum Came {
    /// One that can be read.
    Receipt(Box<signed::Receipt>),
    /// One that cannot.
    Malformed(String),
}

/// The receipt in the head of an answer, or in its trailers. None from an API that gives none.
pub(crate) fn find(
    receipt: &record::Receipt,
    upstream: &Upstream,
    status: StatusCode,
    headers: &HeaderMap,
    trailers: Option<&HeaderMap>,
) -> Option<Came> {
    upstream.settings.receipts.as_ref()?;
    let asked = receipt.note(|trail| trail.asked.clone())?;
    match signed::Receipt::find(&asked, Answer { status: status.as_u16(), headers, trailers }) {
        Ok(found) => found.map(|receipt| Came::Receipt(Box::new(receipt))),
        // What is to stand in the trailers is no fault of the head.
        Err(SignatureError::Part(_)) if trailers.is_none() => None,
        Err(error) => Some(Came::Malformed(error.to_string())),
    }
}

/// What is said when an answer is kept back for want of a receipt.
pub(crate) const LACKING: &str =
    "the API gave no receipt that fits its answer; whether it executed the call is not known";

/// Whether an answer without content lacks the receipt that the settings demand.
pub(crate) fn lacks(receipt: &record::Receipt, upstream: &Upstream, status: StatusCode, headers: &HeaderMap) -> bool {
    let Some(receipts) = upstream.settings.receipts.as_ref().filter(|receipts| receipts.required) else { return false };
    let content = Some((Hash::of(b""), true));
    let came = find(receipt, upstream, status, headers, None);
    !came.is_some_and(|came| came.judge(receipt, &receipts.party, status, content).fits())
}

impl Came {
    /// Compares it with what the gateway sent and what came; `content` is the SHA-256 of the answer's content, if it came whole, and whether it is empty.
    pub(crate) fn judge(
        &self,
        receipt: &record::Receipt,
        party: &str,
        status: StatusCode,
        content: Option<(Hash, bool)>,
    ) -> Judged {
        let asked = receipt.note(|trail| trail.asked.clone());
        let sent = Sent {
            entry: receipt.sealed().hash,
            asked: asked.as_deref(),
            content: receipt.note(|trail| sha256(trail.request.as_ref())),
            status: Some(status.as_u16()),
            answer: content.map(|(sha256, _)| sha256),
            answer_is_empty: content.is_some_and(|(_, empty)| empty),
        };
        match self {
            Came::Receipt(came) => Judged::new(&receipt.context().gateway, came, party, &sent),
            Came::Malformed(why) => Judged::malformed(party, why),
        }
    }
}

/// The digest in what is kept of a body.
fn sha256(body: Option<&Value>) -> Option<Hash> {
    body?.get("sha256")?.as_str()?.parse().ok()
}

/// A receipt with what was found when it was compared.
#[derive(Debug)]
pub(crate) struct Judged {
    party: String,
    check: Check,
    differs: Vec<String>,
    value: Value,
}

/// Which call a receipt is written for.
pub(crate) struct Of<'o> {
    pub(crate) call: Hash,
    pub(crate) instruction: &'o str,
    pub(crate) subject: &'o str,
}

/// Why a receipt cannot be written down.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DraftError {
    #[error(transparent)]
    Entry(#[from] EntryError),
    #[error(transparent)]
    Vault(#[from] VaultError),
}

impl Judged {
    /// Checks the signature with the keys that are registered for the API, and compares what it says.
    pub(crate) fn new(gateway: &Gateway, came: &signed::Receipt, party: &str, sent: &Sent<'_>) -> Judged {
        let signed = came.signed();
        let registry = gateway.registry.read();
        let row = registry.signer(signed.keyid()).filter(|row| row.party == party);
        let result = match row {
            None => "unknown_key",
            Some(row) if signed.fits(&row.jwk) => "valid",
            Some(_) => "invalid",
        };
        let check = Check {
            alg: row.map_or("", |row| row.jwk.alg()).to_owned(),
            kid: signed.keyid().to_owned(),
            result: result.to_owned(),
            party: row.map(|row| row.party.clone()),
        };
        let differs = came.differs(sent).into_iter().map(str::to_owned).collect();
        Judged { party: party.to_owned(), check, differs, value: came.to_value() }
    }

    fn malformed(party: &str, why: &str) -> Judged {
        let check = Check { result: "invalid".to_owned(), ..Check::default() };
        let differs = vec!["unsigned".to_owned()];
        Judged { party: party.to_owned(), check, differs, value: json!({ "malformed": why }) }
    }

    /// Whether it is the API's good word on this very call.
    pub(crate) fn fits(&self) -> bool {
        self.check.result == "valid" && self.differs.is_empty()
    }

    /// Whether nobody knows the key yet that it is signed with.
    pub(crate) fn is_of_unknown_key(&self) -> bool {
        self.check.result == "unknown_key"
    }

    /// Its entry.
    pub(crate) fn draft(&self, gateway: &Gateway, of: &Of<'_>, late: bool) -> Result<Draft, DraftError> {
        let entry = body::Receipt {
            call: of.call,
            subject: of.subject.to_owned(),
            api: self.party.clone(),
            check: self.check.clone(),
            differs: Some(self.differs.clone()),
            late,
            ..body::Receipt::default()
        };
        let draft = Draft::new(&entry)?.of_instruction(of.instruction).caused_by([of.call]);
        Ok(draft.disclose(&gateway.vault, of.subject, "receipt", &self.value)?)
    }
}

/// The state that says that a call's receipt is missing; it commits with the outcome.
pub(crate) fn missing(call: &str, instruction: &str, subject: &str, upstream: &str, since: Timestamp) -> StatePut {
    let row = json!({
        "instruction": instruction, "subject": subject, "upstream": upstream, "since": since.as_second(),
    });
    StatePut { key: format!("receipt/{call}").into_bytes(), value: Some(row.to_string().into_bytes()) }
}

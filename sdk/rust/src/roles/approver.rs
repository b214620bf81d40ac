//! Somebody who answers held calls.

use countersign_ledger::{Hash, canonical, record::Time};
use ed25519_dalek::SigningKey;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::sign;
use crate::client::{Client, Error};

/// A call that waits for an approver.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct HeldCall {
    /// Its id.
    pub call: String,
    /// Its entry.
    pub entry: Hash,
    /// What an approval of exactly this call names.
    pub digest: String,
    /// The user's words.
    pub words: String,
    /// The action.
    pub action: String,
    /// Its arguments.
    pub arguments: Value,
    /// Where the binding ones came from.
    pub provenance: Value,
    /// Why it is held.
    pub reasons: Value,
    /// Everything else.
    #[serde(flatten)]
    pub more: serde_json::Map<String, Value>,
}

/// Somebody who answers held calls with a key of their own.
#[derive(Debug)]
pub struct Approver {
    client: Client,
    key: SigningKey,
}

impl Approver {
    /// An approver who talks to the API at `api` with their secret and signs with their key.
    ///
    /// # Errors
    /// [`Error::Url`].
    pub fn new(api: &str, secret: &str, key: SigningKey) -> Result<Approver, Error> {
        Ok(Approver { client: Client::new(api, secret)?, key })
    }

    /// The calls that wait, with the ledger's name.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn held(&self) -> Result<(String, Vec<HeldCall>), Error> {
        #[derive(Deserialize)]
        struct List {
            origin: String,
            held: Vec<HeldCall>,
        }
        let list: List = self.client.ask("GET", "/v1/approvals", None).await?;
        Ok((list.origin, list.held))
    }

    /// One call that waits, with the ledger's name.
    ///
    /// # Errors
    /// [`Error::Refused`] when it does not wait, or waits no longer.
    pub async fn one(&self, call: &str) -> Result<(String, HeldCall), Error> {
        let path = format!("/v1/approvals/{}", utf8_percent_encode(call, NON_ALPHANUMERIC));
        let held: HeldCall = self.client.ask("GET", &path, None).await?;
        let origin = held.more.get("origin").and_then(Value::as_str).unwrap_or_default().to_owned();
        Ok((origin, held))
    }

    /// Says yes or no to exactly this call, as it is shown in `held`. `shown` is when the person began to look at it, `answered` when they answered.
    /// Gives the hash of the answer's entry, and how many more approvers must say yes.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn answer(
        &self,
        origin: &str,
        held: &HeldCall,
        yes: bool,
        shown: jiff::Timestamp,
        answered: jiff::Timestamp,
    ) -> Result<(String, u64), Error> {
        #[derive(Deserialize)]
        struct Recorded {
            entry: String,
            #[serde(default)]
            approvals: u64,
            #[serde(default)]
            needs: u64,
        }
        // Who said yes so far is no part of what is shown: it changes.
        let mut whole = json!(held);
        whole.as_object_mut().map(|members| members.remove("approved_by"));
        let digest = canonical::digest(&whole).map_err(|error| Error::Answer(error.to_string()))?;
        let expires = answered.saturating_add(jiff::SignedDuration::from_hours(1)).unwrap_or(answered);
        let said = json!({
            "origin": origin,
            "call": held.entry,
            "digest": held.digest,
            "decision": if yes { "approved" } else { "denied" },
            "shown": Time::new(shown),
            "answered": Time::new(answered),
            "expires": Time::new(expires),
            "policies": held.more.get("policies"),
            "shown_sha256": digest,
        });
        let body = json!({ "statement": sign("countersign-approval+jwt", &said, &self.key)? });
        let recorded: Recorded = self.client.ask("POST", &format!("/v1/approvals/{}", held.call), Some(&body)).await?;
        let missing = if yes { recorded.needs.saturating_sub(recorded.approvals) } else { 0 };
        Ok((recorded.entry, missing))
    }
}

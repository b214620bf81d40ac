//! The keys that sign checkpoints, as the ledger names them: what the gateway was given is compared with it when the ledger is opened. A new key is put on record
//! with the signatures of both, one that is gone is retired.

use data_encoding::BASE64;

use super::Ledger;
use crate::{
    Entry,
    checkpoint::{CheckpointSigner, VerifierKey},
    open::OpenError,
    record::{Draft, StatePut, body},
    rotation,
};

/// Which keys sign now, as state: found without reading entries.
const KEYS: &[u8] = b"ledger/keys";

/// Makes the ledger's keys those that sign.
pub(super) fn follow(ledger: &Ledger, signer: &CheckpointSigner) -> Result<(), OpenError> {
    let (mut known, given) = (active(ledger)?, signer.verifiers());
    let new: Vec<VerifierKey> = given.iter().filter(|key| !known.contains(key)).cloned().collect();
    for key in new {
        // INVARIANT: at least one is there, for the last checkpoint is signed with a key that was given.
        let old = known.iter().find(|old| given.contains(old)).cloned();
        let old = old.ok_or_else(|| OpenError::Keys("none of the keys that are given is the ledger's".to_owned()))?;
        let (replaces, vkey) = (old.to_string(), key.to_string());
        let message = rotation::text(ledger.origin(), &replaces, &vkey);
        let mut signatures = Vec::new();
        for key in [&old, &key] {
            signatures.extend(signer.sign_as(key, message.as_bytes())?.map(|signature| BASE64.encode(&signature)));
        }
        known.push(key);
        let (replaces, signatures) = (Some(replaces), Some(signatures));
        let entry = body::Ledger { vkey: Some(vkey), replaces, signatures, ..about("rotated") };
        append(ledger, &entry, &known)?;
        tracing::info!(vkey = entry.vkey, "a new key signs checkpoints too");
    }
    let gone: Vec<VerifierKey> = known.iter().filter(|key| !given.contains(key)).cloned().collect();
    for key in gone {
        known.retain(|known| *known != key);
        append(ledger, &body::Ledger { vkey: Some(key.to_string()), ..about("retired") }, &known)?;
        tracing::info!(vkey = key.to_string(), "a key signs checkpoints no more");
    }
    Ok(())
}

/// Those that signed until now.
fn active(ledger: &Ledger) -> Result<Vec<VerifierKey>, OpenError> {
    let fail = |what: String| OpenError::Keys(what);
    let state = ledger.state(KEYS).map_err(|error| fail(error.to_string()))?;
    let lines: Vec<String> = match state.into_iter().find(|(key, _)| key == KEYS) {
        Some((_, value)) => serde_json::from_slice(&value).map_err(|error| fail(error.to_string()))?,
        None => {
            let bytes = ledger.entry(0).map_err(|error| fail(error.to_string()))?;
            let first = Entry::parse(&bytes).map_err(|error| fail(error.to_string()))?;
            first.text("vkey").map(str::to_owned).into_iter().collect()
        }
    };
    let keys: Result<Vec<VerifierKey>, _> = lines.iter().map(|line| line.parse()).collect();
    keys.map_err(|error| fail(error.to_string()))
}

fn about(event: &str) -> body::Ledger {
    body::Ledger { event: event.to_owned(), software: crate::SOFTWARE.to_owned(), ..body::Ledger::default() }
}

fn append(ledger: &Ledger, entry: &body::Ledger, active: &[VerifierKey]) -> Result<(), OpenError> {
    let lines: Vec<String> = active.iter().map(ToString::to_string).collect();
    let value = serde_json::to_vec(&lines).map_err(|error| OpenError::Keys(error.to_string()))?;
    let mut draft = Draft::new(entry)?;
    draft.state.push(StatePut { key: KEYS.to_vec(), value: Some(value) });
    ledger.append_blocking(draft)?;
    Ok(())
}

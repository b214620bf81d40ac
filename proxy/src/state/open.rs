//! Forwarded calls that have not ended: what is kept of each until it ends, and what becomes of those that a crash left.

use countersign_ledger::{
    Draft, Entry, Hash, Kind, Ledger,
    record::{StatePut, body},
};
use serde_json::{Value, json};

use super::{StateError, tail};

/// The key of a forwarded call that has not ended.
pub fn open_key(call: &str) -> Vec<u8> {
    format!("open/{call}").into_bytes()
}

/// What is kept of a call that is forwarded, until it ends.
pub fn open_state(call: &str, instruction: &str, subject: &str) -> StatePut {
    let value = json!({ "instruction": instruction, "subject": subject }).to_string().into_bytes();
    StatePut { key: open_key(call), value: Some(value) }
}

/// Calls that were forwarded, or about to be, when the process ended: nobody knows what became of them.
pub(super) async fn close_open_calls(ledger: &Ledger) -> Result<(), StateError> {
    for (key, value) in ledger.state(b"open/")? {
        let open: Value = serde_json::from_slice(&value).unwrap_or_default();
        let text = |name: &str| open.get(name).and_then(Value::as_str).map(str::to_owned);
        let instruction = text("instruction");
        let call = match &instruction {
            Some(instruction) => find_call(ledger, instruction, &tail(&key, "open/"))?,
            None => None,
        };
        let Some(call) = call else { continue };
        let outcome = body::Outcome {
            call,
            subject: text("subject"),
            result: "unknown".to_owned(),
            sent: "maybe".to_owned(),
            detail: Some("the gateway ended while the call was open".to_owned()),
            ..body::Outcome::default()
        };
        let mut draft = Draft::new(&outcome)?.caused_by([call]);
        draft.instruction = instruction;
        draft.state.push(StatePut { key, value: None });
        ledger.append(draft).await?;
    }
    Ok(())
}

fn find_call(ledger: &Ledger, instruction: &str, call: &str) -> Result<Option<Hash>, StateError> {
    for seq in ledger.of_instruction(instruction)? {
        let bytes = ledger.entry(seq)?;
        let entry = Entry::parse(&bytes)?;
        if entry.kind == Kind::Call && entry.text("call") == Some(call) {
            return Ok(Some(Hash::of(&bytes)));
        }
    }
    Ok(None)
}

//! Receipts, checked again with the API's key as it was registered at that time; and the ledger's checkpoints that they countersign.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{authority::Wrong, stated::Keys};
use crate::{
    Hash,
    checkpoint::Checkpoint,
    disclosure::Disclosure,
    record::body,
    signed_text::{Signed, SignedText},
    tree::{self, Frontier},
};

/// How many of the ledger's newest checkpoints are remembered: what bounds the memory. A receipt comes soon after the checkpoint that it names.
const REMEMBERED: usize = 1 << 16;

/// The ledger's checkpoints, newest last.
#[derive(Default)]
pub(super) struct Roots {
    roots: BTreeMap<u64, Hash>,
    forgotten: u64,
    /// Whether they are the roots over first entries that are all here, and nothing is known of others.
    computed: bool,
}

impl Roots {
    pub(super) fn add(&mut self, checkpoint: &Checkpoint) {
        self.roots.insert(checkpoint.size(), checkpoint.root());
        if self.roots.len() > REMEMBERED
            && let Some((size, _)) = self.roots.pop_first()
        {
            self.forgotten = size;
        }
    }

    /// The roots over the first entries of a bundle, as far as all of them are there.
    pub(super) fn of_entries<'e>(entries: impl Iterator<Item = (u64, &'e [u8])>) -> Roots {
        let (mut frontier, mut roots) = (Frontier::default(), BTreeMap::new());
        for ((seq, entry), expected) in entries.zip(0..) {
            if seq != expected {
                break;
            }
            frontier.push(tree::leaf_hash(entry), |_, _| {});
            roots.insert(frontier.size(), frontier.root());
        }
        Roots { roots, forgotten: 0, computed: true }
    }

    /// What is wrong with a checkpoint that an API countersigned.
    fn check(&self, checkpoint: &Checkpoint) -> Option<Wrong> {
        let size = checkpoint.size();
        let unknown =
            self.roots.is_empty() || size <= self.forgotten || self.computed && !self.roots.contains_key(&size);
        if unknown || self.roots.get(&size) == Some(&checkpoint.root()) {
            return None;
        }
        let what = format!(
            "the API countersigned a checkpoint of size {size} that this ledger does not have: the ledger was forked or written anew"
        );
        Some(("receipt-checkpoint", what))
    }
}

/// Checks a receipt, where it is disclosed: `None` when it is not, else what is wrong.
pub(super) fn check(
    receipt: &body::Receipt,
    opened: &[&Disclosure],
    keys: &Keys,
    roots: &Roots,
) -> Option<Option<Wrong>> {
    let value = opened.iter().find(|disclosure| disclosure.name() == "receipt")?.value();
    Some(recheck(receipt, value, keys, roots))
}

fn recheck(receipt: &body::Receipt, value: &Value, keys: &Keys, roots: &Roots) -> Option<Wrong> {
    let text = value.get("signature").and_then(|text| serde_json::from_value::<SignedText>(text.clone()).ok());
    let signed = text.and_then(|text| text.read().ok()).filter(|signed| signed.keyid() == receipt.check.kid);
    let key = keys.signer(&receipt.check.kid).filter(|(party, _)| *party == receipt.api);
    let result = match (&signed, &key) {
        (None, _) => "invalid",
        (Some(_), None) => "unknown_key",
        (Some(signed), Some((_, jwk))) if signed.fits(jwk) => "valid",
        (Some(_), Some(_)) => "invalid",
    };
    if result != receipt.check.result {
        let recorded = &receipt.check.result;
        let what = format!("the gateway recorded the receipt's signature as `{recorded}`, it is `{result}`");
        return Some(("statement-differs", what));
    }
    let signed = signed.filter(|_| result == "valid")?;
    let differs = |what: &str| receipt.differs.iter().flatten().any(|differs| differs == what);
    let other = other(receipt, value, &signed, &differs)
        .map(|what| ("receipt-differs", format!("the API signed another {what} than the entry records")));
    other.or_else(|| roots.check(&signed.checkpoint()?))
}

/// What the entry and its value say otherwise than the API signed.
fn other(
    receipt: &body::Receipt,
    value: &Value,
    signed: &Signed,
    differs: &dyn Fn(&str) -> bool,
) -> Option<&'static str> {
    if signed.entry() != Some(receipt.call) && !differs("request") && !differs("unsigned") {
        return Some("call");
    }
    if value.get("status").and_then(Value::as_u64) != signed.status().map(u64::from) {
        return Some("status");
    }
    let digest = value.get("content_digest").and_then(Value::as_str).map(str::to_owned);
    (digest != signed.content_sha256().map(|digest| digest.to_string())).then_some("content")
}

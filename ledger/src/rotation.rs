//! Which keys sign a ledger's checkpoints, and how one takes over from another: both sign that it does, so whoever trusts one of them can trust the other.

use std::collections::BTreeSet;

use ed25519_dalek::Signature;

use crate::{checkpoint::VerifierKey, record::body, strict};

/// What both keys sign.
pub fn text(origin: &str, replaces: &str, vkey: &str) -> String {
    format!("countersign-key-rotation\n{origin}\n{replaces}\n{vkey}\n")
}

/// The keys that the entries of a ledger name, in their order.
#[derive(Debug, Clone, Default)]
pub struct LedgerKeys(Vec<Row>);

#[derive(Debug, Clone)]
struct Row {
    key: VerifierKey,
    /// The key beside which it came.
    beside: Option<VerifierKey>,
    retired: bool,
}

impl LedgerKeys {
    /// Takes in what an entry says of them. One that does not hold changes nothing, and is told.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn change(&mut self, seq: u64, origin: &str, entry: &body::Ledger) -> Result<(), String> {
        if seq == 0 {
            let key = entry.vkey.as_deref().and_then(|vkey| vkey.parse().ok());
            self.0.extend(key.map(|key| Row { key, beside: None, retired: false }));
            return Ok(());
        }
        match entry.event.as_str() {
            "rotated" => self.rotated(origin, entry),
            "retired" => self.retired(entry),
            _ => Ok(()),
        }
    }

    fn rotated(&mut self, origin: &str, entry: &body::Ledger) -> Result<(), String> {
        let (key, beside) = (parse(entry.vkey.as_deref())?, parse(entry.replaces.as_deref())?);
        if key.name() != origin {
            return Err("the new key has another name than the ledger".to_owned());
        }
        if !self.0.iter().any(|row| row.key == beside && !row.retired) {
            return Err("the key beside which it comes signs no checkpoints of this ledger".to_owned());
        }
        if self.0.iter().any(|row| row.key == key) {
            return Err("the new key was one of this ledger before".to_owned());
        }
        let message = text(origin, &beside.to_string(), &key.to_string());
        let signatures = entry.signatures.as_deref().unwrap_or_default();
        let signed = |key: &VerifierKey, signature: &String| {
            let bytes = strict::base64(signature);
            let signature = bytes.and_then(|bytes| Signature::from_slice(&bytes).ok());
            signature.is_some_and(|signature| key.key().verify_strict(message.as_bytes(), &signature).is_ok())
        };
        match signatures {
            [old, new] if signed(&beside, old) && signed(&key, new) => {}
            _ => return Err("it is not signed by both keys".to_owned()),
        }
        self.0.push(Row { key, beside: Some(beside), retired: false });
        Ok(())
    }

    fn retired(&mut self, entry: &body::Ledger) -> Result<(), String> {
        let key = parse(entry.vkey.as_deref())?;
        let others = self.0.iter().any(|row| row.key != key && !row.retired);
        let row = self.0.iter_mut().find(|row| row.key == key && !row.retired);
        let row = row.filter(|_| others).ok_or("it is not one of several keys that sign checkpoints of this ledger")?;
        row.retired = true;
        Ok(())
    }

    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = &VerifierKey> {
        self.0.iter().map(|row| &row.key)
    }

    /// Those that sign now.
    pub fn active(&self) -> Vec<VerifierKey> {
        self.0.iter().filter(|row| !row.retired).map(|row| row.key.clone()).collect()
    }

    /// Those that sign the newest checkpoint for whoever trusts `base`: these keys and those that came beside one of them, but for the retired.
    pub fn trusted(&self, base: &[VerifierKey]) -> Vec<VerifierKey> {
        let mut trusted = base.to_vec();
        for row in &self.0 {
            if row.beside.as_ref().is_some_and(|beside| trusted.contains(beside)) && !trusted.contains(&row.key) {
                trusted.push(row.key.clone());
            }
        }
        let retired = |key: &VerifierKey| self.0.iter().any(|row| row.retired && row.key == *key);
        trusted.retain(|key| !retired(key));
        trusted
    }

    /// Those that may have signed an earlier checkpoint: also the keys beside which one of the trusted came, and the retired.
    pub fn ever_trusted(&self, base: &[VerifierKey]) -> Vec<VerifierKey> {
        let mut trusted = base.to_vec();
        // Each round finds at least one more, or all are found.
        for _ in 0..self.0.len() {
            for Row { key, beside, .. } in &self.0 {
                let Some(beside) = beside else { continue };
                let names: BTreeSet<String> = trusted.iter().map(ToString::to_string).collect();
                match (names.contains(&key.to_string()), names.contains(&beside.to_string())) {
                    (true, false) => trusted.push(beside.clone()),
                    (false, true) => trusted.push(key.clone()),
                    _ => {}
                }
            }
        }
        trusted
    }
}

fn parse(vkey: Option<&str>) -> Result<VerifierKey, String> {
    let vkey = vkey.ok_or("it names no key")?;
    vkey.parse().map_err(|error| format!("it names no key: {error}"))
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::SigningKey;

    use super::*;
    use crate::checkpoint::CheckpointSigner;
    use data_encoding::BASE64;

    fn key(seed: u8) -> CheckpointSigner {
        CheckpointSigner::new("a.example", SigningKey::from_bytes(&[seed; 32])).unwrap()
    }

    fn named(event: &str, seed: u8) -> body::Ledger {
        body::Ledger { event: event.into(), vkey: Some(key(seed).verifier().to_string()), ..Default::default() }
    }

    fn rotated(old: u8, new: u8) -> body::Ledger {
        let (old, new) = (key(old), key(new));
        let (replaces, vkey) = (old.verifier().to_string(), new.verifier().to_string());
        let message = text("a.example", &replaces, &vkey);
        let sign = |signer: &CheckpointSigner| {
            BASE64.encode(&signer.sign_as(signer.verifier(), message.as_bytes()).unwrap().unwrap())
        };
        let signatures = Some(vec![sign(&old), sign(&new)]);
        body::Ledger {
            event: "rotated".into(),
            vkey: Some(vkey),
            replaces: Some(replaces),
            signatures,
            ..Default::default()
        }
    }

    fn keys(seeds: &[u8]) -> Vec<VerifierKey> {
        seeds.iter().map(|seed| key(*seed).verifier().clone()).collect()
    }

    #[test]
    fn whoever_trusts_one_key_can_trust_the_one_that_took_over() {
        let mut ledger = LedgerKeys::default();
        ledger.change(0, "a.example", &named("created", 1)).unwrap();
        ledger.change(5, "a.example", &rotated(1, 2)).unwrap();
        assert_eq!((ledger.active(), ledger.trusted(&keys(&[1]))), (keys(&[1, 2]), keys(&[1, 2])));
        // Not the other way round: the old key may be why there is a new one.
        assert_eq!(ledger.trusted(&keys(&[2])), keys(&[2]));
        assert_eq!(ledger.ever_trusted(&keys(&[2])), keys(&[2, 1]));
        ledger.change(9, "a.example", &named("retired", 1)).unwrap();
        assert_eq!((ledger.active(), ledger.trusted(&keys(&[1]))), (keys(&[2]), keys(&[2])));
        ledger.change(12, "a.example", &rotated(2, 3)).unwrap();
        assert_eq!(ledger.trusted(&keys(&[1])), keys(&[2, 3]));
        assert_eq!(ledger.ever_trusted(&keys(&[3])).len(), 3);
        assert_eq!((ledger.trusted(&keys(&[7])), ledger.ever_trusted(&keys(&[7]))), (keys(&[7]), keys(&[7])));
    }

    #[test]
    fn a_key_that_both_did_not_sign_for_is_none() {
        let mut ledger = LedgerKeys::default();
        ledger.change(0, "a.example", &named("created", 1)).unwrap();
        let good = rotated(1, 2);
        let signatures = good.signatures.clone().unwrap();
        let lies = [
            body::Ledger { signatures: None, ..good.clone() },
            body::Ledger { signatures: Some(signatures.iter().rev().cloned().collect()), ..good.clone() },
            body::Ledger { signatures: Some(vec![signatures[0].clone()]), ..good.clone() },
            body::Ledger {
                signatures: Some(vec![signatures[0].clone(), signatures[1].clone(), String::new()]),
                ..good.clone()
            },
            body::Ledger { replaces: named("", 2).vkey, ..good.clone() },
            body::Ledger { vkey: None, ..good.clone() },
            rotated(3, 2),
            rotated(1, 1),
            named("retired", 1),
            named("retired", 2),
        ];
        for lie in lies {
            assert!(ledger.change(1, "a.example", &lie).is_err(), "{lie:?}");
        }
        assert!(ledger.clone().change(1, "b.example", &good).is_err(), "of another ledger");
        assert_eq!(ledger.active(), keys(&[1]));
        ledger.change(1, "a.example", &good).unwrap();
        ledger.change(2, "a.example", &named("retired", 1)).unwrap();
        assert!(ledger.change(3, "a.example", &rotated(2, 1)).is_err(), "a key does not come back");
        assert!(ledger.change(3, "a.example", &named("retired", 2)).is_err(), "the last one stays");
    }
}

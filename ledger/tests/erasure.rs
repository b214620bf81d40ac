//! After an erasure nothing in any file opens what was erased; before and after it, nothing stands there in the clear.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    reason = "a test stops at the first surprise"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305, XNonce,
    aead::{Aead, Payload},
};
use countersign_ledger::{
    Draft, Ledger,
    checkpoint::CheckpointSigner,
    clock::SystemClock,
    directory::Directory,
    ledger::Options,
    record::{Attachment, StatePut, body},
    vault::{Opened, Vault},
    verify::{Options as Checks, verify},
};
use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use ed25519_dalek::SigningKey;

const PEOPLE: [&str; 3] = ["emma@canary-emma.example", "bob@canary-bob.example", "carol@canary-carol.example"];

fn word(person: usize) -> String {
    format!("plaintextcanary{person}ofthewords")
}

/// The bytes of every file below `dir`; of a long run of zeros (space kept for later) 64 are left, which hides no other byte.
fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.insert(path.clone(), without_long_zeros(&fs::read(&path).unwrap()));
        }
    }
    found
}

fn without_long_zeros(bytes: &[u8]) -> Vec<u8> {
    let (mut kept, mut zeros) = (Vec::new(), 0);
    for byte in bytes {
        zeros = if *byte == 0 { zeros + 1 } else { 0 };
        if zeros <= 64 {
            kept.push(*byte);
        }
    }
    kept
}

fn holds(haystack: &[u8], needle: &[u8]) -> bool {
    let Some((first, rest)) = needle.split_first() else { return true };
    haystack.iter().enumerate().any(|(at, byte)| byte == first && haystack[at + 1..].starts_with(rest))
}

/// The text as it is, in hex, and as it stands in base64url at each of the three alignments.
fn spellings(text: &str) -> Vec<Vec<u8>> {
    let mut all = vec![text.as_bytes().to_vec(), HEXLOWER.encode(text.as_bytes()).into_bytes()];
    for skip in 0..3 {
        let whole = &text.as_bytes()[skip..];
        all.push(BASE64URL_NOPAD.encode(&whole[..whole.len() / 3 * 3]).into_bytes());
    }
    all
}

fn assert_nothing_in_the_clear(dir: &Path) {
    let names = PEOPLE.iter().map(|name| (*name).to_owned());
    let wanted: Vec<Vec<u8>> = names.chain((0..PEOPLE.len()).map(word)).flat_map(|text| spellings(&text)).collect();
    for (path, bytes) in files(dir) {
        for text in &wanted {
            assert!(!holds(&bytes, text), "{} holds {}", path.display(), String::from_utf8_lossy(text));
        }
    }
}

fn open(key: &[u8], associated: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
    let (nonce, sealed) = sealed.split_first_chunk::<24>()?;
    let cipher = XChaCha20Poly1305::new(key.try_into().ok()?);
    cipher.decrypt(&XNonce::from(*nonce), Payload { msg: sealed, aad: associated }).ok()
}

/// A row of the keyring as it was before the erasure: the subject's bytes, and what wraps its data key.
struct Wrapped {
    subject: Vec<u8>,
    sealed: Vec<u8>,
}

/// The row of a subject, read by the format's description and not by the vault's code.
fn row(keyring: &[u8], subject: &str) -> Wrapped {
    let wanted = HEXLOWER.decode(subject.replace('-', "").as_bytes()).unwrap();
    let mut rest = &keyring[16..];
    while !rest.is_empty() {
        let length = u32::from_be_bytes(rest[..4].try_into().unwrap()) as usize;
        let (payload, after) = rest[12..].split_at(length);
        if payload[..16] == wanted {
            return Wrapped { subject: wanted, sealed: payload[16..].to_vec() };
        }
        rest = after;
    }
    panic!("no row of {subject}");
}

/// Tries every 32 bytes of every file as a data key, and as a KEK for the old row: what opened, and where.
fn brute(dir: &Path, attachment: &Attachment, old: &Wrapped) -> Vec<String> {
    let (mut found, mut tried) = (Vec::new(), BTreeSet::new());
    for (path, bytes) in files(dir) {
        for (at, window) in bytes.windows(32).enumerate() {
            // A random key is text once in 2^32; entries are nothing else.
            if window.is_ascii() || !tried.insert(<[u8; 32]>::try_from(window).unwrap()) {
                continue;
            }
            if open(window, attachment.subject.as_bytes(), &attachment.sealed).is_some() {
                found.push(format!("data key in {} at {at}", path.display()));
            }
            if open(window, &old.subject, &old.sealed).is_some() {
                found.push(format!("KEK in {} at {at}", path.display()));
            }
        }
    }
    found
}

fn signer() -> CheckpointSigner {
    CheckpointSigner::new("bank.example/agents", SigningKey::from_bytes(&[1; 32])).unwrap()
}

fn options(dir: &Path) -> Options {
    let mut options = Options::new(dir);
    options.limits.segment_bytes = 1 << 17;
    options
}

/// An instruction per person and round, with the words in entry, state and vault where they belong.
fn write(ledger: &Ledger, vault: &Vault, subjects: &[String], round: usize) {
    for (person, subject) in subjects.iter().enumerate() {
        let said = body::Instruction {
            subject: subject.clone(),
            attested_by: "host".into(),
            host: "app".into(),
            agent: "a".into(),
            ..Default::default()
        };
        let instruction = format!("i-{person}-{round}");
        let mut draft = Draft::new(&said)
            .unwrap()
            .of_instruction(&instruction)
            .disclose(vault, subject, "words", &word(person))
            .unwrap()
            .disclose(vault, subject, "principal", &PEOPLE[person])
            .unwrap();
        let value = vault.seal_state(subject, word(person).as_bytes()).unwrap();
        draft.state.push(StatePut { key: format!("state/{person}").into_bytes(), value: Some(value) });
        ledger.append_blocking(draft).unwrap();
    }
}

#[test]
fn nothing_in_any_file_opens_what_was_erased() {
    let dir = tempfile::tempdir().unwrap();
    let keys = dir.path().join("keys");
    let ledger = Ledger::create(options(dir.path()), signer(), Arc::new(SystemClock), None).unwrap();
    let vault = Vault::open(&keys).unwrap();
    let subjects: Vec<String> = PEOPLE.iter().map(|name| vault.subject(name).unwrap()).collect();
    // Beyond a tile, so that packs, tiles, journal and store all hold some.
    for round in 0..90 {
        write(&ledger, &vault, &subjects, round);
    }
    assert_nothing_in_the_clear(dir.path());

    let attachment = ledger.attachments(1).unwrap().remove(0);
    assert_eq!(attachment.subject, subjects[0]);
    let (old_kek, old_keyring) = (fs::read(keys.join("vault.kek")).unwrap(), fs::read(keys.join("keyring")).unwrap());
    let old = row(&old_keyring, &subjects[0]);
    let old_key = open(&old_kek, &old.subject, &old.sealed).unwrap()[..32].to_vec();
    assert!(!old_key.is_ascii() && !old_kek.is_ascii());
    assert!(open(&old_key, subjects[0].as_bytes(), &attachment.sealed).is_some());
    // The search does find what is there: the KEK, in its file.
    let before = brute(&keys, &attachment, &old);
    assert_eq!(before, [format!("KEK in {} at 0", keys.join("vault.kek").display())]);

    let erasure = body::Erasure { subject: subjects[0].clone(), ..Default::default() };
    ledger.append_blocking(Draft::new(&erasure).unwrap()).unwrap();
    vault.erase(&subjects[0]).unwrap();
    for closed in [false, true] {
        if closed {
            ledger.close().unwrap();
        }
        assert_nothing_in_the_clear(dir.path());
        for (path, bytes) in files(dir.path()) {
            for secret in [&old_kek, &old_key] {
                for spelling in [secret.clone(), HEXLOWER.encode(secret).into_bytes()] {
                    assert!(!holds(&bytes, &spelling), "an old key is in {}", path.display());
                }
            }
            assert!(!holds(&bytes, &old.sealed), "the old row is in {}", path.display());
        }
    }
    assert_eq!(brute(dir.path(), &attachment, &old), Vec::<String>::new());
    drop((ledger, vault));

    let vault = Vault::open(&keys).unwrap();
    let (ledger, _) = Ledger::open(options(dir.path()), signer(), Arc::new(SystemClock)).unwrap();
    for seq in 1..ledger.head().size() {
        for attachment in ledger.attachments(seq).unwrap() {
            let opened = vault.open_attachment(&attachment).unwrap();
            assert_eq!(opened == Opened::Erased, attachment.subject == subjects[0], "entry {seq}");
        }
    }
    drop(ledger);
    let shown = |attachment: &Attachment| match vault.open_attachment(attachment) {
        Ok(Opened::Value(disclosure)) => Ok(Some(disclosure)),
        Ok(Opened::Erased) => Ok(None),
        Err(error) => Err(error.to_string()),
    };
    let directory = Directory::read(dir.path(), None).unwrap();
    let report = verify(&directory, &Checks { open: Some(&shown), ..Checks::default() });
    // Nobody signed for it here; nothing else is wrong.
    let codes: Vec<_> = report.findings.iter().map(|finding| finding.code).collect();
    assert_eq!(codes, ["erasure-unauthorised"], "{report}");
    assert_eq!((report.counts.erased, report.counts.commitments), (180, 360), "{report}");
}

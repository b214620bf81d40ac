//! Code that we did not write agrees with ours: tree proofs, notes, checkpoints, and statements both ways.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that fails should stop where it fails")]

use std::collections::BTreeMap;

use countersign_ledger::{
    Hash,
    checkpoint::{Checkpoint, CheckpointSigner},
    proof::Proof,
    statement::{Jwk, Statement},
    tree::{self, Frontier},
};
use ct_merkle::{ConsistencyProof, InclusionProof, RootHash, mem_backed_tree::MemoryBackedTree};
use ed25519_dalek::{SigningKey, pkcs8::EncodePrivateKey as _};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde_json::{Value, json};
use sha2::Sha256;

const ORIGIN: &str = "bank.example/agents";
const SIZE: u64 = 70;

fn signer() -> CheckpointSigner {
    CheckpointSigner::new(ORIGIN, SigningKey::from_bytes(&[1; 32])).unwrap()
}

fn leaf(seq: u64) -> Vec<u8> {
    format!("{{\"seq\":{seq}}}").into_bytes()
}

/// Our tree's nodes, and the root at each size.
fn ours() -> (BTreeMap<tree::Place, Hash>, Vec<Hash>) {
    let (mut frontier, mut nodes) = (Frontier::default(), BTreeMap::new());
    let mut roots = vec![frontier.root()];
    for seq in 0..SIZE {
        frontier.push(tree::leaf_hash(&leaf(seq)), |place, hash| {
            nodes.insert(place, hash);
        });
        roots.push(frontier.root());
    }
    (nodes, roots)
}

fn joined(path: &[Hash]) -> Vec<u8> {
    path.iter().flat_map(|hash| *hash.as_bytes()).collect()
}

fn theirs(root: Hash, size: u64) -> RootHash<Sha256> {
    RootHash::new((*root.as_bytes()).into(), size)
}

#[test]
fn every_proof_of_ours_convinces_ct_merkle_and_tlog_tiles_and_only_of_what_it_proves() {
    let (nodes, roots) = ours();
    let mut mirror = MemoryBackedTree::<Sha256, Vec<u8>>::new();
    for size in 1..=SIZE {
        mirror.push(leaf(size - 1));
        let root = roots[size as usize];
        assert_eq!(mirror.root().as_bytes().as_slice(), root.as_bytes(), "the roots at size {size}");
        let tlog_root = tlog_tiles::Hash(*root.as_bytes());
        for index in 0..size {
            let path = tree::inclusion_proof(&nodes, index, size).unwrap();
            assert_eq!(mirror.prove_inclusion(index as usize).as_bytes(), joined(&path), "{index} in {size}");
            let proof = InclusionProof::try_from_bytes(joined(&path)).unwrap();
            theirs(root, size).verify_inclusion(&leaf(index), index, &proof).unwrap();
            assert!(theirs(root, size).verify_inclusion(&leaf(index + 1), index, &proof).is_err());
            let path: Vec<_> = path.iter().map(|hash| tlog_tiles::Hash(*hash.as_bytes())).collect();
            tlog_tiles::check_record(&path, size, tlog_root, index, tlog_tiles::record_hash(&leaf(index))).unwrap();
        }
        for old in 1..size {
            let path = tree::consistency_proof(&nodes, old, size).unwrap();
            let proof = ConsistencyProof::try_from_bytes(joined(&path)).unwrap();
            theirs(root, size).verify_consistency(&theirs(roots[old as usize], old), &proof).unwrap();
            assert!(theirs(root, size).verify_consistency(&theirs(Hash::of(b"x"), old), &proof).is_err());
            let path: Vec<_> = path.iter().map(|hash| tlog_tiles::Hash(*hash.as_bytes())).collect();
            let old_root = tlog_tiles::Hash(*roots[old as usize].as_bytes());
            tlog_tiles::check_tree(&path, size, tlog_root, old, old_root).unwrap();
        }
    }
}

#[test]
fn our_notes_are_notes_and_checkpoints_to_others_and_theirs_to_us() {
    let (nodes, roots) = ours();
    let checkpoint = signer().sign(SIZE, roots[SIZE as usize]).unwrap();
    let proof = Proof { index: 4, path: tree::inclusion_proof(&nodes, 4, SIZE).unwrap(), checkpoint };
    // What stands after the blank line of a proof is the note, byte by byte.
    let text = proof.to_string();
    let (_, note) = text.split_once("\n\n").unwrap();
    let vkey = signer().verifier().to_string();
    let verifiers = |vkey: &str| {
        let verifier = signed_note::StandardVerifier::new(vkey).unwrap();
        signed_note::VerifierList::new(vec![Box::new(verifier)])
    };
    let read = signed_note::Note::from_bytes(note.as_bytes()).unwrap();
    let (good, unknown) = read.verify(&verifiers(&vkey)).unwrap();
    assert_eq!((good.len(), unknown.len()), (1, 0));
    let other = CheckpointSigner::new(ORIGIN, SigningKey::from_bytes(&[2; 32])).unwrap().verifier().to_string();
    assert!(read.verify(&verifiers(&other)).is_err());
    let theirs = tlog_tiles::Checkpoint::from_bytes(read.text()).unwrap();
    assert_eq!((theirs.origin(), theirs.size()), (ORIGIN, SIZE));
    assert_eq!(theirs.hash().0, *roots[SIZE as usize].as_bytes());
    // And back: a note that the other library writes.
    let again = Checkpoint::parse(std::str::from_utf8(&read.to_bytes()).unwrap()).unwrap();
    again.verify(&[signer().verifier().clone()]).unwrap();
}

#[test]
fn statements_are_jws_to_a_jose_library_and_its_jws_are_statements_to_us() {
    const TYP: &str = "countersign-decision+jwt";
    let key = SigningKey::from_bytes(&[7; 32]);
    let jwk = Jwk::ed25519(&key.verifying_key());
    let said = json!({ "action": "pay", "amount": "4.00", "to": "Zürich ☃" });
    let mut validation = Validation::new(Algorithm::EdDSA);
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    let ours = Statement::sign(TYP, &said, &key).unwrap();
    let decoding = DecodingKey::from_ed_components(&jwk.x).unwrap();
    let read = jsonwebtoken::decode::<Value>(&ours, &decoding, &validation).unwrap();
    assert_eq!((read.claims, read.header.typ.as_deref()), (said.clone(), Some(TYP)));
    assert_eq!(read.header.kid, Some(jwk.thumbprint()));
    let other = Jwk::ed25519(&SigningKey::from_bytes(&[8; 32]).verifying_key());
    let decoding = DecodingKey::from_ed_components(&other.x).unwrap();
    assert!(jsonwebtoken::decode::<Value>(&ours, &decoding, &validation).is_err());
    let mut header = Header::new(Algorithm::EdDSA);
    (header.typ, header.kid) = (Some(TYP.to_owned()), Some(jwk.thumbprint()));
    let pem = EncodingKey::from_ed_der(key.to_pkcs8_der().unwrap().as_bytes());
    let theirs = jsonwebtoken::encode(&header, &said, &pem).unwrap();
    let statement = Statement::parse(&theirs).unwrap();
    assert_eq!(statement.kid(), jwk.thumbprint());
    assert_eq!(statement.verify::<Value>(TYP, &jwk).unwrap(), said);
    assert!(statement.verify::<Value>(TYP, &other).is_err());
}

#[test]
fn an_es256_statement_of_a_jose_library_is_one_to_us() {
    use p256::{elliptic_curve::sec1::ToSec1Point as _, pkcs8::EncodePrivateKey as _};
    const TYP: &str = "countersign-approval+jwt";
    let key = p256::SecretKey::from_slice(&[7; 32]).unwrap();
    let point = key.public_key().to_sec1_point(false);
    let base64 = |bytes: &[u8]| data_encoding::BASE64URL_NOPAD.encode(bytes);
    let jwk = Jwk {
        kty: "EC".into(),
        crv: "P-256".into(),
        x: base64(point.x().unwrap()),
        y: Some(base64(point.y().unwrap())),
    };
    let mut header = Header::new(Algorithm::ES256);
    (header.typ, header.kid) = (Some(TYP.to_owned()), Some(jwk.thumbprint()));
    let said = json!({ "decision": "approved" });
    let encoding = EncodingKey::from_ec_der(key.to_pkcs8_der().unwrap().as_bytes());
    let theirs = jsonwebtoken::encode(&header, &said, &encoding).unwrap();
    assert_eq!(Statement::parse(&theirs).unwrap().verify::<Value>(TYP, &jwk).unwrap(), said);
}

//! Keys of the ledger that take over from each other, truly and not.

use data_encoding::BASE64;

use super::*;

fn key(seed: u8) -> CheckpointSigner {
    CheckpointSigner::new(ORIGIN, SigningKey::from_bytes(&[seed; 32])).unwrap()
}

/// A ledger that was begun with the trusted key, and opened with these sets of keys one after the other, with a call under each.
fn opened_with(openings: &[&[u8]], tell: impl Fn(&World)) -> (Evidence, Checkpoint) {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::new(dir.path());
    let early = world.ledger.head();
    for seeds in openings {
        let World { ledger, clock, .. } = world;
        ledger.close().unwrap();
        drop(ledger);
        let signer = seeds.iter().map(|seed| key(*seed)).reduce(CheckpointSigner::beside).unwrap();
        let (ledger, _) = Ledger::open(LedgerOptions::new(dir.path()), signer, clock.clone()).unwrap();
        world = World {
            ledger,
            clock,
            vault: world.vault,
            emma: world.emma,
            policy: world.policy,
            said: world.said,
            approver: world.approver,
        };
    }
    honest(&world);
    tell(&world);
    (evidence(dir.path(), &world, &Selection::All), early)
}

/// What an entry would say of a key that comes beside another, signed by these.
fn rotation(old: u8, new: u8, by: [u8; 2]) -> body::Ledger {
    let (replaces, vkey) = (key(old).verifier().to_string(), key(new).verifier().to_string());
    let message = countersign_ledger::rotation::text(ORIGIN, &replaces, &vkey);
    let sign = |seed: u8| {
        let signer = key(seed);
        BASE64.encode(&signer.sign_as(signer.verifier(), message.as_bytes()).unwrap().unwrap())
    };
    body::Ledger {
        event: "rotated".into(),
        software: "countersign/0.1.0".into(),
        vkey: Some(vkey),
        replaces: Some(replaces),
        signatures: Some(by.map(sign).into()),
        ..Default::default()
    }
}

pub(super) fn cases(cases: &mut Vec<Case>) {
    let nothing = |_: &World| {};
    let (both, _) = opened_with(&[&[1, 9]], nothing);
    cases.push(case("no lie, two keys sign", &both));
    let (over, early) = opened_with(&[&[1, 9], &[9]], nothing);
    cases.push(case("no lie, a key took over from the trusted one", &over));
    let held = |lie: &str, evidence: &Evidence| Case {
        against: Some(("checkpoint", early.as_str().to_owned())),
        ..case(lie, evidence)
    };
    cases.push(held("no lie, a key took over, against a checkpoint from before", &over));
    let (twice, _) = opened_with(&[&[1, 9], &[9], &[9, 8], &[8]], nothing);
    cases.push(case("no lie, a key took over from one that took over", &twice));
    let mut hidden = over.clone();
    hidden.keys.truncate(1);
    cases.push(case("no lie, though the file of keys has only the first", &hidden));
    // The trusted key signs on after it was retired, or another one that it did not sign for.
    let mut past = over.clone();
    let (size, root) = (over.checkpoint.as_ref().unwrap().size(), over.checkpoint.as_ref().unwrap().root());
    past.proofs.values_mut().for_each(|proof| proof.checkpoint = key(1).sign(size, root).unwrap());
    cases.push(case("signed with a key that was retired", &past));
    for (lie, entry) in [
        ("a new key that the old one did not sign for", rotation(1, 9, [9, 9])),
        ("a new key that did not sign itself", rotation(1, 9, [1, 1])),
        ("a new key beside one that is not the ledger's", rotation(7, 9, [7, 9])),
        (
            "a new key with one signature",
            body::Ledger { signatures: Some(vec!["AAAA".into()]), ..rotation(1, 9, [1, 9]) },
        ),
        (
            "a key retired that is the only one",
            body::Ledger {
                event: "retired".into(),
                replaces: None,
                signatures: None,
                vkey: Some(key(1).verifier().to_string()),
                ..rotation(1, 9, [1, 9])
            },
        ),
    ] {
        let (lying, _) = opened_with(&[], |world| {
            world.add(None, &entry, &[]);
        });
        cases.push(case(lie, &lying));
    }
    let (mut taken, _) = opened_with(&[], |world| {
        world.add(None, &rotation(1, 9, [9, 9]), &[]);
    });
    let (size, root) = (taken.checkpoint.as_ref().unwrap().size(), taken.checkpoint.as_ref().unwrap().root());
    taken.proofs.values_mut().for_each(|proof| proof.checkpoint = key(9).sign(size, root).unwrap());
    taken.checkpoint = Some(key(9).sign(size, root).unwrap());
    cases.push(case("signed with a new key that the trusted one did not sign for", &taken));
}

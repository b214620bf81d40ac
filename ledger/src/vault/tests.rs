use std::fs;

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn disclosure() -> Disclosure {
    Disclosure::new("words", &json!("pay 12.00")).unwrap()
}

#[test]
fn what_is_sealed_opens_again_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let vault = Vault::open(dir.path()).unwrap();
    let emma = vault.subject("emma").unwrap();
    let attachment = vault.seal(&emma, &disclosure()).unwrap();
    drop(vault);
    let vault = Vault::open(dir.path()).unwrap();
    assert_eq!(vault.subject("emma").unwrap(), emma);
    assert_eq!(vault.principal(&emma).as_deref(), Some("emma"));
    assert!(
        matches!(vault.open_attachment(&attachment).unwrap(), Opened::Value(d) if d.value() == &json!("pay 12.00"))
    );
}

#[test]
fn lengths_of_short_values_do_not_show() {
    let dir = tempfile::tempdir().unwrap();
    let vault = Vault::open(dir.path()).unwrap();
    let emma = vault.subject("emma").unwrap();
    let length = |value| vault.seal(&emma, &Disclosure::new("amount", &value).unwrap()).unwrap().sealed.len();
    assert_eq!(length("1"), length("10000"));
}

#[test]
fn subjects_do_not_open_each_other() {
    let dir = tempfile::tempdir().unwrap();
    let vault = Vault::open(dir.path()).unwrap();
    let (emma, bob) = (vault.subject("emma").unwrap(), vault.subject("bob").unwrap());
    let mut attachment = vault.seal(&emma, &disclosure()).unwrap();
    attachment.subject = bob;
    assert!(matches!(vault.open_attachment(&attachment), Err(VaultError::Sealed { .. })));
}

#[test]
fn an_erased_subject_is_gone_also_for_old_copies() {
    let dir = tempfile::tempdir().unwrap();
    let vault = Vault::open(dir.path()).unwrap();
    let (emma, bob) = (vault.subject("emma").unwrap(), vault.subject("bob").unwrap());
    let (hers, his) = (vault.seal(&emma, &disclosure()).unwrap(), vault.seal(&bob, &disclosure()).unwrap());
    let old_keyring = fs::read(dir.path().join("keyring")).unwrap();
    vault.erase(&emma).unwrap();
    for vault in [vault, Vault::open(dir.path()).unwrap()] {
        assert_eq!(vault.open_attachment(&hers).unwrap(), Opened::Erased);
        assert!(matches!(vault.open_attachment(&his).unwrap(), Opened::Value(_)));
        assert_eq!(vault.principal(&emma), None);
        drop(vault);
    }
    assert_ne!(Vault::open(dir.path()).unwrap().subject("emma").unwrap(), emma);
    fs::write(dir.path().join("keyring"), old_keyring).unwrap();
    assert!(matches!(Vault::open(dir.path()), Err(VaultError::WrongKek(_))));
}

#[test]
fn an_erasure_cut_short_leaves_the_old_or_the_new_state() {
    let dir = tempfile::tempdir().unwrap();
    let vault = Vault::open(dir.path()).unwrap();
    let (emma, bob) = (vault.subject("emma").unwrap(), vault.subject("bob").unwrap());
    let (old_kek, old_keyring) =
        (fs::read(dir.path().join("vault.kek")).unwrap(), fs::read(dir.path().join("keyring")).unwrap());
    vault.erase(&emma).unwrap();
    let (new_kek, new_keyring) =
        (fs::read(dir.path().join("vault.kek")).unwrap(), fs::read(dir.path().join("keyring")).unwrap());
    drop(vault);
    // After each step of `rewrap`: new KEK beside, new keyring in place, old KEK wiped, old KEK removed.
    type State<'s> = (&'s [u8], Option<&'s [u8]>, &'s [u8], bool);
    let states: [State<'_>; 4] = [
        (&old_kek, Some(&new_kek), &old_keyring, true),
        (&old_kek, Some(&new_kek), &new_keyring, false),
        (&[0; 32], Some(&new_kek), &new_keyring, false),
        (&[], Some(&new_kek), &new_keyring, false),
    ];
    for (kek, next, keyring, emma_there) in states {
        let write = |name: &str, bytes: &[u8]| {
            let path = dir.path().join(name);
            let _ = fs::remove_file(&path);
            if !bytes.is_empty() {
                files_write(&path, bytes);
            }
        };
        write("vault.kek", kek);
        write("vault.kek.next", next.unwrap_or_default());
        write("keyring", keyring);
        let vault = Vault::open(dir.path()).unwrap();
        assert_eq!(vault.principal(&emma).is_some(), emma_there);
        assert!(vault.principal(&bob).is_some());
        assert!(!dir.path().join("vault.kek.next").exists());
    }
}

fn files_write(path: &Path, bytes: &[u8]) {
    crate::files::write_new(path, bytes, true).unwrap();
}

#[test]
fn every_changed_byte_of_the_key_files_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    Vault::open(dir.path()).unwrap().subject("emma").unwrap();
    for name in ["keyring", "vault.kek"] {
        let path = dir.path().join(name);
        let good = fs::read(&path).unwrap();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            fs::write(&path, &bad).unwrap();
            let error = Vault::open(dir.path()).unwrap_err();
            assert!(!error.to_string().is_empty(), "{name} byte {at}");
            assert_eq!(fs::read(&path).unwrap(), bad, "nothing is cut off what is damaged");
            let _ = fs::remove_file(&path);
            files_write(&path, &good);
        }
        assert!(Vault::open(dir.path()).unwrap().find("emma").is_some());
    }
}

#[test]
fn a_kek_without_its_keyring_is_not_given_an_empty_one() {
    let dir = tempfile::tempdir().unwrap();
    Vault::open(dir.path()).unwrap().subject("emma").unwrap();
    fs::remove_file(dir.path().join("keyring")).unwrap();
    let error = Vault::open(dir.path()).unwrap_err();
    assert!(matches!(error, VaultError::NoKeyring(_)) && error.to_string().contains("backup"), "{error}");
    assert!(!dir.path().join("keyring").exists());
}

#[test]
fn a_first_start_that_was_cut_short_is_begun_again_or_ended() {
    let dir = tempfile::tempdir().unwrap();
    let (kek, next) = (dir.path().join("vault.kek"), dir.path().join("vault.kek.next"));
    // Cut off before the keyring was written.
    files_write(&next, &[7; 5]);
    Vault::open(dir.path()).unwrap().subject("emma").unwrap();
    assert!(kek.exists() && !next.exists());
    // And after: the KEK has not its name yet.
    fs::rename(&kek, &next).unwrap();
    assert!(Vault::open(dir.path()).unwrap().find("emma").is_some());
    assert!(kek.exists() && !next.exists());
}

#[test]
fn a_keyring_without_its_kek_is_not_given_another_one() {
    let dir = tempfile::tempdir().unwrap();
    Vault::open(dir.path()).unwrap().subject("emma").unwrap();
    fs::remove_file(dir.path().join("vault.kek")).unwrap();
    let error = Vault::open(dir.path()).unwrap_err();
    assert!(matches!(error, VaultError::NoKek(_)) && error.to_string().contains("backup"), "{error}");
    assert!(!dir.path().join("vault.kek").exists());
}

#[test]
fn an_append_cut_short_loses_only_itself_and_later_ones_follow() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("keyring");
    let vault = Vault::open(dir.path()).unwrap();
    let emma = vault.subject("emma").unwrap();
    let before = fs::read(&path).unwrap().len();
    vault.subject("bob").unwrap();
    let whole = fs::read(&path).unwrap();
    for cut in before..whole.len() {
        // The file ends there, or zeros follow because its length was durable before its contents.
        for zeros in [0, whole.len() - cut + 16] {
            fs::write(&path, [&whole[..cut], &vec![0; zeros]].concat()).unwrap();
            let vault = Vault::open(dir.path()).unwrap();
            assert_eq!(
                (vault.find("emma"), vault.find("bob")),
                (Some(emma.clone()), None),
                "cut at {cut}, {zeros} zeros"
            );
            let carol = vault.subject("carol").unwrap();
            drop(vault);
            assert_eq!(Vault::open(dir.path()).unwrap().find("carol"), Some(carol));
        }
    }
}

#[test]
fn a_name_too_long_is_refused_and_the_keyring_still_opens() {
    let dir = tempfile::tempdir().unwrap();
    let vault = Vault::open(dir.path()).unwrap();
    assert!(matches!(vault.subject(&"x".repeat(70_000)), Err(VaultError::PrincipalTooLong(70_000))));
    let (long, emma) = (vault.subject(&"x".repeat(65_000)).unwrap(), vault.subject("emma").unwrap());
    drop(vault);
    let vault = Vault::open(dir.path()).unwrap();
    assert_eq!((vault.find(&"x".repeat(65_000)), vault.find("emma")), (Some(long), Some(emma)));
}

#[test]
fn after_a_failed_change_nothing_more_is_written_until_it_is_opened_again() {
    let dir = tempfile::tempdir().unwrap();
    let vault = Vault::open(dir.path()).unwrap();
    let (emma, bob) = (vault.subject("emma").unwrap(), vault.subject("bob").unwrap());
    // In the way of the new KEK.
    fs::create_dir(dir.path().join("vault.kek.next")).unwrap();
    assert!(matches!(vault.erase(&emma), Err(VaultError::Io { .. })));
    assert!(matches!(vault.subject("carol"), Err(VaultError::Stopped(_))));
    assert!(matches!(vault.erase(&bob), Err(VaultError::Stopped(_))));
    assert_eq!(vault.subject("emma").unwrap(), emma, "what is there is still found");
    fs::remove_dir(dir.path().join("vault.kek.next")).unwrap();
    let vault = Vault::open(dir.path()).unwrap();
    vault.erase(&emma).unwrap();
    assert_eq!((vault.find("emma"), vault.find("bob")), (None, Some(bob)));
}

#[test]
fn a_key_that_others_can_read_is_refused() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    drop(Vault::open(dir.path()).unwrap());
    fs::set_permissions(dir.path().join("vault.kek"), fs::Permissions::from_mode(0o640)).unwrap();
    let error = Vault::open(dir.path()).unwrap_err();
    assert!(error.to_string().contains("chmod 600"), "{error}");
}

proptest! {
    #[test]
    fn padding_is_undone(plain in proptest::collection::vec(any::<u8>(), 0..300)) {
        let key = Key::new([7; 32]);
        let mut sealed = Vec::new();
        encrypt_padded(&key, b"subject", &plain, &mut sealed).unwrap();
        // A nonce of 24 bytes, a tag of 16.
        prop_assert_eq!((sealed.len() - 24 - 16) % 64, 0);
        prop_assert_eq!(decrypt(&key, b"subject", &sealed).as_deref().and_then(unpad), Some(plain));
    }

    #[test]
    fn no_bytes_make_the_keyring_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), flip in any::<usize>()) {
        let dir = tempfile::tempdir().unwrap();
        Vault::open(dir.path()).unwrap().subject("emma").unwrap();
        let path = dir.path().join("keyring");
        let mut keyring = fs::read(&path).unwrap();
        let keep = flip % (keyring.len() + 1);
        keyring.truncate(keep);
        keyring.extend(&bytes);
        fs::write(&path, keyring).unwrap();
        if let Ok(vault) = Vault::open(dir.path()) {
            prop_assert!(vault.subjects.read().0.by_id.len() <= 1);
        }
    }

    #[test]
    fn no_bytes_make_unpad_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = unpad(&bytes);
    }
}

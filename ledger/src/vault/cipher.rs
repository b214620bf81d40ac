//! XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha-03): the nonce's first 16 bytes and the key give a key of one use (HChaCha20), under which the rest is
//! ChaCha20-Poly1305 (RFC 8439), by *ring*: the values of a call are short, and on them it is four times as fast as RustCrypto's, which the tests read it with.

use chacha20::{R20, hchacha};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use zeroize::Zeroizing;

use super::{Key, VaultError};
use crate::random;

const PADDING: usize = 64;
const NONCE_BYTES: usize = 24;
/// Of the nonce, what goes into the key.
const KEY_NONCE_BYTES: usize = 16;
const TAG_BYTES: usize = 16;
const LENGTH_BYTES: usize = 4;

/// Puts behind what is in `sealed`: nonce and ciphertext of `plain` with its length (32 bits, big-endian) in front and zeros behind, up to a multiple of
/// [`PADDING`].
pub(super) fn encrypt_padded(
    key: &Key,
    associated: &[u8],
    plain: &[u8],
    sealed: &mut Vec<u8>,
) -> Result<(), VaultError> {
    let padded = (LENGTH_BYTES + plain.len()).next_multiple_of(PADDING);
    let from = put_nonce(padded, sealed)?;
    sealed.extend(u32::try_from(plain.len()).unwrap_or(u32::MAX).to_be_bytes());
    sealed.extend(plain);
    sealed.resize(from + NONCE_BYTES + padded, 0);
    encrypt_in_place(key, associated, sealed, from)
}

/// Nonce and ciphertext of `plain`.
pub(super) fn encrypt(key: &Key, associated: &[u8], plain: &[u8]) -> Result<Vec<u8>, VaultError> {
    let mut sealed = Vec::new();
    put_nonce(plain.len(), &mut sealed)?;
    sealed.extend(plain);
    encrypt_in_place(key, associated, &mut sealed, 0)?;
    Ok(sealed)
}

/// What [`encrypt`] made; `None` when it was changed or is another key's.
pub(super) fn decrypt(key: &Key, associated: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
    let (nonce, sealed) = sealed.split_first_chunk::<NONCE_BYTES>()?;
    let (cipher, nonce) = of_one_use(key, nonce)?;
    let mut text = sealed.to_vec();
    let length = cipher.open_in_place(nonce, Aad::from(associated), &mut text).ok()?.len();
    text.truncate(length);
    Some(text)
}

/// The text that [`encrypt_padded`] was given.
pub(super) fn unpad(padded: &[u8]) -> Option<Vec<u8>> {
    let (length, rest) = padded.split_first_chunk::<LENGTH_BYTES>()?;
    rest.get(..u32::from_be_bytes(*length) as usize).map(<[u8]>::to_vec)
}

/// Puts a nonce behind what is in `sealed`, with room for so much text; gives where it stands.
fn put_nonce(text_bytes: usize, sealed: &mut Vec<u8>) -> Result<usize, VaultError> {
    let mut nonce = [0; NONCE_BYTES];
    random::fill(&mut nonce).map_err(|error| VaultError::Random(error.to_string()))?;
    sealed.reserve(NONCE_BYTES + text_bytes + TAG_BYTES);
    let from = sealed.len();
    sealed.extend(nonce);
    Ok(from)
}

/// Encrypts what stands behind the nonce at `from`, and puts the tag behind it.
fn encrypt_in_place(key: &Key, associated: &[u8], sealed: &mut Vec<u8>, from: usize) -> Result<(), VaultError> {
    let refused = || VaultError::Random("the cipher refused the input".into());
    let of_it = sealed.get_mut(from..).ok_or_else(refused)?;
    let (nonce, text) = of_it.split_first_chunk_mut::<NONCE_BYTES>().ok_or_else(refused)?;
    let (cipher, nonce) = of_one_use(key, nonce).ok_or_else(refused)?;
    let tag =
        cipher.seal_in_place_separate_tag(nonce, Aad::from(associated), text).map_err(|_unspecified| refused())?;
    sealed.extend(tag.as_ref());
    Ok(())
}

/// The key of one use, and its nonce.
fn of_one_use(key: &Key, nonce: &[u8; NONCE_BYTES]) -> Option<(LessSafeKey, Nonce)> {
    let (first, rest) = nonce.split_first_chunk::<KEY_NONCE_BYTES>()?;
    let once = Zeroizing::new(<[u8; 32]>::from(hchacha::<R20>((&**key).into(), first.into())));
    let mut nonce = [0; ring::aead::NONCE_LEN];
    nonce.get_mut(ring::aead::NONCE_LEN - rest.len()..)?.copy_from_slice(rest);
    let cipher = UnboundKey::new(&CHACHA20_POLY1305, once.as_slice()).ok()?;
    Some((LessSafeKey::new(cipher), Nonce::assume_unique_for_key(nonce)))
}

#[cfg(test)]
mod tests {
    use chacha20poly1305::{
        KeyInit as _, XChaCha20Poly1305, XNonce,
        aead::{Aead as _, Payload},
    };
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Another implementation reads what this one writes, and the other way round; a changed byte opens for nobody.
        #[test]
        fn rustcrypto_agrees_both_ways(
            key: [u8; 32], aad in proptest::collection::vec(any::<u8>(), 0..70), text in proptest::collection::vec(any::<u8>(), 0..300), flip: usize,
        ) {
            let (key, other) = (Key::new(key), XChaCha20Poly1305::new(&key.into()));
            let mut sealed = encrypt(&key, &aad, &text).unwrap();
            let (nonce, behind) = sealed.split_first_chunk::<NONCE_BYTES>().unwrap();
            let nonce = XNonce::from(*nonce);
            prop_assert_eq!(other.decrypt(&nonce, Payload { msg: behind, aad: &aad }).unwrap(), text.clone());
            prop_assert_eq!(other.encrypt(&nonce, Payload { msg: &text, aad: &aad }).unwrap(), behind);
            prop_assert_eq!(decrypt(&key, &aad, &sealed), Some(text.clone()));
            let mut behind = b"what was there".to_vec();
            encrypt_padded(&key, &aad, &text, &mut behind).unwrap();
            let padded = behind.strip_prefix(b"what was there").unwrap();
            prop_assert_eq!(unpad(&decrypt(&key, &aad, padded).unwrap()), Some(text));
            let at = flip % sealed.len();
            sealed[at] ^= 1;
            prop_assert_eq!(decrypt(&key, &aad, &sealed), None);
        }
    }
}

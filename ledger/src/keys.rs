//! Key files: Ed25519 keys as PKCS#8 PEM (RFC 8410), readable by their owner only.

use std::path::{Path, PathBuf};

use ed25519_dalek::{
    SigningKey,
    pkcs8::{DecodePrivateKey as _, EncodePrivateKey as _, spki::der::pem::LineEnding},
};
use rand::{TryRng, rngs::SysRng};
use zeroize::Zeroizing;

use crate::files;

/// Why a key file cannot be made or used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The file cannot be read or written.
    #[error("`{path}`: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A key file that others can read.
    #[error("`{0}` can be read by others; a key file must be mode 0600: run `chmod 600` on it")]
    Permissions(PathBuf),
    /// Not an Ed25519 key in PKCS#8 PEM.
    #[error(
        "`{0}` is not an Ed25519 private key in PKCS#8 PEM; make one with `countersign keys new` or `openssl genpkey -algorithm ed25519`"
    )]
    Format(PathBuf),
    /// The operating system gave no random bytes.
    #[error("the operating system gave no random bytes: {0}")]
    Random(String),
}

/// A fresh key.
///
/// # Errors
/// [`KeyError::Random`].
pub fn generate() -> Result<SigningKey, KeyError> {
    let mut secret = Zeroizing::new([0; 32]);
    SysRng.try_fill_bytes(secret.as_mut_slice()).map_err(|error| KeyError::Random(error.to_string()))?;
    Ok(SigningKey::from_bytes(&secret))
}

/// Writes a key to a file that must not exist yet, mode 0600, durable on return.
///
/// # Errors
/// [`KeyError::Io`], [`KeyError::Format`].
pub fn save(path: &Path, key: &SigningKey) -> Result<(), KeyError> {
    let pem = key.to_pkcs8_pem(LineEnding::LF).map_err(|_| KeyError::Format(path.to_owned()))?;
    if let Some(dir) = path.parent().filter(|dir| !dir.as_os_str().is_empty()) {
        files::create_private_dir(dir).map_err(|source| KeyError::Io { path: dir.to_owned(), source })?;
    }
    files::write_new(path, pem.as_bytes(), true).map_err(|source| KeyError::Io { path: path.to_owned(), source })
}

/// Reads a key.
///
/// # Errors
/// [`KeyError`]; a file that others can read is refused.
pub fn load(path: &Path) -> Result<SigningKey, KeyError> {
    let pem = read_private(path)?;
    SigningKey::from_pkcs8_pem(&pem).map_err(|_| KeyError::Format(path.to_owned()))
}

/// Reads a file that only its owner may read.
///
/// # Errors
/// [`KeyError::Io`], [`KeyError::Permissions`].
pub fn read_private(path: &Path) -> Result<Zeroizing<String>, KeyError> {
    let io = |source| KeyError::Io { path: path.to_owned(), source };
    if !files::is_private(path).map_err(io)? {
        return Err(KeyError::Permissions(path.to_owned()));
    }
    Ok(Zeroizing::new(std::fs::read_to_string(path).map_err(io)?))
}

/// Reads a key, or makes one when there is no file.
///
/// # Errors
/// [`KeyError`].
pub fn load_or_create(path: &Path) -> Result<SigningKey, KeyError> {
    if path.exists() {
        return load(path);
    }
    let key = generate()?;
    save(path, &key)?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_survives_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys/gateway.pem");
        let key = load_or_create(&path).unwrap();
        assert_eq!(load(&path).unwrap().to_bytes(), key.to_bytes());
        assert!(matches!(save(&path, &key), Err(KeyError::Io { .. })), "an existing key is never overwritten");
    }

    #[test]
    fn what_is_not_a_key_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        files::write_new(&path, b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", true).unwrap();
        assert!(matches!(load(&path), Err(KeyError::Format(_))));
    }
}

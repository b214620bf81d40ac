//! The keyring file: a header with the KEK's id, then a checksummed record per data subject, appended.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use uuid::Uuid;
use zeroize::Zeroize as _;

use super::{Key, VaultError, decrypt, encrypt, random};
use crate::{Hash, files};

/// Name and version of the format.
const MAGIC: &[u8; 8] = b"CSKEYR\x00\x01";
const HEADER_BYTES: usize = MAGIC.len() + 8;
const MAX_RECORD_BYTES: usize = 64 * 1024;
/// Length, its checksum, and the payload's.
const HEAD_BYTES: usize = 12;
/// No record ends so: its last 16 bytes are an authentication tag.
const NEVER_WRITTEN: usize = 16;

/// A data subject's row.
pub(super) struct Record {
    pub(super) subject: String,
    pub(super) principal: String,
    pub(super) key: Key,
}

pub(super) struct Keyring {
    dir: PathBuf,
    kek: Key,
    file: File,
    /// A change failed half-way: what the file holds is known again only after it was opened anew.
    stopped: bool,
}

impl Keyring {
    /// Opens or makes keyring and KEK; ends an erasure that was cut short.
    pub(super) fn open(dir: &Path) -> Result<(Keyring, Vec<Record>), VaultError> {
        files::create_private_dir(dir).map_err(|source| io_error(dir, source))?;
        let (path, kek_path, next_path) = (dir.join("keyring"), dir.join("vault.kek"), dir.join("vault.kek.next"));
        if !path.exists() {
            // INVARIANT: a KEK has its name only after the keyring has its own.
            if kek_path.exists() {
                return Err(VaultError::NoKeyring(path));
            }
            destroy(&next_path)?;
            let mut kek = Key::new([0; 32]);
            random(kek.as_mut_slice())?;
            write_new(&next_path, kek.as_slice())?;
            replace(dir, &kek, std::iter::empty())?;
        }
        let bytes = fs::read(&path).map_err(|source| io_error(&path, source))?;
        check_private(&path)?;
        if next_path.exists() {
            finish_rewrap(dir, &bytes, &kek_path, &next_path)?;
        }
        let kek = read_kek(&kek_path)?;
        let (records, length) = decode(&path, &bytes, &kek)?;
        let file = OpenOptions::new().append(true).open(&path).map_err(|source| io_error(&path, source))?;
        // An append that was cut short was never acknowledged: the record's subject appears in no entry.
        file.set_len(length as u64).and_then(|()| file.sync_all()).map_err(|source| io_error(&path, source))?;
        Ok((Keyring { dir: dir.to_owned(), kek, file, stopped: false }, records))
    }

    /// Adds a row; durable on return. One for which the disk has no room is taken back, and can be added when it has.
    pub(super) fn append(&mut self, record: &Record) -> Result<(), VaultError> {
        let row = encode(record, &self.kek)?;
        let path = self.dir.join("keyring");
        let io = |source| io_error(&path, source);
        self.begin(&path)?;
        let before = self.file.metadata().map_err(io)?.len();
        let written = self.file.write_all(&row).map_err(io);
        match &written {
            Ok(()) => self.file.sync_data().map_err(io)?,
            Err(error) if error.is_full() => {
                self.file.set_len(before).and_then(|()| self.file.sync_all()).map_err(io)?
            }
            Err(_) => return written,
        }
        self.stopped = false;
        written
    }

    /// Marks the keyring as changing. Whoever fails leaves it so: behind half a row nothing may be written.
    fn begin(&mut self, path: &Path) -> Result<(), VaultError> {
        if std::mem::replace(&mut self.stopped, true) {
            return Err(VaultError::Stopped(path.to_owned()));
        }
        Ok(())
    }

    /// Writes all rows anew under a new KEK and destroys the old one.
    pub(super) fn rewrap(&mut self, rows: impl Iterator<Item = Record>) -> Result<(), VaultError> {
        let (path, kek_path, next_path) =
            (self.dir.join("keyring"), self.dir.join("vault.kek"), self.dir.join("vault.kek.next"));
        let mut kek = Key::new([0; 32]);
        random(kek.as_mut_slice())?;
        self.begin(&path)?;
        write_new(&next_path, kek.as_slice())?;
        replace(&self.dir, &kek, rows)?;
        // The new keyring is in place: from here on the old KEK opens nothing that is needed.
        destroy(&kek_path)?;
        fs::rename(&next_path, &kek_path).map_err(|source| io_error(&kek_path, source))?;
        files::sync_dir(&self.dir).map_err(|source| io_error(&self.dir, source))?;
        self.file = OpenOptions::new().append(true).open(&path).map_err(|source| io_error(&path, source))?;
        self.kek = kek;
        self.stopped = false;
        Ok(())
    }
}

/// Which KEK a keyring was written with, without saying anything about it.
fn kek_id(kek: &Key) -> [u8; 8] {
    let mut input = b"countersign/kek-id\0".to_vec();
    input.extend(kek.as_slice());
    let [a, b, c, d, e, f, g, h, ..] = *Hash::of(&input).as_bytes();
    input.zeroize();
    [a, b, c, d, e, f, g, h]
}

/// An erasure was cut short: either the new keyring is in place, then the old KEK goes; or it is not, then the new KEK goes.
fn finish_rewrap(dir: &Path, keyring: &[u8], kek_path: &Path, next_path: &Path) -> Result<(), VaultError> {
    let id = keyring.get(MAGIC.len()..HEADER_BYTES).unwrap_or_default();
    let next = read_kek(next_path).ok().filter(|next| kek_id(next) == id);
    if next.is_some() {
        destroy(kek_path)?;
        fs::rename(next_path, kek_path).map_err(|source| io_error(kek_path, source))?;
    } else {
        destroy(next_path)?;
    }
    files::sync_dir(dir).map_err(|source| io_error(dir, source))
}

/// Writes a whole keyring beside the old one and puts it in its place.
fn replace(dir: &Path, kek: &Key, rows: impl Iterator<Item = Record>) -> Result<(), VaultError> {
    let path = dir.join("keyring");
    let mut bytes = MAGIC.to_vec();
    bytes.extend(kek_id(kek));
    for row in rows {
        bytes.extend(encode(&row, kek)?);
    }
    files::replace(&path, &bytes, true).map_err(|source| io_error(&path, source))
}

/// Length, its CRC-32, the payload's CRC-32 (big-endian); payload: subject, nonce, ciphertext of data key and principal.
///
/// The length has a checksum of its own: a longer one would look like an append that was cut short, and all that follows would be cut off.
fn encode(record: &Record, kek: &Key) -> Result<Vec<u8>, VaultError> {
    let subject = Uuid::parse_str(&record.subject).map_err(|_| VaultError::NoKey(record.subject.clone()))?;
    let mut plain = record.key.to_vec();
    plain.extend(record.principal.as_bytes());
    let sealed = encrypt(kek, subject.as_bytes(), &plain);
    plain.zeroize();
    let payload = [subject.as_bytes().as_slice(), &sealed?].concat();
    let length = u32::try_from(payload.len()).ok().filter(|length| *length as usize <= MAX_RECORD_BYTES);
    let length = length.ok_or(VaultError::PrincipalTooLong(record.principal.len()))?.to_be_bytes();
    let checksums = [crc32fast::hash(&length).to_be_bytes(), crc32fast::hash(&payload).to_be_bytes()];
    Ok([length.as_slice(), checksums.as_flattened(), &payload].concat())
}

/// The rows, and how many bytes they take: an incomplete last row is left out.
fn decode(path: &Path, bytes: &[u8], kek: &Key) -> Result<(Vec<Record>, usize), VaultError> {
    let damaged = |at, what| VaultError::Damaged { path: path.to_owned(), at, what };
    if bytes.get(..MAGIC.len()) != Some(MAGIC) {
        return Err(damaged(0, "not a keyring, or of a later version"));
    }
    let id = bytes.get(MAGIC.len()..HEADER_BYTES).ok_or_else(|| damaged(MAGIC.len(), "the header is cut"))?;
    if id != kek_id(kek) {
        return Err(VaultError::WrongKek(path.with_file_name("vault.kek")));
    }
    let (mut records, mut at) = (Vec::new(), HEADER_BYTES);
    let bytes = written(bytes);
    while let Some((head, rest)) = bytes.get(at..).and_then(<[u8]>::split_first_chunk::<HEAD_BYTES>) {
        let (length, checksum) = split_head(head).ok_or_else(|| damaged(at, "a record's length was changed"))?;
        if length > MAX_RECORD_BYTES {
            return Err(damaged(at, "a record's length is impossible"));
        }
        let Some(payload) = rest.get(..length) else { break };
        if crc32fast::hash(payload) != checksum {
            return Err(damaged(at, "a record's checksum does not fit"));
        }
        let record = decode_record(payload, kek).ok_or_else(|| damaged(at, "a record does not open under the KEK"))?;
        records.push(record);
        at += HEAD_BYTES + length;
    }
    Ok((records, at))
}

/// The payload's length and checksum, unless the length does not fit its own.
fn split_head(head: &[u8; HEAD_BYTES]) -> Option<(usize, u32)> {
    let (length, checksums) = head.split_first_chunk::<4>()?;
    let (own, payload) = checksums.split_first_chunk::<4>()?;
    let fits = crc32fast::hash(length) == u32::from_be_bytes(*own);
    fits.then_some((u32::from_be_bytes(*length) as usize, u32::from_be_bytes(payload.try_into().ok()?)))
}

/// Without the zeros that a power cut can leave at the end of a file whose length was already durable.
fn written(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    if bytes.len() - end >= NEVER_WRITTEN { bytes.get(..end).unwrap_or_default() } else { bytes }
}

fn decode_record(payload: &[u8], kek: &Key) -> Option<Record> {
    let (subject, sealed) = payload.split_first_chunk::<16>()?;
    let mut plain = decrypt(kek, subject, sealed)?;
    let (key, principal) = plain.split_first_chunk::<32>()?;
    let record = Record {
        subject: Uuid::from_bytes(*subject).to_string(),
        principal: String::from_utf8(principal.to_vec()).ok()?,
        key: Key::new(*key),
    };
    plain.zeroize();
    Some(record)
}

fn read_kek(path: &Path) -> Result<Key, VaultError> {
    if !path.exists() {
        return Err(VaultError::NoKek(path.to_owned()));
    }
    check_private(path)?;
    let mut bytes = fs::read(path).map_err(|source| io_error(path, source))?;
    let key = <[u8; 32]>::try_from(bytes.as_slice()).map(Key::new);
    bytes.zeroize();
    key.map_err(|_| VaultError::Damaged { path: path.to_owned(), at: 0, what: "a KEK has 32 bytes" })
}

fn check_private(path: &Path) -> Result<(), VaultError> {
    match files::is_private(path) {
        Ok(true) => Ok(()),
        Ok(false) => Err(VaultError::Permissions(path.to_owned())),
        Err(source) => Err(io_error(path, source)),
    }
}

fn write_new(path: &Path, bytes: &[u8]) -> Result<(), VaultError> {
    files::write_new(path, bytes, true).map_err(|source| io_error(path, source))
}

/// Overwrites a key file with zeros, then removes it.
fn destroy(path: &Path) -> Result<(), VaultError> {
    let wipe = || -> io::Result<()> {
        let length = usize::try_from(fs::metadata(path)?.len()).unwrap_or(0);
        let mut file = OpenOptions::new().write(true).open(path)?;
        file.write_all(&vec![0; length])?;
        file.sync_all()?;
        fs::remove_file(path)
    };
    match wipe() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.map_err(|source| io_error(path, source)),
    }
}

fn io_error(path: &Path, source: io::Error) -> VaultError {
    VaultError::Io { path: path.to_owned(), source }
}

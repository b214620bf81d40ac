//! The anchor: the newest head in two alternating slots, outside journal, store and archive and better on another volume.
//! When all of those are rolled back together, the anchor shows it.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{Hash, checkpoint::Checkpoint, disk::Disk};

const MAGIC: &[u8; 8] = b"CSANCH\x00\x01";
const SLOT_BYTES: usize = 1024;

/// The head as the anchor knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Anchored {
    /// The signed checkpoint.
    pub checkpoint: Checkpoint,
    /// SHA-256 of the last entry's bytes.
    pub head: Hash,
}

pub(crate) struct Anchor {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    next: usize,
}

impl Anchor {
    /// The anchor in `dir`, with what it holds. A slot that was cut short by a crash is left out; the other one holds.
    pub(crate) fn open(disk: Arc<dyn Disk>, dir: &Path) -> io::Result<(Anchor, Option<Anchored>, Vec<String>)> {
        disk.create_dir(dir)?;
        let (mut newest, mut next, mut damaged) = (None::<Anchored>, 0, Vec::new());
        for (slot, name) in ["0", "1"].into_iter().enumerate() {
            let bytes = match disk.read(&dir.join(name)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                other => other?,
            };
            match decode(&bytes) {
                Some(anchored)
                    if newest.as_ref().is_none_or(|newest| newest.checkpoint.size() < anchored.checkpoint.size()) =>
                {
                    newest = Some(anchored);
                    next = 1 - slot;
                }
                Some(_) => {}
                None => damaged.push(name.to_owned()),
            }
        }
        Ok((Anchor { disk, dir: dir.to_owned(), next }, newest, damaged))
    }

    /// Forgets what it holds.
    pub(crate) fn clear(&self) -> io::Result<()> {
        for name in ["0", "1"] {
            match self.disk.remove(&self.dir.join(name)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        self.disk.sync_dir(&self.dir)
    }

    pub(crate) fn write(&mut self, anchored: &Anchored) -> io::Result<()> {
        let path = self.dir.join(self.next.to_string());
        let file = self.disk.open(&path)?;
        file.write_at(&encode(anchored), 0)?;
        file.sync()?;
        self.disk.sync_dir(&self.dir)?;
        self.next = 1 - self.next;
        Ok(())
    }
}

fn encode(anchored: &Anchored) -> Vec<u8> {
    let note = anchored.checkpoint.as_str().as_bytes();
    let mut payload = anchored.head.as_bytes().to_vec();
    payload.extend(u16::try_from(note.len()).unwrap_or(u16::MAX).to_be_bytes());
    payload.extend(note);
    let mut slot = [MAGIC.as_slice(), &crc32fast::hash(&payload).to_be_bytes(), &payload].concat();
    slot.resize(slot.len().max(SLOT_BYTES), 0);
    slot
}

fn decode(bytes: &[u8]) -> Option<Anchored> {
    let (magic, rest) = bytes.split_first_chunk::<8>()?;
    let (checksum, payload) = rest.split_first_chunk::<4>()?;
    let (head, rest) = payload.split_first_chunk::<32>()?;
    let (length, note) = rest.split_first_chunk::<2>()?;
    let length = usize::from(u16::from_be_bytes(*length));
    let note = note.get(..length)?;
    let payload = payload.get(..32 + 2 + length)?;
    if magic != MAGIC || crc32fast::hash(payload) != u32::from_be_bytes(*checksum) {
        return None;
    }
    let checkpoint = Checkpoint::parse(std::str::from_utf8(note).ok()?).ok()?;
    Some(Anchored { checkpoint, head: Hash::from(*head) })
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::SigningKey;

    use super::*;
    use crate::{checkpoint::CheckpointSigner, disk::SystemDisk};

    fn anchored(size: u64) -> Anchored {
        let signer = CheckpointSigner::new("a.example", SigningKey::from_bytes(&[1; 32])).unwrap();
        Anchored { checkpoint: signer.sign(size, Hash::of(b"root")).unwrap(), head: Hash::of(b"head") }
    }

    #[test]
    fn the_newest_whole_slot_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let open = || Anchor::open(SystemDisk::shared(), dir.path()).unwrap();
        let (mut anchor, none, _) = open();
        assert_eq!(none, None);
        for size in 1..5 {
            anchor.write(&anchored(size)).unwrap();
            assert_eq!(open().1, Some(anchored(size)));
        }
        let newest = ["0", "1"].into_iter().find(|name| {
            decode(&std::fs::read(dir.path().join(name)).unwrap()).is_some_and(|slot| slot.checkpoint.size() == 4)
        });
        std::fs::write(dir.path().join(newest.unwrap()), b"torn").unwrap();
        let (_, left, damaged) = open();
        assert_eq!(left, Some(anchored(3)));
        assert_eq!(damaged, [newest.unwrap()]);
    }

    #[test]
    fn every_changed_byte_of_a_slot_is_seen() {
        let slot = encode(&anchored(7));
        let used = 8 + 4 + 32 + 2 + anchored(7).checkpoint.as_str().len();
        for at in 0..used {
            let mut bad = slot.clone();
            bad[at] ^= 1;
            assert_ne!(decode(&bad), Some(anchored(7)), "{at}");
            assert_eq!(decode(&bad), None, "{at}");
        }
    }
}

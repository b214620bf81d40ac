//! The journal: the commit point. One frame per batch, one write, one sync, then the acknowledgement.
//!
//! Segments are written with zeros ahead of use, because syncing a growing file costs several times more, and are used again when
//! their entries are in the archive. A frame's checksum covers the segment's id and the frame's place, so that what an earlier use
//! left behind is never taken for a frame.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use rand::{TryRng, rngs::SysRng};

use crate::{
    batch::Batch,
    disk::{Disk, DiskFile},
};

const SEGMENT_MAGIC: &[u8; 8] = b"CSJRNL\x00\x01";
const FRAME_MAGIC: &[u8; 4] = b"FRAM";
/// Frames begin at multiples of this.
const ALIGNMENT: usize = 64;
const FRAME_HEADER_BYTES: usize = 12;
const ZEROS_BYTES: usize = 1 << 20;

/// A segment's random id.
type SegmentId = [u8; 16];

/// The segment size that a new journal gets, in bytes.
pub(crate) const SEGMENT_BYTES: usize = 16 << 20;

/// Writes frames to the newest segment.
pub(crate) struct Journal {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    segment_bytes: usize,
    current: Segment,
    segments: u64,
    buffer: Vec<u8>,
}

struct Segment {
    id: SegmentId,
    file: Box<dyn DiskFile>,
    // INVARIANT: a multiple of ALIGNMENT; everything before it is durable.
    end: usize,
}

impl Journal {
    /// Begins a new segment whose first frame holds entry `first`.
    pub(crate) fn begin(disk: Arc<dyn Disk>, dir: &Path, segment_bytes: usize, first: u64) -> io::Result<Journal> {
        disk.create_dir(dir)?;
        clean(&*disk, dir)?;
        let current = begin_segment(&*disk, dir, segment_bytes, first)?;
        Ok(Journal { disk, dir: dir.to_owned(), segment_bytes, current, segments: 1, buffer: Vec::new() })
    }

    /// Goes on after the last frame of the newest segment. What is there is written and synced once more: after a failed sync the
    /// system may show bytes that never reached the disk.
    pub(crate) fn resume(disk: Arc<dyn Disk>, dir: &Path, segment_bytes: usize, tail: &Tail) -> io::Result<Journal> {
        clean(&*disk, dir)?;
        let path = dir.join(&tail.name);
        let bytes = disk.read(&path)?;
        let file = disk.open(&path)?;
        file.write_at(bytes.get(..tail.end).unwrap_or(&bytes), 0)?;
        file.sync()?;
        disk.sync_dir(dir)?;
        let current = Segment { id: tail.id, file, end: tail.end };
        let segment_bytes = segment_bytes.min(bytes.len());
        Ok(Journal { disk, dir: dir.to_owned(), segment_bytes, current, segments: 1, buffer: Vec::new() })
    }

    /// How many segments this process has written to.
    pub(crate) const fn segments(&self) -> u64 {
        self.segments
    }

    /// Makes a batch durable; `check` looks at the frame's payload before it is written.
    ///
    /// # Errors
    /// What the system says. Where the disk was full, nothing was synced, and the same batch may be appended again: it is written in the same place, over
    /// what may be there of it. After a failed sync the error is never that of a full disk.
    pub(crate) fn append(&mut self, batch: &Batch, check: impl FnOnce(&[u8]) -> bool) -> io::Result<()> {
        let mut payload = std::mem::take(&mut self.buffer);
        payload.clear();
        payload.resize(FRAME_HEADER_BYTES, 0);
        batch.encode(true, &mut payload);
        if self.current.end + payload.len() > self.segment_bytes && self.current.end > ALIGNMENT {
            self.current = begin_segment(&*self.disk, &self.dir, self.segment_bytes, batch.first)?;
            self.segments += 1;
        }
        seal_frame(&mut payload, &self.current.id, self.current.end);
        // After the checksum: what flips from here on is seen by it.
        if !payload.get(FRAME_HEADER_BYTES..).is_some_and(check) {
            let what = "an entry's bytes changed in memory after they were hashed; nothing of its batch was written; have the machine's memory checked";
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        payload.resize(payload.len().next_multiple_of(ALIGNMENT), 0);
        self.current.file.write_at(&payload, self.current.end as u64)?;
        // Here the batch becomes durable.
        self.current.file.sync().map_err(unsynced)?;
        self.current.end += payload.len();
        self.buffer = payload;
        Ok(())
    }
}

/// What a failed sync is to whoever may wait for room. The system may have dropped what it could not write, and says nothing of it the next time: whatever the
/// reason was, what is on the disk is known only when it is read again from the beginning.
fn unsynced(error: io::Error) -> io::Error {
    io::Error::other(format!("a sync failed, and what it was to make durable may be gone: {error}"))
}

/// Fills in the frame header in front of the payload.
fn seal_frame(frame: &mut [u8], id: &SegmentId, at: usize) {
    let Some((header, payload)) = frame.split_first_chunk_mut::<FRAME_HEADER_BYTES>() else { return };
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes();
    let checksum = checksum(id, at, payload).to_be_bytes();
    for (to, from) in header.iter_mut().zip(FRAME_MAGIC.iter().chain(&length).chain(&checksum)) {
        *to = *from;
    }
}

fn checksum(id: &SegmentId, at: usize, payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(id);
    hasher.update(&(at as u64).to_be_bytes());
    hasher.update(payload);
    hasher.finalize()
}

fn segment_name(first: u64) -> String {
    format!("{first:020}.seg")
}

/// Takes a spare segment, or makes one, and gives it its header and name.
fn begin_segment(disk: &dyn Disk, dir: &Path, segment_bytes: usize, first: u64) -> io::Result<Segment> {
    let spare = match spares(disk, dir)?.pop() {
        Some(spare) => dir.join(spare),
        // It is needed now.
        None => make_spare(disk, dir, segment_bytes, 0)?,
    };
    let mut id = SegmentId::default();
    SysRng.try_fill_bytes(&mut id).map_err(io::Error::other)?;
    let mut header = [SEGMENT_MAGIC.as_slice(), &id, &first.to_be_bytes()].concat();
    header.extend(crc32fast::hash(&header).to_be_bytes());
    header.resize(ALIGNMENT, 0);
    let file = disk.open(&spare)?;
    file.write_at(&header, 0)?;
    file.sync().map_err(unsynced)?;
    disk.rename(&spare, &dir.join(segment_name(first)))?;
    disk.sync_dir(dir).map_err(unsynced)?;
    Ok(Segment { id, file, end: ALIGNMENT })
}

fn spares(disk: &dyn Disk, dir: &Path) -> io::Result<Vec<String>> {
    Ok(disk.list(dir)?.into_iter().filter(|name| name.ends_with(".spare")).collect())
}

/// Makes a spare segment as long as so many bytes stay free.
fn make_spare(disk: &dyn Disk, dir: &Path, segment_bytes: usize, keep_free: u64) -> io::Result<PathBuf> {
    let mut id = [0; 8];
    SysRng.try_fill_bytes(&mut id).map_err(io::Error::other)?;
    let name = data_encoding::HEXLOWER.encode(&id);
    let (making, spare) = (dir.join(format!("{name}.making")), dir.join(format!("{name}.spare")));
    let made = fill(disk, &making, segment_bytes, keep_free).and_then(|()| disk.rename(&making, &spare));
    if let Err(error) = made {
        // Half of one helps nobody, and takes the room that others need who write to a disk that is full.
        let _ = disk.remove(&making);
        return Err(error);
    }
    disk.sync_dir(dir).map_err(unsynced)?;
    Ok(spare)
}

/// A file of zeros, durable. The disk may fill meanwhile: looked at before each piece, this file takes no room that others count on.
fn fill(disk: &dyn Disk, path: &Path, bytes: usize, keep_free: u64) -> io::Result<()> {
    let file = disk.open(path)?;
    let zeros = vec![0; ZEROS_BYTES.min(bytes)];
    let mut at = 0;
    while at < bytes {
        if keep_free > 0 && disk.space(path.parent().unwrap_or(path))?.0 < keep_free + (bytes - at) as u64 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        file.write_at(&zeros, at as u64)?;
        at += zeros.len();
    }
    file.sync()
}

/// Removes what a crash left half made. Only before anybody makes a segment: what is being made has the same name.
fn clean(disk: &dyn Disk, dir: &Path) -> io::Result<()> {
    for name in disk.list(dir)?.into_iter().filter(|name| name.ends_with(".making")) {
        disk.remove(&dir.join(name))?;
    }
    Ok(())
}

/// Makes sure that the next segment need not be made while a call waits; as long as so many bytes stay free.
pub(crate) fn prepare_spare(disk: &dyn Disk, dir: &Path, segment_bytes: usize, keep_free: u64) -> io::Result<()> {
    if spares(disk, dir)?.is_empty() {
        make_spare(disk, dir, segment_bytes, keep_free)?;
    }
    Ok(())
}

/// Gives segments back whose entries are all below `archived`: one is kept as a spare, the others are removed.
pub(crate) fn trim(disk: &dyn Disk, dir: &Path, archived: u64) -> io::Result<()> {
    let names: Vec<_> = disk.list(dir)?.into_iter().filter(|name| name.ends_with(".seg")).collect();
    for (name, next) in names.iter().zip(names.iter().skip(1)) {
        // All entries of a segment lie below the first of the next one.
        if first_of(next).is_none_or(|first| first > archived) {
            break;
        }
        // Its name as a segment is gone for good before anybody may write into it, and before that of the next one is.
        let making = dir.join(name.replace(".seg", ".making"));
        disk.rename(&dir.join(name), &making)?;
        disk.sync_dir(dir)?;
        if spares(disk, dir)?.len() < 2 {
            disk.rename(&making, &dir.join(name.replace(".seg", ".spare")))?;
        } else {
            disk.remove(&making)?;
        }
    }
    disk.sync_dir(dir)
}

fn first_of(name: &str) -> Option<u64> {
    name.strip_suffix(".seg")?.parse().ok()
}

/// What is wrong with a journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalDamage {
    /// The segment's file name.
    pub segment: String,
    /// Where in it, in bytes.
    pub at: usize,
    /// What is wrong.
    pub what: &'static str,
}

/// Where the newest segment's frames end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tail {
    name: String,
    id: SegmentId,
    end: usize,
}

/// What a journal holds.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    /// The frames, in order, up to the first damage.
    pub(crate) batches: Vec<Batch>,
    /// Damage that is not just a last frame cut short by a crash.
    pub(crate) damage: Option<JournalDamage>,
    /// The entry that the journal begins with.
    pub(crate) first: Option<u64>,
    /// Where to go on.
    pub(crate) tail: Option<Tail>,
}

impl Contents {
    /// Whether there are entries, or may have been.
    pub(crate) fn has_entries(&self) -> bool {
        !self.batches.is_empty() || self.damage.is_some() || self.first.is_some_and(|first| first > 0)
    }
}

/// How often a journal is read again that changes meanwhile.
const READS: usize = 5;

/// Reads all frames. A last frame cut short is left out: it was never acknowledged, unless store, archive or anchor know
/// of its entries, which the caller checks.
///
/// Beside a running gateway a segment may be trimmed, and written anew, while it is read: what looks like damage is looked at again.
pub(crate) fn read(disk: &dyn Disk, dir: &Path) -> io::Result<Contents> {
    let mut contents = read_once(disk, dir);
    for _ in 1..READS {
        match &contents {
            Ok(contents) if contents.damage.is_none() => break,
            Err(error) if error.kind() != io::ErrorKind::NotFound => break,
            _ => contents = read_once(disk, dir),
        }
    }
    contents
}

fn read_once(disk: &dyn Disk, dir: &Path) -> io::Result<Contents> {
    let mut contents = Contents::default();
    let names: Vec<_> = disk.list(dir)?.into_iter().filter(|name| name.ends_with(".seg")).collect();
    for name in &names {
        let bytes = disk.read(&dir.join(name))?;
        if contents.damage.is_some() {
            break;
        }
        let damage = |at, what| Some(JournalDamage { segment: name.clone(), at, what });
        let Some((id, first)) = segment_header(&bytes).filter(|(_, first)| first_of(name) == Some(*first)) else {
            contents.damage = damage(0, "the segment's header is damaged");
            break;
        };
        let expected = contents.batches.last().map_or(first, Batch::end);
        contents.first.get_or_insert(first);
        if first != expected {
            contents.damage = damage(0, "entries are missing between this segment and the one before");
            break;
        }
        let end = read_segment(&bytes, &id, &mut contents.batches, first);
        contents.tail = Some(Tail { name: name.clone(), id, end });
        if frame_follows(&bytes, &id, end) {
            contents.damage = damage(end, "a frame is damaged and others follow it");
        }
    }
    Ok(contents)
}

fn segment_header(bytes: &[u8]) -> Option<(SegmentId, u64)> {
    let (header, rest) = bytes.split_first_chunk::<32>()?;
    let (magic, rest_of_header) = header.split_first_chunk::<8>()?;
    let (id, first) = rest_of_header.split_first_chunk::<16>()?;
    let (checksum, _) = rest.split_first_chunk::<4>()?;
    let good = magic == SEGMENT_MAGIC && crc32fast::hash(header) == u32::from_be_bytes(*checksum);
    good.then_some((*id, u64::from_be_bytes(first.try_into().ok()?)))
}

/// Reads frames up to the first that does not fit; gives its place.
fn read_segment(bytes: &[u8], id: &SegmentId, batches: &mut Vec<Batch>, first: u64) -> usize {
    let (mut at, mut next) = (ALIGNMENT, first);
    while let Some(payload) = frame_at(bytes, id, at) {
        let Some(batch) = Batch::decode(payload).filter(|batch| batch.first == next) else { break };
        at += (FRAME_HEADER_BYTES + payload.len()).next_multiple_of(ALIGNMENT);
        next = batch.end();
        batches.push(batch);
    }
    at
}

fn frame_at<'b>(bytes: &'b [u8], id: &SegmentId, at: usize) -> Option<&'b [u8]> {
    let (header, rest) = bytes.get(at..)?.split_first_chunk::<FRAME_HEADER_BYTES>()?;
    let (magic, header) = header.split_first_chunk::<4>()?;
    let (length, check) = header.split_first_chunk::<4>()?;
    let payload = rest.get(..u32::from_be_bytes(*length) as usize).filter(|_| magic == FRAME_MAGIC)?;
    let check = u32::from_be_bytes(check.try_into().ok()?);
    (!payload.is_empty() && checksum(id, at, payload) == check).then_some(payload)
}

fn frame_follows(bytes: &[u8], id: &SegmentId, after: usize) -> bool {
    (after + ALIGNMENT..bytes.len()).step_by(ALIGNMENT).any(|at| frame_at(bytes, id, at).is_some())
}

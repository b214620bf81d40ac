//! One file of the index: rows in order, in pages with a checksum each; in front what tells which page to read.
//!
//! All integers are big-endian: `CSINDX` 0x00 0x01 ‖ first ‖ end ‖ rows ‖ length of the filter (64 bits each) ‖ hash of the last entry ‖ CRC-32 of the
//! whole front without these four bytes ‖ zeros up to 128 bytes; per page its first term and CRC-32; the filter; zeros up to a multiple of 4,096;
//! the pages of 256 rows. A row is a term (10 bytes) and the entry's number (48 bits).

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

use super::filter::Filter;
use crate::{
    Hash,
    disk::{Disk, DiskFile},
    term::{TERM_BYTES, Term},
};

const MAGIC: &[u8; 8] = b"CSINDX\x00\x01";
const HEADER_BYTES: usize = 128;
/// Where the header's checksum is.
const CHECK_AT: usize = 72;
const ROW_BYTES: usize = 16;
const PAGE_ROWS: usize = 256;
const PAGE_BYTES: usize = PAGE_ROWS * ROW_BYTES;
const FENCE_BYTES: usize = TERM_BYTES + 4;
/// Pages that are written in one go.
const WRITTEN_TOGETHER: usize = 64 * PAGE_BYTES;

/// A term and the number of an entry that has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Row([u8; ROW_BYTES]);

impl Row {
    pub(crate) fn new(term: Term, seq: u64) -> Row {
        let mut row = [0; ROW_BYTES];
        // INVARIANT: a ledger has fewer than 2^48 entries.
        let seq = seq.to_be_bytes();
        let bytes = term.as_bytes().iter().chain(seq.iter().skip(2));
        row.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
        Row(row)
    }

    pub(crate) fn term(&self) -> Term {
        Term::from_bytes(self.0.first_chunk().copied().unwrap_or_default())
    }

    pub(crate) fn seq(&self) -> u64 {
        let [.., a, b, c, d, e, f] = self.0;
        u64::from_be_bytes([0, 0, a, b, c, d, e, f])
    }
}

/// What is known of a page without reading it.
struct Fence {
    first: Term,
    check: u32,
}

/// A file of the index.
pub(crate) struct Run {
    path: PathBuf,
    file: File,
    pub(super) first: u64,
    pub(super) end: u64,
    pub(super) rows: u64,
    /// The hash of the last entry: that the file belongs to this archive.
    pub(super) last: Hash,
    fences: Vec<Fence>,
    filter: Filter,
    pages_at: u64,
}

/// Where the pages begin.
const fn pages_at(pages: usize, filter_bytes: usize) -> usize {
    (HEADER_BYTES + pages * FENCE_BYTES + filter_bytes).next_multiple_of(PAGE_BYTES)
}

fn damaged(path: &Path, what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("`{}`: {what}", path.display()))
}

impl Run {
    /// Opens a file whose name says that it is of these entries.
    pub(super) fn open(path: &Path, (first, end): (u64, u64)) -> io::Result<Run> {
        let bad = || damaged(path, "not a file of the index, or damaged");
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        let mut header = [0; HEADER_BYTES];
        file.read_exact_at(&mut header, 0)?;
        let (magic, rest) = header.split_first_chunk::<8>().ok_or_else(bad)?;
        let (numbers, _) = rest.as_chunks::<8>();
        let numbers: Vec<u64> = numbers.iter().take(4).map(|number| u64::from_be_bytes(*number)).collect();
        let [says_first, says_end, rows, filter_bytes] = numbers.try_into().map_err(|_| bad())?;
        let last: [u8; 32] = header.get(40..CHECK_AT).and_then(|bytes| bytes.try_into().ok()).ok_or_else(bad)?;
        if magic != MAGIC || (says_first, says_end) != (first, end) || rows > length || filter_bytes > length {
            return Err(bad());
        }
        let (pages, filter_bytes) = ((rows as usize).div_ceil(PAGE_ROWS), filter_bytes as usize);
        let pages_at = pages_at(pages, filter_bytes);
        if length != (pages_at + rows as usize * ROW_BYTES) as u64 {
            return Err(bad());
        }
        let mut front = vec![0; pages * FENCE_BYTES + filter_bytes];
        file.read_exact_at(&mut front, HEADER_BYTES as u64)?;
        let check = header.get(CHECK_AT..CHECK_AT + 4).and_then(|bytes| bytes.try_into().ok()).map(u32::from_be_bytes);
        if check != Some(front_check(&header, &front)) {
            return Err(bad());
        }
        let (fences, filter) = front.split_at_checked(pages * FENCE_BYTES).ok_or_else(bad)?;
        let fences = fences.as_chunks::<FENCE_BYTES>().0.iter().filter_map(|bytes| {
            let (first, check) = bytes.split_first_chunk::<TERM_BYTES>()?;
            Some(Fence { first: Term::from_bytes(*first), check: u32::from_be_bytes(check.try_into().ok()?) })
        });
        let (fences, filter) = (fences.collect(), Filter::from_bytes(filter.to_vec()));
        let (path, last, pages_at) = (path.to_owned(), Hash::from(last), pages_at as u64);
        Ok(Run { path, file, first, end, rows, last, fences, filter, pages_at })
    }

    pub(super) fn filter_bytes(&self) -> usize {
        self.filter.as_bytes().len()
    }

    /// A page's rows; `None` behind the last.
    fn page(&self, index: usize) -> io::Result<Option<Vec<Row>>> {
        let Some(fence) = self.fences.get(index) else { return Ok(None) };
        let before = index as u64 * PAGE_ROWS as u64;
        let rows = self.rows.saturating_sub(before).min(PAGE_ROWS as u64) as usize;
        let mut bytes = vec![0; rows * ROW_BYTES];
        self.file.read_exact_at(&mut bytes, self.pages_at + before * ROW_BYTES as u64)?;
        if crc32fast::hash(&bytes) != fence.check {
            return Err(damaged(&self.path, "a page of the index is damaged"));
        }
        Ok(Some(bytes.as_chunks::<ROW_BYTES>().0.iter().copied().map(Row).collect()))
    }

    /// Adds the numbers of the entries with this term.
    pub(super) fn find(&self, term: Term, found: &mut Vec<u64>) -> io::Result<()> {
        if term.is_instruction() && !self.filter.may_have(term) {
            return Ok(());
        }
        // Its rows may begin in the page before the first that begins with it.
        let begins = self.fences.partition_point(|fence| fence.first < term).saturating_sub(1);
        for index in begins.. {
            if self.fences.get(index).is_none_or(|fence| fence.first > term) {
                break;
            }
            let rows = self.page(index)?.unwrap_or_default();
            let from = rows.partition_point(|row| row.term() < term);
            found.extend(rows.iter().skip(from).take_while(|row| row.term() == term).map(Row::seq));
        }
        Ok(())
    }

    /// All rows, in order.
    pub(super) fn rows(&self) -> io::Result<Rows<'_>> {
        let mut rows = Rows { run: self, page: 0, rows: Vec::new().into_iter(), next: None };
        rows.advance()?;
        Ok(rows)
    }
}

/// Reads a file from its first row to its last.
pub(super) struct Rows<'r> {
    run: &'r Run,
    page: usize,
    rows: std::vec::IntoIter<Row>,
    next: Option<Row>,
}

impl Rows<'_> {
    /// The row that comes next.
    pub(super) const fn peek(&self) -> Option<Row> {
        self.next
    }

    pub(super) fn next(&mut self) -> io::Result<Option<Row>> {
        let row = self.next.take();
        self.advance()?;
        Ok(row)
    }

    fn advance(&mut self) -> io::Result<()> {
        self.next = self.rows.next();
        if self.next.is_none()
            && let Some(rows) = self.run.page(self.page)?
        {
            self.page += 1;
            self.rows = rows.into_iter();
            self.next = self.rows.next();
        }
        Ok(())
    }
}

fn front_check(header: &[u8; HEADER_BYTES], front: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(header.get(..CHECK_AT).unwrap_or_default());
    hasher.update(front);
    hasher.finalize()
}

/// Writes a file of the index, row by row.
pub(super) struct Builder<'d> {
    disk: &'d dyn Disk,
    file: Box<dyn DiskFile>,
    next: PathBuf,
    path: PathBuf,
    rows: u64,
    fences: Vec<Fence>,
    filter: Filter,
    /// Whole pages, and the one that is being filled, not written yet.
    buffer: Vec<u8>,
    page_begins: usize,
    at: u64,
}

impl<'d> Builder<'d> {
    /// For exactly so many rows.
    pub(super) fn new(disk: &'d dyn Disk, path: &Path, rows: u64, filter_bytes: usize) -> io::Result<Builder<'d>> {
        let next = path.with_extension("next");
        match disk.remove(&next) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = disk.open(&next)?;
        let at = pages_at((rows as usize).div_ceil(PAGE_ROWS), filter_bytes) as u64;
        let (path, filter) = (path.to_owned(), Filter::new(filter_bytes));
        Ok(Builder { disk, file, next, path, rows, fences: Vec::new(), filter, buffer: Vec::new(), page_begins: 0, at })
    }

    pub(super) fn push(&mut self, row: &Row) -> io::Result<()> {
        if self.buffer.len() == self.page_begins {
            self.fences.push(Fence { first: row.term(), check: 0 });
        }
        if row.term().is_instruction() {
            self.filter.insert(row.term());
        }
        self.buffer.extend_from_slice(&row.0);
        if self.buffer.len() - self.page_begins == PAGE_BYTES {
            self.end_page();
        }
        if self.buffer.len() >= WRITTEN_TOGETHER { self.flush() } else { Ok(()) }
    }

    fn end_page(&mut self) {
        let page = self.buffer.get(self.page_begins..).unwrap_or_default();
        if !page.is_empty()
            && let Some(fence) = self.fences.last_mut()
        {
            fence.check = crc32fast::hash(page);
        }
        self.page_begins = self.buffer.len();
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.write_at(&self.buffer, self.at)?;
        self.at += self.buffer.len() as u64;
        self.buffer.clear();
        self.page_begins = 0;
        Ok(())
    }

    /// Durable when the directory was synced.
    pub(super) fn finish(mut self, first: u64, end: u64, last: Hash) -> io::Result<Run> {
        self.end_page();
        self.flush()?;
        let mut front: Vec<u8> = Vec::new();
        for fence in &self.fences {
            front.extend(fence.first.as_bytes());
            front.extend(fence.check.to_be_bytes());
        }
        front.extend(self.filter.as_bytes());
        let filter_bytes = self.filter.as_bytes().len() as u64;
        let mut header = MAGIC.to_vec();
        for number in [first, end, self.rows, filter_bytes] {
            header.extend(number.to_be_bytes());
        }
        header.extend(last.as_bytes());
        header.resize(HEADER_BYTES, 0);
        let mut header: [u8; HEADER_BYTES] =
            header.try_into().map_err(|_| damaged(&self.path, "its header has another length"))?;
        let check = front_check(&header, &front).to_be_bytes();
        header.iter_mut().skip(CHECK_AT).zip(check).for_each(|(to, from)| *to = from);
        self.file.write_at(&[header.as_slice(), &front].concat(), 0)?;
        self.file.sync()?;
        self.disk.rename(&self.next, &self.path)?;
        Run::open(&self.path, (first, end))
    }
}

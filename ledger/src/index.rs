//! What finds entries that are in the archive: immutable sorted files beside the tiles, a few dozen whatever the ledger's age.
//!
//! Nothing that grows with age is in the store or, but for one key in 256 and a small filter, in memory. The files are not trusted:
//! each page has a checksum, whoever finds an entry compares it, and what is missing or damaged is made anew from the tiles.

mod filter;
mod run;

use std::{io, path::PathBuf, sync::Arc};

use parking_lot::RwLock;

pub(crate) use self::run::Row;
use self::run::{Builder, Run};
use crate::{
    Hash,
    archive::{Archive, TILE},
    batch::{Beside, Stored},
    disk::Disk,
    term::Term,
};

/// So many files of about one size are merged into one.
const FAN: usize = 8;
/// A file of this many entries is not merged any more: what a merge costs is bounded, and there is one such file in a million entries.
const LARGEST: u64 = 1 << 20;
/// So many entries go into one file when the index is made anew.
const ANEW: u64 = 1 << 16;
/// How often the files are looked at again when a running gateway merges them meanwhile.
const READS: usize = 5;

type Runs = Arc<Vec<Arc<Run>>>;

/// The index of a ledger's archive.
pub(crate) struct Index {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    archive: Archive,
    /// Dense, from entry 0.
    runs: RwLock<Runs>,
}

impl Index {
    /// The index of the first `archived` entries, for the writer: what is missing or does not fit is made anew.
    pub(crate) fn open(disk: Arc<dyn Disk>, archive: &Archive, archived: u64) -> io::Result<Index> {
        let index = Index::empty(disk, archive);
        index.disk.create_dir(&index.dir)?;
        let names = index.disk.list(&index.dir)?;
        let (good, useless) = index.good(&names, archived)?;
        for name in useless {
            index.disk.remove(&index.dir.join(name))?;
        }
        let mut runs: Vec<Arc<Run>> = Vec::new();
        for run in good {
            index.make_anew(&mut runs, run.first)?;
            runs.push(Arc::new(run));
        }
        index.make_anew(&mut runs, archived)?;
        index.disk.sync_dir(&index.dir)?;
        *index.runs.write() = Arc::new(runs);
        index.merge()?;
        Ok(index)
    }

    /// As much of the index as there is, for somebody who only reads.
    pub(crate) fn read(disk: Arc<dyn Disk>, archive: &Archive, archived: u64) -> Index {
        let index = Index::empty(disk, archive);
        for _ in 0..READS {
            let Ok(names) = index.disk.list(&index.dir) else { break };
            let Ok((good, _)) = index.good(&names, archived) else { break };
            let mut end = 0;
            let dense = good.into_iter().take_while(|run| run.first == std::mem::replace(&mut end, run.end));
            let runs: Vec<_> = dense.map(Arc::new).collect();
            let better = runs.last().map_or(0, |run| run.end) > index.end();
            if better {
                *index.runs.write() = Arc::new(runs);
            }
            // Where files went meanwhile, others came.
            if index.disk.list(&index.dir).is_ok_and(|now| now == names) {
                break;
            }
        }
        index
    }

    fn empty(disk: Arc<dyn Disk>, archive: &Archive) -> Index {
        let dir = archive.index_dir();
        Index { disk, dir, archive: archive.clone(), runs: RwLock::default() }
    }

    /// The files that fit archive and each other, in order, and the names of all others.
    fn good<'n>(&self, names: &'n [String], archived: u64) -> io::Result<(Vec<Run>, Vec<&'n str>)> {
        let mut named: Vec<_> = names.iter().map(|name| (range_of(name), name.as_str())).collect();
        // The longest first: after a merge that was cut short the parts are still there.
        named.sort_by_key(|(range, _)| range.map(|(first, end)| (first, std::cmp::Reverse(end))));
        let (mut good, mut useless, mut next) = (Vec::new(), Vec::new(), 0);
        for (range, name) in named {
            let fits = range.filter(|(first, end)| *first >= next && *end <= archived && first < end);
            let run = fits.and_then(|range| Run::open(&self.dir.join(name), range).ok());
            match run {
                Some(run) if self.last_hash(run.end)? == Some(run.last) => {
                    next = run.end;
                    good.push(run);
                }
                _ => useless.push(name),
            }
        }
        Ok((good, useless))
    }

    /// The hash of the last archived entry before `end`.
    fn last_hash(&self, end: u64) -> io::Result<Option<Hash>> {
        if !end.is_multiple_of(TILE) || end == 0 {
            return Ok(None);
        }
        Ok(self.archive.entries(end / TILE - 1)?.last().map(|bytes| Hash::of(bytes)))
    }

    /// How many entries, from the first on, it finds.
    pub(crate) fn end(&self) -> u64 {
        self.runs.read().last().map_or(0, |run| run.end)
    }

    /// Adds archived entries that follow; `rows` need no order. What failed is done again by adding the same once more.
    pub(crate) fn add(&self, end: u64, last: Hash, mut rows: Vec<Row>) -> io::Result<()> {
        let mut runs: Vec<_> = self.runs.read().to_vec();
        let first = runs.last().map_or(0, |run| run.end);
        if first < end {
            rows.sort_unstable();
            runs.push(Arc::new(self.write(first, end, last, &rows)?));
            self.disk.sync_dir(&self.dir)?;
            *self.runs.write() = Arc::new(runs);
        }
        self.merge()
    }

    fn write(&self, first: u64, end: u64, last: Hash, rows: &[Row]) -> io::Result<Run> {
        let path = self.dir.join(name_of(first, end));
        let mut instructions: Vec<Term> = rows.iter().map(Row::term).filter(Term::is_instruction).collect();
        instructions.dedup();
        let filter_bytes = filter::bytes_for(instructions.len());
        let mut builder = Builder::new(&*self.disk, &path, rows.len() as u64, filter_bytes)?;
        rows.iter().try_for_each(|row| builder.push(row))?;
        builder.finish(first, end, last)
    }

    /// Merges the last files while there are many of about one size.
    fn merge(&self) -> io::Result<()> {
        loop {
            let runs = self.runs.read().clone();
            let class = runs.last().map_or(0, |run| class(run.end - run.first));
            let count = runs.iter().rev().take_while(|run| class_of(run) <= class).count();
            if count < FAN || class >= self::class(LARGEST) {
                return Ok(());
            }
            let (kept, merged) = runs.split_at(runs.len() - count);
            let run = self.merged(merged)?;
            self.disk.sync_dir(&self.dir)?;
            *self.runs.write() = Arc::new(kept.iter().cloned().chain([Arc::new(run)]).collect());
            for old in merged {
                self.disk.remove(&self.dir.join(name_of(old.first, old.end)))?;
            }
        }
    }

    fn merged(&self, runs: &[Arc<Run>]) -> io::Result<Run> {
        let (first, end) = (runs.first().map_or(0, |run| run.first), runs.last().map_or(0, |run| run.end));
        let last = runs.last().map_or(Hash::ZERO, |run| run.last);
        let path = self.dir.join(name_of(first, end));
        let rows = runs.iter().map(|run| run.rows).sum();
        let mut builder =
            Builder::new(&*self.disk, &path, rows, runs.iter().map(|run| run.filter_bytes()).sum::<usize>())?;
        let mut readers: Vec<_> = Vec::new();
        for run in runs {
            readers.push(run.rows()?);
        }
        loop {
            let smallest =
                readers.iter_mut().filter(|reader| reader.peek().is_some()).min_by_key(|reader| reader.peek());
            let Some(reader) = smallest else { break };
            match reader.next() {
                Ok(Some(row)) => builder.push(&row)?,
                Ok(None) => break,
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                    tracing::error!(%error, "the index is damaged; this part of it is made anew from the tiles");
                    let rows = self.rows_of(first, end)?;
                    return self.write(first, end, last, &rows);
                }
                Err(error) => return Err(error),
            }
        }
        builder.finish(first, end, last)
    }

    /// What the tiles say, up to entry `to`.
    fn make_anew(&self, runs: &mut Vec<Arc<Run>>, to: u64) -> io::Result<()> {
        let mut first = runs.last().map_or(0, |run| run.end);
        if to > first + ANEW {
            tracing::warn!(first, to, "the index is made anew from the tiles");
        }
        while first < to {
            let end = (first + ANEW).min(to);
            let rows = self.rows_of(first, end)?;
            let last = self.last_hash(end)?.unwrap_or(Hash::ZERO);
            runs.push(Arc::new(self.write(first, end, last, &rows)?));
            first = end;
        }
        Ok(())
    }

    /// The rows of archived entries, read from the tiles, in order.
    fn rows_of(&self, first: u64, end: u64) -> io::Result<Vec<Row>> {
        let mut rows = Vec::new();
        for tile in first / TILE..end / TILE {
            for (seq, bytes) in (tile * TILE..).zip(self.archive.entries(tile)?) {
                rows.extend(rows_of(seq, &Stored::new(bytes, Beside::default())));
            }
        }
        rows.sort_unstable();
        Ok(rows)
    }

    /// The numbers of the entries with this term, in order.
    pub(crate) fn find(&self, term: Term) -> io::Result<Vec<u64>> {
        let runs = self.runs.read().clone();
        let mut found = Vec::new();
        for run in runs.iter() {
            match run.find(term, &mut found) {
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                    tracing::error!(%error, "the index is damaged; the tiles are searched instead; `countersign repair` makes it anew");
                    let rows = self.rows_of(run.first, run.end)?;
                    found.retain(|seq| *seq < run.first);
                    found.extend(rows.iter().filter(|row| row.term() == term).map(Row::seq));
                }
                other => other?,
            }
        }
        Ok(found)
    }
}

/// An entry's rows.
pub(crate) fn rows_of(seq: u64, stored: &Stored) -> impl Iterator<Item = Row> + '_ {
    let terms = std::iter::once(Term::entry(stored.hash())).chain(stored.terms().iter().copied());
    terms.map(move |term| Row::new(term, seq))
}

/// About how large: each class is [`FAN`] times as large as the one below.
const fn class(entries: u64) -> u32 {
    match entries / TILE {
        0 => 0,
        tiles => tiles.ilog(FAN as u64),
    }
}

fn class_of(run: &Arc<Run>) -> u32 {
    class(run.end - run.first)
}

fn name_of(first: u64, end: u64) -> String {
    format!("{first:020}-{end:020}")
}

fn range_of(name: &str) -> Option<(u64, u64)> {
    let (first, end) = name.split_once('-').filter(|_| name.len() == 41)?;
    Some((first.parse().ok()?, end.parse().ok()?))
}

#[cfg(test)]
mod tests;

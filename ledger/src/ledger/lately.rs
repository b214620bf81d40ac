//! The tiles and packs that were read last: an instruction's entries lie close together, and each of them is asked for by itself.

use std::{collections::VecDeque, io, sync::Arc};

use parking_lot::Mutex;

use crate::{archive::Archive, batch::Batch};

/// How many tiles, and how many packs, are kept.
const KEPT: usize = 4;

type Kept<T> = Mutex<VecDeque<(u64, Arc<T>)>>;

#[derive(Default)]
pub(super) struct Lately {
    entries: Kept<Vec<Arc<[u8]>>>,
    packs: Kept<Batch>,
}

impl Lately {
    pub(super) fn entries(&self, archive: &Archive, tile: u64) -> io::Result<Arc<Vec<Arc<[u8]>>>> {
        kept(&self.entries, tile, || archive.entries(tile))
    }

    pub(super) fn pack(&self, archive: &Archive, tile: u64) -> io::Result<Arc<Batch>> {
        kept(&self.packs, tile, || archive.pack(tile))
    }
}

// INVARIANT: tiles and packs never change.
fn kept<T>(kept: &Kept<T>, tile: u64, read: impl FnOnce() -> io::Result<T>) -> io::Result<Arc<T>> {
    let known = kept.lock().iter().find(|(known, _)| *known == tile).map(|(_, value)| value.clone());
    if let Some(value) = known {
        return Ok(value);
    }
    let value = Arc::new(read()?);
    let mut kept = kept.lock();
    kept.push_back((tile, value.clone()));
    if kept.len() > KEPT {
        kept.pop_front();
    }
    Ok(value)
}

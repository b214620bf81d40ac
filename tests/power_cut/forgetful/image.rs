//! What a disk holds: file contents by page and directories by name, each as it is and as a power cut would leave it.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::{OsStr, OsString},
    sync::Arc,
};

use rand::{RngExt as _, rngs::SmallRng};

pub const PAGE: usize = 4096;
const SECTOR: usize = 512;

type Page = Arc<[u8; PAGE]>;

#[derive(Debug, Clone, Default)]
struct Image {
    pages: BTreeMap<u64, Page>,
    size: u64,
}

impl Image {
    /// Drops what lies beyond the size, as a shorter file has no bytes there.
    fn trim(&mut self) {
        drop(self.pages.split_off(&self.size.div_ceil(PAGE as u64)));
        let tail = (self.size % PAGE as u64) as usize;
        if let Some(page) = self.pages.get_mut(&(self.size / PAGE as u64)).filter(|_| tail > 0) {
            Arc::make_mut(page)[tail..].fill(0);
        }
    }
}

/// A file: its live image, the durable one, and the pages in which they differ.
#[derive(Debug, Default)]
pub struct File {
    live: Image,
    durable: Image,
    dirty: BTreeSet<u64>,
}

impl File {
    pub fn size(&self) -> u64 {
        self.live.size
    }

    pub fn pages(&self) -> usize {
        self.live.pages.len()
    }

    /// How many pages a write needs that the file does not have yet.
    pub fn pages_needed(&self, offset: u64, bytes: usize) -> usize {
        let range = offset / PAGE as u64..(offset + bytes as u64).div_ceil(PAGE as u64);
        range.filter(|page| !self.live.pages.contains_key(page)).count()
    }

    pub fn read(&self, offset: u64, bytes: usize) -> Vec<u8> {
        let end = self.live.size.min(offset.saturating_add(bytes as u64));
        let mut out = vec![0; end.saturating_sub(offset) as usize];
        let mut done = 0;
        while done < out.len() {
            let at = offset + done as u64;
            let within = (at % PAGE as u64) as usize;
            let count = (PAGE - within).min(out.len() - done);
            if let Some(page) = self.live.pages.get(&(at / PAGE as u64)) {
                out[done..done + count].copy_from_slice(&page[within..within + count]);
            }
            done += count;
        }
        out
    }

    pub fn write(&mut self, offset: u64, bytes: &[u8]) {
        let mut done = 0;
        while done < bytes.len() {
            let at = offset + done as u64;
            let (index, within) = (at / PAGE as u64, (at % PAGE as u64) as usize);
            let count = (PAGE - within).min(bytes.len() - done);
            let page = self.live.pages.entry(index).or_insert_with(|| Arc::new([0; PAGE]));
            Arc::make_mut(page)[within..within + count].copy_from_slice(&bytes[done..done + count]);
            self.dirty.insert(index);
            done += count;
        }
        self.live.size = self.live.size.max(offset + bytes.len() as u64);
    }

    pub fn resize(&mut self, size: u64) {
        if size < self.live.size {
            // The page that is cut in two changes as well.
            self.dirty.extend(self.live.pages.range(size / PAGE as u64..).map(|(index, _)| *index));
        }
        self.live.size = size;
        self.live.trim();
    }

    /// Contents and size become durable. (`fdatasync` too syncs a size that is needed to read the data back.)
    pub fn sync(&mut self) {
        for index in std::mem::take(&mut self.dirty) {
            match self.live.pages.get(&index) {
                Some(page) => drop(self.durable.pages.insert(index, page.clone())),
                None => drop(self.durable.pages.remove(&index)),
            }
        }
        self.durable.size = self.live.size;
        self.durable.trim();
    }

    /// What is not durable is lost; with a generator some of it is kept, by page and by sector.
    pub fn cut(&mut self, torn: Option<&mut SmallRng>) {
        let dirty = std::mem::take(&mut self.dirty);
        if let Some(random) = torn {
            for index in dirty {
                self.keep_some(index, random);
            }
            if random.random_bool(0.5) {
                self.durable.size = self.live.size;
            }
            self.durable.trim();
        }
        self.live = self.durable.clone();
    }

    fn keep_some(&mut self, index: u64, random: &mut SmallRng) {
        let Some(live) = self.live.pages.get(&index) else {
            if random.random_bool(0.5) {
                self.durable.pages.remove(&index);
            }
            return;
        };
        match random.random_range(0..3) {
            0 => {}
            1 => drop(self.durable.pages.insert(index, live.clone())),
            _ => {
                let page = self.durable.pages.entry(index).or_insert_with(|| Arc::new([0; PAGE]));
                let sectors = Arc::make_mut(page).chunks_mut(SECTOR).zip(live.chunks(SECTOR));
                for (durable, live) in sectors.filter(|_| random.random_bool(0.5)) {
                    durable.copy_from_slice(live);
                }
            }
        }
    }
}

/// Names that change together: each gets an inode or loses it.
type Step = Vec<(OsString, Option<u64>)>;

/// A directory: its live names, the durable ones, and the steps between them.
#[derive(Debug, Default)]
pub struct Directory {
    live: BTreeMap<OsString, u64>,
    durable: BTreeMap<OsString, u64>,
    steps: Vec<Step>,
}

fn apply(names: &mut BTreeMap<OsString, u64>, step: &Step) {
    for (name, inode) in step {
        match inode {
            Some(inode) => drop(names.insert(name.clone(), *inode)),
            None => drop(names.remove(name)),
        }
    }
}

impl Directory {
    pub fn get(&self, name: &OsStr) -> Option<u64> {
        self.live.get(name).copied()
    }

    pub fn names(&self) -> impl Iterator<Item = (&OsString, u64)> {
        self.live.iter().map(|(name, inode)| (name, *inode))
    }

    pub fn change(&mut self, step: Step) {
        apply(&mut self.live, &step);
        self.steps.push(step);
    }

    /// The names become durable.
    pub fn sync(&mut self) {
        self.steps.clear();
        self.durable = self.live.clone();
    }

    /// Names that are not durable are lost; with a generator some steps are kept, each wholly.
    pub fn cut(&mut self, mut torn: Option<&mut SmallRng>) {
        for step in std::mem::take(&mut self.steps) {
            if torn.as_mut().is_some_and(|random| random.random_bool(0.5)) {
                apply(&mut self.durable, &step);
            }
        }
        self.live = self.durable.clone();
    }
}

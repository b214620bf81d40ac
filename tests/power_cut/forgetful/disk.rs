//! The disk behind the file system: inodes, what each operation does to them, when the power goes, and which step fails.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::{OsStr, OsString},
};

use rand::{SeedableRng as _, rngs::SmallRng};

use super::image::{Directory, File, PAGE};

pub const ROOT: u64 = 1;

pub const ENOENT: i32 = 2;
pub const EIO: i32 = 5;
pub const EEXIST: i32 = 17;
pub const ENOTDIR: i32 = 20;
pub const EISDIR: i32 = 21;
pub const ENOSPC: i32 = 28;
pub const ENOTEMPTY: i32 = 39;

/// An operation that changes the disk or makes a change durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Make,
    Write,
    Resize,
    Sync,
    SyncDirectory,
    Rename,
    Remove,
}

/// What comes of an operation that fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failed {
    /// It is not done.
    NotDone,
    /// It is done, and failure is reported all the same.
    Done,
}

/// Syncs that succeed and do nothing, as those of a disk that lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Barrier {
    /// All work.
    On,
    /// Those of files in a directory of this name do nothing.
    OffIn(&'static str),
    /// Those of directories do nothing.
    OffForNames,
    /// None works.
    Off,
}

#[derive(Debug)]
pub enum Content {
    File(File),
    Directory(Directory),
}

#[derive(Debug)]
pub struct Node {
    pub content: Content,
    pub mode: u32,
    /// The directory in which it was last given a name.
    parent: u64,
}

#[derive(Debug)]
pub struct Disk {
    nodes: BTreeMap<u64, Node>,
    next: u64,
    barrier: Barrier,
    capacity_pages: usize,
    used_pages: usize,
    steps: u64,
    power_ends_at: Option<u64>,
    fail: Option<(Step, i32, Failed)>,
}

type Result<T> = std::result::Result<T, i32>;

impl Default for Disk {
    fn default() -> Disk {
        let root = Node { content: Content::Directory(Directory::default()), mode: 0o755, parent: ROOT };
        Disk {
            nodes: BTreeMap::from([(ROOT, root)]),
            next: ROOT + 1,
            barrier: Barrier::On,
            capacity_pages: (4 << 30) / PAGE,
            used_pages: 0,
            steps: 0,
            power_ends_at: None,
            fail: None,
        }
    }
}

impl Disk {
    /// Power comes back: what was not durable is gone; with `torn` a random part of it is there.
    pub fn cut(&mut self, seed: u64, torn: bool) {
        let mut random = torn.then(|| SmallRng::seed_from_u64(seed));
        for node in self.nodes.values_mut() {
            match &mut node.content {
                Content::File(file) => file.cut(random.as_mut()),
                Content::Directory(directory) => directory.cut(random.as_mut()),
            }
        }
        self.drop_unreachable();
        (self.power_ends_at, self.fail, self.steps) = (None, None, 0);
    }

    fn drop_unreachable(&mut self) {
        let (mut reached, mut next) = (BTreeSet::from([ROOT]), vec![ROOT]);
        while let Some(inode) = next.pop() {
            if let Some(Node { content: Content::Directory(directory), .. }) = self.nodes.get(&inode) {
                next.extend(directory.names().map(|(_, inode)| inode).filter(|inode| reached.insert(*inode)));
            }
        }
        self.nodes.retain(|inode, _| reached.contains(inode));
        self.used_pages = self.nodes.values().map(Node::pages).sum();
    }

    pub fn set_barrier(&mut self, barrier: Barrier) {
        self.barrier = barrier;
    }

    pub fn set_capacity(&mut self, bytes: usize) {
        self.capacity_pages = bytes / PAGE;
    }

    /// The power goes after so many further steps: nothing works from then on.
    pub fn cut_after(&mut self, steps: u64) {
        self.power_ends_at = Some(self.steps + steps);
    }

    pub fn has_power(&self) -> bool {
        self.power_ends_at.is_none_or(|end| self.steps < end)
    }

    /// The next step of this kind fails.
    pub fn fail_next(&mut self, step: Step, errno: i32, failed: Failed) {
        self.fail = Some((step, errno, failed));
    }

    /// Whether a step that is to fail has not come yet.
    pub fn is_to_fail(&self) -> bool {
        self.fail.is_some()
    }

    /// Pages in all and pages free.
    pub fn space(&self) -> (usize, usize) {
        (self.capacity_pages, self.capacity_pages.saturating_sub(self.used_pages))
    }

    pub fn node(&self, inode: u64) -> Result<&Node> {
        self.powered()?.nodes.get(&inode).ok_or(ENOENT)
    }

    fn powered(&self) -> Result<&Disk> {
        if self.has_power() { Ok(self) } else { Err(EIO) }
    }

    /// Counts a step, and lets it happen unless the power is gone or it is to fail.
    fn step<T>(&mut self, step: Step, act: impl FnOnce(&mut Disk) -> Result<T>) -> Result<T> {
        self.powered()?;
        self.steps += 1;
        let fail = self.fail.filter(|(kind, _, _)| *kind == step);
        if fail.is_some() {
            self.fail = None;
        }
        match fail {
            None => act(self),
            Some((_, errno, Failed::NotDone)) => Err(errno),
            Some((_, errno, Failed::Done)) => act(self).and(Err(errno)),
        }
    }

    fn file(&mut self, inode: u64) -> Result<&mut File> {
        match &mut self.nodes.get_mut(&inode).ok_or(ENOENT)?.content {
            Content::File(file) => Ok(file),
            Content::Directory(_) => Err(EISDIR),
        }
    }

    fn directory(&mut self, inode: u64) -> Result<&mut Directory> {
        match &mut self.nodes.get_mut(&inode).ok_or(ENOENT)?.content {
            Content::Directory(directory) => Ok(directory),
            Content::File(_) => Err(ENOTDIR),
        }
    }

    pub fn find(&self, parent: u64, name: &OsStr) -> Result<u64> {
        match &self.node(parent)?.content {
            Content::Directory(directory) => directory.get(name).ok_or(ENOENT),
            Content::File(_) => Err(ENOTDIR),
        }
    }

    /// Makes an empty file or directory.
    pub fn make(&mut self, parent: u64, name: &OsStr, content: Content, mode: u32) -> Result<u64> {
        self.step(Step::Make, |disk| {
            let inode = disk.next;
            let directory = disk.directory(parent)?;
            if directory.get(name).is_some() {
                return Err(EEXIST);
            }
            directory.change(vec![(name.to_owned(), Some(inode))]);
            disk.nodes.insert(inode, Node { content, mode, parent });
            disk.next += 1;
            Ok(inode)
        })
    }

    pub fn read(&self, inode: u64, offset: u64, bytes: usize) -> Result<Vec<u8>> {
        match &self.node(inode)?.content {
            Content::File(file) => Ok(file.read(offset, bytes)),
            Content::Directory(_) => Err(EISDIR),
        }
    }

    pub fn write(&mut self, inode: u64, offset: u64, bytes: &[u8]) -> Result<()> {
        self.step(Step::Write, |disk| {
            let needed = disk.file(inode)?.pages_needed(offset, bytes.len());
            if disk.used_pages + needed > disk.capacity_pages {
                return Err(ENOSPC);
            }
            disk.used_pages += needed;
            disk.file(inode)?.write(offset, bytes);
            Ok(())
        })
    }

    pub fn resize(&mut self, inode: u64, size: u64) -> Result<()> {
        self.step(Step::Resize, |disk| {
            let file = disk.file(inode)?;
            let before = file.pages();
            file.resize(size);
            let after = file.pages();
            disk.used_pages = disk.used_pages + after - before;
            Ok(())
        })
    }

    /// Makes room: the file is at least that long from now on.
    pub fn extend(&mut self, inode: u64, size: u64) -> Result<()> {
        let longer = self.file(inode)?.size() < size;
        if longer { self.resize(inode, size) } else { Ok(()) }
    }

    pub fn sync(&mut self, inode: u64) -> Result<()> {
        self.step(Step::Sync, |disk| {
            if !disk.syncs(inode) {
                return Ok(());
            }
            disk.file(inode)?.sync();
            Ok(())
        })
    }

    pub fn sync_directory(&mut self, inode: u64) -> Result<()> {
        self.step(Step::SyncDirectory, |disk| {
            if !matches!(disk.barrier, Barrier::Off | Barrier::OffForNames) {
                disk.directory(inode)?.sync();
            }
            Ok(())
        })
    }

    /// Whether the sync of a file does anything.
    fn syncs(&self, inode: u64) -> bool {
        match self.barrier {
            Barrier::On | Barrier::OffForNames => true,
            Barrier::Off => false,
            Barrier::OffIn(name) => !self.is_in(inode, name),
        }
    }

    fn is_in(&self, inode: u64, name: &str) -> bool {
        let parent = self.nodes.get(&inode).map(|node| node.parent);
        let named = parent.and_then(|parent| {
            let above = self.nodes.get(&self.nodes.get(&parent)?.parent)?;
            let Content::Directory(directory) = &above.content else { return None };
            Some(directory.get(OsStr::new(name)) == Some(parent))
        });
        named.unwrap_or(false)
    }

    /// Gives a name to another place, replacing what has it there.
    pub fn rename(&mut self, from: (u64, &OsStr), to: (u64, &OsStr)) -> Result<()> {
        self.step(Step::Rename, |disk| {
            let inode = disk.find(from.0, from.1)?;
            if let Ok(replaced) = disk.find(to.0, to.1) {
                disk.forget_pages(replaced);
            }
            let (gone, new) = ((from.1.to_owned(), None), (to.1.to_owned(), Some(inode)));
            if from.0 == to.0 {
                disk.directory(from.0)?.change(vec![gone, new]);
            } else {
                disk.directory(from.0)?.change(vec![gone]);
                disk.directory(to.0)?.change(vec![new]);
            }
            disk.nodes.get_mut(&inode).ok_or(ENOENT)?.parent = to.0;
            Ok(())
        })
    }

    pub fn remove(&mut self, parent: u64, name: &OsStr) -> Result<()> {
        self.step(Step::Remove, |disk| {
            let inode = disk.find(parent, name)?;
            if let Ok(directory) = disk.directory(inode)
                && directory.names().next().is_some()
            {
                return Err(ENOTEMPTY);
            }
            disk.forget_pages(inode);
            disk.directory(parent)?.change(vec![(name.to_owned(), None)]);
            Ok(())
        })
    }

    /// A file without a name takes no room; its pages stay until the next cut, for its name may be durable still.
    fn forget_pages(&mut self, inode: u64) {
        let pages = self.nodes.get(&inode).map_or(0, Node::pages);
        self.used_pages = self.used_pages.saturating_sub(pages);
    }

    pub fn names(&self, inode: u64) -> Result<Vec<(OsString, u64)>> {
        match &self.node(inode)?.content {
            Content::Directory(directory) => Ok(directory.names().map(|(name, inode)| (name.clone(), inode)).collect()),
            Content::File(_) => Err(ENOTDIR),
        }
    }
}

impl Node {
    fn pages(&self) -> usize {
        match &self.content {
            Content::File(file) => file.pages(),
            Content::Directory(_) => 0,
        }
    }
}

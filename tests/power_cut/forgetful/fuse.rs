//! The disk as the kernel sees it.

use std::{
    ffi::OsStr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use fuser::{
    BsdFileFlags, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, LockOwner,
    OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyStatfs,
    ReplyWrite, Request, TimeOrNow, WriteFlags,
};
use parking_lot::Mutex;

use super::{
    disk::{Content, Disk},
    image::{Directory, File, PAGE},
};

/// Nobody else changes the disk while it is mounted, so that the kernel may remember names and sizes.
const REMEMBER: Duration = Duration::from_secs(3600);

pub struct Fuse(pub Arc<Mutex<Disk>>);

fn attributes(disk: &Disk, inode: u64) -> Result<FileAttr, i32> {
    let node = disk.node(inode)?;
    let (kind, size) = match &node.content {
        Content::File(file) => (FileType::RegularFile, file.size()),
        Content::Directory(_) => (FileType::Directory, 0),
    };
    let then = SystemTime::UNIX_EPOCH;
    Ok(FileAttr {
        ino: INodeNo(inode),
        size,
        blocks: size.div_ceil(512),
        atime: then,
        mtime: then,
        ctime: then,
        crtime: then,
        kind,
        perm: (node.mode & 0o7777) as u16,
        nlink: 1,
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: PAGE as u32,
        flags: 0,
    })
}

macro_rules! answer {
    ($reply:ident, $result:expr, $ok:expr) => {
        match $result {
            Ok(value) => $ok(value),
            Err(errno) => $reply.error(Errno::from_i32(errno)),
        }
    };
}

impl Fuse {
    fn entry(&self, reply: ReplyEntry, act: impl FnOnce(&mut Disk) -> Result<u64, i32>) {
        let mut disk = self.0.lock();
        let found = act(&mut disk).and_then(|inode| attributes(&disk, inode));
        drop(disk);
        answer!(reply, found, |found| reply.entry(&REMEMBER, &found, Generation(0)));
    }

    fn empty(&self, reply: ReplyEmpty, act: impl FnOnce(&mut Disk) -> Result<(), i32>) {
        let done = act(&mut self.0.lock());
        answer!(reply, done, |()| reply.ok());
    }
}

impl Filesystem for Fuse {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        self.entry(reply, |disk| disk.find(parent.0, name));
    }

    fn getattr(&self, _: &Request, inode: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        let found = attributes(&self.0.lock(), inode.0);
        answer!(reply, found, |found| reply.attr(&REMEMBER, &found));
    }

    fn setattr(
        &self,
        _: &Request,
        inode: INodeNo,
        _mode: Option<u32>,
        _uid: Option<u32>,
        _gid: Option<u32>,
        size: Option<u64>,
        _atime: Option<TimeOrNow>,
        _mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        _: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let mut disk = self.0.lock();
        let done = size.map_or(Ok(()), |size| disk.resize(inode.0, size));
        let found = done.and_then(|()| attributes(&disk, inode.0));
        drop(disk);
        answer!(reply, found, |found| reply.attr(&REMEMBER, &found));
    }

    fn mkdir(&self, _: &Request, parent: INodeNo, name: &OsStr, mode: u32, umask: u32, reply: ReplyEntry) {
        let content = Content::Directory(Directory::default());
        self.entry(reply, |disk| disk.make(parent.0, name, content, mode & !umask));
    }

    fn create(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        _flags: i32,
        reply: ReplyCreate,
    ) {
        let mut disk = self.0.lock();
        let made = disk.make(parent.0, name, Content::File(File::default()), mode & !umask);
        let made = made.and_then(|inode| attributes(&disk, inode));
        drop(disk);
        answer!(reply, made, |made| reply.created(
            &REMEMBER,
            &made,
            Generation(0),
            FileHandle(0),
            FopenFlags::FOPEN_KEEP_CACHE
        ));
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        self.empty(reply, |disk| disk.remove(parent.0, name));
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        self.empty(reply, |disk| disk.remove(parent.0, name));
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        new_parent: INodeNo,
        new_name: &OsStr,
        _: RenameFlags,
        reply: ReplyEmpty,
    ) {
        self.empty(reply, |disk| disk.rename((parent.0, name), (new_parent.0, new_name)));
    }

    fn read(
        &self,
        _: &Request,
        inode: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let read = self.0.lock().read(inode.0, offset, size as usize);
        answer!(reply, read, |bytes: Vec<u8>| reply.data(&bytes));
    }

    fn write(
        &self,
        _: &Request,
        inode: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let done = self.0.lock().write(inode.0, offset, data);
        answer!(reply, done, |()| reply.written(data.len() as u32));
    }

    fn fsync(&self, _: &Request, inode: INodeNo, _: FileHandle, _datasync: bool, reply: ReplyEmpty) {
        self.empty(reply, |disk| disk.sync(inode.0));
    }

    fn fsyncdir(&self, _: &Request, inode: INodeNo, _: FileHandle, _datasync: bool, reply: ReplyEmpty) {
        self.empty(reply, |disk| disk.sync_directory(inode.0));
    }

    fn readdir(&self, _: &Request, inode: INodeNo, _: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let disk = self.0.lock();
        let names = match disk.names(inode.0) {
            Ok(names) => names,
            Err(errno) => return reply.error(Errno::from_i32(errno)),
        };
        let all = [(".".into(), inode.0), ("..".into(), inode.0)].into_iter().chain(names);
        for ((name, inode), next) in all.zip(1..).skip(offset as usize) {
            let kind = match disk.node(inode).map(|node| &node.content) {
                Ok(Content::Directory(_)) => FileType::Directory,
                _ => FileType::RegularFile,
            };
            if reply.add(INodeNo(inode), next, kind, &name) {
                break;
            }
        }
        reply.ok();
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        let (all, free) = self.0.lock().space();
        let (all, free, page) = (all as u64, free as u64, PAGE as u32);
        reply.statfs(all, free, free, 1 << 20, 1 << 20, page, 255, page);
    }

    fn fallocate(
        &self,
        _: &Request,
        inode: INodeNo,
        _: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        if mode == 0 {
            self.empty(reply, |disk| disk.extend(inode.0, offset + length));
        } else {
            reply.error(Errno::EOPNOTSUPP);
        }
    }
}

//! A file system that forgets what was not synced, for power cuts that can be repeated.
//!
//! Every file has a live image and a durable one, page by page; every directory live names and durable ones. `fsync` and `fdatasync`
//! copy a file's image, `fsync` of a directory its names; a new file's name is durable only after its directory was synced.
//! `sync_file_range` never reaches a FUSE server, hence is no barrier, as it is none on a real disk.

pub mod disk;
mod fuse;
pub mod image;

use std::{io, path::Path, sync::Arc};

use fuser::{BackgroundSession, Config, MountOption, SessionACL};
use parking_lot::{Mutex, MutexGuard};

use self::disk::Disk;

/// A disk that outlives its mounts and its power cuts.
#[derive(Clone, Default)]
pub struct Forgetful(Arc<Mutex<Disk>>);

/// A mounted disk; unmounted when dropped.
pub struct Mounted(Option<BackgroundSession>);

impl Forgetful {
    pub fn mount(&self, at: &Path) -> io::Result<Mounted> {
        let mut config = Config::default();
        config.mount_options = vec![MountOption::FSName("forgetful".to_owned())];
        config.acl = SessionACL::Owner;
        config.n_threads = Some(2);
        config.clone_fd = true;
        Ok(Mounted(Some(fuser::spawn_mount(fuse::Fuse(self.0.clone()), at, &config)?)))
    }

    /// The disk, to cut its power or make a step fail.
    pub fn disk(&self) -> MutexGuard<'_, Disk> {
        self.0.lock()
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if let Some(Err(error)) = self.0.take().map(BackgroundSession::umount_and_join) {
            eprintln!("the file system that forgets could not be unmounted: {error}");
        }
    }
}

/// Why nothing can be mounted here, or none.
pub fn missing() -> Option<String> {
    let opened = std::fs::OpenOptions::new().read(true).write(true).open("/dev/fuse");
    let reason = match opened {
        Err(error) => format!("/dev/fuse: {error}"),
        Ok(_) => {
            let dir = match tempfile::tempdir() {
                Ok(dir) => dir,
                Err(error) => return Some(error.to_string()),
            };
            match Forgetful::default().mount(dir.path()) {
                Ok(_) => return None,
                Err(error) => format!("mounting: {error} (neither root nor fusermount?)"),
            }
        }
    };
    Some(reason)
}

#[cfg(test)]
mod tests;

//! One gateway per ledger.

use std::{fs::File, path::Path};

use crate::open::OpenError;

/// Keeps every gateway out while a directory's store is looked at.
///
/// # Errors
/// [`OpenError::Locked`] when a gateway has it open.
pub fn lock_for_reading(dir: &Path) -> Result<impl Drop + use<>, OpenError> {
    lock(dir).map(Lock)
}

struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        let _ = self.0.unlock();
    }
}

/// One writer per ledger: the lock goes when the process ends, however it ends.
pub(crate) fn lock(dir: &Path) -> Result<File, OpenError> {
    let io = |source| OpenError::Io { path: dir.to_owned(), source };
    let path = dir.join("LOCK");
    let file = File::options().create(true).truncate(false).write(true).open(path).map_err(io)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(OpenError::Locked(dir.to_owned())),
        Err(std::fs::TryLockError::Error(source)) => Err(io(source)),
    }
}

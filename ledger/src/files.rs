//! Files made durable: each function returns only when what it did survives a power cut.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::Path,
};

/// Makes a directory entry durable.
pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// The directory that holds `path`.
fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Makes a directory, and those above it, each durable in its parent.
pub(crate) fn create_dir(dir: &Path) -> io::Result<()> {
    create_dir_with(dir, 0o755)
}

/// Makes a directory that only its owner can enter.
pub(crate) fn create_private_dir(dir: &Path) -> io::Result<()> {
    create_dir_with(dir, 0o700)
}

fn create_dir_with(dir: &Path, mode: u32) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    create_dir_with(parent(dir), 0o755)?;
    match DirBuilder::new().mode(mode).create(dir) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        other => other?,
    }
    sync_dir(parent(dir))
}

/// Writes a file that must not exist yet; `private` files are mode 0600.
pub(crate) fn write_new(path: &Path, bytes: &[u8], private: bool) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode(private)).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    sync_dir(parent(path))
}

/// Puts a file in the place of another in one step: after a crash there is the old one or the new one, whole.
pub(crate) fn replace(path: &Path, bytes: &[u8], private: bool) -> io::Result<()> {
    let mut next = path.as_os_str().to_owned();
    next.push(".next");
    let next = Path::new(&next);
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(mode(private)).open(next)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(next, path)?;
    sync_dir(parent(path))
}

/// Whether only the owner can read the file.
pub(crate) fn is_private(path: &Path) -> io::Result<bool> {
    Ok(fs::metadata(path)?.permissions().mode() & 0o077 == 0)
}

const fn mode(private: bool) -> u32 {
    if private { 0o600 } else { 0o644 }
}

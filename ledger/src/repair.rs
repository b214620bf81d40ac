//! Rebuilds the store from archive and journal, by hand, or at open where that is safe. Signs nothing: what is missing there stays missing and is
//! refused.

use std::path::PathBuf;

use crate::{
    Hash,
    anchor::Anchor,
    batch::Batch,
    checkpoint::VerifierKey,
    directory::Directory,
    evidence::Source as _,
    files,
    ledger::{Options, lock},
    open::{OpenError, Paths, Recovered, links, recover},
    store::{Head, Probe, Store, StoreError},
    tree::{self, Frontier},
    verify::{self, Held, verify},
};

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repaired {
    /// Entries that the new store has.
    pub entries: u64,
    /// Where the old store is now.
    pub aside: PathBuf,
}

/// Why a ledger is not repaired. Nothing was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RepairError {
    /// It cannot be opened or read.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Archive and journal do not hold the whole ledger.
    #[error(
        "archive and journal are not whole themselves ({what}): a store rebuilt from them would hide it; \
        restore a copy of the disk, or set the directory aside and run `countersign adopt`"
    )]
    NotWhole {
        /// The first thing that is wrong.
        what: String,
    },
    /// The new store cannot be written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What a rebuilt store would hide. Findings about meaning are no reason not to rebuild it.
const INTEGRITY: [&str; 22] = [
    "anchor-damaged",
    "anchor-unreadable",
    "archive-damaged",
    "chain-broken",
    "checkpoint-beyond",
    "checkpoint-origin",
    "checkpoint-root",
    "checkpoint-signature",
    "entries-missing",
    "entry-malformed",
    "first-entry",
    "forked",
    "held-origin",
    "held-signature",
    "journal-damaged",
    "key-not-trusted",
    "not-covered",
    "number-wrong",
    "origin-differs",
    "rolled-back",
    "rotation-invalid",
    "truncated",
];

/// Sets the store aside and builds it anew.
///
/// # Errors
/// [`RepairError`]; nothing was changed then.
pub fn repair(options: &Options) -> Result<Repaired, RepairError> {
    let _lock = lock(&options.dir)?;
    make_store_anew(options, &[])
}

/// As [`repair`], for who has the lock. With `keys` the others must be signed with one of them, and an anchor must be there and agree.
pub(crate) fn make_store_anew(options: &Options, keys: &[VerifierKey]) -> Result<Repaired, RepairError> {
    let paths = options.paths();
    let io = |source| OpenError::Io { path: paths.dir.clone(), source };
    let directory = Directory::read(&options.dir, Some(&options.anchor_dir)).map_err(io)?;
    let (_, anchored, _) = Anchor::open(options.disk.clone(), &options.anchor_dir).map_err(io)?;
    if !keys.is_empty() && anchored.is_none() {
        return Err(RepairError::NotWhole { what: "there is no anchor to compare with".to_owned() });
    }
    let against = anchored.map(|anchored| Held::Checkpoint(anchored.checkpoint));
    let (trust, against) = (keys.to_vec(), against.into_iter().collect());
    let report = verify(&directory, &verify::Options { trust, against, ..verify::Options::default() });
    if let Some(finding) = report.findings.iter().find(|finding| INTEGRITY.contains(&finding.code)) {
        return Err(RepairError::NotWhole { what: finding.what.clone() });
    }
    let rebuilding = options.dir.join("sled.rebuilding");
    match std::fs::remove_dir_all(&rebuilding) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(io(error).into()),
        _ => {}
    }
    let entries = rebuild(&directory, &rebuilding, options.limits.keep_entries)?;
    let aside = set_aside(options)?;
    std::fs::rename(&rebuilding, paths.store()).map_err(io)?;
    // Made anew from the tiles when the ledger is opened.
    match std::fs::remove_dir_all(options.dir.join("index")) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(io(error).into()),
        _ => {}
    }
    files::sync_dir(&options.dir).map_err(io)?;
    Ok(Repaired { entries, aside })
}

/// Reads and compares everything. A store that is damaged, missing or too old is made anew, where journal, archive and anchor are whole, agree
/// and are signed with the ledger's key: then it holds nothing that they do not prove. Otherwise nothing is changed.
pub(crate) fn recover_or_heal(
    options: &Options,
    paths: &Paths,
    keys: &[VerifierKey],
) -> Result<(Recovered, Option<String>), OpenError> {
    let error = match recover(&options.disk, paths, &options.probe, keys) {
        Ok(found) => return Ok((found, None)),
        Err(error) if error.is_of_the_store_alone() => error,
        Err(error) => return Err(error),
    };
    tracing::warn!(%error, "the store cannot be used; the other copies are checked, to make it anew from them");
    match make_store_anew(options, keys) {
        Ok(Repaired { aside, .. }) => {
            let aside = aside.file_name().unwrap_or_default().display().to_string();
            let why = format!("the store was made anew from journal and archive, the old one is `{aside}`: {error}");
            tracing::warn!(why);
            Ok((recover(&options.disk, paths, &options.probe, keys)?, Some(why)))
        }
        Err(reason) => {
            tracing::error!(%reason, "the store is not made anew");
            Err(error)
        }
    }
}

/// Gives the store another name, so that nothing of it is lost, and makes room for a new one.
pub(crate) fn set_aside(options: &Options) -> Result<PathBuf, OpenError> {
    let store = options.paths().store();
    let aside =
        (0..).map(|n| options.dir.join(format!("sled.damaged-{n}"))).find(|path| !path.exists()).unwrap_or_default();
    let io = |source| OpenError::Io { path: store.clone(), source };
    if store.exists() {
        std::fs::rename(&store, &aside).map_err(io)?;
        files::sync_dir(&options.dir).map_err(io)?;
    }
    Ok(aside)
}

fn rebuild(directory: &Directory, path: &std::path::Path, keep: u64) -> Result<u64, RepairError> {
    let (store, mut head) = Store::open(path, &Probe::default())?;
    head.dropped = directory.size().saturating_sub(keep);
    let mut frontier = Frontier::default();
    for index in 0..directory.pieces() {
        let piece: Batch = directory.piece(index).map_err(|damage| RepairError::NotWhole { what: damage.what })?;
        for stored in &piece.entries {
            frontier.push(tree::leaf_hash(&stored.bytes), |_, _| {});
            let links = links(&stored.bytes)
                .ok_or_else(|| RepairError::NotWhole { what: "an entry cannot be read".to_owned() })?;
            Head::advance(&mut head, &frontier, Hash::of(&stored.bytes), links.time);
        }
        store.apply(std::slice::from_ref(&piece), &head)?;
    }
    store.barrier()?;
    Ok(frontier.size())
}

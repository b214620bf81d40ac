//! A disk that is full, or has less free than the reserve: nothing stops for good, and nothing that was acknowledged is lost.

use std::{
    io::Write as _,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use countersign_ledger::{
    Draft, Kind, Ledger,
    clock::SystemClock,
    disk::{Disk, SystemDisk},
    open::OpenError,
    record::body,
    vault::Vault,
    writer::{AppendError, Ticket},
};

use super::{Faulty, draft, options, reopen, signer};

/// A ledger whose disk says, after as many questions as the number holds, that so many bytes are free.
fn filling(dir: &Path, free: u64) -> (Ledger, Arc<AtomicU64>) {
    let questions = Arc::new(AtomicU64::new(u64::MAX));
    let faulty = Faulty { free: Some((questions.clone(), free)), ..Faulty::good() };
    let ledger = Ledger::create(options(dir, Arc::new(faulty)), signer(), Arc::new(SystemClock), None);
    // Whoever makes the next segment asks too.
    assert!(has_spare(dir));
    (ledger.unwrap(), questions)
}

/// Waits for the journal's next segment.
fn has_spare(dir: &Path) -> bool {
    let looks = std::iter::repeat_with(|| std::thread::sleep(Duration::from_millis(10)));
    looks.take(1000).any(|()| files(dir, ".spare") > 0)
}

/// How many files of the journal there are of this kind.
fn files(dir: &Path, ending: &str) -> usize {
    let names = SystemDisk.list(&dir.join("journal")).unwrap();
    names.iter().filter(|name| name.ends_with(ending)).count()
}

/// A forwarded call that was queued when there was room has its number at its upstream: refusing it would leave a hole in the numbers, which is what a call
/// that was left out looks like.
#[test]
fn a_call_with_its_number_is_written_although_the_disk_fills_behind_it() {
    let dir = tempfile::tempdir().unwrap();
    let (ledger, questions) = filling(dir.path(), 600 << 10);
    let call = |n: u64| {
        let mut draft = draft(0);
        draft.body.set("upstream_n", &n).unwrap();
        draft
    };
    // Room when it is queued, none when it is written.
    questions.store(1, Ordering::SeqCst);
    ledger.append_blocking(call(1)).unwrap();
    assert!(matches!(ledger.enqueue(call(2)), Err(AppendError::NoSpace { .. })));
    questions.store(1, Ordering::SeqCst);
    assert!(matches!(ledger.append_blocking(draft(1)), Err(AppendError::NoSpace { .. })));
    let outcome = Draft { kind: Kind::Outcome, ..draft(2) };
    ledger.append_blocking(outcome).unwrap();
    questions.store(u64::MAX, Ordering::SeqCst);
    ledger.append_blocking(call(2)).unwrap();
    ledger.close().unwrap();
}

/// Nobody waits for an outcome, so nobody would hear that it was left out.
#[test]
fn an_outcome_that_was_queued_is_written_although_the_disk_fills_behind_it() {
    let dir = tempfile::tempdir().unwrap();
    let (ledger, questions) = filling(dir.path(), 300 << 10);
    let outcome = |n| Draft { kind: Kind::Outcome, ..draft(n) };
    let before = ledger.status().size;
    // Room when it is queued, less than half the reserve when it is written.
    questions.store(1, Ordering::SeqCst);
    ledger.enqueue_unawaited(outcome(1)).unwrap();
    assert!(matches!(ledger.enqueue_unawaited(outcome(2)), Err(AppendError::NoSpace { .. })));
    ledger.close().unwrap();
    assert_eq!(ledger.status().size, before + 1);
}

/// What is made ahead of time can wait. The ledger goes on, and half a segment does not take what room there is.
#[test]
fn a_disk_without_room_for_the_next_segment_does_not_stop_the_ledger() {
    let dir = tempfile::tempdir().unwrap();
    let faulty = Faulty::good();
    let no_room = faulty.no_room.clone();
    let ledger = Ledger::create(options(dir.path(), Arc::new(faulty)), signer(), Arc::new(SystemClock), None).unwrap();
    assert!(has_spare(dir.path()));
    no_room.store(true, Ordering::SeqCst);
    next_segment(&ledger, Kind::Other("test".to_owned()));
    let left = (ledger.status().poisoned, files(dir.path(), ".spare"), files(dir.path(), ".making"));
    assert_eq!(left, (None, 0, 0));
    ledger.append_blocking(draft(199)).unwrap();
    no_room.store(false, Ordering::SeqCst);
    ledger.append_blocking(draft(199)).unwrap();
    assert!(has_spare(dir.path()));
    ledger.close().unwrap();
}

#[test]
fn the_next_segment_is_not_made_out_of_the_reserve() {
    let dir = tempfile::tempdir().unwrap();
    // Above half the reserve: how calls end is written.
    let (ledger, questions) = filling(dir.path(), 600 << 10);
    questions.store(0, Ordering::SeqCst);
    next_segment(&ledger, Kind::Outcome);
    assert_eq!((files(dir.path(), ".spare"), files(dir.path(), ".making")), (0, 0));
    questions.store(u64::MAX, Ordering::SeqCst);
    ledger.append_blocking(draft(199)).unwrap();
    assert!(has_spare(dir.path()));
    ledger.close().unwrap();
}

/// Appends until a segment is begun, and waits until the archive's thread looked.
fn next_segment(ledger: &Ledger, kind: Kind) {
    let begun = ledger.status().segments;
    while ledger.status().segments == begun {
        ledger.append_blocking(Draft { kind: kind.clone(), ..draft(199) }).unwrap();
    }
    std::thread::sleep(Duration::from_millis(1200));
}

/// The batch is written in its place once there is room, half of it or not: who waits for it is told then, and no number is missing.
#[test]
fn a_batch_for_which_there_is_no_room_waits_and_is_sealed_when_there_is() {
    let dir = tempfile::tempdir().unwrap();
    let faulty = Faulty::good();
    let full = faulty.is_full.clone();
    let ledger = Ledger::create(options(dir.path(), Arc::new(faulty)), signer(), Arc::new(SystemClock), None).unwrap();
    let mut sealed: Vec<_> = (0..9).map(|n| ledger.append_blocking(draft(n)).unwrap()).collect();
    full.store(true, Ordering::SeqCst);
    let waits = ledger.enqueue(draft(1)).unwrap();
    let said = until(|| ledger.can_seal().err());
    assert!(matches!(&said, AppendError::Unwritten(why) if why.contains("storage")), "{said}");
    let refused = ledger.enqueue(draft(2)).unwrap_err();
    assert!(refused.passes() && !refused.is_fatal(), "{refused}");
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!((ledger.status().size, ledger.status().poisoned), (sealed.len() as u64 + 1, None));

    full.store(false, Ordering::SeqCst);
    sealed.push(waits.sealed_blocking().unwrap());
    until(|| ledger.can_seal().ok());
    // So many that the journal's next segment is begun, and the archive has its turn.
    sealed.extend((0..600).map(|n| ledger.append_blocking(draft(n)).unwrap()));
    ledger.close().unwrap();
    drop(ledger);
    let acknowledged: Vec<_> = sealed.iter().map(|sealed| (sealed.seq, sealed.hash)).collect();
    assert!(acknowledged.windows(2).all(|two| two[0].0 < two[1].0));
    reopen(dir.path(), &acknowledged, "the disk was full for a while");
}

/// A ledger that is closed meanwhile tells who waits that nothing was written, and opens again.
#[test]
fn a_ledger_whose_disk_is_full_can_be_closed() {
    let dir = tempfile::tempdir().unwrap();
    let faulty = Faulty::good();
    let full = faulty.is_full.clone();
    let ledger = Ledger::create(options(dir.path(), Arc::new(faulty)), signer(), Arc::new(SystemClock), None).unwrap();
    let sealed = ledger.append_blocking(draft(0)).unwrap();
    full.store(true, Ordering::SeqCst);
    let waits = ledger.enqueue(draft(1)).unwrap();
    until(|| ledger.can_seal().err());
    // How a call ended is taken all the time.
    ledger.enqueue_unawaited(Draft { kind: Kind::Outcome, ..draft(2) }).unwrap();
    assert!(ledger.close().is_err(), "what was queued is not there");
    assert!(waits.sealed_blocking().unwrap_err().is_fatal());
    drop(ledger);
    reopen(dir.path(), &[(sealed.seq, sealed.hash)], "closed while the disk was full");
}

/// After a failed sync the system may have dropped what it could not write, and says nothing of it the next time.
#[test]
fn a_sync_that_finds_no_room_stops_the_ledger_and_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let faulty = Faulty::good();
    let full = faulty.full_at_sync.clone();
    let ledger = Ledger::create(options(dir.path(), Arc::new(faulty)), signer(), Arc::new(SystemClock), None).unwrap();
    let sealed = ledger.append_blocking(draft(0)).unwrap();
    full.store(true, Ordering::SeqCst);
    let stopped = ledger.append_blocking(draft(1)).unwrap_err();
    full.store(false, Ordering::SeqCst);
    assert!(stopped.is_fatal() && !stopped.passes());
    let said = stopped.to_string();
    assert!(said.contains("must be started again") && said.contains("a sync failed"), "{said}");
    assert!(ledger.enqueue(draft(2)).unwrap_err().is_fatal());
    drop(ledger);
    reopen(dir.path(), &[(sealed.seq, sealed.hash)], "a sync found no room");
}

/// Of all who would ask it, one waits for a disk that does not answer; the writer's waiting is what says so.
#[test]
fn a_disk_that_does_not_answer_is_asked_by_one_and_keeps_no_other_waiting() {
    let dir = tempfile::tempdir().unwrap();
    let faulty = Faulty::good();
    let silent = faulty.is_silent.clone();
    let mut options = options(dir.path(), Arc::new(faulty));
    options.limits.stuck_after = Duration::from_millis(500);
    let ledger = Ledger::create(options, signer(), Arc::new(SystemClock), None).unwrap();
    silent.store(true, Ordering::SeqCst);
    let said = std::thread::scope(|scope| {
        let (tell, told) = std::sync::mpsc::channel();
        for tell in [tell.clone(), tell] {
            let (ledger, silent) = (&ledger, &silent);
            scope.spawn(move || {
                while silent.load(Ordering::SeqCst) {
                    let _ = ledger.enqueue(draft(0));
                    let _ = ledger.can_seal().map_err(|said| tell.send(said));
                    std::thread::sleep(Duration::from_millis(2));
                }
            });
        }
        let said = told.recv_timeout(Duration::from_secs(60));
        silent.store(false, Ordering::SeqCst);
        said.expect("one of the two is not kept waiting")
    });
    assert!(matches!(said, AppendError::Stuck { .. }), "{said}");
    until(|| ledger.can_seal().ok());
    ledger.close().unwrap();
}

/// Waits until there is something.
fn until<T>(mut what: impl FnMut() -> Option<T>) -> T {
    loop {
        match what() {
            Some(found) => return found,
            None => std::thread::sleep(Duration::from_millis(2)),
        }
    }
}

/// Runs a program that only root may; says why where it cannot.
fn as_root(program: &str, arguments: &[&str], path: &Path) -> bool {
    let done = std::process::Command::new(program).args(arguments).arg(path).output();
    let is_done = done.as_ref().is_ok_and(|done| done.status.success());
    if !is_done {
        eprintln!("`{program}` cannot be used here, so nothing was tried on a disk of its own: {done:?}");
    }
    is_done
}

/// A file system of so many MiB in memory; unmounted when dropped.
struct Small(tempfile::TempDir);

impl Small {
    /// None where nothing may be mounted.
    fn mount(mib: usize) -> Option<Small> {
        let dir = tempfile::tempdir().unwrap();
        let size = format!("size={mib}m");
        as_root("mount", &["-t", "tmpfs", "-o", &size, "tmpfs"], dir.path()).then_some(Small(dir))
    }

    /// Takes all room that there is.
    fn fill(&self) {
        let mut filler = std::fs::File::create(self.0.path().join("filler")).unwrap();
        let piece = vec![1; 1 << 16];
        while filler.write_all(&piece).is_ok() {}
        assert_eq!(SystemDisk.space(self.0.path()).unwrap().0, 0);
    }

    fn empty(&self) {
        std::fs::remove_file(self.0.path().join("filler")).unwrap();
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        as_root("umount", &["--lazy"], self.0.path());
    }
}

/// sled writes when it is opened, and what it leaves behind on a disk without room it does not read again.
#[test]
fn a_ledger_is_not_opened_on_a_full_disk_and_nothing_of_it_is_changed() {
    let Some(small) = Small::mount(16) else { return };
    let dir = small.0.path().join("ledger");
    let ledger = Ledger::create(options(&dir, SystemDisk::shared()), signer(), Arc::new(SystemClock), None).unwrap();
    ledger.append_blocking(draft(0)).unwrap();
    ledger.close().unwrap();
    drop(ledger);
    small.fill();
    let open = || Ledger::open(options(&dir, SystemDisk::shared()), signer(), Arc::new(SystemClock));
    let refused = open().unwrap_err();
    assert!(matches!(refused, OpenError::NoRoom { .. }), "{refused}");
    assert!(refused.to_string().contains("free some space and start again"), "{refused}");
    small.empty();
    let (ledger, opened) = open().unwrap();
    assert_eq!((opened.size, opened.repaired), (2, None));
    ledger.close().unwrap();
}

/// The keys lie on a disk of their own: what was half written there is taken back.
#[test]
fn a_data_key_for_which_there_is_no_room_is_made_when_there_is() {
    let Some(small) = Small::mount(1) else { return };
    let keys = small.0.path().join("keys");
    let vault = Vault::open(&keys).unwrap();
    small.fill();
    let mut subjects = Vec::new();
    // The file's last page has room for some.
    let refused = loop {
        let name = format!("somebody {}", subjects.len());
        match vault.subject(&name) {
            Ok(id) => subjects.push((name, id)),
            Err(error) => break error,
        }
    };
    assert!(refused.is_full(), "{refused}");
    assert!(vault.subject("another").unwrap_err().is_full(), "not stopped");
    small.empty();
    for name in ["another", "one more"] {
        subjects.push((name.to_owned(), vault.subject(name).unwrap()));
    }
    drop(vault);
    let vault = Vault::open(&keys).unwrap();
    for (name, id) in subjects {
        assert_eq!((vault.find(&name), vault.principal(&id)), (Some(id), Some(name)));
    }
}

/// What is taken down to the reserve, and what is taken down to half of it.
fn drafts(n: usize) -> Draft {
    let step = body::Ledger { event: "clock_step".to_owned(), back_us: Some(1), ..body::Ledger::default() };
    if n.is_multiple_of(2) {
        draft(n)
    } else {
        Draft { attachments: draft(n).attachments, ..Draft::new(&step).unwrap() }
    }
}

/// A file system on a disk of its own, which can be made to answer nothing; unmounted when dropped.
struct Frozen(tempfile::TempDir);

impl Frozen {
    /// None where nothing may be mounted.
    fn mount() -> Option<Frozen> {
        let dir = tempfile::tempdir().unwrap();
        let image = dir.path().join("image");
        std::fs::File::create(&image).unwrap().set_len(64 << 20).unwrap();
        let at = dir.path().join("mounted");
        std::fs::create_dir(&at).unwrap();
        let image_name = image.to_str().unwrap();
        let mounted = as_root("mkfs.ext4", &["-q"], &image) && as_root("mount", &["-o", "loop", image_name], &at);
        mounted.then_some(Frozen(dir))
    }

    fn at(&self) -> std::path::PathBuf {
        self.0.path().join("mounted")
    }

    fn thaw(&self) {
        as_root("fsfreeze", &["--unfreeze"], &self.at());
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.thaw();
        }
        as_root("umount", &["--lazy"], &self.at());
    }
}

/// A real file system from which no write and no sync comes back.
#[test]
fn a_file_system_that_hangs_is_seen_and_what_waited_is_sealed_when_it_goes_on() {
    let Some(frozen) = Frozen::mount() else { return };
    let dir = frozen.at().join("ledger");
    let mut options = options(&dir, SystemDisk::shared());
    options.limits.stuck_after = Duration::from_millis(500);
    let ledger = Ledger::create(options, signer(), Arc::new(SystemClock), None).unwrap();
    let mut acknowledged = vec![ledger.append_blocking(draft(0)).unwrap()];
    if !as_root("fsfreeze", &["--freeze"], &frozen.at()) {
        return;
    }
    let waits = ledger.enqueue(draft(1)).unwrap();
    let said = until(|| ledger.can_seal().err());
    let refused = ledger.enqueue(draft(2)).map(drop);
    frozen.thaw();
    assert!(matches!(said, AppendError::Stuck { .. }), "{said}");
    assert!(matches!(refused, Err(AppendError::Stuck { .. })), "{refused:?}");
    acknowledged.push(waits.sealed_blocking().unwrap());
    until(|| ledger.can_seal().ok());
    acknowledged.push(ledger.append_blocking(draft(3)).unwrap());
    ledger.close().unwrap();
    drop(ledger);
    let acknowledged: Vec<_> = acknowledged.iter().map(|sealed| (sealed.seq, sealed.hash)).collect();
    reopen(&dir, &acknowledged, "the file system hung for a while");
}

/// Journal, store and archive on one file system that has no byte left, again and again, while entries are queued.
#[test]
fn a_disk_that_somebody_fills_to_the_last_byte_stops_the_ledger_only_while_it_is_full() {
    let Some(small) = Small::mount(48) else { return };
    let dir = small.0.path().join("ledger");
    let mut options = options(&dir, SystemDisk::shared());
    options.limits.min_free_bytes = 8 << 20;
    let ledger = Ledger::create(options, signer(), Arc::new(SystemClock), None).unwrap();
    let mut acknowledged = Vec::new();
    for round in 0..5 {
        let filled = AtomicBool::new(false);
        let meanwhile = std::thread::scope(|scope| {
            let appending = scope.spawn(|| {
                let mut sealed = Vec::new();
                for n in 0.. {
                    match ledger.enqueue(drafts(n)).map(Ticket::sealed_blocking) {
                        Ok(Ok(entry)) => sealed.push((entry.seq, entry.hash)),
                        Ok(Err(error)) | Err(error) => {
                            assert!(error.passes(), "round {round}: {error}");
                            if filled.load(Ordering::SeqCst) {
                                return sealed;
                            }
                        }
                    }
                }
                sealed
            });
            small.fill();
            filled.store(true, Ordering::SeqCst);
            appending.join().unwrap()
        });
        acknowledged.extend(meanwhile);
        assert!(matches!(ledger.can_seal(), Err(AppendError::NoSpace { .. })), "round {round}");
        std::thread::sleep(Duration::from_millis(700));
        assert_eq!(ledger.status().poisoned, None, "round {round}");
        small.empty();
        let sealed = ledger.append_blocking(draft(round)).unwrap();
        acknowledged.push((sealed.seq, sealed.hash));
    }
    assert!(acknowledged.len() > 100, "{}", acknowledged.len());
    ledger.close().unwrap();
    drop(ledger);
    reopen(&dir, &acknowledged, "the disk was full five times");
}

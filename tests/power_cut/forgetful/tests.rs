use std::{
    fs::{self, File, OpenOptions},
    io::{Read as _, Seek as _, SeekFrom, Write as _},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

use super::{
    Forgetful, Mounted,
    disk::{Barrier, EIO, Failed, Step},
};

struct Bench {
    disk: Forgetful,
    dir: tempfile::TempDir,
    mounted: Option<Mounted>,
}

impl Bench {
    fn new() -> Option<Bench> {
        if let Some(reason) = super::missing() {
            crate::skipped(&reason);
            return None;
        }
        let (disk, dir) = (Forgetful::default(), tempfile::tempdir().unwrap());
        let mounted = Some(disk.mount(dir.path()).unwrap());
        Some(Bench { disk, dir, mounted })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn cut(&mut self, torn: Option<u64>) {
        self.mounted = None;
        self.disk.disk().cut(torn.unwrap_or(0), torn.is_some());
        self.mounted = Some(self.disk.mount(self.dir.path()).unwrap());
    }
}

fn sync_dir(path: &Path) {
    File::open(path).unwrap().sync_all().unwrap();
}

#[test]
fn what_is_synced_stays_and_the_rest_is_gone() {
    let Some(mut bench) = Bench::new() else { return };
    fs::create_dir(bench.path("d")).unwrap();
    let path = bench.path("d/synced");
    let mut file = File::create(&path).unwrap();
    file.write_all(&[1; 10_000]).unwrap();
    file.sync_data().unwrap();
    file.write_all(&[2; 10_000]).unwrap();
    fs::write(bench.path("d/unsynced"), b"x").unwrap();
    sync_dir(&bench.path("d"));
    sync_dir(bench.dir.path());
    fs::write(bench.path("d/later"), b"x").unwrap();
    assert_eq!(fs::read(&path).unwrap().len(), 20_000);
    drop(file);
    bench.cut(None);
    assert_eq!(fs::read(&path).unwrap(), [1; 10_000]);
    assert_eq!(fs::read(bench.path("d/unsynced")).unwrap(), b"", "its name was synced, its content was not");
    assert!(!bench.path("d/later").exists());
    assert_eq!(fs::read_dir(bench.path("d")).unwrap().count(), 2);
}

#[test]
fn a_name_lasts_only_when_its_directory_was_synced() {
    let Some(mut bench) = Bench::new() else { return };
    let (old, new) = (bench.path("old"), bench.path("new"));
    fs::write(&old, b"content").unwrap();
    File::open(&old).unwrap().sync_all().unwrap();
    bench.cut(None);
    assert!(!old.exists(), "the file was synced, its name was not");
    fs::write(&old, b"content").unwrap();
    File::open(&old).unwrap().sync_all().unwrap();
    sync_dir(bench.dir.path());
    fs::rename(&old, &new).unwrap();
    bench.cut(None);
    assert!(old.exists() && !new.exists());
    fs::rename(&old, &new).unwrap();
    sync_dir(bench.dir.path());
    fs::remove_file(&new).unwrap();
    bench.cut(None);
    assert_eq!(fs::read(&new).unwrap(), b"content", "the removal was not synced");
}

#[test]
fn a_torn_cut_keeps_a_part_and_the_seed_says_which() {
    let Some(mut bench) = Bench::new() else { return };
    let path = bench.path("f");
    fs::write(&path, vec![0; 400_000]).unwrap();
    File::open(&path).unwrap().sync_all().unwrap();
    sync_dir(bench.dir.path());
    let mut seen = Vec::new();
    for seed in [1, 1, 2] {
        let file = OpenOptions::new().write(true).open(&path).unwrap();
        file.write_all_at(&[0; 400_000], 0).unwrap();
        file.sync_all().unwrap();
        file.write_all_at(&[9; 400_000], 0).unwrap();
        drop(file);
        bench.cut(Some(seed));
        let content = fs::read(&path).unwrap();
        let kept = content.iter().filter(|byte| **byte == 9).count();
        assert!((50_000..350_000).contains(&kept), "{kept}");
        seen.push(content);
    }
    assert_eq!(seen[0], seen[1]);
    assert_ne!(seen[0], seen[2]);
}

#[test]
fn files_behave_as_files() {
    let Some(bench) = Bench::new() else { return };
    let path = bench.path("f");
    let mut file = OpenOptions::new().read(true).write(true).create_new(true).open(&path).unwrap();
    file.write_all_at(b"end", 9000).unwrap();
    assert_eq!(file.metadata().unwrap().len(), 9003);
    file.set_len(9001).unwrap();
    file.set_len(9003).unwrap();
    let mut all = Vec::new();
    file.seek(SeekFrom::Start(0)).unwrap();
    file.read_to_end(&mut all).unwrap();
    assert_eq!((all.len(), &all[8999..]), (9003, &[0, b'e', 0, 0][..]));
    assert!(OpenOptions::new().write(true).create_new(true).open(&path).is_err());
    file.lock().unwrap();
    assert!(File::open(&path).unwrap().try_lock().is_err(), "locks hold between open files");
    fs::create_dir(bench.path("d")).unwrap();
    fs::write(bench.path("d/x"), b"x").unwrap();
    assert!(fs::remove_dir(bench.path("d")).is_err());
    fs::remove_dir_all(bench.path("d")).unwrap();
    assert_eq!(fs::read_dir(bench.dir.path()).unwrap().count(), 1);
}

#[test]
fn it_matches_a_plain_model_over_random_writes_and_cuts() {
    use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};
    let Some(mut bench) = Bench::new() else { return };
    let mut random = SmallRng::seed_from_u64(7);
    let path = bench.path("f");
    File::create(&path).unwrap();
    sync_dir(bench.dir.path());
    let (mut live, mut durable) = (Vec::new(), Vec::new());
    for _ in 0..30 {
        let file = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        for _ in 0..40 {
            match random.random_range(0..10) {
                0 => {
                    let size = random.random_range(0..50_000);
                    file.set_len(size as u64).unwrap();
                    live.resize(size, 0);
                }
                1 | 2 => {
                    file.sync_data().unwrap();
                    durable = live.clone();
                }
                _ => {
                    let (at, count) = (random.random_range(0..40_000), random.random_range(1..9000));
                    let bytes = vec![random.random::<u8>(); count];
                    file.write_all_at(&bytes, at as u64).unwrap();
                    live.resize(live.len().max(at + count), 0);
                    live[at..at + count].copy_from_slice(&bytes);
                }
            }
        }
        assert!(fs::read(&path).unwrap() == live, "the live image");
        drop(file);
        bench.cut(None);
        live.clone_from(&durable);
        assert!(fs::read(&path).unwrap() == live, "the durable image");
    }
}

#[test]
fn the_disk_fills_fails_and_lies_when_told_to() {
    let Some(mut bench) = Bench::new() else { return };
    let path = bench.path("f");
    bench.disk.disk().set_capacity(1 << 20);
    let error = fs::write(&path, vec![1; 2 << 20]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
    fs::remove_file(&path).unwrap();
    fs::write(&path, vec![1; 1 << 19]).unwrap();
    sync_dir(bench.dir.path());
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    bench.disk.disk().fail_next(Step::Sync, EIO, Failed::NotDone);
    assert_eq!(file.sync_all().unwrap_err().raw_os_error(), Some(EIO));
    bench.disk.disk().set_barrier(Barrier::Off);
    file.sync_all().unwrap();
    drop(file);
    bench.cut(None);
    assert_eq!(fs::read(&path).unwrap(), b"", "neither sync was one");
}

#[test]
fn when_the_power_goes_nothing_works_any_more() {
    let Some(mut bench) = Bench::new() else { return };
    let path = bench.path("f");
    let file = File::create(&path).unwrap();
    sync_dir(bench.dir.path());
    bench.disk.disk().cut_after(2);
    file.write_all_at(b"one", 0).unwrap();
    file.sync_data().unwrap();
    assert!(file.write_all_at(b"two", 0).is_err());
    assert!(file.sync_data().is_err());
    drop(file);
    bench.cut(None);
    assert_eq!(fs::read(&path).unwrap(), b"one");
}

/// Not a test of truth but of use: the workload must be able to write as fast as a slow disk.
#[test]
fn it_takes_thousands_of_small_writes_a_second() {
    let Some(bench) = Bench::new() else { return };
    let file = File::create(bench.path("f")).unwrap();
    let begun = std::time::Instant::now();
    for page in 0..5000 {
        file.write_all_at(&[7; 4096], page * 4096).unwrap();
    }
    let rate = 5000.0 / begun.elapsed().as_secs_f64();
    println!("{rate:.0} writes of 4 KiB a second");
    assert!(rate > 1000.0);
}

//! The stage, and what goes wrong on it.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead as _, BufReader},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use rustls::{ClientConfig, RootCertStore, pki_types::CertificateDer};

use crate::sidecar::Sidecar;

/// As `reserve_mib` of the stage's configuration.
const RESERVE: u64 = 64 << 20;

/// What can go wrong, as `--faults` names it.
pub const FAULTS: [&str; 7] = [
    "upstream-killed",
    "sighup-storm",
    "certificate-rotated",
    "catalogue-changed",
    "disk-full",
    "disk-fuller",
    "clock-step",
];

/// Where `main` set the clock that all processes of the soak see.
pub const CLOCK: &str = "COUNTERSIGN_SOAK_CLOCK";

pub struct Stage {
    pub sidecar: Sidecar,
    /// How often each fault was made.
    pub done: BTreeMap<&'static str, u64>,
    upstream: Option<Child>,
    port: String,
    certificates: Vec<(String, String, CertificateDer<'static>)>,
    dice: StdRng,
    /// A small disk of its own, where we may mount one.
    small: bool,
    /// What goes wrong, of that which can be done here.
    faults: Vec<&'static str>,
}

impl Stage {
    /// An API, the sidecar before it with TLS, and a small disk for its ledger.
    pub fn set(seed: u64, mut faults: Vec<&'static str>) -> Stage {
        let certificates: Vec<_> = (0..2)
            .map(|_| {
                let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
                (made.cert.pem(), made.signing_key.serialize_pem(), made.cert.der().clone())
            })
            .collect();
        let log = tempfile::NamedTempFile::new().unwrap().into_temp_path().keep().unwrap();
        let (upstream, port) = start("0", &log);
        let upstreams = format!(
            "[[upstream]]\nname = \"api\"\nurl = \"http://127.0.0.1:{port}\"\ncatalogue = \"api.toml\"\ncredential = {{ prefix = \"Bearer \", file = \"api.key\" }}\nsign = true\n\
             [upstream.timeouts]\nidle_seconds = 5\n"
        );
        let catalogue = catalogue();
        let (chain, key, _) = &certificates[0];
        let files = [
            ("api.toml", catalogue.as_str()),
            ("api.key", "api-key-0123456789"),
            ("chain.pem", chain),
            ("key.pem", key),
            ("log", log.to_str().unwrap()),
        ];
        let mut sidecar = Sidecar::with(&upstreams, &files, None);
        sidecar.stop();
        let ledger = sidecar.ledger();
        fs::remove_dir_all(&ledger).unwrap();
        fs::create_dir(&ledger).unwrap();
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=2g", "soak"])
            .arg(&ledger)
            .stderr(Stdio::null())
            .status();
        let small = mount.is_ok_and(|status| status.success());
        if !small && faults.iter().any(|fault| fault.starts_with("disk")) {
            println!("SKIPPED: disk-full and disk-fuller, since no file system may be mounted here");
            faults.retain(|fault| !fault.starts_with("disk"));
        }
        if std::env::var_os(CLOCK).is_none() && faults.contains(&"clock-step") {
            println!("SKIPPED: clock-step, since libfaketime is not here (Debian: faketime)");
            faults.retain(|fault| *fault != "clock-step");
        }
        let config = fs::read_to_string(sidecar.config()).unwrap();
        let config = config
            .replace("[gateway]\n", "[gateway]\ntls = { certificates = \"chain.pem\", key = \"key.pem\" }\n")
            .replace("reserve_mib = 1\n", &format!("reserve_mib = {}\n", RESERVE >> 20));
        fs::write(sidecar.config(), config).unwrap();
        sidecar.serve();
        let dice = StdRng::seed_from_u64(seed);
        Stage { sidecar, done: BTreeMap::new(), upstream: Some(upstream), port, certificates, dice, small, faults }
    }

    /// Trusts both certificates that the sidecar may show.
    pub fn client(&self) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        for (_, _, certificate) in &self.certificates {
            roots.add(certificate.clone()).unwrap();
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        Arc::new(builder.with_root_certificates(roots).with_no_client_auth())
    }

    /// The entries that calls named that reached the API.
    pub fn reached(&self) -> Vec<String> {
        fs::read_to_string(self.log()).unwrap().lines().map(str::to_owned).collect()
    }

    pub fn resident_mib(&self) -> u64 {
        self.sidecar.rss_kib() / 1024
    }

    /// Makes the next thing go wrong, and waits a moment; not beyond `end`.
    pub fn next_fault(&mut self, end: Instant) {
        let pause = Duration::from_millis(self.dice.random_range(200..800));
        thread::sleep(pause.min(end.saturating_duration_since(Instant::now())));
        if self.faults.is_empty() {
            return;
        }
        let fault = self.faults[self.dice.random_range(0..self.faults.len())];
        match fault {
            "upstream-killed" => self.kill_upstream(),
            "sighup-storm" => self.hang_up_often(),
            "certificate-rotated" => self.rotate_certificate(),
            "catalogue-changed" => self.change_catalogue(),
            "disk-full" => self.fill_disk(3),
            "disk-fuller" => self.fill_disk(1),
            _ => self.step_clock(),
        }
        *self.done.entry(fault).or_default() += 1;
    }

    /// Everything works again.
    pub fn calm(&mut self) {
        if let Some(clock) = std::env::var_os(CLOCK) {
            fs::write(clock, "+0").unwrap();
        }
    }

    fn log(&self) -> PathBuf {
        fs::read_to_string(self.sidecar.dir.path().join("log")).unwrap().into()
    }

    fn kill_upstream(&mut self) {
        let mut upstream = self.upstream.take().unwrap();
        upstream.kill().unwrap();
        upstream.wait().unwrap();
        thread::sleep(Duration::from_millis(self.dice.random_range(0..300)));
        self.upstream = Some(start(&self.port, &self.log()).0);
    }

    fn hang_up_often(&self) {
        for _ in 0..20 {
            self.sidecar.hang_up();
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn rotate_certificate(&mut self) {
        self.certificates.swap(0, 1);
        let (chain, key, _) = &self.certificates[0];
        let dir = self.sidecar.dir.path();
        // As certificate tools do: both are there before either is seen, one after the other.
        for (name, content) in [("chain.pem", chain), ("key.pem", key)] {
            let next = dir.join(format!("{name}.next"));
            fs::write(&next, content).unwrap();
            fs::set_permissions(&next, fs::Permissions::from_mode(0o600)).unwrap();
            fs::rename(next, dir.join(name)).unwrap();
        }
        self.sidecar.hang_up();
    }

    fn change_catalogue(&mut self) {
        let text = format!("# {}\n{}", self.dice.random_range(0..u64::MAX), catalogue());
        let next = self.sidecar.dir.path().join("api.toml.next");
        fs::write(&next, text).unwrap();
        fs::rename(next, self.sidecar.dir.path().join("api.toml")).unwrap();
        self.sidecar.hang_up();
    }

    /// Down to three quarters of the reserve: nothing new is accepted, what is open can still be closed. Or to one quarter: that waits too.
    fn fill_disk(&self, quarters: u64) {
        let ledger = self.sidecar.ledger();
        // Below the reserve no segment is made ahead of time, which is large: only from there on the rest can be counted.
        let fillers = [3, quarters].map(|quarters| {
            let free = Command::new("df").args(["--output=avail", "-B1"]).arg(&ledger).output().unwrap();
            let free: u64 = String::from_utf8_lossy(&free.stdout).lines().last().unwrap().trim().parse().unwrap();
            let size = free.saturating_sub(RESERVE * quarters / 4).max(1);
            let filler = tempfile::NamedTempFile::new_in(&ledger).unwrap().into_temp_path();
            let filled = Command::new("fallocate").args(["-l", &size.to_string()]).arg(&filler).status();
            assert!(filled.unwrap().success());
            filler
        });
        thread::sleep(Duration::from_millis(300));
        fillers.into_iter().for_each(|filler| filler.close().unwrap());
    }

    fn step_clock(&mut self) {
        let clock = std::env::var_os(CLOCK).unwrap();
        fs::write(clock, format!("{:+}", self.dice.random_range(-20..20))).unwrap();
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if let Some(mut upstream) = self.upstream.take() {
            let _ = upstream.kill();
            let _ = upstream.wait();
        }
        let _ = fs::remove_file(self.log());
        if self.small {
            let _ = Command::new("umount").arg("-l").arg(self.sidecar.ledger()).status();
        }
    }
}

/// The API as a process of its own, and its port.
fn start(port: &str, log: &Path) -> (Child, String) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["upstream", port])
        .arg(log)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    (child, line.trim().to_owned())
}

fn catalogue() -> String {
    let action = |name: &str| {
        format!("[[action]]\nname = \"{name}\"\nmethod = \"GET\"\npath = \"/{name}\"\neffect = \"read\"\n")
    };
    let actions: String =
        ["ok", "slow", "error", "reset", "half", "stream", "secret"].into_iter().map(action).collect();
    format!("upstream = \"api\"\n{actions}")
}

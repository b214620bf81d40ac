//! A bank and a sidecar as processes of their own, in a directory of their own.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

use serde_json::{Value, json};

pub const BINARY: &str = env!("CARGO_BIN_EXE_countersign");
pub const BANK_KEY: &str = "bank-key-0123456789";

/// An answer, read to its end.
pub struct Answer {
    pub status: u16,
    pub body: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    pub fn code(&self) -> String {
        self.json()["type"].as_str().unwrap_or_default().rsplit('/').next().unwrap_or_default().to_owned()
    }
}

pub struct Sidecar {
    pub dir: tempfile::TempDir,
    bank: Option<Child>,
    serve: Option<Child>,
    pub gateway: String,
    pub api: String,
    pub secrets: Value,
    /// What its environment has beside the test's.
    pub envs: Vec<(&'static str, String)>,
}

pub fn countersign(args: &[&str]) -> Output {
    Command::new(BINARY).args(args).stdin(Stdio::null()).output().unwrap()
}

fn first_line(child: &mut Child) -> Value {
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

/// The bank, and where it listens.
pub fn bank() -> (Child, String) {
    let mut bank = Command::new(BINARY)
        .args(["demo-bank", "--key", BANK_KEY, "--admin-key", "bank-admin-0123456789"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let address = first_line(&mut bank)["address"].as_str().unwrap().to_owned();
    (bank, address)
}

impl Sidecar {
    /// In front of the bank.
    pub fn start() -> Sidecar {
        let (bank, address) = bank();
        let catalogue = include_str!("../../deploy/catalogues/bank.toml");
        Sidecar::before(&format!("http://{address}"), catalogue, Some(bank))
    }

    /// In front of the bank, with the approvers' pages, and a catalogue that is changed before.
    pub fn approving(catalogue: impl FnOnce(String) -> String) -> Sidecar {
        let (bank, address) = bank();
        let catalogue = catalogue(include_str!("../../deploy/catalogues/bank.toml").to_owned());
        Sidecar::approving_before(&format!("http://{address}"), &catalogue, Some(bank))
    }

    /// In front of an API, with the approvers' pages.
    pub fn approving_before(url: &str, catalogue: &str, bank: Option<Child>) -> Sidecar {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let upstream = format!(
            "[approvals]\norigin = \"http://localhost:{port}\"\n[[upstream]]\nname = \"bank\"\nurl = \"{url}\"\n\
             catalogue = \"bank.toml\"\ncredential = {{ prefix = \"Bearer \", file = \"bank.key\" }}\n"
        );
        let mut sidecar = Sidecar::prepared(&upstream, &[("bank.toml", catalogue), ("bank.key", BANK_KEY)], bank, port);
        sidecar.serve();
        sidecar
    }

    /// In front of an API.
    pub fn before(url: &str, catalogue: &str, bank: Option<Child>) -> Sidecar {
        let upstream = format!(
            "[[upstream]]\nname = \"bank\"\nurl = \"{url}\"\ncatalogue = \"bank.toml\"\ncredential = {{ prefix = \"Bearer \", file = \"bank.key\" }}\n"
        );
        Sidecar::with(&upstream, &[("bank.toml", catalogue), ("bank.key", BANK_KEY)], bank)
    }

    /// With upstreams as the configuration has them, and the files that they name.
    pub fn with(upstreams: &str, files: &[(&str, &str)], bank: Option<Child>) -> Sidecar {
        let mut sidecar = Sidecar::prepared(upstreams, files, bank, 0);
        sidecar.serve();
        sidecar
    }

    /// All but started; the API will listen on this port.
    pub fn prepared(upstreams: &str, files: &[(&str, &str)], bank: Option<Child>, api: u16) -> Sidecar {
        let dir = tempfile::tempdir().unwrap();
        for (name, content) in files {
            let file = dir.path().join(name);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(&file, content).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        }
        let mut config = format!(
            "origin = \"bank.example/agents\"\n[ledger]\ndirectory = \"ledger\"\nkeys = \"keys\"\nreserve_mib = 1\n[gateway]\nlisten = \"127.0.0.1:0\"\n\
             [api]\nlisten = \"127.0.0.1:{api}\"\n{upstreams}"
        );
        let mut secrets = json!({});
        for role in ["host", "operator", "investigator", "approver"] {
            let made = countersign(&["keys", "new", role, "--party", &format!("the-{role}"), "--secret", "--json"]);
            let made: Value = serde_json::from_slice(&made.stdout).unwrap();
            let sha256 = made["credential"]["sha256"].as_str().unwrap();
            config += &format!("[[credential]]\nrole = \"{role}\"\nparty = \"the-{role}\"\nsha256 = \"{sha256}\"\n");
            secrets[role] = made["secret"].clone();
        }
        fs::write(dir.path().join("countersign.toml"), config).unwrap();
        Sidecar { dir, bank, serve: None, gateway: String::new(), api: String::new(), secrets, envs: Vec::new() }
    }

    pub fn config(&self) -> PathBuf {
        self.dir.path().join("countersign.toml")
    }

    pub fn ledger(&self) -> PathBuf {
        self.dir.path().join("ledger")
    }

    pub fn keys(&self) -> PathBuf {
        self.dir.path().join("keys")
    }

    pub fn serve(&mut self) {
        self.serve_saying(Stdio::inherit(), None);
    }

    /// With what it logs going there, and as much of it as `level` says. Gives where everything listens.
    pub fn serve_saying(&mut self, stderr: Stdio, level: Option<&str>) -> Value {
        let mut serve = Command::new(BINARY);
        serve.args(["serve", "--config"]).arg(self.config()).stdout(Stdio::piped()).stderr(stderr);
        serve.envs(self.envs.iter().map(|(name, value)| (name, value)));
        let mut serve = serve.envs(level.map(|level| ("COUNTERSIGN_LOG", level))).spawn().unwrap();
        let ready = first_line(&mut serve);
        self.gateway = ready["gateway"].as_str().unwrap().to_owned();
        self.api = ready["api"].as_str().unwrap().to_owned();
        self.serve = Some(serve);
        ready
    }

    /// Starts the sidecar if it will start; else gives what it says.
    pub fn try_serve(&mut self) -> Result<(), String> {
        let mut serve = Command::new(BINARY)
            .args(["serve", "--config"])
            .arg(self.config())
            .envs(self.envs.iter().map(|(name, value)| (name, value)))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        // A sidecar that does not start closes its output as it ends.
        BufReader::new(serve.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        if line.is_empty() {
            let output = serve.wait_with_output().unwrap();
            assert_eq!(output.status.code(), Some(2));
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        self.serve = Some(serve);
        Ok(())
    }

    /// The same while somebody else still has an eye on it; [`Sidecar::kill`] buries it.
    pub fn strike(&self) {
        let id = self.serve.as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").args(["-KILL", &id]).status().unwrap().success());
    }

    /// As a power switch would: no drain, no close.
    pub fn kill(&mut self) {
        self.strike();
        self.serve.take().unwrap().wait().unwrap();
    }

    /// Asks it to read its files again.
    pub fn hang_up(&self) {
        let id = self.serve.as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").args(["-HUP", &id]).status().unwrap().success());
    }

    /// The memory that the sidecar has now, in KiB.
    #[allow(dead_code, reason = "not every test that drives the sidecar asks")]
    pub fn rss_kib(&self) -> u64 {
        let id = self.serve.as_ref().unwrap().id();
        let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    }

    /// As an operator would: SIGTERM, then wait.
    pub fn stop(&mut self) {
        let mut serve = self.serve.take().unwrap();
        let stopped = Command::new("kill").args(["-TERM", &serve.id().to_string()]).status().unwrap();
        assert!(stopped.success());
        assert!(serve.wait().unwrap().success());
        self.replay();
    }

    /// Waits until it ends by itself; gives its exit code.
    pub fn ended(&mut self) -> Option<i32> {
        let serve = self.serve.as_mut().unwrap();
        let ended = (0..1200).find_map(|_| {
            std::thread::sleep(Duration::from_millis(50));
            serve.try_wait().unwrap()
        });
        self.serve = None;
        ended.expect("it ends").code()
    }

    /// Each verdict is the one that its record gives once more. A ledger that a test damaged cannot be read, and is not.
    fn replay(&self) {
        let (code, text) = self.tool(&["replay", path(&self.ledger()), "--keys", path(&self.keys()), "--json"]);
        assert_ne!(code, 1, "{text}");
        for why in ["undisclosed", "missing", "engine"] {
            assert!(!text.contains(&format!("\"why\": \"{why}\"")), "{text}");
        }
    }

    pub fn kill_bank(&mut self) {
        let bank = self.bank.as_mut().unwrap();
        bank.kill().unwrap();
        bank.wait().unwrap();
    }

    pub fn secret(&self, role: &str) -> &str {
        self.secrets[role].as_str().unwrap()
    }

    /// Registers an instruction; gives the whole answer.
    pub fn instruct(&self, words: &str, principal: &str, actions: &[&str]) -> Value {
        let body =
            json!({ "words": words, "principal": principal, "agent": "assistant", "scope": { "actions": actions } });
        let answer = self.ask(&self.api, "POST", "/v1/instructions", self.secret("host"), Some(&body));
        assert_eq!(answer.status, 201, "{}", answer.body);
        answer.json()
    }

    pub fn ask(&self, to: &str, method: &str, target: &str, bearer: &str, body: Option<&Value>) -> Answer {
        let body = body.map(Value::to_string).unwrap_or_default();
        let json = if body.is_empty() { "" } else { "content-type: application/json\r\n" };
        raw(
            to,
            &format!(
                "{method} {target} HTTP/1.1\r\nhost: {to}\r\nauthorization: Bearer {bearer}\r\n{json}content-length: {}\r\nconnection: close\r\n\r\n{body}",
                body.len()
            ),
        )
    }

    /// The tool with the ledger's directory.
    pub fn tool(&self, args: &[&str]) -> (i32, String) {
        let envs = self.envs.iter().map(|(name, value)| (name, value));
        let output = Command::new(BINARY).args(args).envs(envs).stdin(Stdio::null()).output().unwrap();
        let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        (output.status.code().unwrap_or(-1), text)
    }

    /// Exports an instruction, with the values of these names disclosed.
    pub fn export(&self, instruction: &str, disclose: &str, out: &Path) -> (i32, String) {
        let (ledger, keys) = (self.ledger(), self.keys());
        let args = ["export", path(&ledger), "--instruction", instruction, "--keys", path(&keys)];
        self.tool(&[&args[..], &["--disclose", disclose, "--out", path(out)]].concat())
    }

    pub fn verify(&self) -> (i32, String) {
        self.tool(&["verify", path(&self.ledger()), "--keys", path(&self.keys())])
    }
}

pub fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Sends bytes as they are and reads the answer to its end.
pub fn raw(to: &str, request: &str) -> Answer {
    let text = text(to, request);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    Answer { status, body: body.to_owned() }
}

/// The same, with the answer as it came.
pub fn text(to: &str, request: &str) -> String {
    let mut stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        for child in self.serve.iter_mut().chain(&mut self.bank) {
            let _ = child.kill();
            let _ = child.wait();
        }
        if !std::thread::panicking() {
            self.replay();
        }
    }
}

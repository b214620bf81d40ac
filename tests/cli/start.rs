//! From nothing to a running sidecar: `init`, overrides of the environment, and certificates that change under it.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

use serde_json::{Value, json};

use crate::sidecar::{BINARY, countersign, path, raw};

/// A sidecar that ends with the test.
struct Running {
    serve: Child,
    ready: Value,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.serve.kill();
        let _ = self.serve.wait();
    }
}

fn serve(config: &Path, overrides: &[(&str, &str)]) -> Running {
    let mut serve = Command::new(BINARY);
    serve.args(["serve", "--config"]).arg(config).envs(overrides.iter().copied()).stdout(Stdio::piped());
    let mut serve = serve.spawn().unwrap();
    let mut line = String::new();
    BufReader::new(serve.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    let ready = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
    Running { serve, ready }
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

const ANYWHERE: [(&str, &str); 2] =
    [("COUNTERSIGN__GATEWAY__LISTEN", "127.0.0.1:0"), ("COUNTERSIGN__API__LISTEN", "127.0.0.1:0")];

#[test]
fn what_init_writes_is_accepted_by_check_and_started_by_serve() {
    let dir = tempfile::tempdir().unwrap();
    let start = dir.path().join("start");
    let made = countersign(&["init", path(&start), "--origin", "bank.example/agents", "--url", "http://127.0.0.1:9"]);
    assert_eq!(made.status.code(), Some(0), "{}", text(&made));
    let secret = |role: &str| {
        let said = text(&made);
        let line = said.lines().find(|line| line.starts_with(role)).unwrap().to_owned();
        line.split_whitespace().nth(1).unwrap().to_owned()
    };
    let config = start.join("countersign.toml");
    let checked = countersign(&["check", "--config", path(&config)]);
    assert_eq!(checked.status.code(), Some(0), "{}", text(&checked));
    assert!(!text(&checked).contains("warning"), "{}", text(&checked));
    assert!(!fs::read_to_string(&config).unwrap().contains(&secret("host")), "only its digest is kept");

    let running = serve(&config, &ANYWHERE);
    let api = running.ready["api"].as_str().unwrap();
    let body = json!({ "words": "read item 7", "principal": "ann", "agent": "assistant", "scope": { "actions": ["items.read"] } }).to_string();
    let answer = raw(
        api,
        &format!(
            "POST /v1/instructions HTTP/1.1\r\nhost: {api}\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
            secret("host"),
            body.len()
        ),
    );
    assert_eq!(answer.status, 201, "{}", answer.body);
    drop(running);

    let again = countersign(&["init", path(&start)]);
    assert!(again.status.code() == Some(2) && text(&again).contains("is there already"), "{}", text(&again));
}

#[test]
fn a_listener_that_others_on_the_network_can_read_is_warned_of_by_check_and_serve() {
    let dir = tempfile::tempdir().unwrap();
    assert!(countersign(&["init", path(dir.path())]).status.success());
    let config = dir.path().join("countersign.toml");
    let check = |overrides: &[(&str, &str)]| {
        let mut check = Command::new(BINARY);
        check.args(["check", "--config", path(&config)]).envs(overrides.iter().copied());
        text(&check.output().unwrap())
    };
    let open =
        [("COUNTERSIGN__GATEWAY__LISTEN", "127.0.0.1:0"), ("COUNTERSIGN__API__LISTEN", "0.0.0.0:0"), ("NO_COLOR", "1")];
    let checked = check(&open);
    assert!(checked.contains("warning: `[api]` listens on `0.0.0.0:0` without TLS"), "{checked}");
    assert!(!checked.contains("`[gateway]`") && !check(&ANYWHERE).contains("without TLS"), "{checked}");

    // Of the address that it is bound to, before it says that it is ready.
    let log = dir.path().join("log");
    let mut serve = Command::new(BINARY);
    serve.args(["serve", "--config", path(&config)]).envs(open).stdout(Stdio::piped());
    let mut serve = serve.stderr(fs::File::create(&log).unwrap()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(serve.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    let running = Running { serve, ready: serde_json::from_str(&line).unwrap() };
    let said = fs::read_to_string(&log).unwrap();
    let wanted = format!("`[api]` listens on `{}` without TLS", running.ready["api"].as_str().unwrap());
    assert!(said.contains("WARN") && said.contains(&wanted) && !said.contains("`[gateway]`"), "{said}");
}

#[test]
fn the_environment_stands_in_place_of_a_key_and_a_wrong_one_is_named() {
    let dir = tempfile::tempdir().unwrap();
    assert!(countersign(&["init", path(dir.path())]).status.success());
    let config = dir.path().join("countersign.toml");
    let check = |name: &str, value: &str| {
        Command::new(BINARY).args(["check", "--config", path(&config)]).env(name, value).output().unwrap()
    };
    for (name, value, says) in [
        ("COUNTERSIGN__UPSTREAM__API__URL", "no url", "is not a URL"),
        ("COUNTERSIGN__UPSTREAM__NOBODY__URL", "http://a", "has no `nobody`"),
        ("COUNTERSIGN__GATEWAY__LISTNE", "127.0.0.1:1", "unknown field `listne`"),
        ("COUNTERSIGN__DRAIN_SECONDS", "soon", "invalid type"),
    ] {
        let checked = check(name, value);
        assert!(checked.status.code() == Some(2) && text(&checked).contains(says), "{name}: {}", text(&checked));
    }
    assert!(check("COUNTERSIGN__UPSTREAM__API__URL", "https://bank.example").status.success());

    // A secret in a file that the environment names.
    let more = fs::read_to_string(&config).unwrap().replace("# credential = {", "credential = {");
    fs::write(&config, more).unwrap();
    let secret = dir.path().join("secret");
    fs::write(&secret, "a-secret-of-the-api\n").unwrap();
    let missing = countersign(&["check", "--config", path(&config)]);
    assert!(text(&missing).contains("neither `API_KEY` nor `API_KEY_FILE`"), "{}", text(&missing));
    assert!(check("API_KEY_FILE", path(&secret)).status.success());
}

#[test]
fn a_catalogue_a_key_and_room_that_are_missing_are_told_with_whose_they_are_and_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    assert!(countersign(&["init", path(dir.path())]).status.success());
    let config = dir.path().join("countersign.toml");
    let refused = |overrides: &[(&str, &str)], says: &str| {
        let served = Command::new(BINARY)
            .args(["serve", "--config", path(&config)])
            .envs(overrides.iter().copied())
            .output()
            .unwrap();
        assert!(served.status.code() == Some(2) && text(&served).contains(says), "{says}: {}", text(&served));
    };
    refused(&[("COUNTERSIGN__LEDGER__RESERVE_MIB", "999999999")], "(`reserve_mib` in `[ledger]`); free some space");
    drop(serve(&config, &ANYWHERE));
    for (file, says) in [
        ("keys/gateway.pem", "put it back from the backup of the keys, or say in `keys` of `[ledger]` where it is"),
        ("keys/vault.kek", "the keyring beside it was written with it"),
        ("keys/keyring", "`vault.kek` beside it was made for it"),
        ("api.toml", "the catalogue of the upstream `api`"),
    ] {
        let (file, away) = (dir.path().join(file), dir.path().join("away"));
        fs::rename(&file, &away).unwrap();
        refused(&ANYWHERE, says);
        assert!(!file.exists(), "no other one is made");
        fs::rename(&away, &file).unwrap();
    }
    drop(serve(&config, &ANYWHERE));
}

#[test]
fn certificates_are_read_again_when_their_files_change_and_a_broken_one_is_named() {
    let dir = tempfile::tempdir().unwrap();
    assert!(countersign(&["init", path(dir.path())]).status.success());
    let config = dir.path().join("countersign.toml");
    let write = || {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        fs::write(dir.path().join("chain.pem"), made.cert.pem()).unwrap();
        fs::write(dir.path().join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    };
    write();
    let tls = "listen = \"127.0.0.1:8180\"\ntls = { certificates = \"chain.pem\", key = \"key.pem\" }";
    let text = fs::read_to_string(&config).unwrap().replacen("listen = \"127.0.0.1:8180\"", tls, 1);
    let made = countersign(&["keys", "new", "operator", "--party", "olga", "--json"]);
    let made: Value = serde_json::from_slice(&made.stdout).unwrap();
    let (operator, sha256) = (made["secret"].as_str().unwrap(), made["credential"]["sha256"].as_str().unwrap());
    fs::write(
        &config,
        format!("{text}\n[[credential]]\nrole = \"operator\"\nparty = \"olga\"\nsha256 = \"{sha256}\"\n"),
    )
    .unwrap();
    let running = serve(&config, &ANYWHERE);
    let api = running.ready["api"].as_str().unwrap();
    let refused = || {
        let answer = raw(
            api,
            &format!(
                "GET /v1/policies HTTP/1.1\r\nhost: {api}\r\nauthorization: Bearer {operator}\r\nconnection: close\r\n\r\n"
            ),
        );
        answer.json()["refused"]["what"].as_str().unwrap_or_default().to_owned()
    };
    let until = |wanted: &dyn Fn(&str) -> bool| {
        for _ in 0..400 {
            if wanted(&refused()) {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("{}", refused());
    };
    fs::write(dir.path().join("key.pem"), "no key").unwrap();
    until(&|what| what.contains("key.pem"));
    write();
    until(&str::is_empty);
    let ledger = dir.path().join("ledger");
    let recorded = || {
        fs::read_dir(ledger.join("policy"))
            .unwrap()
            .filter(|file| fs::read_to_string(file.as_ref().unwrap().path()).unwrap().contains("BEGIN CERTIFICATE"))
            .count()
    };
    assert_eq!(recorded(), 2, "the first and the second, and never a key");
}

#[test]
fn a_new_secret_goes_to_a_file_and_its_digest_into_the_configuration_of_a_running_sidecar() {
    let dir = tempfile::tempdir().unwrap();
    assert!(countersign(&["init", path(dir.path())]).status.success());
    let (config, secret) = (dir.path().join("countersign.toml"), dir.path().join("olga.secret"));
    let running = serve(&config, &ANYWHERE);
    let api = running.ready["api"].as_str().unwrap();
    let probed = countersign(&["probe", &format!("http://{api}/readyz")]);
    assert_eq!(probed.status.code(), Some(0), "{}", text(&probed));
    let probed = countersign(&["probe", &format!("http://{api}/nothing")]);
    assert_eq!(probed.status.code(), Some(1), "{}", text(&probed));

    let new = ["keys", "new", "operator", "--party", "olga", "--out", path(&secret), "--add-to", path(&config)];
    let made = countersign(&new);
    assert_eq!(made.status.code(), Some(0), "{}", text(&made));
    let again = countersign(&new);
    assert!(again.status.code() == Some(2) && text(&again).contains("olga.secret"), "{}", text(&again));
    let written = fs::read_to_string(&config).unwrap();
    assert_eq!(written.matches("\"olga\"").count(), 1, "nothing is added for a secret that was not written: {written}");
    let secret = fs::read_to_string(&secret).unwrap();
    assert!(!text(&made).contains(secret.trim()));
    let asked = || {
        raw(
            api,
            &format!(
                "GET /v1/policies HTTP/1.1\r\nhost: {api}\r\nauthorization: Bearer {}\r\nconnection: close\r\n\r\n",
                secret.trim()
            ),
        )
    };
    for _ in 0..400 {
        if asked().status == 200 {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("{}", asked().body);
}

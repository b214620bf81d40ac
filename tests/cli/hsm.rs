//! The gateway's keys: one takes over from another, and one in a hardware module, which is SoftHSM2 here.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use serde_json::{Value, json};

use crate::{
    peers::is_there,
    sidecar::{BANK_KEY, Sidecar, bank, path},
};

const MODULE: &str = "/usr/lib/softhsm/libsofthsm2.so";
const UPSTREAM: &str = "[[upstream]]\nname = \"bank\"\nurl = \"http://ADDRESS\"\ncatalogue = \"bank.toml\"\ncredential = { prefix = \"Bearer \", file = \"bank.key\" }\n";

/// A call that goes through, and is recorded; gives its instruction.
fn call(sidecar: &Sidecar) -> String {
    let granted = sidecar.instruct("List my last 3 transactions", "emma", &["transactions.list"]);
    let token = granted["token"].as_str().unwrap();
    let answer = sidecar.ask(&sidecar.gateway, "GET", "/transactions?n=3", token, None);
    assert_eq!(answer.status, 200, "{}", answer.body);
    granted["instruction"].as_str().unwrap().to_owned()
}

/// How many keys signed the newest checkpoint.
fn signatures(sidecar: &Sidecar) -> usize {
    let answer = sidecar.ask(&sidecar.api, "GET", "/v1/checkpoint", "", None);
    answer.body.lines().filter(|line| line.starts_with('\u{2014}')).count()
}

/// The verifier keys that the ledger names, in their order.
fn keys(sidecar: &Sidecar) -> Vec<String> {
    let (code, text) = sidecar.tool(&["keys", "list", path(&sidecar.ledger()), "--json"]);
    assert_eq!(code, 0, "{text}");
    let listed: Value = serde_json::from_str(&text).unwrap();
    listed["ledger"].as_array().unwrap().iter().map(|key| key.as_str().unwrap().to_owned()).collect()
}

fn verify(sidecar: &Sidecar, of: &Path, trust: &str, against: Option<&Path>) -> (i32, String) {
    let file = sidecar.dir.path().join("trust");
    fs::write(&file, format!("{trust}\n")).unwrap();
    let mut arguments = vec!["verify", path(of), "--trust", path(&file)];
    arguments.extend(against.iter().flat_map(|file| ["--against", path(file)]));
    sidecar.tool(&arguments)
}

#[test]
fn a_key_takes_over_and_who_pinned_either_can_verify() {
    let mut sidecar = Sidecar::start();
    call(&sidecar);
    let old = keys(&sidecar).pop().unwrap();
    let held = sidecar.dir.path().join("held");
    fs::write(&held, sidecar.ask(&sidecar.api, "GET", "/v1/checkpoint", "", None).body).unwrap();
    let config = sidecar.config();
    let (code, made) = sidecar.tool(&["keys", "rotate", "--config", path(&config), "--json"]);
    assert_eq!(code, 0, "{made}");
    let made: Value = serde_json::from_str(&made).unwrap();
    let new = made["vkey"].as_str().unwrap();
    let file = PathBuf::from(made["file"].as_str().unwrap());
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(signatures(&sidecar), 1, "not before the next start");

    sidecar.stop();
    sidecar.serve();
    call(&sidecar);
    assert_eq!(signatures(&sidecar), 2);
    assert_eq!(keys(&sidecar), [old.as_str(), new]);
    sidecar.stop();
    fs::rename(sidecar.keys().join("gateway.pem"), sidecar.dir.path().join("put-away.pem")).unwrap();
    sidecar.serve();
    let instruction = call(&sidecar);
    assert_eq!(signatures(&sidecar), 1);
    sidecar.stop();

    let ledger = sidecar.ledger();
    let bundle = sidecar.dir.path().join("bundle.zip");
    let export = ["export", path(&ledger), "--instruction", &instruction, "--out", path(&bundle)];
    let (code, text) = sidecar.tool(&export);
    assert_eq!(code, 0, "{text}");
    for of in [&ledger, &bundle] {
        for trust in [old.as_str(), new] {
            let (code, text) = verify(&sidecar, of, trust, Some(&held));
            assert_eq!(code, 0, "{} {trust}: {text}", of.display());
        }
    }
    // The old key alone opens nothing any more, and a stranger's neither.
    fs::rename(&file, sidecar.dir.path().join("gateway-2.pem")).unwrap();
    fs::rename(sidecar.dir.path().join("put-away.pem"), sidecar.keys().join("gateway.pem")).unwrap();
    let said = sidecar.try_serve().unwrap_err();
    assert!(said.contains("not signed with the configured key"), "{said}");
}

/// A token with an Ed25519 key, in a directory of the test's own.
fn module(dir: &Path) -> Option<String> {
    if !is_there("SoftHSM2", Path::new(MODULE)) {
        return None;
    }
    let (conf, tokens) = (dir.join("softhsm2.conf"), dir.join("tokens"));
    fs::create_dir(&tokens).unwrap();
    fs::write(&conf, format!("directories.tokendir = {}\nlog.level = ERROR\n", tokens.display())).unwrap();
    let run = |program: &str, arguments: &str| {
        let output =
            Command::new(program).args(arguments.split(' ')).env("SOFTHSM2_CONF", &conf).output().expect(program);
        assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    };
    run("softhsm2-util", "--init-token --free --label countersign --so-pin 12345678 --pin 87654321");
    run(
        "pkcs11-tool",
        &format!(
            "--module {MODULE} --token-label countersign --login --pin 87654321 --keypairgen --key-type EC:edwards25519 --label gateway"
        ),
    );
    Some(conf.to_str().unwrap().to_owned())
}

/// A sidecar whose configuration names that token.
fn sidecar(conf: &str, hsm: bool) -> Sidecar {
    let (bank, address) = bank();
    let mut config = UPSTREAM.replace("ADDRESS", &address);
    if hsm {
        config += HSM;
    }
    let catalogue = include_str!("../../deploy/catalogues/bank.toml");
    let files = [("bank.toml", catalogue), ("bank.key", BANK_KEY), ("hsm.pin", "87654321\n")];
    let mut sidecar = Sidecar::prepared(&config, &files, Some(bank), 0);
    sidecar.envs.push(("SOFTHSM2_CONF", conf.to_owned()));
    sidecar
}

const HSM: &str = "[ledger.hsm]\nmodule = \"/usr/lib/softhsm/libsofthsm2.so\"\ntoken = \"countersign\"\nkey = \"gateway\"\npin = { file = \"hsm.pin\" }\n";

#[test]
fn a_hardware_module_signs_and_its_key_is_in_no_file() {
    let dir = tempfile::tempdir().unwrap();
    let Some(conf) = module(dir.path()) else { return };
    let mut sidecar = sidecar(&conf, true);
    sidecar.serve();
    call(&sidecar);
    assert!(!sidecar.keys().join("gateway.pem").exists());
    let key = keys(&sidecar).pop().unwrap();
    sidecar.kill();
    sidecar.serve();
    call(&sidecar);
    sidecar.stop();
    let (code, text) = verify(&sidecar, &sidecar.ledger(), &key, None);
    assert_eq!(code, 0, "{text}");
    let (code, text) = sidecar.tool(&["keys", "probe", "--config", path(&sidecar.config()), "--json"]);
    let probed: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((code, &probed["vkey"]), (0, &json!(key)), "{text}");
    eprintln!("{text}");

    // What keeps it from signing is said, and nothing starts.
    let pin = sidecar.dir.path().join("hsm.pin");
    fs::write(&pin, "00000000").unwrap();
    assert!(sidecar.try_serve().unwrap_err().contains("the login failed"));
    fs::write(&pin, "87654321").unwrap();
    fs::set_permissions(&pin, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(sidecar.try_serve().unwrap_err().contains("can be read by others"));
    fs::set_permissions(&pin, fs::Permissions::from_mode(0o600)).unwrap();
    let config = fs::read_to_string(sidecar.config()).unwrap();
    for (from, to, said) in [
        ("key = \"gateway\"", "key = \"another\"", "labelled `another`"),
        ("token = \"countersign\"", "token = \"another\"", "no token labelled `another`"),
        ("libsofthsm2.so", "nowhere.so", "nowhere.so"),
    ] {
        fs::write(sidecar.config(), config.replace(from, to)).unwrap();
        let error = sidecar.try_serve().unwrap_err();
        assert!(error.contains(said), "{error}");
    }
}

#[test]
fn while_the_module_does_not_sign_no_call_passes_and_it_comes_back_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    let Some(conf) = module(dir.path()) else { return };
    let mut sidecar = sidecar(&conf, true);
    sidecar.serve();
    call(&sidecar);
    let granted = sidecar.instruct("List my last 3 transactions", "emma", &["transactions.list"]);
    let token = granted["token"].as_str().unwrap();
    let list = || sidecar.ask(&sidecar.gateway, "GET", "/transactions?n=3", token, None);
    // As when the device is unplugged: its objects are gone for those who have a session, and for a new one.
    let (tokens, away) = (dir.path().join("tokens"), dir.path().join("away"));
    fs::rename(&tokens, &away).unwrap();
    let unsigned = list();
    assert_eq!(unsigned.status, 503, "{}", unsigned.body);
    let ready = || sidecar.ask(&sidecar.api, "GET", "/readyz", "", None);
    let said = ready();
    assert!(said.status == 503 && said.body.contains("ledger-unsigned"), "{}", said.body);
    assert_eq!(list().status, 503, "at once, now that it is known");
    fs::rename(&away, &tokens).unwrap();
    let back = (0..1200).any(|_| {
        std::thread::sleep(Duration::from_millis(50));
        ready().status == 200
    });
    assert!(back, "{}", ready().body);
    assert_eq!(list().status, 200);
    let key = keys(&sidecar).pop().unwrap();
    sidecar.stop();
    let (code, text) = verify(&sidecar, &sidecar.ledger(), &key, None);
    assert_eq!(code, 0, "{text}");
}

#[test]
fn a_module_takes_over_from_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let Some(conf) = module(dir.path()) else { return };
    let mut sidecar = sidecar(&conf, false);
    sidecar.serve();
    call(&sidecar);
    sidecar.stop();
    let config = fs::read_to_string(sidecar.config()).unwrap();
    fs::write(sidecar.config(), config + HSM).unwrap();
    sidecar.serve();
    call(&sidecar);
    assert_eq!(signatures(&sidecar), 2);
    sidecar.stop();
    fs::remove_file(sidecar.keys().join("gateway.pem")).unwrap();
    sidecar.serve();
    call(&sidecar);
    assert_eq!(signatures(&sidecar), 1);
    let [file, module] = keys(&sidecar).try_into().unwrap();
    sidecar.stop();
    for trust in [file, module] {
        let (code, text) = verify(&sidecar, &sidecar.ledger(), &trust, None);
        assert_eq!(code, 0, "{text}");
    }
}

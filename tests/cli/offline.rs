//! A bundle proves itself on a machine without a network: the tools run in a network namespace of their own, in which there is none.

use std::{
    fs,
    net::TcpListener,
    process::{Command, Output},
};

use crate::sidecar::{BINARY, Sidecar, path};

/// Runs a program where there is no network; none where this machine does not allow such a place.
fn offline(program: &str, args: &[&str]) -> Option<Output> {
    let output = Command::new("unshare").args(["-r", "-n", program]).args(args).output().ok()?;
    (!String::from_utf8_lossy(&output.stderr).starts_with("unshare:")).then_some(output)
}

#[test]
fn a_bundle_is_verified_traced_and_replayed_without_a_network() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let connect = format!("exec 3<>/dev/tcp/127.0.0.1/{}", listener.local_addr().unwrap().port());
    let Some(tried) = offline("bash", &["-c", &connect]) else {
        eprintln!("SKIPPED: this machine allows no network namespace");
        return;
    };
    let here = Command::new("bash").args(["-c", &connect]).status().unwrap();
    assert_eq!((here.code(), tried.status.success()), (Some(0), false), "who is there cannot be reached from there");
    let mut sidecar = Sidecar::start();
    let granted = sidecar.instruct("What is my balance?", "emma", &["account.balance.read"]);
    let (token, instruction) = (granted["token"].as_str().unwrap(), granted["instruction"].as_str().unwrap());
    assert_eq!(sidecar.ask(&sidecar.gateway, "GET", "/account/balance", token, None).status, 200);
    sidecar.stop();
    let (bundle, kept) = (sidecar.dir.path().join("b.zip"), sidecar.dir.path().join("kept"));
    fs::copy(sidecar.ledger().join("checkpoint"), &kept).unwrap();
    let (code, text) = sidecar.export(instruction, "all", &bundle);
    assert_eq!(code, 0, "{text}");
    // Nothing is left of the ledger but what the bundle has.
    fs::remove_dir_all(sidecar.ledger()).unwrap();
    for (args, says) in [
        (&["verify", path(&bundle), "--against", path(&kept)][..], "clean, against what was held outside"),
        (&["trace", path(&bundle), "--instruction", instruction], "The gateway granted account.balance.read."),
        (&["replay", path(&bundle)], "1 same, 0 differ, 0 not replayable"),
    ] {
        let output = offline(BINARY, args).unwrap();
        let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.code() == Some(0) && text.contains(says), "{args:?}: {text}");
    }
}

//! As a service manager runs it: sockets that it holds, readiness that it is told, an end that it asks for.

use std::{
    fs,
    net::TcpListener,
    os::{fd::OwnedFd, unix::net::UnixDatagram},
    process::{Command, Stdio},
    time::Duration,
};

use crate::sidecar::{BINARY, Sidecar, path, raw};

#[test]
fn a_socket_of_the_service_manager_is_served_and_readiness_is_told() {
    let mut sidecar = Sidecar::start();
    sidecar.stop();
    let config = fs::read_to_string(sidecar.config()).unwrap();
    let config = config.replacen("listen = \"127.0.0.1:0\"", "listen = \"systemd:agents\"", 1);
    fs::write(sidecar.config(), config).unwrap();

    let (listener, log) = (TcpListener::bind("0.0.0.0:0").unwrap(), sidecar.dir.path().join("log"));
    let port = listener.local_addr().unwrap().port();
    let address = format!("127.0.0.1:{port}");
    let told = UnixDatagram::bind(sidecar.dir.path().join("notify")).unwrap();
    told.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let run = "exec 3<&0 </dev/null; LISTEN_PID=$$ exec \"$@\"";
    let mut serve = Command::new("sh")
        .args(["-c", run, "sh", BINARY, "serve", "--config", path(&sidecar.config())])
        .env("LISTEN_FDS", "1")
        .env("LISTEN_FDNAMES", "agents")
        .env("NOTIFY_SOCKET", sidecar.dir.path().join("notify"))
        .env("WATCHDOG_USEC", "600000")
        .stdin(Stdio::from(OwnedFd::from(listener.try_clone().unwrap())))
        .env("NO_COLOR", "1")
        .stdout(Stdio::null())
        .stderr(fs::File::create(&log).unwrap())
        .spawn()
        .unwrap();
    let next = || {
        let mut buffer = [0; 256];
        let length = told.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..length]).trim().to_owned()
    };
    assert_eq!(next(), "READY=1");
    let said = fs::read_to_string(&log).unwrap();
    assert!(said.contains(&format!("`[gateway]` listens on `0.0.0.0:{port}` without TLS")), "{said}");
    assert_eq!((next(), next()), ("WATCHDOG=1".to_owned(), "WATCHDOG=1".to_owned()), "as long as the ledger can seal");
    let answer = raw(&address, &format!("GET /me HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n"));
    assert_eq!((answer.status, answer.code().as_str()), (401, "token-missing"));

    assert!(Command::new("kill").args(["-TERM", &serve.id().to_string()]).status().unwrap().success());
    while next() != "STOPPING=1" {}
    assert!(serve.wait().unwrap().success());
    // The manager still holds the socket: a restart would find who came meanwhile.
    drop(listener);
    let (code, text) = sidecar.verify();
    assert_eq!(code, 0, "{text}");
}

#[test]
fn a_socket_that_the_service_manager_does_not_pass_is_named() {
    let mut sidecar = Sidecar::start();
    sidecar.stop();
    let config = fs::read_to_string(sidecar.config()).unwrap();
    fs::write(sidecar.config(), config.replacen("127.0.0.1:0", "systemd:agents", 1)).unwrap();
    let said = sidecar.try_serve().unwrap_err();
    assert!(said.contains("`systemd:agents`") && said.contains("no socket of that name"), "{said}");
}

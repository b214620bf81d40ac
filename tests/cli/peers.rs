//! Programs that we did not write, as `tests/peers/setup` installs them.

use std::{
    fs,
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::sidecar::path;

/// The reference server in its package.
pub const EVERYTHING: &str = "@modelcontextprotocol/server-everything/dist/index.js";

const FASTMCP: &str = r#"
import sys
from fastmcp import FastMCP
server = FastMCP("bank")
@server.tool
def echo(message: str) -> str:
    return "Echo: " + message
@server.tool
def send_money(recipient: str, amount: float, memo: str | None = None) -> dict:
    """Sends money"""
    return {}
@server.resource("bank://{account}/statement")
def statement(account: str) -> str:
    return ""
server.run(transport="http", host="127.0.0.1", port=int(sys.argv[1]), show_banner=False)
"#;

/// A program that ends with the test.
pub struct Peer(Child);

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn peers() -> PathBuf {
    let target = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/target/peers"));
    std::env::var_os("COUNTERSIGN_PEERS").map_or(target, PathBuf::from)
}

/// Whether the peer is there; without it the test passes, unless peers are required.
pub fn is_there(what: &str, file: &Path) -> bool {
    if !file.exists() {
        assert!(std::env::var_os("COUNTERSIGN_PEERS_REQUIRED").is_none(), "{} is missing", file.display());
        eprintln!("SKIPPED: {what} (run tests/peers/setup)");
    }
    file.exists()
}

/// Starts a server on a free port and waits until it listens; gives its URL.
pub fn start<'c>(command: impl FnOnce(u16) -> &'c mut Command) -> (Peer, String) {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let peer = Peer(command(port).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    let begun = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(begun.elapsed() < Duration::from_secs(60), "it does not listen");
        thread::sleep(Duration::from_millis(100));
    }
    (peer, format!("http://127.0.0.1:{port}/mcp"))
}

/// The interpreter of one set of packages.
pub fn python(set: &str) -> PathBuf {
    peers().join("python").join(set).join("bin/python")
}

/// A file of one set of packages.
pub fn node(set: &str, file: &str) -> PathBuf {
    peers().join("node").join(set).join("node_modules").join(file)
}

/// A server of both eras, by the most used framework.
pub fn fastmcp() -> (Peer, String) {
    let mut command = Command::new(python("fastmcp"));
    start(|port| command.args(["-c", FASTMCP, &port.to_string()]))
}

/// A server of both eras with what the conformance suite asks for.
pub fn made() -> (Peer, String) {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers/server.py");
    let mut command = Command::new(python("mcp2"));
    start(|port| command.args([script, &port.to_string()]))
}

/// The reference server, of the era with sessions. It has no option for the address; a file in `dir` makes it listen on loopback only.
pub fn everything(dir: &Path) -> (Peer, String) {
    let loopback = dir.join("loopback.cjs");
    fs::write(
        &loopback,
        "const net = require('net'); const listen = net.Server.prototype.listen;\n\
         net.Server.prototype.listen = function (port, ...rest) { return listen.call(this, { port: +port, host: '127.0.0.1' }, rest.find((r) => typeof r === 'function')); };\n",
    )
    .unwrap();
    let mut node = Command::new("node");
    node.args(["--require", path(&loopback)]).arg(self::node("everything", EVERYTHING)).arg("streamableHttp");
    start(|port| node.env("PORT", port.to_string()))
}

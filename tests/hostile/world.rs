//! The real gateway before an API that writes down every byte it is sent.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::json;

use crate::{sidecar::Sidecar, stub};

const CATALOGUE: &str = r#"
upstream = "bank"
[[action]]
name = "look"
method = "GET"
path = "/x"
effect = "read"
[action.arguments]
q = { in = "query", type = "text" }
n = { in = "query", type = "integer" }
tag = { in = "header", at = "x-tag", type = "identifier" }
[[action]]
name = "pay"
method = "POST"
path = "/pay"
effect = "write"
[action.arguments]
to = { in = "body", type = "account", required = true, binds = true }
amount = { in = "body", type = "money", required = true, binds = true }
note = { in = "body", at = "/meta/note", type = "text" }
[[action]]
name = "file"
method = "GET"
path = "/files/{name}"
effect = "read"
[action.arguments]
name = { in = "path", type = "text", required = true, binds = true }
[[action]]
name = "upload"
method = "PUT"
path = "/upload"
effect = "write"
body = "opaque"
"#;

/// What the API was sent: head and body.
pub type Seen = Arc<Mutex<Vec<(String, Vec<u8>)>>>;

pub struct World {
    sidecar: Sidecar,
    seen: Seen,
    token: String,
}

/// What came back.
#[derive(Debug)]
pub struct Reply {
    /// The statuses of all answers, in their order.
    pub statuses: Vec<u16>,
    /// The code of the first problem document.
    pub code: String,
    /// What the API was sent meanwhile.
    pub seen: Vec<(String, Vec<u8>)>,
}

impl World {
    pub fn start() -> World {
        World::limited("")
    }

    /// With limits, as `[limits]` has them.
    pub fn limited(limits: &str) -> World {
        World::made(None, CATALOGUE, &["look", "pay", "file", "upload"], limits)
    }

    /// With another API at that address, or the usual one; with another catalogue.
    pub fn before(address: Option<&str>, catalogue: &str, actions: &[&str]) -> World {
        World::made(address, catalogue, actions, "")
    }

    fn made(address: Option<&str>, catalogue: &str, actions: &[&str], limits: &str) -> World {
        let mut sidecar = Sidecar::start();
        sidecar.stop();
        let seen = Seen::default();
        let address = address.map_or_else(|| api(seen.clone()), str::to_owned);
        let config = fs::read_to_string(sidecar.config()).unwrap();
        let line = config.lines().find(|line| line.starts_with("url = ")).unwrap().to_owned();
        fs::write(
            sidecar.config(),
            format!("{}[limits]\n{limits}\n", config.replace(&line, &format!("url = \"http://{address}\""))),
        )
        .unwrap();
        fs::write(sidecar.dir.path().join("bank.toml"), catalogue).unwrap();
        sidecar.serve();
        let words = "look at müller x and a.txt, pay 5 to GB29NWBK60161331926819";
        let granted = sidecar.instruct(words, "emma", actions);
        let token = granted["token"].as_str().unwrap().to_owned();
        World { sidecar, seen, token }
    }

    /// A request's bytes: `{T}` is replaced by the line with the token.
    pub fn bytes(&self, template: &[u8]) -> Vec<u8> {
        let line = format!("authorization: Bearer {}", self.token);
        let at = template.windows(3).position(|window| window == b"{T}");
        at.map_or_else(|| template.to_vec(), |at| [&template[..at], line.as_bytes(), &template[at + 3..]].concat())
    }

    /// Where agents call.
    pub fn gateway(&self) -> &str {
        &self.sidecar.gateway
    }

    /// The sidecar's memory.
    pub fn rss_kib(&self) -> u64 {
        self.sidecar.rss_kib()
    }

    /// The token.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Sends bytes as they are, says that no more come when `end`, and reads until the gateway or `done` says that this is all.
    pub fn send(&self, bytes: &[u8], end: bool, done: fn(&[u8]) -> bool) -> (Vec<u8>, Vec<(String, Vec<u8>)>) {
        self.seen.lock().unwrap().clear();
        let mut stream = TcpStream::connect(&self.sidecar.gateway).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(700))).unwrap();
        // The gateway may close before it has read all.
        let _ = stream.write_all(bytes);
        if end {
            let _ = stream.shutdown(std::net::Shutdown::Write);
        }
        let (mut answer, mut piece) = (Vec::new(), [0; 4096]);
        while !done(&answer) {
            match stream.read(&mut piece) {
                Ok(read) if read > 0 => answer.extend(&piece[..read]),
                _ => break,
            }
        }
        (answer, self.seen.lock().unwrap().clone())
    }

    /// Sends an HTTP/1.1 request.
    pub fn ask(&self, template: &[u8], end: bool) -> Reply {
        World::reply(self.send(&self.bytes(template), end, |_| false))
    }

    /// The same, and reads no further than `done` says.
    pub fn ask_until(&self, template: &[u8], done: fn(&[u8]) -> bool) -> Reply {
        World::reply(self.send(&self.bytes(template), false, done))
    }

    fn reply((answer, seen): (Vec<u8>, Vec<(String, Vec<u8>)>)) -> Reply {
        let text = String::from_utf8_lossy(&answer);
        let status = |line: &str| line.strip_prefix("HTTP/1.")?.get(2..5)?.parse().ok();
        let statuses = text.split("\r\n").filter_map(status).filter(|status| *status != 100).collect();
        Reply { statuses, code: code(&text), seen }
    }

    /// The ledger is whole, and holds `calls` calls at least.
    pub fn ends_well(&mut self, calls: u64) {
        self.sidecar.stop();
        let (code, text) = self.sidecar.verify();
        assert_eq!(code, 0, "{text}");
        let (_, shown) =
            self.sidecar.tool(&["show", self.sidecar.ledger().to_str().unwrap(), &calls.to_string(), "--json"]);
        assert!(
            serde_json::from_str::<serde_json::Value>(&shown).is_ok_and(|entry| entry["entry"] != json!(null)),
            "{shown}"
        );
    }
}

/// The code of the first problem document in a text.
pub fn code(text: &str) -> String {
    let after = text.split("/problems/").nth(1).unwrap_or_default();
    after.split('"').next().unwrap_or_default().to_owned()
}

/// An API that answers everything with `{}` and writes down what it was sent.
fn api(seen: Seen) -> String {
    stub::start(move |asked| {
        seen.lock().unwrap().push((asked.head.clone(), asked.body.clone()));
        stub::json(200, "{}")
    })
}

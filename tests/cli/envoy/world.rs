//! Envoy with the example of `deploy/envoy/`, other addresses put in, an API behind it and the sidecar beside it.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    peers::{self, Peer, is_there},
    sidecar::{Answer, BANK_KEY, Sidecar, path},
    stub,
};

pub const EXAMPLE: &str = include_str!("../../../deploy/envoy/envoy.yaml");

pub const CATALOGUE: &str = r#"
upstream = "bank"
[[action]]
name = "look"
method = "GET"
path = "/look/{how}"
effect = "read"
[action.arguments]
how = { in = "path", type = "text", required = true }
[[action]]
name = "pay"
method = "POST"
path = "/pay"
effect = "irreversible"
[action.arguments]
to = { in = "body", type = "account", required = true, binds = true }
amount = { in = "body", type = "money", required = true, binds = true }
note = { in = "body", type = "text" }
[[action]]
name = "cut"
method = "GET"
path = "/cut"
effect = "read"
abort_on_revoke = true
"#;

pub const ENVOY: &str = "[ext_authz]\nlisten = \"unix:envoy.sock\"\nupstreams = [\"bank\"]\nunread_answers = true\n";

/// An API that does what the path says.
pub struct Api {
    pub port: u16,
    /// Heads and bodies that it was sent.
    seen: Arc<Mutex<Vec<String>>>,
}

impl Api {
    fn start() -> Api {
        let seen: Arc<Mutex<Vec<String>>> = Arc::default();
        let kept = seen.clone();
        let address = stub::start(move |asked| {
            kept.lock().unwrap().push(asked.head.clone() + &String::from_utf8_lossy(&asked.body));
            let status = match asked.path.as_str() {
                "/look/broken" => 500,
                // Gone without an answer.
                "/look/reset" => 0,
                "/look/slow" => {
                    thread::sleep(Duration::from_secs(600));
                    0
                }
                _ => 200,
            };
            let (status, mut headers, body) = stub::json(status, "{}");
            headers.extend([("set-cookie", "session=secret".into()), ("countersign-entry", "forged".into())]);
            (status, headers, body)
        });
        Api { port: address.parse::<SocketAddr>().unwrap().port(), seen }
    }

    pub fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

/// The agents' side of it: Envoy before the API, the sidecar beside it.
pub struct World {
    pub sidecar: Sidecar,
    pub api: Api,
    pub token: String,
    pub running: Peer,
    pub envoy: String,
}

fn program() -> PathBuf {
    peers::python("envoy").with_file_name("envoy")
}

/// Starts Envoy with the example.
pub fn envoy(dir: &Path, api: u16, change: &dyn Fn(String) -> String) -> (Peer, String) {
    let mut command = std::process::Command::new(program());
    let (peer, url) = peers::start(|port| {
        let example = EXAMPLE
            .replace("port_value: 10000", &format!("port_value: {port}"))
            .replace("/run/countersign/envoy.sock", path(&dir.join("envoy.sock")))
            .replace("port_value: 9000", &format!("port_value: {api}"));
        let file = dir.join(format!("envoy-{port}.yaml"));
        fs::write(&file, change(example)).unwrap();
        command.args(["--use-dynamic-base-id", "--concurrency", "1", "--log-level", "error", "-c", path(&file)])
    });
    let address = url.trim_start_matches("http://").trim_end_matches("/mcp").to_owned();
    (peer, address)
}

impl World {
    pub fn start(more: &str, change: &dyn Fn(String) -> String) -> Option<World> {
        World::with(&format!("{more}{ENVOY}"), &[], change)
    }

    /// With what the configuration says of Envoy, and the files that it names.
    pub fn with(ext_authz: &str, files: &[(&str, &str)], change: &dyn Fn(String) -> String) -> Option<World> {
        if !is_there("Envoy", &program()) {
            return None;
        }
        let api = Api::start();
        let upstream = format!(
            "{ext_authz}[[upstream]]\nname = \"bank\"\nurl = \"http://127.0.0.1:{}\"\ncatalogue = \"bank.toml\"\nsign = true\ncredential = {{ prefix = \"Bearer \", file = \"bank.key\" }}\n",
            api.port
        );
        let files = [&[("bank.toml", CATALOGUE), ("bank.key", BANK_KEY)], files].concat();
        let sidecar = Sidecar::with(&upstream, &files, None);
        let granted = sidecar.instruct("look broken slow reset well, pay 5 to Bob", "emma", &["look", "pay", "cut"]);
        let token = granted["token"].as_str().unwrap().to_owned();
        let (running, envoy) = envoy(sidecar.dir.path(), api.port, change);
        Some(World { sidecar, api, token, running, envoy })
    }

    pub fn get(&self, target: &str) -> Answer {
        self.sidecar.ask(&self.envoy, "GET", target, &self.token, None)
    }

    pub fn pay(&self, body: &Value) -> Answer {
        self.sidecar.ask(&self.envoy, "POST", "/pay", &self.token, Some(body))
    }

    /// Waits until the API has seen so many requests.
    pub fn reached(&self, count: usize) {
        let begun = Instant::now();
        while self.api.seen().len() < count {
            assert!(begun.elapsed() < Duration::from_secs(30), "the API saw {:?}", self.api.seen());
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Stops the sidecar; gives the calls in their order, each with its outcome.
    pub fn ended(&mut self) -> Vec<(Value, Value)> {
        self.sidecar.stop();
        let (code, said) = self.sidecar.verify();
        assert_eq!(code, 0, "{said}");
        let (ledger, keys) = (self.sidecar.ledger(), self.sidecar.keys());
        let show =
            |seq: u64| self.sidecar.tool(&["show", path(&ledger), &seq.to_string(), "--json", "--keys", path(&keys)]);
        let entries: Vec<Value> = (0..)
            .map(show)
            .take_while(|(code, _)| *code == 0)
            .map(|(_, text)| serde_json::from_str(&text).unwrap())
            .collect();
        let of =
            |kind: &str| entries.iter().filter(|entry| entry["entry"]["kind"] == kind).cloned().collect::<Vec<_>>();
        let outcomes = of("outcome");
        of("call")
            .into_iter()
            .map(|call| {
                let ended = outcomes.iter().find(|outcome| outcome["entry"]["parents"][0] == call["hash"]);
                (call, ended.cloned().unwrap_or_default())
            })
            .collect()
    }
}

/// What matters of a call and its outcome, on one line.
pub fn told((call, outcome): &(Value, Value)) -> String {
    let (call, outcome) = (&call["entry"]["body"], &outcome["entry"]["body"]);
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let status = outcome["status"].as_u64().map_or_else(|| "-".to_owned(), |status| status.to_string());
    [text(&call["via"]), text(&call["verdict"]), text(&outcome["result"]), text(&outcome["sent"]), status].join(" ")
}

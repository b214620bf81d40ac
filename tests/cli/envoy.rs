//! Envoy forwards, the gateway judges and records: the real Envoy with the example of `deploy/envoy/`, other addresses put in.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    peers::{self, Peer, is_there},
    sidecar::{Answer, BANK_KEY, Sidecar, countersign, path, raw},
};

const EXAMPLE: &str = include_str!("../../deploy/envoy/envoy.yaml");

const CATALOGUE: &str = r#"
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

const ENVOY: &str = "[ext_authz]\nlisten = \"unix:envoy.sock\"\nupstreams = [\"bank\"]\nunread_answers = true\n";

/// Heads and bodies that the API was sent.
type Seen = Arc<Mutex<Vec<String>>>;

/// An API that does what the path says.
struct Api {
    port: u16,
    seen: Seen,
}

impl Api {
    fn start() -> Api {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (port, seen) = (listener.local_addr().unwrap().port(), Seen::default());
        let kept = seen.clone();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let seen = kept.clone();
                thread::spawn(move || serve(stream, &seen));
            }
        });
        Api { port, seen }
    }

    fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

fn serve(mut stream: TcpStream, seen: &Seen) -> Option<()> {
    loop {
        let (mut bytes, mut piece) = (Vec::new(), [0; 4096]);
        let whole = |bytes: &[u8]| {
            let text = String::from_utf8_lossy(bytes).into_owned();
            let (head, body) = text.split_once("\r\n\r\n")?;
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            (body.len() >= length.map_or(0, |length| length.parse().unwrap())).then(|| text.clone())
        };
        let text = loop {
            if let Some(text) = whole(&bytes) {
                break text;
            }
            let read = stream.read(&mut piece).ok().filter(|read| *read > 0)?;
            bytes.extend(&piece[..read]);
        };
        let target = text.split(' ').nth(1).unwrap_or_default().to_owned();
        seen.lock().unwrap().push(text);
        let status = match target.as_str() {
            "/look/broken" => "500 Internal Server Error",
            // Gone without an answer.
            "/look/reset" => return None,
            "/look/slow" => {
                thread::sleep(Duration::from_secs(600));
                return None;
            }
            _ => "200 OK",
        };
        let answer = format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/json\r\nset-cookie: session=secret\r\ncountersign-entry: forged\r\ncontent-length: 2\r\n\r\n{{}}"
        );
        stream.write_all(answer.as_bytes()).ok()?;
    }
}

struct World {
    sidecar: Sidecar,
    api: Api,
    token: String,
    _envoy: Peer,
    envoy: String,
}

fn program() -> PathBuf {
    peers::python("envoy").with_file_name("envoy")
}

/// Starts Envoy with the example.
fn envoy(dir: &Path, api: u16, change: &dyn Fn(String) -> String) -> (Peer, String) {
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
    fn start(more: &str, change: &dyn Fn(String) -> String) -> Option<World> {
        if !is_there("Envoy", &program()) {
            return None;
        }
        let api = Api::start();
        let upstream = format!(
            "{more}{ENVOY}[[upstream]]\nname = \"bank\"\nurl = \"http://127.0.0.1:{}\"\ncatalogue = \"bank.toml\"\nsign = true\ncredential = {{ prefix = \"Bearer \", file = \"bank.key\" }}\n",
            api.port
        );
        let sidecar = Sidecar::with(&upstream, &[("bank.toml", CATALOGUE), ("bank.key", BANK_KEY)], None);
        let granted = sidecar.instruct("look broken slow reset well, pay 5 to Bob", "emma", &["look", "pay", "cut"]);
        let token = granted["token"].as_str().unwrap().to_owned();
        let (peer, envoy) = envoy(sidecar.dir.path(), api.port, change);
        Some(World { sidecar, api, token, _envoy: peer, envoy })
    }

    fn get(&self, target: &str) -> Answer {
        self.sidecar.ask(&self.envoy, "GET", target, &self.token, None)
    }

    fn pay(&self, body: &Value) -> Answer {
        self.sidecar.ask(&self.envoy, "POST", "/pay", &self.token, Some(body))
    }

    /// Waits until the API has seen so many requests.
    fn reached(&self, count: usize) {
        let begun = Instant::now();
        while self.api.seen().len() < count {
            assert!(begun.elapsed() < Duration::from_secs(30), "the API saw {:?}", self.api.seen());
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Stops the sidecar; gives the calls in their order, each with its outcome.
    fn ended(&mut self) -> Vec<(Value, Value)> {
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
fn told((call, outcome): &(Value, Value)) -> String {
    let (call, outcome) = (&call["entry"]["body"], &outcome["entry"]["body"]);
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let status = outcome["status"].as_u64().map_or_else(|| "-".to_owned(), |status| status.to_string());
    [text(&call["via"]), text(&call["verdict"]), text(&outcome["result"]), text(&outcome["sent"]), status].join(" ")
}

#[test]
fn calls_that_envoy_forwards_are_judged_recorded_and_closed_as_its_access_log_tells() {
    let Some(mut world) = World::start("[limits]\njson_bytes = 4096\n", &|yaml| yaml) else { return };
    let allowed = raw(
        &world.envoy,
        &format!(
            "GET /look/%77ell HTTP/1.1\r\nhost: agents.example\r\nauthorization: Bearer {}\r\ncookie: a=b\r\nx-envoy-max-retries: 5\r\nx-undeclared: 1\r\nconnection: close\r\n\r\n",
            world.token
        ),
    );
    assert_eq!(allowed.status, 200, "{}", allowed.body);
    let seen = world.api.seen().remove(0).to_lowercase();
    for part in [
        "get /look/well http/1.1",
        &format!("authorization: bearer {BANK_KEY}"),
        "signature-input: countersign=",
        "countersign-entry: ",
    ] {
        assert!(seen.contains(&part.to_lowercase()), "`{part}` is not in:\n{seen}");
    }
    assert!(seen.contains(&format!("host: 127.0.0.1:{}", world.api.port)), "{seen}");
    for part in ["cookie", "x-undeclared", "x-envoy-max-retries", &world.token.to_lowercase()] {
        assert!(!seen.contains(part), "`{part}` is in:\n{seen}");
    }
    let good = json!({ "to": "Bob", "amount": 5 });
    assert_eq!(world.pay(&good).status, 200);
    assert!(
        world.api.seen()[1].ends_with("{\"amount\":5,\"to\":\"Bob\"}")
            || world.api.seen()[1].ends_with(&good.to_string())
    );

    // Refused, with the gateway's own words: no action, no token, an argument that the user did not name, a body that is too long for it.
    let unknown = world.get("/admin");
    assert_eq!((unknown.status, unknown.code().as_str()), (403, "action-unknown"));
    assert!(unknown.json()["entry"].is_string());
    assert_eq!(world.sidecar.ask(&world.envoy, "GET", "/look/well", "nobody", None).code(), "token-invalid");
    let held = world.pay(&json!({ "to": "Mallory", "amount": 5 }));
    assert_eq!((held.status, held.code().as_str()), (403, "approval-required"));
    let long = world.pay(&json!({ "to": "Bob", "amount": 5, "note": "x".repeat(5000) }));
    assert_eq!((long.status, long.code().as_str()), (413, "body-too-large"));
    // Too long for Envoy: it does not even ask.
    assert_eq!(world.pay(&json!({ "note": "x".repeat(600_000) })).status, 413);
    // What a withdrawal must cut, Envoy would not.
    let uncut = world.get("/cut");
    assert_eq!((uncut.status, uncut.code().as_str()), (501, "not-through-envoy"));

    // What the API and the agent do.
    assert_eq!(world.get("/look/broken").status, 500);
    assert_eq!(world.get("/look/reset").status, 503);
    let mut impatient = TcpStream::connect(&world.envoy).unwrap();
    let head = format!("GET /look/slow HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {}\r\n\r\n", world.token);
    impatient.write_all(head.as_bytes()).unwrap();
    world.reached(5);
    drop(impatient);

    let told: Vec<String> = world.ended().iter().map(told).collect();
    let expected = [
        "ext_authz allow completed yes 200",
        "ext_authz allow completed yes 200",
        "ext_authz deny - - -",
        "ext_authz deny - - -",
        "ext_authz hold - - -",
        "ext_authz deny - - -",
        "ext_authz allow gateway_fault no -",
        "ext_authz allow completed yes 500",
        "ext_authz allow upstream_truncated maybe -",
        "ext_authz allow client_aborted maybe -",
    ];
    assert_eq!(told, expected);
    assert_eq!(world.api.seen().len(), 5);
}

#[test]
fn what_is_held_passes_once_through_envoy_after_a_persons_yes() {
    let Some(mut world) = World::start("", &|yaml| yaml) else { return };
    let (pem, secret) = (world.sidecar.dir.path().join("ann.pem"), world.sidecar.dir.path().join("ann.secret"));
    let made = countersign(&["keys", "new", "approver", "--party", "the-approver", "--out", path(&pem), "--json"]);
    let made: Value = serde_json::from_slice(&made.stdout).unwrap();
    fs::write(&secret, world.sidecar.secret("approver")).unwrap();
    let operator = world.sidecar.secret("operator");
    assert_eq!(
        world.sidecar.ask(&world.sidecar.api, "POST", "/v1/keys", operator, Some(&made["register"])).status,
        201
    );
    let other = json!({ "to": "Carl", "amount": 5 });
    let held = world.pay(&other).json()["held"].as_str().unwrap().to_owned();
    let api = format!("http://{}", world.sidecar.api);
    let (code, said) = world.sidecar.tool(&[
        "approvals",
        "approve",
        &held,
        "--yes",
        "--api",
        &api,
        "--key",
        path(&pem),
        "--secret-file",
        path(&secret),
    ]);
    assert_eq!(code, 0, "{said}");
    assert_eq!((world.pay(&other).status, world.pay(&other).code().as_str()), (200, "approval-required"));
    let told: Vec<String> = world.ended().iter().map(told).collect();
    assert_eq!(told, ["ext_authz hold - - -", "ext_authz allow completed yes 200", "ext_authz hold - - -"]);
    assert_eq!(world.api.seen().len(), 1);
}

#[test]
fn an_api_that_is_late_or_gone_an_envoy_anew_and_a_sidecar_that_is_down() {
    let Some(mut world) = World::start("", &|yaml| yaml.replace("timeout: 30s", "timeout: 0.5s")) else { return };
    assert_eq!(world.get("/look/slow").status, 504);
    // Another Envoy, which finds nobody where the API was.
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    (world._envoy, world.envoy) = envoy(world.sidecar.dir.path(), closed, &|yaml| yaml);
    assert_eq!(world.get("/look/well").status, 503);
    (world._envoy, world.envoy) = envoy(world.sidecar.dir.path(), world.api.port, &|yaml| yaml);
    assert_eq!(world.get("/look/well").status, 200);
    let told: Vec<String> = world.ended().iter().map(told).collect();
    let expected = [
        "ext_authz allow upstream_timeout maybe -",
        "ext_authz allow upstream_unreachable no -",
        "ext_authz allow completed yes 200",
    ];
    assert_eq!(told, expected);

    // Nobody judges: nothing passes. Once somebody does again, the same Envoy goes on.
    let seen = world.api.seen().len();
    assert_eq!(world.get("/look/well").status, 503);
    assert_eq!(world.api.seen().len(), seen);
    world.sidecar.serve();
    let begun = Instant::now();
    while world.get("/look/well").status != 200 {
        assert!(begun.elapsed() < Duration::from_secs(30), "Envoy does not come back");
        thread::sleep(Duration::from_millis(100));
    }
    assert!(world.ended().iter().all(|(_, outcome)| outcome["entry"]["kind"] == "outcome"));
}

#[test]
fn a_body_that_envoy_does_not_show_is_not_judged_and_a_log_that_does_not_come_leaves_nothing_open() {
    let silent = |yaml: String| {
        let body = yaml.lines().find(|line| line.contains("with_request_body")).unwrap();
        let yaml = yaml.replace(body, "");
        let from = yaml.find("                access_log:").unwrap();
        let to = yaml.find("                http_filters:").unwrap();
        format!("{}{}", &yaml[..from], &yaml[to..])
    };
    let Some(mut world) = World::start("", &silent) else { return };
    world.sidecar.stop();
    let config = fs::read_to_string(world.sidecar.config()).unwrap();
    fs::write(world.sidecar.config(), config.replace(ENVOY, &format!("{ENVOY}outcome_seconds = 1\n"))).unwrap();
    world.sidecar.serve();
    let unseen = world.pay(&json!({ "to": "Bob", "amount": 5 }));
    assert_eq!((unseen.status, unseen.code().as_str()), (400, "body-incomplete"), "{}", unseen.body);
    assert!(unseen.body.contains("with_request_body"));
    assert_eq!(world.get("/look/well").status, 200);
    // Longer than it may take: closed while the sidecar runs, not only at its end.
    thread::sleep(Duration::from_secs(4));
    world.sidecar.kill();
    world.sidecar.serve();
    let ended = world.ended();
    assert_eq!(ended.iter().map(told).collect::<Vec<_>>(), ["ext_authz deny - - -", "ext_authz allow unknown maybe -"]);
    assert!(ended[1].1["entry"]["body"]["detail"].as_str().unwrap().contains("access log"), "{}", ended[1].1);
}

#[test]
fn only_an_envoy_that_is_trusted_may_ask_and_only_of_apis_whose_answers_may_go_unread() {
    let bank = "[[upstream]]\nname = \"bank\"\nurl = \"http://127.0.0.1:9\"\ncatalogue = \"bank.toml\"\ncredential = { prefix = \"Bearer \", file = \"bank.key\" }\n";
    let files = [("bank.toml", CATALOGUE), ("bank.key", BANK_KEY)];
    let mut sidecar = Sidecar::with(&format!("{ENVOY}{bank}"), &files, None);
    sidecar.stop();
    let config = fs::read_to_string(sidecar.config()).unwrap();
    let token = format!("token_sha256 = \"{}\"\n", "0".repeat(64));
    for (from, to, why) in [
        ("unix:envoy.sock", "127.0.0.1:0", "`token_sha256`"),
        ("unread_answers = true\n", "", "credential that must be looked for in its answers"),
        ("upstreams = [\"bank\"]", "upstreams = [\"shop\"]", "no such `[[upstream]]`"),
        ("unread_answers = true", "envoys = [\"spiffe://a/b\"]\nunread_answers = true", "`clients`"),
        ("unread_answers = true", "token_sha256 = \"x\"\nunread_answers = true", "hexadecimal"),
    ] {
        fs::write(sidecar.config(), config.replace(from, to)).unwrap();
        let (code, said) = sidecar.tool(&["check", "--config", path(&sidecar.config())]);
        assert!(code == 2 && said.contains(why), "{said}");
        assert!(sidecar.try_serve().unwrap_err().contains(why));
    }
    fs::write(
        sidecar.config(),
        config.replace("unix:envoy.sock", "127.0.0.1:0").replace("unread_answers", &format!("{token}unread_answers")),
    )
    .unwrap();
    assert_eq!(sidecar.tool(&["check", "--config", path(&sidecar.config())]).0, 0);
}

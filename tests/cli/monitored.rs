//! A real Prometheus scrapes the real sidecar under a little load: everything that dashboard and alerts ask for is there, and docs/observability.md lists all of it.

use std::{
    collections::BTreeSet,
    env, fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    peers::{Peer, is_there},
    sidecar::{BANK_KEY, Sidecar, bank, countersign, path, raw, text},
};

fn deploy(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("deploy/observability").join(name)
}

/// A program on the path, as Debian's package `prometheus` puts it there.
fn program(name: &str) -> Option<PathBuf> {
    let places = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&places).map(|place| place.join(name)).find(|file| file.exists());
    let file = found.unwrap_or_else(|| Path::new("/usr/bin").join(name));
    is_there("Prometheus", &file).then_some(file)
}

/// A sidecar before the bank, which owes receipts and never gives one.
fn world() -> (Sidecar, String) {
    let (child, address) = bank();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("bank.pem");
    let made = countersign(&["keys", "new", "agent", "--party", "bank", "--out", path(&file), "--json"]);
    let made: Value = serde_json::from_slice(&made.stdout).unwrap();
    let upstream = format!(
        "[metrics]\nlisten = \"127.0.0.1:0\"\n\
         [[upstream]]\nname = \"bank\"\nurl = \"http://{address}\"\ncatalogue = \"bank.toml\"\ncredential = {{ prefix = \"Bearer \", file = \"bank.key\" }}\n\
         receipts = {{ party = \"bank\", keys = \"bank.jwk\" }}\n"
    );
    let catalogue = include_str!("../../deploy/catalogues/bank.toml");
    let jwk = made["register"]["jwk"].to_string();
    let files = [("bank.toml", catalogue), ("bank.key", BANK_KEY), ("bank.jwk", &jwk)];
    let mut sidecar = Sidecar::with(&upstream, &files, Some(child));
    sidecar.stop();
    let ready = sidecar.serve_saying(Stdio::inherit(), None);
    (sidecar, ready["metrics"].as_str().unwrap().to_owned())
}

/// Calls that are allowed, held and refused, strangers, and a look at the API.
fn load(sidecar: &Sidecar) {
    let budget = json!({ "argument": "amount", "limit": "100" });
    let actions = json!([{ "action": "transactions.send", "budget": budget }, "account.balance.read"]);
    let body = json!({ "words": "Pay GB29NWBK60161331926819 5", "principal": "emma", "agent": "assistant", "scope": { "actions": actions } });
    let granted = sidecar.ask(&sidecar.api, "POST", "/v1/instructions", sidecar.secret("host"), Some(&body));
    assert_eq!(granted.status, 201, "{}", granted.body);
    let granted = granted.json();
    let token = granted["token"].as_str().unwrap();
    let ask = |method: &str, target: &str, token: &str, body: Option<Value>| {
        sidecar.ask(&sidecar.gateway, method, target, token, body.as_ref()).status
    };
    let pay = |to: &str| json!({ "recipient": to, "amount": 5, "subject": "rent", "date": "2022-01-01" });
    assert_eq!(ask("GET", "/account/balance", token, None), 200);
    assert_eq!(ask("POST", "/transactions", token, Some(pay("GB29NWBK60161331926819"))), 201);
    assert_eq!(ask("POST", "/transactions", token, Some(pay("Mallory"))), 403);
    assert_eq!(ask("DELETE", "/account", token, None), 403);
    assert_eq!(ask("GET", "/account/balance", "nobody", None), 401);
}

fn scrape(metrics: &str) -> String {
    raw(metrics, &format!("GET /metrics HTTP/1.1\r\nhost: {metrics}\r\nconnection: close\r\n\r\n")).body
}

/// Every expression that the files ask Prometheus for.
fn expressions() -> Vec<String> {
    let dashboard: Value = serde_json::from_str(&fs::read_to_string(deploy("dashboard.json")).unwrap()).unwrap();
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let targets = panels.flat_map(|panel| panel["targets"].as_array().cloned().unwrap_or_default());
    let shown = targets.map(|target| target["expr"].as_str().unwrap().to_owned());
    let alerts: Value = serde_saphyr::from_str(&fs::read_to_string(deploy("alerts.yml")).unwrap()).unwrap();
    let rules = alerts["groups"].as_array().unwrap().iter().flat_map(|group| group["rules"].as_array().unwrap());
    let told = rules.map(|rule| rule["expr"].as_str().unwrap().to_owned());
    shown.chain(told).collect()
}

/// The metrics that a text names.
fn metrics(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let ours = ["countersign_", "http_server_", "http_client_", "target_info"];
    let label = |word: &str| ["http_route", "http_response_status_code"].contains(&word);
    words.filter(|word| ours.iter().any(|start| word.starts_with(start)) && !label(word)).map(str::to_owned).collect()
}

/// Without what a histogram adds to its name.
fn family(name: &str) -> &str {
    ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name)
}

#[test]
fn every_metric_is_in_the_documentation_and_every_one_in_the_documentation_is_there() {
    let (sidecar, address) = world();
    load(&sidecar);
    let text = scrape(&address);
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    let there: BTreeSet<String> = types.map(str::to_owned).collect();
    let page = include_str!("../../docs/observability.md");
    let table = page.split("## Metrics").nth(1).unwrap().split("\n## ").next().unwrap();
    let rows = table.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let listed: BTreeSet<String> = rows.map(str::to_owned).collect();
    assert_eq!(there, listed);
    let answer = raw(&address, &format!("GET /v1/policies HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n"));
    assert_eq!(answer.status, 404, "nothing else is there");
}

#[test]
fn the_api_is_limited_per_credential_and_says_when_to_come_back() {
    let mut sidecar = Sidecar::start();
    sidecar.stop();
    let config = fs::read_to_string(sidecar.config()).unwrap();
    fs::write(
        sidecar.config(),
        format!("{config}[limits]\napi_per_credential = 5\n[metrics]\nlisten = \"127.0.0.1:0\"\n"),
    )
    .unwrap();
    let metrics = sidecar.serve_saying(Stdio::inherit(), None)["metrics"].as_str().unwrap().to_owned();
    let ask = |role: &str, path: &str| {
        let (api, secret) = (&sidecar.api, sidecar.secret(role));
        let head = format!(
            "GET {path} HTTP/1.1\r\nhost: {api}\r\nauthorization: Bearer {secret}\r\nconnection: close\r\n\r\n"
        );
        text(api, &head)
    };
    let begun = Instant::now();
    let late = loop {
        let answers: Vec<String> = (0..20).map(|_| ask("investigator", "/v1/checkpoint")).collect();
        if let Some(late) = answers.into_iter().find(|answer| answer.starts_with("HTTP/1.1 429")) {
            break late;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "never too many");
    };
    assert!(late.contains("retry-after: 1\r\n") && late.contains("too-many-requests"), "{late}");
    assert!(ask("operator", "/v1/policies").starts_with("HTTP/1.1 200"), "somebody else's share is untouched");
    assert!((0..20).all(|_| ask("investigator", "/readyz").starts_with("HTTP/1.1 200")), "a probe is free");
    assert!(!scrape(&metrics).contains("countersign_api_limited_total{by=\"credential\"} 0"));
}

#[test]
fn a_real_prometheus_has_everything_that_dashboard_and_alerts_ask_for() {
    let (Some(prometheus), Some(promtool)) = (program("prometheus"), program("promtool")) else { return };
    let promtool = |args: &[&str], input: &str| {
        let mut tool = Command::new(&promtool);
        tool.args(args).current_dir(deploy("")).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut tool = tool.spawn().unwrap();
        tool.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let output = tool.wait_with_output().unwrap();
        assert!(
            output.status.success(),
            "{args:?}: {}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    };
    promtool(&["check", "rules", "alerts.yml"], "");
    promtool(&["test", "rules", "alerts.test.yml"], "");
    promtool(&["check", "config", "prometheus.yml"], "");

    let (sidecar, address) = world();
    load(&sidecar);
    promtool(&["check", "metrics"], &scrape(&address));
    let (_prometheus, server) = scraping(&prometheus, &sidecar, &address);
    let ask = |target: &str| {
        let answer = raw(&server, &format!("GET {target} HTTP/1.0\r\nhost: {server}\r\n\r\n"));
        (answer.status, answer.body)
    };
    let query = |expression: &str| {
        let encoded = percent_encoding::utf8_percent_encode(expression, percent_encoding::NON_ALPHANUMERIC);
        let (status, body) = ask(&format!("/api/v1/query?query={encoded}"));
        assert_eq!(status, 200, "{expression}: {body}");
        body
    };
    let begun = Instant::now();
    while !query("count_over_time(up{job=\"countersign\"}[1m]) > 3").contains("countersign") {
        assert!(begun.elapsed() < Duration::from_secs(90), "never scraped");
        load(&sidecar);
        thread::sleep(Duration::from_millis(500));
    }
    let (_, names) = ask("/api/v1/label/__name__/values");
    let expressions = expressions();
    assert!(expressions.len() > 40);
    for expression in expressions {
        let names: Vec<String> =
            metrics(&expression).into_iter().filter(|name| !names.contains(&format!("\"{name}\""))).collect();
        assert!(names.is_empty(), "{expression}: Prometheus has no {names:?}");
        let variables = [("$__rate_interval", "1m"), ("$instance", ".*"), ("$upstream", ".*")];
        query(&variables.iter().fold(expression, |text, (name, value)| text.replace(name, value)));
    }
    let (_, rules) = ask("/api/v1/rules");
    let rules: Value = serde_json::from_str(&rules).unwrap();
    let rules: Vec<&Value> = rules["data"]["groups"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|group| group["rules"].as_array().unwrap())
        .collect();
    assert!(rules.len() > 15 && rules.iter().all(|rule| rule["health"] != "err"), "{rules:?}");
    let firing: Vec<_> =
        rules.iter().filter(|rule| rule["state"] == "firing" && rule["labels"]["severity"] == "critical").collect();
    assert!(firing.is_empty(), "{firing:?}");
    // What is on the page is on the dashboard: an operator who sees a metric can find out what it is.
    let page = include_str!("../../docs/observability.md");
    let asked: BTreeSet<String> = self::expressions().iter().flat_map(|expression| metrics(expression)).collect();
    for name in asked {
        assert!(page.contains(&format!("`{}`", family(&name))), "{name} is not in docs/observability.md");
    }
}

/// Prometheus with the example's configuration, but for address and interval.
fn scraping(prometheus: &Path, sidecar: &Sidecar, address: &str) -> (Peer, String) {
    let dir = sidecar.dir.path();
    let config = fs::read_to_string(deploy("prometheus.yml")).unwrap();
    let config = config
        .replace("127.0.0.1:9464", address)
        .replace("scrape_interval: 15s", "scrape_interval: 1s\n  evaluation_interval: 1s");
    let config = config.replace("[alerts.yml]", &format!("[{}]", path(&deploy("alerts.yml"))));
    fs::write(dir.join("prometheus.yml"), config).unwrap();
    let mut command = Command::new(prometheus);
    let (peer, url) = crate::peers::start(|port| {
        command
            .arg(format!("--config.file={}", path(&dir.join("prometheus.yml"))))
            .arg(format!("--storage.tsdb.path={}", path(&dir.join("prometheus"))))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .stderr(Stdio::null())
    });
    let server = url.trim_start_matches("http://").split('/').next().unwrap().to_owned();
    // It listens before it answers questions.
    let (begun, ready) = (Instant::now(), format!("GET /-/ready HTTP/1.0\r\nhost: {server}\r\n\r\n"));
    while raw(&server, &ready).status != 200 {
        assert!(begun.elapsed() < Duration::from_secs(60), "never ready");
        thread::sleep(Duration::from_millis(50));
    }
    (peer, server)
}

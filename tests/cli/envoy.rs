//! Envoy forwards, the gateway judges and records: the real Envoy with the example of `deploy/envoy/`, other addresses put in.

mod mtls;
mod world;

use std::{
    fs,
    io::Write as _,
    net::{TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use self::world::{CATALOGUE, ENVOY, World, envoy, told};
use crate::sidecar::{BANK_KEY, Sidecar, countersign, path, raw};

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
    (world.running, world.envoy) = envoy(world.sidecar.dir.path(), closed, &|yaml| yaml);
    assert_eq!(world.get("/look/well").status, 503);
    (world.running, world.envoy) = envoy(world.sidecar.dir.path(), world.api.port, &|yaml| yaml);
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

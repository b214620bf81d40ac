//! A sidecar between host, agent, model and API, each in a process of its own but the agent and the host, which are this one.

use std::{fs, sync::Arc};

use countersign_ledger::{keys, statement::Jwk};
use countersign_sdk::{Approver, Host, Plain};
use ed25519_dalek::SigningKey;
use serde_json::{Value, json};

use crate::{
    actors::{
        Actor,
        api::{self, PATIENCE_SECONDS, Script},
        model::Turn,
    },
    sidecar::{Sidecar, path},
    table::Evidence,
};

/// The sample bank's catalogue.
pub const BANK: &str = include_str!("../../deploy/catalogues/bank.toml");
/// The airline's.
const AIRLINE: &str = include_str!("data/airline.toml");

/// The model's endpoint: any live grant may ask.
const MODEL: &str = "upstream = \"model\"\nprotocol = \"model\"\n";

/// Who is registered with which role.
const PARTIES: [(&str, &str); 8] = [
    ("assistant", "agent_developer"),
    ("the-host", "agent_operator"),
    ("the-operator", "platform"),
    ("the-approver", "user"),
    ("bank", "api_provider"),
    ("airline", "api_provider"),
    ("model", "model_provider"),
    ("the-investigator", "investigator"),
];

/// How a world differs from the usual one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Setting {
    /// Verdicts are recorded and not enforced.
    pub shadow: bool,
    /// The APIs give receipts.
    pub receipts: bool,
    /// The APIs' own logs are read and compared.
    pub api_log: bool,
}

impl Setting {
    /// The world that gives this evidence.
    pub fn of(evidence: &Evidence) -> Setting {
        Setting { receipts: evidence.has("receipts"), api_log: evidence.has("api_log"), ..Setting::default() }
    }
}

/// Everything that runs.
pub struct World {
    pub sidecar: Sidecar,
    pub host: Host,
    pub approver: Approver,
    pub agent_key: SigningKey,
    pub actors: Arc<Actors>,
    /// By which the APIs know this world's gateway.
    pub credential: String,
    begun: jiff::Timestamp,
    setting: Setting,
}

/// The processes beside the sidecar; worlds can share them.
pub struct Actors {
    pub bank: Actor,
    pub airline: Actor,
    pub model: Actor,
}

impl Actors {
    pub fn start() -> Arc<Actors> {
        Arc::new(Actors { bank: Actor::start("api"), airline: Actor::start("api"), model: Actor::start("model") })
    }

    /// The API of that upstream.
    fn api(&self, upstream: &str) -> &Actor {
        if upstream == "airline" { &self.airline } else { &self.bank }
    }

    /// Lays the scripts for the run with this trace id.
    pub async fn script(&self, trace: &str, upstream: &str, api: &Script, turns: &[Turn]) {
        for (actor, body) in [(self.api(upstream), json!(api)), (&self.model, json!(turns))] {
            let client = Plain::anonymous(&actor.url).unwrap();
            let context = traceparent(trace);
            let headers = [("traceparent", context.as_str())];
            let answer = client.exchange("POST", "/_admin/script", &headers, Some(&body)).await.unwrap();
            assert!(answer.status.is_success(), "{}: {}", answer.status, String::from_utf8_lossy(&answer.body));
        }
    }

    /// How many changes have come to the bank in the run with this trace id.
    pub async fn under_way(&self, trace: &str) -> u64 {
        let client = Plain::anonymous(&self.bank.url).unwrap();
        let answer = client.send("GET", &format!("/_admin/changes/{trace}"), None).await.unwrap();
        answer.json().unwrap().as_u64().unwrap()
    }
}

/// The W3C trace context by which the actors know whose script holds.
pub fn traceparent(trace: &str) -> String {
    format!("00-{trace}-00f067aa0ba902b7-01")
}

impl World {
    pub async fn start(actors: &Arc<Actors>, setting: Setting) -> World {
        let shadow = setting.shadow;
        let credential = uuid::Uuid::new_v4().simple().to_string();
        let key = format!("{}{credential}", api::KEY);
        let mut upstreams = String::new();
        for name in ["bank", "airline"] {
            let url = &actors.api(name).url;
            let receipts = if setting.receipts {
                format!("receipts = {{ party = \"{name}\", keys = \"{name}.jwk\" }}\n")
            } else {
                String::new()
            };
            upstreams += &format!(
                "[[upstream]]\nname = \"{name}\"\nurl = \"{url}\"\ncatalogue = \"{name}.toml\"\nprefix = \"/{name}\"\nshadow = {shadow}\n\
                 credential = {{ prefix = \"Bearer \", file = \"api.key\" }}\n{receipts}\
                 [upstream.timeouts]\nconnect_seconds = {PATIENCE_SECONDS}\nfirst_byte_seconds = {PATIENCE_SECONDS}\n"
            );
        }
        let model = &actors.model.url;
        upstreams += &format!(
            "[[upstream]]\nname = \"model\"\nurl = \"{model}\"\ncatalogue = \"model.toml\"\nprefix = \"/model\"\n"
        );
        let (bank, airline) = (actors.bank.jwk.to_string(), actors.airline.jwk.to_string());
        let files = [
            ("bank.toml", BANK),
            ("airline.toml", AIRLINE),
            ("model.toml", MODEL),
            ("api.key", &key),
            ("bank.jwk", &bank),
            ("airline.jwk", &airline),
        ];
        let world = World::behind(actors, Sidecar::with(&upstreams, &files, None), setting, credential).await;
        if setting.receipts {
            // The APIs give receipts to gateways whose keys they know.
            let key = keys::load(&world.sidecar.keys().join("signature.pem")).unwrap();
            let jwk = json!(Jwk::ed25519(&key.verifying_key()));
            for api in [&actors.bank, &actors.airline] {
                let client = Plain::anonymous(&api.url).unwrap();
                assert!(client.send("POST", "/_admin/trust", Some(&jwk)).await.unwrap().status.is_success());
            }
        }
        world
    }

    /// Registers everybody.
    async fn behind(actors: &Arc<Actors>, sidecar: Sidecar, setting: Setting, credential: String) -> World {
        let begun = jiff::Timestamp::now();
        let (agent_key, approver_key) = (keys::generate().unwrap(), keys::generate().unwrap());
        let api = format!("http://{}", sidecar.api);
        let operator = Plain::new(&api, sidecar.secret("operator")).unwrap();
        let mut register: Vec<(&str, Value)> = PARTIES
            .iter()
            .map(|(party, role)| ("/v1/parties", json!({ "party": party, "role": role, "name": party })))
            .collect();
        for (party, key) in [("assistant", &agent_key), ("the-approver", &approver_key)] {
            let jwk = Jwk::ed25519(&key.verifying_key());
            register.push(("/v1/keys", json!({ "party": party, "jwk": jwk })));
        }
        for (path, body) in register {
            let answer = operator.send("POST", path, Some(&body)).await.unwrap();
            assert!(answer.status.is_success(), "{body}: {}", String::from_utf8_lossy(&answer.body));
        }
        let host = Host::new(&api, sidecar.secret("host")).unwrap();
        let approver = Approver::new(&api, sidecar.secret("approver"), approver_key).unwrap();
        World { sidecar, host, approver, agent_key, actors: actors.clone(), credential, begun, setting }
    }

    /// The sidecar was started again: its addresses may be others.
    pub fn again(&mut self) {
        let api = format!("http://{}", self.sidecar.api);
        self.host = Host::new(&api, self.sidecar.secret("host")).unwrap();
    }

    /// Nothing is under way any more: what was given up has come to its end at the API too.
    pub async fn settled(&self) {
        // A receipt that did not come is asked for up to five seconds after the call.
        let wait = if self.setting.receipts { 7_000 } else { 900 };
        tokio::time::sleep(std::time::Duration::from_millis(wait)).await;
    }

    /// Reads the APIs' own logs, where that is among the evidence, and has the result recorded.
    pub async fn reconcile(&self) {
        if !self.setting.api_log {
            return;
        }
        let dir = self.sidecar.dir.path();
        let secret = dir.join("operator.secret");
        fs::write(&secret, self.sidecar.secret("operator")).unwrap();
        for name in ["bank", "airline"] {
            let client = Plain::anonymous(&self.actors.api(name).url).unwrap();
            let log = dir.join(format!("{name}.log"));
            fs::write(&log, client.send("GET", "/_admin/log", None).await.unwrap().body).unwrap();
            let (from, to) = (self.begun.to_string(), jiff::Timestamp::now().to_string());
            let (ledger, keys, api) = (self.sidecar.ledger(), self.sidecar.keys(), self.api());
            let (code, text) = self.sidecar.tool(&[
                "reconcile",
                path(&ledger),
                "--upstream",
                name,
                "--log",
                path(&log),
                "--format",
                "jsonl",
                "--credential",
                &self.credential,
                "--clock-skew",
                "5",
                "--from",
                &from,
                "--to",
                &to,
                "--keys",
                path(&keys),
                "--submit",
                &api,
                "--secret-file",
                path(&secret),
            ]);
            assert!(code < 2, "{text}");
        }
        // A reader beside the sidecar sees what was recorded a moment later.
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    }

    pub fn gateway(&self) -> String {
        format!("http://{}", self.sidecar.gateway)
    }

    pub fn api(&self) -> String {
        format!("http://{}", self.sidecar.api)
    }
}

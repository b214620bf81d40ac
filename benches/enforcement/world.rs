//! The gateway with its sealed ledger, in this process but over real sockets, and who talks to it: host, agent, approver.

use std::{path::Path, sync::Arc};

use anyhow::Context as _;
use countersign_authorize::catalogue::{Catalogue, Protocol};
use countersign_ledger::{
    Hash, Ledger, checkpoint::CheckpointSigner, clock::SystemClock, keys, ledger::Options, statement::Jwk, vault::Vault,
};
use countersign_proxy::{
    Settings,
    api::{Credential, Role},
    settings,
    state::{Gateway, Parts},
    token::Tokens,
};
use countersign_sdk::{Agent, Approver, Host, Instruction, Plain};
use serde_json::{Value, json};

use crate::{
    cases::Call,
    upstream::{Upstream, sent},
};

/// What became of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Became {
    /// It reached the API.
    Executed,
    /// It waits for an approval, with the reasons.
    Held(String),
    /// It was refused, with the reasons.
    Blocked(String),
}

/// Everything that runs.
pub struct World {
    pub catalogue: Arc<Catalogue>,
    pub upstream: Upstream,
    gateway: String,
    api: String,
    host: Host,
    approver: Approver,
    ledger: Ledger,
}

/// An agent at work for one instruction; none when the grant would have no action.
pub struct Worker(Option<Agent>);

impl World {
    /// Starts the gateway in front of the API, its ledger below `dir`.
    pub async fn start(dir: &Path, catalogue: &str) -> anyhow::Result<World> {
        let upstream = Upstream::start().await?;
        let parsed = Catalogue::parse(catalogue)?;
        let (data, keys_dir) = (dir.join("ledger"), dir.join("keys"));
        let opened = tokio::task::spawn_blocking(move || -> anyhow::Result<_> {
            let signer = CheckpointSigner::new("bench.example", keys::generate()?)?;
            let ledger = Ledger::create(Options::new(data), signer, Arc::new(SystemClock), None)?;
            Ok((ledger, Vault::open(&keys_dir)?))
        });
        let (ledger, vault) = opened.await??;
        let gateway = Gateway::open(Parts {
            ledger: ledger.clone(),
            vault: Arc::new(vault),
            catalogues: vec![(parsed.clone(), catalogue.to_owned())],
            tokens: Tokens::new("bench.example", keys::generate()?),
            clock: Arc::new(SystemClock),
        })
        .await?;
        let path = if parsed.protocol() == Protocol::Mcp { "/mcp" } else { "" };
        let settings = settings(&parsed, &format!("http://{}{path}", upstream.address))?;
        let roles = [(Role::Host, "host"), (Role::Operator, "operator"), (Role::Approver, "approver")];
        let secret = |party: &str| format!("csk_{party}_of_the_bench");
        let credential = |(role, party): (Role, &str)| {
            let sha256 = Hash::of(secret(party).as_bytes()).to_string();
            Credential { role, party: party.to_owned(), sha256 }
        };
        let credentials = roles.map(credential).to_vec();
        let running = countersign_proxy::serve(settings, gateway, credentials, std::future::pending()).await?;
        let (api, gateway) = (format!("http://{}", running.api), format!("http://{}", running.gateway));
        let key = keys::generate()?;
        let operator = Plain::new(&api, &secret("operator"))?;
        for (path, body) in [
            ("/v1/parties", json!({ "party": "approver", "role": "approver" })),
            ("/v1/keys", json!({ "party": "approver", "jwk": Jwk::ed25519(&key.verifying_key()) })),
        ] {
            let answer = operator.send("POST", path, Some(&body)).await?;
            anyhow::ensure!(answer.status.is_success(), "{path}: {}", String::from_utf8_lossy(&answer.body));
        }
        Ok(World {
            catalogue: Arc::new(parsed),
            upstream,
            host: Host::new(&api, &secret("host"))?,
            approver: Approver::new(&api, &secret("approver"), key)?,
            gateway,
            api,
            ledger,
        })
    }

    /// The user's words become a grant of these actions, and nothing else is said by the host.
    pub async fn instruct(&self, words: &str, actions: &[String]) -> anyhow::Result<Worker> {
        if actions.is_empty() {
            return Ok(Worker(None));
        }
        let instruction = Instruction {
            words: words.to_owned(),
            principal: "emma".to_owned(),
            agent: "assistant".to_owned(),
            scope: json!({ "actions": actions, "expires_in": 3600 }),
            ..Instruction::default()
        };
        let granted = self.host.instruct(&instruction).await?;
        anyhow::ensure!(granted.withheld.is_empty(), "withheld: {:?}", granted.withheld);
        Ok(Worker(Some(Agent::new(&self.gateway, &self.api, &granted.token)?)))
    }

    /// Makes a call. When `approve` is set and it is held, the approver says yes to exactly this call and the agent asks again; then the reasons
    /// for which it was held come second.
    pub async fn call(
        &self,
        worker: &mut Worker,
        call: &Call,
        approve: bool,
    ) -> anyhow::Result<(Became, Option<String>)> {
        let became = self.once(worker, call).await?;
        let (Became::Held(why), id) = &became else { return Ok((became.0, None)) };
        if !approve {
            return Ok((became.0, None));
        }
        let id = id.as_deref().context("a held call without an id")?;
        let shown = jiff::Timestamp::now();
        let (origin, held) = self.approver.one(id).await?;
        self.approver.answer(&origin, &held, true, shown, jiff::Timestamp::now()).await?;
        Ok((self.once(worker, call).await?.0, Some(why.clone())))
    }

    async fn once(&self, worker: &mut Worker, call: &Call) -> anyhow::Result<(Became, Option<String>)> {
        let Some(agent) = &mut worker.0 else { return Ok((Became::Blocked("no grant".into()), None)) };
        let Ok(sent) = sent(&self.catalogue, call) else {
            return Ok((Became::Blocked("action-unknown".into()), None));
        };
        let before = self.upstream.arrived();
        let answer = agent.call(&sent.method, &sent.target, sent.body.as_ref(), None).await?;
        // What arrived was executed, whatever the agent is told.
        if self.upstream.arrived() > before {
            return Ok((Became::Executed, None));
        }
        let said = answer.json()?;
        let problem = said.pointer("/error/data").unwrap_or(&said);
        let text = |name: &str| problem.get(name).and_then(Value::as_str).map(str::to_owned);
        let code = text("type").context("neither executed nor refused")?;
        let code = code.rsplit('/').next().unwrap_or_default().to_owned();
        if code == "approval-required" {
            return Ok((Became::Held(reasons(problem)), text("call")));
        }
        let detail = text("detail").unwrap_or_default();
        Ok((Became::Blocked(format!("{code}: {detail}")), None))
    }

    /// Ends the ledger.
    pub fn stop(self) -> anyhow::Result<()> {
        Ok(self.ledger.close()?)
    }
}

fn reasons(problem: &Value) -> String {
    let each = problem.get("reasons").and_then(Value::as_array).into_iter().flatten();
    let one =
        |reason: &Value| Some(format!("{}: {}", reason.get("argument")?.as_str()?, reason.get("code")?.as_str()?));
    each.filter_map(one).collect::<Vec<_>>().join(", ")
}

fn settings(catalogue: &Catalogue, url: &str) -> anyhow::Result<Settings> {
    Ok(Settings::new(vec![settings::Upstream {
        credential: Some(settings::Credential::new(http::header::AUTHORIZATION, "Bearer a-secret-of-the-api".into())?),
        http: settings::Http::One,
        ..settings::Upstream::new(catalogue.upstream(), url.parse()?)
    }]))
}

//! The demo's world: the bank in a process of its own, the sidecar with its ledger, and everybody's keys, in one directory.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context as _, bail};
use countersign_ledger::{Hash, Ledger, keys, statement::Jwk};
use countersign_sdk::{Approver, Host};
use ed25519_dalek::SigningKey;
use rand::{TryRng as _, rngs::SysRng};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
    sync::oneshot,
};

use crate::{config::Config, running};

const CATALOGUE: &str = include_str!("../../deploy/catalogues/bank.toml");
const MODEL: &str = include_str!("../../deploy/catalogues/model.toml");

/// Everything that runs.
pub struct World {
    pub dir: PathBuf,
    pub gateway: String,
    pub api: String,
    pub host: Host,
    pub host_secret: String,
    pub approver: Approver,
    pub agent_key: SigningKey,
    pub ledger: Ledger,
    bank: Child,
    model: Child,
    bank_url: String,
    bank_admin: String,
    stop: Option<oneshot::Sender<()>>,
    running: Option<countersign_proxy::Running>,
}

fn secret() -> anyhow::Result<String> {
    let mut bytes = [0; 32];
    SysRng.try_fill_bytes(&mut bytes).context("the operating system gave no random bytes")?;
    Ok(Hash::of(&bytes).to_string())
}

impl World {
    /// Starts everything below `dir`, on ports that are free.
    pub async fn start(dir: &Path) -> anyhow::Result<World> {
        let (bank_key, bank_admin) = (secret()?, secret()?);
        receipts(dir)?;
        let keys_of_bank = [("COUNTERSIGN_DEMO_BANK_KEY", &bank_key), ("COUNTERSIGN_DEMO_BANK_ADMIN_KEY", &bank_admin)];
        let of_bank = ["demo-bank".as_ref(), "--receipts".as_ref(), dir.as_os_str()];
        let (bank, bank_url) = start(&of_bank, &keys_of_bank).await?;
        let model_key = secret()?;
        let (model, model_url) = start(&["demo-model".as_ref()], &[("COUNTERSIGN_DEMO_MODEL_KEY", &model_key)]).await?;
        let secrets = [secret()?, secret()?, secret()?];
        let path = configure(dir, (&bank_url, &bank_key), (&model_url, &model_key), &secrets)?;
        let config = Config::read(&path)?;
        let gateway = running::gateway(&config).await?;
        let ledger = gateway.ledger.clone();
        let (stop, stopped) = oneshot::channel();
        let ended = async { drop(stopped.await) };
        let running =
            countersign_proxy::serve(running::settings(&config)?, gateway, config.credentials(), ended).await?;
        let [host_secret, operator, approver_secret] = secrets;
        let (api, gateway) = (format!("http://{}", running.api), format!("http://{}", running.gateway));
        let (agent_key, approver_key) = (keys::generate()?, keys::generate()?);
        for (party, role, key) in [("assistant", "agent", &agent_key), ("emma-herself", "approver", &approver_key)] {
            let jwk = Jwk::ed25519(&key.verifying_key());
            post(&format!("{api}/v1/parties"), &operator, &json!({ "party": party, "role": role })).await?;
            post(&format!("{api}/v1/keys"), &operator, &json!({ "party": party, "jwk": jwk })).await?;
        }
        Ok(World {
            dir: dir.to_owned(),
            host: Host::new(&api, &host_secret)?,
            approver: Approver::new(&api, &approver_secret, approver_key)?,
            gateway,
            api,
            host_secret,
            agent_key,
            ledger,
            bank,
            model,
            bank_url,
            bank_admin,
            stop: Some(stop),
            running: Some(running),
        })
    }

    /// Puts the bank back to its beginning, with an attacker's text in every place where one can write.
    pub async fn reset_bank(&self, planted: &str) -> anyhow::Result<()> {
        let url = format!("{}/_admin/reset", self.bank_url);
        post(&url, &self.bank_admin, &json!({ "planted": planted })).await.map(|_| ())
    }

    /// Every change that the bank executed, as its own journal has it.
    pub async fn executed(&self) -> anyhow::Result<Vec<Value>> {
        let url = format!("{}/_admin/journal", self.bank_url);
        let answer = send("GET", &url, &self.bank_admin, None).await?;
        Ok(answer.get("executed").and_then(Value::as_array).cloned().unwrap_or_default())
    }

    /// Drains the sidecar, closes the ledger, ends the bank.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        drop(self.stop.take());
        if let Some(running) = self.running.take() {
            running.drained().await;
        }
        self.ledger.close()?;
        for child in [&mut self.bank, &mut self.model] {
            drop(child.stdin.take());
            child.wait().await?;
        }
        Ok(())
    }
}

/// Starts the bank or the model, which says where it listens.
async fn start(arguments: &[&OsStr], keys: &[(&str, &String)]) -> anyhow::Result<(Child, String)> {
    let mut child = Command::new(std::env::current_exe()?)
        .args(arguments)
        .envs(keys.iter().copied())
        // It ends when this end is closed, however the demo ends.
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("the bank or the model cannot be started")?;
    let out = child.stdout.take().context("it has no output")?;
    let line = BufReader::new(out).lines().next_line().await?.context("the bank or the model ended at once")?;
    let said: Value = serde_json::from_str(&line)?;
    let address = said.get("address").and_then(Value::as_str).context("it did not say its address")?;
    Ok((child, format!("http://{address}")))
}

/// What the bank must know of the gateway, so that it gives receipts for its calls.
fn receipts(dir: &Path) -> anyhow::Result<()> {
    let keys = dir.join("keys");
    fs::create_dir_all(&keys)?;
    let key = keys::load_or_create(&keys.join("signature.pem"))?;
    Ok(fs::write(dir.join("gateway.jwk"), json!(Jwk::ed25519(&key.verifying_key())).to_string())?)
}

fn configure(
    dir: &Path,
    (bank, bank_key): (&str, &str),
    (model, model_key): (&str, &str),
    secrets: &[String; 3],
) -> anyhow::Result<PathBuf> {
    fs::create_dir_all(dir)?;
    fs::write(dir.join("bank.toml"), CATALOGUE)?;
    fs::write(dir.join("bank.key"), bank_key)?;
    fs::write(dir.join("model.toml"), MODEL)?;
    fs::write(dir.join("model.key"), model_key)?;
    let mut config = format!(
        "# Made by `countersign demo`.\norigin = \"demo.example/agents\"\n\n[ledger]\ndirectory = \"ledger\"\nkeys = \"keys\"\nreserve_mib = 16\n\n\
         [gateway]\nlisten = \"127.0.0.1:0\"\n\n[api]\nlisten = \"127.0.0.1:0\"\n\n[[upstream]]\nname = \"bank\"\nurl = \"{bank}\"\n\
         catalogue = \"bank.toml\"\nprefix = \"\"\ncredential = {{ prefix = \"Bearer \", file = \"bank.key\" }}\nreceipts = {{ party = \"bank\", keys = \"bank.jwk\" }}\n\n\
         [[upstream]]\nname = \"model\"\nurl = \"{model}\"\ncatalogue = \"model.toml\"\n\
         credential = {{ prefix = \"Bearer \", file = \"model.key\" }}\n"
    );
    for ((role, party), secret) in
        [("host", "demo-app"), ("operator", "demo-ops"), ("approver", "emma-herself")].iter().zip(secrets)
    {
        let sha256 = Hash::of(secret.as_bytes());
        config.push_str(&format!("\n[[credential]]\nrole = \"{role}\"\nparty = \"{party}\"\nsha256 = \"{sha256}\"\n"));
    }
    let path = dir.join("countersign.toml");
    fs::write(&path, config)?;
    Ok(path)
}

async fn post(url: &str, secret: &str, body: &Value) -> anyhow::Result<Value> {
    send("POST", url, secret, Some(body)).await
}

async fn send(method: &str, url: &str, secret: &str, body: Option<&Value>) -> anyhow::Result<Value> {
    let (base, path) = url.split_at(url.get(8..).and_then(|rest| rest.find('/')).map_or(url.len(), |at| at + 8));
    let answer = countersign_sdk::Plain::new(base, secret)?.send(method, path, body).await?;
    if !answer.status.is_success() {
        bail!("`{method} {url}`: {} {}", answer.status, String::from_utf8_lossy(&answer.body));
    }
    Ok(answer.json()?)
}

//! `countersign keys`.

mod gateway;

use std::{fs, io::Write as _, os::unix::fs::OpenOptionsExt as _, path::Path};

use anyhow::{Context as _, bail};
use countersign_ledger::{
    Hash, Kind,
    directory::Directory,
    evidence::{Evidence, Selection},
    keys,
    statement::Jwk,
};
use rand::{TryRng as _, rngs::SysRng};
use serde_json::{Value, json};

use super::{look::damaged, say};
use crate::cli::{KeyRole, KeysCommand, OperatorArgs};

pub async fn run(command: KeysCommand) -> anyhow::Result<u8> {
    match command {
        KeysCommand::New { role, party, out, secret, add_to, json } => {
            let pair = match role {
                KeyRole::Agent | KeyRole::User => true,
                KeyRole::Approver => !secret,
                KeyRole::Host | KeyRole::Operator | KeyRole::Investigator => false,
            };
            if pair && add_to.is_some() {
                bail!(
                    "a key pair is registered with the running sidecar and stands in no configuration; leave --add-to away"
                )
            } else if pair {
                let out = out.context("give --out FILE for the secret half of the key pair")?;
                new_pair(&party, &out, json)
            } else {
                new_secret(role, &party, &Kept { secret: out.as_deref(), row: add_to.as_deref() }, json)
            }
        }
        KeysCommand::Enrol { api, party, minutes } => enrol(&api, &party, minutes).await,
        KeysCommand::List { ledger, json } => list(&ledger, json),
        KeysCommand::Rotate { config, json } => gateway::rotate(&config, json),
        KeysCommand::Probe { config, json } => gateway::probe(&config, json),
    }
}

fn new_pair(party: &str, out: &Path, as_json: bool) -> anyhow::Result<u8> {
    let key = keys::generate()?;
    keys::save(out, &key)?;
    let jwk = Jwk::ed25519(&key.verifying_key());
    let registration = json!({ "party": party, "jwk": jwk });
    if as_json {
        say(format_args!("{}", json!({ "kid": jwk.thumbprint(), "secret_key": out, "register": registration })))?;
    } else {
        say(format_args!("The secret half is in {} (mode 0600); it never leaves its owner.\n", out.display()))?;
        say(format_args!("key id  {}\n", jwk.thumbprint()))?;
        say(format_args!("An operator registers the public half with POST /v1/keys:\n\n{registration}"))?;
    }
    Ok(0)
}

/// A new secret of a role, and its SHA-256.
pub fn secret(role: &str) -> anyhow::Result<(String, Hash)> {
    let mut bytes = [0; 32];
    SysRng.try_fill_bytes(&mut bytes).context("the operating system gave no random bytes")?;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let secret = format!("csk_{role}_{hex}");
    let sha256 = Hash::of(secret.as_bytes());
    Ok((secret, sha256))
}

/// Where the two halves of a new bearer secret go; printed where there is no file.
struct Kept<'f> {
    secret: Option<&'f Path>,
    row: Option<&'f Path>,
}

fn new_secret(role: KeyRole, party: &str, kept: &Kept<'_>, as_json: bool) -> anyhow::Result<u8> {
    let role = match role {
        KeyRole::Host => "host",
        KeyRole::Approver => "approver",
        KeyRole::Operator => "operator",
        _ => "investigator",
    };
    let (secret, sha256) = secret(role)?;
    let credential = json!({ "role": role, "party": party, "sha256": sha256 });
    let row = format!("[[credential]]\nrole = \"{role}\"\nparty = {}\nsha256 = \"{sha256}\"", json!(party));
    let whole = kept.row.map(|config| Ok::<_, anyhow::Error>((config, with_row(config, &row)?))).transpose()?;
    if let Some(file) = kept.secret {
        write_secret(file, &secret)?;
    }
    if let Some((config, whole)) = &whole {
        fs::write(config, whole).with_context(|| format!("`{}` cannot be written", config.display()))?;
    }
    if as_json {
        let secret = match kept.secret {
            Some(file) => json!({ "secret_file": file, "credential": credential }),
            None => json!({ "secret": secret, "credential": credential }),
        };
        say(secret)?;
        return Ok(0);
    }
    match kept.secret {
        Some(file) => say(format_args!("The secret is in {} (mode 0600).", file.display()))?,
        None => say(format_args!("The secret, shown only now:\n\n{secret}\n"))?,
    }
    match kept.row {
        Some(config) => say(format_args!("Its SHA-256 is in {}, which a running sidecar notices.", config.display()))?,
        None => say(format_args!("Add this to the configuration:\n\n{row}"))?,
    }
    Ok(0)
}

/// The configuration with another row.
fn with_row(config: &Path, row: &str) -> anyhow::Result<String> {
    let text = fs::read_to_string(config).with_context(|| format!("`{}` cannot be read", config.display()))?;
    let whole = format!("{}\n\n{row}\n", text.trim_end());
    toml::from_str::<toml::Table>(&whole)
        .with_context(|| format!("`{}` would not be TOML any more", config.display()))?;
    Ok(whole)
}

fn write_secret(file: &Path, secret: &str) -> anyhow::Result<()> {
    let mut options = fs::OpenOptions::new();
    let mut opened = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(file)
        .with_context(|| format!("`{}` cannot be made", file.display()))?;
    writeln!(opened, "{secret}").with_context(|| format!("`{}` cannot be written", file.display()))
}

async fn enrol(args: &OperatorArgs, party: &str, minutes: u32) -> anyhow::Result<u8> {
    let asked = json!({ "party": party, "expires_in": minutes.saturating_mul(60) });
    let link = super::ask(args, "POST", "/v1/enrolments", Some(&asked)).await?;
    let text = |name: &str| link.get(name).and_then(Value::as_str).unwrap_or_default();
    say(format_args!("{}\n\nFor `{party}` only, once, until {}.", text("url"), text("expires")))?;
    Ok(0)
}

fn list(ledger: &Path, as_json: bool) -> anyhow::Result<u8> {
    let directory = Directory::read(ledger, None)?;
    // No instruction has this id: what is left are the entries that give context, keys among them.
    let selection = Selection::Instruction(String::new());
    let evidence = Evidence::collect(&directory, &selection, None, &|_| false).map_err(damaged)?;
    let keys = evidence.items.values().filter(|item| item.entry.kind == Kind::Key);
    let rows: Vec<Value> = keys
        .map(|item| json!({ "entry": item.entry.seq, "time": item.entry.time, "event": item.entry.text("event"), "party": item.entry.text("party"), "kid": item.entry.text("kid"), "by": item.entry.text("by") }))
        .collect();
    let vkeys: Vec<String> = evidence.keys.iter().map(ToString::to_string).collect();
    if as_json {
        say(format_args!("{}", json!({ "ledger": vkeys, "registered": rows })))?;
        return Ok(0);
    }
    // Kept in a file as it is printed this is one for `--trust`, so all else is a comment there. Parties' keys are only the operator's word.
    say("# The ledger's own keys, for `verify --trust`:\n")?;
    vkeys.iter().try_for_each(say)?;
    if !rows.is_empty() {
        say("\n# Entry  Event       Party                 Key")?;
    }
    for row in rows {
        let text = |name: &str| row.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        say(format_args!(
            "# {:<6} {:<11} {:<21} {}",
            row.get("entry").and_then(Value::as_u64).unwrap_or(0),
            text("event"),
            text("party"),
            text("kid")
        ))?;
    }
    Ok(0)
}

//! `countersign keys`.

use std::path::Path;

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
        KeysCommand::New { role, party, out, secret, json } => {
            let pair = match role {
                KeyRole::Agent | KeyRole::User => true,
                KeyRole::Approver => !secret,
                KeyRole::Host | KeyRole::Operator | KeyRole::Investigator => false,
            };
            if pair {
                let out = out.context("give --out FILE for the secret half of the key pair")?;
                new_pair(&party, &out, json)
            } else if out.is_some() {
                bail!("this role gets a bearer secret, which is printed; leave --out away")
            } else {
                new_secret(role, &party, json)
            }
        }
        KeysCommand::Enrol { api, party, minutes } => enrol(&api, &party, minutes).await,
        KeysCommand::List { ledger, json } => list(&ledger, json),
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

fn new_secret(role: KeyRole, party: &str, as_json: bool) -> anyhow::Result<u8> {
    let role = match role {
        KeyRole::Host => "host",
        KeyRole::Approver => "approver",
        KeyRole::Operator => "operator",
        _ => "investigator",
    };
    let (secret, sha256) = secret(role)?;
    if as_json {
        say(format_args!(
            "{}",
            json!({ "secret": secret, "credential": { "role": role, "party": party, "sha256": sha256 } })
        ))?;
    } else {
        say(format_args!("The secret, shown only now:\n\n{secret}\n\nAdd this to the configuration:\n"))?;
        say(format_args!("[[credential]]\nrole = \"{role}\"\nparty = \"{party}\"\nsha256 = \"{sha256}\""))?;
    }
    Ok(0)
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
    say(format_args!("The ledger's own key, for `verify --trust`:\n"))?;
    vkeys.iter().try_for_each(say)?;
    if !rows.is_empty() {
        say(format_args!("\nEntry  Event       Party                 Key"))?;
    }
    for row in rows {
        let text = |name: &str| row.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        say(format_args!(
            "{:<6} {:<11} {:<21} {}",
            row.get("entry").and_then(Value::as_u64).unwrap_or(0),
            text("event"),
            text("party"),
            text("kid")
        ))?;
    }
    Ok(0)
}

//! `countersign incident` and `mine`: what the harmed and those who act for them need.

use std::{fs::File, io::Write as _};

use anyhow::Context as _;
use countersign_ledger::keys;
use countersign_sdk::User;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{ask, say};
use crate::cli::{IncidentCommand, MineArgs};

pub async fn run(command: &IncidentCommand) -> anyhow::Result<u8> {
    let text = |value: &Value, name: &str| value.get(name).and_then(Value::as_str).unwrap_or("?").to_owned();
    let texts = |value: &Value, name: &str| -> String {
        let all = value.get(name).and_then(Value::as_array).into_iter().flatten();
        all.filter_map(Value::as_str).collect::<Vec<_>>().join(", ")
    };
    match command {
        IncidentCommand::Open { api, call, claimant, harm, amount } => {
            let mut body = json!({ "event": "opened", "claimant": claimant, "harm": harm, "calls": call });
            if let (Some(amount), Some(body)) = (amount, body.as_object_mut()) {
                body.insert("amount".to_owned(), json!(amount));
            }
            let opened = ask(api, "POST", "/v1/incidents", Some(&body)).await?;
            say(format_args!("incident {} (entry {})", text(&opened, "incident"), text(&opened, "entry")))?;
            say(format_args!("instructions: {}", texts(&opened, "instructions")))?;
            say(format_args!("holds: {}", texts(&opened, "holds")))?;
        }
        IncidentCommand::Close { api, incident, reason } => {
            let body = json!({ "event": "closed", "incident": incident, "reason": reason });
            let closed = ask(api, "POST", "/v1/incidents", Some(&body)).await?;
            say(format_args!("closed: incident {incident} (entry {})", text(&closed, "entry")))?;
        }
        IncidentCommand::List { api } => {
            let listed = ask(api, "GET", "/v1/incidents", None).await?;
            let rows = listed.get("incidents").and_then(Value::as_array).context("the sidecar lists nothing")?;
            if rows.is_empty() {
                say("No incident is open.")?;
            }
            for row in rows {
                say(format_args!(
                    "{}  instructions {}  holds {}",
                    text(row, "incident"),
                    texts(row, "instructions"),
                    texts(row, "holds")
                ))?;
            }
        }
    }
    Ok(0)
}

pub async fn mine(args: &MineArgs) -> anyhow::Result<u8> {
    let user = User::new(&args.api, &args.origin, keys::load(&args.key)?);
    let bundle = user.bundle(&args.instruction, Timestamp::now()).await?;
    let mut file =
        File::create_new(&args.out).with_context(|| format!("`{}` cannot be written", args.out.display()))?;
    file.write_all(&bundle)?;
    file.sync_all()?;
    eprintln!("The bundle is in {}; `countersign verify` and `countersign trace` read it.", args.out.display());
    Ok(0)
}

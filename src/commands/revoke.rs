//! `countersign revoke`, `lift` and `revoked`: the kill switch of a running sidecar.

use anyhow::{Context as _, bail};
use clap::ValueEnum as _;
use serde_json::{Value, json};

use super::{ask, say};
use crate::cli::{OperatorArgs, Revocable, RevokeArgs};

pub async fn run(args: &RevokeArgs, lift: bool) -> anyhow::Result<u8> {
    if (args.what == Revocable::Everything) != args.id.is_empty() {
        bail!("name what to withdraw by its id, such as `agent assistant-7`; `everything` has none");
    }
    let what = args.what.to_possible_value().map(|what| what.get_name().to_owned()).unwrap_or_default();
    let asked = json!({ "what": what, "id": args.id, "reason": args.reason, "lift": lift });
    let recorded = ask(&args.api, "POST", "/v1/revocations", Some(&asked)).await?;
    let entry = recorded.get("entry").and_then(Value::as_str).context("the sidecar names no entry")?;
    let done = if lift { "allowed again" } else { "withdrawn" };
    let named = [what.as_str(), args.id.as_str()].join(" ");
    say(format_args!("{done}: {} (entry {entry})", named.trim_end()))?;
    Ok(0)
}

pub async fn list(args: &OperatorArgs) -> anyhow::Result<u8> {
    let answer = ask(args, "GET", "/v1/revocations", None).await?;
    let rows = answer.get("revoked").and_then(Value::as_array).context("the sidecar lists nothing")?;
    if rows.is_empty() {
        say("Nothing is withdrawn, but for single instructions.")?;
    }
    for row in rows {
        let text = |name: &str| row.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        say(format_args!("{} {}", text("what"), text("id")).to_string().trim_end())?;
    }
    Ok(0)
}

//! `countersign approvals`: held calls, and the approver's signed answer to exactly one of them.

use std::io::{IsTerminal as _, Write as _};

use anyhow::bail;
use countersign_ledger::keys;
use countersign_proxy::shown::{self, Lang, text};
use countersign_sdk::{Approver, HeldCall};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::say;
use crate::cli::{ApprovalsCommand, ApproverArgs};

pub async fn run(command: ApprovalsCommand) -> anyhow::Result<u8> {
    match command {
        ApprovalsCommand::List { api, json } => list(&api, json).await,
        ApprovalsCommand::Show { api, call, json } => {
            let held = approver(&api)?.one(&call).await?.1;
            if json {
                say(serde_json::to_string_pretty(&held)?)?
            } else {
                say(Shown(&held))?
            }
            Ok(0)
        }
        ApprovalsCommand::Approve { api, call, yes } => answer(&api, &call, true, yes).await,
        ApprovalsCommand::Deny { api, call, yes } => answer(&api, &call, false, yes).await,
    }
}

fn approver(args: &ApproverArgs) -> anyhow::Result<Approver> {
    let secret = super::secret(args.secret_file.as_deref())?;
    Ok(Approver::new(&args.api, &secret, keys::load(&args.key)?)?)
}

async fn list(args: &ApproverArgs, as_json: bool) -> anyhow::Result<u8> {
    let (_, held) = approver(args)?.held().await?;
    if as_json {
        say(serde_json::to_string_pretty(&held)?)?;
        return Ok(0);
    }
    if held.is_empty() {
        say("No call waits.")?;
    }
    for held in &held {
        say(format_args!("{}  {}  {}", held.call, plain(&held.action), plain(&summary(held))))?;
    }
    Ok(0)
}

/// Arguments on one line.
fn summary(held: &HeldCall) -> String {
    let arguments = held.arguments.as_object().into_iter().flatten();
    arguments.map(|(name, value)| format!("{name}={}", text(value))).collect::<Vec<_>>().join(" ")
}

async fn answer(args: &ApproverArgs, call: &str, approve: bool, sure: bool) -> anyhow::Result<u8> {
    let approver = approver(args)?;
    let (origin, held) = approver.one(call).await?;
    let shown = Timestamp::now();
    say(Shown(&held))?;
    if !sure {
        if !std::io::stdin().is_terminal() {
            bail!("nobody is there to be asked: say --yes if this call was looked at");
        }
        let (verb, word) = if approve { ("Approve", "approve") } else { ("Deny", "deny") };
        write!(std::io::stderr(), "\n{verb} exactly this call, once? Type `{word}`: ")?;
        let mut typed = String::new();
        std::io::stdin().read_line(&mut typed)?;
        if typed.trim() != word {
            bail!("nothing was answered; the call waits on");
        }
    }
    let (entry, missing) = approver.answer(&origin, &held, approve, shown, Timestamp::now()).await?;
    let said = match (approve, missing) {
        (true, 0) => "approved: the agent may make exactly this call, once".to_owned(),
        (true, missing) => format!("approved by you: it waits for {missing} more"),
        (false, _) => "denied".to_owned(),
    };
    say(format_args!("\n{call} {said} (entry {entry})"))?;
    Ok(0)
}

/// A held call as a person must see it before saying yes.
struct Shown<'h>(&'h HeldCall);

impl std::fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let held = self.0;
        let more = |name: &str| held.more.get(name).map(text).unwrap_or_default();
        writeln!(f, "The user said:   {}", plain(&held.words))?;
        writeln!(
            f,
            "The agent wants: {} ({}) at {}",
            plain(&held.action),
            plain(&more("effect")),
            plain(&more("upstream"))
        )?;
        for (name, value) in held.arguments.as_object().into_iter().flatten() {
            writeln!(f, "    {} = {}", plain(name), plain(&text(value)))?;
            for found in held
                .provenance
                .as_array()
                .into_iter()
                .flatten()
                .filter(|found| found.get("argument") == Some(&json!(name)))
            {
                let sources = found.get("sources").and_then(Value::as_array).filter(|sources| !sources.is_empty());
                let sources = sources.map_or(shown::nowhere(Lang::English).to_owned(), |all| {
                    all.iter().map(|one| shown::source(Lang::English, one).0).collect::<Vec<_>>().join("; ")
                });
                writeln!(
                    f,
                    "        `{}` stands {}",
                    plain(&found.get("value").map(text).unwrap_or_default()),
                    plain(&sources)
                )?;
            }
        }
        writeln!(f, "Held because:")?;
        for reason in held.reasons.as_array().into_iter().flatten() {
            writeln!(f, "    {}", plain(&reason.get("message").map(text).unwrap_or_default()))?;
        }
        writeln!(
            f,
            "Agent {}, instruction {}, call {}",
            plain(&more("agent")),
            plain(&more("instruction")),
            plain(&held.call)
        )?;
        writeln!(f, "Waits until {}", plain(&more("expires")))?;
        if let Some(needs) = held.more.get("needs").and_then(Value::as_u64).filter(|needs| *needs > 1) {
            let yes = held.more.get("approved_by").map(text_of_list).filter(|yes| !yes.is_empty());
            writeln!(f, "Needs {needs} approvers; so far: {}", plain(&yes.unwrap_or_else(|| "nobody".to_owned())))?;
        }
        write!(f, "Digest {}", plain(&held.digest))
    }
}

/// Names, one beside the other.
fn text_of_list(names: &Value) -> String {
    names.as_array().into_iter().flatten().map(text).collect::<Vec<_>>().join(", ")
}

/// Text on one line that hides nothing.
fn plain(text: &str) -> String {
    shown::plain(text, None)
}

//! `countersign approvals`: held calls, and the approver's signed answer to exactly one of them.

use std::io::{IsTerminal as _, Write as _};

use anyhow::bail;
use countersign_ledger::keys;
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
    let entry = approver.answer(&origin, &held, approve, shown, Timestamp::now()).await?;
    let said = if approve { "approved: the agent may make exactly this call, once" } else { "denied" };
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
                let sources = sources.map_or("in nothing that was observed".to_owned(), |all| {
                    all.iter().map(source).collect::<Vec<_>>().join("; ")
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
        write!(f, "Digest {}", plain(&held.digest))
    }
}

/// Where a value came from, in words.
fn source(source: &Value) -> String {
    let part = |name: &str| source.get(name).and_then(Value::as_str).unwrap_or("?");
    match part("source") {
        "words" => "in the user's words".to_owned(),
        "host" => "in what the host application allowed".to_owned(),
        "attached" => "in what the user attached".to_owned(),
        "first_party" => format!("in the API's answer to `{}`, field `{}`", part("action"), part("field")),
        "third_party" => format!(
            "in content that somebody else may have written: the answer to `{}`, field `{}`",
            part("action"),
            part("field")
        ),
        "agent" => "in an earlier call of the agent itself".to_owned(),
        other => format!("in `{other}`"),
    }
}

/// A value as text.
fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Text that cannot move the cursor, hide or reorder what stands beside it: whoever wrote it may want that.
fn plain(text: &str) -> String {
    let hides = |c: char| {
        c.is_control()
            || matches!(c, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    text.chars().map(|c| if hides(c) { c.escape_unicode().to_string() } else { c.to_string() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_wrote_cannot_move_or_hide_what_is_shown() {
        assert_eq!(plain("Ann\u{1b}[2K\u{202e}x\r\n收款人"), "Ann\\u{1b}[2K\\u{202e}x\\u{d}\\u{a}收款人");
    }
}

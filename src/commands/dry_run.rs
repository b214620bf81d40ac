//! `countersign dry-run`: what would become of a call, or of a scope.

use anyhow::{Context as _, bail};
use countersign_sdk::{Error, Plain};
use serde_json::{Map, Value, json};

use super::say;
use crate::cli::DryRunArgs;

pub async fn run(args: &DryRunArgs) -> anyhow::Result<u8> {
    let mut asked = Map::new();
    if let Some(path) = &args.draft {
        let text = std::fs::read_to_string(path).with_context(|| format!("`{}` cannot be read", path.display()))?;
        let draft: Value = serde_json::from_str(&text).with_context(|| format!("`{}` is no JSON", path.display()))?;
        asked.insert("draft".to_owned(), draft);
    }
    if let Some(instruction) = &args.instruction {
        asked.insert("instruction".to_owned(), instruction.as_str().into());
    }
    if let Some(action) = &args.action {
        asked.insert(
            "call".to_owned(),
            json!({ "upstream": args.upstream, "action": action, "arguments": arguments(args)? }),
        );
    }
    let secret = super::secret(args.secret_file.as_deref())?;
    let answer = Plain::new(&args.api, &secret)?.send("POST", "/v1/dry-run", Some(&Value::Object(asked))).await?;
    if let Some(problem) = answer.problem() {
        return Err(Error::Refused(Box::new(problem)).into());
    }
    let answer = answer.json()?;
    if args.json {
        say(serde_json::to_string_pretty(&answer)?)?;
    } else {
        print(&answer)?;
    }
    // As a call would end: 0 allowed, 1 not.
    let verdict = answer.pointer("/call/verdict").or_else(|| answer.get("verdict"));
    Ok(u8::from(verdict.is_some_and(|verdict| verdict != "allow")))
}

fn arguments(args: &DryRunArgs) -> anyhow::Result<Map<String, Value>> {
    let mut arguments = Map::new();
    for given in &args.arguments {
        let Some((name, value)) = given.split_once('=') else { bail!("`{given}` is not `name=value`") };
        // A number would lose its digits on the way through JSON (`4.50`), a text keeps them.
        let parsed = serde_json::from_str(value).ok().filter(|value: &Value| value.is_array() || value.is_boolean());
        arguments.insert(name.to_owned(), parsed.unwrap_or_else(|| value.into()));
    }
    Ok(arguments)
}

fn print(answer: &Value) -> anyhow::Result<()> {
    let list = |value: &Value, name: &str| value.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
    let text = |value: &Value, name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    for action in list(answer, "actions") {
        say(format_args!("would be granted: {action}"))?;
    }
    for withheld in list(answer, "withheld") {
        say(format_args!("would be withheld: {}: {}", text(&withheld, "action"), text(&withheld, "reason")))?;
    }
    let judged = answer.get("call").unwrap_or(answer);
    if judged.get("verdict").is_none() {
        return Ok(());
    }
    let would = match text(judged, "verdict").as_str() {
        "allow" => "the call would be allowed",
        "hold" => "the call would be held for a human",
        _ => "the call would be refused",
    };
    say(would)?;
    for reason in list(judged, "reasons") {
        say(format_args!("  {} [{}]", text(&reason, "message"), text(&reason, "code")))?;
    }
    for traced in list(judged, "provenance") {
        let from = traced.get("decided_by").map_or_else(|| "nothing observed".to_owned(), Value::to_string);
        say(format_args!("  {} = {} from {from}", text(&traced, "argument"), text(&traced, "value")))?;
    }
    Ok(())
}

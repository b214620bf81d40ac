//! `countersign erase` and `hold`, on a ledger that no gateway has open.

use std::fs;

use anyhow::{Context as _, anyhow, bail};
use countersign_ledger::{
    erasure::{ErasureStatement, TYP},
    keys,
    statement::Statement,
    vault::Vault,
};

use super::say;
use crate::{
    cli::{EraseArgs, HoldArgs, HoldEvent},
    config::Config,
    running,
};

/// A data subject by id or by the principal's name.
fn subject(vault: &Vault, given: &str) -> anyhow::Result<String> {
    if vault.principal(given).is_some() {
        return Ok(given.to_owned());
    }
    vault.find(given).with_context(|| format!("there is no data subject `{given}`, or it was erased"))
}

pub async fn erase(args: &EraseArgs) -> anyhow::Result<u8> {
    let config = Config::read(&args.config.config)?;
    if let Some(key) = &args.sign_with {
        // Signing needs no ledger; the subject must then be given by its id.
        let said =
            ErasureStatement { origin: config.origin.0, subject: args.subject.clone(), reason: args.reason.clone() };
        say(format_args!("{}", Statement::sign(TYP, &said, &keys::load(key)?)?))?;
        return Ok(0);
    }
    let mut statements = Vec::new();
    for path in &args.statement {
        let text = fs::read_to_string(path).with_context(|| format!("`{}` cannot be read", path.display()))?;
        statements.push(text.trim().to_owned());
    }
    let gateway = running::gateway(&config).await?;
    let subject = subject(&gateway.vault, &args.subject)?;
    let wanted = ErasureStatement { origin: config.origin.0, subject, reason: args.reason.clone() };
    let sealed = gateway.erase(&wanted, &statements).await.map_err(|problem| anyhow!("{}", problem.detail))?;
    gateway.ledger.close()?;
    say(format_args!("erased: subject {} (entry {}, {})", wanted.subject, sealed.seq, sealed.hash))?;
    Ok(0)
}

pub async fn hold(args: &HoldArgs) -> anyhow::Result<u8> {
    let config = Config::read(&args.config.config)?;
    let gateway = running::gateway(&config).await?;
    let subject = subject(&gateway.vault, &args.subject)?;
    let hold = match (args.event, &args.hold) {
        (HoldEvent::Place, None) => None,
        (HoldEvent::Release, Some(hold)) => Some(hold.clone()),
        (HoldEvent::Place, Some(_)) => bail!("a new hold gets its id here; leave --hold away"),
        (HoldEvent::Release, None) => bail!("give --hold, the hold to release"),
    };
    let (hold, sealed) = gateway
        .hold(hold, &subject, args.by.clone(), args.reason.clone())
        .await
        .map_err(|problem| anyhow!("{}", problem.detail))?;
    gateway.ledger.close()?;
    say(format_args!("hold {hold} on subject {subject} (entry {}, {})", sealed.seq, sealed.hash))?;
    Ok(0)
}

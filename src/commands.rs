//! What each command does, thin: the work is in the crates.

pub mod approvals;
pub mod ceiling;
pub mod check;
pub mod dry_run;
pub mod erase;
pub mod import;
pub mod incident;
pub mod init;
pub mod keys;
pub mod listing;
pub mod look;
pub mod probe;
pub mod reconcile;
pub mod reference;
pub mod repair;
pub mod replay;
pub mod report;
pub mod revoke;
pub mod serve;
mod trust;
pub mod verify;

use std::{
    io::{ErrorKind, Write as _},
    path::Path,
};

use anyhow::Context as _;
use countersign_sdk::{Error, Plain};
use serde_json::Value;

use crate::cli::OperatorArgs;

/// Asks the sidecar's API as an operator.
///
/// # Errors
/// When it cannot be asked, or refuses.
pub async fn ask(args: &OperatorArgs, method: &str, path: &str, body: Option<&Value>) -> anyhow::Result<Value> {
    let secret = secret(args.secret_file.as_deref())?;
    let answer = Plain::new(&args.api, &secret)?.send(method, path, body).await?;
    if let Some(problem) = answer.problem() {
        return Err(Error::Refused(Box::new(problem)).into());
    }
    Ok(answer.json()?)
}

/// The bearer secret of whoever asks the sidecar's API.
///
/// # Errors
/// When there is none, or its file cannot be read.
pub fn secret(file: Option<&Path>) -> anyhow::Result<String> {
    let secret = match file {
        Some(path) => std::fs::read_to_string(path).with_context(|| format!("`{}` cannot be read", path.display()))?,
        None => std::env::var("COUNTERSIGN_SECRET")
            .context("give --secret-file FILE, or the secret in the environment variable COUNTERSIGN_SECRET")?,
    };
    Ok(secret.trim().to_owned())
}

/// Prints a line to standard output. Whoever reads it may stop reading (`| head`): that is no error.
///
/// # Errors
/// When it cannot be written for another reason.
pub fn say(text: impl std::fmt::Display) -> anyhow::Result<()> {
    match writeln!(std::io::stdout(), "{text}") {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

//! What each command does, thin: the work is in the crates.

pub mod approvals;
pub mod ceiling;
pub mod check;
pub mod erase;
pub mod import;
pub mod keys;
pub mod listing;
pub mod look;
pub mod repair;
pub mod serve;
pub mod verify;

use std::io::{ErrorKind, Write as _};

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

//! Host, agent, approver and user: each with its own credential.

mod agent;
mod approver;
mod host;
mod user;

use countersign_ledger::statement::Statement;
use ed25519_dalek::SigningKey;
use serde::Serialize;

pub use self::{
    agent::{Agent, Decision, Delegated, Delegation, Stated},
    approver::{Approver, HeldCall},
    host::{Granted, Host, Instruction},
    user::User,
};
use crate::client::Error;

fn sign(typ: &str, said: &impl Serialize, key: &SigningKey) -> Result<String, Error> {
    Statement::sign(typ, said, key).map_err(|error| Error::Answer(error.to_string()))
}

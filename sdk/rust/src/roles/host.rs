//! The host application, which registers what a user said.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::client::{Client, Error};

/// What a user said, as the host registers it.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Instruction {
    /// The user's words.
    pub words: String,
    /// What the user attached or pasted.
    pub attached: Vec<String>,
    /// Who the user is.
    pub principal: String,
    /// What it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub purpose: Option<String>,
    /// The agent it is for.
    pub agent: String,
    /// The scope asked for: `{"actions": ["name" or {"action", "arguments", "max_calls", "budget"}], "max_calls", "expires_in"}`.
    pub scope: Value,
    /// The principal's own signature.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub statement: Option<String>,
    /// The instruction that this one follows up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub amends: Option<String>,
}

/// What a host gets for an instruction.
#[derive(Debug, Clone, Deserialize)]
pub struct Granted {
    /// The instruction's id.
    pub instruction: String,
    /// The grant's id.
    pub grant: String,
    /// The agent's bearer token.
    pub token: String,
    /// When it ends.
    pub expires: String,
    /// The actions granted.
    pub actions: Vec<String>,
    /// What was asked for and withheld, and why.
    pub withheld: Vec<Value>,
    /// The grant's entry.
    pub entry: String,
    /// Its proof.
    pub proof: String,
}

/// The host application.
#[derive(Debug)]
pub struct Host {
    client: Client,
}

impl Host {
    /// A host that talks to the API at `api` with its secret.
    ///
    /// # Errors
    /// [`Error::Url`].
    pub fn new(api: &str, secret: &str) -> Result<Host, Error> {
        Ok(Host { client: Client::new(api, secret)? })
    }

    /// Registers an instruction.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn instruct(&self, instruction: &Instruction) -> Result<Granted, Error> {
        self.client.ask("POST", "/v1/instructions", Some(&json!(instruction))).await
    }

    /// Withdraws an instruction's grant.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn revoke(&self, instruction: &str, reason: &str) -> Result<(), Error> {
        let body = json!({ "what": "instruction", "id": instruction, "reason": reason });
        self.client.ask::<Value>("POST", "/v1/revocations", Some(&body)).await.map(|_| ())
    }
}

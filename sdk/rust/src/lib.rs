//! What a host application, an agent and an approver link: instruct, decide, call, answer, approve; and keep the proofs they are given.
//!
//! An agent needs none of this: a base URL and a bearer token are enough. With it, its decisions and answers are signed with its own key, and
//! every proof it is given is checked and kept, so that somebody outside the operator holds checkpoints of the ledger.
//!
//! ```no_run
//! use countersign_sdk::{Agent, Approver, Decision, Host, Instruction, ProofKeeper};
//! use serde_json::json;
//!
//! # async fn page() -> Result<(), Box<dyn std::error::Error>> {
//! // The host application registers what its user said; the scope names actions only.
//! let host = Host::new("http://127.0.0.1:8181", "csk_host_…")?;
//! let granted = host
//!     .instruct(&Instruction {
//!         words: "What is my balance?".into(),
//!         principal: "emma".into(),
//!         agent: "assistant".into(),
//!         scope: json!({ "actions": ["account.balance.read"] }),
//!         ..Instruction::default()
//!     })
//!     .await?;
//!
//! // The agent: its key signs what it decides and what it answers.
//! let key = ed25519_dalek::SigningKey::from_bytes(&[7; 32]);
//! let mut agent = Agent::new("http://127.0.0.1:8180", "http://127.0.0.1:8181", &granted.token)?.signing_with(key);
//! let decision = agent
//!     .decide(&Decision { action: "account.balance.read".into(), arguments: json!({}), ..Decision::default() })
//!     .await?;
//! let answer = agent.call("GET", "/account/balance", None, Some(&decision)).await?;
//! agent.answer(&format!("Your balance is {}", answer.json()?["balance"])).await?;
//!
//! // What was kept proves afterwards that the ledger was not written anew.
//! std::fs::write("held-outside.txt", agent.proofs().newest().ok_or("nothing yet")?.to_string())?;
//! # Ok(())
//! # }
//! ```

#[cfg(feature = "api")]
pub mod api;
mod client;
mod proofs;
mod roles;

pub use self::{
    client::{Answer, Error, Plain, Problem},
    proofs::{KeepError, ProofKeeper, verify_offline},
    roles::{Agent, Approver, Decision, Delegated, Delegation, Granted, HeldCall, Host, Instruction, Stated, User},
};

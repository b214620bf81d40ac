//! Evidence that may be missing, and what would settle what it leaves open.

use serde::Serialize;

use super::wording as w;
use crate::message::Message;

/// A kind of evidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Need {
    /// The user's own signature over the words.
    UserSignature,
    /// The instruction's entry.
    InstructionEntry,
    /// The model's request and response, as the gateway sees them when the model's endpoint is called through it.
    ModelExchange,
    /// Whether what the agent passed to the model is what it had read.
    ToolResults,
    /// The agent's signed decision.
    AgentDecision,
    /// A statement of the agent's that its counter says it made.
    AgentStatement,
    /// What the agent told the user.
    AgentAnswer,
    /// The receipt that the API signs.
    ApiReceipt,
    /// The API's own log, reconciled.
    ApiLog,
    /// A value that an entry commits to.
    Disclosure,
    /// The exact bytes of a catalogue or policy.
    PolicyBytes,
    /// Entries that the counters say exist.
    Entries,
    /// The outcome of a call.
    Outcome,
    /// A checkpoint or proof that somebody outside holds.
    CheckpointOutside,
    /// The investigation of who had the credential.
    CredentialTrail,
}

impl Need {
    /// What would settle it.
    pub fn settles(self) -> Message {
        Message::new(match self {
            Need::UserSignature => &w::NEED_USER_SIGNATURE,
            Need::InstructionEntry => &w::NEED_INSTRUCTION_ENTRY,
            Need::ModelExchange => &w::NEED_MODEL_EXCHANGE,
            Need::ToolResults => &w::NEED_TOOL_RESULTS,
            Need::AgentDecision => &w::NEED_AGENT_DECISION,
            Need::AgentStatement => &w::NEED_AGENT_STATEMENT,
            Need::AgentAnswer => &w::NEED_AGENT_ANSWER,
            Need::ApiReceipt => &w::NEED_API_RECEIPT,
            Need::ApiLog => &w::NEED_API_LOG,
            Need::Disclosure => &w::NEED_DISCLOSURE,
            Need::PolicyBytes => &w::NEED_POLICY_BYTES,
            Need::Entries => &w::NEED_ENTRIES,
            Need::Outcome => &w::NEED_OUTCOME,
            Need::CheckpointOutside => &w::NEED_CHECKPOINT_OUTSIDE,
            Need::CredentialTrail => &w::NEED_CREDENTIAL_TRAIL,
        })
    }
}

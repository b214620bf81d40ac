//! What the agent says of itself: what it chose, and what it told the user.

use crate::record::body::Check;

body! {
/// The agent's choice. In the vault: `arguments`, `reason`, `prompt`, `statement`.
Decision is Decision {
    /// The grant it is made under.
    grant: String,
    /// Whose data the values are about.
    subject: String,
    /// `agent` (its own statement) or `gateway` (seen in the model's response).
    source: String,
    /// The agent's party id.
    agent: String,
    /// The agent's count of its decisions under this grant, from 0 and dense.
    #[serde(skip_serializing_if = "Option::is_none")]
    n: Option<u64>,
    /// The action chosen; of a tool that is no action of a catalogue, the tool's name.
    action: String,
    /// The upstream of the action, where a tool is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    upstream: Option<String>,
    /// The model named.
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<String>,
    /// The tool that the model called.
    #[serde(skip_serializing_if = "Option::is_none")]
    tool: Option<String>,
    /// The id that the model gave its call of the tool.
    #[serde(skip_serializing_if = "Option::is_none")]
    proposal: Option<String>,
    /// The agent's signature, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    check: Option<Check>,
}
}

body! {
/// What the agent told the user. In the vault: `text`, `statement`.
Answer is Answer {
    /// The grant it was made under.
    grant: String,
    /// Whose data the values are about.
    subject: String,
    /// The agent's party id.
    agent: String,
    /// The agent's count of its answers under this grant, from 0 and dense.
    #[serde(skip_serializing_if = "Option::is_none")]
    n: Option<u64>,
    /// How many decisions the agent stated under this grant before.
    #[serde(skip_serializing_if = "Option::is_none")]
    decisions: Option<u64>,
    /// The agent's signature, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    check: Option<Check>,
}
}

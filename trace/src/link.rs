//! The words for a link of the chain: which step it is, how well it is established, in whose hands it was.

use serde::Serialize;

use crate::message::{Text, texts};

/// How well a link is established.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// The party's own signature is good, and the key was had from elsewhere than the operator.
    Proven,
    /// The gateway saw it itself.
    Observed,
    /// Somebody's word: the host's, the agent's, or a signature by a key that only the operator vouches for.
    Claimed,
    /// There is no evidence.
    Missing,
    /// Two pieces of evidence exclude each other.
    Contradicted,
}

/// A step of the way from the user's words to the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Step {
    /// The user's words.
    Said,
    /// The closed scope made of them.
    Scoped,
    /// The agent's choice.
    Chose,
    /// The verdict: allowed, held or refused.
    Judged,
    /// A human's answer to a held call.
    Approved,
    /// What was sent, and how it ended.
    Sent,
    /// What the API executed, by its answer, its receipt or its own log.
    Answered,
    /// What the agent told the user.
    Told,
    /// A withdrawal.
    Withdrawn,
}

/// In which role somebody had a link in their hands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Whose instruction it is, or who approved for them.
    User,
    /// Who wrote the agent.
    AgentDeveloper,
    /// Who runs the agent and the application that the user speaks to.
    AgentOperator,
    /// Who runs the model.
    ModelProvider,
    /// Who runs the sidecar and sets its rules.
    Platform,
    /// Who runs the API.
    ApiProvider,
    /// Who wrote what the agent read.
    ThirdParty,
    /// The evidence does not say whose.
    NotDeterminable,
}

impl State {
    /// The word.
    pub const fn text(self) -> &'static Text {
        match self {
            State::Proven => &PROVEN,
            State::Observed => &OBSERVED,
            State::Claimed => &CLAIMED,
            State::Missing => &MISSING,
            State::Contradicted => &CONTRADICTED,
        }
    }
}

impl Step {
    /// All, in order.
    pub const ALL: [Step; 9] = [
        Step::Said,
        Step::Scoped,
        Step::Chose,
        Step::Judged,
        Step::Approved,
        Step::Sent,
        Step::Answered,
        Step::Told,
        Step::Withdrawn,
    ];

    /// The word.
    pub const fn text(self) -> &'static Text {
        match self {
            Step::Said => &SAID,
            Step::Scoped => &SCOPED,
            Step::Chose => &CHOSE,
            Step::Judged => &JUDGED,
            Step::Approved => &APPROVED,
            Step::Sent => &SENT,
            Step::Answered => &ANSWERED,
            Step::Told => &TOLD,
            Step::Withdrawn => &WITHDRAWN,
        }
    }
}

impl Role {
    /// The role of the ledger's `party` entries, as far as it is one in which somebody is answerable.
    pub fn registered(role: &str) -> Option<Role> {
        Some(match role {
            "user" => Role::User,
            "agent_developer" => Role::AgentDeveloper,
            "agent_operator" => Role::AgentOperator,
            "model_provider" => Role::ModelProvider,
            "platform" => Role::Platform,
            "api_provider" => Role::ApiProvider,
            _ => return None,
        })
    }

    /// The word.
    pub const fn text(self) -> &'static Text {
        match self {
            Role::User => &USER,
            Role::AgentDeveloper => &AGENT_DEVELOPER,
            Role::AgentOperator => &AGENT_OPERATOR,
            Role::ModelProvider => &MODEL_PROVIDER,
            Role::Platform => &PLATFORM,
            Role::ApiProvider => &API_PROVIDER,
            Role::ThirdParty => &THIRD_PARTY,
            Role::NotDeterminable => &NOT_DETERMINABLE,
        }
    }
}

texts! {
    PROVEN: "proven", "已证明";
    OBSERVED: "observed", "已观察";
    CLAIMED: "claimed", "仅为自述";
    MISSING: "missing", "缺失";
    CONTRADICTED: "contradicted", "相互矛盾";
    SAID: "said", "用户指令";
    SCOPED: "scoped", "授权范围";
    CHOSE: "chose", "智能体选择";
    JUDGED: "judged", "网关裁决";
    APPROVED: "approved", "人工批准";
    SENT: "sent", "发送";
    ANSWERED: "answered", "接口执行";
    TOLD: "told", "告知用户";
    WITHDRAWN: "withdrawn", "撤回";
    USER: "user", "用户";
    AGENT_DEVELOPER: "agent developer", "智能体开发者";
    AGENT_OPERATOR: "agent operator", "智能体运营者";
    MODEL_PROVIDER: "model provider", "模型提供者";
    PLATFORM: "platform", "平台（网关运营者）";
    API_PROVIDER: "API provider", "接口提供者";
    THIRD_PARTY: "third party", "第三方";
    NOT_DETERMINABLE: "not determinable", "无法确定";
}

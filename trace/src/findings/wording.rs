//! Texts that more than one theme needs.

use crate::{
    graph::Call,
    message::{Fact, Message, Text, texts},
};

/// What a call is called: its action, or what was asked for where that is no action.
pub fn named(call: &Call<'_>) -> Fact {
    match (&call.body.action, call.asked()) {
        (Some(action), _) => Fact::Plain(action.clone()),
        (None, Some((method, target, _))) => Fact::Quoted(format!("{method} {target}")),
        (None, None) => Fact::Word(&NO_ACTION),
    }
}

/// A call, named.
pub fn call(call: &Call<'_>) -> Message {
    Message::new(&CALL).with("action", named(call)).with("entry", call.node.seq())
}

/// What a credential proves.
pub fn credential(kind: &str) -> Message {
    let text: &'static Text = match kind {
        "bearer" => &CREDENTIAL_BEARER,
        "bearer+mtls" | "oauth+bearer+mtls" => &CREDENTIAL_MTLS,
        "oauth+bearer" => &CREDENTIAL_OAUTH,
        "dpop" | "oauth+dpop" => &CREDENTIAL_DPOP,
        "dpop+mtls" | "oauth+dpop+mtls" => &CREDENTIAL_DPOP_MTLS,
        "signature" | "http_signature" => &CREDENTIAL_SIGNATURE,
        "none" => &CREDENTIAL_NONE,
        _ => return Message::new(&CREDENTIAL_OTHER).with("kind", kind),
    };
    Message::new(text)
}

/// What became of a call, as the gateway decided.
pub fn fate(call: &Call<'_>) -> &'static Text {
    use crate::graph::Fate;
    match call.fate() {
        Fate::Refused => &FATE_REFUSED,
        Fate::Held => match call.answers.last().and_then(|answer| answer.text("decision")) {
            Some("denied") => &FATE_DENIED,
            Some("approved") => &FATE_APPROVED,
            _ => &FATE_HELD,
        },
        Fate::NotSent => &FATE_NOT_SENT,
        Fate::Done => &FATE_DONE,
        Fate::Failed => &FATE_FAILED,
        Fate::Unknown => &FATE_UNKNOWN,
    }
}

texts! {
    NO_ACTION: "a call of no known action", "不属于任何已知操作的调用";
    CALL: "{action} (entry {entry})", "{action}（条目 {entry}）";
    FATE_REFUSED: "The gateway refused it.", "网关拒绝了该调用。";
    FATE_HELD: "The gateway held it for a human, and nobody said yes.", "网关将其暂停以待人工批准，但无人批准。";
    FATE_DENIED: "The gateway held it for a human, who said no.", "网关将其暂停以待人工批准，审批人予以拒绝。";
    FATE_APPROVED: "The gateway held it for a human, who said yes.", "网关将其暂停以待人工批准，审批人予以批准。";
    FATE_NOT_SENT: "It never reached the API.", "该调用未到达接口。";
    FATE_DONE: "It was sent, and the API answered that it was done.", "该调用已发送，接口答复已完成。";
    FATE_FAILED: "It was sent, and the API answered that it failed.", "该调用已发送，接口答复失败。";
    FATE_UNKNOWN: "It was sent, and what became of it is not known from the answer.", "该调用已发送，但从答复中无法得知结果。";

    CREDENTIAL_BEARER: "The agent's credential was a bearer token: that this agent made the call is claimed, not proven; whoever holds the token can use it.",
        "智能体出示的是持有者令牌：由该智能体发出调用仅为自述，并未证明；任何持有令牌者均可使用。";
    CREDENTIAL_OAUTH: "The agent's credential was a bearer token of an outside issuer: that this agent made the call is claimed, not proven; whoever holds the token can use it, and the issuer can make one for anybody.",
        "智能体出示的是外部签发方的持有者令牌：由该智能体发出调用仅为自述，并未证明；任何持有令牌者均可使用，且签发方可为任何人签发。";
    CREDENTIAL_MTLS: "The agent's credential was a bearer token over a connection with the agent's own certificate: that the holder of the certificate's key made the call is observed; the body of the call is not signed.",
        "智能体在出示自身证书的连接上使用持有者令牌：可观察到调用由证书密钥的持有者发出；但调用正文未经签名。";
    CREDENTIAL_DPOP: "The agent's credential was bound to its key (DPoP): that the key's holder made the call is proven; the body of the call is not covered.",
        "智能体凭证与其密钥绑定（DPoP）：可证明调用由密钥持有者发出，但不涵盖调用正文。";
    CREDENTIAL_DPOP_MTLS: "The agent's credential was bound to its key (DPoP), and came over a connection with the agent's own certificate: that the holder of both keys made the call is proven; the body of the call is not covered.",
        "智能体凭证与其密钥绑定（DPoP），且经由出示智能体自身证书的连接发出：可证明调用由两把密钥的持有者发出，但不涵盖调用正文。";
    CREDENTIAL_SIGNATURE: "The agent signed the request and its digest (RFC 9421): that its key's holder made this call with this body is proven.",
        "智能体对请求及其摘要签名（RFC 9421）：可证明密钥持有者以该正文发出此调用。";
    CREDENTIAL_NONE: "The caller showed no good credential: who called is not known.", "调用者未出示有效凭证：无法得知是谁发出调用。";
    CREDENTIAL_OTHER: "The agent's credential was of the kind {kind}.", "智能体凭证类型为 {kind}。";

    NEED_USER_SIGNATURE: "the user's own signature over the words, or the user's testimony",
        "用户本人对其指令的签名，或用户的证言";
    NEED_INSTRUCTION_ENTRY: "the entry of the instruction, from a fuller copy of the ledger", "来自更完整账本副本的指令条目";
    NEED_MODEL_EXCHANGE: "the model's requests and responses as the gateway sees them (the model's endpoint called through it), or the model provider's own log",
        "网关所见的模型请求与响应（即经由网关调用模型端点），或模型提供者自身的日志";
    NEED_TOOL_RESULTS: "what the agent passed to the model as tool results, compared with what it had been given by the tools",
        "智能体作为工具结果传给模型的内容，与工具实际返回内容的比对";
    NEED_AGENT_DECISION: "the agent's signed decision for the call", "智能体就该调用签名的决定";
    NEED_AGENT_STATEMENT: "the statement that the agent's counter says it made and that was not handed in",
        "智能体计数器显示其已作出但未提交的陈述";
    NEED_AGENT_ANSWER: "the agent's answer to the user, or the conversation as the host keeps it", "智能体给用户的答复，或宿主应用保存的对话记录";
    NEED_API_RECEIPT: "the receipt that the API signs for the call", "接口就该调用签名的回执";
    NEED_API_LOG: "the API's own log, compared by `countersign reconcile`", "接口自身的日志，经 `countersign reconcile` 比对";
    NEED_DISCLOSURE: "the disclosure of the withheld values (the ledger's holder can open them, unless they were erased)",
        "被保留数值的披露（除非已被擦除，账本持有者可以打开）";
    NEED_POLICY_BYTES: "the exact bytes of the catalogue or policy that was in force", "当时有效的目录或策略的原始字节";
    NEED_ENTRIES: "the entries that the counters show to be left out, from another copy of the ledger", "计数器显示被遗漏的条目，须取自账本的其他副本";
    NEED_OUTCOME: "the entry that says how the call ended, from a later part of the ledger", "账本后续部分中记录该调用如何结束的条目";
    NEED_CHECKPOINT_OUTSIDE: "a checkpoint or proof that somebody outside the operator kept (`--against`)", "由运营者以外的人保存的检查点或证明（`--against`）";
    NEED_CREDENTIAL_TRAIL: "who had access to the API's credential at that time", "当时何人可以接触到接口凭证";
}

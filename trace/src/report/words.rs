//! The labels of the report.

use crate::message::Lang;

/// Declares the labels: a name, English, Simplified Chinese.
macro_rules! labels {
    ($($name:ident: $en:expr, $zh:expr;)*) => {
        /// Every label in one language.
        pub struct Labels {
            $(pub $name: &'static str,)*
        }

        impl Labels {
            /// In a language.
            pub const fn of(lang: Lang) -> Labels {
                match lang {
                    Lang::En => Labels { $($name: $en,)* },
                    Lang::ZhCn => Labels { $($name: $zh,)* },
                }
            }
        }

        /// All labels, for tests.
        #[cfg(test)]
        pub static ALL: &[(&str, &str, &str)] = &[$((stringify!($name), $en, $zh)),*];
    };
}

labels! {
    title: "Report on an agent's calls", "关于智能体调用的报告";
    title_instruction: "Report on the instruction", "关于指令的报告：";
    title_incident: "Report on the incident", "关于事件的报告：";
    instruction: "Instruction", "指令：";
    beside: "Beside the instructions", "不属于任何指令的事项";
    ledger: "Ledger", "账本";
    entries: "Entries in this evidence", "本证据中的条目数";
    up_to: "Evidence up to", "证据截至";
    integrity: "Integrity", "完整性";
    integrity_outside: "checked against what was held outside the operator: nothing wrong found", "已与运营者以外保存的材料核对：未发现问题";
    integrity_key: "nothing wrong found, with a key that is trusted; nothing held outside the operator was compared, so whoever holds that key could have written everything anew",
        "使用受信任的密钥核验，未发现问题；但未与运营者以外保存的材料比对，持有该密钥者仍可能重写全部内容";
    integrity_self: "self-consistent only: nothing held outside the operator was compared, so a ledger written anew would look the same",
        "仅自身一致：未与运营者以外保存的材料比对，重写的账本也会呈现同样结果";
    integrity_self_part: "self-consistent only: every entry has its proof, but nothing held outside the operator was compared",
        "仅自身一致：每个条目均有证明，但未与运营者以外保存的材料比对";
    integrity_broken: "NOT intact; number of findings by `verify`", "不完整；`verify` 发现的问题数";
    integrity_none: "not checked here", "此处未作核验";
    rules: "Version of the rules", "规则版本";
    software: "Made by", "制作软件";
    finding: "What is established", "认定结果";
    findings: "Findings", "各项认定";
    timeline: "Timeline", "时间线";
    corroboration: "Who corroborates what", "各方印证情况";
    corroboration_help: "For each party, the links of the chain that were in its hands, and how well each is established. The first link that broke is marked.",
        "列出各方所掌握的环节，以及每一环节的证明程度。最先断裂的环节已标出。";
    open: "What is missing, and what would settle it", "缺失的证据，以及可供查明的材料";
    notes: "Also worth knowing", "其他值得了解的事项";
    technical: "Technical part", "技术部分";
    kind: "Kind", "类别";
    fault_cause: "fault · cause", "过失 · 起因";
    fault: "fault · contributing", "过失 · 促成";
    attempt_cause: "attempt, stopped", "未遂，已被阻止";
    attempt: "attempt · contributing", "未遂 · 促成";
    gap: "open", "待查";
    note: "note", "说明";
    link: "Link", "环节";
    party: "Party", "当事方";
    role: "Role", "角色";
    unregistered: "role by place in the chain, not registered", "角色依其在链中的位置确定，未经登记";
    state: "State", "证明程度";
    rests: "Rests on", "依据";
    entry: "Entry", "条目";
    settles: "Would settle it", "可供查明";
    rule: "Rule", "规则";
    time: "Time (UTC)", "时间（UTC）";
    what: "What happened", "经过";
    broke_first: "broke first", "最先断裂";
    states: "States of evidence", "证明程度说明";
    proven: "the party's own signature is good, under a key had from elsewhere than the operator", "该方本人签名有效，且密钥来自运营者以外的来源";
    observed: "the gateway saw it itself", "网关亲自所见";
    claimed: "somebody's word, or a signature by a key that only the operator vouches for", "仅为一方陈述，或其签名密钥仅由运营者担保";
    missing: "there is no evidence", "没有证据";
    contradicted: "two pieces of evidence exclude each other", "两项证据相互排斥";
    word_proven: "proven", "已证明";
    word_observed: "observed", "已观察";
    word_claimed: "claimed", "仅为自述";
    word_missing: "missing", "缺失";
    word_contradicted: "contradicted", "相互矛盾";
    disclaimer: "This report is evidence, not a verdict of law. It is computed from the entries alone by fixed rules; whoever has the bundle can compute it again.",
        "本报告为证据，并非法律裁判。其仅依固定规则由条目计算得出；持有证据包者均可重新计算。";
    how: "How to check it yourself", "如何自行核验";
    how_verify: "Chain, proofs, signatures and commitments, against what you hold yourself", "链、证明、签名与承诺，并与您自己保存的材料核对";
    how_trace: "The findings, computed again", "重新计算各项认定";
    how_report: "This report, made again", "重新生成本报告";
    how_hash: "The hash of one entry", "单个条目的哈希值";
    how_replay: "Each verdict, judged again by the rules of that day", "依当日规则重新作出每项裁决";
    checkpoint: "Checkpoint", "检查点";
    ledger_keys: "Keys that sign the ledger", "签署账本的密钥";
    parties: "Parties", "当事方登记";
    party_keys: "Parties' keys", "当事方密钥";
    policies: "Catalogues and policies in force", "生效的目录与策略";
    events: "Withdrawals, holds, erasures, incidents, reconciliations", "撤回、保全、擦除、事件与对账";
    hidden: "Values that cannot be seen here", "此处无法查看的数值";
    erased: "observed, erased since", "曾被观察，现已擦除";
    withheld: "not disclosed here", "此处未披露";
    all_entries: "All entries of this evidence", "本证据的全部条目";
    number: "No.", "编号";
    hash: "SHA-256", "SHA-256";
    causes: "Caused by", "起因条目";
    by: "By", "登记者";
    event: "Event", "事项";
    name: "Name", "名称";
    reason: "Reason", "理由";
    code: "Code (docs/verify.md)", "代码（docs/verify.md）";
    all_rules: "The rules", "规则一览";
    nothing: "Nothing.", "无。";
    party_key: "Thumbprint", "指纹";
    proof_missing: "no proof", "无证明";
}

/// Kinds of entries and roles of parties, as the format names them, with a word for people.
const NAMES: [(&str, &str, &str); 34] = [
    ("ledger", "ledger", "账本"),
    ("party", "party", "当事方"),
    ("key", "key", "密钥"),
    ("policy", "policy", "策略"),
    ("instruction", "instruction", "指令"),
    ("grant", "grant", "授权"),
    ("delegation", "delegation", "转授权"),
    ("decision", "decision", "决定"),
    ("approval", "approval", "批准"),
    ("call", "call", "调用"),
    ("outcome", "outcome", "结果"),
    ("receipt", "receipt", "回执"),
    ("answer", "answer", "答复"),
    ("revocation", "revocation", "撤回"),
    ("hold", "hold", "保全"),
    ("erasure", "erasure", "擦除"),
    ("incident", "incident", "事件"),
    ("access", "access", "查阅"),
    ("heartbeat", "heartbeat", "心跳"),
    ("reconciliation", "reconciliation", "对账"),
    ("catalogue", "catalogue", "目录"),
    ("configuration", "configuration", "配置"),
    ("certificates", "certificates", "证书"),
    ("issuer", "outside issuer", "外部签发方"),
    ("user", "user", "用户"),
    ("agent_developer", "agent developer", "智能体开发者"),
    ("agent_operator", "agent operator", "智能体运营者"),
    ("model_provider", "model provider", "模型提供者"),
    ("platform", "platform", "平台（网关运营者）"),
    ("api_provider", "API provider", "接口提供者"),
    ("host", "host application", "宿主应用"),
    ("agent", "agent", "智能体"),
    ("approver", "approver", "审批人"),
    ("investigator", "investigator", "调查人"),
];

/// A name of the format for people; one that nobody here knows stands as it is.
pub fn named(name: &str, lang: Lang) -> String {
    match NAMES.iter().find(|(known, _, _)| *known == name) {
        Some((_, en, zh)) => (if lang == Lang::En { en } else { zh }).to_string(),
        None => super::view::plain(name),
    }
}

//! The texts of the chain.

use crate::message::texts;

texts! {
    SENTENCE: "{party} {what}.", "{party}{what}。";
    WORDS_NOT_THERE: "The user's words are not part of this evidence.", "本证据中没有用户的指令内容。";
    GATEWAY_DID: "The gateway {what}.", "网关{what}。";
    COUNTS: "Of the agent's calls: {allowed} allowed, {held} held for a human, {refused} refused.",
        "智能体的调用中，{allowed} 次获准，{held} 次暂停以待人工批准，{refused} 次被拒绝。";
    BROKE_FIRST: "What broke first ({link}): {what} {whose}", "最先断裂的环节（{link}）：{what}{whose}";
    STOPPED_FIRST: "What was attempted and stopped ({link}): {what} {whose}", "曾被尝试而遭阻止的行为（{link}）：{what}{whose}";
    BROKE_TOO: "Contributing ({link}): {what} {whose}", "另有促成因素（{link}）：{what}{whose}";
    IN_HANDS: "That link was in the hands of {party} ({role}).", "该环节由 {party}（{role}）掌握。";
    IN_NOBODYS_HANDS: "In whose hands that link was is not determinable from this evidence.", "依现有证据无法确定该环节由何方掌握。";
    MORE: "Further findings that follow below: {count}.", "另有 {count} 项认定见下文。";
    NOTHING_BROKE: "No link is shown to have broken.", "未见任何环节断裂。";
    OPEN: "What stays open would be settled by: {settles}.", "尚存疑问之处，可由以下材料查明：{settles}。";
    NO_VERDICT: "This is evidence, not a verdict of law.", "以上为证据，并非法律裁判。";

    SAID: "said {words}", "指示：{words}";
    SAID_BY_HOST: "said {words}, as {host} reports", "指示：{words}（据 {host} 报告）";
    GRANTED: "granted {actions}", "授予 {actions}";
    GRANTED_NOTHING: "granted nothing", "未授予任何操作";
    UNGRANTED: "granted nothing: no scope came of the request to the model {model} ({reason})", "未授予任何操作：向模型 {model} 请求授权范围未果（{reason}）";
    DELEGATED: "cut a narrower grant for {agent}: {actions}", "为 {agent} 划出较窄的授权：{actions}";
    WITHHELD: "{granted}; withheld {withheld}", "{granted}；保留未予 {withheld}";
    WITHHELD_ONE: "{action} ({reason})", "{action}（{reason}）";
    DECIDED: "decided on {action} with {arguments}", "决定执行 {action}，参数：{arguments}";
    PROPOSED: "the model {model} proposed {action} with {arguments}", "模型 {model} 提议 {action}，参数：{arguments}";
    BUT_ANOTHER: "{what}; the call it made of it (entry {entry}) is another one", "{what}；而由此发出的调用（条目 {entry}）与之不同";
    CHOICE_UNKNOWN: "why the agent chose the next call is not known", "智能体为何选择下一调用无从得知";
    CALLED: "{agent} called {action} with {arguments}: {verdict}", "{agent} 调用 {action}，参数：{arguments}：{verdict}";
    ASKED_MODEL: "{agent} asked a model ({action}): {verdict}", "{agent} 询问模型（{action}）：{verdict}";
    ALLOWED: "allowed", "获准";
    ALLOWED_AS_APPROVED: "allowed, as approved", "经批准后放行";
    HELD: "held for a human: {reasons}", "暂停以待人工批准：{reasons}";
    REFUSED: "refused: {reasons}", "拒绝：{reasons}";
    SHADOW: "{verdict} (recorded only, not enforced)", "{verdict}（仅记录，未执行）";
    END_UNKNOWN: "how the call ended is not known", "该调用如何结束无从得知";
    SAID_YES: "said yes to the held call (entry {entry}) after {took} s", "在 {took} 秒后批准了暂停的调用（条目 {entry}）";
    SAID_NO: "said no to the held call (entry {entry}) after {took} s", "在 {took} 秒后拒绝了暂停的调用（条目 {entry}）";
    OTHER_CALL: "the approval is about another call", "该批准针对的是另一调用";
    SENT: "sent to the API and answered, status {status}", "已发送至接口并获答复，状态 {status}";
    NOT_SENT: "not sent: {result}", "未发送：{result}";
    PERHAPS_SENT: "perhaps sent, {result}: whether the API executed it is not known", "可能已发送，{result}：接口是否执行无从得知";
    SENT_BUT: "sent, {result}, status {status}", "已发送，{result}，状态 {status}";
    NO_RECEIPT: "the API's own word on what it executed is not there", "没有接口就其执行内容的陈述";
    RECEIPT: "the API signed for what it executed: it fits", "接口就其执行内容签名确认：相符";
    RECEIPT_LATE: "the API signed afterwards for what it executed: it fits", "接口事后就其执行内容签名确认：相符";
    RECEIPT_DIFFERS: "the API signed for something else than the gateway saw: {differs}", "接口签名确认的内容与网关所见不同：{differs}";
    LOG_SAYS: "compared with the API's own log: {result}", "与接口自身日志比对：{result}";
    SETTLED: "says of the call whose end was not known that the API executed it", "就结果不明的调用确认：接口已执行";
    SETTLED_NOT: "says of the call whose end was not known that the API did not execute it", "就结果不明的调用确认：接口未执行";
    TOLD: "told the user {text}", "告知用户：{text}";
    TOLD_UNKNOWN: "what the agent told the user is not known", "智能体告知用户的内容无从得知";
    WITHDRAWN: "the grant was withdrawn", "授权被撤回";
    KEY_SOURCE: "a source other than the operator for the key {key}", "密钥 {key} 须有运营者以外的来源";
    KEY_UNKNOWN: "the key {key} was not registered", "密钥 {key} 未经登记";
    SIGNATURE_BAD: "the signature does not fit", "签名不符";
    OWN_SIGNATURE: "the party's own signature", "该方本人的签名";
    NO_ARGUMENTS: "no arguments", "无参数";
    ERASED: "[{name}: observed, erased since]", "[{name}：曾被观察，现已擦除]";
    UNDISCLOSED: "[{name}: not disclosed here]", "[{name}：此处未披露]";
    NO_VALUE: "[no {name}]", "[无 {name}]";
}

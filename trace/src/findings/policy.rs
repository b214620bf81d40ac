//! What the sidecar decided: whether grant and policy bear it out, whether it was enforced, and who changed the rules around it.

use countersign_authorize::catalogue::Catalogue;
use countersign_ledger::{Hash, record::body};

use super::{Finding, Kind, Need, Rule, grant, rule, wording};
use crate::{
    graph::{Call, Case, Given, Holder, Node},
    link::{State, Step},
    message::{Fact, Message, texts},
    replay::Comparison,
};

pub(super) const RULES: &[Rule] = &[
    rule("allowed-against-grant", Step::Judged, &T_GRANT, against_grant),
    rule("allowed-against-policy", Step::Judged, &T_POLICY, against_policy),
    rule("not-enforced", Step::Judged, &T_SHADOW, not_enforced),
    rule("policy-widened-then-restored", Step::Judged, &T_RESTORED, widened_then_restored),
    rule("policy-changed-before", Step::Judged, &T_CHANGED, changed_before),
];

/// How long a call may wait between judgement and number, in seconds: as `verify` has it.
const QUEUED_SECONDS: i64 = 60;
/// A change of the rules is shortly before a call when it is not longer ago than this, in seconds.
const SHORTLY_SECONDS: i64 = 24 * 3600;

/// Why no grant bears a call out.
fn missing_grant<'g>(case: &Case<'g>, call: &Call<'g>) -> Option<(Message, Option<&'g Node<'g>>)> {
    let id = call.body.grant.as_deref()?;
    let Some(grant) = case.graph.grant(id) else {
        return case.graph.is_whole().then(|| (Message::new(&NO_GRANT), None));
    };
    let action = call.body.action.as_deref();
    if action.is_none_or(|action| !grant::actions(grant).contains(&action)) {
        return Some((Message::new(&NOT_IN_GRANT), Some(grant)));
    }
    let ends = grant.text("expires").and_then(|end| end.parse::<jiff::Timestamp>().ok());
    if ends.is_some_and(|end| call.node.entry().time.instant().as_second() - end.as_second() > QUEUED_SECONDS) {
        return Some((Message::new(&GRANT_OVER), Some(grant)));
    }
    let withdrawn = case.graph.nodes().iter().take_while(|node| node.hash != call.node.hash).filter(|node| {
        let lifted = node.clear("lifted").is_some_and(|lifted| lifted.as_bool() == Some(true));
        let own = node.entry().instruction.as_deref() == Some(case.instruction);
        node.kind() == "revocation"
            && !lifted
            && (own || (node.text("what") == Some("grant") && node.text("id") == Some(id)))
    });
    withdrawn.last().map(|node| (Message::new(&WITHDRAWN), Some(node)))
}

fn against_grant(rule: &Rule, case: &Case<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for call in case.calls.iter().filter(|call| call.forwarded() && !call.body.shadow) {
        let Some((why, node)) = missing_grant(case, call) else { continue };
        let says = Message::new(&AGAINST_GRANT).with("call", wording::call(call)).with("why", why);
        let finding = Finding::new(rule, Kind::Fault, case.platform(), says).rests_on(
            Step::Judged,
            State::Contradicted,
            call.node,
        );
        found.push(match node {
            Some(node) => finding.rests_on(Step::Scoped, State::Observed, node),
            None => finding,
        });
    }
    found
}

/// Let through although its own record says that a value has no accepted source, and nobody approved it; or although judging it again, from what was
/// recorded and by the rules of that day, does not allow it.
fn against_policy(rule: &Rule, case: &Case<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for call in case.calls.iter().filter(|call| call.forwarded() && !call.body.shadow) {
        let values: Vec<Fact> = call
            .provenance()
            .iter()
            .filter(|given| !given.accepted && !call.approved())
            .map(|given| Fact::from(given.argument.as_str()))
            .collect();
        let again = judged_again(case, call);
        let (text, verdict) = match (call.body.verdict.as_str(), again) {
            ("allow", Some(verdict)) => (&REPLAY_NO, verdict),
            ("allow", None) if values.is_empty() => continue,
            ("allow", None) => (&VALUES_NO, ""),
            _ => (&VERDICT_NO, ""),
        };
        let says = Message::new(text).with("call", wording::call(call)).with("values", values).with("verdict", verdict);
        found.push(Finding::new(rule, Kind::Fault, case.platform(), says).rests_on(
            Step::Judged,
            State::Contradicted,
            call.node,
        ));
    }
    found
}

/// The verdict of a call judged again, where it is not to allow it.
fn judged_again<'c>(case: &'c Case<'_>, call: &Call<'_>) -> Option<&'c str> {
    let node = case.graph.find(&call.node.hash)?;
    let Comparison::Differs { differences } = &case.graph.replayed(node)?.result else { return None };
    let verdict = differences.iter().find(|difference| difference.what == "verdict")?;
    verdict.replayed.as_str().filter(|verdict| *verdict != "allow")
}

fn not_enforced(rule: &Rule, case: &Case<'_>) -> Vec<Finding> {
    let shadowed =
        case.calls.iter().filter(|call| call.body.shadow && call.body.verdict != "allow" && call.forwarded());
    let found = shadowed.map(|call| {
        let reasons: Vec<Fact> = call.body.reasons.iter().map(|reason| Fact::from(reason.code.as_str())).collect();
        let says = Message::new(&NOT_ENFORCED)
            .with("call", wording::call(call))
            .with("reasons", reasons)
            .with("fate", wording::fate(call));
        Finding::new(rule, Kind::Fault, case.platform(), says).rests_on(Step::Judged, State::Observed, call.node)
    });
    found.collect()
}

/// The rules of one kind and name, in the order in which they came into force.
fn history<'g>(case: &Case<'g>, what: &str, name: &str) -> Vec<(&'g Node<'g>, body::Policy)> {
    let policies = case.graph.nodes().iter().filter_map(|node| Some((node, node.body::<body::Policy>()?)));
    policies.filter(|(_, policy)| policy.what == what && policy.name == name).collect()
}

/// The change of a catalogue or policy that was in force for a call, with the one that undid it afterwards.
struct Restored<'g> {
    change: &'g Node<'g>,
    by: String,
    undone: &'g Node<'g>,
    /// The digest of what holds again.
    again: Hash,
}

fn restored<'g>(case: &Case<'g>, call: &Call<'g>) -> Vec<Restored<'g>> {
    let mut kinds: Vec<(String, String)> = case
        .graph
        .nodes()
        .iter()
        .filter_map(|node| node.body::<body::Policy>())
        .filter(|policy| policy.what == "policy" || (policy.what == "catalogue" && policy.name == call.body.upstream))
        .map(|policy| (policy.what, policy.name))
        .collect();
    kinds.sort();
    kinds.dedup();
    let at = (call.node.entry().time, call.node.seq());
    let is_before = |node: &Node<'_>| (node.entry().time, node.seq()) < at;
    let mut found = Vec::new();
    for (what, name) in kinds {
        let history = history(case, &what, &name);
        let Some((change, policy)) = history.iter().rev().find(|(node, _)| is_before(node)) else { continue };
        let held_before = |hash: &Hash| {
            policy.replaces == Some(*hash)
                || history.iter().any(|(node, old)| old.sha256 == *hash && node.hash != change.hash && is_before(node))
        };
        let undone = history.iter().find(|(node, later)| !is_before(node) && held_before(&later.sha256));
        if let Some((undone, later)) = undone.filter(|(_, later)| later.sha256 != policy.sha256) {
            found.push(Restored { change, by: policy.by.clone(), undone, again: later.sha256 });
        }
    }
    found
}

/// How a call would have stood before and after the rules were other ones.
pub(super) struct Widened {
    /// Where its values came from, judged by the catalogue that holds again.
    pub(super) given: Vec<Given>,
}

/// A call that was let through by a catalogue that was put in force and taken back, and that the one that holds again would have stopped.
pub(super) fn widened(case: &Case<'_>, call: &Call<'_>) -> Option<Widened> {
    if !call.forwarded() || call.approved() {
        return None;
    }
    restored(case, call).into_iter().find_map(|restored| {
        let catalogue = case.catalogue_of(&restored.again)?;
        let given = given_under(case, call, catalogue);
        given.iter().any(|given| !given.accepted).then_some(Widened { given })
    })
}

fn given_under(case: &Case<'_>, call: &Call<'_>, catalogue: &Catalogue) -> Vec<Given> {
    // The call is one of the case's own.
    case.calls
        .iter()
        .find(|own| own.node.hash == call.node.hash)
        .map(|own| case.given_under(own, catalogue))
        .unwrap_or_default()
}

/// What a change of the rules did for a call.
enum Mattered {
    Yes,
    No,
    Unknown,
}

fn mattered(case: &Case<'_>, call: &Call<'_>, restored: &Restored<'_>) -> Mattered {
    if restored.change.text("what") != Some("catalogue") {
        return Mattered::Unknown;
    }
    let changed = restored.change.text("sha256").and_then(|hash| hash.parse().ok());
    let both = changed.and_then(|hash| Some((case.catalogue_of(&hash)?, case.catalogue_of(&restored.again)?)));
    match both {
        None => Mattered::Unknown,
        Some((changed, again)) if changed.action(call.action()) == again.action(call.action()) => Mattered::No,
        Some((_, again)) if again.action(call.action()).is_none() => Mattered::Yes,
        Some(_) if call.arguments().is_none() => Mattered::Unknown,
        Some((_, again)) if given_under(case, call, again).iter().any(|given| !given.accepted) => Mattered::Yes,
        Some(_) => Mattered::No,
    }
}

fn widened_then_restored(rule: &Rule, case: &Case<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for call in case.calls.iter().filter(|call| call.forwarded() && !call.approved()) {
        for restored in restored(case, call) {
            let (kind, holder, text, lacks) = match mattered(case, call, &restored) {
                Mattered::Yes => (Kind::Fault, case.graph.platform(&restored.by), &RESTORED, None),
                Mattered::Unknown => (Kind::Gap, Holder::unknown(), &RESTORED_UNKNOWN, Some(Need::PolicyBytes)),
                Mattered::No => (Kind::Note, case.graph.platform(&restored.by), &RESTORED_NO_MATTER, None),
            };
            let says = Message::new(text)
                .with("call", wording::call(call))
                .with("what", restored.change.text("name").unwrap_or("?"))
                .with("by", restored.by.as_str())
                .with("change", restored.change.seq())
                .with("undone", restored.undone.seq());
            let finding = Finding::new(rule, kind, holder, says)
                .rests_on(Step::Judged, State::Observed, restored.change)
                .rests_on(Step::Judged, State::Observed, call.node)
                .rests_on(Step::Judged, State::Observed, restored.undone);
            found.push(finding.lacks(lacks));
        }
    }
    found
}

/// The rules were other ones not long before.
fn changed_before(rule: &Rule, case: &Case<'_>) -> Vec<Finding> {
    let Some(first) = case.calls.iter().find(|call| call.changes() && call.forwarded()) else { return Vec::new() };
    let at = first.node.entry().time.instant().as_second();
    let changes = case.graph.nodes().iter().filter_map(|node| Some((node, node.body::<body::Policy>()?)));
    let shortly = changes.filter(|(node, policy)| {
        let ago = at - node.entry().time.instant().as_second();
        policy.replaces.is_some() && (0..=SHORTLY_SECONDS).contains(&ago)
    });
    let found = shortly.map(|(node, policy)| {
        let says = Message::new(&CHANGED)
            .with("what", policy.name.as_str())
            .with("by", policy.by.as_str())
            .with("seconds", u64::try_from(at - node.entry().time.instant().as_second()).unwrap_or_default())
            .with("call", wording::call(first));
        Finding::new(rule, Kind::Note, case.graph.platform(&policy.by), says).rests_on(
            Step::Judged,
            State::Observed,
            node,
        )
    });
    found.collect()
}

texts! {
    T_GRANT: "A call was allowed though no grant bears it out", "调用获准但无相应授权";
    AGAINST_GRANT: "The gateway allowed {call}: {why}", "网关放行了 {call}：{why}";
    NO_GRANT: "the grant it names is not in the ledger.", "其所称的授权不在账本中。";
    NOT_IN_GRANT: "its grant does not include the action.", "其授权不包含该操作。";
    GRANT_OVER: "its grant had ended.", "其授权已过期。";
    WITHDRAWN: "its grant had been withdrawn.", "其授权已被撤回。";
    T_POLICY: "A call was let through though its own record says no", "调用被放行，而其记录本身表明应予阻止";
    VERDICT_NO: "The gateway forwarded {call} although its recorded verdict does not allow it.", "网关转发了 {call}，尽管所记录的裁决并未允许。";
    REPLAY_NO: "The gateway let {call} through. Judged again, from what was recorded and by the rules of that day, the verdict is another: {verdict}.",
        "网关放行了 {call}。依所记录的内容与当日规则重新裁决，结果不同：{verdict}。";
    VALUES_NO: "The gateway forwarded {call} although by its own record {values} came from where no rule accepts it, and no human approved it.",
        "网关转发了 {call}，尽管其自身记录表明 {values} 的来源不被任何规则接受，且无人批准。";
    T_SHADOW: "The verdict was recorded and not enforced", "裁决仅被记录而未被执行";
    NOT_ENFORCED: "The sidecar ran without enforcing its verdicts: it judged that {call} must not pass ({reasons}) and let it pass. {fate}",
        "网关在不执行裁决的模式下运行：它判定 {call} 不应通过（{reasons}），却予以放行。{fate}";
    T_RESTORED: "The rules were changed for a while and then put back", "规则被临时更改后又恢复";
    RESTORED: "{by} put other rules for {what} in force (entry {change}) and put the earlier ones back afterwards (entry {undone}). In between {call} passed, which the earlier rules would have stopped.",
        "{by} 使 {what} 的另一套规则生效（条目 {change}），之后又恢复了先前的规则（条目 {undone}）。其间 {call} 得以通过，而先前的规则会予以阻止。";
    RESTORED_NO_MATTER: "{by} put other rules for {what} in force (entry {change}) and put the earlier ones back afterwards (entry {undone}). {call} in between would have passed under both.",
        "{by} 使 {what} 的另一套规则生效（条目 {change}），之后又恢复了先前的规则（条目 {undone}）。其间的 {call} 在两套规则下均可通过。";
    RESTORED_UNKNOWN: "{by} put other rules for {what} in force (entry {change}) and put the earlier ones back afterwards (entry {undone}). Whether the earlier ones would have stopped {call} cannot be computed from this evidence.",
        "{by} 使 {what} 的另一套规则生效（条目 {change}），之后又恢复了先前的规则（条目 {undone}）。依现有证据无法推算先前的规则是否会阻止 {call}。";
    T_CHANGED: "The rules were changed shortly before", "规则在此前不久被更改";
    CHANGED: "{by} changed the rules for {what} {seconds} s before {call}.", "{by} 在 {call} 之前 {seconds} 秒更改了 {what} 的规则。";
}

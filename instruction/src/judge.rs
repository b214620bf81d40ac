//! The verdict on one attempt under an instruction: everything that decides, in one place, for the gateway as it happens and for a replay afterwards.

use std::collections::BTreeSet;

use countersign_authorize::{
    Refusal,
    catalogue::Catalogue,
    policy::{Guard, Policies},
    request::Request,
    verdict::{self, Inputs, Judgement, Reason, Verdict},
};
use countersign_ledger::Hash;
use jiff::Timestamp;

use crate::Inner;

/// What an agent tries, and what it is judged by beside the instruction's own state.
pub struct Attempt<'a> {
    /// The grant under which it is tried.
    pub grant: &'a str,
    /// The request, if it has one reading.
    pub request: Result<&'a Request, &'a Refusal>,
    /// The decision that the agent names.
    pub decision: Option<Hash>,
    /// SHA-256 of its `Idempotency-Key`.
    pub key: Option<Hash>,
    /// The upstream's catalogue.
    pub catalogue: Option<&'a Catalogue>,
    /// The organisation's policies.
    pub policies: Option<&'a Policies>,
    /// What withdraws a call of this action, if anything does.
    pub withdrawn: &'a dyn Fn(Option<&str>) -> Option<String>,
    /// Whether as many calls as may wait for a person do, and this one, by its digest, would be one more.
    pub crowded: &'a dyn Fn(&str) -> bool,
    /// Digests of calls that an approver said yes to, not yet used.
    pub approved: &'a [String],
    /// Digests of calls that an approver said no to.
    pub denied: &'a [String],
    /// The time.
    pub now: Timestamp,
}

/// What withdraws a call, out of everything that is withdrawn: `everything/`, `agent/<id>`, `subject/<id>`, `action/<name>`.
/// `agents` are the call's own, and those whose grants its grant was cut from.
pub fn withdrawal(
    revoked: &BTreeSet<String>,
    agents: &[String],
    subject: &str,
    action: Option<&str>,
) -> Option<String> {
    let mut names = vec!["everything/".to_owned()];
    names.extend(agents.iter().map(|agent| format!("agent/{agent}")));
    names.push(format!("subject/{subject}"));
    names.extend(action.map(|action| format!("action/{action}")));
    names.into_iter().find(|name| revoked.contains(name))
}

impl Inner {
    /// Judges an attempt.
    pub fn judge(&self, attempt: &Attempt<'_>) -> Judgement {
        let refused = |code, message: String| verdict::refused(&Refusal { code, message });
        let request = match attempt.request {
            Ok(request) => request,
            Err(refusal) => return verdict::refused(refusal),
        };
        let Some(state) = self.state(attempt.grant) else {
            return refused("grant-missing", "the instruction has no grant".to_owned());
        };
        if attempt.decision.is_some_and(|decision| !self.decisions.contains(&decision)) {
            let message = "the entry named in `Countersign-Decision` is no decision of this instruction".to_owned();
            return refused("decision-unknown", message);
        }
        let Some(catalogue) = attempt.catalogue else {
            return refused("action-unknown", format!("there is no catalogue for `{}`", request.upstream()));
        };
        let above = self.above(attempt.grant);
        let mut judgement = verdict::judge(&Inputs {
            request,
            catalogue,
            grant: &state.grant,
            usage: &state.usage,
            above: &above,
            observations: &self.observations,
            approved: attempt.approved,
            denied: attempt.denied,
            now: attempt.now,
            policy: attempt.policies.map(|policies| Guard { policies, facts: &self.facts }),
        });
        let withdrawn = (attempt.withdrawn)(judgement.action.as_deref());
        if state.revoked || withdrawn.is_some() {
            let what = withdrawn.map_or_else(|| "the grant".to_owned(), |what| format!("`{what}`"));
            judgement.deny(Reason { code: "revoked", argument: None, message: format!("{what} was withdrawn") });
        }
        let other = |key| self.keys.get(key).is_some_and(|first| *first != judgement.digest);
        if judgement.verdict != Verdict::Deny && attempt.key.as_ref().is_some_and(other) {
            let message = "the `Idempotency-Key` was used for another call before; use a new one".to_owned();
            judgement.deny(Reason { code: "idempotency-key-reused", argument: None, message });
        }
        if judgement.verdict == Verdict::Hold && (attempt.crowded)(&judgement.digest) {
            let message = "as many calls of this instruction as may wait for a person do; let them be answered first";
            judgement.deny(Reason { code: "held-too-many", argument: None, message: message.to_owned() });
        }
        judgement
    }
}

//! An approver's signed answer to exactly one held call: checked, counted, sealed.

use axum::{http::StatusCode, response::Response};
use countersign_ledger::{
    Draft, Hash, canonical,
    passkey::{Stated, is_cloned},
    record::{Time, body},
    writer::Ticket,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    Api,
    approver::{answered, find, show},
    bad_request, sealed_answer,
};
use crate::{
    problem::Problem,
    state::{Held, Live, Registry, StateError, Yes},
};

/// The type of an approver's statement, without its form.
pub const TYP: &str = "countersign-approval";

/// How long an approved call may wait to be made, in seconds.
pub const VALID_SECONDS: i64 = 3600;

/// How far the approver's clock may be off, in seconds.
const SKEW_SECONDS: i64 = 60;

/// What an approver signs: yes or no to exactly this call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Answered {
    /// The ledger.
    pub origin: String,
    /// The held call's entry.
    pub call: Hash,
    /// The call's digest.
    pub digest: String,
    /// `approved` or `denied`.
    pub decision: String,
    /// When the call was shown.
    pub shown: Time,
    /// When the answer was given.
    pub answered: Time,
    /// Until when an approval may be used, if that is sooner than [`VALID_SECONDS`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Time>,
    /// What the call was judged by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policies: Option<Vec<Hash>>,
    /// SHA-256 of what was shown, in the canonical form of RFC 8785.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shown_sha256: Option<Hash>,
}

impl Answered {
    fn is_yes(&self) -> bool {
        self.decision == "approved"
    }
}

fn wrong(error: &dyn std::fmt::Display) -> Problem {
    bad_request(format!("`statement`: {error}")).with("field", "statement")
}

fn after(api: &Api, seconds: i64) -> jiff::Timestamp {
    api.gateway.now().checked_add(jiff::SignedDuration::from_secs(seconds)).unwrap_or(jiff::Timestamp::MAX)
}

/// What the approver signed: with a key registered for them, about exactly this call as it is shown, at a time that can be.
fn checked(api: &Api, party: &str, held: &Held, shown: &Value, stated: &Stated) -> Result<Answered, Problem> {
    let row = api.gateway.registry.read().key(stated.kid()).cloned();
    let row =
        row.filter(|row| row.party == party).ok_or_else(|| wrong(&"the key is not registered for this approver"))?;
    let said: Answered = stated.verify(TYP, &row.registered()).map_err(|error| wrong(&error))?;
    if said.origin != api.gateway.ledger.origin() || said.call != held.entry || said.digest != held.digest {
        return Err(wrong(&"it is not about this call of this ledger"));
    }
    if !["approved", "denied"].contains(&said.decision.as_str()) {
        return Err(wrong(&"`decision` is neither `approved` nor `denied`"));
    }
    if said.policies.as_ref().is_some_and(|policies| Some(&json!(policies)) != shown.get("policies")) {
        return Err(wrong(&"`policies` are not those that the call was judged by"));
    }
    let digest = canonical::digest(shown).map_err(|error| wrong(&error))?;
    if said.shown_sha256.is_some_and(|shown| shown != digest) {
        return Err(wrong(&"`shown_sha256` is not of what this call is shown as"));
    }
    if matches!(stated, Stated::Passkey(_))
        && (said.policies.is_none() || said.expires.is_none() || said.shown_sha256.is_none())
    {
        return Err(wrong(&"a passkey signs `policies`, `expires` and `shown_sha256` too"));
    }
    let (shown, given) = (said.shown.instant(), said.answered.instant());
    if given < shown || given > after(api, SKEW_SECONDS) {
        return Err(wrong(&"`answered` is before `shown`, or in the future"));
    }
    if said.expires.is_some_and(|until| until.instant() <= api.gateway.now()) {
        return Err(wrong(&"`expires` is over"));
    }
    Ok(said)
}

/// Takes an approver's answer.
pub(super) async fn answer(api: &Api, party: &str, call: &str, statement: &Value) -> Result<Response, Problem> {
    let (live, held) = find(api, call)?;
    if live.lock().agents(&held.grant).iter().any(|agent| agent == party) {
        return Err(bad_request("an agent's own call is approved by somebody else"));
    }
    let shown = show(api, call, &live, &held)?;
    let stated = Stated::read(statement).map_err(|error| wrong(&error))?;
    let said = checked(api, party, &held, &shown, &stated)?;
    let took = said.answered.instant().as_millisecond() - said.shown.instant().as_millisecond();
    let longest = after(api, VALID_SECONDS);
    let until = Time::new(said.expires.map_or(longest, |until| until.instant().min(longest)));
    let approval = body::Approval {
        call: held.entry,
        subject: live.subject.clone(),
        approver: party.to_owned(),
        decision: said.decision.clone(),
        shown: Some(said.shown),
        took_ms: u64::try_from(took).ok(),
        expires: Some(until),
        policies: said.policies.clone().unwrap_or_default(),
        check: Some(stated.check("valid", Some(party))),
        ..body::Approval::default()
    };
    let draft = || -> Result<Draft, StateError> {
        let (vault, subject) = (&api.gateway.vault, live.subject.as_str());
        let draft = Draft::new(&approval)?
            .of_instruction(&live.id)
            .caused_by([held.entry])
            .disclose(vault, subject, "digest", &held.digest)?
            .disclose(vault, subject, "shown", &shown)?
            .disclose(vault, subject, "statement", statement)?;
        Ok(draft)
    };
    let (ticket, last) = enqueue(api, &live, call, (party, said.is_yes()), &stated, draft()?)?;
    let sealed = ticket.sealed().await;
    let mut inner = live.lock();
    if let Some(held) = inner.held.get_mut(call) {
        held.answering.remove(party);
    }
    let sealed = match sealed {
        Ok(sealed) => sealed,
        Err(error) => {
            // Nothing was answered: the call waits on.
            if last {
                drop(api.gateway.hold_call(call, &live.id));
            }
            return Err(StateError::from(error).into());
        }
    };
    let yes = Yes { seq: sealed.seq, entry: sealed.hash, approver: party.to_owned(), until: until.instant() };
    inner.answer_hold(&held.entry, &held.digest, said.is_yes().then_some(yes));
    let decision = if said.is_yes() { "approved" } else { "denied" };
    api.gateway.observe().count(|told| told.approval(decision));
    let yes = inner.held.get(call).map_or(0, |held| held.yes.len());
    drop(inner);
    let answer = json!({ "call": call, "decision": said.decision, "approvals": yes, "needs": held.needs });
    Ok(sealed_answer(StatusCode::CREATED, &sealed, answer))
}

/// Queues the answer if the call still waits for it; says whether it is the last one.
///
/// INVARIANT: of several answers that would end the waiting one is taken; who comes after it finds that the call waits no more. An approver counts
/// once. A passkey's counter rises in the order of the entries.
fn enqueue(
    api: &Api,
    live: &Live,
    call: &str,
    (party, yes): (&str, bool),
    stated: &Stated,
    mut draft: Draft,
) -> Result<(Ticket, bool), Problem> {
    let gateway = &api.gateway;
    let mut inner = live.lock();
    let now = gateway.now();
    let held = inner.held.get_mut(call).filter(|held| held.waits(now)).ok_or_else(|| answered(call))?;
    // The last answer may be on its way to the ledger: then it waits no more.
    gateway.instruction_of_held(call).ok_or_else(|| answered(call))?;
    if yes && held.is_answered_by(party) {
        let detail = "you said yes to this call; it waits for somebody else's answer";
        return Err(Problem::new(StatusCode::CONFLICT, "already-answered", "Already answered", detail));
    }
    let last = !yes || held.needs_one_more();
    let mut registry = gateway.registry.write();
    let counted = match stated {
        Stated::Passkey(assertion) => {
            count(&registry, &assertion.kid, assertion.counter_unverified().unwrap_or_default())?
        }
        Stated::Jws(_) => None,
    };
    draft.state.extend(counted.as_ref().map(|(kid, counter)| Registry::put("counter", kid, Some(counter.to_string()))));
    if last {
        draft.state.push(gateway.unhold_call(call).ok_or_else(|| answered(call))?);
    }
    match gateway.ledger.enqueue(draft) {
        Ok(ticket) => {
            registry.counters.extend(counted);
            held.answering.insert(party.to_owned());
            Ok((ticket, last))
        }
        Err(error) => {
            if last {
                drop(gateway.hold_call(call, &live.id));
            }
            Err(StateError::from(error).into())
        }
    }
}

/// The counter to remember, unless it shows that there are two copies of an authenticator.
pub(super) fn count(registry: &Registry, kid: &str, counter: u32) -> Result<Option<(String, u32)>, Problem> {
    let last = registry.counters.get(kid).copied().unwrap_or_default();
    if is_cloned(last, counter) {
        let detail = "the passkey's counter did not rise: there may be a copy of it; an operator should revoke it";
        return Err(Problem::new(StatusCode::FORBIDDEN, "passkey-copied", "The passkey is refused", detail));
    }
    Ok((counter != 0).then(|| (kid.to_owned(), counter)))
}

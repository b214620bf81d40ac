//! Every judged call becomes a sealed entry; a permit and its sealed entry together become a receipt. What happens when the ledger cannot
//! store is decided here and nowhere else: the call is refused (503) and never forwarded.

mod receipt;
pub mod stranger;

use std::sync::{Arc, atomic::Ordering};

use countersign_authorize::{
    ENGINE,
    catalogue::Effect,
    grant::Usage,
    verdict::{Judgement, Verdict},
};
use countersign_ledger::{
    Draft, Hash,
    record::{EntryError, body},
    vault::VaultError,
    writer::{AppendError, Sealed, Ticket},
};
use http::{HeaderMap, HeaderValue, Response};
use serde_json::json;

pub use self::receipt::{Receipt, Sent, Trail};
use crate::{
    Body, api,
    authorize::{Call, Judged, Outgoing, Permit},
    error::{answer, problem},
    problem::Problem,
    stack::{Context, Step},
    state::{Held, HeldStatus, Inner, open_state},
};

/// A recorded call that may be forwarded.
pub struct Recorded {
    /// The proof that it was recorded.
    pub receipt: Receipt,
    /// What to send.
    pub outgoing: Outgoing,
}

/// Why a call could not be recorded.
#[derive(Debug, thiserror::Error)]
enum NotRecorded {
    #[error(transparent)]
    Append(#[from] AppendError),
    #[error(transparent)]
    Vault(#[from] VaultError),
    #[error(transparent)]
    Entry(#[from] EntryError),
}

/// The step.
#[derive(Clone)]
pub struct Record {
    context: Arc<Context>,
}

impl Record {
    /// The step.
    pub const fn new(context: Arc<Context>) -> Record {
        Record { context }
    }

    fn draft(&self, judged: &Judged) -> Result<Draft, NotRecorded> {
        let Judged { call, judgement, before, approval, request, permit, .. } = judged;
        let gateway = &self.context.gateway;
        let (vault, subject) = (&gateway.vault, call.live.subject.as_str());
        let entry = body::Call {
            call: call.id.clone(),
            grant: Some(call.grant.clone()),
            subject: Some(subject.to_owned()),
            agent: Some(call.agent.clone()),
            credential: "bearer".to_owned(),
            upstream: call.upstream.as_ref().map_or_else(String::new, |upstream| upstream.settings.name.clone()),
            action: judgement.action.clone(),
            effect: judgement.effect.map(Effect::as_str).map(str::to_owned),
            verdict: judgement.verdict.as_str().to_owned(),
            reasons: reasons(judgement),
            rules: judgement.rules.iter().map(|rule| (*rule).to_owned()).collect(),
            engine: ENGINE.to_owned(),
            policies: gateway.policies(),
            shadow: permit.as_ref().is_some_and(Permit::is_shadow),
            approval: *approval,
            traceparent: call.traceparent.clone(),
            ..body::Call::default()
        };
        let after = judgement.usage.as_ref();
        let mut draft = Draft::new(&entry)?
            .of_instruction(&call.live.id)
            .caused_by(call.grant_entry.into_iter().chain(call.decision).chain(*approval))
            .disclose(vault, subject, "request", request)?
            .disclose(vault, subject, "arguments", &judgement.arguments)?
            .disclose(vault, subject, "provenance", &judgement.provenance)?
            .disclose(vault, subject, "budget", &json!({ "before": before, "after": after }))?
            .disclose(vault, subject, "digest", &judgement.digest)?;
        if !judgement.reasons.is_empty() {
            draft = draft.disclose(vault, subject, "messages", &judgement.reasons)?;
        }
        Ok(draft)
    }

    /// Queues the entry with the state that must commit with it, in the order of judgement and of the upstream's counter.
    fn enqueue(&self, judged: &Judged) -> Result<Ticket, NotRecorded> {
        let gateway = &self.context.gateway;
        let mut draft = self.draft(judged)?;
        let call = &judged.call;
        match (&judged.permit, &call.upstream) {
            (Some(_), Some(upstream)) => gateway.numbered(&upstream.settings.name, |number, counter| {
                draft.body.insert("upstream_n".to_owned(), number.into());
                draft.state.extend([open_state(&call.id, &call.live.id, &call.live.subject), counter]);
                Ok(gateway.ledger.enqueue(draft)?)
            }),
            _ => {
                if judged.judgement.verdict == Verdict::Hold {
                    draft.state.push(gateway.hold_call(&call.id, &call.live.id));
                }
                Ok(gateway.ledger.enqueue(draft)?)
            }
        }
    }

    /// The entry is sealed: the instruction's state follows it.
    fn settle(&self, call: &Call, judgement: &Judgement, before: Usage, permitted: bool, sealed: &Sealed) {
        let mut inner = call.live.lock();
        if judgement.verdict == Verdict::Hold && !permitted {
            let held = Held {
                entry: sealed.hash,
                seq: sealed.seq,
                digest: judgement.digest.clone(),
                status: HeldStatus::Waiting,
            };
            inner.held.insert(call.id.clone(), held);
        }
        if let Some(after) = judgement.usage.clone() {
            inner.reserved.insert(sealed.hash, (before, after));
        }
        let upstream = call.upstream.as_ref().map(|upstream| &upstream.settings.name);
        let catalogue = upstream.and_then(|name| self.context.gateway.catalogue(name));
        if let (Some(action), Some(catalogue), Verdict::Allow) = (&judgement.action, catalogue, judgement.verdict) {
            inner.observe_arguments(&sealed.hash, action, catalogue, &judgement.arguments);
        }
    }

    /// Nothing was recorded, so nothing happened: what was reserved is given back.
    fn undo(&self, undone: &Undone, session: &mut Inner) {
        let Undone { call, judgement, before, approval } = undone;
        if let Some(state) = session.grant.as_mut() {
            if let Some(after) = &judgement.usage {
                state.usage = state.usage.release(before, after);
            }
            if let Some(approval) = approval {
                state.approved.insert(judgement.digest.clone(), *approval);
            }
        }
        if judgement.verdict == Verdict::Hold {
            drop(self.context.gateway.unhold_call(&call.id));
        }
    }
}

/// What a judgement changed before it was recorded.
struct Undone<'a> {
    call: &'a Call,
    judgement: &'a Judgement,
    before: &'a Usage,
    approval: Option<Hash>,
}

impl Step<Judged> for Record {
    type Out = Recorded;

    async fn step(&self, mut judged: Judged) -> Result<Recorded, Response<Body>> {
        let gateway = &self.context.gateway;
        let ticket = match self.enqueue(&judged) {
            Ok(ticket) => ticket,
            Err(error) => {
                let Judged { call, judgement, before, approval, session, .. } = &mut judged;
                self.undo(&Undone { call, judgement, before, approval: *approval }, session);
                return Err(answer(refuse(&error)));
            }
        };
        let Judged { call, judgement, allowed, before, approval, permit, session, .. } = judged;
        // The order is fixed: others may be judged while this one is sealed.
        drop(session);
        let sealed = match ticket.sealed().await {
            Ok(sealed) => sealed,
            Err(error) => {
                let undone = Undone { call: &call, judgement: &judgement, before: &before, approval };
                self.undo(&undone, &mut call.live.lock());
                return Err(answer(refuse(&error.into())));
            }
        };
        gateway.count(judgement.verdict.as_str());
        self.settle(&call, &judgement, before, permit.is_some(), &sealed);
        match permit {
            Some(permit) => {
                gateway.open_calls().fetch_add(1, Ordering::Relaxed);
                let (receipt, outgoing) = Receipt::new(self.context.clone(), call, judgement.action, sealed, permit);
                Ok(Recorded { receipt, outgoing })
            }
            None => Err(refusal(&call, &judgement, allowed, &sealed)),
        }
    }
}

/// What the agent is told of a refused or held call.
fn refusal(call: &Call, judgement: &Judgement, allowed: serde_json::Value, sealed: &Sealed) -> Response<Body> {
    let messages: Vec<&str> = judgement.reasons.iter().map(|reason| reason.message.as_str()).collect();
    let detail = messages.join("; ");
    let mut problem = match judgement.verdict {
        Verdict::Hold => problem("approval-required", detail)
            .with("poll", format!("/v1/calls/{}", call.id))
            .with("digest", judgement.digest.as_str()),
        _ => problem(judgement.reasons.first().map_or("not-allowed", |reason| reason.code), detail),
    };
    problem = problem
        .with("call", call.id.as_str())
        .with("grant", call.grant.as_str())
        .with("entry", sealed.hash.to_string())
        .with("seq", sealed.seq)
        .with("reasons", json!(judgement.reasons));
    if !allowed.is_null() {
        problem = problem.with("allowed", allowed);
    }
    let mut response = answer(problem);
    stamp(response.headers_mut(), sealed);
    response
}

/// Reasons as the entry shows them: codes and argument names, no values.
fn reasons(judgement: &Judgement) -> Vec<body::Reason> {
    let shown = |reason: &countersign_authorize::verdict::Reason| body::Reason {
        code: reason.code.to_owned(),
        argument: reason.argument.clone(),
    };
    judgement.reasons.iter().map(shown).collect()
}

/// Says which entry an answer belongs to, and proves it.
pub(crate) fn stamp(headers: &mut HeaderMap, sealed: &Sealed) {
    for (name, value) in api::entry_headers(sealed) {
        headers.extend(HeaderValue::from_str(&value).ok().map(|value| (name, value)));
    }
}

fn refuse(error: &NotRecorded) -> Problem {
    match error {
        NotRecorded::Append(AppendError::Entry(_)) | NotRecorded::Entry(EntryError::TooLong(_)) => {
            problem("body-too-large", "the request is too large to be recorded; it was not forwarded")
        }
        _ => {
            tracing::error!(%error, "a call is refused because it cannot be recorded");
            problem(
                "not-recorded",
                "the ledger does not take the record of this call; it was not forwarded, try again later",
            )
        }
    }
}

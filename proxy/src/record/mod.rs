//! Every judged call becomes a sealed entry; a permit and its sealed entry together become a receipt. What happens when the ledger cannot
//! store is decided here and nowhere else: the call is refused (503) and never forwarded.

mod pending;
mod receipt;
mod seldom;
pub mod stranger;

use std::sync::Arc;

use countersign_authorize::{ENGINE, catalogue::Effect, verdict::Judgement};
use countersign_ledger::{
    Draft,
    record::{EntryError, Time, body},
    vault::VaultError,
    writer::{AppendError, Sealed, Ticket},
};
use http::{HeaderMap, HeaderValue, Response};

use self::pending::{Pending, Sealing};
pub use self::receipt::{Receipt, Sent, Trail};
pub(crate) use self::seldom::Seldom;
use crate::{
    Body, api,
    authorize::{Judged, Outgoing, Permit},
    error::{answer_call, problem},
    problem::Problem,
    stack::{Context, Step},
    state::{budget, open_state},
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
        let Judged { call, judgement, judged: judged_at, before, reserved, approval, waits, request, permit, .. } =
            judged;
        let gateway = &self.context.gateway;
        let (vault, subject) = (&gateway.vault, call.live.subject.as_str());
        let approvals = approval.as_ref().map_or(&[][..], |approval| &approval.entries);
        let entry = body::Call {
            call: call.id.clone(),
            grant: Some(call.grant.clone()),
            subject: Some(subject.to_owned()),
            agent: Some(call.agent.clone()),
            credential: call.shown.credential.to_owned(),
            issuer: call.shown.issuer.clone(),
            kid: call.shown.proof.as_ref().map(|proof| proof.kid.clone()),
            upstream: call.upstream.as_ref().map_or_else(String::new, |upstream| upstream.settings.name.clone()),
            action: judgement.action.clone(),
            effect: judgement.effect.map(Effect::as_str).map(str::to_owned),
            verdict: judgement.verdict.as_str().to_owned(),
            reasons: reasons(judgement),
            rules: judgement.rules.iter().map(|rule| rule.clone().into_owned()).collect(),
            engine: ENGINE.to_owned(),
            policies: call.rules.digests().to_vec(),
            judged: Some(*judged_at),
            shadow: permit.as_ref().is_some_and(Permit::is_shadow),
            repeats: waits.as_ref().and_then(|waits| waits.repeats.clone()),
            expires: waits.as_ref().map(|waits| Time::new(waits.until)),
            needs: (waits.is_some() && judgement.needs > 1).then_some(judgement.needs),
            approval: approvals.last().copied(),
            approvals: if approvals.len() > 1 { approvals.to_vec() } else { Vec::new() },
            traceparent: call.traceparent.clone(),
            via: call.via.map(str::to_owned),
            prompt: call.asking.as_ref().map(|asking| asking.entry()),
            ..body::Call::default()
        };
        let after = judgement.usage.as_ref();
        let mut draft = Draft::new(&entry)?
            .of_instruction(&call.live.id)
            .caused_by(call.grant_entry.into_iter().chain(call.decision).chain(approvals.iter().copied()))
            .caused_by(call.follows.map(|follows| follows.decision))
            .disclose(vault, subject, "request", request)?
            .disclose(vault, subject, "arguments", &judgement.arguments)?
            .disclose(vault, subject, "provenance", &judgement.provenance)?
            .disclose(vault, subject, "budget", &budget(before, after, reserved))?
            .disclose(vault, subject, "digest", &judgement.digest)?;
        if let Some(proof) = &call.shown.proof {
            draft = draft.disclose(vault, subject, "proof", &proof.text)?.disclose(
                vault,
                subject,
                "possession",
                &proof.of,
            )?;
        }
        if !judgement.reasons.is_empty() {
            draft = draft.disclose(vault, subject, "messages", &judgement.reasons)?;
        }
        if let Some(asking) = &call.asking {
            draft = draft.disclose(vault, subject, "prompt", &asking.detail())?.disclose(
                vault,
                subject,
                "prompt_body",
                &asking.body(&judged.session.asked),
            )?;
        }
        Ok(draft)
    }

    /// Queues the entry with the state that must commit with it, in the order of judgement and of the upstream's counter.
    /// Gives its number there, if it is forwarded.
    fn enqueue(&self, judged: &Judged) -> Result<(Ticket, Option<u64>), NotRecorded> {
        let gateway = &self.context.gateway;
        let mut draft = self.draft(judged)?;
        let call = &judged.call;
        match (&judged.permit, &call.upstream) {
            (Some(_), Some(upstream)) => gateway.numbered(&upstream.settings.name, |number, counter| {
                draft.body.set("upstream_n", &number).map_err(EntryError::from)?;
                draft.state.extend([open_state(&call.id, &call.live.id, &call.live.subject), counter]);
                Ok((gateway.ledger.enqueue(draft)?, Some(number)))
            }),
            _ => {
                if judged.waits.as_ref().is_some_and(|waits| waits.repeats.is_none()) {
                    draft.state.push(gateway.hold_call(&call.id, &call.live.id));
                }
                Ok((gateway.ledger.enqueue(draft)?, None))
            }
        }
    }
}

impl Step<Judged> for Record {
    type Out = Recorded;

    async fn step(&self, judged: Judged) -> Result<Recorded, Response<Body>> {
        judged.call.seen.recording();
        let queued = self.enqueue(&judged);
        let (mut call, mut session, turn) = (judged.call, judged.session, judged.turn);
        call.n = queued.as_ref().ok().and_then(|(_, n)| *n);
        let pending = Pending {
            context: self.context.clone(),
            call,
            judgement: judged.judgement,
            allowed: judged.allowed,
            reserved: judged.reserved,
            approval: judged.approval,
            waits: judged.waits,
            permit: judged.permit,
        };
        let ticket = match queued {
            Ok((ticket, _)) => ticket,
            Err(error) => {
                pending.undo(&mut session);
                return Err(answer_call(pending.call.exchange.as_deref(), refuse(&self.context, &error)));
            }
        };
        // The order is fixed: others may be judged while this one is sealed.
        drop((session, turn));
        Sealing::new(pending, ticket).sealed().await
    }
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

/// Why, in a word.
const fn cause(error: &NotRecorded) -> &'static str {
    match error {
        NotRecorded::Append(AppendError::Full) => "full",
        NotRecorded::Append(AppendError::NoSpace { .. } | AppendError::Unwritten(_)) => "no_space",
        NotRecorded::Append(AppendError::Unsigned(_)) => "unsigned",
        NotRecorded::Append(AppendError::Stuck { .. }) => "stuck",
        NotRecorded::Append(AppendError::Entry(_)) | NotRecorded::Entry(_) => "too_large",
        NotRecorded::Append(_) => "stopped",
        NotRecorded::Vault(_) => "vault",
    }
}

fn refuse(context: &Context, error: &NotRecorded) -> Problem {
    context.gateway.observe().count(|told| told.unrecorded(cause(error)));
    match error {
        NotRecorded::Append(AppendError::Entry(_)) | NotRecorded::Entry(EntryError::TooLong(_)) => {
            problem("body-too-large", "the request is too large to be recorded; it was not forwarded")
        }
        _ => {
            if let Some(calls) = context.unrecorded.due(context.gateway.now()) {
                tracing::error!(%error, calls, "calls are refused because they cannot be recorded");
            }
            problem(
                "not-recorded",
                "the ledger does not take the record of this call; it was not forwarded, try again later",
            )
        }
    }
}

//! Between queued and sealed. An agent that goes away now leaves an entry behind that must be followed up all the same.

use std::{
    pin::Pin,
    sync::{Arc, atomic::Ordering},
};

use countersign_authorize::verdict::{Judgement, Verdict};
use countersign_ledger::writer::{AppendError, Sealed, Ticket};
use http::Response;
use serde_json::{Value, json};

use super::{Receipt, Recorded, refuse, stamp};
use crate::{
    Body,
    authorize::{Call, Permit, Waits},
    error::{answer_call, problem},
    outcome::{Ending, finish},
    stack::Context,
    state::{Approved, Held, Inner, Reserved},
};

/// A queued call.
pub(super) struct Pending {
    pub(super) context: Arc<Context>,
    pub(super) call: Call,
    pub(super) judgement: Judgement,
    pub(super) allowed: Value,
    pub(super) reserved: Vec<Reserved>,
    pub(super) approval: Option<Approved>,
    pub(super) waits: Option<Waits>,
    pub(super) permit: Option<Permit>,
}

type Outcome = Result<Sealed, AppendError>;

type Seal = Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// Waits for the seal. Given up before, it goes on in a task of its own, and closes what nobody waits for any more.
pub(super) struct Sealing {
    queued: Option<(Pending, Seal)>,
    /// Whether the ledger was too slow; otherwise who gave up is the agent.
    late: bool,
}

impl Sealing {
    pub(super) fn new(pending: Pending, ticket: Ticket) -> Sealing {
        if pending.permit.is_some() {
            pending.context.gateway.open_calls().fetch_add(1, Ordering::Relaxed);
        }
        Sealing { queued: Some((pending, Box::pin(ticket.sealed()))), late: false }
    }

    /// The recorded call with its receipt, or what the agent is told instead.
    pub(super) async fn sealed(mut self) -> Result<Recorded, Response<Body>> {
        let sealed = match &mut self.queued {
            Some((pending, sealing)) => tokio::time::timeout(pending.context.limits.seal_timeout, sealing).await,
            None => Ok(Err(AppendError::Closed)),
        };
        match (sealed, self.queued.take()) {
            (Ok(sealed), Some((pending, _))) => pending.finish(sealed),
            (_, queued) => {
                (self.queued, self.late) = (queued, true);
                tracing::error!("a call is refused because the ledger is too slow");
                if let Some((pending, _)) = &self.queued {
                    pending.context.gateway.observe().count(|told| told.unrecorded("slow"));
                }
                let exchange = self.queued.as_ref().and_then(|(pending, _)| pending.call.exchange.as_deref());
                let problem =
                    problem("not-recorded", "the ledger is too slow; the call was not forwarded, try again later");
                Err(answer_call(exchange, problem))
            }
        }
    }
}

impl Drop for Sealing {
    fn drop(&mut self) {
        let runtime = tokio::runtime::Handle::try_current();
        let ending = match self.late {
            true => Ending::new("gateway_fault").detail("the ledger was too slow, so the call was refused"),
            false => Ending::new("client_aborted").detail("the agent went away before the call was sealed"),
        };
        if let (Some((pending, sealing)), Ok(runtime)) = (self.queued.take(), runtime) {
            runtime.spawn(async move {
                if let Ok(recorded) = pending.finish(sealing.await) {
                    finish(recorded.receipt, ending);
                }
            });
        }
    }
}

impl Pending {
    fn finish(self, sealed: Outcome) -> Result<Recorded, Response<Body>> {
        let sealed = match sealed {
            Ok(sealed) => sealed,
            Err(error) => {
                if self.permit.is_some() {
                    self.context.gateway.open_calls().fetch_sub(1, Ordering::Relaxed);
                }
                self.undo(&mut self.call.live.lock());
                return Err(answer_call(self.call.exchange.as_deref(), refuse(&self.context, &error.into())));
            }
        };
        self.context.gateway.count_for(self.judgement.verdict.as_str(), &self.call.agent, &self.call.grant);
        let (verdict, reason) = (self.judgement.verdict, self.judgement.reasons.first().map(|reason| reason.code));
        let shadow = self.permit.as_ref().is_some_and(Permit::is_shadow);
        self.call.seen.sealed(&sealed.hash);
        self.call.seen.count(verdict.as_str(), reason, shadow);
        self.settle(&sealed);
        match self.permit {
            Some(permit) => {
                let (receipt, outgoing) = Receipt::new(self.context, self.call, self.judgement.action, sealed, permit);
                Ok(Recorded { receipt, outgoing })
            }
            None => Err(self.refusal(&sealed)),
        }
    }

    /// The entry is sealed: the instruction's state follows it.
    fn settle(&self, sealed: &Sealed) {
        let (call, judgement) = (&self.call, &self.judgement);
        let mut inner = call.live.lock();
        if let Some(waits) = self.first() {
            inner.holding.remove(&judgement.digest);
            if self.permit.is_none() {
                let (grant, digest) = (call.grant.clone(), judgement.digest.clone());
                let held = Held::new((sealed.hash, sealed.seq), grant, digest, waits.until, judgement.needs);
                inner.held.insert(call.id.clone(), held);
            }
        }
        let forwarded = self.permit.is_some();
        if let Some(follows) = call.follows {
            inner.asked.made(&[follows.decision], sealed.hash, forwarded.then_some(None));
        }
        if let Some(asking) = &call.asking {
            inner.asked.asks(sealed.hash, forwarded.then_some(asking.comparison.words), asking.kept());
        }
        if !self.reserved.is_empty() {
            inner.reserved.insert(sealed.hash, self.reserved.iter().map(Reserved::taken).collect());
        }
    }

    /// Nothing was recorded, so nothing happened: what was reserved is given back.
    pub(super) fn undo(&self, session: &mut Inner) {
        session.release(self.reserved.iter().map(Reserved::taken));
        if let Some((state, approval)) = session.state_mut(&self.call.grant).zip(self.approval.as_ref()) {
            state.approved.insert(self.judgement.digest.clone(), approval.clone());
        }
        if let Some(follows) = self.call.follows.filter(|follows| follows.anew) {
            session.asked.give_back(&follows.decision);
        }
        session.observations.take_back(&self.call.id);
        if self.first().is_some() {
            session.holding.remove(&self.judgement.digest);
            drop(self.context.gateway.unhold_call(&self.call.id));
        }
    }

    /// How it waits, if it is held and asked for the first time.
    fn first(&self) -> Option<&Waits> {
        self.waits.as_ref().filter(|waits| waits.repeats.is_none())
    }

    /// What the agent is told of a refused or held call.
    fn refusal(&self, sealed: &Sealed) -> Response<Body> {
        let (call, judgement) = (&self.call, &self.judgement);
        let messages: Vec<&str> = judgement.reasons.iter().map(|reason| reason.message.as_str()).collect();
        let detail = messages.join("; ");
        let mut problem = match judgement.verdict {
            Verdict::Hold => {
                let held = self.waits.as_ref().and_then(|waits| waits.repeats.as_ref()).unwrap_or(&call.id);
                let problem = problem("approval-required", detail)
                    .with("state", "waiting")
                    .with("held", held.as_str())
                    .with("poll", format!("/v1/calls/{held}"))
                    .with("expires", self.waits.as_ref().map(|waits| waits.until.to_string()))
                    .with("digest", judgement.digest.as_str());
                match &self.context.approvals {
                    Some(pages) => problem.with("page", format!("{}/held/{}/{held}", pages.origin(), call.live.id)),
                    None => problem,
                }
            }
            _ => problem(judgement.reasons.first().map_or("not-allowed", |reason| reason.code), detail),
        };
        problem = problem
            .with("call", call.id.as_str())
            .with("grant", call.grant.as_str())
            .with("entry", sealed.hash.to_string())
            .with("seq", sealed.seq)
            .with("reasons", json!(judgement.reasons));
        if !self.allowed.is_null() {
            problem = problem.with("allowed", self.allowed.clone());
        }
        let mut response = answer_call(call.exchange.as_deref(), problem);
        stamp(response.headers_mut(), sealed);
        response
    }
}

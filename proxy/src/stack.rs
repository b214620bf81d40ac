//! The life of a call on one screen.
//!
//! ```text
//! http::Request ─ identify ─► Identified ─ limit ─► Identified ─ authorize ─► Judged ─ record ─► Recorded ─ outcome( forward ) ─► http::Response
//! ```
//!
//! Each step turns one type into the next or answers itself. Only `authorize` can make a `Permit`, only `record` a `Receipt`, and only with a
//! `Permit`; `forward` cannot be called without a `Receipt`. So the compiler keeps promise 1: no call without a record.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{Arc, atomic::AtomicBool},
    task::{Context as TaskContext, Poll},
};

use http::{Request, Response};
use hyper::body::Incoming;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tower::{Layer, Service, ServiceBuilder, ServiceExt as _, util::BoxCloneSyncService};

use crate::{
    Body,
    authorize::Authorize,
    error::{answer, problem},
    identify::{Identify, Issuers, Proofs},
    inward::Inward,
    limit::{Limit, Quotas},
    observe::Watch,
    outcome::{Late, Outcome},
    record::{Record, Recorded, Seldom},
    server::Arrival,
    settings::{Approvals, Limits, Signing},
    state::Gateway,
    upstream::Upstreams,
};

/// What every step may use.
pub struct Context {
    /// The gateway's state, with ledger and vault.
    pub gateway: Arc<Gateway>,
    /// What bounds a call.
    pub limits: Limits,
    /// The APIs. They are replaced all at once.
    pub upstreams: Upstreams,
    /// The approvers' pages.
    pub approvals: Option<Approvals>,
    /// Whether agents must show a client certificate.
    pub shows_certificates: bool,
    /// The SPIFFE id of each agent that has one beside its name.
    pub agents: BTreeMap<String, String>,
    /// How much each agent and grant may call.
    pub quotas: Quotas,
    /// The outside issuers that are believed.
    pub issuers: Issuers,
    /// What checks that agents hold their keys.
    pub proofs: Proofs,
    /// What requests to them are signed with.
    pub signing: Option<Signing>,
    /// Told when a receipt is missing that may be had later.
    pub(crate) missing: Notify,
    /// Told when a receipt is signed with a key that nobody knows.
    pub(crate) unknown_key: Notify,
    /// When it was last said that calls cannot be recorded.
    pub(crate) unrecorded: Seldom,
    /// What ended calls and the ledger does not take yet.
    pub(crate) late: Late,
    /// Set when the drain is over and calls are cut: their outcome then says so.
    pub cut: AtomicBool,
    /// The current minute, and how many requests without a valid token were recorded in it.
    pub(crate) strangers: Mutex<(i64, u32)>,
}

/// The whole way, for requests of one connection.
pub type Stack = BoxCloneSyncService<Request<Incoming>, Response<Body>, Infallible>;

/// The way of a call that this gateway forwards itself.
pub fn stack(context: &Arc<Context>, arrival: Arrival) -> Stack {
    // Around `forward`, so that whatever becomes of the call, one outcome is written.
    let way = way(context, arrival, Outcome);
    BoxCloneSyncService::new(way.map_request(|request: Request<Incoming>| request.map(Inward::Live)))
}

/// The way up to the record, the same for every call. `last` is given what is recorded and may be sent: it forwards, or leaves that to another proxy.
/// Top to bottom is the order in which a request meets the steps.
pub(crate) fn way<S>(
    context: &Arc<Context>,
    arrival: Arrival,
    last: S,
) -> impl Service<Request<Inward>, Response = Response<Body>, Error = Infallible, Future = Answering>
+ Clone
+ Send
+ Sync
+ 'static
where
    S: Service<Recorded, Response = Response<Body>, Error = Infallible> + Clone + Send + Sync + 'static,
    S::Future: Send + 'static,
{
    let (observe, secure) = (context.gateway.observe().clone(), arrival.secure);
    ServiceBuilder::new()
        // Outermost: whatever the answer is, it is timed, and whatever is logged on the way names its trace.
        .layer_fn(move |next| Watch { observe: observe.clone(), secure, next })
        // Around all steps, so that a fault in any step still becomes an answer; the record closes itself as it is dropped.
        .layer_fn(CatchPanic)
        // Before anything is read of the request: who calls, under which grant, to which API.
        .layer(Then(Identify::new(context.clone(), arrival)))
        // Before anything is read or judged, which costs, and once it is known who calls.
        .layer(Then(Limit::new(context.clone())))
        // Before the record, because the record holds the verdict; the instruction stays locked from here until its entry is queued.
        .layer(Then(Authorize::new(context.clone())))
        // Before anything is sent, and the only step that decides what happens when the ledger cannot store.
        .layer(Then(Record::new(context.clone())))
        .service(last)
}

/// One step of the way.
pub trait Step<In>: Send + Sync + 'static {
    /// What the next step needs.
    type Out: Send;

    /// Goes one step on, or answers.
    fn step(&self, input: In) -> impl Future<Output = Result<Self::Out, Response<Body>>> + Send;
}

/// The layer of a step: what it gives goes to the service behind it, what it answers goes back.
struct Then<T>(T);

impl<T: Clone, S> Layer<S> for Then<T> {
    type Service = Steps<T, S>;

    fn layer(&self, next: S) -> Steps<T, S> {
        Steps { step: Arc::new(self.0.clone()), next }
    }
}

struct Steps<T, S> {
    step: Arc<T>,
    next: S,
}

impl<T, S: Clone> Clone for Steps<T, S> {
    fn clone(&self) -> Steps<T, S> {
        Steps { step: self.step.clone(), next: self.next.clone() }
    }
}

type Answering = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

impl<In, T, S> Service<In> for Steps<T, S>
where
    In: Send + 'static,
    T: Step<In>,
    S: Service<T::Out, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answering;

    fn poll_ready(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<(), Infallible>> {
        self.next.poll_ready(cx)
    }

    fn call(&mut self, input: In) -> Answering {
        let (step, mut next) = (self.step.clone(), self.next.clone());
        Box::pin(async move {
            match step.step(input).await {
                // INVARIANT: between authorize and record nothing waits: every service of the way is always ready.
                Ok(output) => next.ready().await?.call(output).await,
                Err(answer) => Ok(answer),
            }
        })
    }
}

/// Turns a panic into an answer. Only the future that panicked is gone; what it held was dropped, an open record closed.
#[derive(Clone)]
pub(crate) struct CatchPanic<S>(pub(crate) S);

impl<In, S> Service<In> for CatchPanic<S>
where
    S: Service<In, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answering;

    fn poll_ready(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<(), Infallible>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, input: In) -> Answering {
        let mut answering = Some(Box::pin(self.0.call(input)));
        Box::pin(std::future::poll_fn(move |cx| {
            let polled = answering.as_mut().map(|future| catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))));
            match polled {
                Some(Ok(polled)) => polled,
                Some(Err(_)) | None => {
                    // Dropped here, so that nothing of it outlives its fault.
                    answering = None;
                    Poll::Ready(Ok(answer(problem("gateway-fault", "the operator's log says why"))))
                }
            }
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_in_a_step_becomes_an_answer() {
        let way = CatchPanic(tower::service_fn(|()| async { panic!("a step fails") }));
        let response = way.oneshot(()).await.unwrap();
        assert_eq!(response.status(), 500);
        assert_eq!(response.headers()["content-type"], "application/problem+json");
    }
}

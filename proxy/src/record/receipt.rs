//! The proof that a call was recorded, and what is known of its fate until the outcome closes it.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
};

use countersign_ledger::{record::body::Attempt, writer::Sealed};
use countersign_receipt::Asked;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::{sync::watch, time::Instant};

use crate::{
    authorize::{Call, Outgoing, Permit},
    outcome::{Ending, close},
    stack::Context,
    state::Named,
    upstream::{Upstream, access::Held, echo::Echo},
};

/// Whether the request may have reached the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Sent {
    /// Certainly not.
    #[default]
    No,
    /// A connection stood; nobody knows how far it got.
    Maybe,
    /// The API answered.
    Yes,
}

impl Sent {
    /// The word in the record.
    pub const fn as_str(self) -> &'static str {
        match self {
            Sent::No => "no",
            Sent::Maybe => "maybe",
            Sent::Yes => "yes",
        }
    }
}

/// What is known so far of a forwarded call.
#[derive(Debug, Default)]
pub struct Trail {
    /// Whether it may have arrived.
    pub sent: Sent,
    /// The API's status.
    pub status: Option<u16>,
    /// Who answered.
    pub peer: Option<String>,
    /// Bytes of body sent and received.
    pub bytes: [u64; 2],
    /// Microseconds from sealed, by event.
    pub us: BTreeMap<String, u64>,
    /// Digest and length of the body sent, once it was sent whole.
    pub request: Option<Value>,
    /// What went wrong with the agent's half of the call.
    pub agent_fault: Option<&'static str>,
    /// Whether an earlier attempt may have arrived.
    pub before: Sent,
    /// The attempts before this one.
    pub attempts: Vec<Attempt>,
    /// When the last byte was sent.
    pub last_sent: Option<Instant>,
    /// The request as it was signed, if it was.
    pub asked: Option<Arc<Asked>>,
    /// The credential that it was sent with, where the gateway got it from a token server.
    pub(crate) held: Option<Arc<Held>>,
}

/// A sealed call, open until its outcome is written. Only `record` can make one, and only of a permit.
///
/// `forward` cannot be called without one:
///
/// ```compile_fail,E0061
/// async fn unrecorded(outgoing: countersign_proxy::authorize::Outgoing) {
///     countersign_proxy::forward::forward(outgoing).await;
/// }
/// ```
///
/// and nobody else can make one:
///
/// ```compile_fail,E0451
/// fn forged(
///     sealed: countersign_ledger::writer::Sealed,
///     rest: countersign_proxy::record::Receipt,
/// ) -> countersign_proxy::record::Receipt {
///     countersign_proxy::record::Receipt { sealed, ..rest }
/// }
/// ```
///
/// A permit cannot be made outside of `authorize` either:
///
/// ```compile_fail,E0451
/// fn forged(outgoing: countersign_proxy::authorize::Outgoing) -> countersign_proxy::authorize::Permit {
///     countersign_proxy::authorize::Permit { outgoing, shadow: false }
/// }
/// ```
pub struct Receipt {
    context: Arc<Context>,
    call: Call,
    action: Option<String>,
    shadow: bool,
    sealed: Sealed,
    since: Instant,
    trail: Arc<Mutex<Trail>>,
    cut: Option<watch::Receiver<bool>>,
    open: bool,
}

impl Receipt {
    /// Of a sealed call and its permit; gives what the permit allows to be sent.
    pub(super) fn new(
        context: Arc<Context>,
        call: Call,
        action: Option<String>,
        sealed: Sealed,
        permit: Permit,
    ) -> (Receipt, Outgoing) {
        let (trail, cut) = (Arc::default(), under_way(&context, &call, action.as_deref()));
        let (since, shadow) = (Instant::now(), permit.is_shadow());
        let receipt = Receipt { context, call, action, shadow, sealed, since, trail, cut, open: true };
        (receipt, permit.into_outgoing())
    }

    /// What every step may use.
    pub const fn context(&self) -> &Arc<Context> {
        &self.context
    }

    /// Who calls what.
    pub const fn call(&self) -> &Call {
        &self.call
    }

    /// Whether the verdict was against it and only recorded.
    pub const fn is_shadow(&self) -> bool {
        self.shadow
    }

    /// The action.
    pub fn action(&self) -> Option<&str> {
        self.action.as_deref()
    }

    /// The call's sealed entry.
    pub const fn sealed(&self) -> &Sealed {
        &self.sealed
    }

    /// When the entry was sealed.
    pub const fn since(&self) -> Instant {
        self.since
    }

    /// Notes something about the call's fate.
    pub fn note<T>(&self, note: impl FnOnce(&mut Trail) -> T) -> T {
        note(&mut self.trail.lock())
    }

    /// What is known, shared with the bodies that find out more.
    pub(crate) fn trail(&self) -> Arc<Mutex<Trail>> {
        self.trail.clone()
    }

    /// What looks for the credential that it was sent with in the answer.
    pub(crate) fn echo(&self, upstream: &Upstream) -> Option<Arc<Echo>> {
        self.note(|trail| trail.held.as_ref().map(|held| held.echo.clone())).or_else(|| upstream.echo())
    }

    /// Notes when something happened.
    pub fn mark(&self, event: &str) {
        let us = u64::try_from(self.since.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.note(|trail| {
            trail.us.insert(event.to_owned(), us);
        });
    }

    /// Ends when what allowed the call is withdrawn and its action says that this cuts it; else never.
    pub(crate) fn withdrawn(&self) -> impl Future<Output = ()> + Send + 'static {
        let cut = self.cut.clone();
        async move {
            if let Some(mut cut) = cut
                && cut.wait_for(|cut| *cut).await.is_ok()
            {
                return;
            }
            std::future::pending().await
        }
    }

    /// Whether a withdrawal of what allowed the call cuts it.
    pub(crate) const fn ends_when_withdrawn(&self) -> bool {
        self.cut.is_some()
    }

    /// How a call ended that nobody waits for any more.
    pub(crate) fn abandoned(&self) -> Ending {
        if std::thread::panicking() {
            Ending::new("gateway_fault").detail("a step of the gateway failed")
        } else if self.context.cut.load(Ordering::Relaxed) {
            Ending::new("shutdown").detail("the gateway was shut down before the call ended")
        } else {
            Ending::new("client_aborted").detail("the agent went away")
        }
    }

    /// Marks the receipt as closed; gives what is known.
    pub(crate) fn closed(&mut self) -> Trail {
        if std::mem::replace(&mut self.open, false) {
            self.context.gateway.open_calls().fetch_sub(1, Ordering::Relaxed);
            if self.cut.is_some() {
                self.context.gateway.under_way.leave(&self.call.id);
            }
        }
        std::mem::take(&mut *self.trail.lock())
    }
}

/// Enters a call that a withdrawal cuts among those under way; one that was withdrawn since it was judged is cut at once.
fn under_way(context: &Context, call: &Call, action: Option<&str>) -> Option<watch::Receiver<bool>> {
    let gateway = &context.gateway;
    let catalogue = call.rules.catalogue(&call.upstream.as_ref()?.settings.name)?;
    let action = catalogue.action(action?).filter(|action| action.abort_on_revoke)?.name.clone();
    let (instruction, grant, subject) = (call.live.id.clone(), call.grant.clone(), call.live.subject.clone());
    let agents = call.live.lock().agents(&grant);
    let named = Named { instruction, grant, agents, subject, action };
    let cut = gateway.under_way.enter(&call.id, named.clone());
    let revoked = call.live.lock().state(&call.grant).is_none_or(|grant| grant.revoked);
    if revoked || gateway.registry.read().withdraws(&named) {
        gateway.under_way.cut(|other| other.grant == named.grant && other.action == named.action);
    }
    Some(cut)
}

impl Drop for Receipt {
    /// An open receipt that is dropped queues one small outcome, and nothing more.
    fn drop(&mut self) {
        if !self.open {
            return;
        }
        let ending = self.abandoned();
        close(self, ending);
    }
}

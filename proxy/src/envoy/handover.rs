//! The last step of a call that Envoy forwards: what Envoy must change of the request so that what was judged is what is sent. The receipt waits.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context as TaskContext, Poll},
};

use countersign_ledger::Hash;
use http::{HeaderMap, HeaderName, Response, header};
use tower::Service;

use super::waiting::Waiting;
use crate::{
    Body,
    authorize::{Arrived, Outgoing},
    error::full,
    forward,
    inward::Inward,
    outcome::{Ending, failed, refuse},
    record::{Receipt, Recorded, stamp},
};

/// What Envoy says of the request itself; the agent's own words of that kind it overwrites (`use_remote_address`).
const ENVOYS: [HeaderName; 8] = [
    header::CONTENT_LENGTH,
    header::HOST,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-forwarded-proto"),
    HeaderName::from_static("x-request-id"),
];

/// What the gateway says of a call that it forwards itself; this one it does not.
const FORWARDERS: [HeaderName; 7] = [
    header::FORWARDED,
    header::TE,
    header::TRANSFER_ENCODING,
    header::VIA,
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-forwarded-host"),
    HeaderName::from_static("x-forwarded-proto"),
];

/// What Envoy must do to a request before it sends it. Only a recorded call makes one.
#[derive(Debug, Clone)]
pub(super) struct Admitted {
    /// The call's entry.
    pub(super) entry: Hash,
    /// Path and query as they were judged, behind the prefix.
    pub(super) path: String,
    /// Whom the request is for.
    pub(super) authority: Option<String>,
    /// Headers to set. Of the same name, the first replaces, the others are added.
    pub(super) set: HeaderMap,
    /// Headers to take away.
    pub(super) remove: Vec<HeaderName>,
}

/// The step.
#[derive(Clone)]
pub(super) struct Handover {
    waiting: Arc<Waiting>,
    upstreams: Arc<[String]>,
}

impl Handover {
    pub(super) const fn new(waiting: Arc<Waiting>, upstreams: Arc<[String]>) -> Handover {
        Handover { waiting, upstreams }
    }

    async fn hand_over(&self, receipt: Receipt, mut outgoing: Outgoing) -> Response<Body> {
        let Some(upstream) = receipt.call().upstream.clone() else {
            return refuse(receipt, "gateway-fault", "", Ending::new("gateway_fault"));
        };
        if let Some(why) = self.lacks(&receipt, &upstream.settings.name) {
            let ending = Ending::new("gateway_fault").detail(format!("not handed to Envoy: {why}"));
            return refuse(receipt, "not-through-envoy", &why, ending);
        }
        let agent = outgoing.headers.clone();
        let path = format!("{}{}", upstream.settings.prefix, outgoing.target);
        // Nothing streams here: a body that the action does not read is known all the same.
        outgoing.body = match outgoing.body {
            Arrived::Stream(Inward::Whole(bytes)) => Arrived::Whole(bytes.unwrap_or_default()),
            body => body,
        };
        let held = forward::subject::held(&receipt, &upstream).await;
        let request = held.and_then(|held| forward::request(&receipt, &upstream, outgoing, held.as_deref()));
        let request = match request {
            Ok(request) => request,
            Err(error) => return failed(receipt, &error),
        };
        let admitted = Admitted {
            entry: receipt.sealed().hash,
            path,
            authority: request.uri().authority().map(ToString::to_string),
            set: changed(&agent, request.headers()),
            remove: gone(&agent, request.headers()),
        };
        let mut response = Response::new(full(""));
        stamp(response.headers_mut(), receipt.sealed());
        response.extensions_mut().insert(admitted);
        // INVARIANT: waits before Envoy can know that it may send.
        self.waiting.add(receipt);
        response
    }

    /// Why Envoy may not be given this call although it is allowed: what the gateway would do with the answer, Envoy does not.
    fn lacks(&self, receipt: &Receipt, upstream: &str) -> Option<String> {
        let call = receipt.call();
        if !self.upstreams.iter().any(|named| named == upstream) {
            return Some(format!(
                "`{upstream}` is not among the `upstreams` of `[ext_authz]`; call it through the gateway"
            ));
        }
        if call.view.is_some() {
            return Some("the grant sees a part of this action's answers only; call it through the gateway".to_owned());
        }
        if call.exchange.is_some() || call.asking.is_some() {
            return Some("the answers of this API must be read; call it through the gateway".to_owned());
        }
        if receipt.ends_when_withdrawn() {
            let why = "a withdrawal must cut this action (`abort_on_revoke`); call it through the gateway";
            return Some(why.to_owned());
        }
        (!self.waiting.has_place()).then(|| "too many calls wait for Envoy's access log; try again later".to_owned())
    }
}

impl Service<Recorded> for Handover {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut TaskContext<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, Recorded { receipt, outgoing }: Recorded) -> Self::Future {
        let step = self.clone();
        Box::pin(async move { Ok(step.hand_over(receipt, outgoing).await) })
    }
}

/// The headers that the API must get otherwise than the agent sent them.
fn changed(agent: &HeaderMap, wanted: &HeaderMap) -> HeaderMap {
    let mut set = HeaderMap::new();
    for name in wanted.keys().filter(|name| !FORWARDERS.contains(name)) {
        if !wanted.get_all(name).iter().eq(agent.get_all(name)) {
            for value in wanted.get_all(name) {
                set.append(name.clone(), value.clone());
            }
        }
    }
    set
}

/// The headers that the API must not get. What Envoy says itself stays, but for what it would do at the agent's word (`x-envoy-…`).
fn gone(agent: &HeaderMap, wanted: &HeaderMap) -> Vec<HeaderName> {
    let stays = |name: &HeaderName| wanted.contains_key(name) && !FORWARDERS.contains(name);
    agent.keys().filter(|name| !stays(name) && !ENVOYS.contains(name)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &str)| (HeaderName::from_static(name), value.parse().unwrap());
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn what_the_api_gets_is_what_was_judged_and_nothing_else_of_the_agents() {
        let agent = headers(&[
            ("accept", "a"),
            ("accept", "b"),
            ("authorization", "Bearer agent"),
            ("cookie", "c"),
            ("forwarded", "for=evil"),
            ("x-envoy-max-retries", "9"),
            ("x-forwarded-for", "10.0.0.1"),
            ("x-request-id", "1"),
            ("content-length", "3"),
            ("via", "1.0 agent"),
        ]);
        let wanted = headers(&[
            ("accept", "a"),
            ("accept", "b"),
            ("authorization", "Bearer api"),
            ("accept-encoding", "identity"),
            ("forwarded", "for=127.0.0.1"),
            ("via", "1.0 agent, 1.1 countersign"),
        ]);
        let set = changed(&agent, &wanted);
        assert_eq!(set, headers(&[("authorization", "Bearer api"), ("accept-encoding", "identity")]));
        let gone: Vec<String> = gone(&agent, &wanted).iter().map(ToString::to_string).collect();
        assert_eq!(gone, ["cookie", "forwarded", "x-envoy-max-retries", "via"]);
    }
}

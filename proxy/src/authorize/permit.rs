//! Leave to forward one request, and that request as it was judged.

use bytes::Bytes;
use countersign_authorize::{
    Refusal, catalogue, mcp, model, request,
    verdict::{Judgement, Verdict},
};
use http::{HeaderMap, HeaderName, Method, header, request::Parts};

use super::{Call, IDEMPOTENCY_KEY};
use crate::{inward::Inward, model::is_model, server::Arrival};

/// Leave to forward exactly one request. Only this module can make one.
pub struct Permit {
    outgoing: Outgoing,
    shadow: bool,
}

impl Permit {
    /// Whether the verdict was against it and only recorded.
    pub const fn is_shadow(&self) -> bool {
        self.shadow
    }

    /// What may be sent. Consumes the permit: one permit, one call.
    pub fn into_outgoing(self) -> Outgoing {
        self.outgoing
    }
}

/// The request as it was judged, and nothing else.
pub struct Outgoing {
    /// The method.
    pub method: Method,
    /// Path and query, canonical.
    pub target: String,
    /// The agent's headers; `forward` picks those that pass.
    pub headers: HeaderMap,
    /// Headers that the action declares.
    pub declared: Vec<HeaderName>,
    /// The body.
    pub body: Arrived,
    /// How it came.
    pub arrival: Arrival,
    /// The host that the agent named.
    pub host: Option<String>,
    /// Whether it does the same when it is sent twice: by its method, or because the API knows it by its `Idempotency-Key`.
    pub idempotent: bool,
}

impl Outgoing {
    /// The same once more, where its body is at hand.
    pub fn copy(&self) -> Option<Outgoing> {
        let body = match &self.body {
            Arrived::Empty => Arrived::Empty,
            Arrived::Whole(bytes) => Arrived::Whole(bytes.clone()),
            Arrived::Stream(_) => return None,
        };
        Some(Outgoing {
            method: self.method.clone(),
            target: self.target.clone(),
            headers: self.headers.clone(),
            declared: self.declared.clone(),
            body,
            arrival: self.arrival.clone(),
            host: self.host.clone(),
            idempotent: self.idempotent,
        })
    }
}

/// A body, as far as it was read.
pub enum Arrived {
    /// None.
    Empty,
    /// Read whole and judged: exactly these bytes are sent.
    Whole(Bytes),
    /// Not read; streams through.
    Stream(Inward),
}

/// The one place where a permit is made.
pub(super) fn permit(
    call: &Call,
    judgement: &Judgement,
    parts: Parts,
    normal: Result<request::Request, Refusal>,
    arrived: Result<Arrived, Refusal>,
    arrival: Arrival,
) -> Option<Permit> {
    let upstream = call.upstream.as_ref()?;
    let shadow = judgement.verdict != Verdict::Allow;
    // INVARIANT: what has two readings is not forwarded in shadow mode either: nobody could say what was sent.
    let (request, body) = (normal.ok()?, arrived.ok()?);
    let routed = || call.rules.catalogue(request.upstream())?.routed(&request);
    if shadow && !upstream.settings.shadow && !routed().is_some_and(|action| action.shadow) {
        return None;
    }
    let action = judgement.action.as_deref();
    let action = action.and_then(|action| call.rules.catalogue(request.upstream())?.action(action));
    let keyed = parts.headers.contains_key(IDEMPOTENCY_KEY) && action.is_some_and(|action| action.idempotency_key);
    let declared = action.into_iter().flat_map(|action| &action.arguments);
    let declared = declared.filter(|(_, argument)| argument.place == catalogue::Place::Header);
    let declared = declared.filter_map(|(name, argument)| argument.key(name).parse().ok());
    let transport = if call.exchange.is_some() { &mcp::HEADERS[..] } else { &[] };
    let of_model = call.rules.catalogue(request.upstream()).is_some_and(|catalogue| is_model(catalogue));
    let clients = parts.headers.keys().filter(|name| of_model && model::passes(name.as_str())).cloned();
    let declared = declared.chain(transport.iter().map(|name| HeaderName::from_static(name))).chain(clients).collect();
    let host = parts.headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let host = host.or_else(|| parts.uri.authority().map(http::uri::Authority::as_str)).map(str::to_owned);
    let outgoing = Outgoing {
        // RFC 9110 §9.2.2. A message of MCP says nothing of the kind.
        idempotent: call.exchange.is_none() && (parts.method.is_idempotent() || keyed),
        method: parts.method,
        // An MCP server has one address, which is in the settings.
        target: if call.exchange.is_some() { String::new() } else { request.target().to_owned() },
        headers: parts.headers,
        declared,
        body,
        arrival,
        host,
    };
    Some(Permit { outgoing, shadow })
}

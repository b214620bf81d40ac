//! Who calls, under which grant, to which API. Reads the head only.

use std::sync::Arc;

use countersign_authorize::Refusal;
use countersign_ledger::Hash;
use http::{HeaderMap, HeaderName, Request, Response, Uri, Version, header, uri::PathAndQuery};

use crate::{
    Body,
    inward::Inward,
    model::is_model,
    record::stranger,
    server::Arrival,
    stack::{Context, Step},
    state::{Live, StateError},
    token::TokenError,
    upstream::Upstream,
};

/// The header by which an agent names the decision that a call follows from: the hash of the decision's entry.
pub const DECISION: HeaderName = HeaderName::from_static("countersign-decision");

/// The W3C trace context.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// What vendors add to it.
pub const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// The header in which Anthropic's clients send their key.
const API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// A request of somebody with a grant.
pub struct Identified {
    /// The call's id.
    pub call: String,
    /// The instruction.
    pub live: Arc<Live>,
    /// The grant the token names.
    pub grant: String,
    /// The agent the token names.
    pub agent: String,
    /// What it showed: `bearer`, or `bearer+mtls` where a client certificate stands beside the token.
    pub credential: &'static str,
    /// The API, and path and query behind its prefix; none when the path names no API.
    pub destination: Option<(Arc<Upstream>, Uri)>,
    /// The decision that the agent names: a hash, or a text that is none.
    pub decision: Option<Result<Hash, String>>,
    /// The trace context, if it is one.
    pub traceparent: Option<String>,
    /// How it came.
    pub arrival: Arrival,
    /// The request itself.
    pub request: Request<Inward>,
}

/// The step.
#[derive(Clone)]
pub struct Identify {
    context: Arc<Context>,
    arrival: Arrival,
}

impl Identify {
    /// The step for one connection.
    pub const fn new(context: Arc<Context>, arrival: Arrival) -> Identify {
        Identify { context, arrival }
    }

    /// The instruction behind the token: its grant must be the token's.
    fn who(&self, headers: &HeaderMap, of_model: bool) -> Result<(Arc<Live>, String, String), Refusal> {
        let refuse = |code, message: &str| Refusal { code, message: message.to_owned() };
        let given = if of_model { bearer_or_key(headers)? } else { bearer(headers)? };
        let Some(token) = given else {
            let message = "send `Authorization: Bearer …` with the token that came with the instruction";
            return Err(refuse("token-missing", message));
        };
        let gateway = &self.context.gateway;
        let claims = gateway.tokens.verify(token, gateway.now()).map_err(|error| match error {
            TokenError::Expired => refuse("token-expired", "the grant is over; ask the host application for a new one"),
            _ => refuse("token-invalid", "the token is not one of this gateway"),
        })?;
        let live = gateway.live(&claims.instruction).map_err(|error| match error {
            StateError::NoInstruction(_) => {
                refuse("token-invalid", "the token's instruction is not known, or was erased")
            }
            _ => refuse("not-recorded", "the ledger cannot be read; try again later"),
        })?;
        let same = live.lock().state(&claims.jti).is_some_and(|state| state.grant.agent == claims.agent());
        if !same {
            return Err(refuse("token-invalid", "the token is not one of this gateway"));
        }
        self.holds(claims.agent())?;
        Ok((live, claims.jti.clone(), claims.agent().to_owned()))
    }
}

impl Identify {
    /// Whether the agent had to show a certificate. Another proxy that asks agents for theirs tells the name in it.
    fn shows_certificates(&self) -> bool {
        match self.arrival.via {
            Some(_) => self.arrival.client.is_some(),
            None => self.context.shows_certificates,
        }
    }

    /// Where clients show certificates, a token is good only with the certificate of the agent that it names: stolen, it opens nothing.
    fn holds(&self, agent: &str) -> Result<(), Refusal> {
        if !self.shows_certificates() {
            return Ok(());
        }
        let wanted = self.context.agents.get(agent).map_or(agent, String::as_str);
        match self.arrival.client.as_deref() {
            Some(client) if client == wanted => Ok(()),
            client => Err(Refusal {
                code: "certificate-of-other",
                message: format!(
                    "the token is for `{wanted}`, the client certificate names {}",
                    client.map_or_else(|| "no SPIFFE id".to_owned(), |client| format!("`{client}`"))
                ),
            }),
        }
    }
}

impl Step<Request<Inward>> for Identify {
    type Out = Identified;

    async fn step(&self, mut request: Request<Inward>) -> Result<Identified, Response<Body>> {
        let destination = destination(&self.context.upstreams.all(), &request);
        let rules = self.context.gateway.rules();
        let catalogue = destination.as_ref().and_then(|(to, _)| rules.catalogue(&to.settings.name));
        let who = self.who(request.headers(), catalogue.is_some_and(|catalogue| is_model(catalogue)));
        let (live, grant, agent) = match who {
            Ok(who) => who,
            Err(refusal) => return Err(stranger::refuse(&self.context, &request, self.arrival.via, &refusal).await),
        };
        let headers = request.headers();
        let decision = single(headers, &DECISION).map(|text| text.parse().map_err(|_| text.chars().take(80).collect()));
        let traceparent = single(headers, &TRACEPARENT).filter(|text| is_traceparent(text)).map(str::to_owned);
        if traceparent.is_none() {
            // W3C Trace Context §3.2.2.3: what is no trace context is not passed on, and its state neither.
            request.headers_mut().remove(TRACEPARENT);
            request.headers_mut().remove(TRACESTATE);
        }
        Ok(Identified {
            call: uuid::Uuid::now_v7().to_string(),
            live,
            grant,
            agent,
            credential: if self.shows_certificates() { "bearer+mtls" } else { "bearer" },
            destination,
            decision,
            traceparent,
            arrival: self.arrival.clone(),
            request,
        })
    }
}

/// The bearer token; more than one `Authorization` could be read in two ways.
fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Refusal> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next();
    if values.next().is_some() {
        return Err(Refusal {
            code: "token-invalid",
            message: "there is more than one Authorization header".to_owned(),
        });
    }
    let text = value.and_then(|value| value.to_str().ok());
    let token = text.and_then(|text| text.split_once(' ')).filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    Ok(token.map(|(_, token)| token.trim()).filter(|token| !token.is_empty()))
}

/// Of a model's endpoint: the token where the provider's own client puts a key. Two that differ could be read in two ways.
fn bearer_or_key(headers: &HeaderMap) -> Result<Option<&str>, Refusal> {
    let refuse = |message: &str| Refusal { code: "token-invalid", message: message.to_owned() };
    let mut keys = headers.get_all(&API_KEY).iter();
    let key = keys.next().and_then(|key| key.to_str().ok()).map(str::trim).filter(|key| !key.is_empty());
    if keys.next().is_some() {
        return Err(refuse("there is more than one x-api-key header"));
    }
    match (bearer(headers)?, key) {
        (Some(token), Some(key)) if token != key => Err(refuse("Authorization and x-api-key are two different tokens")),
        (token, key) => Ok(token.or(key)),
    }
}

fn single<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())?.to_str().ok()
}

/// The API whose prefix the path has, longest first, and what follows the prefix.
fn destination<B>(upstreams: &[Arc<Upstream>], request: &Request<B>) -> Option<(Arc<Upstream>, Uri)> {
    let uri = request.uri();
    // HTTP/2 always names scheme and authority; in HTTP/1.1 that asks for a forward proxy, and is left in for the normalisation to refuse.
    let rest_of = |prefix: &str| {
        let path = uri.path().strip_prefix(prefix)?;
        (path.starts_with('/') || path.is_empty()).then_some(path)
    };
    let found = upstreams.iter().filter_map(|upstream| Some((upstream, rest_of(&upstream.settings.prefix)?)));
    let (upstream, path) = found.max_by_key(|(upstream, _)| upstream.settings.prefix.len())?;
    if request.version() < Version::HTTP_2 && uri.authority().is_some() {
        return Some((upstream.clone(), uri.clone()));
    }
    let path = if path.is_empty() { "/" } else { path };
    let target = match uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    Some((upstream.clone(), Uri::from(target.parse::<PathAndQuery>().ok()?)))
}

/// Whether a text is a trace context of version 00 (W3C Trace Context §3.2); any other is dropped, as §3.2.2.3 asks.
fn is_traceparent(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let [version, trace, parent, flags] = parts.as_slice() else { return false };
    let hex = |part: &str, len: usize| {
        part.len() == len && part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    let some = |part: &str| part.bytes().any(|byte| byte != b'0');
    *version == "00" && hex(trace, 32) && some(trace) && hex(parent, 16) && some(parent) && hex(flags, 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_trace_context_is_one() {
        assert!(is_traceparent("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"));
        for text in [
            "",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x",
        ] {
            assert!(!is_traceparent(text), "{text}");
        }
    }

    #[test]
    fn a_models_client_may_send_the_token_as_its_key() {
        let mut headers = HeaderMap::new();
        assert_eq!(bearer_or_key(&headers).unwrap(), None);
        headers.insert(API_KEY, "abc".parse().unwrap());
        assert_eq!((bearer_or_key(&headers).unwrap(), bearer(&headers).unwrap()), (Some("abc"), None));
        headers.insert(header::AUTHORIZATION, "Bearer abc".parse().unwrap());
        assert_eq!(bearer_or_key(&headers).unwrap(), Some("abc"));
        headers.insert(header::AUTHORIZATION, "Bearer def".parse().unwrap());
        assert!(bearer_or_key(&headers).is_err());
        headers.remove(header::AUTHORIZATION);
        headers.append(API_KEY, "abc".parse().unwrap());
        assert!(bearer_or_key(&headers).is_err());
    }

    #[test]
    fn a_bearer_token_stands_alone() {
        let mut headers = HeaderMap::new();
        assert_eq!(bearer(&headers).unwrap(), None);
        headers.insert(header::AUTHORIZATION, "Basic abc".parse().unwrap());
        assert_eq!(bearer(&headers).unwrap(), None);
        headers.insert(header::AUTHORIZATION, "bearer abc".parse().unwrap());
        assert_eq!(bearer(&headers).unwrap(), Some("abc"));
        headers.append(header::AUTHORIZATION, "Bearer def".parse().unwrap());
        assert!(bearer(&headers).is_err());
    }
}

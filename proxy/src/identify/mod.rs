//! Who calls, under which grant, to which API. Reads the head only.

mod issuer;
mod proof;

use std::sync::Arc;

use countersign_authorize::Refusal;
use countersign_ledger::Hash;
use http::{
    HeaderMap, HeaderName, HeaderValue, Request, Response, Uri, Version, header, request::Parts, uri::PathAndQuery,
};
use zeroize::Zeroizing;

pub use self::issuer::{GRANT, Issuers, KeyList, agent_of};
use self::proof::Purpose;
pub use self::proof::{DPOP, DPOP_NONCE, Proof, Proofs};
use crate::{
    Body,
    inward::Inward,
    limit::Place,
    model::is_model,
    observe::Seen,
    record::stranger::{self, Refused},
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
const SECRET: &str = "this is a role's secret, which opens the API's listener only; an agent sends the `token` that came with the instruction";

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
    /// What it showed.
    pub shown: Shown,
    /// The API, and path and query behind its prefix; none when the path names no API.
    pub destination: Option<(Arc<Upstream>, Uri)>,
    /// The decision that the agent names: a hash, or a text that is none.
    pub decision: Option<Result<Hash, String>>,
    /// The trace context, if it is one.
    pub traceparent: Option<String>,
    /// How it is seen.
    pub seen: Seen,
    /// How it came.
    pub arrival: Arrival,
    /// The request itself.
    pub request: Request<Inward>,
}

/// What an agent showed to be let in.
pub struct Shown {
    /// Its kind: `bearer` or `dpop`, with `+mtls` where a client certificate stands beside the token.
    pub credential: &'static str,
    /// The outside issuer of the token, where it is not the gateway's own.
    pub issuer: Option<String>,
    /// That token itself: an API's token may be exchanged for it. Never recorded.
    pub(crate) token: Option<Zeroizing<String>>,
    /// The proof that it holds the key that the grant is bound to.
    pub proof: Option<Proof>,
    /// Its places among the calls under way, until its record is closed.
    pub places: Vec<Place>,
}

/// Who is behind a token.
struct Who {
    live: Arc<Live>,
    grant: String,
    agent: String,
    /// The outside issuer of the token, and the token.
    outside: Option<(String, Zeroizing<String>)>,
    proof: Option<Proof>,
}

/// As what a token was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scheme {
    /// RFC 6750.
    Bearer,
    /// RFC 9449 §7.1.
    Dpop,
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
    async fn who(&self, request: &Parts, of_model: bool) -> Result<Who, Refusal> {
        let (headers, refuse) = (&request.headers, |code, message: &str| Refusal { code, message: message.to_owned() });
        let given = if of_model { token_or_key(headers)? } else { token(headers)? };
        let Some((scheme, token)) = given else {
            let message = "send `Authorization: Bearer …` with the token that came with the instruction";
            return Err(refuse("token-missing", message));
        };
        if let Some(issuer) = self.context.issuers.of(token) {
            return self.outside(&issuer, request, scheme, token).await;
        }
        let gateway = &self.context.gateway;
        let claims = gateway.tokens.verify(token, gateway.now()).map_err(|error| match error {
            TokenError::Expired => refuse("token-expired", "the grant is over; ask the host application for a new one"),
            _ if token.starts_with("csk_") => refuse("token-invalid", SECRET),
            _ => refuse("token-invalid", "the token is not one of this gateway"),
        })?;
        let live = gateway.live(&claims.instruction).map_err(|error| match error {
            StateError::NoInstruction(_) => {
                refuse("token-invalid", "the token's instruction is not known, or was erased")
            }
            _ => refuse("not-recorded", "the ledger cannot be read; try again later"),
        })?;
        let key = live.lock().state(&claims.jti).and_then(|state| {
            let same = state.grant.agent == claims.agent();
            same.then(|| state.grant.key.clone())
        });
        let Some(key) = key else {
            return Err(refuse("token-invalid", "the token is not one of this gateway"));
        };
        self.holds(claims.agent())?;
        let proof = self.proves(request, scheme, token, key.as_deref())?;
        Ok(Who { live, grant: claims.jti.clone(), agent: claims.agent().to_owned(), outside: None, proof })
    }

    /// A token that is bound to a key is good only with a proof of it, and only as `DPoP` (RFC 9449 §7.2).
    fn proves(
        &self,
        request: &Parts,
        scheme: Scheme,
        token: &str,
        key: Option<&str>,
    ) -> Result<Option<Proof>, Refusal> {
        let refuse = |code, message: &str| Refusal { code, message: message.to_owned() };
        let proofs = &self.context.proofs;
        match (key, scheme) {
            (None, Scheme::Bearer) if !proofs.required() => Ok(None),
            (None, _) => Err(refuse(
                "token-not-bound",
                "the token is bound to no key; ask the host application for a grant with the agent's `key`",
            )),
            (Some(_), Scheme::Bearer) => Err(refuse(
                "proof-missing",
                "the token is bound to a key: send it as `Authorization: DPoP …` with a proof in the header `DPoP`",
            )),
            (Some(key), Scheme::Dpop) => {
                let (method, uri, headers) = (&request.method, &request.uri, &request.headers);
                let purpose = Purpose { method, uri, headers, secure: self.arrival.secure, token };
                proofs.check(&purpose, key, self.context.gateway.now()).map(Some)
            }
        }
    }

    /// What kind of credential that is, in the record.
    fn credential(&self, outside: bool, proof: bool) -> &'static str {
        match (outside, proof, self.shows_certificates()) {
            (false, false, false) => "bearer",
            (false, false, true) => "bearer+mtls",
            (false, true, false) => "dpop",
            (false, true, true) => "dpop+mtls",
            (true, false, false) => "oauth+bearer",
            (true, false, true) => "oauth+bearer+mtls",
            (true, true, false) => "oauth+dpop",
            (true, true, true) => "oauth+dpop+mtls",
        }
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
        let seen: Seen = request.extensions_mut().remove().unwrap_or_default();
        let destination = destination(&self.context.upstreams.all(), &request);
        let rules = self.context.gateway.rules();
        let catalogue = destination.as_ref().and_then(|(to, _)| rules.catalogue(&to.settings.name));
        let (head, body) = request.into_parts();
        let who = self.who(&head, catalogue.is_some_and(|catalogue| is_model(catalogue))).await;
        let mut request = Request::from_parts(head, body);
        let Who { live, grant, agent, outside, proof } = match who {
            Ok(who) => who,
            Err(refusal) => {
                let refused = Refused::unknown(&refusal);
                let mut answer = stranger::refuse(&self.context, &seen, &request, self.arrival.via, &refused).await;
                if refusal.code == "proof-nonce" {
                    // RFC 9449 §8.
                    let nonce = self.context.proofs.nonce(self.context.gateway.now());
                    answer.headers_mut().extend(HeaderValue::from_str(&nonce).ok().map(|nonce| (DPOP_NONCE, nonce)));
                }
                return Err(answer);
            }
        };
        let (issuer, token) = outside.unzip();
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
            shown: Shown {
                credential: self.credential(issuer.is_some(), proof.is_some()),
                issuer,
                token,
                proof,
                places: Vec::new(),
            },
            destination,
            decision,
            // Where the agent has no trace, the call's own span begins one.
            traceparent: traceparent.or_else(|| seen.traceparent()),
            seen,
            arrival: self.arrival.clone(),
            request,
        })
    }
}

/// The token, and as what it was sent; more than one `Authorization` could be read in two ways.
fn token(headers: &HeaderMap) -> Result<Option<(Scheme, &str)>, Refusal> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next();
    if values.next().is_some() {
        return Err(Refusal {
            code: "token-invalid",
            message: "there is more than one Authorization header".to_owned(),
        });
    }
    let text = value.and_then(|value| value.to_str().ok());
    let Some((scheme, token)) = text.and_then(|text| text.split_once(' ')) else { return Ok(None) };
    let known = [("bearer", Scheme::Bearer), ("dpop", Scheme::Dpop)];
    let known = known.into_iter().find(|(name, _)| scheme.eq_ignore_ascii_case(name));
    Ok(known.map(|(_, scheme)| (scheme, token.trim())).filter(|(_, token)| !token.is_empty()))
}

/// Of a model's endpoint: the token where the provider's own client puts a key. Two that differ could be read in two ways.
fn token_or_key(headers: &HeaderMap) -> Result<Option<(Scheme, &str)>, Refusal> {
    let refuse = |message: &str| Refusal { code: "token-invalid", message: message.to_owned() };
    let mut keys = headers.get_all(&API_KEY).iter();
    let key = keys.next().and_then(|key| key.to_str().ok()).map(str::trim).filter(|key| !key.is_empty());
    if keys.next().is_some() {
        return Err(refuse("there is more than one x-api-key header"));
    }
    match (token(headers)?, key) {
        (Some((_, token)), Some(key)) if token != key => {
            Err(refuse("Authorization and x-api-key are two different tokens"))
        }
        (token, key) => Ok(token.or_else(|| key.map(|key| (Scheme::Bearer, key)))),
    }
}

pub(crate) fn single<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
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
pub(crate) fn is_traceparent(text: &str) -> bool {
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
        let abc = Some((Scheme::Bearer, "abc"));
        assert_eq!(token_or_key(&headers).unwrap(), None);
        headers.insert(API_KEY, "abc".parse().unwrap());
        assert_eq!((token_or_key(&headers).unwrap(), token(&headers).unwrap()), (abc, None));
        headers.insert(header::AUTHORIZATION, "Bearer abc".parse().unwrap());
        assert_eq!(token_or_key(&headers).unwrap(), abc);
        headers.insert(header::AUTHORIZATION, "Bearer def".parse().unwrap());
        assert!(token_or_key(&headers).is_err());
        headers.remove(header::AUTHORIZATION);
        headers.append(API_KEY, "abc".parse().unwrap());
        assert!(token_or_key(&headers).is_err());
    }

    #[test]
    fn a_token_stands_alone() {
        let mut headers = HeaderMap::new();
        assert_eq!(token(&headers).unwrap(), None);
        headers.insert(header::AUTHORIZATION, "Basic abc".parse().unwrap());
        assert_eq!(token(&headers).unwrap(), None);
        headers.insert(header::AUTHORIZATION, "bearer abc".parse().unwrap());
        assert_eq!(token(&headers).unwrap(), Some((Scheme::Bearer, "abc")));
        headers.insert(header::AUTHORIZATION, "DPoP abc".parse().unwrap());
        assert_eq!(token(&headers).unwrap(), Some((Scheme::Dpop, "abc")));
        headers.append(header::AUTHORIZATION, "Bearer def".parse().unwrap());
        assert!(token(&headers).is_err());
    }
}

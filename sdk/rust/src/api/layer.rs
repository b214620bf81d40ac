//! The layer: who calls, then the handler, then the receipt.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use countersign_ledger::{Hash, statement::Jwk};
use countersign_receipt::{
    Asked, Signer, directory, names,
    receipt::{self, Answered, Content},
    request::{self, CallerError},
};
use ed25519_dalek::SigningKey;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use serde_json::json;
use tower::{BoxError, Layer, Service, ServiceExt as _};

use super::{
    Caller, Facts,
    body::{Body, Read, Reading, Streaming},
    keys::GatewayKeys,
    seen::Seen,
    store::{Memory, Store},
};

/// Up to how many bytes an answer of known length is read before it is sent, so that its receipt stands in its head.
const BUFFERED_BYTES: u64 = 1 << 20;

/// Gives each call of a gateway a receipt.
#[derive(Clone)]
pub struct ReceiptLayer(Arc<Api>);

struct Api {
    signer: Signer,
    listed: Vec<Jwk>,
    gateways: GatewayKeys,
    required: bool,
    store: Arc<dyn Store>,
    seen: Seen,
}

impl ReceiptLayer {
    /// Signs receipts with `key`, for calls that one of these gateways signed.
    pub fn new(key: SigningKey, gateways: GatewayKeys) -> ReceiptLayer {
        let signer = Signer::new(key);
        let listed = vec![signer.jwk().clone()];
        let (store, seen) = (Arc::new(Memory::default()), Seen::default());
        ReceiptLayer(Arc::new(Api { signer, listed, gateways, required: false, store, seen }))
    }

    fn with(self, change: impl FnOnce(&mut Api)) -> ReceiptLayer {
        let mut api = match Arc::try_unwrap(self.0) {
            Ok(api) => api,
            // A layer that is in use stays as it is.
            Err(shared) => return ReceiptLayer(shared),
        };
        change(&mut api);
        ReceiptLayer(Arc::new(api))
    }

    /// Refuses whoever does not come through a gateway that is trusted.
    #[must_use]
    pub fn required(self) -> ReceiptLayer {
        self.with(|api| api.required = true)
    }

    /// Keeps receipts elsewhere than in memory.
    #[must_use]
    pub fn keeping(self, store: Arc<dyn Store>) -> ReceiptLayer {
        self.with(|api| api.store = store)
    }

    /// Takes a signed request for so long after it was signed, instead of five minutes; a gateway's signature ends after five minutes in any case. Within this
    /// time each is taken once.
    #[must_use]
    pub fn within(self, window: Duration) -> ReceiptLayer {
        self.with(|api| api.seen = Seen::within(window))
    }

    /// Lists public keys beside the one that signs: those that signed before, and the next one.
    #[must_use]
    pub fn listing(self, keys: impl IntoIterator<Item = Jwk>) -> ReceiptLayer {
        self.with(|api| api.listed.extend(keys))
    }
}

impl std::fmt::Debug for ReceiptLayer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReceiptLayer").field("signer", &self.0.signer).finish_non_exhaustive()
    }
}

impl<S> Layer<S> for ReceiptLayer {
    type Service = ReceiptService<S>;

    fn layer(&self, inner: S) -> ReceiptService<S> {
        ReceiptService { api: self.0.clone(), inner }
    }
}

/// What [`ReceiptLayer`] makes of a service.
#[derive(Clone)]
pub struct ReceiptService<S> {
    api: Arc<Api>,
    inner: S,
}

impl<S: std::fmt::Debug> std::fmt::Debug for ReceiptService<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReceiptService").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl<S, B, R> Service<Request<B>> for ReceiptService<S>
where
    S: Service<Request<Body>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Send,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
    R: http_body::Body<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        // The one that is ready is used, its clone stays for the next call.
        let clone = self.inner.clone();
        let inner = std::mem::replace(&mut self.inner, clone);
        let api = self.api.clone();
        Box::pin(async move {
            if let Some(answer) = api.well_known(request.method(), request.uri().path()) {
                return Ok(answer);
            }
            let asked = Asked::new(request.method(), request.uri(), request.headers());
            match api.caller(&asked) {
                Err(why) => Ok(problem(StatusCode::UNAUTHORIZED, &why)),
                Ok(None) => {
                    let mut request = request.map(Body::new);
                    request.extensions_mut().insert(Caller::Other);
                    Ok(inner.oneshot(request).await?.map(Body::new))
                }
                Ok(Some(caller)) => api.executed(inner, request, asked, caller).await,
            }
        })
    }
}

impl Api {
    /// What the layer itself answers: receipts that were given, and its keys.
    fn well_known(&self, method: &Method, path: &str) -> Option<Response<Body>> {
        let (kind, text) = if let Some(name) = path.strip_prefix(receipt::WELL_KNOWN) {
            let found = name.parse().ok().and_then(|name: Hash| self.store.find(&name));
            match found {
                Some(receipt) => ("application/json", json!(receipt).to_string()),
                None => return Some(problem(StatusCode::NOT_FOUND, "there is no such receipt, or not yet")),
            }
        } else if path == directory::WELL_KNOWN {
            (directory::MEDIA_TYPE, directory::list(&self.listed).to_string())
        } else {
            return None;
        };
        if method != Method::GET {
            return Some(problem(StatusCode::METHOD_NOT_ALLOWED, "only GET"));
        }
        Some(answer(StatusCode::OK, kind, text))
    }

    /// Who calls: a gateway, or somebody else; or why nobody is believed.
    fn caller(&self, asked: &Asked) -> Result<Option<request::Caller>, String> {
        let now = jiff::Timestamp::now().as_second();
        match request::caller(asked, now, |keyid| self.gateways.find(keyid)) {
            Ok(None) if self.required => Err("calls must come through a gateway that signs them".to_owned()),
            // Other programs sign too; that is no reason to send them away.
            Err(CallerError::UnknownKey(_) | CallerError::Unsigned(_) | CallerError::Signature(_))
                if !self.required =>
            {
                Ok(None)
            }
            found => {
                let found = found.map_err(|error| error.to_string())?;
                found.as_ref().map_or(Ok(()), |caller| self.is_new(caller, now))?;
                Ok(found)
            }
        }
    }

    /// A signed request is taken once. The receipts that were given are asked too: a store that others share, or that outlives the process, knows of more
    /// than this process does.
    fn is_new(&self, caller: &request::Caller, now: i64) -> Result<(), String> {
        self.seen.take(caller, self.store.since(), now).map_err(|error| error.to_string())?;
        match self.store.find(&caller.signature_sha256) {
            Some(_) => {
                Err("this signed request was answered before: whoever sends it again must sign it anew".to_owned())
            }
            None => Ok(()),
        }
    }

    /// Runs the handler in a task of its own: when the gateway does not wait for it any longer, it ends all the same, and its receipt can be fetched.
    async fn executed<S, B, R>(
        self: Arc<Self>,
        inner: S,
        request: Request<B>,
        asked: Asked,
        caller: request::Caller,
    ) -> Result<Response<Body>, S::Error>
    where
        S: Service<Request<Body>, Response = Response<R>> + Send + 'static,
        S::Future: Send,
        S::Error: Send,
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
        R: http_body::Body<Data = Bytes> + Send + 'static,
        R::Error: Into<BoxError>,
    {
        let (facts, read) = (Facts::default(), Read::default());
        let answering = Answering {
            names: [caller.signature_sha256, caller.entry],
            asked,
            status: StatusCode::OK,
            facts: facts.clone(),
            read: read.clone(),
            api: self,
        };
        let mut request = request.map(|body| Body::new(Reading::new(body, caller.content, read)));
        request.extensions_mut().insert(Caller::Agent(Arc::new(caller)));
        request.extensions_mut().insert(facts);
        let executed = tokio::spawn(async move { Ok(answering.answer(inner.oneshot(request).await?).await) });
        match executed.await {
            Ok(answer) => answer,
            Err(failed) => match failed.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => Ok(problem(StatusCode::SERVICE_UNAVAILABLE, "the server is ending")),
            },
        }
    }
}

/// A call that is being answered.
pub(super) struct Answering {
    api: Arc<Api>,
    asked: Asked,
    names: [Hash; 2],
    status: StatusCode,
    facts: Facts,
    read: Read,
}

impl Answering {
    /// The answer with its receipt: in its head when it is short and its length known, else in its trailers.
    async fn answer<R>(mut self, response: Response<R>) -> Response<Body>
    where
        R: http_body::Body<Data = Bytes> + Send + 'static,
        R::Error: Into<BoxError>,
    {
        let (mut parts, body) = response.into_parts();
        self.status = parts.status;
        if body.size_hint().exact().is_none_or(|bytes| bytes > BUFFERED_BYTES) {
            // With a length announced, HTTP/1.1 has no trailers.
            parts.headers.remove(header::CONTENT_LENGTH);
            let named = [names::CONTENT_DIGEST, names::EXECUTION, names::SIGNATURE_INPUT, names::SIGNATURE];
            let named = named.iter().map(HeaderName::as_str).collect::<Vec<_>>().join(", ");
            parts.headers.extend(HeaderValue::from_str(&named).ok().map(|named| (header::TRAILER, named)));
            return Response::from_parts(parts, Body::new(Streaming::new(body, self)));
        }
        let whole = match body.collect().await {
            Ok(collected) => collected.to_bytes(),
            Err(error) => {
                self.facts.say(|said| said.exception = Some("body".to_owned()));
                self.sign(&mut HeaderMap::new(), None, false);
                let error: BoxError = error.into();
                let broken = Full::new(Bytes::new())
                    .map_err(|never| match never {})
                    .with_trailers(async { Some(Err::<HeaderMap, BoxError>(error)) });
                return Response::from_parts(parts, Body::new(broken));
            }
        };
        let silent = self.asked.method == Method::HEAD
            || matches!(parts.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        let digest = Hash::of(&whole);
        self.sign(&mut parts.headers, (!silent).then_some(digest.as_bytes()), false);
        Response::from_parts(parts, Body::new(Full::new(whole)))
    }

    /// Signs the receipt into `fields` and keeps it.
    pub(super) fn sign(self, fields: &mut HeaderMap, digest: Option<&[u8]>, in_trailers: bool) {
        let mut execution = self.facts.said();
        execution.request_sha256 = *self.read.lock();
        let answered = Answered {
            status: self.status.as_u16(),
            content: digest.map_or(Content::Unsaid, Content::Whole),
            execution: &execution,
            in_trailers,
        };
        let now = jiff::Timestamp::now().as_second();
        // It fails only for values that no field can carry, which `Execution` does not let through: then there is no receipt, and the gateway says so.
        if let Ok(signature) = receipt::sign(&self.asked, &answered, fields, now, &self.api.signer) {
            self.api.store.keep(self.names, &signature.text);
        }
    }
}

fn answer(status: StatusCode, kind: &'static str, text: String) -> Response<Body> {
    let mut response = Response::new(Body::new(Full::new(Bytes::from(text))));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

fn problem(status: StatusCode, detail: &str) -> Response<Body> {
    let title = status.canonical_reason().unwrap_or_default();
    let problem = json!({ "type": "about:blank", "title": title, "status": status.as_u16(), "detail": detail });
    answer(status, "application/problem+json", problem.to_string())
}

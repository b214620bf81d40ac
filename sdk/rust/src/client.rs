//! One HTTP client for all roles.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use countersign_ledger::possession::{Claims, Possession, of_token};
use ed25519_dalek::SigningKey;
use http::{HeaderMap, Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client as Pool, connect::HttpConnector},
    rt::TokioExecutor,
};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use crate::proofs::KeepError;

const TIMEOUT: Duration = Duration::from_secs(60);
const MAX_ANSWER_BYTES: usize = 64 << 20;

/// A problem document (RFC 9457) of the gateway.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Problem {
    /// The type's URI; its last part is a stable code.
    #[serde(rename = "type")]
    pub kind: String,
    /// The problem in general.
    #[serde(default)]
    pub title: String,
    /// The HTTP status.
    #[serde(default)]
    pub status: u16,
    /// What is wrong and what to do.
    #[serde(default)]
    pub detail: String,
    /// `reasons`, `allowed`, `grant`, `entry`, `poll`.
    #[serde(flatten)]
    pub members: Map<String, Value>,
}

impl Problem {
    /// The stable code.
    pub fn code(&self) -> &str {
        self.kind.rsplit('/').next().unwrap_or_default()
    }
}

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Not a URL.
    #[error("`{0}` is not a URL with `http://` or `https://` and a host")]
    Url(String),
    /// The gateway cannot be reached, or the answer broke off.
    #[error("`{0}` gave no answer: {1}")]
    Transport(String, String),
    /// The gateway refused.
    #[error("{}: {}", .0.title, .0.detail)]
    Refused(Box<Problem>),
    /// A token that is not exchanged: the error of RFC 6749 §5.2, and what is wrong.
    #[error("the token is not exchanged: {description} ({error})")]
    Exchange {
        /// The stable code, such as `invalid_authorization_details`.
        error: String,
        /// What is wrong.
        description: String,
    },
    /// An answer that is not what it should be.
    #[error("the answer is not as expected: {0}")]
    Answer(String),
    /// A proof that does not prove.
    #[error(transparent)]
    Proof(#[from] KeepError),
}

/// An answer that came through the gateway.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers; `countersign-entry` names the call's entry.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Answer {
    /// The body as JSON.
    ///
    /// # Errors
    /// [`Error::Answer`].
    pub fn json(&self) -> Result<Value, Error> {
        serde_json::from_slice(&self.body).map_err(|error| Error::Answer(error.to_string()))
    }

    /// The call's entry: 64 hexadecimal digits.
    pub fn entry(&self) -> Option<&str> {
        self.headers.get("countersign-entry")?.to_str().ok()
    }

    /// The problem document, if it is one of the gateway's.
    pub fn problem(&self) -> Option<Problem> {
        let kind = self.headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
        kind.starts_with("application/problem+json").then(|| serde_json::from_slice(&self.body).ok()).flatten()
    }
}

/// A client with a base URL and a bearer credential.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    base: String,
    bearer: Option<String>,
    /// What the token is bound to (RFC 9449); none where it is not.
    key: Option<SigningKey>,
    /// What the gateway wants in the next proof.
    nonce: Arc<Mutex<Option<String>>>,
    pool: Pool<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

impl Client {
    pub(crate) fn new(base: &str, bearer: &str) -> Result<Client, Error> {
        Client::open(base, Some(bearer.to_owned()))
    }

    fn open(base: &str, bearer: Option<String>) -> Result<Client, Error> {
        let url: Uri = base.parse().map_err(|_| Error::Url(base.to_owned()))?;
        if !matches!(url.scheme_str(), Some("http" | "https")) || url.authority().is_none() {
            return Err(Error::Url(base.to_owned()));
        }
        let connector = HttpsConnectorBuilder::new()
            .with_provider_and_webpki_roots(rustls::crypto::ring::default_provider())
            .map_err(|error| Error::Transport(base.to_owned(), error.to_string()))?
            .https_or_http()
            .enable_http1()
            .build();
        let pool = Pool::builder(TokioExecutor::new()).build(connector);
        let base = base.trim_end_matches('/').to_owned();
        Ok(Client { base, bearer, key: None, nonce: Arc::default(), pool })
    }

    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<Answer, Error> {
        let first = self.send_once(method, path, headers, body).await?;
        let nonce = first.headers.get("dpop-nonce").and_then(|nonce| nonce.to_str().ok());
        match nonce.filter(|_| self.key.is_some() && first.status == StatusCode::UNAUTHORIZED) {
            // RFC 9449 §8: nothing was done, and with the nonce it will be.
            Some(nonce) => {
                *self.nonce.lock().unwrap_or_else(PoisonError::into_inner) = Some(nonce.to_owned());
                self.send_once(method, path, headers, body).await
            }
            None => Ok(first),
        }
    }

    async fn send_once(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<Answer, Error> {
        let url = format!("{}{path}", self.base);
        let fail = |what: String| Error::Transport(url.clone(), what);
        let method = Method::from_bytes(method.as_bytes()).map_err(|error| fail(error.to_string()))?;
        let mut request = Request::builder().method(&method).uri(&url);
        if let Some(key) = &self.key {
            request = request.header("dpop", self.proof(&method, &url, key)?);
            request = request.header(header::AUTHORIZATION, format!("DPoP {}", self.bearer()));
        } else if let Some(bearer) = &self.bearer {
            request = request.header(header::AUTHORIZATION, format!("Bearer {bearer}"));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let body = Full::new(body.map(|body| Bytes::from(body.to_string())).unwrap_or_default());
        self.round(&url, request.body(body)).await
    }

    /// One request and its whole answer.
    async fn round(&self, url: &str, request: http::Result<Request<Full<Bytes>>>) -> Result<Answer, Error> {
        let fail = |what: String| Error::Transport(url.to_owned(), what);
        let request = request.map_err(|error| fail(error.to_string()))?;
        let exchange = async {
            let answer = self.pool.request(request).await.map_err(|error| fail(error.to_string()))?;
            let (parts, body) = answer.into_parts();
            let body = Limited::new(body, MAX_ANSWER_BYTES)
                .collect()
                .await
                .map_err(|error| fail(error.to_string()))?
                .to_bytes();
            Ok(Answer { status: parts.status, headers: parts.headers, body })
        };
        tokio::time::timeout(TIMEOUT, exchange).await.map_err(|_| fail("no answer in time".to_owned()))?
    }

    /// Proves with every request that it holds this key.
    pub(crate) fn prove_with(&mut self, key: SigningKey) {
        self.key = Some(key);
    }

    /// The proof for one request (RFC 9449 §4.2).
    fn proof(&self, method: &Method, url: &str, key: &SigningKey) -> Result<String, Error> {
        let claims = Claims {
            jti: uuid::Uuid::new_v4().to_string(),
            htm: method.to_string(),
            htu: url.split(['?', '#']).next().unwrap_or_default().to_owned(),
            iat: jiff::Timestamp::now().as_second(),
            ath: Some(of_token(self.bearer())),
            nonce: self.nonce.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        };
        Possession::sign(&claims, key).map_err(|error| Error::Answer(error.to_string()))
    }

    /// The bearer credential.
    pub(crate) fn bearer(&self) -> &str {
        self.bearer.as_deref().unwrap_or_default()
    }

    /// Exchanges a token (RFC 8693): a form, and JSON or an error of RFC 6749 §5.2 for an answer.
    pub(crate) async fn exchange_token<T: DeserializeOwned>(&self, form: &[(&str, String)]) -> Result<T, Error> {
        #[derive(Deserialize)]
        struct Refused {
            error: String,
            #[serde(default)]
            error_description: String,
        }
        let url = format!("{}/v1/token", self.base);
        let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let pairs: Vec<String> = form.iter().map(|(name, value)| format!("{name}={}", encode(value))).collect();
        let request = Request::post(&url).header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        let answer = self.round(&url, request.body(Full::new(Bytes::from(pairs.join("&"))))).await?;
        if let Some(problem) = answer.problem() {
            return Err(Error::Refused(Box::new(problem)));
        }
        if let Ok(Refused { error, error_description }) = serde_json::from_slice(&answer.body) {
            return Err(Error::Exchange { error, description: error_description });
        }
        serde_json::from_slice(&answer.body).map_err(|error| Error::Answer(error.to_string()))
    }

    /// Sends and reads a JSON answer of the gateway's own API.
    pub(crate) async fn ask<T: DeserializeOwned>(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Result<T, Error> {
        let answer = self.send(method, path, &[], body).await?;
        if let Some(problem) = answer.problem() {
            return Err(Error::Refused(Box::new(problem)));
        }
        serde_json::from_slice(&answer.body).map_err(|error| Error::Answer(error.to_string()))
    }
}

/// A client for an API that is not the gateway's.
#[derive(Debug, Clone)]
pub struct Plain(Client);

impl Plain {
    /// A client of the API at `base` with a bearer credential.
    ///
    /// # Errors
    /// [`Error::Url`].
    pub fn new(base: &str, bearer: &str) -> Result<Plain, Error> {
        Ok(Plain(Client::new(base, bearer)?))
    }

    /// A client that sends no credential.
    ///
    /// # Errors
    /// [`Error::Url`].
    pub fn anonymous(base: &str) -> Result<Plain, Error> {
        Ok(Plain(Client::open(base, None)?))
    }

    /// Like [`Plain::send`], with headers.
    ///
    /// # Errors
    /// [`Error::Transport`].
    pub async fn exchange(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<Answer, Error> {
        self.0.send(method, path, headers, body).await
    }

    /// Sends a request with a JSON body, if there is one, and reads the whole answer.
    ///
    /// # Errors
    /// [`Error::Transport`].
    pub async fn send(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Answer, Error> {
        self.0.send(method, path, &[], body).await
    }
}

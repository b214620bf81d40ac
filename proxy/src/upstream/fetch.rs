//! Small documents that the gateway asks for itself: lists of keys, what an issuer says of itself, tokens. By a client of its own: no API's credential goes
//! there, and redirects are not followed.

use std::{path::Path, time::Duration};

use bytes::Bytes;
use http::{Request, StatusCode, Uri, uri::PathAndQuery};
use http_body_util::{BodyExt as _, Empty, Limited};

use super::{Upstream, UpstreamError};
use crate::{Body, settings};

/// How long a document may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The longest that is read, in bytes.
const MAX_BYTES: usize = 1 << 20;

/// A client for one such server.
pub(crate) struct Server(Box<Upstream>);

impl Server {
    /// For the host of `url`; `name` says in messages who that is.
    pub(crate) fn new(name: &str, authorities: Option<&Path>, url: &Uri) -> Result<Server, UpstreamError> {
        let mut parts = url.clone().into_parts();
        parts.path_and_query = Some(PathAndQuery::from_static("/"));
        let root =
            Uri::from_parts(parts).map_err(|_| UpstreamError::Url { name: name.to_owned(), url: url.clone() })?;
        let settings =
            settings::Upstream { authorities: authorities.map(Path::to_owned), ..settings::Upstream::new(name, root) };
        Upstream::new(settings).map(|upstream| Server(Box::new(upstream)))
    }

    /// What it answers, whatever the status; or what went wrong.
    pub(crate) async fn ask(&self, request: Request<Body>) -> Result<(StatusCode, Bytes), String> {
        let answer = async {
            let answer = self.0.call(request, |_| {}).await.map_err(|error| error.to_string())?;
            let status = answer.status();
            let body = Limited::new(answer.into_body(), MAX_BYTES).collect().await;
            Ok((status, body.map_err(|error| error.to_string())?.to_bytes()))
        };
        tokio::time::timeout(TIMEOUT, answer).await.map_err(|_| "it did not answer in time".to_owned())?
    }
}

/// The document at `url`, for whoever `name` is; or what went wrong.
pub(crate) async fn fetch(name: &str, authorities: Option<&Path>, url: &Uri) -> Result<Bytes, String> {
    let server = Server::new(name, authorities, url).map_err(|error| error.to_string())?;
    let body = Empty::new().map_err(|never| match never {}).boxed_unsync();
    let request = Request::get(url.clone()).body(body).map_err(|error| error.to_string())?;
    match server.ask(request).await? {
        (status, bytes) if status.is_success() => Ok(bytes),
        (status, _) => Err(format!("it answered {status}")),
    }
}

//! Small documents that are fetched now and then: lists of keys, what an issuer says of itself. By a client of its own: no credential goes there.

use std::{path::Path, time::Duration};

use bytes::Bytes;
use http::{Request, Uri, uri::PathAndQuery};
use http_body_util::{BodyExt as _, Empty, Limited};

use super::Upstream;
use crate::settings;

/// How long a document may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The longest that is read, in bytes.
const MAX_BYTES: usize = 1 << 20;

/// The document at `url`, for whoever `name` is; or what went wrong.
pub(crate) async fn fetch(name: &str, authorities: Option<&Path>, url: &Uri) -> Result<Bytes, String> {
    let mut parts = url.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::from_static("/"));
    let root = Uri::from_parts(parts).map_err(|error| error.to_string())?;
    let settings =
        settings::Upstream { authorities: authorities.map(Path::to_owned), ..settings::Upstream::new(name, root) };
    let client = Upstream::new(settings).map_err(|error| error.to_string())?;
    let body = Empty::new().map_err(|never| match never {}).boxed_unsync();
    let request = Request::get(url.clone()).body(body).map_err(|error| error.to_string())?;
    let answer = async {
        let answer = client.call(request, |_| {}).await.map_err(|error| error.to_string())?;
        if !answer.status().is_success() {
            return Err(format!("it answered {}", answer.status()));
        }
        let body = Limited::new(answer.into_body(), MAX_BYTES).collect().await;
        Ok(body.map_err(|error| error.to_string())?.to_bytes())
    };
    tokio::time::timeout(TIMEOUT, answer).await.map_err(|_| "it did not answer in time".to_owned())?
}

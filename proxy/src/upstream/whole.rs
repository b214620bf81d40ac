//! A request and its answer as whole bodies, for what the gateway itself asks of a server.

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Limited};

use super::{CallError, Upstream};
use crate::error::full;

impl Upstream {
    /// Sends a request and reads its answer, of at most `limit` bytes, within the upstream's total time.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn whole(&self, request: Request<Bytes>, limit: usize) -> Result<Response<Bytes>, CallError> {
        let failed = |what: &dyn std::fmt::Display| CallError::Failed(what.to_string());
        let total = self.settings.timeouts.total;
        let answer = async {
            let (parts, body) = self.call(request.map(full), |_| {}).await?.into_parts();
            let body = Limited::new(body, limit).collect().await.map_err(|error| failed(&error))?;
            Ok(Response::from_parts(parts, body.to_bytes()))
        };
        tokio::time::timeout(total, answer).await.map_err(|_| failed(&format_args!("no answer within {total:?}")))?
    }
}

//! Around everything: a request is seen from its head to its end, on either listener.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use axum::{
    extract::{MatchedPath, State},
    middleware::Next,
};
use http::{Request, Response};
use tower::Service;

use super::Observe;
use crate::Body;

/// The outermost service of the gateway.
#[derive(Clone)]
pub(crate) struct Watch<S> {
    pub(crate) observe: Observe,
    pub(crate) secure: bool,
    pub(crate) next: S,
}

impl<B, S> Service<Request<B>> for Watch<S>
where
    S: Service<Request<B>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.next.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let seen = self.observe.begin(&request, self.secure);
        request.extensions_mut().insert(seen.clone());
        let answering = self.next.call(request);
        Box::pin(async move {
            let answer = seen.within(answering).await?;
            seen.answered(answer.status().as_u16());
            Ok(answer)
        })
    }
}

/// The outermost layer of the API.
pub(crate) async fn watch(
    State(observe): State<Observe>,
    request: axum::extract::Request,
    next: Next,
) -> axum::response::Response {
    let seen = observe.begin(&request, false);
    if let Some(route) = request.extensions().get::<MatchedPath>() {
        seen.routed(route.as_str());
    }
    let answer = seen.within(next.run(request)).await;
    seen.answered(answer.status().as_u16());
    answer
}

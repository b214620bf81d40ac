//! What every request to the API passes on its way in and every answer on its way out.

use std::{error::Error as _, time::Duration};

use axum::{
    body::{Body, to_bytes},
    extract::Request,
    http::{HeaderValue, StatusCode, header},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use http_body_util::LengthLimitError;
use opentelemetry::trace::FutureExt as _;

use crate::problem::Problem;

/// The most bytes of a request's body.
pub(super) const MAX_BODY_BYTES: usize = 1 << 20;

/// How long a request's body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// Takes the body whole, lets the handler run to its end, and turns whatever fails into a problem document.
///
/// INVARIANT: a handler is never dropped half way. What it sealed it also puts in force, even when the caller went away meanwhile:
/// a withdrawn key that is recorded as withdrawn no longer counts.
pub(super) async fn cross(request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let body = match tokio::time::timeout(BODY_TIMEOUT, to_bytes(body, MAX_BODY_BYTES)).await {
        Ok(Ok(body)) => body,
        Ok(Err(error)) if error.source().is_some_and(|error| error.is::<LengthLimitError>()) => {
            return problem(StatusCode::PAYLOAD_TOO_LARGE).into_response();
        }
        Ok(Err(_)) => return problem(StatusCode::BAD_REQUEST).into_response(),
        Err(_) => return problem(StatusCode::REQUEST_TIMEOUT).into_response(),
    };
    let handled = tokio::spawn(next.run(Request::from_parts(parts, Body::from(body))).with_current_context()).await;
    let mut response = handled.unwrap_or_else(|error| {
        tracing::error!(%error, "a handler of the API did not end");
        problem(StatusCode::INTERNAL_SERVER_ERROR).into_response()
    });
    let status = response.status();
    // What the token endpoint says of an error is JSON of another form.
    // A page says what is wrong itself.
    let told = |media: &HeaderValue| {
        media == "application/problem+json" || media == "application/json" || media.as_bytes().starts_with(b"text/html")
    };
    let said = response.headers().get(header::CONTENT_TYPE).is_some_and(told);
    if (status.is_client_error() || status.is_server_error()) && !said {
        response = problem(status).into_response();
    }
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// What is said when nothing more exact is known.
fn problem(status: StatusCode) -> Problem {
    let (code, detail) = match status {
        StatusCode::PAYLOAD_TOO_LARGE => ("body-too-large", format!("a body has at most {MAX_BODY_BYTES} bytes")),
        StatusCode::REQUEST_TIMEOUT => {
            ("body-too-slow", format!("a body must arrive within {} s", BODY_TIMEOUT.as_secs()))
        }
        status if status.is_server_error() => ("internal", "the operator's log says why".to_owned()),
        _ => ("bad-request", "path or body cannot be read; see /openapi.json".to_owned()),
    };
    Problem::new(status, code, status.canonical_reason().unwrap_or("The request is refused"), detail)
}

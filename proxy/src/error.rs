//! What the agent is told when a call does not go through: the one place that maps what happened to an HTTP status and a title.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};

use crate::{Body, mcp::Exchange, problem::Problem};

/// Code, status and title of the problems that have a status of their own; any other refusal is 400 or 403.
const KNOWN: &[(&str, StatusCode, &str)] = &[
    ("token-missing", StatusCode::UNAUTHORIZED, "A bearer token is needed"),
    ("token-invalid", StatusCode::UNAUTHORIZED, "The bearer token is not valid"),
    ("token-expired", StatusCode::UNAUTHORIZED, "The bearer token has expired"),
    ("token-not-bound", StatusCode::UNAUTHORIZED, "The token is bound to no key"),
    ("proof-missing", StatusCode::UNAUTHORIZED, "A proof of possession is needed"),
    ("proof-invalid", StatusCode::UNAUTHORIZED, "The proof of possession is not good for this request"),
    ("proof-replayed", StatusCode::UNAUTHORIZED, "The proof of possession was used before"),
    ("proof-nonce", StatusCode::UNAUTHORIZED, "The proof of possession needs a nonce"),
    ("proof-busy", StatusCode::SERVICE_UNAVAILABLE, "Too many proofs of possession"),
    ("grant-unnamed", StatusCode::BAD_REQUEST, "The call does not say under which grant it is made"),
    ("grant-of-other", StatusCode::FORBIDDEN, "The grant is not one of this agent"),
    ("issuer-unreachable", StatusCode::SERVICE_UNAVAILABLE, "The token cannot be checked"),
    ("rate-exceeded", StatusCode::TOO_MANY_REQUESTS, "Too many calls in a short time"),
    ("calls-open", StatusCode::TOO_MANY_REQUESTS, "Too many calls at the same time"),
    ("upstream-open", StatusCode::SERVICE_UNAVAILABLE, "The API fails and is left alone for a while"),
    ("certificate-of-other", StatusCode::UNAUTHORIZED, "The client certificate is not that of the token's agent"),
    ("upstream-unknown", StatusCode::NOT_FOUND, "No such upstream"),
    ("approval-required", StatusCode::FORBIDDEN, "A person must approve this call first"),
    ("held-too-many", StatusCode::TOO_MANY_REQUESTS, "Too many calls wait for a person"),
    ("approval-denied", StatusCode::FORBIDDEN, "A person said no to this call"),
    ("idempotency-key-reused", StatusCode::UNPROCESSABLE_ENTITY, "The idempotency key belongs to another call"),
    ("revoked", StatusCode::FORBIDDEN, "What allowed this call was withdrawn"),
    ("not-allowed", StatusCode::FORBIDDEN, "The grant does not allow this call"),
    ("action-unknown", StatusCode::FORBIDDEN, "The catalogue does not know this action"),
    ("policy-forbids", StatusCode::FORBIDDEN, "A policy forbids this call"),
    ("policy-failed", StatusCode::FORBIDDEN, "The policies cannot be evaluated for this call"),
    ("decision-unknown", StatusCode::BAD_REQUEST, "No such decision in this instruction"),
    ("method-refused", StatusCode::NOT_IMPLEMENTED, "The method is never forwarded"),
    ("upgrade", StatusCode::NOT_IMPLEMENTED, "Connections are not upgraded"),
    ("body-too-large", StatusCode::PAYLOAD_TOO_LARGE, "The body is too large"),
    ("target-too-long", StatusCode::URI_TOO_LONG, "Path and query are too long"),
    ("content-encoding", StatusCode::UNSUPPORTED_MEDIA_TYPE, "The body is encoded"),
    ("charset", StatusCode::UNSUPPORTED_MEDIA_TYPE, "The body is not UTF-8"),
    ("body-not-json", StatusCode::FORBIDDEN, "The call takes a JSON body"),
    ("json-malformed", StatusCode::BAD_REQUEST, "The body is not JSON"),
    ("json-not-utf8", StatusCode::BAD_REQUEST, "The body is not UTF-8"),
    ("json-too-deep", StatusCode::BAD_REQUEST, "The body is nested too deeply"),
    ("jsonrpc-not-json", StatusCode::BAD_REQUEST, "The message is not JSON"),
    ("jsonrpc-batch", StatusCode::BAD_REQUEST, "Messages do not pass in batches"),
    ("jsonrpc-invalid", StatusCode::BAD_REQUEST, "The message is none of JSON-RPC"),
    ("body-incomplete", StatusCode::BAD_REQUEST, "The body did not arrive whole"),
    ("body-timeout", StatusCode::REQUEST_TIMEOUT, "The body did not arrive in time"),
    ("expectation", StatusCode::EXPECTATION_FAILED, "The expectation is not supported"),
    ("not-recorded", StatusCode::SERVICE_UNAVAILABLE, "The call could not be recorded, so it was not made"),
    ("credential-unavailable", StatusCode::SERVICE_UNAVAILABLE, "The gateway has no credential for the API"),
    ("upstream-unreachable", StatusCode::BAD_GATEWAY, "The API cannot be reached"),
    ("upstream-failed", StatusCode::BAD_GATEWAY, "The API gave no proper answer"),
    ("upstream-timeout", StatusCode::GATEWAY_TIMEOUT, "The API did not answer in time"),
    ("response-cut", StatusCode::BAD_GATEWAY, "The API's answer was withheld"),
    ("request-cut", StatusCode::BAD_REQUEST, "The body did not arrive whole"),
    ("request-too-large", StatusCode::PAYLOAD_TOO_LARGE, "The body is too large"),
    ("not-through-envoy", StatusCode::NOT_IMPLEMENTED, "Envoy cannot make this call as the gateway would"),
    ("gateway-fault", StatusCode::INTERNAL_SERVER_ERROR, "The gateway failed"),
    ("mcp-not-endpoint", StatusCode::NOT_FOUND, "The MCP server is not here"),
    ("mcp-header-mismatch", StatusCode::BAD_REQUEST, "Headers and body of the message differ"),
    ("mcp-meta-missing", StatusCode::BAD_REQUEST, "The message does not say its version"),
    ("mcp-version-unknown", StatusCode::BAD_REQUEST, "The protocol version is not known"),
    ("mcp-method-unknown", StatusCode::FORBIDDEN, "The method does not pass"),
    ("origin-refused", StatusCode::FORBIDDEN, "The request comes from a foreign page"),
    ("not-ascii", StatusCode::BAD_REQUEST, "The request can be read in two ways"),
    ("not-utf8", StatusCode::BAD_REQUEST, "The request can be read in two ways"),
];

/// How codes begin that say a request can be read in two ways.
const AMBIGUOUS: &[&str] = &[
    "connection-",
    "host",
    "target-",
    "path-",
    "query-",
    "json-",
    "header-",
    "content-",
    "transfer-",
    "framing",
    "bad-percent",
    "control-",
    "override-",
];

/// A problem by its code; `detail` says what is wrong in this case and what to do, never a secret.
pub fn problem(code: &str, detail: impl Into<String>) -> Problem {
    let known = KNOWN.iter().find(|(known, _, _)| *known == code).map(|(_, status, title)| (*status, *title));
    let (status, title) = known.unwrap_or_else(|| {
        if AMBIGUOUS.iter().any(|start| code.starts_with(start)) {
            (StatusCode::BAD_REQUEST, "The request can be read in two ways")
        } else {
            (StatusCode::FORBIDDEN, "The grant does not allow this call")
        }
    });
    Problem::new(status, code, title, detail)
}

/// The answer that a problem is for this call: of MCP, a JSON-RPC error.
pub(crate) fn answer_call(exchange: Option<&Exchange>, problem: Problem) -> Response<Body> {
    match exchange {
        Some(exchange) => exchange.refuse(problem),
        None => answer(problem),
    }
}

/// The answer that a problem is.
pub fn answer(problem: Problem) -> Response<Body> {
    // RFC 6750 §3.1: a token was shown and is not good. Which of its faults is nobody's business but its owner's. RFC 9449 §7.1: of proofs.
    let challenge = match problem.code() {
        "token-missing" => "Bearer",
        "token-expired" => "Bearer error=\"invalid_token\", error_description=\"expired\"",
        "token-not-bound" => "DPoP error=\"invalid_token\", algs=\"EdDSA ES256\"",
        "proof-missing" | "proof-invalid" | "proof-replayed" => {
            "DPoP error=\"invalid_dpop_proof\", algs=\"EdDSA ES256\""
        }
        "proof-nonce" => "DPoP error=\"use_dpop_nonce\", algs=\"EdDSA ES256\"",
        _ => "Bearer error=\"invalid_token\"",
    };
    let mut response = problem.into_http::<Full<Bytes>>().map(boxed);
    if response.status() == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
    }
    response
}

fn boxed(body: Full<Bytes>) -> Body {
    body.map_err(|never| match never {}).boxed_unsync()
}

/// A body of bytes at hand.
pub fn full(bytes: impl Into<Bytes>) -> Body {
    boxed(Full::new(bytes.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_read_in_two_ways_is_a_bad_request_and_what_is_not_granted_is_forbidden() {
        for (code, status) in [
            ("json-duplicate-key", 400),
            ("path-dot-segment", 400),
            ("framing", 400),
            ("header-ambiguous", 400),
            ("content-encoding", 415),
            ("argument-unknown", 403),
            ("budget-exhausted", 403),
            ("not-recorded", 503),
            ("upgrade", 501),
        ] {
            assert_eq!(problem(code, "").status, status, "{code}");
        }
    }

    #[test]
    fn a_body_that_is_no_json_is_called_that_and_not_one_with_two_readings() {
        for (body, title, status) in [
            (&b"{\"amount\": 5"[..], "The body is not JSON", 400),
            (b"{'amount': 5}", "The body is not JSON", 400),
            (b"", "The body is not JSON", 400),
            (b"\"\xff\"", "The body is not UTF-8", 400),
            (b"[[[[]]]]", "The body is nested too deeply", 400),
            (b"{\"amount\": 5, \"amount\": 6}", "The request can be read in two ways", 400),
            (b"1e400", "The request can be read in two ways", 400),
        ] {
            let refusal = countersign_authorize::Json::parse(body, 2).unwrap_err();
            let problem = problem(refusal.code, refusal.message);
            assert_eq!((problem.title.as_str(), problem.status), (title, status), "{problem:?}");
        }
        let other = problem("body-not-json", "");
        assert_eq!((other.title.as_str(), other.status), ("The call takes a JSON body", 403));
    }

    #[test]
    fn every_code_is_explained_to_who_meets_it() {
        let pages = [include_str!("../../docs/gateway.md"), include_str!("../../docs/catalogue.md")].concat();
        for (code, ..) in KNOWN {
            assert!(
                pages.contains(&format!("`{code}`")),
                "`{code}` is in neither docs/gateway.md nor docs/catalogue.md"
            );
        }
    }

    #[test]
    fn a_bad_token_is_told_so_in_the_words_of_rfc_6750() {
        let challenge = |code| answer(problem(code, "")).headers()["www-authenticate"].to_str().unwrap().to_owned();
        assert_eq!(challenge("token-missing"), "Bearer");
        assert!(challenge("token-expired").contains("invalid_token"));
        let unavailable = answer(problem("not-recorded", ""));
        assert!(unavailable.headers().contains_key("retry-after"));
        assert_eq!(unavailable.headers()["content-type"], "application/problem+json");
    }
}

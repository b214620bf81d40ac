//! What Envoy is answered: a refusal as the gateway's own answer to the agent, or leave to send with what must be changed.

use http::{HeaderMap, Response, StatusCode};
use http_body_util::BodyExt as _;

use super::{
    handover::Admitted,
    proto::{
        self, CheckResponse, DeniedHttpResponse, HeaderValue, HeaderValueOption, HttpResponse, HttpStatus,
        OkHttpResponse, Status,
    },
};
use crate::Body;

/// The name of the entry in the metadata that Envoy keeps of the request and writes into its access log.
pub(super) const ENTRY: &str = "countersign-entry";

/// `google.rpc.Code`.
const PERMISSION_DENIED: i32 = 7;
const UNAVAILABLE: i32 = 14;
const UNAUTHENTICATED: i32 = 16;

/// The answer to Envoy.
pub(super) async fn answer(response: Response<Body>) -> CheckResponse {
    let (mut parts, body) = response.into_parts();
    if let Some(admitted) = parts.extensions.remove::<Admitted>() {
        return allowed(&admitted, &parts.headers);
    }
    // It is made of bytes at hand, and text.
    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let code = match parts.status {
        StatusCode::UNAUTHORIZED => UNAUTHENTICATED,
        StatusCode::SERVICE_UNAVAILABLE => UNAVAILABLE,
        _ => PERMISSION_DENIED,
    };
    let denied = DeniedHttpResponse {
        status: Some(HttpStatus { code: i32::from(parts.status.as_u16()) }),
        headers: options(&parts.headers),
        body: String::from_utf8_lossy(&body).into_owned(),
    };
    CheckResponse {
        status: Some(Status { code, message: String::new() }),
        http_response: Some(HttpResponse::Denied(denied)),
        dynamic_metadata: None,
    }
}

fn allowed(admitted: &Admitted, stamps: &HeaderMap) -> CheckResponse {
    let mut headers = vec![option(":path", &admitted.path, false)];
    headers.extend(admitted.authority.as_ref().map(|authority| option(":authority", authority, false)));
    headers.extend(options(&admitted.set));
    CheckResponse {
        status: Some(Status::default()),
        http_response: Some(HttpResponse::Ok(OkHttpResponse {
            headers,
            headers_to_remove: admitted.remove.iter().map(ToString::to_string).collect(),
            response_headers_to_add: options(stamps),
        })),
        dynamic_metadata: Some(proto::metadata(ENTRY, admitted.entry.to_string())),
    }
}

/// Headers to set; of the same name the first replaces what is there, the others are added.
fn options(headers: &HeaderMap) -> Vec<HeaderValueOption> {
    let values = headers.keys().flat_map(|name| {
        let values = headers.get_all(name).iter().enumerate();
        values.map(move |(index, value)| option(name.as_str(), &String::from_utf8_lossy(value.as_bytes()), index > 0))
    });
    values.collect()
}

fn option(name: &str, value: &str, append: bool) -> HeaderValueOption {
    let header = HeaderValue { key: name.to_owned(), value: value.to_owned(), raw_value: Vec::new() };
    HeaderValueOption { header: Some(header), append: Some(append) }
}

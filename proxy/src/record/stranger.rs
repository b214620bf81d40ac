//! Requests without a valid token. A few per minute are recorded one by one, under the data subject `gateway`; beyond that they are counted and
//! the count goes into the next heartbeat, so that noise cannot fill the disk.

use std::sync::Arc;

use countersign_authorize::{ENGINE, Refusal};
use countersign_ledger::{Draft, record::body};
use http::{Request, Response};
use serde_json::json;

use crate::{
    Body,
    error::{answer, problem},
    stack::Context,
};

/// Refuses a request whose sender is not known.
pub(crate) async fn refuse<B>(
    context: &Arc<Context>,
    request: &Request<B>,
    via: Option<&str>,
    refusal: &Refusal,
) -> Response<Body> {
    context.gateway.count("unauthenticated");
    let mut response = answer(problem(refusal.code, &refusal.message));
    if !may_record(context) {
        return response;
    }
    let Some(draft) = draft(context, request, via, refusal) else { return response };
    // The answer does not depend on it: without a token nothing is forwarded anyway.
    if let Ok(sealed) = context.gateway.ledger.append(draft).await {
        super::stamp(response.headers_mut(), &sealed);
    }
    response
}

fn may_record(context: &Context) -> bool {
    let minute = context.gateway.now().as_second() / 60;
    let mut recorded = context.strangers.lock();
    if recorded.0 != minute {
        *recorded = (minute, 0);
    }
    recorded.1 += 1;
    recorded.1 <= context.limits.strangers_per_minute
}

fn draft<B>(context: &Context, request: &Request<B>, via: Option<&str>, refusal: &Refusal) -> Option<Draft> {
    let gateway = &context.gateway;
    let entry = body::Call {
        call: uuid::Uuid::now_v7().to_string(),
        subject: Some(gateway.nobody.clone()),
        credential: match refusal.code {
            "token-missing" => "none",
            // What was shown as proof is none.
            _ => "bearer",
        }
        .to_owned(),
        verdict: "deny".to_owned(),
        reasons: vec![body::Reason { code: refusal.code.to_owned(), argument: None }],
        rules: vec![refusal.code.to_owned()],
        engine: ENGINE.to_owned(),
        policies: gateway.rules().digests().to_vec(),
        via: via.map(str::to_owned),
        ..body::Call::default()
    };
    let target: String = request.uri().path().chars().take(512).collect();
    let seen = json!({ "method": request.method().as_str(), "raw_path": target });
    Draft::new(&entry).ok()?.disclose(&gateway.vault, &gateway.nobody, "request", &seen).ok()
}

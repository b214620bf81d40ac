//! Requests that are refused before they are judged: without a valid token, or more than somebody may make. A few per minute are recorded one by one,
//! under the data subject `gateway`; beyond that they are counted and the count goes into the next heartbeat, so that noise cannot fill the disk.

use std::sync::Arc;

use countersign_authorize::{ENGINE, Refusal};
use countersign_ledger::{Draft, record::body};
use http::{Request, Response};
use serde_json::json;

use crate::{
    Body,
    error::{answer, problem},
    observe::Seen,
    stack::Context,
};

/// What is refused, and why.
pub(crate) struct Refused<'a> {
    pub(crate) code: &'a str,
    pub(crate) message: &'a str,
    /// Who it is, where that is known.
    pub(crate) agent: Option<&'a str>,
    /// What was shown.
    pub(crate) credential: &'a str,
    /// As what it is counted.
    pub(crate) counted: &'a str,
}

impl<'a> Refused<'a> {
    /// Of somebody who is not known. A proof that was shown and is not good is none.
    pub(crate) fn unknown(refusal: &'a Refusal) -> Refused<'a> {
        let credential = if refusal.code == "token-missing" { "none" } else { "bearer" };
        let (code, message) = (refusal.code, refusal.message.as_str());
        Refused { code, message, agent: None, credential, counted: "unauthenticated" }
    }
}

/// Refuses a request.
pub(crate) async fn refuse<B>(
    context: &Arc<Context>,
    seen: &Seen,
    request: &Request<B>,
    via: Option<&str>,
    refused: &Refused<'_>,
) -> Response<Body> {
    context.gateway.count(refused.counted);
    context.gateway.observe().count(|told| told.stranger(refused.code));
    let mut response = answer(problem(refused.code, refused.message));
    if !may_record(context) {
        return response;
    }
    let Some(draft) = draft(context, request, via, refused) else { return response };
    // The answer does not depend on it: nothing is forwarded anyway.
    if let Ok(sealed) = context.gateway.ledger.append(draft).await {
        seen.sealed(&sealed.hash);
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

fn draft<B>(context: &Context, request: &Request<B>, via: Option<&str>, refused: &Refused<'_>) -> Option<Draft> {
    let gateway = &context.gateway;
    let entry = body::Call {
        call: uuid::Uuid::now_v7().to_string(),
        subject: Some(gateway.nobody.clone()),
        agent: refused.agent.map(str::to_owned),
        credential: refused.credential.to_owned(),
        verdict: "deny".to_owned(),
        reasons: vec![body::Reason { code: refused.code.to_owned(), argument: None }],
        rules: vec![refused.code.to_owned()],
        engine: ENGINE.to_owned(),
        policies: gateway.rules().digests().to_vec(),
        via: via.map(str::to_owned),
        ..body::Call::default()
    };
    let target: String = request.uri().path().chars().take(512).collect();
    let seen = json!({ "method": request.method().as_str(), "raw_path": target });
    Draft::new(&entry).ok()?.disclose(&gateway.vault, &gateway.nobody, "request", &seen).ok()
}

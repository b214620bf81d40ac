//! The two gRPC services on the wire, and who may use them.

use std::{convert::Infallible, pin::Pin, sync::Arc, time::Duration};

use data_encoding::HEXLOWER;
use http::{HeaderMap, Request, Response, header};
use hyper::{body::Incoming, service::service_fn};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use tokio::sync::watch;
use tonic::{Status, Streaming, server::Grpc};
use tonic_prost::ProstCodec;
use tower::ServiceExt as _;

use super::{
    Settings,
    answer::answer,
    check::{self, Asked},
    fate::{self, Report},
    handover::Handover,
    proto::{CheckRequest, CheckResponse, StreamAccessLogsMessage, StreamAccessLogsResponse},
    waiting::Waiting,
};
use crate::{
    error::{self, problem},
    server::{Arrival, Server},
    stack::{Context, way},
};

const CHECK: &str = "/envoy.service.auth.v3.Authorization/Check";
const LOG: &str = "/envoy.service.accesslog.v3.AccessLogService/StreamAccessLogs";

/// How long the log's streams may take to end when no more lines are waited for.
const LAST_LINES: Duration = Duration::from_millis(500);

/// What a message may have beside a request's body: its head, and lines of a log.
const MESSAGE_BYTES: usize = 4 << 20;

/// Envoy's authorizer and the sink of its access log.
#[derive(Clone)]
pub(crate) struct Authorizer {
    context: Arc<Context>,
    waiting: Arc<Waiting>,
    settings: Arc<Settings>,
    /// True when no more reports are waited for.
    over: watch::Sender<bool>,
}

type Pending<T> = Pin<Box<dyn Future<Output = Result<tonic::Response<T>, Status>> + Send>>;

impl Authorizer {
    pub(crate) fn new(context: Arc<Context>, settings: Settings) -> Authorizer {
        let settings = Arc::new(settings);
        Authorizer { context, waiting: Arc::default(), settings, over: watch::Sender::new(false) }
    }

    /// Serves until `ended`. Then nothing new is judged, but reports are taken until every call is closed, for at most `drain`.
    pub(crate) async fn run<E>(self, server: Server, ended: impl Fn() -> E, drain: Duration)
    where
        E: Future<Output = ()>,
    {
        let expiring = tokio::spawn(self.waiting.clone().expire(self.settings.patience));
        let serving = self.clone();
        let answer = move |arrival: Arrival| {
            let authorizer = serving.clone();
            service_fn(move |request| {
                let (authorizer, arrival) = (authorizer.clone(), arrival.clone());
                async move { Ok::<_, Infallible>(authorizer.serve(request, arrival).await) }
            })
        };
        let winding_up = async {
            ended().await;
            let _ = tokio::time::timeout(drain, self.waiting.emptied()).await;
            // The log's streams end, and with them what the server waits for.
            self.over.send_replace(true);
        };
        tokio::join!(server.run(answer, ended(), drain.saturating_add(LAST_LINES), || {}), winding_up);
        expiring.abort();
        self.waiting.close();
    }

    /// Answers a request of Envoy's.
    async fn serve(self, request: Request<Incoming>, arrival: Arrival) -> Response<tonic::body::Body> {
        if let Err(status) = self.trusts(request.headers(), &arrival) {
            tracing::warn!(%status, "somebody who is not a trusted Envoy asks");
            return status.into_http();
        }
        let bytes = self.context.limits.json_bytes.saturating_add(MESSAGE_BYTES);
        match request.uri().path() {
            CHECK => {
                let codec = ProstCodec::<CheckResponse, CheckRequest>::default();
                Grpc::new(codec).max_decoding_message_size(bytes).unary(Check(self), request).await
            }
            LOG => {
                let codec = ProstCodec::<StreamAccessLogsResponse, StreamAccessLogsMessage>::default();
                Grpc::new(codec).max_decoding_message_size(bytes).client_streaming(Log(self), request).await
            }
            _ => Status::unimplemented("only Envoy's authorization and access log services, version 3").into_http(),
        }
    }

    /// Who may ask: whoever could would see how others' calls are judged, and could say how they ended.
    fn trusts(&self, headers: &HeaderMap, arrival: &Arrival) -> Result<(), Status> {
        let Settings { token_sha256, envoys, .. } = &*self.settings;
        if !envoys.is_empty() && !arrival.client.as_deref().is_some_and(|client| envoys.iter().any(|one| one == client))
        {
            return Err(Status::permission_denied("the client certificate is not that of a trusted Envoy"));
        }
        let Some(sha256) = token_sha256 else { return Ok(()) };
        let value = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let token = value.strip_prefix("Bearer ").unwrap_or_default();
        let digest = HEXLOWER.encode(&Sha256::digest(token.as_bytes()));
        match bool::from(sha256.as_bytes().ct_eq(digest.as_bytes())) {
            true => Ok(()),
            false => Err(Status::unauthenticated("the bearer token is not the one of `[ext_authz]`")),
        }
    }

    async fn check(self, question: CheckRequest) -> CheckResponse {
        match check::read(question) {
            Ok(Asked { request, arrival }) => {
                let last = Handover::new(self.waiting, self.settings.upstreams.as_slice().into());
                match way(&self.context, arrival, last).oneshot(request).await {
                    Ok(response) => answer(response).await,
                    Err(never) => match never {},
                }
            }
            Err(fault) => {
                tracing::error!(%fault, "a request is refused because of how Envoy is configured");
                answer(error::answer(problem("gateway-fault", fault.to_string()))).await
            }
        }
    }

    fn report(&self, message: StreamAccessLogsMessage) {
        for line in message.http_logs.unwrap_or_default().log_entry {
            match fate::read(&line) {
                Report::Ended(fate) => match self.waiting.take(&fate.entry) {
                    Some(receipt) => fate.close(receipt),
                    None => tracing::debug!(entry = %fate.entry, "the end of a call that is closed already"),
                },
                Report::Unauthorized(route) => {
                    self.context.gateway.count("unauthorized_by_envoy");
                    tracing::error!(route, "Envoy sent a request without asking: a call without a record");
                }
                Report::Nothing => {}
            }
        }
    }
}

struct Check(Authorizer);

impl tonic::server::UnaryService<CheckRequest> for Check {
    type Response = CheckResponse;
    type Future = Pending<CheckResponse>;

    fn call(&mut self, request: tonic::Request<CheckRequest>) -> Self::Future {
        let authorizer = self.0.clone();
        Box::pin(async move { Ok(tonic::Response::new(authorizer.check(request.into_inner()).await)) })
    }
}

struct Log(Authorizer);

impl tonic::server::ClientStreamingService<StreamAccessLogsMessage> for Log {
    type Response = StreamAccessLogsResponse;
    type Future = Pending<StreamAccessLogsResponse>;

    fn call(&mut self, request: tonic::Request<Streaming<StreamAccessLogsMessage>>) -> Self::Future {
        let (authorizer, mut lines) = (self.0.clone(), request.into_inner());
        Box::pin(async move {
            let mut over = authorizer.over.subscribe();
            loop {
                let message = tokio::select! {
                    message = lines.message() => message?,
                    _ = over.wait_for(|over| *over) => None,
                };
                match message {
                    Some(message) => authorizer.report(message),
                    None => return Ok(tonic::Response::new(StreamAccessLogsResponse {})),
                }
            }
        })
    }
}

//! OTLP over the gateway's own HTTP client: the same TLS, and nothing that a build would need beside Rust and a C compiler.

use std::{collections::HashMap, fmt, pin::Pin, sync::Arc, time::Duration};

use anyhow::Context as _;
use bytes::Bytes;
use countersign_proxy::{settings, upstream::Upstream};
use http::{Request, Response};
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{
    LogExporter, MetricExporter, Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _,
};
use tokio::runtime::Handle;

use crate::config::Otlp;

/// How long a collector may take to answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The most bytes of its answer.
const MAX_ANSWER_BYTES: usize = 1 << 20;

/// Makes an exporter for each signal.
pub struct Exporter {
    endpoint: String,
    headers: HashMap<String, String>,
    client: Client,
}

impl Exporter {
    pub fn new(otlp: &Otlp) -> anyhow::Result<Exporter> {
        let mut settings = settings::Upstream::new("telemetry", otlp.endpoint.0.clone());
        settings.authorities.clone_from(&otlp.authorities);
        settings.timeouts = settings::Timeouts { total: TIMEOUT, ..settings::Timeouts::default() };
        let mut headers = HashMap::new();
        for header in &otlp.headers {
            let header = header.settings()?;
            let value = header.value().context("a header has no value")?;
            headers.insert(header.header().as_str().to_owned(), value.to_str()?.to_owned());
        }
        let endpoint = otlp.endpoint.0.to_string().trim_end_matches('/').to_owned();
        let client = Client { upstream: Arc::new(Upstream::new(settings)?), runtime: Handle::try_current()? };
        Ok(Exporter { endpoint, headers, client })
    }

    pub fn spans(&self) -> anyhow::Result<SpanExporter> {
        let exporter = SpanExporter::builder().with_http().with_http_client(self.client.clone());
        let exporter =
            exporter.with_endpoint(format!("{}/v1/traces", self.endpoint)).with_headers(self.headers.clone());
        Ok(exporter.with_protocol(Protocol::HttpBinary).with_timeout(TIMEOUT).build()?)
    }

    pub fn metrics(&self) -> anyhow::Result<MetricExporter> {
        let exporter = MetricExporter::builder().with_http().with_http_client(self.client.clone());
        let exporter =
            exporter.with_endpoint(format!("{}/v1/metrics", self.endpoint)).with_headers(self.headers.clone());
        Ok(exporter.with_protocol(Protocol::HttpBinary).with_timeout(TIMEOUT).build()?)
    }

    pub fn logs(&self) -> anyhow::Result<LogExporter> {
        let exporter = LogExporter::builder().with_http().with_http_client(self.client.clone());
        let exporter = exporter.with_endpoint(format!("{}/v1/logs", self.endpoint)).with_headers(self.headers.clone());
        Ok(exporter.with_protocol(Protocol::HttpBinary).with_timeout(TIMEOUT).build()?)
    }
}

/// Sends what a batch has, from whatever thread, in the gateway's runtime.
#[derive(Clone)]
struct Client {
    upstream: Arc<Upstream>,
    runtime: Handle,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Client")
    }
}

type Sending<'s> = Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 's>>;

impl HttpClient for Client {
    fn send_bytes<'s, 'f>(&'s self, request: Request<Bytes>) -> Sending<'f>
    where
        's: 'f,
        Self: 'f,
    {
        let (upstream, runtime) = (self.upstream.clone(), self.runtime.clone());
        Box::pin(async move {
            // The exporters' threads know no runtime.
            let sent = runtime.spawn(async move { upstream.whole(request, MAX_ANSWER_BYTES).await });
            Ok(sent.await??)
        })
    }
}

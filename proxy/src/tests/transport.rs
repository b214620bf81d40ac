//! HTTP/2 and TLS, in and out.

use std::sync::Arc;

use http::{Response, Version};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use serde_json::json;

use super::world::{Api, World, json_answer, read, scope, upstream, whole};
use crate::settings::{Http, ServerTls};

struct Certificates {
    dir: tempfile::TempDir,
}

impl Certificates {
    /// A certificate for localhost that is its own authority.
    fn new() -> Certificates {
        let dir = tempfile::tempdir().unwrap();
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        std::fs::write(dir.path().join("cert.pem"), made.cert.pem()).unwrap();
        std::fs::write(dir.path().join("key.pem"), made.signing_key.serialize_pem()).unwrap();
        Certificates { dir }
    }

    fn server(&self) -> ServerTls {
        ServerTls { certificates: self.authority(), key: self.dir.path().join("key.pem") }
    }

    fn authority(&self) -> std::path::PathBuf {
        self.dir.path().join("cert.pem")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn http_2_with_prior_knowledge_passes_in_and_out() {
    let api = Api::start(|_| json_answer(&json!({ "ok": true }))).await;
    let world = World::tuned(api.address, |upstream| upstream.http = Http::Two).await;
    let client: Client<_, crate::Body> = Client::builder(TokioExecutor::new()).http2_only(true).build_http();
    let calls = (0..20).map(|_| {
        let request = world.request("GET", "/x").body(whole("")).unwrap();
        let client = client.clone();
        tokio::spawn(async move { read(client.request(request).await.unwrap()).await })
    });
    for call in calls.collect::<Vec<_>>() {
        assert_eq!(call.await.unwrap().json(), json!({ "ok": true }));
    }
    let got = api.last();
    assert_eq!((got.version, got.uri.path()), (Version::HTTP_2, "/x"));
    assert_eq!(got.headers["x-forwarded-host"], world.address.to_string().as_str());
    world.outcomes(20).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_to_the_api_is_checked_negotiated_and_recorded() {
    let certificates = Certificates::new();
    let api =
        Api::start_with(Some(certificates.server()), |_| Box::pin(async { Response::new(whole("secure")) })).await;
    let mut settings = upstream(&format!("https://localhost:{}", api.address.port()));
    settings.authorities = Some(certificates.authority());
    let world = World::with(settings.clone(), |_| {}, scope()).await;
    assert_eq!(world.get("/x").await.body.unwrap(), "secure");
    assert_eq!(api.last().version, Version::HTTP_2, "negotiated");
    let (outcome, _) = world.outcome().await;
    assert!(outcome.text("peer").unwrap().contains(" sha256:"));

    // Another authority: no call.
    settings.authorities = Some(Certificates::new().authority_kept());
    let world = World::with(settings.clone(), |_| {}, scope()).await;
    assert_eq!(world.get("/x").await.code(), "upstream-unreachable");
    assert_eq!(world.outcome().await.0.text("sent"), Some("no"));

    // The public authorities do not know it either.
    settings.authorities = None;
    let world = World::with(settings, |_| {}, scope()).await;
    assert_eq!(world.get("/x").await.code(), "upstream-unreachable");
    assert_eq!(api.calls(), 1);
}

impl Certificates {
    fn authority_kept(self) -> std::path::PathBuf {
        self.dir.keep().join("cert.pem")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_may_come_over_tls() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let certificates = Certificates::new();
    let api = Api::start(|_| Response::new(whole("done"))).await;
    let tls = certificates.server();
    let world = World::with(
        upstream(&format!("http://{}", api.address)),
        move |settings| settings.gateway.tls = Some(tls),
        scope(),
    )
    .await;
    let mut roots = rustls::RootCertStore::empty();
    let pem = std::fs::read(certificates.authority()).unwrap();
    roots
        .add(<rustls::pki_types::CertificateDer as rustls::pki_types::pem::PemObject>::from_pem_slice(&pem).unwrap())
        .unwrap();
    let config = rustls::ClientConfig::builder_with_provider(crate::server::provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let tcp = tokio::net::TcpStream::connect(world.address).await.unwrap();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let mut stream = connector.connect("localhost".try_into().unwrap(), tcp).await.unwrap();
    let request = format!(
        "GET /x HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\nconnection: close\r\n\r\n",
        world.token
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("done"), "{answer}");
    assert_eq!(api.last().headers["x-forwarded-proto"], "https");
}

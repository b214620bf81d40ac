//! HTTP/2 and TLS, in and out.

use std::sync::Arc;

use http::{Response, Version};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use serde_json::json;

use super::world::{Api, World, json_answer, read, scope, upstream, whole};
use crate::settings::{Address, Http, Identity, ServerTls};

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
        ServerTls { certificates: self.authority(), key: self.dir.path().join("key.pem"), clients: None, tls12: false }
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

/// What an agent needs to come over TLS.
struct Tls {
    /// The gateway's authority.
    authority: std::path::PathBuf,
    /// The agent's own certificate and key, PEM.
    identity: Option<(String, String)>,
}

impl Tls {
    fn connector(&self) -> tokio_rustls::TlsConnector {
        use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(&self.authority).unwrap()).unwrap();
        let config = rustls::ClientConfig::builder_with_provider(crate::server::provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let config = match &self.identity {
            None => config.with_no_client_auth(),
            Some((certificate, key)) => {
                let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
                config.with_client_auth_cert(chain, PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap()).unwrap()
            }
        };
        tokio_rustls::TlsConnector::from(Arc::new(config))
    }

    /// The whole answer to one GET, or why there is none.
    async fn get(&self, world: &World) -> Result<String, std::io::Error> {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let tcp = tokio::net::TcpStream::connect(world.address).await?;
        let mut stream = self.connector().connect("localhost".try_into().unwrap(), tcp).await?;
        let request = format!(
            "GET /x HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\nconnection: close\r\n\r\n",
            world.token
        );
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        match stream.read_to_end(&mut answer).await {
            Err(error) if answer.is_empty() => Err(error),
            _ => Ok(String::from_utf8_lossy(&answer).into_owned()),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_may_come_over_tls_and_the_certificate_changes_while_connections_are_open() {
    let certificates = Certificates::new();
    let api = Api::start(|_| Response::new(whole("done"))).await;
    let tls = certificates.server();
    let settings = upstream(&format!("http://{}", api.address));
    let world = World::with(settings, move |settings| settings.gateway.tls = Some(tls), scope()).await;
    let agent = Tls { authority: certificates.authority(), identity: None };
    let answer = agent.get(&world).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("done"), "{answer}");
    assert_eq!(api.last().headers["x-forwarded-proto"], "https");

    // Another certificate at the same place: used as soon as it is read.
    let other = Certificates::new();
    for file in ["cert.pem", "key.pem"] {
        std::fs::copy(other.dir.path().join(file), certificates.dir.path().join(file)).unwrap();
    }
    let known = Tls { authority: other.authority(), identity: None };
    assert!(known.get(&world).await.is_err(), "still the old one");
    let mut open = agent_of(&certificates_of(&world)).open(&world).await;
    assert_eq!(world.reload().await.unwrap(), ["certificates gateway/certificates"]);
    assert!(known.get(&world).await.unwrap().contains("done"));
    assert!(ask(&mut open, &world).await.contains("done"), "what is open goes on");
    assert_eq!(world.reload().await.unwrap(), [""; 0], "once");
    assert_eq!(certificates_of(&world), std::fs::read_to_string(other.authority()).unwrap().replace("\r\n", "\n"));

    // What cannot be used is refused with its place, and the one before stays.
    std::fs::write(certificates.dir.path().join("key.pem"), "no key").unwrap();
    let refused = world.reload().await.unwrap_err().to_string();
    assert!(refused.contains("key.pem"), "{refused}");
    assert!(known.get(&world).await.unwrap().contains("done"));

    // A key that is another's is as bad as none.
    let third = Certificates::new();
    std::fs::copy(third.dir.path().join("key.pem"), certificates.dir.path().join("key.pem")).unwrap();
    assert!(world.reload().await.is_err());
    assert!(known.get(&world).await.unwrap().contains("done"));
}

/// The certificates of the gateway's listener as the ledger has them.
fn certificates_of(world: &World) -> String {
    let ledger = &world.gateway.ledger;
    let named = |seq: &u64| world.gateway.entry(*seq).unwrap().text("name") == Some("gateway/certificates");
    let last = (0..ledger.head().size()).rev().find(named).unwrap();
    let sha256 = world.gateway.entry(last).unwrap().text("sha256").unwrap().parse().unwrap();
    String::from_utf8(ledger.policy(&sha256).unwrap()).unwrap()
}

/// An agent that believes this certificate.
fn agent_of(pem: &str) -> Tls {
    let file = tempfile::NamedTempFile::new().unwrap().into_temp_path().keep().unwrap();
    std::fs::write(&file, pem).unwrap();
    Tls { authority: file, identity: None }
}

type Connection = tokio_rustls::client::TlsStream<tokio::net::TcpStream>;

impl Tls {
    /// A connection that stays.
    async fn open(&self, world: &World) -> Connection {
        let tcp = tokio::net::TcpStream::connect(world.address).await.unwrap();
        self.connector().connect("localhost".try_into().unwrap(), tcp).await.unwrap()
    }
}

/// One request over it, and its answer.
async fn ask(connection: &mut Connection, world: &World) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let request = format!("GET /x HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\n\r\n", world.token);
    connection.write_all(request.as_bytes()).await.unwrap();
    let (mut answer, mut buffer) = (String::new(), [0; 4096]);
    while !answer.contains("done") {
        let read = connection.read(&mut buffer).await.unwrap();
        assert_ne!(read, 0, "the connection ended: {answer}");
        answer += &String::from_utf8_lossy(&buffer[..read]);
    }
    answer
}

/// An authority, and what it signs: for servers a certificate of `localhost`, for clients one of nobody in particular.
struct Authority {
    dir: tempfile::TempDir,
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
}

impl Authority {
    fn new() -> Authority {
        let dir = tempfile::tempdir().unwrap();
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new([]).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        std::fs::write(dir.path().join("ca.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
        Authority { dir, issuer: rcgen::Issuer::new(params, key) }
    }

    fn file(&self) -> std::path::PathBuf {
        self.dir.path().join("ca.pem")
    }

    /// Writes certificate and key of a client to `name`, over what was there.
    fn client(&self, name: &str) -> Identity {
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = rcgen::CertificateParams::new([]).unwrap().signed_by(&key, &self.issuer).unwrap();
        let path = |end: &str| self.dir.path().join(format!("{name}.{end}"));
        std::fs::write(path("pem"), certificate.pem()).unwrap();
        std::fs::write(path("key"), key.serialize_pem()).unwrap();
        Identity { certificates: path("pem"), key: path("key") }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_that_asks_for_a_certificate_gets_the_gateways_and_a_new_one_after_a_reload() {
    let (certificates, authority) = (Certificates::new(), Authority::new());
    let tls = ServerTls { clients: Some(authority.file()), ..certificates.server() };
    let api = Api::start_with(Some(tls), |_| Box::pin(async { Response::new(whole("mutual")) })).await;
    let mut settings = upstream(&format!("https://localhost:{}", api.address.port()));
    settings.authorities = Some(certificates.authority());

    // Without one, nothing is sent.
    let world = World::with(settings.clone(), |_| {}, scope()).await;
    assert_eq!(world.get("/x").await.status, 502);
    assert_eq!(api.calls(), 0);

    // With one of another authority neither.
    let others = Authority::new();
    settings.identity = Some(others.client("gateway"));
    let world = World::with(settings.clone(), |_| {}, scope()).await;
    assert_eq!(world.get("/x").await.status, 502);
    assert_eq!(api.calls(), 0);

    settings.identity = Some(authority.client("gateway"));
    let world = World::with(settings.clone(), |_| {}, scope()).await;
    assert_eq!(world.get("/x").await.body.unwrap(), "mutual");

    // Another one in the same files: the ledger says which, and connections from now on show it.
    authority.client("gateway");
    assert_eq!(world.reload().await.unwrap(), ["certificates upstream/api/certificates"]);
    assert_eq!(world.get("/x").await.body.unwrap(), "mutual");
    let upstream = world.upstreams[0].identity.clone().unwrap();
    std::fs::write(&upstream.key, "no key").unwrap();
    let refused = world.reload().await.unwrap_err().to_string();
    assert!(refused.contains("upstream `api`") && refused.contains("gateway.key"), "{refused}");
    assert_eq!(world.get("/x").await.body.unwrap(), "mutual", "what was in force stays");
    assert_eq!(api.calls(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_clients_show_certificates_a_stolen_token_opens_nothing() {
    let (certificates, dir) = (Certificates::new(), tempfile::tempdir().unwrap());
    let authority = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new([]).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let root = params.self_signed(&authority).unwrap();
    std::fs::write(dir.path().join("clients.pem"), root.pem()).unwrap();
    let issuer = rcgen::Issuer::new(params, authority);
    let issued = |names: &[&str]| {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new([]).unwrap();
        params.subject_alt_names = names.iter().map(|name| rcgen::SanType::URI((*name).try_into().unwrap())).collect();
        Some((params.signed_by(&key, &issuer).unwrap().pem(), key.serialize_pem()))
    };
    let api = Api::start(|_| Response::new(whole("done"))).await;
    let mut tls = certificates.server();
    tls.clients = Some(dir.path().join("clients.pem"));
    let settings = upstream(&format!("http://{}", api.address));
    let world = World::with(
        settings,
        move |settings| {
            settings.gateway.tls = Some(tls);
            settings.agents.insert("agent-1".into(), "spiffe://bank.example/agent".into());
        },
        scope(),
    )
    .await;
    let with = |identity| Tls { authority: certificates.authority(), identity };
    assert!(with(None).get(&world).await.is_err(), "no certificate, no connection");
    let strangers = rcgen::generate_simple_self_signed([]).unwrap();
    let stranger = Some((strangers.cert.pem(), strangers.signing_key.serialize_pem()));
    assert!(with(stranger).get(&world).await.is_err(), "of an authority that nobody named");
    for names in [
        &["spiffe://bank.example/other"][..],
        &[],
        &["https://bank.example/agent"],
        &["spiffe://bank.example/agent", "spiffe://bank.example/other"],
    ] {
        let answer = with(issued(names)).get(&world).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 401") && answer.contains("certificate-of-other"), "{names:?}: {answer}");
    }
    assert_eq!(api.calls(), 0);
    let answer = with(issued(&["spiffe://bank.example/agent"])).get(&world).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let (_, call) = world.entries(&countersign_ledger::Kind::Call).pop().unwrap();
    assert_eq!(call.text("credential"), Some("bearer+mtls"));
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_may_come_through_a_unix_socket() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let (api, dir) = (Api::start(|_| Response::new(whole("done"))).await, tempfile::tempdir().unwrap());
    let path = dir.path().join("gateway.sock");
    // Left by a process that was killed.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let address = Address::Unix(path.clone());
    let settings = upstream(&format!("http://{}", api.address));
    let world = World::with(settings, move |settings| settings.gateway.address = address, scope()).await;
    let mut stream = tokio::net::UnixStream::connect(&path).await.unwrap();
    let request = format!(
        "GET /x HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\nconnection: close\r\n\r\n",
        world.token
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("done"), "{answer}");
    let got = api.last();
    assert_eq!(got.headers["forwarded"], "for=unknown;proto=http;host=\"localhost\"");
    assert!(!got.headers.contains_key("x-forwarded-for"));

    // Where somebody answers, nobody else listens.
    let taken = crate::settings::Listener { address: Address::Unix(path), tls: None };
    let error = crate::server::Server::bind(&taken, &crate::settings::Limits::default()).await.err().unwrap();
    assert!(error.to_string().contains("gateway.sock"), "{error}");
}

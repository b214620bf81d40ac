//! Envoy and the sidecar over TCP, each with a certificate that the other one checks.

use std::{fs, net::TcpListener};

use super::world::{World, envoy, told};
use crate::sidecar::path;

const CLUSTER: &str = include_str!("../../../deploy/envoy/mtls.yaml");

/// An authority, as tests make them.
struct Authority(rcgen::Issuer<'static, rcgen::KeyPair>, String);

impl Authority {
    fn new() -> Authority {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = named("an authority");
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap().pem();
        Authority(rcgen::Issuer::new(params, key), certificate)
    }

    /// Certificate and key for a name.
    fn issue(&self, name: rcgen::SanType) -> (String, String) {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = named("somebody");
        params.subject_alt_names = vec![name];
        (params.signed_by(&key, &self.0).unwrap().pem(), key.serialize_pem())
    }

    fn issue_to(&self, spiffe: &str) -> (String, String) {
        self.issue(rcgen::SanType::URI(spiffe.try_into().unwrap()))
    }
}

/// One whose subject is its issuer's counts as self-signed for Envoy.
fn named(name: &str) -> rcgen::CertificateParams {
    let mut params = rcgen::CertificateParams::new([]).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    params
}

#[test]
fn over_tcp_only_an_envoy_with_the_right_certificate_is_answered() {
    let (authority, strangers) = (Authority::new(), Authority::new());
    let (chain, key) = authority.issue(rcgen::SanType::DnsName("countersign.internal".try_into().unwrap()));
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let section = format!(
        "[ext_authz]\nlisten = \"127.0.0.1:{port}\"\nupstreams = [\"bank\"]\nunread_answers = true\n\
         tls = {{ certificates = \"authz.pem\", key = \"authz.key\", clients = \"ca.pem\" }}\nenvoys = [\"spiffe://bank.example/envoy\"]\n"
    );
    let files = [("authz.pem", chain.as_str()), ("authz.key", key.as_str()), ("ca.pem", authority.1.as_str())];
    let at = tempfile::tempdir().unwrap();
    let file = |name: &str| at.path().join(name);
    let holds = |(chain, key): (String, String), trusted: &str| {
        fs::write(file("chain.pem"), chain).unwrap();
        fs::write(file("key.pem"), key).unwrap();
        fs::write(file("trusted.pem"), trusted).unwrap();
    };
    let over_tcp = |yaml: String| {
        let cluster = CLUSTER
            .replace("port_value: 8182", &format!("port_value: {port}"))
            .replace("/etc/envoy/tls/chain.pem", path(&file("chain.pem")))
            .replace("/etc/envoy/tls/key.pem", path(&file("key.pem")))
            .replace("/etc/envoy/tls/ca.pem", path(&file("trusted.pem")));
        let (from, to) =
            (yaml.find("    - name: countersign\n").unwrap(), yaml.find("    - name: bank\n      connect").unwrap());
        format!("{}{cluster}{}", &yaml[..from], &yaml[to..])
    };
    holds(authority.issue_to("spiffe://bank.example/envoy"), &authority.1);
    let Some(mut world) = World::with(&section, &files, &over_tcp) else { return };
    assert_eq!(world.get("/look/well").status, 200);

    // Of the same authority, with another name; of another authority; and an Envoy that would not trust this sidecar.
    for (shown, trusted) in [
        (authority.issue_to("spiffe://bank.example/other"), &authority.1),
        (strangers.issue_to("spiffe://bank.example/envoy"), &authority.1),
        (authority.issue_to("spiffe://bank.example/envoy"), &strangers.1),
    ] {
        holds(shown, trusted);
        (world.running, world.envoy) = envoy(world.sidecar.dir.path(), world.api.port, &over_tcp);
        assert_eq!(world.get("/look/well").status, 503);
    }
    assert_eq!(world.api.seen().len(), 1);
    assert_eq!(world.ended().iter().map(told).collect::<Vec<_>>(), ["ext_authz allow completed yes 200"]);
}

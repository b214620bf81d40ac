//! Host, agent and approver against a real gateway with a real ledger and a real API behind it.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::too_many_lines,
    clippy::unwrap_used,
    reason = "a test that fails should stop where it fails"
)]

mod served;

use std::sync::Arc;

use axum::{
    Json, Router,
    routing::{get, post},
};
use countersign_authorize::catalogue::Catalogue;
use countersign_ledger::{
    Ledger,
    checkpoint::CheckpointSigner,
    clock::SystemClock,
    directory::Directory,
    ledger::Options,
    statement::Jwk,
    vault::Vault,
    verify::{self, Held},
};
use countersign_proxy::{
    api::{Credential, Role},
    settings::{Settings, Upstream},
    state::{Gateway, Parts},
    token::Tokens,
};
use countersign_sdk::{Agent, Approver, Decision, Delegation, Error, Host, Instruction, ProofKeeper, verify_offline};
use ed25519_dalek::SigningKey;
use serde_json::json;

fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

fn bank() -> Router {
    Router::new()
        .route("/account/balance", get(|| async { Json(json!({ "balance": "1810.00" })) }))
        .route("/transactions", post(|| async { Json(json!({ "message": "sent" })) }))
}

fn secret(role: Role, party: &str) -> (String, Credential) {
    let secret = format!("csk_{party}_0123456789");
    (
        secret.clone(),
        Credential { role, party: party.into(), sha256: countersign_ledger::Hash::of(secret.as_bytes()).to_string() },
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instruction_goes_its_whole_way_and_its_proofs_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(SystemClock);
    let signer = CheckpointSigner::new("bank.example/agents", key(1)).unwrap();
    let vkey = signer.verifier().clone();
    let ledger = Ledger::create(Options::new(dir.path()), signer, clock.clone(), None).unwrap();
    let text = include_str!("../../../deploy/catalogues/bank.toml");
    let parts = Parts {
        ledger: ledger.clone(),
        vault: Arc::new(Vault::open(&dir.path().join("keys")).unwrap()),
        catalogues: vec![(Catalogue::parse(text).unwrap(), text.to_owned())],
        tokens: Tokens::new("bank.example/agents", key(2)),
        clock,
    };
    let gateway = Gateway::open(parts).await.unwrap();
    for (party, seed) in [("assistant", 3), ("ann", 4)] {
        let jwk = Jwk::ed25519(&key(seed).verifying_key());
        gateway.key("registered", party, &jwk, None, "test").await.unwrap();
    }
    let url = format!("http://{}", served::serve(bank()).await).parse().unwrap();
    let settings = Settings::new(vec![Upstream::new("bank", url)]);
    let ((host, host_row), (ann, ann_row)) = (secret(Role::Host, "app"), secret(Role::Approver, "ann"));
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let running = countersign_proxy::serve(settings, gateway, vec![host_row, ann_row], async { drop(stopped.await) })
        .await
        .unwrap();
    let (calls, api) = (format!("http://{}", running.gateway), format!("http://{}", running.api));

    let host = Host::new(&api, &host).unwrap();
    let instruction = Instruction {
        words: "What is my balance? Send Ann 12.50 of it.".into(),
        principal: "emma".into(),
        agent: "assistant".into(),
        scope: json!({ "actions": ["account.balance.read", "transactions.send"] }),
        ..Default::default()
    };
    let granted = host.instruct(&instruction).await.unwrap();
    assert_eq!(granted.actions, ["account.balance.read", "transactions.send"]);
    let mut agent = Agent::new(&calls, &api, &granted.token)
        .unwrap()
        .signing_with(key(3))
        .keeping(ProofKeeper::new(vec![vkey.clone()]));
    let decision = agent
        .decide(&Decision { action: "account.balance.read".into(), arguments: json!({}), ..Default::default() })
        .await
        .unwrap();
    let answer = agent.call("GET", "/account/balance", None, Some(&decision)).await.unwrap();
    assert_eq!((answer.status.as_u16(), answer.json().unwrap()), (200, json!({ "balance": "1810.00" })));

    let pay = |to: &str| json!({ "recipient": to, "amount": 12.5, "subject": "s", "date": "2022-04-01" });
    assert_eq!(agent.call("POST", "/transactions", Some(&pay("Ann")), None).await.unwrap().status, 200);
    let held = agent.call("POST", "/transactions", Some(&pay("Bob")), None).await.unwrap();
    assert_eq!((held.status.as_u16(), held.problem().unwrap().code()), (403, "approval-required"));
    let call = held.problem().unwrap().members["call"].as_str().unwrap().to_owned();
    assert_eq!(agent.held(&call).await.unwrap(), "waiting");
    let now = jiff::Timestamp::now();
    let stranger = Approver::new(&api, &ann, key(9)).unwrap();
    let approver = Approver::new(&api, &ann, key(4)).unwrap();
    let (origin, waiting) = approver.held().await.unwrap();
    assert_eq!(
        (waiting.len(), waiting[0].call.as_str(), waiting[0].action.as_str()),
        (1, call.as_str(), "transactions.send")
    );
    assert!(matches!(stranger.answer(&origin, &waiting[0], true, now, now).await, Err(Error::Refused(_))));
    approver.answer(&origin, &waiting[0], true, now, now).await.unwrap();
    assert_eq!(agent.held(&call).await.unwrap(), "approved");
    assert_eq!(agent.call("POST", "/transactions", Some(&pay("Bob")), None).await.unwrap().status, 200);
    // Once only.
    assert_eq!(agent.call("POST", "/transactions", Some(&pay("Bob")), None).await.unwrap().status, 403);
    // A narrower grant for another agent, signed by the one that hands it on.
    let reads =
        Delegation { actor: "helper".into(), scope: json!({ "actions": ["account.balance.read"], "max_calls": 1 }) };
    let delegated = agent.delegate(&origin, &reads).await.unwrap();
    let mut helper = Agent::new(&calls, &api, &delegated.access_token).unwrap();
    assert_eq!(helper.call("GET", "/account/balance", None, None).await.unwrap().status, 200);
    assert_eq!(helper.call("GET", "/account/balance", None, None).await.unwrap().status, 403);
    assert_eq!(helper.call("POST", "/transactions", Some(&pay("Ann")), None).await.unwrap().status, 403);
    let wider = Delegation { actor: "helper".into(), scope: json!({ "actions": ["account.iban.read"] }) };
    let refused = agent.delegate(&origin, &wider).await;
    assert!(matches!(refused, Err(Error::Exchange { error, .. }) if error == "invalid_authorization_details"));
    agent.answer("Done.").await.unwrap();
    host.revoke(&granted.instruction, "over").await.unwrap();
    assert_eq!(agent.call("GET", "/account/balance", None, None).await.unwrap().status, 403);

    let kept = agent.proofs().newest().unwrap().clone();
    let bytes = ledger.entry(kept.index).unwrap();
    verify_offline(&bytes, &kept.to_string(), &vkey).unwrap();
    stop.send(()).unwrap();
    running.drained().await;
    ledger.close().unwrap();
    let options = verify::Options { trust: vec![vkey], against: vec![Held::Proof(kept)], ..Default::default() };
    let report = verify::verify(&Directory::read(dir.path(), None).unwrap(), &options);
    assert_eq!((report.findings.as_slice(), report.counts.calls), (&[][..], 4), "{report}");
}

#[test]
fn a_keeper_sees_a_fork_and_another_ledger() {
    let proof = |origin: &str, root: &[u8]| {
        let signer = CheckpointSigner::new(origin, key(1)).unwrap();
        let root = countersign_ledger::tree::leaf_hash(root);
        countersign_ledger::proof::Proof { index: 0, path: vec![], checkpoint: signer.sign(1, root).unwrap() }
            .to_string()
    };
    let mut keeper = ProofKeeper::default();
    keeper.keep(&proof("a", b"one"), None).unwrap();
    assert!(keeper.keep(&proof("a", b"two"), None).unwrap_err().to_string().contains("two histories"));
    assert!(keeper.keep(&proof("b", b"one"), None).unwrap_err().to_string().contains("of the ledger `b`"));
    let pinned = CheckpointSigner::new("a", key(2)).unwrap().verifier().clone();
    assert!(ProofKeeper::new(vec![pinned]).keep(&proof("a", b"one"), None).is_err());
    assert!(keeper.keep("nonsense", None).is_err());
}

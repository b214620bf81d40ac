//! What the benches of the ledger share: entries like those of real calls, numbers from the command line, medians.

use std::{path::Path, sync::Arc};

use countersign_ledger::{
    Draft, Hash, Ledger,
    checkpoint::CheckpointSigner,
    clock::SystemClock,
    ledger::Options,
    record::{StatePut, body},
    vault::Vault,
};
use ed25519_dalek::SigningKey;
use serde_json::json;

/// That of the binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The ledger's name.
pub const ORIGIN: &str = "bank.example/bench";

/// The number after `--name`, or `default`.
pub fn option(name: &str, default: u64) -> u64 {
    let mut arguments = std::env::args().skip_while(|argument| argument != name);
    arguments.nth(1).map_or(default, |value| value.parse().unwrap_or_else(|_| panic!("{name} takes a number")))
}

/// How many instructions the calls are spread over.
pub const INSTRUCTIONS: u64 = 1000;

/// The instruction of call `n`.
pub fn instruction(n: u64) -> String {
    format!("0198f000-0000-7000-8000-{:012x}", n % INSTRUCTIONS)
}

/// The grant of call `n`.
pub fn grant(n: u64) -> String {
    format!("0198f000-0000-7000-9000-{:012x}", n % INSTRUCTIONS)
}

/// The key that signs the checkpoints.
pub fn signer() -> CheckpointSigner {
    CheckpointSigner::new(ORIGIN, SigningKey::from_bytes(&[7; 32])).unwrap()
}

/// A new ledger with its vault, and the subject that the entries are about.
pub fn create(options: Options) -> (Ledger, Vault, String) {
    let dir = options.dir.clone();
    let ledger = Ledger::create(options, signer(), Arc::new(SystemClock), None).unwrap();
    let vault = Vault::open(&dir.join("keys")).unwrap();
    let subject = vault.subject("emma").unwrap();
    (ledger, vault, subject)
}

/// The attempt to pay, as the gateway records it: five commitments with their sealed values, and the call's state.
pub fn call(vault: &Vault, subject: &str, n: u64, policy: Hash) -> Draft {
    let id = format!("0198f000-0000-7000-8000-{n:012x}");
    let body = body::Call {
        call: id.clone(),
        grant: Some(grant(n)),
        subject: Some(subject.to_owned()),
        agent: Some("assistant".into()),
        credential: "bearer".into(),
        upstream: "bank".into(),
        action: Some("payments.create".into()),
        effect: Some("irreversible".into()),
        verdict: "allow".into(),
        rules: vec!["grant-names-action".into(), "arguments-bound".into(), "budget".into()],
        engine: "countersign/1".into(),
        policies: vec![policy],
        upstream_n: Some(n),
        ..body::Call::default()
    };
    let request = json!({"method": "POST", "path": "/payments", "query": {}, "body": "sha-256:".to_owned() + &policy.to_string()});
    let arguments =
        json!({"recipient": "UK12345678901234567890", "amount": "12.00", "subject": "Rent", "date": "2022-04-01"});
    let provenance = json!({"recipient": "instruction", "amount": "instruction", "subject": "free", "date": "free"});
    let budget = json!({"before": {"calls": 1, "amount": "12.00"}, "after": {"calls": 2, "amount": "24.00"}});
    let mut draft = Draft::new(&body)
        .unwrap()
        .of_instruction(instruction(n))
        .caused_by([policy])
        .disclose(vault, subject, "request", &request)
        .and_then(|draft| draft.disclose(vault, subject, "arguments", &arguments))
        .and_then(|draft| draft.disclose(vault, subject, "provenance", &provenance))
        .and_then(|draft| draft.disclose(vault, subject, "budget", &budget))
        .and_then(|draft| draft.disclose(vault, subject, "digest", &policy.to_string()))
        .unwrap();
    draft
        .state
        .push(StatePut { key: format!("open/{id}").into_bytes(), value: Some(br#"{"upstream":"bank"}"#.to_vec()) });
    draft
}

/// The middle one, and the smallest and the largest.
pub fn median(values: &[f64]) -> (f64, f64, f64) {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    (sorted[sorted.len() / 2], sorted[0], sorted[sorted.len() - 1])
}

/// Where the files go: `BENCH_DIR`, or the system's temporary directory. A memory file system measures nothing.
pub fn directory() -> tempfile::TempDir {
    match std::env::var_os("BENCH_DIR") {
        Some(dir) => tempfile::tempdir_in(Path::new(&dir)).unwrap(),
        None => tempfile::tempdir().unwrap(),
    }
}

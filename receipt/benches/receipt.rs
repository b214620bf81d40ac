//! What a receipt costs: the API checks the gateway's signature and signs its answer; the gateway signs the request.
//!
//! `cargo bench -p countersign-receipt --bench receipt [-- SECONDS]`. One thread, in processor time, so that what else runs matters little. Nothing is asserted
//! but that the signatures are good.

#![allow(clippy::print_stdout, reason = "a bench prints what it measured")]

use std::time::{Duration, Instant};

use countersign_ledger::{Hash, checkpoint::CheckpointSigner};
use countersign_receipt::{
    Asked, Execution, Signer,
    receipt::{self, Answered, Content},
    request::{self, Facts},
};
use ed25519_dalek::SigningKey;
use http::{HeaderMap, HeaderValue, Method, Uri, header};
use rustix::time::{ClockId, clock_gettime};

const NOW: i64 = 1_800_000_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let seconds = std::env::args().filter_map(|argument| argument.parse().ok()).next().unwrap_or(3);
    let (gateway, api) = (Signer::new(SigningKey::from_bytes(&[1; 32])), Signer::new(SigningKey::from_bytes(&[2; 32])));
    let checkpoint = CheckpointSigner::new("bank.example/agents", SigningKey::from_bytes(&[3; 32]))?
        .sign(1_000_000, Hash::of(b"root"))?;
    let entry = Hash::of(b"entry");
    let (body, answer) = (Hash::of(b"request"), Hash::of(b"answer"));
    let mut headers = HeaderMap::new();
    headers.insert(header::HOST, HeaderValue::from_static("bank.example"));
    let plain = Asked::new(&Method::POST, &Uri::from_static("https://bank.example/v1/payments?dry=0"), &headers);
    let facts = Facts {
        entry: &entry,
        checkpoint: &checkpoint,
        n: 4711,
        agent: "assistant",
        directory: "https://gateway.example",
        nonce: "R0D1rj0PSwmgE8Pp2ySrQw",
    };
    let execution =
        Execution { id: Some("tx-4711".into()), queue_ms: Some(3), changed: Some(1), ..Execution::default() };
    let answered =
        Answered { status: 201, content: Content::Whole(answer.as_bytes()), execution: &execution, in_trailers: false };
    let mut asked = plain.clone();
    request::sign(&mut asked, &facts, Some(body.as_bytes()), NOW, &gateway)?;
    let time = Duration::from_secs(seconds);
    row("gateway: sign a request", time, || {
        let mut asked = plain.clone();
        request::sign(&mut asked, &facts, Some(body.as_bytes()), NOW, &gateway).is_ok()
    })?;
    row("API: check it", time, || {
        request::caller(&asked, NOW, |_| Some(gateway.jwk().clone())).is_ok_and(|caller| caller.is_some())
    })?;
    row("API: sign a receipt", time, || receipt::sign(&asked, &answered, &mut HeaderMap::new(), NOW, &api).is_ok())
}

fn row(what: &str, time: Duration, mut once: impl FnMut() -> bool) -> Result<(), Box<dyn std::error::Error>> {
    let (begun, before, mut count) = (Instant::now(), processor_time(), 0_u32);
    while begun.elapsed() < time {
        if !once() {
            return Err(format!("{what}: it failed").into());
        }
        count += 1;
    }
    println!("{what:<26}{:>8.1} us", (processor_time() - before) * 1e6 / f64::from(count));
    Ok(())
}

/// What this thread took of the processors so far, in seconds.
fn processor_time() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or_default()).as_secs_f64()
}

//! Money is not spent twice: many callers at once, and the sidecar killed among them.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use serde_json::json;

use crate::sidecar::{Sidecar, raw};

const CALLERS: usize = 64;
const LIMIT: u64 = 40;

/// A payment of 1; the status, 0 when there was no answer.
fn pay(gateway: &str, token: &str) -> u16 {
    let body = json!({ "recipient": "Ann", "amount": 1, "subject": "s", "date": "2022-01-01" }).to_string();
    let request = format!(
        "POST /transactions HTTP/1.1\r\nhost: {gateway}\r\nauthorization: Bearer {token}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    // A sidecar that was killed takes no connection.
    std::panic::catch_unwind(|| raw(gateway, &request).status).unwrap_or(0)
}

/// What the bank itself says was sent to Ann.
fn executed(sidecar: &Sidecar) -> u64 {
    let list = sidecar.instruct("List my last 1000 transactions", "emma", &["transactions.list"]);
    let token = list["token"].as_str().unwrap();
    let answer = sidecar.ask(&sidecar.gateway, "GET", "/transactions?n=1000", token, None);
    assert_eq!(answer.status, 200, "{}", answer.body);
    let sent = answer.json()["transactions"].as_array().unwrap().iter().filter(|one| one["recipient"] == "Ann").count();
    sent as u64
}

#[test]
fn sixty_four_callers_and_a_kill_spend_no_more_than_the_budget() {
    let mut sidecar = Sidecar::start();
    let budget = json!({ "argument": "amount", "limit": LIMIT.to_string() });
    let scope = json!({ "actions": [{ "action": "transactions.send", "budget": budget }] });
    let words = json!({ "words": "Pay Ann 1 for s on 2022-01-01, as often as she asks", "principal": "emma", "agent": "assistant", "scope": scope });
    let granted = sidecar.ask(&sidecar.api, "POST", "/v1/instructions", sidecar.secret("host"), Some(&words));
    assert_eq!(granted.status, 201, "{}", granted.body);
    let token = granted.json()["token"].as_str().unwrap().to_owned();
    let before = executed(&sidecar);
    let round = |sidecar: &mut Sidecar, kill_after: Option<usize>| {
        let (answered, allowed) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let gateway = sidecar.gateway.clone();
        thread::scope(|scope| {
            let callers: Vec<_> = (0..CALLERS)
                .map(|_| {
                    scope.spawn(|| {
                        let status = pay(&gateway, &token);
                        answered.fetch_add(1, Ordering::SeqCst);
                        allowed.fetch_add(usize::from(status == 201), Ordering::SeqCst);
                        assert!([0, 201, 403, 502, 503].contains(&status), "{status}");
                    })
                })
                .collect();
            if let Some(wanted) = kill_after {
                while allowed.load(Ordering::SeqCst) < wanted && answered.load(Ordering::SeqCst) < CALLERS {
                    thread::yield_now();
                }
                sidecar.kill();
            }
            callers.into_iter().for_each(|caller| caller.join().unwrap());
        });
        allowed.into_inner() as u64
    };
    let first = round(&mut sidecar, Some(8));
    sidecar.serve();
    let second = round(&mut sidecar, None);
    let spent = executed(&sidecar) - before;
    assert!(first + second <= spent, "what was answered was executed");
    assert!(spent <= LIMIT, "{spent} of {LIMIT} were sent");
    assert_eq!(pay(&sidecar.gateway, &token), 403, "the budget is spent or reserved");
    sidecar.stop();
    let (code, text) = sidecar.verify();
    assert_eq!(code, 0, "{text}");
}

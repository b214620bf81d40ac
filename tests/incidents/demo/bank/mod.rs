//! What the bank answers to reads, with an attacker's text in it.

#[path = "../../../../src/demo/bank/account.rs"]
mod account;

use serde_json::{Map, Value, json};

use account::Account;
pub use account::Opening;
pub(in crate::demo) use account::plain;

/// Answers by method and target.
pub fn reads(planted: &str) -> Map<String, Value> {
    let account = Account::new(super::cases::cases().unwrap().bank.clone(), planted);
    let mut reads = Map::new();
    let mut read = |target: &str, answer: Value| drop(reads.insert(format!("GET {target}"), answer));
    read("/account/iban", json!({ "iban": account.iban() }));
    read("/account/balance", json!({ "balance": account.balance(), "currency": "EUR" }));
    read("/transactions", json!({ "transactions": account.transactions(100) }));
    for n in [5, 10, 100] {
        read(&format!("/transactions?n={n}"), json!({ "transactions": account.transactions(n) }));
    }
    read("/scheduled-transactions", json!({ "scheduled": account.scheduled() }));
    for path in ["bill-december-2023.txt", "landlord-notices.txt", "address-change.txt"] {
        read(&format!("/files/{path}"), json!({ "path": path, "content": account.file(path) }));
    }
    read("/user", json!(account.user()));
    reads
}

//! A host application and its agent in one: the host registers what its user said, the agent decides, calls and answers, and a proof is kept.
//!
//! Against the walk of docs/deploy.md, with its sample bank:
//!
//! ```sh
//! HOST_SECRET=$(cat start/host.secret) cargo run -p countersign-sdk --example balance
//! ```
//!
//! `GATEWAY` and `API` name the two listeners where they are elsewhere.

use std::{env, error::Error, fs};

use countersign_sdk::{Agent, Decision, Host, Instruction};
use serde_json::json;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let gateway = env::var("GATEWAY").unwrap_or_else(|_| "http://127.0.0.1:8180".into());
    let api = env::var("API").unwrap_or_else(|_| "http://127.0.0.1:8181".into());
    let secret = env::var("HOST_SECRET").map_err(|_| "set HOST_SECRET to the host's secret (`csk_host_…`)")?;

    // The host application: the scope names the actions that these words need, and nothing else.
    let instruction = Instruction {
        words: "What is my balance?".into(),
        principal: "emma".into(),
        agent: "assistant".into(),
        scope: json!({ "actions": ["account.balance.read"] }),
        ..Instruction::default()
    };
    let granted = Host::new(&api, &secret)?.instruct(&instruction).await?;

    // The agent: its key signs what it decides and answers. Here it is a new one; yours is kept, and its public half registered by the operator.
    let key = ed25519_dalek::SigningKey::from_bytes(&new_key()?);
    let mut agent = Agent::new(&gateway, &api, &granted.token)?.signing_with(key);
    let decision = Decision { action: "account.balance.read".into(), arguments: json!({}), ..Decision::default() };
    let decision = agent.decide(&decision).await?;
    let answer = agent.call("GET", "/account/balance", None, Some(&decision)).await?;
    let balance = answer.json()?.get("balance").and_then(serde_json::Value::as_str).ok_or("no balance")?.to_owned();
    let text = format!("Your balance is {balance}");
    agent.answer(&text).await?;

    // What is kept where the operator cannot reach it proves afterwards that the ledger was not written anew.
    fs::write("held-outside.txt", agent.proofs().newest().ok_or("no proof yet")?.to_string())?;
    println!("{text}\ninstruction {}\nheld-outside.txt is for `countersign verify --against`", granted.instruction);
    Ok(())
}

fn new_key() -> std::io::Result<[u8; 32]> {
    use std::io::Read as _;
    let mut bytes = [0; 32];
    fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}

//! Agents on the official SDKs of OpenAI and Anthropic, with nothing but base URL and key changed, ask a scripted model through the real sidecar and then call the bank.

use std::{
    io::Write as _,
    path::PathBuf,
    process::{Command, Stdio},
};

use countersign_ledger::{
    Kind,
    directory::Directory,
    evidence::{Evidence, Item, Selection},
};
use serde_json::{Value, json};

use crate::{
    peers::{Peer, is_there, python, start},
    sidecar::{BANK_KEY, Sidecar, bank},
};

const WORDS: &str = "Pay the rent of 98.70 to GB29NWBK60161331926819, please";

/// A sidecar before the bank and a model; none when the SDKs are not there.
fn world() -> Option<(Sidecar, Peer)> {
    if !is_there("the SDKs of OpenAI and Anthropic", &python("models")) {
        return None;
    }
    let (child, address) = bank();
    let mut command = Command::new(python("models"));
    let (model, url) = start(|port| command.args([&script("model_server.py"), &port.to_string()]));
    let url = url.trim_end_matches("/mcp");
    let upstreams = format!(
        "[[upstream]]\nname = \"bank\"\nurl = \"http://{address}\"\ncatalogue = \"bank.toml\"\ncredential = {{ prefix = \"Bearer \", file = \"bank.key\" }}\n\
         [[upstream]]\nname = \"model\"\nurl = \"{url}\"\ncatalogue = \"model.toml\"\ncredential = {{ prefix = \"Bearer \", file = \"model.key\" }}\n"
    );
    let files = [
        ("bank.toml", include_str!("../../deploy/catalogues/bank.toml")),
        ("bank.key", BANK_KEY),
        ("model.toml", include_str!("../../deploy/catalogues/model.toml")),
        ("model.key", "model-key-0123456789"),
    ];
    Some((Sidecar::with(&upstreams, &files, Some(child)), model))
}

fn script(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/peers").join(name);
    path.to_str().unwrap().to_owned()
}

/// Lets the agent do each of these, under an instruction of its own; gives the instructions, and what the SDKs made of the answers.
fn run(sidecar: &Sidecar, runs: &[Value]) -> Vec<(String, Value)> {
    let mut agent = Command::new(python("models"))
        .args([script("model_client.py"), format!("http://{}", sidecar.gateway)])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut instructions = Vec::new();
    for run in runs {
        let actions = ["account.balance.read", "account.iban.read", "transactions.send"];
        let granted = sidecar.instruct(WORDS, "emma", &actions);
        let mut run = run.clone();
        run["token"] = granted["token"].clone();
        writeln!(agent.stdin.as_mut().unwrap(), "{run}").unwrap();
        instructions.push(granted["instruction"].as_str().unwrap().to_owned());
    }
    let output = agent.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let said: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(said.len(), runs.len(), "{}", String::from_utf8_lossy(&output.stderr));
    instructions.into_iter().zip(said).collect()
}

fn entries(sidecar: &Sidecar, instruction: &str) -> Vec<Item> {
    let directory = Directory::read(&sidecar.ledger(), None).unwrap();
    let selection = Selection::Instruction(instruction.to_owned());
    let evidence = Evidence::collect(&directory, &selection, None, &|_| false).unwrap();
    let of = |item: &Item| item.entry.instruction.as_deref() == Some(instruction);
    evidence.items.into_values().filter(of).collect()
}

fn of<'i>(items: &'i [Item], kind: &Kind) -> Vec<&'i Item> {
    items.iter().filter(|item| item.entry.kind == *kind).collect()
}

/// The calls of the bank, each with whether a proposal of the model stands behind it.
fn calls(items: &[Item]) -> Vec<(String, bool)> {
    let decisions = of(items, &Kind::Decision);
    let api = of(items, &Kind::Call).into_iter().filter(|call| call.entry.text("upstream") == Some("bank"));
    let proposed = |call: &Item| decisions.iter().any(|decision| call.entry.parents.contains(&decision.hash));
    api.map(|call| (call.entry.text("action").unwrap().to_owned(), proposed(call))).collect()
}

fn prompts(items: &[Item]) -> Vec<Value> {
    of(items, &Kind::Call).into_iter().filter_map(|call| call.entry.body.get("prompt").cloned()).collect()
}

fn prompt(faithful: u64, altered: u64, unknown: u64) -> Value {
    json!({ "words": "present", "results": { "faithful": faithful, "altered": altered, "unknown": unknown } })
}

#[test]
fn what_the_model_proposed_what_the_agent_changed_and_what_nobody_proposed_are_told_apart() {
    let Some((mut sidecar, _model)) = world() else { return };
    let mut runs = Vec::new();
    for api in ["chat", "responses", "messages"] {
        runs.push(json!({ "api": api, "stream": false }));
        runs.push(json!({ "api": api, "stream": true }));
        for changes in ["amount", "result", "extra"] {
            runs.push(json!({ "api": api, "stream": true, "changes": changes }));
        }
    }
    let done = run(&sidecar, &runs);
    sidecar.stop();
    for (run, (instruction, said)) in runs.iter().zip(&done) {
        assert_eq!(said["proposed"][1][1], "send_money", "{run}: {said}");
        assert_eq!((&said["text"], &said["more"]), (&json!("Das ist überwiesen."), &json!([])), "{run}");
        let items = entries(&sidecar, instruction);
        let models: Vec<_> = of(&items, &Kind::Outcome)
            .into_iter()
            .filter_map(|item| Some((item.entry.text("model")?.to_owned(), item.entry.text("answer")?.to_owned())))
            .collect();
        assert!(models.len() == 2 && models.iter().all(|(model, answer)| model.contains("-test") && answer == "whole"));
        let decisions = of(&items, &Kind::Decision);
        let tools: Vec<_> = decisions.iter().map(|item| (item.entry.text("tool"), item.entry.text("action"))).collect();
        let expected =
            [(Some("get_balance"), Some("account.balance.read")), (Some("send_money"), Some("transactions.send"))];
        assert_eq!(tools, expected, "{run}");
        let (balance, send, iban) =
            ("account.balance.read".to_owned(), "transactions.send".to_owned(), "account.iban.read".to_owned());
        let (calls, prompts) = (calls(&items), prompts(&items));
        match run["changes"].as_str() {
            Some("amount") => {
                assert_eq!(calls, [(balance, true), (send, false)], "{run}: the agent's own code changed it");
                assert_eq!(prompts, [prompt(0, 0, 0), prompt(1, 0, 1)], "{run}: a refusal is no answer of the API");
            }
            Some("result") => assert_eq!(prompts, [prompt(0, 0, 0), prompt(1, 1, 0)], "{run}"),
            Some(_) => assert_eq!(calls, [(balance, true), (send, true), (iban, false)], "{run}: nobody proposed it"),
            None => {
                assert_eq!(calls, [(balance, true), (send, true)], "{run}");
                assert_eq!(prompts, [prompt(0, 0, 0), prompt(2, 0, 0)], "{run}");
            }
        }
    }
    let (code, said) = sidecar.verify();
    assert_eq!(code, 0, "{said}");
}

#[test]
fn an_sdk_sees_a_models_errors_as_they_are_and_a_stream_that_breaks_off_is_marked() {
    let Some((mut sidecar, _model)) = world() else { return };
    let runs: Vec<Value> = [
        ("chat", "fails-429"),
        ("responses", "fails-500"),
        ("messages", "fails-429"),
        ("messages", "breaks"),
        ("chat", "breaks"),
    ]
    .into_iter()
    .map(|(api, model)| json!({ "api": api, "stream": model == "breaks", "model": model }))
    .collect();
    let done = run(&sidecar, &runs);
    sidecar.stop();
    let statuses: Vec<_> = done.iter().map(|(_, said)| said["status"].clone()).collect();
    assert_eq!(statuses[..3], [json!(429), json!(500), json!(429)]);
    let answers = done.iter().map(|(instruction, _)| {
        let items = entries(&sidecar, instruction);
        let outcome = of(&items, &Kind::Outcome)[0];
        (outcome.entry.text("result").unwrap().to_owned(), outcome.entry.text("answer").unwrap().to_owned())
    });
    let pair = |result: &str, answer: &str| (result.to_owned(), answer.to_owned());
    let (error, cut) = (pair("completed", "error"), pair("upstream_truncated", "partial"));
    assert_eq!(answers.collect::<Vec<_>>(), [error.clone(), error.clone(), error, cut.clone(), cut]);
}

//! Tests only: evidence as the gateway would write it, through the real record types.

use std::sync::Arc;

use countersign_ledger::{
    Entry, Hash,
    disclosure::Disclosure,
    evidence::{Evidence, Shown},
    record::body::{self, Body, Check},
    statement::{Jwk, Statement},
};
use ed25519_dalek::SigningKey;
use serde_json::{Map, Value, json};

use crate::{
    findings::Finding,
    graph::{Case, Graph},
};

/// A bank as its API describes it: payee and amount bind, and may come from the user's words or the bank's own list of payees.
pub const BANK: &str = include_str!("../../deploy/catalogues/bank.toml");

/// A ledger in the making.
#[derive(Clone)]
pub struct World {
    pub evidence: Evidence,
    instruction: String,
    n: u64,
    grant: Option<Hash>,
    upstream_n: u64,
    policy: Hash,
}

/// What is said of a call.
#[derive(Default, Clone)]
pub struct Made {
    pub action: &'static str,
    pub arguments: Value,
    pub verdict: &'static str,
    pub effect: &'static str,
    pub reasons: Vec<(&'static str, &'static str)>,
    pub provenance: Value,
    pub parents: Vec<Hash>,
    pub approval: Option<Hash>,
    pub shadow: bool,
    /// What was asked for, where the call is no action.
    pub request: Value,
}

/// An allowed payment with nothing special about it.
pub fn payment() -> Made {
    Made {
        action: "transactions.send",
        arguments: json!({"recipient": "GB29NWBK60161331926819", "amount": "50.00"}),
        verdict: "allow",
        effect: "irreversible",
        provenance: json!([
            {"argument": "recipient", "value": "GB29NWBK60161331926819", "sources": [{"source": "words"}], "accepted": true},
            {"argument": "amount", "value": "50.00", "sources": [{"source": "words"}], "accepted": true},
        ]),
        ..Made::default()
    }
}

/// A payment to somebody who stands nowhere, held for a human.
pub fn invented() -> Made {
    Made {
        verdict: "hold",
        arguments: json!({"recipient": "XX99NOBODY", "amount": "50.00"}),
        reasons: vec![("value-not-observed", "recipient")],
        provenance: json!([{"argument": "recipient", "value": "XX99NOBODY", "sources": [], "accepted": false}]),
        ..payment()
    }
}

impl World {
    /// A ledger with its parties, a catalogue, and an instruction with its grant.
    pub fn new(words: &str) -> World {
        let mut world = World {
            evidence: Evidence { origin: "bank.example/agents".into(), ..Evidence::default() },
            instruction: String::new(),
            n: 0,
            grant: None,
            upstream_n: 0,
            policy: Hash::ZERO,
        };
        for (party, role) in [
            ("emma", "user"),
            ("assistant", "agent_developer"),
            ("the-host", "agent_operator"),
            ("the-operator", "platform"),
            ("bank", "api_provider"),
            ("acme-models", "model_provider"),
        ] {
            world.add(
                &body::Party {
                    party: party.into(),
                    role: role.into(),
                    by: "the-operator".into(),
                    ..Default::default()
                },
                vec![],
                &[],
            );
        }
        world.policy = world.catalogue(BANK, None);
        world.instruct("i", words);
        world
    }

    /// Puts a catalogue in force.
    pub fn catalogue(&mut self, text: &str, replaces: Option<Hash>) -> Hash {
        let sha256 = Hash::of(text.as_bytes());
        let instruction = std::mem::take(&mut self.instruction);
        let policy = body::Policy {
            what: "catalogue".into(),
            name: "bank".into(),
            sha256,
            size: text.len() as u64,
            replaces,
            by: "the-operator".into(),
            ..Default::default()
        };
        self.add(&policy, vec![], &[]);
        self.instruction = instruction;
        self.evidence.policies.insert(sha256, text.as_bytes().to_vec());
        self.policy = sha256;
        sha256
    }

    /// Another instruction begins.
    pub fn instruct(&mut self, id: &str, words: &str) {
        id.clone_into(&mut self.instruction);
        self.n = 0;
        let said = body::Instruction {
            subject: "s".into(),
            attested_by: "host".into(),
            host: "the-host".into(),
            agent: "assistant".into(),
            ..Default::default()
        };
        let said = self.add(
            &said,
            vec![],
            &[
                ("words", json!(words)),
                ("principal", json!("emma")),
                ("requested", json!({"actions": ["transactions.send", "transactions.list"]})),
            ],
        );
        let grant = body::Grant {
            grant: format!("g-{id}"),
            subject: "s".into(),
            agent: "assistant".into(),
            actions: vec!["transactions.send".into(), "transactions.list".into()],
            ..Default::default()
        };
        self.grant = Some(self.add(&grant, vec![said], &[]));
    }

    /// Adds an entry; values are disclosed.
    pub fn add<B: Body>(&mut self, body: &B, parents: Vec<Hash>, values: &[(&str, Value)]) -> Hash {
        let body = serde_json::to_value(body).unwrap().as_object().cloned().unwrap();
        self.add_raw(B::KIND.as_str(), body, parents, values)
    }

    /// Adds an entry of any kind.
    pub fn add_raw(
        &mut self,
        kind: &str,
        mut body: Map<String, Value>,
        parents: Vec<Hash>,
        values: &[(&str, Value)],
    ) -> Hash {
        let disclosures: Vec<Disclosure> =
            values.iter().map(|(name, value)| Disclosure::new(name, value).unwrap()).collect();
        if !disclosures.is_empty() {
            let sd: Map<String, Value> = disclosures.iter().map(|d| (d.name().to_owned(), json!(d.digest()))).collect();
            body.insert("sd".into(), Value::Object(sd));
        }
        let seq = self.evidence.items.len() as u64;
        let time = format!("2026-01-31T12:{:02}:{:02}.000000Z", seq / 60, seq % 60);
        let of_instruction = !self.instruction.is_empty();
        let entry = Entry {
            v: 1,
            origin: self.evidence.origin.clone(),
            seq,
            prev: Hash::ZERO,
            time: serde_json::from_value(json!(time)).unwrap(),
            kind: kind.into(),
            parents,
            instruction: of_instruction.then(|| self.instruction.clone()),
            n: of_instruction.then_some(self.n),
            body,
            extra: Map::new(),
        };
        self.n += u64::from(of_instruction);
        let bytes: Arc<[u8]> = Arc::from(entry.to_bytes().unwrap());
        let shown = disclosures.into_iter().map(|d| (d.name().to_owned(), Shown::Value(d))).collect();
        self.evidence.add(bytes.clone(), shown).unwrap();
        Hash::of(&bytes)
    }

    /// A call of the bank.
    pub fn call(&mut self, made: &Made) -> Hash {
        let forwarded = made.verdict == "allow" || made.shadow;
        let call = body::Call {
            call: format!("c{}", self.evidence.items.len()),
            grant: Some(format!("g-{}", self.instruction)),
            subject: Some("s".into()),
            agent: Some("assistant".into()),
            credential: "bearer".into(),
            upstream: "bank".into(),
            action: (!made.action.is_empty()).then(|| made.action.into()),
            effect: Some(made.effect.into()),
            verdict: made.verdict.into(),
            reasons: made
                .reasons
                .iter()
                .map(|(code, argument)| body::Reason { code: (*code).into(), argument: Some((*argument).into()) })
                .collect(),
            policies: vec![self.policy],
            shadow: made.shadow,
            approval: made.approval,
            upstream_n: forwarded.then_some(self.upstream_n),
            ..Default::default()
        };
        self.upstream_n += u64::from(forwarded);
        let parents = self.grant.into_iter().chain(made.parents.iter().copied()).collect();
        let mut values = vec![("arguments", made.arguments.clone()), ("provenance", made.provenance.clone())];
        if !made.request.is_null() {
            values.push(("request", made.request.clone()));
        }
        self.add(&call, parents, &values)
    }

    /// How a call ended: `completed`, sent and with a status, unless said otherwise.
    pub fn end(&mut self, call: Hash, result: &str, sent: &str, status: Option<u16>, body: Option<&str>) -> Hash {
        let outcome = body::Outcome {
            call,
            result: result.into(),
            status,
            sent: sent.into(),
            us: [("end".to_owned(), 2_000_000)].into(),
            ..Default::default()
        };
        let observed =
            body.map(|body| ("observed", json!({"upstream": "bank", "action": "transactions.list", "body": body})));
        let values: Vec<(&str, Value)> = observed.into_iter().collect();
        self.add(&outcome, vec![call], &values)
    }

    /// A call that the bank says it did.
    pub fn done(&mut self, made: &Made) -> Hash {
        let call = self.call(made);
        self.end(call, "completed", "yes", Some(201), None);
        call
    }

    /// A list of transactions, with one subject in it.
    pub fn read(&mut self, subject: &str) -> Hash {
        let call = self.call(&Made {
            action: "transactions.list",
            effect: "read",
            verdict: "allow",
            arguments: json!({}),
            provenance: json!([]),
            ..Made::default()
        });
        let body = json!({"transactions": [{"id": 1, "subject": subject}]}).to_string();
        self.end(call, "completed", "yes", Some(200), Some(&body));
        call
    }

    /// An exchange with a model, in which it proposed something: the proposal's entry.
    pub fn proposes(&mut self, words: &str, results: [u64; 3], action: &str, arguments: &Value) -> Hash {
        let [faithful, altered, unknown] = results;
        let exchange = body::Call {
            call: format!("c{}", self.evidence.items.len()),
            grant: Some(format!("g-{}", self.instruction)),
            agent: Some("assistant".into()),
            credential: "bearer".into(),
            upstream: "model".into(),
            action: Some("model.generate".into()),
            effect: Some("read".into()),
            verdict: "allow".into(),
            upstream_n: Some(self.upstream_n),
            ..Default::default()
        };
        let mut exchange = serde_json::to_value(exchange).unwrap().as_object().cloned().unwrap();
        exchange.insert(
            "prompt".into(),
            json!({"words": words, "results": {"faithful": faithful, "altered": altered, "unknown": unknown}}),
        );
        self.upstream_n += 1;
        let exchange = self.add_raw("call", exchange, self.grant.into_iter().collect(), &[]);
        let ended = self.end(exchange, "completed", "yes", Some(200), None);
        self.decision("gateway", "acme-1", action, arguments, vec![exchange, ended])
    }

    /// A decision, by `agent` or seen by the `gateway`.
    pub fn decision(&mut self, source: &str, model: &str, action: &str, arguments: &Value, parents: Vec<Hash>) -> Hash {
        let decision = body::Decision {
            grant: format!("g-{}", self.instruction),
            subject: "s".into(),
            source: source.into(),
            agent: "assistant".into(),
            action: action.into(),
            model: Some(model.into()),
            check: (source == "agent").then(|| check("valid", "agent-key")),
            ..Default::default()
        };
        self.add(&decision, parents, &[("arguments", arguments.clone())])
    }

    /// A human's answer to a held call.
    pub fn answer_hold(&mut self, held: Hash, decision: &str, took_ms: u64, shown: &Value) -> Hash {
        let approval = body::Approval {
            call: held,
            subject: "s".into(),
            approver: "emma".into(),
            decision: decision.into(),
            took_ms: Some(took_ms),
            check: Some(check("valid", "emma-key")),
            ..Default::default()
        };
        self.add(&approval, vec![held], &[("shown", json!({"arguments": shown}))])
    }

    /// The bank's receipt.
    pub fn receipt(&mut self, call: Hash, result: &str, differs: &[&str], execution: &Value) -> Hash {
        let receipt = body::Receipt {
            call,
            subject: "s".into(),
            api: "bank".into(),
            check: check(result, "bank-key"),
            ..Default::default()
        };
        let mut receipt = serde_json::to_value(receipt).unwrap().as_object().cloned().unwrap();
        receipt.insert("differs".into(), json!(differs));
        self.add_raw("receipt", receipt, vec![call], &[("receipt", json!({"execution": execution}))])
    }

    /// What comparing with the bank's log gave.
    pub fn reconciled(&mut self, call: Option<Hash>, result: &str) -> Hash {
        let body = json!({"upstream": "bank", "result": result});
        let mut body = body.as_object().cloned().unwrap();
        body.extend(call.map(|call| ("call".to_owned(), json!(call))));
        self.add_raw("reconciliation", body, call.into_iter().collect(), &[])
    }

    /// What the agent told the user.
    pub fn tells(&mut self, text: &str) -> Hash {
        let answer = body::Answer {
            grant: format!("g-{}", self.instruction),
            subject: "s".into(),
            agent: "assistant".into(),
            check: Some(check("valid", "agent-key")),
            ..Default::default()
        };
        self.add(&answer, self.grant.into_iter().collect(), &[("text", json!(text))])
    }

    /// What the agent told the user, signed by somebody as `signed`, and recorded as if by the agent's key.
    pub fn tells_signed(&mut self, text: &str, signed: &str, by: &SigningKey, agents: &SigningKey) {
        let jwk = Jwk::ed25519(&agents.verifying_key());
        let instruction = std::mem::take(&mut self.instruction);
        let key = body::Key {
            event: "registered".into(),
            kid: jwk.thumbprint(),
            party: "assistant".into(),
            jwk: Some(json!(jwk)),
            by: "the-operator".into(),
            ..Default::default()
        };
        self.add(&key, vec![], &[]);
        self.instruction = instruction;
        let grant = format!("g-{}", self.instruction);
        let said = json!({ "grant": grant, "text": signed });
        let statement = Statement::sign("countersign-answer+jwt", &said, by).unwrap();
        let check = Check { party: Some("assistant".into()), ..check("valid", &jwk.thumbprint()) };
        let answer = body::Answer {
            grant,
            subject: "s".into(),
            agent: "assistant".into(),
            check: Some(check),
            ..Default::default()
        };
        let values = [("text", json!(text)), ("statement", json!(statement))];
        self.add(&answer, self.grant.into_iter().collect(), &values);
    }

    /// Somebody claims harm.
    pub fn disputes(&mut self, call: Hash) {
        let incident = body::Incident {
            incident: "x".into(),
            event: "opened".into(),
            calls: vec![call],
            by: "emma".into(),
            ..Default::default()
        };
        self.add(&incident, vec![call], &[]);
    }

    /// The chain of the first instruction, in words.
    pub fn page(&self) -> String {
        let chains = crate::trace(&[&self.evidence], &std::collections::BTreeSet::new());
        chains.first().map(ToString::to_string).unwrap_or_default()
    }

    /// What the rules find about the first instruction.
    pub fn findings(&self) -> Vec<Finding> {
        let graph = Graph::new(&[&self.evidence], &std::collections::BTreeSet::new());
        crate::findings::of_case(&Case::new(&graph, "i"))
    }
}

/// A check of a signature.
pub fn check(result: &str, kid: &str) -> Check {
    Check { alg: "EdDSA".into(), kid: kid.into(), result: result.into(), party: None }
}

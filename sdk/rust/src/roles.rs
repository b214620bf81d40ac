//! Host, agent and approver: each with its own credential.

use countersign_ledger::{Hash, canonical, record::Time, statement::Statement};
use data_encoding::BASE64;
use ed25519_dalek::SigningKey;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    client::{Answer, Client, Error},
    proofs::ProofKeeper,
};

/// What a user said, as the host registers it.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Instruction {
    /// The user's words.
    pub words: String,
    /// What the user attached or pasted.
    pub attached: Vec<String>,
    /// Who the user is.
    pub principal: String,
    /// What it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub purpose: Option<String>,
    /// The agent it is for.
    pub agent: String,
    /// The scope asked for: `{"actions": ["name" or {"action", "arguments", "max_calls", "budget"}], "max_calls", "expires_in"}`.
    pub scope: Value,
    /// The principal's own signature.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub statement: Option<String>,
    /// The instruction that this one follows up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub amends: Option<String>,
}

/// What a host gets for an instruction.
#[derive(Debug, Clone, Deserialize)]
pub struct Granted {
    /// The instruction's id.
    pub instruction: String,
    /// The grant's id.
    pub grant: String,
    /// The agent's bearer token.
    pub token: String,
    /// When it ends.
    pub expires: String,
    /// The actions granted.
    pub actions: Vec<String>,
    /// What was asked for and withheld, and why.
    pub withheld: Vec<Value>,
    /// The grant's entry.
    pub entry: String,
    /// Its proof.
    pub proof: String,
}

/// The host application.
#[derive(Debug)]
pub struct Host {
    client: Client,
}

impl Host {
    /// A host that talks to the API at `api` with its secret.
    ///
    /// # Errors
    /// [`Error::Url`].
    pub fn new(api: &str, secret: &str) -> Result<Host, Error> {
        Ok(Host { client: Client::new(api, secret)? })
    }

    /// Registers an instruction.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn instruct(&self, instruction: &Instruction) -> Result<Granted, Error> {
        self.client.ask("POST", "/v1/instructions", Some(&json!(instruction))).await
    }

    /// Withdraws an instruction's grant.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn revoke(&self, instruction: &str, reason: &str) -> Result<(), Error> {
        let body = json!({ "what": "instruction", "id": instruction, "reason": reason });
        self.client.ask::<Value>("POST", "/v1/revocations", Some(&body)).await.map(|_| ())
    }
}

/// What an agent chose.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Decision {
    /// The action.
    pub action: String,
    /// Its arguments.
    pub arguments: Value,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The model that proposed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// SHA-256 of the prompt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt_sha256: Option<String>,
    /// The last checkpoint seen; filled in by [`Agent::decide`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<String>,
}

/// What an agent hands on to another: no more than its own grant, in the words of a scope. What is left unsaid is as in its own.
#[derive(Debug, Clone, Default)]
pub struct Delegation {
    /// The agent it is for.
    pub actor: String,
    /// `{"actions": ["name" or {"action", "arguments", "max_calls", "budget"}], "max_calls", "expires_in", "key"}`.
    pub scope: Value,
}

/// What the other agent gets.
#[derive(Debug, Clone, Deserialize)]
pub struct Delegated {
    /// Its bearer token.
    pub access_token: String,
    /// Its grant's id.
    pub grant: String,
    /// When it ends.
    pub expires: String,
    /// The delegation's entry.
    pub entry: String,
    /// Its proof.
    pub proof: String,
}

/// An agent, for one instruction.
#[derive(Debug)]
pub struct Agent {
    gateway: Client,
    api: Client,
    key: Option<SigningKey>,
    /// The grant that the token names: a signed statement counts for it alone.
    grant: Option<String>,
    proofs: ProofKeeper,
    traceparent: Option<String>,
    /// How many decisions and answers it stated under this grant: a statement that is withheld or deleted later leaves a hole.
    stated: Stated,
}

/// How many statements of each kind an agent made under one grant.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stated {
    /// Decisions.
    pub decisions: u64,
    /// Answers.
    pub answers: u64,
}

impl Agent {
    /// An agent that calls through `gateway` with its token.
    ///
    /// # Errors
    /// [`Error::Url`].
    pub fn new(gateway: &str, api: &str, token: &str) -> Result<Agent, Error> {
        Ok(Agent {
            gateway: Client::new(gateway, token)?,
            api: Client::new(api, token)?,
            key: None,
            grant: Statement::parse(token)
                .ok()
                .and_then(|token| Some(token.payload_unverified().get("jti")?.as_str()?.to_owned())),
            proofs: ProofKeeper::default(),
            traceparent: None,
            stated: Stated::default(),
        })
    }

    /// Signs decisions and answers; where the token is bound to a key, each call also proves that the agent holds it (RFC 9449).
    #[must_use]
    pub fn signing_with(mut self, key: SigningKey) -> Agent {
        let token = Statement::parse(self.gateway.bearer()).ok();
        if token.is_some_and(|token| token.payload_unverified().get("cnf").is_some()) {
            self.gateway.prove_with(key.clone());
        }
        self.key = Some(key);
        self
    }

    /// Keeps proofs elsewhere than in memory, or with pinned keys.
    #[must_use]
    pub fn keeping(mut self, proofs: ProofKeeper) -> Agent {
        self.proofs = proofs;
        self
    }

    /// Sends a W3C trace context with every call.
    #[must_use]
    pub fn tracing_as(mut self, traceparent: &str) -> Agent {
        self.traceparent = Some(traceparent.to_owned());
        self
    }

    /// Goes on counting where another process of the same agent stopped.
    #[must_use]
    pub const fn after(mut self, stated: Stated) -> Agent {
        self.stated = stated;
        self
    }

    /// How many statements it made so far.
    pub const fn stated(&self) -> Stated {
        self.stated
    }

    /// The proofs kept so far.
    pub const fn proofs(&self) -> &ProofKeeper {
        &self.proofs
    }

    /// Records what the agent chose; gives the entry that a call then names.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn decide(&mut self, decision: &Decision) -> Result<String, Error> {
        // A statement holds no fractions: `98.7` is signed as the text "98.7".
        let arguments = without_fractions(&decision.arguments);
        let decision = Decision { checkpoint: self.seen(), arguments, ..decision.clone() };
        let said = Agent::counted(json!(decision), [("n", self.stated.decisions)]);
        let entry = self.state("/v1/decisions", "countersign-decision+jwt", &said).await?;
        self.stated.decisions += 1;
        Ok(entry)
    }

    /// Records what the agent told the user.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn answer(&mut self, text: &str) -> Result<String, Error> {
        let said = json!({ "text": text, "checkpoint": self.seen() });
        let said = Agent::counted(said, [("n", self.stated.answers), ("decisions", self.stated.decisions)]);
        let entry = self.state("/v1/answers", "countersign-answer+jwt", &said).await?;
        self.stated.answers += 1;
        Ok(entry)
    }

    /// Calls the API through the gateway. A refusal of the gateway is an answer with a [`Answer::problem`].
    ///
    /// # Errors
    /// [`Error::Transport`], [`Error::Proof`].
    pub async fn call(
        &mut self,
        method: &str,
        target: &str,
        body: Option<&Value>,
        decision: Option<&str>,
    ) -> Result<Answer, Error> {
        let mut headers = Vec::new();
        headers.extend(decision.map(|decision| ("countersign-decision", decision)));
        headers.extend(self.traceparent.as_deref().map(|context| ("traceparent", context)));
        let answer = self.gateway.send(method, target, &headers, body).await?;
        let proof = answer.headers.get("countersign-proof").and_then(|proof| BASE64.decode(proof.as_bytes()).ok());
        if let Some(proof) = proof.and_then(|proof| String::from_utf8(proof).ok()) {
            self.proofs.keep(&proof, None)?;
        }
        Ok(answer)
    }

    /// Hands a narrower grant on to another agent (RFC 8693). With a key of its own the agent signs what it hands on; `origin` is the ledger's name.
    ///
    /// # Errors
    /// [`Error::Exchange`] when it would be wider, or handed on too often; [`Error`].
    pub async fn delegate(&mut self, origin: &str, delegation: &Delegation) -> Result<Delegated, Error> {
        let mut details = without_fractions(&delegation.scope);
        if let Value::Object(details) = &mut details {
            details.insert("type".to_owned(), json!("countersign_grant"));
        }
        let details = json!([details]);
        let mut form = vec![
            ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange".to_owned()),
            ("subject_token", self.api.bearer().to_owned()),
            ("subject_token_type", "urn:ietf:params:oauth:token-type:access_token".to_owned()),
            ("actor", delegation.actor.clone()),
            ("audience", origin.to_owned()),
            ("authorization_details", details.to_string()),
        ];
        if let Some(key) = &self.key {
            let said = json!({
                "origin": origin, "from": self.grant, "actor": delegation.actor, "authorization_details": details,
            });
            form.push(("statement", sign("countersign-delegation+jwt", &said, key)?));
        }
        let delegated: Delegated = self.api.exchange_token(&form).await?;
        self.proofs.keep(&delegated.proof, None)?;
        Ok(delegated)
    }

    /// How a held call stands: `waiting`, `approved`, `denied` or `expired`.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn held(&self, call: &str) -> Result<String, Error> {
        let held: Value = self.api.ask("GET", &format!("/v1/calls/{call}"), None).await?;
        Ok(held.get("status").and_then(Value::as_str).unwrap_or_default().to_owned())
    }

    fn counted<const N: usize>(mut said: Value, counts: [(&str, u64); N]) -> Value {
        if let Value::Object(said) = &mut said {
            said.extend(counts.map(|(name, count)| (name.to_owned(), json!(count))));
        }
        said
    }

    fn seen(&self) -> Option<String> {
        self.proofs.newest().map(|proof| proof.checkpoint.to_string())
    }

    async fn state(&mut self, path: &str, typ: &str, said: &Value) -> Result<String, Error> {
        #[derive(Deserialize)]
        struct Recorded {
            entry: String,
            proof: String,
        }
        let mut said = said.clone();
        if let (Value::Object(said), Some(grant)) = (&mut said, &self.grant) {
            said.insert("grant".to_owned(), json!(grant));
        }
        let body = match &self.key {
            Some(key) => json!({ "statement": sign(typ, &said, key)? }),
            None => json!({ "unsigned": said }),
        };
        let recorded: Recorded = self.api.ask("POST", path, Some(&body)).await?;
        self.proofs.keep(&recorded.proof, None)?;
        Ok(recorded.entry)
    }
}

fn without_fractions(value: &Value) -> Value {
    match value {
        Value::Number(number) if number.as_i64().is_none() => Value::String(number.to_string()),
        Value::Array(items) => items.iter().map(without_fractions).collect(),
        Value::Object(members) => {
            members.iter().map(|(name, value)| (name.clone(), without_fractions(value))).collect()
        }
        other => other.clone(),
    }
}

fn sign(typ: &str, said: &impl Serialize, key: &SigningKey) -> Result<String, Error> {
    Statement::sign(typ, said, key).map_err(|error| Error::Answer(error.to_string()))
}

/// A call that waits for an approver.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct HeldCall {
    /// Its id.
    pub call: String,
    /// Its entry.
    pub entry: Hash,
    /// What an approval of exactly this call names.
    pub digest: String,
    /// The user's words.
    pub words: String,
    /// The action.
    pub action: String,
    /// Its arguments.
    pub arguments: Value,
    /// Where the binding ones came from.
    pub provenance: Value,
    /// Why it is held.
    pub reasons: Value,
    /// Everything else.
    #[serde(flatten)]
    pub more: serde_json::Map<String, Value>,
}

/// Somebody who answers held calls with a key of their own.
#[derive(Debug)]
pub struct Approver {
    client: Client,
    key: SigningKey,
}

impl Approver {
    /// An approver who talks to the API at `api` with their secret and signs with their key.
    ///
    /// # Errors
    /// [`Error::Url`].
    pub fn new(api: &str, secret: &str, key: SigningKey) -> Result<Approver, Error> {
        Ok(Approver { client: Client::new(api, secret)?, key })
    }

    /// The calls that wait, with the ledger's name.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn held(&self) -> Result<(String, Vec<HeldCall>), Error> {
        #[derive(Deserialize)]
        struct List {
            origin: String,
            held: Vec<HeldCall>,
        }
        let list: List = self.client.ask("GET", "/v1/approvals", None).await?;
        Ok((list.origin, list.held))
    }

    /// One call that waits, with the ledger's name.
    ///
    /// # Errors
    /// [`Error::Refused`] when it does not wait, or waits no longer.
    pub async fn one(&self, call: &str) -> Result<(String, HeldCall), Error> {
        let path = format!("/v1/approvals/{}", utf8_percent_encode(call, NON_ALPHANUMERIC));
        let held: HeldCall = self.client.ask("GET", &path, None).await?;
        let origin = held.more.get("origin").and_then(Value::as_str).unwrap_or_default().to_owned();
        Ok((origin, held))
    }

    /// Says yes or no to exactly this call, as it is shown in `held`. `shown` is when the person began to look at it, `answered` when they answered.
    /// Gives the hash of the answer's entry, and how many more approvers must say yes.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn answer(
        &self,
        origin: &str,
        held: &HeldCall,
        yes: bool,
        shown: jiff::Timestamp,
        answered: jiff::Timestamp,
    ) -> Result<(String, u64), Error> {
        #[derive(Deserialize)]
        struct Recorded {
            entry: String,
            #[serde(default)]
            approvals: u64,
            #[serde(default)]
            needs: u64,
        }
        // Who said yes so far is no part of what is shown: it changes.
        let mut whole = json!(held);
        whole.as_object_mut().map(|members| members.remove("approved_by"));
        let digest = canonical::digest(&whole).map_err(|error| Error::Answer(error.to_string()))?;
        let expires = answered.saturating_add(jiff::SignedDuration::from_hours(1)).unwrap_or(answered);
        let said = json!({
            "origin": origin,
            "call": held.entry,
            "digest": held.digest,
            "decision": if yes { "approved" } else { "denied" },
            "shown": Time::new(shown),
            "answered": Time::new(answered),
            "expires": Time::new(expires),
            "policies": held.more.get("policies"),
            "shown_sha256": digest,
        });
        let body = json!({ "statement": sign("countersign-approval+jwt", &said, &self.key)? });
        let recorded: Recorded = self.client.ask("POST", &format!("/v1/approvals/{}", held.call), Some(&body)).await?;
        let missing = if yes { recorded.needs.saturating_sub(recorded.approvals) } else { 0 };
        Ok((recorded.entry, missing))
    }
}

/// A user, with the key that is registered for them: what was done for them is theirs to see.
#[derive(Debug)]
pub struct User {
    api: String,
    origin: String,
    key: SigningKey,
}

impl User {
    /// A user of the sidecar with its API at `api`, whose ledger is `origin`.
    pub fn new(api: &str, origin: &str, key: SigningKey) -> User {
        User { api: api.to_owned(), origin: origin.to_owned(), key }
    }

    /// The bundle of an instruction of one's own: a file that `countersign verify` and `trace` read, and that proves it to others. `now` is the time.
    ///
    /// # Errors
    /// [`Error`]; what is somebody else's is answered like what is not there.
    pub async fn bundle(&self, instruction: &str, now: jiff::Timestamp) -> Result<Vec<u8>, Error> {
        let said = json!({ "origin": self.origin, "instruction": instruction, "time": Time::new(now) });
        let client = Client::new(&self.api, &sign("countersign-access+jwt", &said, &self.key)?)?;
        let answer = client.send("POST", "/v1/my/bundle", &[], None).await?;
        match answer.problem() {
            Some(problem) => Err(Error::Refused(Box::new(problem))),
            None => Ok(answer.body.to_vec()),
        }
    }
}

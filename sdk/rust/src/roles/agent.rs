//! An agent: what it decides, calls, answers and hands on.

use countersign_ledger::statement::Statement;
use data_encoding::BASE64;
use ed25519_dalek::SigningKey;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::sign;
use crate::{
    client::{Answer, Client, Error},
    proofs::ProofKeeper,
};

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

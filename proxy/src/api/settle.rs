//! What became of a call whose outcome left that open: a person says it with their signature, or the gateway finds it in a receipt or a log.

use axum::{
    body::Bytes,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    response::Response,
};
use countersign_ledger::{Draft, Entry, Hash, Kind, record::body, statement::Statement, writer::Sealed};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Api, Role, bad_request, not_found, read, sealed_answer};
use crate::{
    problem::Problem,
    state::{Gateway, StateError},
};

/// The type of a person's statement.
pub const TYP: &str = "countersign-settlement+jwt";

/// What a person signs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Settled {
    /// The ledger.
    pub origin: String,
    /// The call's entry.
    pub call: Hash,
    /// Whether the API executed it.
    pub executed: bool,
    /// How they know, in words without personal data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Why a call is settled.
pub struct Grounds {
    /// `person`, `receipt` or `reconciliation`.
    pub source: &'static str,
    /// Who says so.
    pub by: String,
    /// How they know.
    pub reason: Option<String>,
    /// The receipt or reconciliation.
    pub entry: Option<Hash>,
    /// A person's statement, and what was found when it was checked.
    pub statement: Option<(String, body::Check)>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Posted {
    statement: String,
}

pub(super) async fn settle(
    State(api): State<Api>,
    headers: HeaderMap,
    Path(call): Path<String>,
    bytes: Bytes,
) -> Result<Response, Problem> {
    let (_, party) = api.caller(&headers, &[Role::Operator, Role::Approver])?;
    let posted: Posted = read(&bytes)?;
    let call: Hash = call.parse().map_err(|_| bad_request("the path must name the hash of the call's entry"))?;
    let fail = |what: &dyn std::fmt::Display| bad_request(format!("`statement`: {what}")).with("field", "statement");
    let statement = Statement::parse(&posted.statement).map_err(|error| fail(&error))?;
    let row = api.gateway.registry.read().signer(statement.kid()).filter(|row| row.party == party).cloned();
    let row = row.ok_or_else(|| fail(&"the key is not registered for this party"))?;
    let said: Settled = statement.verify(TYP, &row.jwk).map_err(|error| fail(&error))?;
    if said.origin != api.gateway.ledger.origin() || said.call != call {
        return Err(fail(&"it is not about this call of this ledger"));
    }
    let check = statement.check("valid", Some(&party));
    let (by, reason) = (party, said.reason);
    let grounds = Grounds { source: "person", by, reason, entry: None, statement: Some((posted.statement, check)) };
    let settled = api.gateway.settle(&call, said.executed, grounds).await?;
    let sealed = settled.ok_or_else(|| not_found("there is no call of that hash whose outcome is open"))?;
    Ok(sealed_answer(StatusCode::CREATED, &sealed, json!({ "call": call, "executed": said.executed })))
}

impl Gateway {
    /// Says of a call whose outcome left it open whether it was executed; if not, what it had reserved is given back. `None` when nothing is open.
    ///
    /// # Errors
    /// [`StateError`]; nothing was settled then.
    pub async fn settle(&self, call: &Hash, executed: bool, grounds: Grounds) -> Result<Option<Sealed>, StateError> {
        let Some((entry, outcome)) = self.unsettled(call)? else { return Ok(None) };
        let Some(instruction) = entry.instruction.clone() else { return Ok(None) };
        let live = self.live(&instruction)?;
        let settlement = body::Settlement {
            call: *call,
            subject: live.subject.clone(),
            executed,
            source: grounds.source.to_owned(),
            by: grounds.by,
            reason: grounds.reason,
            check: grounds.statement.as_ref().map(|(_, check)| check.clone()),
            ..body::Settlement::default()
        };
        let mut draft = Draft::new(&settlement)?
            .of_instruction(&instruction)
            .caused_by([*call, outcome].into_iter().chain(grounds.entry));
        if let Some((statement, _)) = &grounds.statement {
            draft = draft.disclose(&self.vault, &live.subject, "statement", statement)?;
        }
        let ticket = {
            // INVARIANT: of several who settle a call one is taken; the reservation goes with the entry, under the instruction's lock.
            let mut inner = live.lock();
            if !inner.unsettled.contains_key(call) {
                return Ok(None);
            }
            let ticket = self.ledger.enqueue(draft)?;
            inner.settle(call, executed);
            ticket
        };
        Ok(Some(ticket.sealed().await?))
    }

    /// A call that was perhaps sent, with the entry of its outcome.
    fn unsettled(&self, call: &Hash) -> Result<Option<(Entry, Hash)>, StateError> {
        let Some(seq) = self.ledger.find(call)? else { return Ok(None) };
        let entry = self.entry(seq)?;
        let Some(instruction) = entry.instruction.as_deref().filter(|_| entry.kind == Kind::Call) else {
            return Ok(None);
        };
        for seq in self.ledger.of_instruction(instruction)? {
            let bytes = self.ledger.entry(seq)?;
            let other = Entry::parse(&bytes)?;
            if other.kind == Kind::Outcome && other.text("call") == Some(call.to_string().as_str()) {
                return Ok(Some((entry, Hash::of(&bytes))));
            }
        }
        Ok(None)
    }
}

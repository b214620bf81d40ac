//! What is about oneself: a user gets the bundle of their own instruction with their own key, and nobody has to be asked.

use std::io::Cursor;

use axum::{
    extract::State,
    http::{HeaderMap, header},
    response::{IntoResponse as _, Response},
};
use countersign_ledger::{
    Draft, Entry, Kind, bundle,
    directory::Directory,
    evidence::{Evidence, Selection, Shown},
    record::{Attachment, Time, body},
    statement::Statement,
    vault::{Opened, Vault},
};
use serde::Deserialize;

use super::{Api, credentials, entry_headers, not_found, unauthorized};
use crate::{problem::Problem, state::StateError};

/// The type of the statement.
const TYP: &str = "countersign-access+jwt";

/// How old a statement may be, and how far ahead its clock, in seconds.
const FRESH_SECONDS: i64 = 300;

/// What the user signs: it opens one instruction, for a few minutes.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    origin: String,
    instruction: String,
    time: Time,
}

/// The bundle of the instruction that a user's statement names.
pub(super) async fn bundle(State(api): State<Api>, headers: HeaderMap) -> Result<Response, Problem> {
    let (party, wanted) = whose(&api, &headers)?;
    let gateway = api.gateway.clone();
    // What is somebody else's is answered like what is not there.
    let subject = owner(&api, &wanted.instruction, &party)?
        .ok_or_else(|| not_found("there is no such instruction of yours, or it was erased"))?;
    let access = body::Access {
        by: subject,
        what: "export".to_owned(),
        of: wanted.instruction.clone(),
        disclosed: vec!["all".to_owned()],
        ..body::Access::default()
    };
    let draft = Draft::new(&access).map_err(StateError::from)?;
    let sealed = gateway.ledger.append(draft).await.map_err(StateError::from)?;
    let bytes = tokio::task::spawn_blocking(move || collect(gateway.ledger.dir(), &gateway.vault, &wanted.instruction))
        .await
        .unwrap_or_else(|error| Err(std::io::Error::other(error)))
        .map_err(StateError::from)?;
    let named = [(header::CONTENT_TYPE, "application/zip"), (header::CACHE_CONTROL, "no-store")];
    let mut response = (named, bytes).into_response();
    for (name, value) in entry_headers(&sealed) {
        response.headers_mut().extend(value.parse().ok().map(|value| (name, value)));
    }
    Ok(response)
}

/// Who signed, and what they want.
fn whose(api: &Api, headers: &HeaderMap) -> Result<(String, Wanted), Problem> {
    let text = credentials::bearer(headers).ok_or_else(|| unauthorized("there is no signed statement"))?;
    let statement = Statement::parse(text).map_err(|error| unauthorized(&error.to_string()))?;
    let row = api.gateway.registry.read().signer(statement.kid()).cloned();
    let row = row.ok_or_else(|| unauthorized("the statement's key is not registered"))?;
    let wanted: Wanted = statement.verify(TYP, &row.jwk).map_err(|error| unauthorized(&error.to_string()))?;
    let age = api.gateway.now().as_second() - wanted.time.instant().as_second();
    if wanted.origin != api.gateway.ledger.origin() || age.abs() > FRESH_SECONDS {
        return Err(unauthorized("the statement is for another ledger, or not of the last five minutes"));
    }
    Ok((row.party, wanted))
}

/// The data subject of an instruction, if it is this party.
fn owner(api: &Api, instruction: &str, party: &str) -> Result<Option<String>, Problem> {
    let ledger = &api.gateway.ledger;
    let read = |seq: u64| -> Result<Entry, StateError> { Ok(Entry::parse(&ledger.entry(seq)?)?) };
    let Some(first) = ledger.of_instruction(instruction).map_err(StateError::from)?.first().copied() else {
        return Ok(None);
    };
    let entry = read(first)?;
    let subject = entry.text("subject").filter(|_| entry.kind == Kind::Instruction).map(str::to_owned);
    Ok(subject.filter(|subject| api.gateway.vault.principal(subject).is_some_and(|principal| principal == party)))
}

/// The bundle: of the instruction itself everything is disclosed, of what stands around it nothing.
fn collect(ledger: &std::path::Path, vault: &Vault, instruction: &str) -> std::io::Result<Vec<u8>> {
    let other = |what: String| std::io::Error::other(what);
    let directory = Directory::read(ledger, None)?;
    let open = |attachment: &Attachment| match vault.open_attachment(attachment) {
        Ok(Opened::Value(disclosure)) => Ok(Some(disclosure)),
        Ok(Opened::Erased) => Ok(None),
        Err(error) => Err(error.to_string()),
    };
    let selection = Selection::Instruction(instruction.to_owned());
    let mut evidence = Evidence::collect(&directory, &selection, Some(&open), &|_| true)
        .map_err(|damage| other(format!("{} [{}]", damage.what, damage.code)))?;
    for item in evidence.items.values_mut().filter(|item| item.entry.instruction.as_deref() != Some(instruction)) {
        for shown in item.values.values_mut() {
            *shown = Shown::Withheld;
        }
    }
    evidence.checkpoint = directory.checkpoint();
    let proofs = directory.proofs(evidence.items.keys().copied())?;
    evidence.proofs = proofs.into_iter().map(|proof| (proof.index, proof)).collect();
    let written = bundle::write(&evidence, Cursor::new(Vec::new())).map_err(|error| other(error.to_string()))?;
    Ok(written.into_inner())
}

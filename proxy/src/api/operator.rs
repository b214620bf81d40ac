//! Administration: parties, keys, revocations, holds, erasures.

use std::sync::Arc;

use axum::{
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse as _, Response},
};
use countersign_ledger::{
    Draft, Hash,
    erasure::{self, ErasureStatement},
    passkey::Passkey,
    record::body,
    statement::Jwk,
    writer::Sealed,
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Api, Role, bad_request, named, not_found, read, reader::access, sealed_answer};
use crate::{
    problem::Problem,
    state::{KeyRow, Live, Registry, StateError},
};

const ROLES: [&str; 10] = [
    "user",
    "agent_developer",
    "agent_operator",
    "model_provider",
    "platform",
    "api_provider",
    "host",
    "agent",
    "approver",
    "investigator",
];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Party {
    party: String,
    role: String,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    release: Option<Hash>,
}

pub(super) async fn party(State(api): State<Api>, headers: HeaderMap, bytes: Bytes) -> Result<Response, Problem> {
    let (_, by) = api.caller(&headers, &[Role::Operator])?;
    let asked: Party = read(&bytes)?;
    named("party", &asked.party)?;
    if !ROLES.contains(&asked.role.as_str()) {
        return Err(bad_request(format!("`role` must be one of {}", ROLES.join(", "))).with("field", "role"));
    }
    let sealed = api.gateway.party(asked.party, asked.role, asked.name, asked.release, by).await?;
    Ok(sealed_answer(StatusCode::CREATED, &sealed, json!({})))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Key {
    party: String,
    jwk: Jwk,
    /// How it signs, when it is a passkey's.
    #[serde(default)]
    passkey: Option<Passkey>,
    /// `registered`, `retired` or `revoked`.
    #[serde(default = "registered")]
    event: String,
}

fn registered() -> String {
    "registered".to_owned()
}

pub(super) async fn key(State(api): State<Api>, headers: HeaderMap, bytes: Bytes) -> Result<Response, Problem> {
    let (_, by) = api.caller(&headers, &[Role::Operator])?;
    let asked: Key = read(&bytes)?;
    named("party", &asked.party)?;
    if !["registered", "retired", "revoked"].contains(&asked.event.as_str()) {
        return Err(bad_request("`event` must be `registered`, `retired` or `revoked`").with("field", "event"));
    }
    asked.jwk.validate().map_err(|error| bad_request(format!("`jwk`: {error}")))?;
    let kid = asked.jwk.thumbprint();
    let approves = |passkey: &Passkey| api.pages.as_ref().is_some_and(|pages| pages.origin() == passkey.origin);
    let known = api.gateway.registry.read().keys.get(&kid).cloned();
    // Who holds a passkey of the approvers' page is an approver.
    if asked.event == "registered" && known.is_none() && asked.passkey.as_ref().is_some_and(approves) {
        return Err(bad_request("an approver's passkey is made with a link of `POST /v1/enrolments`"));
    }
    let passkey = asked.passkey.or_else(|| known?.passkey);
    let sealed = api.gateway.key(&asked.event, &asked.party, &asked.jwk, passkey.as_ref(), &by).await?;
    Ok(sealed_answer(StatusCode::CREATED, &sealed, json!({ "kid": kid })))
}

/// What calls are judged by now, and what was last refused.
pub(super) async fn policies(State(api): State<Api>, headers: HeaderMap) -> Result<Response, Problem> {
    let (_, by) = api.caller(&headers, &[Role::Operator])?;
    access(&api, by, "policies", "", &[]).await?;
    let rules = api.gateway.rules();
    let row = |name: &str, sha256: [u8; 32]| json!({ "name": name, "sha256": Hash::from(sha256) });
    let catalogues = rules.catalogues().map(|catalogue| row(catalogue.upstream(), *catalogue.sha256()));
    let policies = rules.policies().into_iter();
    let files = policies.clone().flat_map(|policies| policies.files()).map(|file| row(&file.name, file.sha256()));
    let answer = json!({
        "catalogues": catalogues.collect::<Vec<Value>>(),
        "files": files.collect::<Vec<Value>>(),
        "policies": policies.flat_map(|policies| policies.ids()).collect::<Vec<_>>(),
        "refused": api.gateway.refused().map(|(at, what)| json!({ "time": at.to_string(), "what": what })),
    });
    Ok(axum::Json(answer).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Revoke {
    /// `instruction`, `grant`, `agent`, `principal`, `action` or `everything`.
    what: String,
    #[serde(default)]
    id: String,
    /// The instruction of a `grant`.
    #[serde(default)]
    instruction: Option<String>,
    reason: String,
    /// Allow it again.
    #[serde(default)]
    lift: bool,
}

/// What is withdrawn now.
pub(super) async fn revoked(State(api): State<Api>, headers: HeaderMap) -> Result<Response, Problem> {
    let (_, by) = api.caller(&headers, &[Role::Operator])?;
    access(&api, by, "revocations", "", &[]).await?;
    let registry = api.gateway.registry.read();
    let rows = registry.revoked.iter().filter_map(|name| name.split_once('/'));
    let rows: Vec<Value> = rows.map(|(what, id)| json!({ "what": what, "id": id })).collect();
    drop(registry);
    Ok(axum::Json(json!({ "revoked": rows })).into_response())
}

pub(super) async fn revoke(State(api): State<Api>, headers: HeaderMap, bytes: Bytes) -> Result<Response, Problem> {
    let (role, by) = api.caller(&headers, &[Role::Operator, Role::Host])?;
    let asked: Revoke = read(&bytes)?;
    if asked.instruction.is_some() != (asked.what == "grant") {
        return Err(bad_request("`instruction` names the instruction of a `grant`").with("field", "instruction"));
    }
    if asked.what != "everything" {
        named("id", &asked.id)?;
    }
    let gateway = &api.gateway;
    let _turn = gateway.administer().await;
    let mut live = None;
    let (what, id) = match asked.what.as_str() {
        "instruction" | "grant" if asked.lift => {
            return Err(bad_request("a grant that was withdrawn stays so; the host gives a new instruction"));
        }
        "instruction" | "grant" => {
            live = Some(withdrawn(&api, &asked, (role == Role::Host).then_some(by.as_str()))?);
            ("grant", asked.id.clone())
        }
        _ if role == Role::Host => return Err(bad_request("a host may withdraw only its own instructions")),
        "agent" | "action" => (if asked.what == "agent" { "agent" } else { "action" }, asked.id.clone()),
        "principal" => {
            let subject = gateway.vault.find(&asked.id).ok_or_else(|| not_found("there is no such principal"))?;
            ("subject", subject)
        }
        "everything" => ("everything", String::new()),
        _ => {
            return Err(bad_request(
                "`what` must be `instruction`, `grant`, `agent`, `principal`, `action` or `everything`, with its `id`",
            ));
        }
    };
    let revocation = body::Revocation {
        what: what.to_owned(),
        id: id.clone(),
        by,
        reason: asked.reason,
        lifted: asked.lift,
        ..body::Revocation::default()
    };
    let mut draft = Draft::new(&revocation).map_err(StateError::from)?;
    if let Some(live) = &live {
        return withdraw_grant(&api, live, &id, draft).await;
    }
    let name = format!("{what}/{id}");
    if asked.lift && !gateway.registry.read().revoked.contains(&name) {
        return Err(not_found(format!("`{}` `{}` is not withdrawn", asked.what, asked.id)));
    }
    draft.state.push(Registry::put("revoked", &name, (!asked.lift).then(String::new)));
    let ticket = {
        // INVARIANT: who is judged holds the registry until its call is queued, so that no allowed call stands behind what withdraws it, nor a
        // refused one behind what lifts that.
        let mut registry = gateway.registry.write();
        if asked.lift {
            registry.revoked.remove(&name);
        } else {
            registry.revoked.insert(name);
            gateway.under_way.cut(|named| registry.withdraws(named));
        }
        gateway.ledger.enqueue(draft).map_err(StateError::from)?
    };
    let sealed = ticket.sealed().await.map_err(StateError::from)?;
    Ok(sealed_answer(StatusCode::CREATED, &sealed, json!({})))
}

/// The instruction whose grant, or one of whose grants, is withdrawn; of this host, if a host asks.
fn withdrawn(api: &Api, asked: &Revoke, host: Option<&str>) -> Result<Arc<Live>, Problem> {
    let instruction = asked.instruction.as_ref().unwrap_or(&asked.id);
    let found = api.gateway.live(instruction)?;
    if host.is_some_and(|host| found.host != host) {
        return Err(not_found(format!("there is no instruction `{instruction}` of this host")));
    }
    if asked.what == "grant" && found.lock().state(&asked.id).is_none() {
        return Err(not_found(format!("there is no grant `{}` of this instruction", asked.id)));
    }
    Ok(found)
}

/// In force before it is sealed: a call that comes now is refused already, and none under way that it names goes on. `id` is the instruction's,
/// or that of one of its grants, which goes with what was cut from it.
async fn withdraw_grant(api: &Api, live: &Live, id: &str, draft: Draft) -> Result<Response, Problem> {
    let queued = {
        // INVARIANT: under the instruction's lock, so that no call and no delegation stands behind what withdraws it.
        let mut inner = live.lock();
        let own = inner.grant.as_ref().filter(|grant| id == live.id || grant.grant.id == id).map(|grant| grant.entry);
        let draft = draft.of_instruction(&live.id).caused_by(own.or_else(|| inner.state(id).map(|grant| grant.entry)));
        if own.is_some() {
            inner.revoke();
            api.gateway.under_way.cut(|named| named.instruction == live.id);
            api.gateway.ended(&live.id);
        } else {
            let withdrawn = inner.withdraw(id);
            api.gateway.under_way.cut(|named| withdrawn.contains(&named.grant));
        }
        api.gateway.ledger.enqueue(draft).map_err(StateError::from)
    };
    let sealed = queued?.sealed().await.map_err(StateError::from)?;
    Ok(sealed_answer(StatusCode::CREATED, &sealed, json!({})))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Hold {
    /// `placed` or `released`.
    event: String,
    /// The data subject's id.
    subject: String,
    /// The hold to release.
    #[serde(default)]
    hold: Option<String>,
    reason: String,
}

pub(super) async fn hold(State(api): State<Api>, headers: HeaderMap, bytes: Bytes) -> Result<Response, Problem> {
    let (_, by) = api.caller(&headers, &[Role::Operator])?;
    let asked: Hold = read(&bytes)?;
    let hold = match (asked.event.as_str(), asked.hold) {
        ("placed", None) => None,
        ("released", Some(hold)) => Some(hold),
        _ => return Err(bad_request("`event` must be `placed`, or `released` with the `hold`")),
    };
    let (hold, sealed) = api.gateway.hold(hold, &asked.subject, by, asked.reason).await?;
    Ok(sealed_answer(StatusCode::CREATED, &sealed, json!({ "hold": hold })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Erase {
    subject: String,
    reason: String,
    statements: Vec<String>,
}

pub(super) async fn erase(State(api): State<Api>, headers: HeaderMap, bytes: Bytes) -> Result<Response, Problem> {
    api.caller(&headers, &[Role::Operator])?;
    let asked: Erase = read(&bytes)?;
    let gateway = &api.gateway;
    if gateway.vault.principal(&asked.subject).is_none() || asked.subject == gateway.nobody {
        return Err(not_found("there is no such data subject, or it was erased"));
    }
    let wanted =
        ErasureStatement { origin: gateway.ledger.origin().to_owned(), subject: asked.subject, reason: asked.reason };
    let sealed = gateway.erase(&wanted, &asked.statements).await?;
    Ok(sealed_answer(StatusCode::CREATED, &sealed, json!({ "subject": wanted.subject })))
}

impl crate::state::Gateway {
    /// Says who somebody is.
    ///
    /// # Errors
    /// [`StateError`].
    pub async fn party(
        &self,
        party: String,
        role: String,
        name: Option<String>,
        release: Option<Hash>,
        by: String,
    ) -> Result<Sealed, StateError> {
        let _turn = self.administer().await;
        let entry =
            body::Party { party: party.clone(), role: role.clone(), name, release, by, ..body::Party::default() };
        let mut draft = Draft::new(&entry)?;
        draft.state.push(Registry::put("party", &party, Some(role.clone())));
        let sealed = self.ledger.append(draft).await?;
        self.registry.write().parties.insert(party, role);
        Ok(sealed)
    }

    /// Registers, retires or revokes a party's key.
    ///
    /// # Errors
    /// [`Problem`]; when the key is another party's nothing was written.
    pub async fn key(
        &self,
        event: &str,
        party: &str,
        jwk: &Jwk,
        passkey: Option<&Passkey>,
        by: &str,
    ) -> Result<Sealed, Problem> {
        let kid = jwk.thumbprint();
        let _turn = self.administer().await;
        let differs = |row: &KeyRow| row.party != party || row.passkey.as_ref() != passkey;
        if self.registry.read().keys.get(&kid).is_some_and(differs) {
            return Err(bad_request("`jwk` is registered for another party, or in another form"));
        }
        let entry = body::Key {
            event: event.to_owned(),
            kid: kid.clone(),
            party: party.to_owned(),
            jwk: Some(json!(jwk)),
            passkey: passkey.cloned(),
            by: by.to_owned(),
            ..body::Key::default()
        };
        let row = |entry| KeyRow {
            party: party.to_owned(),
            jwk: jwk.clone(),
            good: event == "registered",
            entry,
            by: by.to_owned(),
            passkey: passkey.cloned(),
        };
        let mut draft = Draft::new(&entry).map_err(StateError::from)?;
        draft.state.push(Registry::put("key", &kid, Some(json!(row(Hash::ZERO)).to_string())));
        let sealed = self.ledger.append(draft).await.map_err(StateError::from)?;
        self.registry.write().keys.insert(kid, row(sealed.hash));
        Ok(sealed)
    }

    /// Places a hold on a data subject, or releases the one that is named. Gives the hold's id.
    ///
    /// # Errors
    /// [`Problem`]; when there is no such hold nothing was written.
    pub async fn hold(
        &self,
        release: Option<String>,
        subject: &str,
        by: String,
        reason: String,
    ) -> Result<(String, Sealed), Problem> {
        let _turn = self.administer().await;
        if let Some(hold) = &release
            && self.registry.read().holds.get(hold).is_none_or(|held| held != subject)
        {
            return Err(not_found("there is no such hold in force on this subject"));
        }
        let placed = release.is_none();
        let hold = release.unwrap_or_else(|| uuid::Uuid::now_v7().to_string());
        let event = if placed { "placed" } else { "released" }.to_owned();
        let entry =
            body::Hold { hold: hold.clone(), event, subject: subject.to_owned(), by, reason, ..body::Hold::default() };
        let mut draft = Draft::new(&entry).map_err(StateError::from)?;
        draft.state.push(Registry::put("hold", &hold, placed.then(|| subject.to_owned())));
        let sealed = self.ledger.append(draft).await.map_err(StateError::from)?;
        let mut registry = self.registry.write();
        if placed {
            registry.holds.insert(hold.clone(), subject.to_owned());
        } else {
            registry.holds.remove(&hold);
        }
        Ok((hold, sealed))
    }

    /// Erases a data subject: seals the `erasure` entry, then destroys the data key.
    ///
    /// # Errors
    /// [`Problem`]; when the statements are refused nothing was written.
    pub async fn erase(&self, wanted: &ErasureStatement, statements: &[String]) -> Result<Sealed, Problem> {
        let _turn = self.administer().await;
        let authorised = {
            let registry = self.registry.read();
            erasure::authorise(wanted, statements, registry.is_held(&wanted.subject), |kid| {
                let row = registry.signer(kid)?;
                let role = registry.parties.get(&row.party).map(String::as_str);
                ["approver", "platform"].contains(&role?).then(|| (row.party.clone(), row.jwk.clone()))
            })
        };
        let (by, checks) = authorised.map_err(|error| {
            Problem::new(StatusCode::CONFLICT, "erasure-refused", "The erasure is refused", error.to_string())
        })?;
        let entry = body::Erasure {
            subject: wanted.subject.clone(),
            by,
            statements: statements.to_vec(),
            checks,
            reason: wanted.reason.clone(),
            ..body::Erasure::default()
        };
        let mut draft = Draft::new(&entry).map_err(StateError::from)?;
        draft.state.push(Registry::put("erased", &wanted.subject, Some(String::new())));
        let sealed = self.ledger.append(draft).await.map_err(StateError::from)?;
        self.vault.erase(&wanted.subject).map_err(StateError::from)?;
        self.forget_subject(&wanted.subject);
        Ok(sealed)
    }
}

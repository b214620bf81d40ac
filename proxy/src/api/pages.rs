//! The approvers' pages: see what waits, sign the answer with a passkey. And the page that shows an agent's user how a held call stands.
//!
//! A session shows; it decides nothing. What decides is the assertion over one exact call, so a forged request could at most look.

mod door;
mod html;
mod texts;

use std::sync::Arc;

use axum::{
    Router,
    body::Bytes,
    extract::{Path, RawQuery, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    middleware,
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use countersign_ledger::{
    Hash, canonical,
    passkey::{self, Assertion, Registration, Stated},
};
use data_encoding::BASE64URL_NOPAD;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};

use self::door::{Door, Session};
use super::{
    Api, Role,
    answering::{VALID_SECONDS, answer, count},
    approver::{Posted, find, show, waiting},
    bad_request, named, not_found, read, unauthorized,
};
use crate::{
    problem::Problem,
    settings::Approvals,
    shown::Lang,
    state::{HeldStatus, KeyRow},
};

/// The most calls on one page.
const MAX_SHOWN: usize = 100;

/// How long an enrolment link holds, in seconds, unless it is said; and the longest that can be said.
const LINK_SECONDS: u32 = 900;
const MAX_LINK_SECONDS: u32 = 7 * 24 * 3600;

/// Nothing from elsewhere, nothing inline, in no frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; \
                      form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'";

/// What the pages know.
pub(super) struct Pages {
    approvals: Approvals,
    door: Door,
}

impl Pages {
    /// The pages at their address; none without random bytes.
    pub(super) fn new(approvals: Approvals) -> Option<Arc<Pages>> {
        Some(Arc::new(Pages { approvals, door: Door::new()? }))
    }

    /// Their origin, as a browser says it.
    pub(super) fn origin(&self) -> &str {
        self.approvals.origin()
    }
}

/// The pages' routes.
pub(super) fn router() -> Router<Api> {
    let script = ([(header::CONTENT_TYPE, "text/javascript; charset=utf-8")], include_str!("pages/page.js"));
    let style = ([(header::CONTENT_TYPE, "text/css; charset=utf-8")], include_str!("pages/style.css"));
    Router::new()
        .route("/approve", get(list))
        .route("/approve/sign-in", post(sign_in))
        .route("/approve/sign-out", post(sign_out))
        .route("/approve/enrol", get(enrolling).post(enrol))
        .route("/approve/enrol/begin", post(begin))
        .route("/approve/{call}", get(one).post(decide))
        .route("/held/{instruction}/{call}", get(status))
        .route("/approve/page.js", get(async move || script))
        .route("/approve/style.css", get(async move || style))
        .layer(middleware::map_response(protect))
}

async fn protect(mut response: Response) -> Response {
    let headers = [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (
            HeaderName::from_static("permissions-policy"),
            "publickey-credentials-get=(self), publickey-credentials-create=(self)",
        ),
    ];
    response.headers_mut().extend(headers.map(|(name, value)| (name, HeaderValue::from_static(value))));
    response
}

impl Api {
    fn pages(&self) -> Result<&Pages, Problem> {
        let missing = || {
            let detail = "the configuration has no `[approvals]` with the `origin` of the approvers' pages";
            Problem::new(StatusCode::NOT_FOUND, "no-approvals", "There are no approvers' pages", detail)
        };
        self.pages.as_deref().ok_or_else(missing)
    }

    /// Who is signed in, as long as their passkey counts.
    fn session(&self, headers: &HeaderMap) -> Result<Option<(Session, KeyRow)>, Problem> {
        let pages = self.pages()?;
        let session = pages.door.session(&pages.approvals, headers, self.gateway.now());
        let registry = self.gateway.registry.read();
        Ok(session.and_then(|session| {
            let row = registry.key(&session.kid).filter(|row| row.party == session.party)?.clone();
            Some((session, row))
        }))
    }

    /// A page of ours asks, and no other: browsers say from where.
    fn own_page(&self, headers: &HeaderMap) -> Result<&Pages, Problem> {
        let pages = self.pages()?;
        let mut origins = headers.get_all(header::ORIGIN).iter();
        if origins.next().map(HeaderValue::as_bytes) == Some(pages.origin().as_bytes()) && origins.next().is_none() {
            return Ok(pages);
        }
        let detail = format!("only pages of `{}` may ask this", pages.origin());
        Err(Problem::new(StatusCode::FORBIDDEN, "origin-refused", "The request comes from a foreign page", detail))
    }
}

fn lang(headers: &HeaderMap, query: Option<&str>) -> Lang {
    let asked = query.and_then(|query| query.split('&').find_map(|pair| pair.strip_prefix("lang=")));
    Lang::asked(asked, headers.get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok()))
}

/// The page that asks for a passkey.
fn ask(api: &Api, lang: Lang) -> Result<Response, Problem> {
    let pages = api.pages()?;
    let ticket = pages.door.ticket(api.gateway.now()).ok_or_else(no_random)?;
    Ok(html::sign_in(lang, pages.approvals.rp_id(), api.gateway.ledger.origin(), &ticket))
}

fn no_random() -> Problem {
    let detail = "the operating system gave no random bytes, or too many links are open";
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "try-later", "Try again later", detail)
}

async fn list(State(api): State<Api>, headers: HeaderMap, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    let lang = lang(&headers, query.as_deref());
    let Some(_) = api.session(&headers)? else { return ask(&api, lang) };
    let mut waiting = waiting(&api)?;
    waiting.sort_by_key(|(_, held)| held.seq);
    Ok(html::list(lang, api.pages()?.approvals.rp_id(), &waiting, MAX_SHOWN))
}

async fn one(
    State(api): State<Api>,
    headers: HeaderMap,
    Path(call): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let lang = lang(&headers, query.as_deref());
    let Some((session, row)) = api.session(&headers)? else { return ask(&api, lang) };
    let rp = api.pages()?.approvals.rp_id();
    let Ok((live, held)) = find(&api, &call) else { return Ok(html::gone(lang, rp)) };
    let shown = show(&api, &call, &live, &held)?;
    let now = api.gateway.now();
    let digest = canonical::digest(&shown).map_err(|error| bad_request(error.to_string()))?.to_string();
    let until = now.saturating_add(SignedDuration::from_secs(VALID_SECONDS)).unwrap_or(Timestamp::MAX);
    let credential = row.passkey.as_ref().map(|passkey| passkey.credential.as_str()).unwrap_or_default();
    let viewer = html::Viewer { party: &session.party, kid: &session.kid, credential, now, until, digest };
    Ok(html::call(lang, rp, &shown, &held, &viewer))
}

async fn decide(
    State(api): State<Api>,
    headers: HeaderMap,
    Path(call): Path<String>,
    bytes: Bytes,
) -> Result<Response, Problem> {
    api.own_page(&headers)?;
    let (session, _) = api.session(&headers)?.ok_or_else(|| unauthorized("nobody is signed in"))?;
    let posted: Posted = read(&bytes)?;
    answer(&api, &session.party, &call, &posted.statement).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SignIn {
    credential: String,
    statement: Value,
}

/// What a passkey signs to sign in.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ticket {
    origin: String,
    ticket: String,
}

async fn sign_in(State(api): State<Api>, headers: HeaderMap, bytes: Bytes) -> Result<Response, Problem> {
    let pages = api.own_page(&headers)?;
    let posted: SignIn = read(&bytes)?;
    let wrong = |detail: &str| unauthorized(detail);
    let assertion = Assertion::read(&posted.statement).map_err(|error| wrong(&error.to_string()))?;
    let now = api.gateway.now();
    let mut registry = api.gateway.registry.write();
    let found = registry.passkey(pages.origin(), &posted.credential);
    let (kid, row) = found.map(|(kid, row)| (kid.clone(), row.clone())).ok_or_else(|| {
        wrong("the passkey is not registered here; an operator makes a link with `countersign keys enrol`")
    })?;
    let counter = assertion.counter_unverified().unwrap_or_default();
    let said: Ticket = Stated::Passkey(Box::new(assertion))
        .verify("countersign-sign-in", &row.registered())
        .map_err(|error| wrong(&error.to_string()))?;
    if said.origin != api.gateway.ledger.origin() || !pages.door.is_good(&said.ticket, now) {
        return Err(wrong("the page stood open too long; load it again"));
    }
    let counted = count(&registry, &kid, counter)?;
    let cookie = pages.door.enter(&said.ticket, &row.party, &kid, now);
    let cookie = cookie.ok_or_else(|| wrong("this sign-in served before; load the page again"))?;
    registry.counters.extend(counted);
    drop(registry);
    let mut response = StatusCode::NO_CONTENT.into_response();
    response
        .headers_mut()
        .extend(door::set_cookie(&pages.approvals, Some(&cookie)).map(|set| (header::SET_COOKIE, set)));
    Ok(response)
}

async fn sign_out(State(api): State<Api>, headers: HeaderMap) -> Result<Response, Problem> {
    let pages = api.own_page(&headers)?;
    pages.door.leave(&pages.approvals, &headers);
    let mut response = StatusCode::NO_CONTENT.into_response();
    response.headers_mut().extend(door::set_cookie(&pages.approvals, None).map(|set| (header::SET_COOKIE, set)));
    Ok(response)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Enrol {
    party: String,
    #[serde(default)]
    expires_in: Option<u32>,
}

/// An operator lets an approver make a passkey, once.
pub(super) async fn open(State(api): State<Api>, headers: HeaderMap, bytes: Bytes) -> Result<Response, Problem> {
    let (_, by) = api.caller(&headers, &[Role::Operator])?;
    let asked: Enrol = read(&bytes)?;
    named("party", &asked.party)?;
    let pages = api.pages()?;
    let role = api.gateway.registry.read().parties.get(&asked.party).cloned();
    if role.as_ref().is_some_and(|role| !["approver", "platform"].contains(&role.as_str())) {
        return Err(bad_request("`party` is registered in another role than `approver`").with("field", "party"));
    }
    let seconds = asked.expires_in.unwrap_or(LINK_SECONDS);
    if !(1..=MAX_LINK_SECONDS).contains(&seconds) {
        let detail = format!("`expires_in` is a number of seconds up to {MAX_LINK_SECONDS}");
        return Err(bad_request(detail).with("field", "expires_in"));
    }
    let now = api.gateway.now();
    let until = now.saturating_add(SignedDuration::from_secs(i64::from(seconds))).unwrap_or(Timestamp::MAX);
    let ticket = pages.door.open_link(&asked.party, &by, now, until).ok_or_else(no_random)?;
    // In the fragment, which browsers send to nobody.
    let url = format!("{}/approve/enrol#{ticket}", pages.origin());
    let link = json!({ "url": url, "expires": until.to_string(), "party": asked.party });
    Ok((StatusCode::CREATED, axum::Json(link)).into_response())
}

async fn enrolling(State(api): State<Api>, headers: HeaderMap, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    let lang = lang(&headers, query.as_deref());
    Ok(html::enrol(lang, api.pages()?.approvals.rp_id(), api.gateway.ledger.origin()))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Begin {
    ticket: String,
}

fn no_link() -> Problem {
    not_found("the link was used, is over, or never was; ask the operator for a new one")
}

/// Who the link is for: what a browser asks before it makes a passkey.
async fn begin(State(api): State<Api>, headers: HeaderMap, bytes: Bytes) -> Result<Response, Problem> {
    let pages = api.own_page(&headers)?;
    let asked: Begin = read(&bytes)?;
    let link = pages.door.link(&asked.ticket, api.gateway.now()).ok_or_else(no_link)?;
    // The same for one party always, so that a new passkey takes the place of the old one on the same device.
    let user = Hash::of(format!("{}\0{}", api.gateway.ledger.origin(), link.party).as_bytes());
    let user = BASE64URL_NOPAD.encode(user.as_bytes());
    Ok(axum::Json(json!({ "user": user, "name": link.party, "rp": pages.approvals.rp_id() })).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Enrolled {
    ticket: String,
    registration: Registration,
}

async fn enrol(State(api): State<Api>, headers: HeaderMap, bytes: Bytes) -> Result<Response, Problem> {
    let pages = api.own_page(&headers)?;
    let posted: Enrolled = read(&bytes)?;
    let refuse = |error: &dyn std::fmt::Display| bad_request(format!("`registration`: {error}"));
    let signed = json!({ "origin": api.gateway.ledger.origin(), "ticket": posted.ticket });
    let challenge = passkey::challenge("countersign-enrolment+passkey", &signed).map_err(|error| refuse(&error))?;
    let made = posted.registration.verify(&challenge, pages.approvals.rp_id(), pages.origin());
    let (jwk, passkey) = made.map_err(|error| refuse(&error))?;
    // Taken before anything waits, so that one link makes one passkey.
    let link = pages.door.take_link(&posted.ticket, api.gateway.now()).ok_or_else(no_link)?;
    match api.gateway.key("registered", &link.party, &jwk, Some(&passkey), &link.by).await {
        Ok(_) => Ok(StatusCode::NO_CONTENT.into_response()),
        Err(problem) => {
            pages.door.put_back(&posted.ticket, link);
            Err(problem)
        }
    }
}

/// How a held call stands. Who has the address may see this much and no more; it cannot be guessed.
async fn status(
    State(api): State<Api>,
    headers: HeaderMap,
    Path((instruction, call)): Path<(String, String)>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let state = api.gateway.live(&instruction).ok().and_then(|live| {
        let inner = live.lock();
        let held = inner.held.get(&call)?;
        Some(match held.status {
            HeldStatus::Waiting if !held.waits(api.gateway.now()) => "expired",
            HeldStatus::Waiting => "waiting",
            HeldStatus::Denied => "denied",
            HeldStatus::Approved
                if inner.state(&held.grant).is_some_and(|grant| grant.approved.contains_key(&held.digest)) =>
            {
                "approved"
            }
            HeldStatus::Approved => "used",
        })
    });
    Ok(html::status(lang(&headers, query.as_deref()), state))
}

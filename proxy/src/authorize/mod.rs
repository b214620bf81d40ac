//! From a request to a verdict: reads the body that must be judged, normalises, judges, reserves. The rules themselves are the crate
//! `countersign-authorize`; here is what they need from the running gateway.

mod permit;
mod read;

use std::sync::Arc;

use countersign_authorize::{
    Refusal,
    catalogue::Catalogue,
    grant::{Grant, Usage},
    policy::Policies,
    request::{self, Recorded},
    verdict::{self, Judgement, Verdict},
    view::View,
};
use countersign_instruction::Attempt;
use countersign_ledger::{Hash, record::Time};
use data_encoding::HEXLOWER;
use http::{HeaderName, Response, request::Parts};
use jiff::Timestamp;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

pub use self::permit::{Arrived, Outgoing, Permit};
pub(crate) use self::read::bounds;
use self::{
    permit::permit,
    read::{arrive, for_server, message, normalise, read_limits},
};
use crate::{
    Body,
    identify::{Identified, Shown},
    mcp::Exchange,
    model::{Asking, is_model},
    observe::{Meaning, Seen},
    stack::{Context, Step},
    state::{Approved, Inner, Live, Registry, Reserved, Rules, Session, Turn},
    upstream::Upstream,
};

/// By which an agent says that a request is the same one asked again.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Who calls what, as the record and the outcome need it.
#[derive(Clone)]
pub struct Call {
    /// The call's id.
    pub id: String,
    /// The instruction.
    pub live: Arc<Live>,
    /// The grant.
    pub grant: String,
    /// The grant's entry.
    pub grant_entry: Option<Hash>,
    /// The agent.
    pub agent: String,
    /// What it showed.
    pub shown: Arc<Shown>,
    /// The API, if the path named one.
    pub upstream: Option<Arc<Upstream>>,
    /// The decision it follows from.
    pub decision: Option<Hash>,
    /// The trace context.
    pub traceparent: Option<String>,
    /// Who asked for the verdict in the agent's place, if anybody did.
    pub via: Option<&'static str>,
    /// How it is seen.
    pub seen: Seen,
    /// Its number among the calls forwarded to this API, once it is recorded.
    pub n: Option<u64>,
    /// What it is judged by.
    pub rules: Arc<Rules>,
    /// What of the answer the agent sees; everything when there is none.
    pub view: Option<Arc<View>>,
    /// What is to be answered, when the API speaks MCP.
    pub exchange: Option<Arc<Exchange>>,
    /// What a model is asked, when the API is one.
    pub asking: Option<Arc<Asking>>,
    /// The call that the model proposed, when this is one.
    pub follows: Option<Follows>,
}

/// The model's proposal that a call was found to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Follows {
    /// The decision's entry.
    pub decision: Hash,
    /// Whether this call is the first that is forwarded of it.
    pub anew: bool,
}

/// How a held call waits for its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waits {
    /// The held call that this one asks again, if it does.
    pub repeats: Option<String>,
    /// Until when.
    pub until: Timestamp,
}

/// A call with its verdict.
pub struct Judged {
    /// Who and what.
    pub call: Call,
    /// The verdict and its grounds.
    pub judgement: Judgement,
    /// When it was judged.
    pub judged: Time,
    /// What the grant would have allowed, for a refusal's text.
    pub allowed: Value,
    /// Usage before the call; after it, where it is allowed, stands in the judgement and is reserved.
    pub before: Usage,
    /// What it reserved, of its own grant first.
    pub reserved: Vec<Reserved>,
    /// The approval that is used up.
    pub approval: Option<Approved>,
    /// How a held call waits.
    pub waits: Option<Waits>,
    /// The request, normalised where it has one reading, for the vault.
    pub request: Value,
    /// Leave to forward it, if it has.
    pub permit: Option<Permit>,
    /// The instruction, still locked.
    pub session: Session,
    /// What is withdrawn, unchanged until the call is queued: whatever is withdrawn later stands later in the ledger.
    pub turn: Turn,
}

/// The step.
#[derive(Clone)]
pub struct Authorize {
    context: Arc<Context>,
}

impl Authorize {
    /// The step.
    pub const fn new(context: Arc<Context>) -> Authorize {
        Authorize { context }
    }

    fn judge(
        &self,
        session: &Session,
        registry: &Registry,
        call: &Call,
        normal: Result<&request::Request, &Refusal>,
        key: Option<Hash>,
        now: Timestamp,
    ) -> Judgement {
        let upstream = call.upstream.as_ref().map(|upstream| upstream.settings.name.as_str());
        judge(
            session,
            registry,
            &Tried {
                grant: &call.grant,
                subject: &call.live.subject,
                request: normal,
                decision: call.decision,
                key,
                catalogue: upstream.and_then(|upstream| call.rules.catalogue(upstream)).map(AsRef::as_ref),
                policies: call.rules.policies(),
                most_held: self.context.limits.held_calls,
                now,
            },
        )
    }

    /// A call that is asked again waits as the one that was asked first.
    fn wait(&self, session: &mut Session, call: &Call, digest: &str) -> Waits {
        let now = self.context.gateway.now();
        if let Some((repeats, until)) = session.waiting(digest, now) {
            return Waits { repeats: Some(repeats), until };
        }
        let until = now.saturating_add(self.context.limits.hold_timeout).unwrap_or(Timestamp::MAX);
        // As the entry says it: to the microsecond.
        let until = Time::new(until).instant();
        session.holding.insert(digest.to_owned(), (call.id.clone(), until));
        Waits { repeats: None, until }
    }
}

/// What is tried, under which grant of an instruction, about which data subject.
pub(crate) struct Tried<'a> {
    pub(crate) grant: &'a str,
    pub(crate) subject: &'a str,
    pub(crate) request: Result<&'a request::Request, &'a Refusal>,
    pub(crate) decision: Option<Hash>,
    pub(crate) key: Option<Hash>,
    pub(crate) catalogue: Option<&'a Catalogue>,
    pub(crate) policies: Option<&'a Policies>,
    /// How many calls of one instruction may wait for a person.
    pub(crate) most_held: usize,
    pub(crate) now: Timestamp,
}

/// Judges what is tried. Changes nothing.
pub(crate) fn judge(inner: &Inner, registry: &Registry, tried: &Tried<'_>) -> Judgement {
    let Tried { grant, subject, request, decision, key, catalogue, policies, most_held, now } = *tried;
    let (approved, denied) = (inner.approved(grant, now), inner.denied.iter().cloned().collect::<Vec<_>>());
    let agents = inner.agents(grant);
    inner.judge(&Attempt {
        grant,
        request,
        decision,
        key,
        catalogue,
        policies,
        withdrawn: &|action| registry.revocation(&agents, subject, action),
        crowded: &|digest| inner.waiting(digest, now).is_none() && inner.waiting_calls(now) >= most_held,
        approved: &approved,
        denied: &denied,
        now,
    })
}

/// What is to be answered, by an API that speaks MCP, to a client that may be shown addresses. The trace that the message names is the agent's.
fn begun(
    catalogue: Option<&Arc<Catalogue>>,
    http: Option<&request::Request>,
    live: &Live,
    (seen, traceparent): (&Seen, &mut Option<String>),
) -> Option<Exchange> {
    let mut exchange = Exchange::begin(catalogue, http)?;
    exchange.remember(&live.shows_addresses);
    if let Some(named) = exchange.traceparent() {
        seen.links(named);
        *traceparent = Some(named.to_owned());
    }
    Some(exchange)
}

/// The answer that the agent is owed, cut to what its grant has.
fn exchanged(
    exchange: Exchange,
    catalogue: Option<&Arc<Catalogue>>,
    grant: &Grant,
    request: Option<&request::Request>,
) -> Arc<Exchange> {
    Arc::new(match (catalogue, request) {
        (Some(catalogue), Some(request)) => exchange.judged(catalogue, grant, request),
        _ => exchange,
    })
}

/// What a model is asked, compared with what was observed.
fn asking((catalogue, request): (&Arc<Catalogue>, &request::Request), live: &Live) -> Option<Arc<Asking>> {
    Asking::of(request, catalogue.model().keep, || live.lock()).map(Arc::new)
}

impl Step<Identified> for Authorize {
    type Out = Judged;

    async fn step(&self, identified: Identified) -> Result<Judged, Response<Body>> {
        let Identified { destination, decision, arrival, live, mut traceparent, .. } = identified;
        let part = identified.seen.part("authorize");
        let (parts, body) = identified.request.into_parts();
        let upstream = destination.as_ref().map(|(upstream, _)| upstream.clone());
        // Taken once: whatever comes into force meanwhile is for the next call.
        let rules = self.context.gateway.rules();
        let catalogue = upstream.as_ref().and_then(|upstream| rules.catalogue(&upstream.settings.name));
        let limits = &read_limits(&self.context.limits, catalogue);
        let arrived = arrive(limits, &parts, body).await;
        let of_model = catalogue.is_some_and(|catalogue| is_model(catalogue));
        let arrived = for_server(limits, catalogue, arrived);
        let http = normalise(limits, destination.as_ref(), &parts, &arrived, decision.as_ref(), of_model);
        let exchange = begun(catalogue, http.as_ref().ok(), &live, (&identified.seen, &mut traceparent));
        let normal = http.and_then(|http| message(limits, catalogue, http, &parts));
        let asking = catalogue.zip(normal.as_ref().ok()).filter(|_| of_model).and_then(|asked| asking(asked, &live));
        // What a model proposed last is on record before a call is judged that may be made of it.
        let _ = tokio::time::timeout(limits.seal_timeout, live.settled()).await;

        let (mut session, turn) = (live.session(), self.context.gateway.registry.read_arc());
        let mut call = Call {
            id: identified.call,
            live,
            grant_entry: session.state(&identified.grant).map(|state| state.entry),
            grant: identified.grant,
            agent: identified.agent,
            shown: Arc::new(identified.shown),
            upstream,
            decision: decision.and_then(Result::ok),
            traceparent,
            via: arrival.via,
            seen: identified.seen,
            n: None,
            rules: rules.clone(),
            view: None,
            exchange: None,
            asking,
            follows: None,
        };
        // As the entry says it: to the microsecond.
        let judged = Time::new(self.context.gateway.now());
        let key_hash = parts.headers.get(IDEMPOTENCY_KEY).map(|key| Hash::of(key.as_bytes()));
        let judgement = self.judge(&session, &turn, &call, normal.as_ref(), key_hash, judged.instant());
        note(&mut session, &mut call, &judgement, key_hash, catalogue);
        let waits = (judgement.verdict == Verdict::Hold).then(|| self.wait(&mut session, &call, &judgement.digest));
        let before = session.state(&call.grant).map(|state| state.usage.clone()).unwrap_or_default();
        // Reserved before anything waits, so that calls side by side cannot spend the same money.
        let reserved = session.reserve(&call.grant, &judgement);
        let (approval, allowed) =
            granted(&mut session, &mut call, &judgement, exchange, catalogue, normal.as_ref().ok());
        let meaning = Meaning::of(normal.as_ref().ok());
        let request = describe(&call, &parts, normal.as_ref().ok(), &arrived);
        let permit = permit(&call, &judgement, parts, normal, arrived, arrival);
        call.follows = follow(&mut session, catalogue, &judgement, key_hash, permit.is_some());
        let judged = Judged {
            call,
            judgement,
            judged,
            allowed,
            before,
            reserved,
            approval,
            waits,
            request,
            permit,
            session,
            turn,
        };
        judged.call.seen.judged(part, &judged, &meaning);
        Ok(judged)
    }
}

/// What the grant says of the answer, and of what is refused: the approval that is used up, and what would have been allowed.
fn granted(
    session: &mut Session,
    call: &mut Call,
    judgement: &Judgement,
    exchange: Option<Exchange>,
    catalogue: Option<&Arc<Catalogue>>,
    request: Option<&request::Request>,
) -> (Option<Approved>, Value) {
    let Some(state) = session.state_mut(&call.grant) else { return (None, Value::Null) };
    if judgement.verdict == Verdict::Allow {
        call.view = view(&call.rules, judgement, &state.grant);
    }
    call.exchange = exchange.map(|exchange| exchanged(exchange, catalogue, &state.grant, request));
    let approval = judgement.approved.then(|| state.approved.remove(&judgement.digest)).flatten();
    // Whoever is refused is told; a grant may have very many actions.
    let allowed = match judgement.verdict {
        Verdict::Allow => Value::Null,
        Verdict::Deny | Verdict::Hold => verdict::allowed(&state.grant, judgement.action.as_deref()),
    };
    (approval, allowed)
}

/// What the instruction knows from now on: before anything waits, so that what is judged next builds on it, as its entry stands behind this one's.
fn note(
    session: &mut Session,
    call: &mut Call,
    judgement: &Judgement,
    key: Option<Hash>,
    catalogue: Option<&Arc<Catalogue>>,
) {
    // INVARIANT: an entry names no cause that is not there; what an agent makes up is refused, and stays out of the record.
    call.decision = call.decision.filter(|decision| session.decisions.contains(decision));
    if let Some(key) = key.filter(|_| judgement.verdict != Verdict::Deny) {
        session.keyed(key, &judgement.digest);
    }
    if let (Verdict::Allow, Some(action), Some(catalogue)) = (judgement.verdict, &judgement.action, catalogue) {
        session.observe_arguments(&call.id, action, catalogue, &judgement.arguments);
    }
}

/// The proposal of the model that a call is, if it is one. It is taken before anything waits: one proposal, one call. A call that is refused or held
/// leaves it open.
fn follow(
    session: &mut Session,
    catalogue: Option<&Arc<Catalogue>>,
    judgement: &Judgement,
    key: Option<Hash>,
    forwarded: bool,
) -> Option<Follows> {
    let (catalogue, action) = catalogue.zip(judgement.action.as_deref())?;
    let action = catalogue.action(action)?;
    let decision = session.asked.fitting(catalogue.upstream(), action, &judgement.arguments, key)?;
    Some(Follows { decision, anew: forwarded && session.asked.take(&decision, key) })
}

/// The view through which the grant sees the action's answers.
fn view(rules: &Rules, judgement: &Judgement, grant: &Grant) -> Option<Arc<View>> {
    let name = judgement.action.as_deref()?;
    let granted = grant.actions.get(name)?;
    let catalogue = granted.upstream.as_deref().and_then(|upstream| rules.catalogue(upstream));
    let action = catalogue.and_then(|catalogue| catalogue.action(name));
    granted.view.as_deref().map(|view| Arc::new(View::new(action, view)))
}

/// What the vault keeps of the request: its one reading, or what can be said of one that has none.
fn describe(
    call: &Call,
    parts: &Parts,
    normal: Option<&request::Request>,
    arrived: &Result<Arrived, Refusal>,
) -> Value {
    let catalogue = call.upstream.as_ref().and_then(|upstream| call.rules.catalogue(&upstream.settings.name));
    let mut request = match normal {
        Some(request) => json!(Recorded { request, catalogue: catalogue.map(AsRef::as_ref) }),
        None => json!({
            "upstream": call.upstream.as_ref().map(|upstream| &upstream.settings.name),
            "method": parts.method.as_str(),
            "raw_target": parts.uri.to_string().chars().take(2048).collect::<String>(),
        }),
    };
    if let (Some(request), Ok(Arrived::Whole(bytes))) = (request.as_object_mut(), arrived) {
        request.insert("sha256".to_owned(), HEXLOWER.encode(&Sha256::digest(bytes)).into());
        request.insert("bytes".to_owned(), bytes.len().into());
    }
    if let (Some(request), Some(key)) = (request.as_object_mut(), parts.headers.get(IDEMPOTENCY_KEY)) {
        request.insert("idempotency_key".to_owned(), String::from_utf8_lossy(key.as_bytes()).into());
    }
    request
}

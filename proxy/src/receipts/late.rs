//! Receipts that did not come with the answer: after a timeout, an abort or a crash, or because nobody knew the key yet. The API is asked for them again, a few
//! times, further and further apart, also after a restart: what is open is state of the ledger.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use countersign_ledger::{Entry, Hash, Kind, record::StatePut, signed_text::SignedText};
use countersign_receipt::{self as signed, Sent, receipt::WELL_KNOWN};
use http::{Request, Uri, uri::PathAndQuery};
use http_body_util::{BodyExt as _, Empty, Limited};
use serde::Deserialize;
use serde_json::Value;

use super::{Judged, Of, keys, sha256};
use crate::{
    api::Grounds,
    stack::Context,
    state::{Gateway, StateError},
    upstream::{
        Upstream,
        access::{Held, Whom},
    },
};

/// At which ages of a call its receipt is asked for, in seconds. After the last one nobody asks any more.
const AGES: [i64; 9] = [0, 1, 5, 30, 120, 600, 3600, 6 * 3600, 24 * 3600];

/// How often it is looked whether something is due.
const LOOK: Duration = Duration::from_secs(1);

/// How long the API may take to give a receipt.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The longest answer that is read, in bytes.
const MAX_BYTES: usize = 256 << 10;

/// A call whose receipt is missing, as the ledger's state has it.
#[derive(Debug, Clone, Deserialize)]
struct Missing {
    instruction: String,
    subject: String,
    upstream: String,
    since: i64,
}

/// Asks for what is missing, and keeps lists of keys fresh. Ends never.
pub(crate) async fn fetch_missing(context: Arc<Context>) {
    let mut replaced = context.upstreams.watch();
    let some = replaced.wait_for(|all| all.iter().any(|upstream| upstream.settings.receipts.is_some())).await.is_ok();
    if !some {
        return std::future::pending().await;
    }
    let lists = tokio::spawn(keys::keep(context.clone()));
    let _abort = AbortOnDrop(lists);
    // How often each was asked for since this process began.
    let mut asked: BTreeMap<String, usize> = BTreeMap::new();
    loop {
        let open = rows(&context.gateway);
        asked.retain(|call, _| open.contains_key(call));
        for (call, row) in &open {
            let age = context.gateway.now().as_second() - row.since;
            let tries = asked.entry(call.clone()).or_insert(0);
            let due = AGES.get(*tries).is_some_and(|due| age >= *due);
            if due {
                // After a restart, what is old is asked for once, not once for each age that it passed.
                *tries = AGES.iter().take_while(|due| age >= **due).count().max(*tries + 1);
                match fetch(&context, call, row).await {
                    Ok(true) => {
                        context.gateway.observe().count(|told| told.late_receipt(&row.upstream));
                        tracing::debug!(call, "a receipt came late");
                    }
                    Ok(false) => {}
                    Err(error) => tracing::warn!(call, %error, "a receipt cannot be fetched"),
                }
            } else if *tries >= AGES.len() || !gives(&context, &row.upstream) {
                context.gateway.let_go(StatePut { key: key(call), value: None });
            }
        }
        tokio::select! {
            () = context.missing.notified() => {
                // The state follows behind the acknowledgement.
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn key(call: &str) -> Vec<u8> {
    format!("receipt/{call}").into_bytes()
}

fn rows(gateway: &Gateway) -> BTreeMap<String, Missing> {
    let rows = gateway.ledger.state(b"receipt/").inspect_err(|error| {
        tracing::error!(%error, "which receipts are missing cannot be read");
    });
    let row = |(key, value): (Vec<u8>, Vec<u8>)| {
        let call = String::from_utf8(key).ok()?.strip_prefix("receipt/")?.to_owned();
        Some((call, serde_json::from_slice(&value).ok()?))
    };
    rows.into_iter().flatten().filter_map(row).filter(|(call, _)| !gateway.is_let_go(&key(call))).collect()
}

fn gives(context: &Context, upstream: &str) -> bool {
    upstream_of(context, upstream).is_some_and(|upstream| upstream.settings.receipts.is_some())
}

fn upstream_of(context: &Context, name: &str) -> Option<Arc<Upstream>> {
    context.upstreams.named(name)
}

/// Asks once; true when it came and was written down.
async fn fetch(context: &Arc<Context>, call: &str, row: &Missing) -> Result<bool, String> {
    let Some(upstream) = upstream_of(context, &row.upstream) else { return Ok(false) };
    let Some(receipts) = &upstream.settings.receipts else { return Ok(false) };
    let Some(known) = Known::of(&context.gateway, call, row).map_err(|error| error.to_string())? else {
        return Ok(false);
    };
    let Some(text) = ask(&upstream, &known.entry).await? else { return Ok(false) };
    let came = signed::Receipt::read(&text).map_err(|error| error.to_string())?;
    let judged = Judged::new(&context.gateway, &came, &receipts.party, &known.sent());
    // A key that may yet become known, and what is no good word on this call, is asked for again; the last time it is written down as it is.
    let last = context.gateway.now().as_second() - row.since >= AGES.last().copied().unwrap_or_default();
    if !judged.fits() && !last {
        context.unknown_key.notify_waiters();
    }
    if judged.is_of_unknown_key() && !last {
        return Ok(false);
    }
    let of = Of { call: known.entry, instruction: &row.instruction, subject: &row.subject };
    let mut draft = judged.draft(&context.gateway, &of, true).map_err(|error| error.to_string())?;
    let gone = StatePut { key: key(call), value: None };
    draft.state.push(gone.clone());
    let sealed = context.gateway.ledger.append(draft).await.map_err(|error| error.to_string())?;
    context.gateway.let_go_written(gone);
    if let Some(executed) = executed(&came).filter(|_| judged.fits()) {
        let by = receipts.party.clone();
        let grounds = Grounds { source: "receipt", by, reason: None, entry: Some(sealed.hash), statement: None };
        context.gateway.settle(&known.entry, executed, grounds).await.map_err(|error| error.to_string())?;
    }
    Ok(true)
}

/// Whether the API executed the call, if its receipt says so: a good status is a yes; an error is a no only where the API says that nothing was changed.
fn executed(came: &signed::Receipt) -> Option<bool> {
    match (came.signed().status()?, came.execution().changed) {
        (200..400, _) => Some(true),
        (_, Some(0)) => Some(false),
        _ => None,
    }
}

/// What the ledger knows of the call.
struct Known {
    entry: Hash,
    content: Option<Hash>,
    status: Option<u16>,
    answer: Option<Hash>,
    answer_is_empty: bool,
}

impl Known {
    fn of(gateway: &Gateway, call: &str, row: &Missing) -> Result<Option<Known>, StateError> {
        let mut known: Option<Known> = None;
        for seq in gateway.ledger.of_instruction(&row.instruction)? {
            let bytes = gateway.ledger.entry(seq)?;
            let entry = Entry::parse(&bytes)?;
            match entry.kind {
                Kind::Call if entry.text("call") == Some(call) => {
                    let entry = Hash::of(&bytes);
                    known = Some(Known { entry, content: None, status: None, answer: None, answer_is_empty: false });
                }
                Kind::Outcome => {
                    let Some(known) = known.as_mut().filter(|known| names(&entry, &known.entry)) else { continue };
                    let status = entry.body.get("status").and_then(Value::as_u64);
                    known.status = status.and_then(|status| u16::try_from(status).ok());
                    known.content = sha256(gateway.value(seq, "request")?.as_ref());
                    let whole = entry.text("result") == Some("completed");
                    let response = gateway.value(seq, "response")?.filter(|_| whole);
                    known.answer = sha256(response.as_ref());
                    known.answer_is_empty =
                        response.as_ref().and_then(|kept| kept.get("bytes")).and_then(Value::as_u64) == Some(0);
                }
                _ => {}
            }
        }
        Ok(known)
    }

    fn sent(&self) -> Sent<'_> {
        Sent {
            entry: self.entry,
            asked: None,
            content: self.content,
            status: self.status,
            answer: self.answer,
            answer_is_empty: self.answer_is_empty,
        }
    }
}

fn names(entry: &Entry, call: &Hash) -> bool {
    entry.text("call").and_then(|named| named.parse::<Hash>().ok()) == Some(*call)
}

/// The gateway's own token, where it gets one; one that is got for somebody else is not got without a call of theirs.
async fn held(upstream: &Upstream) -> Result<Option<Arc<Held>>, String> {
    let Some(access) = upstream.access() else { return Ok(None) };
    if access.settings.exchange.is_some() {
        return Err("the gateway has no token of its own for it, only those of users and agents".to_owned());
    }
    access.get(&Whom { key: String::new(), exchanged: &|| Ok(Vec::new()) }).await.map(Some)
}

/// Asks the API for the receipt of a call, by the call's entry. The gateway's own question: no agent's call, hence no entry before it; what it brings is one.
async fn ask(upstream: &Upstream, entry: &Hash) -> Result<Option<SignedText>, String> {
    let mut parts = upstream.settings.url.clone().into_parts();
    let path: PathAndQuery = format!("{WELL_KNOWN}{entry}").parse().map_err(|_| "no path".to_owned())?;
    parts.path_and_query = Some(path);
    let uri = Uri::from_parts(parts).map_err(|error| error.to_string())?;
    let mut request = Request::get(uri).header(http::header::ACCEPT, "application/json");
    let held = held(upstream).await?;
    let credential = held.as_deref().map(|held| &held.credential).or(upstream.settings.credential.as_ref());
    if let Some((credential, value)) = credential.and_then(|credential| Some((credential, credential.value()?))) {
        request = request.header(credential.header().clone(), value);
    }
    let body = Empty::new().map_err(|never| match never {}).boxed_unsync();
    let request = request.body(body).map_err(|error| error.to_string())?;
    let answer = async {
        let answer = upstream.call(request, |_| {}).await.map_err(|error| error.to_string())?;
        if !answer.status().is_success() {
            return Ok(None);
        }
        let body = Limited::new(answer.into_body(), MAX_BYTES).collect().await.map_err(|error| error.to_string())?;
        serde_json::from_slice(&body.to_bytes()).map(Some).map_err(|error| format!("it is no receipt: {error}"))
    };
    tokio::time::timeout(TIMEOUT, answer).await.map_err(|_| "the API did not answer in time".to_owned())?
}

impl Gateway {
    /// State that nobody waits for any more; the next heartbeat takes it out of the ledger.
    fn let_go(&self, gone: StatePut) {
        self.let_go.lock().insert(gone.key, true);
    }

    /// State that an entry took out; the store follows behind.
    fn let_go_written(&self, gone: StatePut) {
        self.let_go.lock().insert(gone.key, false);
    }

    fn is_let_go(&self, key: &[u8]) -> bool {
        self.let_go.lock().contains_key(key)
    }
}

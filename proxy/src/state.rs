//! What the running gateway knows: the ledger, the vault, catalogues, parties and keys, and the live instructions.
//!
//! An instruction's state (usage of its grant, what was observed, held calls, approvals) is a fold over its own entries. It is loaded
//! when it is first needed, so starting costs the same whatever the ledger's age, and a restart finds exactly what was sealed.

mod live;
mod registry;
mod rules;
mod under_way;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use countersign_authorize::catalogue::Catalogue;
use countersign_ledger::{
    Draft, Entry, Hash, Kind, Ledger,
    clock::Clock,
    disclosure::Disclosure,
    ledger::ReadError,
    record::{EntryError, StatePut, body},
    vault::{GATEWAY, Opened, Vault, VaultError},
    writer::{AppendError, Sealed},
};
use jiff::Timestamp;
use parking_lot::{Mutex, RwLock};
use serde_json::{Value, json};

pub use countersign_instruction::{
    Approved, GrantState, Held, HeldStatus, Inner, JudgedBy, MAX_KEYS, Reserved, Yes, budget,
};

use self::rules::Recorded;
pub use self::{
    live::{Live, Session, Turn},
    registry::{IncidentRow, KeyRow, Registry},
    rules::Rules,
    under_way::{Named, UnderWay},
};
use crate::{observe::Observe, token::Tokens};

/// The most instructions that are kept in memory; others are loaded again when needed.
const MAX_LIVE: usize = 100_000;

/// An instruction that nobody used for so long is forgotten, however few there are: memory follows what is in use.
const FORGET_SECONDS: i64 = 600;

/// Why the gateway's state cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// The ledger did not take an entry.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// The ledger cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// An entry cannot be read.
    #[error(transparent)]
    Entry(#[from] EntryError),
    /// The vault.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// A file cannot be written.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// No such instruction, or its content was erased.
    #[error("there is no instruction `{0}`, or its content was erased")]
    NoInstruction(String),
}

/// What a gateway is made of.
pub struct Parts {
    /// The ledger.
    pub ledger: Ledger,
    /// The vault.
    pub vault: Arc<Vault>,
    /// A catalogue per upstream, with its exact bytes.
    pub catalogues: Vec<(Catalogue, String)>,
    /// Makes and checks tokens.
    pub tokens: Tokens,
    /// The clock.
    pub clock: Arc<dyn Clock>,
}

/// The running gateway.
pub struct Gateway {
    /// The ledger.
    pub ledger: Ledger,
    /// The vault.
    pub vault: Arc<Vault>,
    /// Makes and checks tokens.
    pub tokens: Tokens,
    /// Parties, keys, revocations and holds.
    pub registry: Arc<RwLock<Registry>>,
    /// Calls under way that end when what allowed them is withdrawn.
    pub(crate) under_way: UnderWay,
    clock: Arc<dyn Clock>,
    rules: RwLock<Arc<Rules>>,
    recorded: tokio::sync::Mutex<Recorded>,
    /// The last change of them that was refused, and when.
    refused: Mutex<Option<(Timestamp, String)>>,
    /// Catalogues that are in force no more, by digest, as they were needed.
    former: Mutex<BTreeMap<Hash, Option<Arc<Catalogue>>>>,
    live: RwLock<BTreeMap<String, Arc<Live>>>,
    /// Held calls by id, with their instruction.
    held: RwLock<BTreeMap<String, String>>,
    upstream_counters: Mutex<BTreeMap<String, u64>>,
    counts: Mutex<Counts>,
    open_calls: AtomicU64,
    closed: Mutex<Vec<String>>,
    /// Instructions by the end of their grant, until a heartbeat says how many entries they had.
    ending: Mutex<BTreeSet<(Timestamp, String)>>,
    /// At how many live instructions those are forgotten that nothing needs.
    sweep_at: AtomicUsize,
    administration: tokio::sync::Mutex<()>,
    /// State of missing receipts that is taken out: by the next heartbeat where true, by an entry already where false.
    pub(crate) let_go: Mutex<BTreeMap<Vec<u8>, bool>>,
    /// What is said of it while it runs.
    observe: OnceLock<Observe>,
    /// The data subject of what belongs to nobody.
    pub nobody: String,
}

impl Gateway {
    /// Begins with what the ledger holds: records catalogues that changed, closes calls that a crash left open.
    ///
    /// # Errors
    /// [`StateError`].
    pub async fn open(parts: Parts) -> Result<Arc<Gateway>, StateError> {
        let nobody = parts.vault.subject(GATEWAY)?;
        let registry = Registry::load(&parts.ledger)?;
        let mut held = BTreeMap::new();
        for (key, value) in parts.ledger.state(b"held/")? {
            held.insert(tail(&key, "held/"), String::from_utf8_lossy(&value).into_owned());
        }
        let mut upstream_counters = BTreeMap::new();
        for (key, value) in parts.ledger.state(b"upstream/")? {
            let next = value.first_chunk::<8>().map_or(0, |bytes| u64::from_be_bytes(*bytes));
            upstream_counters.insert(tail(&key, "upstream/"), next);
        }
        let (mut catalogues, mut recorded) = (BTreeMap::new(), Recorded::load(&parts.ledger)?);
        for (catalogue, text) in parts.catalogues {
            recorded.catalogue(&parts.ledger, &catalogue, &text).await?;
            catalogues.insert(catalogue.upstream().to_owned(), Arc::new(catalogue));
        }
        close_open_calls(&parts.ledger).await?;
        // An erasure that was sealed and cut short before the key was destroyed.
        for (key, _) in parts.ledger.state(b"registry/erased/")? {
            parts.vault.erase(&tail(&key, "registry/erased/"))?;
        }
        Ok(Arc::new(Gateway {
            ledger: parts.ledger,
            vault: parts.vault,
            tokens: parts.tokens,
            registry: Arc::new(RwLock::new(registry)),
            under_way: UnderWay::default(),
            clock: parts.clock,
            rules: RwLock::new(Arc::new(Rules::new(catalogues, None))),
            recorded: tokio::sync::Mutex::new(recorded),
            refused: Mutex::default(),
            former: Mutex::default(),
            live: RwLock::default(),
            held: RwLock::new(held),
            upstream_counters: Mutex::new(upstream_counters),
            counts: Mutex::default(),
            open_calls: AtomicU64::new(0),
            closed: Mutex::default(),
            ending: Mutex::default(),
            sweep_at: AtomicUsize::new(MAX_LIVE),
            administration: tokio::sync::Mutex::default(),
            let_go: Mutex::default(),
            observe: OnceLock::new(),
            nobody,
        }))
    }

    /// The time now.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// An instruction's live state, loaded from the ledger when it is not in memory.
    ///
    /// # Errors
    /// [`StateError::NoInstruction`] when there is none or its content was erased.
    pub fn live(&self, instruction: &str) -> Result<Arc<Live>, StateError> {
        if let Some(live) = self.live.read().get(instruction) {
            live.used();
            return Ok(live.clone());
        }
        let loaded = Arc::new(Live::load(self, instruction)?);
        self.watch_end(&loaded);
        let mut live = self.live.write();
        self.sweep(&mut live);
        // Somebody else may have loaded it meanwhile: theirs holds.
        Ok(live.entry(instruction.to_owned()).or_insert(loaded).clone())
    }

    /// Forgets instructions whose grant is over and that nobody uses, when there are many.
    fn sweep(&self, live: &mut BTreeMap<String, Arc<Live>>) {
        if live.len() < self.sweep_at.load(Ordering::Relaxed) {
            return;
        }
        let now = self.now();
        live.retain(|_, live| Arc::strong_count(live) > 1 || live.lock().holds(now));
        // Not again before there are a quarter more, so that many grants that all hold do not make each new one slow.
        self.sweep_at.store(MAX_LIVE.max(live.len() + live.len() / 4), Ordering::Relaxed);
    }

    /// Forgets instructions that nobody used for ten minutes; and of those that nobody used for a minute, the longest first, until all that are kept take
    /// no more than so many bytes. What they are stands in their entries. Asked from time to time.
    pub fn forget_idle(&self, keep: usize, now: Timestamp) {
        let (mut kept, mut idle) = (0_usize, Vec::new());
        for (id, live) in &*self.live.read() {
            let memory = live.memory();
            kept = kept.saturating_add(memory);
            idle.extend(live.idle_since(now).map(|since| (since, memory, id.clone())));
        }
        idle.sort_unstable();
        let stays = |kept: usize, since: i64| kept <= keep && now.as_second() - since < FORGET_SECONDS;
        // How calls ended may wait for room, and is in no entry yet.
        if idle.first().is_none_or(|(since, ..)| stays(kept, *since)) || self.ledger.can_seal().is_err() {
            return;
        }
        let mut live = self.live.write();
        for (since, memory, id) in idle {
            if stays(kept, since) {
                break;
            }
            // Somebody may have begun to use it meanwhile.
            if live.get(&id).is_some_and(|live| live.idle_since(now).is_some()) {
                live.remove(&id);
                kept = kept.saturating_sub(memory);
            }
        }
    }

    /// Makes a new instruction known.
    pub fn insert(&self, live: Live) -> Arc<Live> {
        let live = Arc::new(live);
        self.watch_end(&live);
        let mut all = self.live.write();
        self.sweep(&mut all);
        all.insert(live.id.clone(), live.clone());
        drop(all);
        live
    }

    /// Remembers when its grant ends, so that a heartbeat then gives its total.
    fn watch_end(&self, live: &Live) {
        let expires = live.lock().grant.as_ref().map(|grant| grant.grant.expires);
        let now = self.now();
        self.ending.lock().extend(expires.filter(|end| *end > now).map(|end| (end, live.id.clone())));
    }

    /// A turn to administer: what changes parties, keys, holds or erases comes into force in the order of the entries.
    pub async fn administer(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.administration.lock().await
    }

    /// Forgets an instruction, so that it is loaded anew.
    pub fn forget(&self, instruction: &str) {
        self.live.write().remove(instruction);
    }

    /// Forgets every instruction of a data subject.
    pub fn forget_subject(&self, subject: &str) {
        self.live.write().retain(|_, live| live.subject != subject);
    }

    /// The ids of held calls, with their instructions.
    pub fn held(&self) -> Vec<(String, String)> {
        self.held.read().iter().map(|(call, instruction)| (call.clone(), instruction.clone())).collect()
    }

    /// How many calls are held.
    pub(crate) fn held_count(&self) -> usize {
        self.held.read().len()
    }

    /// The instruction of a held call.
    pub fn instruction_of_held(&self, call: &str) -> Option<String> {
        self.held.read().get(call).cloned()
    }

    /// Notes that a call is held; gives the state that must commit with its entry.
    pub fn hold_call(&self, call: &str, instruction: &str) -> StatePut {
        self.held.write().insert(call.to_owned(), instruction.to_owned());
        StatePut { key: format!("held/{call}").into_bytes(), value: Some(instruction.as_bytes().to_vec()) }
    }

    /// Takes a held call out of those that wait, for one answer; `None` when somebody else took it.
    pub fn unhold_call(&self, call: &str) -> Option<StatePut> {
        self.held.write().remove(call)?;
        Some(StatePut { key: format!("held/{call}").into_bytes(), value: None })
    }

    /// Takes out the held calls that can no longer be made: nobody answered in time, their grant is over, or their content erased.
    fn unhold_dead(&self) -> Vec<(String, String, StatePut)> {
        let now = self.now();
        let mut puts = Vec::new();
        for (call, instruction) in self.held() {
            let dead = match self.live(&instruction) {
                Ok(live) => {
                    let inner = live.lock();
                    let over = |held: &Held| !held.waits(now) || !inner.grant_holds(&held.grant, now);
                    inner.held.get(&call).map_or_else(|| !inner.holds(now), over)
                }
                Err(StateError::NoInstruction(_)) => true,
                Err(error) => {
                    tracing::warn!(%error, call, "a held call cannot be read");
                    false
                }
            };
            if dead {
                puts.extend(self.unhold_call(&call).map(|put| (call, instruction, put)));
            }
        }
        puts
    }

    /// Takes the next number of an upstream's dense counter and calls `enqueue` with it and the state that must commit with it, in the order of
    /// the numbers. When `enqueue` fails the number is not used.
    pub fn numbered<T, E>(&self, upstream: &str, enqueue: impl FnOnce(u64, StatePut) -> Result<T, E>) -> Result<T, E> {
        let mut counters = self.upstream_counters.lock();
        let next = counters.entry(upstream.to_owned()).or_default();
        let value = Some((*next + 1).to_be_bytes().to_vec());
        let enqueued = enqueue(*next, StatePut { key: format!("upstream/{upstream}").into_bytes(), value })?;
        *next += 1;
        Ok(enqueued)
    }

    /// Reports to `observe` from now on; the first one that is set stays.
    pub(crate) fn set_observe(&self, observe: Observe) {
        let _ = self.observe.set(observe);
    }

    /// What is said of it while it runs.
    pub(crate) fn observe(&self) -> &Observe {
        self.observe.get().unwrap_or(Observe::OFF)
    }

    /// Counts a call for the heartbeat.
    pub fn count(&self, verdict: &str) {
        *self.counts.lock().verdicts.entry(verdict.to_owned()).or_default() += 1;
    }

    /// Counts a call of an agent under a grant for the heartbeat.
    pub fn count_for(&self, verdict: &str, agent: &str, grant: &str) {
        self.count(verdict);
        *self.counts.lock().agents.entry((agent.to_owned(), grant.to_owned())).or_default() += 1;
    }

    /// Counts calls that are forwarded and have not ended.
    pub fn open_calls(&self) -> &AtomicU64 {
        &self.open_calls
    }

    /// Notes that an instruction will get no more entries of the agent's making.
    pub fn ended(&self, instruction: &str) {
        self.closed.lock().push(instruction.to_owned());
    }

    /// Writes a heartbeat: what was counted since the last one, and the totals of instructions that ended.
    ///
    /// # Errors
    /// [`StateError`].
    pub async fn heartbeat(&self) -> Result<Sealed, StateError> {
        let ended: BTreeSet<String> =
            std::mem::take(&mut *self.closed.lock()).into_iter().chain(self.expired()).collect();
        let mut closed = Vec::new();
        for instruction in ended {
            let entries = self.ledger.of_instruction(&instruction)?.len() as u64;
            closed.push(body::Total { instruction, entries });
        }
        let dead = self.unhold_dead();
        let Counts { verdicts: calls, agents } = std::mem::take(&mut *self.counts.lock());
        let (agents, counted) = (named(&agents), agents);
        let head = self.head()?;
        let open = self.open_calls.load(Ordering::Relaxed);
        let heartbeat = body::Heartbeat { calls, open, closed, agents, head, ..body::Heartbeat::default() };
        let mut draft = Draft::new(&heartbeat)?;
        draft.state = dead.iter().map(|(_, _, put)| put.clone()).collect();
        let let_go: Vec<Vec<u8>> = {
            let rows = self.let_go.lock();
            rows.iter().filter(|(_, open)| **open).map(|(key, _)| key.clone()).collect()
        };
        draft.state.extend(let_go.iter().map(|key| StatePut { key: key.clone(), value: None }));
        match self.ledger.append(draft).await {
            Ok(sealed) => {
                self.observe().count(|told| dead.iter().for_each(|_| told.approval("expired")));
                self.let_go.lock().retain(|key, open| *open && !let_go.contains(key));
                Ok(sealed)
            }
            Err(error) => {
                // The next one says it, and lets go.
                for (call, instruction, _) in dead {
                    drop(self.hold_call(&call, &instruction));
                }
                self.closed.lock().extend(heartbeat.closed.into_iter().map(|total| total.instruction));
                let mut counts = self.counts.lock();
                for (verdict, count) in heartbeat.calls {
                    *counts.verdicts.entry(verdict).or_default() += count;
                }
                for (who, count) in counted {
                    *counts.agents.entry(who).or_default() += count;
                }
                Err(error.into())
            }
        }
    }

    /// The newest sealed entry.
    fn head(&self) -> Result<Option<Hash>, StateError> {
        match self.ledger.head().size().checked_sub(1) {
            Some(last) => Ok(Some(Hash::of(&self.ledger.entry(last)?))),
            None => Ok(None),
        }
    }

    /// Instructions whose grant ran out since the last heartbeat.
    fn expired(&self) -> BTreeSet<String> {
        let mut ending = self.ending.lock();
        let later = ending.split_off(&(self.now(), String::new()));
        std::mem::replace(&mut *ending, later).into_iter().map(|(_, instruction)| instruction).collect()
    }

    /// An entry's disclosed value.
    ///
    /// # Errors
    /// [`StateError`] when the ledger or the vault cannot be read.
    pub fn value(&self, seq: u64, name: &str) -> Result<Option<Value>, StateError> {
        Ok(self
            .disclosures(seq)?
            .into_iter()
            .find(|disclosure| disclosure.name() == name)
            .map(|found| found.value().clone()))
    }

    /// What opens of an entry's disclosures; what was erased is left out.
    ///
    /// # Errors
    /// [`StateError`] when the ledger or the vault cannot be read.
    pub fn disclosures(&self, seq: u64) -> Result<Vec<Disclosure>, StateError> {
        let mut opened = Vec::new();
        for attachment in self.ledger.attachments(seq)? {
            if let Opened::Value(disclosure) = self.vault.open_attachment(&attachment)? {
                opened.push(disclosure);
            }
        }
        Ok(opened)
    }

    /// An entry, read.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn entry(&self, seq: u64) -> Result<Entry, StateError> {
        Ok(Entry::parse(&self.ledger.entry(seq)?)?)
    }
}

/// What was counted since the last heartbeat.
#[derive(Default)]
struct Counts {
    verdicts: BTreeMap<String, u64>,
    /// By agent and grant.
    agents: BTreeMap<(String, String), u64>,
}

/// The most agents and grants that one heartbeat names, so that it is no longer than an entry may be.
const MAX_NAMED: usize = 100;

/// Calls by agent and grant. Where there are too many, the last row has the rest, without a name.
fn named(agents: &BTreeMap<(String, String), u64>) -> Vec<body::Called> {
    let row = |((agent, grant), calls): (&(String, String), &u64)| body::Called {
        agent: agent.clone(),
        grant: grant.clone(),
        calls: *calls,
    };
    let mut rows: Vec<body::Called> = agents.iter().take(MAX_NAMED).map(row).collect();
    let rest: u64 = agents.values().skip(MAX_NAMED).sum();
    rows.extend((rest > 0).then(|| body::Called { calls: rest, ..body::Called::default() }));
    rows
}

fn tail(key: &[u8], prefix: &str) -> String {
    String::from_utf8_lossy(key).strip_prefix(prefix).unwrap_or_default().to_owned()
}

/// The key of a forwarded call that has not ended.
pub fn open_key(call: &str) -> Vec<u8> {
    format!("open/{call}").into_bytes()
}

/// Calls that were forwarded, or about to be, when the process ended: nobody knows what became of them.
async fn close_open_calls(ledger: &Ledger) -> Result<(), StateError> {
    for (key, value) in ledger.state(b"open/")? {
        let open: Value = serde_json::from_slice(&value).unwrap_or_default();
        let text = |name: &str| open.get(name).and_then(Value::as_str).map(str::to_owned);
        let instruction = text("instruction");
        let call = match &instruction {
            Some(instruction) => find_call(ledger, instruction, &tail(&key, "open/"))?,
            None => None,
        };
        let Some(call) = call else { continue };
        let outcome = body::Outcome {
            call,
            subject: text("subject"),
            result: "unknown".to_owned(),
            sent: "maybe".to_owned(),
            detail: Some("the gateway ended while the call was open".to_owned()),
            ..body::Outcome::default()
        };
        let mut draft = Draft::new(&outcome)?.caused_by([call]);
        draft.instruction = instruction;
        draft.state.push(StatePut { key, value: None });
        ledger.append(draft).await?;
    }
    Ok(())
}

fn find_call(ledger: &Ledger, instruction: &str, call: &str) -> Result<Option<Hash>, StateError> {
    for seq in ledger.of_instruction(instruction)? {
        let bytes = ledger.entry(seq)?;
        let entry = Entry::parse(&bytes)?;
        if entry.kind == Kind::Call && entry.text("call") == Some(call) {
            return Ok(Some(Hash::of(&bytes)));
        }
    }
    Ok(None)
}

/// What is kept of a call that is forwarded, until it ends.
pub fn open_state(call: &str, instruction: &str, subject: &str) -> StatePut {
    let value = json!({ "instruction": instruction, "subject": subject }).to_string().into_bytes();
    StatePut { key: open_key(call), value: Some(value) }
}

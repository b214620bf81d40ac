//! What the running gateway knows: the ledger, the vault, catalogues, parties and keys, and the live instructions.
//!
//! An instruction's state (usage of its grant, what was observed, held calls, approvals) is a fold over its own entries. It is loaded
//! when it is first needed, so starting costs the same whatever the ledger's age, and a restart finds exactly what was sealed.

mod at_hand;
mod heartbeat;
mod live;
mod open;
mod registry;
mod rules;
mod under_way;
mod waiting;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, AtomicUsize},
    },
};

use countersign_authorize::catalogue::Catalogue;
use countersign_ledger::{
    Entry, Hash, Ledger,
    clock::Clock,
    disclosure::Disclosure,
    ledger::ReadError,
    record::{EntryError, StatePut},
    vault::{GATEWAY, Opened, Vault, VaultError},
    writer::AppendError,
};
use jiff::Timestamp;
use parking_lot::{Mutex, RwLock};
use serde_json::Value;

pub use countersign_instruction::{
    Approved, GrantState, Held, HeldStatus, Inner, JudgedBy, MAX_KEYS, Reserved, Yes, budget,
};

pub(crate) use self::rules::{CERTIFICATES, ISSUER};
use self::{at_hand::MAX_LIVE, heartbeat::Counts, rules::Recorded};
pub use self::{
    live::{Live, Session, Turn},
    open::{open_key, open_state},
    registry::{IncidentRow, KeyRow, Registry},
    rules::Rules,
    under_way::{Named, UnderWay},
};
use crate::{observe::Observe, token::Tokens};

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
        open::close_open_calls(&parts.ledger).await?;
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

    /// A turn to administer: what changes parties, keys, holds or erases comes into force in the order of the entries.
    pub async fn administer(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.administration.lock().await
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

fn tail(key: &[u8], prefix: &str) -> String {
    String::from_utf8_lossy(key).strip_prefix(prefix).unwrap_or_default().to_owned()
}

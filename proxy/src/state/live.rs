//! One instruction, live: in memory, with a lock.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicI64, Ordering},
};

use countersign_instruction::{Catalogues, Inner, Values};
use countersign_ledger::{Entry, Hash, disclosure::Disclosure, record::body};
use jiff::Timestamp;
use parking_lot::{ArcMutexGuard, ArcRwLockReadGuard, Mutex, MutexGuard, RawMutex, RawRwLock};

use tokio::sync::watch;

use super::{Gateway, Registry, StateError};

/// An instruction.
pub struct Live {
    /// Its id.
    pub id: String,
    /// Its entry.
    pub entry: Hash,
    /// The data subject.
    pub subject: String,
    /// The host that registered it.
    pub host: String,
    /// The agent it is for.
    pub agent: String,
    /// Whether the agent's MCP client said, when it opened its session, that it can show its user an address. Forgotten by a restart: then it is not shown one.
    pub shows_addresses: AtomicBool,
    /// Since when nobody used it, in seconds, as far as anybody looked.
    idle_since: AtomicI64,
    inner: Arc<Mutex<Inner>>,
    /// How many answers of models are being put on record.
    settling: watch::Sender<usize>,
}

/// Nobody looked since it was used.
const IN_USE: i64 = i64::MAX;

/// How long nobody used what may be forgotten: by then every entry of it is sealed.
const IDLE_SECONDS: i64 = 60;

/// An answer of a model that is being put on record.
pub struct Settling(watch::Sender<usize>);

impl Drop for Settling {
    fn drop(&mut self) {
        self.0.send_modify(|answers| *answers = answers.saturating_sub(1));
    }
}

/// An instruction, locked from the judgement of a call until its entry is queued: the ledger's order is the order of judgement.
pub type Session = ArcMutexGuard<RawMutex, Inner>;

/// The registry, unchanged from the judgement of a call until its entry is queued.
pub type Turn = ArcRwLockReadGuard<RawRwLock, Registry>;

impl Live {
    /// Somebody uses it.
    pub(super) fn used(&self) {
        self.idle_since.store(IN_USE, Ordering::Relaxed);
    }

    /// Since when nobody used it, as far as it was looked at, in seconds; none when somebody does, or did within the last minute.
    pub(super) fn idle_since(self: &Arc<Live>, now: Timestamp) -> Option<i64> {
        // What its client said once stands in no entry; it matters for as long as there may be a call.
        let said = self.shows_addresses.load(Ordering::Relaxed) && self.lock().holds(now);
        if said || Arc::strong_count(self) > 1 || Arc::strong_count(&self.inner) > 1 {
            self.used();
            return None;
        }
        let seconds = now.as_second();
        let since = self.idle_since.fetch_min(seconds, Ordering::Relaxed);
        Some(since).filter(|since| *since != IN_USE && seconds - since >= IDLE_SECONDS)
    }

    /// About how many bytes of memory it takes.
    pub(crate) fn memory(&self) -> usize {
        let names = [&self.id, &self.subject, &self.host, &self.agent].map(|name| name.len());
        size_of::<Live>() + names.iter().sum::<usize>() + self.lock().memory()
    }

    /// A new instruction.
    pub fn new(id: String, entry: Hash, who: &body::Instruction, inner: Inner) -> Live {
        Live {
            id,
            entry,
            subject: who.subject.clone(),
            host: who.host.clone(),
            agent: who.agent.clone(),
            shows_addresses: AtomicBool::new(false),
            idle_since: AtomicI64::new(IN_USE),
            inner: Arc::new(Mutex::new(inner)),
            settling: watch::Sender::new(0),
        }
    }

    /// Notes that an answer of a model is being put on record, until what is given is dropped.
    pub fn settling(&self) -> Settling {
        self.settling.send_modify(|answers| *answers += 1);
        Settling(self.settling.clone())
    }

    /// Ends when every answer of a model is on record.
    pub async fn settled(&self) {
        let mut watching = self.settling.subscribe();
        // The sender is here, so it is never gone.
        let _ = watching.wait_for(|answers| *answers == 0).await;
    }

    /// Reads an instruction's entries, in order; before them those of the instructions it follows up, each up to where it was followed up.
    pub(super) fn load(gateway: &Gateway, id: &str) -> Result<Live, StateError> {
        let Line { hash, who, numbers } = Line::read(gateway, id)?;
        let mut line = vec![(id.to_owned(), numbers)];
        let mut parent = who.amends.clone();
        while let Some(id) = parent {
            let mut read = Line::read(gateway, &id)?;
            let followed = line.last().and_then(|(_, numbers)| numbers.first().copied());
            read.numbers.retain(|seq| followed.is_none_or(|followed| *seq < followed));
            parent = read.who.amends;
            line.push((id, read.numbers));
        }
        let mut inner = Inner::default();
        let find = |upstream: &str, policies: &[Hash]| gateway.catalogue_of(upstream, policies);
        let mut catalogues = Catalogues::new(&find);
        for (id, numbers) in line.into_iter().rev() {
            inner = inner.followed();
            for seq in numbers {
                let bytes = gateway.ledger.entry(seq)?;
                let opened = gateway.disclosures(seq)?;
                let value = |name: &str| opened.iter().find(|one| one.name() == name).map(Disclosure::value);
                let entry = Entry::parse(&bytes)?;
                inner
                    .fold(&entry, Hash::of(&bytes), &Values(&value), &mut catalogues)
                    .ok_or_else(|| StateError::NoInstruction(id.clone()))?;
            }
        }
        Ok(Live::new(id.to_owned(), hash, &who, inner))
    }

    /// Locks it. Never hold the lock while waiting for something else.
    pub fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock()
    }

    /// Locks it for a judgement that the next step queues. Nothing may wait in between.
    pub fn session(&self) -> Session {
        self.inner.lock_arc()
    }
}

/// An instruction's first entry, and the numbers of all.
struct Line {
    hash: Hash,
    who: body::Instruction,
    numbers: Vec<u64>,
}

impl Line {
    fn read(gateway: &Gateway, id: &str) -> Result<Line, StateError> {
        let numbers = gateway.ledger.of_instruction(id)?;
        let first = *numbers.first().ok_or_else(|| StateError::NoInstruction(id.to_owned()))?;
        let bytes = gateway.ledger.entry(first)?;
        let entry = Entry::parse(&bytes)?;
        Ok(Line { hash: Hash::of(&bytes), who: entry.body_as()?, numbers })
    }
}

//! What is counted from heartbeat to heartbeat, and the heartbeat that says it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::{AtomicU64, Ordering},
};

use countersign_ledger::{
    Draft, Hash,
    record::{StatePut, body},
    writer::Sealed,
};

use super::{Gateway, StateError};

impl Gateway {
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

    /// Instructions whose grant ran out since the last heartbeat.
    fn expired(&self) -> BTreeSet<String> {
        let mut ending = self.ending.lock();
        let later = ending.split_off(&(self.now(), String::new()));
        std::mem::replace(&mut *ending, later).into_iter().map(|(_, instruction)| instruction).collect()
    }

    /// The newest sealed entry.
    fn head(&self) -> Result<Option<Hash>, StateError> {
        match self.ledger.head().size().checked_sub(1) {
            Some(last) => Ok(Some(Hash::of(&self.ledger.entry(last)?))),
            None => Ok(None),
        }
    }
}

/// What was counted since the last heartbeat.
#[derive(Default)]
pub(super) struct Counts {
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

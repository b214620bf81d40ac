//! Held calls: which wait for a person, and which can no longer be made.

use countersign_ledger::record::StatePut;

use super::{Gateway, Held, StateError};

impl Gateway {
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
    pub(super) fn unhold_dead(&self) -> Vec<(String, String, StatePut)> {
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
}

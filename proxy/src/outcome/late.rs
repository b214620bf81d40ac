//! What ends a call, or says what a model proposed, and is not taken by the ledger at the moment, because its queue or its disk is full or its key does
//! not sign: it waits here, in order, and is tried again.
//!
//! Nothing new is accepted meanwhile, so what can come are the calls under way, each once. Their values are bounded here; what is beyond that waits without.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use countersign_ledger::{
    Draft, Kind, Ledger,
    writer::{AppendError, Sealed, Ticket},
};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::Seal;
use crate::stack::Context;

/// The most bytes of values that wait.
const VALUES_BYTES: usize = 16 << 20;

/// Between two tries.
const PAUSE: Duration = Duration::from_millis(5);

/// An entry that is queued, or will be.
#[derive(Debug)]
pub(crate) enum Sealing {
    /// The ledger has it.
    Queued(Ticket),
    /// It waits for the ledger.
    Late(oneshot::Receiver<Ticket>),
}

impl Sealing {
    /// Ends when it is sealed.
    ///
    /// # Errors
    /// [`AppendError`].
    pub(crate) async fn sealed(self) -> Result<Sealed, AppendError> {
        match self {
            Sealing::Queued(ticket) => ticket.sealed().await,
            // Whoever tried says in the log why it could not be written.
            Sealing::Late(queued) => queued.await.map_err(|_| AppendError::Closed)?.sealed().await,
        }
    }
}

/// What waits.
#[derive(Debug, Default)]
pub(crate) struct Late(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    drafts: VecDeque<Kept>,
    /// Of their values.
    bytes: usize,
    /// Whether somebody tries.
    is_tried: bool,
}

#[derive(Debug)]
struct Kept {
    draft: Draft,
    /// Whoever waits for its seal.
    told: Option<oneshot::Sender<Ticket>>,
}

impl Late {
    /// Whether nothing waits that must be written before anything else is.
    pub(super) fn is_passable(&self) -> bool {
        self.0.lock().drafts.iter().all(|kept| can_be_overtaken(&kept.draft))
    }

    /// Keeps a draft. True when nobody tries yet, and the caller must see to it.
    ///
    /// # Errors
    /// [`AppendError::Full`] where it has to leave its values behind.
    fn push(&self, kept: Kept) -> Result<bool, AppendError> {
        let mut waiting = self.0.lock();
        let bytes = values(&kept.draft);
        if kept.draft.kind != Kind::Receipt && bytes > 0 && waiting.bytes + bytes > VALUES_BYTES {
            return Err(AppendError::Full);
        }
        waiting.bytes += bytes;
        waiting.drafts.push_back(kept);
        Ok(!std::mem::replace(&mut waiting.is_tried, true))
    }

    /// Hands over as much as is taken. True when nothing is left.
    fn hand_over(&self, ledger: &Ledger) -> bool {
        let mut waiting = self.0.lock();
        let mut at = 0;
        while let Some(kept) = waiting.drafts.get_mut(at) {
            match hand(ledger, kept) {
                Err(AppendError::Full) => return false,
                Err(error) if error.passes() && can_be_overtaken(&kept.draft) => {
                    at += 1;
                    continue;
                }
                Err(error) if error.passes() => return false,
                Ok(()) => {}
                // The ledger stopped: at its next start the open calls are closed as `unknown`.
                Err(error) => {
                    tracing::error!(%error, kind = kept.draft.kind.as_str(), "an entry that waited cannot be written");
                }
            }
            let bytes = values(&kept.draft);
            waiting.bytes = waiting.bytes.saturating_sub(bytes);
            waiting.drafts.remove(at);
        }
        waiting.is_tried = at > 0;
        at == 0
    }
}

fn hand(ledger: &Ledger, kept: &mut Kept) -> Result<(), AppendError> {
    if kept.told.as_ref().is_none_or(oneshot::Sender::is_closed) {
        return ledger.enqueue_unawaited(&kept.draft);
    }
    let ticket = ledger.enqueue(&kept.draft)?;
    // Nobody waits any more: it is written all the same.
    let _ = kept.told.take().map(|told| told.send(ticket));
    Ok(())
}

/// A decision needs the whole reserve and a key that signs, what ends a call half of it.
fn can_be_overtaken(draft: &Draft) -> bool {
    draft.kind == Kind::Decision
}

fn values(draft: &Draft) -> usize {
    draft.attachments.len()
}

/// Keeps a draft until the ledger takes it.
///
/// # Errors
/// [`AppendError::Full`] where it has to leave its values behind, or there is nobody left to try.
pub(super) fn keep(context: &Arc<Context>, draft: Draft, seal: Seal) -> Result<Option<Sealing>, AppendError> {
    let runtime = tokio::runtime::Handle::try_current().map_err(|_| AppendError::Full)?;
    let (told, sealing) = match seal {
        Seal::Awaited => {
            let (told, queued) = oneshot::channel();
            (Some(told), Some(Sealing::Late(queued)))
        }
        Seal::Unawaited => (None, None),
    };
    if context.late.push(Kept { draft, told })? {
        tracing::warn!(
            "the ledger does not take the ends of calls at the moment: they wait in memory, and are tried again"
        );
        let context = context.clone();
        runtime.spawn(async move {
            while !context.late.hand_over(&context.gateway.ledger) {
                tokio::time::sleep(PAUSE).await;
            }
        });
    }
    Ok(sealing)
}

#[cfg(test)]
mod tests {
    use countersign_ledger::{canonical::Members, record::Attachment};

    use super::*;

    /// `bytes` with the subject, the name and three lengths.
    fn kept(kind: Kind, bytes: usize) -> Kept {
        let sealed = vec![0; bytes.saturating_sub(21)];
        let attachment = Attachment { subject: "s".to_owned(), name: "observed".to_owned(), sealed };
        let attachments = (bytes > 0).then_some(attachment).into_iter().collect();
        let draft = Draft { attachments, ..Draft::of(kind, Members::default()) };
        Kept { draft, told: None }
    }

    #[test]
    fn only_so_many_values_wait_and_every_call_can_still_end() {
        let late = Late::default();
        assert!(matches!(late.push(kept(Kind::Outcome, VALUES_BYTES)), Ok(true)), "the first one's caller tries");
        for kind in [Kind::Outcome, Kind::Decision] {
            assert!(matches!(late.push(kept(kind.clone(), 1)), Err(AppendError::Full)));
            assert!(matches!(late.push(kept(kind, 0)), Ok(false)));
        }
        assert!(matches!(late.push(kept(Kind::Receipt, 1)), Ok(false)), "the outcome behind it says that it came");
        assert_eq!(late.0.lock().drafts.len(), 4);
    }
}

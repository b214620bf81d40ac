//! What ends a call and is not taken by the ledger at the moment, because its queue or its disk is full: it waits here, in order, and is tried again.
//!
//! Nothing new is accepted meanwhile, so what can come are the calls under way, each once. Their values are bounded here; an outcome beyond that waits without.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use countersign_ledger::{Draft, Kind, Ledger, writer::AppendError};
use parking_lot::Mutex;

use crate::stack::Context;

/// The most bytes of values that wait.
const VALUES_BYTES: usize = 16 << 20;

/// Between two tries.
const PAUSE: Duration = Duration::from_millis(5);

/// What waits.
#[derive(Debug, Default)]
pub(crate) struct Late(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    drafts: VecDeque<Draft>,
    /// Of their values.
    bytes: usize,
    /// Whether somebody tries.
    is_tried: bool,
}

impl Late {
    pub(super) fn is_empty(&self) -> bool {
        self.0.lock().drafts.is_empty()
    }

    /// Keeps a draft. True when nobody tries yet, and the caller must see to it.
    ///
    /// # Errors
    /// [`AppendError::Full`] where an outcome has to leave its values behind.
    fn push(&self, draft: Draft) -> Result<bool, AppendError> {
        let mut waiting = self.0.lock();
        let bytes = values(&draft);
        if draft.kind == Kind::Outcome && bytes > 0 && waiting.bytes + bytes > VALUES_BYTES {
            return Err(AppendError::Full);
        }
        waiting.bytes += bytes;
        waiting.drafts.push_back(draft);
        Ok(!std::mem::replace(&mut waiting.is_tried, true))
    }

    /// Hands over as much as is taken. True when nothing is left.
    fn hand_over(&self, ledger: &Ledger) -> bool {
        let mut waiting = self.0.lock();
        while let Some(draft) = waiting.drafts.front() {
            match ledger.enqueue_unawaited(draft.clone()) {
                Err(AppendError::Full | AppendError::NoSpace { .. }) => return false,
                Ok(()) => {}
                // The ledger stopped: at its next start the open calls are closed as `unknown`.
                Err(error) => tracing::error!(%error, "an outcome or a receipt that waited cannot be written"),
            }
            waiting.bytes = waiting.bytes.saturating_sub(values(draft));
            waiting.drafts.pop_front();
        }
        waiting.is_tried = false;
        true
    }
}

fn values(draft: &Draft) -> usize {
    draft.attachments.iter().map(|attachment| attachment.sealed.len()).sum()
}

/// Keeps a draft until the ledger takes it.
///
/// # Errors
/// [`AppendError::Full`] where an outcome has to leave its values behind, or there is nobody left to try.
pub(super) fn keep(context: &Arc<Context>, draft: Draft) -> Result<(), AppendError> {
    let runtime = tokio::runtime::Handle::try_current().map_err(|_| AppendError::Full)?;
    if context.late.push(draft)? {
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
    Ok(())
}

#[cfg(test)]
mod tests {
    use countersign_ledger::record::Attachment;
    use serde_json::Map;

    use super::*;

    fn draft(kind: Kind, bytes: usize) -> Draft {
        let attachment = Attachment { subject: "s".to_owned(), name: "observed".to_owned(), sealed: vec![0; bytes] };
        let attachments = if bytes == 0 { vec![] } else { vec![attachment] };
        Draft { kind, parents: vec![], instruction: None, body: Map::new(), attachments, state: vec![] }
    }

    #[test]
    fn only_so_many_values_wait_and_every_call_can_still_end() {
        let late = Late::default();
        assert!(matches!(late.push(draft(Kind::Outcome, VALUES_BYTES)), Ok(true)), "the first one's caller tries");
        assert!(matches!(late.push(draft(Kind::Outcome, 1)), Err(AppendError::Full)));
        assert!(matches!(late.push(draft(Kind::Outcome, 0)), Ok(false)));
        assert!(matches!(late.push(draft(Kind::Receipt, 1)), Ok(false)), "the outcome behind it says that it came");
        assert_eq!(late.0.lock().drafts.len(), 3);
    }
}

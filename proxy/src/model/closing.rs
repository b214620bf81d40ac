//! The end of an exchange with a model: its outcome, and a decision for each call that the model proposes. Goes on when the agent hangs up, and whoever
//! calls under the same instruction waits for it, so that a call finds the proposal it was made of.

use std::{
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    task::{Context as TaskContext, Poll},
    time::Duration,
};

use countersign_authorize::{
    Json,
    model::{
        answer::{Proposed, Reading},
        tools,
    },
};
use countersign_instruction::Proposal;
use countersign_ledger::{
    Draft, Hash,
    record::{EntryError, body},
    vault::VaultError,
    writer::{AppendError, Sealed},
};
use tokio::{sync::oneshot, time::timeout};

use crate::{
    authorize::Call,
    outcome::{Ending, Seal, Sealing, close_awaited, queue},
    record::Receipt,
    stack::Context,
};

/// The longest arguments that are kept, in bytes: more than a request of an API may have.
const MAX_ARGUMENTS: usize = 600 << 10;

/// How long a name or id may be in an entry, in characters.
const MAX_NAME: usize = 256;

/// How often it is looked at whether the ledger takes anything, while a seal is waited for.
const LOOK: Duration = Duration::from_millis(20);

/// Ends when everything is sealed, or has to wait until the ledger takes something again: whoever asked the model does not wait for that, and nothing else happens
/// until then.
pub(crate) struct Closing(oneshot::Receiver<()>);

impl Future for Closing {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<()> {
        Pin::new(&mut self.0).poll(cx).map(drop)
    }
}

#[derive(Debug, thiserror::Error)]
enum DecisionError {
    #[error(transparent)]
    Entry(#[from] EntryError),
    #[error(transparent)]
    Vault(#[from] VaultError),
}

/// Closes an exchange: the outcome is queued now, what follows from it as soon as that is sealed. None where there is no runtime to go on in.
pub(crate) fn close(mut receipt: Receipt, ending: Ending, reading: Reading) -> Option<Closing> {
    let (context, call, asking) = (receipt.context().clone(), receipt.call().clone(), receipt.sealed().hash);
    let outcome = close_awaited(&mut receipt, ending);
    call.live.lock().asked.answers(&asking, reading.id.as_deref());
    let runtime = tokio::runtime::Handle::try_current().ok()?;
    let settling = call.live.settling();
    // Counted as open, so that a drain waits for it.
    context.gateway.open_calls().fetch_add(1, Ordering::Relaxed);
    let (held, released) = oneshot::channel();
    runtime.spawn(async move {
        let exchange = Exchange { context: &context, call: &call, asking, held: Some(held) };
        exchange.propose(outcome, reading).await;
        context.gateway.open_calls().fetch_sub(1, Ordering::Relaxed);
        drop(settling);
    });
    Some(Closing(released))
}

/// An exchange that is being put on record.
struct Exchange<'e> {
    context: &'e Arc<Context>,
    call: &'e Call,
    asking: Hash,
    /// Dropped when whoever asked need not wait any more.
    held: Option<oneshot::Sender<()>>,
}

/// A decision as it is to be written, and without its values where there is no room for them.
struct Drafts {
    whole: Draft,
    small: Draft,
}

impl Exchange<'_> {
    async fn propose(mut self, outcome: Option<Sealing>, reading: Reading) {
        let outcome = match outcome {
            Some(sealing) => self.sealed(sealing).await.ok().map(|sealed| sealed.hash),
            None => None,
        };
        let parents: Vec<Hash> = std::iter::once(self.asking).chain(outcome).collect();
        let mut queued = Vec::new();
        for proposed in &reading.calls {
            let read = Read::of(self.context, proposed);
            match decision(self.context, self.call, &parents, reading.model.as_deref(), &read) {
                Ok(drafts) => queued.push((self.queue(&drafts), drafts, read)),
                Err(error) => not_written(&error),
            }
        }
        for (sealing, drafts, read) in queued {
            match self.written(sealing, &drafts).await {
                Ok((sealed, Values::There)) if read.is_kept => {
                    let proposal = Proposal::new(sealed.hash, &read.id, read.action, read.arguments);
                    self.call.live.lock().asked.propose(proposal);
                }
                Ok(_) => {}
                Err(error) => not_written(&error),
            }
        }
    }

    /// Queues a decision, without its values where the ledger or memory has no room for them.
    fn queue(&self, drafts: &Drafts) -> Result<(Option<Sealing>, Values), AppendError> {
        match queue(self.context, drafts.whole.clone(), Seal::Awaited) {
            Err(AppendError::Full | AppendError::Entry(_)) => {
                tracing::warn!("what a model proposed is written without its arguments");
                Ok((queue(self.context, drafts.small.clone(), Seal::Awaited)?, Values::LeftOut))
            }
            sealing => Ok((sealing?, Values::There)),
        }
    }

    /// Waits for the seal. What was queued while there was room, and found none when it was to be written, is queued again.
    async fn written(
        &mut self,
        mut queued: Result<(Option<Sealing>, Values), AppendError>,
        drafts: &Drafts,
    ) -> Result<(Sealed, Values), AppendError> {
        loop {
            let (sealing, values) = queued?;
            match self.sealed(sealing.ok_or(AppendError::Closed)?).await {
                Err(error) if error.passes() => queued = self.queue(drafts),
                sealed => return Ok((sealed?, values)),
            }
        }
    }

    /// Waits for a seal; as soon as the ledger takes nothing more, whoever asked does not.
    async fn sealed(&mut self, sealing: Sealing) -> Result<Sealed, AppendError> {
        let mut sealed = std::pin::pin!(sealing.sealed());
        while self.held.is_some() {
            if let Ok(sealed) = timeout(LOOK, &mut sealed).await {
                return sealed;
            }
            self.held = self.held.take().filter(|_| self.context.gateway.ledger.can_seal().is_ok());
        }
        sealed.await
    }
}

/// Whether a decision's values are written with it.
#[derive(Debug, Clone, Copy)]
enum Values {
    There,
    LeftOut,
}

fn not_written(error: &dyn std::error::Error) {
    tracing::error!(%error, "what a model proposed cannot be written down");
}

/// A proposal as the catalogues see it.
struct Read<'p> {
    proposed: &'p Proposed,
    id: String,
    tool: String,
    action: Option<(String, String)>,
    /// By the names of the catalogue; of a tool that is no action, by its own.
    arguments: std::collections::BTreeMap<String, Json>,
    is_kept: bool,
}

impl<'p> Read<'p> {
    fn of(context: &Context, proposed: &'p Proposed) -> Read<'p> {
        let short = |text: &str| text.chars().take(MAX_NAME).collect::<String>();
        let is_kept = proposed.arguments.len() <= MAX_ARGUMENTS;
        let json = proposed.json().filter(|_| is_kept);
        let rules = context.gateway.rules();
        let known = tools::action(rules.catalogues(), &proposed.tool);
        let arguments = match (known, &json) {
            (Some((_, action)), Some(json)) => tools::arguments(action, json),
            (None, Some(Json::Object(members))) => members.iter().cloned().collect(),
            _ => Default::default(),
        };
        Read {
            proposed,
            id: short(&proposed.id),
            tool: short(&proposed.tool),
            action: known.map(|(catalogue, action)| (catalogue.upstream().to_owned(), action.name.clone())),
            arguments,
            // What is no JSON can be no call.
            is_kept: json.is_some(),
        }
    }
}

fn decision(
    context: &Context,
    call: &Call,
    parents: &[Hash],
    model: Option<&str>,
    read: &Read<'_>,
) -> Result<Drafts, DecisionError> {
    let (vault, subject) = (&context.gateway.vault, call.live.subject.as_str());
    let (upstream, action) = read.action.clone().unzip();
    let decision = body::Decision {
        grant: call.grant.clone(),
        subject: subject.to_owned(),
        source: "gateway".to_owned(),
        agent: call.agent.clone(),
        action: action.unwrap_or_else(|| read.tool.clone()),
        upstream,
        model: model.map(str::to_owned),
        tool: Some(read.tool.clone()),
        proposal: Some(read.id.clone()),
        ..body::Decision::default()
    };
    let small = Draft::new(&decision)?.of_instruction(&call.live.id).caused_by(parents.iter().copied());
    if read.is_kept {
        let whole = small.clone().disclose(vault, subject, "arguments", &read.arguments)?;
        return Ok(Drafts { whole: whole.disclose(vault, subject, "raw", &read.proposed.arguments)?, small });
    }
    // No JSON, or longer than any call may be: what can be kept of it.
    let beginning: String = read.proposed.arguments.chars().take(MAX_ARGUMENTS / 4).collect();
    Ok(Drafts { whole: small.clone().disclose(vault, subject, "raw", &beginning)?, small })
}

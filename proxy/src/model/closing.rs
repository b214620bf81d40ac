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
    writer::{AppendError, Ticket},
};
use tokio::task::JoinHandle;

use crate::{
    authorize::Call,
    outcome::{Ending, close_with_ticket},
    record::Receipt,
    stack::Context,
};

/// The longest arguments that are kept, in bytes: more than a request of an API may have.
const MAX_ARGUMENTS: usize = 600 << 10;

/// How long a name or id may be in an entry, in characters.
const MAX_NAME: usize = 256;

/// Ends when everything is sealed.
pub(crate) struct Closing(JoinHandle<()>);

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
    let ticket = close_with_ticket(&mut receipt, ending);
    call.live.lock().asked.answers(&asking, reading.id.as_deref());
    let runtime = tokio::runtime::Handle::try_current().ok()?;
    let settling = call.live.settling();
    // Counted as open, so that a drain waits for it.
    context.gateway.open_calls().fetch_add(1, Ordering::Relaxed);
    Some(Closing(runtime.spawn(async move {
        propose(&context, &call, asking, ticket, reading).await;
        context.gateway.open_calls().fetch_sub(1, Ordering::Relaxed);
        drop(settling);
    })))
}

async fn propose(context: &Arc<Context>, call: &Call, asking: Hash, ticket: Option<Ticket>, reading: Reading) {
    let outcome = match ticket {
        Some(ticket) => ticket.sealed().await.ok().map(|sealed| sealed.hash),
        None => None,
    };
    let parents: Vec<Hash> = std::iter::once(asking).chain(outcome).collect();
    let mut tickets = Vec::new();
    for proposed in &reading.calls {
        let read = Read::of(context, proposed);
        match decision(context, call, &parents, reading.model.as_deref(), &read) {
            Ok(draft) => tickets.push((enqueue(context, draft).await, read)),
            Err(error) => tracing::error!(%error, "what a model proposed cannot be written down"),
        }
    }
    for (ticket, read) in tickets {
        let sealed = match ticket {
            Ok(ticket) => ticket.sealed().await,
            Err(error) => Err(error),
        };
        match sealed {
            Ok(sealed) if read.is_kept => {
                call.live.lock().asked.propose(Proposal::new(sealed.hash, &read.id, read.action, read.arguments));
            }
            Ok(_) => {}
            Err(error) => tracing::error!(%error, "what a model proposed cannot be written down"),
        }
    }
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
) -> Result<Draft, DecisionError> {
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
    let draft = Draft::new(&decision)?.of_instruction(&call.live.id).caused_by(parents.iter().copied());
    if read.is_kept {
        let draft = draft.disclose(vault, subject, "arguments", &read.arguments)?;
        return Ok(draft.disclose(vault, subject, "raw", &read.proposed.arguments)?);
    }
    // No JSON, or longer than any call may be: what can be kept of it.
    let beginning: String = read.proposed.arguments.chars().take(MAX_ARGUMENTS / 4).collect();
    Ok(draft.disclose(vault, subject, "raw", &beginning)?)
}

/// Queues a decision; waits when the queue is full.
async fn enqueue(context: &Arc<Context>, draft: Draft) -> Result<Ticket, AppendError> {
    loop {
        match context.gateway.ledger.enqueue(draft.clone()) {
            Err(AppendError::Full) => tokio::time::sleep(Duration::from_millis(5)).await,
            other => return other,
        }
    }
}

//! Who was allowed what: grants, delegations, revocations, and approvals of held calls.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    Entry, Hash,
    record::{Time, body},
};

/// A stable code, and what is wrong.
pub(super) type Wrong = (&'static str, String);

/// How long a call may wait between judgement and number, in seconds: a grant that ends in between was good when it was judged.
const QUEUED_SECONDS: i64 = 60;

/// Whether a call passed as a message of MCP that is no action: a grant names none of them.
pub(super) fn is_plumbing(call: &body::Call) -> bool {
    call.action.is_none() && call.rules.iter().any(|rule| rule == "mcp-plumbing")
}

/// What a call that asks a model, or lists the models, must be: its method and its paths. None for any other call; any grant that holds may ask.
pub(super) fn asks(call: &body::Call) -> Option<(&'static str, &'static [&'static str])> {
    let judged = call.rules.iter().any(|rule| rule == "model-any-grant");
    match call.action.as_deref().filter(|_| judged)? {
        "model.generate" if call.prompt.is_some() => {
            Some(("POST", &["/v1/chat/completions", "/v1/responses", "/v1/messages"]))
        }
        "model.list" => Some(("GET", &["/v1/models"])),
        _ => None,
    }
}

/// The longest line of delegations that is followed.
const MAX_LINE: usize = 64;

fn is_over(end: Option<Time>, now: Time) -> bool {
    end.is_some_and(|end| now.instant().as_second() - end.instant().as_second() > QUEUED_SECONDS)
}

#[derive(Clone)]
pub(super) struct Grant {
    instruction: Option<String>,
    agent: String,
    subject: String,
    expires: Option<Time>,
    actions: Vec<String>,
    /// The grant it was cut from.
    from: Option<String>,
    revoked: bool,
}

/// Grants so far, and what was withdrawn.
#[derive(Default)]
pub(super) struct Grants {
    grants: BTreeMap<String, Grant>,
    /// `agent/<id>`, `subject/<id>`, `action/<name>`, `everything/`.
    revoked: BTreeSet<String>,
}

impl Grants {
    pub(super) fn insert(&mut self, entry: &Entry, grant: body::Grant) {
        let row = Grant {
            instruction: entry.instruction.clone(),
            agent: grant.agent,
            subject: grant.subject,
            expires: grant.expires,
            actions: grant.actions,
            from: None,
            // A consent adds to a grant and revives none.
            revoked: self.grants.get(&grant.grant).is_some_and(|before| before.revoked),
        };
        self.grants.insert(grant.grant, row);
    }

    /// A delegation must be narrower than what it is cut from; `in_part` where that may lie outside of what is looked at.
    pub(super) fn delegate(&mut self, entry: &Entry, delegation: body::Delegation, in_part: bool) -> Option<Wrong> {
        let from = self.grants.get(&delegation.from);
        let wrong = match from {
            None if in_part => None,
            None => Some(("grant-unknown", "it is cut from a grant that is not there".to_owned())),
            Some(from) if from.instruction != entry.instruction || from.subject != delegation.subject => {
                Some(("grant-of-other", "it is cut from the grant of another instruction".to_owned()))
            }
            Some(from) if from.revoked => Some(("grant-revoked", "it is cut from a withdrawn grant".to_owned())),
            Some(from) if delegation.actions.iter().any(|action| !from.actions.contains(action)) => {
                Some(("delegation-wider", "it grants an action that the grant it is cut from does not".to_owned()))
            }
            Some(from) if from.expires.is_some_and(|end| delegation.expires.is_none_or(|own| own > end)) => {
                Some(("delegation-wider", "it holds longer than the grant it is cut from".to_owned()))
            }
            Some(from) if is_over(from.expires, entry.time) => {
                Some(("grant-expired", "it is cut from a grant that had ended".to_owned()))
            }
            Some(_) => None,
        };
        let row = Grant {
            instruction: entry.instruction.clone(),
            agent: delegation.agent,
            subject: delegation.subject,
            expires: delegation.expires,
            actions: delegation.actions,
            from: Some(delegation.from),
            revoked: false,
        };
        self.grants.insert(delegation.grant, row);
        wrong
    }

    /// A grant and those above it.
    fn line<'g>(&'g self, id: &str) -> impl Iterator<Item = &'g Grant> {
        // A grant is cut from an older one, so the line ends; a ledger that lies about that is not followed for ever.
        std::iter::successors(self.grants.get(id), |grant| self.grants.get(grant.from.as_deref()?)).take(MAX_LINE)
    }

    /// Withdraws a grant and what was cut from it.
    fn withdraw(&mut self, id: &str) {
        if let Some(grant) = self.grants.get_mut(id) {
            grant.revoked = true;
        }
        let below = self.grants.iter().filter(|(_, grant)| !grant.revoked && grant.from.as_deref() == Some(id));
        let below: Vec<String> = below.map(|(id, _)| id.clone()).collect();
        below.iter().for_each(|id| self.withdraw(id));
    }

    /// A revocation within an instruction withdraws the grant that it names, or else all of its grants; any other withdraws what it names.
    pub(super) fn revoke(&mut self, entry: &Entry, revocation: &body::Revocation) {
        if revocation.what == "grant"
            && self.grants.get(&revocation.id).is_some_and(|grant| grant.instruction == entry.instruction)
        {
            self.withdraw(&revocation.id);
        } else if let Some(instruction) = &entry.instruction {
            for grant in self.grants.values_mut().filter(|grant| grant.instruction.as_ref() == Some(instruction)) {
                grant.revoked = true;
            }
        } else if revocation.what == "grant" {
            self.withdraw(&revocation.id);
        } else if revocation.lifted {
            self.revoked.remove(&format!("{}/{}", revocation.what, revocation.id));
        } else {
            self.revoked.insert(format!("{}/{}", revocation.what, revocation.id));
        }
    }

    /// Why an allowed call should not have been; `in_part` where the grant may lie outside of what is looked at.
    pub(super) fn allows(&self, entry: &Entry, call: &body::Call, in_part: bool) -> Option<Wrong> {
        let grant = call.grant.as_ref().and_then(|grant| self.grants.get(grant));
        let wrong = match grant {
            None if in_part => None,
            None => Some(("grant-unknown", "it was allowed under a grant that is not there".to_owned())),
            Some(grant) if grant.instruction != entry.instruction => {
                Some(("grant-of-other", "it was allowed under the grant of another instruction".to_owned()))
            }
            Some(grant) if call.agent.as_ref().is_some_and(|agent| *agent != grant.agent) => {
                Some(("grant-of-other", "it was allowed under the grant of another agent".to_owned()))
            }
            Some(grant) if call.subject.as_ref().is_some_and(|subject| *subject != grant.subject) => {
                Some(("grant-of-other", "it was allowed under a grant about another data subject".to_owned()))
            }
            Some(grant) if grant.revoked => {
                Some(("grant-revoked", "it was allowed although its grant was withdrawn".to_owned()))
            }
            Some(grant) if is_over(grant.expires, entry.time) => {
                Some(("grant-expired", "it was allowed although its grant had ended".to_owned()))
            }
            Some(grant) => match &call.action {
                Some(action) if grant.actions.contains(action) => None,
                None if is_plumbing(call) => None,
                Some(_) if asks(call).is_some() => None,
                action => {
                    let action = action.as_deref().unwrap_or("?");
                    let what = format!("it was allowed although its grant does not include `{action}`");
                    Some(("action-not-granted", what))
                }
            },
        };
        wrong.or_else(|| self.withdrawn(call))
    }

    fn withdrawn(&self, call: &body::Call) -> Option<Wrong> {
        let mut names = vec!["everything/".to_owned()];
        names.extend(call.agent.as_ref().map(|agent| format!("agent/{agent}")));
        names.extend(call.subject.as_ref().map(|subject| format!("subject/{subject}")));
        names.extend(call.action.as_ref().map(|action| format!("action/{action}")));
        let above = call.grant.iter().flat_map(|grant| self.line(grant));
        names.extend(above.map(|grant| format!("agent/{}", grant.agent)));
        let name = names.into_iter().find(|name| self.revoked.contains(name))?;
        Some(("revoked", format!("it was allowed although `{name}` was withdrawn")))
    }
}

/// A held call, as far as its entry shows it, and who said yes to it so far.
pub(super) struct Held {
    instruction: Option<String>,
    agent: Option<String>,
    upstream: String,
    action: Option<String>,
    policies: Vec<Hash>,
    needs: usize,
    yes: Vec<Yes>,
}

/// One approver's yes.
struct Yes {
    entry: Hash,
    approver: String,
    expires: Option<Time>,
}

impl Held {
    pub(super) fn of(entry: &Entry, call: &body::Call) -> Held {
        Held {
            instruction: entry.instruction.clone(),
            agent: call.agent.clone(),
            upstream: call.upstream.clone(),
            action: call.action.clone(),
            policies: call.policies.clone(),
            needs: usize::try_from(call.needs.unwrap_or(1)).unwrap_or(usize::MAX).max(1),
            yes: Vec::new(),
        }
    }

    /// Takes an answer to it; says what is wrong with it, if it does not count.
    pub(super) fn answer(&mut self, entry: &Entry, hash: Hash, approval: &body::Approval) -> Option<Wrong> {
        if self.instruction != entry.instruction {
            let what = "it answers a held call of another instruction".to_owned();
            return Some(("approval-of-other", what));
        }
        if self.agent.as_ref() == Some(&approval.approver) {
            return Some(("approval-by-agent", "the agent itself answers its held call".to_owned()));
        }
        if !approval.policies.is_empty() && approval.policies != self.policies {
            let what = "the approver signed other policies than the held call was judged by".to_owned();
            return Some(("approval-policies", what));
        }
        if self.yes.iter().any(|yes| yes.approver == approval.approver) {
            return Some(("approval-twice", "the approver had said yes to this call before".to_owned()));
        }
        let (approver, expires) = (approval.approver.clone(), approval.expires);
        self.yes.push(Yes { entry: hash, approver, expires });
        None
    }

    /// Whether as many said yes as it needs.
    pub(super) const fn is_approved(&self) -> bool {
        self.yes.len() >= self.needs
    }
}

/// A held call that as many approved as it needs, not made yet.
pub(super) struct Approved(pub(super) Held);

impl Approved {
    /// Why it does not cover this call.
    pub(super) fn covers(&self, entry: &Entry, call: &body::Call) -> Option<Wrong> {
        let Approved(Held { instruction, agent, upstream, action, needs, yes, .. }) = self;
        if *instruction != entry.instruction
            || *agent != call.agent
            || *upstream != call.upstream
            || *action != call.action
        {
            return Some(("approval-of-other", "it rests on the approval of another call".to_owned()));
        }
        if *needs > 1 && !yes.iter().map(|yes| yes.entry).eq(call.approvals.iter().copied()) {
            let what = "it does not name all approvals that it needed, in their order".to_owned();
            return Some(("approval-short", what));
        }
        yes.iter()
            .any(|yes| is_over(yes.expires, entry.time))
            .then(|| ("approval-expired", "it rests on an approval that held no longer".to_owned()))
    }
}

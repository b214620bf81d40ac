//! In whose hands a link was: the party of the entry, and the role it is registered in.

use std::collections::BTreeSet;

use serde::Serialize;

use super::Graph;
use crate::link::Role;

/// Who had a link in their hands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Holder {
    /// The party, as entries name it.
    pub party: String,
    /// Its role.
    pub role: Role,
    /// Whether the ledger has this party registered in this role; else the role is that of the place in the chain.
    pub registered: bool,
}

impl Holder {
    /// Nobody that the evidence names.
    pub fn unknown() -> Holder {
        Holder { party: "?".to_owned(), role: Role::NotDeterminable, registered: false }
    }

    /// Somebody who wrote what was read.
    pub fn third_party(of: &str) -> Holder {
        Holder { party: of.to_owned(), role: Role::ThirdParty, registered: false }
    }
}

impl Graph<'_> {
    /// The roles a party is registered in.
    fn roles(&self, party: &str) -> BTreeSet<Role> {
        let registered = self.nodes().iter().filter(|node| node.kind() == "party" && node.text("party") == Some(party));
        registered.filter_map(|node| Role::registered(node.text("role")?)).collect()
    }

    /// The parties registered in a role.
    fn parties(&self, role: Role) -> BTreeSet<&str> {
        let registered = self.nodes().iter().filter(|node| node.kind() == "party");
        let in_role = registered.filter(|node| node.text("role").and_then(Role::registered) == Some(role));
        in_role.filter_map(|node| node.text("party")).collect()
    }

    /// The party itself where it is registered in one of the roles, else the only one registered in the first, else the party in the first role.
    fn holder(&self, party: &str, roles: &[Role]) -> Holder {
        let own = self.roles(party);
        if let Some(role) = roles.iter().find(|role| own.contains(role)) {
            return Holder { party: party.to_owned(), role: *role, registered: true };
        }
        let role = roles.first().copied().unwrap_or(Role::NotDeterminable);
        let registered = self.parties(role);
        match (registered.len(), registered.first()) {
            (1, Some(only)) => Holder { party: (*only).to_owned(), role, registered: true },
            _ => Holder { party: party.to_owned(), role, registered: false },
        }
    }

    /// Who answers for what an agent's own code does.
    pub fn agent(&self, party: &str) -> Holder {
        self.holder(party, &[Role::AgentDeveloper, Role::AgentOperator])
    }

    /// Who answers for what the host application asks for.
    pub fn host(&self, party: &str) -> Holder {
        self.holder(party, &[Role::AgentOperator, Role::AgentDeveloper, Role::Platform])
    }

    /// Who answers for the sidecar and its rules.
    pub fn platform(&self, party: &str) -> Holder {
        self.holder(party, &[Role::Platform])
    }

    /// Who answers for an API.
    pub fn api(&self, party: &str) -> Holder {
        self.holder(party, &[Role::ApiProvider])
    }

    /// Who answers for a model.
    pub fn model(&self, name: &str) -> Holder {
        self.holder(name, &[Role::ModelProvider])
    }

    /// Who answers for what a user said, or an approver on the user's side.
    pub fn user(&self, party: &str) -> Holder {
        self.holder(party, &[Role::User, Role::Platform])
    }
}

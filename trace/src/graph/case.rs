//! One instruction with everything that belongs to it: what the rules look at.

use std::{cell::OnceCell, collections::BTreeMap};

use countersign_authorize::{
    Json,
    catalogue::{Catalogue, Effect, Protocol, Type},
    provenance::{Observations, Source},
};
use countersign_ledger::{Hash, Kind, record::body};
use serde_json::Value;

use super::{Call, Graph, Node, call::Given, people::Holder};

/// Nesting of a JSON response that is read for values: as the gateway does.
const JSON_DEPTH: usize = 64;

/// One instruction.
#[derive(Debug)]
pub struct Case<'g> {
    /// The graph it is in.
    pub graph: &'g Graph<'g>,
    /// Its id.
    pub instruction: &'g str,
    /// Its entries, in order.
    pub nodes: Vec<&'g Node<'g>>,
    /// Its calls of APIs, in order.
    pub calls: Vec<Call<'g>>,
    /// Its exchanges with models, in order.
    pub exchanges: Vec<Call<'g>>,
    catalogues: BTreeMap<Hash, Catalogue>,
    observations: OnceCell<Observations>,
}

impl<'g> Case<'g> {
    /// Everything of an instruction.
    pub fn new(graph: &'g Graph<'g>, instruction: &'g str) -> Case<'g> {
        let of = |node: &&'g Node<'g>| node.entry().instruction.as_deref() == Some(instruction);
        let nodes: Vec<&'g Node<'g>> = graph.nodes().iter().filter(of).collect();
        let all: Vec<Call<'g>> = nodes.iter().filter_map(|node| Call::new(graph, node)).collect();
        let (exchanges, calls) = all.into_iter().filter(|call| !call.is_plumbing()).partition(Call::is_exchange);
        let parsed =
            |(hash, bytes): (&Hash, &&[u8])| Some((*hash, Catalogue::parse(std::str::from_utf8(bytes).ok()?).ok()?));
        let catalogues = graph.policies.iter().filter_map(parsed).collect();
        Case { graph, instruction, nodes, calls, exchanges, catalogues, observations: OnceCell::new() }
    }

    /// Its entries of a kind.
    pub fn of(&self, kind: Kind) -> impl Iterator<Item = &'g Node<'g>> {
        self.nodes.iter().copied().filter(move |node| node.entry().kind == kind)
    }

    /// The user's words.
    pub fn said(&self) -> Option<(&'g Node<'g>, body::Instruction)> {
        self.of(Kind::Instruction).find_map(|node| Some((node, node.body()?)))
    }

    /// The grants, delegations among them.
    pub fn grants(&self) -> impl Iterator<Item = &'g Node<'g>> {
        self.nodes.iter().copied().filter(|node| matches!(node.entry().kind, Kind::Grant | Kind::Delegation))
    }

    /// Who the user is.
    pub fn user(&self) -> Holder {
        let said = self.said();
        let principal = said.as_ref().and_then(|(node, _)| node.value("principal")?.as_str());
        let subject = said.as_ref().map(|(_, said)| said.subject.as_str());
        self.graph.user(principal.or(subject).unwrap_or("?"))
    }

    /// Who runs the sidecar.
    pub fn platform(&self) -> Holder {
        let origin = self.nodes.first().map_or("?", |node| node.origin());
        self.graph.platform(origin)
    }

    /// Calls of APIs and exchanges with models before an entry.
    pub fn exchanges_before(&self, node: &Node<'_>) -> impl Iterator<Item = &Call<'g>> {
        let key = (node.entry().time, node.seq());
        self.exchanges.iter().filter(move |exchange| (exchange.node.entry().time, exchange.node.seq()) < key)
    }

    /// What the gateway saw models propose, in order.
    pub fn proposals(&self) -> impl Iterator<Item = &'g Node<'g>> {
        self.of(Kind::Decision).filter(|node| node.text("source") == Some("gateway"))
    }

    /// The exchange in which a proposal was seen.
    pub fn exchange_of(&self, proposal: &Node<'_>) -> Option<&Call<'g>> {
        self.exchanges.iter().find(|exchange| {
            let ended = exchange.outcome.as_ref().map(|ended| ended.node.hash);
            proposal.entry().parents.iter().any(|parent| *parent == exchange.node.hash || Some(*parent) == ended)
        })
    }

    /// The catalogue that a call was judged by, where its bytes are there.
    pub fn catalogue(&self, call: &Call<'_>) -> Option<&Catalogue> {
        let in_force = call.body.policies.iter().filter_map(|hash| self.catalogues.get(hash));
        in_force.into_iter().find(|catalogue| catalogue.upstream() == call.body.upstream)
    }

    /// What an action does, by the catalogues that are there.
    pub fn effect_of(&self, action: &str) -> Option<Effect> {
        self.catalogues.values().find_map(|catalogue| catalogue.action(action)).map(|action| action.effect)
    }

    /// The catalogue with a digest.
    pub fn catalogue_of(&self, hash: &Hash) -> Option<&Catalogue> {
        self.catalogues.get(hash)
    }

    /// Where the values of a call came from: as recorded, and for arguments that nobody judged, as it follows from what was observed before.
    pub fn given(&self, call: &Call<'g>) -> Vec<Given> {
        let mut given = call.provenance();
        let Some(Value::Object(arguments)) = call.arguments() else { return given };
        let declared = self.catalogue(call).and_then(|catalogue| catalogue.action(call.action()));
        let before = self.observed(Some(call));
        for (name, value) in arguments {
            let declared = declared.and_then(|action| action.arguments.get(name));
            if given.iter().any(|known| known.argument == *name) || declared.is_some_and(|argument| !argument.binds) {
                continue;
            }
            let Some(text) = plain(value) else { continue };
            let ty = declared.map_or(Type::Text, |argument| argument.ty);
            let sources = before.sources(ty, &text, None);
            let accepted = sources.iter().any(Source::is_said);
            given.push(Given { argument: name.clone(), value: text, sources, accepted });
        }
        given
    }

    /// Where the binding values of a call came from, judged by another catalogue than the one in force.
    pub fn given_under(&self, call: &Call<'g>, catalogue: &Catalogue) -> Vec<Given> {
        let (Some(action), Some(Value::Object(arguments))) = (catalogue.action(call.action()), call.arguments()) else {
            return Vec::new();
        };
        let before = self.observed(Some(call));
        let mut given = Vec::new();
        for (name, value) in arguments {
            let Some(declared) = action.arguments.get(name).filter(|argument| argument.binds) else { continue };
            let Some(text) = plain(value) else { continue };
            let sources = before.sources(declared.ty, &text, None);
            let allowed = |source: &Source| declared.from.iter().any(|from| source.is_named_by(from));
            let said = sources.iter().any(|source| source.is_said() && allowed(source));
            let accepted = said || (sources.iter().all(Source::is_trusted) && sources.iter().any(allowed));
            given.push(Given { argument: name.clone(), value: text, sources, accepted });
        }
        given
    }

    /// Everything that was observed under the instruction, as the gateway saw it when the call came; all of it for no call.
    pub fn observed(&self, until: Option<&Call<'g>>) -> Observations {
        let text =
            |node: &Node<'_>, name: &str| node.value(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let said = self.said().map(|(node, _)| node);
        let words = said.map(|node| text(node, "words")).unwrap_or_default();
        let attached: Option<Vec<String>> =
            said.and_then(|node| serde_json::from_value(node.value("attached")?.clone()).ok());
        let mut observations = Observations::new(&words, &attached.unwrap_or_default());
        for node in &self.nodes {
            if until.is_some_and(|call| call.node.hash == node.hash) {
                break;
            }
            match node.entry().kind {
                Kind::Call => self.observe_call(node, &mut observations),
                Kind::Outcome => self.observe_outcome(node, &mut observations),
                _ => {}
            }
        }
        observations
    }

    fn observe_call(&self, node: &Node<'_>, observations: &mut Observations) {
        let Some(call) = self.calls.iter().find(|call| call.node.hash == node.hash && call.forwarded()) else { return };
        let Some(action) = self.catalogue(call).and_then(|catalogue| catalogue.action(call.action())) else { return };
        let Some(Value::Object(arguments)) = call.arguments() else { return };
        let read = |value: &Value| Json::parse(value.to_string().as_bytes(), JSON_DEPTH).ok();
        let typed: Vec<(Type, Json)> =
            arguments.iter().filter_map(|(name, value)| Some((action.arguments.get(name)?.ty, read(value)?))).collect();
        observations.observe_arguments(&node.hash.to_string(), typed.iter().map(|(ty, value)| (*ty, value)));
    }

    fn observe_outcome(&self, node: &Node<'_>, observations: &mut Observations) {
        let call = self.calls.iter().find(|call| call.outcome.as_ref().is_some_and(|end| end.node.hash == node.hash));
        let Some((call, catalogue)) = call.and_then(|call| Some((call, self.catalogue(call)?))) else { return };
        let observed = node.value("observed");
        let Some(body) = observed.and_then(|observed| observed.get("body")?.as_str()) else { return };
        let Some((action, json)) =
            catalogue.action(call.action()).zip(Json::parse_response(body.as_bytes(), JSON_DEPTH).ok())
        else {
            return;
        };
        let hash = call.node.hash.to_string();
        match catalogue.protocol() {
            Protocol::Mcp => observations.observe_result(&hash, action, &json),
            _ => observations.observe_response(&hash, action, &json),
        }
    }

    /// Whether a value was seen anywhere under this instruction.
    pub fn has_seen(&self, value: &str) -> bool {
        let observations = self.observations.get_or_init(|| self.observed(None));
        let types = [Type::Text, Type::Account, Type::Email, Type::Url, Type::Money, Type::Identifier];
        types.iter().any(|ty| !observations.sources(*ty, value, None).is_empty())
    }
}

/// A text or a number as text.
fn plain(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned).or_else(|| value.as_number().map(ToString::to_string))
}

//! Evidence in the formats of others: OCSF for a SIEM, OTLP spans, a table, and W3C PROV of the causal graph.
//!
//! Each writes what entries say in the clear; a value stands in it only where the evidence discloses it, and credentials are in no entry at all.

mod ocsf;
mod otlp;
mod prov;
mod table;

use std::io::{self, Write};

use countersign_ledger::evidence::Evidence;
use serde_json::{Map, Value};

use crate::graph::{Graph, Node};

/// A format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// OCSF API Activity, a JSON object a line.
    Ocsf,
    /// OpenTelemetry spans: an OTLP request in JSON a line.
    Otlp,
    /// A table with a header, RFC 4180.
    Csv,
    /// PROV-JSON, one document.
    Prov,
}

/// Writes the evidence in a format.
///
/// # Errors
/// What `to` gives.
pub fn write(format: Format, evidence: &Evidence, to: &mut dyn Write) -> io::Result<()> {
    let graph = Graph::new(&[evidence], &std::collections::BTreeSet::new());
    match format {
        Format::Ocsf => ocsf::write(&graph, to),
        Format::Otlp => otlp::write(&graph, to),
        Format::Csv => table::write(&graph, to),
        Format::Prov => prov::write(&graph, to),
    }
}

/// A call with how it ended.
struct Ended<'g, 'e> {
    call: &'g Node<'e>,
    outcome: Option<&'g Node<'e>>,
    method: Option<String>,
    target: Option<String>,
}

/// Every call, in order.
fn calls<'g, 'e>(graph: &'g Graph<'e>) -> impl Iterator<Item = Ended<'g, 'e>> {
    graph.nodes().iter().filter(|node| node.kind() == "call").map(|call| {
        let request = call.value("request");
        let text = |name: &str| Some(request?.get(name)?.as_str()?.to_owned());
        let outcome = graph.about(call).into_iter().find(|node| node.kind() == "outcome");
        Ended { call, outcome, method: text("method"), target: text("target") }
    })
}

/// Milliseconds since 1970.
fn millis(node: &Node<'_>) -> i64 {
    node.entry().time.instant().as_millisecond()
}

/// An object without the members that are null.
fn object<const N: usize>(members: [(&str, Value); N]) -> Value {
    let there = members.into_iter().filter(|(_, value)| !value.is_null());
    Value::Object(there.map(|(name, value)| (name.to_owned(), value)).collect::<Map<_, _>>())
}

#[cfg(test)]
mod tests;

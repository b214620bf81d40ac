//! A table of calls, comma-separated (RFC 4180).

use std::io::{self, Write};

use serde_json::Value;

use super::calls;
use crate::graph::Graph;

const COLUMNS: [&str; 17] = [
    "ledger",
    "entry",
    "hash",
    "time",
    "instruction",
    "grant",
    "subject",
    "agent",
    "upstream",
    "action",
    "effect",
    "verdict",
    "reasons",
    "method",
    "target",
    "result",
    "status",
];

pub(super) fn write(graph: &Graph<'_>, to: &mut dyn Write) -> io::Result<()> {
    row(to, &COLUMNS.map(str::to_owned))?;
    for ended in calls(graph) {
        let call = ended.call;
        let text = |name: &str| call.text(name).unwrap_or_default().to_owned();
        let reasons = call.clear("reasons").and_then(Value::as_array).into_iter().flatten();
        let reasons: Vec<&str> = reasons.filter_map(|reason| reason.get("code")?.as_str()).collect();
        let status = ended.outcome.and_then(|outcome| outcome.clear("status")).map(Value::to_string);
        row(
            to,
            &[
                call.origin().to_owned(),
                call.seq().to_string(),
                call.hash.to_string(),
                call.entry().time.to_string(),
                call.entry().instruction.clone().unwrap_or_default(),
                text("grant"),
                text("subject"),
                text("agent"),
                text("upstream"),
                text("action"),
                text("effect"),
                text("verdict"),
                reasons.join(" "),
                ended.method.unwrap_or_default(),
                ended.target.unwrap_or_default(),
                ended.outcome.and_then(|outcome| outcome.text("result")).unwrap_or_default().to_owned(),
                status.unwrap_or_default(),
            ],
        )?;
    }
    Ok(())
}

fn row(to: &mut dyn Write, cells: &[String]) -> io::Result<()> {
    let cells: Vec<String> = cells.iter().map(|cell| quoted(cell)).collect();
    write!(to, "{}\r\n", cells.join(","))
}

/// A cell that a spreadsheet takes as text: what begins as a formula gets an apostrophe.
fn quoted(cell: &str) -> String {
    let guard = if cell.starts_with(['=', '+', '-', '@', '\t', '\r']) { "'" } else { "" };
    if guard.is_empty() && !cell.contains([',', '"', '\n', '\r']) {
        return cell.to_owned();
    }
    format!("\"{guard}{}\"", cell.replace('"', "\"\""))
}

//! What is run: users' tasks, each crossed with attackers' tasks, and what the tools answered when the tasks were done once.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context as _, bail};
use serde::Deserialize;
use serde_json::{Map, Value};

/// A tool's call.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Call {
    /// The tool.
    pub tool: String,
    /// Its arguments.
    pub args: Map<String, Value>,
}

/// What an attacker wants, and the calls that would do it.
#[derive(Debug, Clone)]
pub struct Attack {
    pub id: String,
    pub goal: String,
    pub calls: Vec<Call>,
}

/// A call of a user's task with what the tool answered.
#[derive(Debug, Clone, Deserialize)]
pub struct Step {
    #[serde(flatten)]
    pub call: Call,
    /// The answer as text: YAML, where the tool answers with more than words.
    pub result: String,
}

/// A user's task.
#[derive(Debug, Clone)]
pub struct Task {
    pub id: String,
    pub words: String,
    /// The calls that do it.
    pub calls: Vec<Call>,
    pub steps: Vec<Step>,
    pub attacks: Vec<Attack>,
}

#[derive(Deserialize)]
struct Row {
    case_id: String,
    user_instruction: String,
    ground_truth_calls: Vec<Call>,
    injected_goal: String,
    injected_calls: Vec<Call>,
}

#[derive(Deserialize)]
struct Trace {
    case_id: String,
    steps: Vec<Step>,
}

/// Reads cases and traces; tasks in the order of the cases.
pub fn read(cases: &Path, traces: &Path) -> anyhow::Result<Vec<Task>> {
    let mut traces: BTreeMap<String, Vec<Step>> =
        rows::<Trace>(traces)?.into_iter().map(|trace| (trace.case_id, trace.steps)).collect();
    let mut tasks: Vec<Task> = Vec::new();
    for row in rows::<Row>(cases)? {
        let (task, attack) = row.case_id.split_once('+').unwrap_or((&row.case_id, ""));
        let attack = Attack { id: attack.to_owned(), goal: row.injected_goal, calls: row.injected_calls };
        if let Some(known) = tasks.iter_mut().find(|known| known.id == task) {
            known.attacks.push(attack);
            continue;
        }
        let steps = traces.remove(task).with_context(|| format!("there is no trace of `{task}`"))?;
        tasks.push(Task {
            id: task.to_owned(),
            words: row.user_instruction,
            calls: row.ground_truth_calls,
            steps,
            attacks: vec![attack],
        });
    }
    if tasks.is_empty() {
        bail!("`{}` has no cases", cases.display());
    }
    Ok(tasks)
}

/// One JSON object per line; the first line is a header.
fn rows<T: for<'de> Deserialize<'de>>(path: &Path) -> anyhow::Result<Vec<T>> {
    let text = fs::read_to_string(path).with_context(|| format!("`{}` cannot be read", path.display()))?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let rows = lines.filter(|(_, line)| !line.starts_with("{\"_header\""));
    rows.map(|(number, line)| {
        serde_json::from_str(line).with_context(|| format!("`{}`, line {}", path.display(), number + 1))
    })
    .collect()
}

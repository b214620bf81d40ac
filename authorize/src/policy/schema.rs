//! The catalogues as a Cedar schema: what policies can name, and of which type it is.

use std::{collections::BTreeSet, fmt::Write as _};

use crate::catalogue::{Action, Argument, Catalogue, Effect, Risk, Type};

/// Groups of actions, with the groups they are in.
const GROUPS: [(&str, &str); 7] = [
    ("read", ""),
    ("change", ""),
    ("write", "change"),
    ("irreversible", "change"),
    ("low risk", ""),
    ("medium risk", ""),
    ("high risk", ""),
];

/// An action's name in Cedar. No group has a colon in it.
pub(super) fn name(upstream: &str, action: &str) -> String {
    format!("{upstream}:{action}")
}

/// The groups an action is in, those above them too.
pub(super) fn groups(action: &Action) -> Vec<&'static str> {
    let mut groups = match action.effect {
        Effect::Read => vec!["read"],
        Effect::Write => vec!["write", "change"],
        Effect::Irreversible => vec!["irreversible", "change"],
    };
    groups.extend(action.risk.map(|risk| match risk {
        Risk::Low => "low risk",
        Risk::Medium => "medium risk",
        Risk::High => "high risk",
    }));
    groups
}

/// The groups that no action is in.
pub(super) fn empty_groups<'c>(catalogues: impl Iterator<Item = &'c Catalogue>) -> BTreeSet<&'static str> {
    let mut empty: BTreeSet<&'static str> = GROUPS.into_iter().map(|(group, _)| group).collect();
    for group in catalogues.flat_map(Catalogue::actions).flat_map(groups) {
        empty.remove(group);
    }
    empty
}

/// Arguments whose sources are traced: what binds, and texts in which addresses can stand.
pub(super) fn is_traced(action: &Action, argument: &Argument) -> bool {
    argument.binds || (argument.ty == Type::Text && action.effect != Effect::Read)
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.escape_debug())
}

fn ty(argument: &Argument) -> String {
    let one = match argument.ty {
        Type::Money => "decimal",
        Type::Integer => "Long",
        Type::Date => "datetime",
        Type::Boolean => "Bool",
        Type::Text | Type::Identifier | Type::Account | Type::Email | Type::Url => "String",
    };
    if argument.list { format!("Set<{one}>") } else { one.to_owned() }
}

/// The schema of the catalogues.
pub(super) fn text<'c>(catalogues: impl Iterator<Item = &'c Catalogue>) -> String {
    let mut text = String::from("entity Agent;\nentity User;\n");
    let (mut upstreams, mut actions) = (Vec::new(), String::new());
    for catalogue in catalogues {
        upstreams.push(quoted(catalogue.upstream()));
        for action in catalogue.actions() {
            describe(&mut actions, catalogue.upstream(), action);
        }
    }
    if upstreams.is_empty() {
        text += "entity Upstream;\n";
    } else {
        let _ = writeln!(text, "entity Upstream enum [{}];", upstreams.join(", "));
    }
    text += TYPES;
    for (group, within) in GROUPS {
        let within = if within.is_empty() { String::new() } else { format!(" in [Action::{}]", quoted(within)) };
        let _ = writeln!(text, "action {}{within};", quoted(group));
    }
    text + &actions
}

const TYPES: &str = "\
type Instruction = { user: User, host: String, attested_by: String, purpose?: String };
type Time = { epoch: Long, weekday: Long, hour: Long };
type Used = { calls: Long, action_calls: Long, spent?: decimal };
type Budget = { before: Used, after: Used, limit?: decimal };
";

fn describe(text: &mut String, upstream: &str, action: &Action) {
    let (mut arguments, mut traced) = (Vec::new(), Vec::new());
    for (name, argument) in &action.arguments {
        let optional = if argument.required { "" } else { "?" };
        arguments.push(format!("{}{optional}: {}", quoted(name), ty(argument)));
        if is_traced(action, argument) {
            traced.push(format!("{}?: Set<String>", quoted(name)));
        }
    }
    let groups: Vec<String> = groups(action).into_iter().map(|group| format!("Action::{}", quoted(group))).collect();
    let _ = writeln!(
        text,
        "action {} in [{}] appliesTo {{\n  principal: [Agent],\n  resource: [Upstream],\n  context: {{\n    arguments: {{ {} }},\n    provenance: {{ {} }},\n    \
         effect: String,\n    risk: String,\n    time: Time,\n    budget: Budget,\n    instruction: Instruction,\n    approved: Bool,\n  }},\n}};",
        quoted(&name(upstream, &action.name)),
        groups.join(", "),
        arguments.join(", "),
        traced.join(", "),
    );
}

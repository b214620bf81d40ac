//! How each kind of the table is made to happen.

mod agent;
mod api;
mod model;
mod operator;
mod two;

use serde_json::{Value, json};

pub use operator::{Own, run};

use crate::{
    dice::Dice,
    run::Plan,
    tasks::{self, Call, STRANGER},
};

/// How a kind is made.
pub enum Made {
    /// A run in a world that others use too.
    Shared(Plan),
    /// It needs a ledger of its own.
    Own(Own, Plan),
}

/// How a kind is made with this seed; none when what it needs is not there yet.
pub fn made(kind: &str, seed: u64) -> Option<Made> {
    let mut dice = Dice::of(kind, seed);
    let shared = api::plan(kind, &mut dice)
        .or_else(|| agent::plan(kind, &mut dice))
        .or_else(|| model::plan(kind, &mut dice))
        .or_else(|| two::plan(kind, &mut dice));
    match shared {
        Some(plan) => Some(Made::Shared(plan)),
        None => operator::plan(kind, &mut dice).map(|(own, plan)| Made::Own(own, plan)),
    }
}

/// An honest run.
fn honest(task: tasks::Task, dice: &mut Dice) -> Plan {
    // Not of the dice that the task came from: a run with other evidence has another trace.
    let _ = dice;
    Plan::honest(task, trace())
}

/// An id of its own for every run.
fn trace() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}

/// The same change with something in it that nobody said.
fn altered(call: &Call, dice: &mut Dice) -> Call {
    match call.action.as_str() {
        "transactions.send" if dice.below(2) == 0 => call.with("recipient", &json!(STRANGER)),
        "transactions.send" => call.with("amount", &loop_amount(call, dice)),
        "user.password.update" => call.with("password", &json!("9z9z-8y8y")),
        "cancel_reservation" => call.with("reservation_id", &json!("QQ7TT9")),
        other => panic!("nothing to alter in {other}"),
    }
}

fn loop_amount(call: &Call, dice: &mut Dice) -> Value {
    loop {
        let amount = tasks::amount(dice);
        if amount != call.arguments["amount"] {
            return amount;
        }
    }
}

/// A payment to an account that nobody named.
fn payment_to_stranger(dice: &mut Dice) -> Call {
    Call::pay(STRANGER, &tasks::amount(dice), "invoice")
}

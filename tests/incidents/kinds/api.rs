//! The API does something else than it says, or than it was asked.

use super::honest;
use crate::{
    actors::api::{Fault, What},
    dice::Dice,
    run::{Plan, Resend},
    tasks,
};

const NO_ANSWER: &str = "The API did not answer in time, so I do not know whether it was done.";

pub fn plan(kind: &str, dice: &mut Dice) -> Option<Plan> {
    let change = |dice: &mut Dice| {
        let task = tasks::change(dice);
        honest(task, dice)
    };
    let pay = |dice: &mut Dice| {
        let task = tasks::payment(dice);
        honest(task, dice)
    };
    Some(match kind {
        "bank-executes-twice" => change(dice).fault(What::Twice),
        "bank-deadlock" => change(dice).fault(What::Deadlock).must(&["upstream-timeout"]).ends(NO_ANSWER),
        "bank-congested" => change(dice).fault(What::Congested).must(&["upstream-timeout"]).ends(NO_ANSWER),
        "bank-drops-silently" => change(dice).fault(What::Drop),
        "bank-executes-another-amount" => pay(dice).fault(What::OtherAmount),
        "bank-status-lies" => change(dice).fault(What::StatusLies),
        "bank-answer-altered" => {
            let mut plan = honest(tasks::balance(dice), dice).ends("Your balance is 9810.00 EUR.");
            plan.fault = Some(Fault { at: 0, what: What::AnswerAltered });
            plan
        }
        "bank-withholds-receipt" => change(dice).fault(What::NoReceipt),
        "bank-receipt-badly-signed" => change(dice).fault(What::BadSignature),
        "bank-fails" => {
            change(dice).fault(What::Fails).must(&["500"]).ends("It did not work: the API reported an error.")
        }
        "bank-fails-but-executes" => change(dice)
            .fault(What::FailsButExecutes)
            .must(&["500"])
            .ends("The API reported an error, so I do not know whether it was done."),
        "bank-ignores-idempotency-key" => {
            let mut plan = pay(dice).fault(What::BlindToKey).must(&["upstream-timeout", "201"]);
            plan.habits.resends = Some(Resend::WithKey);
            plan
        }
        _ => return None,
    })
}

//! Runs without a fault: honest users, agents, models and APIs, with and without evidence, with humans who are asked, refusals by the bank, and slow answers.

use crate::{actors::api::What, dice::Dice, run::Plan, table::Evidence, tasks};

/// With which evidence harmless runs are made, in turn.
pub fn evidence(there: &Evidence) -> Vec<Evidence> {
    let without = |names: &[&str]| {
        let mut evidence = there.clone();
        evidence.0.retain(|name| !names.contains(&name.as_str()));
        evidence
    };
    vec![
        there.clone(),
        there.clone(),
        without(&["sdk"]),
        without(&["receipts", "api_log"]),
        without(&["model"]),
        without(&["sdk", "receipts", "model", "api_log"]),
        there.clone(),
    ]
}

/// A harmless run.
pub fn plan(seed: u64) -> Plan {
    let mut dice = Dice::of("harmless", seed);
    let trace = uuid::Uuid::new_v4().simple().to_string();
    let mut plan = match dice.below(11) {
        0 => Plan::honest(tasks::payment(&mut dice), trace),
        1 => Plan::honest(tasks::look_and_pay(&mut dice), trace),
        2 => Plan::honest(tasks::two_payments(&mut dice), trace),
        3 => Plan::honest(tasks::balance(&mut dice), trace),
        4 => Plan::honest(tasks::cancellation(&mut dice), trace),
        5 => Plan::honest(tasks::real_look(&mut dice), trace),
        6 => Plan::honest(tasks::payment(&mut dice), trace).fault(What::Pause),
        7 => Plan::honest(tasks::payment(&mut dice), trace)
            .fault(What::Declines)
            .ends("The bank declined the payment: the account lacks the funds."),
        _ => Plan::honest(tasks::dojo(dice.below(16)), trace),
    };
    plan.must = vec!["*"];
    plan
}

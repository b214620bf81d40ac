//! `countersign replay`.

use anyhow::bail;
use countersign_ledger::{count::counted, evidence::Selection as Part};
use countersign_trace::replay::{Comparison, Instead, Replayed, Why, replay};
use serde_json::json;

use super::{
    check::{catalogue, policy_files},
    look::evidence,
    say,
};
use crate::cli::ReplayArgs;

pub fn run(args: &ReplayArgs) -> anyhow::Result<u8> {
    // All of it, whatever is asked for: a verdict rests on the instruction that its own follows up, too.
    let evidence = evidence(&args.path, &Part::All, args.keys.as_deref())?;
    let mut instead = Instead::default();
    for path in &args.catalogue {
        instead.catalogues.push(catalogue(path)?);
    }
    if !args.policy.is_empty() {
        instead.policies = Some(policy_files(&args.policy)?);
    }
    let mut replayed = replay(&evidence, &instead);
    replayed.retain(|one| asked_for(args, one));
    if replayed.is_empty() && (args.call.is_some() || args.instruction.is_some()) {
        bail!("there is no such call in it");
    }
    let [mut same, mut differs, mut not] = [0, 0, 0];
    for one in &replayed {
        match one.result {
            Comparison::Same => same += 1,
            Comparison::Differs { .. } => differs += 1,
            Comparison::NotReplayable { .. } => not += 1,
        }
    }
    if args.json {
        let counts = json!({ "same": same, "differs": differs, "not_replayable": not });
        say(format_args!("{}", serde_json::to_string_pretty(&json!({ "counts": counts, "calls": replayed }))?))?;
    } else {
        for one in replayed.iter().filter(|one| one.result != Comparison::Same || args.call.is_some()) {
            say(format_args!("{one}"))?;
        }
        say(format_args!("{same} same, {}, {not} not replayable", counted(differs, "differs", "differ")))?;
        let hidden = |one: &Replayed| matches!(one.result, Comparison::NotReplayable { why: Why::Undisclosed, .. });
        if args.keys.is_none() && replayed.iter().any(hidden) {
            say(
                "What is not disclosed opens with the vault's keys (`--keys`); in a bundle, with one that discloses more.",
            )?;
        }
    }
    Ok(u8::from(differs > 0))
}

fn asked_for(args: &ReplayArgs, one: &Replayed) -> bool {
    let instruction = args.instruction.as_ref().is_none_or(|id| one.instruction.as_ref() == Some(id));
    instruction && args.call.as_ref().is_none_or(|id| one.call == *id || one.seq.to_string() == *id)
}

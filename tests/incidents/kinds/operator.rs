//! Who runs the sidecar does what it should not: each needs a ledger of its own.

use std::{fs, path::Path, sync::Arc, time::Duration};

use countersign_ledger::{
    bundle,
    disclosure::Disclosure,
    evidence::{Evidence as Bundle, Shown},
    record::Kind,
};
use countersign_sdk::Plain;
use data_encoding::BASE64;
use serde_json::json;

use super::{altered, honest, model};
use crate::{
    actors::api::{self, What},
    dice::Dice,
    judge::Finding,
    run::{self, Plan},
    said,
    table::Evidence,
    tasks,
    world::{Actors, BANK, Setting, World},
};

/// What the operator does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Own {
    /// Puts a catalogue in force that looks neither at payee nor at amount, and then the old one again.
    Widens,
    /// Does not enforce verdicts.
    Shadow,
    /// The sidecar dies while a call is under way.
    Crashes,
    /// Writes the ledger anew with the same key.
    SignsAgain,
    /// Puts an older copy back.
    RollsBack,
    /// Leaves a call out of the bundle.
    LeavesOut,
    /// Shows another amount in the bundle.
    ChangesValue,
    /// Lost the API's credential to a thief, who calls around the sidecar.
    Robbed,
}

impl Own {
    /// What was done to the record itself is seen by `verify`.
    pub const fn is_seen_by_verify(self) -> bool {
        matches!(self, Own::SignsAgain | Own::RollsBack | Own::LeavesOut | Own::ChangesValue)
    }
}

pub fn plan(kind: &str, dice: &mut Dice) -> Option<(Own, Plan)> {
    let pay = |dice: &mut Dice| {
        let task = tasks::payment(dice);
        honest(task, dice)
    };
    Some(match kind {
        "policy-widened-then-restored" => (Own::Widens, honest(tasks::dojo(*dice.one(&[0, 13])), dice)),
        "two-policy-widened-and-model-invents" => {
            let task = tasks::payment(dice);
            let other = altered(&task.calls[0], dice);
            let text = run::done(std::slice::from_ref(&other));
            (Own::Widens, honest(task, dice).proposes(0, &other).ends(&text))
        }
        "two-shadow-mode-and-model-outside" => (Own::Shadow, model::outside(dice).must(&["201"])),
        "sidecar-crashes" => (Own::Crashes, pay(dice).fault(What::Pause)),
        "ledger-signed-again" => (Own::SignsAgain, pay(dice)),
        "ledger-rolled-back" => (Own::RollsBack, pay(dice)),
        "call-left-out-of-bundle" => (Own::LeavesOut, honest(tasks::look_and_pay(dice), dice)),
        "bypass-with-stolen-credential" => (Own::Robbed, pay(dice)),
        "value-changed-in-bundle" => (Own::ChangesValue, pay(dice)),
        _ => return None,
    })
}

/// Makes it happen; gives what is found.
pub async fn run(
    own: Own,
    plan: &Plan,
    actors: &Arc<Actors>,
    evidence: &Evidence,
) -> anyhow::Result<Option<Vec<Finding>>> {
    let setting = Setting { shadow: own == Own::Shadow, ..Setting::of(evidence) };
    let mut world = World::start(actors, setting).await;
    match own {
        Own::Widens => {
            with_catalogue(&mut world, &BANK.replace("binds = true", "binds = false"));
            let ran = run::run(&world, plan, evidence).await?;
            with_catalogue(&mut world, BANK);
            world.reconcile().await;
            said::by_trace(&world.sidecar, &ran.granted.instruction, evidence)
        }
        Own::Shadow => {
            let ran = run::run(&world, plan, evidence).await?;
            world.reconcile().await;
            said::by_trace(&world.sidecar, &ran.granted.instruction, evidence)
        }
        Own::Robbed => {
            let ran = run::run(&world, plan, evidence).await?;
            let thief = Plain::new(&actors.bank.url, &format!("{}{}", api::KEY, world.credential))?;
            let stolen = altered(&plan.task.calls[0], &mut Dice::of("thief", ran.became.len() as u64));
            let answer = thief.send(&stolen.method, &stolen.target, stolen.body.as_ref()).await?;
            anyhow::ensure!(answer.status == 201, "the thief got {}", answer.status);
            world.settled().await;
            world.reconcile().await;
            said::by_trace(&world.sidecar, &ran.granted.instruction, evidence)
        }
        Own::Crashes => {
            let granted = run::instruct(&world, plan).await?;
            let died = {
                let work = run::work(&world, plan, evidence, &granted);
                let under_way = async {
                    while actors.under_way(&plan.trace).await == 0 {
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                    // While the agent still waits: or it would be the one who went away.
                    world.sidecar.strike();
                };
                tokio::select! {
                    _ = work => false,
                    () = under_way => true,
                }
            };
            anyhow::ensure!(died, "the call ended before the sidecar did");
            world.sidecar.kill();
            world.sidecar.serve();
            // What was open gets its outcome as the sidecar starts; a reader beside it sees it a moment later.
            world.settled().await;
            world.again();
            world.reconcile().await;
            said::by_trace(&world.sidecar, &granted.instruction, evidence)
        }
        Own::SignsAgain | Own::RollsBack => history(own, &mut world, plan, evidence).await,
        Own::LeavesOut | Own::ChangesValue => handed_over(own, &world, plan, evidence).await,
    }
}

/// The operator's way to change a catalogue: stop, write, start.
fn with_catalogue(world: &mut World, catalogue: &str) {
    world.sidecar.stop();
    fs::write(world.sidecar.dir.path().join("bank.toml"), catalogue).unwrap();
    world.sidecar.serve();
    world.again();
}

/// The agent keeps a proof of its call; then the ledger has another history.
async fn history(
    own: Own,
    world: &mut World,
    plan: &Plan,
    evidence: &Evidence,
) -> anyhow::Result<Option<Vec<Finding>>> {
    let (ledger, copy) = (world.sidecar.ledger(), world.sidecar.dir.path().join("copy"));
    if own == Own::RollsBack {
        world.sidecar.stop();
        copy_all(&ledger, &copy);
        world.sidecar.serve();
        world.again();
    }
    let vkey = said::vkey(&world.sidecar);
    let ran = run::run(world, plan, evidence).await?;
    let proof = ran.became.last().and_then(|became| became.proof.clone()).unwrap();
    let kept = world.sidecar.dir.path().join("kept.proof");
    fs::write(&kept, BASE64.decode(proof.as_bytes())?)?;
    world.sidecar.stop();
    fs::rename(&ledger, world.sidecar.dir.path().join("removed"))?;
    if own == Own::RollsBack {
        fs::rename(&copy, &ledger)?;
    } else {
        // The same key, the same parties, another payment.
        world.sidecar.serve();
        world.again();
        let mut other = Plan::honest(plan.task.clone(), super::trace());
        let task = &mut other.task;
        task.calls[0] = task.calls[0].with("subject", &json!("something else"));
        other.turns[0] = run::propose(&task.calls);
        run::run(world, &other, &Evidence::default()).await?;
        world.sidecar.stop();
    }
    let outside = if own == Own::RollsBack { "bundle_of_other_party" } else { "checkpoint_outside" };
    said::by_verify(&world.sidecar, &ledger, &vkey, evidence.has(outside).then_some(kept.as_path()))
}

fn copy_all(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (path, to) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy_all(&path, &to);
        } else {
            fs::copy(&path, &to).unwrap();
        }
    }
}

/// The bundle that the operator hands over is not what the ledger has.
async fn handed_over(
    own: Own,
    world: &World,
    plan: &Plan,
    evidence: &Evidence,
) -> anyhow::Result<Option<Vec<Finding>>> {
    let ran = run::run(world, plan, evidence).await?;
    let file = said::export(&world.sidecar, &ran.granted.instruction, "all")?;
    let mut bundle: Bundle = bundle::read(&fs::read(&file)?)?;
    let calls: Vec<u64> =
        bundle.items.iter().filter(|(_, item)| item.entry.kind == Kind::Call).map(|(seq, _)| *seq).collect();
    if own == Own::LeavesOut {
        // With what ended it, so that nothing points at it.
        for seq in [calls[0], calls[0] + 1] {
            bundle.items.remove(&seq);
            bundle.proofs.remove(&seq);
        }
    } else {
        let item = bundle.items.get_mut(calls.last().unwrap()).unwrap();
        let mut arguments = item.value("arguments").unwrap().clone();
        arguments["amount"] = json!("1.00");
        item.values.insert("arguments".to_owned(), Shown::Value(Disclosure::new("arguments", &arguments)?));
    }
    let forged = world.sidecar.dir.path().join("handed-over.zip");
    bundle::write(&bundle, fs::File::create_new(&forged)?)?;
    said::by_verify(&world.sidecar, &forged, &said::vkey(&world.sidecar), None)
}

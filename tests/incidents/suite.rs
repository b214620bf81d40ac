//! Makes the incidents, asks for what is said of them, judges it.

use std::{collections::BTreeMap, sync::Arc};

use tokio::{sync::Semaphore, task::JoinSet};

use crate::{
    harmless,
    judge::{Finding, Verdict, judge},
    kinds::{self, Made, Own},
    report::{Line, Report},
    run::{self, Plan},
    said,
    table::{Evidence, Kind, Table, Variant, Witness},
    world::{Actors, Setting, World},
};

/// How many runs are under way at once in worlds that are shared, and how many worlds of their own.
const SHARED: usize = 24;
const OWN: usize = 3;

/// How many seeds a full run takes, and how many harmless runs.
const SEEDS: u64 = 5;
const HARMLESS: u64 = 220;

/// One run to be made and judged.
struct Job {
    /// Its place in the table; none for a harmless run.
    kind: Option<usize>,
    variant: Variant,
    seed: u64,
}

/// What a job came to: what was found, where `trace` has findings at all, or why it could not be made.
type Came = anyhow::Result<Option<Vec<Finding>>>;

/// Runs what is wanted; false when something is not right that should be.
pub async fn run(full: bool, wanted: &[&str]) -> bool {
    let table = Arc::new(Table::read());
    let actors = Actors::start();
    let (jobs, waiting) = jobs(&table, full, wanted);
    let mut shared: BTreeMap<Setting, Vec<(usize, Plan)>> = BTreeMap::new();
    let mut own: Vec<(usize, Own, Plan)> = Vec::new();
    for (at, job) in jobs.iter().enumerate() {
        let made = match job.kind {
            None => Made::Shared(harmless::plan(job.seed)),
            Some(kind) => kinds::made(&table.kind[kind].id, job.seed).unwrap(),
        };
        match made {
            Made::Shared(plan) => shared.entry(Setting::of(&job.variant.evidence)).or_default().push((at, plan)),
            Made::Own(what, plan) => {
                let by = job.kind.map(|kind| table.kind[kind].by);
                assert_eq!(by == Some(Witness::Verify), what.is_seen_by_verify());
                own.push((at, what, plan));
            }
        }
    }
    let jobs = Arc::new(jobs);
    let mut came: BTreeMap<usize, Came> = BTreeMap::new();
    for (setting, plans) in shared {
        in_one_world(&actors, setting, plans, &jobs, &mut came).await;
    }
    came.extend(in_own_worlds(&actors, own, &jobs).await);
    let report = report(&table, &jobs, came, waiting);
    report.print(full);
    report.good()
}

/// What is to be run, and what waits for evidence that this build cannot give.
fn jobs(table: &Table, full: bool, wanted: &[&str]) -> (Vec<Job>, Vec<String>) {
    let (mut jobs, mut waiting) = (Vec::new(), Vec::new());
    let there = there();
    let is_wanted = |id: &str| wanted.is_empty() || wanted.iter().any(|part| id.contains(part));
    for (at, kind) in table.kind.iter().enumerate().filter(|(_, kind)| is_wanted(&kind.id)) {
        if kinds::made(&kind.id, 0).is_none() {
            waiting.push(format!("{}: cannot be made yet", kind.id));
            continue;
        }
        for variant in table.variants(kind) {
            let Some(variant) = possible(kind, variant, &there) else {
                continue;
            };
            let seeds = if full { SEEDS } else { 1 };
            jobs.extend((0..seeds).map(|seed| Job { kind: Some(at), variant: variant.clone(), seed }));
        }
        if !jobs.iter().any(|job| job.kind == Some(at)) {
            waiting.push(format!("{}: the evidence that decides it cannot be made yet", kind.id));
        }
    }
    if wanted.is_empty() || is_wanted("harmless") && !wanted.is_empty() {
        let number = if full { HARMLESS } else { 20 };
        let sets = harmless::evidence(&there);
        jobs.extend((0..number).map(|seed| {
            let evidence = sets[usize::try_from(seed).unwrap() % sets.len()].clone();
            Job { kind: None, variant: Variant { evidence, taken: None }, seed }
        }));
    }
    (jobs, waiting)
}

/// The evidence that can be made.
fn there() -> Evidence {
    Evidence(
        ["receipts", "model", "sdk", "values", "api_log", "checkpoint_outside", "bundle_of_other_party"]
            .map(str::to_owned)
            .into(),
    )
}

/// The variant with the evidence that can be made; none when that would make another one of it.
fn possible(kind: &Kind, mut variant: Variant, there: &Evidence) -> Option<Variant> {
    let all_there = |set: &Evidence| set.0.is_subset(&there.0);
    match &variant.taken {
        Some(taken) => {
            let decides = kind.suffices.iter().filter(|set| taken.left.is_empty() || !set.0.is_empty());
            let mut rest = decides.flat_map(|set| &set.0).filter(|name| !taken.away.contains(name));
            if !taken.left.is_empty() && !rest.all(|name| there.has(name)) {
                return None;
            }
        }
        // All evidence there can be must decide it; a set that decides must be there whole.
        None => {
            let known = kind.suffices.iter().any(&all_there);
            if !known || variant.evidence.0.len() < 7 && !all_there(&variant.evidence) {
                return None;
            }
        }
    }
    variant.evidence.0.retain(|name| there.has(name));
    Some(variant)
}

/// Runs plans side by side in one world and asks once for everything.
async fn in_one_world(
    actors: &Arc<Actors>,
    setting: Setting,
    plans: Vec<(usize, Plan)>,
    jobs: &Arc<Vec<Job>>,
    came: &mut BTreeMap<usize, Came>,
) {
    let world = Arc::new(World::start(actors, setting).await);
    let turns = Arc::new(Semaphore::new(SHARED));
    let mut runs = JoinSet::new();
    for (at, plan) in plans {
        let (world, jobs, turns) = (world.clone(), jobs.clone(), turns.clone());
        runs.spawn(async move {
            let _turn = turns.acquire_owned().await.unwrap();
            (at, run::run(&world, &plan, &jobs[at].variant.evidence).await)
        });
    }
    let mut instructions = Vec::new();
    while let Some(ran) = runs.join_next().await {
        match ran.unwrap() {
            (at, Ok(ran)) => instructions.push((at, ran.granted.instruction)),
            (at, Err(error)) => drop(came.insert(at, Err(error))),
        }
    }
    world.settled().await;
    world.reconcile().await;
    let found = said::all_by_trace(&world.sidecar).unwrap();
    for (at, instruction) in instructions {
        let evidence = &jobs[at].variant.evidence;
        let findings = if evidence.has("values") {
            Ok(found.as_ref().map(|found| found.get(&instruction).cloned().unwrap_or_default()))
        } else {
            said::by_trace(&world.sidecar, &instruction, evidence)
        };
        came.insert(at, findings);
    }
}

async fn in_own_worlds(
    actors: &Arc<Actors>,
    plans: Vec<(usize, Own, Plan)>,
    jobs: &Arc<Vec<Job>>,
) -> BTreeMap<usize, Came> {
    let turns = Arc::new(Semaphore::new(OWN));
    let mut runs = JoinSet::new();
    for (at, what, plan) in plans {
        let (actors, jobs, turns) = (actors.clone(), jobs.clone(), turns.clone());
        runs.spawn(async move {
            let _turn = turns.acquire_owned().await.unwrap();
            (at, kinds::run(what, &plan, &actors, &jobs[at].variant.evidence).await)
        });
    }
    let mut came = BTreeMap::new();
    while let Some(ran) = runs.join_next().await {
        let (at, findings) = ran.unwrap();
        came.insert(at, findings);
    }
    came
}

fn report(table: &Table, jobs: &[Job], mut came: BTreeMap<usize, Came>, waiting: Vec<String>) -> Report {
    let mut report = Report::new(waiting);
    for (at, job) in jobs.iter().enumerate() {
        let (id, row) = match job.kind {
            Some(kind) => (table.kind[kind].id.clone(), job.variant.to_string()),
            None => ("(harmless)".to_owned(), job.variant.evidence.to_string()),
        };
        let findings = came.remove(&at).unwrap_or_else(|| Err(anyhow::anyhow!("it was not run")));
        let (verdict, findings) = match (findings, job.kind) {
            (Err(error), _) => {
                report.not_made.push(format!("{id}, {row}, seed {}: {error}", job.seed));
                continue;
            }
            (Ok(None), _) => {
                report.not_judged += 1;
                continue;
            }
            (Ok(Some(findings)), None) => (blameless(&findings), findings),
            (Ok(Some(findings)), Some(kind)) => {
                (judge(table, &table.kind[kind], job.variant.taken.as_ref(), &findings), findings)
            }
        };
        let findings = findings.iter().map(Finding::to_string).collect();
        report.add(Line { id, row, seed: job.seed, verdict, findings });
    }
    report
}

/// Where there is no fault, no finding names a party.
fn blameless(findings: &[Finding]) -> Verdict {
    let named: Vec<String> = findings.iter().filter_map(Finding::names).map(|cause| cause.to_string()).collect();
    if named.is_empty() { Verdict::Right } else { Verdict::Wrong(format!("names {}", named.join(", "))) }
}

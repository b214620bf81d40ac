//! Countersign beside what a platform would else run: nginx as a plain proxy, nginx `auth_request`, Envoy `ext_authz` with an access log, and Envoy
//! `ext_authz` whose authorizer has one line of JSON on the disk for each call before it answers.
//!
//! `cargo bench --bench peers -- [--seconds 10] [--rounds 3] [--connections 16] [--sustained 60] [--open 20] [--age 0] [--only NAME]`
//!
//! The same upstream, the same load, one system after the other in every round; load, system and upstream share this machine's processors, so the
//! ratios say more than the numbers. `benches/peers/setup` installs what it needs. What the columns mean is in docs/performance.md.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a bench stops at the first surprise")]

mod age;
#[path = "../support/aged.rs"]
mod aged;
mod authorizer;
mod cost;
mod load;
mod systems;

use std::{collections::BTreeMap, path::Path, time::Duration};

use anyhow::Context as _;
use load::Load;
use systems::{System, Upstream, World};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What one turn of one system gave.
struct Turn {
    load: Load,
    cost: cost::Cost,
}

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["authorizer", listen, file @ ..] => return authorizer::serve(listen, file.first().map(Path::new)),
        ["fill", dir, entries, ..] => return age::fill(Path::new(dir), entries.parse()?),
        _ => {}
    }
    let seconds = Duration::from_secs(option("--seconds", 10));
    let connections = option("--connections", 16);
    let world = World::new()?;
    let upstream = Upstream::start(&world)?;
    let only = text("--only");
    let names: Vec<&str> =
        systems::NAMES.iter().copied().filter(|name| only.as_deref().is_none_or(|only| only == *name)).collect();
    let mut turns: BTreeMap<&str, Vec<Turn>> = BTreeMap::new();
    for round in 1..=option("--rounds", 3) {
        for name in &names {
            let turn = turn(&world, &upstream, name, seconds, connections)?;
            println!("round {round}: {}", line(name, &turn));
            turns.entry(name).or_default().push(turn);
        }
    }
    println!("\nmedians, {connections} connections\n{}", head());
    for name in &names {
        println!("{}", line(name, &median(turns.remove(name).unwrap_or_default()).context("no turn")?));
    }
    let sustained = Duration::from_secs(option("--sustained", 60));
    if !sustained.is_zero() && names.contains(&"countersign") {
        let turn = turn(&world, &upstream, "countersign", sustained, connections)?;
        println!("\nsustained for {sustained:?}: {}", line("countersign", &turn));
        open_loop(&world, &upstream, &names, turn.load.rate / 2.0)?;
    }
    match option("--age", 0) {
        0 => Ok(()),
        entries => age::compare(&world, &upstream, entries, seconds),
    }
}

/// Starts a system, warms it, loads it, asks what it cost, stops it.
fn turn(world: &World, upstream: &Upstream, name: &str, time: Duration, connections: u64) -> anyhow::Result<Turn> {
    let system = System::start(world, upstream, name)?;
    load::wrk(&system, Duration::from_secs(1), connections)?;
    let before = cost::Cost::of(&system.processes(), world.path());
    let load = load::wrk(&system, time, connections)?;
    let cost = cost::Cost::of(&system.processes(), world.path()).since(&before);
    anyhow::ensure!(
        load.refused == 0,
        "{name} refused {} of its calls: what is measured is not a proxied call",
        load.refused
    );
    system.stop()?;
    Ok(Turn { load, cost })
}

/// A fixed rate, whatever the answers do: half of what was sustained. The latency is counted from when a request was due.
fn open_loop(world: &World, upstream: &Upstream, names: &[&str], rate: f64) -> anyhow::Result<()> {
    let time = Duration::from_secs(option("--open", 20));
    println!(
        "\nopen loop, {rate:.0} requests/s for {time:?}\n{:<22}{:>10}{:>10}{:>10}",
        "", "p50 ms", "p99 ms", "p99.9 ms"
    );
    println!(
        "one write of 2 KiB and fdatasync meanwhile idle: p50 {:.3} ms, p99 {:.3} ms",
        cost::sync(world.path())?.0,
        cost::sync(world.path())?.1
    );
    for name in names {
        let system = System::start(world, upstream, name)?;
        let Some(open) = load::oha(&system, time, rate)? else {
            println!("SKIPPED: oha is not here (benches/peers/setup installs it)");
            return system.stop();
        };
        println!("{name:<22}{:>10.3}{:>10.3}{:>10.3}", open.p50, open.p99, open.p999);
        system.stop()?;
    }
    Ok(())
}

fn head() -> String {
    format!(
        "{:<22}{:>10}{:>9}{:>9}{:>13}{:>10}{:>15}",
        "", "calls/s", "p50 ms", "p99 ms", "CPU us/call", "RSS MiB", "written B/call"
    )
}

fn line(name: &str, turn: &Turn) -> String {
    let Turn { load, cost } = turn;
    let each = |total: f64| total / load.calls.max(1.0);
    format!(
        "{name:<22}{:>10.0}{:>9.3}{:>9.3}{:>13.1}{:>10.0}{:>15.0}",
        load.rate,
        load.p50,
        load.p99,
        each(cost.cpu.as_secs_f64() * 1e6),
        cost.resident_mib,
        each(cost.written)
    )
}

/// The turn with the median rate.
fn median(mut turns: Vec<Turn>) -> Option<Turn> {
    turns.sort_by(|a, b| a.load.rate.total_cmp(&b.load.rate));
    let middle = turns.len() / 2;
    turns.into_iter().nth(middle)
}

fn text(name: &str) -> Option<String> {
    std::env::args().skip_while(|argument| argument != name).nth(1)
}

fn option(name: &str, default: u64) -> u64 {
    text(name).map_or(default, |value| value.parse().unwrap_or_else(|_| panic!("{name} takes a number")))
}

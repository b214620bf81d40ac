//! `countersign`: the sidecar, its tools and its demo.

mod cli;
mod commands;
mod config;
mod demo;
mod hsm;
mod running;
mod telemetry;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};

use crate::cli::{Cli, Command};

/// Entries are made in one thread and freed in others, which this allocator does cheaply (docs/performance.md).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    // The sidecar's configuration says how it logs.
    if !matches!(cli.command, Command::Serve(_)) {
        telemetry::begin_logs(&config::Log::default(), None);
    }
    match run(cli.command) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("countersign: {}", told(&error));
            ExitCode::from(2)
        }
    }
}

/// The error with its causes; one that an error names itself is not said twice.
fn told(error: &anyhow::Error) -> String {
    error
        .chain()
        .skip(1)
        .map(ToString::to_string)
        .fold(error.to_string(), |told, cause| if told.contains(&cause) { told } else { format!("{told}: {cause}") })
}

/// Exit codes: 0 done, 1 findings, 2 not done.
fn run(command: Command) -> anyhow::Result<u8> {
    match command {
        Command::Demo(args) => runtime()?.block_on(demo::run(&args)),
        Command::Init(args) => commands::init::run(&args),
        Command::Reference => commands::reference::run(),
        Command::Serve(args) => runtime()?.block_on(commands::serve::run(&args)),
        Command::Check(args) => commands::check::run(&args),
        Command::Import(import) => runtime()?.block_on(commands::import::run(import)),
        Command::Learn(args) => commands::import::learn(&args),
        Command::Ceiling(args) => commands::ceiling::run(&args),
        Command::Keys(keys) => runtime()?.block_on(commands::keys::run(keys)),
        Command::Approvals(approvals) => runtime()?.block_on(commands::approvals::run(approvals)),
        Command::Revoke(args) => runtime()?.block_on(commands::revoke::run(&args, false)),
        Command::Lift(args) => runtime()?.block_on(commands::revoke::run(&args, true)),
        Command::DryRun(args) => runtime()?.block_on(commands::dry_run::run(&args)),
        Command::Revoked(args) => runtime()?.block_on(commands::revoke::list(&args)),
        Command::Verify(args) => commands::verify::run(&args),
        Command::Trace(args) => commands::look::trace(&args),
        Command::Reconcile(args) => commands::reconcile::run(&args),
        Command::Replay(args) => commands::replay::run(&args),
        Command::Report(args) => commands::report::run(&args),
        Command::Show(args) => commands::look::show(&args),
        Command::Export(args) => commands::look::export(&args),
        Command::Incident(command) => runtime()?.block_on(commands::incident::run(&command)),
        Command::Mine(args) => runtime()?.block_on(commands::incident::mine(&args)),
        Command::Erase(args) => runtime()?.block_on(commands::erase::erase(&args)),
        Command::Hold(args) => runtime()?.block_on(commands::erase::hold(&args)),
        Command::Repair(args) => commands::repair::repair(&args),
        Command::Adopt(args) => commands::repair::adopt(&args),
        Command::Probe { url } => runtime()?.block_on(commands::probe::run(&url)),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "countersign", &mut std::io::stdout());
            Ok(0)
        }
        Command::Man { directory } => {
            std::fs::create_dir_all(&directory)?;
            clap_mangen::generate_to(Cli::command(), directory)?;
            Ok(0)
        }
        Command::DemoModel(args) => runtime()?.block_on(demo::model::serve(args)).map(|()| 0),
        Command::DemoBank(args) => runtime()?.block_on(demo::bank::serve(args)).map(|()| 0),
        Command::ProbeStore { directory } => {
            countersign_ledger::store::probe_in_this_process(&directory)?;
            Ok(0)
        }
    }
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}

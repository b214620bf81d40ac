//! The one binary.

mod demo;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "countersign", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// The sample bank of `demo`.
    #[command(hide = true)]
    DemoBank(demo::BankArgs),
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    match Cli::parse().command {
        Command::DemoBank(args) => demo::bank::serve(args).await,
    }
}

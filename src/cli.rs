//! The command line as typed. What a command does is in `commands/`.

mod catalogue;
mod investigate;
mod operate;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};

use self::{
    catalogue::LEARN_HELP,
    investigate::{RECONCILE_HELP, REPLAY_HELP},
};
pub use self::{
    catalogue::{CeilingArgs, ImportArgs, ImportCommand, LearnArgs},
    investigate::{
        ExportArgs, ExportFormat, Language, LogFormat, Part, ReconcileArgs, ReplayArgs, ReportArgs, ShowArgs,
        TraceArgs, VerifyArgs, Wanted,
    },
    operate::{
        AdoptArgs, ApprovalsCommand, ApproverArgs, DryRunArgs, EraseArgs, HoldArgs, HoldEvent, IncidentCommand,
        MineArgs, Revocable, RevokeArgs,
    },
};

/// Holds an agent's API calls to what the user's instruction allows, and records each call so that liability can be traced.
#[derive(Debug, Parser)]
#[command(name = "countersign", version, about, long_about = None, arg_required_else_help = true, propagate_version = true)]
#[command(
    after_help = "Start with `countersign demo`: a bank, a sidecar and an agent that is attacked, in a few seconds."
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands, in the order of a deployment's life.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show it: a sample bank, the sidecar, and an agent that follows injected text
    #[command(
        after_help = "Exit code: 0 when every task was done and no injected change reached the bank, 1 otherwise."
    )]
    Demo(crate::demo::DemoArgs),
    /// Write a directory to start from: a commented configuration, a first catalogue, and a secret for each role
    Init(InitArgs),
    /// Print every key of the configuration, with what it means
    Reference,
    /// Run the sidecar
    #[command(
        after_help = "SIGTERM or SIGINT drains: calls in flight end and are recorded, then the ledger is closed."
    )]
    Serve(ConfigArgs),
    /// Check a configuration file and the catalogues it names, or a catalogue alone, without starting anything
    Check(CheckArgs),
    /// Write a first catalogue from what an API says of itself, for a human to mark
    #[command(subcommand)]
    Import(ImportCommand),
    /// Write a first catalogue from recorded calls that no catalogue knew, for a human to mark
    #[command(after_help = LEARN_HELP)]
    Learn(LearnArgs),
    /// Sign a catalogue as the API's provider: no deployment that is told of it goes above it
    #[command(
        after_help = "Prints the statement, a JWS. An upstream names it: ceiling = { catalogue = FILE, signature = FILE, key = FILE }."
    )]
    Ceiling(CeilingArgs),
    /// Make keys and secrets, or list those of a deployment
    #[command(subcommand)]
    Keys(KeysCommand),
    /// See the calls that wait for an approver, and say yes or no to exactly one of them, signed with your key
    #[command(subcommand)]
    Approvals(ApprovalsCommand),
    /// Withdraw a grant, an agent, a principal's grants, an action or everything: in force for the next call
    #[command(
        after_help = "Calls under way are cut where their action says `abort_on_revoke`. The running sidecar is asked, as an operator; each withdrawal is an entry."
    )]
    Revoke(RevokeArgs),
    /// Allow again what was withdrawn
    Lift(RevokeArgs),
    /// List what is withdrawn now
    Revoked(OperatorArgs),
    /// Ask a running sidecar what would become of a call, or of a scope, without making it
    #[command(
        after_help = "Nothing is recorded, reserved or used up. Example: countersign dry-run --instruction 019… pay to=DE02… amount=5"
    )]
    DryRun(DryRunArgs),
    /// Check a ledger or a bundle: chain, tree, checkpoints, signatures, commitments, gaps
    #[command(after_help = VERIFY_HELP)]
    Verify(VerifyArgs),
    /// Follow one call, instruction or time window: who said, chose, allowed, sent, answered, and where the chain breaks
    Trace(TraceArgs),
    /// Compare an API's own log with the ledger, both ways: calls around the sidecar, calls never seen, differences, double execution
    #[command(after_help = RECONCILE_HELP)]
    Reconcile(ReconcileArgs),
    /// Judge recorded calls again, from what was recorded, or by other policies
    #[command(after_help = REPLAY_HELP)]
    Replay(ReplayArgs),
    /// Write the report: the finding in one paragraph, the timeline, who corroborates what, and how to check it; one HTML file that prints
    Report(ReportArgs),
    /// Show one entry: its bytes, its place, its disclosed values
    Show(ShowArgs),
    /// Write a bundle: one file that proves a call, an instruction or a time window to somebody who trusts nobody here
    Export(ExportArgs),
    /// Record a claim of harm, keep what it needs from erasure, and list or close what is open
    #[command(subcommand)]
    Incident(IncidentCommand),
    /// Get the bundle of your own instruction, with your own key: nobody has to be asked
    Mine(MineArgs),
    /// Destroy a data subject's data key, so that no copy of what the vault holds about them opens again
    #[command(after_help = ERASE_HELP)]
    Erase(EraseArgs),
    /// Forbid the erasure of a data subject, or allow it again
    Hold(HoldArgs),
    /// Rebuild the store from the ledger's other copies after damage; never signs over a gap
    Repair(ConfigArgs),
    /// Start a new ledger after the disk was lost, citing the last checkpoint that somebody outside holds
    Adopt(AdoptArgs),
    /// Ask a URL and say whether it answers with success: a health check for images that hold no other program
    #[command(
        after_help = "Exit code: 0 when the answer is a success (2xx), 1 otherwise. Of `https` the certificate must be of a public authority."
    )]
    Probe {
        /// The URL, such as `http://127.0.0.1:8181/readyz`.
        #[arg(value_hint = ValueHint::Url)]
        url: String,
    },
    /// Print shell completions
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Write the manual pages
    Man {
        /// The directory to write them to.
        #[arg(value_hint = ValueHint::DirPath)]
        directory: PathBuf,
    },
    /// Run the sample bank of `demo` alone, to try a deployment against
    DemoBank(crate::demo::BankArgs),
    /// The sample model of `demo`.
    #[command(hide = true)]
    DemoModel(crate::demo::ModelArgs),
    /// Opens and reads a store in a process of its own, because the engine panics or hangs on some damage.
    #[command(hide = true)]
    ProbeStore {
        /// The store's directory.
        directory: PathBuf,
    },
}

const VERIFY_HELP: &str = "\
Exit code: 0 clean, 1 findings, 2 unreadable.

Without --trust and --against the answer is `self-consistent only`: whoever holds the ledger's key could have written it anew.
--trust takes a file of verifier keys (`name+hash+key`, a line each) that you had from elsewhere.
--against takes a checkpoint or a proof that somebody outside the operator kept: every answer of the sidecar carries one.";

const ERASE_HELP: &str = "\
Two different signers must agree, and no hold may be in force. Each signs on their own machine:

    countersign erase --config FILE --subject ID --reason TEXT --sign-with approver.pem > one.jws

and then, with the sidecar stopped (a running one takes the same two statements at POST /v1/erasures):

    countersign erase --config FILE --subject ID --reason TEXT --statement one.jws --statement two.jws";

/// A configuration file.
#[derive(Debug, Args)]
pub struct ConfigArgs {
    /// The configuration file.
    #[arg(long, short, value_name = "FILE", env = "COUNTERSIGN_CONFIG", value_hint = ValueHint::FilePath)]
    pub config: PathBuf,
}

/// `init`.
#[derive(Debug, Args)]
pub struct InitArgs {
    /// Where to write; made when it is not there. Nothing is written over.
    #[arg(value_name = "DIRECTORY", value_hint = ValueHint::DirPath)]
    pub directory: PathBuf,
    /// The ledger's name, for ever: a URL without its scheme.
    #[arg(long, value_name = "NAME", default_value = "example.org/agents")]
    pub origin: String,
    /// The API behind the gateway.
    #[arg(long, value_name = "URL", default_value = "https://api.example.org")]
    pub url: String,
}

/// `check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// The configuration file.
    #[arg(long, short, value_name = "FILE", env = "COUNTERSIGN_CONFIG", required_unless_present = "catalogue", value_hint = ValueHint::FilePath)]
    pub config: Option<PathBuf>,
    /// A catalogue alone, instead; may be given several times.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub catalogue: Vec<PathBuf>,
    /// A policy file in Cedar, checked against these catalogues; may be given several times.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub policy: Vec<PathBuf>,
    /// Print what policies can name: the catalogues as a Cedar schema.
    #[arg(long)]
    pub schema: bool,
}

/// `keys`.
#[derive(Debug, Subcommand)]
pub enum KeysCommand {
    /// Make a key pair for somebody who signs, or a secret for somebody who calls the API
    #[command(
        after_help = "`agent`, `approver` and `user` get an Ed25519 key pair; --out names the file of its secret half.\n\
        `host`, `operator`, `investigator` and `approver --secret` get a bearer secret, shown once or written to --out; the configuration holds only its SHA-256."
    )]
    New {
        /// Who it is for.
        role: KeyRole,
        /// The party's id, as entries name it.
        #[arg(long)]
        party: String,
        /// Where to write the secret half of a key pair (PKCS#8 PEM), or the bearer secret; mode 0600, and nothing is written over.
        #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
        out: Option<PathBuf>,
        /// The configuration file to add the bearer secret's SHA-256 to; a sidecar that runs with it takes it up by itself.
        #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
        add_to: Option<PathBuf>,
        /// A bearer secret instead of a key pair.
        #[arg(long)]
        secret: bool,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Make a link with which an approver makes a passkey, once
    #[command(
        after_help = "The running sidecar is asked, as an operator; its configuration has `[approvals]`. Hand the link to the approver and to nobody else."
    )]
    Enrol {
        /// Who asks.
        #[command(flatten)]
        api: OperatorArgs,
        /// The approver's party id.
        #[arg(long)]
        party: String,
        /// How many minutes the link holds.
        #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u32).range(1..=10080))]
        minutes: u32,
    },
    /// Make another key for the gateway, which signs checkpoints beside the present one from the next start on
    Rotate {
        /// The gateway's configuration.
        #[command(flatten)]
        config: ConfigArgs,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Sign with each of the gateway's keys, files and a hardware module's, and say how long it takes
    Probe {
        /// The gateway's configuration.
        #[command(flatten)]
        config: ConfigArgs,
        /// Print JSON, a line for each key.
        #[arg(long)]
        json: bool,
    },
    /// List the ledger's own keys and the keys that its entries register
    List {
        /// A ledger's directory.
        #[arg(value_hint = ValueHint::DirPath)]
        ledger: PathBuf,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

/// An operator, and where the sidecar's API is.
#[derive(Debug, Args)]
pub struct OperatorArgs {
    /// The sidecar's API, such as `https://sidecar.example:8181`.
    #[arg(long, value_name = "URL", env = "COUNTERSIGN_API", value_hint = ValueHint::Url)]
    pub api: String,
    /// A file with the operator's bearer secret; else it is read from the environment variable COUNTERSIGN_SECRET.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub secret_file: Option<PathBuf>,
}

/// Who a key is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum KeyRole {
    /// Signs decisions and answers.
    Agent,
    /// Signs approvals and erasures; calls the approval API.
    Approver,
    /// Signs instructions.
    User,
    /// Registers instructions.
    Host,
    /// Administers.
    Operator,
    /// Reads.
    Investigator,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}

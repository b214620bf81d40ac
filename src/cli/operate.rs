//! What operators, approvers and users do beside a running sidecar.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum, ValueHint};

use super::{ConfigArgs, OperatorArgs};

/// `revoke` and `lift`.
#[derive(Debug, Args)]
pub struct RevokeArgs {
    /// Who asks.
    #[command(flatten)]
    pub api: OperatorArgs,
    /// What to withdraw.
    pub what: Revocable,
    /// Its id: the instruction's, the agent's, the principal's name, the action's name; none for `everything`.
    #[arg(default_value = "", hide_default_value = true)]
    pub id: String,
    /// Why; it stands in the entry, so no personal data.
    #[arg(long)]
    pub reason: String,
}

/// `dry-run`.
#[derive(Debug, Args)]
pub struct DryRunArgs {
    /// The sidecar's API, such as `https://sidecar.example:8181`.
    #[arg(long, value_name = "URL", env = "COUNTERSIGN_API", value_hint = ValueHint::Url)]
    pub api: String,
    /// The host's secret or the agent's token, in a file; without it, the environment variable COUNTERSIGN_SECRET.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub secret_file: Option<PathBuf>,
    /// The host's instruction; an agent asks about its own.
    #[arg(long, conflicts_with = "draft")]
    pub instruction: Option<String>,
    /// An instruction that is not registered: a JSON file with `words`, `agent`, `scope` and perhaps `attached` and `amends`.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub draft: Option<PathBuf>,
    /// The upstream, where several have the action.
    #[arg(long)]
    pub upstream: Option<String>,
    /// The whole answer as JSON.
    #[arg(long)]
    pub json: bool,
    /// The action.
    pub action: Option<String>,
    /// Its arguments, `name=value`; a list or a truth value is written as JSON.
    pub arguments: Vec<String>,
}

/// What can be withdrawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Revocable {
    /// One instruction's grant; for good.
    Instruction,
    /// All grants of an agent.
    Agent,
    /// All grants of a principal.
    Principal,
    /// An action, under every grant.
    Action,
    /// Everything: the kill switch.
    Everything,
}

/// `approvals`.
#[derive(Debug, Subcommand)]
pub enum ApprovalsCommand {
    /// The calls that wait, a line each: id, action, arguments
    List {
        /// Who asks.
        #[command(flatten)]
        api: ApproverArgs,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// One call: what the user said, what the agent wants, where each value came from, why it is held
    Show {
        /// Who asks.
        #[command(flatten)]
        api: ApproverArgs,
        /// The call's id.
        call: String,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show a call, ask, and sign a yes: the agent may then make exactly this call, once
    #[command(after_help = ANSWER_HELP)]
    Approve {
        /// Who answers.
        #[command(flatten)]
        api: ApproverArgs,
        /// The call's id.
        call: String,
        /// Do not ask; somebody looked at the call before.
        #[arg(long)]
        yes: bool,
    },
    /// Show a call, ask, and sign a no: the agent cannot ask for exactly this call again under this instruction
    #[command(after_help = ANSWER_HELP)]
    Deny {
        /// Who answers.
        #[command(flatten)]
        api: ApproverArgs,
        /// The call's id.
        call: String,
        /// Do not ask; somebody looked at the call before.
        #[arg(long)]
        yes: bool,
    },
}

const ANSWER_HELP: &str = "\
What you sign names the ledger, the held call's entry and its digest, when it was shown to you and when you answered; all of it is recorded.
Somebody's key counts once an operator registered it (`countersign keys new approver`, POST /v1/keys).";

/// An approver, and where the sidecar's API is.
#[derive(Debug, Args)]
pub struct ApproverArgs {
    /// The sidecar's API, such as `https://sidecar.example:8181`.
    #[arg(long, value_name = "URL", env = "COUNTERSIGN_API", value_hint = ValueHint::Url)]
    pub api: String,
    /// A file with the approver's bearer secret; else it is read from the environment variable COUNTERSIGN_SECRET.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub secret_file: Option<PathBuf>,
    /// The approver's key (PKCS#8 PEM), as `keys new approver` makes it.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub key: PathBuf,
}

/// `incident`.
#[derive(Debug, Subcommand)]
pub enum IncidentCommand {
    /// Open one: the claim goes into the vault of those whom the calls concern, who cannot be erased until it is closed
    Open {
        /// Who asks.
        #[command(flatten)]
        api: OperatorArgs,
        /// A call in question: its entry's hash; may be given several times.
        #[arg(long, value_name = "HASH", required = true)]
        call: Vec<String>,
        /// Who claims it.
        #[arg(long)]
        claimant: String,
        /// What the harm is.
        #[arg(long)]
        harm: String,
        /// How much, with its currency.
        #[arg(long)]
        amount: Option<String>,
    },
    /// Close one: what it kept from erasure is released
    Close {
        /// Who asks.
        #[command(flatten)]
        api: OperatorArgs,
        /// The incident's id.
        incident: String,
        /// Why, in words without personal data: it stays in the ledger.
        #[arg(long)]
        reason: String,
    },
    /// List those that are open
    List {
        /// Who asks.
        #[command(flatten)]
        api: OperatorArgs,
    },
}

/// `mine`.
#[derive(Debug, Args)]
pub struct MineArgs {
    /// The sidecar's API, such as `https://sidecar.example:8181`.
    #[arg(long, value_name = "URL", env = "COUNTERSIGN_API", value_hint = ValueHint::Url)]
    pub api: String,
    /// The ledger's name.
    #[arg(long)]
    pub origin: String,
    /// Your key (PKCS#8 PEM), as `keys new user` makes it.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub key: PathBuf,
    /// Your instruction's id.
    pub instruction: String,
    /// The file to write; must not exist.
    #[arg(long, short, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub out: PathBuf,
}

/// `erase`.
#[derive(Debug, Args)]
pub struct EraseArgs {
    /// The configuration.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// The data subject: its id in the ledger, or the principal's name.
    #[arg(long)]
    pub subject: String,
    /// Why, in words without personal data: it stays in the ledger.
    #[arg(long)]
    pub reason: String,
    /// Only sign a statement with this key and print it.
    #[arg(long, value_name = "PEM", conflicts_with = "statement", value_hint = ValueHint::FilePath)]
    pub sign_with: Option<PathBuf>,
    /// A signer's statement; give two.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, required_unless_present = "sign_with")]
    pub statement: Vec<PathBuf>,
}

/// `hold`.
#[derive(Debug, Args)]
pub struct HoldArgs {
    /// The configuration.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Whether to place or release the hold.
    pub event: HoldEvent,
    /// The data subject: its id in the ledger, or the principal's name.
    #[arg(long)]
    pub subject: String,
    /// The hold to release.
    #[arg(long, required_if_eq("event", "release"))]
    pub hold: Option<String>,
    /// Who places or releases it.
    #[arg(long)]
    pub by: String,
    /// Why, in words without personal data: it stays in the ledger.
    #[arg(long)]
    pub reason: String,
}

/// What to do with a hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum HoldEvent {
    /// Forbid erasure.
    Place,
    /// Allow it again.
    Release,
}

/// `adopt`.
#[derive(Debug, Args)]
pub struct AdoptArgs {
    /// The configuration; its ledger directory must not hold a ledger.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// The newest checkpoint or proof of the lost ledger that somebody outside holds.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub checkpoint: PathBuf,
    /// What happened, in words that stay in the ledger.
    #[arg(long)]
    pub reason: String,
}

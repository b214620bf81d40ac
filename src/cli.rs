//! The command line as typed. What a command does is in `commands/`.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};

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
    /// The sample bank of `demo`.
    #[command(hide = true)]
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

const LEARN_HELP: &str = "\
Refused calls are recorded too, and so is what passed in shadow mode: agents ask, nothing reaches further than the catalogue allows, and `learn` shows
what they asked for. Names and types are taken over, never a value, except for parts of a path that did not vary.";

/// `learn`.
#[derive(Debug, Args)]
pub struct LearnArgs {
    /// A ledger's directory or a bundle.
    #[arg(value_hint = ValueHint::AnyPath)]
    pub path: PathBuf,
    /// The upstream's name.
    #[arg(long, value_name = "NAME")]
    pub upstream: String,
    /// The directory of the vault's keys; a bundle carries its own values.
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub keys: Option<PathBuf>,
    /// From all recorded calls, also those that the catalogue knew.
    #[arg(long)]
    pub all: bool,
    /// Actions of which you know that they only read, by name; `*` stands for anything.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub reads: Vec<String>,
    /// The file to write, which must not be there yet; standard output when left out.
    #[arg(long, short, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub output: Option<PathBuf>,
}

/// `ceiling`.
#[derive(Debug, Args)]
pub struct CeilingArgs {
    /// The catalogue.
    #[arg(value_hint = ValueHint::FilePath)]
    pub catalogue: PathBuf,
    /// The provider's secret key, PKCS#8 PEM.
    #[arg(long, value_name = "PEM", value_hint = ValueHint::FilePath)]
    pub sign_with: PathBuf,
}

/// `import`.
#[derive(Debug, Subcommand)]
pub enum ImportCommand {
    /// From an OpenAPI 3.0 or 3.1 document, JSON or YAML
    #[command(after_help = IMPORT_HELP)]
    Openapi(ImportArgs),
    /// From what an MCP server lists, asked over Streamable HTTP, or from a file with its `tools/list`
    #[command(after_help = IMPORT_HELP)]
    Mcp {
        /// Source and target.
        #[command(flatten)]
        args: ImportArgs,
        /// A file with the bearer token that the server wants.
        #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
        token_file: Option<PathBuf>,
    },
}

const IMPORT_HELP: &str = "\
What is written can be used as it stands (`countersign check --catalogue FILE`), but is a proposal: remove the actions that agents do not need, and
look at every `LOOK:`. Nothing that the document says widens anything: its hints stand in comments.

With --against nothing is written; exit code 1 when something changed that the marked catalogue has (`-`, `!`, `~`), not when there is more (`+`).";

/// What to import.
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// A file, or a URL with `http://` or `https://`.
    #[arg(value_name = "FILE|URL", value_hint = ValueHint::AnyPath)]
    pub source: String,
    /// The upstream's name, as the configuration has it.
    #[arg(long, value_name = "NAME")]
    pub upstream: String,
    /// The file to write, which must not be there yet; standard output when left out.
    #[arg(long, short, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub output: Option<PathBuf>,
    /// Actions of which you know that they only read, by name; `*` stands for anything (`--reads 'get_*,list_*'`).
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub reads: Vec<String>,
    /// A marked catalogue: say what changed since.
    #[arg(long, value_name = "CATALOGUE", conflicts_with = "output", value_hint = ValueHint::FilePath)]
    pub against: Option<PathBuf>,
}

/// `keys`.
#[derive(Debug, Subcommand)]
pub enum KeysCommand {
    /// Make a key pair for somebody who signs, or a secret for somebody who calls the API
    #[command(
        after_help = "`agent`, `approver` and `user` get an Ed25519 key pair; --out names the file of its secret half.\n\
        `host`, `operator`, `investigator` and `approver --secret` get a bearer secret, shown once; the configuration holds only its SHA-256."
    )]
    New {
        /// Who it is for.
        role: KeyRole,
        /// The party's id, as entries name it.
        #[arg(long)]
        party: String,
        /// Where to write the secret half of a key pair (PKCS#8 PEM, mode 0600).
        #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
        out: Option<PathBuf>,
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
    /// List the ledger's own key and the keys that its entries register
    List {
        /// A ledger's directory.
        #[arg(value_hint = ValueHint::DirPath)]
        ledger: PathBuf,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

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
    /// An instruction that is not registered: a JSON file with `words`, `agent`, `scope` and perhaps `attached`.
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

/// `verify`.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// A ledger's directory or a bundle.
    #[arg(value_hint = ValueHint::AnyPath)]
    pub path: PathBuf,
    /// Verifier keys that you had from elsewhere, a line each.
    #[arg(long, value_name = "KEYS", value_hint = ValueHint::FilePath)]
    pub trust: Option<PathBuf>,
    /// A checkpoint or proof that somebody outside kept; may be given several times.
    #[arg(long, value_name = "CHECKPOINT|PROOF", value_hint = ValueHint::FilePath)]
    pub against: Vec<PathBuf>,
    /// The directory of the vault's keys, to check commitments against the values too.
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub keys: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

const REPLAY_HELP: &str = "\
Each verdict is `same`, `differs`, with what differs, or `not replayable`, with the reason: its content was erased or is not disclosed here, an entry or a policy is missing, another version
judged it, or the request was refused unread. With --policy or --catalogue each call is judged by these instead: what differs is what they would have changed.
Exit status: 0 nothing differs, 1 something does, 2 it could not be replayed at all. docs/replay.md says what is read from where.";

/// `replay`.
#[derive(Debug, Args)]
pub struct ReplayArgs {
    /// A ledger's directory or a bundle.
    #[arg(value_hint = ValueHint::AnyPath)]
    pub path: PathBuf,
    /// The directory of the vault's keys; a bundle carries what was disclosed.
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub keys: Option<PathBuf>,
    /// Only this call: its id, or its entry's number.
    #[arg(long, value_name = "ID", conflicts_with = "instruction")]
    pub call: Option<String>,
    /// Only this instruction: its id.
    #[arg(long, value_name = "ID")]
    pub instruction: Option<String>,
    /// Judge by this policy file instead of those that were in force; may be given several times.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub policy: Vec<PathBuf>,
    /// Judge by this catalogue instead of that of its upstream; may be given several times.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub catalogue: Vec<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

const RECONCILE_HELP: &str = "\
Fields for --map: time, method, path, query, status, bytes, body, body_sha256, arguments, operation, entry, signature, execution, traceparent, credential. A pointer is one into
the JSON of a line (RFC 6901); in the formats of web servers /0 is the first field behind the format's own. docs/reconcile.md says what each format can decide.
The log must be of all calls under the sidecar's credential: with others in it, say which it is with --credential.
Exit code: 0 nothing found, 1 something found, 2 not compared.";

/// `reconcile`.
#[derive(Debug, Args)]
pub struct ReconcileArgs {
    /// A ledger's directory.
    #[arg(value_hint = ValueHint::DirPath)]
    pub ledger: PathBuf,
    /// The upstream whose log it is.
    #[arg(long, value_name = "NAME")]
    pub upstream: String,
    /// The log, in order of time.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub log: PathBuf,
    /// Its format.
    #[arg(long)]
    pub format: LogFormat,
    /// Where a field stands, if not where the format has it; may be given several times.
    #[arg(long, value_name = "FIELD=POINTER")]
    pub map: Vec<String>,
    /// The path in front of the API's own paths, as the upstream's URL has it.
    #[arg(long, value_name = "PATH", default_value = "")]
    pub base_path: String,
    /// Only lines under this credential; lines under others are others' business.
    #[arg(long, value_name = "NAME")]
    pub credential: Option<String>,
    /// How far the two clocks may be apart; by how much they are is found out.
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    pub clock_skew: u32,
    /// The log is whole from then on, by the gateway's clock; else it begins with its first line.
    #[arg(long, value_name = "TIME")]
    pub from: Option<jiff::Timestamp>,
    /// The log and the ledger are whole until then; else they end with their last lines.
    #[arg(long, value_name = "TIME")]
    pub to: Option<jiff::Timestamp>,
    /// The directory of the vault's keys; without it only what a line names can be compared.
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub keys: Option<PathBuf>,
    /// Record the result through the running sidecar's API at this address, as an operator.
    #[arg(long, value_name = "URL", value_hint = ValueHint::Url)]
    pub submit: Option<String>,
    /// A file with the operator's bearer secret; else it is read from the environment variable COUNTERSIGN_SECRET.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, requires = "submit")]
    pub secret_file: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// A log's format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Common Log Format.
    Common,
    /// Combined Log Format.
    Combined,
    /// A JSON object a line.
    Jsonl,
    /// AWS CloudTrail.
    Cloudtrail,
    /// OpenTelemetry spans in OTLP's JSON.
    Otlp,
}

/// What part of a ledger.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct Selection {
    /// A call: its id, or its entry's hash.
    #[arg(long, value_name = "ID")]
    pub call: Option<String>,
    /// An instruction: its id.
    #[arg(long, value_name = "ID")]
    pub instruction: Option<String>,
    /// A time window: `2026-01-31T12:00:00Z/2026-01-31T13:00:00Z`.
    #[arg(long, value_name = "FROM/TO")]
    pub window: Option<String>,
}

/// `trace`.
#[derive(Debug, Args)]
pub struct TraceArgs {
    /// Ledgers' directories or bundles; several are traced together.
    #[arg(value_name = "LEDGER|BUNDLE", required = true, value_hint = ValueHint::AnyPath)]
    pub paths: Vec<PathBuf>,
    /// Of what.
    #[command(flatten)]
    pub wanted: Wanted,
    /// The directory of the vault's keys, to show values; once for each ledger, in their order. A bundle carries its own values.
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub keys: Vec<PathBuf>,
    /// Keys that you had from elsewhere, a line each: a party's public key as JWK, or its thumbprint. What is signed with them counts as proven.
    #[arg(long, value_name = "KEYS", value_hint = ValueHint::FilePath)]
    pub trust: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// What is followed or reported on.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct Wanted {
    /// A call: its id, or its entry's hash.
    #[arg(long, value_name = "ID")]
    pub call: Option<String>,
    /// An instruction: its id.
    #[arg(long, value_name = "ID")]
    pub instruction: Option<String>,
    /// A time window: `2026-01-31T12:00:00Z/2026-01-31T13:00:00Z`.
    #[arg(long, value_name = "FROM/TO")]
    pub window: Option<String>,
    /// An incident, by its id: the instructions of the calls that it names.
    #[arg(long, value_name = "ID")]
    pub incident: Option<String>,
}

/// `report`.
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// Ledgers' directories or bundles; several are reported on together.
    #[arg(value_name = "LEDGER|BUNDLE", required = true, value_hint = ValueHint::AnyPath)]
    pub paths: Vec<PathBuf>,
    /// Of what.
    #[command(flatten)]
    pub wanted: Wanted,
    /// The language.
    #[arg(long, value_enum, default_value_t = Language::En)]
    pub lang: Language,
    /// The file to write; must not exist.
    #[arg(long, short, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub out: PathBuf,
    /// The directory of the vault's keys, to show values; once for each ledger, in their order. A bundle carries its own values.
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub keys: Vec<PathBuf>,
    /// Keys that you had from elsewhere, a line each: verifier keys of ledgers, and parties' public keys as JWK or their thumbprints.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub trust: Option<PathBuf>,
    /// A checkpoint or proof that somebody outside the operator kept.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub against: Vec<PathBuf>,
}

/// A report's language.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Language {
    /// English
    En,
    /// Simplified Chinese
    #[value(name = "zh-CN")]
    ZhCn,
}

/// `show`.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// A ledger's directory or a bundle.
    #[arg(value_hint = ValueHint::AnyPath)]
    pub path: PathBuf,
    /// The entry: its hash or its number.
    pub entry: String,
    /// The directory of the vault's keys, to show values; a bundle carries its own.
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub keys: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// `export`.
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// A ledger's directory.
    #[arg(value_hint = ValueHint::DirPath)]
    pub ledger: PathBuf,
    /// Which part.
    #[command(flatten)]
    pub selection: Selection,
    /// The format: a bundle, which alone is proof, or what other tools read (docs/exports.md).
    #[arg(long, default_value = "bundle")]
    pub format: ExportFormat,
    /// The file to write; must not exist.
    #[arg(long, short, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub out: PathBuf,
    /// The directory of the vault's keys, to disclose values.
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub keys: Option<PathBuf>,
    /// Which values to disclose, by name (`words`, `arguments`, …) or `all`; the others stay withheld.
    #[arg(long, value_name = "NAMES", value_delimiter = ',', requires = "keys")]
    pub disclose: Vec<String>,
}

/// What is exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ExportFormat {
    /// The bundle: entries, proofs, keys.
    Bundle,
    /// OCSF API Activity, a JSON object a line.
    Ocsf,
    /// OpenTelemetry spans, an OTLP request in JSON a line.
    Otlp,
    /// A table of calls.
    Csv,
    /// W3C PROV-JSON of the causal graph.
    Prov,
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

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}

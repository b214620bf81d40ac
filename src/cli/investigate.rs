//! What investigators do with a ledger or a bundle.

use std::path::PathBuf;

use clap::{Args, ValueEnum, ValueHint};

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

pub(super) const REPLAY_HELP: &str = "\
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

pub(super) const RECONCILE_HELP: &str = "\
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
#[group(required = true, multiple = false, args = ["call", "instruction", "window"])]
pub struct Selection {
    /// The part.
    #[command(flatten)]
    pub part: Part,
}

/// A call, an instruction or a time window.
#[derive(Debug, Args)]
#[group(skip)]
pub struct Part {
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
#[group(required = true, multiple = false, args = ["call", "instruction", "window", "incident"])]
pub struct Wanted {
    /// A part of each ledger.
    #[command(flatten)]
    pub part: Part,
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

//! Catalogues: first drafts of them, and ceilings.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};

pub(super) const LEARN_HELP: &str = "\
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

//! Checks a whole ledger and reports everything that is wrong, first bad entry first.
//!
//! Integrity is relative: to keys had from elsewhere (`trust`) and to a checkpoint or proof that somebody else holds (`against`). Without
//! either the report says *self-consistent only*, because whoever holds the ledger's key could have written it anew.
//! `docs/verify.md` explains each code.

mod again;
mod authority;
mod bundle;
mod counted;
mod countersigned;
mod cut;
mod examined;
mod integrity;
mod meaning;
mod possessed;
mod stated;
mod unsettled;
mod untrusted;

use std::{
    collections::BTreeSet,
    fmt,
    num::NonZero,
    sync::mpsc::{self, Receiver},
    thread,
};

use serde::Serialize;

use self::{
    examined::{Examined, SharedKeys},
    integrity::Integrity,
    meaning::{Extent, Meaning},
};
use crate::{
    Hash,
    checkpoint::{Checkpoint, VerifierKey},
    count::counted,
    evidence::{Damage, Opener, Source},
    proof::Proof,
    signed_text::SignedText,
};
pub use again::is_borne_out;
pub use bundle::{verify_bundle, verify_bundle_file};

/// Something somebody outside kept.
#[derive(Debug, Clone)]
pub enum Held {
    /// A checkpoint.
    Checkpoint(Checkpoint),
    /// A proof of one entry.
    Proof(Proof),
}

impl Held {
    /// Reads either; or the checkpoint that an API's receipt countersigns, from the receipt as the API keeps it.
    ///
    /// # Errors
    /// In words, when it is none of them.
    pub fn parse(text: &str) -> Result<Held, String> {
        if text.trim_start().starts_with('{') {
            let text: SignedText = serde_json::from_str(text).map_err(|error| error.to_string())?;
            let signed = text.read().map_err(|error| error.to_string())?;
            let checkpoint = signed.checkpoint().ok_or("the receipt covers no `countersign-checkpoint`")?;
            return Ok(Held::Checkpoint(checkpoint));
        }
        if text.starts_with("c2sp.org/") {
            return text.parse().map(Held::Proof).map_err(|error: crate::proof::ProofError| error.to_string());
        }
        Checkpoint::parse(text).map(Held::Checkpoint).map_err(|error| error.to_string())
    }

    fn checkpoint(&self) -> &Checkpoint {
        match self {
            Held::Checkpoint(checkpoint) => checkpoint,
            Held::Proof(proof) => &proof.checkpoint,
        }
    }
}

/// Compares a grant with the one it was cut from.
pub type Narrower = dyn Fn(&serde_json::Value, &serde_json::Value) -> Option<String> + Sync;

/// What a ledger is checked against.
#[derive(Default)]
pub struct Options<'o> {
    /// Verifier keys had from elsewhere.
    pub trust: Vec<VerifierKey>,
    /// What somebody outside kept.
    pub against: Vec<Held>,
    /// Opens the vault, to check commitments against values.
    pub open: Option<&'o Opener<'o>>,
    /// Says what is wrong when a grant, as the vault holds it, is wider than the one it was cut from; without it names and times alone are compared.
    pub narrower: Option<&'o Narrower>,
    /// Called with how many pieces are done.
    pub progress: Option<&'o (dyn Fn(u64) + Sync)>,
}

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// A stable code.
    pub code: &'static str,
    /// The entry, where it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    /// What is wrong.
    pub what: String,
}

/// What was looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Entries.
    pub entries: u64,
    /// Checkpoints whose signature and root were checked.
    pub checkpoints: u64,
    /// Commitments compared with a disclosed value.
    pub commitments: u64,
    /// Commitments whose value was erased.
    pub erased: u64,
    /// Parties' signatures checked again.
    pub statements: u64,
    /// Calls that were forwarded.
    pub calls: u64,
    /// Forwarded calls that have not ended yet at the end of the ledger.
    pub open_calls: u64,
}

/// What a check found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The ledger's name.
    pub origin: String,
    /// Everything wrong, first bad entry first.
    pub findings: Vec<Finding>,
    /// What is not wrong but bears on what the answer is worth.
    pub notes: Vec<String>,
    /// What was looked at.
    pub counts: Counts,
    /// Whether something from outside the operator was given, and could be compared.
    pub outside: bool,
    /// Whether something that was held outside was compared: else there was at most a trusted key.
    #[serde(skip)]
    pub compared: bool,
}

impl Report {
    /// First bad entry first, but before all of them that the wrong key signed, which explains them; the same damage is often seen in several ways, each is
    /// told once.
    fn settle(&mut self) {
        self.findings.sort_by_key(|finding| (finding.code != untrusted::CODE, finding.seq.is_none(), finding.seq));
        let mut told = BTreeSet::new();
        self.findings.retain(|finding| told.insert((finding.seq, finding.code)));
    }

    /// 0 clean, 1 findings.
    pub fn exit_code(&self) -> u8 {
        u8::from(!self.findings.is_empty())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counts { entries, checkpoints, commitments, erased, statements, calls, open_calls } = &self.counts;
        for finding in &self.findings {
            match finding.seq {
                Some(seq) => writeln!(f, "entry {seq}: {} [{}]", finding.what, finding.code)?,
                None => writeln!(f, "{} [{}]", finding.what, finding.code)?,
            }
        }
        // A file that is no bundle has no name either: counts of nothing would look as if it had been looked at.
        if !self.origin.is_empty() {
            writeln!(
                f,
                "{}: {}, {}, {} ({open_calls} not ended)",
                self.origin,
                counted(*entries, "entry", "entries"),
                counted(*checkpoints, "checkpoint", "checkpoints"),
                counted(*calls, "forwarded call", "forwarded calls"),
            )?;
            writeln!(
                f,
                "{} and {} checked against their values, {erased} erased",
                counted(*commitments, "commitment", "commitments"),
                counted(*statements, "statement", "statements"),
            )?;
        }
        for note in &self.notes {
            writeln!(f, "note: {note}")?;
        }
        match (self.findings.len(), self.outside) {
            (0, true) if self.compared => write!(f, "clean, against what was held outside"),
            (0, true) => write!(f, "clean, with the trusted key"),
            (0, false) => write!(
                f,
                "self-consistent only: nothing from outside the operator was given (--trust, --against), so a ledger written anew would look the same"
            ),
            (count, _) => write!(f, "{}", counted(count, "finding", "findings")),
        }
    }
}

/// What a trusted key alone does not show.
const KEY_ONLY: &str = "nothing held outside was compared: whoever holds the trusted key could have written everything anew; --against shows that";

/// How many examined pieces may wait, for each thread: what bounds the memory.
const AHEAD: usize = 2;

/// Checks a whole ledger on all processors: each piece is read and examined by itself, and put in order afterwards.
pub fn verify(source: &dyn Source, options: &Options<'_>) -> Report {
    let policy = |hash: &Hash| source.policy(hash);
    let first = examined::first_keys(source);
    let keys = SharedKeys::new(&first);
    let (mut integrity, mut meaning) =
        (Integrity::new(options, first), Meaning::new(&policy, Extent::Ledger, options.narrower));
    let whole = in_order(source, &keys, options, |index, piece| {
        match piece {
            Ok(piece) => {
                if integrity.piece(&piece) {
                    keys.put(&integrity.keys);
                }
                meaning.piece(piece);
            }
            Err(damage) => integrity.lost(damage),
        }
        if let Some(progress) = options.progress {
            progress(index + 1);
        }
    });
    integrity.finish(options);
    let mut report = Report {
        origin: integrity.origin,
        findings: source.damage().into_iter().map(Finding::from).collect(),
        notes: Vec::new(),
        counts: Counts { entries: integrity.entries, checkpoints: integrity.checkpoints, ..Counts::default() },
        outside: !options.trust.is_empty() || !options.against.is_empty(),
        compared: !options.against.is_empty(),
    };
    if !options.trust.is_empty() && !report.compared {
        report.notes.push(KEY_ONLY.to_owned());
    }
    report.findings.extend(integrity.findings);
    meaning.finish(&mut report);
    if !whole {
        let what = "the check itself failed; please report it".to_owned();
        report.findings.push(finding("verifier-failed", None, what));
    }
    report.settle();
    report
}

/// Examines all pieces, as many at a time as there are processors, and hands them over first to last. False when an examination failed.
fn in_order(
    source: &dyn Source,
    keys: &SharedKeys,
    options: &Options<'_>,
    mut each: impl FnMut(u64, Result<Examined, Damage>),
) -> bool {
    let pieces = source.pieces();
    let lanes = thread::available_parallelism().map_or(1, NonZero::get);
    thread::scope(|scope| {
        let (threads, lanes): (Vec<_>, Vec<Receiver<_>>) = (0u64..)
            .take(lanes)
            .map(|lane| {
                let (sender, receiver) = mpsc::sync_channel(AHEAD);
                let examine = move || {
                    for index in (lane..pieces).step_by(lanes) {
                        let examined = source.piece(index).map(|piece| Examined::new(piece, keys, options.open));
                        if sender.send(examined).is_err() {
                            break;
                        }
                    }
                };
                (scope.spawn(examine), receiver)
            })
            .unzip();
        let whole = (0..pieces).zip(lanes.iter().cycle()).all(|(index, lane)| match lane.recv() {
            Ok(piece) => {
                each(index, piece);
                true
            }
            Err(_) => false,
        });
        drop(lanes);
        threads.into_iter().fold(whole, |whole, thread| thread.join().is_ok() && whole)
    })
}

fn finding(code: &'static str, seq: Option<u64>, what: String) -> Finding {
    Finding { code, seq, what }
}

impl From<Damage> for Finding {
    fn from(damage: Damage) -> Finding {
        finding(damage.code, damage.seq, damage.what)
    }
}

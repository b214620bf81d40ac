//! `countersign reconcile`: an API's own log against the ledger.

use std::{
    cell::RefCell,
    collections::VecDeque,
    fs::File,
    io::{BufReader, Read},
    rc::Rc,
};

use anyhow::{Context as _, anyhow, bail};
use countersign_ledger::{
    Entry, Hash,
    batch::Batch,
    count::counted,
    directory::Directory,
    evidence::{Opener, Source as _},
    record::Time,
    vault::Vault,
};
use countersign_trace::reconcile::{
    Bad, Comparison, Field, Format, Found, Gather, Line, Outcome, Reader, Sent, Settings, Summary, TooMany,
};
use jiff::Timestamp;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{
    ask,
    look::{damaged, opener},
    say,
};
use crate::cli::{LogFormat, OperatorArgs, ReconcileArgs};

/// How many bad lines are named.
const NAMED: usize = 20;

/// More are not recorded: they say that the log, its map or the time is not the right one.
const MAX_RECORDED: usize = 10_000;

/// How many are recorded at once.
const AT_ONCE: usize = 200;

/// What came out.
struct Report {
    found: Vec<Found>,
    summary: Summary,
    log_sha256: Hash,
    bad: Vec<Bad>,
    bad_lines: u64,
    cut: bool,
}

pub fn run(args: &ReconcileArgs) -> anyhow::Result<u8> {
    let report = compare(args)?;
    let recorded = match &args.submit {
        Some(url) => Some(crate::runtime()?.block_on(record(args, url, &report))?),
        None => None,
    };
    if args.json {
        say(serde_json::to_string_pretty(&as_json(args, &report, recorded.as_deref())?)?)?;
    } else {
        for found in &report.found {
            say(in_words(found))?;
        }
        for bad in &report.bad {
            say(format_args!("line {}: {}", bad.line, bad.what))?;
        }
        let (from, to) = covered(&report.summary)?;
        let counts: Vec<String> = report.summary.counts.iter().map(|(name, count)| format!("{count} {name}")).collect();
        say(format_args!(
            "{} from {from} to {to}: {}; {} could not be read",
            args.upstream,
            counts.join(", "),
            counted(report.bad_lines, "line", "lines")
        ))?;
        if !report.summary.counts.contains_key("calls") {
            say(format_args!(
                "The ledger has no call to an upstream `{}`: look whether the name is right.",
                args.upstream
            ))?;
        }
        let count = |name| report.summary.counts.get(name).copied().unwrap_or_default();
        if count("calls") > 0 && count("calls") == count("outside") {
            say(
                "Nothing was compared: no call is of the time that the log covers. `--from` and `--to` say for what time it is whole.",
            )?;
        }
        if report.cut {
            say("The log breaks off in the middle of a document.")?;
        }
    }
    // What settles a call of unknown outcome is no fault.
    let settles = |found: &Found| matches!(found.result, Outcome::Executed | Outcome::NotExecuted);
    Ok(u8::from(!report.found.iter().all(settles)))
}

const fn format(format: LogFormat) -> Format {
    match format {
        LogFormat::Common => Format::Common,
        LogFormat::Combined => Format::Combined,
        LogFormat::Jsonl => Format::Jsonl,
        LogFormat::Cloudtrail => Format::CloudTrail,
        LogFormat::Otlp => Format::Otlp,
    }
}

fn map(args: &ReconcileArgs) -> anyhow::Result<Vec<(Field, String)>> {
    let pair = |text: &String| {
        let (field, at) = text.split_once('=').filter(|(_, at)| at.starts_with('/'))?;
        Some(field.parse().map(|field| (field, at.to_owned())))
    };
    let pairs = args.map.iter().map(|text| {
        pair(text)
            .with_context(|| format!("--map `{text}` is not a field and a pointer, such as `path=/request/uri`"))?
            .map_err(|what: String| anyhow!(what))
    });
    pairs.collect()
}

fn compare(args: &ReconcileArgs) -> anyhow::Result<Report> {
    let directory = Directory::read(&args.ledger, None)?;
    let vault = args.keys.as_deref().map(Vault::open).transpose()?;
    let open = vault.as_ref().map(opener);
    let micros = |time: Option<Timestamp>| time.map(|time| time.as_microsecond());
    let failed = Rc::new(RefCell::new(None));
    let calls = Calls::new(&args.upstream, &directory, open.as_deref(), failed.clone());
    let (ledger_from, ledger_to) = calls.extent()?;
    let skew = i64::from(args.clock_skew) * 1_000_000;
    let (from, to) = (micros(args.from), micros(args.to));
    let settings = Settings { skew, from, to, ledger_from, ledger_to, credential: args.credential.clone() };
    let mut comparison = Comparison::new(settings, calls);
    let reader = Reader::new(format(args.format), &map(args)?, &args.base_path);
    let file = File::open(&args.log).with_context(|| format!("`{}` cannot be read", args.log.display()))?;
    let mut hashed = Hashed { file, sha256: Sha256::new() };
    let (mut bad, mut bad_lines, mut lines) = (Vec::new(), 0, 0_u64);
    let mut wrong: Option<TooMany> = None;
    let mut each = |line: Result<Line, Bad>| {
        match line {
            Ok(line) => {
                lines += 1;
                wrong = comparison.line(line).err();
            }
            Err(other) => {
                bad_lines += 1;
                if bad.len() < NAMED {
                    bad.push(other);
                }
            }
        }
        wrong.is_none()
    };
    let end = reader.read(BufReader::with_capacity(1 << 16, &mut hashed), &mut each)?;
    let failed_with = |error: TooMany| failed.borrow_mut().take().unwrap_or_else(|| error.into());
    if let Some(error) = wrong {
        return Err(failed_with(error));
    }
    if lines == 0 && bad_lines > 0 {
        let first = bad.first().map(|bad: &Bad| format!("line {}: {}", bad.line, bad.what)).unwrap_or_default();
        bail!("no line of the log can be read as {}: {first}", reader_name(args.format));
    }
    if lines == 0 && (args.from.is_none() || args.to.is_none()) {
        bail!(
            "`{}` has no line: where the API logged nothing, --from and --to say for which time that is so",
            args.log.display()
        );
    }
    let (found, summary) = comparison.finish().map_err(&failed_with)?;
    if let Some(error) = failed.borrow_mut().take() {
        return Err(error);
    }
    let log_sha256 = <[u8; 32]>::from(hashed.sha256.finalize()).into();
    Ok(Report { found, summary, log_sha256, bad, bad_lines, cut: end.cut })
}

const fn reader_name(given: LogFormat) -> &'static str {
    format(given).as_str()
}

/// Reads a file and hashes what it reads.
struct Hashed {
    file: File,
    sha256: Sha256,
}

impl Read for Hashed {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let read = self.file.read(into)?;
        self.sha256.update(into.get(..read).unwrap_or_default());
        Ok(read)
    }
}

/// The ledger's calls, read tile by tile.
struct Calls<'a> {
    directory: &'a Directory,
    open: Option<&'a Opener<'a>>,
    next: u64,
    gather: Option<Gather>,
    ready: VecDeque<Sent>,
    failed: Rc<RefCell<Option<anyhow::Error>>>,
}

impl<'a> Calls<'a> {
    fn new(
        upstream: &str,
        directory: &'a Directory,
        open: Option<&'a Opener<'a>>,
        failed: Rc<RefCell<Option<anyhow::Error>>>,
    ) -> Calls<'a> {
        Calls { directory, open, next: 0, gather: Some(Gather::new(upstream)), ready: VecDeque::new(), failed }
    }

    /// The times of the first and of the last entry.
    fn extent(&self) -> anyhow::Result<(i64, i64)> {
        let time = |batch: Batch, last: bool| {
            let stored = if last { batch.entries.last() } else { batch.entries.first() };
            let entry = stored.and_then(|stored| Entry::parse(stored.bytes()).ok());
            entry.map(|entry| entry.time.instant().as_microsecond()).context("the ledger has no entry that can be read")
        };
        let last = self.directory.pieces().saturating_sub(1);
        Ok((
            time(self.directory.piece(0).map_err(damaged)?, false)?,
            time(self.directory.piece(last).map_err(damaged)?, true)?,
        ))
    }

    fn piece(&mut self, index: u64) -> anyhow::Result<()> {
        let Some(gather) = &mut self.gather else { return Ok(()) };
        for stored in self.directory.piece(index).map_err(damaged)?.entries {
            let entry = Entry::parse(stored.bytes())?;
            let attachments = stored.beside.attachments();
            let value = |name: &str| -> Option<Value> {
                let attachment = attachments.iter().find(|attachment| attachment.name == name)?;
                // What cannot be opened is as if it were withheld; `verify` names it.
                Some(self.open?(attachment).ok()??.value().clone())
            };
            self.ready.extend(gather.entry(*stored.hash(), &entry, &value));
        }
        Ok(())
    }
}

impl Iterator for Calls<'_> {
    type Item = Sent;

    fn next(&mut self) -> Option<Sent> {
        while self.ready.is_empty() {
            if self.next >= self.directory.pieces() {
                self.ready.extend(self.gather.take()?.rest());
                continue;
            }
            if let Err(error) = self.piece(self.next) {
                self.failed.borrow_mut().get_or_insert(error);
                self.gather = None;
                return None;
            }
            self.next += 1;
        }
        self.ready.pop_front()
    }
}

fn covered(summary: &Summary) -> anyhow::Result<(Time, Time)> {
    let time = |micros: i64| anyhow::Ok(Time::new(Timestamp::from_microsecond(micros)?));
    Ok((time(summary.from)?, time(summary.to)?))
}

fn as_json(args: &ReconcileArgs, report: &Report, recorded: Option<&str>) -> anyhow::Result<Value> {
    let (from, to) = covered(&report.summary)?;
    Ok(json!({
        "upstream": args.upstream, "format": reader_name(args.format), "log_sha256": report.log_sha256, "from": from, "to": to,
        "clock_us": report.summary.clock_us, "counts": counts(report), "bad": report.bad, "cut": report.cut,
        "found": report.found, "run": recorded,
    }))
}

/// The counts, with the lines that could not be read.
fn counts(report: &Report) -> Value {
    let mut counts = json!(report.summary.counts);
    if let Some(counts) = counts.as_object_mut().filter(|_| report.bad_lines > 0) {
        counts.insert("bad".to_owned(), report.bad_lines.into());
    }
    counts
}

fn in_words(found: &Found) -> String {
    let lines: Vec<String> = found.lines.iter().map(u64::to_string).collect();
    let lines = if lines.is_empty() { "no line".to_owned() } else { format!("line {}", lines.join(", ")) };
    let of = found.seq.map_or_else(|| "no call".to_owned(), |seq| format!("call of entry {seq}"));
    let differs: Vec<String> = found
        .differs
        .iter()
        .map(|one| format!("{}: {} in the ledger, {} in the log", one.what, one.ledger, one.log))
        .collect();
    let more = found.line.as_ref().filter(|_| found.seq.is_none()).map(|line| format!(": {line}")).unwrap_or_default();
    format!("{}: {of}, {lines} ({}) {}{more}", found.result.as_str(), found.why, differs.join("; "))
        .trim_end()
        .to_owned()
}

/// Writes the result into the ledger, through the sidecar that has it open.
async fn record(args: &ReconcileArgs, url: &str, report: &Report) -> anyhow::Result<String> {
    if report.found.len() > MAX_RECORDED {
        bail!("{} findings are more than are recorded: look at them without --submit first", report.found.len());
    }
    let operator = OperatorArgs { api: url.to_owned(), secret_file: args.secret_file.clone() };
    let run = uuid::Uuid::now_v7().to_string();
    for found in report.found.chunks(AT_ONCE) {
        let found: Vec<Value> = found
            .iter()
            .map(|found| {
                let details =
                    json!({ "why": found.why, "lines": found.lines, "differs": found.differs, "line": found.line });
                let mut one = json!({ "result": found.result, "details": details });
                if let (Some(call), Some(one)) = (&found.call, one.as_object_mut()) {
                    one.insert("call".to_owned(), json!(call));
                }
                one
            })
            .collect();
        let body = json!({ "run": run, "upstream": args.upstream, "found": found });
        ask(&operator, "POST", "/v1/reconciliations", Some(&body)).await?;
    }
    let (from, to) = covered(&report.summary)?;
    let summary = json!({
        "format": reader_name(args.format), "log_sha256": report.log_sha256, "from": from, "to": to, "counts": counts(report),
    });
    let body = json!({ "run": run, "upstream": args.upstream, "found": [], "summary": summary });
    ask(&operator, "POST", "/v1/reconciliations", Some(&body)).await?;
    Ok(run)
}

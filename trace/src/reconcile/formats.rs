//! The formats of logs: what a line of each says. `docs/reconcile.md` has what each can decide.

mod common;
mod documents;
mod fields;

use std::io::{BufRead, Read as _};

use serde_json::Value;

pub use fields::Field;
use fields::Fields;

use super::Line;

/// The longest line that is read.
const MAX_LINE_BYTES: u64 = 16 << 20;

/// A format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// The Common Log Format of web servers.
    Common,
    /// The Combined Log Format: the same with referer and user agent.
    Combined,
    /// A JSON object a line.
    Jsonl,
    /// Records of AWS CloudTrail: files as it delivers them, or a record a line.
    CloudTrail,
    /// OpenTelemetry spans in OTLP's JSON.
    Otlp,
}

impl Format {
    /// The name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Format::Common => "common",
            Format::Combined => "combined",
            Format::Jsonl => "jsonl",
            Format::CloudTrail => "cloudtrail",
            Format::Otlp => "otlp",
        }
    }

    /// Where lines are in documents of this format.
    const fn path(self) -> &'static [&'static str] {
        match self {
            Format::CloudTrail => &["Records"],
            Format::Otlp => &["resourceSpans", "scopeSpans", "spans"],
            _ => &[],
        }
    }
}

/// A line that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Bad {
    /// Its number.
    pub line: u64,
    /// Why.
    pub what: String,
}

/// Reads a log.
#[derive(Debug)]
pub struct Reader {
    format: Format,
    fields: Fields,
    base: String,
}

/// How reading ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct End {
    /// Whether the rest could not be read because a document broke off.
    pub cut: bool,
}

impl Reader {
    /// A reader. `map` says where a field stands otherwise than the format has it: a JSON pointer; `base` is the path that stands before the ledger's targets.
    pub fn new(format: Format, map: &[(Field, String)], base: &str) -> Reader {
        Reader { format, fields: Fields::of(format, map), base: base.trim_end_matches('/').to_owned() }
    }

    /// What a line of text says: in documents, several lines.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub fn line(&self, number: u64, text: &str) -> Result<Vec<Line>, String> {
        if matches!(self.format, Format::Common | Format::Combined) {
            let (mut line, more) = common::parse(text, self.format == Format::Combined, &self.base)?;
            self.fields.fill(&mut line, &Value::from(more), &self.base)?;
            return Ok(vec![Line { number, ..line }]);
        }
        let value: Value = serde_json::from_str(text).map_err(|error| format!("not JSON: {error}"))?;
        let mut leaves = Vec::new();
        documents::leaves(value, self.format.path(), &mut leaves);
        if leaves.is_empty() && !text.contains('[') {
            return Err("there is no record in it".to_owned());
        }
        leaves.iter().filter_map(|leaf| self.value(number, leaf).transpose()).collect()
    }

    /// What a JSON value says; none where it is not about a request that the API answered.
    fn value(&self, number: u64, value: &Value) -> Result<Option<Line>, String> {
        let mut line = Line { number, ..Line::default() };
        let span;
        let value = if self.format == Format::Otlp {
            let Some(flat) = documents::span(value)? else { return Ok(None) };
            span = flat;
            &span
        } else {
            value
        };
        if self.format == Format::CloudTrail {
            line.failed = Some(value.get("errorCode").is_some_and(|code| !code.is_null()));
        }
        self.fields.fill(&mut line, value, &self.base)?;
        if line.at == 0 {
            return Err("it has no time that can be read".to_owned());
        }
        if line.path.is_none() && line.operation.is_none() {
            return Err("it names neither a path nor an operation".to_owned());
        }
        Ok(Some(line))
    }

    /// Reads a whole log, line by line or, where one document spans it, record by record.
    ///
    /// # Errors
    /// When it cannot be read at all.
    pub fn read<R: BufRead>(
        &self,
        mut from: R,
        each: &mut dyn FnMut(Result<Line, Bad>) -> bool,
    ) -> std::io::Result<End> {
        let is_document =
            !self.format.path().is_empty() && documents::spans_lines(from.fill_buf()?, self.format.path());
        if is_document {
            return Ok(self.documents(from, each));
        }
        let mut bytes = Vec::new();
        for number in 1.. {
            bytes.clear();
            if from.by_ref().take(MAX_LINE_BYTES).read_until(b'\n', &mut bytes)? == 0 {
                break;
            }
            let bad = |what: String| Bad { line: number, what };
            let text = std::str::from_utf8(&bytes).map(str::trim_end);
            let read = match text {
                Ok("") => continue,
                Ok(text) => self.line(number, text).map_err(bad),
                Err(_) => Err(bad("not UTF-8".to_owned())),
            };
            let more = match read {
                Ok(lines) => lines.into_iter().all(|line| each(Ok(line))),
                Err(bad) => each(Err(bad)),
            };
            if !more {
                break;
            }
        }
        Ok(End { cut: false })
    }

    fn documents<R: BufRead>(&self, from: R, each: &mut dyn FnMut(Result<Line, Bad>) -> bool) -> End {
        let mut number = 0;
        let mut leaf = |value: Value| {
            number += 1;
            match self.value(number, &value) {
                Ok(Some(line)) => each(Ok(line)),
                Ok(None) => true,
                Err(what) => each(Err(Bad { line: number, what })),
            }
        };
        let Err(error) = documents::stream(from, self.format.path(), &mut leaf) else { return End { cut: false } };
        each(Err(Bad { line: number + 1, what: format!("the document breaks off: {error}") }));
        End { cut: true }
    }
}

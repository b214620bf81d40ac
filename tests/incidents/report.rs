//! The table: kind by evidence.

use std::collections::{BTreeMap, BTreeSet};

use crate::judge::Verdict;

/// Kinds that `trace` does not get right yet, one a line; the test fails when another one is not right, and when one of these is.
const OPEN: &str = include_str!("open.txt");

/// A run, judged.
pub struct Line {
    pub id: String,
    pub row: String,
    pub seed: u64,
    pub verdict: Verdict,
    pub findings: Vec<String>,
}

/// All runs.
#[derive(Default)]
pub struct Report {
    /// What could not be made: always a fault of these tests.
    pub not_made: Vec<String>,
    /// What waits for evidence that cannot be made yet.
    pub waiting: Vec<String>,
    /// How many runs were made and not judged, because this build's `trace` has no findings.
    pub not_judged: usize,
    lines: Vec<Line>,
}

impl Report {
    pub fn new(waiting: Vec<String>) -> Report {
        Report { waiting, ..Report::default() }
    }

    pub fn add(&mut self, line: Line) {
        self.lines.push(line);
    }

    /// Kinds of which a run is not right.
    fn not_right(&self) -> BTreeSet<&str> {
        self.lines.iter().filter(|line| line.verdict != Verdict::Right).map(|line| line.id.as_str()).collect()
    }

    fn open() -> BTreeSet<&'static str> {
        OPEN.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')).collect()
    }

    /// Whether everything is as it should be.
    pub fn good(&self) -> bool {
        self.not_made.is_empty() && self.news().is_empty() && self.closed().is_empty()
    }

    /// What is not right and not known to be open.
    fn news(&self) -> Vec<&str> {
        self.not_right().into_iter().filter(|id| !Report::open().contains(id)).collect()
    }

    /// What is said to be open and was run and is right.
    fn closed(&self) -> Vec<&'static str> {
        let run: BTreeSet<&str> = self.lines.iter().map(|line| line.id.as_str()).collect();
        let wrong = self.not_right();
        Report::open().into_iter().filter(|id| run.contains(id) && !wrong.contains(id)).collect()
    }

    pub fn print(&self, full: bool) {
        if full {
            self.table();
        }
        for line in self.lines.iter().filter(|line| line.verdict != Verdict::Right) {
            let Line { id, row, seed, verdict, findings } = line;
            println!("{id}, {row}, seed {seed}: {verdict:?}");
            for finding in findings {
                println!("    {finding}");
            }
        }
        for text in &self.not_made {
            println!("NOT MADE {text}");
        }
        for text in &self.waiting {
            println!("waits: {text}");
        }
        if self.not_judged > 0 {
            println!("made and not judged, for this build's `trace` has no findings: {} runs", self.not_judged);
        }
        for id in self.news() {
            println!("not right, and not in open.txt: {id}");
        }
        for id in self.closed() {
            println!("right, remove it from open.txt: {id}");
        }
        let failed: usize = self.news().len() + self.closed().len() + self.not_made.len();
        let right = self.lines.iter().filter(|line| line.verdict == Verdict::Right).count();
        let result = if self.good() { "ok" } else { "FAILED" };
        println!(
            "\n{} runs judged, {right} right\n\ntest result: {result}. {} passed; {failed} failed; 0 ignored; 0 measured; 0 filtered out",
            self.lines.len(),
            self.lines.len() + self.not_judged,
        );
    }

    fn table(&self) {
        let mut rows: Vec<(&str, &str)> = Vec::new();
        let mut counts: BTreeMap<(&str, &str), [usize; 3]> = BTreeMap::new();
        for line in &self.lines {
            let key = (line.id.as_str(), line.row.as_str());
            if !counts.contains_key(&key) {
                rows.push(key);
            }
            let column = match line.verdict {
                Verdict::Right => 0,
                Verdict::WronglyUndetermined(_) => 1,
                Verdict::Wrong(_) => 2,
            };
            counts.entry(key).or_default()[column] += 1;
        }
        println!("{:<42} {:<58} {:>5} {:>12} {:>5}", "kind", "evidence", "right", "undetermined", "wrong");
        let mut sums = [0; 3];
        for key in rows {
            let [right, undetermined, wrong] = counts[&key];
            println!("{:<42} {:<58} {right:>5} {undetermined:>12} {wrong:>5}", key.0, key.1);
            for (sum, count) in sums.iter_mut().zip(counts[&key]) {
                *sum += count;
            }
        }
        println!("{:<42} {:<58} {:>5} {:>12} {:>5}\n", "all", "", sums[0], sums[1], sums[2]);
    }
}

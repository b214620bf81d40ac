//! The chain as text for a terminal, at most 100 columns wide: the finding in one paragraph, the timeline, who had which link in their hands, then
//! the technical part.

use std::fmt;

use crate::{
    chain::{Chain, paragraph},
    findings::{Finding, Kind, Standing},
    link::State,
    message::Lang,
};

const WIDTH: usize = 98;

impl fmt::Display for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.instruction {
            Some(instruction) => writeln!(f, "Instruction {instruction} in {}\n", self.ledger)?,
            None => writeln!(f, "Beside the instructions of {}\n", self.ledger)?,
        }
        wrap(f, "", &paragraph(&self.summary, Lang::En))?;
        self.timeline(f)?;
        self.findings(f)?;
        self.technical(f)
    }
}

impl Chain {
    fn timeline(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.links.is_empty() {
            return Ok(());
        }
        writeln!(f, "\nTimeline\n")?;
        for (index, link) in self.links.iter().enumerate() {
            let mark = if self.first_break == Some(index) { ">" } else { " " };
            let time = link.time.as_deref().and_then(|time| time.get(11..19)).unwrap_or("   --   ");
            let head = format!("{mark} {time}  {:<9} {:<12} ", link.step.text().en, link.state.text().en);
            let entry = link.entries.first().map(|seq| format!(" [entry {seq}]")).unwrap_or_default();
            let role = link.role.show(Lang::En);
            wrap(f, &head, &format!("{} ({role}): {}{entry}", link.party, link.what.show(Lang::En)))?;
            if let Some(missing) = &link.missing {
                wrap(f, &" ".repeat(36), &format!("would settle it: {}", missing.show(Lang::En)))?;
            }
        }
        let named = self.findings.iter().any(|finding| finding.standing.is_some() && finding.names_somebody());
        match self.first_break.and_then(|index| self.links.get(index)) {
            Some(link) if named || link.state == State::Contradicted => {
                let role = link.role.show(Lang::En);
                writeln!(f, "\nThe first link that breaks (>) is in the hands of {} ({role}).", link.party)?;
            }
            Some(_) => writeln!(f, "\n> is the first link that stays open.")?,
            None => {}
        }
        Ok(())
    }

    fn findings(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.findings.is_empty() && self.notes.is_empty() {
            return Ok(());
        }
        writeln!(f, "\nFindings, party by party and link by link (rules of version {})\n", self.rules)?;
        for finding in self.findings.iter().chain(&self.notes) {
            let head = format!("  {:<12} {:<9} ", kind(finding), finding.link.text().en);
            let party = if finding.names_somebody() {
                format!("{} ({}): ", finding.holder.party, finding.holder.role.text().en)
            } else {
                String::new()
            };
            wrap(f, &head, &format!("{party}{} [{}]", finding.established.show(Lang::En), finding.rule))?;
            for settles in &finding.settles {
                wrap(f, &" ".repeat(25), &format!("would settle it: {}", settles.show(Lang::En)))?;
            }
        }
        Ok(())
    }

    fn technical(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut entries: Vec<_> = self.findings.iter().flat_map(|finding| &finding.entries).collect();
        entries.sort();
        entries.dedup();
        if entries.is_empty() {
            return Ok(());
        }
        writeln!(f, "\nEntries that the findings rest on (`countersign show`, `countersign verify`)\n")?;
        for cited in entries {
            writeln!(f, "  {:>8}  {}", cited.seq, cited.hash)?;
        }
        Ok(())
    }
}

const fn kind(finding: &Finding) -> &'static str {
    match (finding.kind, finding.standing) {
        (Kind::Fault, Some(Standing::Cause)) => "fault, cause",
        (Kind::Fault, _) => "fault",
        (Kind::Attempt, _) => "attempt",
        (Kind::Gap, _) => "open",
        (Kind::Note, _) => "note",
    }
}

/// Writes `text` behind `head`, wrapped, following lines indented as far.
fn wrap(f: &mut fmt::Formatter<'_>, head: &str, text: &str) -> fmt::Result {
    let indent = head.chars().count();
    let mut line = head.to_owned();
    let mut empty = true;
    for word in text.split_whitespace() {
        if !empty && line.chars().count() + 1 + word.chars().count() > WIDTH {
            writeln!(f, "{}", line.trim_end())?;
            line = " ".repeat(indent);
            empty = true;
        }
        if !empty {
            line.push(' ');
        }
        line.push_str(word);
        empty = false;
    }
    writeln!(f, "{}", line.trim_end())
}

//! The chain as text for a terminal, at most 100 columns wide.

use std::fmt;

use crate::chain::{Chain, State, Step};

const WIDTH: usize = 98;

impl fmt::Display for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Instruction {} in {}\n", self.instruction, self.ledger)?;
        wrap(f, "", &self.summary)?;
        writeln!(f)?;
        for (index, link) in self.links.iter().enumerate() {
            let mark = if self.first_break == Some(index) { ">" } else { " " };
            let time = link.time.as_deref().and_then(|time| time.get(11..19)).unwrap_or("   --   ");
            let head = format!("{mark} {time}  {:<9} {:<12} ", step(link.step), state(link.state));
            let entry = link.entries.first().map(|seq| format!(" [entry {seq}]")).unwrap_or_default();
            wrap(f, &head, &format!("{} ({}): {}{entry}", link.party, link.role.replace('_', " "), link.what))?;
            if let Some(missing) = &link.missing {
                wrap(f, &" ".repeat(36), &format!("would settle it: {missing}"))?;
            }
        }
        match self.first_break.and_then(|index| self.links.get(index)) {
            Some(link) => write!(
                f,
                "\nThe first link that breaks (>) is in the hands of {} ({}).",
                link.party,
                link.role.replace('_', " ")
            ),
            None => write!(f, "\nNo link breaks."),
        }
    }
}

const fn step(step: Step) -> &'static str {
    match step {
        Step::Said => "said",
        Step::Scoped => "scoped",
        Step::Chose => "chose",
        Step::Judged => "judged",
        Step::Approved => "approved",
        Step::Sent => "sent",
        Step::Answered => "answered",
        Step::Told => "told",
        Step::Withdrawn => "withdrawn",
    }
}

const fn state(state: State) -> &'static str {
    match state {
        State::Proven => "proven",
        State::Observed => "observed",
        State::Claimed => "claimed",
        State::Missing => "missing",
        State::Contradicted => "contradicted",
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

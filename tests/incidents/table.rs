//! `table.toml`, read strictly.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

/// The table.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    /// What evidence there may be.
    pub evidence: BTreeMap<String, Source>,
    /// The kinds, in order.
    pub kind: Vec<Kind>,
}

/// A source of evidence.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// What it is, for people.
    #[serde(rename = "what")]
    pub _what: String,
    /// Words by which a finding names it as missing.
    pub named_by: Vec<String>,
}

/// A kind of incident.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kind {
    pub id: String,
    #[serde(rename = "story")]
    pub _story: String,
    #[serde(rename = "fault")]
    pub _fault: String,
    /// Who says it.
    #[serde(default)]
    pub by: Witness,
    pub causes: Vec<Cause>,
    #[serde(default)]
    pub also: Vec<Cause>,
    pub suffices: Vec<Evidence>,
    pub taken: Vec<Taken>,
}

/// Who says what is wrong.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Witness {
    #[default]
    Trace,
    Verify,
}

/// A link that broke, and in whose hands it was.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct Cause {
    pub link: String,
    pub role: String,
}

const LINKS: [&str; 9] = ["said", "scoped", "chose", "judged", "approved", "sent", "answered", "told", "withdrawn"];
const ROLES: [&str; 7] =
    ["user", "agent_developer", "agent_operator", "model_provider", "platform", "api_provider", "third_party"];

impl TryFrom<String> for Cause {
    type Error = String;

    fn try_from(text: String) -> Result<Cause, String> {
        let (link, role) = text.split_once(':').ok_or_else(|| format!("`{text}` is not `link:role`"))?;
        if LINKS.contains(&link) && ROLES.contains(&role) {
            Ok(Cause { link: link.to_owned(), role: role.to_owned() })
        } else {
            Err(format!("`{text}`: no such link or role"))
        }
    }
}

impl std::fmt::Display for Cause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.link, self.role)
    }
}

/// A set of evidence beside what the ledger always has; `ledger` is the empty one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default, Deserialize)]
#[serde(from = "String")]
pub struct Evidence(pub BTreeSet<String>);

impl From<String> for Evidence {
    fn from(text: String) -> Evidence {
        Evidence(text.split('+').filter(|name| *name != "ledger").map(str::to_owned).collect())
    }
}

impl Evidence {
    pub fn has(&self, name: &str) -> bool {
        self.0.contains(name)
    }
}

impl std::fmt::Display for Evidence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0.is_empty() {
            return f.write_str("ledger");
        }
        f.write_str(&self.0.iter().map(String::as_str).collect::<Vec<_>>().join("+"))
    }
}

/// What is taken away, and what must be said then.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Taken {
    pub away: Vec<String>,
    pub open: String,
    pub missing: Vec<String>,
    #[serde(default)]
    pub left: Vec<Cause>,
}

/// How a kind is run.
#[derive(Debug, Clone)]
pub struct Variant {
    /// What evidence there is.
    pub evidence: Evidence,
    /// What was taken away, if that is the point.
    pub taken: Option<Taken>,
}

impl std::fmt::Display for Variant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.taken {
            Some(taken) => write!(f, "without {}", taken.away.join(", ")),
            None => write!(f, "{}", self.evidence),
        }
    }
}

impl Table {
    /// # Panics
    /// When the table is not as README.md says.
    pub fn read() -> Table {
        let table: Table = toml::from_str(include_str!("table.toml")).unwrap();
        let names: BTreeSet<&str> = table.kind.iter().map(|kind| kind.id.as_str()).collect();
        assert_eq!(names.len(), table.kind.len(), "a kind stands twice in the table");
        for kind in &table.kind {
            let of_sets = kind.suffices.iter().flat_map(|set| &set.0);
            let of_taken = kind.taken.iter().flat_map(|taken| taken.away.iter().chain(&taken.missing));
            for name in of_sets.chain(of_taken) {
                assert!(table.evidence.contains_key(name), "{}: there is no evidence `{name}`", kind.id);
            }
            assert!(!kind.causes.is_empty() && !kind.suffices.is_empty(), "{}", kind.id);
            for taken in &kind.taken {
                assert!(LINKS.contains(&taken.open.as_str()), "{}", kind.id);
                assert!(taken.left.iter().all(|left| kind.causes.contains(left)), "{}", kind.id);
            }
        }
        table
    }

    /// How a kind is run: with all evidence, with each set that suffices, and with what is taken away.
    pub fn variants(&self, kind: &Kind) -> Vec<Variant> {
        let all = Evidence(self.evidence.keys().cloned().collect());
        let mut variants = vec![Variant { evidence: all.clone(), taken: None }];
        // Values are disclosed wherever their being withheld is not the point.
        let with_values = |set: &Evidence| {
            let mut set = set.clone();
            set.0.insert("values".to_owned());
            set
        };
        variants.extend(kind.suffices.iter().map(|set| Variant { evidence: with_values(set), taken: None }));
        for taken in &kind.taken {
            let mut evidence = all.clone();
            evidence.0.retain(|name| !taken.away.contains(name));
            variants.push(Variant { evidence, taken: Some(taken.clone()) });
        }
        variants
    }
}

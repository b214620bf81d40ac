//! Overrides from the environment: `COUNTERSIGN__GATEWAY__LISTEN=127.0.0.1:8280` stands in place of `listen` in `[gateway]`, and
//! `COUNTERSIGN__UPSTREAM__BANK__URL=…` of `url` in the `[[upstream]]` whose `name` (or `party`) is `bank`, or whose place in the list it is.

use anyhow::{Context as _, bail};
use toml::{Table, Value};

/// How the names of overrides begin.
const PREFIX: &str = "COUNTERSIGN__";

/// The overrides in the environment.
pub(super) fn overrides() -> Vec<(String, String)> {
    let mut found: Vec<_> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .filter(|(name, _)| name.starts_with(PREFIX))
        .collect();
    found.sort();
    found
}

/// Puts them into what was read.
pub(super) fn apply(table: &mut Table, overrides: &[(String, String)]) -> anyhow::Result<()> {
    for (name, value) in overrides {
        let path: Vec<String> =
            name.strip_prefix(PREFIX).unwrap_or_default().split("__").map(str::to_lowercase).collect();
        put(table, &path, value).with_context(|| format!("the environment's `{name}`"))?;
    }
    Ok(())
}

fn put(table: &mut Table, path: &[String], value: &str) -> anyhow::Result<()> {
    let (first, rest) = match path {
        [last] if !last.is_empty() => {
            table.insert(last.clone(), read(value));
            return Ok(());
        }
        [first, rest @ ..] if !first.is_empty() => (first, rest),
        _ => bail!("it names no key: write `COUNTERSIGN__TABLE__KEY`"),
    };
    match table.entry(first.clone()).or_insert_with(|| Value::Table(Table::new())) {
        Value::Table(inner) => put(inner, rest, value),
        Value::Array(rows) => {
            let (which, rest) = rest.split_first().context("it does not say which of the list")?;
            let place = which.parse::<usize>().ok();
            let at = rows.iter().position(|row| is_named(row, which)).or(place.filter(|place| *place < rows.len()));
            let row = at.and_then(|at| rows.get_mut(at)).and_then(Value::as_table_mut);
            put(row.with_context(|| format!("`{first}` has no `{which}`"))?, rest, value)
        }
        _ => bail!("`{first}` is no table"),
    }
}

/// Whether a row of a list has that name. What cannot stand in a variable's name is written `_`.
fn is_named(row: &Value, which: &str) -> bool {
    let plain = |name: &str| {
        let one = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' };
        name.chars().map(one).collect::<String>()
    };
    let names = ["name", "party", "issuer"].iter().filter_map(|key| row.get(key)?.as_str());
    names.into_iter().any(|name| plain(name) == plain(which))
}

/// A number, a truth value, a list or a text in quotes as TOML has them; anything else is a text as it stands.
fn read(value: &str) -> Value {
    let typed = toml::from_str::<Table>(&format!("value = {value}")).ok();
    typed.and_then(|mut table| table.remove("value")).unwrap_or_else(|| Value::String(value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_override_finds_its_table_by_name_or_place() {
        let mut table: Table = toml::from_str(
            "drain_seconds = 1\n[gateway]\nlisten = \"a\"\n[[upstream]]\nname = \"my-bank\"\nurl = \"u\"\n[[upstream]]\nname = \"b\"\n",
        )
        .unwrap();
        let given = [
            ("COUNTERSIGN__DRAIN_SECONDS", "5"),
            ("COUNTERSIGN__GATEWAY__LISTEN", "127.0.0.1:1"),
            ("COUNTERSIGN__UPSTREAM__MY_BANK__URL", "https://bank.example"),
            ("COUNTERSIGN__UPSTREAM__1__TIMEOUTS__CONNECT_SECONDS", "2"),
            ("COUNTERSIGN__UPSTREAM__B__NAME", "\"12\""),
        ];
        let given = given.map(|(name, value)| (name.to_owned(), value.to_owned()));
        apply(&mut table, &given).unwrap();
        let wanted = "drain_seconds = 5\n[gateway]\nlisten = \"127.0.0.1:1\"\n[[upstream]]\nname = \"my-bank\"\nurl = \"https://bank.example\"\n[[upstream]]\nname = \"12\"\ntimeouts = { connect_seconds = 2 }\n";
        assert_eq!(table, toml::from_str::<Table>(wanted).unwrap());
        for (bad, says) in [
            ("COUNTERSIGN__UPSTREAM__NOBODY__URL", "has no `nobody`"),
            ("COUNTERSIGN__UPSTREAM", ""),
            ("COUNTERSIGN__DRAIN_SECONDS__X", "is no table"),
            ("COUNTERSIGN__", "names no key"),
        ] {
            let done = apply(&mut table.clone(), &[(bad.to_owned(), "x".to_owned())]);
            match says {
                "" => done.unwrap(),
                _ => assert!(format!("{:#}", done.unwrap_err()).contains(says), "{bad}"),
            }
        }
    }
}

//! What the pages point at is there: other pages, their headings, and files of this repository.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Every page for people.
fn pages() -> Vec<PathBuf> {
    let dirs =
        ["", "docs", "deploy", "deploy/walk", "sdk/python", "ledger/tests/golden", "ledger/tests/golden_bundles"];
    let files = dirs.iter().flat_map(|dir| fs::read_dir(Path::new(ROOT).join(dir)).unwrap());
    let pages = files.map(|file| file.unwrap().path());
    pages.filter(|path| path.extension().is_some_and(|extension| extension == "md")).collect()
}

/// The names by which headings are linked to.
fn headings(page: &str) -> BTreeSet<String> {
    let named = page.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    let slug = |title: &str| {
        let kept = title.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        kept.collect::<String>().to_lowercase().replace(' ', "-")
    };
    named.map(slug).collect()
}

/// What stands between these two, wherever they stand in one line.
fn between<'t>(text: &'t str, begin: &'t str, end: char) -> impl Iterator<Item = &'t str> {
    text.split(begin).skip(1).filter_map(move |rest| rest.split_once(end).map(|(inner, _)| inner))
}

#[test]
fn links_lead_to_pages_and_headings_that_are_there() {
    let mut wrong = Vec::new();
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        for link in between(&text, "](", ')').filter(|link| !link.contains("://")) {
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let to = if file.is_empty() { page.clone() } else { page.parent().unwrap().join(file) };
            let found =
                to.exists() && (heading.is_empty() || headings(&fs::read_to_string(&to).unwrap()).contains(heading));
            wrong.extend((!found).then(|| format!("{}: {link}", page.display())));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn files_that_pages_name_are_there() {
    let endings = [".rs", ".md", ".py", ".yaml", ".yml", ".cedar", ".json"];
    let (mut wrong, mut count) = (Vec::new(), 0);
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        for line in text.lines() {
            // Every second piece of a line is code.
            let code = line.split('`').skip(1).step_by(2);
            let is_file = |name: &&str| {
                name.contains('/') && !name.starts_with('/') && endings.iter().any(|ending| name.ends_with(ending))
            };
            let plain = |name: &&str| name.chars().all(|c| c.is_ascii_alphanumeric() || "._-/".contains(c));
            for name in code.filter(is_file).filter(plain) {
                count += 1;
                let bases = [Path::new(ROOT), page.parent().unwrap()];
                let found = bases.iter().any(|base| base.join(name).exists());
                wrong.extend((!found).then(|| format!("{}: {name}", page.display())));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(count > 20, "{count}");
}

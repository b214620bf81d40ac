//! Bundles that carry reports: they are for people, and a verifier believes nothing in them.

use countersign_ledger::{Kind, bundle::REPORTS};

use super::*;

/// Says that all is well, whatever the bundle shows.
const PAGE: &str =
    "<!doctype html>\n<title>Report on an agent's calls</title>\n<p>Nothing is wrong with this bundle.</p>\n";

pub(super) fn cases(part: &Evidence, cases: &mut Vec<Case>) {
    let mut carried = part.clone();
    carried.reports = REPORTS.map(|name| (name.to_owned(), PAGE.as_bytes().to_vec())).into();
    cases.push(case("no lie, with a report in each language", &carried));
    let mut one = carried.clone();
    one.reports.remove(REPORTS[0]);
    cases.push(case("no lie, with a report in one language", &one));
    let mut lie = carried.clone();
    let call = *lie.items.iter().find(|(_, item)| item.entry.kind == Kind::Call).unwrap().0;
    edit(&mut lie, call, "\"hold\"", "\"deny\"");
    cases.push(case("a call's verdict changed, under a report that says that nothing is wrong", &lie));
    let mut files = files(&carried);
    let page = files.remove(REPORTS[1]).unwrap();
    files.insert("report.fr.html".to_owned(), page);
    let zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let bytes = zipped(zip, &files, |_| zip::write::SimpleFileOptions::default()).into_inner();
    let lie = "a report in a language that the format does not name".to_owned();
    cases.push(Case { lie, bytes, against: None });
}

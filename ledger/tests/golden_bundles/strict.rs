//! What one reader could take otherwise than another: members that stand twice, headers that only some look at, and a checkpoint that no proof is under.

use std::io::Cursor;

use data_encoding::{BASE64, BASE64URL_NOPAD};
use zip::{
    ZipWriter,
    write::{ExtendedFileOptions, FileOptions, SimpleFileOptions},
};

use super::*;

pub(super) fn cases(part: &Evidence, whole: &Evidence, cases: &mut Vec<Case>) {
    members(part, cases);
    headers(part, cases);
    checkpoints(part, whole, cases);
    cases.push(signed_under_another_name());
}

fn members(part: &Evidence, cases: &mut Vec<Case>) {
    let mut add = |lie: &str, bytes: Vec<u8>| cases.push(Case { lie: lie.to_owned(), bytes, against: None });
    let origin = format!("{{ \"origin\": \"{ORIGIN}\",");
    add(
        "a member of the manifest that stands twice",
        replaced_in(part, "manifest.json", |text| text.replacen('{', &origin, 1)),
    );
    let pieces = |text: String| format!("{}TWE=\n", text.trim_end());
    add("a signature in two pieces of base64", replaced_in(part, "proofs/0.tlog-proof", pieces));
    let shown = part.items.iter().find(|(_, item)| !item.values.is_empty()).unwrap();
    let (name, value) = shown.1.values.first_key_value().unwrap();
    let file = format!("disclosures/{}.json", shown.0);
    let withheld = format!("{{ \"{name}\": \"withheld\",");
    add("a value that is both withheld and shown", replaced_in(part, &file, |text| text.replacen('{', &withheld, 1)));
    let Shown::Value(value) = value else { panic!("the value is not shown") };
    let twice = BASE64URL_NOPAD.encode(format!(r#"["AAAAAAAAAAAAAAAAAAAAAA","{name}",{{"a":1,"a":2}}]"#).as_bytes());
    add("a member of a value that stands twice", replaced_in(part, &file, |text| text.replace(value.as_str(), &twice)));
}

fn headers(part: &Evidence, cases: &mut Vec<Case>) {
    let files = files(part);
    let mut add = |lie: &str, bytes: Vec<u8>| cases.push(Case { lie: lie.to_owned(), bytes, against: None });
    let writer = || ZipWriter::new(Cursor::new(Vec::new()));
    for (lie, central) in [("a field beside a file's name", false), ("a field beside a name in the directory", true)] {
        let extra = |_: &str| {
            let mut options = FileOptions::<ExtendedFileOptions>::default();
            options.add_extra_field(0x6666, b"more".to_vec().into_boxed_slice(), central).unwrap();
            options
        };
        add(lie, zipped(writer(), &files, extra).into_inner());
    }
    let plain = |_: &str| SimpleFileOptions::default();
    add("a file whose size stands behind it", {
        let mut zip = ZipWriter::new_stream(Vec::new());
        for (name, content) in &files {
            zip.start_file(name.as_str(), plain(name)).unwrap();
            zip.write_all(content).unwrap();
        }
        zip.finish().unwrap().into_inner()
    });
    let at = |bytes: &[u8], magic: &[u8]| bytes.windows(4).position(|window| window == magic).unwrap();
    let mut flagged = zipped(writer(), &files, plain).into_inner();
    let central = at(&flagged, b"PK\x01\x02");
    flagged[central + 9] ^= 8;
    add("a flag in the directory that the file's own header has not", flagged);
    let mut commented = zipped(writer(), &files, plain).into_inner();
    let (central, end) = (at(&commented, b"PK\x01\x02"), at(&commented, b"PK\x05\x06"));
    let size = u32::from_le_bytes(*commented[end + 12..].first_chunk().unwrap()) + 2;
    commented[end + 12..end + 16].copy_from_slice(&size.to_le_bytes());
    commented[central + 32] = 2;
    let behind = central + 46 + usize::from(commented[central + 28]);
    commented.splice(behind..behind, *b"hi");
    add("a file with a comment", commented);
}

fn checkpoints(part: &Evidence, whole: &Evidence, cases: &mut Vec<Case>) {
    let head = part.checkpoint.as_ref().unwrap();
    let (size, root, other) = (head.size(), head.root(), Hash::of(b"another history"));
    let mut add = |lie: &str, from: &Evidence, checkpoint| {
        let evidence = Evidence { checkpoint: Some(checkpoint), ..from.clone() };
        cases.push(case(lie, &evidence));
    };
    let key = |origin: &str, seed| CheckpointSigner::new(origin, SigningKey::from_bytes(&[seed; 32])).unwrap();
    add("beside the proofs a checkpoint of another history", part, signer().sign(size, other).unwrap());
    add("beside the proofs an older checkpoint of another history", whole, signer().sign(4, other).unwrap());
    add("beside the proofs a checkpoint of more entries", whole, signer().sign(size + 1, other).unwrap());
    add("beside the proofs a checkpoint signed with another key", part, key(ORIGIN, 2).sign(size, root).unwrap());
    add("beside the proofs a checkpoint of another ledger", part, key("other.example", 1).sign(size, root).unwrap());
}

/// Another ledger, of which every checkpoint is signed with the trusted key under that key's own name.
fn signed_under_another_name() -> Case {
    let dir = tempfile::tempdir().unwrap();
    let key = SigningKey::from_bytes(&[1; 32]);
    let world = World::of(dir.path(), CheckpointSigner::new("other.example", key).unwrap());
    let mut evidence = evidence(dir.path(), &world, &Selection::All);
    let renamed = |checkpoint: &Checkpoint| -> Checkpoint {
        let (text, signature) = checkpoint.as_str().split_once("\n\n").unwrap();
        let mut signature = BASE64.decode(signature.trim_end().rsplit(' ').next().unwrap().as_bytes()).unwrap();
        signature[..4].copy_from_slice(&signer().verifier().id());
        format!("{text}\n\n\u{2014} {ORIGIN} {}\n", BASE64.encode(&signature)).parse().unwrap()
    };
    evidence.proofs.values_mut().for_each(|proof| proof.checkpoint = renamed(&proof.checkpoint));
    evidence.checkpoint = evidence.checkpoint.as_ref().map(renamed);
    case("signed with the trusted key, whose name is another ledger's", &evidence)
}

//! The form of the zip file (`docs/format.md` §11): files, directory and end, one behind the other, without anything that only some readers look at.
//!
//! What stands in it is read by the library; here is only looked that nothing else can be read out of it.

/// An end without a comment.
const END: usize = 22;
/// What stands before the end when there are more files than it can count: a larger end, and where that begins.
const LARGE_END: usize = 56;
const LOCATOR: usize = 20;
const CENTRAL: usize = 46;
const LOCAL: usize = 30;
/// How deflate was asked to compress (bits 1 and 2), and that names are UTF-8 (bit 11).
const FLAGS: u16 = 0x0806;
const CUT: &str = "a header is cut off";

/// The directory: where it begins and ends, and of how many files it is.
struct Directory {
    offset: usize,
    end: usize,
    count: usize,
}

/// Looks at every header.
///
/// # Errors
/// In words, what is not as in a bundle.
pub(super) fn check(zip: &[u8]) -> Result<(), &'static str> {
    let Directory { offset, end: end_at, count } = directory(zip)?;
    let (mut at, mut place) = (offset, 0);
    for _ in 0..count {
        let central = zip.get(at..end_at).filter(|central| central.starts_with(b"PK\x01\x02")).ok_or(CUT)?;
        let name_bytes = usize::from(u16_at(central, 28).ok_or(CUT)?);
        // Extra fields and a comment.
        if u32_at(central, 30) != Some(0) || u16_at(central, 34) != Some(0) {
            return Err("a file has extra fields or a comment, or is on another disk");
        }
        if u32_at(central, 42) != Some(place) {
            return Err("the files do not stand one behind the other");
        }
        let name = central.get(CENTRAL..CENTRAL + name_bytes).filter(|name| name.is_ascii());
        place = behind(zip.get(..offset).unwrap_or_default(), place, central, name.ok_or("a name is not ASCII")?)?;
        at += CENTRAL + name_bytes;
    }
    if at == end_at && place == offset { Ok(()) } else { Err("something stands between its parts") }
}

/// The directory that the end tells of, and that fills the file up to the end.
fn directory(zip: &[u8]) -> Result<Directory, &'static str> {
    const UNFIT: &str = "something stands before or behind it, or its end does not fit it";
    let end_at = zip.len().checked_sub(END).ok_or(CUT)?;
    let end = zip.get(end_at..).filter(|end| end.starts_with(b"PK\x05\x06"));
    let end = end.ok_or("something stands behind it, or it has a comment")?;
    let told = (u16_at(end, 10).ok_or(CUT)?, u32_at(end, 12).ok_or(CUT)?, u32_at(end, 16).ok_or(CUT)?);
    if u32_at(end, 4) != Some(0) || u16_at(end, 8) != Some(told.0) || u16_at(end, 20) != Some(0) {
        return Err(UNFIT);
    }
    let large = large_end(zip.get(..end_at).unwrap_or_default()).ok_or(UNFIT)?;
    let (size, found) = match large {
        Some((size, found)) => {
            // What does not fit into the end has all its bits set there.
            let count = u16::try_from(found.count).unwrap_or(u16::MAX);
            let fits = |told: usize, large: usize| told == large || u32::try_from(told) == Ok(u32::MAX);
            if told.0 != count || !fits(told.1, size) || !fits(told.2, found.offset) {
                return Err(UNFIT);
            }
            (size, found)
        }
        None => (told.1, Directory { offset: told.2, end: end_at, count: told.0.into() }),
    };
    if found.offset.checked_add(size) == Some(found.end) { Ok(found) } else { Err(UNFIT) }
}

/// The size of the directory and the directory itself from the larger end, when `before` ends with one; nothing when that does not fit.
#[expect(clippy::option_option, reason = "there may be none, and there may be one that does not fit")]
fn large_end(before: &[u8]) -> Option<Option<(usize, Directory)>> {
    let locator = before.len().checked_sub(LOCATOR).and_then(|at| before.get(at..));
    let Some(locator) = locator.filter(|locator| locator.starts_with(b"PK\x06\x07")) else { return Some(None) };
    let end = before.len().checked_sub(LOCATOR + LARGE_END)?;
    let large = before.get(end..).filter(|large| large.starts_with(b"PK\x06\x06"))?;
    let one_disk = u32_at(locator, 4)? == 0 && u32_at(locator, 16)? == 1 && u64_at(large, 16)? == 0;
    let count = u64_at(large, 32)?;
    let fits = one_disk && u64_at(locator, 8)? == end && u64_at(large, 4)? == LARGE_END - 12;
    (fits && u64_at(large, 24)? == count)
        .then_some(Some((u64_at(large, 40)?, Directory { offset: u64_at(large, 48)?, end, count })))
}

/// Compares a file's own header with the directory's; gives the place behind the file.
fn behind(files: &[u8], place: usize, central: &[u8], name: &[u8]) -> Result<usize, &'static str> {
    const OTHER: &str = "a file's own header is not as the directory has it";
    let local = files.get(place..).filter(|local| local.starts_with(b"PK\x03\x04")).ok_or(OTHER)?;
    // Version, flags, method, time, date, checksum and both sizes.
    if local.get(4..26).is_none() || local.get(4..26) != central.get(6..28) || u16_at(local, 28) != Some(0) {
        return Err(OTHER);
    }
    let packed = matches!(u16_at(local, 8), Some(0 | 8));
    if !packed || u16_at(local, 6).is_none_or(|flags| flags & !FLAGS != 0) {
        return Err("a file is encrypted, streamed, or packed in another way than deflated");
    }
    let begin = LOCAL + name.len();
    let end = u32_at(local, 18).and_then(|size| begin.checked_add(size)).ok_or(OTHER)?;
    if u16_at(local, 26).map(usize::from) != Some(name.len())
        || local.get(LOCAL..begin) != Some(name)
        || end > local.len()
    {
        return Err(OTHER);
    }
    Ok(place + end)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|bytes| u16::from_le_bytes(*bytes))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<usize> {
    let number = bytes.get(at..)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes))?;
    usize::try_from(number).ok()
}

fn u64_at(bytes: &[u8], at: usize) -> Option<usize> {
    let number = bytes.get(at..)?.first_chunk().map(|bytes| u64::from_le_bytes(*bytes))?;
    usize::try_from(number).ok()
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Write as _};

    use zip::{ZipWriter, write::SimpleFileOptions};

    use super::*;

    fn zip(files: usize) -> Vec<u8> {
        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        for file in 0..files {
            zip.start_file(format!("entries/{file}.json"), SimpleFileOptions::default()).unwrap();
            zip.write_all(b"{}").unwrap();
        }
        zip.finish().unwrap().into_inner()
    }

    #[test]
    fn a_zip_file_of_any_number_of_files_has_the_form() {
        for files in [0, 1, 3, 65_535, 65_536] {
            assert_eq!(check(&zip(files)), Ok(()), "{files}");
        }
    }

    #[test]
    fn nothing_that_the_ends_say_of_many_files_can_be_changed() {
        let good = zip(65_536);
        let ends = good.len() - END - LOCATOR - LARGE_END;
        // All but the versions of who wrote it, which say nothing of what is in it.
        for at in (ends..good.len()).filter(|at| !(ends + 12..ends + 16).contains(at)) {
            let mut bad = good.clone();
            *bad.get_mut(at).unwrap() ^= 1;
            assert!(check(&bad).is_err(), "{}", at - ends);
        }
        assert!(check(good.get(1..).unwrap()).is_err());
    }
}

//! What a tar header says, checked and made the image's own.

use std::collections::BTreeMap;

use tar_core::parse::ParsedEntry;
use tar_core::{EntryType, PaxExtensions};

use super::LayerError;
use super::path::shown;
use crate::erofs::{Attributes, Kind, Xattrs, device};

/// An entry's type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum What {
    File,
    Directory,
    Symlink(Vec<u8>),
    HardLink(Vec<u8>),
    /// Kind and encoded device number.
    Special(Kind, u32),
    /// Types that mean nothing here, such as volume labels.
    Unknown,
}

/// An entry without its contents.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub path: Vec<u8>,
    pub what: What,
    pub attributes: Attributes,
    /// Bytes that follow in the archive.
    pub stored: u64,
}

impl Entry {
    /// Takes over an entry of the parser.
    ///
    /// # Errors
    /// A field has no place in an image.
    pub(super) fn new(parsed: &ParsedEntry<'_>) -> Result<Entry, LayerError> {
        let path = parsed.path.to_vec();
        let bad = |why: &str| LayerError::bad(format!("{}: {why}", shown(&path)));
        let target = || {
            let target = parsed.link_target.as_deref().unwrap_or_default();
            match target {
                [] => Err(bad("a link without a target")),
                _ if target.contains(&0) => Err(bad("a link target with a NUL byte")),
                _ => Ok(target.to_vec()),
            }
        };
        let number = || device(parsed.dev_major.unwrap_or(0), parsed.dev_minor.unwrap_or(0));
        let what = match parsed.entry_type {
            // A name that ends in a slash is how the oldest tar knew
            // directories.
            EntryType::Regular | EntryType::Continuous | EntryType::GnuSparse
                if !path.ends_with(b"/") =>
            {
                What::File
            }
            EntryType::Regular | EntryType::Directory => What::Directory,
            EntryType::Symlink => What::Symlink(target()?),
            EntryType::Link => What::HardLink(target()?),
            EntryType::Char => What::Special(Kind::Char, number()),
            EntryType::Block => What::Special(Kind::Block, number()),
            EntryType::Fifo => What::Special(Kind::Fifo, 0),
            _ => What::Unknown,
        };
        // Other types have no contents, whatever their size field says
        // (POSIX.1-2017, pax, "ustar Interchange Format").
        let stored = match what {
            What::File | What::Unknown => parsed.size,
            _ => 0,
        };
        let id = |id: u64| u32::try_from(id).map_err(|_| bad("an owner beyond 32 bits"));
        let (mtime, mtime_nsec) = time(parsed);
        let attributes = Attributes {
            mode: (parsed.mode & 0o7777) as u16,
            uid: id(parsed.uid)?,
            gid: id(parsed.gid)?,
            mtime,
            mtime_nsec,
            xattrs: xattrs(parsed).ok_or_else(|| bad("extended attributes beyond 64 KiB"))?,
        };
        Ok(Entry {
            path,
            what,
            attributes,
            stored,
        })
    }
}

// `None` when they are too large.
fn xattrs(parsed: &ParsedEntry<'_>) -> Option<Xattrs> {
    let mut xattrs = Xattrs::default();
    // The last of the same name counts.
    let unique: BTreeMap<_, _> = parsed
        .xattrs
        .iter()
        .map(|(name, value)| (name, value))
        .collect();
    for (name, value) in unique {
        // The marks of overlayfs are not the archive's to make.
        if !name.starts_with(b"trusted.overlay.") {
            xattrs.push(name, value)?;
        }
    }
    Some(xattrs)
}

// Seconds, and nanoseconds when a PAX record has them.
fn time(parsed: &ParsedEntry<'_>) -> (i64, u32) {
    let records = parsed
        .pax
        .into_iter()
        .flat_map(PaxExtensions::new)
        .flatten();
    let exact = records
        .filter(|record| record.key() == Ok("mtime"))
        .filter_map(|record| decimal(record.value().ok()?))
        .last();
    exact.unwrap_or((parsed.mtime.cast_signed(), 0))
}

fn decimal(text: &str) -> Option<(i64, u32)> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = whole.parse().ok()?;
    let digits: String = fraction
        .chars()
        .chain("000000000".chars())
        .take(9)
        .collect();
    let nanos: u32 = digits.parse().ok()?;
    match (text.starts_with('-'), nanos) {
        (true, 1..) => Some((seconds.checked_sub(1)?, 1_000_000_000 - nanos)),
        _ => Some((seconds, nanos)),
    }
}

#[cfg(test)]
mod tests {
    use super::decimal;

    #[test]
    fn pax_times() {
        assert_eq!(decimal("1700000000"), Some((1_700_000_000, 0)));
        assert_eq!(decimal("1700000000.25"), Some((1_700_000_000, 250_000_000)));
        assert_eq!(decimal("5.1234567899"), Some((5, 123_456_789)));
        assert_eq!(decimal("-1.5"), Some((-2, 500_000_000)));
        assert_eq!(decimal("-3"), Some((-3, 0)));
        assert_eq!(decimal("x"), None);
    }
}

//! Where the files are in an archive that can be read at any place.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;

use tar_core::EntryType;
use tar_core::parse::{Limits, ParseEvent, ParsedEntry, Parser};

use crate::layer::LayerError;

/// A file or a link in the archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Member {
    /// First byte and length.
    File(u64, u64),
    /// Path of another member.
    Link(String),
}

/// Most members: an image has some files per layer.
const MAX_MEMBERS: usize = 100_000;

/// Most links in a row.
const MAX_LINKS: usize = 8;

const BUFFER: usize = 64 << 10;
const MAX_HEADERS: usize = 2 << 20;

/// Reads all headers.
///
/// # Errors
/// It is not a good archive.
pub(super) fn index(file: &File) -> Result<HashMap<String, Member>, LayerError> {
    let limits = Limits {
        max_path_len: Some(4096),
        ..Limits::default()
    };
    let mut parser = Parser::new(limits);
    parser.set_ignore_pax_errors(true);
    let mut members = HashMap::new();
    let mut at = 0;
    let mut wanted = BUFFER;
    loop {
        let mut buffer = vec![0; wanted];
        let mut len = 0;
        while len < buffer.len() {
            match file.read_at(&mut buffer[len..], at + len as u64)? {
                0 => break,
                n => len += n,
            }
        }
        let event = parser.parse(&buffer[..len]);
        match event.map_err(|error| LayerError::bad(format!("not a good archive: {error}")))? {
            ParseEvent::NeedData { .. } if len < wanted => {
                return match buffer[..len].iter().all(|byte| *byte == 0) {
                    true => Ok(members),
                    false => Err(LayerError::bad("the archive is cut off")),
                };
            }
            ParseEvent::NeedData { min_bytes } if min_bytes > MAX_HEADERS => {
                return Err(LayerError::bad("the archive has headers beyond 2 MiB"));
            }
            ParseEvent::NeedData { min_bytes } => {
                wanted = min_bytes.max(wanted) + BUFFER;
                continue;
            }
            ParseEvent::End { .. } => return Ok(members),
            ParseEvent::GlobalExtensions { consumed, .. } => at += consumed as u64,
            ParseEvent::SparseEntry { .. } => {
                return Err(LayerError::bad("the archive has a file with holes"));
            }
            ParseEvent::Entry { consumed, entry } => {
                let start = at + consumed as u64;
                let size = stored(&entry);
                if let Some((name, member)) = member(&entry, start, size) {
                    members.insert(name, member);
                }
                let end = size
                    .checked_next_multiple_of(512)
                    .and_then(|len| start.checked_add(len));
                at = end.ok_or_else(|| LayerError::bad("the archive has an impossible size"))?;
            }
        }
        if members.len() > MAX_MEMBERS {
            return Err(LayerError::bad("the archive has too many files"));
        }
        wanted = BUFFER;
    }
}

fn stored(entry: &ParsedEntry<'_>) -> u64 {
    match entry.entry_type {
        EntryType::Regular | EntryType::Continuous => entry.size,
        _ => 0,
    }
}

fn member(entry: &ParsedEntry<'_>, start: u64, size: u64) -> Option<(String, Member)> {
    let name = resolve("", std::str::from_utf8(&entry.path).ok()?)?;
    let target = || std::str::from_utf8(entry.link_target.as_deref()?).ok();
    let member = match entry.entry_type {
        EntryType::Regular | EntryType::Continuous => Member::File(start, size),
        EntryType::Link => Member::Link(resolve("", target()?)?),
        // Docker's old format has a link for a layer that comes again.
        EntryType::Symlink => {
            let dir = name.rsplit_once('/').map_or("", |(dir, _)| dir);
            Member::Link(resolve(dir, target()?)?)
        }
        _ => return None,
    };
    Some((name, member))
}

// A relative path as one from the root of the archive.
fn resolve(dir: &str, path: &str) -> Option<String> {
    let mut parts: Vec<&str> = Vec::new();
    for part in dir.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            _ => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// First byte and length of a file, through links.
pub(super) fn find(members: &HashMap<String, Member>, name: &str) -> Option<(u64, u64)> {
    let mut name = resolve("", name)?;
    for _ in 0..MAX_LINKS {
        match members.get(&name)? {
            Member::File(at, size) => return Some((*at, *size)),
            Member::Link(target) => name.clone_from(target),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_followed_inside_and_not_for_ever() {
        let mut members = HashMap::new();
        members.insert("a/layer.tar".to_owned(), Member::File(512, 7));
        let target = resolve("b", "../a/layer.tar").unwrap();
        members.insert("b/layer.tar".to_owned(), Member::Link(target));
        members.insert("x".to_owned(), Member::Link("y".to_owned()));
        members.insert("y".to_owned(), Member::Link("x".to_owned()));
        assert_eq!(find(&members, "./b/layer.tar"), Some((512, 7)));
        assert_eq!(find(&members, "x"), None);
        assert_eq!(resolve("b", "../../etc"), None);
    }
}

//! Whether the container has an item already.

use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use sha2::{Digest, Sha256};
use stack_protocol::sync::{Answer, Item, Kind, Stamp};

use super::place::{self, Target};

pub(super) fn answer(target: &Target, item: &Item) -> Answer {
    let Ok(path) = place::below(&target.path, &item.path) else {
        return Answer::Differs;
    };
    if target.exact && !place::is_direct(&target.path, &item.path) {
        return Answer::Differs;
    }
    let bits = target.mode_bits();
    let Ok(meta) = fs::symlink_metadata(&path) else {
        return Answer::Differs;
    };
    match &item.kind {
        // The target's own is the image's: it may be /tmp. A link to a
        // directory serves as well.
        Kind::Directory { mode } if meta.is_dir() => {
            match item.path.is_empty() || meta.mode() & bits == mode & bits {
                true => Answer::Same,
                false => Answer::Differs,
            }
        }
        Kind::Directory { .. }
            if !target.exact && fs::metadata(&path).is_ok_and(|meta| meta.is_dir()) =>
        {
            Answer::Same
        }
        Kind::Symlink { to } => match fs::read_link(&path) {
            Ok(there) if there == Path::new(to) => Answer::Same,
            _ => Answer::Differs,
        },
        Kind::File {
            stamp: wanted,
            mode,
        } if meta.is_file() => {
            let stamp = stamp(&meta);
            if stamp.size != wanted.size || meta.mode() & bits != mode & bits {
                Answer::Differs
            } else if stamp.is_like(wanted) {
                Answer::Same
            } else {
                digest(&path).map_or(Answer::Differs, |sha256| Answer::Content { sha256 })
            }
        }
        Kind::File { .. } | Kind::Directory { .. } => Answer::Differs,
    }
}

/// How a change of it is noticed.
pub(super) fn stamp(meta: &Metadata) -> Stamp {
    Stamp {
        size: meta.size(),
        modified_ns: meta
            .mtime()
            .saturating_mul(1_000_000_000)
            .saturating_add(meta.mtime_nsec()),
    }
}

fn digest(path: &Path) -> io::Result<String> {
    let mut hasher = Sha256::new();
    io::copy(&mut File::open(path)?, &mut hasher)?;
    Ok(hasher
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect())
}

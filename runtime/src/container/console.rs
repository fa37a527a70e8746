//! What a VM's kernel and its VMM say: in the VM's directory, and, of one that
//! ended by itself, beside the log of its container afterwards.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use crate::paths::Paths;

/// Bytes of each file at most.
const TAIL: u64 = 64 << 10;
/// Names of the files, and what they end with when they are kept.
const FILES: [(&str, &str); 2] = [("console.log", "console"), ("qemu.log", "vmm")];

/// The ends of what both have said: of the VM that there is, or else of the last one,
/// if that ended by itself.
pub fn said(paths: &Paths, id: &str) -> [String; 2] {
    FILES.map(|(name, kept)| {
        let end = end_of(&paths.vm(id).join(name));
        let end = end.or_else(|_| end_of(&kept_as(paths, id, kept)));
        String::from_utf8_lossy(&end.unwrap_or_default()).into_owned()
    })
}

/// The VM's directory will be deleted: what they said stays.
pub(super) fn keep(paths: &Paths, id: &str) {
    for (name, kept) in FILES {
        let copied = end_of(&paths.vm(id).join(name))
            .and_then(|end| std::fs::write(kept_as(paths, id, kept), end));
        if let Err(error) = copied {
            tracing::debug!(%error, name, container = id, "not kept");
        }
    }
}

/// Deletes what was kept.
pub fn forget(paths: &Paths, id: &str) {
    for (_, kept) in FILES {
        let _ = std::fs::remove_file(kept_as(paths, id, kept));
    }
}

fn kept_as(paths: &Paths, id: &str, kept: &str) -> PathBuf {
    paths.log(id).with_extension(kept)
}

fn end_of(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let size = file.metadata()?.len();
    file.seek(SeekFrom::Start(size.saturating_sub(TAIL)))?;
    let mut bytes = Vec::new();
    file.take(TAIL).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_vm_said_is_known_after_its_end() {
        let home = tempfile::tempdir().unwrap();
        let paths = Paths::under(home.path()).unwrap();
        let dir = paths.vm("abc");
        std::fs::create_dir(&dir).unwrap();
        std::fs::write(dir.join("console.log"), "x".repeat(70_000) + "panic").unwrap();
        std::fs::write(dir.join("qemu.log"), "").unwrap();
        keep(&paths, "abc");
        std::fs::remove_dir_all(&dir).unwrap();
        let [console, vmm] = said(&paths, "abc");
        assert!(console.len() == 65_536 && console.ends_with("xpanic") && vmm.is_empty());
        // Another one has said nothing yet.
        std::fs::create_dir(&dir).unwrap();
        std::fs::write(dir.join("console.log"), "").unwrap();
        assert_eq!(said(&paths, "abc")[0], "");
        forget(&paths, "abc");
        assert_eq!(std::fs::read_dir(paths.logs()).unwrap().count(), 0);
    }
}

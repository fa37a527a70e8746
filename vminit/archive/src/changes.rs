//! From the upper directory of an overlay to the archive of an image's layer
//! (OCI image specification, layer.md; kernel,
//! `Documentation/filesystems/overlayfs.rst`).

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::io::{self, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use crate::attributes::Which;
use crate::entry::{Entries, unless_gone};

/// The kernel's note that nothing below shows through.
const OPAQUE: &str = "trusted.overlay.opaque";

/// Writes the layer. `places` are absolute paths that are left out when there
/// is nothing in them.
///
/// # Errors
/// A file cannot be read, or the stream cannot be written.
pub fn changes(upper: &Path, places: &[String], to: impl Write) -> io::Result<()> {
    let places: BTreeSet<PathBuf> = places
        .iter()
        .map(|place| upper.join(place.trim_matches('/')))
        .collect();
    let mut entries = Entries::new(to, Which::All);
    let filled = fill(&mut entries, upper, &places);
    entries.end(filled)
}

fn fill(
    entries: &mut Entries<impl Write>,
    upper: &Path,
    places: &BTreeSet<PathBuf>,
) -> io::Result<()> {
    // The root directory is the image's.
    let mut ahead = children(upper)?;
    while let Some(path) = ahead.pop() {
        let explain =
            |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
        let looked = fs::symlink_metadata(&path);
        let Some(meta) = unless_gone(looked).map_err(explain)? else {
            continue;
        };
        let name = path.strip_prefix(upper).map_err(io::Error::other)?;
        if meta.file_type().is_socket() || places.contains(&path) && is_empty(&path, &meta) {
            continue;
        }
        if meta.file_type().is_char_device() && meta.rdev() == 0 {
            entries.mark(&whiteout(name), &meta).map_err(explain)?;
            continue;
        }
        entries.put(&path, name, &meta).map_err(explain)?;
        if meta.is_dir() {
            if is_opaque(&path) {
                let opaque = name.join(".wh..wh..opq");
                entries.mark(&opaque, &meta).map_err(explain)?;
            }
            let inside = unless_gone(children(&path)).map_err(explain)?;
            ahead.extend(inside.unwrap_or_default());
        }
    }
    Ok(())
}

/// In such an order that the first name comes last.
fn children(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut inside = Vec::new();
    for entry in fs::read_dir(dir)? {
        inside.push(entry?.path());
    }
    inside.sort_by(|a, b| b.cmp(a));
    Ok(inside)
}

/// Nothing of a service's own: an empty place, or Docker's link for a mount table.
fn is_empty(path: &Path, meta: &Metadata) -> bool {
    if meta.is_symlink() {
        return fs::read_link(path).is_ok_and(|to| to == Path::new("/proc/mounts"));
    }
    match meta.is_dir() {
        true => fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none()),
        false => meta.is_file() && meta.len() == 0,
    }
}

fn is_opaque(path: &Path) -> bool {
    let mut value = [0; 1];
    rustix::fs::lgetxattr(path, OPAQUE, &mut value).is_ok_and(|len| &value[..len] == b"y")
}

/// `a/b` as `a/.wh.b`.
fn whiteout(name: &Path) -> PathBuf {
    let mut hidden = OsString::from(".wh.");
    hidden.push(name.file_name().unwrap_or_default());
    name.with_file_name(hidden)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_layer_has_what_changed_and_nothing_of_mounts() {
        let dir = std::env::temp_dir().join(format!("changes-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        for sub in ["etc", "proc", "d/deep"] {
            fs::create_dir_all(dir.join(sub)).unwrap();
        }
        fs::write(dir.join("etc/hosts"), "").unwrap();
        fs::write(dir.join("etc/conf"), "x").unwrap();
        fs::hard_link(dir.join("etc/conf"), dir.join("etc/same")).unwrap();
        symlink("conf", dir.join("etc/link")).unwrap();
        let long = format!("d/deep/{}", "n".repeat(150));
        fs::write(dir.join(&long), "long").unwrap();
        let mut out = Vec::new();
        let places = ["/proc".to_owned(), "/etc/hosts".to_owned()];
        changes(&dir, &places, &mut out).unwrap();
        let mut archive = tar::Archive::new(&out[..]);
        let names: Vec<String> = archive
            .entries()
            .unwrap()
            .map(|entry| entry.unwrap().path().unwrap().display().to_string())
            .collect();
        let expected = [
            "d/", "d/deep/", &long, "etc/", "etc/conf", "etc/link", "etc/same",
        ];
        assert_eq!(names, expected);
        assert_eq!(whiteout(Path::new("a/b")), Path::new("a/.wh.b"));
        fs::remove_dir_all(dir).unwrap();
    }
}

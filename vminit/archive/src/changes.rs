//! From the upper directory of an overlay to the archive of an image's layer
//! (OCI image specification, layer.md; kernel,
//! `Documentation/filesystems/overlayfs.rst`).

use std::collections::{BTreeSet, HashMap};
use std::ffi::OsString;
use std::fs::{self, File, Metadata};
use std::io::{self, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use tar::{Builder, EntryType, Header};

use crate::pack::Exactly;

/// The kernel's own notes.
const OVERLAY: &str = "trusted.overlay.";
/// Attributes of PAX headers, by GNU tar and everybody since.
const PAX_XATTR: &str = "SCHILY.xattr.";

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
    let mut builder = Builder::new(to);
    match fill(&mut builder, upper, &places) {
        Ok(()) => {
            builder.finish()?;
            builder.get_mut().flush()
        }
        Err(error) => {
            // Dropping it would write an end, and half a stream would pass
            // for a whole one.
            std::mem::forget(builder);
            Err(error)
        }
    }
}

fn fill(
    builder: &mut Builder<impl Write>,
    upper: &Path,
    places: &BTreeSet<PathBuf>,
) -> io::Result<()> {
    let mut links: HashMap<u64, PathBuf> = HashMap::new();
    // The root directory is the image's.
    let mut ahead = children(upper)?;
    while let Some(path) = ahead.pop() {
        let explain =
            |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
        let meta = match fs::symlink_metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            other => other.map_err(explain)?,
        };
        let name = path.strip_prefix(upper).map_err(io::Error::other)?;
        if meta.file_type().is_socket() || places.contains(&path) && is_empty(&path, &meta) {
            continue;
        }
        if meta.file_type().is_char_device() && meta.rdev() == 0 {
            mark(builder, &meta, whiteout(name)).map_err(explain)?;
            continue;
        }
        if !meta.is_dir() && meta.nlink() > 1 {
            if let Some(first) = links.get(&meta.ino()) {
                let mut header = header(&meta);
                header.set_entry_type(EntryType::Link);
                header.set_size(0);
                builder
                    .append_link(&mut header, name, first)
                    .map_err(explain)?;
                continue;
            }
            links.insert(meta.ino(), name.to_path_buf());
        }
        entry(builder, &path, name, &meta).map_err(explain)?;
        if meta.is_dir() {
            if is_opaque(&path) {
                mark(builder, &meta, name.join(".wh..wh..opq")).map_err(explain)?;
            }
            ahead.extend(children(&path).map_err(explain)?);
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

fn is_empty(path: &Path, meta: &Metadata) -> bool {
    match meta.is_dir() {
        true => fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none()),
        false => meta.is_file() && meta.len() == 0,
    }
}

fn is_opaque(path: &Path) -> bool {
    let mut value = [0; 1];
    let name = format!("{OVERLAY}opaque");
    rustix::fs::lgetxattr(path, name.as_str(), &mut value).is_ok_and(|len| &value[..len] == b"y")
}

/// `a/b` as `a/.wh.b`.
fn whiteout(name: &Path) -> PathBuf {
    let mut hidden = OsString::from(".wh.");
    hidden.push(name.file_name().unwrap_or_default());
    name.with_file_name(hidden)
}

fn header(meta: &Metadata) -> Header {
    let mut header = Header::new_gnu();
    header.set_metadata(meta);
    header
}

fn mark(builder: &mut Builder<impl Write>, meta: &Metadata, name: PathBuf) -> io::Result<()> {
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::Regular);
    header.set_mode(0o600);
    header.set_size(0);
    header.set_mtime(meta.mtime().max(0).cast_unsigned());
    builder.append_data(&mut header, name, io::empty())
}

fn entry(
    builder: &mut Builder<impl Write>,
    path: &Path,
    name: &Path,
    meta: &Metadata,
) -> io::Result<()> {
    let xattrs = xattrs(path)?;
    let file = match meta.is_file() {
        true => Some(File::open(path)?),
        false => None,
    };
    if !xattrs.is_empty() {
        let pairs = xattrs
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_slice()));
        builder.append_pax_extensions(pairs)?;
    }
    let mut header = header(meta);
    let kind = meta.file_type();
    if let Some(file) = file {
        return builder.append_data(&mut header, name, Exactly::new(file, meta.len()));
    }
    header.set_size(0);
    if kind.is_symlink() {
        return builder.append_link(&mut header, name, fs::read_link(path)?);
    }
    if kind.is_dir() {
        return builder.append_data(&mut header, name.join(""), io::empty());
    }
    if kind.is_fifo() {
        header.set_entry_type(EntryType::Fifo);
    } else {
        header.set_entry_type(match kind.is_char_device() {
            true => EntryType::Char,
            false => EntryType::Block,
        });
        header.set_device_major(rustix::fs::major(meta.rdev()))?;
        header.set_device_minor(rustix::fs::minor(meta.rdev()))?;
    }
    builder.append_data(&mut header, name, io::empty())
}

/// Attributes that are the service's, by their names in PAX headers.
fn xattrs(path: &Path) -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut names = vec![0; 64 << 10];
    let len = match rustix::fs::llistxattr(path, &mut names) {
        Ok(len) => len,
        Err(rustix::io::Errno::OPNOTSUPP) => 0,
        Err(error) => return Err(error.into()),
    };
    let mut found = Vec::new();
    for name in names[..len].split(|byte| *byte == 0) {
        let Ok(name) = std::str::from_utf8(name) else {
            continue;
        };
        if name.is_empty() || name.starts_with(OVERLAY) {
            continue;
        }
        let mut value = vec![0; 64 << 10];
        let len = rustix::fs::lgetxattr(path, name, &mut value)?;
        value.truncate(len);
        found.push((format!("{PAX_XATTR}{name}"), value));
    }
    found.sort();
    Ok(found)
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

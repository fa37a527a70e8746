//! Describes images in tests, one line a file, and lets `fsck.erofs` look
//! at them when it is installed.

use std::fmt::Write;
use std::path::Path;
use std::process::Command;

use super::{Entry, Inode, Kind, Reader};

/// All files of an image, by path.
pub(crate) fn listing(image: &Path) -> Vec<String> {
    let reader = Reader::open(image).unwrap();
    check(image);
    let mut lines = Vec::new();
    walk(&reader, &reader.root().unwrap(), "", &mut |path, inode| {
        lines.push(line(&reader, path, inode));
    });
    lines
}

/// The contents of a file.
pub(crate) fn content(image: &Path, wanted: &str) -> Vec<u8> {
    let reader = Reader::open(image).unwrap();
    let mut found = None;
    walk(&reader, &reader.root().unwrap(), "", &mut |path, inode| {
        if path == wanted {
            found = Some(reader.read(inode, 1 << 30).unwrap());
        }
    });
    found.unwrap()
}

fn walk(reader: &Reader, inode: &Inode, path: &str, found: &mut impl FnMut(&str, &Inode)) {
    found(if path.is_empty() { "/" } else { path }, inode);
    if inode.kind != Kind::Directory {
        return;
    }
    let entries = reader.directory(inode).unwrap();
    assert!(
        entries.is_sorted_by(|a, b| a.name < b.name),
        "entries are in byte order"
    );
    for Entry { name, nid, .. } in entries {
        let child = reader.inode(nid).unwrap();
        walk(
            reader,
            &child,
            &format!("{path}/{}", name.escape_ascii()),
            found,
        );
    }
}

fn line(reader: &Reader, path: &str, inode: &Inode) -> String {
    if inode.is_whiteout() {
        return format!("{path} whiteout");
    }
    let at = &inode.attributes;
    let kind = format!("{:?}", inode.kind).to_lowercase();
    let nsec = at.mtime_nsec;
    let nsec = if nsec == 0 {
        "0".to_owned()
    } else {
        format!("{nsec:09}")
    };
    let mut out = format!(
        "{path} {kind} {:o} {}:{} {}.{nsec}",
        at.mode, at.uid, at.gid, at.mtime
    );
    if inode.links != 1 {
        write!(out, " links {}", inode.links).unwrap();
    }
    match inode.kind {
        Kind::File => {
            let content = reader.read(inode, 1 << 20).unwrap();
            write!(out, " \"{}\"", content.escape_ascii()).unwrap();
        }
        Kind::Symlink => {
            let target = reader.read(inode, 4096).unwrap();
            write!(out, " -> {}", target.escape_ascii()).unwrap();
        }
        Kind::Char | Kind::Block => {
            // The kernel's `new_decode_dev`.
            let device = inode.device;
            let (major, minor) = (device >> 8 & 0xfff, device & 0xff | device >> 12 & 0xf_ff00);
            write!(out, " {major}:{minor}").unwrap();
        }
        Kind::Directory | Kind::Fifo | Kind::Socket => {}
    }
    if inode.opaque {
        out.push_str(" opaque");
    }
    for (name, value) in at.xattrs.iter() {
        write!(out, " {}=\"{}\"", name.escape_ascii(), value.escape_ascii()).unwrap();
    }
    out
}

fn check(image: &Path) {
    // Not installed: the reader has to do.
    if let Ok(output) = Command::new("fsck.erofs")
        .arg("--extract")
        .arg(image)
        .output()
    {
        assert!(output.status.success(), "fsck.erofs: {output:?}");
    }
}

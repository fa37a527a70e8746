//! Copies a tree with everything that makes it what it is: owners, modes,
//! times, links, devices and extended attributes.

use std::ffi::CString;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, lchown, symlink};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps, XattrFlags};

/// Copies what is in `from` into `to`, and gives `to` the attributes of
/// `from`.
pub(crate) fn contents(from: &Path, to: &Path) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        one(&entry.path(), &to.join(entry.file_name()))?;
    }
    let meta = fs::metadata(from)?;
    attributes(from, to, &meta)
}

fn one(from: &Path, to: &Path) -> io::Result<()> {
    let meta = fs::symlink_metadata(from)?;
    let kind = meta.file_type();
    if kind.is_dir() {
        fs::create_dir(to)?;
        return contents(from, to);
    }
    if kind.is_symlink() {
        symlink(fs::read_link(from)?, to)?;
        return lchown(to, Some(meta.uid()), Some(meta.gid()));
    }
    if kind.is_file() {
        fs::copy(from, to)?;
    } else {
        let node = match () {
            () if kind.is_fifo() => FileType::Fifo,
            () if kind.is_char_device() => FileType::CharacterDevice,
            () if kind.is_block_device() => FileType::BlockDevice,
            () => FileType::Socket,
        };
        rustix::fs::mknodat(
            CWD,
            to,
            node,
            Mode::from_raw_mode(meta.mode() & 0o7777),
            meta.rdev(),
        )?;
    }
    attributes(from, to, &meta)
}

fn attributes(from: &Path, to: &Path, meta: &Metadata) -> io::Result<()> {
    lchown(to, Some(meta.uid()), Some(meta.gid()))?;
    fs::set_permissions(to, fs::Permissions::from_mode(meta.mode() & 0o7777))?;
    let mut names = vec![0u8; 64 << 10];
    let length = rustix::fs::listxattr(from, &mut names[..]).unwrap_or(0);
    for name in names[..length]
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty())
    {
        // The overlay's own are not the image's.
        if name.starts_with(b"trusted.overlay.") {
            continue;
        }
        let name = CString::new(name)?;
        let mut value = vec![0u8; 64 << 10];
        if let Ok(length) = rustix::fs::getxattr(from, name.as_c_str(), &mut value[..]) {
            let _ =
                rustix::fs::setxattr(to, name.as_c_str(), &value[..length], XattrFlags::empty());
        }
    }
    let stamp = |seconds, nanoseconds| Timespec {
        tv_sec: seconds,
        tv_nsec: nanoseconds,
    };
    let times = Timestamps {
        last_access: stamp(meta.atime(), meta.atime_nsec()),
        last_modification: stamp(meta.mtime(), meta.mtime_nsec()),
    };
    let path = CString::new(to.as_os_str().as_bytes())?;
    rustix::fs::utimensat(CWD, path.as_c_str(), &times, AtFlags::empty())?;
    Ok(())
}

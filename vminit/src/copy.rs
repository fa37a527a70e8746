//! Copies a tree with everything that makes it what it is: owners, modes,
//! times, links, holes, devices and extended attributes.

use std::collections::HashMap;
use std::ffi::CString;
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, SeekFrom, Timespec, Timestamps, XattrFlags};
use rustix::io::Errno;

/// Notes of ours, which mean something else elsewhere. The overlay tells nobody of its
/// own: where there are such, a service has its own overlays in a volume.
const NOTES: [&[u8]; 2] = [b"trusted.stack.", b"user.stack."];
/// Bytes that are read at once from a file with holes.
const PIECE: usize = 256 << 10;

/// Copies what is in `from` into `to`, and gives `to` the attributes of
/// `from`.
pub(crate) fn contents(from: &Path, to: &Path) -> io::Result<()> {
    Copy::default().contents(from, to)
}

/// Copies what is in `from` into `to`, which stays what it is itself: a directory of the
/// host or of a server, which may refuse extended attributes.
pub(crate) fn inside(from: &Path, to: &Path) -> io::Result<()> {
    let mut copy = Copy {
        foreign: true,
        ..Copy::default()
    };
    copy.inside(from, to)
}

#[derive(Default)]
struct Copy {
    /// Where the first name of a file with several went: by device and inode.
    links: HashMap<(u64, u64), PathBuf>,
    /// Extended attributes that are not permitted are left out.
    foreign: bool,
}

impl Copy {
    fn contents(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        self.inside(from, to)?;
        let meta = fs::metadata(from)?;
        self.attributes(from, to, &meta)
    }

    fn attributes(&self, from: &Path, to: &Path, meta: &Metadata) -> io::Result<()> {
        owner(to, meta)?;
        extended(from, to, self.foreign)?;
        times(to, meta)
    }

    fn inside(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        for entry in fs::read_dir(from)? {
            let entry = entry?;
            self.one(&entry.path(), &to.join(entry.file_name()))?;
        }
        Ok(())
    }

    fn one(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let meta = fs::symlink_metadata(from)?;
        let kind = meta.file_type();
        if kind.is_dir() {
            fs::create_dir(to)?;
            return self.contents(from, to);
        }
        if meta.nlink() > 1 {
            let inode = (meta.dev(), meta.ino());
            // Where files have one name only, it is another file.
            if let Some(first) = self.links.get(&inode)
                && fs::hard_link(first, to).is_ok()
            {
                return Ok(());
            }
            self.links.insert(inode, to.to_path_buf());
        }
        if kind.is_symlink() {
            symlink(fs::read_link(from)?, to)?;
            return lchown(to, Some(meta.uid()), Some(meta.gid()));
        }
        if kind.is_file() {
            file(from, to)?;
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
        self.attributes(from, to, &meta)
    }
}

/// The content of a file: holes stay holes.
fn file(from: &Path, to: &Path) -> io::Result<()> {
    let source = File::open(from)?;
    let length = source.metadata()?.len();
    // Without holes, or without such an answer, the kernel copies it at once.
    if !matches!(rustix::fs::seek(&source, SeekFrom::Hole(0)), Ok(end) if end < length) {
        return fs::copy(from, to).map(drop);
    }
    let target = File::create(to)?;
    let mut buffer = vec![0; PIECE];
    let mut at = 0;
    while at < length {
        let Ok(start) = rustix::fs::seek(&source, SeekFrom::Data(at)) else {
            // Only a hole is left.
            break;
        };
        let end = rustix::fs::seek(&source, SeekFrom::Hole(start))?;
        rustix::fs::seek(&source, SeekFrom::Start(start))?;
        let mut data = (&source).take(end - start);
        at = start;
        loop {
            match data.read(&mut buffer)? {
                0 => break,
                read => target.write_all_at(&buffer[..read], at)?,
            }
            at = end - data.limit();
        }
        at = at.max(end);
    }
    target.set_len(length)
}

/// Gives `to` owner, mode, extended attributes and times of `from`.
pub(crate) fn attributes(from: &Path, to: &Path, meta: &Metadata) -> io::Result<()> {
    Copy::default().attributes(from, to, meta)
}

fn owner(to: &Path, meta: &Metadata) -> io::Result<()> {
    lchown(to, Some(meta.uid()), Some(meta.gid()))?;
    fs::set_permissions(to, fs::Permissions::from_mode(meta.mode() & 0o7777))
}

/// What has no room ends the copy, for `from` may go then. Not so what `to` has never
/// any of: access control lists, for one.
fn extended(from: &Path, to: &Path, foreign: bool) -> io::Result<()> {
    let mut names = vec![0u8; 64 << 10];
    let length = match rustix::fs::listxattr(from, &mut names[..]) {
        Err(Errno::OPNOTSUPP) => 0,
        listed => listed?,
    };
    for name in names[..length]
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty())
    {
        if NOTES.iter().any(|note| name.starts_with(note)) {
            continue;
        }
        let name = CString::new(name)?;
        let mut value = vec![0u8; 64 << 10];
        let length = match rustix::fs::getxattr(from, name.as_c_str(), &mut value[..]) {
            // Listed, and not to be read.
            Err(Errno::OPNOTSUPP | Errno::NODATA) => continue,
            read => read?,
        };
        match rustix::fs::setxattr(to, name.as_c_str(), &value[..length], XattrFlags::empty()) {
            Err(Errno::OPNOTSUPP) => {}
            Err(Errno::PERM | Errno::ACCESS) if foreign => {}
            Err(error) => {
                let (to, name) = (to.display(), name.to_string_lossy());
                let what = format!("{to}: attribute {name}: {error}");
                return Err(io::Error::new(io::Error::from(error).kind(), what));
            }
            Ok(()) => {}
        }
    }
    Ok(())
}

fn times(to: &Path, meta: &Metadata) -> io::Result<()> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_one_file_and_holes_stay() {
        let dir = std::env::temp_dir().join(format!("stack-copy-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        let (from, to) = (dir.join("from"), dir.join("to"));
        fs::create_dir_all(from.join("sub")).unwrap();
        fs::create_dir(&to).unwrap();
        fs::write(from.join("one"), "text").unwrap();
        fs::hard_link(from.join("one"), from.join("sub/two")).unwrap();
        let sparse = File::create(from.join("sparse")).unwrap();
        sparse.write_all_at(b"begin", 0).unwrap();
        sparse.write_all_at(b"middle", 8 << 20).unwrap();
        sparse.set_len(64 << 20).unwrap();
        fs::set_permissions(&from, fs::Permissions::from_mode(0o751)).unwrap();
        contents(&from, &to).unwrap();
        let meta = |path: &str| fs::metadata(to.join(path)).unwrap();
        assert_eq!(meta("one").ino(), meta("sub/two").ino());
        assert_eq!(meta("").mode() & 0o7777, 0o751);
        assert_eq!(meta("sparse").len(), 64 << 20);
        // Some file systems have no holes that they tell of.
        if fs::metadata(from.join("sparse")).unwrap().blocks() < 4096 {
            assert!(meta("sparse").blocks() < 4096, "{:?}", meta("sparse"));
        }
        let same = fs::read(from.join("sparse")).unwrap() == fs::read(to.join("sparse")).unwrap();
        fs::remove_dir_all(&dir).unwrap();
        assert!(same);
    }

    #[test]
    fn what_makes_a_directory_opaque_in_a_service_s_own_overlay_stays() {
        let dir = std::env::temp_dir().join(format!("stack-opaque-{}", std::process::id()));
        let (from, to) = (dir.join("from"), dir.join("to"));
        fs::create_dir_all(&from).unwrap();
        fs::create_dir(&to).unwrap();
        let opaque = "trusted.overlay.opaque";
        // Root's alone.
        let flags = XattrFlags::empty();
        let may = rustix::fs::setxattr(&from, opaque, b"y", flags).is_ok();
        let _ = rustix::fs::setxattr(&from, "trusted.stack.fill", b"done", flags);
        contents(&from, &to).unwrap();
        let mut value = [0; 8];
        let copied = rustix::fs::getxattr(&to, opaque, &mut value);
        let own = rustix::fs::getxattr(&to, "trusted.stack.fill", &mut [0u8; 8]);
        fs::remove_dir_all(&dir).unwrap();
        assert_eq!(copied.is_ok(), may);
        assert!(own.is_err());
    }

    #[test]
    fn an_attribute_that_has_no_room_ends_the_copy() {
        let name = format!("stack-room-{}", std::process::id());
        // A file system in memory has room for more than most disks'.
        let (from, to) = (
            Path::new("/dev/shm").join(&name),
            std::env::temp_dir().join(&name),
        );
        for dir in [&from, &to] {
            let _ = fs::remove_dir_all(dir);
            fs::create_dir_all(dir).unwrap();
        }
        let set = |path: &Path| {
            fs::write(path, "").unwrap();
            let value = vec![1; 60_000];
            rustix::fs::setxattr(path, "user.large", &value, XattrFlags::empty())
        };
        let (there, here) = (set(&from.join("file")), set(&to.join("try")));
        let copied = inside(&from, &to);
        for dir in [&from, &to] {
            fs::remove_dir_all(dir).unwrap();
        }
        let refused = there.is_ok() && matches!(here, Err(Errno::NOSPC));
        assert_eq!(copied.is_err(), refused, "{copied:?}");
    }
}

//! Volumes: ext4 disks, filled from the image on first use.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::mount::MsFlags;
use rustix::fs::{OFlags, XattrFlags};
use rustix::io::Errno;
use stack_protocol::config::disk_dir;

use crate::copy;
use crate::rootfs::{Disks, on};
use crate::within::Target;

/// Freed blocks go back to the host; inode tables are zero already, for the
/// disk began as a hole.
pub(crate) const OPTIONS: &str = "discard,noinit_itable";

/// What was done about the image's content ([`Mark`]), as an attribute of the
/// volume's top that only the VM's root sees.
const MARK: &str = "trusted.stack.fill";
/// The file of [`Lock`].
const LOCK: &str = ".stack-fill";

/// Mounts a volume's disk, once. With `image`, an empty volume begins with
/// what is there (Docker's rule for named volumes).
pub(crate) fn mount(serial: &str, disks: &Disks, image: Option<&Target>) -> io::Result<PathBuf> {
    let dir = PathBuf::from(disk_dir(serial));
    let node = disks.node(serial)?;
    if disks.is_read_only(serial) {
        if !dir.exists() {
            fs::create_dir_all(&dir)?;
            // A journal that was left behind cannot be replayed here.
            on(&node, &dir, "ext4", MsFlags::MS_RDONLY, "")
                .or_else(|_| on(&node, &dir, "ext4", MsFlags::MS_RDONLY, "noload"))?;
        }
        return Ok(dir);
    }
    if !dir.exists() {
        fs::create_dir_all(&dir)?;
        on(&node, &dir, "ext4", MsFlags::empty(), OPTIONS)?;
        // e2fsck's, which makes it again when it needs one.
        let _ = fs::remove_dir(dir.join("lost+found"));
    }
    if let Some(image) = image {
        fill(&dir, image)?;
    }
    Ok(dir)
}

/// Copies the image's content into an empty volume.
fn fill(top: &Path, image: &Target) -> io::Result<()> {
    fill_from(top, &image.path(), None)
        .map_err(|error| io::Error::other(format!("copying the image's content: {error}")))
}

/// [`fill`], for a volume that other machines may mount at the same time.
pub(crate) fn fill_shared(top: &Path, image: &Target) -> io::Result<()> {
    shared(top, &image.path())
        .map_err(|error| io::Error::other(format!("copying the image's content: {error}")))
}

/// [`fill`], for a directory that is the user's own or a server's: it stays what it is
/// itself, nothing in it is ever removed, and a copy that was cut off stays so.
pub(crate) fn fill_foreign(top: &Path, image: &Target) -> io::Result<()> {
    foreign(top, &image.path()).map_err(|error| {
        let nocopy = "`nocopy: true` leaves it empty";
        io::Error::other(format!("copying the image's content: {error}; {nocopy}"))
    })
}

fn foreign(top: &Path, image: &Path) -> io::Result<()> {
    let nothing = fs::read_dir(image)?.next().is_none();
    if nothing || !is_empty(top)? && !top.join(LOCK).exists() {
        return Ok(());
    }
    let lock = Lock::take(top)?;
    let copied = match is_empty(top)? {
        true => copy::inside(image, top),
        false => Ok(()),
    };
    lock.map_or(Ok(()), Lock::end)?;
    copied
}

fn shared(top: &Path, image: &Path) -> io::Result<()> {
    let known = mark(top);
    if known == Some(Mark::Done) {
        // What a kill has left between the mark and the end.
        return gone(fs::remove_file(top.join(LOCK)));
    }
    if known.is_none() && !is_empty(top)? && !top.join(LOCK).exists() {
        return Ok(());
    }
    if known == Some(Mark::Owned) && fs::read_dir(image)?.next().is_none() {
        return Ok(());
    }
    let lock = Lock::take(top)?;
    fill_from(top, image, lock.as_ref())?;
    lock.map_or(Ok(()), Lock::end)
}

fn fill_from(top: &Path, image: &Path, lock: Option<&Lock>) -> io::Result<()> {
    let known = mark(top);
    let begun = known == Some(Mark::Begun) || lock.is_some_and(|lock| lock.begun);
    if known == Some(Mark::Done) {
        return Ok(());
    }
    if begun {
        // The VM died while it copied.
        clear(top)?;
    } else if !is_empty(top)? {
        return set_mark(top, Mark::Done);
    }
    if fs::read_dir(image)?.next().is_none() {
        if known != Some(Mark::Owned) {
            own(top, image)?;
            set_mark(top, Mark::Owned)?;
        }
        return Ok(());
    }
    set_mark(top, Mark::Begun)?;
    lock.map_or(Ok(()), Lock::begin)?;
    copy::contents(image, top)?;
    // The copy first, then the mark.
    rustix::fs::sync();
    set_mark(top, Mark::Done)
}

/// An empty directory of the image has nothing but an owner, a mode and
/// attributes. A directory of the host or of a server may refuse them.
fn own(top: &Path, image: &Path) -> io::Result<()> {
    let (meta, there) = (fs::metadata(image)?, fs::metadata(top)?);
    let of = |meta: &fs::Metadata| (meta.uid(), meta.gid(), meta.mode());
    if of(&meta) == of(&there) {
        return Ok(());
    }
    match copy::attributes(image, top, &meta) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        done => done,
    }
}

fn is_empty(top: &Path) -> io::Result<bool> {
    for entry in fs::read_dir(top)? {
        if entry?.file_name() != LOCK {
            return Ok(false);
        }
    }
    Ok(true)
}

/// What was removed is not there, whoever did it. Nothing is removed where nothing
/// can be written.
fn gone(removed: io::Result<()>) -> io::Result<()> {
    use io::ErrorKind::{NotFound, PermissionDenied, ReadOnlyFilesystem};
    match removed {
        Err(error)
            if !matches!(
                error.kind(),
                NotFound | PermissionDenied | ReadOnlyFilesystem
            ) =>
        {
            Err(error)
        }
        _ => Ok(()),
    }
}

/// One of several machines copies, the others wait: a file in the volume, as a lock of
/// a directory does not hold between machines everywhere (nfs(5)). It is there as
/// long as somebody copies, or when that was cut off.
struct Lock {
    file: File,
    path: PathBuf,
    /// Who had it before has not ended.
    begun: bool,
}

impl Lock {
    /// Waits for it. `None`: nothing can be written there, or not locked.
    fn take(top: &Path) -> io::Result<Option<Lock>> {
        let path = top.join(LOCK);
        loop {
            let mut options = fs::OpenOptions::new();
            options.read(true).write(true).create(true).truncate(false);
            options.custom_flags(OFlags::NOFOLLOW.bits().cast_signed());
            let Ok(file) = options.mode(0o600).open(&path) else {
                return Ok(None);
            };
            if file.lock().is_err() {
                gone(fs::remove_file(&path))?;
                return Ok(None);
            }
            // Who had it may have removed it.
            let own = file.metadata()?;
            if fs::metadata(&path).is_ok_and(|there| there.ino() == own.ino()) {
                let begun = own.len() > 0;
                return Ok(Some(Lock { file, path, begun }));
            }
        }
    }

    /// From now on the volume is not what it was.
    fn begin(&self) -> io::Result<()> {
        (&self.file).write_all(b"begun\n")?;
        self.file.sync_all()
    }

    fn end(self) -> io::Result<()> {
        gone(fs::remove_file(&self.path))
    }
}

/// What was done about the image's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mark {
    /// The image had nothing to copy: the volume has its directory's attributes.
    Owned,
    Begun,
    Done,
}

impl Mark {
    const ALL: [Mark; 3] = [Mark::Owned, Mark::Begun, Mark::Done];

    fn name(self) -> &'static [u8] {
        match self {
            Mark::Owned => b"owned",
            Mark::Begun => b"begun",
            Mark::Done => b"done",
        }
    }
}

fn mark(top: &Path) -> Option<Mark> {
    let mut value = [0; 16];
    let length = rustix::fs::getxattr(top, MARK, &mut value).ok()?;
    Mark::ALL
        .into_iter()
        .find(|mark| mark.name() == &value[..length])
}

/// What has no such attributes (NFS, some directories of the host) goes without: there
/// the lock tells of a copy that was cut off.
fn set_mark(top: &Path, mark: Mark) -> io::Result<()> {
    match rustix::fs::setxattr(top, MARK, mark.name(), XattrFlags::empty()) {
        Err(Errno::NOTSUP | Errno::PERM | Errno::ACCESS) => Ok(()),
        other => Ok(other?),
    }
}

fn clear(top: &Path) -> io::Result<()> {
    for entry in fs::read_dir(top)? {
        let entry = entry?;
        if entry.file_name() == LOCK {
            continue;
        }
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::thread;

    use super::*;

    fn case(name: &str) -> (PathBuf, PathBuf, PathBuf) {
        let name = format!("stack-fill-{name}-{}", std::process::id());
        let dir = std::env::temp_dir().join(name);
        let _ = fs::remove_dir_all(&dir);
        let (image, top) = (dir.join("image"), dir.join("top"));
        for made in [&image, &top] {
            fs::create_dir_all(made).unwrap();
        }
        (dir, image, top)
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o7777
    }

    #[test]
    fn two_machines_fill_a_volume_once() {
        let (dir, image, top) = case("two");
        for n in 0..500 {
            fs::write(image.join(n.to_string()), "text").unwrap();
        }
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    shared(&top, &image).unwrap();
                    // Nobody begins before all is there, and nothing goes again.
                    let files = fs::read_dir(&top).unwrap().flatten();
                    assert_eq!(files.filter(|file| file.file_name() != LOCK).count(), 500);
                });
            }
        });
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_copy_that_was_cut_off_is_made_again() {
        let (dir, image, top) = case("cut");
        fs::write(image.join("file"), "whole").unwrap();
        let lock = Lock::take(&top).unwrap().unwrap();
        lock.begin().unwrap();
        drop(lock);
        fs::write(top.join("file"), "ha").unwrap();
        fs::write(top.join("other"), "left").unwrap();
        shared(&top, &image).unwrap();
        assert_eq!(fs::read_to_string(top.join("file")).unwrap(), "whole");
        assert_eq!(fs::read_dir(&top).unwrap().count(), 1);
        // From now on it is the user's.
        fs::write(top.join("file"), "mine").unwrap();
        shared(&top, &image).unwrap();
        assert_eq!(fs::read_to_string(top.join("file")).unwrap(), "mine");
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn an_empty_directory_gives_its_mode_and_leaves_room_for_more() {
        let (dir, image, top) = case("empty");
        fs::set_permissions(&image, fs::Permissions::from_mode(0o2770)).unwrap();
        fill_from(&top, &image, None).unwrap();
        assert_eq!(mode(&top), 0o2770);
        // Another service's image has something there.
        fs::write(image.join("file"), "text").unwrap();
        fill_from(&top, &image, None).unwrap();
        assert!(top.join("file").is_file());
        fs::remove_dir_all(dir).unwrap();
    }
}

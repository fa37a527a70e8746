//! Volumes: ext4 disks, filled from the image on first use.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use nix::mount::MsFlags;
use rustix::fs::XattrFlags;
use rustix::io::Errno;

use crate::copy;
use crate::rootfs::{Disks, on};
use crate::within::Target;

/// Freed blocks go back to the host; inode tables are zero already, for the
/// disk began as a hole.
pub(crate) const OPTIONS: &str = "discard,noinit_itable";

/// What was done about the image's content, as an attribute of the volume's
/// top that only the VM's root sees: `begun` or `done`.
const MARK: &str = "trusted.stack.fill";

/// Mounts a volume's disk, once. With `image`, an empty volume begins with
/// what is there (Docker's rule for named volumes).
pub(crate) fn mount(serial: &str, disks: &Disks, image: Option<&Target>) -> io::Result<PathBuf> {
    let dir = PathBuf::from(format!("/run/volume/{serial}"));
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
pub(crate) fn fill(top: &Path, image: &Target) -> io::Result<()> {
    fill_from(top, &image.path())
        .map_err(|error| io::Error::other(format!("copying the image's content: {error}")))
}

fn fill_from(top: &Path, image: &Path) -> io::Result<()> {
    let mut mark = [0; 16];
    let mark = match rustix::fs::getxattr(top, MARK, &mut mark) {
        Ok(length) => &mark[..length],
        Err(_) => &[],
    };
    if mark == b"done" || fs::read_dir(image)?.next().is_none() {
        return Ok(());
    }
    if mark == b"begun" {
        // The VM died while it copied.
        clear(top)?;
    } else if fs::read_dir(top)?.next().is_some() {
        return set_mark(top, b"done");
    }
    set_mark(top, b"begun")?;
    copy::contents(image, top)?;
    // The copy first, then the mark.
    rustix::fs::sync();
    set_mark(top, b"done")
}

/// What has no such attributes (NFS, some directories of the host) goes without: there a
/// copy that was cut off stays as it is.
fn set_mark(top: &Path, value: &[u8]) -> io::Result<()> {
    match rustix::fs::setxattr(top, MARK, value, XattrFlags::empty()) {
        Err(Errno::NOTSUP | Errno::PERM | Errno::ACCESS) => Ok(()),
        other => Ok(other?),
    }
}

fn clear(top: &Path) -> io::Result<()> {
    for entry in fs::read_dir(top)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

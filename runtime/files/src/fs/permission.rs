//! What the host's user may do with a file or in a directory of his own although its mode says
//! otherwise: he may change the mode, and does so for the moment. Whether a
//! guest's process may do it has been decided by the guest's kernel.

use std::collections::BTreeSet;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Mutex, MutexGuard};

use rustix::fs::{Mode, Statx, XattrFlags};
use rustix::io::Errno;

use super::guard;
use super::resolve::{by_descriptor, errno, stat};
use crate::fuse::Res;

const READ: u32 = 0o400;
const WRITE: u32 = 0o200;
/// To look names up in a directory, and to make and remove them.
pub(super) const SEARCH: u32 = 0o100;
pub(super) const NAMES: u32 = 0o300;
/// Longest list of attributes (`XATTR_LIST_MAX`).
const LIST: usize = 64 << 10;

/// One at a time for each file.
pub(super) struct Turns([Mutex<()>; 64]);

impl Turns {
    pub(super) const fn new() -> Turns {
        Turns([const { Mutex::new(()) }; 64])
    }

    /// As long as it lasts, nobody else has the file's.
    pub(super) fn take(&self, stat: &Statx) -> MutexGuard<'_, ()> {
        guard(&self.0[slot(stat)])
    }
}

/// Another one would take a mode that is for the moment for the file's own.
static TURNS: Turns = Turns::new();

/// Whether the file is this user's.
pub(super) fn own(stat: &Statx) -> bool {
    stat.stx_uid == rustix::process::geteuid().as_raw()
}

fn slot(stat: &Statx) -> usize {
    stat.stx_ino as usize % TURNS.0.len()
}

/// As long as it lasts, nobody else changes the file's mode.
pub(super) fn turn(stat: &Statx) -> MutexGuard<'static, ()> {
    TURNS.take(stat)
}

/// Does it; if the mode of the user's own file is in the way, with these bits
/// added.
pub(super) fn allowed<T>(
    fd: impl AsFd,
    bits: u32,
    act: impl Fn() -> Result<T, Errno>,
) -> Result<T, Errno> {
    allowed_in(&[fd.as_fd()], bits, act)
}

/// The same of several files, one of which may be there twice.
pub(super) fn allowed_in<T>(
    fds: &[BorrowedFd<'_>],
    bits: u32,
    act: impl Fn() -> Result<T, Errno>,
) -> Result<T, Errno> {
    match act() {
        Err(Errno::ACCESS) => {}
        done => return done,
    }
    let slots: Result<BTreeSet<usize>, i32> =
        fds.iter().map(|fd| stat(fd).map(|s| slot(&s))).collect();
    let Ok(slots) = slots else {
        return Err(Errno::ACCESS);
    };
    // In one order, so that nobody waits for the other one.
    let _turns: Vec<_> = slots
        .into_iter()
        .map(|slot| guard(&TURNS.0[slot]))
        .collect();
    let mut changed = Vec::new();
    let added = fds.iter().try_for_each(|fd| {
        let now = stat(fd).map_err(Errno::from_raw_os_error)?;
        let mode = u32::from(now.stx_mode) & 0o7777;
        if own(&now) && mode & bits != bits {
            let path = by_descriptor(fd);
            rustix::fs::chmod(&path, Mode::from_raw_mode(mode | bits))?;
            changed.push((path, mode));
        }
        Ok(())
    });
    let done = added.and_then(|()| act());
    for (path, mode) in changed {
        let _ = rustix::fs::chmod(&path, Mode::from_raw_mode(mode));
    }
    done
}

/// The file has this attribute. Whoever may not read its value may know.
fn has(fd: impl AsFd, name: &[u8]) -> bool {
    let mut list = vec![0; LIST];
    rustix::fs::listxattr(by_descriptor(fd), &mut list[..])
        .is_ok_and(|length| list[..length].split(|byte| *byte == 0).any(|n| n == name))
}

/// Does it to an attribute, if it is there.
fn to_attribute<T>(
    fd: impl AsFd,
    name: &[u8],
    bits: u32,
    act: impl Fn() -> Result<T, Errno>,
) -> Res<T> {
    let done = match act() {
        Err(Errno::ACCESS) if has(&fd, name) => allowed(&fd, bits, act),
        Err(Errno::ACCESS) => Err(Errno::NODATA),
        done => done,
    };
    done.map_err(errno)
}

/// Reads an extended attribute; gives its length.
pub(super) fn get_attribute(fd: impl AsFd, name: &[u8], value: &mut [u8]) -> Res<usize> {
    let path = by_descriptor(&fd);
    let room = std::cell::RefCell::new(value);
    to_attribute(&fd, name, READ, || {
        rustix::fs::getxattr(&path, name, &mut room.borrow_mut()[..])
    })
}

/// Sets an extended attribute.
pub(super) fn set_attribute(fd: impl AsFd, name: &[u8], value: &[u8], how: XattrFlags) -> Res<()> {
    let path = by_descriptor(&fd);
    allowed(&fd, WRITE, || rustix::fs::setxattr(&path, name, value, how)).map_err(errno)
}

/// Removes an extended attribute. `ENODATA`: there is none.
pub(super) fn remove_attribute(fd: impl AsFd, name: &[u8]) -> Res<()> {
    let path = by_descriptor(&fd);
    to_attribute(&fd, name, WRITE, || rustix::fs::removexattr(&path, name))
}

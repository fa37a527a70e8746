//! From a node to a file of the host. No step follows a symbolic link or
//! leaves the share (openat2(2), RESOLVE_BENEATH), whoever changes the tree
//! meanwhile.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags, Statx, StatxFlags};
use rustix::io::Errno;

use super::Fs;
use super::permission::{NAMES, SEARCH, allowed};
use super::tree::Identity;
use crate::fuse::Res;
use crate::spec::Kind;

/// Longest path for one call (`PATH_MAX`, less the final NUL).
const PATH: usize = 4095;

/// A file of the host.
#[derive(Debug)]
pub(super) struct Found {
    /// `O_PATH`: names it, opens nothing.
    pub(super) fd: OwnedFd,
    pub(super) stat: Statx,
}

pub(super) fn errno(error: Errno) -> i32 {
    error.raw_os_error()
}

/// A path to what a descriptor stands for, for calls that take none.
pub(super) fn by_descriptor(fd: impl AsFd) -> String {
    format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd())
}

pub(super) fn stat(fd: impl AsFd) -> Res<Statx> {
    let want = StatxFlags::BASIC_STATS | StatxFlags::BTIME;
    let flags = AtFlags::EMPTY_PATH | AtFlags::SYMLINK_NOFOLLOW;
    rustix::fs::statx(fd, "", flags, want).map_err(errno)
}

pub(super) fn identity(stat: &Statx) -> Identity {
    let born = &stat.stx_btime;
    Identity {
        dev: u64::from(stat.stx_dev_major) << 32 | u64::from(stat.stx_dev_minor),
        ino: stat.stx_ino,
        born: (born.tv_sec as u64)
            .wrapping_mul(1_000_000_000)
            .wrapping_add(born.tv_nsec.into()),
    }
}

pub(super) fn is_kind(stat: &Statx, kind: u32) -> bool {
    u32::from(stat.stx_mode) & libc::S_IFMT == kind
}

fn open_beneath(
    dir: BorrowedFd<'_>,
    path: &[u8],
    flags: OFlags,
    mode: Mode,
) -> Result<OwnedFd, Errno> {
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let how = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    loop {
        match rustix::fs::openat2(dir, path, flags, mode, how) {
            // Something was renamed meanwhile (openat2(2)).
            Err(Errno::AGAIN) => {}
            other => return other,
        }
    }
}

/// Opens a path of any length below a directory.
fn walk(root: BorrowedFd<'_>, path: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
    if path.is_empty() {
        return open_beneath(root, b".", flags, Mode::empty());
    }
    if path.len() <= PATH {
        return open_beneath(root, path, flags, Mode::empty());
    }
    let cut = path[..PATH]
        .iter()
        .rposition(|byte| *byte == b'/')
        .ok_or(Errno::NAMETOOLONG)?;
    let dir = open_beneath(
        root,
        &path[..cut],
        OFlags::PATH | OFlags::DIRECTORY,
        Mode::empty(),
    )?;
    walk(dir.as_fd(), &path[cut + 1..], flags)
}

/// Opens what is below directories of the user's own that not even he may look into.
fn walk_closed(root: BorrowedFd<'_>, path: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
    let mut dir: Option<OwnedFd> = None;
    let mut parts = path.split(|byte| *byte == b'/').peekable();
    while let Some(part) = parts.next() {
        let at = dir.as_ref().map_or(root, AsFd::as_fd);
        let flags = match parts.peek() {
            Some(_) => OFlags::PATH | OFlags::DIRECTORY,
            None => flags,
        };
        let open = || open_beneath(at, part, flags, Mode::empty());
        dir = Some(allowed(at, SEARCH, open)?);
    }
    dir.ok_or(Errno::NOENT)
}

/// Opens or makes a name in a directory.
pub(super) fn open_name(dir: impl AsFd, name: &[u8], flags: OFlags, mode: u32) -> Res<OwnedFd> {
    let bits = match flags.contains(OFlags::CREATE) {
        true => NAMES,
        false => SEARCH,
    };
    let open = || open_beneath(dir.as_fd(), name, flags, Mode::from_raw_mode(mode));
    allowed(&dir, bits, open).map_err(errno)
}

/// What has this name in a directory.
pub(super) fn look(dir: impl AsFd, name: &[u8]) -> Res<Found> {
    let fd = open_name(dir, name, OFlags::PATH, 0)?;
    let stat = stat(&fd)?;
    Ok(Found { fd, stat })
}

impl Fs {
    /// Finds the node's file. `ESTALE`: it is not there any more; the guest
    /// then looks its name up again.
    pub(super) fn find(&self, node: u64) -> Res<Found> {
        let (share, paths) = self.tree().place(node)?;
        let root = &self.roots[share as usize];
        if self.shares[share as usize].kind == Kind::File {
            return self.find_file(share);
        }
        let wanted = self.tree().get(node).map(|node| node.identity);
        for path in paths {
            let walk = || match walk(root.as_fd(), &path, OFlags::PATH) {
                Err(Errno::ACCESS) => walk_closed(root.as_fd(), &path, OFlags::PATH),
                walked => walked,
            };
            let walked = || walk().map_err(errno);
            let fd = match self.with_room(walked) {
                Ok(fd) => fd,
                // That says nothing about the file.
                Err(error @ (libc::EMFILE | libc::ENFILE | libc::ENOMEM)) => return Err(error),
                Err(_) => continue,
            };
            let stat = stat(&fd)?;
            if wanted.is_none_or(|wanted| wanted == identity(&stat)) {
                return Ok(Found { fd, stat });
            }
        }
        Err(libc::ESTALE)
    }

    /// A single file is whatever has its name, so that an editor may replace
    /// it; but never anything else than a file.
    fn find_file(&self, share: u32) -> Res<Found> {
        use std::os::unix::ffi::OsStrExt;
        let root = &self.roots[share as usize];
        let name = self.shares[share as usize]
            .path
            .file_name()
            .ok_or(libc::ESTALE)?;
        let found = look(root, name.as_bytes()).map_err(|_| libc::ESTALE)?;
        match is_kind(&found.stat, libc::S_IFREG) {
            true => Ok(found),
            false => Err(libc::ESTALE),
        }
    }

    /// Finds a directory.
    pub(super) fn find_dir(&self, node: u64) -> Res<Found> {
        let found = self.find(node)?;
        match is_kind(&found.stat, libc::S_IFDIR) {
            true => Ok(found),
            false => Err(libc::ENOTDIR),
        }
    }
}

/// Opens what was found, if it is a plain file or directory: opening others
/// has effects of its own.
pub(super) fn reopen(found: &Found, flags: OFlags) -> Res<OwnedFd> {
    if !is_kind(&found.stat, libc::S_IFREG) && !is_kind(&found.stat, libc::S_IFDIR) {
        return Err(libc::EPERM);
    }
    let open = || {
        let flags = flags | OFlags::CLOEXEC | OFlags::NOCTTY;
        rustix::fs::open(by_descriptor(&found.fd), flags, Mode::empty())
    };
    allowed(&found.fd, 0o700, open).map_err(errno)
}

//! Removing and renaming.

use std::os::fd::AsFd;

use rustix::fs::{AtFlags, RenameFlags};
use rustix::io::Errno;

use super::Fs;
use super::journal::Deed;
use super::nameless::give_back;
use super::permission::{NAMES, allowed, allowed_in};
use super::resolve::{Found, errno, identity, is_kind, look};
use super::tree::Identity;
use crate::fuse::{Args, Header, Res};

/// Flags of renameat2(2) that are known.
const NOREPLACE: u32 = 1;
const EXCHANGE: u32 = 2;

/// A directory and a name in it.
type Place<'a> = (u64, &'a [u8]);

/// Renames. A directory that gets another parent is written to as well.
fn move_name(from: (&Found, &[u8]), to: (&Found, &[u8]), how: RenameFlags) -> Result<(), Errno> {
    let rename = || rustix::fs::renameat_with(&from.0.fd, from.1, &to.0.fd, to.1, how);
    match rename() {
        Err(Errno::ACCESS) => {}
        done => return done,
    }
    let moved: Vec<Found> = [from, to]
        .into_iter()
        .filter_map(|(dir, name)| look(&dir.fd, name).ok())
        .filter(|found| is_kind(&found.stat, libc::S_IFDIR))
        .collect();
    let dirs = [from.0, to.0].into_iter().chain(&moved);
    let fds: Vec<_> = dirs.map(|found| found.fd.as_fd()).collect();
    allowed_in(&fds, NAMES, rename)
}

impl Fs {
    pub(super) fn unlink(&self, header: &Header, mut args: Args<'_>, again: bool) -> Res<Vec<u8>> {
        let name = args.name()?;
        self.remove(header, name, AtFlags::empty(), again)
    }

    pub(super) fn rmdir(&self, header: &Header, mut args: Args<'_>, again: bool) -> Res<Vec<u8>> {
        let name = args.name()?;
        self.remove(header, name, AtFlags::REMOVEDIR, again)
    }

    /// What has a name that a request takes away, and whether it is gone already: an
    /// earlier server has noted what it was, and something else has the name since. It
    /// is not looked at where nobody else makes names.
    fn taken(
        &self,
        header: &Header,
        share: u32,
        (dir, name): (&Found, &[u8]),
        again: bool,
    ) -> Res<(Option<Identity>, bool)> {
        let noted = match self.begun(header, again) {
            Some(Deed::Named(noted)) => Some(noted),
            Some(Deed::Making(_) | Deed::Made | Deed::Appends(_)) | None => None,
        };
        if noted.is_none() && !self.held[share as usize].is_shared() {
            return Ok((None, false));
        }
        let now = look(&dir.fd, name).ok().map(|found| identity(&found.stat));
        if noted.is_some() {
            return Ok((noted, now != noted));
        }
        if let Some(now) = now {
            self.begin(header, Deed::Named(now))?;
        }
        Ok((now, false))
    }

    fn remove(&self, header: &Header, name: &[u8], flags: AtFlags, again: bool) -> Res<Vec<u8>> {
        let parent = header.node;
        let share = self.writable(parent)?;
        let dir = self.find_dir(parent)?;
        let (_, done) = self.taken(header, share, (&dir, name), again)?;
        if !done {
            let kept = self.before_removal(share, parent, &dir.fd, name)?;
            let remove = || rustix::fs::unlinkat(&dir.fd, name, flags);
            match allowed(&dir.fd, NAMES, remove).map_err(errno) {
                Err(libc::ENOENT) if again => {}
                Err(error) => {
                    give_back(kept);
                    return Err(error);
                }
                Ok(()) => {}
            }
        }
        let mut tree = self.tree();
        self.note(tree.unname(parent, name))?;
        Ok(Vec::new())
    }

    pub(super) fn rename(
        &self,
        header: &Header,
        mut args: Args<'_>,
        second: bool,
        again: bool,
    ) -> Res<Vec<u8>> {
        let to = args.u64()?;
        let flags = if second { args.u32()? } else { 0 };
        if second {
            args.u32()?;
        }
        let (old, new) = (args.name()?, args.name()?);
        if flags & !(NOREPLACE | EXCHANGE) != 0 {
            return Err(libc::EINVAL);
        }
        let from = header.node;
        let share = self.writable(from)?;
        if share != self.writable(to)? {
            return Err(libc::EXDEV);
        }
        let (from_dir, to_dir) = (self.find_dir(from)?, self.find_dir(to)?);
        if flags & EXCHANGE != 0 {
            let places = ((from, old), (to, new));
            return self.exchange(header, (&from_dir, &to_dir), places, again);
        }
        let places = ((&from_dir, old), (&to_dir, new));
        let (moved, gone) = self.taken(header, share, places.0, again)?;
        // Somebody else may have taken it away before it was moved.
        let there = || {
            look(&to_dir.fd, new)
                .map(|found| identity(&found.stat))
                .ok()
        };
        let done = gone && there() == moved;
        if !done {
            let mut kept = self.before_removal(share, to, &to_dir.fd, new)?;
            kept.extend(
                moved
                    .into_iter()
                    .flat_map(|moved| self.before_move(moved, &to_dir)),
            );
            let how = RenameFlags::from_bits_retain(flags);
            match move_name(places.0, places.1, how).map_err(errno) {
                Err(libc::ENOENT) if again && look(&to_dir.fd, new).is_ok() => {}
                Err(error) => {
                    give_back(kept);
                    return Err(error);
                }
                Ok(()) => {}
            }
        }
        if let Some(moved) = moved {
            self.after_move(share, moved, places.0, places.1);
        }
        let mut tree = self.tree();
        self.note(tree.moved((from, old), (to, new)))?;
        Ok(Vec::new())
    }

    /// To do it twice would undo it: so it is noted what had the first name.
    fn exchange(
        &self,
        header: &Header,
        (from_dir, to_dir): (&Found, &Found),
        (first, second): (Place<'_>, Place<'_>),
        again: bool,
    ) -> Res<Vec<u8>> {
        let (one, two) = ((from_dir, first.1), (to_dir, second.1));
        let now = |(dir, name): (&Found, &[u8])| look(&dir.fd, name).map(|f| identity(&f.stat));
        let (is, other) = (now(one)?, now(two)?);
        let before = match self.begun(header, again) {
            Some(Deed::Named(noted)) => noted,
            Some(Deed::Making(_) | Deed::Made | Deed::Appends(_)) | None => is,
        };
        let mut moved = (is, other);
        if is == before {
            self.begin(header, Deed::Named(before))?;
            let mut kept = self.before_move(is, to_dir);
            kept.extend(self.before_move(other, from_dir));
            if let Err(error) = move_name(one, two, RenameFlags::EXCHANGE) {
                give_back(kept);
                return Err(errno(error));
            }
        } else {
            moved = (other, is);
        }
        let share = self.tree().share(first.0)?;
        self.after_move(share, moved.0, one, two);
        self.after_move(share, moved.1, two, one);
        let mut tree = self.tree();
        let of = |(parent, name)| {
            let node = tree.child(parent, name)?;
            tree.get(node).map(|node| node.identity)
        };
        // An earlier server may have noted that it was carried out.
        let noted = of(second) == Some(before) || of(first).is_some_and(|is| is != before);
        if !noted {
            self.note(tree.exchanged(first, second))?;
        }
        Ok(Vec::new())
    }
}

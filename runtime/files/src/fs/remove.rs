//! Removing and renaming.

use std::os::fd::AsFd;

use rustix::fs::{AtFlags, RenameFlags};
use rustix::io::Errno;

use super::Fs;
use super::journal::Record;
use super::nameless::give_back;
use super::permission::{NAMES, allowed, allowed_in};
use super::resolve::{Found, errno, identity, is_kind, look};
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
        self.remove(header.node, name, AtFlags::empty(), again)
    }

    pub(super) fn rmdir(&self, header: &Header, mut args: Args<'_>, again: bool) -> Res<Vec<u8>> {
        let name = args.name()?;
        self.remove(header.node, name, AtFlags::REMOVEDIR, again)
    }

    fn remove(&self, parent: u64, name: &[u8], flags: AtFlags, again: bool) -> Res<Vec<u8>> {
        let share = self.writable(parent)?;
        let dir = self.find_dir(parent)?;
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
        let kept = self.before_removal(share, to, &to_dir.fd, new)?;
        let how = RenameFlags::from_bits_retain(flags);
        match move_name((&from_dir, old), (&to_dir, new), how).map_err(errno) {
            Err(libc::ENOENT) if again && look(&to_dir.fd, new).is_ok() => {}
            Err(error) => {
                give_back(kept);
                return Err(error);
            }
            Ok(()) => {}
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
        let request = header.unique;
        let now = identity(&look(&from_dir.fd, first.1)?.stat);
        let noted = self.earlier.get(&request).copied().flatten();
        let before = noted.filter(|_| again).unwrap_or(now);
        if now == before {
            let identity = before;
            self.begin(Record::Exchange { request, identity })?;
            let how = RenameFlags::EXCHANGE;
            move_name((from_dir, first.1), (to_dir, second.1), how).map_err(errno)?;
        }
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

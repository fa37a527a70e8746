//! Removing and renaming.

use rustix::fs::{AtFlags, RenameFlags};

use super::Fs;
use super::resolve::{errno, look};
use crate::fuse::{Args, Header, Res};

/// Flags of renameat2(2) that are known.
const NOREPLACE: u32 = 1;
const EXCHANGE: u32 = 2;

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
        self.writable(parent)?;
        let dir = self.find_dir(parent)?;
        let node = self.tree().child(parent, name);
        let kept = self.before_removal(node, &dir.fd, name);
        match rustix::fs::unlinkat(&dir.fd, name, flags).map_err(errno) {
            Err(libc::ENOENT) if again => {}
            other => other?,
        }
        self.after_removal(kept);
        let record = self.tree().unname(parent, name);
        self.note(record)?;
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
        if self.writable(from)? != self.writable(to)? {
            return Err(libc::EXDEV);
        }
        let (from_dir, to_dir) = (self.find_dir(from)?, self.find_dir(to)?);
        let replaced = self.tree().child(to, new);
        let replaced = replaced.filter(|_| flags & EXCHANGE == 0);
        let kept = self.before_removal(replaced, &to_dir.fd, new);
        let how = RenameFlags::from_bits_retain(flags);
        match rustix::fs::renameat_with(&from_dir.fd, old, &to_dir.fd, new, how).map_err(errno) {
            Err(libc::ENOENT) if again && look(&to_dir.fd, new).is_ok() => {}
            other => other?,
        }
        self.after_removal(kept);
        let records = match flags & EXCHANGE != 0 {
            true => self.tree().exchanged((from, old), (to, new)),
            false => self.tree().moved((from, old), (to, new)),
        };
        self.note(records)?;
        Ok(Vec::new())
    }
}

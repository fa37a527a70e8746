//! Extended attributes. A guest's root may set those that the host's user may
//! not: they are kept under a prefix of ours.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::XattrFlags;

use super::Fs;
use super::meta::OVERRIDE;
use super::permission::{get_attribute, remove_attribute, set_attribute};
use super::resolve::{by_descriptor, errno};
use crate::fuse::{Args, Header, Out, Res};
use crate::spec::Kind;

/// Where other names than `user.` are.
const PREFIX: &[u8] = b"user.stack.x.";
/// What is ours.
const OURS: &[u8] = b"user.stack.";
/// Names of attributes that mean something to the kernel: POSIX ACLs.
const SYSTEM: &[u8] = b"system.";
/// Longest name (`XATTR_NAME_MAX`).
const NAME: usize = 255;
/// Longest value and longest list (`XATTR_SIZE_MAX`, `XATTR_LIST_MAX`).
const VALUE: usize = 64 << 10;

impl Fs {
    /// Name of a guest's attribute on the host.
    pub(super) fn host_attribute(&self, share: u32, name: &[u8]) -> Res<Vec<u8>> {
        if name.is_empty() || name.len() > NAME {
            return Err(libc::ERANGE);
        }
        // Nobody would keep to an access control list.
        if name.starts_with(SYSTEM) {
            return Err(libc::EOPNOTSUPP);
        }
        let plain = self.kind(share) != Kind::Volume && name.starts_with(b"user.");
        let host = match plain {
            true if name.starts_with(OURS) => return Err(libc::EPERM),
            true => name.to_vec(),
            false => [PREFIX, name].concat(),
        };
        match host.len() > NAME {
            true => Err(libc::ERANGE),
            false => Ok(host),
        }
    }

    /// The same of one that is only asked for: what cannot be set is not there.
    fn known_attribute(&self, share: u32, name: &[u8]) -> Res<Vec<u8>> {
        match self.host_attribute(share, name) {
            Err(libc::EOPNOTSUPP) => Err(libc::EOPNOTSUPP),
            other => other.map_err(|_| libc::ENODATA),
        }
    }

    fn guest_attribute(&self, share: u32, name: &[u8]) -> Option<Vec<u8>> {
        if let Some(rest) = name.strip_prefix(PREFIX) {
            return (!rest.starts_with(SYSTEM)).then(|| rest.to_vec());
        }
        let plain = self.kind(share) != Kind::Volume
            && name.starts_with(b"user.")
            && !name.starts_with(OURS)
            && name != OVERRIDE.as_bytes();
        plain.then(|| name.to_vec())
    }

    /// The file, open or by its name.
    fn with_attributes(&self, node: u64) -> Res<Arc<OwnedFd>> {
        if let Some((file, _)) = self.open_stat(node) {
            return Ok(file);
        }
        let found = self.find(node)?;
        match super::resolve::is_kind(&found.stat, libc::S_IFLNK) {
            true => Err(libc::EOPNOTSUPP),
            false => Ok(Arc::new(found.fd)),
        }
    }

    pub(super) fn set_xattr(
        &self,
        header: &Header,
        mut args: Args<'_>,
        again: bool,
    ) -> Res<Vec<u8>> {
        let (size, flags) = (args.u32()? as usize, args.u32()?);
        let name = args.string()?;
        let value = args.bytes(size)?;
        let share = self.writable(header.node)?;
        let host = self.host_attribute(share, name)?;
        let flags = XattrFlags::from_bits(flags).ok_or(libc::EINVAL)?;
        let file = self.with_attributes(header.node)?;
        match set_attribute(&*file, &host, value, flags) {
            Err(libc::EEXIST) if again && has_value(&*file, &host, value) => {}
            set => set?,
        }
        Ok(Vec::new())
    }

    pub(super) fn get_xattr(&self, header: &Header, mut args: Args<'_>) -> Res<Vec<u8>> {
        let (size, _padding) = (args.u32()? as usize, args.u32()?);
        let name = args.string()?;
        let share = self.tree().share(header.node)?;
        let host = self.known_attribute(share, name)?;
        let mut value = vec![0; VALUE];
        let length = get_attribute(self.with_attributes(header.node)?, &host, &mut value)?;
        value.truncate(length);
        sized(value, size)
    }

    pub(super) fn list_xattr(&self, header: &Header, mut args: Args<'_>) -> Res<Vec<u8>> {
        let size = args.u32()? as usize;
        let share = self.tree().share(header.node)?;
        let file = self.with_attributes(header.node)?;
        let mut names = vec![0; VALUE];
        let length = rustix::fs::listxattr(by_descriptor(&*file), &mut names[..]);
        let length = length.map_err(errno)?;
        let names = names[..length].split(|byte| *byte == 0);
        let mut list = Vec::new();
        for name in names.filter_map(|name| self.guest_attribute(share, name)) {
            list.extend(name);
            list.push(0);
        }
        sized(list, size)
    }

    pub(super) fn remove_xattr(
        &self,
        header: &Header,
        mut args: Args<'_>,
        again: bool,
    ) -> Res<Vec<u8>> {
        let name = args.string()?;
        let share = self.writable(header.node)?;
        let host = self.known_attribute(share, name)?;
        match remove_attribute(self.with_attributes(header.node)?, &host) {
            Err(libc::ENODATA) if again => {}
            removed => removed?,
        }
        Ok(Vec::new())
    }
}

/// An earlier server may have set it: it is what was asked for.
fn has_value(file: impl AsFd, name: &[u8], value: &[u8]) -> bool {
    let mut there = vec![0; VALUE];
    get_attribute(file, name, &mut there).is_ok_and(|length| there[..length] == *value)
}

/// The value, or how long it is if no room was given.
fn sized(value: Vec<u8>, room: usize) -> Res<Vec<u8>> {
    match room {
        0 => Ok(Out::default().u32(value.len() as u32).u32(0).0),
        room if room < value.len() => Err(libc::ERANGE),
        _ => Ok(value),
    }
}

//! Extended attributes (xattr(7)) in streams.

use std::io;
use std::path::Path;

use rustix::fs::XattrFlags;
use rustix::io::Errno;

/// Notes of the kernel's and of ours, which mean something else elsewhere.
const NOTES: [&[u8]; 3] = [b"trusted.overlay.", b"trusted.stack.", b"user.stack."];
/// Docker takes it along, too: what a program may do without being root.
const CAPABILITY: &[u8] = b"security.capability";
/// Bytes of a list of names, and of a value (`XATTR_LIST_MAX`, `XATTR_SIZE_MAX`).
const MOST: usize = 64 << 10;

/// Name and value of an attribute.
pub(crate) type Attribute = (Vec<u8>, Vec<u8>);

/// Which attributes, and with them which bits of modes, cross the border between a machine and another one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Which {
    /// Those that any user may set: nothing that a stranger says makes a file
    /// of the host more than a file.
    #[default]
    Plain,
    /// All that belong to the files.
    All,
}

impl Which {
    fn sets(self, name: &[u8]) -> bool {
        let noted = NOTES.iter().any(|note| name.starts_with(note));
        !noted && (self == Which::All || name.starts_with(b"user."))
    }

    /// The mode of a file that comes: a stranger's program does not run as another user
    /// than whoever starts it.
    pub(crate) fn mode(self, mode: u32) -> u32 {
        match self {
            Which::Plain => mode & 0o1777,
            Which::All => mode,
        }
    }

    fn sends(self, name: &[u8]) -> bool {
        self.sets(name) || name == CAPABILITY
    }
}

/// The attributes of a file, by name. One that has gone has none.
///
/// # Errors
/// They cannot be read.
pub(crate) fn of(path: &Path, which: Which) -> io::Result<Vec<Attribute>> {
    let gone_or_none = [Errno::OPNOTSUPP, Errno::NOENT, Errno::NOTDIR];
    let mut names = match rustix::fs::llistxattr_query(path) {
        Ok(0) => return Ok(Vec::new()),
        Err(error) if gone_or_none.contains(&error) => return Ok(Vec::new()),
        Ok(_) => vec![0; MOST],
        Err(error) => return Err(error.into()),
    };
    let length = match rustix::fs::llistxattr(path, &mut names[..]) {
        Err(error) if gone_or_none.contains(&error) => return Ok(Vec::new()),
        length => length?,
    };
    let mut found = Vec::new();
    for name in names[..length].split(|byte| *byte == 0) {
        if name.is_empty() || !which.sends(name) {
            continue;
        }
        let mut value = vec![0; MOST];
        match rustix::fs::lgetxattr(path, name, &mut value[..]) {
            Ok(length) => value.truncate(length),
            // It has gone meanwhile.
            Err(Errno::NODATA | Errno::NOENT | Errno::NOTDIR) => continue,
            Err(error) => return Err(error.into()),
        }
        found.push((name.to_vec(), value));
    }
    found.sort();
    Ok(found)
}

/// Gives a file attributes. File systems that have none go without.
///
/// # Errors
/// There is no room for them.
pub(crate) fn set(path: &Path, attributes: &[Attribute], which: Which) -> io::Result<()> {
    for (name, value) in attributes.iter().filter(|(name, _)| which.sets(name)) {
        match rustix::fs::lsetxattr(path, name.as_slice(), value, XattrFlags::empty()) {
            Ok(()) | Err(Errno::OPNOTSUPP | Errno::PERM | Errno::ACCESS) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

//! Answers that could not be given, for their queue had stopped meanwhile: the machine
//! is halted, and asks the same again when it goes on. What has been done is not done
//! a second time then.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::fuse::{OPEN_KEEP_CACHE, Res, op};

/// By the requests' numbers.
#[derive(Debug, Default)]
pub(crate) struct Left(Mutex<HashMap<u64, Res<Vec<u8>>>>);

impl Left {
    fn all(&self) -> MutexGuard<'_, HashMap<u64, Res<Vec<u8>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The request has been carried out, with this result.
    pub(crate) fn put(&self, unique: u64, result: Res<Vec<u8>>) {
        self.all().insert(unique, result);
    }

    /// The request waits for the queue to go on.
    pub(crate) fn has(&self, unique: u64) -> bool {
        self.all().contains_key(&unique)
    }

    /// The request is there again: its answer, unless it has to be carried out anew.
    pub(crate) fn take(&self, opcode: u32, unique: u64) -> Option<Res<Vec<u8>>> {
        let result = self.all().remove(&unique)?;
        match opcode {
            // File data is in its place and not counted, and each entry has its own times.
            op::READ | op::READDIRPLUS => None,
            _ => Some(result.map(|bytes| late(opcode, bytes))),
        }
    }

    /// The guest starts anew.
    pub(crate) fn clear(&self) {
        self.all().clear();
    }
}

/// The answer as it may be given later: what the guest might rely on is over.
fn late(opcode: u32, mut bytes: Vec<u8>) -> Vec<u8> {
    // How long an entry or attributes hold; the flags of an open file.
    let over = match opcode {
        op::LOOKUP | op::SYMLINK | op::MKNOD | op::MKDIR | op::LINK | op::CREATE => 16..40,
        op::GETATTR | op::SETATTR => 0..12,
        op::OPEN => 8..12,
        _ => return bytes,
    };
    let kept = if opcode == op::OPEN {
        !OPEN_KEEP_CACHE.to_le_bytes()[0]
    } else {
        0
    };
    for byte in bytes.get_mut(over).into_iter().flatten() {
        *byte &= kept;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuse::{Attr, OPEN_DIRECT_IO, Out};

    #[test]
    fn what_is_given_late_is_not_relied_on() {
        let left = Left::default();
        let attr = Attr::default();
        let take = |opcode, out: Out| {
            left.put(2, Ok(out.0));
            left.take(opcode, 2).unwrap().unwrap()
        };
        let made = take(op::MKDIR, Out::default().entry_out(7, &attr, (1500, 20)));
        assert_eq!(made, Out::default().entry_out(7, &attr, (0, 0)).0);
        let asked = take(op::GETATTR, Out::default().attr_out(&attr, 1500));
        assert_eq!(asked, Out::default().attr_out(&attr, 0).0);
        let open = |flags| Out::default().u64(7).u32(flags).u32(0);
        let opened = take(op::OPEN, open(OPEN_DIRECT_IO | OPEN_KEEP_CACHE));
        assert_eq!(opened, open(OPEN_DIRECT_IO).0);
        left.put(2, Ok(Vec::new()));
        assert!(left.has(2) && left.take(op::READ, 2).is_none() && !left.has(2));
    }
}

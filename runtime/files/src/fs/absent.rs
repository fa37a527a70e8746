//! The names that a guest takes for not there.

use std::collections::HashSet;
use std::time::Instant;

use super::changes::{ABSENT, OVER};

type Names = HashSet<(u64, Vec<u8>)>;

/// Directory and name of each: those of the time that a promise holds, and of
/// the time before. What is older nobody relies on.
#[derive(Debug)]
pub(super) struct Absent {
    since: Instant,
    names: Names,
    before: Names,
}

impl Default for Absent {
    fn default() -> Absent {
        Absent {
            since: Instant::now(),
            names: Names::new(),
            before: Names::new(),
        }
    }
}

impl Absent {
    fn turn(&mut self) {
        self.before = std::mem::take(&mut self.names);
        self.since = Instant::now();
    }

    /// The guest relies on it from now on: whether it did not before. `None`:
    /// there is no room.
    pub(super) fn add(&mut self, parent: u64, name: &[u8]) -> Option<bool> {
        if self.since.elapsed() > OVER {
            self.turn();
        }
        let key = (parent, name.to_vec());
        if self.names.contains(&key) {
            return Some(false);
        }
        if self.names.len() >= ABSENT {
            return None;
        }
        let news = !self.before.contains(&key);
        self.names.insert(key);
        Some(news)
    }

    /// An earlier server has told the guest: of many it is the last ones that
    /// the guest may rely on.
    pub(super) fn replay(&mut self, parent: u64, name: &[u8]) {
        if self.names.len() >= ABSENT {
            self.turn();
        }
        self.names.insert((parent, name.to_vec()));
    }

    /// All of them.
    pub(super) fn all(&self) -> Names {
        self.names.union(&self.before).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_kept_as_long_as_a_promise_holds() {
        let mut absent = Absent::default();
        assert_eq!(absent.add(1, b"a"), Some(true));
        assert_eq!(absent.add(1, b"a"), Some(false));
        absent.since -= OVER * 2;
        assert_eq!(absent.add(1, b"b"), Some(true));
        assert_eq!(absent.all().len(), 2);
        // It is in the journal.
        assert_eq!(absent.add(1, b"a"), Some(false));
        absent.since -= OVER * 2;
        assert_eq!(absent.add(1, b"c"), Some(true));
        absent.since -= OVER * 2;
        assert_eq!(absent.add(1, b"c"), Some(false));
        assert_eq!(absent.all().len(), 1);
    }

    #[test]
    fn there_is_no_room_for_more() {
        let mut absent = Absent::default();
        for n in 0..ABSENT {
            assert_eq!(absent.add(n as u64, b"a"), Some(true));
        }
        assert_eq!(absent.add(1 << 32, b"a"), None);
        absent.replay(1 << 32, b"a");
        assert_eq!(absent.all().len(), ABSENT + 1);
    }
}

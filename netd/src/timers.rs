//! Deadlines by key: one each, the earliest found at once.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;
use std::time::Instant;

/// A set of deadlines.
#[derive(Debug)]
pub(crate) struct Timers<K> {
    by_key: HashMap<K, Instant>,
    by_time: BTreeSet<(Instant, K)>,
}

impl<K> Default for Timers<K> {
    fn default() -> Self {
        Self {
            by_key: HashMap::new(),
            by_time: BTreeSet::new(),
        }
    }
}

impl<K: Copy + Ord + Hash> Timers<K> {
    /// Gives `key` the deadline `at`, in place of the one it had.
    pub(crate) fn set(&mut self, key: K, at: Option<Instant>) {
        if self.by_key.get(&key).copied() == at {
            return;
        }
        if let Some(old) = self.by_key.remove(&key) {
            self.by_time.remove(&(old, key));
        }
        if let Some(at) = at {
            self.by_key.insert(key, at);
            self.by_time.insert((at, key));
        }
    }

    /// The deadline of `key`.
    pub(crate) fn get(&self, key: &K) -> Option<Instant> {
        self.by_key.get(key).copied()
    }

    /// The earliest deadline.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.by_time.first().map(|(at, _)| *at)
    }

    /// Takes one key whose deadline has come.
    pub(crate) fn pop(&mut self, now: Instant) -> Option<K> {
        let (at, key) = *self.by_time.first()?;
        if at > now {
            return None;
        }
        self.set(key, None);
        Some(key)
    }
}

#[cfg(test)]
#[expect(
    clippy::disallowed_methods,
    reason = "tests need some instant to start from"
)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_new_deadline_replaces_the_old_one() {
        let now = Instant::now();
        let mut timers = Timers::default();
        timers.set(1, Some(now + Duration::from_secs(1)));
        timers.set(2, Some(now + Duration::from_secs(2)));
        timers.set(1, Some(now + Duration::from_secs(3)));
        assert_eq!(timers.next(), Some(now + Duration::from_secs(2)));
        assert_eq!(timers.pop(now), None);
        assert_eq!(timers.pop(now + Duration::from_secs(5)), Some(2));
        assert_eq!(timers.pop(now + Duration::from_secs(5)), Some(1));
        assert_eq!(timers.pop(now + Duration::from_secs(5)), None);
    }
}

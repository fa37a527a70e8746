//! Numbers that others cannot guess: initial sequence numbers, query ids.

use std::hash::{BuildHasher, RandomState};

/// A keyed hash of a counter; the key comes from the system.
#[derive(Debug, Default)]
pub(crate) struct Noise {
    key: RandomState,
    counter: u64,
}

impl Noise {
    /// The next number.
    pub(crate) fn next(&mut self) -> u64 {
        self.counter += 1;
        self.key.hash_one(self.counter)
    }
}

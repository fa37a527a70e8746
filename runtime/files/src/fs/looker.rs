//! Who looks at the files of a VM. Those of the host belong to whoever looks,
//! so attributes of them hold for others only while there are no others.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Instant;

/// One who has been alone for so long is expected to stay it: milliseconds.
const ALONE: u64 = 2000;

/// The last one that looked.
#[derive(Debug)]
pub(super) struct Looker {
    began: Instant,
    uid: AtomicU32,
    since: AtomicU64,
    /// The guest was told to rely on attributes as this one sees them.
    relied: AtomicBool,
}

impl Default for Looker {
    fn default() -> Looker {
        Looker {
            began: Instant::now(),
            uid: AtomicU32::new(u32::MAX),
            since: AtomicU64::new(0),
            relied: AtomicBool::new(false),
        }
    }
}

impl Looker {
    fn now(&self) -> u64 {
        self.began.elapsed().as_millis() as u64
    }

    /// This user looks now.
    pub(super) fn seen(&self, uid: u32) {
        if self.uid.swap(uid, Ordering::Relaxed) != uid {
            self.since.store(self.now(), Ordering::Relaxed);
        }
    }

    /// The guest relies on attributes as the one sees them that looks now.
    pub(super) fn rely(&self) {
        self.relied.store(true, Ordering::SeqCst);
    }

    /// This user asks. `true`: what the guest relies on is another one's, and
    /// is to be called back.
    pub(super) fn is_new(&self, uid: u32) -> bool {
        uid != self.uid.load(Ordering::Relaxed) && self.relied.swap(false, Ordering::SeqCst)
    }

    /// There has been one user only, for a while.
    pub(super) fn is_alone(&self) -> bool {
        self.now()
            .saturating_sub(self.since.load(Ordering::Relaxed))
            >= ALONE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_user_ends_it_for_a_while() {
        let mut looker = Looker::default();
        looker.seen(0);
        assert!(!looker.is_alone());
        looker.began -= std::time::Duration::from_millis(ALONE + 1);
        looker.seen(0);
        assert!(looker.is_alone());
        looker.rely();
        assert!(!looker.is_new(0));
        assert!(looker.is_new(1000));
        looker.seen(1000);
        assert!(!looker.is_alone());
        assert!(!looker.is_new(0));
    }
}

//! Who may rely on what it has read, and how long. Only while a VM is the only
//! one that has a share, it is given time to live for what it learns: a little,
//! or [`LONG`] for what it is told changes of (`changes.rs`). Before a second
//! one that comes can change anything, the first looks everything up again and
//! what it was given a little of is over. If the first does not look, for it is
//! halted or does not listen, the second waits until all that it was given is
//! over.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::changes::{Changes, LONG};
use super::guard;
use crate::spec::Share;

/// A guest rounds up to its clock's ticks (10 ms), and an answer is some time
/// on its way: long, when server and VM wait for a processor of a busy host.
pub(super) const SLACK: u64 = 250;

/// A share as one VM has it.
#[derive(Debug)]
pub(super) struct Lease {
    session: u64,
    path: PathBuf,
    /// Milliseconds, if nobody else has it.
    ttl: u64,
    shared: AtomicBool,
    /// When the last of what was given a little of is over, on the server's clock.
    until: AtomicU64,
    /// The same of what the guest is told changes of.
    long: AtomicU64,
    changes: Arc<Changes>,
}

/// Those of all VMs.
#[derive(Debug)]
pub(crate) struct Leases {
    began: Instant,
    all: Mutex<Vec<Arc<Lease>>>,
}

impl Lease {
    /// Another VM has these files, too, or this one by another mount.
    pub(super) fn is_shared(&self) -> bool {
        self.shared.load(Ordering::SeqCst)
    }
}

impl Default for Leases {
    fn default() -> Leases {
        Leases {
            began: Instant::now(),
            all: Mutex::default(),
        }
    }
}

impl Leases {
    fn now(&self) -> u64 {
        self.began.elapsed().as_millis() as u64
    }

    /// A VM comes with these shares. `used`: an earlier server has served it.
    pub(super) fn open(
        &self,
        session: u64,
        shares: &[Share],
        used: bool,
        changes: &Arc<Changes>,
    ) -> Vec<Arc<Lease>> {
        let mut all = guard(&self.all);
        // It may have been given something a moment ago.
        let over = |ms| if used { self.now() + ms + SLACK } else { 0 };
        let lease = |share: &Share| {
            Arc::new(Lease {
                session,
                path: share.path.clone(),
                ttl: share.cache_ms,
                shared: AtomicBool::new(false),
                until: AtomicU64::new(over(share.cache_ms)),
                long: AtomicU64::new(over(LONG)),
                changes: Arc::clone(changes),
            })
        };
        let own: Vec<_> = shares.iter().map(lease).collect();
        all.extend(own.iter().cloned());
        settle(&all);
        own
    }

    /// It has gone.
    pub(super) fn close(&self, session: u64) {
        let mut all = guard(&self.all);
        all.retain(|lease| lease.session != session);
        settle(&all);
    }

    /// For how many milliseconds what is told now may be relied on. `told`:
    /// the guest will hear if it changes.
    pub(super) fn grant(&self, lease: &Lease, told: bool) -> u64 {
        if lease.ttl == 0 || lease.is_shared() {
            return 0;
        }
        let (over, ms) = match told {
            true => (&lease.long, LONG),
            false => (&lease.until, lease.ttl),
        };
        over.fetch_max(self.now() + ms + SLACK, Ordering::SeqCst);
        // Somebody may have come since.
        match lease.is_shared() {
            true => 0,
            false => ms,
        }
    }

    /// Has the VMs that rely on anything of these look again. Waits until
    /// they have, or until what they were given is over.
    pub(super) fn call_back(&self, own: &[Arc<Lease>]) {
        let mut others: BTreeMap<u64, (u64, Arc<Changes>)> = BTreeMap::new();
        for other in guard(&self.all).iter().filter(|other| meets(own, other)) {
            let long = other.long.load(Ordering::SeqCst);
            let first = || (0, Arc::clone(&other.changes));
            let (until, _) = others.entry(other.session).or_insert_with(first);
            *until = long.max(*until);
        }
        for (until, changes) in others.values() {
            // Whoever comes next calls back, too: it cannot know of this.
            let left = until.saturating_sub(self.now());
            if left > 0 {
                changes.call_back(Duration::from_millis(left));
            }
        }
    }

    /// How long a VM with these has to wait before it begins.
    pub(super) fn pause(&self, own: &[Arc<Lease>]) -> Duration {
        let now = self.now();
        let all = guard(&self.all);
        let others = all.iter().filter(|other| meets(own, other));
        let until = others.map(|lease| lease.until.load(Ordering::SeqCst)).max();
        Duration::from_millis(until.unwrap_or(0).saturating_sub(now))
    }
}

fn settle(all: &[Arc<Lease>]) {
    for one in all {
        let mut others = all.iter().filter(|other| !Arc::ptr_eq(one, other));
        let shared = others.any(|other| overlap(&one.path, &other.path));
        one.shared.store(shared, Ordering::SeqCst);
    }
}

/// It is another VM's, of the same files.
fn meets(own: &[Arc<Lease>], other: &Lease) -> bool {
    own.iter()
        .any(|lease| lease.session != other.session && overlap(&lease.path, &other.path))
}

/// One is in the other.
fn overlap(one: &Path, other: &Path) -> bool {
    one.starts_with(other) || other.starts_with(one)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::Kind;

    fn share(path: &str) -> Share {
        Share {
            path: path.into(),
            kind: Kind::Volume,
            read_only: false,
            cache_ms: 1000,
        }
    }

    fn changes() -> Arc<Changes> {
        Arc::new(Changes::new(false).unwrap())
    }

    #[test]
    fn only_the_only_one_may_rely_on_anything() {
        let leases = Leases::default();
        let one = leases.open(1, &[share("/a"), share("/b")], false, &changes());
        assert_eq!(leases.grant(&one[0], false), 1000);
        assert_eq!(leases.pause(&one), Duration::ZERO);
        let two = leases.open(2, &[share("/a/inside")], false, &changes());
        assert_eq!(leases.grant(&one[0], false), 0);
        assert_eq!(leases.grant(&one[1], false), 1000);
        assert_eq!(leases.grant(&two[0], false), 0);
        let pause = leases.pause(&two).as_millis() as u64;
        assert!((900..=1000 + SLACK).contains(&pause), "{pause}");
        leases.close(2);
        assert_eq!(leases.grant(&one[0], false), 1000);
        // A path is not in another that only begins like it.
        let three = leases.open(3, &[share("/ab")], false, &changes());
        assert_eq!(leases.grant(&three[0], false), 1000);
    }

    #[test]
    fn nobody_waits_for_one_who_was_given_nothing() {
        let leases = Leases::default();
        leases.open(1, &[share("/a")], false, &changes());
        let two = leases.open(2, &[share("/a")], false, &changes());
        assert_eq!(leases.pause(&two), Duration::ZERO);
        // An earlier server may have given something.
        leases.open(3, &[share("/a")], true, &changes());
        assert!(leases.pause(&two) > Duration::from_millis(500));
    }

    #[test]
    fn one_who_does_not_listen_is_waited_for_until_all_is_over() {
        let leases = Leases::default();
        let one = leases.open(1, &[share("/a"), share("/b")], false, &changes());
        assert_eq!(leases.grant(&one[0], true), LONG);
        let soon = leases.now() + 200;
        one[0].long.store(soon, Ordering::SeqCst);
        let two = leases.open(2, &[share("/a")], false, &changes());
        assert_eq!(leases.grant(&one[0], true), 0);
        one[0].long.store(soon, Ordering::SeqCst);
        // A third one waits, too, although the second has begun to.
        let three = leases.open(3, &[share("/a")], false, &changes());
        std::thread::scope(|scope| {
            scope.spawn(|| leases.call_back(&two));
            leases.call_back(&three);
            assert!(leases.now() >= soon);
        });
        assert!(leases.now() < soon + LONG / 2);
        let other = leases.open(4, &[share("/b")], false, &changes());
        let began = leases.now();
        leases.call_back(&other);
        assert!(leases.now() < began + LONG / 2);
    }

    #[test]
    fn two_views_of_one_vm_are_two() {
        let leases = Leases::default();
        let both = leases.open(1, &[share("/a"), share("/a")], false, &changes());
        assert_eq!(leases.grant(&both[0], false), 0);
        assert_eq!(leases.pause(&both), Duration::ZERO);
    }
}

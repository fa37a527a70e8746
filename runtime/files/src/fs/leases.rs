//! Who may rely on what it has read, and how long. A guest cannot be told of
//! changes, so it is promised nothing that somebody else may change: only
//! while a VM is the only one that has a share, it is given time to live for
//! what it learns. A second one that comes waits until what the first was
//! given is over, before it can change anything.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::changes::{Changes, LONG};
use super::guard;
use crate::spec::Share;

/// A guest rounds up to its clock's ticks (10 ms), and an answer is some time
/// on its way: long, when server and VM wait for a processor of a busy host.
const SLACK: u64 = 250;

/// A share as one VM has it.
#[derive(Debug)]
pub(super) struct Lease {
    session: u64,
    path: PathBuf,
    /// Milliseconds, if nobody else has it.
    ttl: u64,
    shared: AtomicBool,
    /// When the last of what was given is over, on the server's clock.
    until: AtomicU64,
    /// Something was given for as long as the guest listens.
    long: AtomicBool,
    changes: Arc<Changes>,
}

/// Those of all VMs.
#[derive(Debug)]
pub(crate) struct Leases {
    began: Instant,
    all: Mutex<Vec<Arc<Lease>>>,
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
        let lease = |share: &Share| {
            Arc::new(Lease {
                session,
                path: share.path.clone(),
                ttl: share.cache_ms,
                shared: AtomicBool::new(false),
                // It may have been given something a moment ago.
                until: AtomicU64::new(if used {
                    self.now() + share.cache_ms + SLACK
                } else {
                    0
                }),
                long: AtomicBool::new(used),
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
        if lease.ttl == 0 || lease.shared.load(Ordering::SeqCst) {
            return 0;
        }
        if told {
            lease.long.store(true, Ordering::SeqCst);
        } else {
            let until = self.now() + lease.ttl + SLACK;
            lease.until.fetch_max(until, Ordering::SeqCst);
        }
        // Somebody may have come since.
        match lease.shared.load(Ordering::SeqCst) {
            true => 0,
            false if told => LONG,
            false => lease.ttl,
        }
    }

    /// Has the VMs that rely on anything of these look again. Waits until
    /// they have.
    pub(super) fn call_back(&self, own: &[Arc<Lease>]) {
        let others: Vec<Arc<Lease>> = {
            let all = guard(&self.all);
            let long = all
                .iter()
                .filter(|other| other.long.load(Ordering::SeqCst) && meets(own, other));
            long.cloned().collect()
        };
        for other in &others {
            // The other shares of its VM with it: no harm is done.
            if other.long.swap(false, Ordering::SeqCst) {
                other.changes.call_back();
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
    fn two_views_of_one_vm_are_two() {
        let leases = Leases::default();
        let both = leases.open(1, &[share("/a"), share("/a")], false, &changes());
        assert_eq!(leases.grant(&both[0], false), 0);
        assert_eq!(leases.pause(&both), Duration::ZERO);
    }
}

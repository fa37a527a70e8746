//! Containers replaced a few at a time (`deploy.update_config`), as steps.

use serde::{Deserialize, Serialize};
use stack_api::rollout::{FailureAction, Order, Rollout};
use stack_api::spec::{MountSource, ServiceSpec};

use super::observed::ObservedContainer;

/// What the failure of a container leads to while its service is updated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guard {
    /// What is done.
    pub failure_action: FailureAction,
    /// Containers that may fail before it is.
    pub tolerated: usize,
}

/// The name of a container that was made beside the one called `name`.
pub fn beside(name: &str) -> String {
    format!("{name}-next")
}

/// How the containers of one service are replaced.
#[derive(Debug)]
pub(super) struct Pace<'a> {
    rollout: &'a Rollout,
    batch: usize,
}

impl<'a> Pace<'a> {
    /// For so many containers.
    pub(super) fn new(rollout: &'a Rollout, containers: usize) -> Pace<'a> {
        let batch = match rollout.parallelism as usize {
            0 => containers.max(1),
            some => some,
        };
        Pace { rollout, batch }
    }

    /// The `n`-th container, from 0, begins a batch.
    pub(super) fn begins(&self, n: usize) -> bool {
        n.is_multiple_of(self.batch)
    }

    /// What a failure leads to when so many are replaced.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of a number of containers, rounded down"
    )]
    pub(super) fn guard(&self, containers: usize) -> Guard {
        let share = self.rollout.max_failure_ratio.clamp(0.0, 1.0);
        Guard {
            failure_action: self.rollout.failure_action,
            tolerated: (share * containers as f64 + 1e-9) as usize,
        }
    }

    /// Milliseconds for which they are watched, and until the next batch.
    pub(super) fn times(&self, last: bool) -> (u64, u64) {
        let delay = if last { 0 } else { self.rollout.delay_ms };
        (self.rollout.monitor_ms, delay)
    }
}

/// Why the new container cannot be started before the old one has gone.
/// `None`: it can, or nobody asked for it.
pub(super) fn obstacle(
    rollout: &Rollout,
    spec: &ServiceSpec,
    old: &[&ObservedContainer],
) -> Option<String> {
    if rollout.order != Order::StartFirst {
        return None;
    }
    let disk = spec.mounts.iter().find_map(|mount| match &mount.source {
        MountSource::Volume { volume, .. } => Some(format!("the volume {volume}")),
        MountSource::Anonymous { .. } => Some(format!("the volume at {}", mount.target)),
        MountSource::Bind { .. }
        | MountSource::Nfs { .. }
        | MountSource::Image { .. }
        | MountSource::Tmpfs { .. } => None,
    });
    let disk = disk.or_else(|| {
        old.iter()
            .any(|container| !container.disks.is_empty())
            .then(|| "a volume of its image".to_owned())
    });
    if let Some(disk) = disk {
        return Some(format!("{disk} is a disk, which one machine alone can use"));
    }
    let fixed = spec.networks.values().find_map(|place| {
        let ipv4 = place.ipv4.map(|address| address.to_string());
        let ipv6 = || place.ipv6.map(|address| address.to_string());
        ipv4.or_else(ipv6).or_else(|| place.mac.clone())
    });
    fixed.map(|address| format!("{address} can be given to one machine alone"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_rounded_down() {
        let rollout = Rollout {
            max_failure_ratio: 0.3,
            parallelism: 0,
            ..Rollout::default()
        };
        let pace = Pace::new(&rollout, 10);
        assert_eq!(pace.guard(10).tolerated, 3);
        assert_eq!(pace.guard(3).tolerated, 0);
        assert!(pace.begins(0) && !pace.begins(9));
        let one = Rollout::default();
        let pace = Pace::new(&one, 10);
        assert!(pace.begins(1) && pace.begins(9));
    }
}

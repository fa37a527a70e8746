//! Volumes that an operation is about to use. Between the removal of a container
//! and the making of the next one, and while images are pulled or built, nobody
//! mounts them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use stack_api::event::ApiError;
use stack_api::spec::StackSpec;

use crate::daemon::Daemon;

/// The stacks with such operations, by volume. They end with the operation, and
/// operations end with the daemon, so memory is the place for them.
#[derive(Debug, Default)]
pub struct Leases(Mutex<BTreeMap<String, Vec<String>>>);

impl Leases {
    /// The stacks of which an operation is about to use the volume. `own`: who asks
    /// is one of this stack's.
    pub(super) fn holders(&self, volume: &str, own: Option<&str>) -> Vec<String> {
        let mut stacks = self.held().get(volume).cloned().unwrap_or_default();
        if let Some(own) = stacks.iter().position(|stack| Some(stack.as_str()) == own) {
            stacks.swap_remove(own);
        }
        stacks.sort();
        stacks.dedup();
        stacks
    }

    fn held(&self) -> MutexGuard<'_, BTreeMap<String, Vec<String>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// As long as there is one, its volumes are not removed.
#[derive(Debug)]
pub(crate) struct Lease {
    daemon: Arc<Daemon>,
    project: String,
    names: Vec<String>,
}

impl Lease {
    /// Takes the volumes of a stack, in each of these definitions: they need not be
    /// there yet. And those without a name that its containers have, or left.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub(crate) fn new<'a>(
        daemon: &Arc<Daemon>,
        project: &str,
        definitions: impl IntoIterator<Item = &'a StackSpec>,
    ) -> Result<Lease, ApiError> {
        let specs = definitions
            .into_iter()
            .flat_map(|spec| spec.volumes.values());
        let mut names: Vec<String> = specs.map(|volume| volume.name.clone()).collect();
        // Whoever removes one at the moment has chosen before it could know.
        let _alone = daemon.creation();
        let mut nameless = daemon.volumes()?;
        nameless.retain(|volume| volume.project == project && volume.anonymous_of.is_some());
        names.extend(nameless.into_iter().map(|volume| volume.name));
        let mut held = daemon.volume_leases.held();
        for name in &names {
            held.entry(name.clone())
                .or_default()
                .push(project.to_owned());
        }
        drop(held);
        Ok(Lease {
            daemon: Arc::clone(daemon),
            project: project.to_owned(),
            names,
        })
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut held = self.daemon.volume_leases.held();
        for name in &self.names {
            let Some(stacks) = held.get_mut(name) else {
                continue;
            };
            if let Some(own) = stacks.iter().position(|stack| *stack == self.project) {
                stacks.swap_remove(own);
            }
            if stacks.is_empty() {
                held.remove(name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use stack_api::spec::VolumeSpec;
    use stack_api::volume::{CreateVolume, PruneVolumes};
    use stack_vmm::Fake;

    use super::super::{WantedVolume, kit};
    use super::*;
    use crate::ledger::Table;

    async fn prune(daemon: &Daemon, dry_run: bool) -> usize {
        let order = PruneVolumes {
            all: true,
            dry_run,
            ..PruneVolumes::default()
        };
        let removed = daemon.prune_volumes(order, &BTreeSet::new()).await;
        removed.unwrap().len()
    }

    /// A daemon with a volume `v`.
    async fn with_volume(home: &tempfile::TempDir) -> Arc<Daemon> {
        let daemon = kit::daemon(home.path(), Fake::default()).await;
        let wanted = CreateVolume {
            name: "v".to_owned(),
            ..CreateVolume::default()
        };
        daemon.create_volume(&wanted).unwrap();
        daemon
    }

    #[tokio::test]
    async fn what_is_about_to_be_used_stays() {
        let home = tempfile::Builder::new().prefix("st").tempdir().unwrap();
        let daemon = with_volume(&home).await;
        let volume = VolumeSpec {
            name: "v".to_owned(),
            external: true,
            ..VolumeSpec::default()
        };
        let shop = StackSpec {
            volumes: [("data".to_owned(), volume)].into(),
            ..StackSpec::default()
        };
        let first = Lease::new(&daemon, "shop", [&shop]).unwrap();
        let second = Lease::new(&daemon, "shop", [&shop, &shop]).unwrap();
        drop(first);
        assert_eq!(
            (prune(&daemon, true).await, prune(&daemon, false).await),
            (0, 0)
        );
        let error = daemon.remove_volume_named("v").await.unwrap_err();
        assert_eq!(error.code, "volume_in_use");
        assert_eq!(
            error.message,
            "volume v is used by an operation on stack shop"
        );
        drop(second);
        assert_eq!(
            (prune(&daemon, true).await, prune(&daemon, false).await),
            (1, 1)
        );
        assert!(daemon.volume_leases.held().is_empty());
    }

    #[tokio::test]
    async fn one_without_a_name_stays_for_its_next_container() {
        let home = tempfile::Builder::new().prefix("st").tempdir().unwrap();
        let daemon = kit::daemon(home.path(), Fake::default()).await;
        let wanted = WantedVolume {
            project: "shop",
            anonymous_of: Some("gone"),
            ..WantedVolume::default()
        };
        let name = "a".repeat(64);
        daemon.ensure_volume(&name, &wanted).unwrap();
        let target = "/data".to_owned();
        let left = [(&target, &name)];
        daemon.bequeath(left.into_iter(), "shop-web-1").unwrap();
        let turn = daemon.operation("shop");
        let changing = turn.lock().await;
        assert_eq!(
            (prune(&daemon, true).await, prune(&daemon, false).await),
            (0, 0)
        );
        drop(changing);
        assert_eq!(prune(&daemon, false).await, 1);
    }

    #[tokio::test]
    async fn nothing_goes_while_a_container_cannot_be_read() {
        let home = tempfile::Builder::new().prefix("st").tempdir().unwrap();
        let daemon = with_volume(&home).await;
        let later = "of a later version";
        daemon
            .ledger
            .put(Table::Containers, "c", "shop", &later)
            .unwrap();
        let order = PruneVolumes {
            all: true,
            ..PruneVolumes::default()
        };
        let pruned = daemon.prune_volumes(order, &BTreeSet::new()).await;
        assert_eq!(pruned.unwrap_err().code, "unreadable");
        assert_eq!(daemon.volumes().unwrap().len(), 1);
    }
}

//! Whose turn it is: a volume's disk has one user at a time, and nobody converts
//! or removes what another one reads or writes.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use stack_api::event::ApiError;
use tokio::sync::OwnedMutexGuard;

use crate::container::Blueprint;
use crate::daemon::Daemon;

/// How long the one before may take to end. A copy may take hours: whoever
/// comes then is told.
const PATIENCE: Duration = Duration::from_secs(30);

/// Keeps others from a volume, until the last clone goes.
pub(crate) type Turn = Arc<OwnedMutexGuard<()>>;

impl Daemon {
    /// The turn at a volume.
    ///
    /// # Errors
    /// Somebody else has it, and keeps it.
    pub(crate) async fn volume_turn(&self, name: &str) -> Result<Turn, ApiError> {
        let turn = self.operation(&key(name)).lock_owned();
        let turn = tokio::time::timeout(PATIENCE, turn).await;
        turn.map(Arc::new).map_err(|_| {
            let message = format!("volume {name} is being copied or started");
            ApiError::new("volume_in_use", message)
                .help("try again when its export or import is done")
        })
    }

    /// The turn at a volume, however long others have it.
    pub(super) async fn volume_turn_in_time(&self, name: &str) -> Turn {
        Arc::new(self.operation(&key(name)).lock_owned().await)
    }

    /// The turn at a volume, if nobody has it.
    pub(super) fn free_volume(&self, name: &str) -> Option<Turn> {
        let turn = self.operation(&key(name)).try_lock_owned();
        turn.ok().map(Arc::new)
    }

    /// The turns at all volumes that a machine has as disks.
    ///
    /// # Errors
    /// Somebody else has one, and keeps it.
    pub(crate) async fn volume_turns(&self, blueprint: &Blueprint) -> Result<Vec<Turn>, ApiError> {
        let volumes = self.paths.volumes();
        // In one order, so that nobody waits for the other one.
        let names: BTreeSet<_> = blueprint
            .disks
            .iter()
            .filter(|disk| disk.path.parent() == Some(volumes.as_path()))
            .filter_map(|disk| disk.path.file_stem()?.to_str())
            .collect();
        let mut turns = Vec::new();
        for name in names {
            turns.push(self.volume_turn(name).await?);
        }
        Ok(turns)
    }
}

/// No stack has a space in its name.
fn key(volume: &str) -> String {
    format!("volume {volume}")
}

#[cfg(test)]
mod tests {

    use stack_api::volume::{CreateVolume, Form, PruneVolumes, Volumes};
    use stack_vmm::Fake;

    use super::super::kit;
    use super::*;

    #[tokio::test]
    async fn a_volume_stays_while_a_machine_copies_it_that_nobody_waits_for() {
        let home = tempfile::Builder::new().prefix("st").tempdir().unwrap();
        let daemon = kit::daemon(home.path(), Fake::default()).await;
        let wanted = CreateVolume {
            name: "v".to_owned(),
            ..CreateVolume::default()
        };
        daemon.create_volume(&wanted).unwrap();
        let reach = daemon.reach_volume("v", false).await.unwrap();
        let all = PruneVolumes {
            all: true,
            ..PruneVolumes::default()
        };
        let pruned = daemon.prune_volumes(all, &BTreeSet::new()).await;
        assert!(pruned.unwrap().is_empty());
        assert!(daemon.free_volume("v").is_none());
        // Its stack, and the other volumes, are free.
        assert!(daemon.operation("").try_lock().is_ok());
        assert!(daemon.free_volume("w").is_some());
        // Whoever wanted the copy is cut off: only the end of the machine makes
        // it free.
        drop(reach);
        assert!(daemon.free_volume("v").is_none());
        drop(daemon.volume_turn("v").await.unwrap());
        let mut left = std::fs::read_dir(daemon.paths.vms()).unwrap();
        assert!(left.next().is_none());
        daemon.remove_volume_named("v").await.unwrap();
        assert!(daemon.volumes().unwrap().is_empty());
    }

    #[tokio::test]
    async fn nobody_waits_for_the_removal_of_many_files() {
        let home = tempfile::Builder::new().prefix("st").tempdir().unwrap();
        let daemon = kit::daemon(home.path(), Fake::default()).await;
        let wanted = CreateVolume {
            name: "v".to_owned(),
            form: Form::Tree,
            ..CreateVolume::default()
        };
        daemon.create_volume(&wanted).unwrap();
        let volume = daemon.volumes().unwrap().remove(0);
        for n in 0..5000 {
            std::fs::write(volume.path.join(n.to_string()), "text").unwrap();
        }
        // Sizes are found out where they are asked for.
        let infos = |sizes| {
            let wanted = Volumes { name: None, sizes };
            daemon.volume_infos(&wanted).unwrap().remove(0).size
        };
        assert_eq!(infos(false), 0);
        assert!(infos(true) >= 5000);
        // On the one thread of this runtime.
        let mut turns = 0;
        let others = async {
            loop {
                drop(daemon.creation());
                turns += 1;
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            biased;
            removed = daemon.remove_volume_named("v") => removed.unwrap(),
            () = others => {}
        }
        assert!(turns > 20, "{turns}");
        let mut left = std::fs::read_dir(daemon.paths.volumes()).unwrap();
        assert!(left.next().is_none() && daemon.volumes().unwrap().is_empty());
    }
}

//! Labels of volumes that are there.

use stack_api::event::ApiError;
use stack_api::spec::StackSpec;

use super::Volume;
use crate::daemon::Daemon;
use crate::ledger::Table;
use crate::progress::Progress;

impl Daemon {
    /// The volumes that the stack has made get the labels of its definition: what is
    /// pruned goes by them. One that is being copied keeps its own, with a warning.
    ///
    /// # Errors
    /// The ledger cannot be read or written.
    pub(crate) async fn label_volumes(
        &self,
        spec: &StackSpec,
        progress: &Progress,
    ) -> Result<(), ApiError> {
        for wanted in spec.volumes.values().filter(|wanted| !wanted.external) {
            let name = &wanted.name;
            let other =
                || {
                    let known: Option<Volume> = self.ledger.get(Table::Volumes, name)?;
                    Ok::<_, ApiError>(known.filter(|volume| {
                        volume.project == spec.name && volume.labels != wanted.labels
                    }))
                };
            if other()?.is_none() {
                continue;
            }
            let Ok(_turn) = self.volume_turn(name).await else {
                progress.warn(format!(
                    "volume {name} keeps the labels it has: it is being copied; `stack up` \
                     changes them when that is done"
                ));
                continue;
            };
            // Whoever had its turn may have made something else of it.
            if let Some(mut volume) = other()? {
                volume.labels.clone_from(&wanted.labels);
                self.ledger.put(Table::Volumes, name, &spec.name, &volume)?;
                progress.finish("volume", name, "updated");
            }
        }
        Ok(())
    }
}

//! A container takes the place of the one beside it.

use std::sync::Arc;

use stack_api::event::ApiError;

use super::Outcome;
use super::update::rename;
use crate::container::Handle;
use crate::daemon::Daemon;

/// Gives names and ports of `old` to `new`, which is called `name` from then on; `old`
/// keeps running without.
/// In the ledger it is one change: after a crash one of the two has them.
///
/// # Errors
/// A port that only the new one has is in use; nothing is changed then.
pub(super) async fn switch(
    daemon: &Arc<Daemon>,
    old: &Arc<Handle>,
    new: &Arc<Handle>,
    name: &str,
) -> Outcome {
    let (before_old, before_new) = (old.record(), new.record());
    if !before_new.standby {
        return Err(ApiError::new(
            "not_beside",
            format!("{} has its place already", before_new.container.name),
        ));
    }
    let (mut from, mut to) = (before_old.clone(), before_new.clone());
    from.container.name = std::mem::replace(&mut to.container.name, name.to_owned());
    (from.standby, to.standby) = (true, false);
    rename(&mut to);
    let bound = daemon.hand_over(&from, &to).await?;
    let written = old.update_both(new, |old, new| {
        old.container.name.clone_from(&from.container.name);
        old.standby = true;
        old.container.ports.clear();
        new.container.name.clone_from(&to.container.name);
        new.standby = false;
        new.nics.clone_from(&to.nics);
        new.container.ports = bound;
    });
    if let Err(error) = written {
        daemon.hand_over(&before_new, &before_old).await?;
        return Err(error);
    }
    Ok(())
}

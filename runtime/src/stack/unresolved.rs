//! Services of which a request says nothing, for nobody asked for them: they stay
//! what they are.

use stack_api::event::ApiError;
use stack_api::spec::StackSpec;

use super::history;
use crate::daemon::Daemon;

/// The definition with all that is known of these services, so that whoever compares,
/// counts or records them finds them unchanged.
///
/// # Errors
/// The ledger cannot be read.
pub(super) fn complete(daemon: &Daemon, spec: &mut StackSpec) -> Result<(), ApiError> {
    if !spec.unresolved.is_empty() {
        let known = history::present(daemon, &spec.name)?;
        fill_in(spec, &known.unwrap_or_default());
    }
    Ok(())
}

fn fill_in(spec: &mut StackSpec, known: &StackSpec) {
    for name in std::mem::take(&mut spec.unresolved) {
        let Some(service) = known.services.get(&name) else {
            // It was never made; what there is of it is no orphan.
            spec.disabled.push(name);
            continue;
        };
        // A key that the request uses leads where it says.
        for key in service.networks.keys() {
            if let Some(network) = known.networks.get(key) {
                let entry = spec.networks.entry(key.clone());
                entry.or_insert_with(|| network.clone());
            }
        }
        for key in service.volume_keys() {
            if let Some(volume) = known.volumes.get(key) {
                let entry = spec.volumes.entry(key.clone());
                entry.or_insert_with(|| volume.clone());
            }
        }
        spec.services.insert(name, service.clone());
    }
}

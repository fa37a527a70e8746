//! Contents of secrets in definitions that were reached. They are needed as long as the
//! stack is there, for the way back to one; once it is down, digests of them are enough
//! to tell definitions from each other.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};
use stack_api::event::ApiError;
use stack_api::history::Definition;
use stack_api::spec::{FileSpec, StackSpec};

use crate::daemon::Daemon;

/// Before the digest that is in the place of a content.
const DIGEST: &[u8] = b"sha256:";

/// Forgets them in the history of a stack.
///
/// # Errors
/// The ledger cannot be written.
pub(super) fn forget_all(daemon: &Daemon, project: &str) -> Result<(), ApiError> {
    let history: Vec<Definition> = daemon.ledger.history(project)?;
    for mut definition in history {
        if !definition.secrets_forgotten && forget(&mut definition.spec) {
            definition.secrets_forgotten = true;
            let number = definition.entry.number;
            daemon
                .ledger
                .shorten_history(project, number, &definition)?;
        }
    }
    Ok(())
}

/// Is this what the definition says?
pub(super) fn is_same(definition: &Definition, spec: Option<&StackSpec>) -> bool {
    spec.is_some_and(|spec| definition.spec == as_known(definition, spec))
}

/// The spec, as it would be in this definition.
pub(super) fn as_known(definition: &Definition, spec: &StackSpec) -> StackSpec {
    let mut spec = spec.clone();
    if definition.secrets_forgotten {
        forget(&mut spec);
    }
    spec
}

/// Brings back what is known from elsewhere.
///
/// # Errors
/// A content is not.
pub(super) fn recall<'a>(
    definition: &mut Definition,
    elsewhere: impl IntoIterator<Item = &'a StackSpec>,
) -> Result<(), ApiError> {
    if !definition.secrets_forgotten {
        return Ok(());
    }
    let specs = elsewhere.into_iter();
    let files = specs.flat_map(|spec| spec.services.values().flat_map(|s| &s.files));
    let known: BTreeMap<Vec<u8>, &Vec<u8>> = files
        .filter(|file| file.is_secret())
        .map(|file| (digest(&file.content), &file.content))
        .collect();
    let number = definition.entry.number;
    for file in secrets(&mut definition.spec) {
        let Some(content) = known.get(&file.content) else {
            let message = format!(
                "what was in `{}` of definition {number} was forgotten when the stack was taken \
                 down",
                file.source
            );
            let help = "`stack up` with the stack file brings it again";
            return Err(ApiError::new("secret_forgotten", message).help(help));
        };
        file.content.clone_from(content);
    }
    definition.secrets_forgotten = false;
    Ok(())
}

/// Puts digests in their place. Was there any?
fn forget(spec: &mut StackSpec) -> bool {
    let mut any = false;
    for file in secrets(spec) {
        file.content = digest(&file.content);
        any = true;
    }
    any
}

fn secrets(spec: &mut StackSpec) -> impl Iterator<Item = &mut FileSpec> {
    let services = spec.services.values_mut();
    services
        .flat_map(|service| &mut service.files)
        .filter(|file| file.is_secret())
}

fn digest(content: &[u8]) -> Vec<u8> {
    [DIGEST, &Sha256::digest(content)[..]].concat()
}

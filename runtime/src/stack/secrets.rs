//! Contents of secrets and configs in definitions that were reached. They are needed as
//! long as the stack is there, for the way back to one; once it is down, digests of them
//! are enough to tell definitions from each other.
//!
//! The digests are made with the key of this installation, and so is the mask over what
//! else is computed from contents (`config_hash`): who has the ledger alone cannot try
//! guesses.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest, Sha256};
use stack_api::event::ApiError;
use stack_api::history::{Definition, Entry};
use stack_api::spec::{FileSpec, ServiceSpec, StackSpec};

use crate::daemon::Daemon;
use crate::key::Key;

/// Before the digest that is in the place of a content.
const DIGEST: &[u8] = b"keyed:";
/// The same in definitions of earlier versions: a plain SHA-256.
const PLAIN: &[u8] = b"sha256:";

/// Forgets them in the history of a stack.
///
/// # Errors
/// The ledger cannot be written.
pub(super) fn forget_all(daemon: &Daemon, project: &str) -> Result<(), ApiError> {
    forget_those(daemon, project, |_| true)
}

fn forget_those(
    daemon: &Daemon,
    project: &str,
    those: fn(&Definition) -> bool,
) -> Result<(), ApiError> {
    let history: Vec<Definition> = daemon.ledger.history(project)?;
    for mut definition in history.into_iter().filter(those) {
        if forget(&daemon.key, &mut definition) {
            let number = definition.entry.number;
            daemon
                .ledger
                .shorten_history(project, number, &definition)?;
        }
    }
    Ok(())
}

/// What earlier versions kept is forgotten as it would be now: digests that were made
/// without the key, and configs of stacks that are down.
pub(crate) fn forget_more(daemon: &Daemon) {
    if daemon.key.is_settled() {
        return;
    }
    let forgotten = || -> Result<(), ApiError> {
        let history: Vec<Definition> = daemon.ledger.whole_history()?;
        let projects: BTreeSet<String> = history.into_iter().map(|d| d.spec.name).collect();
        for project in projects {
            match daemon.ledger.stack::<StackSpec>(&project)? {
                Some(_) => forget_those(daemon, &project, |d| d.secrets_forgotten)?,
                None => forget_all(daemon, &project)?,
            }
        }
        Ok(())
    };
    match forgotten() {
        Ok(()) => {
            daemon.ledger.forget_changes();
            daemon.key.settle();
        }
        Err(error) => tracing::warn!(%error, "the history still has contents of configs"),
    }
}

/// Is this what the definition says?
pub(super) fn is_same(key: &Key, definition: &Definition, spec: Option<&StackSpec>) -> bool {
    spec.is_some_and(|spec| definition.spec == as_known(key, definition, spec))
}

/// The spec, as it would be in this definition.
pub(super) fn as_known(key: &Key, definition: &Definition, spec: &StackSpec) -> StackSpec {
    let mut spec = spec.clone();
    if definition.secrets_forgotten {
        for service in spec.services.values_mut() {
            hide(key, &definition.entry, service, |file| {
                Sha256::digest(&file.content).to_vec()
            });
        }
    }
    spec
}

/// Brings back what is known from elsewhere.
///
/// # Errors
/// A content is not.
pub(super) fn recall<'a>(
    key: &Key,
    definition: &mut Definition,
    elsewhere: impl IntoIterator<Item = &'a StackSpec>,
) -> Result<(), ApiError> {
    if !definition.secrets_forgotten {
        return Ok(());
    }
    let specs = elsewhere.into_iter();
    let files = specs.flat_map(|spec| spec.services.values().flat_map(|s| &s.files));
    let known: BTreeMap<Vec<u8>, &Vec<u8>> = files
        .map(|file| (digest(key, &Sha256::digest(&file.content)), &file.content))
        .collect();
    let entry = &definition.entry;
    for service in definition.spec.services.values_mut() {
        for file in &mut service.files {
            let Some(content) = known.get(&file.content) else {
                return Err(is_forgotten(file, entry));
            };
            file.content.clone_from(content);
        }
        show_hash(key, entry, service);
    }
    definition.secrets_forgotten = false;
    definition.keyed = false;
    Ok(())
}

fn is_forgotten(file: &FileSpec, entry: &Entry) -> ApiError {
    let message = format!(
        "what was in `{}` of definition {} was forgotten when the stack was taken down",
        file.source, entry.number
    );
    let help = "`stack up` with the stack file brings it again";
    ApiError::new("secret_forgotten", message).help(help)
}

/// Puts digests in their place. Was there any?
fn forget(key: &Key, definition: &mut Definition) -> bool {
    let services = &mut definition.spec.services;
    if definition.keyed || services.values().all(|service| service.files.is_empty()) {
        return false;
    }
    // An earlier version has forgotten the secrets.
    let has_digests = definition.secrets_forgotten;
    for service in services.values_mut() {
        hide(key, &definition.entry, service, |file| {
            let known = file.content.strip_prefix(PLAIN);
            match known.filter(|_| has_digests && file.is_secret()) {
                Some(digest) => digest.to_vec(),
                None => Sha256::digest(&file.content).to_vec(),
            }
        });
    }
    definition.secrets_forgotten = true;
    definition.keyed = true;
    true
}

/// Hides the contents of a service's files and what was computed from them. `plain`
/// gives the SHA-256 of a content.
fn hide(key: &Key, entry: &Entry, service: &mut ServiceSpec, plain: impl Fn(&FileSpec) -> Vec<u8>) {
    if service.files.is_empty() {
        return;
    }
    for file in &mut service.files {
        file.content = digest(key, &plain(file));
    }
    let mut hash = std::mem::take(&mut service.config_hash).into_bytes();
    mask_hash(key, entry, service, &mut hash);
    service.config_hash = hash.iter().map(|byte| format!("{byte:02x}")).collect();
}

/// Undoes that to the hash. The plan compares it with those of containers.
fn show_hash(key: &Key, entry: &Entry, service: &mut ServiceSpec) {
    if service.files.is_empty() {
        return;
    }
    let digits = service.config_hash.as_bytes().chunks(2);
    let bytes = digits.map(|two| u8::from_str_radix(std::str::from_utf8(two).ok()?, 16).ok());
    if let Some(mut hash) = bytes.collect::<Option<Vec<u8>>>() {
        mask_hash(key, entry, service, &mut hash);
        service.config_hash = String::from_utf8_lossy(&hash).into_owned();
    }
}

fn mask_hash(key: &Key, entry: &Entry, service: &ServiceSpec, hash: &mut [u8]) {
    let (number, at) = (entry.number.to_le_bytes(), entry.at_ms.to_le_bytes());
    key.mask(
        &[b"config_hash", service.name.as_bytes(), &number, &at],
        hash,
    );
}

fn digest(key: &Key, plain: &[u8]) -> Vec<u8> {
    [DIGEST, &key.digest(&[b"content", plain])].concat()
}

//! Changes that a container takes without a restart.
//!
//! First what can be refused (ports, then the guest), then the record. Until
//! then the container has no hash: when the daemon ends in between, the next
//! plan tells it again what is wanted, the new or the old.

use std::sync::Arc;
use std::time::Duration;

use stack_api::container::State;
use stack_api::event::ApiError;
use stack_api::spec::{ServiceSpec, StackSpec};
use stack_protocol::config::{Interface, VmConfig};
use stack_protocol::message::{Command, Outcome as GuestOutcome};
use stack_vmm::Agent;
use tokio::sync::watch;

use super::rewire::{is_older, move_to};
use super::{Outcome, images, places};
use crate::container::{Handle, Probe, Record, redraw, vm_error};
use crate::daemon::Daemon;

/// How long the guest's word about another health check may take.
const WORD: Duration = Duration::from_secs(5);
/// How long the guest may take for all of it.
const ANSWER: Duration = Duration::from_secs(30);
/// Pause after a conversation that was cut.
const AGAIN: Duration = Duration::from_millis(20);

/// Makes `spec` the container's.
///
/// # Errors
/// A port is in use, or the guest refuses: the container is as it was.
pub(super) async fn update(
    daemon: &Arc<Daemon>,
    handle: &Arc<Handle>,
    stack: &StackSpec,
    spec: &ServiceSpec,
) -> Outcome {
    let name = handle.container().name;
    let image_id = handle.container().image_id;
    let image = match daemon.images.get(&image_id).map_err(images::error)? {
        Some(image) => Some(image),
        None => daemon.images.get(&spec.image).map_err(images::error)?,
    };
    let image = image.ok_or_else(|| {
        ApiError::new(
            "image_missing",
            format!("{name} cannot be updated: its image is not on this machine any more"),
        )
        .help("get it with `stack pull`")
    })?;
    let networks = daemon.all_networks()?;
    let old = handle.record();
    let mut new = redraw(&old, spec, &image.config, &networks);
    let _joining = move_to(daemon, stack, &mut new, &networks)?;
    rename(&mut new);
    // Until it is done no definition is its own: whichever is wanted next, it
    // is told again.
    handle.update(|record| record.container.config_hash.clear());
    let restore = || {
        let hash = &old.container.config_hash;
        handle.update(|record| record.container.config_hash.clone_from(hash));
    };
    let bound = match daemon.republish(handle, &new).await {
        Ok(bound) => bound,
        Err(error) => {
            restore();
            return Err(error);
        }
    };
    loop {
        let boot = handle.container().boot_id;
        if let Err(error) = tell(handle, &new).await {
            if take_back(daemon, handle, &old).await {
                restore();
            }
            return Err(error);
        }
        handle.update(|record| {
            record.spec = new.spec.clone();
            record.blueprint = new.blueprint.clone();
            record.nics = new.nics.clone();
            record
                .container
                .networks
                .clone_from(&new.container.networks);
            record.container.config_hash.clone_from(&spec.config_hash);
            record.container.labels.clone_from(&spec.labels);
            record.container.annotations.clone_from(&spec.annotations);
            if let Some(bound) = &bound {
                record.container.ports.clone_from(bound);
            }
            if !record.container.state.is_live() {
                record.container.memory = new.container.memory;
            }
        });
        // A VM that was restarted in between has read the old record, and was
        // announced by it.
        if handle.container().boot_id == boot {
            if let Some(bound) = daemon.republish(handle, &handle.record()).await? {
                handle.update(|record| record.container.ports = bound);
            }
            return Ok(());
        }
    }
}

/// The names in networks by the record's spec and name.
pub(super) fn rename(record: &mut Record) {
    let container = &record.container;
    let by_place = is_older(record);
    let cards = record.spec.cards();
    for (n, nic) in record.nics.iter_mut().enumerate() {
        let wanted = match &nic.key {
            Some(key) => record.spec.networks.get(key),
            None if by_place => cards.get(n).map(|(_, wanted)| *wanted),
            None => None,
        };
        if let Some(wanted) = wanted {
            nic.names = places::names(&record.spec, &container.name, &container.id, wanted);
            nic.links.clone_from(&record.spec.links);
        }
    }
}

/// The network devices that have a network, with their numbers.
fn interfaces(record: &Record) -> Vec<Interface> {
    let all = record.nics.iter().zip(&record.blueprint.config.interfaces);
    let plugged = (0..).zip(all).filter(|(_, (nic, _))| !nic.unplugged);
    plugged
        .map(|(n, (_, interface))| Interface {
            device: Some(n),
            ..interface.clone()
        })
        .collect()
}

/// After the guest has refused something: it may have taken a part, so network
/// daemon and guest are told what was. Whether both have it.
pub(super) async fn take_back(daemon: &Daemon, handle: &Arc<Handle>, old: &Record) -> bool {
    let published = daemon.republish(handle, old).await.map(drop);
    let told = tell(handle, old).await;
    for error in [&published, &told]
        .into_iter()
        .filter_map(|r| r.as_ref().err())
    {
        let message = &error.message;
        tracing::warn!(message, container = handle.id, "it may not be as it was");
    }
    published.is_ok() && told.is_ok()
}

/// Tells the guest, if there is one.
pub(super) async fn tell(handle: &Arc<Handle>, new: &Record) -> Outcome {
    let config = &new.blueprint.config;
    let other_check = handle.record().blueprint.config.healthcheck != config.healthcheck;
    let update = VmConfig {
        hostname: config.hostname.clone(),
        domainname: config.domainname.clone(),
        interfaces: interfaces(new),
        hosts: config.hosts.clone(),
        nameservers: config.nameservers.clone(),
        search: config.search.clone(),
        resolver_options: config.resolver_options.clone(),
        healthcheck: config.healthcheck.clone(),
        inward: config.inward.clone(),
        memory_limit: config.memory_limit,
        cpus: config.cpus,
        pids_limit: config.pids_limit,
        ..VmConfig::default()
    };
    while let Some(agent) = agent(handle).await {
        let mut word = handle.probe.subscribe();
        word.mark_unchanged();
        let request = agent.request(Command::Update(Box::new(update.clone())));
        let Ok(answer) = tokio::time::timeout(ANSWER, request).await else {
            let name = &new.container.name;
            let message = format!("{name} cannot be updated: its VM does not answer");
            return Err(ApiError::new("update_refused", message)
                .help("restart it, then `stack up` tries again"));
        };
        match answer {
            Ok(GuestOutcome::Error { message, .. }) if message.contains("not running") => break,
            Ok(GuestOutcome::Error { message, .. }) => {
                let name = &new.container.name;
                let message = format!("{name} cannot be updated: {message}");
                return Err(ApiError::new("update_refused", message)
                    .help("the container goes on as it was"));
            }
            Ok(_) => {
                if other_check {
                    // Who waits for its health must not see that of the old
                    // check.
                    let _ = tokio::time::timeout(WORD, heard(handle, word)).await;
                }
                break;
            }
            // It has ended, or the daemon talks to it anew.
            Err(stack_vmm::Error::Closed) => tokio::time::sleep(AGAIN).await,
            Err(error) => return Err(vm_error(error)),
        }
    }
    Ok(())
}

/// The guest's next word about its health has come, and the record has it.
async fn heard(handle: &Handle, mut word: watch::Receiver<Option<Probe>>) {
    if word.changed().await.is_err() {
        return;
    }
    let noted = |record: &Record| {
        let word = word.borrow();
        word.as_ref()
            .is_none_or(|word| word.health == record.container.health)
    };
    let _ = handle.changes().wait_for(noted).await;
}

/// The conversation with the VM, when there is one that has been configured
/// or will be in a moment.
async fn agent(handle: &Arc<Handle>) -> Option<Agent> {
    let (mut agents, mut changes) = (handle.agent.subscribe(), handle.changes());
    loop {
        if let Some(agent) = &*agents.borrow_and_update() {
            return Some(agent.clone());
        }
        let state = changes.borrow_and_update().container.state;
        if !matches!(state, State::Starting | State::Running | State::Paused) {
            return None;
        }
        let closed = tokio::select! {
            changed = agents.changed() => changed.is_err(),
            changed = changes.changed() => changed.is_err(),
        };
        if closed {
            return None;
        }
    }
}

//! Networks of a container that is there already.
//!
//! A machine has the network cards that it was started with. Taking it off a
//! network works at once: the card leads nowhere from then on. Coming back to
//! that network does, too. Another network needs another card, and so a start.

use std::sync::Arc;

use stack_api::event::ApiError;
use stack_api::network::{Connect, Disconnect};
use stack_api::spec::Condition;

use super::{Outcome, networks, places, wait};
use crate::container::{Handle, Record, card};
use crate::daemon::Daemon;
use crate::network::{Nic, Place, Taken};
use crate::progress::Progress;

/// `POST /v1/networks/{name}/connect`
///
/// # Errors
/// There is no such network or container, no address is left, or the machine
/// runs and would have to be restarted.
pub async fn connect(
    daemon: Arc<Daemon>,
    network: String,
    request: Connect,
    progress: Progress,
) -> Outcome {
    let handle = container(&daemon, &request.container)?;
    let turn = daemon.operation(&handle.container().project);
    let _one = turn.lock().await;
    let name = handle.container().name;
    let record = handle.record();
    let known = record.nics.iter().position(|nic| nic.network == network);
    if let Some(known) = known {
        if !record.nics[known].unplugged {
            let message = format!("{name} is on network {network} already");
            return Err(ApiError::new("network_in_use", message));
        }
        // Its card is there still.
        handle.update(|record| record.nics[known].unplugged = false);
        daemon.republish(&handle, &handle.record()).await?;
        progress.finish("container", &name, "connected");
        return Ok(());
    }
    let live = record.container.state.is_live();
    if live && !request.restart {
        let message = format!("{name} runs, and a machine has the cards that it started with");
        return Err(ApiError::new("needs_restart", message).help(
            "say --restart to restart it with another card, or add the network to the stack \
             file: `stack up` makes the container anew",
        ));
    }
    add(&daemon, &handle, &network, &request)?;
    if live {
        progress.step("container", &name, "restarting");
        handle.stop(None);
        handle.stopped().await;
        handle.start();
        wait::reached(&handle, Condition::ServiceStarted).await?;
    }
    progress.finish("container", &name, "connected");
    Ok(())
}

/// Writes another card into the record, for the next start.
fn add(daemon: &Daemon, handle: &Handle, network: &str, request: &Connect) -> Outcome {
    let _alone = daemon.creation();
    let network = networks::find(daemon, network)?;
    let mut taken = Taken::default();
    for other in daemon.handles(None) {
        let nics = other.record().nics;
        let there = nics.iter().filter(|nic| nic.network == network.name);
        there.for_each(|nic| taken.add(nic));
    }
    let record = handle.record();
    for nic in &record.nics {
        let other = networks::find(daemon, &nic.network)?;
        if let Some(why) = other.overlaps(&network) {
            return Err(ApiError::new("subnet_in_use", why));
        }
    }
    let place = Place {
        network: &network,
        taken: &taken,
        wanted: &request.place,
        before: None,
    };
    let container = &record.container;
    let nic = Nic {
        names: places::names(&record.spec, &container.name, &container.id, &request.place),
        // The default route stays where it is.
        default_route: record.nics.is_empty() && !network.internal,
        ..place.find()?
    };
    let taken: Vec<&String> = record
        .blueprint
        .config
        .interfaces
        .iter()
        .map(|i| &i.name)
        .collect();
    let mut free = (0..)
        .map(|n| format!("eth{n}"))
        .filter(|name| !taken.contains(&name));
    let name = request.place.interface.clone().or_else(|| free.next());
    let interface = card(&network, &nic, name.unwrap_or_default());
    let first = record.nics.is_empty();
    handle.update(|record| {
        let address = nic.address().map(|address| (network.name.clone(), address));
        record.container.networks.extend(address);
        record.blueprint.config.interfaces.push(interface);
        if first {
            let router = network.router().map(|router| router.to_string());
            record.blueprint.config.nameservers = router.into_iter().collect();
        }
        record.nics.push(nic);
    });
    Ok(())
}

/// `POST /v1/networks/{name}/disconnect`
///
/// # Errors
/// There is no such container, or it is not on the network.
pub async fn disconnect(
    daemon: Arc<Daemon>,
    network: String,
    request: Disconnect,
    progress: Progress,
) -> Outcome {
    let handle = container(&daemon, &request.container)?;
    let turn = daemon.operation(&handle.container().project);
    let _one = turn.lock().await;
    let name = handle.container().name;
    let on = |nic: &Nic| nic.network == network && !nic.unplugged;
    if !handle.record().nics.iter().any(on) {
        let message = format!("{name} is not on network {network}");
        return Err(ApiError::new("no_such_network", message));
    }
    handle.update(|record| {
        for nic in record.nics.iter_mut().filter(|nic| nic.network == network) {
            nic.unplugged = true;
        }
        record
            .container
            .networks
            .retain(|(name, _)| *name != network);
        if !record.container.state.is_live() {
            drop_unplugged(record);
        }
    });
    daemon.republish(&handle, &handle.record()).await?;
    progress.finish("container", &name, "disconnected");
    Ok(())
}

/// Forgets cards that lead nowhere: no machine has them any more.
pub fn drop_unplugged(record: &mut Record) {
    let gone: Vec<String> = record
        .nics
        .iter()
        .filter(|nic| nic.unplugged)
        .map(|nic| nic.mac.clone())
        .collect();
    record.nics.retain(|nic| !nic.unplugged);
    let interfaces = &mut record.blueprint.config.interfaces;
    interfaces.retain(|interface| !gone.contains(&interface.mac));
}

fn container(daemon: &Daemon, word: &str) -> Result<Arc<Handle>, ApiError> {
    let handles = daemon.handles(None);
    let by_id = |handle: &&Arc<Handle>| word.len() >= 4 && handle.id.starts_with(word);
    let found = handles
        .iter()
        .find(|handle| handle.container().name == word);
    found
        .or_else(|| handles.iter().find(by_id))
        .cloned()
        .ok_or_else(|| {
            let message = format!("there is no container {word}");
            ApiError::new("not_found", message).help("see `stack ps -a`")
        })
}

//! Networks of a container that is there already.
//!
//! A machine has a spare network device, and those of networks that it has left:
//! it joins another network with one of these while it runs. Without one it has
//! to be started again.

use std::sync::Arc;

use stack_api::event::ApiError;
use stack_api::network::{Connect, Disconnect};
use stack_api::spec::Condition;

use super::update::{take_back, tell};
use super::{Outcome, networks, places, wait};
use crate::container::{Handle, Record, card, rewire};
use crate::daemon::{Daemon, Joining};
use crate::network::{Network, Nic, Place};
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
    // Again, when its machine was another one in the end.
    while !join(&daemon, &handle, &network, &request, &progress).await? {}
    let name = handle.container().name;
    progress.finish("container", &name, "connected");
    Ok(())
}

/// One attempt; `false` as [`carry_out`].
async fn join(
    daemon: &Arc<Daemon>,
    handle: &Arc<Handle>,
    network: &str,
    request: &Connect,
    progress: &Progress,
) -> Result<bool, ApiError> {
    let record = handle.record();
    let name = &record.container.name;
    let on = |nic: &Nic| nic.network == network && !nic.unplugged;
    if record.nics.iter().any(on) {
        let message = format!("{name} is on network {network} already");
        return Err(ApiError::new("network_in_use", message));
    }
    if let Some((new, _joining)) = come_back(daemon, &record, network) {
        return carry_out(daemon, handle, new).await;
    }
    let live = record.container.state.is_live();
    let free = match live {
        true => record.free_card(),
        false => Some(record.nics.len()),
    };
    if free.is_none() && !request.restart {
        let message = format!("{name} runs, and its machine has no network card to spare");
        return Err(ApiError::new("needs_restart", message).help(
            "say --restart to restart it with another card, or take it off another network first",
        ));
    }
    // Nobody else is given its address until the record has it.
    let (new, joining) = add(daemon, &record, free, network, request)?;
    if live && free.is_some() {
        return carry_out(daemon, handle, new).await;
    }
    handle.update(|record| {
        record.nics = new.nics;
        record.blueprint.config = new.blueprint.config;
        record.container.networks = new.container.networks;
    });
    drop(joining);
    if live {
        progress.step("container", name, "restarting");
        handle.stop(None);
        handle.stopped().await;
        handle.start();
        wait::reached(handle, Condition::ServiceStarted).await?;
    }
    Ok(true)
}

/// The record with the card that it had on the network, if that is there still and nobody
/// else has got its address.
fn come_back<'a>(
    daemon: &'a Daemon,
    record: &Record,
    network: &str,
) -> Option<(Record, Joining<'a>)> {
    let _alone = daemon.creation();
    let taken = places::taken(network, &places::all_cards(daemon));
    let mut new = record.clone();
    let mut nics = new.nics.iter_mut();
    let nic = nics.find(|nic| nic.network == network && !taken.has(nic))?;
    nic.unplugged = false;
    nic.by_hand |= nic.key.is_none();
    let joining = daemon.join(&new);
    Some((new, joining))
}

/// The record with a card on the network: that number, or one more.
fn add<'a>(
    daemon: &'a Daemon,
    record: &Record,
    card_number: Option<usize>,
    network: &str,
    request: &Connect,
) -> Result<(Record, Joining<'a>), ApiError> {
    let _alone = daemon.creation();
    let network = networks::find(daemon, network)?;
    let taken = places::taken(&network.name, &places::all_cards(daemon));
    for nic in record.nics.iter().filter(|nic| !nic.unplugged) {
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
        by_hand: true,
        // A default route stays where it is.
        default_route: false,
        ..place.find()?
    };
    let mut new = record.clone();
    let device = card_number.unwrap_or(new.nics.len());
    put(
        &mut new,
        device,
        &network,
        nic,
        request.place.interface.clone(),
    );
    rewire(&mut new, &daemon.all_networks()?);
    let joining = daemon.join(&new);
    Ok((new, joining))
}

/// Gives the record a network device, in place of one that has no network or
/// behind all others.
pub(super) fn put(
    record: &mut Record,
    device: usize,
    network: &Network,
    nic: Nic,
    name: Option<String>,
) {
    let interfaces = &mut record.blueprint.config.interfaces;
    let others = record.nics.iter().zip(&*interfaces);
    let others = others.filter(|(nic, _)| !nic.unplugged);
    let taken: Vec<&String> = others.map(|(_, interface)| &interface.name).collect();
    let mut free = (0..)
        .map(|n| format!("eth{n}"))
        .filter(|name| !taken.contains(&name));
    let name = name.or_else(|| free.next()).unwrap_or_default();
    let interface = card(network, &nic, name);
    if device < record.nics.len() {
        record.nics[device] = nic;
        interfaces[device] = interface;
    } else {
        record.nics.push(nic);
        interfaces.push(interface);
    }
}

/// Has the network daemon, the guest and the record take other networks.
/// `false`: the machine was restarted meanwhile, with the networks of before,
/// and its record is as it was.
async fn carry_out(
    daemon: &Arc<Daemon>,
    handle: &Arc<Handle>,
    mut new: Record,
) -> Result<bool, ApiError> {
    let old = handle.record();
    let boot = old.container.boot_id.clone();
    rewire(&mut new, &daemon.all_networks()?);
    let bound = daemon.republish(handle, &new).await?;
    if let Err(error) = tell(handle, &new).await {
        // What it was may be over: its machine may be another one.
        take_back(daemon, handle, &handle.record()).await;
        return Err(error);
    }
    let mut same = false;
    handle.update(|record| {
        same = record.container.boot_id == boot;
        if !same {
            return;
        }
        record.nics = new.nics;
        record.blueprint.config = new.blueprint.config;
        record.container.networks = new.container.networks;
        if let Some(bound) = bound {
            record.container.ports = bound;
        }
    });
    if !same {
        take_back(daemon, handle, &handle.record()).await;
    }
    Ok(same)
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
    while !leave(&daemon, &handle, &network).await? {}
    let name = handle.container().name;
    progress.finish("container", &name, "disconnected");
    Ok(())
}

/// One attempt; `false` as [`carry_out`].
async fn leave(
    daemon: &Arc<Daemon>,
    handle: &Arc<Handle>,
    network: &str,
) -> Result<bool, ApiError> {
    let on = |nic: &Nic| nic.network == network && !nic.unplugged;
    let mut new = handle.record();
    if !new.nics.iter().any(on) {
        let name = &new.container.name;
        let message = format!("{name} is not on network {network}");
        return Err(ApiError::new("no_such_network", message));
    }
    for nic in new.nics.iter_mut().filter(|nic| nic.network == network) {
        nic.unplugged = true;
    }
    if new.container.state.is_live() {
        return carry_out(daemon, handle, new).await;
    }
    drop_unplugged(&mut new);
    rewire(&mut new, &daemon.all_networks()?);
    handle.update(|record| {
        record.nics = new.nics;
        record.blueprint.config = new.blueprint.config;
        record.container.networks = new.container.networks;
    });
    Ok(true)
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

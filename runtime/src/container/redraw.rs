//! A container's record after changes that its VM can take as it is.

use std::net::IpAddr;

use stack_api::spec::ServiceSpec;
use stack_images::ImageConfig;
use stack_planner::plan::Room;

use super::{Record, blueprint, process, sockets};
use crate::network::{Network, Nic};

/// The record with another spec. What is fixed at the start (mounts, network
/// cards, the process) stays; a VM that does not run gets the size that the
/// limits want at its next start. Names in networks are the caller's.
pub fn redraw(
    record: &Record,
    spec: &ServiceSpec,
    image: &ImageConfig,
    networks: &[Network],
) -> Record {
    let mut new = record.clone();
    new.spec = spec.clone();
    new.container.config_hash.clone_from(&spec.config_hash);
    new.blueprint.stop_signal = blueprint::stop_signal(spec, image);
    if !record.container.state.is_live() {
        (new.blueprint.memory, new.blueprint.cpus) = blueprint::size(spec);
        new.container.memory = new.blueprint.memory;
    }
    let config = &mut new.blueprint.config;
    let gateway = config.interfaces.iter().find_map(|place| {
        let ipv4 = place.gateway4.map(IpAddr::from);
        ipv4.or(place.gateway6.map(IpAddr::from))
    });
    config.healthcheck = process::healthcheck(spec, image);
    config.hosts = blueprint::hosts(spec, gateway);
    config.inward = sockets::inward(spec, plugged(&record.nics, networks));
    config.nameservers = blueprint::nameservers(spec, plugged(&record.nics, networks));
    config.search.clone_from(&spec.dns_search);
    config.resolver_options.clone_from(&spec.dns_opt);
    config.memory_limit = spec.memory;
    config.cpus = spec.cpus;
    config.pids_limit = spec.pids_limit;
    new
}

/// The networks that somebody is on.
fn plugged<'a>(
    nics: &'a [Nic],
    networks: &'a [Network],
) -> impl Iterator<Item = (&'a Network, &'a Nic)> {
    let of = |nic: &'a Nic| networks.iter().find(|network| network.name == nic.network);
    let there = nics.iter().filter(|nic| !nic.unplugged);
    there.filter_map(move |nic| Some((of(nic)?, nic)))
}

/// What follows from the networks that a container is on: a default route, if
/// there is a way out, and name servers.
pub fn rewire(record: &mut Record, networks: &[Network]) {
    for nic in record.nics.iter_mut().filter(|nic| nic.unplugged) {
        nic.default_route = false;
    }
    if record.nics.iter().all(|nic| !nic.default_route) {
        let open = |name: &str| networks.iter().any(|n| n.name == name && !n.internal);
        let mut nics = record.nics.iter_mut().filter(|nic| !nic.unplugged);
        if let Some(nic) = nics.find(|nic| open(&nic.network)) {
            nic.default_route = true;
        }
    }
    let config = &mut record.blueprint.config;
    for (nic, interface) in record.nics.iter().zip(&mut config.interfaces) {
        if let Some(network) = networks.iter().find(|n| n.name == nic.network) {
            *interface = blueprint::card(network, nic, interface.name.clone());
        }
    }
    let there = plugged(&record.nics, networks);
    let addresses = there.filter_map(|(network, nic)| Some((network.name.clone(), nic.address()?)));
    record.container.networks = addresses.collect();
    config.inward = sockets::inward(&record.spec, plugged(&record.nics, networks));
    config.nameservers = blueprint::nameservers(&record.spec, plugged(&record.nics, networks));
}

/// How many networks of the file a VM that runs has devices for: those that
/// were joined by hand keep theirs.
fn networks(record: &Record) -> usize {
    let by_hand = record
        .nics
        .iter()
        .filter(|nic| nic.key.is_none() && !nic.unplugged);
    match record.cards {
        Some(cards) => (cards.wired + cards.spare).saturating_sub(by_hand.count()),
        // It was started by an older daemon.
        None => 0,
    }
}

/// What fits into the VM as it is.
pub fn room(record: &Record) -> Room {
    let container = &record.container;
    if !container.state.is_live() {
        return Room::default();
    }
    let cores = blueprint::cores();
    let cpus = match (container.cpus, record.blueprint.cpus) {
        (0, planned) => planned.unwrap_or(1),
        (started, _) => started,
    };
    // A size that the file asks for does not follow the limits.
    let machine = &record.spec.machine;
    Room {
        memory: container.memory.saturating_sub(blueprint::MEMORY_OVERHEAD),
        unlimited_memory: machine.memory.is_some() || container.memory >= blueprint::DEFAULT_MEMORY,
        // More than the host has is as much as it has.
        cpus: if cpus >= cores { u32::MAX } else { cpus },
        networks: networks(record),
        unlimited_cpus: machine.vcpus.is_some() || record.blueprint.cpus.is_none(),
    }
}

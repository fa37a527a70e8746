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
    let of = |nic: &'_ Nic| networks.iter().find(|network| network.name == nic.network);
    let places = record.nics.iter().filter_map(|nic| Some((of(nic)?, nic)));
    config.inward = sockets::inward(spec, places.clone());
    config.nameservers = blueprint::nameservers(spec, places);
    config.search.clone_from(&spec.dns_search);
    config.resolver_options.clone_from(&spec.dns_opt);
    config.memory_limit = spec.memory;
    config.cpus = spec.cpus;
    config.pids_limit = spec.pids_limit;
    new
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
        unlimited_cpus: machine.vcpus.is_some() || record.blueprint.cpus.is_none(),
    }
}

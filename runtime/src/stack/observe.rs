//! What there is of a stack, in the planner's terms.

use std::collections::{BTreeMap, BTreeSet};

use stack_api::container::{Container, State};
use stack_api::event::ApiError;
use stack_api::spec::{ServiceSpec, StackSpec};
use stack_planner::plan::{Observed, ObservedContainer, ObservedNetwork, ObservedPlace};

use super::{create, images};
use crate::container::{self, Record};
use crate::daemon::Daemon;
use crate::volume::{Volume, VolumeKind};

/// Looks.
pub(super) fn observe(daemon: &Daemon, spec: &StackSpec) -> Result<Observed, ApiError> {
    let all_volumes = daemon.volumes()?;
    let containers = daemon
        .replicas(&spec.name)
        .iter()
        .map(|handle| {
            let record = handle.record();
            ObservedContainer {
                room: container::room(&record),
                standby: record.standby,
                disks: disks(&all_volumes, &record),
                places: places(&record),
                volumes: create::volumes_of(&record),
                images: record.images,
                container: record.container,
                spec: record.spec,
            }
        })
        .collect();
    let ended = |container: &Container| {
        container.one_off && matches!(container.state, State::Exited | State::Dead)
    };
    let all = daemon.handles(Some(&spec.name)).into_iter();
    let ended_runs = all.map(|handle| handle.container()).filter(ended).collect();
    let (own, others): (Vec<_>, Vec<_>) = daemon
        .all_networks()?
        .into_iter()
        .partition(|network| network.project == spec.name);
    let foreign_networks = others.into_iter().map(|n| (n.name, n.project)).collect();
    let networks = own
        .into_iter()
        .map(|network| {
            (
                network.name,
                ObservedNetwork {
                    internal: network.internal,
                    subnet: network.subnet,
                    gateway: network.gateway,
                    subnet6: network.subnet6,
                    gateway6: network.gateway6,
                    mtu: network.mtu,
                },
            )
        })
        .collect();
    let volumes = all_volumes.into_iter().map(|volume| volume.name).collect();
    let (mut known, mut asked_s) = (BTreeMap::new(), BTreeMap::new());
    for service in spec.services.values() {
        let platform = service.platform.as_deref();
        if let Some(image) = images::fitting(daemon, &service.image, platform)? {
            known.insert(service.image.clone(), image.id);
            let asked = daemon.images.asked(&service.image);
            let ago = asked.and_then(|asked| asked.elapsed().ok());
            asked_s.extend(ago.map(|ago| (service.image.clone(), ago.as_secs())));
        }
    }
    for reference in spec.services.values().flat_map(ServiceSpec::mounted_images) {
        if let Some(image) = images::fitting(daemon, reference, None)? {
            known.entry(reference.clone()).or_insert(image.id);
        }
    }
    Ok(Observed {
        containers,
        ended_runs,
        networks,
        foreign_networks,
        volumes,
        images: known,
        asked_s,
    })
}

/// Full names of the disks that it has. One that it was made with may have become a
/// tree since.
fn disks(volumes: &[Volume], record: &Record) -> BTreeSet<String> {
    let has = |volume: &&Volume| {
        let mut disks = record.blueprint.disks.iter();
        volume.kind == VolumeKind::Disk && disks.any(|disk| disk.path == volume.path)
    };
    let disks = volumes.iter().filter(has);
    disks.map(|volume| volume.name.clone()).collect()
}

/// Its places on networks of the file. Those of older daemons have no keys.
fn places(record: &Record) -> BTreeMap<String, ObservedPlace> {
    let plugged = record.nics.iter().filter(|nic| !nic.unplugged);
    let of_file = plugged.filter_map(|nic| Some((nic.key.clone()?, nic)));
    of_file
        .map(|(key, nic)| {
            let place = ObservedPlace {
                network: nic.network.clone(),
                ipv4: nic.ipv4,
                ipv6: nic.ipv6,
                mac: Some(nic.mac.clone()),
            };
            (key, place)
        })
        .collect()
}

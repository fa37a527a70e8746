//! Making a container: addresses, volumes, blueprint, record. It is in the
//! ledger, whole, or it is not there.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;

use stack_api::container::{Container, State};
use stack_api::event::ApiError;
use stack_api::spec::{AttachSpec, MountSource, ServiceSpec, StackSpec};
use stack_images::Image;

use super::Outcome;
use crate::container::blueprint::{self, Resolved, Site};
use crate::container::{Handle, Record};
use crate::daemon::Daemon;
use crate::ledger::Table;
use crate::network::{Network, Nic, Subnet, free_subnet, mac_for};
use crate::progress::Progress;
use crate::time::now_ms;

/// Makes or changes the network with this key in the file.
pub(super) fn network(
    daemon: &Daemon,
    progress: &Progress,
    spec: &StackSpec,
    key: &str,
) -> Outcome {
    let wanted = &spec.networks[key];
    let _alone = daemon.creation();
    let existing: Vec<Network> = daemon.ledger.all(Table::Networks)?;
    let known = existing.iter().find(|n| n.name == wanted.name);
    if let Some(other) = known.filter(|known| known.project != spec.name) {
        return Err(ApiError::new(
            "network_in_use",
            format!("network {} belongs to stack {}", wanted.name, other.project),
        )
        .help("a network serves one stack: give this one another `name:`"));
    }
    if wanted.external {
        return Err(ApiError::new(
            "external_network",
            format!(
                "network {}: external networks are not supported yet",
                wanted.name
            ),
        )
        .help("remove `external: true`: the stack then makes a network of its own"));
    }
    let subnet = match (&wanted.subnet, known) {
        (Some(text), _) => text
            .parse()
            .map_err(|why: String| ApiError::new("bad_subnet", why))?,
        (None, Some(known)) => known.subnet,
        (None, None) => {
            // Two stacks never share a subnet: their guests can be told apart.
            let taken: Vec<Subnet> = existing.iter().map(|n| n.subnet).collect();
            free_subnet(&taken)
                .ok_or_else(|| ApiError::new("no_subnet", "no subnet is free for a network"))?
        }
    };
    let gateway = wanted.gateway.or_else(|| subnet.hosts().next());
    let status = if known.is_some() {
        "updated"
    } else {
        "created"
    };
    let network = Network {
        name: wanted.name.clone(),
        project: spec.name.clone(),
        subnet,
        gateway: gateway.unwrap_or(Ipv4Addr::UNSPECIFIED),
        internal: wanted.internal,
    };
    daemon
        .ledger
        .put(Table::Networks, &network.name, &spec.name, &network)?;
    progress.finish("network", &network.name, status);
    Ok(())
}

/// Makes the volume with this key in the file.
pub(super) fn volume(daemon: &Daemon, progress: &Progress, spec: &StackSpec, key: &str) -> Outcome {
    let wanted = &spec.volumes[key];
    daemon.ensure_volume(&wanted.name, &spec.name, wanted.size, None)?;
    progress.finish("volume", &wanted.name, "created");
    Ok(())
}

/// What a new container takes over from the one it replaces: volumes
/// without a name, by target.
#[derive(Debug, Default)]
pub(super) struct Inherited {
    /// Path in the container, name of the volume.
    pub anonymous: BTreeMap<String, String>,
}

impl From<&Record> for Inherited {
    fn from(record: &Record) -> Inherited {
        Inherited {
            anonymous: record.blueprint.anonymous.iter().cloned().collect(),
        }
    }
}

/// A container to make.
#[derive(Debug, Clone, Copy)]
pub(super) struct Order<'a> {
    pub stack: &'a StackSpec,
    pub spec: &'a ServiceSpec,
    pub number: u32,
    pub name: &'a str,
    pub image: &'a Image,
    pub inherited: Option<&'a Inherited>,
    /// Another container has its names and ports for now.
    pub standby: bool,
}

/// Makes a container; it is not started.
pub(super) fn container(
    daemon: &Arc<Daemon>,
    progress: &Progress,
    order: &Order<'_>,
) -> Result<Arc<Handle>, ApiError> {
    let Order {
        stack,
        spec,
        number,
        name,
        image,
        ..
    } = *order;
    let _alone = daemon.creation();
    let id = random_id();
    if let Some(other) = daemon
        .handles(None)
        .iter()
        .find(|h| h.container().name == name)
    {
        let project = other.container().project;
        return Err(ApiError::new(
            "name_in_use",
            format!("the name {name} is taken by a container of stack {project}"),
        ));
    }
    let places = places(daemon, stack, spec, name, &id)?;
    let resolved = mounts(daemon, progress, order, &id)?;
    let site = Site {
        id: &id,
        networks: &places,
        resolved: &resolved,
        scratch: daemon.paths.scratch(&id),
    };
    let blueprint = blueprint::draw(&site, spec, image)?;
    let record = Record {
        container: Container {
            id: id.clone(),
            name: name.to_owned(),
            project: stack.name.clone(),
            service: spec.name.clone(),
            number,
            image: spec.image.clone(),
            image_id: image.id.clone(),
            config_hash: spec.config_hash.clone(),
            labels: spec.labels.clone(),
            state: State::Created,
            created_ms: now_ms(),
            networks: places
                .iter()
                .map(|(n, nic, _)| (n.name.clone(), nic.ipv4))
                .collect(),
            command: blueprint.config.process.args.join(" "),
            memory: blueprint.memory,
            ..Container::default()
        },
        spec: spec.clone(),
        nics: places.into_iter().map(|(_, nic, _)| nic).collect(),
        blueprint,
        process: None,
        wanted: false,
        standby: order.standby,
    };
    daemon.ledger.put(
        Table::Containers,
        &record.container.id,
        &stack.name,
        &record,
    )?;
    daemon.inherited(record.blueprint.anonymous.iter().map(|(_, name)| name))?;
    Ok(daemon.insert(record))
}

fn places(
    daemon: &Daemon,
    stack: &StackSpec,
    spec: &ServiceSpec,
    name: &str,
    id: &str,
) -> Result<Vec<(Network, Nic, i64)>, ApiError> {
    let mut places = Vec::new();
    let networks = daemon.networks(&stack.name)?;
    for (key, attach) in &spec.networks {
        let name_of = |key: &String| stack.networks.get(key).map(|wanted| &wanted.name);
        let Some(network) = networks.iter().find(|n| Some(&n.name) == name_of(key)) else {
            return Err(ApiError::new(
                "no_such_network",
                format!("service {}: network {key} does not exist", spec.name),
            ));
        };
        let taken: BTreeSet<Ipv4Addr> = daemon
            .handles(Some(&network.project))
            .iter()
            .flat_map(|handle| handle.record().nics)
            .filter(|nic| nic.network == network.name)
            .map(|nic| nic.ipv4)
            .collect();
        let ipv4 = match attach.ipv4 {
            Some(wanted) if taken.contains(&wanted) => {
                return Err(ApiError::new(
                    "address_in_use",
                    format!("service {}: {wanted} is taken in network {key}", spec.name),
                ));
            }
            Some(wanted) => wanted,
            None => network.free_address(&taken).ok_or_else(|| {
                ApiError::new("network_full", format!("network {key} has no address left"))
            })?,
        };
        let names = names(spec, name, id, attach);
        let nic = Nic {
            network: network.name.clone(),
            mac: mac_for(ipv4),
            ipv4,
            names,
        };
        places.push((network.clone(), nic, attach.priority));
    }
    Ok(places)
}

/// The names of a container in a network.
pub(super) fn names(spec: &ServiceSpec, name: &str, id: &str, attach: &AttachSpec) -> Vec<String> {
    let mut names = vec![spec.name.clone(), name.to_owned(), id[..12].to_owned()];
    names.extend(attach.aliases.iter().cloned());
    names.extend(spec.hostname.iter().cloned());
    names.dedup();
    names
}

fn mounts(
    daemon: &Daemon,
    progress: &Progress,
    order: &Order<'_>,
    id: &str,
) -> Result<Resolved, ApiError> {
    let Order {
        stack,
        spec,
        image,
        inherited,
        ..
    } = *order;
    let mut volumes: BTreeMap<String, PathBuf> = BTreeMap::new();
    let mut targets: Vec<&str> = Vec::new();
    let mut nameless: Vec<&str> = Vec::new();
    for mount in &spec.mounts {
        targets.push(&mount.target);
        match &mount.source {
            MountSource::Volume { volume, .. } => {
                let wanted = stack.volumes.get(volume).cloned().unwrap_or_default();
                if wanted.external && !daemon.volumes()?.iter().any(|v| v.name == wanted.name) {
                    return Err(ApiError::new(
                        "no_such_volume",
                        format!("external volume {} does not exist", wanted.name),
                    ));
                }
                let (made, new) =
                    daemon.ensure_volume(&wanted.name, &stack.name, wanted.size, None)?;
                if new {
                    progress.finish("volume", &made.name, "created");
                }
                volumes.insert(volume.clone(), made.path);
            }
            MountSource::Anonymous => nameless.push(&mount.target),
            MountSource::Bind { .. } | MountSource::Tmpfs { .. } => {}
        }
    }
    let clean = |path: &str| path.trim_end_matches('/').to_owned();
    let declared = image.config.volumes.iter().map(String::as_str);
    nameless.extend(declared.filter(|path| !targets.iter().any(|t| clean(t) == clean(path))));
    let mut anonymous = Vec::new();
    for target in nameless {
        let old = inherited.and_then(|inherited| inherited.anonymous.get(target));
        let name = match old {
            Some(old) => old.clone(),
            None => daemon
                .bequeathed(&stack.name, order.name, target)?
                .unwrap_or_else(random_id),
        };
        let (volume, _) = daemon.ensure_volume(&name, &stack.name, None, Some(id))?;
        anonymous.push((target.to_owned(), name, volume.path));
    }
    Ok(Resolved { volumes, anonymous })
}

/// 64 random hexadecimal digits.
fn random_id() -> String {
    let mut bytes = [0u8; 32];
    let _ = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

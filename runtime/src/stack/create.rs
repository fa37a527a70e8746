//! Making a container: addresses, volumes, blueprint, record. It is in the
//! ledger, whole, or it is not there.

use std::collections::BTreeMap;
use std::sync::Arc;

use stack_api::container::{Container, State};
use stack_api::event::ApiError;
use stack_api::spec::{MountSource, ServiceSpec, StackSpec};
use stack_images::Image;

use super::places::places;
use super::{Outcome, images};
use crate::container::blueprint::{self, Blueprint, Nameless, Resolved, Site};
use crate::container::{Handle, Record, news};
use crate::daemon::Daemon;
use crate::network::Nic;
use crate::progress::Progress;
use crate::time::now_ms;
use crate::volume::{Volume, VolumeKind, WantedVolume};

/// Makes the volume with this key in the file.
pub(super) fn volume(daemon: &Daemon, progress: &Progress, spec: &StackSpec, key: &str) -> Outcome {
    let wanted = &spec.volumes[key];
    let order = WantedVolume {
        project: &spec.name,
        spec: Some(wanted),
        kind: VolumeKind::suits(spec, key),
        anonymous_of: None,
    };
    daemon.ensure_volume(&wanted.name, &order)?;
    progress.finish("volume", &wanted.name, "created");
    Ok(())
}

/// What a new container takes over from the one it replaces: volumes
/// without a name, by target.
#[derive(Debug, Default)]
pub(super) struct Inherited {
    /// Path in the container, name of the volume.
    pub anonymous: BTreeMap<String, String>,
    /// Its places on networks, for their addresses.
    pub nics: Vec<Nic>,
}

impl From<&Record> for Inherited {
    fn from(record: &Record) -> Inherited {
        Inherited {
            anonymous: record.blueprint.anonymous.iter().cloned().collect(),
            nics: record.nics.clone(),
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
    /// It is no replica of its service.
    pub one_off: Option<OneOff>,
}

/// A container of `run`.
#[derive(Debug, Clone, Copy)]
pub(super) struct OneOff {
    /// It is found by the service's name and aliases, as a replica is.
    pub named: bool,
    /// It is removed when it has ended.
    pub remove: bool,
    /// What it is there for.
    pub purpose: Purpose,
}

/// What a container of `run` is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// A command that somebody waits for.
    Command,
    /// A command in the background: volumes that are made for it are for others
    /// at the same time.
    Background,
    /// To be run before a service is started.
    Hook,
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
        inherited,
        ..
    } = *order;
    let _alone = daemon.creation();
    let id = random_id();
    let others: Vec<Container> = daemon.handles(None).iter().map(|h| h.container()).collect();
    name_is_free(&others, name)?;
    let before = inherited.map_or(&[][..], |old| &old.nics);
    let mut places = places(daemon, stack, spec, name, &id, before)?;
    if order.one_off.is_some_and(|one_off| !one_off.named) {
        for place in &mut places {
            place.nic.names = vec![name.to_owned(), id[..12].to_owned()];
        }
    }
    let resolved = mounts(daemon, progress, order, &id)?;
    let site = Site {
        id: &id,
        networks: &places,
        resolved: &resolved,
        scratch: daemon.paths.scratch(&id),
    };
    let blueprint = blueprint::draw(&site, spec, image)?;
    let known = &blueprint.config.hosts;
    let asked = spec.extra_hosts.iter().map(|(host, _)| host);
    for host in asked.filter(|host| !known.iter().any(|(_, name)| name == *host)) {
        progress.warn(format!(
            "service {}: `extra_hosts` is without `{host}: host-gateway`, for no network of the \
             service leads to the host",
            spec.name
        ));
    }
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
            annotations: spec.annotations.clone(),
            state: State::Created,
            created_ms: now_ms(),
            networks: places
                .iter()
                .filter_map(|place| Some((place.nic.network.clone(), place.nic.address()?)))
                .collect(),
            command: shown(&blueprint.config.process.args),
            memory: blueprint.memory,
            tty: spec.tty,
            one_off: order.one_off.is_some(),
            mounts: mounted(stack, spec, &blueprint),
            ..Container::default()
        },
        remove_at_end: order.one_off.is_some_and(|one_off| one_off.remove),
        hook: order
            .one_off
            .is_some_and(|one_off| one_off.purpose == Purpose::Hook),
        attempts: 0,
        called_off: false,
        exit_before: None,
        prepared: None,
        spec: spec.clone(),
        nics: places.into_iter().map(|place| place.nic).collect(),
        blueprint,
        process: None,
        transport: stack_vmm::Transport::default(),
        cards: None,
        wanted: false,
        stop_grace_ms: None,
        told_to_end: false,
        standby: order.standby,
        images: resolved
            .images
            .into_iter()
            .map(|(reference, image)| (reference, image.id))
            .collect(),
    };
    let news = [news::happening(&record, "create", &[])];
    daemon.ledger.put_containers(&[&record], &news)?;
    daemon.inherited(&record.container.project, &record.container.name)?;
    Ok(daemon.insert(record))
}

/// None of these containers has the name.
///
/// # Errors
/// One has.
pub(super) fn name_is_free<'a>(
    others: impl IntoIterator<Item = &'a Container>,
    name: &str,
) -> Outcome {
    match others.into_iter().find(|other| other.name == name) {
        None => Ok(()),
        Some(other) => Err(ApiError::new(
            "name_in_use",
            format!(
                "the name {name} is taken by a container of stack {}",
                other.project
            ),
        )),
    }
}

/// What `ps` shows of its mounts.
fn mounted(stack: &StackSpec, spec: &ServiceSpec, blueprint: &Blueprint) -> Vec<String> {
    let named = spec.mounts.iter().filter_map(|mount| match &mount.source {
        MountSource::Volume { volume, .. } => {
            let known = stack.volumes.get(volume);
            Some(known.map_or(volume, |volume| &volume.name).clone())
        }
        MountSource::Bind { path, .. } => Some(path.display().to_string()),
        MountSource::Nfs { server, path, .. } => Some(format!("{server}:{path}")),
        MountSource::Image { image, .. } => Some(image.clone()),
        MountSource::Anonymous { .. } | MountSource::Tmpfs { .. } => None,
    });
    let nameless = blueprint.anonymous.iter().map(|(_, name)| name.clone());
    named.chain(nameless).collect()
}

/// Full names of the volumes that a container was made with, by key: they are in
/// what [`mounted`] has told, which older daemons did not.
pub(super) fn volumes_of(record: &Record) -> BTreeMap<String, String> {
    let nameless = |source: &&MountSource| {
        matches!(
            source,
            MountSource::Anonymous { .. } | MountSource::Tmpfs { .. }
        )
    };
    let sources = record.spec.mounts.iter().map(|mount| &mount.source);
    let named: Vec<&MountSource> = sources.filter(|source| !nameless(source)).collect();
    let told = &record.container.mounts;
    if told.len() != named.len() + record.blueprint.anonymous.len() {
        return BTreeMap::new();
    }
    let pairs = named.into_iter().zip(told);
    pairs
        .filter_map(|(source, name)| match source {
            MountSource::Volume { volume, .. } => Some((volume.clone(), name.clone())),
            _ => None,
        })
        .collect()
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
    let (mut volumes, mut mounted) = (BTreeMap::new(), BTreeMap::new());
    let mut targets: Vec<&str> = Vec::new();
    // Target, read-only, without the image's content.
    let mut nameless: Vec<(&str, bool, bool)> = Vec::new();
    for mount in &spec.mounts {
        targets.push(&mount.target);
        match &mount.source {
            MountSource::Volume { volume, .. } => {
                let wanted = stack.volumes.get(volume).cloned().unwrap_or_default();
                daemon.check_external_volume(&wanted)?;
                let purpose = order.one_off.map(|one_off| one_off.purpose);
                let order = WantedVolume {
                    project: &stack.name,
                    spec: Some(&wanted),
                    kind: match purpose {
                        Some(Purpose::Background) => VolumeKind::Tree,
                        _ => VolumeKind::suits(stack, volume),
                    },
                    anonymous_of: None,
                };
                let (made, new) = daemon.ensure_volume(&wanted.name, &order)?;
                if new {
                    progress.finish("volume", &made.name, "created");
                }
                if let Some(note) = wanted.size.and_then(|size| size_is_vain(&made, size)) {
                    progress.warn(note);
                }
                volumes.insert(volume.clone(), made.into());
            }
            MountSource::Anonymous { nocopy } => {
                nameless.push((&mount.target, mount.read_only, *nocopy));
            }
            MountSource::Image { image, .. } => {
                let there = daemon.images.get(image).map_err(images::error)?;
                let there = there.ok_or_else(|| {
                    let message = format!("image {image} was removed meanwhile");
                    ApiError::new("image_missing", message)
                })?;
                mounted.insert(image.clone(), there);
            }
            MountSource::Bind { .. } | MountSource::Nfs { .. } | MountSource::Tmpfs { .. } => {}
        }
    }
    let clean = |path: &str| path.trim_end_matches('/').to_owned();
    let declared = image.config.volumes.iter().map(String::as_str);
    let declared = declared.filter(|path| !targets.iter().any(|t| clean(t) == clean(path)));
    nameless.extend(declared.map(|path| (path, false, false)));
    let mut anonymous = Vec::new();
    for (target, read_only, nocopy) in nameless {
        let old = inherited.and_then(|inherited| inherited.anonymous.get(target));
        let name = match old {
            Some(old) => old.clone(),
            None => daemon
                .bequeathed(&stack.name, order.name, target)?
                .unwrap_or_else(random_id),
        };
        let order = WantedVolume {
            project: &stack.name,
            anonymous_of: Some(id),
            ..WantedVolume::default()
        };
        let (volume, _) = daemon.ensure_volume(&name, &order)?;
        anonymous.push(Nameless {
            target: target.to_owned(),
            name,
            volume: volume.into(),
            read_only,
            nocopy,
        });
    }
    Ok(Resolved {
        volumes,
        anonymous,
        images: mounted,
    })
}

/// What to say when a volume does not have the size that the file gives it.
fn size_is_vain(volume: &Volume, size: u64) -> Option<String> {
    let name = &volume.name;
    match volume.kind {
        VolumeKind::Tree => Some(format!(
            "volume {name} is a directory: `driver_opts: size` does not limit it"
        )),
        VolumeKind::Disk => {
            let now = std::fs::metadata(&volume.path).ok()?.len();
            (now != size).then(|| {
                format!(
                    "volume {name} stays as large as it was made, {} MiB: `driver_opts: size` is for a \
                     new one; `stack volume export`, `rm` and `import` make it anew",
                    now >> 20
                )
            })
        }
    }
}

/// A command for people, as Docker shows it: what has blanks, or nothing at
/// all, is in quotes.
fn shown(args: &[String]) -> String {
    let quoted = args.iter().map(|arg| {
        let plain = !arg.is_empty() && !arg.contains(char::is_whitespace);
        if plain {
            arg.clone()
        } else {
            format!("'{arg}'")
        }
    });
    quoted.collect::<Vec<String>>().join(" ")
}

/// 64 random hexadecimal digits.
fn random_id() -> String {
    let mut bytes = [0u8; 32];
    let _ = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_that_has_no_effect_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("v.ext4");
        std::fs::File::create(&path)
            .unwrap()
            .set_len(64 << 20)
            .unwrap();
        let mut volume = Volume {
            name: "v".to_owned(),
            project: String::new(),
            anonymous_of: None,
            awaits: None,
            external: false,
            path,
            kind: VolumeKind::Disk,
            labels: BTreeMap::new(),
            created_ms: 0,
            unfilled: false,
        };
        assert_eq!(size_is_vain(&volume, 64 << 20), None);
        let note = size_is_vain(&volume, 128 << 20).unwrap();
        assert!(note.contains("as large as it was made, 64 MiB"), "{note}");
        volume.kind = VolumeKind::Tree;
        assert!(
            size_is_vain(&volume, 64 << 20)
                .unwrap()
                .contains("is a directory")
        );
    }

    #[test]
    fn words_can_be_told_apart() {
        let args = ["nginx", "-g", "daemon off;", "--save", ""].map(str::to_owned);
        assert_eq!(shown(&args), "nginx -g 'daemon off;' --save ''");
    }
}

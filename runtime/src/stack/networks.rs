//! Making and changing networks.

mod pools;

use std::collections::BTreeSet;
use std::sync::Arc;

use stack_api::event::ApiError;
use stack_api::network::{Member, NetworkInfo};
use stack_api::spec::{NetworkSpec, ServiceSpec, StackSpec};
use stack_planner::plan::{Action, Plan, foreign_network};

use super::Outcome;
use crate::container::{Handle, MTU};
use crate::daemon::Daemon;
use crate::ledger::Table;
use crate::network::{Network, Nic};
use crate::progress::Progress;
use crate::time::now_ms;

/// Makes or changes the network with this key in the file. One that somebody else has made
/// since the plan was is used as it is, as if it had been there before.
pub(super) fn network(
    daemon: &Daemon,
    progress: &Progress,
    spec: &StackSpec,
    key: &str,
) -> Outcome {
    let wanted = &spec.networks[key];
    let name = &wanted.name;
    let _alone = daemon.creation();
    let existing = daemon.all_networks()?;
    let known = existing.iter().find(|n| n.name == *name);
    if let Some(other) = known.filter(|known| known.project != spec.name) {
        progress.warn(foreign_network(name, &other.project));
        return Ok(());
    }
    put(daemon, &spec.name, wanted, &existing)?;
    let status = if known.is_none() {
        "created"
    } else {
        "updated"
    };
    progress.finish("network", name, status);
    Ok(())
}

/// Makes a network, or changes the project's own one of that name. `project` is empty for
/// one that is made by hand. The caller holds [`Daemon::creation`].
///
/// # Errors
/// Its addresses cannot be.
fn put(
    daemon: &Daemon,
    project: &str,
    wanted: &NetworkSpec,
    existing: &[Network],
) -> Result<Network, ApiError> {
    let network = drawn(daemon, project, wanted, existing)?;
    let others = existing
        .iter()
        .filter(|n| n.project == project && n.name != network.name);
    if let Some(why) = others
        .filter(|_| !project.is_empty())
        .find_map(|n| n.overlaps(&network))
    {
        return Err(ApiError::new("subnet_in_use", why)
            .help("the networks of a stack need subnets that do not overlap"));
    }
    daemon
        .ledger
        .put(Table::Networks, &network.name, project, &network)?;
    Ok(network)
}

/// The network as it will be, beside those that there are.
///
/// # Errors
/// Its addresses cannot be.
fn drawn(
    daemon: &Daemon,
    project: &str,
    wanted: &NetworkSpec,
    existing: &[Network],
) -> Result<Network, ApiError> {
    let known = existing.iter().find(|n| n.name == wanted.name);
    let known = known.cloned().unwrap_or_else(|| Network {
        name: wanted.name.clone(),
        project: project.to_owned(),
        created_ms: now_ms(),
        ..Network::default()
    });
    let (subnet, gateway) = pools::ipv4(wanted, &known, existing)?;
    let (subnet6, gateway6) = pools::ipv6(daemon, wanted, &known)?;
    Ok(Network {
        subnet,
        gateway,
        range: wanted.range,
        subnet6,
        gateway6,
        range6: wanted.range6,
        reserved: wanted.reserved.values().copied().collect(),
        mtu: wanted.mtu,
        internal: wanted.internal,
        labels: wanted.labels.clone(),
        ..known
    })
}

/// All networks as they will be after the plan.
///
/// # Errors
/// The addresses of one cannot be.
pub(super) fn planned(
    daemon: &Daemon,
    spec: &StackSpec,
    plan: &Plan,
) -> Result<Vec<Network>, ApiError> {
    let mut networks = daemon.all_networks()?;
    for step in &plan.steps {
        if let Action::CreateNetwork { network, name } | Action::UpdateNetwork { network, name } =
            &step.action
        {
            let network = drawn(daemon, &spec.name, &spec.networks[network], &networks)?;
            networks.retain(|known| known.name != *name);
            networks.push(network);
        }
    }
    Ok(networks)
}

/// The external networks of the services are there.
///
/// # Errors
/// One is not.
pub(super) fn check_external<'a>(
    daemon: &Daemon,
    spec: &StackSpec,
    services: impl Iterator<Item = &'a ServiceSpec> + Clone,
) -> Outcome {
    let existing = daemon.all_networks()?;
    let is_used = |key: &String| services.clone().any(|s| s.networks.contains_key(key));
    for (key, network) in &spec.networks {
        if network.external && is_used(key) && !existing.iter().any(|n| n.name == network.name) {
            let name = &network.name;
            return Err(ApiError::new(
                "no_such_network",
                format!("network {name} is external, and there is none of that name"),
            )
            .help(format!("make it with `stack network create {name}`")));
        }
    }
    Ok(())
}

/// Nobody who stays runs at an address that a network of the stack loses, or has
/// lost: the network daemon would take nothing of the stack any more.
///
/// # Errors
/// Somebody does.
pub(super) fn check_addresses(daemon: &Daemon, spec: &StackSpec, plan: &Plan) -> Outcome {
    let (mut goes, mut updates, mut announces) = (BTreeSet::new(), false, false);
    for step in &plan.steps {
        match &step.action {
            Action::Recreate { id, .. } | Action::Remove { id, .. } => {
                goes.insert(id);
            }
            Action::UpdateNetwork { .. } => updates = true,
            Action::Start { .. } | Action::Update { .. } | Action::Switch { .. } => {
                announces = true;
            }
            _ => {}
        }
    }
    if !updates && !announces {
        return Ok(());
    }
    let own = planned(daemon, spec, plan)?.into_iter();
    for network in own.filter(|network| network.project == spec.name) {
        let stays = |handle: &&Arc<Handle>| {
            handle.container().state.is_live() && !goes.contains(&handle.id)
        };
        for handle in daemon.handles(None).iter().filter(stays) {
            let on = |nic: &&Nic| nic.network == network.name && !nic.unplugged;
            let record = handle.record();
            let mut nics = record.nics.iter().filter(on);
            if let Some(address) = nics.find_map(|nic| network.lacks(nic)) {
                let (container, name) = (&record.container.name, &network.name);
                let message = format!(
                    "{container} runs at {address}, which is no address for it on network {name} \
                     as that is wanted"
                );
                return Err(ApiError::new("subnet_in_use", message).help(
                    "`stack up` without names of services makes all containers anew; those of \
                     others stop, or leave the network with `stack network disconnect`",
                ));
            }
        }
    }
    Ok(())
}

/// Removes a stack's networks, but for those that others are on.
pub(super) async fn remove_all(daemon: &Daemon, progress: &Progress, project: &str) -> Outcome {
    let mut kept = false;
    for network in daemon.networks(project)? {
        let users = users(daemon, &network.name);
        if users.is_empty() {
            daemon.ledger.forget(Table::Networks, &network.name)?;
            progress.finish("network", &network.name, "removed");
        } else {
            kept = true;
            let (name, users) = (&network.name, users.join(", "));
            progress.warn(format!("network {name} stays: it is used by {users}"));
        }
    }
    if !kept {
        daemon.end_netd(project).await;
    }
    Ok(())
}

/// Removes a network.
///
/// # Errors
/// There is none of that name, or somebody is on it.
pub async fn remove(daemon: &Daemon, name: &str) -> Outcome {
    let home = {
        let _alone = daemon.creation();
        let network = find(daemon, name)?;
        let users = users(daemon, name);
        if !users.is_empty() {
            let users = users.join(", ");
            let message = format!("network {name} is used by {users}");
            return Err(ApiError::new("network_in_use", message).help(
                "remove these containers, or take them off with `stack network disconnect`",
            ));
        }
        daemon.ledger.forget(Table::Networks, name)?;
        network.home()
    };
    if !daemon.all_networks()?.iter().any(|n| n.home() == home) {
        daemon.end_netd(&home).await;
    }
    Ok(())
}

/// The network of this name.
///
/// # Errors
/// There is none.
pub(super) fn find(daemon: &Daemon, name: &str) -> Result<Network, ApiError> {
    let networks = daemon.all_networks()?;
    let known: Vec<String> = networks.iter().map(|n| n.name.clone()).collect();
    networks
        .into_iter()
        .find(|n| n.name == name)
        .ok_or_else(|| {
            let message = format!("there is no network {name}");
            let error = ApiError::new("no_such_network", message);
            match known.is_empty() {
                true => error,
                false => error.help(format!("there are: {}", known.join(", "))),
            }
        })
}

/// Names of the containers with a place on a network.
fn users(daemon: &Daemon, name: &str) -> Vec<String> {
    let handles = daemon.handles(None);
    let on = |nic: &Nic| nic.network == name && !nic.unplugged;
    handles
        .iter()
        .filter(|handle| daemon.cards(handle).iter().any(on))
        .map(|handle| handle.container().name)
        .collect()
}

/// All networks by name.
///
/// # Errors
/// The ledger cannot be read.
pub fn list(daemon: &Daemon) -> Result<Vec<NetworkInfo>, ApiError> {
    let mut networks = daemon.all_networks()?;
    networks.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(networks.into_iter().map(|n| info(daemon, n)).collect())
}

/// One network.
///
/// # Errors
/// There is none of that name.
pub fn inspect(daemon: &Daemon, name: &str) -> Result<NetworkInfo, ApiError> {
    Ok(info(daemon, find(daemon, name)?))
}

/// Makes a network that belongs to no stack.
///
/// # Errors
/// There is one of that name, or its addresses cannot be.
pub fn create(daemon: &Daemon, wanted: &NetworkSpec) -> Result<NetworkInfo, ApiError> {
    let _alone = daemon.creation();
    let existing = daemon.all_networks()?;
    if existing.iter().any(|n| n.name == wanted.name) {
        let message = format!("there is a network {} already", wanted.name);
        return Err(ApiError::new("network_exists", message)
            .help(format!("see `stack network inspect {}`", wanted.name)));
    }
    let network = put(daemon, "", wanted, &existing)?;
    Ok(info(daemon, network))
}

/// Removes networks that nobody has a place on; those of a stack only when
/// there is no stack any more.
///
/// # Errors
/// One cannot be removed; others may have been.
pub async fn prune(daemon: &Daemon) -> Result<Vec<String>, ApiError> {
    let mut removed = Vec::new();
    for name in prunable(daemon, &BTreeSet::new())? {
        remove(daemon, &name).await?;
        removed.push(name);
    }
    Ok(removed)
}

/// What [`prune`] would remove if these containers were gone.
///
/// # Errors
/// The ledger cannot be read.
pub fn prunable(daemon: &Daemon, without: &BTreeSet<String>) -> Result<Vec<String>, ApiError> {
    let mut found = Vec::new();
    for network in daemon.all_networks()? {
        let orphan = network.project.is_empty()
            || daemon
                .ledger
                .stack::<StackSpec>(&network.project)?
                .is_none();
        let used = users(daemon, &network.name);
        if orphan && used.iter().all(|user| without.contains(user)) {
            found.push(network.name);
        }
    }
    Ok(found)
}

fn info(daemon: &Daemon, network: Network) -> NetworkInfo {
    let handles = daemon.handles(None);
    let records = handles.iter().map(|handle| handle.record());
    let members = records.flat_map(|record| {
        let container = record.container;
        let nics = record
            .nics
            .into_iter()
            .filter(|nic| nic.network == network.name);
        let members: Vec<Member> = nics
            .map(|nic| Member {
                id: container.id.clone(),
                name: container.name.clone(),
                project: container.project.clone(),
                service: container.service.clone(),
                state: container.state,
                mac: nic.mac,
                ipv4: nic.ipv4,
                ipv6: nic.ipv6,
                names: nic.names,
                default_route: nic.default_route,
            })
            .collect();
        members
    });
    NetworkInfo {
        members: members.collect(),
        name: network.name.clone(),
        project: network.project,
        internal: network.internal,
        subnet: network.subnet,
        gateway: network.gateway,
        range: network.range,
        subnet6: network.subnet6,
        gateway6: network.gateway6,
        range6: network.range6,
        reserved: network.reserved,
        mtu: network.mtu.unwrap_or(MTU),
        labels: network.labels,
        created_ms: network.created_ms,
    }
}

#[cfg(test)]
mod tests {
    use stack_api::event::Event;
    use stack_vmm::Fake;

    use super::*;
    use crate::volume::kit;

    #[tokio::test]
    async fn of_two_stacks_that_make_a_network_the_second_uses_it() {
        let home = tempfile::Builder::new().prefix("st").tempdir().unwrap();
        let daemon = kit::daemon(home.path(), Fake::default()).await;
        let stack = |name: &str| {
            let wanted = NetworkSpec {
                name: "proxy".to_owned(),
                ..NetworkSpec::default()
            };
            StackSpec {
                name: name.to_owned(),
                networks: [("proxy".to_owned(), wanted)].into(),
                ..StackSpec::default()
            }
        };
        // Both were planned when there was none.
        let (progress, mut events) = Progress::new();
        network(&daemon, &progress, &stack("shop"), "proxy").unwrap();
        assert!(matches!(events.recv().await, Some(Event::Step { .. })));
        network(&daemon, &progress, &stack("blog"), "proxy").unwrap();
        let Some(Event::Warning { message }) = events.recv().await else {
            panic!("nothing was said");
        };
        assert!(message.starts_with("network proxy belongs to stack shop, and is used as it is"));
        let all = daemon.all_networks().unwrap();
        assert_eq!(all.len(), 1);
        assert_eq!(all[0].project, "shop");
    }
}

//! Where a container is on its networks: addresses, names, the default route.

use stack_api::event::ApiError;
use stack_api::spec::{AttachSpec, ServiceSpec, StackSpec};

use crate::daemon::Daemon;
use crate::network::{Network, Nic, Place, Taken};

/// A container's place on a network, with what was asked for.
#[derive(Debug, Clone)]
pub struct Placed {
    /// The network.
    pub network: Network,
    /// The card.
    pub nic: Nic,
    /// As the file has it.
    pub wanted: AttachSpec,
}

/// Places for a container that is not there yet, in the order of its cards.
/// The caller holds [`Daemon::creation`].
pub(super) fn places(
    daemon: &Daemon,
    stack: &StackSpec,
    spec: &ServiceSpec,
    name: &str,
    id: &str,
    before: &[Nic],
) -> Result<Vec<Placed>, ApiError> {
    let mut places = Vec::new();
    for (key, wanted) in spec.cards() {
        places.push(place(
            daemon,
            stack,
            spec,
            (name, id),
            (key, wanted),
            before,
        )?);
    }
    overlapping(&places)?;
    if let Some(n) = default_route(&places) {
        places[n].nic.default_route = true;
    }
    Ok(places)
}

/// One of them.
pub(super) fn place(
    daemon: &Daemon,
    stack: &StackSpec,
    spec: &ServiceSpec,
    (name, id): (&str, &str),
    (key, wanted): (&String, &AttachSpec),
    before: &[Nic],
) -> Result<Placed, ApiError> {
    let networks = daemon.all_networks()?;
    let definition = stack.networks.get(key);
    let name_of = definition.map(|network| &network.name);
    let Some(network) = networks.iter().find(|n| Some(&n.name) == name_of) else {
        return Err(ApiError::new(
            "no_such_network",
            format!("service {}: network {key} does not exist", spec.name),
        ));
    };
    let network = as_defined(network, stack, key);
    let taken = taken(&network.name, &all_cards(daemon));
    let found = find(stack, &network, (key, wanted), before, taken);
    let nic = found.map_err(|error| of_service(spec, error))?;
    let nic = Nic {
        key: Some(key.clone()),
        names: names(spec, name, id, wanted),
        links: spec.links.clone(),
        ..nic
    };
    let wanted = wanted.clone();
    Ok(Placed {
        network,
        nic,
        wanted,
    })
}

/// The network with what the file says of it, if it is the stack's own.
pub(super) fn as_defined(network: &Network, stack: &StackSpec, key: &str) -> Network {
    let mut network = network.clone();
    let own = network.project == stack.name;
    let definition = stack.networks.get(key);
    if let Some(definition) = definition.filter(|network| own && !network.external) {
        network.range = definition.range;
        network.range6 = definition.range6;
        network.reserved = definition.reserved.values().copied().collect();
    }
    network
}

pub(super) fn of_service(spec: &ServiceSpec, error: ApiError) -> ApiError {
    ApiError {
        message: format!("service {}: {}", spec.name, error.message),
        ..error
    }
}

/// What these cards have on a network.
pub(super) fn taken<'a>(network: &str, cards: impl IntoIterator<Item = &'a Nic>) -> Taken {
    let mut taken = Taken::default();
    let there = cards.into_iter().filter(|nic| nic.network == network);
    there.for_each(|nic| taken.add(nic));
    taken
}

/// The cards of all containers, also those that they are about to have.
pub(super) fn all_cards(daemon: &Daemon) -> Vec<Nic> {
    let handles = daemon.handles(None);
    handles
        .iter()
        .flat_map(|handle| daemon.cards(handle))
        .collect()
}

/// A card on the network for a service, beside what is taken.
///
/// # Errors
/// There is no address for it.
pub(super) fn find(
    stack: &StackSpec,
    network: &Network,
    (key, wanted): (&String, &AttachSpec),
    before: &[Nic],
    mut taken: Taken,
) -> Result<Nic, ApiError> {
    for service in stack.services.values() {
        if let Some(place) = service.networks.get(key) {
            taken.keep(place);
        }
    }
    let before = before.iter().find(|nic| nic.network == network.name);
    Place {
        network,
        taken: &taken,
        wanted,
        before,
    }
    .find()
}

/// Two networks with the same addresses would be one for the guest.
fn overlapping(places: &[Placed]) -> Result<(), ApiError> {
    for (n, a) in places.iter().enumerate() {
        for b in &places[..n] {
            if let Some(why) = b.network.overlaps(&a.network) {
                return Err(ApiError::new("subnet_in_use", why)
                    .help("give one of the networks another `subnet`"));
            }
        }
    }
    Ok(())
}

/// The default route goes out by the network of highest `gw_priority`, then
/// `priority`, that has a way out; of equals, the first by name.
pub(super) fn default_route(places: &[Placed]) -> Option<usize> {
    let open = places
        .iter()
        .enumerate()
        .filter(|(_, place)| !place.network.internal);
    let best = open.max_by_key(|(_, place)| {
        let wanted = &place.wanted;
        let name = std::cmp::Reverse(&place.network.name);
        (wanted.gw_priority, wanted.priority, name)
    });
    best.map(|(n, _)| n)
}

/// The names of a container in a network.
pub(super) fn names(spec: &ServiceSpec, name: &str, id: &str, attach: &AttachSpec) -> Vec<String> {
    let mut names = vec![spec.name.clone(), name.to_owned(), id[..12].to_owned()];
    names.extend(attach.aliases.iter().cloned());
    names.extend(spec.hostname.iter().cloned());
    let domain = spec.hostname.iter().zip(&spec.domainname);
    names.extend(domain.map(|(host, domain)| format!("{host}.{domain}")));
    names.dedup();
    names
}

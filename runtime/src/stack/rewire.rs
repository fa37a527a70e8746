//! A container that is there goes to the networks of another definition: what
//! both have stays as it is.

use stack_api::event::ApiError;
use stack_api::spec::StackSpec;

use super::connect;
use super::connect::put;
use super::places::{self, Placed};
use crate::container::{Record, rewire};
use crate::daemon::{Daemon, Joining};
use crate::network::{Network, Nic};

/// Puts the record's container on the networks that its spec has. Those that it
/// joined by hand stay. Nobody else gets its addresses as long as what is
/// returned lives.
///
/// # Errors
/// No address is left, or no network device.
pub(super) fn move_to<'a>(
    daemon: &'a Daemon,
    stack: &StackSpec,
    record: &mut Record,
    networks: &[Network],
) -> Result<Option<Joining<'a>>, ApiError> {
    let wanted = record.spec.networks.clone();
    // A record of an older daemon has no keys; and what was joined by hand may be
    // in the file now.
    let older = is_older(record);
    let on_file = |nic: &Nic| {
        let mut keys = wanted.keys();
        keys.find(|key| {
            stack
                .networks
                .get(*key)
                .is_some_and(|n| n.name == nic.network)
        })
    };
    for nic in record.nics.iter_mut() {
        if nic.key.is_none() && !nic.unplugged {
            nic.key = on_file(nic).cloned();
        }
    }
    let known = |record: &Record, key: &str| {
        let mut nics = record.nics.iter();
        nics.any(|nic| nic.key.as_deref() == Some(key))
    };
    let gone = |nic: &Nic| match &nic.key {
        Some(key) => !wanted.contains_key(key),
        None => older,
    };
    let same = wanted.keys().all(|key| known(record, key)) && !record.nics.iter().any(gone);
    if same {
        return Ok(None);
    }
    for nic in record.nics.iter_mut().filter(|nic| gone(nic)) {
        nic.unplugged = true;
        nic.key = None;
    }
    let live = record.container.state.is_live();
    if !live {
        connect::drop_unplugged(record);
    }
    let _alone = daemon.creation();
    let spec = record.spec.clone();
    for (key, wanted) in spec.cards() {
        if known(record, key) {
            continue;
        }
        let device = match live {
            true => record.free_card().ok_or_else(|| {
                let name = &record.container.name;
                let message = format!("the machine of {name} has no network card to spare");
                ApiError::new("needs_restart", message)
                    .help("`stack up --force-recreate` makes it anew")
            })?,
            false => record.nics.len(),
        };
        let (name, id) = (&record.container.name, &record.container.id);
        let place = places::place(daemon, stack, &spec, (name, id), (key, wanted), &[])?;
        put(
            record,
            device,
            &place.network,
            place.nic,
            wanted.interface.clone(),
        );
    }
    reroute(stack, record, networks);
    rewire(record, networks);
    Ok(Some(daemon.join(record)))
}

/// Its record is of an older daemon, which noted no keys.
pub(super) fn is_older(record: &Record) -> bool {
    let unknown = |nic: &Nic| nic.key.is_none() && !nic.by_hand;
    record.nics.iter().all(unknown)
}

/// The default route is where the file has it.
fn reroute(stack: &StackSpec, record: &mut Record, networks: &[Network]) {
    let mut all = Vec::new();
    for (n, nic) in record.nics.iter().enumerate() {
        let wanted = nic
            .key
            .as_ref()
            .and_then(|key| record.spec.networks.get(key));
        let network = networks.iter().find(|network| network.name == nic.network);
        let definition = nic.key.as_ref().and_then(|key| stack.networks.get(key));
        if let (Some(wanted), Some(network), Some(_), false) =
            (wanted, network, definition, nic.unplugged)
        {
            let (network, wanted) = (network.clone(), wanted.clone());
            let nic = nic.clone();
            all.push((
                n,
                Placed {
                    network,
                    nic,
                    wanted,
                },
            ));
        }
    }
    let places: Vec<Placed> = all.iter().map(|(_, place)| place.clone()).collect();
    if let Some(best) = places::default_route(&places) {
        let best = all[best].0;
        for (n, nic) in record.nics.iter_mut().enumerate() {
            nic.default_route = n == best;
        }
    }
}

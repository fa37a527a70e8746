//! What passes a stack's networks: counted, or captured.

use std::collections::BTreeSet;

use stack_api::event::ApiError;
use stack_api::network::{CaptureQuery, CardStats, DaemonStats, NetStats};
use stack_netd::control::Response;
use tokio::net::UnixStream;

use crate::daemon::Daemon;
use crate::network::{Network, endpoint_id};

/// `GET /v1/stacks/{name}/net`
///
/// # Errors
/// The ledger cannot be read.
pub async fn net_stats(daemon: &Daemon, project: &str) -> Result<NetStats, ApiError> {
    let networks = daemon.all_networks()?;
    let records: Vec<_> = daemon
        .handles(Some(project))
        .iter()
        .map(|h| h.record())
        .collect();
    let live = || {
        records
            .iter()
            .filter(|record| record.container.state.is_live())
    };
    let nics = live().flat_map(|record| &record.nics);
    let of = |name: &String| networks.iter().find(|network| network.name == *name);
    let homes: BTreeSet<String> = nics
        .filter_map(|nic| of(&nic.network))
        .map(Network::home)
        .collect();
    let mut stats = NetStats::default();
    for home in homes {
        let Some(Response::Status {
            pid,
            published,
            flows,
            drops,
            queries,
            traffic,
            ..
        }) = daemon.netd(&home).status().await
        else {
            continue;
        };
        for record in live() {
            let container = &record.container;
            for nic in &record.nics {
                let Some(seen) = traffic.get(&endpoint_id(&container.id, nic)) else {
                    continue;
                };
                stats.cards.push(CardStats {
                    container: container.name.clone(),
                    service: container.service.clone(),
                    network: nic.network.clone(),
                    rx_frames: seen.frames_received,
                    rx_bytes: seen.bytes_received,
                    tx_frames: seen.frames_sent,
                    tx_bytes: seen.bytes_sent,
                });
            }
        }
        stats.daemons.push(DaemonStats {
            home,
            pid,
            flows: flows as u64,
            published: published as u64,
            queries: queries.0,
            forwarded: queries.1,
            drops,
        });
    }
    stats
        .cards
        .sort_by(|a, b| (&a.container, &a.network).cmp(&(&b.container, &b.network)));
    Ok(stats)
}

/// `GET /v1/stacks/{name}/capture`
///
/// # Errors
/// There is no such container that runs, or it is not on the network.
pub async fn capture(
    daemon: &Daemon,
    project: &str,
    query: &CaptureQuery,
) -> Result<UnixStream, ApiError> {
    let records: Vec<_> = daemon
        .handles(Some(project))
        .iter()
        .map(|h| h.record())
        .collect();
    let record = records.iter().find(|record| {
        let container = &record.container;
        container.service == query.service
            && container.state.is_live()
            && query.index.is_none_or(|index| index == container.number)
    });
    let Some(record) = record else {
        let message = format!("no container of service {} runs", query.service);
        return Err(ApiError::new("not_running", message).help("start it with `stack up -d`"));
    };
    let networks = daemon.all_networks()?;
    let home_of = |name: &String| networks.iter().find(|n| n.name == *name).map(Network::home);
    let on = |name: &String| record.nics.iter().any(|nic| nic.network == *name);
    let home = match &query.network {
        Some(name) if on(name) => home_of(name),
        Some(name) => {
            let known: Vec<&str> = record.nics.iter().map(|nic| nic.network.as_str()).collect();
            let message = format!("{} is not on network {name}", record.container.name);
            return Err(ApiError::new("no_such_network", message)
                .help(format!("it is on: {}", known.join(", "))));
        }
        None => {
            let homes: Vec<String> = record
                .nics
                .iter()
                .filter_map(|nic| home_of(&nic.network))
                .collect();
            let own = homes.iter().find(|home| *home == project);
            own.or(homes.first()).cloned()
        }
    };
    let Some(home) = home else {
        let message = format!("{} is on no network", record.container.name);
        return Err(ApiError::new("no_such_network", message));
    };
    let endpoints = record
        .nics
        .iter()
        .filter(|nic| {
            query
                .network
                .as_ref()
                .is_none_or(|name| *name == nic.network)
        })
        .filter(|nic| home_of(&nic.network).as_ref() == Some(&home))
        .map(|nic| endpoint_id(&record.container.id, nic))
        .collect();
    daemon.netd(&home).capture(endpoints).await
}

//! What passes a stack's networks, counted.

use std::collections::BTreeSet;

use stack_api::event::ApiError;
use stack_api::network::{CardStats, DaemonStats, NetStats};
use stack_netd::control::Response;

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

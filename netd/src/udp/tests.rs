//! The tables on a clock of their own.
#![expect(
    clippy::disallowed_methods,
    reason = "tests need some instant to start from"
)]

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::{Duration, Instant};

use super::*;
use crate::ids::{AssociationId, PortId, PublishId};

fn peer(last: u8, port: u16) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, last), port)
}

#[test]
fn one_port_of_a_guest_keeps_its_association_and_hears_whom_it_called() {
    let now = Instant::now();
    let mut table = Associations::default();
    let guest = PortId(1);
    let (id, _) = table.outward(guest, 4000, peer(1, 53), AssociationId(1), now);
    assert_eq!(
        table.outward(guest, 4000, peer(2, 53), AssociationId(2), now),
        (id, None)
    );
    assert_eq!(
        table
            .outward(guest, 4001, peer(2, 53), AssociationId(3), now)
            .0,
        AssociationId(3)
    );
    assert!(
        table
            .inward(id, peer(1, 53), now)
            .is_some_and(|inward| inward.source == 4000)
    );
    assert_eq!(table.inward(id, peer(1, 54), now), None);
    assert_eq!(table.inward(id, peer(3, 53), now), None);
}

#[test]
fn unanswered_associations_end_soon_and_answered_ones_later() {
    let now = Instant::now();
    let mut table = Associations::default();
    let (id, _) = table.outward(PortId(1), 1, peer(1, 53), AssociationId(1), now);
    assert_eq!(table.deadline(), Some(now + Duration::from_secs(30)));
    table.inward(id, peer(1, 53), now).unwrap();
    assert_eq!(table.deadline(), Some(now + Duration::from_secs(180)));
    assert_eq!(table.expired(now + Duration::from_secs(179)), None);
    assert_eq!(table.expired(now + Duration::from_secs(180)), Some(id));
    assert_eq!(table.len(), 0);
}

#[test]
fn a_guest_that_uses_many_ports_loses_its_oldest() {
    let now = Instant::now();
    let mut table = Associations::default();
    table.outward(PortId(2), 9, peer(1, 1), AssociationId(9999), now);
    let mut evicted = Vec::new();
    for n in 0..1000u16 {
        let at = now + Duration::from_millis(n.into());
        evicted.extend(
            table
                .outward(PortId(1), n, peer(1, 1), AssociationId(n.into()), at)
                .1,
        );
    }
    assert_eq!(table.len(), 256 + 1);
    assert_eq!(
        evicted[..3],
        [AssociationId(0), AssociationId(1), AssociationId(2)]
    );
    assert_eq!(table.forget(PortId(1)).len(), 256);
    assert_eq!(table.len(), 1);
}

#[test]
fn every_client_of_a_published_port_has_its_own_way_back() {
    let now = Instant::now();
    let mut sessions = Sessions::default();
    let clients: Vec<SocketAddr> = (1..100)
        .map(|port| SocketAddr::from(([127, 0, 0, 1], port)))
        .collect();
    let ways: Vec<u16> = clients
        .iter()
        .map(|client| {
            sessions
                .inward(PublishId(1), *client, PortId(1), 53, now)
                .unwrap()
        })
        .collect();
    for (client, way) in clients.iter().zip(&ways) {
        assert_eq!(
            sessions.inward(PublishId(1), *client, PortId(1), 53, now),
            Some(*way)
        );
        assert_eq!(
            sessions.outward(PortId(1), 53, *way, now),
            Some((PublishId(1), *client))
        );
        assert_eq!(sessions.outward(PortId(2), 53, *way, now), None);
    }
    // The published port leads to another guest now.
    let moved = sessions
        .inward(PublishId(1), clients[0], PortId(2), 53, now)
        .unwrap();
    assert_eq!(sessions.outward(PortId(1), 53, ways[0], now), None);
    assert!(sessions.outward(PortId(2), 53, moved, now).is_some());
    sessions.forget(|_, publish| publish == PublishId(1));
    assert_eq!(sessions.len(), 0);
}

#[test]
fn a_flood_of_clients_is_bounded() {
    let now = Instant::now();
    let mut sessions = Sessions::default();
    for n in 0..10_000u32 {
        let client = SocketAddr::from((Ipv4Addr::from(n), 1));
        assert!(
            sessions
                .inward(PublishId(1), client, PortId(1), 53, now)
                .is_some()
        );
    }
    assert_eq!(sessions.len(), 4096);
    sessions.expire(now + Duration::from_secs(180));
    assert_eq!(sessions.len(), 0);
}

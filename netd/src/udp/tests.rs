//! The tables on a clock of their own.
#![expect(
    clippy::disallowed_methods,
    reason = "tests need some instant to start from"
)]

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use super::*;
use crate::ids::{AssociationId, PortId, PublishId};

fn peer(last: u8, port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::new(192, 0, 2, last), port))
}

fn guest(port: u64, source: u16) -> (PortId, Transport, u16) {
    (PortId(port), Transport::Udp4, source)
}

#[test]
fn one_port_of_a_guest_keeps_its_association_and_hears_whom_it_called() {
    let now = Instant::now();
    let mut table = Associations::default();
    let (id, _) = table.outward(guest(1, 4000), peer(1, 53), AssociationId(1), now);
    assert_eq!(
        table.outward(guest(1, 4000), peer(2, 53), AssociationId(2), now),
        (id, None)
    );
    let other = table.outward(guest(1, 4001), peer(2, 53), AssociationId(3), now);
    assert_eq!(other.0, AssociationId(3));
    let echo = (PortId(1), Transport::Echo4, 4000);
    let echo = table.outward(echo, peer(2, 0), AssociationId(4), now);
    assert_eq!(echo.0, AssociationId(4));
    let inward = table.inward(id, peer(1, 53), now);
    assert!(inward.is_some_and(|(inward, _)| inward.source == 4000));
    assert_eq!(table.inward(id, peer(1, 54), now), None);
    assert_eq!(table.inward(id, peer(3, 53), now), None);
}

#[test]
fn questions_end_soon_and_conversations_later() {
    let now = Instant::now();
    let mut table = Associations::default();
    let short = Some(now + Duration::from_secs(30));
    let (id, _) = table.outward(guest(1, 1), peer(1, 53), AssociationId(1), now);
    assert_eq!(table.deadline(), short);
    table.inward(id, peer(1, 53), now).unwrap();
    table.inward(id, peer(1, 53), now).unwrap();
    assert_eq!(table.deadline(), short);
    table.outward(guest(1, 1), peer(1, 53), AssociationId(2), now);
    assert_eq!(table.deadline(), Some(now + Duration::from_secs(180)));
    assert_eq!(table.expired(now + Duration::from_secs(179)), None);
    assert_eq!(table.expired(now + Duration::from_secs(180)), Some(id));
    assert_eq!(table.len(), 0);
}

#[test]
fn a_guest_that_uses_many_ports_loses_its_oldest() {
    let now = Instant::now();
    let mut table = Associations::default();
    table.outward(guest(2, 9), peer(1, 1), AssociationId(9999), now);
    let mut evicted = Vec::new();
    for n in 0..1000u16 {
        let at = now + Duration::from_millis(n.into());
        let id = AssociationId(n.into());
        evicted.extend(table.outward(guest(1, n), peer(1, 1), id, at).1);
    }
    assert_eq!(table.len(), 256 + 1);
    assert_eq!(
        evicted[..3],
        [AssociationId(0), AssociationId(1), AssociationId(2)]
    );
    assert_eq!(table.forget(PortId(1)).len(), 256);
    assert_eq!(table.len(), 1);
}

/// The gateway stands for all clients.
fn hidden(
    sessions: &mut Sessions,
    client: SocketAddr,
    guest: (u64, u16),
    now: Instant,
) -> SocketAddr {
    let ends = ((PublishId(1), client), (PortId(guest.0), guest.1));
    let gateway = [10, 1, 0, 1].into();
    sessions
        .inward(ends.0, ends.1, (None, gateway), now)
        .unwrap()
}

#[test]
fn every_client_of_a_published_port_has_its_own_way_back() {
    let now = Instant::now();
    let mut sessions = Sessions::default();
    let clients: Vec<SocketAddr> = (1..100)
        .map(|port| SocketAddr::from(([127, 0, 0, 1], port)))
        .collect();
    let ways: Vec<SocketAddr> = clients
        .iter()
        .map(|client| hidden(&mut sessions, *client, (1, 53), now))
        .collect();
    for (client, way) in clients.iter().zip(&ways) {
        assert_eq!(hidden(&mut sessions, *client, (1, 53), now), *way);
        assert_eq!(
            sessions.outward(PortId(1), 53, *way, now),
            Some((PublishId(1), *client))
        );
        assert_eq!(sessions.outward(PortId(2), 53, *way, now), None);
    }
    // The published port leads to another guest now.
    let moved = hidden(&mut sessions, clients[0], (2, 53), now);
    assert_eq!(sessions.outward(PortId(1), 53, ways[0], now), None);
    assert!(sessions.outward(PortId(2), 53, moved, now).is_some());
    sessions.forget(|_, publish| publish == PublishId(1));
    assert_eq!(sessions.len(), 0);
}

#[test]
fn a_client_is_itself_unless_that_is_taken() {
    let now = Instant::now();
    let mut sessions = Sessions::default();
    let client = peer(7, 4000);
    let senders = (Some(client), [10, 1, 0, 1].into());
    let mut inward = |publish| {
        let guest = (PortId(1), 53);
        sessions.inward((PublishId(publish), client), guest, senders, now)
    };
    assert_eq!(inward(1), Some(client));
    // The same client at another published port that leads to the same place.
    let other = inward(2).unwrap();
    assert_eq!(other.ip(), senders.1);
    let first = sessions.outward(PortId(1), 53, client, now);
    assert_eq!(first, Some((PublishId(1), client)));
    let second = sessions.outward(PortId(1), 53, other, now);
    assert_eq!(second, Some((PublishId(2), client)));
}

#[test]
fn a_flood_of_clients_is_bounded() {
    let now = Instant::now();
    let mut sessions = Sessions::default();
    for n in 0..10_000u32 {
        let client = SocketAddr::from((Ipv4Addr::from(n), 1));
        hidden(&mut sessions, client, (1, 53), now);
    }
    assert_eq!(sessions.len(), 4096);
    sessions.expire(now + Duration::from_secs(180));
    assert_eq!(sessions.len(), 0);
}

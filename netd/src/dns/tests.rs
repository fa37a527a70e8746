//! Queries as bytes in, replies as bytes out.
#![expect(
    clippy::disallowed_methods,
    reason = "tests need some instant to start from"
)]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use proptest::prelude::*;
use simple_dns::rdata::{OPT, RData};
use simple_dns::{CLASS, Name, Packet, PacketFlag, Question, RCODE, TYPE};

use super::*;
use crate::config::{Endpoint, Network, Protocol, Record, Service};
use crate::ids::{PortId, QueryId};

fn endpoint(last: u8, names: &[&str]) -> Endpoint {
    Endpoint {
        id: last.to_string(),
        local: "/l".into(),
        peer: "/p".into(),
        transport: crate::config::Transport::Datagram,
        mac: format!("02:57:00:00:00:{last:02x}"),
        ipv4: Some(Ipv4Addr::new(10, 89, 0, last)),
        names: names.iter().map(|name| (*name).to_owned()).collect(),
        ..Endpoint::default()
    }
}

fn zone(internal: bool) -> Zone {
    let mut network = Network {
        name: "front".into(),
        subnet: Some((Ipv4Addr::new(10, 89, 0, 0), 24)),
        gateway: Some(Ipv4Addr::new(10, 89, 0, 1)),
        internal,
        endpoints: vec![
            endpoint(2, &["web", "web-1"]),
            endpoint(3, &["web", "web-2"]),
            endpoint(4, &["Api.Example.com"]),
        ],
        ..Network::default()
    };
    for last in 10..60 {
        network.endpoints.push(endpoint(last, &["crowd"]));
    }
    let other = Network {
        name: "back".into(),
        endpoints: vec![endpoint(9, &["db", "db.example.com"])],
        ..network.clone()
    };
    Zone::new(&network, &[network.clone(), other])
}

/// A network with both families, where `db` offers a service.
fn modern() -> Zone {
    let six = |last: u16| Ipv6Addr::new(0xfd00, 1, 0, 0, 0, 0, 0, last);
    let mut db = endpoint(3, &["db", "db-1"]);
    db.ipv6 = Some(six(3));
    db.services = vec![Service {
        label: "postgresql".into(),
        protocol: Protocol::Tcp,
        port: 5432,
    }];
    let mut only = endpoint(4, &["six"]);
    (only.ipv4, only.ipv6) = (None, Some(six(4)));
    let mut second = endpoint(5, &["db", "db-2"]);
    second.ipv6 = Some(six(5));
    second.services = db.services.clone();
    let network = Network {
        name: "front".into(),
        subnet: Some((Ipv4Addr::new(10, 89, 0, 0), 24)),
        gateway: Some(Ipv4Addr::new(10, 89, 0, 1)),
        subnet6: Some((six(0), 64)),
        gateway6: Some(six(1)),
        endpoints: vec![db, only, second],
        ..Network::default()
    };
    Zone::new(&network, std::slice::from_ref(&network))
}

fn links() -> Vec<(String, String)> {
    vec![("database".into(), "Web-2".into())]
}

fn records() -> Vec<Record> {
    vec![Record {
        name: "_http._tcp.Far".into(),
        port: 8080,
        target: "far-1".into(),
    }]
}

fn hosts() -> Vec<(String, Vec<IpAddr>)> {
    let both = vec![[10, 66, 0, 3].into(), "fd66::3".parse().unwrap()];
    vec![("Far".into(), both)]
}

#[test]
fn names_of_one_endpoint_have_their_addresses() {
    let mut zone = zone(true);
    let far = ask(&mut zone, "far", TYPE::A);
    assert_eq!(far, (RCODE::NoError, vec!["10.66.0.3".to_owned()]));
    assert_eq!(ask(&mut zone, "far", TYPE::MX), (RCODE::NoError, vec![]));
    assert_eq!(ask(&mut zone, "far", TYPE::AAAA).1.len(), 1);
    let name = ask(&mut zone, "3.0.66.10.in-addr.arpa", TYPE::PTR);
    assert_eq!(name, (RCODE::NoError, vec!["Far".to_owned()]));
}

fn guest(port: u64) -> Client {
    Client::Datagram {
        port: PortId(port),
        server: [10, 89, 0, 1].into(),
        source: 4000,
    }
}

fn query(name: &str, kind: TYPE) -> Packet<'_> {
    let mut packet = Packet::new_query(0x1234);
    packet.set_flags(PacketFlag::RECURSION_DESIRED);
    packet.questions.push(Question::new(
        Name::new_unchecked(name),
        kind.into(),
        CLASS::IN.into(),
        false,
    ));
    packet
}

fn ask(zone: &mut Zone, name: &str, kind: TYPE) -> (RCODE, Vec<String>) {
    match zone.answer(
        &query(name, kind).build_bytes_vec().unwrap(),
        true,
        Own {
            links: &links(),
            hosts: &hosts(),
            records: &records(),
        },
    ) {
        Answer::Reply(bytes) => {
            let reply = Packet::parse(&bytes).unwrap();
            assert_eq!(reply.id(), 0x1234);
            assert!(reply.has_flags(PacketFlag::RESPONSE | PacketFlag::RECURSION_DESIRED));
            let show = |data: &RData<'_>| match data {
                RData::A(a) => Ipv4Addr::from(a.address).to_string(),
                RData::AAAA(a) => Ipv6Addr::from(a.address).to_string(),
                RData::SRV(srv) => format!("{}:{}", srv.target, srv.port),
                RData::PTR(name) => name.0.to_string(),
                other => format!("{other:?}"),
            };
            (
                reply.rcode(),
                reply
                    .answers
                    .iter()
                    .map(|record| show(&record.rdata))
                    .collect(),
            )
        }
        other => (RCODE::Reserved, vec![format!("{other:?}")]),
    }
}

fn none() -> Vec<String> {
    Vec::new()
}

#[test]
fn names_of_the_network_are_answered_in_turn() {
    let mut zone = zone(false);
    let first = ask(&mut zone, "web", TYPE::A).1;
    let second = ask(&mut zone, "WEB", TYPE::A).1;
    assert_eq!(first.len(), 2);
    assert_eq!([first[1].clone(), first[0].clone()], second[..]);
    assert_eq!(ask(&mut zone, "web-2", TYPE::A).1, ["10.89.0.3"]);
    assert_eq!(ask(&mut zone, "api.example.com", TYPE::A).1, ["10.89.0.4"]);
    assert_eq!(
        ask(&mut zone, "host.docker.internal", TYPE::A).1,
        ["10.89.0.1"]
    );
}

#[test]
fn addresses_on_other_networks_take_turns_too() {
    let mut zone = zone(false);
    let hosts = vec![(
        "api".to_owned(),
        vec![[10, 66, 0, 3].into(), [10, 66, 0, 4].into()],
    )];
    let mut first = || {
        let own = Own {
            hosts: &hosts,
            ..Own::default()
        };
        let query = query("api", TYPE::A).build_bytes_vec().unwrap();
        let Answer::Reply(reply) = zone.answer(&query, true, own) else {
            panic!("not answered");
        };
        reply
    };
    assert_ne!(first(), first());
}

#[test]
fn types_that_nobody_here_knows_are_relayed_or_empty() {
    for internal in [false, true] {
        let mut zone = zone(internal);
        // TLSA, SVCB's successor, and one of those for private use.
        for kind in [52u16, 261, 65_400] {
            let mut ask = |name: &str| {
                let mut query = query(name, TYPE::A).build_bytes_vec().unwrap();
                let at = query.len() - 4;
                query[at..at + 2].copy_from_slice(&kind.to_be_bytes());
                (zone.answer(&query, true, Own::default()), query)
            };
            let (own, query) = ask("web");
            let Answer::Reply(reply) = own else {
                panic!("{own:?}");
            };
            assert_eq!(reply[3] & 15, 0);
            assert_eq!(reply[12..], query[12..], "no records");
            match ask("example.org").0 {
                Answer::Forward => assert!(!internal),
                Answer::Reply(reply) => assert_eq!((reply[3] & 15, internal), (3, true)),
                other => panic!("{other:?}"),
            }
        }
    }
}

#[test]
fn both_families_have_records() {
    let mut zone = modern();
    let mut ask = |name: &str, kind| ask(&mut zone, name, kind);
    // Clients ask for both at once: each family has turns of its own.
    let turns: Vec<_> = (0..4)
        .map(|_| (ask("db", TYPE::A).1, ask("db", TYPE::AAAA).1))
        .collect();
    assert_eq!(turns[0], turns[2]);
    assert_ne!(turns[0].0, turns[1].0);
    assert_ne!(turns[0].1, turns[1].1);
    assert_eq!(ask("six", TYPE::A), (RCODE::NoError, none()));
    assert_eq!(ask("six", TYPE::AAAA).1, ["fd00:1::4"]);
    assert_eq!(ask("gateway.docker.internal", TYPE::AAAA).1, ["fd00:1::1"]);
    let name = format!("4{}1.0.0.0.0.0.d.f.ip6.arpa", ".0".repeat(23) + ".");
    assert_eq!(ask(&name, TYPE::PTR).1, ["six"], "{name}");
    let stranger = name.replacen('4', "7", 1);
    assert_eq!(ask(&stranger, TYPE::PTR), (RCODE::NameError, none()));
}

#[test]
fn services_have_ports() {
    let mut zone = modern();
    let mut ask = |name: &str, kind| ask(&mut zone, name, kind);
    // Each replica by the name that it alone has.
    assert_eq!(
        ask("_postgresql._tcp.db", TYPE::SRV).1,
        ["db-1:5432", "db-2:5432"]
    );
    assert_eq!(ask("_PostgreSQL._tcp.db-1.", TYPE::SRV).1, ["db-1:5432"]);
    assert_eq!(
        ask("_postgresql._tcp.db", TYPE::A),
        (RCODE::NoError, none())
    );
    for name in [
        "_postgresql._udp.db",
        "_http._tcp.db",
        "_postgresql._tcp.six",
    ] {
        assert_eq!(ask(name, TYPE::SRV), (RCODE::NameError, none()), "{name}");
    }
    assert_eq!(ask("_http._tcp.example.org", TYPE::SRV).1, ["Forward"]);
    // Of another network, that the asking endpoint is on as well.
    assert_eq!(ask("_http._tcp.far", TYPE::SRV).1, ["far-1:8080"]);
    assert_eq!(ask("_http._tcp.far", TYPE::A), (RCODE::NoError, none()));
}

#[test]
fn links_are_other_names_for_the_same() {
    let mut zone = zone(false);
    assert_eq!(ask(&mut zone, "DataBase", TYPE::A).1, ["10.89.0.3"]);
    let query = query("database", TYPE::A).build_bytes_vec().unwrap();
    assert_eq!(zone.answer(&query, true, Own::default()), Answer::Forward);
}

#[test]
fn a_known_name_without_such_a_record_is_no_error() {
    let mut zone = zone(false);
    for kind in [TYPE::AAAA, TYPE::MX, TYPE::TXT] {
        assert_eq!(ask(&mut zone, "web", kind), (RCODE::NoError, none()));
    }
}

#[test]
fn addresses_of_the_subnet_have_names() {
    let mut zone = zone(false);
    assert_eq!(
        ask(&mut zone, "3.0.89.10.in-addr.arpa", TYPE::PTR).1,
        ["web"]
    );
    assert_eq!(
        ask(&mut zone, "7.0.89.10.in-addr.arpa", TYPE::PTR),
        (RCODE::NameError, none())
    );
    assert_eq!(
        ask(&mut zone, "8.8.8.8.in-addr.arpa", TYPE::PTR).1,
        ["Forward"]
    );
}

#[test]
fn other_networks_have_no_names_here_and_the_rest_is_forwarded() {
    let mut zone = zone(false);
    assert_eq!(ask(&mut zone, "db", TYPE::A), (RCODE::NameError, none()));
    for name in ["db.example.com", "example.org", "localdb"] {
        assert_eq!(ask(&mut zone, name, TYPE::A).1, ["Forward"], "{name}");
    }
}

#[test]
fn an_internal_network_forwards_nothing() {
    let mut zone = zone(true);
    assert_eq!(ask(&mut zone, "web-1", TYPE::A).1, ["10.89.0.2"]);
    for name in [
        "example.org",
        "host.docker.internal",
        "8.8.8.8.in-addr.arpa",
        "db",
    ] {
        assert_eq!(
            ask(&mut zone, name, TYPE::A),
            (RCODE::NameError, none()),
            "{name}"
        );
    }
}

#[test]
fn what_does_not_fit_a_datagram_is_cut_and_said_so() {
    let mut zone = zone(false);
    let small = query("crowd", TYPE::A).build_bytes_vec().unwrap();
    let mut large = query("crowd", TYPE::A);
    *large.opt_mut() = Some(OPT {
        opt_codes: vec![],
        udp_packet_size: 1232,
        version: 0,
    });
    let large = large.build_bytes_vec().unwrap();
    for (query, udp, truncated) in [
        (&small, true, true),
        (&small, false, false),
        (&large, true, false),
    ] {
        let Answer::Reply(bytes) = zone.answer(query, udp, Own::default()) else {
            panic!("no reply")
        };
        let reply = Packet::parse(&bytes).unwrap();
        assert_eq!(reply.has_flags(PacketFlag::TRUNCATION), truncated);
        assert_eq!(reply.answers.len() == 50, !truncated);
        assert!(!truncated || bytes.len() <= 512 && reply.answers.len() > 20);
    }
}

proptest! {
    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..100), near: bool) {
        let mut message = if near { vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0] } else { vec![] };
        message.extend(bytes);
        let _ = zone(false).answer(&message, true, Own::default());
        let mut forwarder = Forwarder::default();
        forwarder.set_resolvers(vec!["127.0.0.1:53".parse().unwrap()]);
        let client = guest(1);
        let _ = forwarder.ask(QueryId(1), client, &message, (7, vec![]), Instant::now());
        let _ = forwarder.answered(QueryId(1), &message, Instant::now());
    }
}

#[test]
fn forwarded_queries_go_round_the_resolvers_and_then_fail() {
    let mut now = Instant::now();
    let mut forwarder = Forwarder::default();
    let resolvers = [
        "127.0.0.1:53".parse().unwrap(),
        "127.0.0.2:53".parse().unwrap(),
    ];
    forwarder.set_resolvers(resolvers.to_vec());
    let message = query("example.org", TYPE::A).build_bytes_vec().unwrap();
    let client = guest(1);
    let mut asked = Vec::new();
    let mut outcome = forwarder.ask(QueryId(1), client, &message, (0xabcd, vec![]), now);
    while let Some(Outcome::Ask(ask)) = outcome {
        assert_eq!(ask.message[..2], [0xab, 0xcd]);
        assert_eq!(ask.message[2..], message[2..]);
        asked.push(ask.resolver);
        now = forwarder.deadline().unwrap();
        outcome = forwarder.timeout(now);
    }
    assert_eq!(asked, [resolvers[0], resolvers[1], resolvers[0]]);
    let Some(Outcome::Reply(QueryId(1), to, reply)) = outcome else {
        panic!("no reply")
    };
    assert_eq!(to, client);
    let reply = Packet::parse(&reply).unwrap();
    assert_eq!((reply.id(), reply.rcode()), (0x1234, RCODE::ServerFailure));
    assert_eq!(forwarder.deadline(), None);
}

#[test]
fn another_resolver_is_asked_when_one_fails() {
    let now = Instant::now();
    let mut forwarder = Forwarder::default();
    let resolvers = ["127.0.0.1:53", "127.0.0.2:53"].map(|r| r.parse().unwrap());
    forwarder.set_resolvers(resolvers.to_vec());
    let message = query("example.org", TYPE::A).build_bytes_vec().unwrap();
    let mut asked = message.clone();
    asked[..2].copy_from_slice(&[0xab, 0xcd]);
    let failed = empty_reply(&asked, 2).unwrap();
    let own = "192.0.2.1:53".parse().unwrap();
    for (id, mine, second) in [(1, vec![], Some(resolvers[1])), (2, vec![own], None)] {
        let query = QueryId(id);
        let first = forwarder.ask(query, guest(1), &message, (0xabcd, mine), now);
        let Some(Outcome::Ask(first)) = first else {
            panic!("{first:?}")
        };
        assert_eq!(
            first.resolver,
            if second.is_some() { resolvers[0] } else { own }
        );
        let mut outcome = forwarder.answered(query, &failed, now);
        if let Some(second) = second {
            let Some(Outcome::Ask(ask)) = outcome else {
                panic!("{outcome:?}")
            };
            assert_eq!(ask.resolver, second);
            outcome = forwarder.answered(query, &failed, now);
        }
        // The last one's answer is the guest's, whatever it is.
        assert!(matches!(outcome, Some(Outcome::Reply(..))), "{outcome:?}");
    }
}

#[test]
fn only_the_answer_to_the_question_is_passed_on() {
    let now = Instant::now();
    let mut forwarder = Forwarder::default();
    forwarder.set_resolvers(vec!["127.0.0.1:53".parse().unwrap()]);
    let message = query("example.org", TYPE::A).build_bytes_vec().unwrap();
    let client = guest(1);
    forwarder
        .ask(QueryId(1), client, &message, (0xabcd, vec![]), now)
        .unwrap();
    let answer = |name: &str, id: u16| {
        let mut reply = Packet::new_reply(id);
        reply.questions = query(name, TYPE::A)
            .questions
            .into_iter()
            .map(Question::into_owned)
            .collect();
        reply.build_bytes_vec().unwrap()
    };
    assert_eq!(
        forwarder.answered(QueryId(1), &answer("example.org", 1), Instant::now()),
        None
    );
    assert_eq!(
        forwarder.answered(QueryId(1), &answer("example.com", 0xabcd), Instant::now()),
        None
    );
    let reply = forwarder.answered(QueryId(1), &answer("EXAMPLE.org", 0xabcd), Instant::now());
    assert!(matches!(reply, Some(Outcome::Reply(_, _, bytes)) if bytes[..2] == [0x12, 0x34]));
    assert_eq!(forwarder.timeout(now + Duration::from_secs(9)), None);
}

#[test]
fn a_guest_cannot_have_endless_queries() {
    let now = Instant::now();
    let mut forwarder = Forwarder::default();
    forwarder.set_resolvers(vec!["127.0.0.1:53".parse().unwrap()]);
    let message = query("example.org", TYPE::A).build_bytes_vec().unwrap();
    let client = guest(1);
    let taken = (0..1000)
        .filter(|n| {
            forwarder
                .ask(QueryId(*n), client, &message, (1, vec![]), now)
                .is_some()
        })
        .count();
    assert_eq!(taken, 128);
    let other = guest(2);
    assert!(
        forwarder
            .ask(QueryId(5000), other, &message, (1, vec![]), now)
            .is_some()
    );
    assert_eq!(forwarder.forget(PortId(1)).len(), 128);
}

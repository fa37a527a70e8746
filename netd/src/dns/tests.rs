//! Queries as bytes in, replies as bytes out.
#![expect(
    clippy::disallowed_methods,
    reason = "tests need some instant to start from"
)]

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use proptest::prelude::*;
use simple_dns::rdata::{OPT, RData};
use simple_dns::{CLASS, Name, Packet, PacketFlag, Question, RCODE, TYPE};

use super::*;
use crate::config::{Endpoint, Network};
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

fn links() -> Vec<(String, String)> {
    vec![("database".into(), "Web-2".into())]
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
        },
    ) {
        Answer::Reply(bytes) => {
            let reply = Packet::parse(&bytes).unwrap();
            assert_eq!(reply.id(), 0x1234);
            assert!(reply.has_flags(PacketFlag::RESPONSE | PacketFlag::RECURSION_DESIRED));
            let show = |data: &RData<'_>| match data {
                RData::A(a) => Ipv4Addr::from(a.address).to_string(),
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
        let _ = forwarder.answered(QueryId(1), &message);
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
        forwarder.answered(QueryId(1), &answer("example.org", 1)),
        None
    );
    assert_eq!(
        forwarder.answered(QueryId(1), &answer("example.com", 0xabcd)),
        None
    );
    let reply = forwarder.answered(QueryId(1), &answer("EXAMPLE.org", 0xabcd));
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

//! Names over the wire, by UDP and TCP, known here and known elsewhere.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use simple_dns::rdata::{A, RData};
use simple_dns::{CLASS, Name, Packet, PacketFlag, Question, RCODE, ResourceRecord, TYPE};
use smoltcp::iface::SocketHandle;

use crate::guest::Guest;
use crate::kit::{Daemon, bytes, config};

fn query(name: &str, kind: TYPE, id: u16) -> Vec<u8> {
    let mut packet = Packet::new_query(id);
    packet.set_flags(PacketFlag::RECURSION_DESIRED);
    let name = Name::new_unchecked(name);
    packet
        .questions
        .push(Question::new(name, kind.into(), CLASS::IN.into(), false));
    packet.build_bytes_vec().unwrap()
}

/// Code and records of an answer.
fn read(reply: &[u8], id: u16) -> (RCODE, Vec<String>) {
    let reply = Packet::parse(reply).unwrap();
    assert_eq!(reply.id(), id);
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
            .map(|answer| show(&answer.rdata))
            .collect(),
    )
}

fn ask(guest: &mut Guest, socket: SocketHandle, name: &str, kind: TYPE) -> (RCODE, Vec<String>) {
    let gateway = guest.gateway;
    guest.send_datagram(socket, (gateway, 53), &query(name, kind, 77));
    let (reply, from) = guest.receive_datagram(socket);
    assert_eq!(from, (gateway, 53).into());
    read(&reply, 77)
}

fn ask_by_stream(guest: &mut Guest, names: &[&str]) -> Vec<(RCODE, Vec<String>)> {
    let socket = guest.connect((guest.gateway, 53)).unwrap();
    for (id, name) in names.iter().enumerate() {
        let query = query(name, TYPE::A, id as u16);
        let framed = [&(query.len() as u16).to_be_bytes()[..], &query].concat();
        guest.send(socket, &framed, false);
    }
    let mut replies = vec![(RCODE::Reserved, vec![]); names.len()];
    for _ in names {
        let length = guest.receive(socket, 2);
        let reply = guest.receive(
            socket,
            usize::from(u16::from_be_bytes([length[0], length[1]])),
        );
        let id = u16::from_be_bytes([reply[0], reply[1]]);
        replies[usize::from(id)] = read(&reply, id);
    }
    guest.tcp(socket).close();
    guest.wait("the end", |guest| {
        (!guest.tcp(socket).may_recv()).then_some(())
    });
    replies
}

/// A resolver on loopback that knows every name of `example.org` and says how
/// many queries it got; others it does not answer at all.
fn resolver() -> (SocketAddr, std::thread::JoinHandle<()>) {
    // A port that is free for both.
    let (socket, streams) = std::iter::repeat_with(|| UdpSocket::bind("127.0.0.1:0").unwrap())
        .find_map(|socket| {
            let streams = std::net::TcpListener::bind(socket.local_addr().unwrap()).ok()?;
            Some((socket, streams))
        })
        .unwrap();
    let address = socket.local_addr().unwrap();
    let thread = std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            if let Some(reply) = known(&buffer[..length], [192, 0, 2, 1]) {
                socket.send_to(&reply, from).unwrap();
            }
        }
    });
    std::thread::spawn(move || {
        use std::io::{Read, Write};
        for stream in streams.incoming() {
            let mut stream = stream.unwrap();
            let mut length = [0; 2];
            stream.read_exact(&mut length).unwrap();
            let mut query = vec![0; usize::from(u16::from_be_bytes(length))];
            stream.read_exact(&mut query).unwrap();
            let reply = known(&query, [192, 0, 2, 2]).unwrap();
            stream
                .write_all(&(reply.len() as u16).to_be_bytes())
                .unwrap();
            stream.write_all(&reply).unwrap();
        }
    });
    (address, thread)
}

fn known(query: &[u8], answer: [u8; 4]) -> Option<Vec<u8>> {
    let query = Packet::parse(query).ok()?;
    let question = query.questions.first()?.clone();
    if !question.qname.to_string().ends_with("example.org") {
        return None;
    }
    let mut reply = Packet::new_reply(query.id());
    let data = RData::A(A {
        address: u32::from_be_bytes(answer),
    });
    reply.answers.push(ResourceRecord::new(
        question.qname.clone(),
        CLASS::IN,
        60,
        data,
    ));
    reply.questions.push(question);
    reply.build_bytes_vec_compressed().ok()
}

#[test]
fn names_of_this_network_are_known_and_those_of_others_are_not() {
    let daemon = Daemon::start();
    let mut front = daemon.network(77, &["a", "web-1", "web-2"]);
    front.endpoints[1].names.push("web".into());
    front.endpoints[2].names.push("web".into());
    let back = daemon.network(78, &["db"]);
    daemon.apply(&config(&[&front, &back]));
    let mut guest = daemon.guest(&front, "a");
    let socket = guest.udp(5000);
    let both = ["10.77.0.3", "10.77.0.4"].map(str::to_owned);
    let mut first = std::collections::BTreeSet::new();
    for _ in 0..4 {
        let (code, mut found) = ask(&mut guest, socket, "Web", TYPE::A);
        assert_eq!(code, RCODE::NoError);
        first.insert(found[0].clone());
        found.sort();
        assert_eq!(found, both);
    }
    assert_eq!(first.len(), 2, "they take turns");
    assert_eq!(
        ask(&mut guest, socket, "web", TYPE::AAAA),
        (RCODE::NoError, vec![])
    );
    assert_eq!(
        ask(&mut guest, socket, "4.0.77.10.in-addr.arpa", TYPE::PTR).1,
        ["web-2"]
    );
    assert_eq!(
        ask(&mut guest, socket, "db", TYPE::A),
        (RCODE::NameError, vec![])
    );
    assert_eq!(
        ask(&mut guest, socket, "host.docker.internal", TYPE::A).1,
        ["10.77.0.254"]
    );
}

#[test]
fn other_names_are_asked_of_the_hosts_resolver() {
    let (address, _thread) = resolver();
    let daemon = Daemon::with_resolvers(&[address]);
    let network = daemon.network(77, &["a"]);
    daemon.apply(&config(&[&network]));
    let mut guest = daemon.guest(&network, "a");
    let socket = guest.udp(5000);
    assert_eq!(
        ask(&mut guest, socket, "www.example.org", TYPE::A).1,
        ["192.0.2.1"]
    );
    let replies = ask_by_stream(&mut guest, &["a", "x.example.org", "a", "y.example.org"]);
    let found: Vec<&str> = replies.iter().map(|(_, found)| found[0].as_str()).collect();
    assert_eq!(found, ["10.77.0.2", "192.0.2.2", "10.77.0.2", "192.0.2.2"]);
}

#[test]
fn a_silent_or_absent_resolver_is_a_failure_and_not_a_silence() {
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let gone = UdpSocket::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let (good, _thread) = resolver();
    let daemon = Daemon::with_resolvers(&[gone, silent.local_addr().unwrap(), good]);
    let network = daemon.network(77, &["a"]);
    daemon.apply(&config(&[&network]));
    let mut guest = daemon.guest(&network, "a");
    let socket = guest.udp(5000);
    let start = Instant::now();
    assert_eq!(
        ask(&mut guest, socket, "www.example.org", TYPE::A).1,
        ["192.0.2.1"]
    );
    assert!(start.elapsed() < Duration::from_secs(3));
    assert_eq!(
        ask(&mut guest, socket, "www.example.com", TYPE::A),
        (RCODE::ServerFailure, vec![])
    );
    assert!(start.elapsed() < Duration::from_secs(9));
}

#[test]
fn an_internal_network_knows_only_its_own_names() {
    let (address, _thread) = resolver();
    let daemon = Daemon::with_resolvers(&[address]);
    let mut network = daemon.network(77, &["a", "b"]);
    network.internal = true;
    daemon.apply(&config(&[&network]));
    let mut guest = daemon.guest(&network, "a");
    let socket = guest.udp(5000);
    assert_eq!(ask(&mut guest, socket, "b", TYPE::A).1, ["10.77.0.3"]);
    assert_eq!(
        ask(&mut guest, socket, "www.example.org", TYPE::A),
        (RCODE::NameError, vec![])
    );
    assert_eq!(ask_by_stream(&mut guest, &["b"])[0].1, ["10.77.0.3"]);
}

#[test]
fn nonsense_on_the_stream_ends_it_and_no_other() {
    let daemon = Daemon::start();
    let network = daemon.network(77, &["a"]);
    daemon.apply(&config(&[&network]));
    let mut guest = daemon.guest(&network, "a");
    let socket = guest.connect((guest.gateway, 53)).unwrap();
    let nonsense = [&[0xff; 2][..], &bytes(100_000)].concat();
    guest.tcp(socket).send_slice(&nonsense).unwrap();
    guest.wait("the reset", |guest| {
        (!guest.tcp(socket).is_open()).then_some(())
    });
    assert_eq!(ask_by_stream(&mut guest, &["a"])[0].1, ["10.77.0.2"]);
}

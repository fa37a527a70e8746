//! Ports of the host that lead to guests.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use stack_netd::config::Protocol;
use stack_netd::control::{Request, Response};

use crate::kit::{Daemon, bytes, config, publish};

#[test]
fn clients_of_a_published_port_talk_to_the_guest() {
    let daemon = Daemon::start();
    let network = daemon.network(77, &["a"]);
    let mut config = config(&[&network]);
    config.publish.push(publish("p", Protocol::Tcp, "a", 80));
    let published = daemon.apply(&config);
    assert_eq!(published[0].0, "p");
    let mut guest = daemon.guest(&network, "a");
    let server = guest.listen(80);
    let data = bytes(10 << 20);
    let expected = data.clone();
    let address = published[0].1[0];
    let client = std::thread::spawn(move || {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(&data).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        answer
    });
    assert!(guest.receive_all(server) == expected);
    assert_eq!(
        guest.tcp(server).remote_endpoint().unwrap().addr,
        guest.gateway.into()
    );
    guest.send(server, &expected, true);
    guest.wait("the end", |guest| {
        (!guest.tcp(server).is_open()).then_some(())
    });
    assert!(client.join().unwrap() == expected);
}

#[test]
fn a_client_is_reset_when_the_guest_refuses() {
    let daemon = Daemon::start();
    let network = daemon.network(77, &["a"]);
    let mut config = config(&[&network]);
    config.publish.push(publish("p", Protocol::Tcp, "a", 80));
    let address = daemon.apply(&config)[0].1[0];
    let _guest = daemon.guest(&network, "a").in_background();
    let start = Instant::now();
    let mut stream = TcpStream::connect(address).unwrap();
    assert_eq!(
        stream.read(&mut [0]).unwrap_err().kind(),
        ErrorKind::ConnectionReset
    );
    assert!(start.elapsed() < Duration::from_secs(1));
}

#[test]
fn a_guest_that_comes_up_late_is_still_reached() {
    let daemon = Daemon::start();
    let network = daemon.network(77, &["a"]);
    let mut config = config(&[&network]);
    config.publish.push(publish("p", Protocol::Tcp, "a", 80));
    let address = daemon.apply(&config)[0].1[0];
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(b"early").unwrap();
    std::thread::sleep(Duration::from_millis(1500));
    let mut guest = daemon.guest(&network, "a");
    let server = guest.listen(80);
    assert_eq!(guest.receive(server, 5), b"early");
    guest.send(server, b"late", true);
    let _guest = guest.in_background();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "late");
}

#[test]
fn a_port_in_use_says_who_has_it_and_the_rest_is_served() {
    let daemon = Daemon::start();
    let network = daemon.network(77, &["a"]);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut config = config(&[&network]);
    config
        .publish
        .push(publish("taken", Protocol::Tcp, "a", 80));
    config.publish[0].host_port = taken.local_addr().unwrap().port();
    config.publish.push(publish("free", Protocol::Tcp, "a", 80));
    let Response::Applied { published, errors } = daemon.call(&Request::Apply(config.clone()))
    else {
        panic!("refused");
    };
    assert_eq!((published.len(), errors.len()), (1, 1));
    assert_eq!(errors[0].id, "taken");
    let holder = errors[0].holder.clone().unwrap();
    assert!(
        holder.ends_with(&format!("(pid {})", std::process::id())),
        "{holder}"
    );
    // It is tried again with the next configuration.
    drop(taken);
    assert_eq!(daemon.apply(&config).len(), 2);
}

#[test]
fn without_an_address_both_families_are_served() {
    let daemon = Daemon::start();
    let network = daemon.network(77, &["a"]);
    let mut config = config(&[&network]);
    config.publish.push(publish("p", Protocol::Tcp, "a", 80));
    config.publish[0].host_ip = None;
    let addresses = daemon.apply(&config)[0].1.clone();
    assert!(addresses[0].ip().is_unspecified() && addresses[0].is_ipv4());
    let six = std::net::TcpListener::bind("[::1]:0").is_ok();
    assert_eq!(addresses.len(), if six { 2 } else { 1 });
    assert!(
        addresses
            .iter()
            .all(|address| address.port() == addresses[0].port())
    );
    for address in addresses {
        let loopback = if address.is_ipv4() {
            "127.0.0.1"
        } else {
            "::1"
        };
        TcpStream::connect((loopback, address.port())).unwrap();
    }
}

#[test]
fn what_stays_in_the_configuration_stays_connected_and_what_goes_is_closed() {
    let daemon = Daemon::start();
    let mut network = daemon.network(77, &["a"]);
    let mut config = config(&[&network]);
    config
        .publish
        .push(publish("stays", Protocol::Tcp, "a", 80));
    config.publish.push(publish("goes", Protocol::Tcp, "a", 81));
    let published = daemon.apply(&config);
    let (stays, goes) = (published[0].1[0], published[1].1[0]);
    let mut guest = daemon.guest(&network, "a");
    let servers = [guest.listen(80), guest.listen(81)];
    let mut streams = [
        TcpStream::connect(stays).unwrap(),
        TcpStream::connect(goes).unwrap(),
    ];
    for (stream, server) in streams.iter_mut().zip(servers) {
        stream
            .set_read_timeout(Some(Duration::from_secs(5)))
            .unwrap();
        stream.write_all(b"one").unwrap();
        assert_eq!(guest.receive(server, 3), b"one");
    }
    network.endpoints[0].names.push("alias".into());
    network
        .endpoints
        .push(daemon.network(77, &["x", "y"]).endpoints[1].clone());
    config.networks[0] = network;
    config.publish.pop();
    assert_eq!(daemon.apply(&config)[0].1[0], stays);
    streams[0].write_all(b"two").unwrap();
    assert_eq!(guest.receive(servers[0], 3), b"two");
    guest.wait("the reset", |guest| {
        (!guest.tcp(servers[1]).is_open()).then_some(())
    });
    assert_eq!(
        streams[1].read(&mut [0]).unwrap_err().kind(),
        ErrorKind::ConnectionReset
    );
    assert_eq!(
        TcpStream::connect(goes).unwrap_err().kind(),
        ErrorKind::ConnectionRefused
    );
    // The guest's end closes what is left, and its socket.
    config.networks[0].endpoints.remove(0);
    config.publish.clear();
    daemon.apply(&config);
    assert_eq!(
        streams[0].read(&mut [0]).unwrap_err().kind(),
        ErrorKind::ConnectionReset
    );
    assert!(!daemon.path("a.d").exists() && daemon.path("y.d").exists());
}

#[test]
fn an_internal_network_publishes_nothing() {
    let daemon = Daemon::start();
    let mut network = daemon.network(77, &["a"]);
    network.internal = true;
    let mut config = config(&[&network]);
    config.publish.push(publish("p", Protocol::Tcp, "a", 80));
    let Response::Applied { published, errors } = daemon.call(&Request::Apply(config)) else {
        panic!("refused");
    };
    assert!(published.is_empty());
    assert!(errors[0].message.contains("internal"));
}

#[test]
fn a_port_that_leads_elsewhere_keeps_its_socket_and_its_connections() {
    let daemon = Daemon::start();
    let network = daemon.network(77, &["a", "b"]);
    let mut config = config(&[&network]);
    config.publish.push(publish("p", Protocol::Tcp, "a", 80));
    let address = daemon.apply(&config)[0].1[0];
    let mut old = daemon.guest(&network, "a");
    let at_old = old.listen(80);
    let mut first = TcpStream::connect(address).unwrap();
    first.write_all(b"one").unwrap();
    assert_eq!(old.receive(at_old, 3), b"one");
    // The system has chosen the port: it must stay the same one.
    config.publish[0] = publish("q", Protocol::Tcp, "b", 81);
    let published = daemon.apply(&config);
    assert_eq!((published[0].0.as_str(), published[0].1[0]), ("q", address));
    let mut new = daemon.guest(&network, "b");
    let at_new = new.listen(81);
    let mut second = TcpStream::connect(address).unwrap();
    second.write_all(b"two").unwrap();
    assert_eq!(new.receive(at_new, 3), b"two");
    first.write_all(b"three").unwrap();
    assert_eq!(old.receive(at_old, 5), b"three");
}

#[test]
fn ports_that_the_system_chose_stay_with_their_ports_of_the_guest() {
    let daemon = Daemon::start();
    let network = daemon.network(79, &["a", "b"]);
    let mut config = config(&[&network]);
    config.publish.push(publish("a80", Protocol::Tcp, "a", 80));
    config.publish.push(publish("a81", Protocol::Tcp, "a", 81));
    let before = daemon.apply(&config);
    // The successor names them in another order.
    config.publish[0] = publish("b81", Protocol::Tcp, "b", 81);
    config.publish[1] = publish("b80", Protocol::Tcp, "b", 80);
    let after = daemon.apply(&config);
    let of = |list: &[(String, Vec<std::net::SocketAddr>)], id: &str| {
        let found = list.iter().find(|(known, _)| known == id);
        found.map(|(_, addresses)| addresses.clone())
    };
    assert_eq!(of(&before, "a80"), of(&after, "b80"));
    assert_eq!(of(&before, "a81"), of(&after, "b81"));
}

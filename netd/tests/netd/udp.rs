//! Datagrams from guests to services of the host, and to published ports.

use std::net::UdpSocket;
use std::time::Duration;

use smoltcp::socket::udp;
use stack_netd::config::Protocol;

use crate::guest::Link;
use crate::kit::{Daemon, bytes, config, publish};

fn echo() -> u16 {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = socket.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let mut buffer = vec![0; 66_000];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            socket.send_to(&buffer[..length], from).unwrap();
        }
    });
    port
}

#[test]
fn datagrams_come_back_from_the_host() {
    let daemon = Daemon::start();
    let mut network = daemon.network(77, &["a"]);
    network.mtu = 65_520;
    daemon.apply(&config(&[&network]));
    let link = Link {
        mtu: 65_520,
        ..Link::default()
    };
    let mut guest = daemon.guest_with(&network, "a", link);
    let (port, gateway) = (echo(), guest.gateway);
    let socket = guest.udp(5000);
    for length in [0, 1, 2, 1472, 9000, 60_000] {
        let data = bytes(length);
        guest.send_datagram(socket, (gateway, port), &data);
        let (answer, from) = guest.receive_datagram(socket);
        assert!(answer == data, "{length} bytes");
        assert_eq!(from, (gateway, port).into());
    }
}

#[test]
fn a_stranger_is_not_heard() {
    let daemon = Daemon::start();
    let network = daemon.network(77, &["a"]);
    daemon.apply(&config(&[&network]));
    let mut guest = daemon.guest(&network, "a");
    let gateway = guest.gateway;
    let service = UdpSocket::bind("127.0.0.1:0").unwrap();
    let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
    let socket = guest.udp(5000);
    guest.send_datagram(
        socket,
        (gateway, service.local_addr().unwrap().port()),
        b"hello",
    );
    guest.work(Duration::from_millis(100));
    let mut buffer = [0; 100];
    service
        .set_read_timeout(Some(Duration::from_secs(5)))
        .unwrap();
    let (_, mut seen_as) = service.recv_from(&mut buffer).unwrap();
    seen_as.set_ip("127.0.0.1".parse().unwrap());
    stranger.send_to(b"boo", seen_as).unwrap();
    service.send_to(b"hi", seen_as).unwrap();
    assert_eq!(guest.receive_datagram(socket).0, b"hi");
    assert_eq!(daemon.drops("Unsolicited"), 1);
}

#[test]
fn clients_of_a_published_port_get_their_own_answers() {
    let daemon = Daemon::start();
    let network = daemon.network(77, &["a"]);
    let mut config = config(&[&network]);
    config.publish.push(publish("p", Protocol::Udp, "a", 53));
    let published = daemon.apply(&config)[0].1[0];
    let mut guest = daemon.guest(&network, "a");
    let socket = guest.udp(53);
    let clients: Vec<UdpSocket> = (0..5)
        .map(|_| UdpSocket::bind("127.0.0.1:0").unwrap())
        .collect();
    for (n, client) in clients.iter().enumerate() {
        client
            .set_read_timeout(Some(Duration::from_secs(5)))
            .unwrap();
        client.connect(published).unwrap();
        client.send(format!("question {n}").as_bytes()).unwrap();
    }
    for _ in &clients {
        let (question, from) = guest.receive_datagram(socket);
        let answer = String::from_utf8(question)
            .unwrap()
            .replace("question", "answer");
        guest.send_datagram(socket, from, answer.as_bytes());
    }
    guest.work(Duration::from_millis(50));
    for (n, client) in clients.iter().enumerate() {
        let mut buffer = [0; 100];
        let length = client.recv(&mut buffer).unwrap();
        assert_eq!(buffer[..length], *format!("answer {n}").as_bytes());
    }
}

#[test]
fn a_guest_that_uses_every_port_does_not_use_up_the_daemon() {
    let daemon = Daemon::start();
    let network = daemon.network(77, &["a"]);
    daemon.apply(&config(&[&network]));
    let mut guest = daemon.guest(&network, "a");
    let (port, gateway) = (echo(), guest.gateway);
    for source in 10_000..11_000 {
        let socket = guest.udp(source);
        guest.send_datagram(socket, (gateway, port), b"x");
        guest.wait("the echo", |guest| {
            guest
                .sockets
                .get_mut::<udp::Socket>(socket)
                .can_recv()
                .then_some(())
        });
        guest.sockets.remove(socket);
    }
    let descriptors = std::fs::read_dir(format!("/proc/{}/fd", daemon.child.id()))
        .unwrap()
        .count();
    assert!(descriptors < 300, "{descriptors} descriptors");
}

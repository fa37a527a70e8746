//! Sockets of the host's file system, at ports of the gateway.

use std::io::{Read, Write};
use std::os::unix::net::UnixListener;

use stack_netd::config::HostSocket;

use crate::kit::{Daemon, config};

#[test]
fn a_guest_reaches_the_sockets_that_it_was_given() {
    let daemon = Daemon::start();
    let mut network = daemon.network(77, &["a", "b"]);
    // Whoever is given a socket gets there, way out or not.
    network.internal = true;
    let path = daemon.path("agent.sock");
    network.endpoints[0].sockets = vec![HostSocket {
        port: 61_000,
        path: path.clone(),
    }];
    daemon.apply(&config(&[&network]));
    let mut guest = daemon.guest(&network, "a");
    let gateway = guest.gateway;
    // Nobody listens yet.
    assert!(guest.connect((gateway, 61_000)).is_none());
    let listener = UnixListener::bind(&path).unwrap();
    let service = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut question = Vec::new();
        stream.read_to_end(&mut question).unwrap();
        stream.write_all(&question.repeat(2)).unwrap();
    });
    let socket = guest.connect((gateway, 61_000)).unwrap();
    guest.send(socket, b"identities?", true);
    assert_eq!(guest.receive_all(socket), b"identities?identities?");
    service.join().unwrap();
    // Other ports and other guests have nothing.
    assert!(guest.connect((gateway, 61_001)).is_none());
    let mut other = daemon.guest(&network, "b");
    assert!(other.connect((gateway, 61_000)).is_none());
}

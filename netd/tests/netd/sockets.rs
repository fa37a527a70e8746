//! Sockets of the host's file system: at ports of the gateway, and in place of
//! published ports.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};

use stack_netd::config::{Config, HostSocket, Protocol, Publish};
use stack_netd::control::{PublishErrorKind, Request, Response};

use crate::kit::{Daemon, PATIENCE, bytes, config, publish};

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

fn published(daemon: &Daemon, name: &str) -> Config {
    let mut network = daemon.network(77, &["a"]);
    // A file of the user's leads in, whether or not there is a way out.
    network.internal = true;
    let mut config = config(&[&network]);
    config.publish.push(Publish {
        host_path: Some(daemon.path(name)),
        ..publish("p", Protocol::Tcp, "a", 80)
    });
    config
}

#[test]
fn a_guest_is_reached_by_a_socket_of_the_host() {
    let mut daemon = Daemon::start();
    let mut config = published(&daemon, "web.sock");
    let path = daemon.path("web.sock");
    daemon.apply(&config);
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let mut guest = daemon.guest(&config.networks[0], "a");
    let data = bytes(3 << 20);
    let talk = |guest: &mut crate::guest::Guest| {
        let server = guest.listen(80);
        let (sent, path) = (data.clone(), path.clone());
        let client = std::thread::spawn(move || {
            let mut stream = UnixStream::connect(path).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            stream.write_all(&sent).unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).unwrap();
            answer
        });
        assert!(guest.receive_all(server) == data);
        let client_address = guest.tcp(server).remote_endpoint().unwrap().addr;
        assert_eq!(client_address, guest.gateway.into());
        guest.send(server, &data, true);
        guest.wait("the end", |guest| {
            (!guest.tcp(server).is_open()).then_some(())
        });
        assert!(client.join().unwrap() == data);
    };
    talk(&mut guest);
    // What a daemon that was killed left there is no obstacle.
    daemon.restart();
    talk(&mut guest);
    // Nor is the socket left behind.
    config.publish.clear();
    daemon.apply(&config);
    assert!(!path.exists());
}

#[test]
fn a_client_of_a_socket_is_sent_away_when_the_guest_refuses() {
    let daemon = Daemon::start();
    let config = published(&daemon, "web.sock");
    daemon.apply(&config);
    let _guest = daemon.guest(&config.networks[0], "a").in_background();
    let mut stream = UnixStream::connect(daemon.path("web.sock")).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(stream.read(&mut [0]).unwrap(), 0);
}

#[test]
fn what_others_have_at_the_path_is_left_alone() {
    let daemon = Daemon::start();
    let refused = |name: &str| {
        let config = published(&daemon, name);
        match daemon.call(&Request::Apply(config)) {
            Response::Applied { errors, .. } => errors[0].clone(),
            other => panic!("{other:?}"),
        }
    };
    std::fs::write(daemon.path("file"), "precious").unwrap();
    let error = refused("file");
    assert!(error.message.contains("no socket"), "{error:?}");
    assert_eq!(
        std::fs::read_to_string(daemon.path("file")).unwrap(),
        "precious"
    );
    let _theirs = UnixListener::bind(daemon.path("theirs.sock")).unwrap();
    assert_eq!(refused("theirs.sock").kind, PublishErrorKind::InUse);
    UnixStream::connect(daemon.path("theirs.sock")).unwrap();
    assert!(refused("nowhere/x.sock").message.contains("No such file"));
    // Somebody puts another one in our place: that one stays.
    let mut config = published(&daemon, "ours.sock");
    daemon.apply(&config);
    std::fs::remove_file(daemon.path("ours.sock")).unwrap();
    let _theirs = UnixListener::bind(daemon.path("ours.sock")).unwrap();
    config.publish.clear();
    daemon.apply(&config);
    UnixStream::connect(daemon.path("ours.sock")).unwrap();
}

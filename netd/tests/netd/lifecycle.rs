//! Start, stop, start again; and doing nothing.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::time::{Duration, Instant};

use stack_netd::config::Protocol;
use stack_netd::control::{Request, Response};

use crate::kit::{Daemon, PATIENCE, bytes, config, publish};

#[test]
fn a_daemon_that_is_started_again_serves_what_it_served() {
    let mut daemon = Daemon::start();
    let network = daemon.network(77, &["a", "b"]);
    let mut config = config(&[&network]);
    config.publish.push(publish("p", Protocol::Tcp, "a", 80));
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    config.publish[0].host_port = port;
    daemon.apply(&config);
    let mode = |name: &str| daemon.path(name).metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!([mode("ctl"), mode("config.json"), mode("a.d")], [0o600; 3]);
    let (mut a, mut b) = (daemon.guest(&network, "a"), daemon.guest(&network, "b"));
    let (between, published) = (b.listen(80), a.listen(80));
    let socket = a.dial((b.address, 80));
    let mut talk = |a: &mut crate::guest::Guest, message: &[u8]| {
        a.wait("the guests to talk", |a| {
            b.poll();
            a.tcp(socket).can_send().then_some(())
        });
        a.tcp(socket).send_slice(message).unwrap();
        let mut heard = vec![0; message.len()];
        a.wait("the message", |_| {
            b.poll();
            let tcp = b.tcp(between);
            (tcp.recv_queue() == heard.len()).then(|| tcp.recv_slice(&mut heard).unwrap())
        });
        assert_eq!(heard, message);
    };
    talk(&mut a, b"before");
    daemon.restart();
    talk(&mut a, b"after");
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.write_all(b"hello").unwrap();
    assert_eq!(a.receive(published, 5), b"hello");
}

#[test]
fn a_guest_that_is_started_again_is_heard_and_hears() {
    let daemon = Daemon::start();
    let network = daemon.network(77, &["a"]);
    daemon.apply(&config(&[&network]));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    for _ in 0..3 {
        let mut guest = daemon.guest(&network, "a");
        let start = Instant::now();
        assert!(guest.connect((guest.gateway, port)).is_some());
        assert!(start.elapsed() < Duration::from_secs(5));
    }
}

#[test]
fn it_ends_when_told_and_takes_its_sockets_with_it() {
    for by_signal in [false, true] {
        let mut daemon = Daemon::start();
        let network = daemon.network(77, &["a"]);
        daemon.apply(&config(&[&network]));
        assert!(daemon.path("a.d").exists());
        if by_signal {
            let pid = daemon.child.id().to_string();
            assert!(Command::new("kill").arg(pid).status().unwrap().success());
        } else {
            assert_eq!(daemon.call(&Request::Shutdown), Response::Stopping);
        }
        let start = Instant::now();
        while daemon.child.try_wait().unwrap().is_none() {
            assert!(start.elapsed() < PATIENCE);
            std::thread::sleep(Duration::from_millis(5));
        }
        assert!(daemon.child.wait().unwrap().success());
        assert!(!daemon.path("a.d").exists() && !daemon.path("ctl").exists());
    }
}

#[test]
fn a_second_daemon_does_not_push_the_first_one_aside() {
    let daemon = Daemon::start();
    let second = Command::new(env!("CARGO_BIN_EXE_stack-netd"))
        .arg("--control")
        .arg(daemon.path("ctl"))
        .arg("--config")
        .arg(daemon.path("other.json"))
        .output()
        .unwrap();
    assert!(!second.status.success());
    assert!(String::from_utf8_lossy(&second.stderr).contains("serves"));
    assert!(matches!(
        daemon.call(&Request::Status),
        Response::Status { .. }
    ));
}

#[test]
fn bad_requests_and_configurations_change_nothing() {
    let daemon = Daemon::start();
    let mut network = daemon.network(77, &["a"]);
    daemon.apply(&config(&[&network]));
    network.endpoints[0].mac = "nonsense".into();
    let refused = daemon.call(&Request::Apply(config(&[&network])));
    assert!(matches!(refused, Response::Error { message } if message.contains("nonsense")));
    let mut stream = UnixStream::connect(daemon.path("ctl")).unwrap();
    stream.write_all(b"{\"Apply\": 7}\n").unwrap();
    let mut answer = [0; 9];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"{\"Error\":");
    assert!(daemon.path("a.d").exists());
}

#[test]
fn idle_connections_and_stuck_guests_cost_nothing() {
    let daemon = Daemon::start();
    let network = daemon.network(77, &["a", "b"]);
    daemon.apply(&config(&[&network]));
    let mut guest = daemon.guest(&network, "a");
    // A guest that takes nothing, to which another one sends.
    let stuck = daemon.guest(&network, "b");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let socket = guest.connect((guest.gateway, port)).unwrap();
    let (mut stream, _) = listener.accept().unwrap();
    stream.set_nonblocking(true).unwrap();
    let udp = guest.udp(5000);
    let to_stuck = arp_to_everybody(&network.endpoints[0].mac, &network);
    for _ in 0..200 {
        guest.card.send(&to_stuck);
    }
    guest.send_datagram(udp, (guest.gateway, 53), b"nonsense that is no query");
    // And a guest that stops reading in the middle of a transfer.
    while stream.write(&bytes(1 << 16)).is_ok() {}
    guest.work(Duration::from_millis(300));
    assert!(guest.tcp(socket).can_recv());
    std::thread::sleep(Duration::from_millis(500));
    let before = daemon.cpu_time();
    std::thread::sleep(Duration::from_secs(3));
    let used = daemon.cpu_time() - before;
    assert!(
        used <= Duration::from_millis(30),
        "{used:?} of CPU time in three idle seconds"
    );
    drop(stuck);
}

#[test]
fn without_descriptors_clients_wait_and_nothing_spins() {
    let daemon = Daemon::with_descriptors(64);
    let network = daemon.network(77, &["a"]);
    let mut config = config(&[&network]);
    config.publish.push(publish("p", Protocol::Tcp, "a", 80));
    let address = daemon.apply(&config)[0].1[0];
    let mut guest = daemon.guest(&network, "a");
    let servers: Vec<_> = (0..60).map(|_| guest.listen(80)).collect();
    let clients: Vec<TcpStream> = (0..60)
        .map(|_| {
            let mut client = TcpStream::connect(address).unwrap();
            client.write_all(b"x").unwrap();
            client
        })
        .collect();
    let served = |guest: &mut crate::guest::Guest| {
        servers
            .iter()
            .filter(|server| guest.tcp(**server).can_recv())
            .count()
    };
    guest.work(Duration::from_secs(1));
    let first = served(&mut guest);
    assert!((10..50).contains(&first), "{first} are served");
    // The control socket has its descriptors all the same.
    let before = daemon.cpu_time();
    assert_eq!(daemon.apply(&config).len(), 1);
    guest.work(Duration::from_secs(2));
    let used = daemon.cpu_time() - before;
    assert!(
        used <= Duration::from_millis(100),
        "{used:?} of CPU time while clients wait"
    );
    // Those who were served go, and the others get their turn.
    for server in &servers {
        if guest.tcp(*server).can_recv() {
            guest.tcp(*server).abort();
        }
    }
    guest.wait("the next", |guest| (served(guest) > 0).then_some(()));
    drop(clients);
}

/// A gratuitous ARP frame, which the switch floods.
fn arp_to_everybody(mac: &str, network: &stack_netd::config::Network) -> Vec<u8> {
    let mac: Vec<u8> = mac
        .split(':')
        .map(|byte| u8::from_str_radix(byte, 16).unwrap())
        .collect();
    let address = network.endpoints[0].ipv4.unwrap().octets();
    let mut frame = vec![0xff; 6];
    frame.extend_from_slice(&mac);
    frame.extend_from_slice(&[8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
    frame.extend_from_slice(&mac);
    frame.extend_from_slice(&address);
    frame.extend_from_slice(&[0; 6]);
    frame.extend_from_slice(&address);
    frame
}

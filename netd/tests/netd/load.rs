//! Many of everything, and guests that do not play along. `make soak-net`
//! does more of it for longer.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::{Duration, Instant};

use crate::guest::{Guest, Link};
use crate::kit::{Daemon, config};

/// A service that sends back what it gets.
fn echo() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let mut bytes = [0; 256];
                while let Ok(n @ 1..) = stream.read(&mut bytes) {
                    stream.write_all(&bytes[..n]).unwrap();
                }
            });
        }
    });
    port
}

fn descriptors(daemon: &Daemon) -> usize {
    let folder = format!("/proc/{}/fd", daemon.child.id());
    std::fs::read_dir(folder).unwrap().count()
}

#[track_caller]
fn assert_idle(daemon: &Daemon, guests: &mut [&mut Guest]) {
    let before = daemon.cpu_time();
    let end = Instant::now() + Duration::from_millis(600);
    while Instant::now() < end {
        for guest in &mut *guests {
            guest.work(Duration::from_millis(5));
        }
    }
    let used = daemon.cpu_time() - before;
    assert!(
        used < Duration::from_millis(200),
        "it used {used:?} for nothing"
    );
}

#[test]
fn a_guest_that_takes_no_frames_harms_nobody_else() {
    let daemon = Daemon::start();
    let network = daemon.network(77, &["a", "b"]);
    daemon.apply(&config(&[&network]));
    let mut a = daemon.guest(&network, "a");
    let b = daemon.guest(&network, "b");
    let port = echo();
    // Nobody reads b's socket: what the daemon keeps for it is bounded.
    let mut frame = vec![0; 1514];
    let mac = |text: &str| -> Vec<u8> {
        let byte = |part| u8::from_str_radix(part, 16).unwrap();
        text.split(':').map(byte).collect()
    };
    frame[..6].copy_from_slice(&mac(&network.endpoints[1].mac));
    frame[6..12].copy_from_slice(&mac(&network.endpoints[0].mac));
    frame[12..15].copy_from_slice(&[8, 0, 0x45]);
    frame[26..30].copy_from_slice(&a.address.octets());
    let start = Instant::now();
    while daemon.drops("QueueFull") == 0 {
        for _ in 0..500 {
            a.card.send(&frame);
        }
        assert!(start.elapsed() < crate::kit::PATIENCE, "nothing is full");
    }
    let socket = a.connect((a.gateway, port)).unwrap();
    a.send(socket, b"still there?", false);
    assert_eq!(a.receive(socket, 12), b"still there?");
    assert_idle(&daemon, &mut [&mut a]);
    drop(b);
}

#[test]
fn hundreds_of_idle_connections_cost_nothing_and_still_work() {
    const COUNT: usize = 500;
    let daemon = Daemon::with_descriptors(2048);
    let network = daemon.network(77, &["a"]);
    daemon.apply(&config(&[&network]));
    let link = Link {
        buffer: 1024,
        ..Link::default()
    };
    let mut guest = daemon.guest_with(&network, "a", link);
    let port = echo();
    let sockets: Vec<_> = (0..COUNT)
        .map(|_| {
            let socket = guest.connect((guest.gateway, port)).unwrap();
            guest.send(socket, b"?", false);
            assert_eq!(guest.receive(socket, 1), b"?");
            socket
        })
        .collect();
    assert_idle(&daemon, &mut [&mut guest]);
    for socket in sockets.into_iter().step_by(7) {
        guest.send(socket, b"!", false);
        assert_eq!(guest.receive(socket, 1), b"!");
    }
}

#[test]
fn queries_from_ever_new_ports_take_no_descriptors() {
    let daemon = Daemon::start();
    let network = daemon.network(77, &["a"]);
    daemon.apply(&config(&[&network]));
    let mut guest = daemon.guest(&network, "a");
    let query = b"\x00\x07\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01a\x00\x00\x01\x00\x01";
    let gateway = guest.gateway;
    let mut before = 0;
    for n in 0..400 {
        let socket = guest.udp(20_000 + n);
        guest.send_datagram(socket, (gateway, 53), query);
        let (reply, _) = guest.receive_datagram(socket);
        assert_eq!((reply[1], reply[3] & 15, reply[7]), (7, 0, 1));
        guest.sockets.remove(socket);
        if n == 0 {
            before = descriptors(&daemon);
        }
    }
    assert_eq!(descriptors(&daemon), before);
}

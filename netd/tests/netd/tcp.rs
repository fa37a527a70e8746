//! Flows from guests to services of the host.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use smoltcp::socket::tcp::State;

use crate::guest::{Guest, Link};
use crate::kit::{Daemon, bytes, config};

const MIB: usize = 1 << 20;

fn one_guest(link: Link) -> (Daemon, Guest) {
    let daemon = Daemon::start();
    let network = daemon.network(77, &["a"]);
    daemon.apply(&config(&[&network]));
    let guest = daemon.guest_with(&network, "a", link);
    (daemon, guest)
}

fn listener() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

/// A service that sends `data` and collects what it gets.
fn service(data: Vec<u8>) -> (u16, std::thread::JoinHandle<Vec<u8>>) {
    let (listener, port) = listener();
    let thread = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut writer = stream.try_clone().unwrap();
        let writing = std::thread::spawn(move || {
            writer.write_all(&data).unwrap();
            writer.shutdown(Shutdown::Write).unwrap();
        });
        let mut received = Vec::new();
        stream.read_to_end(&mut received).unwrap();
        writing.join().unwrap();
        received
    });
    (port, thread)
}

/// Both directions at once, until both have ended.
fn exchange(link: Link, amount: usize) {
    let (_daemon, mut guest) = one_guest(link);
    let data = bytes(amount);
    let (port, service) = service(data.clone());
    let socket = guest.connect((guest.gateway, port)).unwrap();
    let (mut sent, mut received) = (0, Vec::new());
    guest.wait("both directions", |guest| {
        let tcp = guest.tcp(socket);
        if sent < amount {
            sent += tcp.send_slice(&data[sent..]).unwrap();
            if sent == amount {
                tcp.close();
            }
        }
        while tcp.can_recv() {
            tcp.recv(|bytes| {
                received.extend_from_slice(bytes);
                (bytes.len(), ())
            })
            .unwrap();
        }
        (!tcp.is_open() || matches!(tcp.state(), State::TimeWait)).then_some(())
    });
    assert!(received == data, "the guest got {} bytes", received.len());
    assert!(service.join().unwrap() == data);
}

#[test]
fn ten_megabytes_go_both_ways() {
    exchange(Link::default(), 10 * MIB);
}

#[test]
fn large_frames_carry_them_too() {
    exchange(
        Link {
            mtu: 65_520,
            ..Link::default()
        },
        10 * MIB,
    );
}

#[test]
fn lost_frames_delay_but_lose_nothing() {
    exchange(
        Link {
            loss: 50,
            ..Link::default()
        },
        2 * MIB,
    );
    exchange(
        Link {
            loss: 10,
            buffer: 64 << 10,
            ..Link::default()
        },
        MIB / 4,
    );
}

#[test]
fn a_guest_may_end_first_and_still_hear() {
    let (_daemon, mut guest) = one_guest(Link::default());
    let (listener, port) = listener();
    let service = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = Vec::new();
        stream.read_to_end(&mut request).unwrap();
        std::thread::sleep(Duration::from_millis(200));
        stream.write_all(&request.repeat(1000)).unwrap();
    });
    let socket = guest.connect((guest.gateway, port)).unwrap();
    guest.send(socket, b"question", true);
    assert_eq!(guest.receive_all(socket), b"question".repeat(1000));
    service.join().unwrap();
}

#[test]
fn a_service_may_end_first_and_still_hear() {
    let (_daemon, mut guest) = one_guest(Link::default());
    let (port, service) = service(b"greeting".to_vec());
    let socket = guest.connect((guest.gateway, port)).unwrap();
    assert_eq!(guest.receive_all(socket), b"greeting");
    assert_eq!(guest.tcp(socket).state(), State::CloseWait);
    guest.work(Duration::from_millis(200));
    let data = bytes(MIB);
    guest.send(socket, &data, true);
    guest.wait("the end", |guest| {
        (!guest.tcp(socket).is_open()).then_some(())
    });
    assert!(service.join().unwrap() == data);
}

#[test]
fn a_port_without_service_refuses_at_once() {
    let (_daemon, mut guest) = one_guest(Link::default());
    let (listener, port) = listener();
    drop(listener);
    let start = Instant::now();
    assert!(guest.connect((guest.gateway, port)).is_none());
    assert!(start.elapsed() < Duration::from_secs(1));
}

#[test]
fn resets_pass_in_both_directions() {
    let (_daemon, mut guest) = one_guest(Link::default());
    let (listener, port) = listener();
    let accept = || listener.accept().unwrap().0;
    let socket = guest.connect((guest.gateway, port)).unwrap();
    let mut stream = accept();
    guest.tcp(socket).abort();
    guest.work(Duration::from_millis(50));
    stream
        .set_read_timeout(Some(Duration::from_secs(5)))
        .unwrap();
    assert_eq!(
        stream.read(&mut [0]).unwrap_err().kind(),
        ErrorKind::ConnectionReset
    );

    let socket = guest.connect((guest.gateway, port)).unwrap();
    let stream = accept();
    socket2::SockRef::from(&stream)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
    drop(stream);
    guest.wait("the reset", |guest| {
        (guest.tcp(socket).state() == State::Closed).then_some(())
    });
}

#[test]
fn a_slow_reader_stops_the_guest_and_nothing_is_kept_without_bound() {
    let (daemon, mut guest) = one_guest(Link::default());
    let (listener, port) = listener();
    let socket = guest.connect((guest.gateway, port)).unwrap();
    let (mut stream, _) = listener.accept().unwrap();
    socket2::SockRef::from(&stream)
        .set_recv_buffer_size(64 << 10)
        .unwrap();
    let data = bytes(40 * MIB);
    let mut sent = 0;
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(3) {
        sent += guest.tcp(socket).send_slice(&data[sent..]).unwrap();
        guest.poll();
    }
    assert!(sent < 30 * MIB, "{sent} bytes were taken");
    let memory = resident(daemon.child.id());
    assert!(memory < 64 * MIB, "{memory} bytes are resident");
    let reading = std::thread::spawn(move || {
        let mut received = Vec::new();
        stream.read_to_end(&mut received).unwrap();
        received
    });
    guest.send(socket, &data[sent..], true);
    guest.wait("the end", |guest| {
        matches!(guest.tcp(socket).state(), State::FinWait2 | State::TimeWait).then_some(())
    });
    assert!(reading.join().unwrap() == data);
}

fn resident(pid: u32) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS"))
        .unwrap();
    line.split_whitespace()
        .nth(1)
        .unwrap()
        .parse::<usize>()
        .unwrap()
        << 10
}

#[test]
fn a_guest_that_does_not_read_stops_the_service() {
    let (_daemon, mut guest) = one_guest(Link {
        buffer: 32 << 10,
        ..Link::default()
    });
    let (listener, port) = listener();
    let socket = guest.connect((guest.gateway, port)).unwrap();
    let (mut stream, _) = listener.accept().unwrap();
    let data = bytes(12 * MIB);
    let sending = data.clone();
    let service = std::thread::spawn(move || stream.write_all(&sending).unwrap());
    guest.work(Duration::from_secs(2));
    assert!(!service.is_finished(), "12 MiB vanished into buffers");
    // The window has been closed for long: the probe finds it open again.
    assert!(guest.receive_all(socket) == data);
    service.join().unwrap();
}

#[test]
fn hundreds_of_short_connections_leave_nothing_behind() {
    let (daemon, mut guest) = one_guest(Link {
        buffer: 4096,
        ..Link::default()
    });
    let (listener, port) = listener();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream: TcpStream = stream.unwrap();
            let mut byte = [0];
            while stream.read(&mut byte).unwrap_or(0) > 0 {
                stream.write_all(&byte).unwrap();
            }
        }
    });
    let descriptors = || {
        std::fs::read_dir(format!("/proc/{}/fd", daemon.child.id()))
            .unwrap()
            .count()
    };
    guest.work(Duration::from_millis(50));
    let mut before = 0;
    for n in 0..300 {
        let socket = guest.connect((guest.gateway, port)).unwrap();
        guest.send(socket, b"x", false);
        assert_eq!(guest.receive(socket, 1), b"x");
        guest.tcp(socket).close();
        guest.wait("the end", |guest| {
            (!guest.tcp(socket).may_recv()).then_some(())
        });
        guest.sockets.remove(socket);
        if n == 0 {
            guest.work(Duration::from_millis(100));
            before = descriptors();
        }
    }
    let start = Instant::now();
    while descriptors() > before && start.elapsed() < Duration::from_secs(5) {
        guest.work(Duration::from_millis(50));
    }
    assert_eq!(descriptors(), before);
}

//! The vhost-user back-end, against a card that plays VMM and driver: what
//! guests and VMMs do that mean well.

use std::io::{Read, Write};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::time::Duration;

use smoltcp::wire::{Ipv4Packet, TcpPacket};
use stack_netd::config::{Network, Transport};
use stack_netd::control::{Request, Response};

use crate::kit::{Daemon, PATIENCE, bytes, config};
use crate::vhost_card::{Card, EVENT_IDX, HEADER, MRG_RXBUF, OFFLOADS, Options, PROTOCOL};

/// Nothing arrives within that time.
pub(crate) const SILENCE: Duration = Duration::from_millis(200);

pub(crate) const PLAIN: [u8; HEADER] = [0; HEADER];

/// A network with vhost-user ports.
pub(crate) fn network(daemon: &Daemon, names: &[&str]) -> Network {
    let mut network = daemon.network(77, names);
    for endpoint in &mut network.endpoints {
        endpoint.transport = Transport::VhostUser;
    }
    network
}

pub(crate) fn card(network: &Network, n: usize, options: Options) -> Card {
    Card::connect(&network.endpoints[n].local, options).expect("it is served")
}

/// Two cards on one network.
pub(crate) fn pair(daemon: &Daemon, options: [Options; 2]) -> (Network, Card, Card) {
    let network = network(daemon, &["a", "b"]);
    daemon.apply(&config(&[&network]));
    let (a, b) = (card(&network, 0, options[0]), card(&network, 1, options[1]));
    (network, a, b)
}

/// An IPv4 frame from one endpoint to another, `length` bytes long.
pub(crate) fn frame(network: &Network, from: usize, to: usize, length: usize) -> Vec<u8> {
    let mac = |n: usize| -> Vec<u8> {
        let parts = network.endpoints[n].mac.split(':');
        parts.map(|b| u8::from_str_radix(b, 16).unwrap()).collect()
    };
    let address = |n: usize| network.endpoints[n].ipv4.unwrap().octets();
    let mut frame = [mac(to), mac(from), vec![8, 0, 0x45]].concat();
    frame.resize(34, 0);
    frame[16..18].copy_from_slice(&((length - 14) as u16).to_be_bytes());
    frame[22..24].copy_from_slice(&[64, 6]);
    frame[26..30].copy_from_slice(&address(from));
    frame[30..34].copy_from_slice(&address(to));
    frame.extend_from_slice(&bytes(length - 34));
    frame
}

fn without(features: u64) -> Options {
    Options {
        features: Options::default().features & !features,
        ..Options::default()
    }
}

#[test]
fn frames_of_all_sizes_go_from_one_vm_to_the_other() {
    // Buffers that each hold the longest frame, none of which is joined.
    let large = Options {
        buffer: 66_000,
        size: 64,
        ..without(MRG_RXBUF)
    };
    for receiver in [Options::default(), without(EVENT_IDX), large] {
        let daemon = Daemon::start();
        let (network, mut a, mut b) = pair(&daemon, [without(EVENT_IDX), receiver]);
        for length in [60, 1514, 1515, 9000, 65_000, 65_549] {
            let sent = frame(&network, 0, 1, length);
            a.send_within(PATIENCE, PLAIN, &sent);
            let (header, received) = b.receive_within(PATIENCE).expect("a frame");
            assert!(received == sent, "{length}: {} came", received.len());
            assert_eq!(header[..10], PLAIN[..10]);
        }
        // And many, more than the ring holds, with their order kept.
        exchange(&network, &mut a, &mut b, 0..2000);
    }
}

/// Sends numbered frames, and checks that all arrive in order.
fn exchange(network: &Network, a: &mut Card, b: &mut Card, numbers: std::ops::Range<u32>) {
    let mut expected = numbers.start;
    let mut frame = frame(network, 0, 1, 64);
    for n in numbers.clone() {
        frame[60..].copy_from_slice(&n.to_be_bytes());
        a.send_within(PATIENCE, PLAIN, &frame);
        while let Some((_, received)) = b.receive() {
            assert_eq!(received[60..], expected.to_be_bytes());
            expected += 1;
        }
    }
    while expected < numbers.end {
        let (_, received) = b.receive_within(PATIENCE).expect("a frame");
        assert_eq!(received[60..], expected.to_be_bytes());
        expected += 1;
    }
}

#[test]
fn a_vmm_without_protocol_features_is_served() {
    let daemon = Daemon::start();
    let (network, mut a, mut b) = pair(&daemon, [without(PROTOCOL), without(PROTOCOL)]);
    exchange(&network, &mut a, &mut b, 0..100);
}

/// A TCP frame of 3 segments, unfinished, and its header.
fn large(network: &Network, to: usize) -> ([u8; HEADER], Vec<u8>) {
    let mut frame = frame(network, 0, to, 54 + 3000);
    frame[46] = 5 << 4;
    let mut header = PLAIN;
    header[..2].copy_from_slice(&[1, 1]);
    for (at, value) in [(2, 54u16), (4, 1400), (6, 34), (8, 16)] {
        header[at..at + 2].copy_from_slice(&value.to_le_bytes());
    }
    (header, frame)
}

fn is_finished(frame: &[u8]) -> Vec<u8> {
    let ip = Ipv4Packet::new_checked(&frame[14..]).unwrap();
    assert!(ip.verify_checksum());
    let tcp = TcpPacket::new_checked(ip.payload()).unwrap();
    assert!(tcp.verify_checksum(&ip.src_addr().into(), &ip.dst_addr().into()));
    tcp.payload().to_vec()
}

#[test]
fn what_is_unfinished_is_passed_on_or_finished() {
    let daemon = Daemon::start();
    let mut network = network(&daemon, &["a", "b", "c", "d"]);
    network.endpoints[3].transport = Transport::Datagram;
    daemon.apply(&config(&[&network]));
    let mut a = card(&network, 0, Options::default());
    let mut b = card(&network, 1, Options::default());
    let mut c = card(&network, 2, without(OFFLOADS));
    let d = UnixDatagram::bind(&network.endpoints[3].peer).unwrap();
    d.set_read_timeout(Some(PATIENCE)).unwrap();

    // A VM that takes it gets it as it is.
    let (header, sent) = large(&network, 1);
    a.send_within(PATIENCE, header, &sent);
    let (got, received) = b.receive_within(PATIENCE).expect("a frame");
    assert!(received == sent);
    assert_eq!(got[..10], header[..10]);
    // Three buffers of 1536 bytes.
    assert_eq!(got[10..], [2, 0]);

    // One that does not gets segments.
    let (_, sent) = large(&network, 2);
    a.send_within(PATIENCE, header, &sent);
    let mut payload = Vec::new();
    for _ in 0..3 {
        let (got, received) = c.receive_within(PATIENCE).expect("a frame");
        assert_eq!(got[..10], PLAIN[..10]);
        payload.extend(is_finished(&received));
    }
    assert!(payload == sent[54..]);

    // So does one behind datagrams; and it is heard.
    let (_, sent) = large(&network, 3);
    a.send_within(PATIENCE, header, &sent);
    let mut payload = Vec::new();
    let mut buffer = [0; 2000];
    for _ in 0..3 {
        let length = d.recv(&mut buffer).unwrap();
        payload.extend(is_finished(&buffer[..length]));
    }
    assert!(payload == sent[54..]);
    let answer = frame(&network, 3, 0, 1514);
    d.send_to(&answer, &network.endpoints[3].local).unwrap();
    let (got, received) = a.receive_within(PATIENCE).expect("a frame");
    assert!(received == answer);
    assert_eq!(got[..10], PLAIN[..10]);

    // A guest may not leave undone what it did not ask to.
    let answer = frame(&network, 2, 0, 100);
    let before = daemon.drops("Malformed");
    assert!(c.send(header, &answer));
    assert!(a.receive_within(SILENCE).is_none());
    assert_eq!(daemon.drops("Malformed"), before + 1);
}

#[test]
fn large_frames_and_small_ones_keep_their_order() {
    let daemon = Daemon::start();
    let (network, mut a, mut b) = pair(&daemon, [Options::default(), Options::default()]);
    let (header, mut large) = large(&network, 1);
    large.resize(54 + 60_000, 7);
    let small = frame(&network, 0, 1, 64);
    let mut expected = 0u16;
    let mut check = |(got, received): ([u8; HEADER], Vec<u8>)| {
        assert_eq!(received[60..62], expected.to_be_bytes());
        let (frame, header) = match expected % 3 {
            0 => (&large, header),
            _ => (&small, PLAIN),
        };
        assert!(received[62..] == frame[62..] && received[..60] == frame[..60]);
        assert_eq!(got[..10], header[..10]);
        expected += 1;
        expected
    };
    for n in 0..600u16 {
        let (mut sent, header) = match n % 3 {
            0 => (large.clone(), header),
            _ => (small.clone(), PLAIN),
        };
        sent[60..62].copy_from_slice(&n.to_be_bytes());
        a.send_within(PATIENCE, header, &sent);
        // Some wait in the ring, and some for buffers.
        if n % 50 != 49 {
            continue;
        }
        loop {
            let frame = b.receive_within(PATIENCE).expect("a frame");
            if check(frame) == n + 1 {
                break;
            }
        }
    }
}

#[test]
fn a_daemon_that_is_killed_takes_no_frame_with_it() {
    let mut daemon = Daemon::start();
    let (network, mut a, mut b) = pair(&daemon, [Options::default(), Options::default()]);
    let mut frame = frame(&network, 0, 1, 64);
    let (mut sent, mut expected) = (0u32, 0u32);
    for _ in 0..3 {
        for _ in 0..100 {
            frame[60..].copy_from_slice(&sent.to_be_bytes());
            a.send_within(PATIENCE, PLAIN, &frame);
            sent += 1;
        }
        // Some of them are under way.
        daemon.restart();
        // What comes before the receiver would be lost.
        b.reconnect_within(PATIENCE).unwrap();
        a.reconnect_within(PATIENCE).unwrap();
        while expected < sent {
            let (_, received) = b.receive_within(PATIENCE).expect("a frame");
            let number = u32::from_be_bytes(received[60..].try_into().unwrap());
            // The batch that was being handed over may come twice; none is
            // missing.
            assert!(number <= expected, "{number} after {expected}");
            expected = expected.max(number + 1);
        }
    }
}

#[test]
fn a_vm_that_goes_away_is_missed_by_nobody() {
    let daemon = Daemon::start();
    let (network, mut a, mut b) = pair(&daemon, [Options::default(), Options::default()]);
    exchange(&network, &mut a, &mut b, 0..10);
    drop(b);
    let lost = frame(&network, 0, 1, 1000);
    let start = std::time::Instant::now();
    while daemon.drops("NoPeer") == 0 {
        assert!(start.elapsed() < PATIENCE);
        a.send_within(PATIENCE, PLAIN, &lost);
    }
    // Its successor gets what is sent from then on.
    let mut b = card(&network, 1, Options::default());
    exchange(&network, &mut a, &mut b, 0..300);
}

#[test]
fn a_guest_that_sleeps_holds_up_nobody_and_costs_nothing() {
    let daemon = Daemon::start();
    let network = network(&daemon, &["a", "b", "c"]);
    daemon.apply(&config(&[&network]));
    let mut a = card(&network, 0, Options::default());
    let mut sleeper = card(&network, 1, Options::default());
    let mut c = card(&network, 2, Options::default());
    let lost = frame(&network, 0, 1, 60_000);
    for n in 0..500u32 {
        a.send_within(PATIENCE, PLAIN, &lost);
        let mut heard = frame(&network, 0, 2, 64);
        heard[60..].copy_from_slice(&n.to_be_bytes());
        a.send_within(PATIENCE, PLAIN, &heard);
        let (_, received) = c.receive_within(PATIENCE).expect("a frame");
        assert_eq!(received[60..], n.to_be_bytes());
    }
    assert!(daemon.drops("QueueFull") > 100);
    let before = daemon.cpu_time();
    std::thread::sleep(Duration::from_millis(500));
    assert!(daemon.cpu_time() - before < Duration::from_millis(100));
    // What fits the ring and the queue waits for it.
    for _ in 0..60 {
        assert!(sleeper.receive_within(PATIENCE).expect("a frame").1 == lost);
    }
}

#[test]
fn a_frame_that_is_copied_once_is_counted_and_captured_whole() {
    let daemon = Daemon::start();
    let (network, mut a, mut b) = pair(&daemon, [Options::default(), Options::default()]);
    let (header, mut sent) = large(&network, 1);
    sent.truncate(54);
    sent.resize(54 + 60_000, 7);
    a.send_within(PATIENCE, header, &sent);
    assert!(b.receive_within(PATIENCE).expect("a frame").1 == sent);
    let traffic = |endpoint: &str| match daemon.call(&Request::Status) {
        Response::Status { traffic, .. } => traffic[endpoint],
        other => panic!("{other:?}"),
    };
    let bytes = sent.len() as u64;
    assert_eq!(
        (traffic("a").frames_sent, traffic("a").bytes_sent),
        (1, bytes)
    );
    assert_eq!(
        (traffic("b").frames_received, traffic("b").bytes_received),
        (1, bytes)
    );

    // Whoever captures sees segments, with all of the payload, on both sides.
    let mut capture = UnixStream::connect(daemon.path("ctl")).unwrap();
    let endpoints = ["a", "b"].map(str::to_owned).to_vec();
    let request = serde_json::to_string(&Request::Capture(endpoints)).unwrap();
    capture
        .write_all(format!("{request}\n").as_bytes())
        .unwrap();
    capture.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut answer = [0; 1];
    while answer != *b"\n" {
        capture.read_exact(&mut answer).unwrap();
    }
    a.send_within(PATIENCE, header, &sent);
    assert!(b.receive_within(PATIENCE).expect("a frame").1 == sent);
    let mut seen = Vec::new();
    let mut buffer = [0; 65_536];
    while seen.iter().filter(|byte| **byte == 7).count() < 2 * 60_000 {
        let read = capture.read(&mut buffer).unwrap();
        assert_ne!(read, 0);
        seen.extend_from_slice(&buffer[..read]);
    }
}

//! The vhost-user back-end, against a card that plays VMM and driver.

use std::time::Duration;

use stack_netd::config::{Network, Transport};
use vhost::VhostBackend;
use vhost::vhost_user::VhostUserFrontend;
use vm_memory::{Bytes, GuestAddress};

use crate::kit::{Daemon, PATIENCE, bytes, config};
use crate::vhost_card::{Card, EVENT_IDX, HEADER, MRG_RXBUF, Options, PROTOCOL};

/// Nothing arrives within that time.
const SILENCE: Duration = Duration::from_millis(200);

const PLAIN: [u8; HEADER] = [0; HEADER];

/// A network with vhost-user ports.
fn network(daemon: &Daemon, names: &[&str]) -> Network {
    let mut network = daemon.network(77, names);
    for endpoint in &mut network.endpoints {
        endpoint.transport = Transport::VhostUser;
    }
    network
}

/// Two cards on one network.
fn pair(daemon: &Daemon, options: [Options; 2]) -> (Network, Card, Card) {
    let network = network(daemon, &["a", "b"]);
    daemon.apply(&config(&[&network]));
    let [a, b] = [0, 1]
        .map(|n| Card::connect(&network.endpoints[n].local, options[n]).expect("it is served"));
    (network, a, b)
}

/// An IPv4 frame from one endpoint to another, `length` bytes long.
fn frame(network: &Network, from: usize, to: usize, length: usize) -> Vec<u8> {
    let mac = |n: usize| -> Vec<u8> {
        let parts = network.endpoints[n].mac.split(':');
        parts.map(|b| u8::from_str_radix(b, 16).unwrap()).collect()
    };
    let mut frame = [mac(to), mac(from), vec![8, 0, 0x45]].concat();
    frame.resize(34, 0);
    frame[23] = 6;
    frame[26..30].copy_from_slice(&network.endpoints[from].ipv4.unwrap().octets());
    frame[30..34].copy_from_slice(&network.endpoints[to].ipv4.unwrap().octets());
    frame.extend_from_slice(&bytes(length - 34));
    frame
}

#[test]
fn frames_of_all_sizes_go_from_one_vm_to_the_other() {
    let plain = Options {
        features: Options::default().features & !EVENT_IDX,
        ..Options::default()
    };
    // Buffers that each hold the longest frame, none of which is joined.
    let large = Options {
        features: Options::default().features & !MRG_RXBUF,
        buffer: 66_000,
        size: 64,
    };
    for receiver in [Options::default(), plain, large] {
        let daemon = Daemon::start();
        let (network, mut a, mut b) = pair(&daemon, [plain, receiver]);
        for length in [60, 1514, 1515, 9000, 65_000, 65_549] {
            let sent = frame(&network, 0, 1, length);
            a.send_within(PATIENCE, PLAIN, &sent);
            let (header, received) = b.receive_within(PATIENCE).expect("a frame");
            assert!(received == sent, "{length}: {} came", received.len());
            assert_eq!(header[..10], PLAIN[..10]);
        }
        // And many, more than the ring holds, with their order kept.
        let mut expected = 0u32;
        for n in 0..2000u32 {
            let mut sent = frame(&network, 0, 1, 64);
            sent[60..].copy_from_slice(&n.to_be_bytes());
            a.send_within(PATIENCE, PLAIN, &sent);
            while let Some((_, received)) = b.receive() {
                assert_eq!(received[60..], expected.to_be_bytes());
                expected += 1;
            }
        }
        while expected < 2000 {
            let (_, received) = b.receive_within(PATIENCE).expect("a frame");
            assert_eq!(received[60..], expected.to_be_bytes());
            expected += 1;
        }
    }
}

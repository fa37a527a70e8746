//! A daemon's core with guests that send anything, for the fuzzer and for the
//! short run with fixed seeds in the tests.
//!
//! The input is a list of frames, each behind a byte that says how much of it
//! is put right before it is sent: a fuzzer does not find checksums.
#![expect(
    clippy::disallowed_methods,
    reason = "a run needs some instant to start from"
)]

mod conversation;

use std::time::{Duration, Instant};

#[cfg(feature = "fuzzing")]
pub(crate) use conversation::talk;

use crate::config::{Endpoint, Network, Protocol, Publish};
use crate::fabric::{Delivery, Event, Fabric, HostFailure};
use crate::frame::{Checksum, Frame, FrameRef, LONGEST, Offload};
use crate::ids::PortId;
use crate::wire::ETHERNET;

/// Frames of one run, at most.
const STEPS: usize = 64;

/// Longest frame that the input spells out.
const SPELLED: usize = 2048;

/// Hands the frames that `bytes` spell out to the core, from two guests, and
/// plays the host.
///
/// # Panics
/// Something does not hold.
pub(crate) fn frames(bytes: &[u8]) {
    let mut now = Instant::now();
    let mut fabric = Fabric::default();
    let network = network();
    let ports: Vec<PortId> = fabric
        .apply(std::slice::from_ref(&network), now)
        .opened
        .iter()
        .map(|opened| opened.port)
        .collect();
    fabric.set_resolvers(vec![([127, 0, 0, 1], 53).into()]);
    let publish = fabric.add_publish(Publish {
        id: "p".to_owned(),
        host_ip: None,
        host_port: 1,
        host_port_last: None,
        host_path: None,
        protocol: Protocol::Tcp,
        endpoint: "e0".to_owned(),
        container_port: 80,
    });
    let mut input = bytes;
    for _ in 0..STEPS {
        let Some(([how, much, more], rest)) = input.split_first_chunk() else {
            return;
        };
        let length = usize::from(u16::from_be_bytes([*more, *much])) % SPELLED;
        let (frame, rest) = rest.split_at(length.min(rest.len()));
        input = rest;
        let mut frame = frame.to_vec();
        let from = usize::from(how >> 7);
        if how & 1 != 0 {
            address(&mut frame, &network, from, *how);
        }
        let checksum = Checksum {
            start: 34,
            offset: 16,
        };
        let offload = Offload {
            checksum: (how & 2 != 0).then_some(checksum),
            segments: None,
        };
        let sent = FrameRef {
            bytes: &frame,
            offload,
        };
        match fabric.handle_frame(ports[from], sent, now) {
            Delivery::Flow(flow, n) => {
                assert!(n <= frame.len(), "more is passed on than came");
                if let Some(connection) = fabric.connection(flow) {
                    connection.keep(&frame[frame.len() - n..]);
                }
            }
            Delivery::One(to) => assert_ne!(to, ports[from], "it comes back"),
            Delivery::Many(all) => assert!(!all.contains(&ports[from]), "it comes back"),
            Delivery::None => {}
        }
        if how & 4 != 0 {
            let client = ([192, 0, 2, 7], 9).into();
            fabric.open_published(publish, client, now);
        }
        host(&mut fabric, &frame, *how, now);
        now += Duration::from_millis(1 << (how >> 3 & 15));
        fabric.timeout(now);
        host(&mut fabric, &frame, *how, now);
    }
    for port in ports {
        fabric.remove_port(port);
    }
    host(&mut fabric, &[], 0, now);
    assert_eq!(fabric.flow_count(), 0, "flows outlive their guests");
}

/// What the host's sockets would do; `bytes` are what they say.
fn host(fabric: &mut Fabric, bytes: &[u8], how: u8, now: Instant) {
    loop {
        while let Some((_, frame)) = fabric.next_frame() {
            check(&frame);
        }
        if let Some(event) = fabric.next_event() {
            match event {
                Event::Connect { flow, .. } if how & 8 == 0 => fabric.host_connected(flow, now),
                Event::Connect { flow, .. } => {
                    fabric.host_failed(flow, HostFailure::HostUnreachable, now);
                }
                Event::Ask(ask) if how & 8 == 0 => {
                    let mut answer = ask.message.clone();
                    answer.extend_from_slice(bytes);
                    answer[2] |= 0x80;
                    fabric.handle_answer(ask.query, &answer, now);
                }
                Event::Ask(ask) => fabric.query_failed(ask.query, now),
                _ => {}
            }
        } else if let Some(flow) = fabric.next_ready() {
            if let Some(connection) = fabric.connection(flow) {
                let room = connection.room().min(bytes.len());
                connection.supply(&bytes[..room]);
                let readable = connection.readable().len();
                connection.consume(readable);
            }
            fabric.flush(flow, now);
            // A flow that was given bytes is not ready for that alone.
        } else {
            return;
        }
    }
}

fn check(frame: &Frame) {
    assert!(
        (ETHERNET..=LONGEST).contains(&frame.len()),
        "no frame has {} bytes",
        frame.len()
    );
}

/// Puts addresses, types and lengths right.
fn address(frame: &mut [u8], network: &Network, from: usize, how: u8) {
    let Some((ethernet, packet)) = frame.split_at_mut_checked(ETHERNET) else {
        return;
    };
    if how & 16 != 0 {
        ethernet[..6].copy_from_slice(network.gateway_mac().as_bytes());
    }
    ethernet[6..12].copy_from_slice(&[2, 0x57, 10, 1, 0, from as u8 + 2]);
    let length = packet.len() as u16;
    match how >> 5 & 3 {
        0 | 1 if packet.len() >= 20 => {
            ethernet[12..].copy_from_slice(&[8, 0]);
            packet[0] = 0x45;
            packet[2..4].copy_from_slice(&length.to_be_bytes());
            packet[12..16].copy_from_slice(&[10, 1, 0, from as u8 + 2]);
            packet[9] = [6, 17, 1, packet[9]][usize::from(packet[8] & 3)];
            packet[10..12].fill(0);
            let words = packet[..20].chunks(2);
            let sum: u32 = words.map(|w| u32::from(w[0]) << 8 | u32::from(w[1])).sum();
            let sum = !((sum & 0xffff) + (sum >> 16)) as u16;
            packet[10..12].copy_from_slice(&sum.to_be_bytes());
        }
        2 if packet.len() >= 40 => {
            ethernet[12..].copy_from_slice(&[0x86, 0xdd]);
            packet[0] = 0x60;
            packet[4..6].copy_from_slice(&(length - 40).to_be_bytes());
            packet[8..24].copy_from_slice(&[0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
            packet[23] = from as u8 + 2;
        }
        3 => ethernet[12..].copy_from_slice(&[8, 6]),
        _ => {}
    }
}

fn network() -> Network {
    let endpoint = |n: u8| Endpoint {
        id: format!("e{n}"),
        local: format!("/l{n}").into(),
        peer: format!("/p{n}").into(),
        mac: format!("02:57:0a:01:00:{:02x}", n + 2),
        ipv4: Some([10, 1, 0, n + 2].into()),
        ipv6: Some([0xfd00, 0, 0, 0, 0, 0, 0, u16::from(n) + 2].into()),
        default_route: true,
        names: vec![format!("s{n}"), "both".to_owned()],
        ..Endpoint::default()
    };
    Network {
        name: "n".to_owned(),
        subnet: Some(([10, 1, 0, 0].into(), 24)),
        gateway: Some([10, 1, 0, 1].into()),
        subnet6: Some(([0xfd00, 0, 0, 0, 0, 0, 0, 0].into(), 64)),
        gateway6: Some([0xfd00, 0, 0, 0, 0, 0, 0, 1].into()),
        endpoints: vec![endpoint(0), endpoint(1)],
        ..Network::default()
    }
}

/// Numbers that are the same ones every time (xorshift64).
#[cfg(test)]
fn numbers(mut state: u64) -> impl FnMut() -> u64 {
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    }
}

#[cfg(test)]
mod tests {
    /// Inputs of fixed seeds: the same ones every time.
    #[test]
    fn frames_of_any_content_are_survived() {
        let mut next = super::numbers(0x2545_f491_4f6c_dd1d);
        for _ in 0..2000 {
            let mut input = Vec::new();
            for _ in 0..next() % 24 {
                let length = (next() % 120) as u16;
                let how = (next() as u8) | (next() as u8 & 0x11);
                input.extend_from_slice(&[how, length as u8, (length >> 8) as u8]);
                // Few different bytes: ports, names and numbers meet again.
                let mask = if next() & 1 == 0 { 0xff } else { 0x35 };
                input.extend((0..length).map(|_| next() as u8 & mask));
            }
            super::frames(&input);
        }
    }
}

//! A guest that knows TCP, and says what it likes: segments that are right in
//! all but what the input chooses, whole, in parts, or with padding behind.

use std::time::{Duration, Instant};

use super::{ETHERNET, check, network};
use crate::fabric::{Delivery, Event, Fabric};
use crate::frame::{Frame, Offload};
use crate::ids::{FlowId, PortId};
use crate::tcp::{Header, Seq};
use crate::wire::{self, Route};

/// Number of the SYN.
const FIRST: u32 = 100;

/// Longest payload of a segment.
const LONG: usize = 40_000;

/// What the guest knows, and what the host has heard.
struct Conversation {
    fabric: Fabric,
    port: PortId,
    flow: Option<FlowId>,
    now: Instant,
    // What the daemon acknowledged, and what it said itself.
    acknowledged: u32,
    said: u32,
    heard: usize,
}

/// Has a guest talk to a host as `bytes` say, four for each segment.
///
/// # Panics
/// The host hears something that the guest did not say.
pub(crate) fn talk(bytes: &[u8]) {
    let now = Instant::now();
    let mut fabric = Fabric::default();
    let port = fabric.apply(&[network()], now).opened[0].port;
    let mut talk = Conversation {
        fabric,
        port,
        flow: None,
        now,
        acknowledged: FIRST,
        said: 0,
        heard: 0,
    };
    let syn = Header {
        seq: Seq(FIRST),
        syn: true,
        window: 60_000,
        scale: Some(7),
        mss: Some(1400),
        ..Header::default()
    };
    talk.send(&syn, &[], 0, 0);
    for [what, more, much, cut] in bytes.as_chunks().0.iter().take(super::STEPS) {
        talk.step(*what, u16::from_be_bytes([*more, *much]), *cut);
    }
    talk.fabric.remove_port(port);
    while talk.fabric.next_event().is_some() {}
    assert_eq!(talk.fabric.flow_count(), 0, "a flow outlives its guest");
}

/// The byte that has the number `seq`.
fn byte(seq: u32) -> u8 {
    (seq.wrapping_sub(FIRST + 1) % 251) as u8
}

impl Conversation {
    fn step(&mut self, what: u8, length: u16, cut: u8) {
        let seq = match what & 3 {
            0 => self.acknowledged.wrapping_sub(u32::from(cut)),
            1 => self.acknowledged.wrapping_add(u32::from(cut)),
            _ => self.acknowledged,
        };
        let length = usize::from(length) % LONG;
        let payload: Vec<u8> = (0..length as u32)
            .map(|n| byte(seq.wrapping_add(n)))
            .collect();
        let header = Header {
            seq: Seq(seq),
            ack: Some(Seq(self.said)),
            fin: what & 0x3c == 0x3c,
            rst: what & 0x3c == 0x38,
            window: u16::from(cut) << 8,
            ..Header::default()
        };
        self.send(&header, &payload, what, cut);
        self.host(what);
        self.now += Duration::from_millis(1 << (what >> 4));
        self.fabric.timeout(self.now);
        self.host(what);
    }

    fn send(&mut self, header: &Header, payload: &[u8], what: u8, cut: u8) {
        let route = Route {
            src_mac: wire::parse_mac("02:57:0a:01:00:02").expect("it is one"),
            dst_mac: network().gateway_mac(),
            src: [10, 1, 0, 2].into(),
            dst: [192, 0, 2, 1].into(),
        };
        let mut frame = wire::tcp(&route, (4000, 80), header, [payload, &[]]);
        let frames = if what & 64 != 0 {
            wire::cut(frame, 576 + 8 * usize::from(cut), cut.into())
        } else {
            frame.extend_from_slice(&[0xee; 7][..usize::from(cut & 7)]);
            vec![frame]
        };
        for frame in &frames {
            match self.fabric.handle_frame(self.port, frame, self.now) {
                Delivery::Flow(flow, n) => self.pass(flow, frame, n, what),
                Delivery::None => {}
                other => panic!("{other:?}"),
            }
        }
        self.host(what);
    }

    /// The socket takes some of what is passed on.
    fn pass(&mut self, flow: FlowId, frame: &Frame, n: usize, what: u8) {
        let (taken, kept) = frame[frame.len() - n..].split_at(n >> (what & 1));
        self.hear(taken);
        if let Some(connection) = self.fabric.connection(flow) {
            connection.keep(kept);
        }
    }

    fn hear(&mut self, bytes: &[u8]) {
        let first = FIRST.wrapping_add(1).wrapping_add(self.heard as u32);
        let right = |(n, said): (usize, &u8)| *said == byte(first.wrapping_add(n as u32));
        assert!(
            bytes.iter().enumerate().all(right),
            "not what was said, after {}",
            self.heard
        );
        self.heard += bytes.len();
    }

    fn host(&mut self, what: u8) {
        loop {
            while let Some((_, frame)) = self.fabric.next_frame() {
                check(&frame);
                self.note(&frame);
            }
            if let Some(event) = self.fabric.next_event() {
                if let Event::Connect { flow, .. } = event {
                    self.flow = Some(flow);
                    self.fabric.host_connected(flow, self.now);
                }
            } else if let Some(flow) = self.fabric.next_ready() {
                self.pump(flow, what);
            } else {
                return;
            }
        }
    }

    /// Reads and writes as the host's socket would, now and then.
    fn pump(&mut self, flow: FlowId, what: u8) {
        let Some(connection) = self.fabric.connection(flow) else {
            return;
        };
        if connection.moves() && what & 0x30 != 0x10 {
            let bytes = connection.readable().to_vec();
            connection.consume(bytes.len());
            if connection.room() > 0 && what & 8 != 0 {
                connection.supply(b"and from the host");
            }
            if what & 0x1c == 0x0c {
                connection.finish();
            }
            self.hear(&bytes);
        }
        self.fabric.flush(flow, self.now);
    }

    /// What a frame to the guest tells it.
    fn note(&mut self, frame: &Frame) {
        let segment = wire::ip(&frame[ETHERNET..], &Offload::NONE);
        let Some((.., header, payload)) = segment.as_ref().and_then(wire::segment) else {
            return;
        };
        if let Some(Seq(ack)) = header.ack {
            self.acknowledged = ack;
        }
        let Seq(seq) = header.seq;
        let end = seq.wrapping_add(payload.len() as u32 + u32::from(header.syn || header.fin));
        if header.syn || end.wrapping_sub(self.said) < 1 << 31 {
            self.said = end;
        }
    }
}

#[cfg(test)]
mod tests {
    /// Inputs of fixed seeds: the same ones every time.
    #[test]
    fn whatever_a_guest_says_the_host_hears_that() {
        let mut next = super::super::numbers(0x9e37_79b9_7f4a_7c15);
        for _ in 0..200 {
            let steps = next() % 24;
            let input: Vec<u8> = (0..steps).flat_map(|_| next().to_be_bytes()).collect();
            super::talk(&input);
        }
    }
}

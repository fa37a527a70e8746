//! What flows send to guests: straight from their queues, without frames of
//! its own.

use std::net::IpAddr;
use std::time::Instant;

use super::flows::Flow;
use super::{Event, Fabric, PORT_ROOM, Port, Sink};
use crate::frame::{Features, Frame, Parts};
use crate::ids::{FlowId, PortId};
use crate::tcp::Close;
use crate::wire::{self, Finish, Route};

/// Segments, and bytes of payload, that are sent together.
const TOGETHER: usize = 64;
const TOGETHER_BYTES: usize = 256 << 10;

/// Payload of one frame to a port that cuts it into segments: an IP packet of
/// 64 KiB, less the headers.
const LARGE: usize = 65_535 - 60;

impl Fabric {
    /// Like [`flush_to`](Self::flush_to), through [`next_frame`](Self::next_frame).
    pub(crate) fn flush(&mut self, id: FlowId, now: Instant) {
        let mut kept = Kept::default();
        self.flush_to(id, &mut kept, now);
        self.frames.extend(kept.0);
    }

    /// Sends what a flow has to send. Call it after every change of its
    /// connection.
    pub(crate) fn flush_to(&mut self, id: FlowId, sink: &mut dyn Sink, now: Instant) {
        self.serve_names(id, now);
        let limit = self.flows.limit();
        let Some(flow) = self.flows.get(id) else {
            return;
        };
        let Some(port) = self.ports.get_mut(&flow.key.port) else {
            return;
        };
        let Some(network) = self.networks.get(&port.network) else {
            return;
        };
        let Some(route) = network.route(flow.key.remote.ip(), port) else {
            // Nothing would ever come of it.
            return self.close_flow(id);
        };
        flow.connection.set_limit(limit);
        if !send_segments(flow, port, &route, sink, now) {
            port.waiting.insert(id);
        }
        let deadline = flow.connection.deadline();
        if let Some(close) = flow.connection.closed() {
            if close == Close::Reset && self.ask_again(id, now) {
                return;
            }
            self.flows.remove(id);
            self.events.push_back(Event::Closed { flow: id, close });
        } else {
            if flow.connection.lingers() && flow.connection.guest_finished() {
                self.flows.linger(id);
            }
            self.flows.set_deadline(id, deadline);
        }
    }
}

/// Sends all that a connection has to say. `false` if there is data that has
/// to wait for the port.
fn send_segments(
    flow: &mut Flow,
    port: &mut Port,
    route: &Route,
    sink: &mut dyn Sink,
    now: Instant,
) -> bool {
    let key = flow.key;
    let connection = &mut flow.connection;
    let features = sink.features(key.port);
    let large = features.checksum
        && match route.src {
            IpAddr::V4(_) => features.tcp4,
            IpAddr::V6(_) => features.tcp6,
        };
    let ports = (key.remote.port(), key.source);
    let mut segments = Vec::new();
    loop {
        let mut room = port.queued < PORT_ROOM;
        let mut bytes = 0;
        while segments.len() < TOGETHER && bytes < TOGETHER_BYTES {
            let most = if large { LARGE } else { 0 };
            let Some((header, piece)) = connection.pop(room.then_some(most), now) else {
                break;
            };
            bytes += piece.len();
            segments.push((header, piece));
            // More than the port has room for waits in the connection.
            room &= port.queued + bytes < PORT_ROOM;
        }
        if segments.is_empty() {
            return room;
        }
        let size = connection.segment_size() as u16;
        let finish = if features.checksum {
            Finish::There(size)
        } else {
            Finish::Here
        };
        let headers: Vec<Frame> = segments
            .iter()
            .map(|(header, piece)| {
                let payload = connection.bytes(piece);
                wire::tcp_headers(route, ports, header, payload, finish)
            })
            .collect();
        let frames: Vec<Parts<'_>> = segments
            .iter()
            .zip(&headers)
            .map(|((_, piece), headers)| {
                let [a, b] = connection.bytes(piece);
                Parts {
                    pieces: [headers, a, b],
                    offload: headers.offload,
                }
            })
            .collect();
        port.queued = sink.send(key.port, &frames);
        segments.clear();
    }
}

/// Keeps frames instead of sending them.
#[derive(Default)]
struct Kept(Vec<(PortId, Frame)>);

impl Sink for Kept {
    fn features(&self, _: PortId) -> Features {
        Features::default()
    }

    fn send(&mut self, port: PortId, frames: &[Parts<'_>]) -> usize {
        let kept = frames.iter().map(|frame| (port, frame.to_frame()));
        self.0.extend(kept);
        self.0.iter().map(|(_, frame)| frame.len()).sum()
    }
}

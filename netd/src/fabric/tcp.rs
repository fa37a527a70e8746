//! TCP at the gateway: which flow a segment belongs to, and how flows begin
//! and end.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::Instant;

use super::flows::{Flow, Key, Kind};
use super::gateway::Destination;
use super::{Event, Fabric, PORT_ROOM, Port, Sink};
use crate::counters::DropReason;
use crate::dns::Framer;
use crate::frame::{Features, Frame, Parts};
use crate::ids::{FlowId, PortId, PublishId};
use crate::tcp::{Connection, Header, Seq};
use crate::udp::GATEWAY_PORTS;
use crate::wire::{self, Finish, Ip, Route, Unreachable};

/// Segments, and bytes of payload, that are sent together.
const TOGETHER: usize = 64;
const TOGETHER_BYTES: usize = 256 << 10;

/// Payload of one frame to a port that cuts it into segments: an IP packet of
/// 64 KiB, less the headers.
const LARGE: usize = 65_535 - 40;

/// Why the host's socket did not connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HostFailure {
    /// Nobody listens there.
    Refused,
    /// No way to that network.
    NetworkUnreachable,
    /// The host does not answer, or something else went wrong.
    HostUnreachable,
}

impl Fabric {
    pub(super) fn handle_tcp(
        &mut self,
        from: PortId,
        ip: &Ip<'_>,
        destination: Destination,
        now: Instant,
    ) {
        let Some((source, port, header, payload)) = wire::segment(ip) else {
            return self.drop(DropReason::Malformed);
        };
        let key = Key {
            port: from,
            source,
            remote: SocketAddrV4::new(ip.dst, port),
        };
        let opens = header.syn && header.ack.is_none();
        if let Some(id) = self.flows.find(&key)
            && let Some(flow) = self.flows.get(id)
        {
            if opens && flow.connection.is_forgotten(&header) {
                self.close_flow(id);
            } else {
                let passed = flow.connection.handle(&header, payload, now);
                self.passed = (passed > 0).then_some((id, passed));
                self.flows.wake(id);
                return;
            }
        }
        if !opens {
            self.drop(DropReason::NoFlow);
            self.refuse(&key, &header, payload.len());
        } else if !self.flows.has_place(from) {
            self.drop(DropReason::TooMany);
            self.refuse(&key, &header, payload.len());
        } else {
            self.open_outward(key, &header, ip, destination, now);
        }
    }

    fn open_outward(
        &mut self,
        key: Key,
        syn: &Header,
        ip: &Ip<'_>,
        destination: Destination,
        now: Instant,
    ) {
        let internal = self.is_internal(key.port);
        let port = key.remote.port();
        let names = destination == Destination::Host && port == super::names::PORT;
        if internal && !names {
            self.drop(DropReason::Internal);
            return match destination {
                Destination::Host => self.refuse(&key, syn, 0),
                Destination::Outside => {
                    self.send_unreachable(key.port, ip.dst, Unreachable::Network, ip.packet);
                }
            };
        }
        let mut connection = Connection::asked(syn, self.initial(), self.flows.limit(), now);
        let flow = FlowId(self.fresh());
        let kind = if names {
            connection.accept(now);
            Kind::Names(Framer::default(), 0)
        } else {
            let host = match destination {
                Destination::Host => Ipv4Addr::LOCALHOST,
                Destination::Outside => ip.dst,
            };
            let to = SocketAddr::from((host, port));
            self.events.push_back(Event::Connect { flow, to });
            Kind::Outward(ip.packet[..ip.packet.len().min(68)].to_vec())
        };
        self.flows.insert(
            flow,
            Flow {
                key,
                kind,
                connection,
                lingers: false,
            },
        );
    }

    fn initial(&mut self) -> Seq {
        Seq(self.noise.next() as u32)
    }

    fn refuse(&mut self, key: &Key, header: &Header, payload: usize) {
        if let Some(refusal) = header.refusal(payload)
            && let Some(route) = self.route(key.port, *key.remote.ip())
        {
            let ports = (key.remote.port(), key.source);
            self.send(key.port, wire::tcp(&route, ports, &refusal, [&[], &[]]));
        }
    }

    /// The host's socket of a flow is connected.
    pub(crate) fn host_connected(&mut self, id: FlowId, now: Instant) {
        if let Some(flow) = self.flows.get(id) {
            flow.connection.accept(now);
            self.flows.wake(id);
        }
    }

    /// The host's socket of a flow did not connect.
    pub(crate) fn host_failed(&mut self, id: FlowId, failure: HostFailure, now: Instant) {
        let why = match failure {
            HostFailure::Refused => return self.abort(id, now),
            HostFailure::NetworkUnreachable => Unreachable::Network,
            HostFailure::HostUnreachable => Unreachable::Host,
        };
        if let Some(flow) = self.flows.get(id)
            && let Kind::Outward(syn) = &mut flow.kind
        {
            let (key, syn) = (flow.key, std::mem::take(syn));
            self.send_unreachable(key.port, *key.remote.ip(), why, &syn);
            self.close_flow(id);
        }
    }

    /// The host's side of a flow was reset.
    pub(crate) fn abort(&mut self, id: FlowId, now: Instant) {
        if let Some(flow) = self.flows.get(id) {
            flow.connection.abort(now);
            self.flows.wake(id);
        }
    }

    /// A client of a published port came: asks the guest. The client's socket
    /// is to be read only when the flow's connection has room.
    pub(crate) fn open_published(&mut self, publish: PublishId, now: Instant) -> Option<FlowId> {
        let config = self.publishes.get(&publish)?;
        let service = config.container_port;
        let port = self.port_of(&config.endpoint)?;
        let gateway = self.gateway(port)?;
        if !self.flows.has_place(port) {
            self.drop(DropReason::TooMany);
            return None;
        }
        let key = |gateway_port: u16| Key {
            port,
            source: service,
            remote: SocketAddrV4::new(gateway, gateway_port),
        };
        let offset = self.noise.next() as usize;
        let count = GATEWAY_PORTS.len();
        let key = (0..count)
            .map(|n| key(GATEWAY_PORTS.start + (offset.wrapping_add(n) % count) as u16))
            .find(|key| self.flows.find(key).is_none())?;
        let connection = Connection::asking(self.initial(), self.flows.limit(), now);
        let flow = FlowId(self.fresh());
        self.flows.insert(
            flow,
            Flow {
                key,
                kind: Kind::Published(publish),
                connection,
                lingers: false,
            },
        );
        Some(flow)
    }

    /// Like [`flush_to`](Self::flush_to), through [`next_frame`](Self::next_frame).
    pub(crate) fn flush(&mut self, id: FlowId, now: Instant) {
        let mut kept = Kept::default();
        self.flush_to(id, &mut kept, now);
        for (port, frame) in kept.0 {
            self.frames.push_back((port, frame));
        }
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
        let Some(route) = network.route(*flow.key.remote.ip(), port) else {
            return;
        };
        flow.connection.set_limit(limit);
        if !send_segments(flow, port, &route, sink, now) {
            port.waiting.insert(id);
        }
        let deadline = flow.connection.deadline();
        if let Some(close) = flow.connection.closed() {
            self.flows.remove(id);
            self.events.push_back(Event::Closed { flow: id, close });
        } else {
            if flow.connection.lingers() {
                self.flows.linger(id);
            }
            self.flows.set_deadline(id, deadline);
        }
    }

    /// Forgets a flow without telling the guest.
    pub(super) fn close_flow(&mut self, id: FlowId) {
        if let Some(flow) = self.flows.remove(id) {
            let close = flow
                .connection
                .closed()
                .unwrap_or(if flow.connection.lingers() {
                    crate::tcp::Close::Done
                } else {
                    crate::tcp::Close::Aborted
                });
            self.events.push_back(Event::Closed { flow: id, close });
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
    let large = features.checksum && features.tcp4;
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

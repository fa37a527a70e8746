//! TCP at the gateway: which flow a segment belongs to, and how flows begin
//! and end.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Instant;

use super::flows::{Flow, Key, Kind};
use super::gateway::Destination;
use super::udp::loopback;
use super::{Event, Fabric};
use crate::counters::DropReason;
use crate::dns::Framer;
use crate::ids::{FlowId, PortId};
use crate::tcp::{Close, Connection, Header, Seq};
use crate::wire::{self, IcmpError, Ip};

/// Bytes of a SYN's packet that are kept: headers with all their options.
const QUOTE: usize = 128;

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
            remote: SocketAddr::new(ip.dst, port),
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
        let socket = self.socket_at(key.port, destination, port);
        if internal && !names && socket.is_none() {
            self.drop(DropReason::Internal);
            return match destination {
                Destination::Host => self.refuse(&key, syn, 0),
                Destination::Outside => {
                    let error = IcmpError::no_route(ip.dst.is_ipv4());
                    self.send_error(key.port, None, error, ip.packet);
                }
            };
        }
        self.make_place(key.port, now);
        let mut connection = Connection::asked(syn, self.initial(), self.flows.limit(), now);
        let flow = FlowId(self.fresh());
        let kind = if names {
            connection.accept(now);
            Kind::Names(Framer::default(), 0)
        } else if let Some(path) = socket {
            self.events.push_back(Event::ConnectLocal { flow, path });
            Kind::Outward {
                syn: Vec::new(),
                instead: None,
            }
        } else {
            let (host, instead) = match destination {
                Destination::Host => (loopback(ip.dst), Some(other_loopback(ip.dst))),
                Destination::Outside => (ip.dst, None),
            };
            let to = SocketAddr::new(host, port);
            self.events.push_back(Event::Connect { flow, to });
            Kind::Outward {
                syn: ip.packet[..ip.packet.len().min(QUOTE)].to_vec(),
                instead: instead.map(|host| SocketAddr::new(host, port)),
            }
        };
        self.flows.insert(
            flow,
            Flow {
                key,
                kind,
                connection,
                lingers: false,
                waited: false,
            },
        );
    }

    /// The socket of the host's file system that the endpoint finds at the
    /// gateway's port.
    fn socket_at(&self, id: PortId, destination: Destination, port: u16) -> Option<PathBuf> {
        let mut sockets = self.ports.get(&id)?.endpoint.sockets.iter();
        let socket = sockets.find(|socket| socket.port == port)?;
        (destination == Destination::Host).then(|| socket.path.clone())
    }

    pub(super) fn initial(&mut self) -> Seq {
        Seq(self.noise.next() as u32)
    }

    fn refuse(&mut self, key: &Key, header: &Header, payload: usize) {
        if let Some(refusal) = header.refusal(payload)
            && let Some(route) = self.route(key.port, key.remote.ip())
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
        let Some(flow) = self.flows.get(id) else {
            return;
        };
        let key = flow.key;
        let Kind::Outward { syn, instead } = &mut flow.kind else {
            return self.abort(id, now);
        };
        let four = key.remote.is_ipv4();
        let error = match failure {
            HostFailure::Refused => {
                return match instead.take() {
                    Some(to) => self.events.push_back(Event::Connect { flow: id, to }),
                    None => self.abort(id, now),
                };
            }
            HostFailure::NetworkUnreachable => IcmpError::no_route(four),
            HostFailure::HostUnreachable => IcmpError::no_host(four),
        };
        let syn = std::mem::take(syn);
        self.send_error(key.port, None, error, &syn);
        self.close_flow(id);
    }

    /// The host's side of a flow was reset.
    pub(crate) fn abort(&mut self, id: FlowId, now: Instant) {
        if let Some(flow) = self.flows.get(id) {
            flow.connection.abort(now);
            self.flows.wake(id);
        }
    }

    /// Ends the flows that were silent longest, if there are too many.
    pub(super) fn make_place(&mut self, port: PortId, now: Instant) {
        for flow in self.flows.surplus(port) {
            self.drop(DropReason::TooMany);
            self.abort(flow, now);
            self.flush(flow, now);
        }
    }

    /// The host's descriptors are used up: `flow` is to have one nevertheless,
    /// for its way to `to`. Whether somebody makes place for it; it is asked
    /// for once more then.
    pub(crate) fn make_place_for(&mut self, flow: FlowId, to: SocketAddr, now: Instant) -> bool {
        let waited = self.flows.get(flow).map(|flow| &mut flow.waited);
        if waited.is_none_or(|waited| std::mem::replace(waited, true)) {
            return false;
        }
        // Handshakes have no descriptor, or only just got one.
        let Some(other) = self.flows.oldest_open_of_most() else {
            return false;
        };
        self.drop(DropReason::TooMany);
        self.abort(other, now);
        self.flush(other, now);
        self.events.push_back(Event::Connect { flow, to });
        true
    }

    /// Forgets a flow without telling the guest.
    pub(super) fn close_flow(&mut self, id: FlowId) {
        if let Some(flow) = self.flows.remove(id) {
            let close = flow
                .connection
                .closed()
                .unwrap_or(if flow.connection.lingers() {
                    Close::Done
                } else {
                    Close::Aborted
                });
            self.events.push_back(Event::Closed { flow: id, close });
        }
    }
}

/// The host's own address of the other family than `gateway` stands for:
/// some services listen there only.
fn other_loopback(gateway: IpAddr) -> IpAddr {
    match gateway {
        IpAddr::V4(_) => Ipv6Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv4Addr::LOCALHOST.into(),
    }
}

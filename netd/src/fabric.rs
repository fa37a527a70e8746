//! All networks of a stack, sans-IO.
//!
//! ```text
//!   handle_frame ─► switch ─┬─► Delivery (to other guests, the frame untouched)
//!                           └─► gateway ─► arp, neighbours, dhcp ► frames
//!                                       ├► udp, icmp, names ─► events, frames
//!                                       └► tcp flows ──► ready ─► pump, flush
//! ```
//!
//! The owner moves bytes between each ready flow's [`Connection`] and its
//! socket, then calls [`Fabric::flush`]. Frames come out of
//! [`Fabric::next_frame`], wishes for sockets out of [`Fabric::next_event`].

mod apply;
mod dhcp;
mod flows;
mod gateway;
mod icmp;
mod names;
mod neighbours;
mod published;
mod reassembly;
mod resolvers;
mod segments;
mod switch;
mod tcp;
mod udp;

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Instant;

pub(crate) use apply::Opened;
pub(crate) use tcp::HostFailure;

use crate::config::{Endpoint, Network, Publish};
use crate::counters::{Counters, DropReason};
use crate::dns::{Ask, Forwarder, Zone};
use crate::frame::{Features, Frame, FrameRef, LONGEST, Parts};
use crate::ids::{AssociationId, FlowId, Ids, NetworkId, PortId, PublishId, QueryId};
use crate::noise::Noise;
use crate::tcp::{Close, Connection};
use crate::timers::Timers;
use crate::udp::{Associations, Outgoing, Sessions};
use crate::wire::{Mac, Route};
use flows::Flows;
use reassembly::Reassembly;
use resolvers::Asked;

/// Bytes that may wait for a port before flows to it stop sending.
const PORT_ROOM: usize = 1 << 20;

/// To which other guests a frame goes as it is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Delivery {
    /// None.
    None,
    /// One.
    One(PortId),
    /// Several.
    Many(Vec<PortId>),
    /// To none; but the end of it is to be written to the flow's socket, so
    /// many bytes. What does not go is for [`Connection::keep`].
    Flow(FlowId, usize),
}

/// Where the frames of flows go, at once and without being kept.
pub(crate) trait Sink {
    /// What `port` takes unfinished.
    fn features(&self, port: PortId) -> Features;

    /// Sends frames; how many bytes wait for the VMM then.
    fn send(&mut self, port: PortId, frames: &[Parts<'_>]) -> usize;
}

/// What the core wants from the host.
#[derive(Debug, PartialEq)]
pub(crate) enum Event {
    /// Connect a socket for this flow.
    Connect {
        /// The flow.
        flow: FlowId,
        /// Where to.
        to: SocketAddr,
    },
    /// Connect a socket of the host's file system for this flow.
    ConnectLocal {
        /// The flow.
        flow: FlowId,
        /// Where it is.
        path: PathBuf,
    },
    /// The flow is over: close its socket, by a reset unless it is done.
    Closed {
        /// The flow.
        flow: FlowId,
        /// How it ended.
        close: Close,
    },
    /// Send from the association's socket, which may be new.
    SendDatagram {
        /// The association.
        association: AssociationId,
        /// What, and where to.
        outgoing: Outgoing,
    },
    /// Close the association's socket.
    CloseAssociation(AssociationId),
    /// Send a datagram from the published port's socket.
    ReplyDatagram {
        /// The published port.
        publish: PublishId,
        /// Where to.
        client: SocketAddr,
        /// What.
        payload: Vec<u8>,
    },
    /// Ask a resolver.
    Ask(Ask),
    /// The query is over: close its socket.
    CloseQuery(QueryId),
}

/// One endpoint's place.
#[derive(Debug)]
struct Port {
    network: NetworkId,
    endpoint: Endpoint,
    mac: Mac,
    // Bytes that wait for the VMM, and flows that wait for those to go.
    queued: usize,
    waiting: HashSet<FlowId>,
}

#[derive(Debug)]
struct Net {
    config: Network,
    mac: Mac,
    link_local: Ipv6Addr,
    zone: Zone,
    // Who has which hardware address: known beforehand, never learnt.
    table: BTreeMap<Mac, PortId>,
}

impl Net {
    /// From the gateway's side to `port`, with `src` as the sender.
    fn route(&self, src: IpAddr, port: &Port) -> Option<Route> {
        Some(Route {
            src_mac: self.mac,
            dst_mac: port.mac,
            src,
            dst: port.endpoint.address_like(src)?,
        })
    }
}

/// The core.
#[derive(Debug, Default)]
pub(crate) struct Fabric {
    ids: Ids,
    noise: Noise,
    networks: HashMap<NetworkId, Net>,
    ports: HashMap<PortId, Port>,
    publishes: HashMap<PublishId, Publish>,
    flows: Flows,
    associations: Associations,
    sessions: Sessions,
    forwarder: Forwarder,
    asked: Asked,
    reassembly: Reassembly,
    // When routers' advertisements are due that nobody asked for.
    advertisements: Timers<NetworkId>,
    host_has_ipv6: bool,
    // The host's addresses.
    own_addresses: HashSet<IpAddr>,
    // Who had an address of a network last.
    bearers: HashMap<(String, IpAddr), Mac>,
    frames: VecDeque<(PortId, Frame)>,
    events: VecDeque<Event>,
    counters: Counters,
    // What the last frame brought for a flow's socket.
    passed: Option<(FlowId, usize)>,
}

impl Fabric {
    /// A frame came from a guest. Where else it goes as it is.
    pub(crate) fn handle_frame<'a>(
        &mut self,
        from: PortId,
        frame: impl Into<FrameRef<'a>>,
        now: Instant,
    ) -> Delivery {
        let frame = frame.into();
        self.counters.frames_in += 1;
        if frame.bytes.len() > LONGEST {
            self.drop(DropReason::TooLarge);
            return Delivery::None;
        }
        let Some(port) = self.ports.get(&from) else {
            return Delivery::None;
        };
        let Some(network) = self.networks.get(&port.network) else {
            return Delivery::None;
        };
        let verdict = match switch::judge(frame.bytes, port, network) {
            Ok(verdict) => verdict,
            Err(reason) => {
                self.counters.drop(reason);
                return Delivery::None;
            }
        };
        match verdict {
            switch::Verdict::Forward(to) => Delivery::One(to),
            switch::Verdict::Gateway => {
                self.handle_gateway(from, frame, now);
                match self.passed.take() {
                    Some((flow, bytes)) => Delivery::Flow(flow, bytes),
                    None => Delivery::None,
                }
            }
            switch::Verdict::Flood => {
                let others = network
                    .table
                    .values()
                    .copied()
                    .filter(|port| *port != from)
                    .collect();
                self.handle_flooded(from, frame);
                Delivery::Many(others)
            }
        }
    }

    /// The guest that a frame is for, and for nobody else; its headers suffice
    /// to tell.
    pub(crate) fn recipient(&self, from: PortId, frame: FrameRef<'_>) -> Option<PortId> {
        let port = self.ports.get(&from)?;
        let network = self.networks.get(&port.network)?;
        match switch::judge(frame.bytes, port, network) {
            Ok(switch::Verdict::Forward(to)) => Some(to),
            Ok(switch::Verdict::Gateway | switch::Verdict::Flood) | Err(_) => None,
        }
    }

    /// When [`timeout`](Self::timeout) has something to do.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let deadlines = [
            self.flows.deadline(),
            self.associations.deadline(),
            self.sessions.deadline(),
            self.forwarder.deadline(),
            self.reassembly.deadline(),
            self.advertisements.next(),
        ];
        deadlines.into_iter().flatten().min()
    }

    /// The clock went on.
    pub(crate) fn timeout(&mut self, now: Instant) {
        self.flows.timeout(now);
        while let Some(association) = self.associations.expired(now) {
            self.events.push_back(Event::CloseAssociation(association));
        }
        self.sessions.expire(now);
        let incomplete = self.reassembly.expire(now);
        self.counters.drop_many(DropReason::Fragment, incomplete);
        self.advertise_on_time(now);
        while let Some(outcome) = self.forwarder.timeout(now) {
            self.settle(outcome);
        }
    }

    /// The next frame of our own for a guest.
    pub(crate) fn next_frame(&mut self) -> Option<(PortId, Frame)> {
        self.frames.pop_front()
    }

    /// The next wish.
    pub(crate) fn next_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// A flow that may have something to move.
    pub(crate) fn next_ready(&mut self) -> Option<FlowId> {
        self.flows.next_ready()
    }

    /// Makes a flow ready: its socket can be read or written again.
    pub(crate) fn wake(&mut self, flow: FlowId) {
        self.flows.wake(flow);
    }

    /// The guest's leg of a flow.
    pub(crate) fn connection(&mut self, flow: FlowId) -> Option<&mut Connection> {
        Some(&mut self.flows.get(flow)?.connection)
    }

    /// So many bytes wait for the VMM of `port`.
    pub(crate) fn set_queued(&mut self, port: PortId, bytes: usize) {
        if let Some(port) = self.ports.get_mut(&port) {
            port.queued = bytes;
            if bytes < PORT_ROOM {
                port.waiting.drain().for_each(|flow| self.flows.wake(flow));
            }
        }
    }

    /// The host's own addresses: clients that come from there are shown to
    /// guests as the gateway.
    pub(crate) fn set_own_addresses(&mut self, addresses: HashSet<IpAddr>) {
        self.own_addresses = addresses;
    }

    /// Whom to ask for names that no network knows.
    pub(crate) fn set_resolvers(&mut self, resolvers: Vec<SocketAddr>) {
        self.forwarder.set_resolvers(resolvers);
    }

    /// A fresh number for whoever needs one.
    pub(crate) fn fresh(&mut self) -> u64 {
        self.ids.next()
    }

    /// The counters.
    pub(crate) fn counters(&mut self) -> &mut Counters {
        &mut self.counters
    }

    /// The port of an endpoint.
    pub(crate) fn port(&self, endpoint: &str) -> Option<PortId> {
        let mut ports = self.ports.iter();
        let found = ports.find(|(_, port)| port.endpoint.id == endpoint);
        found.map(|(id, _)| *id)
    }

    /// The endpoint of a port.
    pub(crate) fn endpoint_id(&self, port: PortId) -> Option<&str> {
        Some(&self.ports.get(&port)?.endpoint.id)
    }

    /// Endpoints that are served.
    pub(crate) fn endpoints(&self) -> usize {
        self.ports.len()
    }

    /// TCP flows, UDP associations and sessions.
    pub(crate) fn flow_count(&self) -> usize {
        self.flows.len() + self.associations.len() + self.sessions.len()
    }

    fn drop(&mut self, reason: DropReason) {
        self.counters.drop(reason);
    }

    fn send(&mut self, port: PortId, frame: Frame) {
        if let Some(port) = self.ports.get_mut(&port) {
            port.queued += frame.len();
        }
        self.frames.push_back((port, frame));
    }

    /// From the gateway's side to `port`, with `src` as the sender.
    fn route(&self, port: PortId, src: IpAddr) -> Option<Route> {
        let port = self.ports.get(&port)?;
        self.networks.get(&port.network)?.route(src, port)
    }

    fn network_of(&self, port: PortId) -> Option<&Net> {
        self.networks.get(&self.ports.get(&port)?.network)
    }

    /// The gateway's address of a family on the guest's network.
    fn gateway(&self, port: PortId, v4: bool) -> Option<IpAddr> {
        self.network_of(port)?.config.gateway_of(v4)
    }

    /// The port of an endpoint.
    fn port_of(&self, endpoint: &str) -> Option<PortId> {
        self.ports
            .iter()
            .find(|(_, port)| port.endpoint.id == endpoint)
            .map(|(id, _)| *id)
    }
}

#[cfg(test)]
mod tests;

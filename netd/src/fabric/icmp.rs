//! ICMP and ICMPv6 echo: the gateway answers for itself, the host asks for
//! everybody else. An answer comes only from who was asked.

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use super::gateway::Destination;
use super::{Event, Fabric, HostFailure};
use crate::counters::DropReason;
use crate::ids::{AssociationId, PortId};
use crate::udp::{Outgoing, Transport};
use crate::wire::{self, IcmpError, Ip};

/// Bytes of an echo message before its data.
const HEADER: usize = 8;

impl Fabric {
    pub(super) fn handle_icmp(
        &mut self,
        from: PortId,
        ip: &Ip<'_>,
        destination: Destination,
        now: Instant,
    ) {
        let Some(message) = wire::icmp_message(ip) else {
            return self.drop(DropReason::Malformed);
        };
        let four = ip.dst.is_ipv4();
        // Errors about our own packets need no answer; what else there is
        // would need rights on the host.
        if message[..2] != [if four { 8 } else { 128 }, 0] {
            return;
        }
        if destination == Destination::Host {
            if let Some(route) = self.route(from, ip.dst) {
                self.send_cut(from, wire::echo_reply(&route, message));
            }
            return;
        }
        if self.is_internal(from) {
            self.drop(DropReason::Internal);
            return self.send_error(from, None, IcmpError::no_route(four), ip.packet);
        }
        let id = u16::from_be_bytes([message[4], message[5]]);
        let transport = if four {
            Transport::Echo4
        } else {
            Transport::Echo6
        };
        let outgoing = Outgoing {
            transport,
            to: SocketAddr::new(ip.dst, 0),
            payload: message.to_vec(),
            hops: ip.hops - 1,
            whole: ip.whole,
        };
        self.send_outward(from, id, outgoing, now);
    }

    /// The answer to an echo request came: `message`, with an identifier of
    /// the host's that becomes the guest's `id` again.
    pub(super) fn handle_echo_reply(
        &mut self,
        port: PortId,
        id: u16,
        from: IpAddr,
        message: &[u8],
    ) {
        let reply = if from.is_ipv4() { 0 } else { 129 };
        let Some((header, data)) = message.split_first_chunk::<HEADER>() else {
            return;
        };
        if header[..2] != [reply, 0] {
            return;
        }
        let mut header = *header;
        header[4..6].copy_from_slice(&id.to_be_bytes());
        if let Some(route) = self.route(port, from) {
            let frame = wire::icmp(&route, 64, [&header, data]);
            self.send_cut(port, frame);
        }
    }

    /// Something on the way, or this host, says that a datagram or an echo
    /// request of `association` did not arrive at `to`. `sent` is what is
    /// known of its payload (of the message, for an echo request).
    pub(crate) fn handle_error(
        &mut self,
        association: AssociationId,
        error: IcmpError,
        to: SocketAddr,
        by: Option<IpAddr>,
        sent: &[u8],
    ) {
        let Some((inward, transport)) = self.associations.owner(association, to) else {
            return self.drop(DropReason::Unsolicited);
        };
        let gateway = self.gateway(inward.port, to.is_ipv4());
        let dst = if inward.from_gateway {
            gateway
        } else {
            Some(to.ip())
        };
        let (Some(dst), Some(mut route)) = (dst, dst.and_then(|dst| self.route(inward.port, dst)))
        else {
            return;
        };
        // The packet as the guest sent it, as far as it matters.
        std::mem::swap(&mut route.src, &mut route.dst);
        let sent = &sent[..sent.len().min(1024)];
        let original = match transport {
            Transport::Udp4 | Transport::Udp6 => {
                wire::udp(&route, (inward.source, to.port()), sent)
            }
            Transport::Echo4 | Transport::Echo6 => {
                let kind = if dst.is_ipv4() { 8 } else { 128 };
                let mut header = [kind, 0, 0, 0, 0, 0, 0, 0];
                let (id, known) = (inward.source.to_be_bytes(), sent.get(..HEADER));
                header[4..6].copy_from_slice(&id);
                header[6..].copy_from_slice(known.map_or(&[0, 0], |known| &known[6..8]));
                wire::icmp(&route, 64, [&header, sent.get(HEADER..).unwrap_or(&[])])
            }
        };
        let by = by.filter(|by| self.is_foreign(*by));
        self.send_error(inward.port, by, error, &original[wire::ETHERNET..]);
    }

    /// The host knows no way for what a guest sent.
    pub(crate) fn datagram_failed(
        &mut self,
        association: AssociationId,
        failure: HostFailure,
        outgoing: &Outgoing,
    ) {
        let four = outgoing.to.is_ipv4();
        let error = match failure {
            HostFailure::NetworkUnreachable => IcmpError::no_route(four),
            HostFailure::Refused | HostFailure::HostUnreachable => IcmpError::no_host(four),
        };
        let (to, sent) = (outgoing.to, &outgoing.payload);
        self.handle_error(association, error, to, None, sent);
    }

    /// Hands a datagram or an echo request to the host.
    pub(super) fn send_outward(
        &mut self,
        from: PortId,
        source: u16,
        outgoing: Outgoing,
        now: Instant,
    ) {
        let fresh = AssociationId(self.fresh());
        let (transport, to) = (outgoing.transport, outgoing.to);
        let guest = (from, transport, source);
        let (association, evicted) = self.associations.outward(guest, to, fresh, now);
        if let Some(evicted) = evicted {
            self.events.push_back(Event::CloseAssociation(evicted));
        }
        self.events.push_back(Event::SendDatagram {
            association,
            outgoing,
        });
    }
}

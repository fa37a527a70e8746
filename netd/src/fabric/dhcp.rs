//! DHCP (RFC 2131) for guests that ask: each gets the address that it has
//! anyway, for ever.

use std::net::{IpAddr, Ipv4Addr};

use smoltcp::wire::{
    DHCP_CLIENT_PORT, DHCP_SERVER_PORT, DhcpMessageType, DhcpOption, DhcpPacket, DhcpRepr,
};

use super::Fabric;
use crate::counters::DropReason;
use crate::ids::PortId;
use crate::wire::{self, Ip, IpProtocol, Route};

/// Options beyond those that every answer has (RFC 2132).
const HOST_NAME: u8 = 12;
const DOMAIN_NAME: u8 = 15;
const INTERFACE_MTU: u8 = 26;
const BROADCAST: u8 = 28;
const DOMAIN_SEARCH: u8 = 119;

/// Longest value of an option.
const MAX_OPTION: usize = 255;

/// Shortest message that old clients take (RFC 1542, section 2.1).
const SHORTEST: usize = 300;

impl Fabric {
    /// Answers DHCP; whether the packet was that.
    pub(super) fn handle_dhcp(&mut self, from: PortId, ip: &Ip<'_>) -> bool {
        if ip.protocol != IpProtocol::Udp || !ip.dst.is_ipv4() {
            return false;
        }
        let Some(datagram) = wire::datagram(ip) else {
            return false;
        };
        if datagram.dst != DHCP_SERVER_PORT {
            return false;
        }
        let for_us = match ip.dst {
            IpAddr::V4(dst) => {
                dst == Ipv4Addr::BROADCAST || Some(ip.dst) == self.gateway(from, true)
            }
            IpAddr::V6(_) => false,
        };
        if for_us && self.answer_dhcp(from, datagram.payload).is_none() {
            self.drop(DropReason::Malformed);
        }
        for_us
    }

    /// `None` if the request makes no sense.
    fn answer_dhcp(&mut self, from: PortId, request: &[u8]) -> Option<()> {
        let packet = DhcpPacket::new_checked(request).ok()?;
        let request = DhcpRepr::parse(&packet).ok()?;
        let port = self.ports.get(&from)?;
        let net = self.networks.get(&port.network)?;
        let (own, gateway) = (port.endpoint.ipv4?, net.config.gateway?);
        if request.client_hardware_address != port.mac {
            return None;
        }
        let elsewhere = request.server_identifier.is_some_and(|id| id != gateway);
        let wanted = request.requested_ip.unwrap_or(request.client_ip);
        let answer = match request.message_type {
            DhcpMessageType::Discover => DhcpMessageType::Offer,
            DhcpMessageType::Request if elsewhere => return Some(()),
            DhcpMessageType::Request if wanted == own => DhcpMessageType::Ack,
            DhcpMessageType::Request => DhcpMessageType::Nak,
            DhcpMessageType::Inform => DhcpMessageType::Ack,
            // Nothing is kept, so nothing needs to be given back.
            DhcpMessageType::Decline | DhcpMessageType::Release => return Some(()),
            _ => return None,
        };
        let informed = request.message_type == DhcpMessageType::Inform;
        let options = Options::new(&port.endpoint, net);
        let reply = DhcpRepr {
            message_type: answer,
            transaction_id: request.transaction_id,
            client_ip: request.client_ip,
            your_ip: own,
            server_ip: gateway,
            client_identifier: None,
            requested_ip: None,
            server_identifier: Some(gateway),
            parameter_request_list: None,
            max_size: None,
            router: port.endpoint.default_route.then_some(gateway),
            subnet_mask: net.config.mask(),
            dns_servers: Some([gateway].into_iter().collect()),
            lease_duration: Some(u32::MAX),
            renew_duration: None,
            rebind_duration: None,
            ..request
        };
        let reply = match answer {
            DhcpMessageType::Nak => DhcpRepr {
                client_ip: Ipv4Addr::UNSPECIFIED,
                your_ip: Ipv4Addr::UNSPECIFIED,
                router: None,
                subnet_mask: None,
                dns_servers: None,
                lease_duration: None,
                ..reply
            },
            _ if informed => DhcpRepr {
                your_ip: Ipv4Addr::UNSPECIFIED,
                lease_duration: None,
                ..reply
            },
            _ => reply,
        };
        let options = options.list();
        let reply = DhcpRepr {
            additional_options: if answer == DhcpMessageType::Nak {
                &[]
            } else {
                &options
            },
            ..reply
        };
        let mut bytes = vec![0; reply.buffer_len().max(SHORTEST)];
        reply
            .emit(&mut DhcpPacket::new_unchecked(&mut bytes[..]))
            .ok()?;
        // To the guest's hardware address: nobody else has any use for it.
        let no_address = reply.client_ip.is_unspecified();
        let route = Route {
            src_mac: net.mac,
            dst_mac: port.mac,
            src: gateway.into(),
            dst: if no_address { Ipv4Addr::BROADCAST } else { own }.into(),
        };
        let ports = (DHCP_SERVER_PORT, DHCP_CLIENT_PORT);
        self.send(from, wire::udp(&route, ports, &bytes));
        Some(())
    }
}

/// Values of the options.
struct Options {
    host_name: Vec<u8>,
    domain: Vec<u8>,
    search: Vec<u8>,
    mtu: [u8; 2],
    broadcast: [u8; 4],
}

impl Options {
    fn new(endpoint: &crate::config::Endpoint, net: &super::Net) -> Options {
        let text = |text: Option<&String>| {
            text.filter(|text| text.len() <= MAX_OPTION)
                .map_or(Vec::new(), |text| text.clone().into_bytes())
        };
        let broadcast = net.config.broadcast().unwrap_or(Ipv4Addr::BROADCAST);
        Options {
            host_name: text(endpoint.names.first()),
            domain: text(endpoint.search.first()),
            search: search_list(&endpoint.search),
            mtu: net.config.mtu.to_be_bytes(),
            broadcast: broadcast.octets(),
        }
    }

    fn list(&self) -> Vec<DhcpOption<'_>> {
        let all = [
            (INTERFACE_MTU, &self.mtu[..]),
            (BROADCAST, &self.broadcast[..]),
            (HOST_NAME, &self.host_name[..]),
            (DOMAIN_NAME, &self.domain[..]),
            (DOMAIN_SEARCH, &self.search[..]),
        ];
        let given = all.into_iter().filter(|(_, data)| !data.is_empty());
        given
            .map(|(kind, data)| DhcpOption { kind, data })
            .collect()
    }
}

/// Domains as DNS labels, without compression (RFC 3397); as many as fit.
fn search_list(domains: &[String]) -> Vec<u8> {
    let mut list = Vec::new();
    for domain in domains {
        let mut name = Vec::new();
        for label in domain.trim_end_matches('.').split('.') {
            let Some(length @ 1..=63) = u8::try_from(label.len()).ok() else {
                return list;
            };
            name.push(length);
            name.extend_from_slice(label.as_bytes());
        }
        name.push(0);
        if list.len() + name.len() > MAX_OPTION {
            break;
        }
        list.extend_from_slice(&name);
    }
    list
}

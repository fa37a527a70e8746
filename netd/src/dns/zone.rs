//! What one network knows.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use simple_dns::rdata::{A, AAAA, PTR, RData, SRV};
use simple_dns::{
    CLASS, Name, OPCODE, Packet, PacketFlag, QCLASS, QTYPE, Question, RCODE, TYPE, header_buffer,
};

use super::empty_reply;
use super::reply::reply;
use super::unknown::Unknown;
use crate::config::{Endpoint, Network, Record};

/// Names of the gateway, which leads to the host.
const HOST_NAMES: [&str; 3] = [
    "host.docker.internal",
    "gateway.docker.internal",
    "host.stack.internal",
];

/// What to do with a query.
#[derive(Debug, PartialEq)]
pub(crate) enum Answer {
    /// Send this.
    Reply(Vec<u8>),
    /// Ask the host's resolver.
    Forward,
    /// It is no query.
    Ignore,
}

/// The addresses of one name. Who asks for one family often asks for the
/// other in the same breath, so each has its own turn.
#[derive(Debug, Default)]
struct Addresses {
    four: Turns<Ipv4Addr>,
    six: Turns<Ipv6Addr>,
}

impl Addresses {
    fn add(&mut self, address: IpAddr) {
        match address {
            IpAddr::V4(address) => self.four.add(address),
            IpAddr::V6(address) => self.six.add(address),
        }
    }

    fn records(&mut self, question: &Question<'_>) -> Vec<RData<'static>> {
        let mut records = Vec::new();
        if asks(question, TYPE::A) {
            let address = |a: Ipv4Addr| RData::A(A { address: a.into() });
            records.extend(self.four.next().map(address));
        }
        if asks(question, TYPE::AAAA) {
            let address = |a: Ipv6Addr| RData::AAAA(AAAA { address: a.into() });
            records.extend(self.six.next().map(address));
        }
        records
    }
}

/// Items that take turns in being the first.
#[derive(Debug)]
struct Turns<T> {
    items: Vec<T>,
    turn: usize,
}

impl<T> Default for Turns<T> {
    fn default() -> Turns<T> {
        Turns {
            items: Vec::new(),
            turn: 0,
        }
    }
}

impl<T: Copy + PartialEq> Turns<T> {
    fn add(&mut self, item: T) {
        if !self.items.contains(&item) {
            self.items.push(item);
        }
    }

    fn next(&mut self) -> impl Iterator<Item = T> {
        self.turn = self.turn.wrapping_add(1);
        let first = self.turn % self.items.len().max(1);
        let (end, begin) = self.items.split_at(first);
        begin.iter().chain(end).copied()
    }
}

/// Names that one endpoint alone can look up.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Own<'a> {
    /// What they stand for on this network.
    pub(crate) links: &'a [(String, String)],
    /// Their addresses.
    pub(crate) hosts: &'a [(String, Vec<IpAddr>)],
    /// Ports of those.
    pub(crate) records: &'a [Record],
}

impl<'a> Own<'a> {
    /// Those of `endpoint`.
    pub(crate) fn of(endpoint: &'a Endpoint) -> Own<'a> {
        Own {
            links: &endpoint.links,
            hosts: &endpoint.hosts,
            records: &endpoint.records,
        }
    }

    fn name_of(self, address: IpAddr) -> Option<&'a str> {
        let mut hosts = self.hosts.iter();
        let found = hosts.find(|(_, addresses)| addresses.contains(&address));
        found.map(|(name, _)| name.as_str())
    }
}

/// The names of one network.
#[derive(Debug)]
pub(crate) struct Zone {
    names: HashMap<String, Addresses>,
    reverse: HashMap<IpAddr, String>,
    // `_http._tcp.web`: ports, and the names of those who have them.
    services: HashMap<String, Vec<(u16, String)>>,
    // Single-label names of the stack's other networks.
    elsewhere: HashSet<String>,
    // Of addresses that endpoints have for themselves.
    own_turns: (usize, usize),
    network: Network,
}

impl Zone {
    /// The zone of `network`, one of `all`.
    pub(crate) fn new(network: &Network, all: &[Network]) -> Zone {
        let elsewhere = all
            .iter()
            .filter(|other| other.name != network.name)
            .flat_map(|other| other.endpoints.iter().flat_map(|endpoint| &endpoint.names))
            .map(|name| canonical(name))
            .filter(|name| !name.contains('.'))
            .collect();
        let mut zone = Zone {
            names: HashMap::new(),
            reverse: HashMap::new(),
            services: HashMap::new(),
            elsewhere,
            own_turns: (0, 0),
            network: Network {
                endpoints: Vec::new(),
                ..network.clone()
            },
        };
        let mut bearers: HashMap<String, usize> = HashMap::new();
        for endpoint in &network.endpoints {
            let names: HashSet<String> = endpoint.names.iter().map(|n| canonical(n)).collect();
            for name in names {
                *bearers.entry(name).or_default() += 1;
            }
        }
        for endpoint in &network.endpoints {
            // Each of several replicas is a server of its own.
            let mut names = endpoint.names.iter().map(|name| canonical(name));
            let lone = names.find(|name| bearers.get(name) == Some(&1));
            zone.add(endpoint, lone.as_deref());
        }
        if !network.internal {
            zone.add_host();
        }
        zone
    }

    /// `lone`: the name that no other endpoint has.
    fn add(&mut self, endpoint: &Endpoint, lone: Option<&str>) {
        let first = endpoint.names.first().map(|name| canonical(name));
        for name in endpoint.names.iter().map(|name| canonical(name)) {
            for service in &endpoint.services {
                let target = lone.or(first.as_deref()).unwrap_or_default().to_owned();
                let ports = self.services.entry(canonical(&service.name_at(&name)));
                let ports = ports.or_default();
                if !ports.contains(&(service.port, target.clone())) {
                    ports.push((service.port, target));
                }
            }
            let addresses = self.names.entry(name).or_default();
            endpoint.addresses().for_each(|a| addresses.add(a));
        }
        if let Some(first) = first {
            for address in endpoint.addresses() {
                self.reverse.insert(address, first.clone());
            }
        }
    }

    /// The host's names, unless endpoints have them.
    fn add_host(&mut self) {
        let gateways = [true, false].map(|v4| self.network.gateway_of(v4));
        for name in HOST_NAMES {
            if self.names.contains_key(name) {
                continue;
            }
            let addresses = self.names.entry(name.to_owned()).or_default();
            gateways
                .into_iter()
                .flatten()
                .for_each(|a| addresses.add(a));
        }
        for gateway in gateways.into_iter().flatten() {
            self.reverse.insert(gateway, HOST_NAMES[1].to_owned());
        }
    }

    /// Answers `query`, which came by UDP or by a stream, from an endpoint
    /// with names of its `own`.
    pub(crate) fn answer(&mut self, query: &[u8], udp: bool, own: Own<'_>) -> Answer {
        let plausible = header_buffer::questions(query).is_ok_and(|n| n == 1)
            && header_buffer::answers(query).is_ok_and(|n| n == 0)
            // IXFR has the zone's SOA here (RFC 1995).
            && header_buffer::name_servers(query).is_ok_and(|n| n <= 1)
            && header_buffer::additional_records(query).is_ok_and(|n| n <= 4);
        match header_buffer::has_flags(query, PacketFlag::RESPONSE) {
            Ok(false) => {}
            Ok(true) | Err(_) => return Answer::Ignore,
        }
        let refused = |code: u8| empty_reply(query, code).map_or(Answer::Ignore, Answer::Reply);
        if !plausible {
            return refused(1);
        }
        let unknown = Unknown::in_question(query);
        let readable = unknown.as_ref().map_or(query, |unknown| &unknown.readable);
        let Ok(packet) = Packet::parse(readable) else {
            return refused(1);
        };
        if packet.opcode() != OPCODE::StandardQuery {
            return refused(4);
        }
        let Some(question) = packet.questions.first() else {
            return refused(1);
        };
        if question.qclass != QCLASS::CLASS(CLASS::IN) {
            return if self.network.internal {
                refused(5)
            } else {
                Answer::Forward
            };
        }
        match self.look_up(question, own) {
            Some(found) => match reply(&packet, question, found, udp) {
                Some(mut reply) => {
                    if let Some(unknown) = unknown {
                        unknown.restore(&mut reply);
                    }
                    Answer::Reply(reply)
                }
                None => refused(2),
            },
            None if self.network.internal => refused(3),
            None => Answer::Forward,
        }
    }

    /// The answer's records; `Err` if there is no such name, `None` if it is
    /// not this zone that knows.
    fn look_up(
        &mut self,
        question: &Question<'_>,
        own: Own<'_>,
    ) -> Option<Result<Vec<RData<'static>>, RCODE>> {
        let name = canonical(&question.qname.to_string());
        if let Some(address) = reverse_name(&name) {
            return match own.name_of(address) {
                Some(name) => {
                    let asked = asks(question, TYPE::PTR);
                    Some(Ok(pointer(name).filter(|_| asked).into_iter().collect()))
                }
                None => self.look_up_address(question, address),
            };
        }
        if let Some(found) = own.hosts.iter().find(|(host, _)| canonical(host) == name) {
            let mut addresses = Addresses::default();
            found.1.iter().for_each(|address| addresses.add(*address));
            (addresses.four.turn, addresses.six.turn) = self.own_turns;
            let records = addresses.records(question);
            self.own_turns = (addresses.four.turn, addresses.six.turn);
            return Some(Ok(records));
        }
        let link = own.links.iter().find(|(alias, _)| canonical(alias) == name);
        let name = link.map_or(name, |(_, target)| canonical(target));
        if let Some(addresses) = self.names.get_mut(&name) {
            return Some(Ok(addresses.records(question)));
        }
        if let Some(ports) = self.services.get(&name) {
            let records = ports
                .iter()
                .filter_map(|(port, target)| server(*port, target));
            let asked = asks(question, TYPE::SRV);
            return Some(Ok(records.filter(|_| asked).collect()));
        }
        let known = own.records.iter().filter(|r| canonical(&r.name) == name);
        let known: Vec<RData<'static>> = known.filter_map(|r| server(r.port, &r.target)).collect();
        if !known.is_empty() {
            let asked = asks(question, TYPE::SRV);
            return Some(Ok(if asked { known } else { Vec::new() }));
        }
        let owner = service_owner(&name).unwrap_or(&name);
        let known = self.elsewhere.contains(owner) || self.names.contains_key(owner);
        known.then_some(Err(RCODE::NameError))
    }

    fn look_up_address(
        &self,
        question: &Question<'_>,
        address: IpAddr,
    ) -> Option<Result<Vec<RData<'static>>, RCODE>> {
        let pointer = self.reverse.get(&address).and_then(|name| pointer(name));
        match pointer {
            Some(pointer) if asks(question, TYPE::PTR) => Some(Ok(vec![pointer])),
            Some(_) => Some(Ok(vec![])),
            None => self
                .network
                .contains(address)
                .then_some(Err(RCODE::NameError)),
        }
    }
}

fn asks(question: &Question<'_>, kind: TYPE) -> bool {
    question.qtype == QTYPE::TYPE(kind) || question.qtype == QTYPE::ANY
}

fn canonical(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}

fn pointer(name: &str) -> Option<RData<'static>> {
    Some(RData::PTR(PTR(Name::new(name).ok()?.into_owned())))
}

fn server(port: u16, target: &str) -> Option<RData<'static>> {
    let target = Name::new(target).ok()?.into_owned();
    Some(RData::SRV(SRV {
        priority: 0,
        weight: 0,
        port,
        target,
    }))
}

/// `web` of `_http._tcp.web` (RFC 2782).
fn service_owner(name: &str) -> Option<&str> {
    let (_, rest) = name.strip_prefix('_')?.split_once('.')?;
    let (_, owner) = rest.strip_prefix('_')?.split_once('.')?;
    Some(owner)
}

/// The address that `4.3.2.1.in-addr.arpa` asks about, or 32 digits before
/// `ip6.arpa` (RFC 3596, section 2.5).
fn reverse_name(name: &str) -> Option<IpAddr> {
    if let Some(digits) = name.strip_suffix(".ip6.arpa") {
        let mut bits = 0u128;
        let mut count = 0;
        for digit in digits.rsplit('.') {
            if digit.len() != 1 || count == 32 {
                return None;
            }
            bits = bits << 4 | u128::from_str_radix(digit, 16).ok()?;
            count += 1;
        }
        return (count == 32).then(|| Ipv6Addr::from(bits).into());
    }
    let address: Ipv4Addr = name.strip_suffix(".in-addr.arpa")?.parse().ok()?;
    let [a, b, c, d] = address.octets();
    Some(Ipv4Addr::new(d, c, b, a).into())
}

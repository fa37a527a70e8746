//! What one network knows.

use std::collections::{HashMap, HashSet};
use std::net::Ipv4Addr;

use simple_dns::rdata::{A, OPT, PTR, RData};
use simple_dns::{
    CLASS, Name, OPCODE, Packet, PacketFlag, QCLASS, QTYPE, Question, RCODE, ResourceRecord, TYPE,
    header_buffer,
};

use super::empty_reply;
use crate::config::Network;

/// Seconds that an answer may be kept: addresses change when a container is
/// created again.
const TTL: u32 = 2;

/// Names of the gateway, which leads to the host.
const HOST_NAMES: [&str; 3] = [
    "host.docker.internal",
    "gateway.docker.internal",
    "host.stack.internal",
];

/// Largest answer by UDP, whatever the client says.
const MAX_UDP: usize = 4096;

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

/// The names of one network.
#[derive(Debug)]
pub(crate) struct Zone {
    names: HashMap<String, Vec<Ipv4Addr>>,
    reverse: HashMap<Ipv4Addr, String>,
    // Single-label names of the stack's other networks.
    elsewhere: HashSet<String>,
    network: Network,
    turn: usize,
}

impl Zone {
    /// The zone of `network`, one of `all`.
    pub(crate) fn new(network: &Network, all: &[Network]) -> Zone {
        let mut names: HashMap<String, Vec<Ipv4Addr>> = HashMap::new();
        let mut reverse = HashMap::new();
        if !network.internal {
            for name in HOST_NAMES {
                names.insert(name.to_owned(), network.gateway.into_iter().collect());
            }
            if let Some(gateway) = network.gateway {
                reverse.insert(gateway, HOST_NAMES[1].to_owned());
            }
        }
        let mut own: HashSet<String> = HashSet::new();
        for endpoint in &network.endpoints {
            for name in &endpoint.names {
                let name = canonical(name);
                if own.insert(name.clone()) {
                    names.remove(&name);
                }
                let addresses = names.entry(name).or_default();
                if let Some(address) = endpoint.ipv4.filter(|a| !addresses.contains(a)) {
                    addresses.push(address);
                }
            }
            if let (Some(name), Some(address)) = (endpoint.names.first(), endpoint.ipv4) {
                reverse.insert(address, canonical(name));
            }
        }
        let elsewhere = all
            .iter()
            .filter(|other| other.name != network.name)
            .flat_map(|other| other.endpoints.iter().flat_map(|endpoint| &endpoint.names))
            .map(|name| canonical(name))
            .filter(|name| !name.contains('.'))
            .collect();
        let network = Network {
            endpoints: Vec::new(),
            ..network.clone()
        };
        Zone {
            names,
            reverse,
            elsewhere,
            network,
            turn: 0,
        }
    }

    /// Answers `query`, which came by UDP or by a stream.
    pub(crate) fn answer(&mut self, query: &[u8], udp: bool) -> Answer {
        let plausible = header_buffer::questions(query).is_ok_and(|n| n == 1)
            && header_buffer::answers(query).is_ok_and(|n| n == 0)
            && header_buffer::name_servers(query).is_ok_and(|n| n == 0)
            && header_buffer::additional_records(query).is_ok_and(|n| n <= 4);
        match header_buffer::has_flags(query, PacketFlag::RESPONSE) {
            Ok(false) => {}
            Ok(true) | Err(_) => return Answer::Ignore,
        }
        let refused = |code: u8| empty_reply(query, code).map_or(Answer::Ignore, Answer::Reply);
        if !plausible {
            return refused(1);
        }
        let Ok(packet) = Packet::parse(query) else {
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
        match self.look_up(question) {
            Some(found) => reply(&packet, question, found, udp).map_or(refused(2), Answer::Reply),
            None if self.network.internal => refused(3),
            None => Answer::Forward,
        }
    }

    /// The answer's records; `Err` if there is no such name, `None` if it is
    /// not this zone that knows.
    fn look_up(&mut self, question: &Question<'_>) -> Option<Result<Vec<RData<'static>>, RCODE>> {
        let name = canonical(&question.qname.to_string());
        if let Some(address) = reverse_name(&name) {
            let pointer = self.reverse.get(&address).and_then(|name| pointer(name));
            return match pointer {
                Some(pointer) if asks(question, TYPE::PTR) => Some(Ok(vec![pointer])),
                Some(_) => Some(Ok(vec![])),
                None => self
                    .network
                    .contains(address.into())
                    .then_some(Err(RCODE::NameError)),
            };
        }
        let Some(addresses) = self.names.get(&name) else {
            return self
                .elsewhere
                .contains(&name)
                .then_some(Err(RCODE::NameError));
        };
        if !asks(question, TYPE::A) {
            return Some(Ok(vec![]));
        }
        self.turn = self.turn.wrapping_add(1);
        let first = self.turn % addresses.len().max(1);
        let rotated = addresses[first..].iter().chain(&addresses[..first]);
        Some(Ok(rotated
            .map(|a| {
                RData::A(A {
                    address: u32::from(*a),
                })
            })
            .collect()))
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

/// The address that `4.3.2.1.in-addr.arpa` asks about.
fn reverse_name(name: &str) -> Option<Ipv4Addr> {
    let address: Ipv4Addr = name.strip_suffix(".in-addr.arpa")?.parse().ok()?;
    let [a, b, c, d] = address.octets();
    Some(Ipv4Addr::new(d, c, b, a))
}

fn reply(
    query: &Packet<'_>,
    question: &Question<'_>,
    found: Result<Vec<RData<'static>>, RCODE>,
    udp: bool,
) -> Option<Vec<u8>> {
    let mut reply = Packet::new_reply(query.id());
    reply.set_flags(PacketFlag::AUTHORITATIVE_ANSWER | PacketFlag::RECURSION_AVAILABLE);
    if query.has_flags(PacketFlag::RECURSION_DESIRED) {
        reply.set_flags(PacketFlag::RECURSION_DESIRED);
    }
    reply.questions.push(question.clone());
    let mut limit = usize::from(u16::MAX);
    if udp {
        limit = query
            .opt()
            .map_or(512, |opt| usize::from(opt.udp_packet_size))
            .clamp(512, MAX_UDP);
    }
    if query.opt().is_some() {
        let size = MAX_UDP as u16;
        *reply.opt_mut() = Some(OPT {
            opt_codes: Vec::new(),
            udp_packet_size: size,
            version: 0,
        });
    }
    match found {
        Ok(records) => {
            for record in records {
                let name = question.qname.clone();
                reply
                    .answers
                    .push(ResourceRecord::new(name, CLASS::IN, TTL, record));
            }
        }
        Err(code) => *reply.rcode_mut() = code,
    }
    let whole = reply.build_bytes_vec_compressed().ok()?;
    if whole.len() <= limit {
        return Some(whole);
    }
    // As many as fit: a compressed name takes 2 bytes, an A record with it 16.
    reply.set_flags(PacketFlag::TRUNCATION);
    let over = (whole.len() - limit).div_ceil(16);
    reply
        .answers
        .truncate(reply.answers.len().saturating_sub(over));
    let part = reply.build_bytes_vec_compressed().ok()?;
    if part.len() <= limit {
        return Some(part);
    }
    reply.answers.clear();
    reply.build_bytes_vec_compressed().ok()
}

//! The name server at the gateway, by UDP and by TCP.

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use super::Fabric;
use super::flows::Kind;
use crate::counters::DropReason;
use crate::dns::{Answer, Client, Outcome, Own, empty_reply, framed};
use crate::ids::{FlowId, PortId, QueryId};

/// The name server's port.
pub(super) const PORT: u16 = 53;

impl Fabric {
    /// A query came by UDP from a port of the guest to `server`, one of the
    /// gateway's addresses.
    pub(super) fn handle_query(
        &mut self,
        port: PortId,
        (server, source): (IpAddr, u16),
        query: &[u8],
        now: Instant,
    ) {
        let client = Client::Datagram {
            port,
            server,
            source,
        };
        if let Some(reply) = self.query(client, query, now) {
            self.reply(client, &reply);
        }
    }

    /// The reply, or nothing if there will be one later or never.
    fn query(&mut self, client: Client, query: &[u8], now: Instant) -> Option<Vec<u8>> {
        self.counters.queries.0 += 1;
        let port = self.ports.get(&client.port())?;
        let udp = matches!(client, Client::Datagram { .. });
        let zone = &mut self.networks.get_mut(&port.network)?.zone;
        match zone.answer(query, udp, Own::of(&port.endpoint)) {
            Answer::Reply(reply) => Some(reply),
            Answer::Ignore => None,
            Answer::Forward => {
                let own = port.endpoint.dns.iter();
                let own = own.map(|server| SocketAddr::new(*server, PORT)).collect();
                let id = QueryId(self.fresh());
                let random = self.noise.next() as u16;
                match self.forwarder.ask(id, client, query, (random, own), now) {
                    Some(Outcome::Reply(_, _, reply)) => Some(reply),
                    Some(Outcome::Ask(ask)) => {
                        self.counters.queries.1 += 1;
                        self.ask(ask);
                        if let Client::Stream { flow, .. } = client {
                            self.count_pending(flow, 1);
                        }
                        None
                    }
                    None => {
                        self.drop(DropReason::TooMany);
                        empty_reply(query, 2)
                    }
                }
            }
        }
    }

    /// Moves the queries of a name server's connection.
    pub(super) fn serve_names(&mut self, id: FlowId, now: Instant) {
        loop {
            let Some(flow) = self.flows.get(id) else {
                return;
            };
            let Kind::Names(framer, pending) = &mut flow.kind else {
                return;
            };
            let connection = &mut flow.connection;
            if connection.room() == 0 {
                return;
            }
            let query = match framer.pop() {
                Ok(query) => query,
                Err(_) => return connection.abort(now),
            };
            let Some(query) = query else {
                let n = connection.readable().len();
                if n == 0 {
                    if connection.guest_finished() && *pending == 0 {
                        connection.finish();
                    }
                    return;
                }
                framer.push(connection.readable());
                connection.consume(n);
                continue;
            };
            let client = Client::Stream {
                port: flow.key.port,
                flow: id,
            };
            if let Some(reply) = self.query(client, &query, now) {
                self.reply(client, &reply);
            }
        }
    }

    fn count_pending(&mut self, flow: FlowId, change: isize) {
        if let Some(flow) = self.flows.get(flow)
            && let Kind::Names(_, pending) = &mut flow.kind
        {
            *pending = pending.saturating_add_signed(change);
        }
    }

    fn reply(&mut self, client: Client, reply: &[u8]) {
        match client {
            Client::Datagram {
                port,
                server,
                source,
            } => self.send_datagram(port, SocketAddr::new(server, PORT), source, reply),
            Client::Stream { flow, .. } => {
                if let Some(connection) = self.connection(flow)
                    && connection.room() > 0
                {
                    connection.supply(&framed(reply));
                    self.wake(flow);
                }
            }
        }
    }

    /// A resolver answered.
    /// Returns whether it was an answer that was waited for.
    pub(crate) fn handle_answer(&mut self, query: QueryId, answer: &[u8], now: Instant) -> bool {
        let outcome = self.forwarder.answered(query, answer, now);
        outcome.map(|outcome| self.settle(outcome)).is_some()
    }

    /// A resolver cannot be reached.
    pub(crate) fn query_failed(&mut self, query: QueryId, now: Instant) {
        if let Some(outcome) = self.forwarder.failed(query, now) {
            self.settle(outcome);
        }
    }

    pub(super) fn settle(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Ask(ask) => self.ask(ask),
            Outcome::Reply(query, client, reply) => {
                self.close_query(query);
                if let Client::Stream { flow, .. } = client {
                    self.count_pending(flow, -1);
                }
                self.reply(client, &reply);
            }
        }
    }
}

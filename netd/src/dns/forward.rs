//! Queries that are with a resolver of the host, sans-IO.
//!
//! A query keeps its bytes but for the id, which becomes one of ours, and the
//! answer is passed back the same way. Each attempt asks the next resolver;
//! when all attempts have failed, the guest gets SERVFAIL.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use super::{HEADER, empty_reply, question_end};
use crate::ids::{FlowId, PortId, QueryId};
use crate::timers::Timers;

/// Queries under way, in all.
const MAX: usize = 512;

/// Queries under way, of one guest.
const MAX_PER_PORT: usize = 128;

/// How often a query is tried: together less than the five seconds after
/// which libc gives up.
const ATTEMPTS: usize = 3;

const ATTEMPT: Duration = Duration::from_millis(1500);

/// Who gets the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Client {
    /// A UDP port of a guest.
    Datagram {
        /// The guest.
        port: PortId,
        /// The gateway's address that was asked.
        server: IpAddr,
        /// Its UDP port.
        source: u16,
    },
    /// A TCP connection of a guest.
    Stream {
        /// The guest.
        port: PortId,
        /// The connection.
        flow: FlowId,
    },
}

impl Client {
    /// The guest.
    pub(crate) fn port(&self) -> PortId {
        match self {
            Client::Datagram { port, .. } | Client::Stream { port, .. } => *port,
        }
    }
}

/// A message for a resolver.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ask {
    /// Comes back with the answer. An older attempt with the same id is over.
    pub(crate) query: QueryId,
    /// Whom to ask.
    pub(crate) resolver: SocketAddr,
    /// By TCP.
    pub(crate) stream: bool,
    /// The message.
    pub(crate) message: Vec<u8>,
}

/// What becomes of a query.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Another attempt.
    Ask(Ask),
    /// The guest's answer.
    Reply(QueryId, Client, Vec<u8>),
}

#[derive(Debug)]
struct Query {
    client: Client,
    // With the guest's id.
    message: Vec<u8>,
    id: u16,
    attempts: usize,
    // Whom to ask in place of the host's.
    own: Vec<SocketAddr>,
}

/// All queries that are under way.
#[derive(Debug, Default)]
pub(crate) struct Forwarder {
    queries: HashMap<QueryId, Query>,
    timers: Timers<QueryId>,
    resolvers: Vec<SocketAddr>,
}

impl Forwarder {
    /// Whom to ask from now on.
    pub(crate) fn set_resolvers(&mut self, resolvers: Vec<SocketAddr>) {
        self.resolvers = resolvers;
    }

    /// Takes a query; `id` is a random one to use with the resolver, and
    /// `own` are the client's own resolvers, if it has some. `None` if too
    /// many are under way.
    pub(crate) fn ask(
        &mut self,
        query: QueryId,
        client: Client,
        message: &[u8],
        (id, own): (u16, Vec<SocketAddr>),
        now: Instant,
    ) -> Option<Outcome> {
        let same = self
            .queries
            .values()
            .filter(|q| q.client.port() == client.port())
            .count();
        if message.len() < HEADER || self.queries.len() >= MAX || same >= MAX_PER_PORT {
            return None;
        }
        self.queries.insert(
            query,
            Query {
                client,
                message: message.to_vec(),
                id,
                attempts: 0,
                own,
            },
        );
        self.attempt(query, now)
    }

    fn attempt(&mut self, id: QueryId, now: Instant) -> Option<Outcome> {
        let query = self.queries.get_mut(&id)?;
        let resolvers = if query.own.is_empty() {
            &self.resolvers
        } else {
            &query.own
        };
        let resolver = resolvers.get(query.attempts % resolvers.len().max(1));
        let Some(resolver) = resolver.filter(|_| query.attempts < ATTEMPTS) else {
            let failed = empty_reply(&query.message, 2)?;
            let client = self.remove(id)?.client;
            return Some(Outcome::Reply(id, client, failed));
        };
        query.attempts += 1;
        self.timers.set(id, Some(now + ATTEMPT));
        let mut message = query.message.clone();
        message[..2].copy_from_slice(&query.id.to_be_bytes());
        let stream = matches!(query.client, Client::Stream { .. });
        Some(Outcome::Ask(Ask {
            query: id,
            resolver: *resolver,
            stream,
            message,
        }))
    }

    /// A resolver answered. What does not fit the question is ignored; if it
    /// only says that it could not find out, the next resolver is asked.
    pub(crate) fn answered(&mut self, id: QueryId, answer: &[u8], now: Instant) -> Option<Outcome> {
        let query = self.queries.get(&id)?;
        let ours = answer.get(..2)? == query.id.to_be_bytes() && answer.get(2)? & 0x80 != 0;
        let same = match (question_end(&query.message), question_end(answer)) {
            (Some(a), Some(b)) => query.message[HEADER..a].eq_ignore_ascii_case(&answer[HEADER..b]),
            // Errors may come without the question.
            (Some(_), None) => answer.len() == HEADER,
            (None, _) => false,
        };
        if !ours || !same {
            return None;
        }
        let others = match query.own.len() {
            0 => self.resolvers.len(),
            own => own,
        };
        // Server failure, not implemented, refused (RFC 1035, 4.1.1).
        let failed = matches!(answer.get(3)? & 0x0f, 2 | 4 | 5);
        if failed && query.attempts < others.min(ATTEMPTS) {
            return self.attempt(id, now);
        }
        let mut reply = answer.to_vec();
        reply[..2].copy_from_slice(&query.message[..2]);
        let client = self.remove(id)?.client;
        Some(Outcome::Reply(id, client, reply))
    }

    /// The attempt failed: a resolver that cannot be reached.
    pub(crate) fn failed(&mut self, id: QueryId, now: Instant) -> Option<Outcome> {
        self.attempt(id, now)
    }

    /// When [`timeout`](Self::timeout) has something to do.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// The clock went on. Call it until there is nothing.
    pub(crate) fn timeout(&mut self, now: Instant) -> Option<Outcome> {
        let id = self.timers.pop(now)?;
        self.attempt(id, now)
    }

    /// Forgets the queries of a guest and tells which they were.
    pub(crate) fn forget(&mut self, port: PortId) -> Vec<QueryId> {
        let of_port =
            |(id, query): (&QueryId, &Query)| (query.client.port() == port).then_some(*id);
        let ids: Vec<QueryId> = self.queries.iter().filter_map(of_port).collect();
        for id in &ids {
            self.remove(*id);
        }
        ids
    }

    fn remove(&mut self, id: QueryId) -> Option<Query> {
        self.timers.set(id, None);
        self.queries.remove(&id)
    }
}

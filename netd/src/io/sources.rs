//! Which token belongs to what.

use std::collections::HashMap;
use std::io;

use mio::{Interest, Registry, Token, event};

use crate::ids::{AssociationId, FlowId, PortId, PublishId, QueryId};

/// What an event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// A signal came.
    Signal,
    /// The host has got or lost an address.
    Host,
    /// Somebody connects to the control socket.
    Control,
    /// A client of the control socket.
    Client(u64),
    /// Frames from a VMM.
    Frames(PortId),
    /// Place for frames to a VMM.
    FramesOut(PortId),
    /// A VMM that connects, or its requests.
    Vmm(PortId),
    /// The host's socket of a flow.
    Stream(FlowId),
    /// A published port.
    Publish(PublishId),
    /// The host's socket of a guest's UDP port.
    Association(AssociationId),
    /// A resolver's answer.
    Query(QueryId),
}

/// The poller's registrations. Tokens are never used twice.
#[derive(Debug)]
pub(super) struct Sources {
    registry: Registry,
    by_token: HashMap<Token, Source>,
    last: usize,
}

impl Sources {
    pub(super) fn new(registry: Registry) -> Sources {
        Sources {
            registry,
            by_token: HashMap::new(),
            last: 0,
        }
    }

    /// Watches `io`.
    pub(super) fn add(
        &mut self,
        io: &mut impl event::Source,
        interest: Interest,
        what: Source,
    ) -> io::Result<Token> {
        self.last += 1;
        let token = Token(self.last);
        self.registry.register(io, token, interest)?;
        self.by_token.insert(token, what);
        Ok(token)
    }

    /// Watches it no more.
    pub(super) fn remove(&mut self, io: &mut impl event::Source, token: Token) {
        self.by_token.remove(&token);
        if let Err(error) = self.registry.deregister(io) {
            tracing::debug!(%error, "could not deregister");
        }
    }

    /// What `token` stands for, if it still does.
    pub(super) fn get(&self, token: Token) -> Option<Source> {
        self.by_token.get(&token).copied()
    }
}

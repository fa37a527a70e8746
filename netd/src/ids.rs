//! Identifiers that the core and the sockets share. They are never used
//! twice in a process, so an event that comes late cannot hit a successor.

/// Defines identifiers.
macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub(crate) struct $name(pub(crate) u64);
    )*};
}

ids! {
    /// One endpoint's place on its switch.
    PortId
    /// One TCP connection with a guest.
    FlowId
    /// One UDP socket of the host that stands for a guest's.
    AssociationId
    /// One published port.
    PublishId
    /// One name query that was passed to a resolver.
    QueryId
    /// One network.
    NetworkId
}

/// Where they come from.
#[derive(Debug, Default)]
pub(crate) struct Ids(u64);

impl Ids {
    /// A number that was not given before.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 += 1;
        self.0
    }
}

//! The guest's leg of a TCP connection, sans-IO (RFC 9293).
//!
//! A [`Connection`] speaks TCP with one guest over the frames of its switch,
//! a link that keeps the order and loses little. Its other side is a pair of
//! bounded byte queues that the caller joins to a socket of the host, or to
//! an in-process server.
//!
//! ```text
//!   guest asks:  Asked ──accept──► Answered ──ACK──┐
//!   guest asked: Asking ──SYN-ACK──────────────────┴► Open ──► TimeWait ──► Closed
//! ```
//!
//! No selective acknowledgement, no timestamps, no urgent data: the link does
//! not need them.

mod connection;
mod receiver;
mod ring;
mod rto;
mod sender;

pub(crate) use connection::{Close, Connection};

/// A sequence number, which wraps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Seq(pub(crate) u32);

impl Seq {
    /// `n` bytes later.
    pub(crate) fn plus(self, n: usize) -> Seq {
        Seq(self.0.wrapping_add(n as u32))
    }

    /// Bytes from `earlier` to here; negative when it is later.
    pub(crate) fn since(self, earlier: Seq) -> i64 {
        i64::from(self.0.wrapping_sub(earlier.0) as i32)
    }

    /// Bytes from `earlier` to here; none when it is later.
    pub(crate) fn distance(self, earlier: Seq) -> usize {
        usize::try_from(self.since(earlier)).unwrap_or(0)
    }
}

/// What a segment says besides ports and payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Header {
    /// Sequence number of the first byte (or of SYN or FIN).
    pub(crate) seq: Seq,
    /// Next byte expected from the other side.
    pub(crate) ack: Option<Seq>,
    /// Opens.
    pub(crate) syn: bool,
    /// No more bytes after these.
    pub(crate) fin: bool,
    /// Ends at once.
    pub(crate) rst: bool,
    /// Deliver without waiting for more.
    pub(crate) psh: bool,
    /// Window, not scaled.
    pub(crate) window: u16,
    /// Maximum segment size, with SYN only.
    pub(crate) mss: Option<u16>,
    /// Window scale, with SYN only.
    pub(crate) scale: Option<u8>,
}

impl Header {
    /// The reset that answers this segment when it belongs to no connection
    /// (RFC 9293, 3.10.7.1); a reset gets none.
    pub(crate) fn refusal(&self, payload: usize) -> Option<Header> {
        let length = payload + usize::from(self.syn) + usize::from(self.fin);
        match (self.rst, self.ack) {
            (true, _) => None,
            (false, Some(ack)) => Some(Header {
                seq: ack,
                rst: true,
                ..Header::default()
            }),
            (false, None) => Some(Header {
                ack: Some(self.seq.plus(length)),
                rst: true,
                ..Header::default()
            }),
        }
    }
}

#[cfg(test)]
mod tests;

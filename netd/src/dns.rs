//! Names: what a network knows it answers, the rest goes to the resolvers of
//! the host.

mod forward;
mod reply;
mod resolv_conf;
mod stream;
mod unknown;
mod zone;

pub(crate) use forward::{Ask, Client, Forwarder, Outcome};
pub(crate) use resolv_conf::nameservers;
pub(crate) use stream::{Framer, framed};
pub(crate) use zone::{Answer, Own, Zone};

/// Bytes of a message's header.
const HEADER: usize = 12;

/// A reply without records to `query`: the question is repeated, the rest is
/// not. `code` is a response code below 16 (RFC 1035, 4.1.1).
pub(crate) fn empty_reply(query: &[u8], code: u8) -> Option<Vec<u8>> {
    let mut reply = query.get(..HEADER)?.to_vec();
    reply[2] = 0x80 | (query[2] & 0x79);
    reply[3] = 0x80 | (code & 0x0f);
    reply[4..].fill(0);
    if let Some(end) = question_end(query) {
        reply[5] = 1;
        reply.extend_from_slice(&query[HEADER..end]);
    }
    Some(reply)
}

/// Where the first question ends, if it is well-formed and not compressed.
fn question_end(message: &[u8]) -> Option<usize> {
    let mut at = HEADER;
    loop {
        match *message.get(at)? {
            0 => break,
            length @ 1..=63 => at += 1 + usize::from(length),
            _ => return None,
        }
    }
    let end = at + 5;
    (end <= message.len()).then_some(end)
}

#[cfg(test)]
mod tests;

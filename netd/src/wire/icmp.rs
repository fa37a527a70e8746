//! ICMP errors: why a packet did not arrive.

use super::Route;
use super::build::icmp;
use crate::frame::Frame;

/// Longest quotation, so that the error arrives everywhere: 576 bytes in all
/// for IPv4 (RFC 1812, section 4.3.2.3), 1280 for IPv6 (RFC 4443, section
/// 2.4).
const QUOTE: (usize, usize) = (576 - 28, 1280 - 48);

/// Why a packet did not arrive: type, code and what follows the checksum, of
/// ICMP (RFC 792) or ICMPv6 (RFC 4443).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct IcmpError {
    /// Type.
    pub(crate) kind: u8,
    /// Code.
    pub(crate) code: u8,
    /// The next hop's MTU, or zero.
    pub(crate) info: u32,
}

impl IcmpError {
    fn new(v4: bool, four: (u8, u8), six: (u8, u8)) -> IcmpError {
        let (kind, code) = if v4 { four } else { six };
        IcmpError {
            kind,
            code,
            info: 0,
        }
    }

    /// No way to the network.
    pub(crate) fn no_route(v4: bool) -> IcmpError {
        IcmpError::new(v4, (3, 0), (1, 0))
    }

    /// The host does not answer.
    pub(crate) fn no_host(v4: bool) -> IcmpError {
        IcmpError::new(v4, (3, 1), (1, 3))
    }

    /// Nobody has the UDP port.
    pub(crate) fn no_port(v4: bool) -> IcmpError {
        IcmpError::new(v4, (3, 3), (1, 4))
    }

    /// Too long for the next hop, which takes `mtu` bytes.
    pub(crate) fn too_big(v4: bool, mtu: u32) -> IcmpError {
        let info = if v4 { mtu & 0xffff } else { mtu };
        IcmpError {
            info,
            ..IcmpError::new(v4, (3, 4), (2, 0))
        }
    }

    /// It took all hops that it could.
    pub(crate) fn hops_used(v4: bool) -> IcmpError {
        IcmpError::new(v4, (11, 0), (3, 0))
    }
}

/// Tells the sender of `original`, an IP packet, that it did not arrive.
pub(crate) fn icmp_error(route: &Route, error: IcmpError, original: &[u8]) -> Frame {
    let longest = if route.src.is_ipv4() {
        QUOTE.0
    } else {
        QUOTE.1
    };
    let mut header = [error.kind, error.code, 0, 0, 0, 0, 0, 0];
    header[4..].copy_from_slice(&error.info.to_be_bytes());
    icmp(
        route,
        64,
        [&header, &original[..original.len().min(longest)]],
    )
}

/// The answer to an echo request, whose message is `request`.
pub(crate) fn echo_reply(route: &Route, request: &[u8]) -> Frame {
    let kind = if route.src.is_ipv4() { 0 } else { 129 };
    let (header, rest) = request.split_at(request.len().min(8));
    let mut reply = [0; 8];
    reply[..header.len()].copy_from_slice(header);
    reply[0] = kind;
    icmp(route, 64, [&reply, rest])
}

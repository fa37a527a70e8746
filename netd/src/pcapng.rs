//! Captured frames as a pcapng stream (draft-ietf-opsawg-pcapng): one section
//! in the machine's byte order, one interface per endpoint, one block per
//! frame.

use std::time::Duration;

/// LINKTYPE_ETHERNET.
const ETHERNET: u16 = 1;
const SECTION: u32 = 0x0A0D_0D0A;
const INTERFACE: u32 = 1;
const PACKET: u32 = 6;
const BYTE_ORDER: u32 = 0x1A2B_3C4D;

/// `if_name` and `if_tsresol`: the interface's options.
const NAME: u16 = 2;
const RESOLUTION: u16 = 9;
/// `epb_flags`: an option of a packet.
const FLAGS: u16 = 2;

/// Which way a frame went, seen from the endpoint's machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    /// To the machine.
    In = 1,
    /// From the machine.
    Out = 2,
}

/// The beginning of a stream with these interfaces, numbered from 0.
pub(crate) fn header<'a>(interfaces: impl Iterator<Item = &'a str>) -> Vec<u8> {
    let mut out = Vec::new();
    block(&mut out, SECTION, |body| {
        body.extend(BYTE_ORDER.to_ne_bytes());
        body.extend(1_u16.to_ne_bytes());
        body.extend(0_u16.to_ne_bytes());
        // The section's length is not known.
        body.extend(u64::MAX.to_ne_bytes());
    });
    for name in interfaces {
        block(&mut out, INTERFACE, |body| {
            body.extend(ETHERNET.to_ne_bytes());
            body.extend(0_u16.to_ne_bytes());
            // Frames are whole.
            body.extend(0_u32.to_ne_bytes());
            option(body, NAME, name.as_bytes());
            option(body, RESOLUTION, &[9]);
            option(body, 0, &[]);
        });
    }
    out
}

/// One frame; `time` is since the epoch.
pub(crate) fn packet(
    out: &mut Vec<u8>,
    interface: u32,
    time: Duration,
    direction: Direction,
    frame: &[u8],
) {
    let nanoseconds = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    let length = u32::try_from(frame.len()).unwrap_or(u32::MAX);
    let (high, low) = ((nanoseconds >> 32) as u32, nanoseconds as u32);
    block(out, PACKET, |body| {
        for word in [interface, high, low, length, length] {
            body.extend(word.to_ne_bytes());
        }
        body.extend_from_slice(frame);
        pad(body);
        option(body, FLAGS, &(direction as u32).to_ne_bytes());
        option(body, 0, &[]);
    });
}

fn block(out: &mut Vec<u8>, kind: u32, fill: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend(kind.to_ne_bytes());
    out.extend([0; 4]);
    fill(out);
    // With the length that follows.
    let length = ((out.len() - start + 4) as u32).to_ne_bytes();
    out[start + 4..start + 8].copy_from_slice(&length);
    out.extend(length);
}

fn option(body: &mut Vec<u8>, code: u16, value: &[u8]) {
    body.extend(code.to_ne_bytes());
    body.extend((value.len() as u16).to_ne_bytes());
    body.extend_from_slice(value);
    pad(body);
}

/// Everything before was a multiple of four bytes, but for the last value.
fn pad(body: &mut Vec<u8>) {
    body.resize(body.len().next_multiple_of(4), 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(bytes: &[u8], at: usize) -> u32 {
        u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap())
    }

    #[test]
    fn blocks_have_their_length_at_both_ends() {
        let mut stream = header(["web/front", "web/back"].into_iter());
        packet(
            &mut stream,
            1,
            Duration::new(3, 7),
            Direction::Out,
            b"frame",
        );
        let (mut at, mut kinds) = (0, Vec::new());
        while at < stream.len() {
            let length = word(&stream, at + 4) as usize;
            assert_eq!(length % 4, 0);
            assert_eq!(word(&stream, at + length - 4) as usize, length);
            kinds.push(word(&stream, at));
            at += length;
        }
        assert_eq!(kinds, [SECTION, INTERFACE, INTERFACE, PACKET]);
        let packet = stream.len() - word(&stream, stream.len() - 4) as usize;
        let time =
            u64::from(word(&stream, packet + 12)) << 32 | u64::from(word(&stream, packet + 16));
        assert_eq!((word(&stream, packet + 8), time), (1, 3_000_000_007));
        assert_eq!(&stream[packet + 28..packet + 33], b"frame");
    }
}

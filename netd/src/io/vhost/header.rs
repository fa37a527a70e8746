//! `struct virtio_net_hdr`, before each frame (VIRTIO 1.2, 5.1.6).

use crate::frame::{Checksum, Features, Offload, Segmented, Segments};

/// Bytes of the header, with the number of buffers.
pub(super) const LENGTH: usize = 12;

/// Least payload of a segment: less than any guest of Linux sends
/// (`tcp_min_snd_mss`), and each segment costs a frame.
const LEAST_SIZE: u16 = 32;

/// `flags`: the checksum is to be completed.
const NEEDS_CSUM: u8 = 1;
/// `gso_type`s.
const GSO_NONE: u8 = 0;
const GSO_TCPV4: u8 = 1;
const GSO_TCPV6: u8 = 4;

/// Reads the header of a frame of `length` bytes. `None` if it says what the
/// guest may not, or what cannot be.
pub(super) fn parse(header: &[u8; LENGTH], length: usize, may: Features) -> Option<Offload> {
    let word = |at: usize| u16::from_le_bytes([header[at], header[at + 1]]);
    let segments = match header[1] {
        GSO_NONE => None,
        GSO_TCPV4 => Some(Segmented::Tcp4),
        GSO_TCPV6 => Some(Segmented::Tcp6),
        _ => return None,
    };
    let checksum = (header[0] & NEEDS_CSUM != 0).then(|| Checksum {
        start: word(6),
        offset: word(8),
    });
    let offload = Offload {
        checksum,
        segments: segments.map(|kind| Segments {
            kind,
            size: word(4),
        }),
    };
    let checksum_fits = offload.checksum.is_none_or(|checksum| {
        usize::from(checksum.start) + usize::from(checksum.offset) + 2 <= length
    });
    let segments_fit = offload
        .segments
        .is_none_or(|segments| segments.size >= LEAST_SIZE && checksum.is_some());
    (checksum_fits && segments_fit && may.take(&offload)).then_some(offload)
}

/// Writes the header of a frame whose headers have `headers` bytes and that
/// takes `buffers` buffers.
pub(super) fn emit(offload: &Offload, headers: usize, buffers: u16) -> [u8; LENGTH] {
    let mut header = [0; LENGTH];
    let mut set = |at: usize, value: u16| {
        header[at..at + 2].copy_from_slice(&value.to_le_bytes());
    };
    if let Some(segments) = offload.segments {
        set(2, headers as u16);
        set(4, segments.size);
    }
    if let Some(checksum) = offload.checksum {
        set(6, checksum.start);
        set(8, checksum.offset);
    }
    set(10, buffers);
    header[0] = if offload.checksum.is_some() {
        NEEDS_CSUM
    } else {
        0
    };
    header[1] = match offload.segments.map(|segments| segments.kind) {
        None => GSO_NONE,
        Some(Segmented::Tcp4) => GSO_TCPV4,
        Some(Segmented::Tcp6) => GSO_TCPV6,
    };
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Features = Features {
        checksum: true,
        tcp4: true,
        tcp6: true,
    };

    fn large() -> Offload {
        Offload {
            checksum: Some(Checksum {
                start: 34,
                offset: 16,
            }),
            segments: Some(Segments {
                kind: Segmented::Tcp4,
                size: 1448,
            }),
        }
    }

    #[test]
    fn headers_come_back_as_they_were_written() {
        let partial = Offload {
            segments: None,
            ..large()
        };
        for offload in [Offload::NONE, partial, large()] {
            let header = emit(&offload, 66, 3);
            assert_eq!(parse(&header, 1514, ALL), Some(offload));
            assert_eq!(header[10..], [3, 0]);
        }
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let good = emit(&large(), 66, 1);
        assert!(parse(&good, 52, ALL).is_some() && parse(&good, 51, ALL).is_none());
        // Not negotiated.
        assert_eq!(parse(&good, 1514, Features { tcp4: false, ..ALL }), None);
        assert_eq!(parse(&good, 1514, Features::default()), None);
        // Segments of no size, without a checksum, of an unknown kind.
        for (at, value) in [(4, [0, 0]), (0, [0, GSO_TCPV4]), (0, [1, 3])] {
            let mut bad = good;
            bad[at..at + 2].copy_from_slice(&value);
            assert_eq!(parse(&bad, 1514, ALL), None, "{at}");
        }
    }
}

//! Frames that are finished in software, against smoltcp's view of them.

use proptest::prelude::*;
use smoltcp::wire::{
    EthernetFrame, IpAddress, Ipv4Packet, Ipv6Packet, TcpPacket, TcpSeqNumber, UdpPacket,
};

use super::finish;
use crate::frame::{Checksum, Features, Frame, Offload, Parts, Segmented, Segments};

/// A large TCP frame as a guest's kernel hands it over: the checksum field
/// holds something that has to be ignored, lengths are those of the whole.
fn large(kind: Segmented, options: usize, flags: u8, payload: &[u8]) -> Frame {
    let tcp = 20 + options * 4;
    let (ip, kind_bytes) = match kind {
        Segmented::Tcp4 => (20, [8, 0]),
        Segmented::Tcp6 => (40, [0x86, 0xdd]),
    };
    let mut bytes = vec![0; 14 + ip + tcp];
    bytes[12..14].copy_from_slice(&kind_bytes);
    let total = (ip + tcp + payload.len()) as u16;
    match kind {
        Segmented::Tcp4 => {
            bytes[14] = 0x45;
            bytes[16..18].copy_from_slice(&total.to_be_bytes());
            bytes[18..20].copy_from_slice(&0xfffe_u16.to_be_bytes());
            bytes[23] = 6;
            bytes[26..34].copy_from_slice(&[10, 0, 0, 1, 10, 0, 0, 2]);
        }
        Segmented::Tcp6 => {
            bytes[14] = 0x60;
            bytes[18..20].copy_from_slice(&(total - 40).to_be_bytes());
            bytes[20] = 6;
            bytes[22] = 0xfd;
            bytes[38] = 0xfd;
            bytes[53] = 9;
        }
    }
    let start = 14 + ip;
    bytes[start..start + 4].copy_from_slice(&[0, 80, 1, 2]);
    bytes[start + 4..start + 8].copy_from_slice(&0xffff_ff00_u32.to_be_bytes());
    bytes[start + 12] = (tcp as u8 / 4) << 4;
    bytes[start + 13] = flags;
    bytes[start + 16..start + 18].copy_from_slice(&[0xab, 0xcd]);
    bytes[start + 20..].fill(1);
    bytes.extend_from_slice(payload);
    let mut frame = Frame::with_capacity(bytes.len());
    frame.extend_from_slice(&bytes);
    frame.offload.checksum = Some(Checksum {
        start: start as u16,
        offset: 16,
    });
    frame
}

/// What comes out of a frame that is cut into three pieces.
fn finished(frame: &Frame, cuts: (usize, usize), features: Features) -> Option<Vec<Frame>> {
    let cut = |at: usize| at.min(frame.len());
    let (a, b) = (cut(cuts.0.min(cuts.1)), cut(cuts.0.max(cuts.1)));
    let parts = Parts {
        pieces: [&frame[..a], &frame[a..b], &frame[b..]],
        offload: frame.offload,
    };
    let mut out = Vec::new();
    finish(&parts, features, |parts| out.push(parts.to_frame())).then_some(out)
}

/// Checks a TCP frame; its sequence number, flags and payload.
fn opened(frame: &Frame) -> (TcpSeqNumber, u8, Vec<u8>) {
    assert_eq!(frame.offload, Offload::NONE);
    let view = EthernetFrame::new_checked(&**frame).unwrap();
    let payload = view.payload();
    let (src, dst, tcp): (IpAddress, IpAddress, Vec<u8>) = if payload[0] >> 4 == 4 {
        let ip = Ipv4Packet::new_checked(payload).unwrap();
        assert!(ip.verify_checksum());
        assert_eq!(usize::from(ip.total_len()), payload.len());
        (
            ip.src_addr().into(),
            ip.dst_addr().into(),
            ip.payload().to_vec(),
        )
    } else {
        let ip = Ipv6Packet::new_checked(payload).unwrap();
        assert_eq!(usize::from(ip.payload_len()) + 40, payload.len());
        (
            ip.src_addr().into(),
            ip.dst_addr().into(),
            ip.payload().to_vec(),
        )
    };
    let view = TcpPacket::new_checked(&tcp).unwrap();
    assert!(view.verify_checksum(&src, &dst));
    (view.seq_number(), tcp[13], view.payload().to_vec())
}

proptest! {
    #[test]
    fn segments_carry_what_the_frame_did(
        six: bool, options in 0usize..11, flags: u8, size in 1u16..3000,
        payload in prop::collection::vec(any::<u8>(), 0..9000), wrap in 0usize..9000,
    ) {
        let kind = if six { Segmented::Tcp6 } else { Segmented::Tcp4 };
        let mut frame = large(kind, options, flags, &payload);
        frame.offload.segments = Some(Segments { kind, size });
        let headers = frame.len() - payload.len();
        let out = finished(&frame, (headers, headers + wrap), Features::default()).unwrap();
        prop_assert_eq!(out.len(), payload.len().div_ceil(usize::from(size)).max(1));
        let mut seen = Vec::new();
        for (n, frame) in out.iter().enumerate() {
            let (sequence, got, bytes) = opened(frame);
            prop_assert_eq!(sequence, TcpSeqNumber(0xffff_ff00_u32 as i32) + seen.len());
            let last = n + 1 == out.len();
            let mut expected = flags;
            if !last {
                expected &= !0b1001;
            }
            if n > 0 {
                expected &= !0x80;
            }
            prop_assert_eq!(got, expected);
            if !six {
                prop_assert_eq!(frame[18..20].to_vec(), 0xfffe_u16.wrapping_add(n as u16).to_be_bytes());
            }
            seen.extend(bytes);
        }
        prop_assert_eq!(seen, payload);
    }

    #[test]
    fn a_checksum_is_completed_wherever_the_pieces_lie(
        payload in prop::collection::vec(any::<u8>(), 0..300), a in 0usize..400, b in 0usize..400,
    ) {
        // A datagram with the sum of its pseudo-header in the field.
        let length = 8 + payload.len();
        let mut frame = Frame::with_capacity(0);
        let mut ip = vec![0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
        ip[2..4].copy_from_slice(&(20 + length as u16).to_be_bytes());
        frame.resize(12);
        frame.extend_from_slice(&[8, 0]);
        frame.extend_from_slice(&ip);
        frame.extend_from_slice(&[0, 53, 0, 54]);
        frame.extend_from_slice(&(length as u16).to_be_bytes());
        let pseudo = 0x0a00 + 0x0001 + 0x0a00 + 0x0002 + 17 + length as u16;
        frame.extend_from_slice(&pseudo.to_be_bytes());
        frame.extend_from_slice(&payload);
        frame.offload.checksum = Some(Checksum { start: 34, offset: 6 });
        // Three pieces behind the field cannot be: the field is in headers.
        let out = finished(&frame, (a.min(42), b), Features::default()).unwrap();
        prop_assert_eq!(out.len(), 1);
        let packet = Ipv4Packet::new_checked(&out[0][14..]).unwrap();
        let datagram = UdpPacket::new_checked(packet.payload()).unwrap();
        prop_assert!(datagram.checksum() != 0);
        prop_assert!(datagram.verify_checksum(&packet.src_addr().into(), &packet.dst_addr().into()));
        prop_assert_eq!(datagram.payload(), &payload[..]);
    }

    #[test]
    fn any_bytes_and_any_metadata_are_taken_without_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..300), start in 0u16..320,
        offset in prop_oneof![Just(16u16), any::<u16>()], size: u16, kind in 0..3, valid: bool,
        a in 0usize..300, b in 0usize..300,
    ) {
        let mut frame = Frame::with_capacity(0);
        frame.extend_from_slice(&bytes);
        if valid && bytes.len() > 34 {
            frame[12..15].copy_from_slice(&[8, 0, 0x45]);
            frame[23] = 6;
        }
        let start = if valid { 34 } else { start };
        frame.offload.checksum = Some(Checksum { start, offset });
        let kind = [None, Some(Segmented::Tcp4), Some(Segmented::Tcp6)][kind as usize];
        frame.offload.segments = kind.map(|kind| Segments { kind, size });
        for out in finished(&frame, (a, b), Features::default()).unwrap_or_default() {
            prop_assert!(out.len() <= bytes.len());
        }
    }
}

#[test]
fn whoever_takes_it_gets_the_frame_untouched() {
    let mut frame = large(Segmented::Tcp4, 3, 0x18, &[7; 5000]);
    frame.offload.segments = Some(Segments {
        kind: Segmented::Tcp4,
        size: 1448,
    });
    let all = Features {
        checksum: true,
        tcp4: true,
        tcp6: true,
    };
    let same = finished(&frame, (60, 70), all).unwrap();
    assert_eq!(same.len(), 1);
    assert!(*same[0] == *frame && same[0].offload == frame.offload);
    // Checksums alone are not enough for segments.
    let some = Features { tcp4: false, ..all };
    assert_eq!(finished(&frame, (66, 66), some).map(|f| f.len()), Some(4));
}

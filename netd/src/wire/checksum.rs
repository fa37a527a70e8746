//! The Internet checksum (RFC 1071).

use std::net::IpAddr;

/// A sum that is not folded yet.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sum(u64);

impl Sum {
    /// The pseudo-header of TCP and UDP (RFC 9293, section 3.1), and of
    /// ICMPv6 too (RFC 8200, section 8.1).
    pub(super) fn pseudo(src: IpAddr, dst: IpAddr, protocol: u8, length: usize) -> Sum {
        Sum::default()
            .add_address(src)
            .add_address(dst)
            .add(&[0, protocol])
            .add(&(length as u16).to_be_bytes())
    }

    fn add_address(self, address: IpAddr) -> Sum {
        match address {
            IpAddr::V4(address) => self.add(&address.octets()),
            IpAddr::V6(address) => self.add(&address.octets()),
        }
    }

    /// Adds `bytes`; all pieces but the last must have an even length.
    pub(super) fn add(self, bytes: &[u8]) -> Sum {
        // Sums of 32-bit words in host order: the byte order of a ones'
        // complement sum does not matter until the end (RFC 1071, 2.B), and
        // 2^32 of them fit 64 bits.
        let (words, rest) = bytes.as_chunks::<4>();
        let mut sum = self.0;
        for word in words {
            sum += u64::from(u32::from_ne_bytes(*word));
        }
        let mut last = [0; 4];
        last[..rest.len()].copy_from_slice(rest);
        Sum(sum + u64::from(u32::from_ne_bytes(last)))
    }

    /// Adds two pieces of any length that follow one another, and are the
    /// last.
    pub(super) fn add_last(self, [first, second]: [&[u8]; 2]) -> Sum {
        match (first.split_last(), second.split_first()) {
            (Some((last, first)), Some((next, second))) if first.len() % 2 == 0 => {
                self.add(first).add(&[*last, *next]).add(second)
            }
            _ => self.add(first).add(second),
        }
    }

    /// What goes into a header when the rest of the sum is left to others.
    pub(super) fn unfinished(self) -> [u8; 2] {
        let [a, b] = self.finish();
        [!a, !b]
    }

    /// The checksum, as it goes into a header.
    pub(super) fn finish(self) -> [u8; 2] {
        let mut sum = self.0;
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        (!(sum as u16)).to_ne_bytes()
    }

    /// Bytes that contain their own checksum sum up to nothing.
    pub(super) fn is_valid(self) -> bool {
        self.finish() == [0, 0]
    }
}

//! One guest's life with rings of any content, for the fuzzer and for the
//! short run with fixed seeds in the tests.

use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

use super::ring::{Broken, Place, Ring};
use super::transfer::{self, Put, Received, Scratch};
use crate::frame::{Batch, Features, LONGEST, Offload, Parts};

/// The guest's memory: small, so that wild addresses hit it, in two pieces
/// with a gap.
const MEMORY: [(GuestAddress, usize); 2] = [
    (GuestAddress(0x1000), 0x8000),
    (GuestAddress(0xa000), 0x6000),
];

const ALL: Features = Features {
    checksum: true,
    tcp4: true,
    tcp6: true,
};

/// Steps of one run, at most.
const STEPS: usize = 64;

/// Sets up two rings as `bytes` say, and uses them while `bytes` change the
/// memory. However broken the rings are, each step ends.
///
/// # Panics
/// Something does not hold.
pub(crate) fn run(bytes: &[u8]) {
    let mut input = Input(bytes);
    let Ok(memory) = GuestMemoryMmap::<()>::from_ranges(&MEMORY) else {
        return;
    };
    let mut rings = [ring(&memory, &mut input), ring(&memory, &mut input)];
    let mergeable = input.byte() & 1 == 0;
    let mut batch = Batch::new();
    let mut scratch = Scratch::default();
    for _ in 0..STEPS {
        if input.0.is_empty() {
            break;
        }
        let step = input.byte();
        let index = usize::from(step >> 7);
        let outcome = match rings[index].as_mut() {
            Err(_) => Ok(()),
            Ok(ring) => act(ring, &memory, step, mergeable, &mut batch, &mut scratch),
        };
        if let Err(broken) = outcome {
            rings[index] = Err(broken);
        }
        // The guest does something meanwhile.
        let at = GuestAddress(u64::from(input.word()));
        let piece = input.take(usize::from(step & 63));
        let _ = memory.write_slice(piece, at);
    }
}

fn ring(memory: &GuestMemoryMmap, input: &mut Input<'_>) -> Result<Ring, Broken> {
    let flags = input.byte();
    let address = |input: &mut Input<'_>| GuestAddress(u64::from(input.word()));
    let place = Place {
        descriptors: GuestAddress(address(input).0 & !15),
        available: GuestAddress(address(input).0 & !1),
        used: GuestAddress(address(input).0 & !3),
    };
    let size = match flags & 1 {
        0 => 1 << (flags >> 4 & 7),
        _ => input.word(),
    };
    Ring::new(memory, place, size, input.word(), flags & 2 == 0)
}

fn act(
    ring: &mut Ring,
    memory: &GuestMemoryMmap,
    step: u8,
    mergeable: bool,
    batch: &mut Batch,
    scratch: &mut Scratch,
) -> Result<(), Broken> {
    if step & 64 == 0 {
        let mut received = Received::default();
        transfer::receive(ring, memory, ALL, batch, scratch, &mut received)?;
        for left in &received.left {
            transfer::complete(memory, left, batch);
        }
        received.done(ring, memory)?;
        for n in 0..batch.len() {
            assert!(batch.get(n).bytes.len() <= LONGEST);
        }
        batch.clear();
    } else {
        let payload = vec![0xab; usize::from(step & 63) * 1040];
        let frame = Parts {
            pieces: [&[1; 60], &payload, &[]],
            offload: Offload::NONE,
        };
        let before = ring.next();
        match transfer::send(ring, memory, mergeable, &frame, scratch)? {
            Put::Done => {}
            Put::Never => assert_eq!(ring.next(), before),
            Put::Later(known) => {
                assert_eq!(ring.next(), before);
                ring.listen(memory, known)?;
            }
        }
    }
    ring.signal(memory, None)
}

/// Bytes that run out.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        taken
    }

    fn byte(&mut self) -> u8 {
        self.take(1).first().copied().unwrap_or(0)
    }

    fn word(&mut self) -> u16 {
        u16::from_le_bytes([self.byte(), self.byte()])
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Rings that are where they should be, and memory that makes sense more
    /// often than by chance.
    fn plausible() -> impl Strategy<Value = Vec<u8>> {
        let ring = |base: u8| vec![0x42, 0, base, 0, base + 2, 0, base + 3, 0, 0];
        let near = prop_oneof![
            any::<u16>(),
            0x1000u16..0x1100,
            0x1200u16..0x1210,
            0x4000u16..0x4100
        ];
        let value = prop_oneof![any::<u8>(), 0u8..4, Just(0x10u8)];
        let write = prop::collection::vec(value, 0..48);
        let step = (any::<bool>(), any::<bool>(), near, write);
        prop::collection::vec(step, 1..60).prop_map(move |steps| {
            let mut bytes = [ring(0x10), ring(0x40), vec![0]].concat();
            for (first, receive, at, write) in steps {
                let kind = u8::from(first) << 7 | u8::from(receive) << 6;
                bytes.push(kind | write.len() as u8);
                bytes.extend_from_slice(&at.to_le_bytes());
                bytes.extend(write);
            }
            bytes
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn any_rings_are_used_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
            run(&bytes);
        }

        #[test]
        fn rings_that_are_nearly_right_are_used_without_panic(bytes in plausible()) {
            run(&bytes);
        }
    }

    /// The property tests reach what they are there for: here are a frame
    /// out and a frame in, by the same means.
    #[test]
    fn the_exercise_moves_frames() {
        let memory = GuestMemoryMmap::<()>::from_ranges(&MEMORY).unwrap();
        let place = Place {
            descriptors: GuestAddress(0x1000),
            available: GuestAddress(0x1200),
            used: GuestAddress(0x1300),
        };
        let mut ring = Ring::new(&memory, place, 16, 0, true).unwrap();
        let mut descriptor = [0; 16];
        descriptor[..8].copy_from_slice(&0x2000u64.to_le_bytes());
        descriptor[8] = 100;
        memory.write_slice(&descriptor, place.descriptors).unwrap();
        memory
            .write_slice(&[0, 0, 1, 0, 0, 0], place.available)
            .unwrap();
        let (mut batch, mut scratch) = (Batch::new(), Scratch::default());
        let mut received = Received::default();
        let more = transfer::receive(
            &mut ring,
            &memory,
            ALL,
            &mut batch,
            &mut scratch,
            &mut received,
        );
        assert_eq!(more, Ok(false));
        received.done(&mut ring, &memory).unwrap();
        assert_eq!((batch.len(), batch.get(0).bytes.len()), (1, 88));
        // The same buffer, to be written now.
        descriptor[12] = 2;
        memory.write_slice(&descriptor, place.descriptors).unwrap();
        memory
            .write_slice(&[0, 0, 2, 0, 0, 0, 0, 0], place.available)
            .unwrap();
        let bytes = [7; 60];
        let frame = Parts {
            pieces: [&bytes, &[], &[]],
            offload: Offload::NONE,
        };
        let put = transfer::send(&mut ring, &memory, false, &frame, &mut scratch);
        assert_eq!(put, Ok(Put::Done));
        let mut used = [0; 20];
        memory.read_slice(&mut used, place.used).unwrap();
        assert_eq!(
            used[2..],
            [2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 72, 0, 0, 0]
        );
    }
}

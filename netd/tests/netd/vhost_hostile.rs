//! The vhost-user back-end, against guests and VMMs that mean harm. Whatever
//! they do, they are cut off, and the others go on.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};
use vhost::vhost_user::VhostUserFrontend;
use vhost::{VhostBackend, VhostUserMemoryRegionInfo, VringConfigData};
use vm_memory::GuestAddress;

use crate::kit::{Daemon, PATIENCE, config};
use crate::vhost::{PLAIN, card, frame, network};
use crate::vhost_card::{Card, Options, Ring};

/// Descriptor flags.
const NEXT: u16 = 1;
const WRITE: u16 = 2;
const INDIRECT: u16 = 4;

/// What a guest does to its rings; it kicks afterwards.
type Attack = fn(&mut Card);

fn first(ring: &Ring) -> GuestAddress {
    ring.buffer(0)
}

fn attacks() -> Vec<(&'static str, Attack)> {
    vec![
        ("a chain without end", |card| {
            let (ring, memory) = (&mut card.outgoing, &card.memory);
            ring.describe(memory, 0, first(ring), 64, NEXT, 1);
            ring.describe(memory, 1, first(ring), 64, NEXT, 0);
            ring.offer(memory, 0);
        }),
        ("a chain that leads out of the table", |card| {
            let (ring, memory) = (&mut card.outgoing, &card.memory);
            ring.describe(memory, 0, first(ring), 64, NEXT, 60_000);
            ring.offer(memory, 0);
        }),
        ("a head out of the table", |card| {
            let (ring, memory) = (&mut card.outgoing, &card.memory);
            ring.offer(memory, 60_000);
        }),
        ("a buffer that is not there", |card| {
            let (ring, memory) = (&mut card.outgoing, &card.memory);
            ring.describe(memory, 0, GuestAddress(0x10), 100, 0, 0);
            ring.offer(memory, 0);
        }),
        ("a buffer that wraps around", |card| {
            let (ring, memory) = (&mut card.outgoing, &card.memory);
            ring.describe(memory, 0, GuestAddress(u64::MAX - 20), 100, 0, 0);
            ring.offer(memory, 0);
        }),
        ("a buffer that leads out of memory", |card| {
            let end = card.region().guest_phys_addr + card.region().memory_size;
            let (ring, memory) = (&mut card.outgoing, &card.memory);
            ring.describe(memory, 0, GuestAddress(end - 50), 100, 0, 0);
            ring.offer(memory, 0);
        }),
        ("a buffer to write where one is to be read", |card| {
            let (ring, memory) = (&mut card.outgoing, &card.memory);
            ring.describe(memory, 0, first(ring), 100, WRITE, 0);
            ring.offer(memory, 0);
        }),
        ("a table in a table", |card| {
            let (ring, memory) = (&mut card.outgoing, &card.memory);
            let inner = GuestAddress(ring.descriptors.0 + 16);
            ring.describe(memory, 0, inner, 16, INDIRECT, 0);
            ring.describe(memory, 1, inner, 16, INDIRECT, 0);
            ring.offer(memory, 0);
        }),
        ("a table without end", |card| {
            let (ring, memory) = (&mut card.outgoing, &card.memory);
            ring.describe(memory, 0, ring.descriptors, 16 * 256, INDIRECT, 0);
            ring.offer(memory, 0);
        }),
        ("an index far ahead", |card| {
            let (ring, memory) = (&mut card.outgoing, &card.memory);
            ring.set_index(memory, ring.next.wrapping_add(10_000));
        }),
        ("an index that goes back", |card| {
            let (ring, memory) = (&mut card.outgoing, &card.memory);
            ring.set_index(memory, ring.next.wrapping_sub(1));
        }),
    ]
}

/// Nothing is left of the connection.
fn is_cut_off(card: &mut Card) {
    let start = Instant::now();
    while card.frontend().get_features().is_ok() {
        assert!(start.elapsed() < PATIENCE, "it is still served");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn whoever_breaks_a_ring_harms_itself_alone() {
    let daemon = Daemon::start();
    let network = network(&daemon, &["evil", "a", "b"]);
    daemon.apply(&config(&[&network]));
    let mut a = card(&network, 1, Options::default());
    let mut b = card(&network, 2, Options::default());
    for (n, (what, attack)) in attacks().into_iter().enumerate() {
        // One that was cut off is not served again at once.
        let path = &network.endpoints[0].local;
        let start = Instant::now();
        let mut evil = loop {
            match Card::connect(path, Options::default()) {
                Ok(card) => break card,
                Err(error) => assert!(start.elapsed() < PATIENCE, "{what}: {error}"),
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        assert!(evil.send(PLAIN, &frame(&network, 0, 1, 100)));
        a.receive_within(PATIENCE).expect(what);
        attack(&mut evil);
        evil.outgoing.kick.write(1).unwrap();
        is_cut_off(&mut evil);
        assert_eq!(daemon.drops("BrokenRing"), n as u64 + 1, "{what}");
        let good = frame(&network, 1, 2, 1514);
        a.send_within(PATIENCE, PLAIN, &good);
        assert!(b.receive_within(PATIENCE).expect(what).1 == good);
    }
}

#[test]
fn buffers_to_receive_into_that_cannot_be_written_are_found_too() {
    let daemon = Daemon::start();
    let network = network(&daemon, &["evil", "a"]);
    daemon.apply(&config(&[&network]));
    let mut evil = card(&network, 0, Options::default());
    let mut a = card(&network, 1, Options::default());
    for n in 0..evil.incoming.size {
        let (ring, memory) = (&evil.incoming, &evil.memory);
        ring.describe(memory, n, first(ring), 1000, 0, 0);
    }
    a.send_within(PATIENCE, PLAIN, &frame(&network, 1, 0, 100));
    is_cut_off(&mut evil);
    assert_eq!(daemon.drops("BrokenRing"), 1);
}

/// Memory of a VMM, with those seals.
fn memory(length: u64, seals: SealFlags) -> File {
    let flags = MemfdFlags::ALLOW_SEALING | MemfdFlags::CLOEXEC;
    let file = File::from(memfd_create("evil", flags).unwrap());
    ftruncate(&file, length).unwrap();
    fcntl_add_seals(&file, seals).unwrap();
    file
}

fn region(file: &File, guest: u64, size: u64, offset: u64) -> VhostUserMemoryRegionInfo {
    VhostUserMemoryRegionInfo {
        guest_phys_addr: guest,
        memory_size: size,
        userspace_addr: 0x7000_0000_0000 + guest,
        mmap_offset: offset,
        mmap_handle: file.as_raw_fd(),
    }
}

#[test]
fn memory_that_cannot_be_relied_on_is_refused() {
    const MIB: u64 = 1 << 20;
    let daemon = Daemon::start();
    let network = network(&daemon, &["evil"]);
    daemon.apply(&config(&[&network]));
    let sealed = memory(MIB, SealFlags::SHRINK);
    let unsealed = memory(MIB, SealFlags::GROW);
    let ordinary = tempfile::tempfile().unwrap();
    ordinary.set_len(MIB).unwrap();
    let good = region(&sealed, 0, MIB, 0);
    for (what, bad) in [
        ("it may become shorter", region(&unsealed, 0, MIB, 0)),
        ("an ordinary file", region(&ordinary, 0, MIB, 0)),
        ("longer than its file", region(&sealed, 0, 2 * MIB, 0)),
        ("behind the end of its file", region(&sealed, 0, MIB, 4096)),
        ("not at a page", region(&sealed, 0, 4096, 100)),
    ] {
        let mut card = card(&network, 0, Options::default());
        card.frontend().set_mem_table(&[good]).expect("good memory");
        assert!(card.frontend().set_mem_table(&[bad]).is_err(), "{what}");
    }
    let mut card = card(&network, 0, Options::default());
    // Regions come and go, but not twice, nor over each other.
    let other = region(&sealed, 16 * MIB, MIB, 0);
    card.frontend().set_mem_table(&[good]).unwrap();
    card.frontend().add_mem_region(&other).unwrap();
    card.frontend().remove_mem_region(&other).unwrap();
    card.frontend().add_mem_region(&other).unwrap();
    assert!(card.frontend().add_mem_region(&other).is_err());
}

#[test]
fn rings_that_are_nowhere_are_refused() {
    let daemon = Daemon::start();
    let network = network(&daemon, &["evil"]);
    daemon.apply(&config(&[&network]));
    let addresses = |desc: u64, used: u64, avail: u64| VringConfigData {
        queue_max_size: 256,
        queue_size: 256,
        flags: 0,
        desc_table_addr: desc,
        used_ring_addr: used,
        avail_ring_addr: avail,
        log_addr: None,
    };
    let base = card(&network, 0, Options::default())
        .region()
        .userspace_addr;
    let nowhere = [
        addresses(0, 0, 0),
        addresses(base, base + 8192, 0x10),
        addresses(!15, base, base),
    ];
    for wrong in nowhere {
        let mut card = card(&network, 0, Options::default());
        assert!(card.frontend().set_vring_addr(1, &wrong).is_err());
    }
    for size in [0, 3, 2048] {
        let mut card = card(&network, 0, Options::default());
        let f = card.frontend();
        let set = f
            .set_vring_num(1, size)
            .and_then(|()| f.set_vring_enable(1, true).map(|_| ()));
        assert!(set.is_err(), "{size}");
    }
}

#[test]
fn half_requests_and_rubbish_stop_nobody() {
    let daemon = Daemon::start();
    let network = network(&daemon, &["evil", "a", "b"]);
    daemon.apply(&config(&[&network]));
    let path = &network.endpoints[0].local;
    // The header of a request, and nothing more.
    let mut half = UnixStream::connect(path).unwrap();
    let mut request = [0; 12];
    request[0] = 5;
    request[4] = 1;
    request[8..].copy_from_slice(&400u32.to_ne_bytes());
    half.write_all(&request).unwrap();
    let mut a = card(&network, 1, Options::default());
    let mut b = card(&network, 2, Options::default());
    let good = frame(&network, 1, 2, 1514);
    a.send_within(PATIENCE, PLAIN, &good);
    assert!(b.receive_within(PATIENCE).expect("a frame").1 == good);
    // A newer connection takes its place.
    let mut rubbish = UnixStream::connect(path).unwrap();
    assert_eq!(half.read(&mut [0; 1]).unwrap_or(0), 0);
    rubbish.write_all(&[0xff; 100]).unwrap();
    assert_eq!(rubbish.read(&mut [0; 1]).unwrap_or(0), 0);
    // Questions without end, and nobody who listens to the answers.
    let mut deaf = UnixStream::connect(path).unwrap();
    let question = [1u32, 1, 0].map(u32::to_ne_bytes).concat();
    let start = Instant::now();
    while deaf.write_all(&question).is_ok() {
        assert!(start.elapsed() < PATIENCE, "it is answered for ever");
    }
    a.send_within(PATIENCE, PLAIN, &good);
    assert!(b.receive_within(PATIENCE).expect("a frame").1 == good);
}

//! A VM's network card without a VM: the other end of netd's vhost-user
//! device, that is, the VMM and the guest's driver in one.
//!
//! All memory is one sealed memfd, as QEMU's is. Buffer `n` of a ring is
//! always behind descriptor `n`.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{Ordering, fence};
use std::time::{Duration, Instant};

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};
use vhost::vhost_user::message::{VhostUserHeaderFlag, VhostUserProtocolFeatures};
use vhost::vhost_user::{Frontend, VhostUserFrontend};
use vhost::{VhostBackend, VhostUserMemoryRegionInfo, VringConfigData};
use vm_memory::{
    Bytes, FileOffset, GuestAddress, GuestMemoryBackend, GuestMemoryMmap, GuestRegionMmap,
    MmapRegion,
};
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

/// Bytes of the header before each frame.
pub(crate) const HEADER: usize = 12;

/// Feature bits (VIRTIO 1.2, 5.1.3 and 6).
pub(crate) const EVENT_IDX: u64 = 1 << 29;
pub(crate) const MRG_RXBUF: u64 = 1 << 15;
pub(crate) const PROTOCOL: u64 = 1 << 30;
/// Checksums and segments may be left undone, both ways.
pub(crate) const OFFLOADS: u64 = 1 | 1 << 1 | 1 << 7 | 1 << 8 | 1 << 11 | 1 << 12;
pub(crate) const VERSION_1: u64 = 1 << 32;

/// Where the memory begins in the guest. Not at 0, so that a mix-up of
/// addresses shows.
const BASE: u64 = 1 << 20;

/// What the card is like.
#[derive(Clone, Copy)]
pub(crate) struct Options {
    /// Features that are taken, if they are offered.
    pub(crate) features: u64,
    /// Entries of each ring.
    pub(crate) size: u16,
    /// Bytes of each buffer to receive into.
    pub(crate) buffer: usize,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            features: EVENT_IDX | MRG_RXBUF | OFFLOADS | PROTOCOL | VERSION_1,
            size: 256,
            buffer: 1536,
        }
    }
}

/// The card.
pub(crate) struct Card {
    path: PathBuf,
    options: Options,
    frontend: Frontend,
    file: File,
    pub(crate) memory: GuestMemoryMmap,
    pub(crate) features: u64,
    pub(crate) incoming: Ring,
    pub(crate) outgoing: Ring,
}

impl Card {
    /// Plugs it in.
    pub(crate) fn connect(path: &Path, options: Options) -> io::Result<Card> {
        let outgoing = Ring::new(BASE, options.size, HEADER + 65_550);
        let incoming = Ring::new(outgoing.end(), options.size, options.buffer);
        let length = (incoming.end() - BASE).next_multiple_of(1 << 21);
        let file = File::from(memfd_create(
            "guest",
            MemfdFlags::ALLOW_SEALING | MemfdFlags::CLOEXEC,
        )?);
        ftruncate(&file, length)?;
        fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW)?;
        let mapping = MmapRegion::from_file(FileOffset::new(file.try_clone()?, 0), length as usize)
            .map_err(io::Error::other)?;
        let region = GuestRegionMmap::new(mapping, GuestAddress(BASE)).expect("it does not wrap");
        let memory = GuestMemoryMmap::from_regions(vec![region]).map_err(io::Error::other)?;
        let (frontend, features) = dial(path, options)?;
        let mut card = Card {
            path: path.to_path_buf(),
            options,
            frontend,
            file,
            memory,
            features,
            incoming,
            outgoing,
        };
        card.outgoing.lay_out(&card.memory, false);
        card.incoming.lay_out(&card.memory, true);
        card.set_up()?;
        Ok(card)
    }

    /// Plugs it in again, like a VMM whose back-end went away: the rings go on
    /// where the guest's memory says.
    pub(crate) fn reconnect(&mut self) -> io::Result<()> {
        (self.frontend, self.features) = dial(&self.path, self.options)?;
        self.set_up()
    }

    /// Waits until it can be plugged in again.
    pub(crate) fn reconnect_within(&mut self, limit: Duration) -> io::Result<()> {
        let start = Instant::now();
        loop {
            match self.reconnect() {
                Err(_) if start.elapsed() < limit => std::thread::sleep(Duration::from_millis(5)),
                outcome => return outcome,
            }
        }
    }

    /// The connection.
    pub(crate) fn frontend(&mut self) -> &mut Frontend {
        &mut self.frontend
    }

    /// The memory as the back-end is told of it.
    pub(crate) fn region(&self) -> VhostUserMemoryRegionInfo {
        let host = self.memory.get_host_address(GuestAddress(BASE));
        VhostUserMemoryRegionInfo {
            guest_phys_addr: BASE,
            memory_size: self.file.metadata().expect("a file").len(),
            userspace_addr: host.expect("it is mapped") as u64,
            mmap_offset: 0,
            mmap_handle: self.file.as_raw_fd(),
        }
    }

    fn set_up(&mut self) -> io::Result<()> {
        let other = io::Error::other;
        let region = self.region();
        self.frontend.set_mem_table(&[region]).map_err(other)?;
        for (index, ring) in [(0, &self.incoming), (1, &self.outgoing)] {
            let at = |address: GuestAddress| {
                let host = self.memory.get_host_address(address);
                host.expect("it is mapped") as u64
            };
            let addresses = VringConfigData {
                queue_max_size: ring.size,
                queue_size: ring.size,
                flags: 0,
                desc_table_addr: at(ring.descriptors),
                used_ring_addr: at(ring.used),
                avail_ring_addr: at(ring.available),
                log_addr: None,
            };
            let base = ring.read(&self.memory, ring.used, 2);
            let f = &mut self.frontend;
            f.set_vring_num(index, ring.size)
                .and_then(|()| f.set_vring_base(index, base))
                .and_then(|()| f.set_vring_addr(index, &addresses))
                .and_then(|()| f.set_vring_kick(index, &ring.kick))
                .and_then(|()| f.set_vring_call(index, &ring.call))
                .map_err(other)?;
        }
        if self.features & PROTOCOL != 0 {
            for index in 0..2 {
                let enabled = self.frontend.set_vring_enable(index, true);
                enabled.map_err(other)?;
            }
        }
        Ok(())
    }

    fn event_idx(&self) -> bool {
        self.features & EVENT_IDX != 0
    }

    /// Address of the buffer for the next frame to send, if one is free.
    pub(crate) fn free(&mut self) -> Option<GuestAddress> {
        let ring = &mut self.outgoing;
        ring.seen = ring.read(&self.memory, ring.used, 2);
        let busy = ring.next.wrapping_sub(ring.seen);
        (busy < ring.size).then(|| ring.buffer(ring.next % ring.size))
    }

    /// Sends what lies in the buffer that [`free`](Self::free) gave: `length`
    /// bytes, header included.
    pub(crate) fn commit(&mut self, length: usize) {
        let ring = &mut self.outgoing;
        let slot = ring.next % ring.size;
        let address = ring.buffer(slot);
        ring.describe(&self.memory, slot, address, length as u32, 0, 0);
        ring.offer(&self.memory, slot);
    }

    /// Tells the back-end of what was committed, if it wants to know.
    pub(crate) fn kick(&mut self) {
        let event_idx = self.event_idx();
        self.outgoing.notify(&self.memory, event_idx);
    }

    /// Sends a frame; `false` if there is no place.
    pub(crate) fn send(&mut self, header: [u8; HEADER], frame: &[u8]) -> bool {
        let Some(to) = self.free() else {
            return false;
        };
        let payload = GuestAddress(to.0 + HEADER as u64);
        self.memory.write_slice(&header, to).expect("memory");
        self.memory.write_slice(frame, payload).expect("memory");
        self.commit(HEADER + frame.len());
        self.kick();
        true
    }

    /// Waits for place, then sends a frame.
    pub(crate) fn send_within(&mut self, limit: Duration, header: [u8; HEADER], frame: &[u8]) {
        let start = Instant::now();
        while !self.send(header, frame) {
            assert!(start.elapsed() < limit, "nobody takes what is sent");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// The next frame's buffers with their lengths; they are to be
    /// [given back](Self::give_back).
    pub(crate) fn next(&mut self, buffers: &mut Vec<(u16, usize)>) -> bool {
        buffers.clear();
        let ring = &mut self.incoming;
        let used = ring.read(&self.memory, ring.used, 2);
        if ring.seen == used {
            return false;
        }
        let (first, length) = ring.used_element(&self.memory);
        let mut count = [0; 2];
        let at = GuestAddress(ring.buffer(first).0 + 10);
        self.memory.read_slice(&mut count, at).expect("memory");
        buffers.push((first, length));
        for _ in 1..u16::from_le_bytes(count) {
            assert_ne!(ring.seen, used, "part of a frame is missing");
            buffers.push(ring.used_element(&self.memory));
        }
        true
    }

    /// Lets the back-end have buffers again.
    pub(crate) fn give_back(&mut self, buffers: &[(u16, usize)]) {
        for (buffer, _) in buffers {
            self.incoming.offer(&self.memory, *buffer);
        }
        let event_idx = self.event_idx();
        self.incoming.notify(&self.memory, event_idx);
    }

    /// Asks for a call when a frame comes; whether one is there already.
    pub(crate) fn listen(&mut self) -> bool {
        self.incoming.listen(&self.memory)
    }

    /// Asks for a call when a buffer is free; whether none is yet.
    pub(crate) fn listen_for_free(&mut self) -> bool {
        !self.outgoing.listen(&self.memory)
    }

    /// The next frame, and its header.
    pub(crate) fn receive(&mut self) -> Option<([u8; HEADER], Vec<u8>)> {
        let mut buffers = Vec::new();
        if !self.next(&mut buffers) {
            self.listen();
            return None;
        }
        let mut bytes = Vec::new();
        for (buffer, length) in &buffers {
            let start = bytes.len();
            bytes.resize(start + length, 0);
            let from = self.incoming.buffer(*buffer);
            self.memory
                .read_slice(&mut bytes[start..], from)
                .expect("memory");
        }
        self.give_back(&buffers);
        let frame = bytes.split_off(HEADER);
        Some((bytes.try_into().expect("a header"), frame))
    }

    /// Waits for the next frame.
    pub(crate) fn receive_within(&mut self, limit: Duration) -> Option<([u8; HEADER], Vec<u8>)> {
        let start = Instant::now();
        while start.elapsed() < limit {
            if let Some(frame) = self.receive() {
                return Some(frame);
            }
            std::thread::sleep(Duration::from_micros(200));
        }
        None
    }
}

fn dial(path: &Path, options: Options) -> io::Result<(Frontend, u64)> {
    let other = io::Error::other;
    let mut frontend = Frontend::connect(path, 2).map_err(other)?;
    frontend.set_owner().map_err(other)?;
    let offered = frontend.get_features().map_err(other)?;
    let chosen = options.features & offered;
    if chosen & PROTOCOL != 0 {
        let known = frontend.get_protocol_features().map_err(other)?;
        let wanted =
            VhostUserProtocolFeatures::REPLY_ACK | VhostUserProtocolFeatures::CONFIGURE_MEM_SLOTS;
        let chosen = frontend.set_protocol_features(known & wanted);
        chosen.map_err(other)?;
        // From now on all that is refused is an error.
        frontend.set_hdr_flags(VhostUserHeaderFlag::NEED_REPLY);
    }
    frontend.set_features(chosen).map_err(other)?;
    Ok((frontend, chosen))
}

/// One split virtqueue, from the driver's side.
pub(crate) struct Ring {
    pub(crate) size: u16,
    pub(crate) descriptors: GuestAddress,
    pub(crate) available: GuestAddress,
    pub(crate) used: GuestAddress,
    buffers: GuestAddress,
    buffer: usize,
    /// The available index, and the one that the back-end was told.
    pub(crate) next: u16,
    told: u16,
    /// Used entries that were looked at.
    seen: u16,
    pub(crate) kick: EventFd,
    pub(crate) call: EventFd,
}

impl Ring {
    fn new(start: u64, size: u16, buffer: usize) -> Ring {
        let entries = u64::from(size);
        let available = start + 16 * entries;
        let used = (available + 6 + 2 * entries).next_multiple_of(4);
        let event = || EventFd::new(EFD_NONBLOCK).expect("an eventfd");
        Ring {
            size,
            descriptors: GuestAddress(start),
            available: GuestAddress(available),
            used: GuestAddress(used),
            // Off the start of a page: copying is slower there.
            buffers: GuestAddress((used + 6 + 8 * entries).next_multiple_of(4096) + 64),
            buffer: buffer.next_multiple_of(64),
            next: 0,
            told: 0,
            seen: 0,
            kick: event(),
            call: event(),
        }
    }

    fn end(&self) -> u64 {
        let buffers = self.buffer as u64 * u64::from(self.size);
        (self.buffers.0 + buffers).next_multiple_of(4096)
    }

    /// Where a buffer lies.
    pub(crate) fn buffer(&self, n: u16) -> GuestAddress {
        GuestAddress(self.buffers.0 + self.buffer as u64 * u64::from(n))
    }

    /// Offers all buffers to write into, or none.
    fn lay_out(&mut self, memory: &GuestMemoryMmap, writable: bool) {
        if writable {
            for n in 0..self.size {
                self.describe(memory, n, self.buffer(n), self.buffer as u32, 2, 0);
                self.offer(memory, n);
            }
        }
    }

    /// Writes a descriptor.
    pub(crate) fn describe(
        &self,
        memory: &GuestMemoryMmap,
        n: u16,
        address: GuestAddress,
        length: u32,
        flags: u16,
        next: u16,
    ) {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&address.0.to_le_bytes());
        bytes[8..12].copy_from_slice(&length.to_le_bytes());
        bytes[12..14].copy_from_slice(&flags.to_le_bytes());
        bytes[14..].copy_from_slice(&next.to_le_bytes());
        let at = GuestAddress(self.descriptors.0 + 16 * u64::from(n));
        memory.write_slice(&bytes, at).expect("memory");
    }

    /// Puts a chain into the available ring.
    pub(crate) fn offer(&mut self, memory: &GuestMemoryMmap, head: u16) {
        let slot = u64::from(self.next % self.size);
        let at = GuestAddress(self.available.0 + 4 + 2 * slot);
        memory.write_obj(head.to_le(), at).expect("memory");
        self.next = self.next.wrapping_add(1);
        self.set_index(memory, self.next);
    }

    /// Sets the available index, whatever that means.
    pub(crate) fn set_index(&self, memory: &GuestMemoryMmap, index: u16) {
        let at = GuestAddress(self.available.0 + 2);
        memory
            .store(index.to_le(), at, Ordering::Release)
            .expect("memory");
    }

    /// Asks for a call when something is used; whether something is already.
    fn listen(&self, memory: &GuestMemoryMmap) -> bool {
        let event = GuestAddress(self.available.0 + 4 + 2 * u64::from(self.size));
        memory
            .store(self.seen.to_le(), event, Ordering::Relaxed)
            .expect("memory");
        fence(Ordering::SeqCst);
        self.read(memory, self.used, 2) != self.seen
    }

    fn notify(&mut self, memory: &GuestMemoryMmap, event_idx: bool) {
        fence(Ordering::SeqCst);
        let told = std::mem::replace(&mut self.told, self.next);
        let wanted = if event_idx {
            let event = self.read(memory, self.used, 4 + 8 * u64::from(self.size));
            self.next.wrapping_sub(event).wrapping_sub(1) < self.next.wrapping_sub(told)
        } else {
            self.read(memory, self.used, 0) & 1 == 0
        };
        if wanted {
            self.kick.write(1).expect("a kick");
        }
    }

    fn read(&self, memory: &GuestMemoryMmap, base: GuestAddress, offset: u64) -> u16 {
        let at = GuestAddress(base.0 + offset);
        let value: u16 = memory.load(at, Ordering::Acquire).expect("memory");
        u16::from_le(value)
    }

    fn used_element(&mut self, memory: &GuestMemoryMmap) -> (u16, usize) {
        let slot = u64::from(self.seen % self.size);
        let at = GuestAddress(self.used.0 + 4 + 8 * slot);
        let element: u64 = memory.read_obj(at).expect("memory");
        self.seen = self.seen.wrapping_add(1);
        let element = u64::from_le(element);
        (element as u16, (element >> 32) as usize)
    }
}

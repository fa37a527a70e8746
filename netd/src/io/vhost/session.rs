//! What one VMM has set up: features, memory, rings (the vhost-user protocol,
//! `docs/interop/vhost-user.rst` of QEMU).
//!
//! ```text
//!   address, size, base ─┐
//!   kick ────────────────┼─► the ring runs ──GET_VRING_BASE──► it does not
//!   enabled ─────────────┘
//! ```

use std::fs::File;

use vhost::vhost_user::message::{
    VhostTransferStateDirection, VhostTransferStatePhase, VhostUserConfigFlags, VhostUserInflight,
    VhostUserLog, VhostUserMemoryRegion, VhostUserProtocolFeatures, VhostUserShMemConfig,
    VhostUserSharedMsg, VhostUserSingleMemoryRegion, VhostUserVringAddrFlags, VhostUserVringState,
};
use vhost::vhost_user::{Error, GpuBackend, Result, VhostUserBackendReqHandlerMut};

use super::features;
use super::memory::{MAX_REGIONS, Memory, Region};
use super::ring::{Place, Ring};

/// Ring that the guest fills with buffers to receive into.
pub(super) const RECEIVE: usize = 0;
/// Ring in which the guest puts what it sends.
pub(super) const TRANSMIT: usize = 1;

/// All that one connection has set up.
#[derive(Debug, Default)]
pub(super) struct Session {
    /// Features that guest and VMM chose.
    pub(super) features: u64,
    /// They have done so.
    pub(super) chosen: bool,
    pub(super) memory: Memory,
    /// [`RECEIVE`] and [`TRANSMIT`].
    pub(super) rings: [Setup; 2],
    /// Something about the kicks' descriptors has changed.
    pub(super) rewired: bool,
    /// Kicks that are not used any more, kept open until nobody polls them.
    pub(super) retired: Vec<File>,
}

/// What is known about one ring.
#[derive(Debug, Default)]
pub(super) struct Setup {
    size: u16,
    base: u16,
    // Addresses in the VMM's process: descriptors, available, used.
    place: Option<[u64; 3]>,
    enabled: bool,
    /// The guest's call to us.
    pub(super) kick: Option<File>,
    /// Our call to the guest.
    pub(super) call: Option<File>,
    /// The ring, as long as it runs.
    pub(super) ring: Option<Ring>,
}

impl Setup {
    /// Ends it; it would go on with the number that is given.
    fn stop(&mut self) -> u16 {
        if let Some(ring) = self.ring.take() {
            self.base = ring.next();
        }
        self.base
    }

    /// Runs it if everything is there.
    fn start(&mut self, memory: &Memory, event_idx: bool) -> std::result::Result<(), String> {
        let Some([descriptors, available, used]) = self.place else {
            return Ok(());
        };
        if self.ring.is_some() || !self.enabled || self.kick.is_none() {
            return Ok(());
        }
        let find = |user: u64| memory.translate(user).ok_or("a ring is not in memory");
        let place = Place {
            descriptors: find(descriptors)?,
            available: find(available)?,
            used: find(used)?,
        };
        let ring = Ring::new(memory.guest(), place, self.size, self.base, event_idx);
        self.ring = Some(ring.map_err(|broken| format!("a ring cannot be: {broken:?}"))?);
        Ok(())
    }
}

impl Session {
    /// The setup of a ring, which does not run any more.
    fn stopped(&mut self, index: u32) -> Result<&mut Setup> {
        let setup = self.rings.get_mut(index as usize);
        let setup = setup.ok_or(Error::InvalidParam)?;
        setup.stop();
        Ok(setup)
    }

    /// Runs the rings that can with other memory; where the others are will be
    /// told.
    fn remapped(&mut self) {
        if self.start().is_err() {
            tracing::debug!("a ring waits for its memory");
        }
    }

    /// Runs the rings that can.
    fn start(&mut self) -> Result<()> {
        let event_idx = self.features & features::EVENT_IDX != 0;
        let started = self.rings.iter_mut().map(|setup| {
            let started = setup.start(&self.memory, event_idx);
            started.map_err(|why| refused(&why))
        });
        started.fold(Ok(()), Result::and)
    }

    fn add(&mut self, region: Region, file: File) -> Result<()> {
        self.memory
            .add(region, file)
            .map_err(|why| refused(&format!("memory at {:#x}: {why}", region.guest)))
    }
}

fn refused(why: &str) -> Error {
    tracing::warn!(why, "a VMM's request is refused");
    Error::InvalidParam
}

fn unknown<T>() -> Result<T> {
    Err(Error::InvalidOperation("not offered"))
}

/// Requests from the VMM. Each is a whole one: the library has checked its
/// form.
impl VhostUserBackendReqHandlerMut for Session {
    fn set_owner(&mut self) -> Result<()> {
        Ok(())
    }

    fn reset_owner(&mut self) -> Result<()> {
        for index in 0..self.rings.len() {
            self.get_vring_base(index as u32)?;
        }
        Ok(())
    }

    fn get_features(&mut self) -> Result<u64> {
        Ok(features::OFFERED)
    }

    fn set_features(&mut self, chosen: u64) -> Result<()> {
        if chosen & !features::OFFERED != 0 {
            return Err(refused(&format!("features {chosen:#x}")));
        }
        self.features = chosen;
        self.chosen = true;
        if chosen & features::PROTOCOL == 0 {
            self.rings.iter_mut().for_each(|setup| setup.enabled = true);
        }
        Ok(())
    }

    fn get_protocol_features(&mut self) -> Result<VhostUserProtocolFeatures> {
        Ok(VhostUserProtocolFeatures::REPLY_ACK | VhostUserProtocolFeatures::CONFIGURE_MEM_SLOTS)
    }

    fn set_protocol_features(&mut self, _chosen: u64) -> Result<()> {
        Ok(())
    }

    fn set_mem_table(
        &mut self,
        regions: &[VhostUserMemoryRegion],
        files: Vec<File>,
        _postcopy: Option<bool>,
    ) -> Result<Option<Vec<vhost::VhostUserMemoryRegionBase>>> {
        self.rings.iter_mut().for_each(|setup| {
            setup.stop();
        });
        self.memory = Memory::default();
        for (region, file) in regions.iter().zip(files) {
            let region = Region {
                guest: region.guest_phys_addr,
                size: region.memory_size,
                user: region.user_addr,
                offset: region.mmap_offset,
            };
            self.add(region, file)?;
        }
        self.remapped();
        Ok(None)
    }

    fn get_max_mem_slots(&mut self) -> Result<u64> {
        Ok(MAX_REGIONS as u64)
    }

    fn add_mem_region(
        &mut self,
        region: &VhostUserSingleMemoryRegion,
        file: File,
        _postcopy: Option<bool>,
    ) -> Result<Option<vhost::VhostUserMemoryRegionBase>> {
        let region = Region {
            guest: region.guest_phys_addr,
            size: region.memory_size,
            user: region.user_addr,
            offset: region.mmap_offset,
        };
        self.add(region, file)?;
        self.remapped();
        Ok(None)
    }

    fn remove_mem_region(&mut self, region: &VhostUserSingleMemoryRegion) -> Result<()> {
        let (guest, size) = (region.guest_phys_addr, region.memory_size);
        // A ring in it would be one that is not there.
        self.rings.iter_mut().for_each(|setup| {
            setup.stop();
        });
        self.memory
            .remove(guest, size, region.user_addr)
            .map_err(|why| refused(&why))?;
        self.remapped();
        Ok(())
    }

    fn set_vring_num(&mut self, index: u32, size: u32) -> Result<()> {
        let size = u16::try_from(size).map_err(|_| Error::InvalidParam)?;
        self.stopped(index)?.size = size;
        Ok(())
    }

    fn set_vring_addr(
        &mut self,
        index: u32,
        flags: VhostUserVringAddrFlags,
        descriptors: u64,
        used: u64,
        available: u64,
        _log: u64,
    ) -> Result<()> {
        if !flags.is_empty() {
            return Err(refused("a log of writes was not offered"));
        }
        self.stopped(index)?.place = Some([descriptors, available, used]);
        self.start()
    }

    fn set_vring_base(&mut self, index: u32, base: u32) -> Result<()> {
        let base = u16::try_from(base).map_err(|_| Error::InvalidParam)?;
        self.stopped(index)?.base = base;
        Ok(())
    }

    fn get_vring_base(&mut self, index: u32) -> Result<VhostUserVringState> {
        let setup = self.stopped(index)?;
        let base = setup.base;
        let kick = setup.kick.take();
        self.rewired |= kick.is_some();
        self.retired.extend(kick);
        Ok(VhostUserVringState::new(index, u32::from(base)))
    }

    fn set_vring_kick(&mut self, index: u8, kick: Option<File>) -> Result<()> {
        // Without one we would have to look all the time.
        let kick = kick.ok_or(Error::InvalidParam)?;
        let setup = self.stopped(u32::from(index))?;
        let old = setup.kick.replace(kick);
        self.retired.extend(old);
        self.rewired = true;
        self.start()
    }

    fn set_vring_call(&mut self, index: u8, call: Option<File>) -> Result<()> {
        if let Some(call) = &call {
            // Nothing may block the loop.
            let flags = rustix::fs::fcntl_getfl(call).map_err(|_| Error::InvalidParam)?;
            rustix::fs::fcntl_setfl(call, flags | rustix::fs::OFlags::NONBLOCK)
                .map_err(|_| Error::InvalidParam)?;
        }
        let setup = self.rings.get_mut(usize::from(index));
        setup.ok_or(Error::InvalidParam)?.call = call;
        Ok(())
    }

    fn set_vring_err(&mut self, _index: u8, _error: Option<File>) -> Result<()> {
        Ok(())
    }

    fn set_vring_enable(&mut self, index: u32, enable: bool) -> Result<()> {
        self.stopped(index)?.enabled = enable;
        self.start()
    }

    fn reset_device(&mut self) -> Result<()> {
        unknown()
    }

    fn get_queue_num(&mut self) -> Result<u64> {
        unknown()
    }

    fn get_config(&mut self, _: u32, _: u32, _: VhostUserConfigFlags) -> Result<Vec<u8>> {
        unknown()
    }

    fn set_config(&mut self, _: u32, _: &[u8], _: VhostUserConfigFlags) -> Result<()> {
        unknown()
    }

    fn set_gpu_socket(&mut self, _: GpuBackend) -> Result<()> {
        unknown()
    }

    fn get_shared_object(&mut self, _: VhostUserSharedMsg) -> Result<File> {
        unknown()
    }

    // Chains are done in order and at once: the used index says it all.
    fn get_inflight_fd(&mut self, _: &VhostUserInflight) -> Result<(VhostUserInflight, File)> {
        unknown()
    }

    fn set_inflight_fd(&mut self, _: &VhostUserInflight, _: File) -> Result<()> {
        unknown()
    }

    fn set_device_state_fd(
        &mut self,
        _: VhostTransferStateDirection,
        _: VhostTransferStatePhase,
        _: File,
    ) -> Result<Option<File>> {
        unknown()
    }

    fn check_device_state(&mut self) -> Result<()> {
        unknown()
    }

    fn get_shmem_config(&mut self) -> Result<VhostUserShMemConfig> {
        unknown()
    }

    fn set_log_base(&mut self, _: &VhostUserLog, _: File) -> Result<()> {
        unknown()
    }
}

//! The back-end's end of the vhost-user protocol (QEMU,
//! `docs/interop/vhost-user.rst`): collects what a queue needs until it can
//! run.

use std::fs::File;
use std::io;

use vhost::VhostUserMemoryRegionBase;
use vhost::vhost_user::message::{
    VhostTransferStateDirection, VhostTransferStatePhase, VhostUserConfigFlags, VhostUserInflight,
    VhostUserLog, VhostUserMemoryRegion, VhostUserProtocolFeatures, VhostUserShMemConfig,
    VhostUserSharedMsg, VhostUserSingleMemoryRegion, VhostUserVirtioFeatures,
    VhostUserVringAddrFlags, VhostUserVringState,
};
use vhost::vhost_user::{Error, GpuBackend, Result, VhostUserBackendReqHandlerMut};

use crate::link::{Region, Ring};

/// Queue of forgotten nodes, queue of requests (VIRTIO 1.2, 5.11.2).
pub(crate) const QUEUES: usize = 2;
/// Largest queue.
pub(crate) const QUEUE_SIZE: u16 = 1024;

const VERSION_1: u64 = 1 << 32;
const INDIRECT: u64 = 1 << 28;

/// What runs the queues.
pub(crate) trait Rings {
    /// The guest's memory, a file for each region.
    fn memory(&mut self, regions: &[Region], files: &[File]) -> io::Result<()>;
    /// Runs a queue; its first request is number `base`.
    fn start(&mut self, ring: Ring, base: u16, kick: &File, call: &File) -> io::Result<()>;
    /// Stops it and gives the number of the next request.
    fn stop(&mut self, index: u32) -> io::Result<u16>;
}

/// One device.
pub(crate) struct Device<R> {
    rings: R,
    features: u64,
    regions: Vec<(VhostUserMemoryRegion, Region)>,
    queues: [Queue; QUEUES],
}

#[derive(Default)]
struct Queue {
    size: u16,
    /// Descriptors, used, available: addresses in the VMM.
    addresses: Option<(u64, u64, u64)>,
    base: u16,
    kick: Option<File>,
    call: Option<File>,
    enabled: bool,
    running: bool,
}

impl<R: Rings> Device<R> {
    pub(crate) fn new(rings: R) -> Device<R> {
        Device {
            rings,
            features: 0,
            regions: Vec::new(),
            queues: Default::default(),
        }
    }

    fn queue(&mut self, index: u32) -> Result<&mut Queue> {
        self.queues
            .get_mut(index as usize)
            .ok_or(Error::InvalidParam)
    }

    fn guest_address(&self, vmm: u64) -> Result<u64> {
        let found = self.regions.iter().find_map(|(region, _)| {
            let inside = vmm.checked_sub(region.user_addr)?;
            (inside < region.memory_size).then(|| region.guest_phys_addr.checked_add(inside))?
        });
        found.ok_or(Error::InvalidParam)
    }

    /// Runs the queue if it has everything.
    fn update(&mut self, index: u32) -> Result<()> {
        let protocol = VhostUserVirtioFeatures::PROTOCOL_FEATURES.bits();
        let by_itself = self.features & protocol == 0;
        let queue = self.queue(index)?;
        let Some((descriptors, used, available)) = queue.addresses else {
            return Ok(());
        };
        if queue.running || !(queue.enabled || by_itself) {
            return Ok(());
        }
        let (Some(kick), Some(call)) = (&queue.kick, &queue.call) else {
            return Ok(());
        };
        let (kick, call) = (clone(kick)?, clone(call)?);
        let (size, base) = (queue.size, queue.base);
        queue.running = true;
        let ring = Ring {
            index,
            size,
            descriptors: self.guest_address(descriptors)?,
            available: self.guest_address(available)?,
            used: self.guest_address(used)?,
        };
        self.rings
            .start(ring, base, &kick, &call)
            .map_err(Error::ReqHandlerError)
    }
}

fn clone(file: &File) -> Result<File> {
    file.try_clone().map_err(Error::ReqHandlerError)
}

impl<R: Rings> VhostUserBackendReqHandlerMut for Device<R> {
    fn set_owner(&mut self) -> Result<()> {
        Ok(())
    }

    fn reset_owner(&mut self) -> Result<()> {
        Ok(())
    }

    fn reset_device(&mut self) -> Result<()> {
        Ok(())
    }

    fn get_features(&mut self) -> Result<u64> {
        // LOG_ALL, here and with LOG_SHMFD below: QEMU saves no machine with
        // a back-end that cannot note what it writes. Only a machine whose
        // device nobody uses is ever saved.
        let vhost = VhostUserVirtioFeatures::PROTOCOL_FEATURES | VhostUserVirtioFeatures::LOG_ALL;
        Ok(VERSION_1 | INDIRECT | vhost.bits())
    }

    fn set_features(&mut self, features: u64) -> Result<()> {
        self.features = features;
        Ok(())
    }

    fn set_mem_table(
        &mut self,
        regions: &[VhostUserMemoryRegion],
        files: Vec<File>,
        _postcopy: Option<bool>,
    ) -> Result<Option<Vec<VhostUserMemoryRegionBase>>> {
        let as_region = |region: &VhostUserMemoryRegion| Region {
            guest: region.guest_phys_addr,
            size: region.memory_size,
            offset: region.mmap_offset,
        };
        self.regions = regions
            .iter()
            .map(|region| (*region, as_region(region)))
            .collect();
        let regions: Vec<Region> = self.regions.iter().map(|(_, region)| *region).collect();
        self.rings
            .memory(&regions, &files)
            .map_err(Error::ReqHandlerError)?;
        Ok(None)
    }

    fn set_vring_num(&mut self, index: u32, num: u32) -> Result<()> {
        let fits = num.is_power_of_two() && num <= u32::from(QUEUE_SIZE);
        self.queue(index)?.size = match u16::try_from(num) {
            Ok(size) if fits => size,
            _ => return Err(Error::InvalidParam),
        };
        Ok(())
    }

    fn set_vring_addr(
        &mut self,
        index: u32,
        _flags: VhostUserVringAddrFlags,
        descriptor: u64,
        used: u64,
        available: u64,
        _log: u64,
    ) -> Result<()> {
        self.queue(index)?.addresses = Some((descriptor, used, available));
        self.update(index)
    }

    fn set_vring_base(&mut self, index: u32, base: u32) -> Result<()> {
        self.queue(index)?.base = base as u16;
        Ok(())
    }

    fn get_vring_base(&mut self, index: u32) -> Result<VhostUserVringState> {
        if self.queue(index)?.running {
            let base = self.rings.stop(index).map_err(Error::ReqHandlerError)?;
            self.queue(index)?.base = base;
        }
        let queue = self.queue(index)?;
        queue.running = false;
        (queue.kick, queue.call, queue.enabled) = (None, None, false);
        Ok(VhostUserVringState::new(index, queue.base.into()))
    }

    fn set_vring_kick(&mut self, index: u8, file: Option<File>) -> Result<()> {
        self.queue(index.into())?.kick = file;
        self.update(index.into())
    }

    fn set_vring_call(&mut self, index: u8, file: Option<File>) -> Result<()> {
        // A VMM may change it while the queue runs (masking interrupts).
        let queue = self.queue(index.into())?;
        let running = queue.running;
        queue.call = file;
        if running {
            let base = self
                .rings
                .stop(index.into())
                .map_err(Error::ReqHandlerError)?;
            let queue = self.queue(index.into())?;
            (queue.base, queue.running) = (base, false);
        }
        self.update(index.into())
    }

    fn set_vring_err(&mut self, _index: u8, _file: Option<File>) -> Result<()> {
        Ok(())
    }

    fn get_protocol_features(&mut self) -> Result<VhostUserProtocolFeatures> {
        Ok(VhostUserProtocolFeatures::MQ
            | VhostUserProtocolFeatures::REPLY_ACK
            | VhostUserProtocolFeatures::LOG_SHMFD
            | VhostUserProtocolFeatures::DEVICE_STATE)
    }

    fn set_protocol_features(&mut self, _features: u64) -> Result<()> {
        Ok(())
    }

    fn get_queue_num(&mut self) -> Result<u64> {
        Ok(QUEUES as u64)
    }

    fn set_vring_enable(&mut self, index: u32, enable: bool) -> Result<()> {
        self.queue(index)?.enabled = enable;
        self.update(index)
    }

    fn get_config(&mut self, _: u32, _: u32, _: VhostUserConfigFlags) -> Result<Vec<u8>> {
        Err(Error::InvalidOperation("get_config"))
    }

    fn set_config(&mut self, _: u32, _: &[u8], _: VhostUserConfigFlags) -> Result<()> {
        Err(Error::InvalidOperation("set_config"))
    }

    fn set_gpu_socket(&mut self, _: GpuBackend) -> Result<()> {
        Err(Error::InvalidOperation("set_gpu_socket"))
    }

    fn get_shared_object(&mut self, _: VhostUserSharedMsg) -> Result<File> {
        Err(Error::InvalidOperation("get_shared_object"))
    }

    fn get_inflight_fd(&mut self, _: &VhostUserInflight) -> Result<(VhostUserInflight, File)> {
        Err(Error::InvalidOperation("get_inflight_fd"))
    }

    fn set_inflight_fd(&mut self, _: &VhostUserInflight, _: File) -> Result<()> {
        Err(Error::InvalidOperation("set_inflight_fd"))
    }

    fn get_max_mem_slots(&mut self) -> Result<u64> {
        Err(Error::InvalidOperation("get_max_mem_slots"))
    }

    fn add_mem_region(
        &mut self,
        _: &VhostUserSingleMemoryRegion,
        _: File,
        _: Option<bool>,
    ) -> Result<Option<VhostUserMemoryRegionBase>> {
        Err(Error::InvalidOperation("add_mem_region"))
    }

    fn remove_mem_region(&mut self, _: &VhostUserSingleMemoryRegion) -> Result<()> {
        Err(Error::InvalidOperation("remove_mem_region"))
    }

    fn set_device_state_fd(
        &mut self,
        _: VhostTransferStateDirection,
        _: VhostTransferStatePhase,
        _: File,
    ) -> Result<Option<File>> {
        // Dropping the descriptor is an empty state: a device that nobody
        // uses has none.
        Ok(None)
    }

    fn check_device_state(&mut self) -> Result<()> {
        Ok(())
    }

    fn get_shmem_config(&mut self) -> Result<VhostUserShMemConfig> {
        Err(Error::InvalidOperation("get_shmem_config"))
    }

    fn set_log_base(&mut self, _: &VhostUserLog, _: File) -> Result<()> {
        Ok(())
    }
}

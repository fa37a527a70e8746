//! A VM's memory, as its VMM shares it.
//!
//! Only memory that stays where it is gets mapped: an access behind the end
//! of a file that became shorter would end this process (SIGBUS), and with it
//! the network of all VMs. So a region has to lie in a sealed memfd
//! (`F_SEAL_SHRINK`, what QEMU's `memory-backend-memfd` makes), and not in
//! huge pages, which may not be there when they are touched.

use std::fs::File;
use std::sync::Arc;

use rustix::fs::{SealFlags, fcntl_get_seals, fstat, fstatfs};
use vm_memory::{
    FileOffset, GuestAddress, GuestMemoryMmap, GuestMemoryRegion, GuestRegionMmap, MmapRegion,
};

/// Regions of one VM, at most; QEMU has one or two.
pub(super) const MAX_REGIONS: usize = 32;

/// File system of huge pages (`linux/magic.h`).
const HUGETLBFS: i128 = 0x9584_58f6;

/// What the VMM says about a region.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Region {
    /// Address in the guest.
    pub(super) guest: u64,
    /// Bytes.
    pub(super) size: u64,
    /// Address in the VMM's process, which is how it names ring addresses.
    pub(super) user: u64,
    /// Where it begins in the file.
    pub(super) offset: u64,
}

/// The mapped memory. Clones are cheap and keep it mapped.
#[derive(Debug, Clone, Default)]
pub(super) struct Memory {
    regions: Vec<(Region, Arc<GuestRegionMmap>)>,
    all: Arc<GuestMemoryMmap>,
}

impl Memory {
    /// Maps one region more.
    pub(super) fn add(&mut self, region: Region, file: File) -> Result<(), String> {
        if self.regions.len() >= MAX_REGIONS {
            return Err(format!("more than {MAX_REGIONS} regions"));
        }
        check(&region, &file)?;
        let size = usize::try_from(region.size).map_err(|_| "too large".to_owned())?;
        let mapping = MmapRegion::from_file(FileOffset::new(file, region.offset), size)
            .map_err(|error| format!("cannot be mapped: {error}"))?;
        let mapped = GuestRegionMmap::new(mapping, GuestAddress(region.guest));
        let mapped = Arc::new(mapped.ok_or("it wraps around")?);
        self.all = self
            .all
            .insert_region(Arc::clone(&mapped))
            .map(Arc::new)
            .map_err(|error| error.to_string())?;
        self.regions.push((region, mapped));
        Ok(())
    }

    /// Gives one region up; its place in the file does not matter.
    pub(super) fn remove(&mut self, guest: u64, size: u64, user: u64) -> Result<(), String> {
        let same =
            |region: &Region| (region.guest, region.size, region.user) == (guest, size, user);
        let found = self.regions.iter().position(|(region, _)| same(region));
        let (_, mapped) = self.regions.remove(found.ok_or("no such region")?);
        let (all, _) = self
            .all
            .remove_region(mapped.start_addr(), mapped.len())
            .map_err(|error| error.to_string())?;
        self.all = Arc::new(all);
        Ok(())
    }

    /// The guest's memory.
    pub(super) fn guest(&self) -> &GuestMemoryMmap {
        &self.all
    }

    /// Where an address of the VMM's process lies in the guest.
    pub(super) fn translate(&self, user: u64) -> Option<GuestAddress> {
        let within = |region: &Region| {
            let offset = user.checked_sub(region.user)?;
            (offset < region.size).then(|| GuestAddress(region.guest + offset))
        };
        self.regions.iter().find_map(|(region, _)| within(region))
    }
}

/// The file holds the region and always will.
fn check(region: &Region, file: &File) -> Result<(), String> {
    let end = region.offset.checked_add(region.size);
    let seals = fcntl_get_seals(file).unwrap_or(SealFlags::empty());
    if !seals.contains(SealFlags::SHRINK) {
        return Err("it lies in a file that may become shorter (no memfd with a seal)".to_owned());
    }
    let length = fstat(file).map_err(|error| error.to_string())?.st_size as u64;
    if end.is_none_or(|end| end > length) || region.size == 0 {
        return Err("it is not within its file".to_owned());
    }
    let system = fstatfs(file).map_err(|error| error.to_string())?;
    if system.f_type as i128 == HUGETLBFS {
        return Err("huge pages are not supported".to_owned());
    }
    Ok(())
}

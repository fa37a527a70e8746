//! The guest's memory. The guest writes to it at any time: nothing in it is
//! read twice for one decision, and file data goes there and back without a
//! copy.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use vm_memory::{
    Bytes, FileOffset, GuestAddress, GuestMemory as _, GuestMemoryMmap, GuestRegionMmap,
    MmapRegion, Permissions,
};

use crate::link::Region;

/// All of it, mapped.
#[derive(Debug)]
pub(crate) struct Memory(GuestMemoryMmap);

/// A piece: address and length.
pub(crate) type Piece = (u64, u32);

/// Most pieces of one read or write (`UIO_MAXIOV`).
const VECTORS: usize = 1024;

fn bad(error: impl std::fmt::Display) -> io::Error {
    io::Error::other(format!("guest memory: {error}"))
}

impl Memory {
    /// Maps the regions, each from its file.
    pub(crate) fn map(regions: &[Region], files: Vec<OwnedFd>) -> io::Result<Memory> {
        if files.len() != regions.len() {
            return Err(bad("a region's descriptor is missing"));
        }
        let mut mapped = Vec::new();
        for (region, file) in regions.iter().zip(files) {
            let size = usize::try_from(region.size).map_err(bad)?;
            let file = FileOffset::new(File::from(file), region.offset);
            let map = MmapRegion::from_file(file, size).map_err(bad)?;
            let region = GuestRegionMmap::new(map, GuestAddress(region.guest));
            mapped.push(region.ok_or_else(|| bad("a region has no place"))?);
        }
        Ok(Memory(GuestMemoryMmap::from_regions(mapped).map_err(bad)?))
    }

    pub(crate) fn read(&self, at: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.0.read_slice(bytes, GuestAddress(at)).map_err(bad)
    }

    pub(crate) fn write(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_slice(bytes, GuestAddress(at)).map_err(bad)
    }

    /// Reads a number that another processor writes.
    pub(crate) fn load(&self, at: u64) -> io::Result<u16> {
        let order = std::sync::atomic::Ordering::Acquire;
        self.0.load(GuestAddress(at), order).map_err(bad)
    }

    /// Writes a number after everything that was written before.
    pub(crate) fn store(&self, at: u64, value: u16) -> io::Result<()> {
        let order = std::sync::atomic::Ordering::Release;
        self.0.store(value, GuestAddress(at), order).map_err(bad)
    }

    /// Copies from the pieces.
    pub(crate) fn gather(&self, pieces: &[Piece], most: usize) -> io::Result<Vec<u8>> {
        let mut all = Vec::new();
        for (at, length) in pieces {
            let take = (*length as usize).min(most - all.len());
            let begin = all.len();
            all.resize(begin + take, 0);
            self.read(*at, &mut all[begin..])?;
        }
        Ok(all)
    }

    /// Copies into the pieces; they have room for it.
    pub(crate) fn scatter(&self, pieces: &[Piece], mut bytes: &[u8]) -> io::Result<()> {
        for (at, length) in pieces {
            let (now, rest) = bytes.split_at((*length as usize).min(bytes.len()));
            self.write(*at, now)?;
            bytes = rest;
        }
        if bytes.is_empty() {
            return Ok(());
        }
        Err(bad("an answer is longer than its room"))
    }

    /// Reads `length` bytes of the file into the pieces: fewer at its end.
    pub(crate) fn fill_from(
        &self,
        pieces: &[Piece],
        length: usize,
        file: impl AsFd,
        offset: u64,
    ) -> io::Result<usize> {
        let file = file.as_fd().as_raw_fd();
        self.each(pieces, length, offset, |vectors, at| {
            #[expect(unsafe_code, reason = "the kernel writes to the guest's memory")]
            // SAFETY: `each` gives vectors inside mapped guest memory, which
            // only holds bytes; the mapping outlives the call.
            unsafe {
                libc::preadv(file, vectors.as_ptr(), vectors.len() as i32, at)
            }
        })
    }

    /// Writes `length` bytes from the pieces to the file.
    pub(crate) fn to_file(
        &self,
        pieces: &[Piece],
        length: usize,
        file: impl AsFd,
        offset: u64,
        append: bool,
    ) -> io::Result<usize> {
        let file = file.as_fd().as_raw_fd();
        let flags = if append { libc::RWF_APPEND } else { 0 };
        self.each(pieces, length, offset, |vectors, at| {
            #[expect(unsafe_code, reason = "the kernel reads the guest's memory")]
            // SAFETY: as in `fill_from`.
            unsafe {
                libc::pwritev2(file, vectors.as_ptr(), vectors.len() as i32, at, flags)
            }
        })
    }

    fn each(
        &self,
        pieces: &[Piece],
        length: usize,
        offset: u64,
        call: impl Fn(&[libc::iovec], i64) -> isize,
    ) -> io::Result<usize> {
        let mut vectors = Vec::new();
        let mut left = length;
        for (at, size) in pieces {
            let take = (*size as usize).min(left);
            if take == 0 {
                break;
            }
            let slices = self
                .0
                .get_slices(GuestAddress(*at), take, Permissions::ReadWrite);
            for slice in slices.map_err(bad)? {
                let slice = slice.map_err(bad)?;
                vectors.push(libc::iovec {
                    iov_base: slice.ptr_guard_mut().as_ptr().cast(),
                    iov_len: slice.len(),
                });
            }
            left -= take;
        }
        if left > 0 {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        let mut done = 0;
        for vectors in vectors.chunks(VECTORS) {
            let wanted: usize = vectors.iter().map(|vector| vector.iov_len).sum();
            let at = offset
                .checked_add(done as u64)
                .and_then(|at| i64::try_from(at).ok());
            let at = at.ok_or(io::Error::from_raw_os_error(libc::EFBIG))?;
            let got = loop {
                let got = call(vectors, at);
                if got >= 0 {
                    break got as usize;
                }
                let error = io::Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    return if done > 0 { Ok(done) } else { Err(error) };
                }
            };
            done += got;
            if got < wanted {
                break;
            }
        }
        Ok(done)
    }
}

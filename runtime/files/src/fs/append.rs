//! Appending to a file. A request that is there again must neither write its bytes a
//! second time nor over those that another machine has appended since.

use std::os::fd::OwnedFd;

use super::Fs;
use super::journal::Deed;
use super::permission::Turns;
use super::resolve::{errno, stat};
use crate::fuse::{Header, Res};
use crate::server::{Answer, Request, skip};

/// Machines append one at a time: the end that one has noted stays the end until it has
/// written there.
static TURNS: Turns = Turns::new();

impl Fs {
    /// Appends so many bytes of the request's; gives how many it were.
    pub(super) fn append(
        &self,
        header: &Header,
        share: u32,
        (request, answer): (&Request, &Answer),
        file: &OwnedFd,
        (offset, length): (u64, usize),
    ) -> Res<usize> {
        // The guest's kernel has one machine append in turn.
        let shared = self.held[share as usize].is_shared();
        let _turn = match shared {
            true => Some(TURNS.take(&stat(file)?)),
            false => None,
        };
        let size = stat(file)?.stx_size;
        let done = match self.begun(header, request.again) {
            Some(Deed::Appends(begin)) => {
                let there = size.saturating_sub(begin).min(length as u64) as usize;
                let bytes = answer.memory().gather(&request.data, there);
                let bytes = bytes.map_err(|_| libc::EIO)?;
                // A killed server has written all of them, the first ones or none.
                if has(file, begin, &bytes)? { there } else { 0 }
            }
            Some(Deed::Making(_) | Deed::Made | Deed::Named(_)) | None => 0,
        };
        if done == length {
            return Ok(length);
        }
        if done == 0 {
            self.begin(header, Deed::Appends(size))?;
        }
        let rest = skip(&request.data, done);
        let memory = answer.memory();
        // The guest's offset is where it takes the end to be.
        let written = memory.to_file(&rest, length - done, file, offset, true);
        let number = |error: std::io::Error| error.raw_os_error().unwrap_or(libc::EIO);
        match written {
            Ok(more) => Ok(done + more),
            // They are there, and must not come again.
            Err(_) if done > 0 => Ok(done),
            Err(error) => Err(number(error)),
        }
    }
}

/// The file has these bytes there.
fn has(file: &OwnedFd, at: u64, bytes: &[u8]) -> Res<bool> {
    let mut there = vec![0; bytes.len()];
    let mut got = 0;
    while got < there.len() {
        match rustix::io::pread(file, &mut there[got..], at + got as u64).map_err(errno)? {
            0 => return Ok(false),
            n => got += n,
        }
    }
    Ok(there == bytes)
}

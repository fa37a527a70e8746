//! Many datagrams in one system call, where the system has one for that.
#![allow(
    unsafe_code,
    reason = "recvmmsg and sendmmsg are not wrapped by anything safe"
)]

use std::io;
use std::os::fd::AsFd;

use crate::frame::{Batch, Offload, Parts};

/// Datagrams of one call, at most.
pub(super) const MANY: usize = 64;

/// Receives until the batch is full or there is nothing more; returns whether
/// there may be more.
#[cfg(target_os = "linux")]
pub(super) fn receive(socket: &impl AsFd, batch: &mut Batch) -> io::Result<bool> {
    use std::os::fd::AsRawFd;

    let mut pieces = [const { EMPTY }; MANY];
    let mut count = 0;
    for (piece, place) in pieces.iter_mut().zip(batch.places()) {
        piece.iov_base = place.as_mut_ptr().cast();
        piece.iov_len = place.len();
        count += 1;
    }
    let mut headers = [const { NO_MESSAGE }; MANY];
    for (header, piece) in headers.iter_mut().zip(&mut pieces) {
        header.msg_hdr.msg_iov = piece;
        header.msg_hdr.msg_iovlen = 1;
    }
    let flags = libc::MSG_DONTWAIT;
    // SAFETY: each of the `count` headers has one piece that points to a
    // place of the batch, all different, which is borrowed until the end of
    // this function; the kernel writes there, and into the headers, only.
    let received = unsafe {
        libc::recvmmsg(
            socket.as_fd().as_raw_fd(),
            headers.as_mut_ptr(),
            count,
            flags as _,
            std::ptr::null_mut(),
        )
    };
    if received < 0 {
        return Err(io::Error::last_os_error());
    }
    for header in headers.iter().take(received as usize) {
        batch.push(header.msg_len as usize, Offload::NONE);
    }
    Ok(received as u32 == count)
}

/// Sends frames as they are; how many went, which is not zero unless there
/// are none.
#[cfg(target_os = "linux")]
pub(super) fn send(socket: &impl AsFd, frames: &[Parts<'_>]) -> io::Result<usize> {
    use std::os::fd::AsRawFd;

    let mut pieces = [const { [EMPTY; 3] }; MANY];
    let mut headers = [const { NO_MESSAGE }; MANY];
    let count = frames.len().min(MANY);
    for ((frame, pieces), header) in frames.iter().zip(&mut pieces).zip(&mut headers) {
        let mut used = 0;
        for bytes in frame.pieces.iter().filter(|bytes| !bytes.is_empty()) {
            pieces[used].iov_base = bytes.as_ptr().cast_mut().cast();
            pieces[used].iov_len = bytes.len();
            used += 1;
        }
        header.msg_hdr.msg_iov = pieces.as_mut_ptr();
        header.msg_hdr.msg_iovlen = used;
    }
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    // SAFETY: each of the `count` headers has up to three pieces that point
    // to bytes of its frame, which are borrowed until the end of this
    // function; the kernel reads those, and writes into the headers only.
    let sent = unsafe {
        libc::sendmmsg(
            socket.as_fd().as_raw_fd(),
            headers.as_mut_ptr(),
            count as _,
            flags as _,
        )
    };
    if sent < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(sent as usize)
}

#[cfg(target_os = "linux")]
const EMPTY: libc::iovec = libc::iovec {
    iov_base: std::ptr::null_mut(),
    iov_len: 0,
};

#[cfg(target_os = "linux")]
const NO_MESSAGE: libc::mmsghdr = {
    // SAFETY: a message header of zeros is one without name, pieces and
    // control data.
    unsafe { std::mem::zeroed() }
};

/// Receives one datagram; returns whether there may be more.
#[cfg(not(target_os = "linux"))]
pub(super) fn receive(socket: &impl AsFd, batch: &mut Batch) -> io::Result<bool> {
    let socket = socket2::SockRef::from(socket);
    let length = match batch.places().next() {
        Some(place) => std::io::Read::read(&mut &*socket, place)?,
        None => return Ok(true),
    };
    batch.push(length, Offload::NONE);
    Ok(true)
}

/// Sends the first frame.
#[cfg(not(target_os = "linux"))]
pub(super) fn send(socket: &impl AsFd, frames: &[Parts<'_>]) -> io::Result<usize> {
    let Some(frame) = frames.first() else {
        return Ok(0);
    };
    let pieces = frame.pieces.map(std::io::IoSlice::new);
    socket2::SockRef::from(socket).send_vectored(&pieces)?;
    Ok(1)
}

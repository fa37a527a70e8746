//! Between keeper and server: JSON messages with descriptors, over a
//! sequenced-packet socket (unix(7)).

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::{Deserialize, Serialize};

use crate::spec::Share;

/// Longest message.
const LENGTH: usize = 128 << 10;
/// Descriptors in one (SCM_MAX_FD of unix(7)).
const DESCRIPTORS: usize = 253;

/// Most shares of a VM: their descriptors go in one message.
pub(crate) const SHARES: usize = DESCRIPTORS - 2;

/// From keeper to server.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum ToServer {
    /// A VM. Descriptors: journal, ring table, and the root of each share.
    Open { session: u64, shares: Vec<Share> },
    /// A file without a name that the VM has open.
    Held { session: u64, node: u64 },
    /// The guest's memory. A descriptor for each region.
    Memory { session: u64, regions: Vec<Region> },
    /// A queue runs. Descriptors: kick, call.
    Start { session: u64, ring: Ring },
    /// A queue is to stop: answered by [`ToKeeper::Stopped`].
    Stop { session: u64, index: u32 },
    /// The VM is gone.
    Close { session: u64 },
}

/// A part of the guest's memory.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Region {
    /// Address in the guest.
    pub guest: u64,
    pub size: u64,
    /// Where it begins in its file.
    pub offset: u64,
}

/// A split virtqueue: addresses in the guest.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Ring {
    pub index: u32,
    pub size: u16,
    pub descriptors: u64,
    pub available: u64,
    pub used: u64,
}

/// From server to keeper.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum ToKeeper {
    /// The queue has stopped here.
    Stopped { session: u64, index: u32, base: u16 },
    /// Keep this file for the VM. One descriptor.
    Hold { session: u64, node: u64 },
    /// It is not needed any more.
    Release { session: u64, node: u64 },
    /// A new journal in place of the old one. One descriptor.
    Journal { session: u64 },
    /// The VM cannot be served.
    Failed { session: u64 },
}

/// Sends a message.
pub(crate) fn send<T: Serialize>(
    socket: impl AsFd,
    message: &T,
    fds: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let bytes = serde_json::to_vec(message)?;
    let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(io::Error::other("too many descriptors for one message"));
    }
    loop {
        let slices = [IoSlice::new(&bytes)];
        match sendmsg(socket.as_fd(), &slices, &mut control, SendFlags::NOSIGNAL) {
            Ok(_) => return Ok(()),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Waits for a message; `None`: the other side is gone.
pub(crate) fn receive<T: for<'a> Deserialize<'a>>(
    socket: impl AsFd,
) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
    let mut bytes = vec![0; LENGTH];
    let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let got = loop {
        let mut slices = [IoSliceMut::new(&mut bytes)];
        match recvmsg(
            socket.as_fd(),
            &mut slices,
            &mut control,
            RecvFlags::CMSG_CLOEXEC,
        ) {
            Ok(got) => break got,
            Err(rustix::io::Errno::INTR) => {}
            // It ended before it had read all of ours: that is told once, ahead of
            // what it has said before.
            Err(rustix::io::Errno::CONNRESET) => {}
            Err(error) => return Err(error.into()),
        }
    };
    if got.bytes == 0 {
        return Ok(None);
    }
    if got.flags.contains(ReturnFlags::TRUNC) {
        return Err(io::Error::other("a message was cut short"));
    }
    if got.flags.contains(ReturnFlags::CTRUNC) {
        // Whoever misses one says so, and only the VM that it was for suffers.
        tracing::error!("there are too many open files: descriptors are lost");
    }
    let mut fds = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            fds.extend(rights);
        }
    }
    Ok(Some((serde_json::from_slice(&bytes[..got.bytes])?, fds)))
}

#[cfg(test)]
mod tests {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

    use super::*;

    #[test]
    fn what_was_said_before_the_end_is_heard_though_not_all_was_read_there() {
        let (here, there) = socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )
        .unwrap();
        let file = rustix::fs::memfd_create("held", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
        let hold = ToKeeper::Hold {
            session: 1,
            node: 2,
        };
        send(&there, &hold, &[file.as_fd()]).unwrap();
        send(&here, &ToServer::Close { session: 1 }, &[]).unwrap();
        drop(there);
        let (message, fds) = receive::<ToKeeper>(&here).unwrap().unwrap();
        assert!(matches!(message, ToKeeper::Hold { node: 2, .. }));
        assert_eq!(fds.len(), 1);
        assert!(receive::<ToKeeper>(&here).unwrap().is_none());
    }
}

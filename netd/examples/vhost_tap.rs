//! A VM's network card without a VM, like `tap`, but at a vhost-user port and
//! with offloads: what leaves the namespace is unsummed and up to 64 KiB long.
//!
//! usage: vhost_tap TAP vhost-user LOCAL PEER     PEER is not used
//!
//! Makes the tap device TAP, prints `ready`, and works until it is ended. Needs
//! CAP_NET_ADMIN in the namespace.
#![allow(clippy::disallowed_methods, reason = "it lives in real time")]
#![allow(unsafe_code, reason = "ioctl and poll have no safe wrapper")]

#[path = "../tests/support/vhost_card.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
mod vhost_card;

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use vhost_card::{Card, HEADER, Options};
use vm_memory::{
    GuestAddress, GuestMemoryBackend, ReadVolatile, VolatileMemoryError, WriteVolatile,
};

/// Longest frame with its header.
const LONGEST: usize = HEADER + 65_549;

/// Requests of tun devices (`linux/if_tun.h`).
const TUNSETIFF: u64 = 0x4004_54ca;
const TUNSETOFFLOAD: u64 = 0x4004_54d0;
const TUNSETVNETHDRSZ: u64 = 0x4004_54d8;
/// Checksums, TCP over IPv4 and IPv6.
const OFFLOADS: u64 = 1 | 2 | 4;

fn main() -> io::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        [tap, "vhost-user", local, _] => serve(open_tap(tap)?, local.as_ref()),
        _ => Err(io::Error::other(
            "usage: vhost_tap TAP vhost-user LOCAL PEER",
        )),
    }
}

fn open_tap(name: &str) -> io::Result<File> {
    let tap = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK)
        .open("/dev/net/tun")?;
    // SAFETY: zeros are a valid `ifreq`.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes().take(15)) {
        *to = from as libc::c_char;
    }
    let flags = libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR;
    request.ifr_ifru.ifru_flags = flags as i16;
    let header = HEADER as libc::c_int;
    let fd = tap.as_raw_fd();
    // SAFETY: the requests take an `ifreq` with a name that ends in zero, a
    // pointer to an integer, and a number.
    let results = unsafe {
        [
            libc::ioctl(fd, TUNSETIFF as _, &mut request),
            libc::ioctl(fd, TUNSETVNETHDRSZ as _, &raw const header),
            libc::ioctl(fd, TUNSETOFFLOAD as _, OFFLOADS),
        ]
    };
    match results.iter().all(|result| *result >= 0) {
        true => Ok(tap),
        false => Err(io::Error::last_os_error()),
    }
}

fn serve(tap: File, path: &Path) -> io::Result<()> {
    let options = Options {
        buffer: LONGEST,
        ..Options::default()
    };
    let mut card = loop {
        match Card::connect(path, options) {
            Ok(card) => break card,
            Err(_) => std::thread::sleep(Duration::from_millis(5)),
        }
    };
    println!("ready");
    io::stdout().flush()?;
    loop {
        let more_out = outward(&mut card, &tap)?;
        let more_in = inward(&mut card, &tap)?;
        if more_out || more_in {
            continue;
        }
        // With no buffer free, a call tells of one.
        let blocked = card.free().is_none();
        let second = match blocked {
            true => card.outgoing.call.as_raw_fd(),
            false => tap.as_raw_fd(),
        };
        wait([card.incoming.call.as_raw_fd(), second])?;
        let _ = card.incoming.call.read();
        let _ = card.outgoing.call.read();
    }
}

/// Waits until one of the descriptors can be read.
fn wait(descriptors: [RawFd; 2]) -> io::Result<()> {
    let mut polled = descriptors.map(|fd| libc::pollfd {
        fd,
        events: libc::POLLIN,
        revents: 0,
    });
    // SAFETY: the array has as many entries as the call is told.
    if unsafe { libc::poll(polled.as_mut_ptr(), 2, -1) } < 0 {
        let error = io::Error::last_os_error();
        if error.kind() != ErrorKind::Interrupted {
            return Err(error);
        }
    }
    Ok(())
}

/// Frames of one turn.
const TURN: usize = 64;

/// From the tap to the daemon; whether there may be more.
fn outward(card: &mut Card, tap: &File) -> io::Result<bool> {
    let mut count = 0;
    let mut more = false;
    while let Some(address) = card.free() {
        more = count < TURN;
        if !more || !read(card, tap, address)? {
            break;
        }
        count += 1;
    }
    card.kick();
    if count > 0 && card.free().is_none() {
        return Ok(!card.listen_for_free());
    }
    Ok(more && count == TURN)
}

fn read(card: &mut Card, mut tap: &File, address: GuestAddress) -> io::Result<bool> {
    let slice = card.memory.get_slice(address, LONGEST);
    let mut slice = slice.map_err(io::Error::other)?;
    match tap.read_volatile(&mut slice) {
        Ok(length) => card.commit(length),
        Err(VolatileMemoryError::IOError(error)) if error.kind() == ErrorKind::WouldBlock => {
            return Ok(false);
        }
        Err(error) => return Err(io::Error::other(error)),
    }
    Ok(true)
}

/// From the daemon to the tap; whether there may be more.
fn inward(card: &mut Card, mut tap: &File) -> io::Result<bool> {
    let mut buffers = Vec::new();
    for _ in 0..TURN {
        if !card.next(&mut buffers) {
            return Ok(card.listen());
        }
        // One holds the longest frame.
        if let [(buffer, length)] = buffers[..] {
            let address = card.incoming.buffer(buffer);
            let slice = card.memory.get_slice(address, length);
            // The guest's queue may be full.
            let _ = tap.write_volatile(&slice.map_err(io::Error::other)?);
        }
        card.give_back(&buffers);
    }
    Ok(true)
}

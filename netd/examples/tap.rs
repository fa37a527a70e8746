//! A VM's network card without a VM: moves frames between a tap device in
//! this network namespace and a network daemon, for tests and benchmarks.
//!
//! usage: tap TAP dgram LOCAL PEER     netd's datagram sockets
//!        tap TAP stream SOCKET        QEMU's stream protocol, which passt speaks
//!
//! Makes the tap device TAP, prints `ready`, and works until it is ended. Like
//! a VM it stops taking frames from the guest while the daemon takes none, and
//! loses frames that the guest does not take. Needs CAP_NET_ADMIN in the
//! namespace.
#![allow(
    unsafe_code,
    reason = "ioctl, sendmmsg and recvmmsg have no safe wrapper"
)]

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::Path;
use std::time::Duration;

/// Frames of one batch, and place for one.
const BATCH: usize = 64;
const PLACE: usize = (68 << 10) + 1536;

fn main() -> io::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        [tap, "dgram", local, peer] => datagrams(open_tap(tap)?, local.as_ref(), peer.as_ref()),
        [tap, "stream", socket] => stream(open_tap(tap)?, socket.as_ref()),
        _ => Err(io::Error::other(
            "usage: tap TAP dgram LOCAL PEER | tap TAP stream SOCKET",
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
    request.ifr_ifru.ifru_flags = (libc::IFF_TAP | libc::IFF_NO_PI) as i16;
    // SAFETY: the request is a valid `ifreq` with a name that ends in zero.
    let result = unsafe { libc::ioctl(tap.as_raw_fd(), libc::TUNSETIFF as _, &mut request) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(tap)
}

fn ready() -> io::Result<()> {
    println!("ready");
    io::stdout().flush()
}

/// Waits until one of the descriptors has what is asked of it.
fn wait(descriptors: [(RawFd, i16); 2]) -> io::Result<[i16; 2]> {
    let mut polled = descriptors.map(|(fd, events)| libc::pollfd {
        fd,
        events,
        revents: 0,
    });
    // SAFETY: the array has as many entries as the call is told.
    if unsafe { libc::poll(polled.as_mut_ptr(), 2, -1) } < 0 {
        let error = io::Error::last_os_error();
        if error.kind() != ErrorKind::Interrupted {
            return Err(error);
        }
    }
    Ok(polled.map(|polled| polled.revents))
}

/// Places for frames, and the headers that let the kernel have many at once.
struct Frames {
    bytes: Vec<u8>,
    pieces: Vec<libc::iovec>,
    headers: Vec<libc::mmsghdr>,
    // Frames that are held, and how many of them are dealt with.
    held: usize,
    done: usize,
}

impl Frames {
    fn new() -> Frames {
        let mut bytes = vec![0; BATCH * PLACE + 64];
        let base = bytes.as_mut_ptr();
        let empty = libc::iovec {
            iov_base: std::ptr::null_mut(),
            iov_len: 0,
        };
        let mut pieces = vec![empty; BATCH];
        for (n, piece) in pieces.iter_mut().enumerate() {
            piece.iov_base = base.wrapping_add(64 + n * PLACE).cast();
        }
        let mut headers = Vec::new();
        for piece in &mut pieces {
            // SAFETY: zeros are a valid `mmsghdr`.
            let mut header: libc::mmsghdr = unsafe { std::mem::zeroed() };
            header.msg_hdr.msg_iov = piece;
            header.msg_hdr.msg_iovlen = 1;
            headers.push(header);
        }
        Frames {
            bytes,
            pieces,
            headers,
            held: 0,
            done: 0,
        }
    }

    fn place(&mut self, n: usize) -> &mut [u8] {
        &mut self.bytes[64 + n * PLACE..][..PLACE]
    }

    /// Reads frames from the tap.
    fn fill(&mut self, tap: &mut File) -> io::Result<()> {
        (self.held, self.done) = (0, 0);
        while self.held < BATCH {
            let n = self.held;
            match tap.read(self.place(n)) {
                Ok(length) => self.pieces[n].iov_len = length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
            self.held += 1;
        }
        Ok(())
    }

    /// Sends what is held; what the daemon does not take now stays.
    fn send(&mut self, to: &UnixDatagram) {
        while self.done < self.held {
            let rest = &mut self.headers[self.done..self.held];
            // SAFETY: the headers point to pieces and those to places that
            // live as long as `self`.
            let sent = unsafe {
                libc::sendmmsg(
                    to.as_raw_fd(),
                    rest.as_mut_ptr(),
                    rest.len() as u32,
                    libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL,
                )
            };
            if sent < 0 {
                if io::Error::last_os_error().kind() != ErrorKind::WouldBlock {
                    // No daemon: a cable that is not plugged in.
                    self.done = self.held;
                }
                return;
            }
            self.done += sent as usize;
        }
    }

    /// Receives what the daemon has, and writes it to the tap.
    fn receive(&mut self, from: &UnixDatagram, tap: &mut File) {
        for piece in &mut self.pieces {
            piece.iov_len = PLACE;
        }
        // SAFETY: as in `send`; the places are not looked at meanwhile.
        let received = unsafe {
            libc::recvmmsg(
                from.as_raw_fd(),
                self.headers.as_mut_ptr(),
                BATCH as u32,
                libc::MSG_DONTWAIT,
                std::ptr::null_mut(),
            )
        };
        for n in 0..received.max(0) as usize {
            let length = self.headers[n].msg_len as usize;
            // The guest's queue may be full.
            let _ = tap.write(&self.place(n)[..length]);
        }
    }
}

fn datagrams(mut tap: File, local: &Path, peer: &Path) -> io::Result<()> {
    let _ = std::fs::remove_file(peer);
    let incoming = UnixDatagram::bind(peer)?;
    let outgoing = UnixDatagram::unbound()?;
    while outgoing.connect(local).is_err() {
        std::thread::sleep(Duration::from_millis(5));
    }
    ready()?;
    let (mut out, mut back) = (Frames::new(), Frames::new());
    loop {
        let blocked = out.done < out.held;
        let (first, events) = if blocked {
            (outgoing.as_raw_fd(), libc::POLLOUT)
        } else {
            (tap.as_raw_fd(), libc::POLLIN)
        };
        let [out_ready, in_ready] = wait([(first, events), (incoming.as_raw_fd(), libc::POLLIN)])?;
        if in_ready != 0 {
            back.receive(&incoming, &mut tap);
        }
        if out_ready != 0 {
            if !blocked {
                out.fill(&mut tap)?;
            }
            out.send(&outgoing);
        }
    }
}

fn stream(mut tap: File, path: &Path) -> io::Result<()> {
    let mut socket = loop {
        match UnixStream::connect(path) {
            Ok(socket) => break socket,
            Err(_) => std::thread::sleep(Duration::from_millis(5)),
        }
    };
    socket.set_nonblocking(true)?;
    ready()?;
    let mut frames = Frames::new();
    // What could not be written yet, and what is not a whole frame yet.
    let (mut unsent, mut received) = (Vec::new(), vec![0; 64 + (1 << 20)]);
    let mut kept = 0;
    loop {
        let blocked = !unsent.is_empty();
        let tap_events = if blocked { 0 } else { libc::POLLIN };
        let socket_events = libc::POLLIN | if blocked { libc::POLLOUT } else { 0 };
        let [tap_ready, socket_ready] = wait([
            (tap.as_raw_fd(), tap_events),
            (socket.as_raw_fd(), socket_events),
        ])?;
        if socket_ready & (libc::POLLIN | libc::POLLHUP) != 0 {
            match socket.read(&mut received[64 + kept..]) {
                Ok(0) => return Ok(()),
                Ok(n) => kept = unpack(&mut received[64..], kept + n, &mut tap),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        if tap_ready & libc::POLLIN != 0 {
            frames.fill(&mut tap)?;
            for n in 0..frames.held {
                let length = frames.pieces[n].iov_len;
                unsent.extend_from_slice(&(length as u32).to_be_bytes());
                unsent.extend_from_slice(&frames.place(n)[..length]);
            }
        }
        if !unsent.is_empty() {
            match socket.write(&unsent) {
                Ok(n) => drop(unsent.drain(..n)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// Writes whole frames to the tap; how many bytes are left, at the start.
fn unpack(bytes: &mut [u8], length: usize, tap: &mut File) -> usize {
    let mut at = 0;
    while let Some(header) = bytes[at..length].first_chunk::<4>() {
        let end = at + 4 + u32::from_be_bytes(*header) as usize;
        let Some(frame) = bytes[..length].get(at + 4..end) else {
            break;
        };
        let _ = tap.write(frame);
        at = end;
    }
    bytes.copy_within(at..length, 0);
    length - at
}

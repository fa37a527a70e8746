//! How fast datagram sockets can be at all: sends, forwards and discards
//! frames with as many of them in each system call as possible.
//!
//! usage: frames send PATH BYTES SECONDS SOURCE-MAC TARGET-MAC SOURCE-IP TARGET-IP
//!        frames forward PATH TO             what a switch does, and nothing else
//!        frames discard PATH                counts until it is ended by SIGTERM
//!
//! `send` sends valid IPv4 frames of BYTES bytes and prints how many; `discard`
//! prints how many arrived, and in which time, once a second of silence is over.
#![allow(unsafe_code, reason = "sendmmsg and recvmmsg have no safe wrapper")]
#![allow(
    clippy::disallowed_methods,
    reason = "the clock is what it measures with"
)]

use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::{Duration, Instant};

const BATCH: usize = 64;
const PLACE: usize = (64 << 10) + 4096 + 1536;

fn main() -> io::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        ["send", path, bytes, seconds, ref addresses @ ..] => {
            let bytes = bytes.parse().map_err(io::Error::other)?;
            let seconds = seconds.parse().map_err(io::Error::other)?;
            send(connected(path)?, &frame(bytes, addresses)?, seconds)
        }
        ["forward", path, to] => forward(&bound(path)?, &connected(to)?),
        ["discard", path] => discard(&bound(path)?),
        _ => Err(io::Error::other("see the top of the source for the usage")),
    }
}

fn bound(path: &str) -> io::Result<UnixDatagram> {
    let _ = std::fs::remove_file(path);
    let socket = UnixDatagram::bind(path)?;
    println!("ready");
    Ok(socket)
}

fn connected(path: &str) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    let size: libc::c_int = 4 << 20;
    // SAFETY: the option is an integer of the size that the call is told.
    unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_SNDBUF,
            (&raw const size).cast(),
            size_of::<libc::c_int>() as u32,
        )
    };
    while socket.connect(Path::new(path)).is_err() {
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(socket)
}

/// An IPv4 frame of a protocol that nobody looks into.
fn frame(bytes: usize, addresses: &[&str]) -> io::Result<Vec<u8>> {
    let [source_mac, target_mac, source, target] = addresses else {
        return Err(io::Error::other("two hardware and two IPv4 addresses"));
    };
    let mut frame = vec![0; bytes.max(34)];
    for (at, mac) in [(0, target_mac), (6, source_mac)] {
        for (n, byte) in mac.split(':').enumerate().take(6) {
            frame[at + n] = u8::from_str_radix(byte, 16).map_err(io::Error::other)?;
        }
    }
    frame[12..15].copy_from_slice(&[8, 0, 0x45]);
    frame[16..18].copy_from_slice(&((bytes - 14) as u16).to_be_bytes());
    frame[22..24].copy_from_slice(&[64, 253]);
    for (at, address) in [(26, source), (30, target)] {
        let address: std::net::Ipv4Addr = address.parse().map_err(io::Error::other)?;
        frame[at..at + 4].copy_from_slice(&address.octets());
    }
    Ok(frame)
}

struct Messages {
    _bytes: Vec<u8>,
    pieces: Vec<libc::iovec>,
    headers: Vec<libc::mmsghdr>,
}

impl Messages {
    fn new(mut bytes: Vec<u8>, stride: usize, length: usize) -> Messages {
        let base = bytes.as_mut_ptr();
        let mut pieces: Vec<libc::iovec> = (0..BATCH)
            .map(|n| libc::iovec {
                iov_base: base.wrapping_add(64 + n * stride).cast(),
                iov_len: length,
            })
            .collect();
        let headers = pieces
            .iter_mut()
            .map(|piece| {
                // SAFETY: zeros are a valid `mmsghdr`.
                let mut header: libc::mmsghdr = unsafe { std::mem::zeroed() };
                header.msg_hdr.msg_iov = piece;
                header.msg_hdr.msg_iovlen = 1;
                header
            })
            .collect();
        Messages {
            _bytes: bytes,
            pieces,
            headers,
        }
    }

    /// Waits for one message at least; how many came.
    fn receive(&mut self, socket: &UnixDatagram) -> io::Result<usize> {
        for piece in &mut self.pieces {
            piece.iov_len = PLACE - 64;
        }
        // SAFETY: the headers point to pieces and those to places that live
        // as long as `self` and that nothing else uses meanwhile.
        let received = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                self.headers.as_mut_ptr(),
                BATCH as u32,
                libc::MSG_WAITFORONE,
                std::ptr::null_mut(),
            )
        };
        usize::try_from(received).map_err(|_| io::Error::last_os_error())
    }

    /// Sends the first `count`, waiting for place.
    fn send(&mut self, socket: &UnixDatagram, count: usize) -> io::Result<()> {
        let mut sent = 0;
        while sent < count {
            let rest = &mut self.headers[sent..count];
            // SAFETY: as in `receive`.
            let n = unsafe {
                libc::sendmmsg(
                    socket.as_raw_fd(),
                    rest.as_mut_ptr(),
                    rest.len() as u32,
                    libc::MSG_NOSIGNAL,
                )
            };
            sent += usize::try_from(n).map_err(|_| io::Error::last_os_error())?;
        }
        Ok(())
    }
}

fn send(socket: UnixDatagram, frame: &[u8], seconds: f64) -> io::Result<()> {
    let mut bytes = vec![0; 64];
    bytes.extend_from_slice(frame);
    // All messages are the same bytes.
    let mut messages = Messages::new(bytes, 0, frame.len());
    let (start, mut count) = (Instant::now(), 0u64);
    while start.elapsed().as_secs_f64() < seconds {
        messages.send(&socket, BATCH)?;
        count += BATCH as u64;
    }
    println!("{{\"frames\": {count}}}");
    Ok(())
}

fn forward(from: &UnixDatagram, to: &UnixDatagram) -> io::Result<()> {
    let mut messages = Messages::new(vec![0; 128 + BATCH * PLACE], PLACE, PLACE - 64);
    loop {
        let count = messages.receive(from)?;
        for n in 0..count {
            messages.pieces[n].iov_len = messages.headers[n].msg_len as usize;
        }
        messages.send(to, count)?;
    }
}

fn discard(socket: &UnixDatagram) -> io::Result<()> {
    let mut messages = Messages::new(vec![0; 128 + BATCH * PLACE], PLACE, PLACE - 64);
    let mut count = messages.receive(socket)? as u64;
    let start = Instant::now();
    let mut last = start;
    socket.set_read_timeout(Some(Duration::from_secs(1)))?;
    while let Ok(n) = messages.receive(socket) {
        count += n as u64;
        last = Instant::now();
    }
    let seconds = (last - start).as_secs_f64();
    println!("{{\"frames\": {count}, \"seconds\": {seconds:.4}}}");
    Ok(())
}

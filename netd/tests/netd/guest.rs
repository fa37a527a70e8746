//! A guest: smoltcp over a network card of two datagram sockets, which may
//! lose frames.

use std::net::Ipv4Addr;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant as Clock};

use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::{tcp, udp};
use smoltcp::time::Instant;
use smoltcp::wire::{EthernetAddress, IpCidr, IpEndpoint};
use stack_netd::config::{Endpoint, Network};

use crate::kit::PATIENCE;

/// What the link is like.
#[derive(Clone, Copy)]
pub(crate) struct Link {
    /// Largest IP packet.
    pub(crate) mtu: usize,
    /// One in so many frames is lost in each direction; 0 is none.
    pub(crate) loss: u64,
    /// Bytes of each TCP socket's buffers.
    pub(crate) buffer: usize,
}

impl Default for Link {
    fn default() -> Link {
        Link {
            mtu: 1500,
            loss: 0,
            buffer: 256 << 10,
        }
    }
}

/// The network card.
pub(crate) struct Card {
    socket: UnixDatagram,
    to: PathBuf,
    link: Link,
    random: u64,
}

impl Card {
    fn lost(&mut self) -> bool {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.link.loss > 0 && self.random.is_multiple_of(self.link.loss)
    }

    /// Puts a frame on the wire. Full or absent daemons lose it.
    pub(crate) fn send(&mut self, frame: &[u8]) {
        if !self.lost() {
            let start = Clock::now();
            while let Err(error) = self.socket.send_to(frame, &self.to) {
                let full = error.kind() == std::io::ErrorKind::WouldBlock;
                if !full || start.elapsed() > PATIENCE {
                    break;
                }
                std::thread::sleep(Duration::from_micros(100));
            }
        }
    }

    /// The next frame from the wire.
    pub(crate) fn receive(&mut self) -> Option<Vec<u8>> {
        let mut buffer = vec![0; 66_000];
        let length = self.socket.recv(&mut buffer).ok()?;
        buffer.truncate(length);
        Some(buffer)
    }
}

impl Device for Card {
    type RxToken<'a> = Received;
    type TxToken<'a> = Sending<'a>;

    fn receive(&mut self, _: Instant) -> Option<(Received, Sending<'_>)> {
        loop {
            let frame = Card::receive(self)?;
            if !self.lost() {
                return Some((Received(frame), Sending(self)));
            }
        }
    }

    fn transmit(&mut self, _: Instant) -> Option<Sending<'_>> {
        Some(Sending(self))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = self.link.mtu + 14;
        capabilities
    }
}

pub(crate) struct Received(Vec<u8>);

impl RxToken for Received {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}

pub(crate) struct Sending<'a>(&'a mut Card);

impl TxToken for Sending<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, f: F) -> R {
        let mut frame = vec![0; length];
        let result = f(&mut frame);
        self.0.send(&frame);
        result
    }
}

static NEXT_SEED: AtomicU64 = AtomicU64::new(1);

/// The guest.
pub(crate) struct Guest {
    pub(crate) card: Card,
    pub(crate) sockets: SocketSet<'static>,
    pub(crate) address: Ipv4Addr,
    pub(crate) gateway: Ipv4Addr,
    interface: Interface,
    start: Clock,
    port: u16,
}

impl Guest {
    pub(crate) fn new(endpoint: &Endpoint, network: &Network, link: Link) -> Guest {
        let _ = std::fs::remove_file(&endpoint.peer);
        let socket = UnixDatagram::bind(&endpoint.peer).unwrap();
        socket.set_nonblocking(true).unwrap();
        // Every start of a guest has its own sequence numbers, and ports.
        let seed = NEXT_SEED.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        let mut card = Card {
            socket,
            to: endpoint.local.clone(),
            link,
            random: seed,
        };
        let mac: Vec<u8> = endpoint
            .mac
            .split(':')
            .map(|byte| u8::from_str_radix(byte, 16).unwrap())
            .collect();
        let mut config = Config::new(EthernetAddress::from_bytes(&mac).into());
        config.random_seed = seed;
        let mut interface = Interface::new(config, &mut card, Instant::ZERO);
        let (address, gateway) = (endpoint.ipv4.unwrap(), network.gateway.unwrap());
        interface.update_ip_addrs(|addresses| {
            let prefix = network.subnet.unwrap().1;
            addresses.push(IpCidr::new(address.into(), prefix)).unwrap();
        });
        interface
            .routes_mut()
            .add_default_ipv4_route(gateway)
            .unwrap();
        Guest {
            card,
            sockets: SocketSet::new(vec![]),
            address,
            gateway,
            interface,
            start: Clock::now(),
            port: 40_000,
        }
    }

    /// Lets the guest's stack work for a moment.
    pub(crate) fn poll(&mut self) {
        let now = Instant::from_micros(self.start.elapsed().as_micros() as i64);
        self.interface.poll(now, &mut self.card, &mut self.sockets);
    }

    /// Works until `done` gives something.
    pub(crate) fn wait<T>(
        &mut self,
        what: &str,
        mut done: impl FnMut(&mut Guest) -> Option<T>,
    ) -> T {
        let start = Clock::now();
        loop {
            self.poll();
            if let Some(result) = done(self) {
                self.poll();
                return result;
            }
            assert!(start.elapsed() < PATIENCE, "waited too long for: {what}");
            std::thread::sleep(Duration::from_micros(50));
        }
    }

    /// Works for a while.
    pub(crate) fn work(&mut self, time: Duration) {
        let start = Clock::now();
        while start.elapsed() < time {
            self.poll();
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    pub(crate) fn tcp(&mut self, handle: SocketHandle) -> &mut tcp::Socket<'static> {
        self.sockets.get_mut(handle)
    }

    fn add_tcp(&mut self) -> SocketHandle {
        let buffer = || tcp::SocketBuffer::new(vec![0; self.card.link.buffer]);
        let mut socket = tcp::Socket::new(buffer(), buffer());
        socket.set_nagle_enabled(false);
        self.sockets.add(socket)
    }

    /// Listens at a port.
    pub(crate) fn listen(&mut self, port: u16) -> SocketHandle {
        let handle = self.add_tcp();
        self.tcp(handle).listen(port).unwrap();
        handle
    }

    /// Starts to connect.
    pub(crate) fn dial(&mut self, to: impl Into<IpEndpoint>) -> SocketHandle {
        let handle = self.add_tcp();
        self.port += 1;
        let (port, to) = (self.port, to.into());
        let socket = self.sockets.get_mut::<tcp::Socket>(handle);
        socket.connect(self.interface.context(), to, port).unwrap();
        handle
    }

    /// Connects; the answer is whether that worked.
    pub(crate) fn connect(&mut self, to: impl Into<IpEndpoint>) -> Option<SocketHandle> {
        let handle = self.dial(to);
        self.wait("a connection", |guest| match guest.tcp(handle).state() {
            tcp::State::SynSent => None,
            tcp::State::Closed => Some(None),
            _ => Some(Some(handle)),
        })
    }

    /// Sends all of `data` and then, if `finish`, the end.
    pub(crate) fn send(&mut self, handle: SocketHandle, data: &[u8], finish: bool) {
        let mut sent = 0;
        self.wait("sending", |guest| {
            if sent < data.len() {
                sent += guest.tcp(handle).send_slice(&data[sent..]).unwrap();
            }
            (sent == data.len()).then_some(())
        });
        if finish {
            self.tcp(handle).close();
            self.poll();
        }
    }

    /// Receives until the other side ends.
    pub(crate) fn receive_all(&mut self, handle: SocketHandle) -> Vec<u8> {
        let mut data = Vec::new();
        self.wait_for_client(handle);
        self.wait("receiving", |guest| {
            let socket = guest.tcp(handle);
            while socket.can_recv() {
                socket
                    .recv(|bytes| {
                        data.extend_from_slice(bytes);
                        (bytes.len(), ())
                    })
                    .unwrap();
            }
            (!socket.may_recv()).then_some(())
        });
        data
    }

    /// Receives until `n` bytes are there.
    pub(crate) fn receive(&mut self, handle: SocketHandle, n: usize) -> Vec<u8> {
        let mut data = vec![0; n];
        let mut received = 0;
        self.wait_for_client(handle);
        self.wait("receiving", |guest| {
            received += guest.tcp(handle).recv_slice(&mut data[received..]).unwrap();
            (received == n).then_some(())
        });
        data
    }

    /// Lets it work on its own until that is dropped.
    pub(crate) fn in_background(mut self) -> Background {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                self.work(Duration::from_millis(10));
            }
        });
        Background {
            stop,
            thread: Some(thread),
        }
    }

    /// Waits until a client of a listening socket is there.
    fn wait_for_client(&mut self, handle: SocketHandle) {
        self.wait("a client", |guest| {
            let state = guest.tcp(handle).state();
            (!matches!(state, tcp::State::Listen | tcp::State::SynReceived)).then_some(())
        });
    }

    /// A UDP socket at a port.
    pub(crate) fn udp(&mut self, port: u16) -> SocketHandle {
        let buffer =
            || udp::PacketBuffer::new(vec![udp::PacketMetadata::EMPTY; 64], vec![0; 200_000]);
        let mut socket = udp::Socket::new(buffer(), buffer());
        socket.bind(port).unwrap();
        self.sockets.add(socket)
    }

    pub(crate) fn send_datagram(
        &mut self,
        handle: SocketHandle,
        to: impl Into<IpEndpoint>,
        data: &[u8],
    ) {
        self.sockets
            .get_mut::<udp::Socket>(handle)
            .send_slice(data, to.into())
            .unwrap();
        self.poll();
    }

    /// The next datagram and its sender.
    pub(crate) fn receive_datagram(&mut self, handle: SocketHandle) -> (Vec<u8>, IpEndpoint) {
        self.wait("a datagram", |guest| {
            let socket = guest.sockets.get_mut::<udp::Socket>(handle);
            let (data, from) = socket.recv().ok()?;
            Some((data.to_vec(), from.endpoint))
        })
    }
}

/// A guest that works on its own.
pub(crate) struct Background {
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Drop for Background {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(std::thread::JoinHandle::join);
    }
}
